//! The typed configuration: everything that a person set, and nothing that the router found out by itself.
//!
//! Each part has its own file. Every change first checks all that it needs and only then touches anything, so a
//! refused command leaves no trace.

pub mod address;
pub mod interface;
pub mod ipset;
pub mod neighbor;
pub mod policy;
pub mod route;
pub mod rules;
pub mod sysctl;

use crate::{
    interface::{InterfaceId, InterfaceName, PortId},
    offload::Abilities,
};
use alloc::{string::String, vec::Vec};
use core::fmt;
use interface::Interface;
use policy::{Policy, TableId};
use route::{Routes, StaticNeighbor};
use rules::Tables;
use smoltcp::wire::{EthernetAddress, Ipv4Cidr};
use sysctl::Sysctl;

/// The whole configuration. Two equal configurations make routers that behave alike.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// What the prompt shows.
    pub hostname: String,
    /// All interfaces; an [`InterfaceId`] is a place in this list. `lo` comes first.
    pub interfaces: Vec<Interface>,
    /// All routes of the table `main`, those that follow from addresses (`proto kernel`) included, sorted as `ip route`
    /// prints them.
    pub routes: Routes,
    /// The other routing tables, and the rules that choose among them.
    pub policy: Policy,
    /// Neighbours that never change (`nud permanent`).
    pub neighbors: Vec<StaticNeighbor>,
    /// The values of `sysctl` that belong to no single interface.
    pub sysctl: Sysctl,
    /// The tables of `iptables`.
    pub tables: Tables,
}

/// What the machine says of one network card.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortInfo {
    /// The card's own MAC address.
    pub mac: EthernetAddress,
    /// The largest IP packet that the card takes, in bytes.
    pub max_mtu: u16,
    /// What the card does by itself for the frames that it sends.
    pub abilities: Abilities,
    /// What the card may leave undone on the frames that it receives.
    pub accepts: Abilities,
}

impl PortInfo {
    /// A card that sends and receives frames as they are.
    pub const fn new(mac: EthernetAddress, max_mtu: u16) -> Self {
        Self { mac, max_mtu, abilities: Abilities::NONE, accepts: Abilities::NONE }
    }
}

/// Which derived state a change of the configuration makes stale.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Change {
    /// Interfaces, their addresses or their state.
    pub interfaces: bool,
    /// Routes.
    pub routes: StaleRoutes,
    /// Static neighbours.
    pub neighbors: bool,
    /// Rules or policies of any table.
    pub rules: bool,
    /// The sets that rules ask.
    pub sets: bool,
    /// A sysctl value.
    pub sysctl: bool,
}

/// Which routes a change concerns.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum StaleRoutes {
    /// None of them.
    #[default]
    None,
    /// Those of a table to exactly this network.
    To(TableId, Ipv4Cidr),
    /// None of them, but the rules that choose a table.
    Rules,
    /// Any.
    All,
}

impl Change {
    /// Nothing became stale.
    pub const NONE: Self = Self {
        interfaces: false,
        routes: StaleRoutes::None,
        neighbors: false,
        rules: false,
        sets: false,
        sysctl: false,
    };
    /// Everything may have become stale.
    pub const ALL: Self = Self {
        interfaces: true,
        routes: StaleRoutes::All,
        neighbors: true,
        rules: true,
        sets: true,
        sysctl: true,
    };
}

/// Why a change was refused: one line in Linux's wording, without a final full stop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError(pub String);

impl ConfigError {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Config {
    /// The state of a machine that was just switched on: `lo` up, eth0.. down and without addresses, forwarding
    /// off, every policy ACCEPT.
    pub fn new(ports: &[PortInfo]) -> Self {
        let mut interfaces = alloc::vec![Interface::loopback()];
        interfaces.extend(
            ports.iter().enumerate().map(|(number, info)| Interface::ethernet(PortId(number as u8), info)),
        );
        Self {
            hostname: String::from("rutter"),
            interfaces,
            routes: Routes::default(),
            policy: Policy::default(),
            neighbors: Vec::new(),
            sysctl: Sysctl::default(),
            tables: Tables::default(),
        }
    }

    /// The interface of that name.
    pub fn find_interface(&self, name: &str) -> Option<InterfaceId> {
        self.interfaces
            .iter()
            .position(|interface| interface.name == name)
            .map(|place| InterfaceId(place as u16))
    }

    /// An interface by its number.
    ///
    /// # Panics
    /// With a number that this configuration never gave out.
    pub fn interface(&self, id: InterfaceId) -> &Interface {
        &self.interfaces[usize::from(id.0)]
    }

    /// Every interface with its number.
    pub fn interfaces(&self) -> impl Iterator<Item = (InterfaceId, &Interface)> {
        self.interfaces.iter().enumerate().map(|(place, interface)| (InterfaceId(place as u16), interface))
    }

    /// The name of an interface.
    pub fn name(&self, id: InterfaceId) -> &InterfaceName {
        &self.interface(id).name
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use interface::{LinkChange, Scope};
    use route::{RouteKind, RouteProtocol};
    use smoltcp::wire::Ipv4Address;

    /// Two cards, both up.
    pub fn config() -> Config {
        let card = |last| PortInfo::new(EthernetAddress([0x52, 0x54, 0, 0x12, 0x34, last]), 9000);
        let mut config = Config::new(&[card(0x56), card(0x57)]);
        for id in [InterfaceId(1), InterfaceId(2)] {
            config.set_link(id, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
        }
        config
    }

    pub fn cidr(text: &str) -> Ipv4Cidr {
        text.parse().unwrap()
    }

    pub fn ip(text: &str) -> Ipv4Address {
        text.parse().unwrap()
    }

    /// The routes in short, about as `ip route` shows them.
    pub fn routes(config: &Config) -> Vec<String> {
        config
            .routes
            .iter()
            .map(|route| {
                let mut line = alloc::format!("{}", route.destination);
                if let RouteKind::Unicast { interface, gateway, .. } = route.kind {
                    if let Some(gateway) = gateway {
                        line += &alloc::format!(" via {gateway}");
                    }
                    line += &alloc::format!(" dev {}", config.name(interface));
                }
                if route.protocol == RouteProtocol::Kernel {
                    line += " proto kernel";
                }
                if route.scope == Scope::Link {
                    line += " scope link";
                }
                if let Some(source) = route.source {
                    line += &alloc::format!(" src {source}");
                }
                if route.metric != 0 {
                    line += &alloc::format!(" metric {}", route.metric);
                }
                line
            })
            .collect()
    }
}
