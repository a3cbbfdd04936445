//! `trace`: real packets meet the stations that `explain` foretells.

use crate::{gateway, query};
use smoltcp::time::Duration;
use tests::{bench::Bench, datagram::*, network::*};

/// What `trace show` prints but for the times and the last line.
fn shown(bench: &mut Bench) -> Vec<String> {
    let text = bench.command("trace show");
    let mut lines: Vec<String> =
        text.lines().filter(|line| !line.starts_with('[')).map(String::from).collect();
    lines.pop();
    lines
}

#[test]
fn a_packet_meets_what_explain_foretells() {
    let rules = "iptables -A FORWARD -p tcp --dport 23 -j REJECT\niptables -A FORWARD -p udp -j ACCEPT\n";
    for (question, packet, outcome) in [
        ("in eth0 udp 192.168.1.10:40000 198.51.100.7:53 len 38", query(), None),
        (
            "in eth0 tcp 192.168.1.10:40000 198.51.100.7:23",
            tcp((ALICE, 40000), (SERVER, 23), flag::SYN),
            Some("A rule said REJECT; the sender was told."),
        ),
        (
            "in eth1 udp 198.51.100.7:53 203.0.113.2:9",
            udp((SERVER, 53), (WAN_SIDE, 9)),
            Some("For the router itself, where nothing listens on its port; the sender was told."),
        ),
        (
            "in eth0 udp 192.168.1.10:40000 198.51.100.7:53 ttl 1",
            udp((ALICE, 40000), (SERVER, 53)).ttl(1),
            Some("Its time to live ran out."),
        ),
    ] {
        let mut bench = Bench::network(&[MASQUERADE, rules].concat());
        let port = if question.starts_with("in eth0") { LAN } else { WAN };
        let mut foretold: Vec<String> =
            bench.command(&format!("explain {question}")).lines().map(String::from).collect();
        foretold.extend(outcome.map(|text| format!("outcome     {text}")));
        assert_eq!(bench.command(&format!("trace on inbound and host {}", packet.source)), "");
        bench.send(port, packet);
        assert_eq!(shown(&mut bench), foretold);
    }
}

#[test]
fn those_that_are_followed_leave_the_short_way_and_others_stay_on_it() {
    let mut bench = gateway();
    bench.command("trace on port 53");
    let other = udp((BOB, 40000), (SERVER, 54));
    for _ in 0..5 {
        bench.send(LAN, query());
    }
    assert_eq!(bench.router.statistics().fast, 0);
    assert_eq!(bench.router.taps().tracer().stories().count(), 5);
    for _ in 0..5 {
        bench.send(LAN, other.clone());
    }
    let fast = bench.router.statistics().fast;
    assert!(fast > 0);
    bench.command("trace off");
    bench.send(LAN, query());
    assert_eq!(bench.router.statistics().fast, fast + 1);
    assert_eq!(bench.router.taps().tracer().stories().count(), 5, "what was met can still be read");
    assert!(!bench.router.taps().are_open());
}

#[test]
fn what_the_router_sends_is_followed_too() {
    let mut bench = gateway();
    bench.command("trace on outbound and icmp");
    bench.send(LAN, echo((ALICE, 7), LAN_SIDE));
    let lines = shown(&mut bench);
    assert!(lines[0].starts_with("out         icmp 192.168.1.1 > 192.168.1.10 type 0"), "{lines:?}");
    assert!(lines.iter().any(|line| line == "verdict     FORWARD out of eth0"), "{lines:?}");
}

#[test]
fn a_flood_is_followed_slowly_and_the_last_packets_are_kept() {
    let mut bench = gateway();
    bench.command("trace on -i eth0 udp");
    for number in 0..200 {
        bench.send(LAN, udp((ALICE, 1000 + number), (SERVER, 53)));
    }
    assert!(bench.command("trace show").ends_with("trace is on; 150 packets were passed over"));
    bench.sleep(Duration::from_secs(2));
    for _ in 0..20 {
        bench.send(LAN, query());
    }
    assert_eq!(bench.router.taps().tracer().stories().count(), 50);
    assert!(shown(&mut bench).concat().contains("192.168.1.10:40000"));
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    for (command, error) in [
        ("trace on -i eth9", "trace: eth9: No such device exists"),
        ("trace on host", "trace: can't parse filter expression: syntax error"),
        ("trace off now", "trace: unexpected argument 'now'"),
        ("trace maybe", "trace: 'maybe' is none of on, off, show"),
    ] {
        assert_eq!(gateway().command(command), error);
    }
}
