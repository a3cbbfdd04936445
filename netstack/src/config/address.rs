//! Addresses of interfaces: `ip addr add`, `del` and `flush`, with the routes that follow from them.

use super::{
    Change, Config, ConfigError, StaleRoutes,
    interface::{Interface, InterfaceAddress, Scope},
};
use crate::interface::{InterfaceId, InterfaceName};
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// The most addresses on all interfaces together; so many the router's own sockets can listen on.
pub const ADDRESSES_MAX: usize = 64;

/// What one `ip addr add` asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewAddress {
    /// Address and prefix length.
    pub cidr: Ipv4Cidr,
    /// Broadcast address.
    pub broadcast: Option<Ipv4Address>,
    /// Scope; `None`: host for 127.0.0.0/8, else global.
    pub scope: Option<Scope>,
    /// What is printed for it; `None`: the name of the interface.
    pub label: Option<InterfaceName>,
}

impl NewAddress {
    /// Address and prefix length, and for the rest what `ip` takes where nothing is said.
    pub fn plain(cidr: Ipv4Cidr) -> Self {
        Self { cidr, broadcast: None, scope: None, label: None }
    }
}

const CHANGED: Change = Change { interfaces: true, routes: StaleRoutes::All, ..Change::NONE };

impl Config {
    /// Gives an address to an interface. The first one of a network brings a route to that network (once the
    /// interface is up); a later one of the same network is secondary.
    ///
    /// # Errors
    /// An address that is there already, or that no single station can have.
    pub fn add_address(&mut self, id: InterfaceId, new: &NewAddress) -> Result<Change, ConfigError> {
        let address = new.cidr.address();
        if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
            // Linux takes these, and nothing good ever comes of it.
            return Err(ConfigError(alloc::format!("Error: ipv4: {address} is not a unicast address.")));
        }
        let interface = self.interface(id);
        let scope = new.scope.unwrap_or(if address.is_loopback() { Scope::Host } else { Scope::Global });
        let network = new.cidr.network();
        let mut secondary = false;
        for other in interface.addresses.iter().filter(|other| other.cidr.network() == network) {
            if other.cidr.address() == address {
                return Err(ConfigError::new("Error: ipv4: Address already assigned."));
            }
            if other.scope != scope {
                return Err(ConfigError::new("Error: ipv4: Invalid scope value."));
            }
            secondary = true;
        }
        if self.interfaces.iter().map(|interface| interface.addresses.len()).sum::<usize>() >= ADDRESSES_MAX {
            return Err(ConfigError::new("RTNETLINK answers: No buffer space available"));
        }

        let entry = InterfaceAddress {
            cidr: new.cidr,
            broadcast: new.broadcast,
            scope,
            secondary,
            label: new.label.clone(),
        };
        let up = interface.up;
        let addresses = &mut self.interface_mut(id).addresses;
        let place = if secondary {
            addresses.len()
        } else {
            // Behind the last primary address of the same or a narrower scope.
            addresses
                .iter()
                .rposition(|other| !other.secondary && other.scope >= scope)
                .map_or(0, |at| at + 1)
        };
        addresses.insert(place, entry);
        self.remove_routes_by_broadcast();
        if up && !secondary {
            self.add_kernel_route(id, new.cidr);
        }
        Ok(CHANGED)
    }

    /// Takes an address away; without `prefix_len`, whatever its network is. A primary address takes the
    /// secondary ones of its network along, the routes that name any of them as their source, and as the
    /// interface's last address all routes through the interface.
    ///
    /// # Errors
    /// The interface does not have it.
    pub fn delete_address(
        &mut self,
        id: InterfaceId,
        address: Ipv4Address,
        prefix_len: Option<u8>,
    ) -> Result<Change, ConfigError> {
        let entry = self.interface(id).addresses.iter().find(|entry| {
            entry.cidr.address() == address
                && prefix_len.is_none_or(|wanted| wanted == entry.cidr.prefix_len())
        });
        let Some(entry) = entry else {
            return Err(ConfigError::new("Error: ipv4: Address not found."));
        };
        self.drop_addresses(id, entry.clone());
        Ok(CHANGED)
    }

    /// Takes away all addresses that `wanted` names (`ip addr flush`).
    pub fn flush_addresses(
        &mut self,
        wanted: impl Fn(InterfaceId, &Interface, &InterfaceAddress) -> bool,
    ) -> Change {
        for place in 0..self.interfaces.len() {
            let id = InterfaceId(place as u16);
            loop {
                let interface = self.interface(id);
                let meant = interface.addresses.iter().find(|entry| wanted(id, interface, entry));
                let Some(entry) = meant.cloned() else { break };
                self.drop_addresses(id, entry);
            }
        }
        CHANGED
    }

    /// Whether the router itself answers to this address, on whichever interface it is.
    pub fn is_local(&self, address: Ipv4Address) -> bool {
        address.is_loopback()
            || self
                .interfaces
                .iter()
                .any(|interface| interface.addresses.iter().any(|entry| entry.cidr.address() == address))
    }

    fn drop_addresses(&mut self, id: InterfaceId, entry: InterfaceAddress) {
        let network = entry.cidr.network();
        let addresses = &mut self.interface_mut(id).addresses;
        addresses.retain(|other| {
            *other != entry && (entry.secondary || !other.secondary || other.cidr.network() != network)
        });
        let last = addresses.is_empty();
        if last {
            self.remove_routes_of(id);
        } else if !entry.secondary {
            self.remove_kernel_route(id, entry.cidr);
        }
        self.remove_routes_without_source();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{cidr, config, ip, routes};

    const ETH0: InterfaceId = InterfaceId(1);

    fn addresses(config: &Config) -> alloc::vec::Vec<alloc::string::String> {
        let entries = &config.interface(ETH0).addresses;
        entries
            .iter()
            .map(|entry| alloc::format!("{}{}", entry.cidr, if entry.secondary { " secondary" } else { "" }))
            .collect()
    }

    fn with(list: &[&str]) -> Config {
        let mut config = config();
        for text in list {
            config.add_address(ETH0, &NewAddress::plain(cidr(text))).unwrap();
        }
        config
    }

    #[test]
    fn an_address_of_a_known_network_is_secondary_and_goes_with_its_primary() {
        let mut config = with(&["192.168.1.1/24", "192.168.1.2/24", "192.168.1.1/25", "10.0.0.1/32"]);
        assert_eq!(
            addresses(&config),
            ["192.168.1.1/24", "192.168.1.1/25", "10.0.0.1/32", "192.168.1.2/24 secondary"]
        );
        assert_eq!(
            routes(&config),
            [
                "192.168.1.0/25 dev eth0 proto kernel scope link src 192.168.1.1",
                "192.168.1.0/24 dev eth0 proto kernel scope link src 192.168.1.1"
            ]
        );
        config.delete_address(ETH0, ip("192.168.1.1"), Some(24)).unwrap();
        assert_eq!(addresses(&config), ["192.168.1.1/25", "10.0.0.1/32"]);
        assert_eq!(routes(&config), ["192.168.1.0/25 dev eth0 proto kernel scope link src 192.168.1.1"]);
        let error = config.delete_address(ETH0, ip("192.168.1.1"), Some(24)).unwrap_err();
        assert_eq!(error.0, "Error: ipv4: Address not found.");
    }

    #[test]
    fn narrow_scopes_come_first_as_on_linux() {
        let mut config = with(&["192.168.1.1/24"]);
        for (text, scope) in [("10.2.0.1/30", Scope::Link), ("10.4.0.1/24", Scope::Host)] {
            let new = NewAddress { scope: Some(scope), ..NewAddress::plain(cidr(text)) };
            config.add_address(ETH0, &new).unwrap();
        }
        assert_eq!(addresses(&config), ["10.4.0.1/24", "10.2.0.1/30", "192.168.1.1/24"]);
    }

    #[test]
    fn what_cannot_be_an_address_is_refused_and_nothing_changes() {
        let mut config = with(&["192.168.1.1/24"]);
        let before = config.clone();
        for (text, message) in [
            ("192.168.1.1/24", "Error: ipv4: Address already assigned."),
            ("0.0.0.0/24", "Error: ipv4: 0.0.0.0 is not a unicast address."),
            ("224.0.0.1/24", "Error: ipv4: 224.0.0.1 is not a unicast address."),
            ("255.255.255.255/32", "Error: ipv4: 255.255.255.255 is not a unicast address."),
        ] {
            let error = config.add_address(ETH0, &NewAddress::plain(cidr(text))).unwrap_err();
            assert_eq!(error.0, message);
        }
        assert_eq!(config, before);
    }

    #[test]
    fn addresses_are_bounded() {
        let mut config = config();
        let added = (0..=255)
            .take_while(|&last| {
                let new = NewAddress::plain(Ipv4Cidr::new(Ipv4Address::new(10, 0, 0, last), 32));
                config.add_address(ETH0, &new).is_ok()
            })
            .count();
        assert_eq!(added, ADDRESSES_MAX - 1, "one is that of lo");
    }

    #[test]
    fn point_to_point_networks_have_routes_and_a_single_address_has_none() {
        let config = with(&["10.1.0.0/31", "10.9.9.9/32"]);
        assert_eq!(routes(&config), ["10.1.0.0/31 dev eth0 proto kernel scope link src 10.1.0.0"]);
    }
}
