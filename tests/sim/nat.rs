//! Translation of addresses there and back (RFC 3022, RFC 4787, RFC 5382).

use crate::{answer, assert_error, connect, gateway, one_hop, outer, query};
use netstack::{command::Console, outcome::DropReason};
use smoltcp::{time::Duration, wire::Ipv4Address};
use tests::{bench::Bench, datagram::*, network::*};

/// Forwards port 8080 of the WAN address to BOB's port 80, for the LAN too.
const FORWARD_AND_HAIRPIN: &str = "
iptables -t nat -A PREROUTING -d 203.0.113.2 -p tcp --dport 8080 -j DNAT --to-destination 192.168.1.11:80
iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
iptables -t nat -A POSTROUTING -s 192.168.1.0/24 -o eth0 -j SNAT --to-source 203.0.113.2
";

#[test]
fn a_masqueraded_packet_has_the_outer_source_and_the_answer_finds_back() {
    let mut bench = gateway();
    let outside = (WAN_SIDE, 40000);
    assert_eq!(bench.send(LAN, query()), [(WAN, one_hop(query()).from(outside))]);
    let reply = answer(outside);
    assert_eq!(bench.send(WAN, reply.clone()), [(LAN, one_hop(reply).to((ALICE, 40000)))]);
}

#[test]
fn a_tcp_connection_passes_there_and_back() {
    use flag::*;
    let mut bench = gateway();
    let (from, to) = ((ALICE, 40000), (SERVER, 80));
    let outside = connect(&mut bench, from, to);
    for byte in 0..100u32 {
        let data = tcp(from, to, PSH | ACK).numbers(1001 + byte, 5001).payload(b"x");
        assert_eq!(bench.send(LAN, data.clone()), [(WAN, one_hop(data).from(outside))]);
        let ack = tcp(to, outside, ACK).numbers(5001, 1002 + byte);
        assert_eq!(bench.send(WAN, ack.clone()), [(LAN, one_hop(ack).to(from))]);
    }
}

#[test]
fn a_protocol_without_ports_has_its_address_translated() {
    let mut bench = gateway();
    let gre = other(ALICE, SERVER, 47, &[0, 0, 8, 0, 1, 2, 3]);
    assert_eq!(bench.send(LAN, gre.clone()), [(WAN, one_hop(gre).from((WAN_SIDE, 0)))]);
    let back = other(SERVER, WAN_SIDE, 47, &[0, 0, 8, 0]);
    assert_eq!(bench.send(WAN, back.clone()), [(LAN, one_hop(back).to((ALICE, 0)))]);
}

#[test]
fn a_forwarded_port_reaches_its_server_and_the_answer_has_the_outer_source() {
    use flag::*;
    let mut bench = Bench::network(FORWARD_AND_HAIRPIN);
    let syn = tcp((SERVER, 30000), (WAN_SIDE, 8080), SYN);
    assert_eq!(bench.send(WAN, syn.clone()), [(LAN, one_hop(syn).to((BOB, 80)))]);
    let reply = tcp((BOB, 80), (SERVER, 30000), SYN | ACK).numbers(5000, 1001);
    assert_eq!(bench.send(LAN, reply.clone()), [(WAN, one_hop(reply).from((WAN_SIDE, 8080)))]);
}

#[test]
fn an_inner_host_reaches_another_through_the_outer_address_and_sees_the_outer_source() {
    use flag::*;
    let mut bench = Bench::network(FORWARD_AND_HAIRPIN);
    let syn = tcp((ALICE, 30000), (WAN_SIDE, 8080), SYN);
    let (port, arrived) = bench.exchange(LAN, syn.clone());
    assert_eq!((port, arrived.source, arrived.destination()), (LAN, WAN_SIDE, (BOB, 80)));
    assert!(arrived.checksums_are_right());
    let reply = tcp((BOB, 80), arrived.source(), SYN | ACK).numbers(5000, 1001);
    let expected = one_hop(reply.clone()).from((WAN_SIDE, 8080)).to((ALICE, 30000));
    assert_eq!(bench.send(LAN, reply), [(LAN, expected)]);
}

#[test]
fn redirect_brings_a_connection_to_the_router_itself() {
    let mut bench =
        Bench::network("iptables -t nat -A PREROUTING -i eth0 -p udp --dport 53 -j REDIRECT --to-ports 5353");
    let (port, error) = bench.exchange(LAN, query());
    assert_eq!((port, error.icmp_type()), (LAN, Some((3, 3))), "nothing listens there");
    assert_eq!(
        error.quoted().map(|quoted| quoted.destination()),
        Some((SERVER, 53)),
        "the sender knows only this"
    );
}

#[test]
fn a_udp_checksum_of_zero_stays_zero() {
    let mut bench = gateway();
    let without = query().checksum(Checksum::Absent);
    assert_eq!(bench.send(LAN, without.clone()), [(WAN, one_hop(without).from((WAN_SIDE, 40000)))]);
    let reply = answer((WAN_SIDE, 40000)).checksum(Checksum::Absent);
    assert_eq!(bench.send(WAN, reply.clone()), [(LAN, one_hop(reply).to((ALICE, 40000)))]);
}

#[test]
fn a_udp_checksum_that_becomes_zero_is_written_as_all_ones() {
    let mut bench = gateway();
    for number in 0..=u16::MAX {
        let packet = query().payload(number.to_be_bytes());
        let (_, left) = bench.exchange(LAN, packet);
        assert_eq!(left.transport_checksum(), Some(Checksum::Right), "payload {number}: {left:?}");
    }
}

#[test]
fn a_wrong_checksum_leaves_as_wrong_as_it_came() {
    let mut bench = gateway();
    connect(&mut bench, (ALICE, 40001), (SERVER, 80));
    for packet in
        [query(), tcp((ALICE, 40001), (SERVER, 80), flag::ACK).numbers(1001, 5001), echo((ALICE, 3), SERVER)]
    {
        for error in [1, 0x0101, 0x8000, 0xfffe] {
            let wrong = packet.clone().checksum(Checksum::Wrong(error));
            let (_, left) = bench.exchange(LAN, wrong);
            assert_eq!(left.transport_checksum(), Some(Checksum::Wrong(error)), "{left:?}");
        }
    }
}

/// Packets of a LAN host that belong to no connection, or that no connection can have.
fn strays() -> Vec<Datagram> {
    use flag::*;
    let (from, to) = ((ALICE, 40000), (SERVER, 80));
    let flags =
        [0, ACK, RST, RST | ACK, FIN, FIN | ACK, SYN | ACK, SYN | FIN, SYN | RST, FIN | PSH | URG, 0x3f];
    let unknown = udp((SERVER, 9), (ALICE, 9));
    flags
        .into_iter()
        .map(|flags| tcp(from, to, flags))
        .chain([
            icmp_error(ALICE, 3, 3, &unknown),
            icmp_error(ALICE, 11, 0, &tcp(to, from, ACK)),
            icmp(ALICE, SERVER, 3, 3, 0, b"no quote"),
            icmp(ALICE, SERVER, 5, 0, 0, &unknown.quote(28)),
            icmp(ALICE, SERVER, 42, 0, 0, b"no such type"),
            echo_reply(ALICE, (SERVER, 7)),
            other(ALICE, SERVER, 17, &[0; 24]).but(|p| p.offset = 800),
            other(ALICE, SERVER, 6, &[0; 8]),
            other(ALICE, SERVER, 17, &[0; 3]),
            other(ALICE, SERVER, 0, b""),
            other(ALICE, SERVER, 255, b"x"),
        ])
        .collect()
}

#[test]
fn nothing_with_an_inner_source_ever_leaves_the_outer_side() {
    let mut bench = gateway();
    connect(&mut bench, (ALICE, 40001), (SERVER, 80));
    for stray in strays() {
        for (port, left) in bench.send(LAN, stray.clone()) {
            let inner = left.source.octets()[..3] == [192, 168, 1];
            assert!(port != WAN || !inner, "{stray:?} left as {left:?}");
            let quoted = left.quoted().map(|quoted| quoted.destination);
            assert!(port != WAN || quoted != Some(ALICE), "{stray:?} left as {left:?}");
        }
    }
}

#[test]
fn nothing_with_an_inner_source_leaves_while_rules_change() {
    use flag::*;
    let mut bench = gateway();
    let (from, to) = ((ALICE, 40000), (SERVER, 80));
    let outside = connect(&mut bench, from, to);
    for change in [
        "iptables -I FORWARD -p tcp --dport 80 -j ACCEPT",
        "iptables -t nat -I POSTROUTING -o eth1 -p udp -j MASQUERADE",
        "ip route add 8.8.8.0/24 via 203.0.113.1",
        "iptables -t nat -D POSTROUTING 1",
        "ip addr add 203.0.113.9/24 dev eth1",
    ] {
        bench.run(change);
        for packet in
            [tcp(from, to, PSH | ACK).numbers(1001, 5001).payload(b"x"), tcp(from, to, RST).numbers(1001, 0)]
        {
            for (port, left) in bench.send(LAN, packet) {
                assert!(port != WAN || left.source != ALICE, "after {change:?}: {left:?}");
                assert!(port != WAN || left.source() == outside, "after {change:?}: {left:?}");
            }
        }
    }
}

#[test]
fn a_change_of_the_outer_address_ends_the_mappings_that_used_it() {
    let mut bench = gateway();
    outer(&mut bench, query());
    bench.run("ip addr del 203.0.113.2/24 dev eth1\nip addr add 203.0.113.77/24 dev eth1");
    bench.run("ip route replace default via 203.0.113.1");
    let new = Ipv4Address::new(203, 0, 113, 77);
    assert_eq!(outer(&mut bench, query()).0, new, "the next packet has the new address");
    let late = bench.send(WAN, answer((WAN_SIDE, 40000)));
    assert!(late.iter().all(|(port, _)| *port != LAN), "the old mapping is gone: {late:?}");
}

#[test]
fn a_change_of_the_egress_interface_ends_the_mappings_that_used_the_old_one() {
    let mut bench = gateway();
    bench.run("iptables -t nat -A POSTROUTING -o eth2 -j MASQUERADE");
    outer(&mut bench, query());
    bench.run("ip route replace default via 10.10.0.5");
    let (port, left) = bench.exchange(LAN, query());
    assert_eq!((port, left.source), (DMZ, DMZ_SIDE), "not the address of the interface it left by before");
}

#[test]
fn ttl_exceeded_about_a_translated_packet_quotes_what_the_sender_sent() {
    let mut bench = gateway();
    outer(&mut bench, query());
    let late = query().ttl(1);
    assert_error(&bench.send(LAN, late.clone()), LAN, (11, 0), &late);
    let late = answer((WAN_SIDE, 40000)).ttl(1);
    assert_error(&bench.send(WAN, late.clone()), WAN, (11, 0), &late);
}

#[test]
fn an_answer_from_elsewhere_does_not_pass() {
    let mut bench = gateway();
    bench.run("iptables -P INPUT DROP");
    outer(&mut bench, query());
    for from in [(SERVER, 54), (OTHER, 53)] {
        let stranger = udp(from, (WAN_SIDE, 40000)).payload(b"let me in");
        assert_eq!(bench.dropped(WAN, stranger), DropReason::FirewallPolicy);
    }
}

#[test]
fn with_full_cone_anybody_outside_reaches_a_port_that_is_held() {
    for packet in [
        udp((OTHER, 54), (WAN_SIDE, 40000)).payload(b"hello"),
        tcp((OTHER, 54), (WAN_SIDE, 40000), flag::SYN),
    ] {
        let mut bench = gateway();
        bench.run("iptables -P FORWARD DROP\niptables -A FORWARD -i eth0 -j ACCEPT");
        bench.run("iptables -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT");
        outer(&mut bench, query());
        outer(&mut bench, tcp((ALICE, 40000), (SERVER, 80), flag::SYN));
        bench.run("sysctl -w net.netfilter.nf_nat_full_cone=1");
        assert_eq!(bench.dropped(WAN, packet.clone()), DropReason::FirewallPolicy, "the rules still rule");
        bench.run("iptables -A FORWARD -m conntrack --ctstate DNAT -j ACCEPT");
        let inside = one_hop(packet.clone().to((ALICE, 40000)));
        assert_eq!(bench.send(WAN, packet.clone()), [(LAN, inside)]);
        let unheld = packet.to((WAN_SIDE, 40001));
        assert!(bench.send(WAN, unheld).iter().all(|(port, _)| *port != LAN), "nobody holds that port");
    }
}

#[test]
fn an_inner_host_may_ping_the_outer_address_whatever_identifiers_are_held() {
    let mut bench = gateway();
    // As a port, the type of an echo request would be this one.
    outer(&mut bench, echo((ALICE, 8), SERVER));
    let (port, reply) = bench.exchange(LAN, echo((BOB, 77), WAN_SIDE));
    assert_eq!((port, reply.source, reply.destination), (LAN, WAN_SIDE, BOB));
}

#[test]
fn what_the_router_itself_sends_is_led_elsewhere_by_output() {
    const NOBODY: Ipv4Address = Ipv4Address::new(198, 51, 100, 9);
    let mut bench =
        Bench::network("iptables -t nat -A OUTPUT -d 198.51.100.9 -j DNAT --to-destination 10.10.0.5");
    let mut console = Console::new(&bench.router);
    bench.press(&mut console, format!("ping -c 1 {NOBODY}\r").as_bytes());
    let left = bench.packets(|bench| bench.pass(Duration::ZERO));
    let [(DMZ, request)] = &left[..] else { panic!("{left:?}") };
    assert_eq!((request.destination, request.icmp_type()), (WEB, Some((8, 0))));
    let reply = request.clone().but(|p| {
        (p.source, p.destination) = (request.destination, request.source);
        if let Body::Icmp { kind, .. } = &mut p.body {
            *kind = 0;
        }
    });
    assert_eq!(bench.send(DMZ, reply), []);
    let shown = String::from_utf8_lossy(&bench.press(&mut console, b"")).into_owned();
    assert!(shown.contains(&format!("bytes from {NOBODY}")), "{shown}");
}
