//! Path MTU discovery through the translation: ICMP 3/4 reaches whoever sent the packet, and quotes it as he sent it (RFC 1191 4,
//! RFC 5508 4).

use crate::{answer, assert_error, gateway, outer, query};
use smoltcp::wire::Ipv4Address;
use tests::{bench::Bench, datagram::*, network::*};

/// Forwards port 8080 of the WAN address to BOB's port 80.
const FORWARD: &str = "iptables -t nat -A PREROUTING -d 203.0.113.2 -p tcp --dport 8080 -j DNAT --to-destination 192.168.1.11:80\n";

/// `router` cannot send `packet` on, which is larger than 1400 bytes.
fn report(router: Ipv4Address, packet: &Datagram) -> Datagram {
    icmp(router, packet.source, 3, 4, 1400, &packet.bytes())
}

/// Asserts that `told` says to the sender of `sent` what a router could not send on.
#[track_caller]
fn assert_told((port, told): (usize, Datagram), to: usize, from: Ipv4Address, sent: &Datagram) {
    assert_eq!((port, told.source, told.destination), (to, from, sent.source), "{told:?}");
    let Body::Icmp { word, .. } = told.body else { panic!("{told:?}") };
    assert_eq!((told.icmp_type(), word), (Some((3, 4)), 1400));
    let quoted = told.quoted().expect("a quote");
    assert_eq!((quoted.source(), quoted.destination()), (sent.source(), sent.destination()));
    assert!(told.checksums_are_right() && quoted.checksums_are_right(), "{told:?}");
}

/// Asserts that the router tells the sender of `sent` its own MTU of 1280.
#[track_caller]
fn assert_refused(bench: &mut Bench, port: usize, sent: Datagram) {
    let left = bench.send(port, sent.clone());
    assert_error(&left, port, (3, 4), &sent);
    let Body::Icmp { word, .. } = left[0].1.body else { panic!("{left:?}") };
    assert_eq!(word, 1280);
}

#[test]
fn a_router_outside_reports_its_mtu_to_the_inner_sender() {
    let mut bench = gateway();
    let sent = query().payload([7; 1440]).dont_fragment();
    let (_, left) = bench.exchange(LAN, sent.clone());
    assert_told(bench.exchange(WAN, report(OTHER, &left)), LAN, OTHER, &sent);
    // Also once the flow has answers and takes the short way.
    let outside = left.source();
    for _ in 0..3 {
        bench.exchange(WAN, answer(outside));
        bench.exchange(LAN, query());
    }
    let (_, left) = bench.exchange(LAN, sent.clone());
    assert_told(bench.exchange(WAN, report(OTHER, &left)), LAN, OTHER, &sent);
}

#[test]
fn a_router_inside_reports_its_mtu_to_the_outer_sender() {
    let mut bench = gateway();
    let outside = outer(&mut bench, query());
    let sent = answer(outside).payload([7; 1440]).dont_fragment();
    let (_, arrived) = bench.exchange(WAN, sent.clone());
    // BOB is a router, too, and is not seen outside.
    assert_told(bench.exchange(LAN, report(BOB, &arrived)), WAN, WAN_SIDE, &sent);
}

#[test]
fn our_own_report_reaches_the_inner_sender_about_what_it_sent() {
    let mut bench = gateway();
    bench.run("ip link set eth1 mtu 1280");
    let large = query().payload([7; 1253]).dont_fragment();
    assert_refused(&mut bench, LAN, large.clone());
    for _ in 0..3 {
        let outside = outer(&mut bench, query());
        bench.exchange(WAN, answer(outside));
    }
    assert_refused(&mut bench, LAN, large);
}

#[test]
fn our_own_report_reaches_the_outer_sender_about_what_it_sent() {
    let mut bench = gateway();
    bench.run("ip link set eth0 mtu 1280");
    let outside = outer(&mut bench, query());
    let large = answer(outside).payload([7; 1253]).dont_fragment();
    assert_refused(&mut bench, WAN, large.clone());
    for _ in 0..3 {
        bench.exchange(WAN, answer(outside));
        outer(&mut bench, query());
    }
    assert_refused(&mut bench, WAN, large);
}

#[test]
fn a_report_about_a_forwarded_port_reaches_the_client_and_the_server() {
    let mut bench = Bench::network(FORWARD);
    let syn = tcp((SERVER, 30000), (WAN_SIDE, 8080), flag::SYN).dont_fragment();
    let (_, arrived) = bench.exchange(WAN, syn.clone());
    assert_told(bench.exchange(LAN, report(ALICE, &arrived)), WAN, WAN_SIDE, &syn);
    let reply = tcp((BOB, 80), (SERVER, 30000), flag::SYN | flag::ACK).numbers(5000, 1001).dont_fragment();
    let (_, left) = bench.exchange(LAN, reply.clone());
    assert_told(bench.exchange(WAN, report(OTHER, &left)), LAN, OTHER, &reply);
}

#[test]
fn a_report_through_a_hairpin_reaches_the_other_inner_host() {
    let mut bench = Bench::network(&[FORWARD, MASQUERADE].concat());
    let syn = tcp((ALICE, 40000), (WAN_SIDE, 8080), flag::SYN).dont_fragment();
    let (port, arrived) = bench.exchange(LAN, syn.clone());
    assert_eq!((port, arrived.source, arrived.destination()), (LAN, WAN_SIDE, (BOB, 80)));
    assert_told(bench.exchange(LAN, report(BOB, &arrived)), LAN, WAN_SIDE, &syn);
    let reply = tcp((BOB, 80), arrived.source(), flag::SYN | flag::ACK).numbers(5000, 1001).dont_fragment();
    let (port, left) = bench.exchange(LAN, reply.clone());
    assert_eq!((port, left.source(), left.destination()), (LAN, (WAN_SIDE, 8080), (ALICE, 40000)));
    assert_told(bench.exchange(LAN, report(ALICE, &left)), LAN, WAN_SIDE, &reply);
}
