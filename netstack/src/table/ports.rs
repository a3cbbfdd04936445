//! Ports that no translation may take: those of port-forwards and of the router's own sockets (requirement 31).

use crate::{config::rules::PortRange, headers::protocol};
use alloc::vec::Vec;

/// A bit for each TCP and each UDP port.
pub struct ReservedPorts {
    tcp: Vec<u64>,
    udp: Vec<u64>,
}

impl Default for ReservedPorts {
    fn default() -> Self {
        Self { tcp: alloc::vec![0; 1024], udp: alloc::vec![0; 1024] }
    }
}

impl ReservedPorts {
    /// Reserves nothing any more.
    pub fn clear(&mut self) {
        self.tcp.fill(0);
        self.udp.fill(0);
    }

    /// Reserves a range of a protocol; others than TCP and UDP have no ports.
    pub fn reserve(&mut self, number: u8, range: PortRange) {
        let bits = match number {
            protocol::TCP => &mut self.tcp,
            protocol::UDP => &mut self.udp,
            _ => return,
        };
        for port in range.first..=range.last {
            bits[usize::from(port >> 6)] |= 1 << (port & 63);
        }
    }

    /// Whether a port is reserved.
    pub fn contains(&self, number: u8, port: u16) -> bool {
        let bits = match number {
            protocol::TCP => &self.tcp,
            protocol::UDP => &self.udp,
            _ => return false,
        };
        bits[usize::from(port >> 6)] >> (port & 63) & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_reserved_for_its_protocol_only() {
        let mut ports = ReservedPorts::default();
        ports.reserve(protocol::TCP, PortRange { first: 8063, last: 8065 });
        let reserved: Vec<u16> = (0..=u16::MAX).filter(|&port| ports.contains(protocol::TCP, port)).collect();
        assert_eq!(reserved, [8063, 8064, 8065]);
        assert!(!ports.contains(protocol::UDP, 8064));
        ports.clear();
        assert!(!ports.contains(protocol::TCP, 8064));
    }
}
