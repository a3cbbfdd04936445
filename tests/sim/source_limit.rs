//! No source has more flows than `nf_conntrack_max_per_source` allows (RFC 6888 REQ-4).

use crate::{connect, gateway, outer};
use netstack::outcome::DropReason;
use smoltcp::{time::Duration, wire::Ipv4Address};
use tests::{bench::Bench, datagram::*, network::*};

const LIMIT: u16 = 10;

/// The gateway where each source may have ten flows.
fn limited() -> Bench {
    let mut bench = gateway();
    bench.run("sysctl -w net.netfilter.nf_conntrack_max_per_source=10");
    bench
}

/// A datagram of `host`'s that begins a flow.
fn fresh(host: Ipv4Address, port: u16) -> Datagram {
    udp((host, port), (SERVER, 53)).payload(b"who is it?")
}

/// ALICE begins as many flows as she may have.
fn exhaust(bench: &mut Bench) {
    for port in 0..LIMIT {
        bench.exchange(LAN, fresh(ALICE, 1000 + port));
    }
}

#[test]
fn one_source_has_no_more_flows_than_the_limit_and_others_are_not_touched() {
    let mut bench = limited();
    exhaust(&mut bench);
    for port in 0..5 {
        assert_eq!(bench.dropped(LAN, fresh(ALICE, 2000 + port)), DropReason::SourceLimit);
    }
    assert_eq!(bench.router.drops().get(DropReason::SourceLimit), 5);
    assert!(bench.command("drops").contains("5  source-limit"));
    for port in 0..LIMIT {
        bench.exchange(LAN, fresh(BOB, 1000 + port));
    }
}

#[test]
fn the_flows_of_a_source_at_its_limit_go_on() {
    let mut bench = limited();
    let outside = connect(&mut bench, (ALICE, 40000), (SERVER, 80));
    for port in 1..LIMIT {
        bench.exchange(LAN, fresh(ALICE, 1000 + port));
    }
    assert_eq!(bench.dropped(LAN, fresh(ALICE, 2000)), DropReason::SourceLimit);
    let data = tcp((ALICE, 40000), (SERVER, 80), flag::PSH | flag::ACK).numbers(1001, 5001).payload(b"x");
    assert_eq!(outer(&mut bench, data), outside);
}

#[test]
fn a_flow_that_ends_makes_room_for_another() {
    let mut bench = limited();
    exhaust(&mut bench);
    assert_eq!(bench.dropped(LAN, fresh(ALICE, 2000)), DropReason::SourceLimit);
    bench.command("conntrack -D -p udp --sport 1003");
    bench.exchange(LAN, fresh(ALICE, 2000));
    assert_eq!(bench.dropped(LAN, fresh(ALICE, 2001)), DropReason::SourceLimit);
    // Unanswered flows of UDP live for two minutes, and are swept within ten seconds of that.
    bench.pass(Duration::from_secs(131));
    exhaust(&mut bench);
}

#[test]
fn flows_that_began_before_the_limit_count() {
    let mut bench = gateway();
    exhaust(&mut bench);
    bench.run("sysctl -w net.netfilter.nf_conntrack_max_per_source=11");
    bench.exchange(LAN, fresh(ALICE, 2000));
    assert_eq!(bench.dropped(LAN, fresh(ALICE, 2001)), DropReason::SourceLimit);
    bench.run("sysctl -w net.netfilter.nf_conntrack_max_per_source=0");
    bench.exchange(LAN, fresh(ALICE, 2001));
    bench.run("sysctl -w net.netfilter.nf_conntrack_max_per_source=13");
    bench.exchange(LAN, fresh(ALICE, 2002));
    assert_eq!(bench.dropped(LAN, fresh(ALICE, 2003)), DropReason::SourceLimit);
}

#[test]
fn a_flow_that_is_over_does_not_stand_in_the_way_of_its_own_successor() {
    let mut bench = limited();
    exhaust(&mut bench);
    // Nothing has been swept meanwhile.
    bench.now += Duration::from_secs(121);
    bench.exchange(LAN, fresh(ALICE, 1003));
}

#[test]
fn a_flood_from_random_sources_does_not_lift_the_limit() {
    let mut bench = limited();
    for port in 0..LIMIT {
        connect(&mut bench, (ALICE, 1000 + port), (SERVER, 80));
    }
    for number in 0..200_000u32 {
        // All of 198.18.0.0/15, in an order of its own.
        let from = Ipv4Address::from_bits(0xc612_0000 | number.wrapping_mul(40_503) & 0x1_ffff);
        bench.send(WAN, udp((from, 53), (WEB, 53)));
    }
    assert_eq!(bench.dropped(LAN, fresh(ALICE, 2000)), DropReason::SourceLimit);
}

#[test]
fn the_routers_own_flows_are_not_limited() {
    let mut bench = limited();
    bench.run("sysctl -w net.netfilter.nf_conntrack_max_per_source=1");
    for host in [ALICE, BOB] {
        bench.command(&format!("ping -c 1 -W 1 {host}"));
        bench.pass(Duration::from_millis(10));
    }
    assert_eq!(bench.command("sysctl -n net.netfilter.nf_conntrack_count"), "2");
}

#[test]
fn explain_tells_of_the_limit() {
    let mut bench = limited();
    exhaust(&mut bench);
    let told = bench.command(&format!("explain in eth0 udp {ALICE}:2000 {SERVER}:53"));
    assert!(told.contains("verdict     DROP source-limit"), "{told}");
}
