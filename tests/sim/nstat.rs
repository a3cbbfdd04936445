//! `nstat`: what Linux would count for the same packets. `tests/differential/counters.rs` asks Linux itself.

use crate::{fragments, gateway, query};
use smoltcp::{time::Duration, wire::EthernetAddress};
use tests::{bench::Bench, datagram::*, frame::Frame, network::*};

/// The counters that are not 0.
fn counters(bench: &mut Bench) -> Vec<(String, u64)> {
    let shown = bench.command("nstat -a");
    let words = shown.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    words.map(|words| (words[0].to_string(), words[1].parse().expect("a number"))).collect()
}

#[track_caller]
fn assert_counted(bench: &mut Bench, expected: &[(&str, u64)]) {
    let expected: Vec<_> = expected.iter().map(|&(name, count)| (name.to_string(), count)).collect();
    assert_eq!(counters(bench), expected);
}

#[test]
fn the_listing_is_that_of_linux() {
    let mut bench = gateway();
    assert_eq!(bench.command("nstat -a").lines().next(), Some("#kernel"));
    bench.send(LAN, query());
    let line = "IpForwDatagrams                 1                  0.0";
    assert!(bench.command("nstat").lines().any(|shown| shown == line));
    let all = bench.command("nstat -az");
    let names: Vec<_> = all.lines().skip(1).map(|line| line.split(' ').next().unwrap_or("")).collect();
    assert_eq!((names.len(), names[0], names[18]), (56, "IpInReceives", "IcmpInMsgs"));
    assert_eq!(bench.command("nstat -r"), "nstat: unexpected argument '-r'");
}

#[test]
fn packets_on_their_way_through_are_counted_on_the_fast_path_too() {
    let mut bench = gateway();
    // Its announcements are no IP, and neither is somebody who asks for an address.
    assert_counted(&mut bench, &[]);
    bench.inject(LAN, &Frame::arp_request(neighbor_mac(LAN, ALICE), ALICE, LAN_SIDE).bytes());
    bench.inject(LAN, &Frame::ip(neighbor_mac(LAN, ALICE), router_mac(WAN), query()).bytes());
    assert_counted(&mut bench, &[]);
    for _ in 0..5 {
        bench.send(LAN, query());
    }
    assert!(bench.router.statistics().fast > 0, "some of them took the short way");
    bench.send(LAN, query().ttl(1));
    bench.run("ip route del default");
    bench.send(LAN, query());
    let (size, error) = (query().bytes().len() as u64, 20 + 8 + query().bytes().len() as u64);
    assert_counted(
        &mut bench,
        &[
            ("IpInReceives", 7),
            ("IpInHdrErrors", 1),
            ("IpForwDatagrams", 5),
            ("IpOutRequests", 2),
            ("IpOutTransmits", 7),
            ("IcmpOutMsgs", 2),
            ("IcmpOutDestUnreachs", 1),
            ("IcmpOutTimeExcds", 1),
            ("IpExtInNoRoutes", 1),
            ("IpExtInOctets", 7 * size),
            ("IpExtOutOctets", 5 * size + 2 * error),
        ],
    );
}

#[test]
fn packets_for_the_router_are_counted_by_what_they_are() {
    let mut bench = Bench::network("");
    let wrong = Checksum::Wrong(1);
    for packet in [
        echo((ALICE, 7), LAN_SIDE),
        echo((ALICE, 8), LAN_SIDE).checksum(wrong),
        udp((ALICE, 40000), (LAN_SIDE, 9)),
        udp((ALICE, 40000), (LAN_SIDE, 9)).checksum(wrong),
        tcp((ALICE, 40000), (LAN_SIDE, 9), flag::SYN),
        tcp((ALICE, 40000), (LAN_SIDE, 9), flag::SYN).checksum(wrong),
        other(ALICE, LAN_SIDE, 253, b"?"),
        icmp_error(ALICE, 3, 3, &udp((LAN_SIDE, 33434), (ALICE, 33434))),
    ] {
        bench.send(LAN, packet);
    }
    let mut shown = counters(&mut bench);
    shown.retain(|(name, _)| !name.starts_with("IpExt"));
    let expected = [
        ("IpInReceives", 8),
        ("IpInUnknownProtos", 1),
        ("IpInDelivers", 7),
        ("IpOutRequests", 4),
        ("IpOutTransmits", 4),
        ("IcmpInMsgs", 3),
        // The checksum, and an error about what nobody has sent.
        ("IcmpInErrors", 2),
        ("IcmpInCsumErrors", 1),
        ("IcmpInDestUnreachs", 1),
        ("IcmpInEchos", 1),
        ("IcmpOutMsgs", 3),
        ("IcmpOutDestUnreachs", 2),
        ("IcmpOutEchoReps", 1),
        ("TcpInSegs", 2),
        ("TcpOutSegs", 1),
        ("TcpInErrs", 1),
        ("TcpOutRsts", 1),
        ("TcpInCsumErrors", 1),
        ("UdpNoPorts", 1),
        ("UdpInErrors", 1),
        ("UdpInCsumErrors", 1),
    ];
    assert_eq!(shown, expected.map(|(name, count)| (name.to_string(), count)));
}

#[test]
fn what_is_dropped_is_counted_by_the_reason() {
    let mut bench = Bench::network("sysctl -w net.ipv4.conf.eth1.rp_filter=1");
    let frame = Frame::ip(neighbor_mac(LAN, ALICE), router_mac(LAN), query()).bytes();
    bench.inject(LAN, &frame[..40]);
    bench.inject(
        LAN,
        &Frame::ip(
            neighbor_mac(LAN, ALICE),
            router_mac(LAN),
            query().but(|p| p.header_checksum = Checksum::Wrong(1)),
        )
        .bytes(),
    );
    bench.dropped(WAN, udp((WEB, 1000), (ALICE, 53)));
    let everybody = udp((ALICE, 1), (std::net::Ipv4Addr::new(192, 168, 1, 255), 9));
    bench.inject(
        LAN,
        &Frame {
            to: EthernetAddress::BROADCAST,
            ..Frame::ip(neighbor_mac(LAN, ALICE), router_mac(LAN), everybody)
        }
        .bytes(),
    );
    bench.run("sysctl -w net.ipv4.ip_forward=0");
    bench.dropped(LAN, query());
    let mut shown = counters(&mut bench);
    shown.retain(|(name, _)| !name.contains("Octets"));
    let expected = [
        ("IpInReceives", 5),
        ("IpInHdrErrors", 1),
        ("IpInAddrErrors", 1),
        ("IpInDelivers", 1),
        ("UdpIgnoredMulti", 1),
        ("TcpExtIPReversePathFilter", 1),
        ("IpExtInTruncatedPkts", 1),
        ("IpExtInBcastPkts", 1),
        ("IpExtInCsumErrors", 1),
    ];
    assert_eq!(shown, expected.map(|(name, count)| (name.to_string(), count)));
}

#[test]
fn fragments_are_counted_where_they_are_made_and_put_together() {
    let mut bench = Bench::network("ip link set eth1 mtu 600");
    bench.send(LAN, query().payload([7; 1400]));
    for fragment in fragments(&echo((ALICE, 7), LAN_SIDE).payload([7; 1992]), 1000) {
        bench.send(LAN, fragment);
    }
    // One of which the rest never comes, and one of which the beginning never comes.
    let half = fragments(&echo((ALICE, 8), LAN_SIDE).but(|p| p.id = 9).payload([7; 1992]), 1000);
    bench.send(LAN, half[0].clone());
    bench.send(LAN, half[1].clone().but(|p| p.id = 10));
    bench.pass(Duration::from_secs(60));
    let mut shown = counters(&mut bench);
    shown.retain(|(name, _)| name.starts_with("IpReasm") || name.starts_with("IpFrag"));
    let expected = [
        ("IpReasmTimeout", 2),
        ("IpReasmReqds", 4),
        ("IpReasmOKs", 1),
        ("IpReasmFails", 2),
        ("IpFragOKs", 2),
        ("IpFragCreates", 5),
    ];
    assert_eq!(shown, expected.map(|(name, count)| (name.to_string(), count)));
}

#[test]
fn what_the_router_says_to_itself_is_sent_and_received() {
    let mut bench = Bench::network("");
    bench.command("ping -c 1 127.0.0.1");
    bench.pass(Duration::from_secs(1));
    let mut shown = counters(&mut bench);
    shown.retain(|(name, _)| !name.contains("Octets"));
    let expected = [
        ("IpInReceives", 2),
        ("IpInDelivers", 2),
        ("IpOutRequests", 2),
        ("IpOutTransmits", 2),
        ("IcmpInMsgs", 2),
        ("IcmpInEchos", 1),
        ("IcmpInEchoReps", 1),
        ("IcmpOutMsgs", 2),
        ("IcmpOutEchos", 1),
        ("IcmpOutEchoReps", 1),
    ];
    assert_eq!(shown, expected.map(|(name, count)| (name.to_string(), count)));
}

#[test]
fn a_reset_that_a_rule_sends_is_no_segment_of_the_routers_tcp() {
    let mut bench = Bench::network("iptables -A FORWARD -p tcp -j REJECT --reject-with tcp-reset");
    bench.send(LAN, tcp((ALICE, 40000), (SERVER, 80), flag::SYN));
    let shown = counters(&mut bench);
    assert!(shown.contains(&("IpOutRequests".to_string(), 1)), "{shown:?}");
    assert!(shown.iter().all(|(name, _)| !name.starts_with("Tcp")), "{shown:?}");
}
