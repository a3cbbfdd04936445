//! What a flow is, how long it lives, and what happens when there are too many (RFC 7857, RFC 5382, RFC 4787 4.3).

use crate::{answer, connect, gateway, one_hop, outer, query};
use netstack::{outcome::DropReason, router::Limits};
use smoltcp::{time::Duration, wire::Ipv4Address};
use tests::{bench::Bench, datagram::*, network::*};

/// A gateway whose own ports are closed in silence, so that what finds no flow is dropped.
fn closed_gateway() -> Bench {
    let mut bench = gateway();
    bench.run("iptables -P INPUT DROP");
    bench
}

/// Whether a packet from outside to `to` reaches the LAN at this moment.
fn reaches_lan(bench: &mut Bench, packet: Datagram) -> bool {
    bench.send(WAN, packet).iter().any(|(port, _)| *port == LAN)
}

fn pass(bench: &mut Bench, seconds: u64) {
    bench.pass(Duration::from_secs(seconds));
}

#[test]
fn an_unanswered_udp_mapping_lives_two_minutes() {
    let mut bench = closed_gateway();
    let outside = outer(&mut bench, query());
    pass(&mut bench, 119);
    assert!(reaches_lan(&mut bench, answer(outside)));

    let mut bench = closed_gateway();
    let outside = outer(&mut bench, query());
    pass(&mut bench, 122);
    assert!(!reaches_lan(&mut bench, answer(outside)));
}

#[test]
fn an_assured_udp_mapping_lives_five_minutes() {
    for (seconds, lives) in [(298, true), (302, false)] {
        let mut bench = closed_gateway();
        let outside = outer(&mut bench, query());
        for _ in 0..3 {
            assert!(reaches_lan(&mut bench, answer(outside)));
            pass(&mut bench, 3);
            outer(&mut bench, query());
        }
        pass(&mut bench, seconds);
        assert_eq!(reaches_lan(&mut bench, answer(outside)), lives, "after {seconds} s");
    }
}

#[test]
fn only_outbound_traffic_refreshes_a_mapping() {
    let mut bench = closed_gateway();
    let outside = outer(&mut bench, query());
    for _ in 0..40 {
        reaches_lan(&mut bench, answer(outside));
        pass(&mut bench, 10);
    }
    assert!(!reaches_lan(&mut bench, answer(outside)), "400 s of answers keep nothing alive");
    let outside = outer(&mut bench, query());
    for _ in 0..40 {
        outer(&mut bench, query());
        pass(&mut bench, 10);
    }
    assert!(reaches_lan(&mut bench, answer(outside)), "400 s of questions do");
}

#[test]
fn an_icmp_mapping_lives_a_minute() {
    for (seconds, lives) in [(58, true), (62, false)] {
        let mut bench = closed_gateway();
        outer(&mut bench, echo((ALICE, 5), SERVER));
        pass(&mut bench, seconds);
        assert_eq!(reaches_lan(&mut bench, echo_reply(SERVER, (WAN_SIDE, 5))), lives, "after {seconds} s");
    }
}

/// A segment of the server's with nothing in it.
fn keepalive(outside: Endpoint) -> Datagram {
    tcp((SERVER, 80), outside, flag::ACK).numbers(5001, 1001)
}

#[test]
fn an_established_connection_lives_two_hours_and_four_minutes() {
    for (seconds, lives) in [(7430, true), (7450, false)] {
        let mut bench = closed_gateway();
        let outside = connect(&mut bench, (ALICE, 40000), (SERVER, 80));
        pass(&mut bench, seconds);
        assert_eq!(reaches_lan(&mut bench, keepalive(outside)), lives, "after {seconds} s");
    }
}

#[test]
fn a_connection_that_opens_or_closes_lives_four_minutes() {
    use flag::*;
    let (from, to) = ((ALICE, 40000), (SERVER, 80));
    for (seconds, lives) in [(235, true), (245, false)] {
        let mut bench = closed_gateway();
        let outside = outer(&mut bench, tcp(from, to, SYN));
        pass(&mut bench, seconds);
        let reply = tcp(to, outside, SYN | ACK).numbers(5000, 1001);
        assert_eq!(reaches_lan(&mut bench, reply), lives, "half open, after {seconds} s");

        let mut bench = closed_gateway();
        let outside = connect(&mut bench, from, to);
        reaches_lan(&mut bench, tcp(to, outside, FIN | ACK).numbers(5001, 1001));
        outer(&mut bench, tcp(from, to, FIN | ACK).numbers(1001, 5002));
        reaches_lan(&mut bench, tcp(to, outside, ACK).numbers(5002, 1002));
        pass(&mut bench, seconds);
        let last = tcp(to, outside, FIN | ACK).numbers(5001, 1002);
        assert_eq!(reaches_lan(&mut bench, last), lives, "closing, after {seconds} s");
    }
}

#[test]
fn a_syn_that_comes_again_keeps_no_attempt_alive() {
    let mut bench = closed_gateway();
    let to = (Ipv4Address::new(10, 99, 99, 99), 80);
    let syn = |attempt: u32| tcp((ALICE, 40000), to, flag::SYN).numbers(1000 + attempt * 100_000, 0);
    outer(&mut bench, syn(0));
    bench.run("iptables -t nat -A PREROUTING -i eth0 -d 10.99.99.99 -p tcp --dport 80 -j DNAT --to-destination 10.10.0.5");
    for attempt in 1..24 {
        pass(&mut bench, 10);
        assert_eq!(bench.exchange(LAN, syn(attempt)).0, WAN, "the attempt began before the rule");
    }
    pass(&mut bench, 11);
    assert_eq!(bench.exchange(LAN, syn(24)).0, DMZ);
}

#[test]
fn the_timers_can_be_set() {
    let mut bench = closed_gateway();
    bench.run("sysctl -w net.netfilter.nf_conntrack_udp_timeout=10\nsysctl -w net.netfilter.nf_conntrack_icmp_timeout=5");
    let outside = outer(&mut bench, query());
    outer(&mut bench, echo((ALICE, 5), SERVER));
    pass(&mut bench, 6);
    assert!(reaches_lan(&mut bench, answer(outside)));
    assert!(!reaches_lan(&mut bench, echo_reply(SERVER, (WAN_SIDE, 5))));
    pass(&mut bench, 6);
    assert!(!reaches_lan(&mut bench, answer(outside)));
}

#[test]
fn an_error_or_a_reset_from_outside_refreshes_nothing() {
    let mut bench = closed_gateway();
    let (_, left) = bench.exchange(LAN, query());
    for _ in 0..20 {
        bench.send(WAN, icmp_error(OTHER, 3, 1, &left));
        pass(&mut bench, 10);
    }
    assert!(!reaches_lan(&mut bench, answer(left.source())), "200 s of errors");
}

#[test]
fn both_ends_may_open_a_connection_at_once() {
    use flag::*;
    let mut bench = closed_gateway();
    let (from, to) = ((ALICE, 40000), (SERVER, 80));
    let outside = outer(&mut bench, tcp(from, to, SYN).numbers(1000, 0));
    let crossing = tcp(to, outside, SYN).numbers(5000, 0);
    assert_eq!(bench.send(WAN, crossing.clone()), [(LAN, one_hop(crossing).to(from))]);
    assert_eq!(outer(&mut bench, tcp(from, to, SYN | ACK).numbers(1000, 5001)), outside);
    assert!(reaches_lan(&mut bench, tcp(to, outside, SYN | ACK).numbers(5000, 1001)));
    assert_eq!(outer(&mut bench, tcp(from, to, ACK).numbers(1001, 5001)), outside);
    pass(&mut bench, 3600);
    assert!(reaches_lan(&mut bench, keepalive(outside)), "it is established");
}

#[test]
fn an_unsolicited_syn_gets_no_answer_at_once() {
    let mut bench = closed_gateway();
    let (from, to) = ((ALICE, 40000), (SERVER, 80));
    let early = tcp(to, (WAN_SIDE, 40000), flag::SYN).numbers(5000, 0);
    assert_eq!(bench.send(WAN, early.clone()), []);
    assert_eq!(outer(&mut bench, tcp(from, to, flag::SYN).numbers(1000, 0)), (WAN_SIDE, 40000));
    assert!(reaches_lan(&mut bench, early), "its repetition meets the open door");
}

/// Lets only packets of these states through.
fn only(states: &str) -> String {
    format!("iptables -P FORWARD DROP\niptables -A FORWARD -m conntrack --ctstate {states} -j ACCEPT\n")
}

#[test]
fn the_first_packet_is_new_and_the_answer_established() {
    let mut bench = Bench::network(&only("NEW"));
    bench.exchange(LAN, query());
    assert_eq!(bench.dropped(WAN, answer((ALICE, 40000))), DropReason::FirewallPolicy);
    bench.run("iptables -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT");
    assert_eq!(bench.exchange(WAN, answer((ALICE, 40000))).0, LAN);
}

#[test]
fn a_second_packet_before_any_answer_is_still_new() {
    let mut bench = Bench::network(&only("NEW"));
    bench.exchange(LAN, query());
    bench.exchange(LAN, query());
    bench.run("iptables -F FORWARD");
    bench.run(&only("ESTABLISHED"));
    assert_eq!(bench.dropped(LAN, query()), DropReason::FirewallPolicy);
    assert_eq!(bench.exchange(WAN, answer((ALICE, 40000))).0, LAN);
    assert_eq!(bench.exchange(LAN, query()).0, WAN, "after the answer it is established");
}

#[test]
fn an_error_about_a_flow_is_related() {
    let mut bench = Bench::network(&only("NEW,RELATED"));
    let (_, left) = bench.exchange(LAN, query());
    assert_eq!(bench.exchange(WAN, icmp_error(OTHER, 3, 1, &left)).0, LAN);
    bench.run("iptables -F FORWARD");
    bench.run(&only("NEW,ESTABLISHED"));
    assert_eq!(bench.dropped(WAN, icmp_error(OTHER, 3, 1, &left)), DropReason::FirewallPolicy);
}

#[test]
fn what_no_connection_can_send_is_invalid() {
    use flag::*;
    let mut bench = Bench::network(&only("NEW,ESTABLISHED,RELATED"));
    for flags in [0, SYN | FIN, SYN | RST, FIN | PSH | URG, RST, SYN | ACK] {
        assert_eq!(
            bench.dropped(LAN, tcp((ALICE, 1), (SERVER, 80), flags)),
            DropReason::FirewallPolicy,
            "{flags:#x}"
        );
    }
    bench.dropped(LAN, echo_reply(ALICE, (SERVER, 7)));
    bench.run("iptables -A FORWARD -m conntrack --ctstate INVALID -j ACCEPT");
    assert_eq!(
        bench.exchange(LAN, tcp((ALICE, 1), (SERVER, 80), SYN | FIN)).0,
        WAN,
        "without a translation it may pass"
    );
}

#[test]
fn translated_flows_match_the_states_snat_and_dnat() {
    let mut bench = gateway();
    bench.run(
        "iptables -t nat -A PREROUTING -i eth1 -p udp --dport 8080 -j DNAT --to-destination 10.10.0.5:80",
    );
    bench.run("iptables -A FORWARD -m conntrack --ctstate DNAT -j ACCEPT\niptables -P FORWARD DROP");
    let inward = udp((SERVER, 30000), (WAN_SIDE, 8080));
    assert_eq!(bench.exchange(WAN, inward).0, DMZ);
    assert_eq!(bench.exchange(DMZ, udp((WEB, 80), (SERVER, 30000))).0, WAN);
    assert_eq!(bench.dropped(LAN, query()), DropReason::FirewallPolicy);
    bench.run("iptables -A FORWARD -p udp --sport 40000 -j ACCEPT\niptables -A FORWARD -m conntrack --ctstate SNAT -j ACCEPT");
    bench.exchange(LAN, query());
    assert_eq!(bench.exchange(WAN, answer((WAN_SIDE, 40000))).0, LAN);
}

#[test]
fn a_dropped_packet_leaves_no_flow_behind() {
    let mut bench = Bench::network("iptables -A FORWARD -p udp -j DROP");
    bench.dropped(LAN, query());
    bench.run("iptables -F FORWARD");
    bench.run(&only("ESTABLISHED"));
    assert_eq!(bench.dropped(WAN, answer((ALICE, 40000))), DropReason::FirewallPolicy);
}

/// A router with room for 256 flows, `established` of which are ALICE's connections.
fn nearly_full(established: u16) -> Bench {
    let limits = Limits { flows: 256, ..Limits::default() };
    let mut bench = Bench::with(3, &limits, 1, &[NETWORK, MASQUERADE].concat());
    for port in 0..established {
        connect(&mut bench, (ALICE, 10_000 + port), (SERVER, 80));
    }
    bench
}

/// The number of connections of ALICE's that still pass data.
fn alive(bench: &mut Bench, connections: u16) -> usize {
    let data = |port| {
        tcp((ALICE, 10_000 + port), (SERVER, 80), flag::PSH | flag::ACK).numbers(1001, 5001).payload(b"x")
    };
    (0..connections).filter(|port| bench.send(LAN, data(*port)).iter().any(|(out, _)| *out == WAN)).count()
}

#[test]
fn established_flows_survive_a_flood_of_new_ones() {
    let mut bench = nearly_full(100);
    for number in 0..20_000u32 {
        let from = Ipv4Address::from(u32::from(Ipv4Address::new(192, 168, 1, 0)) + number % 250);
        let packet = match number % 3 {
            0 => tcp((from, number as u16), (SERVER, 80), flag::SYN),
            1 => udp((from, number as u16), (OTHER, 53)),
            _ => echo((from, number as u16), OTHER),
        };
        bench.send(LAN, packet);
    }
    assert_eq!(alive(&mut bench, 100), 100);
}

#[test]
fn half_open_flows_give_way_to_new_ones() {
    let mut bench = nearly_full(100);
    for port in 0..1000 {
        bench.send(LAN, tcp((BOB, port), (SERVER, 80), flag::SYN));
    }
    connect(&mut bench, (ALICE, 40000), (SERVER, 80));
    assert_eq!(alive(&mut bench, 100), 100);
}

#[test]
fn expired_flows_go_before_living_ones() {
    let mut bench = nearly_full(0);
    for port in 0..1000 {
        bench.send(LAN, udp((BOB, port), (SERVER, 53)));
    }
    pass(&mut bench, 200);
    for port in 0..200 {
        connect(&mut bench, (ALICE, 10_000 + port), (SERVER, 80));
    }
    assert_eq!(alive(&mut bench, 200), 200);
}

#[test]
fn a_table_full_of_established_flows_refuses_new_ones_and_counts_them() {
    let mut bench = nearly_full(0);
    let mut refused = 0;
    for port in 0..400 {
        let syn = tcp((ALICE, 10_000 + port), (SERVER, 80), flag::SYN);
        match bench.send(LAN, syn).first() {
            Some((_, left)) => {
                let outside = left.source();
                bench.send(WAN, tcp((SERVER, 80), outside, flag::SYN | flag::ACK).numbers(5000, 1001));
                let ack = tcp((ALICE, 10_000 + port), (SERVER, 80), flag::ACK).numbers(1001, 5001);
                bench.send(LAN, ack);
            }
            None => refused += 1,
        }
    }
    assert!((100..=200).contains(&refused), "{refused} of 400 refused");
    assert_eq!(bench.router.drops().get(DropReason::FlowTableFull), refused);
    assert_eq!(alive(&mut bench, 400) as u64, 400 - refused);
}

#[test]
fn a_new_flow_without_room_is_refused_before_any_rule_counts_it() {
    let mut bench = nearly_full(0);
    bench.run("sysctl -w net.netfilter.nf_conntrack_max=20\niptables -t mangle -A PREROUTING -p tcp --syn");
    for port in 0..20 {
        connect(&mut bench, (ALICE, 10_000 + port), (SERVER, 80));
    }
    let counted = bench.command("iptables -t mangle -L PREROUTING -vnx");
    let syn = tcp((ALICE, 40000), (SERVER, 80), flag::SYN);
    assert_eq!(bench.dropped(LAN, syn), DropReason::FlowTableFull);
    assert_eq!(bench.command("iptables -t mangle -L PREROUTING -vnx"), counted);
    assert!(bench.command("conntrack -S").contains(" drop=1 "));
    let told = bench.command(&format!("explain in eth0 tcp {ALICE}:40000 {SERVER}:80"));
    assert!(told.contains("verdict     DROP flow-table-full"), "{told}");
}

#[test]
fn the_number_of_flows_can_be_limited() {
    let mut bench = gateway();
    bench.run("sysctl -w net.netfilter.nf_conntrack_max=50");
    for port in 0..500 {
        bench.send(LAN, udp((ALICE, 1000 + port), (SERVER, 53)));
    }
    let count = bench.command("sysctl -n net.netfilter.nf_conntrack_count");
    let count: u32 = count.trim().parse().expect("a number");
    assert!((40..=50).contains(&count), "{count}");
}
