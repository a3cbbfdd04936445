//! The table raw: what is dropped or left untracked before anybody asks for its flow (iptables-extensions(8): NOTRACK, CT).

use crate::{answer, gateway, outer, query};
use netstack::outcome::DropReason;
use tests::{datagram::*, network::*};

#[test]
fn what_is_not_tracked_begins_no_flow_and_leaves_as_it_is() {
    let mut bench = gateway();
    bench.run("iptables -t raw -A PREROUTING -p udp --dport 53 -j NOTRACK");
    bench.run("iptables -t raw -A PREROUTING -p udp --sport 53 -j CT --notrack");
    let (port, left) = bench.exchange(LAN, query());
    assert_eq!((port, left.source()), (WAN, (ALICE, 40000)));
    assert_eq!(bench.exchange(WAN, answer((ALICE, 40000))).0, LAN);
    assert_eq!(bench.router.connections().flows.len(), 0);
    assert_eq!(outer(&mut bench, udp((ALICE, 40000), (SERVER, 54))), (WAN_SIDE, 40000), "others are");
}

#[test]
fn rules_see_that_it_is_untracked() {
    let mut bench = gateway();
    bench.run("iptables -t raw -A PREROUTING -s 192.168.1.10 -j NOTRACK");
    bench.run("iptables -A FORWARD -m conntrack --ctstate NEW,ESTABLISHED,RELATED,INVALID -j ACCEPT");
    bench.run("iptables -A FORWARD -m conntrack --ctstate UNTRACKED -j REJECT");
    let told = bench.send(LAN, query());
    assert_eq!(told[0].1.icmp_type(), Some((3, 3)));
    bench.run("iptables -D FORWARD 2; iptables -P FORWARD DROP");
    assert_eq!(bench.dropped(LAN, query()), DropReason::FirewallPolicy);
    assert_eq!(bench.exchange(LAN, udp((BOB, 40000), (SERVER, 53))).0, WAN);
}

#[test]
fn rules_of_raw_know_no_flow_yet() {
    let mut bench = gateway();
    bench.exchange(LAN, query());
    bench.run("iptables -t raw -A PREROUTING -m conntrack ! --ctstate INVALID -j DROP");
    bench.run("iptables -t raw -A PREROUTING -m conntrack --ctstate INVALID -j NOTRACK");
    bench.run("iptables -t raw -A PREROUTING -m conntrack --ctstate UNTRACKED -j DROP");
    assert_eq!(bench.dropped(LAN, query()), DropReason::FirewallRule);
    bench.run("iptables -t raw -D PREROUTING 3");
    assert_eq!(bench.exchange(LAN, query()).1.source(), (ALICE, 40000));
}

#[test]
fn a_flow_that_is_there_obeys_too() {
    let mut bench = gateway();
    for _ in 0..3 {
        let from = outer(&mut bench, query());
        bench.exchange(WAN, answer(from));
    }
    assert!(bench.router.statistics().fast > 0);
    bench.run("iptables -t raw -A PREROUTING -p udp -m length --length 100: -j DROP");
    for _ in 0..3 {
        assert_eq!(bench.dropped(LAN, query().payload([0; 80])), DropReason::FirewallRule);
        outer(&mut bench, query());
    }
    bench.run("iptables -t raw -R PREROUTING 1 -i eth0 -j NOTRACK");
    assert_eq!(bench.exchange(LAN, query()).1.source(), (ALICE, 40000));
    bench.run("iptables -t raw -F");
    assert_eq!(outer(&mut bench, query()).0, WAN_SIDE, "the flow itself lives");
}

#[test]
fn rules_that_look_at_what_is_constant_keep_no_flow_off_the_fast_path() {
    let mut bench = gateway();
    bench.run("iptables -t raw -A PREROUTING -s 192.0.2.0/24 -j DROP; iptables -t raw -A PREROUTING -i eth0");
    for _ in 0..4 {
        let from = outer(&mut bench, query());
        bench.exchange(WAN, answer(from));
    }
    assert!(bench.router.statistics().fast >= 3);
    assert!(bench.command("iptables -t raw -S PREROUTING 2 -v").contains("-c 4 152"), "each is counted");
}

#[test]
fn what_the_router_sends_itself_meets_output() {
    let mut bench = gateway();
    bench.run("iptables -t raw -A OUTPUT -p icmp -j DROP");
    assert_eq!(bench.send(LAN, echo((ALICE, 7), LAN_SIDE)), []);
    bench.run("iptables -t raw -R OUTPUT 1 -p icmp -j NOTRACK");
    bench.run("iptables -A OUTPUT -m conntrack --ctstate UNTRACKED -j DROP");
    assert_eq!(bench.send(LAN, echo((ALICE, 7), LAN_SIDE)), []);
    bench.run("iptables -F OUTPUT");
    assert_eq!(bench.exchange(LAN, echo((ALICE, 7), LAN_SIDE)).1.icmp_type(), Some((0, 0)));
}

#[test]
fn what_the_router_answers_is_related_to_a_flow_from_the_beginning() {
    let mut bench = gateway();
    bench.run("iptables -t raw -A OUTPUT -m conntrack ! --ctstate RELATED -j DROP");
    bench.run("iptables -t raw -A OUTPUT -j NOTRACK");
    bench.run("iptables -A OUTPUT -m conntrack --ctstate UNTRACKED -j DROP");
    assert_eq!(bench.exchange(LAN, query().ttl(1)).1.icmp_type(), Some((11, 0)));
    assert_eq!(bench.send(LAN, echo((ALICE, 7), LAN_SIDE)), [], "a reply's flow is looked up only then");
}

#[test]
fn what_the_router_says_about_a_packet_to_itself_is_related_from_the_beginning() {
    let mut bench = gateway();
    bench.run("iptables -t raw -A OUTPUT -m conntrack ! --ctstate RELATED -j DROP");
    let told = bench.exchange(LAN, udp((ALICE, 40000), (LAN_SIDE, 5000))).1;
    assert_eq!(told.icmp_type(), Some((3, 3)));
    let knock = tcp((ALICE, 40000), (LAN_SIDE, 5000), flag::SYN);
    assert_eq!(bench.send(LAN, knock), [], "the flow of a reset is looked up only then");
}

#[test]
fn explain_shows_the_station() {
    let mut bench = gateway();
    bench.run("iptables -t raw -A PREROUTING -p udp -j NOTRACK");
    let told = bench.command("explain in eth0 udp 192.168.1.10:40000 198.51.100.7:53");
    assert!(told.contains("raw PREROUTING rule 1: -p udp -j NOTRACK => yes, NOTRACK"), "{told}");
    assert!(told.contains("flow        UNTRACKED"), "{told}");
}
