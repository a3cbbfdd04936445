//! Routes and static neighbours.

use super::interface::Scope;
use crate::interface::InterfaceId;
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};

/// A route of the main table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Destination network; `0.0.0.0/0` is `default`.
    pub destination: Ipv4Cidr,
    /// What happens to a packet that takes it.
    pub kind: RouteKind,
    /// Lowest wins among routes for the same network.
    pub metric: u32,
    /// Preferred source address of what the router itself sends along it.
    pub source: Option<Ipv4Address>,
    /// Scope.
    pub scope: Scope,
    /// Who made it.
    pub protocol: RouteProtocol,
}

/// What a route does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteKind {
    /// Sends along.
    Unicast {
        /// Out of this interface.
        interface: InterfaceId,
        /// To this router; `None`: the destination is on the link.
        gateway: Option<Ipv4Address>,
        /// The gateway need not be in a network of the interface.
        onlink: bool,
    },
    /// Drops silently.
    Blackhole,
    /// Drops, and says ICMP 3/1 (host unreachable).
    Unreachable,
    /// Drops, and says ICMP 3/13 (administratively prohibited).
    Prohibit,
}

/// Who made a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteProtocol {
    /// It follows from an address (`proto kernel`).
    Kernel,
    /// A person, without saying more (`proto boot`, not printed).
    Boot,
    /// A person, with `proto static`.
    Static,
}

/// A neighbour that never changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StaticNeighbor {
    /// On the link of this interface.
    pub interface: InterfaceId,
    /// Its IP address.
    pub address: Ipv4Address,
    /// Its MAC address.
    pub mac: EthernetAddress,
}
