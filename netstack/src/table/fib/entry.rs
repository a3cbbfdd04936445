//! What the configuration says about one network, as Linux's `fib_add_ifaddr` and fib_semantics.c have it.

use super::{Destination, NextHop};
use crate::{
    config::{
        Config,
        interface::{Interface, InterfaceKind, MTU_MIN, Scope},
        policy::TableId,
        route::{Route, RouteKind, RouteMetrics},
    },
    interface::InterfaceId,
    stage::mss,
};
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// An answer as it is kept: with the source that goes with it. Of several next hops it holds the first one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub destination: Destination,
    pub source: Option<Ipv4Address>,
}

impl Entry {
    fn is_local(self) -> bool {
        matches!(self.destination, Destination::Local { .. })
    }
}

/// What the configuration says about exactly this network in the tables `local` and `main`.
pub fn entry_for(network: Ipv4Cidr, config: &Config) -> Option<Entry> {
    local_entry(network, config).or_else(|| {
        let loopback = &config.interface(InterfaceId::LOOPBACK).addresses;
        // The local table comes first whole: no route is more specific than 127/8.
        if loopback.iter().any(|address| address.cidr.contains_subnet(&network)) {
            return None;
        }
        let destination = destination_of(config.route_in_use(TableId::MAIN, network)?, config);
        let source = match destination {
            Destination::Unicast(next_hop) => next_hop.source,
            _ => None,
        };
        Some(Entry { destination, source })
    })
}

/// Every network of the local table.
pub fn local_networks(config: &Config) -> impl Iterator<Item = Ipv4Cidr> {
    let addresses = config.interfaces().flat_map(|(_, interface)| &interface.addresses);
    addresses.flat_map(|address| {
        let hosts = [Some(address.cidr.address()), address.broadcast, address.cidr.broadcast()];
        let hosts = hosts.into_iter().flatten().map(|host| Ipv4Cidr::new(host, 32));
        hosts.chain([address.cidr.network()])
    })
}

/// The local table, as Linux's `fib_add_ifaddr` makes it of every address. Own addresses come before broadcast ones, and
/// of equal ones the last.
fn local_entry(network: Ipv4Cidr, config: &Config) -> Option<Entry> {
    let host = (network.prefix_len() == 32).then(|| network.address());
    let mut found = None;
    for (id, interface) in config.interfaces() {
        let whole = interface.kind == InterfaceKind::Loopback && interface.up;
        for address in &interface.addresses {
            let own = Some(address.cidr.address()) == host
                || (whole && !address.secondary && address.cidr.network() == network);
            let computed = match address.cidr.prefix_len() {
                0..=30 if !address.secondary => address.cidr.broadcast(),
                _ => None,
            };
            let broadcast = interface.up && host.is_some() && (address.broadcast == host || computed == host);
            let source = Some(address.cidr.address());
            if own {
                found = Some(Entry { destination: Destination::Local { interface: id }, source });
            } else if broadcast && !found.is_some_and(Entry::is_local) {
                let destination = Destination::Broadcast { interface: Some(id) };
                found = Some(Entry { destination, source });
            }
        }
    }
    found
}

/// What a route makes of its destinations; of several ways, the first one that can be taken.
pub fn destination_of(route: &Route, config: &Config) -> Destination {
    match &route.kind {
        &RouteKind::Unicast { interface, gateway, .. } => {
            Destination::Unicast(next_hop(interface, gateway, route, config))
        }
        RouteKind::Multipath(_) => {
            hops_of(route, config).next().map_or(Destination::NoRoute, |hop| Destination::Unicast(hop.next))
        }
        RouteKind::Blackhole => Destination::Blackhole,
        RouteKind::Unreachable => Destination::Unreachable,
        RouteKind::Prohibit => Destination::Prohibit,
        RouteKind::Throw => Destination::NoRoute,
    }
}

/// The ways of a route that can be taken now.
pub fn hops_of<'a>(route: &'a Route, config: &'a Config) -> impl Iterator<Item = Hop> + Clone {
    let usable = route.hops().iter().filter(|hop| config.is_usable(hop.interface));
    usable.map(|hop| Hop { next: next_hop(hop.interface, hop.gateway, route, config), weight: hop.weight })
}

/// One of several next hops.
#[derive(Clone, Copy)]
pub struct Hop {
    pub next: NextHop,
    pub weight: u16,
}

fn next_hop(id: InterfaceId, gateway: Option<Ipv4Address>, route: &Route, config: &Config) -> NextHop {
    let interface = config.interface(id);
    let source = route.source.or_else(|| source_on(interface, gateway, route.scope));
    let mtu = path_mtu(&route.metrics, interface);
    let advmss = match route.metrics.advmss {
        0 => mss::of_mtu(mtu),
        advmss => advmss.min(mss::of_mtu(mtu)),
    };
    NextHop { interface: id, gateway, source, mtu, advmss }
}

/// The largest packet that a route lets through: what it says, as far as the interface carries it.
fn path_mtu(metrics: &RouteMetrics, interface: &Interface) -> u16 {
    match metrics.mtu {
        0 => interface.mtu,
        mtu => mtu.clamp(MTU_MIN, interface.mtu),
    }
}

/// The address that an interface sends from, as Linux's `inet_select_addr`: the first primary one of a scope no
/// narrower than `scope`, preferably in the network of `target`.
pub fn source_on(interface: &Interface, target: Option<Ipv4Address>, scope: Scope) -> Option<Ipv4Address> {
    let mut eligible = interface
        .addresses
        .iter()
        .filter(|address| !address.secondary && reach(address.scope) <= reach(scope));
    let first = eligible.clone().next()?;
    let best = match target {
        Some(target) => eligible.find(|address| address.cidr.contains_addr(&target)).unwrap_or(first),
        None => first,
    };
    Some(best.cidr.address())
}

/// Linux's order of scopes: the larger, the narrower.
fn reach(scope: Scope) -> u8 {
    match scope {
        Scope::Global => 0,
        Scope::Link => 253,
        Scope::Host => 254,
    }
}
