//! Which outer port a mapping gets (RFC 4787 4, RFC 5382 7, RFC 6056).

use crate::{gateway, outer};
use netstack::{outcome::DropReason, router::Limits};
use smoltcp::wire::Ipv4Address;
use std::collections::HashSet;
use tests::{bench::Bench, datagram::*, network::*};

/// Host number `last` of the LAN.
fn host(last: u8) -> Ipv4Address {
    Ipv4Address::new(192, 168, 1, last)
}

fn server(number: u16) -> Endpoint {
    (Ipv4Address::new(198, 51, (number >> 8) as u8, number as u8), 80)
}

fn syn(from: Endpoint, to: Endpoint) -> Datagram {
    tcp(from, to, flag::SYN)
}

#[test]
fn one_inner_port_of_udp_keeps_one_outer_port_for_all_destinations() {
    let mut bench = gateway();
    outer(&mut bench, udp((BOB, 40000), server(0)));
    let first = outer(&mut bench, udp((ALICE, 40000), server(0)));
    assert_ne!(first.1, 40000, "BOB has that one");
    for number in 1..300 {
        assert_eq!(outer(&mut bench, udp((ALICE, 40000), server(number))), first);
    }
}

#[test]
fn one_inner_port_of_tcp_keeps_one_outer_port_for_all_destinations() {
    let mut bench = gateway();
    outer(&mut bench, syn((BOB, 40000), server(0)));
    let first = outer(&mut bench, syn((ALICE, 40000), server(0)));
    assert_ne!(first.1, 40000, "BOB has that one");
    for number in 1..300 {
        assert_eq!(outer(&mut bench, syn((ALICE, 40000), server(number))), first);
    }
}

#[test]
fn tcp_and_udp_have_ports_of_their_own() {
    let mut bench = gateway();
    assert_eq!(outer(&mut bench, udp((ALICE, 40000), server(0))).1, 40000);
    assert_eq!(outer(&mut bench, syn((BOB, 40000), server(0))).1, 40000);
}

/// Four outer ports.
const FEW_PORTS: &str = "iptables -t nat -A POSTROUTING -o eth1 -p tcp -j MASQUERADE --to-ports 50000-50003
iptables -t nat -A POSTROUTING -o eth1 -p udp -j MASQUERADE --to-ports 50000-50003";

#[test]
fn ports_of_tcp_are_shared_between_destinations_when_they_run_out() {
    let mut bench = Bench::network(FEW_PORTS);
    let mut used = HashSet::new();
    for last in 10..14 {
        used.insert(outer(&mut bench, syn((host(last), 40000), server(0))).1);
    }
    assert_eq!(used, (50000..=50003).collect(), "each has its own");
    assert_eq!(bench.dropped(LAN, syn((host(14), 40000), server(0))), DropReason::PortsExhausted);
    for number in 1..100 {
        let (_, port) = outer(&mut bench, syn((host(14), 40000), server(number)));
        assert!((50000..=50003).contains(&port), "another destination can share one");
    }
}

#[test]
fn ports_of_udp_are_never_shared() {
    let mut bench = Bench::network(FEW_PORTS);
    for last in 10..14 {
        outer(&mut bench, udp((host(last), 40000), server(0)));
    }
    assert_eq!(bench.dropped(LAN, udp((host(14), 40000), server(1))), DropReason::PortsExhausted);
    assert!(bench.router.drops().get(DropReason::PortsExhausted) > 0);
}

#[test]
fn more_connections_than_ports_are_possible() {
    let limits = Limits { flows: 20_000, ..Limits::default() };
    let rule = "iptables -t nat -A POSTROUTING -o eth1 -p tcp -j MASQUERADE --to-ports 49152-49407";
    let mut bench = Bench::with(3, &limits, 1, &[NETWORK, rule].concat());
    let mut seen = HashSet::new();
    for number in 0..10_000u16 {
        let from = (host((number % 200) as u8 + 10), 1024 + number);
        let to = server(number);
        let outside = outer(&mut bench, syn(from, to));
        assert!((49152..=49407).contains(&outside.1));
        assert!(seen.insert((outside, to)), "two connections with one outer form");
    }
}

#[test]
fn the_original_port_is_kept_where_it_is_free() {
    let mut bench = gateway();
    for port in [1, 80, 1023, 1024, 5000, 40000, 65535] {
        assert_eq!(outer(&mut bench, udp((ALICE, port), server(0))), (WAN_SIDE, port));
    }
}

#[test]
fn a_port_that_is_taken_is_replaced_at_random_and_never_in_sequence() {
    let mut bench = gateway();
    outer(&mut bench, udp((host(9), 40000), server(0)));
    let ports: Vec<u16> =
        (10..110).map(|last| outer(&mut bench, udp((host(last), 40000), server(0))).1).collect();
    let distinct: HashSet<_> = ports.iter().collect();
    assert_eq!(distinct.len(), ports.len());
    assert!(ports.iter().all(|port| *port > 1023), "above 1023 stays above 1023: {ports:?}");
    let near = ports.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 2).count();
    assert!(near <= 3, "{near} of 99 follow one another: {ports:?}");
    let spread = ports.iter().max().unwrap() - ports.iter().min().unwrap();
    assert!(spread > 10_000, "they are all near each other: {ports:?}");
}

#[test]
fn other_random_numbers_give_other_ports() {
    let port = |seed| {
        let config = [NETWORK, MASQUERADE].concat();
        let mut bench = Bench::with(3, &Limits::default(), seed, &config);
        outer(&mut bench, udp((BOB, 40000), server(0)));
        outer(&mut bench, udp((ALICE, 40000), server(0))).1
    };
    assert_ne!(port(1), port(2));
}

#[test]
fn replacements_come_from_the_local_port_range() {
    let mut bench = gateway();
    bench.run("sysctl -w net.ipv4.ip_local_port_range=\"61000 61100\"");
    outer(&mut bench, udp((host(9), 40000), server(0)));
    for last in 10..60 {
        let (_, port) = outer(&mut bench, udp((host(last), 40000), server(0)));
        assert!((61000..=61100).contains(&port), "{port}");
    }
}

#[test]
fn ports_of_port_forwards_are_never_handed_out() {
    let mut bench = gateway();
    bench.run(
        "iptables -t nat -A PREROUTING -i eth1 -p tcp --dport 8080 -j DNAT --to-destination 10.10.0.5:80",
    );
    bench.run(
        "iptables -t nat -A PREROUTING -i eth1 -p udp --dport 6000:6100 -j DNAT --to-destination 10.10.0.5",
    );
    assert_ne!(outer(&mut bench, syn((ALICE, 8080), server(0))).1, 8080);
    for port in 6000..=6100 {
        let (_, outside) = outer(&mut bench, udp((ALICE, port), server(0)));
        assert!(!(6000..=6100).contains(&outside), "{outside}");
    }
    assert_eq!(outer(&mut bench, udp((ALICE, 8080), server(0))).1, 8080, "UDP is not TCP");
}

#[test]
fn two_mappings_never_have_one_outer_form() {
    let mut bench = gateway();
    let mut outside = HashSet::new();
    for last in 10..60 {
        for port in [1024, 5000, 40000, 65535] {
            assert!(outside.insert(outer(&mut bench, udp((host(last), port), server(0)))));
        }
    }
}
