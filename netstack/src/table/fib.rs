//! The forwarding table: one lookup says what an address is to this router. Read RFC 1812 5.2.4.3 first.
//!
//! It is built from the configuration and never changed: another configuration makes another table. It merges
//! what Linux keeps in two (`ip route show table local`, then `main`): own and broadcast addresses come first.

use super::lpm::Lpm;
use crate::{
    config::{
        Config,
        interface::{Interface, InterfaceKind, ReversePath, Scope},
        route::{Route, RouteKind},
    },
    interface::InterfaceId,
};
use alloc::{collections::BTreeMap, vec::Vec};
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// What an address is to this router.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Destination {
    /// One of its own addresses (127/8 included), whichever interface the packet came in on.
    Local {
        /// The interface that has the address, up or down.
        interface: InterfaceId,
    },
    /// A broadcast address.
    Broadcast {
        /// On the link of this interface; `None`: 255.255.255.255, on whichever link.
        interface: Option<InterfaceId>,
    },
    /// A group (224/4).
    Multicast,
    /// Reached through an interface that is up.
    Unicast(NextHop),
    /// Dropped silently.
    Blackhole,
    /// Dropped, and the sender is told 3/1 (host unreachable).
    Unreachable,
    /// Dropped, and the sender is told 3/13 (administratively prohibited).
    Prohibit,
    /// No route: the sender is told 3/0 (network unreachable).
    NoRoute,
}

/// Where a packet goes next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NextHop {
    /// Out of this interface.
    pub interface: InterfaceId,
    /// To this router; `None`: the destination itself is on the link.
    pub gateway: Option<Ipv4Address>,
    /// Source of what the router itself sends this way; `None`: it has no address that would do.
    pub source: Option<Ipv4Address>,
    /// Largest IP packet of the interface, in bytes.
    pub mtu: u16,
}

impl NextHop {
    /// The address whose MAC is asked for.
    #[inline]
    pub fn neighbor(&self, destination: Ipv4Address) -> Ipv4Address {
        self.gateway.unwrap_or(destination)
    }
}

/// An answer as it is kept: with the source that goes with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    destination: Destination,
    source: Option<Ipv4Address>,
}

/// The forwarding table.
#[derive(Default)]
pub struct Fib {
    prefixes: Lpm,
    entries: Vec<Entry>,
}

impl Fib {
    /// The table of a configuration.
    pub fn build(config: &Config) -> Self {
        let mut builder = Builder { fib: Self::default(), known: BTreeMap::new() };
        builder.add_routes(config);
        builder.add_addresses(config);
        builder.fib
    }

    /// What `address` is, as a destination.
    #[inline]
    pub fn lookup(&self, address: Ipv4Address) -> Destination {
        if address.is_multicast() {
            return Destination::Multicast;
        }
        if address.is_broadcast() {
            return Destination::Broadcast { interface: None };
        }
        match self.prefixes.lookup(address) {
            Some(entry) => self.entries[entry as usize].destination,
            None => Destination::NoRoute,
        }
    }

    /// Whether `address` is one of the router's own.
    pub fn is_local(&self, address: Ipv4Address) -> bool {
        matches!(self.lookup(address), Destination::Local { .. })
    }

    /// The source address of what the router itself sends to `destination`, as Linux picks it: that of the route
    /// (`src`), else the interface's primary address in the gateway's network, else its first one of the
    /// route's scope. `None` where there is no way to `destination`.
    pub fn source_for(&self, destination: Ipv4Address) -> Option<Ipv4Address> {
        if destination.is_multicast() || destination.is_broadcast() {
            return None;
        }
        self.entries.get(self.prefixes.lookup(destination)? as usize)?.source
    }

    /// Whether a packet from `source` may come in on `ingress` (`rp_filter`, RFC 3704 2.2 and 2.4). The router's own
    /// addresses, broadcast and refused ones are no sources, unless the check is off.
    pub fn reverse_path(&self, source: Ipv4Address, ingress: InterfaceId, mode: ReversePath) -> bool {
        match (mode, self.lookup(source)) {
            (ReversePath::Off, _) => true,
            (ReversePath::Strict, Destination::Unicast(next_hop)) => next_hop.interface == ingress,
            (ReversePath::Loose, Destination::Unicast(_)) => true,
            _ => false,
        }
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

struct Builder {
    fib: Fib,
    /// Entries that are there already: a million routes share a handful.
    known: BTreeMap<Entry, u32>,
}

impl Builder {
    fn put(&mut self, prefix: Ipv4Cidr, entry: Entry) {
        let entries = &mut self.fib.entries;
        let index = *self.known.entry(entry).or_insert_with(|| {
            entries.push(entry);
            entries.len() as u32 - 1
        });
        self.fib.prefixes.insert(prefix, index);
    }

    /// The main table. Of several routes for one network the lowest metric wins, and among equals the first.
    fn add_routes(&mut self, config: &Config) {
        let mut best: BTreeMap<(Ipv4Address, u8), &Route> = BTreeMap::new();
        for route in &config.routes {
            let usable = match route.kind {
                RouteKind::Unicast { interface, .. } => config.interface(interface).up,
                _ => true,
            };
            if !usable {
                continue;
            }
            let network = route.destination.network();
            best.entry((network.address(), network.prefix_len()))
                .and_modify(|held| {
                    if route.metric < held.metric {
                        *held = route;
                    }
                })
                .or_insert(route);
        }
        for ((network, length), route) in best {
            self.put(Ipv4Cidr::new(network, length), entry_of(route, config));
        }
    }

    /// The local table, over the main one: as Linux's `fib_add_ifaddr` makes it of every address.
    fn add_addresses(&mut self, config: &Config) {
        for (id, interface) in config.interfaces() {
            if !interface.up {
                continue;
            }
            for address in &interface.addresses {
                let computed = match address.cidr.prefix_len() {
                    0..=30 if !address.secondary => address.cidr.broadcast(),
                    _ => None,
                };
                for broadcast in [address.broadcast, computed].into_iter().flatten() {
                    let destination = Destination::Broadcast { interface: Some(id) };
                    let source = Some(address.cidr.address());
                    self.put(Ipv4Cidr::new(broadcast, 32), Entry { destination, source });
                }
            }
        }
        for (id, interface) in config.interfaces() {
            let destination = Destination::Local { interface: id };
            for address in &interface.addresses {
                let source = Some(address.cidr.address());
                let entry = Entry { destination, source };
                self.put(Ipv4Cidr::new(address.cidr.address(), 32), entry);
                if interface.kind == InterfaceKind::Loopback && interface.up && !address.secondary {
                    self.put(address.cidr.network(), entry);
                }
            }
        }
    }
}

fn entry_of(route: &Route, config: &Config) -> Entry {
    let destination = match route.kind {
        RouteKind::Unicast { interface: id, gateway, .. } => {
            let interface = config.interface(id);
            let source = route.source.or_else(|| source_on(interface, gateway, route.scope));
            Destination::Unicast(NextHop { interface: id, gateway, source, mtu: interface.mtu })
        }
        RouteKind::Blackhole => Destination::Blackhole,
        RouteKind::Unreachable => Destination::Unreachable,
        RouteKind::Prohibit => Destination::Prohibit,
    };
    let source = match destination {
        Destination::Unicast(next_hop) => next_hop.source,
        _ => None,
    };
    Entry { destination, source }
}
