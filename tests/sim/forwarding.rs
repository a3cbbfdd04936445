//! From one wire to another (RFC 1812 5): checks, TTL, routes, MTU.

use crate::{assert_error, fragments, one_hop, query, reassemble};
use netstack::outcome::DropReason;
use smoltcp::wire::Ipv4Address;
use tests::{bench::Bench, datagram::*, frame::Frame, network::*};

/// The query's frame, to be spoilt byte by byte; its IP header begins at 14.
fn query_frame() -> Vec<u8> {
    Frame::ip(neighbor_mac(LAN, ALICE), router_mac(LAN), query()).bytes()
}

#[test]
fn a_packet_leaves_with_one_hop_less_and_the_right_macs() {
    let mut bench = Bench::network("");
    let left = bench.inject(LAN, &query_frame());
    let expected = Frame::ip(router_mac(WAN), neighbor_mac(WAN, SERVER), query().ttl(63));
    assert_eq!(left, [(WAN, expected.bytes())]);
}

#[test]
fn a_header_that_lies_is_dropped() {
    let mut bench = Bench::network("");
    let lies: [(&str, usize, u8, DropReason); 5] = [
        ("version 6", 14, 0x65, DropReason::IpMalformed),
        ("header of 16 bytes", 14, 0x44, DropReason::IpMalformed),
        ("header longer than the packet", 14, 0x4f, DropReason::IpMalformed),
        ("total length beyond the frame", 17, 0xff, DropReason::IpMalformed),
        ("checksum", 24, 0x00, DropReason::IpChecksum),
    ];
    for (what, at, value, reason) in lies {
        let mut frame = query_frame();
        frame[at] = value;
        assert_eq!(bench.inject(LAN, &frame), [], "{what}");
        assert_eq!(bench.drop_reason(), reason, "{what}");
        assert!(bench.router.drops().get(reason) > 0, "{what} is counted");
    }
}

#[test]
fn a_frame_cut_anywhere_is_dropped() {
    let mut bench = Bench::network("");
    let whole = query_frame();
    for length in 0..whole.len() {
        assert_eq!(bench.inject(LAN, &whole[..length]), [], "cut to {length} bytes");
        bench.drop_reason();
    }
    assert_eq!(bench.inject(LAN, &whole).len(), 1);
}

#[test]
fn padding_behind_the_packet_is_cut() {
    let mut bench = Bench::network("");
    let mut frame = query_frame();
    let length = frame.len();
    frame.extend([0xa5; 18]);
    let left = bench.inject(LAN, &frame);
    assert_eq!(left[0].1.len(), length);
}

#[test]
fn ttl_of_one_is_answered_with_time_exceeded() {
    let mut bench = Bench::network("");
    for ttl in [0, 1] {
        let late = query().ttl(ttl);
        assert_error(&bench.send(LAN, late.clone()), LAN, (11, 0), &late);
    }
}

#[test]
fn ttl_of_two_reaches_the_next_hop() {
    let mut bench = Bench::network("");
    assert_eq!(bench.send(LAN, query().ttl(2)), [(WAN, query().ttl(1))]);
}

#[test]
fn the_header_checksum_is_right_for_every_ttl() {
    let mut bench = Bench::network(MASQUERADE);
    for ttl in 2..=255 {
        for id in [0, 0x00ff, 0xfffe, 0xffff] {
            let (_, left) = bench.exchange(LAN, query().but(|p| (p.ttl, p.id) = (ttl, id)));
            assert!(left.checksums_are_right() && left.ttl == ttl - 1, "{left:?}");
        }
    }
}

#[test]
fn the_longest_prefix_wins() {
    let mut bench = Bench::network(
        "ip route add 198.51.100.0/24 via 192.168.1.11
         ip route add 198.51.100.7 via 10.10.0.5",
    );
    let to = |address| udp((WEB, 1000), (address, 53));
    assert_eq!(bench.exchange(LAN, query()).0, DMZ, "/32 over /24");
    assert_eq!(bench.exchange(DMZ, to(OTHER)).0, LAN, "/24 over the default");
    assert_eq!(bench.exchange(DMZ, to(Ipv4Address::new(8, 8, 8, 8))).0, WAN, "the default is left");
}

#[test]
fn of_equal_prefixes_the_lowest_metric_wins() {
    let mut bench = Bench::network(
        "ip route add 198.51.100.0/24 via 203.0.113.1 metric 20
         ip route add 198.51.100.0/24 via 10.10.0.5 metric 10",
    );
    assert_eq!(bench.exchange(LAN, query()).0, DMZ);
    bench.run("ip route del 198.51.100.0/24 via 10.10.0.5 metric 10");
    assert_eq!(bench.exchange(LAN, query()).0, WAN);
}

#[test]
fn no_route_is_answered_with_net_unreachable() {
    let mut bench = Bench::network("ip route del default");
    assert_error(&bench.send(LAN, query()), LAN, (3, 0), &query());
    assert_eq!(bench.drop_reason(), DropReason::NoRoute);
}

#[test]
fn routes_that_drop_say_what_their_type_says() {
    let mut bench = Bench::network("");
    bench.run("ip route add blackhole 198.51.100.0/24");
    assert_eq!(bench.dropped(LAN, query()), DropReason::RouteBlackhole);
    bench.run("ip route del blackhole 198.51.100.0/24");
    bench.run("ip route add unreachable 198.51.100.0/24");
    assert_error(&bench.send(LAN, query()), LAN, (3, 1), &query());
    bench.run("ip route del unreachable 198.51.100.0/24");
    bench.run("ip route add prohibit 198.51.100.0/24");
    assert_error(&bench.send(LAN, query()), LAN, (3, 13), &query());
}

#[test]
fn df_and_too_large_is_answered_with_the_mtu() {
    let mut bench = Bench::network("ip link set eth1 mtu 1280");
    let fits = query().payload([7; 1252]).dont_fragment();
    assert_eq!(bench.send(LAN, fits.clone()), [(WAN, one_hop(fits))]);
    let large = query().payload([7; 1253]).dont_fragment();
    let left = bench.send(LAN, large.clone());
    assert_error(&left, LAN, (3, 4), &large);
    let Body::Icmp { word, .. } = left[0].1.body else { panic!("{left:?}") };
    assert_eq!(word, 1280, "RFC 1191 4: the MTU stands in the lower half");
}

#[test]
fn a_route_says_how_large_a_packet_may_be_on_its_way() {
    let mut bench = Bench::network("ip route add 198.51.100.0/24 via 203.0.113.1 mtu 1280");
    let large = query().payload([7; 1253]).dont_fragment();
    let left = bench.send(LAN, large.clone());
    assert_error(&left, LAN, (3, 4), &large);
    let Body::Icmp { word, .. } = left[0].1.body else { panic!("{left:?}") };
    assert_eq!(word, 1280);
    let left = bench.send(LAN, query().payload([7; 1253]));
    assert_eq!(left.len(), 2, "without DF it goes in two fragments");
    let elsewhere =
        udp((ALICE, 40000), (Ipv4Address::new(8, 8, 8, 8), 53)).payload([7; 1253]).dont_fragment();
    assert_eq!(bench.send(LAN, elsewhere.clone()), [(WAN, one_hop(elsewhere))], "another route");
    bench.run("ip route replace 198.51.100.0/24 via 203.0.113.1 mtu 9000");
    assert_eq!(bench.send(LAN, large.clone()), [(WAN, one_hop(large))], "no more than the interface carries");
}

#[test]
fn a_flow_on_its_fast_path_takes_over_a_new_mtu_of_its_route() {
    let mut bench = Bench::network("");
    let large = query().payload([7; 1253]).dont_fragment();
    for _ in 0..3 {
        bench.exchange(LAN, large.clone());
    }
    bench.run("ip route replace default via 203.0.113.1 mtu 1280");
    assert_error(&bench.send(LAN, large.clone()), LAN, (3, 4), &large);
    let small = query().payload([7; 1252]).dont_fragment();
    for _ in 0..3 {
        bench.exchange(LAN, small.clone());
    }
    assert_error(&bench.send(LAN, large.clone()), LAN, (3, 4), &large);
}

#[test]
fn a_large_packet_is_fragmented_for_a_small_mtu() {
    let mut bench = Bench::network("ip link set eth1 mtu 600");
    let large = query().payload((0..1400).map(|at| at as u8).collect::<Vec<_>>());
    let left = bench.send(LAN, large.clone());
    assert_eq!(left.len(), 3);
    assert!(left.iter().all(|(port, fragment)| *port == WAN && fragment.bytes().len() <= 600), "{left:?}");
    assert!(left.iter().all(|(_, fragment)| fragment.id == large.id));
    assert_eq!(reassemble(&left), one_hop(large));
}

#[test]
fn fragments_are_fragmented_again() {
    let whole = query().payload((0..2400).map(|at| at as u8).collect::<Vec<_>>());
    let mut bench = Bench::network("ip link set eth1 mtu 600");
    let left: Vec<_> =
        fragments(&whole, 1400).into_iter().flat_map(|fragment| bench.send(LAN, fragment)).collect();
    assert!(left.iter().all(|(_, fragment)| fragment.bytes().len() <= 600), "{left:?}");
    assert_eq!(reassemble(&left), one_hop(whole));
}

#[test]
fn transit_fragments_are_not_reassembled() {
    let first = query().but(|p| p.more_fragments = true).payload([7; 64]);
    let later = other(ALICE, SERVER, 17, &[7; 64]).but(|p| p.offset = 72);
    let mut bench = Bench::network("");
    assert_eq!(bench.send(LAN, first.clone()), [(WAN, one_hop(first))]);
    assert_eq!(bench.send(LAN, later.clone()), [(WAN, one_hop(later))]);
    assert_eq!(bench.kept_buffers(), 0);
}

#[test]
fn sources_that_can_be_no_sender_are_martians() {
    let mut bench = Bench::network("");
    let own_subnet_broadcast = Ipv4Address::new(192, 168, 1, 255);
    let martians = [
        Ipv4Address::new(0, 0, 0, 1),
        Ipv4Address::new(127, 0, 0, 1),
        Ipv4Address::new(224, 0, 0, 5),
        Ipv4Address::new(240, 0, 0, 1),
        Ipv4Address::BROADCAST,
        own_subnet_broadcast,
        LAN_SIDE,
        WAN_SIDE,
    ];
    for source in martians {
        let packet = query().but(|p| p.source = source);
        assert_eq!(bench.dropped(LAN, packet), DropReason::MartianSource, "from {source}");
    }
}

#[test]
fn destinations_that_are_on_no_wire_are_martians() {
    let mut bench = Bench::network("");
    for destination in [Ipv4Address::new(0, 0, 0, 1), Ipv4Address::new(127, 0, 0, 1)] {
        let packet = query().but(|p| p.destination = destination);
        assert_eq!(bench.dropped(LAN, packet), DropReason::MartianDestination, "to {destination}");
    }
}

#[test]
fn a_source_whose_way_back_is_another_interface_fails_the_strict_check() {
    let mut bench = Bench::network("sysctl -w net.ipv4.conf.eth1.rp_filter=1");
    let spoofed = udp((WEB, 1000), (ALICE, 53));
    assert_eq!(bench.dropped(WAN, spoofed.clone()), DropReason::ReversePath);
    assert_eq!(bench.exchange(DMZ, spoofed.clone()).0, LAN, "it may come from where it lives");
    bench.run("sysctl -w net.ipv4.conf.eth1.rp_filter=0");
    assert_eq!(bench.exchange(WAN, spoofed).0, LAN, "and from anywhere without the check");
}

#[test]
fn the_loose_check_asks_only_for_some_way_back() {
    let mut bench = Bench::network("ip route del default\nsysctl -w net.ipv4.conf.all.rp_filter=2");
    assert_eq!(bench.exchange(WAN, udp((WEB, 1000), (ALICE, 53))).0, LAN);
    assert_eq!(bench.dropped(WAN, udp((SERVER, 1000), (ALICE, 53))), DropReason::ReversePath);
}

#[test]
fn a_directed_broadcast_is_not_forwarded() {
    let mut bench = Bench::network("");
    let packet = udp((SERVER, 1000), (Ipv4Address::new(192, 168, 1, 255), 7));
    assert_eq!(bench.dropped(WAN, packet), DropReason::DirectedBroadcast);
}

#[test]
fn a_unicast_packet_in_a_broadcast_frame_is_not_forwarded() {
    let mut bench = Bench::network("");
    for group in [[0xff; 6], [0x01, 0, 0x5e, 0, 0, 1]] {
        let mut frame = query_frame();
        frame[..6].copy_from_slice(&group);
        assert_eq!(bench.inject(LAN, &frame), []);
        bench.drop_reason();
    }
}

#[test]
fn a_frame_for_another_station_is_not_forwarded() {
    let mut bench = Bench::network("");
    let mut frame = query_frame();
    frame[5] ^= 1;
    assert_eq!(bench.inject(LAN, &frame), []);
    assert_eq!(bench.drop_reason(), DropReason::EthernetOtherHost);
}

#[test]
fn source_routes_are_dropped_and_other_options_forwarded() {
    let mut bench = Bench::network("");
    for kind in [131, 137] {
        let routed = query().but(|p| p.options = vec![kind, 7, 4, 10, 10, 0, 5, 0]);
        assert_eq!(bench.dropped(LAN, routed), DropReason::SourceRoute);
    }
    let unknown = query().but(|p| p.options = vec![30, 4, 1, 2]);
    assert_eq!(bench.send(LAN, unknown.clone()), [(WAN, one_hop(unknown))]);
    let broken = query().but(|p| p.options = vec![30, 9, 1, 2]);
    assert_eq!(bench.dropped(LAN, broken), DropReason::IpOptions);
}

#[test]
fn a_redirect_changes_no_route() {
    let mut bench = Bench::network("");
    bench.send(LAN, query());
    let redirect = icmp(BOB, LAN_SIDE, 5, 1, u32::from_be_bytes(BOB.octets()), &query().quote(28));
    assert_eq!(bench.send(LAN, redirect), []);
    assert_eq!(bench.exchange(LAN, query()).0, WAN);
}

#[test]
fn nothing_is_forwarded_while_forwarding_is_off() {
    let mut bench = Bench::network("sysctl -w net.ipv4.ip_forward=0");
    assert_eq!(bench.dropped(LAN, query()), DropReason::ForwardingOff);
    assert_eq!(bench.exchange(LAN, echo((ALICE, 1), LAN_SIDE)).1.icmp_type(), Some((0, 0)), "but it answers");
}

#[test]
fn an_interface_that_is_down_neither_takes_nor_sends() {
    let mut bench = Bench::network("ip link set eth2 down");
    assert_eq!(bench.dropped(DMZ, udp((WEB, 1), (SERVER, 53))), DropReason::InterfaceDown);
    assert_ne!(bench.send(LAN, udp((ALICE, 1), (WEB, 53))).first().map(|(port, _)| *port), Some(DMZ));
}

#[test]
fn multicast_is_not_forwarded_and_not_answered() {
    let mut bench = Bench::network("");
    for ttl in [1, 64] {
        let packet = udp((ALICE, 1000), (Ipv4Address::new(239, 1, 1, 1), 5353)).ttl(ttl);
        let frame = Frame {
            to: smoltcp::wire::EthernetAddress([1, 0, 0x5e, 1, 1, 1]),
            ..Frame::ip(neighbor_mac(LAN, ALICE), router_mac(LAN), packet)
        };
        assert_eq!(bench.inject(LAN, &frame.bytes()), []);
    }
}
