//! What rules want of the IPv4 header and make of it (iptables-extensions(8): ttl, dscp, tos, length, iprange, addrtype, pkttype,
//! TTL, DSCP, TOS).

use crate::{answer, gateway, outer, query};
use netstack::outcome::DropReason;
use tests::{bench::Bench, datagram::*, network::*};

/// Rules of mangle, each after `iptables -t mangle -A`.
fn mangling(rules: &[&str]) -> Bench {
    let mut bench = gateway();
    rules.iter().for_each(|rule| bench.run(&format!("iptables -t mangle -A {rule}")));
    bench
}

/// TTL and type of service with which a packet of ALICE's leaves that came with these.
#[track_caller]
fn left(bench: &mut Bench, ttl: u8, tos: u8) -> (u8, u8) {
    let (port, packet) = bench.exchange(LAN, query().but(|it| (it.ttl, it.tos) = (ttl, tos)));
    assert!(port == WAN && packet.checksums_are_right(), "{packet:?}");
    (packet.ttl, packet.tos)
}

/// The flow is answered, so that it may take the fast path.
fn answered(mut bench: Bench) -> Bench {
    for _ in 0..3 {
        let from = outer(&mut bench, query());
        bench.send(WAN, answer(from));
    }
    bench
}

#[test]
fn a_ttl_is_changed_where_the_rule_stands_before_or_behind_the_hop() {
    for (rule, came, leaves) in [
        ("PREROUTING -j TTL --ttl-set 10", 64, 9),
        ("FORWARD -j TTL --ttl-set 10", 64, 10),
        ("POSTROUTING -j TTL --ttl-inc 1", 64, 64),
        ("POSTROUTING -j TTL --ttl-dec 5", 64, 58),
        ("PREROUTING -j TTL --ttl-inc 1", 1, 1),
        ("POSTROUTING -j TTL --ttl-set 255", 64, 255),
        ("POSTROUTING -j TTL --ttl-inc 255", 64, 255),
    ] {
        let mut bench = answered(mangling(&[rule]));
        for _ in 0..2 {
            assert_eq!(left(&mut bench, came, 0), (leaves, 0), "{rule}");
        }
        assert_eq!(left(&mut bench, came, 0x2c), (leaves, 0x2c), "{rule}");
    }
    let mut bench = mangling(&["PREROUTING -j TTL --ttl-dec 5"]);
    let told = bench.send(LAN, query().ttl(6));
    assert_eq!(told[0].1.icmp_type(), Some((11, 0)));
    assert_eq!(left(&mut bench, 7, 0), (1, 0));
}

#[test]
fn code_points_leave_congestion_notification_alone() {
    for (rule, came, leaves) in [
        ("FORWARD -j DSCP --set-dscp-class EF", 0x03, 0xbb),
        ("FORWARD -j TOS --set-tos 0x10/0x3f", 0xff, 0xd0),
        ("FORWARD -j TOS --xor-tos 0x0c", 0x0f, 0x03),
    ] {
        let mut bench = answered(mangling(&[rule]));
        assert_eq!(left(&mut bench, 64, came), (63, leaves), "{rule}");
        assert_eq!(left(&mut bench, 64, came), (63, leaves), "{rule}");
    }
}

#[test]
fn what_follows_from_the_rules_alone_takes_the_fast_path() {
    let fast = |rules: &[&str]| {
        let mut bench = answered(mangling(rules));
        let before = bench.router.statistics().fast;
        (left(&mut bench, 64, 0x02), bench.router.statistics().fast - before)
    };
    assert_eq!(fast(&["FORWARD -j TTL --ttl-set 30", "POSTROUTING -j DSCP --set-dscp 10"]), ((30, 0x2a), 1));
    assert_eq!(fast(&["PREROUTING -j TOS --and-tos 0xfd"]), ((63, 0), 1));
    assert_eq!(fast(&["FORWARD -j TTL --ttl-inc 1"]), ((64, 0x02), 0), "it follows from the packet, too");
    assert_eq!(fast(&["FORWARD -m dscp --dscp 0 -j DSCP --set-dscp 1"]), ((63, 0x06), 0));
}

#[test]
fn matches_see_what_the_rules_before_them_have_made_of_the_packet() {
    let mut bench = mangling(&["PREROUTING -j TTL --ttl-set 20", "PREROUTING -j DSCP --set-dscp 5"]);
    let refuses = |bench: &mut Bench, wanted: &str| {
        bench.run(&format!("iptables -F FORWARD; iptables -A FORWARD {wanted} -j DROP"));
        bench.send(LAN, query()).is_empty()
    };
    for (wanted, refused) in [
        ("-m ttl --ttl-eq 19", true),
        ("-m ttl ! --ttl-eq 19", false),
        ("-m ttl --ttl-lt 19", false),
        ("-m ttl --ttl-lt 20", true),
        ("-m ttl --ttl-gt 18", true),
        ("-m ttl --ttl-gt 19", false),
        ("-m dscp --dscp 5", true),
        ("-m dscp ! --dscp 5", false),
        ("-m tos --tos 0x14", true),
        ("-m tos --tos 0x10/0x30", true),
        ("-m tos ! --tos 0x10/0x30", false),
        ("-m length --length 38", true),
        ("-m length --length 39:", false),
        ("-m length ! --length :37", true),
        ("-m iprange --src-range 192.168.1.10-192.168.1.12", true),
        ("-m iprange --src-range 192.168.1.11-192.168.1.12", false),
        ("-m iprange ! --src-range 192.168.1.1-192.168.1.9 --dst-range 198.51.100.7", true),
        ("-m pkttype --pkt-type unicast", true),
        ("-m pkttype --pkt-type broadcast", false),
        ("-m addrtype --src-type UNICAST --dst-type UNICAST", true),
        ("-m addrtype ! --dst-type UNICAST,MULTICAST", false),
    ] {
        assert_eq!(refuses(&mut bench, wanted), refused, "{wanted}");
    }
}

#[test]
fn a_length_or_a_ttl_is_asked_of_each_packet() {
    let mut bench = answered(gateway());
    bench.run("iptables -A FORWARD -m length --length 100: -j DROP");
    bench.run("iptables -A FORWARD -m ttl --ttl-lt 10 -j DROP");
    for _ in 0..3 {
        left(&mut bench, 64, 0);
        assert_eq!(bench.dropped(LAN, query().payload([0; 80])), DropReason::FirewallRule);
        assert_eq!(bench.dropped(LAN, query().ttl(9)), DropReason::FirewallRule);
    }
}

#[test]
fn addresses_have_the_types_that_the_router_knows_them_by() {
    let mut bench = Bench::network("");
    for (types, port, to) in [
        ("LOCAL", LAN, LAN_SIDE),
        ("LOCAL", LAN, WAN_SIDE),
        ("LOCAL --limit-iface-in", LAN, LAN_SIDE),
        ("UNICAST --limit-iface-in", LAN, WAN_SIDE),
        ("UNICAST", LAN, SERVER),
        ("BROADCAST", LAN, std::net::Ipv4Addr::new(192, 168, 1, 255)),
        ("BROADCAST", LAN, std::net::Ipv4Addr::BROADCAST),
        ("MULTICAST", LAN, std::net::Ipv4Addr::new(224, 0, 0, 5)),
    ] {
        bench.run("iptables -t mangle -F");
        bench.run(&format!("iptables -t mangle -A PREROUTING -m addrtype --dst-type {types} -j DROP"));
        let packet = udp((ALICE, 40000), (to, 53));
        assert_eq!(bench.dropped(port, packet), DropReason::FirewallRule, "{to} is {types}");
    }
}
