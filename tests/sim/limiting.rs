//! Rules that remember: how many connections an address has, how fast its packets come, when it was here
//! (iptables-extensions(8): connlimit, hashlimit, recent).

use crate::{answer, connect, gateway, outer};
use netstack::outcome::DropReason;
use smoltcp::{time::Duration, wire::Ipv4Address};
use tests::{bench::Bench, datagram::*, network::*};

fn bench(rules: &str) -> Bench {
    let mut bench = gateway();
    bench.run(rules);
    bench
}

fn syn(from: Endpoint) -> Datagram {
    tcp(from, (SERVER, 80), flag::SYN).numbers(1000, 0)
}

/// Whether a packet of the LAN leaves on the WAN.
fn passes(bench: &mut Bench, packet: Datagram) -> bool {
    bench.send(LAN, packet).iter().any(|(port, _)| *port == WAN)
}

/// How many of twenty packets to OTHER pass at this moment, each of a flow of its own.
fn passing(bench: &mut Bench, from: Ipv4Address, first_port: u16) -> usize {
    let packet = |number| udp((from, first_port + number), (OTHER, 7)).payload(b"x");
    (0..20).filter(|&number| passes(bench, packet(number))).count()
}

/// Three connections of each host to port 80.
const THREE: &str = "iptables -A FORWARD -p tcp --syn --dport 80 -m connlimit --connlimit-above 3 -j DROP\n";

#[test]
fn connections_of_one_address_are_limited_and_others_are_not_touched() {
    let mut bench = bench(THREE);
    for port in 1..=3 {
        connect(&mut bench, (ALICE, port), (SERVER, 80));
    }
    assert_eq!(bench.dropped(LAN, syn((ALICE, 4))), DropReason::FirewallRule);
    assert!(passes(&mut bench, syn((BOB, 4))));
    assert!(passes(&mut bench, tcp((ALICE, 5), (SERVER, 81), flag::SYN)), "another port has no limit");
    // What is there goes on, and a SYN that is sent again is no new connection.
    let data = tcp((ALICE, 1), (SERVER, 80), flag::PSH | flag::ACK).numbers(1001, 5001).payload(b"x");
    assert!(passes(&mut bench, data));
}

#[test]
fn a_syn_that_is_sent_again_counts_once() {
    let mut bench = bench(THREE);
    for _ in 0..10 {
        assert!(passes(&mut bench, syn((ALICE, 1))));
    }
    assert!(passes(&mut bench, syn((ALICE, 2))) && passes(&mut bench, syn((ALICE, 3))));
    assert!(!passes(&mut bench, syn((ALICE, 4))));
    assert!(passes(&mut bench, syn((ALICE, 3))));
}

#[test]
fn a_connection_that_is_closed_makes_room_at_once() {
    let mut bench = bench(THREE);
    let outside: Vec<Endpoint> =
        (1..=3).map(|port| connect(&mut bench, (ALICE, port), (SERVER, 80))).collect();
    assert!(!passes(&mut bench, syn((ALICE, 4))));
    let reset = tcp((SERVER, 80), outside[0], flag::RST).numbers(5001, 0);
    assert_eq!(bench.exchange(WAN, reset).0, LAN);
    assert!(passes(&mut bench, syn((ALICE, 4))));
    assert!(!passes(&mut bench, syn((ALICE, 5))));
    bench.command("conntrack -D -p tcp --sport 2");
    assert!(passes(&mut bench, syn((ALICE, 5))));
}

#[test]
fn what_a_later_rule_drops_was_never_a_connection() {
    let mut bench = bench(
        "iptables -A FORWARD -p tcp --syn -m connlimit --connlimit-above 3 -j DROP\n\
         iptables -A FORWARD -p tcp --dport 80 -j DROP\n",
    );
    for port in 1..10 {
        assert!(!passes(&mut bench, syn((ALICE, port))));
    }
    let elsewhere = |port| tcp((ALICE, port), (SERVER, 443), flag::SYN);
    assert_eq!((1..10).filter(|&port| passes(&mut bench, elsewhere(port))).count(), 3);
}

#[test]
fn a_network_has_its_connections_together_and_a_destination_may_be_what_counts() {
    let mut whole = bench(
        "iptables -A FORWARD -i eth0 -p udp -m connlimit --connlimit-upto 3 --connlimit-mask 24 -j ACCEPT\n\
         iptables -P FORWARD DROP\n",
    );
    assert_eq!(passing(&mut whole, ALICE, 1), 3);
    assert_eq!(passing(&mut whole, BOB, 1), 0);
    let mut destination =
        bench("iptables -A FORWARD -p udp -m connlimit --connlimit-above 3 --connlimit-daddr -j DROP\n");
    assert_eq!(passing(&mut destination, ALICE, 1), 3);
    assert_eq!(passing(&mut destination, BOB, 1), 0);
    assert!(passes(&mut destination, udp((ALICE, 1), (SERVER, 7))));
}

#[test]
fn another_rule_does_not_disturb_the_count_of_connections() {
    let mut bench = bench(THREE);
    for port in 1..=3 {
        connect(&mut bench, (ALICE, port), (SERVER, 80));
    }
    bench.run("iptables -I FORWARD -p icmp -j ACCEPT\n");
    assert!(!passes(&mut bench, syn((ALICE, 4))));
}

#[test]
fn each_source_has_a_rate_of_its_own() {
    let mut bench = bench(
        "iptables -A FORWARD -i eth0 -m hashlimit --hashlimit-above 10/sec --hashlimit-burst 5 --hashlimit-mode srcip \
         --hashlimit-name each -j DROP\n",
    );
    assert_eq!(passing(&mut bench, ALICE, 1), 5);
    assert_eq!(passing(&mut bench, BOB, 1), 5);
    bench.pass(Duration::from_millis(300));
    assert_eq!(passing(&mut bench, ALICE, 100), 3);
}

#[test]
fn the_mode_says_what_is_counted_together() {
    let rule = |mode| {
        bench(&format!(
            "iptables -A FORWARD -i eth0 -m hashlimit --hashlimit-upto 1/min --hashlimit-burst 2 {mode} \
             --hashlimit-name it -j ACCEPT\niptables -P FORWARD DROP\n",
        ))
    };
    let mut together = rule("");
    assert_eq!((passing(&mut together, ALICE, 1), passing(&mut together, BOB, 1)), (2, 0));
    let mut network = rule("--hashlimit-mode srcip --hashlimit-srcmask 24");
    assert_eq!((passing(&mut network, ALICE, 1), passing(&mut network, BOB, 1)), (2, 0));
    let mut ports = rule("--hashlimit-mode srcport");
    assert_eq!((passing(&mut ports, ALICE, 1), passing(&mut ports, ALICE, 1)), (20, 20));
    assert_eq!(passing(&mut ports, ALICE, 1), 0);
    let mut destination = rule("--hashlimit-mode dstip,dstport");
    assert_eq!((passing(&mut destination, ALICE, 1), passing(&mut destination, BOB, 1)), (2, 0));
}

#[test]
fn packets_of_a_flow_are_charged_one_by_one() {
    let mut bench = bench(
        "iptables -A FORWARD -i eth0 -m hashlimit --hashlimit-above 1/min --hashlimit-burst 10 --hashlimit-mode srcip \
         --hashlimit-name each -j DROP\n",
    );
    let packet = || udp((ALICE, 40000), (SERVER, 53)).payload(b"who is it?");
    let outside = outer(&mut bench, packet());
    let mut passed = 1;
    for _ in 0..20 {
        bench.exchange(WAN, answer(outside));
        passed += usize::from(passes(&mut bench, packet()));
    }
    assert_eq!(passed, 10);
}

/// Whoever knocks more than three times in a minute is let wait.
const KNOCKS: &str = "\
iptables -A FORWARD -p tcp --syn -m recent --name knocks --update --seconds 60 --hitcount 3 -j DROP
iptables -A FORWARD -p tcp --syn -m recent --name knocks --set
";

#[test]
fn who_was_here_too_often_in_too_short_a_time_is_known() {
    let mut bench = bench(KNOCKS);
    for port in 1..=3 {
        assert!(passes(&mut bench, syn((ALICE, port))));
        bench.pass(Duration::from_secs(1));
    }
    assert!(!passes(&mut bench, syn((ALICE, 4))));
    assert!(passes(&mut bench, syn((BOB, 4))));
    // Each further attempt is remembered, too.
    bench.pass(Duration::from_secs(50));
    assert!(!passes(&mut bench, syn((ALICE, 5))));
    bench.pass(Duration::from_secs(61));
    assert!(passes(&mut bench, syn((ALICE, 6))));
}

#[test]
fn a_port_opens_for_who_has_knocked_and_closes_again() {
    let mut bench = bench(
        "iptables -A FORWARD -p udp --dport 7000 -m recent --name open --set -j DROP\n\
         iptables -A FORWARD -p udp --dport 7001 -m recent --name open --remove -j DROP\n\
         iptables -A FORWARD -p udp --dport 22 -m recent --name open --rcheck --seconds 10 -j ACCEPT\n\
         iptables -A FORWARD -p udp --dport 22 -j DROP\n",
    );
    let mut port = 0;
    let mut send = |bench: &mut Bench, from, to| {
        port += 1;
        passes(bench, udp((from, port), (SERVER, to)))
    };
    assert!(!send(&mut bench, ALICE, 22));
    send(&mut bench, ALICE, 7000);
    assert!(send(&mut bench, ALICE, 22) && !send(&mut bench, BOB, 22));
    bench.pass(Duration::from_secs(11));
    assert!(!send(&mut bench, ALICE, 22));
    send(&mut bench, ALICE, 7000);
    assert!(send(&mut bench, ALICE, 22));
    send(&mut bench, ALICE, 7001);
    assert!(!send(&mut bench, ALICE, 22));
}

#[test]
fn explain_changes_nothing_that_rules_remember() {
    let mut bench = bench(
        "iptables -A FORWARD -m hashlimit --hashlimit-above 1/min --hashlimit-burst 2 --hashlimit-mode srcip \
         --hashlimit-name each -j DROP\niptables -A FORWARD -p tcp -m recent --set\n\
         iptables -A FORWARD -p tcp -m recent --rcheck --hitcount 2 -j DROP\n",
    );
    let probe = format!("explain in eth0 tcp {ALICE}:9 {SERVER}:80");
    for _ in 0..10 {
        let told = bench.command(&probe);
        assert!(told.contains("verdict     FORWARD"), "{told}");
    }
    assert!(passes(&mut bench, syn((ALICE, 9))));
}

#[test]
fn a_flood_from_random_sources_does_not_free_who_is_limited() {
    let mut bench = bench(
        "iptables -A FORWARD -p udp -m hashlimit --hashlimit-above 1/min --hashlimit-burst 5 --hashlimit-mode srcip \
         --hashlimit-name each -j DROP\n",
    );
    assert_eq!(passing(&mut bench, ALICE, 1), 5);
    for number in 0..100_000u32 {
        let from = Ipv4Address::from_bits(0xc612_0000 | number.wrapping_mul(40_503) & 0x1_ffff);
        bench.send(WAN, udp((from, 53), (WEB, 53)));
    }
    assert_eq!(passing(&mut bench, ALICE, 100), 0);
}
