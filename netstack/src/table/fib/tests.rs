//! Tables made of configurations, and what they say.

use super::*;
use crate::{
    config::{
        Change, PortInfo, StaleRoutes,
        interface::{InterfaceAddress, Scope},
        policy::{Mark, RuleDescription},
        route::{
            NewHop, NewRoute, Route, RouteAction, RouteHop, RouteKind, RouteMetrics, RouteMode,
            RouteProtocol, RouteSelector,
        },
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

fn built(config: &Config) -> Fib {
    let mut fib = Fib::new([0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03]);
    fib.rebuild(config);
    fib
}

fn lookup(config: &Config, destination: &str) -> Destination {
    built(config).lookup(ip(destination))
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
    config.routes.retain(&|route: &Route| route.destination != cidr("192.168.1.0/24"));
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
    config
        .routes
        .extend([Route { source: Some(ip("192.168.1.1")), ..via("203.0.114.0/24", ETH1, Some("10.0.2.2")) }]);
    let fib = built(&config);
    for (destination, source) in [
        ("198.51.100.7", Some("10.0.2.15")),  // in the network of the gateway
        ("203.0.113.1", Some("10.0.3.15")),   // of another gateway
        ("203.0.114.1", Some("192.168.1.1")), // as the route says
        ("192.168.1.77", Some("192.168.1.1")),
        ("192.168.1.1", Some("192.168.1.1")), // to itself
        ("224.0.0.1", None),
    ] {
        assert_eq!(fib.source_for(&config, ip(destination)), source.map(ip), "{destination}");
    }
}

#[test]
fn an_address_of_the_link_is_no_source_for_what_lies_beyond() {
    let mut config = gateway();
    config.interfaces[2].addresses[0].scope = Scope::Link;
    let fib = built(&config);
    assert_eq!(fib.source_for(&config, ip("198.51.100.7")), None);
    assert_eq!(fib.source_for(&config, ip("10.0.2.2")), Some(ip("10.0.2.15")));
}

/// Whether a packet may come in where it did.
fn leads_back(
    config: &Config,
    source: &str,
    destination: &str,
    ingress: InterfaceId,
    mode: ReversePath,
) -> bool {
    let packet = || Query { source: ip(source), ingress, ..Query::to(ip(destination)) };
    built(config).reverse_path(config, (ip(source), ingress), packet, mode)
}

#[test]
fn the_reverse_path_check_knows_three_kinds_of_strictness() {
    use ReversePath::{Loose, Off, Strict};
    let config = gateway();
    for (source, ingress, off, strict, loose) in [
        ("192.168.1.77", ETH0, true, true, true),
        ("192.168.1.77", ETH1, true, false, true),
        ("198.51.100.7", ETH0, true, false, true),
        ("192.168.1.255", ETH0, true, false, false),
    ] {
        let answers =
            [Off, Strict, Loose].map(|mode| leads_back(&config, source, "10.0.2.15", ingress, mode));
        assert_eq!(answers, [off, strict, loose], "{source}");
    }
    let mut closed = gateway();
    closed.routes.retain(&|route: &Route| route.destination.prefix_len() > 0);
    assert!(!leads_back(&closed, "198.51.100.7", "10.0.2.15", ETH1, Loose), "no way back");
}

#[test]
fn what_no_route_names_any_more_is_forgotten_in_the_end() {
    let mut config = gateway();
    let mut fib = built(&config);
    for number in 0..4 * Fib::SPARE_ENTRIES as u32 {
        let gateway = Ipv4Address::from_bits(ip("10.0.2.0").to_bits() + number);
        let kind = RouteKind::Unicast { interface: ETH1, gateway: Some(gateway), onlink: true };
        config.routes.retain(&|route: &Route| route.destination != cidr("203.0.113.0/24"));
        config.routes.extend([Route { kind, ..via("203.0.113.0/24", ETH1, None) }]);
        fib.update(&config, TableId::MAIN, cidr("203.0.113.0/24"));
        assert_eq!(fib.lookup(ip("203.0.113.1")), built(&config).lookup(ip("203.0.113.1")));
    }
    assert!(fib.entries.len() < 2 * Fib::SPARE_ENTRIES);
}

/// A rule with this priority that says what `change` makes of it.
fn rule(config: &mut Config, priority: u32, change: impl FnOnce(&mut RuleDescription)) {
    let mut rule = RuleDescription { priority: Some(priority), ..RuleDescription::default() };
    change(&mut rule);
    config.add_rule(&rule).unwrap();
}

/// A route of table `table`, via a gateway.
fn add(config: &mut Config, table: TableId, destination: &str, gateway: &str) {
    let hop = NewHop { interface: None, gateway: Some(ip(gateway)), onlink: false, weight: 1 };
    let new = NewRoute {
        action: RouteAction::Unicast(hop),
        ..NewRoute::again(table, &via(destination, ETH1, Some(gateway)))
    };
    config.add_route(&new, RouteMode::Add).unwrap();
}

const T: TableId = TableId(100);

/// Where a packet from `source` to 198.51.100.7 goes that came in on eth0 with this mark.
fn taken(config: &Config, source: &str, mark: u32) -> Destination {
    let query = Query { source: ip(source), ingress: ETH0, mark, ..Query::to(ip("198.51.100.7")) };
    built(config).find(config, &query).destination
}

fn gateway_of(destination: Destination) -> Option<Ipv4Address> {
    match destination {
        Destination::Unicast(hop) => hop.gateway,
        _ => None,
    }
}

#[test]
fn every_part_of_a_selector_counts_and_not_turns_it_round() {
    let (hit, miss) = (Some(ip("10.0.2.77")), Some(ip("10.0.2.2")));
    type Part = fn(&mut RuleDescription);
    let parts: [(Part, bool); 9] = [
        (|_| {}, true),
        (|rule| rule.from = Some(cidr("192.168.1.0/24")), true),
        (|rule| rule.from = Some(cidr("192.168.2.0/24")), false),
        (|rule| rule.to = Some(cidr("198.51.100.7/32")), true),
        (|rule| rule.to = Some(cidr("198.51.100.8/32")), false),
        (|rule| rule.ingress = Some(ETH0), true),
        (|rule| rule.ingress = Some(InterfaceId::LOOPBACK), false),
        (|rule| rule.mark = Mark { value: 0x10, mask: 0xf0 }, true),
        (|rule| rule.mark = Mark { value: 0x20, mask: 0xf0 }, false),
    ];
    for (number, (part, fits)) in parts.into_iter().enumerate() {
        for inverted in [false, true] {
            let mut config = gateway();
            add(&mut config, T, "0.0.0.0/0", "10.0.2.77");
            rule(&mut config, 10, |rule| {
                part(rule);
                (rule.inverted, rule.action) = (inverted, Some(RuleAction::Lookup(T)));
            });
            let found = gateway_of(taken(&config, "192.168.1.9", 0x1f));
            assert_eq!(found, if fits != inverted { hit } else { miss }, "part {number}, {inverted}");
        }
    }
}

#[test]
fn rules_are_asked_in_order_until_a_table_has_a_route() {
    let mut config = gateway();
    add(&mut config, T, "203.0.113.0/24", "10.0.2.77");
    rule(&mut config, 10, |rule| rule.action = Some(RuleAction::Lookup(T)));
    rule(&mut config, 20, |rule| rule.action = Some(RuleAction::Lookup(TableId(7))));
    assert_eq!(gateway_of(taken(&config, "192.168.1.9", 0)), Some(ip("10.0.2.2")), "main is left");
    add(&mut config, TableId(7), "198.51.100.0/24", "10.0.2.78");
    assert_eq!(gateway_of(taken(&config, "192.168.1.9", 0)), Some(ip("10.0.2.78")));
    let throw = Route { kind: RouteKind::Throw, ..via("198.51.100.7/32", ETH1, None) };
    config.add_route(&NewRoute::again(TableId(7), &throw), RouteMode::Add).unwrap();
    assert_eq!(gateway_of(taken(&config, "192.168.1.9", 0)), Some(ip("10.0.2.2")), "throw finds nothing");
}

#[test]
fn a_suppressed_prefix_length_does_not_count_as_found() {
    let mut config = gateway();
    add(&mut config, T, "0.0.0.0/0", "10.0.2.77");
    rule(&mut config, 10, |rule| {
        (rule.action, rule.suppress) = (Some(RuleAction::Lookup(TableId::MAIN)), Some(0));
    });
    rule(&mut config, 20, |rule| rule.action = Some(RuleAction::Lookup(T)));
    assert_eq!(gateway_of(taken(&config, "192.168.1.9", 0)), Some(ip("10.0.2.77")));
    let near = built(&config).find(&config, &Query::to(ip("192.168.1.77"))).destination;
    assert!(matches!(near, Destination::Unicast(NextHop { interface: ETH0, gateway: None, .. })), "{near:?}");
}

#[test]
fn rules_that_refuse_say_how_and_own_addresses_come_before_them() {
    for (action, expected) in [
        (RuleAction::Blackhole, Destination::Blackhole),
        (RuleAction::Unreachable, Destination::NoRoute),
        (RuleAction::Prohibit, Destination::Prohibit),
    ] {
        let mut config = gateway();
        rule(&mut config, 0, |rule| rule.action = Some(action));
        assert_eq!(taken(&config, "192.168.1.9", 0), expected);
        let fib = built(&config);
        let own = fib.find(&config, &Query::to(ip("10.0.2.15")));
        assert_eq!(
            (own.destination, own.table),
            (Destination::Local { interface: ETH1 }, Some(TableId::LOCAL))
        );
    }
    let mut config = gateway();
    config.flush_rules(|_| true);
    assert_eq!(taken(&config, "192.168.1.9", 0), Destination::NoRoute, "no rule, no route");
}

#[test]
fn one_lookup_is_enough_as_long_as_no_rule_may_find_something_else() {
    let mut config = gateway();
    assert!(built(&config).plain);
    rule(&mut config, 10, |rule| rule.action = Some(RuleAction::Lookup(T)));
    assert!(built(&config).plain, "the table is empty");
    add(&mut config, T, "203.0.113.0/24", "10.0.2.77");
    assert!(!built(&config).plain);
    config.flush_rules(|rule| rule.priority == 10);
    assert!(built(&config).plain, "nobody asks the table");
    rule(&mut config, 10, |rule| rule.action = Some(RuleAction::Blackhole));
    assert!(!built(&config).plain);
}

#[test]
fn the_reverse_path_is_that_of_an_answer() {
    let strict = |config: &Config, destination, ingress| {
        leads_back(config, "198.51.100.7", destination, ingress, ReversePath::Strict)
    };
    let mut config = gateway();
    config.interfaces[1].addresses.push(interface_address("10.0.3.15/24"));
    config.routes.extend([via("10.0.3.0/24", ETH0, None)]);
    add(&mut config, T, "0.0.0.0/0", "10.0.3.2");
    rule(&mut config, 10, |rule| {
        (rule.from, rule.action) = (Some(cidr("10.0.3.15/32")), Some(RuleAction::Lookup(T)));
    });
    assert!(strict(&config, "10.0.3.15", ETH0) && !strict(&config, "10.0.3.15", ETH1));
    assert!(strict(&config, "10.0.2.15", ETH1) && !strict(&config, "10.0.2.15", ETH0));

    rule(&mut config, 5, |rule| {
        (rule.ingress, rule.action) = (Some(ETH0), Some(RuleAction::Lookup(T)));
    });
    assert!(
        strict(&config, "192.168.1.10", ETH0) && !strict(&config, "192.168.1.10", ETH1),
        "the answer comes in on eth0"
    );
    assert!(
        strict(&config, "10.0.2.15", ETH1) && !strict(&config, "10.0.2.15", ETH0),
        "the router answers itself"
    );
}

#[test]
fn of_several_next_hops_those_that_are_up_are_taken_and_each_is_a_way_back() {
    let mut config = gateway();
    let hop =
        |interface, gateway| RouteHop { interface, gateway: Some(ip(gateway)), onlink: false, weight: 1 };
    let hops = [hop(ETH0, "192.168.1.2"), hop(ETH1, "10.0.2.2")];
    let kind = RouteKind::Multipath(hops.into());
    config.routes.extend([Route { kind, ..via("198.51.100.0/24", ETH0, None) }]);
    let egresses = |config: &Config| {
        let fib = built(config);
        let hop = |port| {
            let mut query = Query { ingress: ETH0, ..Query::to(ip("198.51.100.7")) };
            query.flow.source = ip(&alloc::format!("192.168.1.{port}"));
            match fib.route(config, query.destination, || query) {
                Destination::Unicast(hop) => hop.interface,
                other => panic!("{other:?}"),
            }
        };
        let mut all: Vec<_> = (10..40).map(hop).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    assert_eq!(egresses(&config), [ETH0, ETH1]);
    let strict = |config: &Config, ingress| {
        leads_back(config, "198.51.100.7", "10.9.9.9", ingress, ReversePath::Strict)
    };
    assert!(strict(&config, ETH0) && strict(&config, ETH1));
    config.interfaces[2].up = false;
    assert_eq!(egresses(&config), [ETH0]);
    assert!(strict(&config, ETH0) && !strict(&config, ETH1));
}

proptest! {
    #![proptest_config(property())]

    /// Networks that contain each other and the router's own, by two gateways, are added and deleted.
    #[test]
    fn changes_one_by_one_lead_to_the_table_of_the_whole(
        steps in prop::collection::vec((0..6u8, 8..=32u8, 0..3u32, any::<[bool; 4]>()), 1..60),
    ) {
        let mut config = gateway();
        rule(&mut config, 10, |rule| rule.action = Some(RuleAction::Lookup(T)));
        let mut fib = built(&config);
        let bases = ["10.0.2.15", "10.0.2.255", "192.168.1.77", "127.1.0.1", "203.0.113.9", "203.0.113.77"];
        for (base, length, metric, [delete, first_gateway, blackhole, in_main]) in steps {
            let destination = Ipv4Cidr::new(ip(bases[usize::from(base)]), length).network();
            let gateway = if first_gateway { "10.0.2.2" } else { "192.168.1.2" };
            let hop = NewHop { interface: None, gateway: Some(ip(gateway)), onlink: false, weight: 1 };
            let unicast = RouteAction::Unicast(hop);
            let action = if blackhole { RouteAction::Blackhole } else { unicast };
            let table = if in_main { TableId::MAIN } else { T };
            let new = NewRoute {
                table,
                destination,
                action,
                metric,
                source: None,
                scope: None,
                protocol: RouteProtocol::Boot,
                metrics: RouteMetrics { mtu: 100 * metric as u16, ..RouteMetrics::default() },
            };
            let change = match delete {
                true => config.delete_route(table, destination, &RouteSelector::default()),
                false => config.add_route(&new, RouteMode::Replace),
            };
            if let Ok(Change { routes: StaleRoutes::To(table, network), .. }) = change {
                fib.update(&config, table, network);
            }
        }
        let whole = built(&config);
        for address in bases.map(ip) {
            for bits in 0..32 {
                let near = Ipv4Address::from_bits(address.to_bits() ^ 1 << bits);
                prop_assert_eq!(fib.lookup(near), whole.lookup(near), "{}", near);
                let [one, other] = [&fib, &whole].map(|fib| fib.route(&config, near, || Query::to(near)));
                prop_assert_eq!(one, other, "{} by the rules", near);
                prop_assert_eq!(fib.source_for(&config, near), whole.source_for(&config, near), "{}", near);
            }
        }
    }
}
