//! Static neighbours: `ip neigh add`, `replace` and `del` of entries that never change.

use super::{Change, Config, ConfigError, route::StaticNeighbor};
use crate::interface::InterfaceId;
use smoltcp::wire::Ipv4Address;

/// The most static neighbours.
pub const NEIGHBORS_MAX: usize = 1024;

const CHANGED: Change = Change { neighbors: true, ..Change::NONE };

/// What is done where the neighbour is known already, or is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NeighborMode {
    /// `add`: it must be new.
    Add,
    /// `replace`: either way.
    Replace,
    /// `change`: it must be known.
    Change,
}

impl Config {
    /// Sets the MAC address of a neighbour for good.
    ///
    /// # Errors
    /// `add` of a known one, `change` of an unknown one, or addresses that no single station can have.
    pub fn set_neighbor(&mut self, new: StaticNeighbor, mode: NeighborMode) -> Result<Change, ConfigError> {
        match self.find_neighbor(new.interface, new.address) {
            Some(_) if mode == NeighborMode::Add => Err(ConfigError::new("RTNETLINK answers: File exists")),
            None if mode == NeighborMode::Change => {
                Err(ConfigError::new("RTNETLINK answers: No such file or directory"))
            }
            _ if new.interface == InterfaceId::LOOPBACK
                || !new.mac.is_unicast()
                || new.address.is_unspecified()
                || new.address.is_multicast()
                || new.address.is_broadcast() =>
            {
                Err(ConfigError::new("RTNETLINK answers: Invalid argument"))
            }
            Some(place) => {
                self.neighbors[place].mac = new.mac;
                Ok(CHANGED)
            }
            None if self.neighbors.len() >= NEIGHBORS_MAX => {
                Err(ConfigError::new("RTNETLINK answers: No buffer space available"))
            }
            None => {
                self.neighbors.push(new);
                Ok(CHANGED)
            }
        }
    }

    /// Forgets a static neighbour.
    ///
    /// # Errors
    /// There is none.
    pub fn delete_neighbor(
        &mut self,
        interface: InterfaceId,
        address: Ipv4Address,
    ) -> Result<Change, ConfigError> {
        let place = self
            .find_neighbor(interface, address)
            .ok_or_else(|| ConfigError::new("RTNETLINK answers: No such file or directory"))?;
        self.neighbors.remove(place);
        Ok(CHANGED)
    }

    /// Forgets all static neighbours that `wanted` names.
    pub fn flush_neighbors(&mut self, wanted: impl Fn(&StaticNeighbor) -> bool) -> Change {
        self.neighbors.retain(|entry| !wanted(entry));
        CHANGED
    }

    fn find_neighbor(&self, interface: InterfaceId, address: Ipv4Address) -> Option<usize> {
        self.neighbors.iter().position(|entry| entry.interface == interface && entry.address == address)
    }
}
