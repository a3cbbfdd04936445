//! What a route is, and what is said of one that is to be made or found.

use crate::{
    config::{interface::Scope, policy::TableId},
    interface::InterfaceId,
};
use alloc::{boxed::Box, vec::Vec};
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};

/// A route.
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
    /// What it says of the packets that take it.
    pub metrics: RouteMetrics,
}

/// What a route says of the packets that take it (`RTAX_*`); 0: nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RouteMetrics {
    /// `mtu N`: the largest packet, in bytes, where it is smaller than what the interface carries.
    pub mtu: u16,
    /// `mtu lock N`: shown, and nothing else, for the router itself does no path MTU discovery.
    pub mtu_locked: bool,
    /// `advmss N`: the largest segment that the router's own TCP connections ask for, in bytes.
    pub advmss: u16,
    /// `advmss lock N`: shown, and nothing else.
    pub advmss_locked: bool,
}

impl RouteMetrics {
    /// The largest MTU (Linux's `65535 - 15`).
    pub const MTU_MAX: u16 = u16::MAX - 15;
    /// The largest segment (Linux's `65535 - 40`).
    pub const ADVMSS_MAX: u16 = u16::MAX - 40;

    /// Whether a route with these is meant where `wanted` was said; what is 0 there was not.
    fn fit(self, wanted: Self) -> bool {
        let locks = |it: Self| (it.mtu_locked, it.advmss_locked);
        (wanted.mtu == 0 || wanted.mtu == self.mtu)
            && (wanted.advmss == 0 || wanted.advmss == self.advmss)
            && (locks(wanted) == (false, false) || locks(wanted) == locks(self))
    }
}

/// What a route does.
#[derive(Clone, PartialEq, Eq, Debug)]
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
    /// Sends each flow along one of several ways.
    Multipath(Box<[RouteHop]>),
    /// Drops silently.
    Blackhole,
    /// Drops, and says ICMP 3/1 (host unreachable).
    Unreachable,
    /// Drops, and says ICMP 3/13 (administratively prohibited).
    Prohibit,
    /// Finds nothing: the next rule is asked (`ip rule`).
    Throw,
}

/// One of several ways. While its interface is down or has no address, the others are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteHop {
    /// Out of this interface.
    pub interface: InterfaceId,
    /// To this router; `None`: the destination is on the link.
    pub gateway: Option<Ipv4Address>,
    /// The gateway need not be in a network of the interface.
    pub onlink: bool,
    /// Its share of the flows, 1 to 256.
    pub weight: u16,
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
    /// A DHCP client (`proto dhcp`).
    Dhcp,
}

/// What one `ip route add` asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewRoute {
    /// `table TABLE`
    pub table: TableId,
    /// Destination network.
    pub destination: Ipv4Cidr,
    /// What happens to a packet that takes it.
    pub action: RouteAction,
    /// `metric N`
    pub metric: u32,
    /// `src ADDRESS`
    pub source: Option<Ipv4Address>,
    /// `scope SCOPE`; `None`: link where there is no gateway, else global.
    pub scope: Option<Scope>,
    /// `proto PROTOCOL`
    pub protocol: RouteProtocol,
    /// `mtu N`, `advmss N`
    pub metrics: RouteMetrics,
}

impl NewRoute {
    /// What makes `route` once more.
    pub fn again(table: TableId, route: &Route) -> Self {
        let action = match &route.kind {
            &RouteKind::Unicast { interface, gateway, onlink } => {
                RouteAction::Unicast(NewHop { interface: Some(interface), gateway, onlink, weight: 1 })
            }
            RouteKind::Multipath(hops) => RouteAction::Multipath(hops.iter().map(NewHop::again).collect()),
            RouteKind::Blackhole => RouteAction::Blackhole,
            RouteKind::Unreachable => RouteAction::Unreachable,
            RouteKind::Prohibit => RouteAction::Prohibit,
            RouteKind::Throw => RouteAction::Throw,
        };
        let Route { destination, metric, source, scope, protocol, metrics, .. } = *route;
        Self { table, destination, action, metric, source, scope: Some(scope), protocol, metrics }
    }

    /// The ways that it is to lead.
    pub fn hops(&self) -> &[NewHop] {
        match &self.action {
            RouteAction::Unicast(hop) => core::slice::from_ref(hop),
            RouteAction::Multipath(hops) => hops,
            _ => &[],
        }
    }
}

/// What a new route is to do, before it is known where its gateway is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RouteAction {
    /// Sends along.
    Unicast(NewHop),
    /// `nexthop ..` several times.
    Multipath(Vec<NewHop>),
    /// `blackhole`
    Blackhole,
    /// `unreachable`
    Unreachable,
    /// `prohibit`
    Prohibit,
    /// `throw`
    Throw,
}

/// Where a new route is to lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewHop {
    /// `dev DEV`
    pub interface: Option<InterfaceId>,
    /// `via ADDRESS`
    pub gateway: Option<Ipv4Address>,
    /// `onlink`
    pub onlink: bool,
    /// `weight N`; means nothing where there is one way.
    pub weight: u16,
}

impl NewHop {
    fn again(hop: &RouteHop) -> Self {
        let RouteHop { interface, gateway, onlink, weight } = *hop;
        Self { interface: Some(interface), gateway, onlink, weight }
    }

    /// Whether a hop of a route is meant.
    fn means(&self, hop: &RouteHop) -> bool {
        self.interface.is_none_or(|wanted| wanted == hop.interface)
            && (self.gateway.is_none() || self.gateway == hop.gateway)
            // As on Linux, a weight of 1 is as good as none.
            && (self.weight == 1 || self.weight == hop.weight)
    }
}

/// What is done where there is a route for the same network and metric, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteMode {
    /// `add`: there must be none.
    Add,
    /// `replace`: the first of them, or a new one.
    Replace,
    /// `change`: the first of them.
    Change,
    /// `append`: behind them.
    Append,
    /// `prepend`: in front of them.
    Prepend,
}

/// A part of the routes; a field that is `None`, or a number that is 0, matches every route.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[allow(missing_docs)]
pub struct RouteSelector {
    pub kind: Option<RouteKindName>,
    pub interface: Option<InterfaceId>,
    pub gateway: Option<Ipv4Address>,
    pub metric: Option<u32>,
    pub source: Option<Ipv4Address>,
    pub scope: Option<Scope>,
    pub protocol: Option<RouteProtocol>,
    pub metrics: RouteMetrics,
    /// Exactly these ways; empty: any.
    pub hops: Vec<NewHop>,
}

/// The word that stands before a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum RouteKindName {
    Unicast,
    Blackhole,
    Unreachable,
    Prohibit,
    Throw,
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

impl Route {
    /// The word that stands before it.
    pub fn kind_name(&self) -> RouteKindName {
        match self.kind {
            RouteKind::Unicast { .. } | RouteKind::Multipath(_) => RouteKindName::Unicast,
            RouteKind::Blackhole => RouteKindName::Blackhole,
            RouteKind::Unreachable => RouteKindName::Unreachable,
            RouteKind::Prohibit => RouteKindName::Prohibit,
            RouteKind::Throw => RouteKindName::Throw,
        }
    }

    /// The interface it sends out of; of several, the first one.
    pub fn interface(&self) -> Option<InterfaceId> {
        match &self.kind {
            RouteKind::Unicast { interface, .. } => Some(*interface),
            RouteKind::Multipath(hops) => hops.first().map(|hop| hop.interface),
            _ => None,
        }
    }

    /// The router it sends to; of several, the first one.
    pub fn gateway(&self) -> Option<Ipv4Address> {
        match &self.kind {
            RouteKind::Unicast { gateway, .. } => *gateway,
            RouteKind::Multipath(hops) => hops.first().and_then(|hop| hop.gateway),
            _ => None,
        }
    }

    /// Its ways, where it has several.
    pub fn hops(&self) -> &[RouteHop] {
        match &self.kind {
            RouteKind::Multipath(hops) => hops,
            _ => &[],
        }
    }

    /// Every router it sends to.
    pub(super) fn gateways(&self) -> impl Iterator<Item = Ipv4Address> {
        let single = if self.hops().is_empty() { self.gateway() } else { None };
        single.into_iter().chain(self.hops().iter().filter_map(|hop| hop.gateway))
    }

    /// The order of `ip route`: by network, longer prefixes first, then by metric.
    pub(super) fn key(&self) -> (u32, u8, u32) {
        key(self.destination, self.metric)
    }
}

pub(super) fn key(destination: Ipv4Cidr, metric: u32) -> (u32, u8, u32) {
    (destination.address().to_bits(), 32 - destination.prefix_len(), metric)
}

impl RouteSelector {
    /// Whether `route` is meant.
    pub fn matches(&self, route: &Route) -> bool {
        fn fits<T: PartialEq>(wanted: Option<T>, have: Option<T>) -> bool {
            wanted.is_none() || wanted == have
        }
        fits(self.kind, Some(route.kind_name()))
            && fits(self.interface, route.interface())
            && fits(self.gateway, route.gateway())
            && fits(self.metric, Some(route.metric))
            && fits(self.source, route.source)
            && fits(self.scope, Some(route.scope))
            && fits(self.protocol, Some(route.protocol))
            && route.metrics.fit(self.metrics)
            && self.means_hops(route.hops())
    }

    fn means_hops(&self, hops: &[RouteHop]) -> bool {
        let equal = |(wanted, hop): (&NewHop, &RouteHop)| wanted.means(hop);
        self.hops.is_empty() || (self.hops.len() == hops.len() && self.hops.iter().zip(hops).all(equal))
    }
}
