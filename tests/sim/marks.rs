//! The marks of packets and of flows on their way (iptables-extensions(8): mark, connmark, MARK, CONNMARK).

use crate::{answer, gateway, outer, query};
use netstack::outcome::DropReason;
use tests::{bench::Bench, datagram::*, network::*};

/// What comes from the LAN is marked, and its flow takes the mark over.
const MARKING: &str = "
iptables -t mangle -A PREROUTING -i eth0 -j MARK --set-mark 5
iptables -t mangle -A PREROUTING -i eth0 -j CONNMARK --save-mark
";

/// ALICE asks and SERVER answers, so often.
fn talk(bench: &mut Bench, times: usize) {
    for _ in 0..times {
        let from = outer(bench, query());
        assert_eq!(bench.exchange(WAN, answer(from)).0, LAN);
    }
}

/// How many packets a rule has counted.
fn counted(bench: &mut Bench, table: &str, chain: &str, number: usize) -> u64 {
    let line = bench.command(&format!("iptables -t {table} -S {chain} {number} -v"));
    let words: Vec<&str> = line.split(' ').collect();
    let place = words.iter().position(|&word| word == "-c").expect("a counter");
    words[place + 1].parse().expect("a number")
}

#[test]
fn a_packet_is_judged_by_its_mark_in_every_table() {
    let mut bench = gateway();
    bench.run(MARKING);
    bench.run("iptables -A FORWARD -m mark --mark 5 -j DROP");
    assert_eq!(bench.dropped(LAN, query()), DropReason::FirewallRule);
    bench.run("iptables -R FORWARD 1 -m mark ! --mark 0x5/0xf -j DROP");
    assert_eq!(outer(&mut bench, query()).0, WAN_SIDE);
    bench.run("iptables -t nat -R POSTROUTING 1 -p udp -m mark --mark 6 -j MASQUERADE");
    assert_eq!(bench.exchange(LAN, udp((BOB, 40000), (SERVER, 53))).1.source(), (BOB, 40000), "not 6");
    bench.run("iptables -t nat -R POSTROUTING 1 -p udp -m mark --mark 5 -j MASQUERADE");
    assert_eq!(outer(&mut bench, udp((BOB, 40001), (SERVER, 53))).0, WAN_SIDE);
}

#[test]
fn a_flow_keeps_its_mark_and_its_answers_take_it_over() {
    let mut bench = gateway();
    bench.run(MARKING);
    bench.run("iptables -t mangle -A PREROUTING -i eth1 -j CONNMARK --restore-mark");
    bench.run("iptables -A FORWARD -i eth1 -m mark --mark 5; iptables -A FORWARD -m connmark --mark 5");
    talk(&mut bench, 8);
    assert_eq!(counted(&mut bench, "filter", "FORWARD", 1), 8);
    assert_eq!(counted(&mut bench, "filter", "FORWARD", 2), 16);
    assert!(bench.router.statistics().fast >= 8, "none of these rules keeps a flow on the slow path");
    assert!(bench.command("conntrack -L --mark 5").contains("mark=5"));
    assert!(!bench.command("conntrack -L --mark 4").contains("udp"));
}

#[test]
fn a_flow_whose_mark_changes_is_judged_anew() {
    let mut bench = gateway();
    bench.run("iptables -A FORWARD -m connmark --mark 7 -j DROP");
    talk(&mut bench, 4);
    assert!(bench.router.statistics().fast > 0);
    assert!(bench.command("conntrack -U -p udp --mark 7").contains("1 flow entries have been updated"));
    assert_eq!(bench.dropped(LAN, query()), DropReason::FirewallRule);
}

#[test]
fn a_mark_that_each_packet_changes_is_never_taken_for_constant() {
    let mut bench = gateway();
    bench.run("iptables -t mangle -A PREROUTING -j CONNMARK --xor-mark 1");
    bench.run("iptables -A FORWARD -m connmark --mark 1");
    talk(&mut bench, 8);
    assert_eq!(counted(&mut bench, "filter", "FORWARD", 1), 8, "every other one of 16");
    assert_eq!(bench.router.statistics().fast, 0);
}

#[test]
fn a_dropped_packet_marks_no_flow() {
    let mut bench = gateway();
    talk(&mut bench, 1);
    bench.run(MARKING);
    bench.run("iptables -A FORWARD -i eth0 -j DROP");
    bench.dropped(LAN, query());
    assert!(bench.command("conntrack -L").contains("mark=0"));
}

#[test]
fn explain_says_what_the_marks_become() {
    let mut bench = gateway();
    bench.run(MARKING);
    let told = bench.command("explain in eth0 udp 192.168.1.10:40000 198.51.100.7:53");
    assert!(
        told.contains("mangle PREROUTING rule 1: -i eth0 -j MARK --set-xmark 0x5/0xffffffff => yes, MARK")
    );
    assert!(told.contains("marks       packet 0x5, flow 0x5"), "{told}");
}
