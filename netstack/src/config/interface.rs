//! Interfaces and their addresses.

use super::PortInfo;
use crate::interface::{InterfaceName, PortId};
use alloc::{string::String, vec::Vec};
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};

/// An interface as it is configured.
#[derive(Clone, PartialEq, Debug)]
pub struct Interface {
    /// `lo`, `eth0`, ..
    pub name: InterfaceName,
    /// What it is.
    pub kind: InterfaceKind,
    /// Set up by the administrator (`ip link set DEV up`); the carrier is another matter.
    pub up: bool,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// MAC address in use.
    pub mac: EthernetAddress,
    /// A free text (`ip link set DEV alias`); empty: none.
    pub alias: String,
    /// Addresses in the order in which they were given.
    pub addresses: Vec<InterfaceAddress>,
    /// `net.ipv4.conf.DEV.forwarding`.
    pub forwarding: bool,
    /// `net.ipv4.conf.DEV.rp_filter`.
    pub rp_filter: ReversePath,
}

/// What an interface is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InterfaceKind {
    /// `lo`.
    Loopback,
    /// A network card.
    Ethernet {
        /// The card.
        port: PortId,
        /// The card's own address.
        permanent_mac: EthernetAddress,
        /// The largest MTU that the card takes.
        max_mtu: u16,
    },
}

/// How a packet's source is held against the routes (RFC 3704; `rp_filter`). The stricter of `conf.all` and
/// `conf.DEV` counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum ReversePath {
    /// 0: not at all.
    #[default]
    Off,
    /// 1: the route back must leave by the interface that the packet came in on.
    Strict,
    /// 2: there must be a route back.
    Loose,
}

/// Where an address is valid.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Scope {
    /// Everywhere.
    #[default]
    Global,
    /// On this link only.
    Link,
    /// On this machine only.
    Host,
}

/// An address of an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceAddress {
    /// Address and prefix length.
    pub cidr: Ipv4Cidr,
    /// Broadcast address, where one is set (`broadcast +` or an address).
    pub broadcast: Option<Ipv4Address>,
    /// Scope.
    pub scope: Scope,
    /// Whether an earlier address of the same network is on this interface.
    pub secondary: bool,
}

impl Interface {
    /// `lo` as it is after boot: up, 127.0.0.1/8.
    pub fn loopback() -> Self {
        Self {
            name: name("lo"),
            kind: InterfaceKind::Loopback,
            up: true,
            mtu: u16::MAX,
            mac: EthernetAddress([0; 6]),
            alias: String::new(),
            addresses: alloc::vec![InterfaceAddress {
                cidr: Ipv4Cidr::new(Ipv4Address::new(127, 0, 0, 1), 8),
                broadcast: None,
                scope: Scope::Host,
                secondary: false,
            }],
            forwarding: false,
            rp_filter: ReversePath::Off,
        }
    }

    /// The interface of a card as it is after boot: down, without addresses.
    pub fn ethernet(port: PortId, info: &PortInfo) -> Self {
        Self {
            name: name(&alloc::format!("eth{}", port.0)),
            kind: InterfaceKind::Ethernet { port, permanent_mac: info.mac, max_mtu: info.max_mtu },
            up: false,
            mtu: info.max_mtu.min(1500),
            mac: info.mac,
            alias: String::new(),
            addresses: Vec::new(),
            forwarding: false,
            rp_filter: ReversePath::Off,
        }
    }

    /// The card below it.
    pub fn port(&self) -> Option<PortId> {
        match self.kind {
            InterfaceKind::Ethernet { port, .. } => Some(port),
            InterfaceKind::Loopback => None,
        }
    }
}

fn name(text: &str) -> InterfaceName {
    InterfaceName::try_from(text).expect("a built-in name fits")
}
