//! ICMP through the translation (RFC 5508): queries have identifiers for ports, errors quote translated packets.

use crate::{answer, connect, gateway, one_hop, outer, query};
use netstack::outcome::DropReason;
use tests::{bench::Bench, datagram::*, network::*};

/// An error that a router beyond reports to the outer address about `about`, as it left.
fn error_from_outside(about: &Datagram, kind: u8, code: u8) -> Datagram {
    icmp_error(OTHER, kind, code, about)
}

#[test]
fn an_echo_request_passes_and_its_reply_finds_back() {
    let mut bench = gateway();
    let request = echo((ALICE, 77), SERVER);
    assert_eq!(bench.send(LAN, request.clone()), [(WAN, one_hop(request).from((WAN_SIDE, 77)))]);
    let reply = echo_reply(SERVER, (WAN_SIDE, 77));
    assert_eq!(bench.send(WAN, reply.clone()), [(LAN, one_hop(reply).to((ALICE, 77)))]);
}

#[test]
fn two_hosts_with_one_identifier_never_collide() {
    let mut bench = gateway();
    let alice = outer(&mut bench, echo((ALICE, 77), SERVER));
    let (_, bob) = bench.exchange(LAN, echo((BOB, 77), SERVER));
    assert_ne!(alice, bob.source());
    for (outside, host) in [(alice, ALICE), (bob.source(), BOB)] {
        let reply = echo_reply(SERVER, outside);
        assert_eq!(bench.send(WAN, reply.clone()), [(LAN, one_hop(reply).to((host, 77)))]);
    }
}

#[test]
fn an_error_from_outside_is_translated_with_its_quote() {
    let mut bench = gateway();
    for (kind, code, word) in
        [(3, 0, 0), (3, 1, 0), (3, 3, 0), (3, 4, 1400), (3, 13, 0), (11, 0, 0), (12, 0, 1 << 24)]
    {
        let (_, left) = bench.exchange(LAN, query());
        let error = error_from_outside(&left, kind, code).but(|p| {
            if let Body::Icmp { word: field, .. } = &mut p.body {
                *field = word;
            }
        });
        let inside = left.from((ALICE, 40000));
        let expected = icmp(OTHER, ALICE, kind, code, word, &inside.bytes()).ttl(63);
        assert_eq!(bench.send(WAN, error), [(LAN, expected)], "type {kind} code {code}");
    }
}

#[test]
fn an_error_with_the_least_quote_is_translated() {
    let mut bench = gateway();
    let outside = connect(&mut bench, (ALICE, 40000), (SERVER, 80));
    let segment = tcp(outside, (SERVER, 80), flag::ACK).numbers(1001, 5001).ttl(63);
    let error = icmp(OTHER, WAN_SIDE, 11, 0, 0, &segment.quote(28));
    let (port, left) = bench.exchange(WAN, error);
    assert_eq!((port, left.destination), (LAN, ALICE));
    assert!(left.checksums_are_right());
    let Body::Icmp { payload, .. } = &left.body else { panic!("{left:?}") };
    assert_eq!(payload[..], segment.from((ALICE, 40000)).quote(28)[..]);
}

#[test]
fn an_error_about_an_echo_request_is_translated_with_its_identifier() {
    let mut bench = gateway();
    outer(&mut bench, echo((BOB, 77), SERVER));
    let (_, left) = bench.exchange(LAN, echo((ALICE, 77), SERVER));
    let (port, error) = bench.exchange(WAN, error_from_outside(&left, 11, 0));
    assert_eq!((port, error.destination), (LAN, ALICE));
    assert_eq!(error.quoted().map(|quoted| quoted.source()), Some((ALICE, 77)));
    assert!(error.checksums_are_right() && error.quoted().unwrap().checksums_are_right(), "{error:?}");
}

#[test]
fn an_error_from_inside_is_translated_with_its_quote() {
    let mut bench = gateway();
    let outside = outer(&mut bench, query());
    let (_, arrived) = bench.exchange(WAN, answer(outside));
    let error = icmp_error(ALICE, 3, 3, &arrived);
    let (port, left) = bench.exchange(LAN, error);
    assert_eq!((port, left.source, left.destination), (WAN, WAN_SIDE, SERVER));
    let quoted = left.quoted().expect("a quote");
    assert_eq!((quoted.source(), quoted.destination()), ((SERVER, 53), outside));
    assert!(left.checksums_are_right() && quoted.checksums_are_right(), "{left:?}");
}

#[test]
fn an_error_of_a_router_inside_leaves_with_the_outer_source() {
    let mut bench = gateway();
    let outside = outer(&mut bench, query());
    let (_, arrived) = bench.exchange(WAN, answer(outside));
    let (port, left) = bench.exchange(LAN, icmp_error(BOB, 11, 0, &arrived));
    assert_eq!((port, left.source), (WAN, WAN_SIDE));
}

#[test]
fn who_reports_about_a_flow_that_is_not_translated_is_not_seen_outside() {
    let mut bench = gateway();
    let (port, arrived) = bench.exchange(WAN, udp((SERVER, 30000), (WEB, 80)).payload(b"hello"));
    assert_eq!(port, DMZ);
    assert_eq!(bench.send(LAN, icmp_error(ALICE, 11, 0, &arrived)), []);
    assert_eq!(bench.router.drops().get(DropReason::NatUntracked), 1);
    // Its own end is known there.
    let (port, left) = bench.exchange(DMZ, icmp_error(WEB, 3, 3, &arrived));
    assert_eq!((port, left.source), (WAN, WEB));
}

#[test]
fn an_error_about_a_forwarded_port_is_translated_both_ways() {
    let mut bench = Bench::network(
        "iptables -t nat -A PREROUTING -i eth1 -p udp --dport 8080 -j DNAT --to-destination 192.168.1.11:80",
    );
    let (_, arrived) = bench.exchange(WAN, udp((SERVER, 30000), (WAN_SIDE, 8080)).payload(b"hello"));
    let (port, left) = bench.exchange(LAN, icmp_error(BOB, 3, 3, &arrived));
    assert_eq!((port, left.source), (WAN, WAN_SIDE));
    let quoted = left.quoted().expect("a quote");
    assert_eq!((quoted.source(), quoted.destination()), ((SERVER, 30000), (WAN_SIDE, 8080)));
    assert!(left.checksums_are_right() && quoted.checksums_are_right(), "{left:?}");
}

#[test]
fn an_error_whose_quote_fits_no_mapping_goes_nowhere() {
    let mut bench = gateway();
    let outside = outer(&mut bench, query());
    let sent = udp(outside, (SERVER, 53)).payload(b"who is it?");
    let quotes = [
        sent.clone().from((WAN_SIDE, 40001)),
        sent.clone().to((SERVER, 54)),
        sent.clone().to((OTHER, 53)),
        sent.clone().from((LAN_SIDE, 40000)),
        tcp(outside, (SERVER, 53), flag::ACK),
    ];
    for quote in quotes {
        let left = bench.send(WAN, icmp(OTHER, WAN_SIDE, 3, 1, 0, &quote.bytes()));
        assert_eq!(left, [], "about {quote:?}");
    }
    let no_quote = icmp(OTHER, WAN_SIDE, 3, 1, 0, b"short");
    assert_eq!(bench.send(WAN, no_quote), []);
}

#[test]
fn errors_delete_no_mapping() {
    let mut bench = gateway();
    let (from, to) = ((ALICE, 40000), (SERVER, 80));
    let outside = connect(&mut bench, from, to);
    let segment = tcp(from, to, flag::ACK).numbers(1001, 5001);
    let (_, left) = bench.exchange(LAN, segment);
    for (kind, code) in [(3, 0), (3, 1), (3, 2), (3, 3), (3, 13), (11, 0), (12, 0)] {
        bench.exchange(WAN, error_from_outside(&left, kind, code));
        let data = tcp(to, outside, flag::PSH | flag::ACK).numbers(5001, 1001).payload(b"x");
        assert_eq!(bench.exchange(WAN, data).0, LAN, "after {kind}/{code}");
    }
}
