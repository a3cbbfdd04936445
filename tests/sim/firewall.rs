//! Rules while traffic runs: changes, counters, the log (iptables(8)).

use crate::{answer, connect, gateway, log_lines::logged, outer, query};
use netstack::{command::load, outcome::DropReason};
use smoltcp::time::Duration;
use tests::{bench::Bench, datagram::*, network::*};

/// A segment with one byte on ALICE's connection from [`connect`].
fn data() -> Datagram {
    tcp((ALICE, 40000), (SERVER, 80), flag::PSH | flag::ACK).numbers(1001, 5001).payload(b"x")
}

fn connected() -> Bench {
    let mut bench = gateway();
    connect(&mut bench, (ALICE, 40000), (SERVER, 80));
    for _ in 0..3 {
        outer(&mut bench, data());
    }
    bench
}

#[test]
fn a_new_rule_stops_an_old_flow_at_its_next_packet() {
    let mut bench = connected();
    bench.run("iptables -I FORWARD -p tcp --dport 80 -j DROP");
    assert_eq!(bench.dropped(LAN, data()), DropReason::FirewallRule);
    bench.run("iptables -D FORWARD 1");
    assert_eq!(bench.exchange(LAN, data()).0, WAN);
}

#[test]
fn a_new_policy_stops_an_old_flow_at_its_next_packet() {
    let mut bench = connected();
    bench.run("iptables -P FORWARD DROP");
    assert_eq!(bench.dropped(LAN, data()), DropReason::FirewallPolicy);
    bench.run("iptables -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT");
    assert_eq!(bench.exchange(LAN, data()).0, WAN, "the flow itself lives");
}

#[test]
fn a_rule_stops_the_answers_too() {
    let mut bench = connected();
    bench.run("iptables -I FORWARD -o eth0 -j DROP");
    let reply = tcp((SERVER, 80), (WAN_SIDE, 40000), flag::ACK).numbers(5001, 1001);
    assert_eq!(bench.dropped(WAN, reply), DropReason::FirewallRule);
    assert_eq!(bench.exchange(LAN, data()).0, WAN);
}

#[test]
fn a_new_route_moves_an_old_flow_at_its_next_packet() {
    let mut bench = Bench::network("");
    bench.exchange(LAN, query());
    bench.exchange(WAN, answer((ALICE, 40000)));
    assert_eq!(bench.exchange(LAN, query()).0, WAN);
    bench.run("ip route add 198.51.100.7 via 10.10.0.5");
    assert_eq!(bench.exchange(LAN, query()).0, DMZ);
    bench.run("ip route del 198.51.100.7");
    assert_eq!(bench.exchange(LAN, query()).0, WAN);
}

#[test]
fn a_changed_neighbour_is_used_at_the_next_packet() {
    let mut bench = Bench::network("");
    bench.exchange(LAN, query());
    bench.run("ip neigh replace 203.0.113.1 lladdr 02:00:00:00:01:77 nud permanent dev eth1");
    let frame = tests::frame::Frame::ip(neighbor_mac(LAN, ALICE), router_mac(LAN), query()).bytes();
    let left = bench.inject(LAN, &frame);
    assert_eq!(left[0].1[..6], [2, 0, 0, 0, 1, 0x77]);
}

#[test]
fn forwarding_switched_off_stops_an_old_flow() {
    let mut bench = connected();
    bench.run("sysctl -w net.ipv4.ip_forward=0");
    assert_eq!(bench.dropped(LAN, data()), DropReason::ForwardingOff);
}

#[test]
fn a_verdict_by_state_is_made_anew_when_the_state_moves() {
    let mut bench = Bench::network(
        "iptables -A FORWARD -m conntrack --ctstate NEW -j ACCEPT\niptables -A FORWARD -i eth0 -j DROP",
    );
    bench.exchange(LAN, query());
    bench.exchange(LAN, query());
    bench.exchange(WAN, answer((ALICE, 40000)));
    assert_eq!(bench.dropped(LAN, query()), DropReason::FirewallRule, "it is no longer new");
}

#[test]
fn a_verdict_by_what_changes_from_packet_to_packet_is_never_kept() {
    let mut bench = connected();
    bench.run("iptables -I FORWARD -p tcp --tcp-flags URG URG -j DROP");
    assert_eq!(bench.exchange(LAN, data()).0, WAN);
    let urgent = data().but(|p| {
        if let Body::Tcp { flags, .. } = &mut p.body {
            *flags |= flag::URG;
        }
    });
    assert_eq!(bench.dropped(LAN, urgent), DropReason::FirewallRule);
    assert_eq!(bench.exchange(LAN, data()).0, WAN);
}

#[test]
fn a_rule_set_is_taken_whole_or_not_at_all() {
    let mut bench = connected();
    let before = bench.router.config().clone();
    let text = "iptables -F\niptables -P FORWARD DROP\niptables -A FORWARD -p nonsense -j ACCEPT\n";
    let error = load(&mut bench.router, text).expect_err("nonsense is no protocol");
    assert_eq!(error.line, 3);
    assert!(error.message.contains("nonsense"), "{}", error.message);
    assert!(*bench.router.config() == before, "nothing has changed");
    assert_eq!(bench.exchange(LAN, data()).0, WAN);
}

#[test]
fn the_policy_holds_before_the_first_packet() {
    let mut bench = Bench::network("iptables -P FORWARD DROP\niptables -P INPUT DROP");
    assert_eq!(bench.dropped(LAN, query()), DropReason::FirewallPolicy);
    assert_eq!(bench.dropped(LAN, echo((ALICE, 1), LAN_SIDE)), DropReason::FirewallPolicy);
}

#[test]
fn user_chains_of_postrouting_know_where_a_packet_came_in() {
    let mut bench = Bench::network(
        "iptables -t nat -N outer; iptables -t nat -A outer -i eth0 -j MASQUERADE\n\
         iptables -t nat -A POSTROUTING -o eth1 -j outer\n\
         iptables -t mangle -N last; iptables -t mangle -A last -i eth2 -j DROP\n\
         iptables -t mangle -A POSTROUTING -j last\n",
    );
    assert_eq!(outer(&mut bench, query()).0, WAN_SIDE);
    assert_eq!(bench.dropped(DMZ, udp((WEB, 40000), (SERVER, 53))), DropReason::FirewallRule);
    assert_eq!(bench.exchange(WAN, udp((SERVER, 53), (BOB, 1))).0, LAN);
}

/// Packets and bytes in the line of `listing` that contains `word`.
fn counted(listing: &str, word: &str) -> (u64, u64) {
    let line =
        listing.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("{word} in {listing}"));
    let mut numbers = line.split_whitespace().filter_map(|text| text.trim_end_matches(',').parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[test]
fn rules_and_policies_count_every_packet_and_byte() {
    let mut bench = gateway();
    bench.run("iptables -A FORWARD -p tcp -j ACCEPT");
    connect(&mut bench, (ALICE, 40000), (SERVER, 80));
    for _ in 0..97 {
        outer(&mut bench, data());
    }
    outer(&mut bench, query());
    let listing = bench.command("iptables -L FORWARD -v -x -n");
    assert_eq!(counted(&listing, "ACCEPT  "), (100, 3 * 40 + 97 * 41), "{listing}");
    assert_eq!(counted(&listing, "policy"), (1, query().bytes().len() as u64), "{listing}");
    let listing = bench.command("iptables -t nat -L POSTROUTING -v -x -n");
    assert_eq!(counted(&listing, "MASQUERADE").0, 2, "the first packet of each flow: {listing}");
    bench.run("iptables -Z");
    let listing = bench.command("iptables -L FORWARD -v -x -n");
    assert_eq!(counted(&listing, "ACCEPT  "), (0, 0), "{listing}");
}

#[test]
fn a_policy_that_is_set_again_counts_from_the_beginning() {
    let mut bench = gateway();
    let restore = "iptables-restore -n <<END\n*filter\n:FORWARD ACCEPT [7:8]\nCOMMIT\nEND\n";
    for change in ["iptables -P FORWARD ACCEPT", restore] {
        outer(&mut bench, query());
        bench.run(change);
        let listing = bench.command("iptables -L FORWARD -v -x -n");
        assert_eq!(counted(&listing, "policy"), (0, 0), "{change}: {listing}");
    }
}

#[test]
fn logging_is_rate_limited_and_never_stops_a_packet() {
    let mut bench = Bench::network("iptables -A FORWARD -j LOG --log-prefix \"all: \"");
    for _ in 0..10_000 {
        assert_eq!(bench.exchange(LAN, query()).0, WAN);
    }
    let listing = bench.command("iptables -L FORWARD -v -x -n");
    assert_eq!(counted(&listing, "LOG").0, 10_000, "all are counted: {listing}");
    bench.pass(Duration::from_secs(1));
}

#[test]
fn a_rejected_packet_is_answered_as_the_rule_says() {
    let kinds = [
        ("icmp-net-unreachable", 0),
        ("icmp-host-unreachable", 1),
        ("icmp-proto-unreachable", 2),
        ("icmp-port-unreachable", 3),
        ("icmp-net-prohibited", 9),
        ("icmp-host-prohibited", 10),
        ("icmp-admin-prohibited", 13),
    ];
    for (name, code) in kinds {
        let mut bench = Bench::network(&format!("iptables -A FORWARD -j REJECT --reject-with {name}"));
        crate::assert_error(&bench.send(LAN, query()), LAN, (3, code), &query());
        assert_eq!(bench.drop_reason(), DropReason::FirewallReject);
    }
}

#[test]
fn a_tcp_reset_ends_the_connection_that_was_asked_for() {
    let mut bench = Bench::network("iptables -A FORWARD -p tcp -j REJECT --reject-with tcp-reset");
    let (port, reset) = bench.exchange(LAN, tcp((ALICE, 40000), (SERVER, 80), flag::SYN));
    assert_eq!((port, reset.source(), reset.destination()), (LAN, (SERVER, 80), (ALICE, 40000)));
    let Body::Tcp { flags, sequence, acknowledgment, .. } = reset.body else { panic!("{reset:?}") };
    assert_eq!((flags, sequence, acknowledgment), (flag::RST | flag::ACK, 0, 1001));
    assert_eq!(bench.send(LAN, tcp((ALICE, 40000), (SERVER, 80), flag::RST)), [], "a reset is not answered");
}

#[test]
fn a_flood_of_packets_to_be_logged_writes_few_lines() {
    let mut bench = Bench::network("iptables -A FORWARD -j LOG --log-prefix 'flood: '");
    let lines = logged(|| {
        for _ in 0..10_000 {
            bench.exchange(LAN, query());
        }
    });
    assert!(lines.iter().all(|line| line.starts_with("flood: IN=eth0 ")), "{:?}", lines[0]);
    assert!((1..200).contains(&lines.len()), "{} lines for 10,000 packets", lines.len());
}

#[test]
fn every_third_packet_is_chosen_of_a_flow_that_took_the_fast_path_too() {
    let mut bench = connected();
    bench.run("iptables -A FORWARD -m statistic --mode nth --every 3 --packet 1 -j DROP");
    for round in 0..9 {
        let passes = !bench.send(LAN, data()).is_empty();
        assert_eq!(passes, round % 3 != 1, "packet {round}");
    }
}
