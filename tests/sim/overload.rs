//! A card that brings more than the router can take: flows go on, and of the rest comes so much.

use crate::{answer, connect, fragments, gateway, outer, query};
use netstack::{interface::PortId, outcome::DropReason};
use smoltcp::{time::Duration, wire::Ipv4Address};
use tests::{bench::Bench, datagram::*, network::*};

/// As many as come at once, and in a second.
const BURST: u64 = 4000;
const RATE: u64 = 2000;

/// The driver finds more frames on a card than it takes at a time, and again.
pub fn crowd(bench: &mut Bench, port: usize) {
    for _ in 0..2 {
        bench.router.note_waiting(PortId(port as u8), bench.now);
    }
}

fn refused(bench: &Bench) -> u64 {
    bench.router.drops().get(DropReason::Overload)
}

/// A segment of a stranger's that asks for a connection with the router itself.
fn knock(number: u32) -> Datagram {
    let from = Ipv4Address::from_bits(0x0b00_0000 + number);
    tcp((from, number as u16 | 1024), (OWN[WAN], 4000), flag::SYN)
}

/// Strangers knock until all that may come at once has come.
fn exhaust(bench: &mut Bench) {
    crowd(bench, WAN);
    for number in 0..BURST as u32 {
        bench.send(WAN, knock(number));
    }
    assert_eq!(refused(bench), 0, "a burst is no flood");
    assert_eq!(bench.dropped(WAN, knock(0)), DropReason::Overload);
}

#[test]
fn a_flood_passes_at_the_rate_and_a_connection_loses_nothing() {
    let mut bench = gateway();
    let (from, to) = ((ALICE, 40000), (SERVER, 80));
    let outside = connect(&mut bench, from, to);
    let (mut number, before) = (0, bench.router.drops().total());
    for _ in 0..1000 {
        bench.now += Duration::from_millis(1);
        crowd(&mut bench, WAN);
        for _ in 0..50 {
            number += 1;
            bench.send(WAN, knock(number));
        }
        let data = tcp(to, outside, flag::PSH | flag::ACK).numbers(5001, 1001).payload(b"x");
        assert_eq!(bench.exchange(WAN, data).1.destination(), from);
    }
    let passed = u64::from(number) - refused(&bench);
    assert!((RATE..=RATE + BURST).contains(&passed), "{passed} passed");
    assert_eq!(bench.router.drops().total() - before, u64::from(number), "each is counted once");
    assert!(bench.command("drops").contains(&format!("{}  overload", refused(&bench))));
}

#[test]
fn a_connection_opens_and_closes_beside_a_flood() {
    let mut bench = gateway();
    exhaust(&mut bench);
    let (from, to) = ((ALICE, 40000), (SERVER, 80));
    let outside = connect(&mut bench, from, to);
    bench.exchange(WAN, tcp(to, outside, flag::FIN | flag::ACK).numbers(5001, 1001));
    outer(&mut bench, tcp(from, to, flag::FIN | flag::ACK).numbers(1001, 5002));
    bench.exchange(WAN, tcp(to, outside, flag::ACK).numbers(5002, 1002));
}

#[test]
fn an_error_about_a_flow_and_its_fragments_pass_beside_a_flood() {
    let mut bench = gateway();
    let asked = outer(&mut bench, query());
    exhaust(&mut bench);
    let large = answer(asked).payload(vec![7; 4000]);
    for piece in fragments(&large, 1480) {
        bench.exchange(WAN, piece);
    }
    let sent = udp(asked, (SERVER, 53)).payload(b"who is it?");
    let error = icmp_error(OTHER, 11, 0, &sent);
    assert_eq!(bench.exchange(WAN, error).1.destination, ALICE);
    let stranger = udp((OWN[WAN], 9), (SERVER, 53));
    assert_eq!(bench.dropped(WAN, icmp_error(OTHER, 11, 0, &stranger)), DropReason::Overload);
}

#[test]
fn a_flow_that_nobody_answers_is_no_way_in() {
    let mut bench = gateway();
    bench.run("iptables -t nat -A PREROUTING -i eth1 -p tcp --dport 8080 -j DNAT --to 192.168.1.10:80");
    let syn = tcp((SERVER, 5000), (OWN[WAN], 8080), flag::SYN);
    bench.send(WAN, syn.clone());
    exhaust(&mut bench);
    assert_eq!(bench.dropped(WAN, syn), DropReason::Overload);
}

#[test]
fn only_the_crowded_card_is_touched_and_only_while_it_is_crowded() {
    let mut bench = gateway();
    exhaust(&mut bench);
    for port in 0..2000 {
        bench.send(LAN, udp((BOB, port), (SERVER, 53)));
    }
    assert_eq!(refused(&bench), 1);
    bench.now += Duration::from_secs(1);
    for number in 0..2000 {
        bench.send(WAN, knock(number));
    }
    assert_eq!(refused(&bench), 1);
}

#[test]
fn the_rate_can_be_set_and_switched_off() {
    let mut bench = gateway();
    exhaust(&mut bench);
    bench.run("sysctl -w net.core.netdev_overload_rate=0");
    for number in 0..5000 {
        bench.send(WAN, knock(number));
    }
    assert_eq!(refused(&bench), 1);
}

#[test]
fn explain_tells_of_it() {
    let mut bench = gateway();
    let asked = format!("explain in eth1 tcp {SERVER}:5000 {}:4000", OWN[WAN]);
    assert!(!bench.command(&asked).contains("overload"));
    crowd(&mut bench, WAN);
    let told = bench.command(&asked);
    assert!(told.contains("overload    of no known flow, of which 2000 pass each second"), "{told}");
}
