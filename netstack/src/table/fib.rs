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
        let loopback = &config.interface(InterfaceId::LOOPBACK).addresses;
        let mut best: BTreeMap<(Ipv4Address, u8), &Route> = BTreeMap::new();
        for route in &config.routes {
            let usable = match route.kind {
                RouteKind::Unicast { interface, .. } => config.interface(interface).up,
                _ => true,
            };
            let network = route.destination.network();
            // The local table comes first whole: no route is more specific than 127/8.
            let hidden = loopback.iter().any(|address| address.cidr.contains_subnet(&network));
            if !usable || hidden {
                continue;
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{PortInfo, interface::InterfaceAddress, route::RouteProtocol},
        test_support::interface_address,
    };
    use alloc::vec;
    use smoltcp::wire::EthernetAddress;

    const ETH0: InterfaceId = InterfaceId(1);
    const ETH1: InterfaceId = InterfaceId(2);

    fn ip(text: &str) -> Ipv4Address {
        text.parse().unwrap()
    }

    fn via(destination: &str, interface: InterfaceId, gateway: Option<&str>) -> Route {
        Route {
            destination: destination.parse().unwrap(),
            kind: RouteKind::Unicast { interface, gateway: gateway.map(ip), onlink: false },
            metric: 0,
            source: None,
            scope: if gateway.is_some() { Scope::Global } else { Scope::Link },
            protocol: RouteProtocol::Boot,
        }
    }

    /// eth0 192.168.1.1/24 and eth1 10.0.2.15/24, up, with the default route via 10.0.2.2.
    fn gateway() -> Config {
        let port = PortInfo::new(EthernetAddress([2, 0, 0, 0, 0, 1]), 1500);
        let mut config = Config::new(&[port, port]);
        config.interfaces[1].addresses.push(interface_address("192.168.1.1/24"));
        config.interfaces[2].addresses.push(interface_address("10.0.2.15/24"));
        config.routes = vec![
            via("0.0.0.0/0", ETH1, Some("10.0.2.2")),
            via("10.0.2.0/24", ETH1, None),
            via("192.168.1.0/24", ETH0, None),
        ];
        config.interfaces[1].up = true;
        config.interfaces[2].up = true;
        config
    }

    fn lookup(config: &Config, destination: &str) -> Destination {
        Fib::build(config).lookup(ip(destination))
    }

    fn next_hop(config: &Config, destination: &str) -> NextHop {
        match lookup(config, destination) {
            Destination::Unicast(next_hop) => next_hop,
            other => panic!("{destination}: {other:?}"),
        }
    }

    #[test]
    fn says_what_every_kind_of_address_is() {
        let config = gateway();
        let local = |interface| Destination::Local { interface };
        let broadcast = |interface| Destination::Broadcast { interface };
        for (destination, expected) in [
            ("192.168.1.1", local(ETH0)),
            ("10.0.2.15", local(ETH1)),
            ("127.0.0.1", local(InterfaceId::LOOPBACK)),
            ("127.99.0.1", local(InterfaceId::LOOPBACK)),
            ("192.168.1.255", broadcast(Some(ETH0))),
            ("10.0.2.255", broadcast(Some(ETH1))),
            ("255.255.255.255", broadcast(None)),
            ("224.0.0.1", Destination::Multicast),
            ("239.255.255.250", Destination::Multicast),
        ] {
            assert_eq!(lookup(&config, destination), expected, "{destination}");
        }
        let on_link = next_hop(&config, "192.168.1.77");
        assert_eq!((on_link.interface, on_link.gateway, on_link.mtu), (ETH0, None, 1500));
        let outside = next_hop(&config, "198.51.100.7");
        assert_eq!((outside.interface, outside.neighbor(ip("198.51.100.7"))), (ETH1, ip("10.0.2.2")));
    }

    #[test]
    fn a_network_address_is_a_host_as_on_linux() {
        assert_eq!(next_hop(&gateway(), "192.168.1.0").interface, ETH0);
    }

    #[test]
    fn a_point_to_point_network_has_no_broadcast_address() {
        let mut config = gateway();
        config.interfaces[1].addresses[0] = interface_address("192.168.1.0/31");
        config.routes[2] = via("192.168.1.0/31", ETH0, None);
        assert_eq!(lookup(&config, "192.168.1.0"), Destination::Local { interface: ETH0 });
        assert_eq!(next_hop(&config, "192.168.1.1").interface, ETH0);
    }

    #[test]
    fn a_broadcast_address_that_was_set_counts_beside_the_computed_one() {
        let mut config = gateway();
        config.interfaces[1].addresses[0].broadcast = Some(ip("192.168.1.200"));
        for destination in ["192.168.1.200", "192.168.1.255"] {
            assert_eq!(lookup(&config, destination), Destination::Broadcast { interface: Some(ETH0) });
        }
    }

    #[test]
    fn an_interface_that_is_down_has_no_routes_but_keeps_its_addresses() {
        let mut config = gateway();
        config.interfaces[2].up = false;
        assert_eq!(lookup(&config, "198.51.100.7"), Destination::NoRoute);
        assert_eq!(lookup(&config, "10.0.2.255"), Destination::NoRoute);
        assert_eq!(lookup(&config, "10.0.2.15"), Destination::Local { interface: ETH1 });
    }

    #[test]
    fn of_equal_prefixes_the_lowest_metric_wins() {
        let mut config = gateway();
        config.routes.push(Route { metric: 5, ..via("203.0.113.0/24", ETH0, Some("192.168.1.9")) });
        config.routes.push(Route { metric: 3, ..via("203.0.113.0/24", ETH1, Some("10.0.2.9")) });
        config.routes.push(Route { metric: 3, ..via("203.0.113.0/24", ETH0, Some("192.168.1.8")) });
        assert_eq!(next_hop(&config, "203.0.113.1").gateway, Some(ip("10.0.2.9")));
        config.interfaces[2].up = false;
        assert_eq!(next_hop(&config, "203.0.113.1").gateway, Some(ip("192.168.1.8")));
    }

    #[test]
    fn routes_that_refuse_say_how() {
        for (kind, expected) in [
            (RouteKind::Blackhole, Destination::Blackhole),
            (RouteKind::Unreachable, Destination::Unreachable),
            (RouteKind::Prohibit, Destination::Prohibit),
        ] {
            let mut config = gateway();
            config.routes.push(Route { kind, ..via("203.0.113.0/24", ETH0, None) });
            assert_eq!(lookup(&config, "203.0.113.1"), expected);
        }
    }

    #[test]
    fn no_route_hides_an_own_address() {
        let mut config = gateway();
        config.routes.push(via("192.168.1.1/32", ETH1, Some("10.0.2.9")));
        config.routes.push(via("127.1.0.0/16", ETH1, Some("10.0.2.9")));
        assert_eq!(lookup(&config, "192.168.1.1"), Destination::Local { interface: ETH0 });
        assert_eq!(lookup(&config, "127.1.0.1"), Destination::Local { interface: InterfaceId::LOOPBACK });
    }

    #[test]
    fn picks_the_source_address_that_linux_picks() {
        let mut config = gateway();
        config.interfaces[2].addresses.push(interface_address("10.0.3.15/24"));
        config.interfaces[2]
            .addresses
            .push(InterfaceAddress { scope: Scope::Link, ..interface_address("169.254.1.1/16") });
        config.routes.push(via("203.0.113.0/24", ETH1, Some("10.0.3.1")));
        config
            .routes
            .push(Route { source: Some(ip("192.168.1.1")), ..via("203.0.114.0/24", ETH1, Some("10.0.2.2")) });
        let fib = Fib::build(&config);
        for (destination, source) in [
            ("198.51.100.7", Some("10.0.2.15")),  // in the network of the gateway
            ("203.0.113.1", Some("10.0.3.15")),   // of another gateway
            ("203.0.114.1", Some("192.168.1.1")), // as the route says
            ("192.168.1.77", Some("192.168.1.1")),
            ("192.168.1.1", Some("192.168.1.1")), // to itself
            ("224.0.0.1", None),
        ] {
            assert_eq!(fib.source_for(ip(destination)), source.map(ip), "{destination}");
        }
    }

    #[test]
    fn an_address_of_the_link_is_no_source_for_what_lies_beyond() {
        let mut config = gateway();
        config.interfaces[2].addresses[0].scope = Scope::Link;
        let fib = Fib::build(&config);
        assert_eq!(fib.source_for(ip("198.51.100.7")), None);
        assert_eq!(fib.source_for(ip("10.0.2.2")), Some(ip("10.0.2.15")));
    }

    #[test]
    fn the_reverse_path_check_knows_three_kinds_of_strictness() {
        use ReversePath::{Loose, Off, Strict};
        let fib = Fib::build(&gateway());
        for (source, ingress, off, strict, loose) in [
            ("192.168.1.77", ETH0, true, true, true),
            ("192.168.1.77", ETH1, true, false, true),
            ("198.51.100.7", ETH0, true, false, true),
            ("192.168.1.255", ETH0, true, false, false),
        ] {
            let answers = [Off, Strict, Loose].map(|mode| fib.reverse_path(ip(source), ingress, mode));
            assert_eq!(answers, [off, strict, loose], "{source}");
        }
        let mut closed = gateway();
        closed.routes.remove(0);
        assert!(!Fib::build(&closed).reverse_path(ip("198.51.100.7"), ETH1, Loose), "no way back");
    }
}
