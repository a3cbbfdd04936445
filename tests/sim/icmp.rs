//! What the router says and keeps to itself (RFC 1812 4.3, RFC 1122 3.2.2).

use crate::{assert_error, query};
use netstack::outcome::DropReason;
use smoltcp::{
    time::Duration,
    wire::{EthernetAddress, Ipv4Address},
};
use tests::{bench::Bench, datagram::*, frame::Frame, network::*};

#[test]
fn an_echo_request_is_answered_on_every_address_from_every_side() {
    let mut bench = Bench::network("ip addr add 203.0.113.3/24 dev eth1");
    let second = Ipv4Address::new(203, 0, 113, 3);
    for address in [LAN_SIDE, WAN_SIDE, DMZ_SIDE, second] {
        for (port, host) in [(LAN, ALICE), (WAN, SERVER), (DMZ, WEB)] {
            let (out, reply) = bench.exchange(port, echo((host, 9), address));
            assert_eq!(out, port, "{address} to {host}");
            let like = echo_reply(address, (host, 9));
            let expected = like.but(|p| (p.id, p.dont_fragment, p.ttl) = (reply.id, reply.dont_fragment, 64));
            assert_eq!(reply, expected);
        }
    }
}

#[test]
fn an_echo_request_with_a_wrong_checksum_is_not_answered() {
    let mut bench = Bench::network("");
    bench.dropped(LAN, echo((ALICE, 9), LAN_SIDE).checksum(Checksum::Wrong(1)));
}

#[test]
fn a_broadcast_echo_request_is_not_answered() {
    let mut bench = Bench::network("");
    for address in [Ipv4Address::new(192, 168, 1, 255), Ipv4Address::BROADCAST] {
        let frame = Frame {
            to: EthernetAddress::BROADCAST,
            ..Frame::ip(neighbor_mac(LAN, ALICE), router_mac(LAN), echo((ALICE, 9), address))
        };
        assert_eq!(bench.inject(LAN, &frame.bytes()), []);
    }
}

#[test]
fn echo_requests_are_ignored_when_sysctl_says_so() {
    let mut bench = Bench::network("sysctl -w net.ipv4.icmp_echo_ignore_all=1");
    bench.dropped(LAN, echo((ALICE, 9), LAN_SIDE));
}

#[test]
fn a_closed_port_of_the_router_is_answered() {
    let mut bench = Bench::network("");
    let knock = udp((ALICE, 40000), (LAN_SIDE, 9)).payload(b"anybody?");
    assert_error(&bench.send(LAN, knock.clone()), LAN, (3, 3), &knock);
    let (_, reset) = bench.exchange(LAN, tcp((ALICE, 40000), (LAN_SIDE, 9), flag::SYN));
    let Body::Tcp { flags, acknowledgment, .. } = reset.body else { panic!("{reset:?}") };
    assert_eq!((flags, acknowledgment), (flag::RST | flag::ACK, 1001));
}

#[test]
fn a_packet_for_the_router_that_never_becomes_whole_is_reported_if_its_beginning_came() {
    let first = udp((ALICE, 40000), (LAN_SIDE, 9)).but(|p| p.more_fragments = true).payload([7; 64]);
    let later = other(ALICE, LAN_SIDE, 17, &[7; 64]).but(|p| p.offset = 72);
    let mut bench = Bench::network("");
    assert_eq!(bench.send(LAN, first.clone()), []);
    assert_eq!(bench.packets(|bench| bench.pass(Duration::from_secs(29))), []);
    let left = bench.packets(|bench| bench.pass(Duration::from_secs(2)));
    assert_error(&left, LAN, (11, 1), &first);

    assert_eq!(bench.send(LAN, later), []);
    assert_eq!(bench.packets(|bench| bench.pass(Duration::from_secs(60))), []);
    assert_eq!(bench.router.drops().get(DropReason::FragmentIncomplete), 2);
}

#[test]
fn no_error_is_sent_about_an_error() {
    let mut bench = Bench::network("");
    for kind in [3, 4, 5, 11, 12] {
        let error = icmp(ALICE, SERVER, kind, 0, 0, &query().quote(28));
        assert_eq!(bench.send(LAN, error.ttl(1)), [], "type {kind}");
    }
    assert_error(&bench.send(LAN, echo((ALICE, 9), SERVER).ttl(1)), LAN, (11, 0), &echo((ALICE, 9), SERVER));
}

#[test]
fn a_datagram_in_fragments_that_nobody_listens_to_is_reported_as_a_whole() {
    let whole = udp((ALICE, 40000), (LAN_SIDE, 9999)).payload([7; 1200]);
    let bytes = whole.bytes();
    let part = |from: usize, to: usize| {
        other(ALICE, LAN_SIDE, 17, &bytes[20 + from..20 + to])
            .but(|p| (p.offset, p.more_fragments) = (from as u16, to < bytes.len() - 20))
    };
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let mut bench = Bench::network("");
        let parts = [part(0, 8), part(8, 800), part(800, bytes.len() - 20)];
        let left: Vec<_> = order.iter().flat_map(|at| bench.send(LAN, parts[*at].clone())).collect();
        assert_error(&left, LAN, (3, 3), &whole);
        let Body::Icmp { payload, .. } = &left[0].1.body else { panic!("{left:?}") };
        assert_eq!(*payload, whole.quote(548));
    }
}

#[test]
fn no_error_is_sent_about_a_later_fragment() {
    let mut bench = Bench::network("");
    let later = other(ALICE, SERVER, 17, &[0; 64]).but(|p| p.offset = 64).ttl(1);
    assert_eq!(bench.send(LAN, later), []);
    let first = query().but(|p| p.more_fragments = true).ttl(1).payload([0; 64]);
    assert_error(&bench.send(LAN, first.clone()), LAN, (11, 0), &first);
}

#[test]
fn no_error_is_sent_about_a_broadcast_or_multicast() {
    let mut bench = Bench::network("");
    let to_group = |mac, packet| Frame {
        to: EthernetAddress(mac),
        ..Frame::ip(neighbor_mac(LAN, ALICE), router_mac(LAN), packet)
    };
    let cases = [
        to_group([0xff; 6], query().ttl(1)),
        to_group([0xff; 6], udp((ALICE, 1), (LAN_SIDE, 9))),
        to_group([0xff; 6], udp((ALICE, 1), (Ipv4Address::new(192, 168, 1, 255), 9))),
        to_group([0xff; 6], udp((ALICE, 1), (Ipv4Address::BROADCAST, 9))),
        to_group([1, 0, 0x5e, 0, 0, 1], udp((ALICE, 1), (Ipv4Address::new(224, 0, 0, 1), 9))),
    ];
    for frame in cases {
        assert_eq!(bench.inject(LAN, &frame.bytes()), [], "{frame:?}");
    }
}

#[test]
fn an_error_quotes_much_but_stays_within_576_bytes() {
    let mut bench = Bench::network("");
    let large = query().payload([7; 1400]).ttl(1);
    let left = bench.send(LAN, large.clone());
    assert_error(&left, LAN, (11, 0), &large);
    let length = left[0].1.bytes().len();
    assert!((56..=576).contains(&length), "{length} bytes");
    let small = query().payload(b"").ttl(1);
    let left = bench.send(LAN, small.clone());
    assert_error(&left, LAN, (11, 0), &small);
    assert_eq!(left[0].1.bytes().len(), 20 + 8 + 28, "a small packet is quoted whole");
}

#[test]
fn errors_are_rate_limited_for_each_destination() {
    let mut bench = Bench::network("sysctl -w net.ipv4.icmp_ratelimit=1000");
    let errors = |bench: &mut Bench, from| {
        let late = || udp((from, 40000), (SERVER, 53)).ttl(1);
        (0..100).filter(|_| !bench.send(LAN, late()).is_empty()).count()
    };
    let burst = errors(&mut bench, ALICE);
    assert!((1..=10).contains(&burst), "{burst} errors at once");
    assert!(errors(&mut bench, BOB) > 0, "another destination has a limit of its own");
    bench.pass(Duration::from_millis(1000));
    assert_eq!(errors(&mut bench, ALICE), 1, "one more after the interval");
}

#[test]
fn a_source_quench_is_never_sent() {
    let mut bench = Bench::network("");
    for port in 0..2000 {
        let left = bench.send(LAN, udp((ALICE, port), (SERVER, 53)));
        assert!(left.iter().all(|(_, packet)| packet.icmp_type().is_none()), "{left:?}");
    }
}

#[test]
fn the_error_comes_from_the_interface_on_which_the_packet_came() {
    let mut bench = Bench::network("");
    let late = udp((SERVER, 53), (ALICE, 40000)).ttl(1);
    assert_error(&bench.send(WAN, late.clone()), WAN, (11, 0), &late);
}
