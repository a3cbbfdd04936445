//! The forwarding table: one lookup says what an address is to this router. Read RFC 1812 5.2.4.3 first.
//!
//! It follows from the configuration alone, network by network: a route that changes changes the answers for its own
//! network and no more. It merges what Linux keeps in two (`ip route show table local`, then `main`): own and
//! broadcast addresses come first.

use super::lpm::Lpm;
use crate::{
    config::{
        Config,
        interface::{Interface, InterfaceKind, MTU_MIN, ReversePath, Scope},
        route::{Route, RouteKind, RouteMetrics},
    },
    interface::InterfaceId,
    stage::mss,
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
    /// Largest IP packet that may go this way, in bytes.
    pub mtu: u16,
    /// Largest segment that the router's own TCP connections ask for, in bytes.
    pub advmss: u16,
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
    /// What prefixes lead to: a million routes share a handful.
    entries: Vec<Entry>,
    /// Where each entry is.
    known: BTreeMap<Entry, u32>,
}

impl Fib {
    /// Bytes that a route takes among many, about, with its place in the configuration.
    pub const BYTES_PER_ROUTE: usize = 64;

    /// Entries that no prefix leads to any more are kept until there are more than this, and as many again as there are routes.
    const SPARE_ENTRIES: usize = 1024;

    /// The table of a configuration.
    pub fn build(config: &Config) -> Self {
        let mut fib = Self::default();
        // Equal networks follow one another.
        let mut last = None;
        for network in config.routes.iter().map(|route| route.destination) {
            if last.replace(network) != Some(network) {
                fib.update(config, network);
            }
        }
        for network in local_networks(config) {
            fib.update(config, network);
        }
        fib
    }

    /// Takes over what the configuration says now about routes to exactly this network.
    pub fn update(&mut self, config: &Config, network: Ipv4Cidr) {
        if let Some(entry) = entry_for(network, config) {
            if self.entries.len() > Self::SPARE_ENTRIES + 2 * config.routes.len() {
                *self = Self::build(config);
            }
            let value = self.value_of(entry);
            return self.prefixes.insert(network, value);
        }
        let shorter = (0..network.prefix_len()).rev();
        let heir = shorter.into_iter().find_map(|length| {
            let covering = Ipv4Cidr::new(network.address(), length).network();
            Some((length, entry_for(covering, config)?))
        });
        let heir = heir.map(|(length, entry)| (length, self.value_of(entry)));
        self.prefixes.remove(network, heir);
    }

    /// Bytes of memory that it owns, about.
    pub fn bytes(&self) -> usize {
        self.prefixes.bytes() + self.entries.capacity() * size_of::<Entry>()
    }

    fn value_of(&mut self, entry: Entry) -> u32 {
        let entries = &mut self.entries;
        *self.known.entry(entry).or_insert_with(|| {
            entries.push(entry);
            entries.len() as u32 - 1
        })
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

/// What the configuration says about exactly this network.
fn entry_for(network: Ipv4Cidr, config: &Config) -> Option<Entry> {
    local_entry(network, config).or_else(|| {
        let loopback = &config.interface(InterfaceId::LOOPBACK).addresses;
        // The local table comes first whole: no route is more specific than 127/8.
        if loopback.iter().any(|address| address.cidr.contains_subnet(&network)) {
            return None;
        }
        Some(entry_of(config.route_in_use(network)?, config))
    })
}

/// Every network of the local table.
fn local_networks(config: &Config) -> impl Iterator<Item = Ipv4Cidr> {
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

impl Entry {
    fn is_local(self) -> bool {
        matches!(self.destination, Destination::Local { .. })
    }
}

fn entry_of(route: &Route, config: &Config) -> Entry {
    let destination = match route.kind {
        RouteKind::Unicast { interface: id, gateway, .. } => {
            let interface = config.interface(id);
            let source = route.source.or_else(|| source_on(interface, gateway, route.scope));
            let mtu = path_mtu(&route.metrics, interface);
            let advmss = match route.metrics.advmss {
                0 => mss::of_mtu(mtu),
                advmss => advmss.min(mss::of_mtu(mtu)),
            };
            Destination::Unicast(NextHop { interface: id, gateway, source, mtu, advmss })
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

/// The largest packet that a route lets through: what it says, as far as the interface carries it.
fn path_mtu(metrics: &RouteMetrics, interface: &Interface) -> u16 {
    match metrics.mtu {
        0 => interface.mtu,
        mtu => mtu.clamp(MTU_MIN, interface.mtu),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{
            Change, PortInfo, StaleRoutes,
            interface::InterfaceAddress,
            route::{NewRoute, RouteAction, RouteMetrics, RouteMode, RouteProtocol, RouteSelector},
            tests::cidr,
        },
        test_support::{interface_address, property},
    };
    use proptest::prelude::*;
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
            metrics: RouteMetrics::default(),
        }
    }

    /// eth0 192.168.1.1/24 and eth1 10.0.2.15/24, up, with the default route via 10.0.2.2.
    fn gateway() -> Config {
        let port = PortInfo::new(EthernetAddress([2, 0, 0, 0, 0, 1]), 1500);
        let mut config = Config::new(&[port, port]);
        config.interfaces[1].addresses.push(interface_address("192.168.1.1/24"));
        config.interfaces[2].addresses.push(interface_address("10.0.2.15/24"));
        config.routes.extend([
            via("0.0.0.0/0", ETH1, Some("10.0.2.2")),
            via("10.0.2.0/24", ETH1, None),
            via("192.168.1.0/24", ETH0, None),
        ]);
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
        config.routes.extend([via("192.168.1.0/31", ETH0, None)]);
        config.routes.retain(|route| route.destination != cidr("192.168.1.0/24"));
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
        config.routes.extend([Route { metric: 5, ..via("203.0.113.0/24", ETH0, Some("192.168.1.9")) }]);
        config.routes.extend([Route { metric: 3, ..via("203.0.113.0/24", ETH1, Some("10.0.2.9")) }]);
        config.routes.extend([Route { metric: 3, ..via("203.0.113.0/24", ETH0, Some("192.168.1.8")) }]);
        assert_eq!(next_hop(&config, "203.0.113.1").gateway, Some(ip("10.0.2.9")));
        config.interfaces[2].up = false;
        assert_eq!(next_hop(&config, "203.0.113.1").gateway, Some(ip("192.168.1.8")));
    }

    #[test]
    fn a_route_lowers_the_mtu_of_its_interface_and_never_raises_it() {
        for (mtu, advmss, expected) in [
            (0, 0, (1500, 1460)),
            (1400, 0, (1400, 1360)),
            (1400, 1000, (1400, 1000)),
            (9000, 9000, (1500, 1460)),
            (1, 0, (68, 28)),
        ] {
            let mut config = gateway();
            let metrics = RouteMetrics { mtu, advmss, ..RouteMetrics::default() };
            config.routes.extend([Route { metrics, ..via("203.0.113.0/24", ETH0, None) }]);
            let hop = next_hop(&config, "203.0.113.1");
            assert_eq!((hop.mtu, hop.advmss), expected);
        }
    }

    #[test]
    fn routes_that_refuse_say_how() {
        for (kind, expected) in [
            (RouteKind::Blackhole, Destination::Blackhole),
            (RouteKind::Unreachable, Destination::Unreachable),
            (RouteKind::Prohibit, Destination::Prohibit),
        ] {
            let mut config = gateway();
            config.routes.extend([Route { kind, ..via("203.0.113.0/24", ETH0, None) }]);
            assert_eq!(lookup(&config, "203.0.113.1"), expected);
        }
    }

    #[test]
    fn no_route_hides_an_own_address() {
        let mut config = gateway();
        config.routes.extend([via("192.168.1.1/32", ETH1, Some("10.0.2.9"))]);
        config.routes.extend([via("127.1.0.0/16", ETH1, Some("10.0.2.9"))]);
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
        config.routes.extend([via("203.0.113.0/24", ETH1, Some("10.0.3.1"))]);
        config.routes.extend([Route {
            source: Some(ip("192.168.1.1")),
            ..via("203.0.114.0/24", ETH1, Some("10.0.2.2"))
        }]);
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
        closed.routes.retain(|route| route.destination.prefix_len() > 0);
        assert!(!Fib::build(&closed).reverse_path(ip("198.51.100.7"), ETH1, Loose), "no way back");
    }

    #[test]
    fn what_no_route_names_any_more_is_forgotten_in_the_end() {
        let mut config = gateway();
        let mut fib = Fib::build(&config);
        for number in 0..4 * Fib::SPARE_ENTRIES as u32 {
            let gateway = Ipv4Address::from_bits(ip("10.0.2.0").to_bits() + number);
            let kind = RouteKind::Unicast { interface: ETH1, gateway: Some(gateway), onlink: true };
            config.routes.retain(|route| route.destination != cidr("203.0.113.0/24"));
            config.routes.extend([Route { kind, ..via("203.0.113.0/24", ETH1, None) }]);
            fib.update(&config, cidr("203.0.113.0/24"));
            assert_eq!(fib.lookup(ip("203.0.113.1")), Fib::build(&config).lookup(ip("203.0.113.1")));
        }
        assert!(fib.entries.len() < 2 * Fib::SPARE_ENTRIES);
    }

    proptest! {
        #![proptest_config(property())]

        /// Networks that contain each other and the router's own, by two gateways, are added and deleted.
        #[test]
        fn changes_one_by_one_lead_to_the_table_of_the_whole(
            steps in prop::collection::vec((0..6u8, 8..=32u8, 0..3u32, any::<[bool; 3]>()), 1..60),
        ) {
            let mut config = gateway();
            let mut fib = Fib::build(&config);
            let bases = ["10.0.2.15", "10.0.2.255", "192.168.1.77", "127.1.0.1", "203.0.113.9", "203.0.113.77"];
            for (base, length, metric, [delete, first_gateway, blackhole]) in steps {
                let destination = Ipv4Cidr::new(ip(bases[usize::from(base)]), length).network();
                let gateway = if first_gateway { "10.0.2.2" } else { "192.168.1.2" };
                let unicast = RouteAction::Unicast { interface: None, gateway: Some(ip(gateway)), onlink: false };
                let action = if blackhole { RouteAction::Blackhole } else { unicast };
                let new = NewRoute {
                    destination,
                    action,
                    metric,
                    source: None,
                    scope: None,
                    protocol: RouteProtocol::Boot,
                    metrics: RouteMetrics { mtu: 100 * metric as u16, ..RouteMetrics::default() },
                };
                let change = match delete {
                    true => config.delete_route(destination, &RouteSelector::default()),
                    false => config.add_route(&new, RouteMode::Replace),
                };
                if let Ok(Change { routes: StaleRoutes::To(network), .. }) = change {
                    fib.update(&config, network);
                }
            }
            let whole = Fib::build(&config);
            for address in bases.map(ip) {
                for bits in 0..32 {
                    let near = Ipv4Address::from_bits(address.to_bits() ^ 1 << bits);
                    prop_assert_eq!(fib.lookup(near), whole.lookup(near), "{}", near);
                    prop_assert_eq!(fib.source_for(near), whole.source_for(near), "{}", near);
                }
            }
        }
    }
}
