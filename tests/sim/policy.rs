//! Policy routing and several next hops: two uplinks, eth1 and eth2, and the routes, rules and marks that share them out.

use crate::{assert_error, query};
use netstack::{config::PortInfo, outcome::DropReason};
use smoltcp::wire::Ipv4Address;
use tests::{bench::Bench, datagram::*, network::*};

/// The second provider's router, on eth2.
const SECOND: &str = "10.10.0.5";

/// The usual set-up of two providers (docs/commands/policy.md).
const TWO_UPLINKS: &str = include_str!("../data/two-uplinks.sh");

fn two_uplinks() -> Bench {
    Bench::network(&["ip route del default\n", TWO_UPLINKS].concat())
}

/// ALICE's flow number `number` to SERVER.
fn flow(number: u16) -> Datagram {
    udp((ALICE, 40000 + number), (SERVER, 53)).payload(b"who is it?")
}

/// The uplinks that 40 flows of ALICE's take, one after the other.
#[track_caller]
fn uplinks(bench: &mut Bench) -> Vec<usize> {
    (0..40)
        .map(|number| {
            let (port, left) = bench.exchange(LAN, flow(number));
            assert_eq!(left.source, OWN[port], "it has the address of its uplink");
            port
        })
        .collect()
}

#[test]
fn a_rule_sends_by_source_destination_interface_and_mark_to_a_table() {
    let table = format!("ip route add default via {SECOND} table 100");
    for (selector, hit, miss) in [
        ("from 192.168.1.10", udp((ALICE, 1), (SERVER, 53)), udp((BOB, 1), (SERVER, 53))),
        ("not from 192.168.1.10", udp((BOB, 1), (SERVER, 53)), udp((ALICE, 1), (SERVER, 53))),
        ("to 198.51.100.8", udp((ALICE, 1), (OTHER, 53)), udp((ALICE, 1), (SERVER, 53))),
        ("fwmark 0x10/0xf0", udp((ALICE, 1), (SERVER, 5060)), udp((ALICE, 1), (SERVER, 53))),
    ] {
        let mut bench = Bench::network(&table);
        bench.run("iptables -t mangle -A PREROUTING -p udp --dport 5060 -j MARK --set-mark 0x1f");
        bench.run(&format!("ip rule add {selector} lookup 100"));
        assert_eq!(bench.exchange(LAN, hit).0, DMZ, "{selector}");
        assert_eq!(bench.exchange(LAN, miss).0, WAN, "{selector}");
    }
    let mut bench = Bench::network(&format!("{table}\nip rule add iif eth0 lookup 100"));
    assert_eq!(bench.exchange(LAN, query()).0, DMZ);
    let own = echo((SERVER, 7), WAN_SIDE);
    assert_eq!(bench.exchange(WAN, own).0, WAN, "what the router itself says came in nowhere");
}

#[test]
fn rules_that_refuse_say_how() {
    let mut bench = Bench::network("ip rule add to 198.51.100.7 blackhole");
    assert_eq!(bench.dropped(LAN, query()), DropReason::RouteBlackhole);
    bench.run("ip rule add to 198.51.100.7 unreachable");
    assert_error(&bench.send(LAN, query()), LAN, (3, 0), &query());
    bench.run("ip rule add to 198.51.100.7 prohibit");
    assert_error(&bench.send(LAN, query()), LAN, (3, 13), &query());
}

#[test]
fn a_new_rule_moves_a_flow_from_its_fast_path_at_its_next_packet() {
    let mut bench = Bench::network(&format!("ip route add default via {SECOND} table 100"));
    for _ in 0..3 {
        assert_eq!(bench.exchange(LAN, query()).0, WAN);
    }
    bench.run("ip rule add from 192.168.1.10 lookup 100");
    for _ in 0..3 {
        assert_eq!(bench.exchange(LAN, query()).0, DMZ);
    }
    let before = bench.router.statistics().fast;
    assert_eq!(bench.exchange(LAN, query()).0, DMZ);
    assert_eq!(bench.router.statistics().fast, before + 1, "what rules choose is repeated, too");
    bench.run("ip route replace default via 192.168.1.11 table 100");
    assert_eq!(bench.exchange(LAN, query()).0, LAN, "a table that changes moves it as well");
    bench.run("ip rule flush; ip rule add lookup main");
    assert_eq!(bench.exchange(LAN, query()).0, WAN);
}

#[test]
fn a_mark_that_the_flow_is_given_later_moves_it() {
    let mut bench = Bench::network(&format!("ip route add default via {SECOND} table 100"));
    bench.run("ip rule add fwmark 2 lookup 100\niptables -t mangle -A PREROUTING -j CONNMARK --restore-mark");
    for _ in 0..3 {
        assert_eq!(bench.exchange(LAN, query()).0, WAN);
    }
    bench.command("conntrack -U --mark 2");
    for _ in 0..3 {
        assert_eq!(bench.exchange(LAN, query()).0, DMZ);
    }
}

#[test]
fn what_the_router_says_leaves_by_the_uplink_whose_address_it_has() {
    let ping = |to| echo((SERVER, 7), to);
    let mut bench = two_uplinks();
    for port in [WAN, DMZ] {
        let (left, answer) = bench.exchange(port, ping(OWN[port]));
        assert_eq!((left, answer.source, answer.icmp_type()), (port, OWN[port], Some((0, 0))));
    }
}

#[test]
fn an_error_takes_the_way_that_gave_it_its_source() {
    let mut bench = Bench::network(&format!("ip route add default via {SECOND} table 100"));
    bench.run("ip rule add from 192.168.1.1 lookup 100");
    assert_error(&bench.send(LAN, query().ttl(1)), LAN, (11, 0), &query().ttl(1));
    let (port, refusal) = bench.exchange(LAN, udp((ALICE, 40000), (LAN_SIDE, 9)));
    assert_eq!(
        (port, refusal.source, refusal.icmp_type()),
        (DMZ, LAN_SIDE, Some((3, 3))),
        "it was asked for"
    );
}

#[test]
fn the_strict_reverse_path_follows_the_rules() {
    let mut bench = Bench::network("sysctl -w net.ipv4.conf.all.rp_filter=1");
    let ping = echo((SERVER, 7), DMZ_SIDE);
    assert_eq!(bench.dropped(DMZ, ping.clone()), DropReason::ReversePath);
    bench.run(&format!("ip route add default via {SECOND} table 102\nip rule add from 10.10.0.1 lookup 102"));
    assert_eq!(bench.exchange(DMZ, ping.clone()).0, DMZ);
    bench.run("ip rule flush\nip rule add lookup main");
    assert_eq!(bench.dropped(DMZ, ping.clone()), DropReason::ReversePath);
    bench.run(&format!("ip route replace default nexthop via 203.0.113.1 nexthop via {SECOND}"));
    assert_eq!(bench.send(DMZ, ping).len(), 1, "each of several ways is a way back");

    let mut bench = Bench::network("sysctl -w net.ipv4.conf.all.rp_filter=1");
    let foreign = udp((SERVER, 53), (WEB, 40000));
    assert_eq!(bench.dropped(DMZ, foreign.clone()), DropReason::ReversePath);
    bench.run(&format!("ip route add default via {SECOND} table 102\nip rule add iif eth2 lookup 102"));
    assert_eq!(bench.exchange(DMZ, foreign).0, DMZ, "its answer comes in there");
}

#[test]
fn flows_are_shared_out_and_stay_with_their_uplink() {
    let mut bench = two_uplinks();
    let first = uplinks(&mut bench);
    assert!(first.contains(&WAN) && first.contains(&DMZ), "{first:?}");
    for _ in 0..3 {
        assert_eq!(uplinks(&mut bench), first);
    }
    for number in 0..40 {
        let port = first[usize::from(number)];
        let answer = udp((SERVER, 53), (OWN[port], 40000 + number));
        let (back, left) = bench.exchange(port, answer);
        assert_eq!((back, left.destination()), (LAN, (ALICE, 40000 + number)));
    }
    for _ in 0..3 {
        assert_eq!(uplinks(&mut bench), first);
    }
    let before = bench.router.statistics().fast;
    assert_eq!(uplinks(&mut bench), first);
    assert_eq!(bench.router.statistics().fast, before + 40, "all of them on the fast path");
}

#[test]
fn other_shares_are_for_new_flows_and_a_dead_uplink_is_left() {
    let mut bench = two_uplinks();
    let first = uplinks(&mut bench);
    let shares = |first, second| {
        format!(
            "ip route replace default nexthop via 203.0.113.1 weight {first} nexthop via {SECOND} weight {second}"
        )
    };
    bench.run("iptables -t mangle -F");
    for (one, other) in [(256, 1), (1, 256)] {
        bench.run(&shares(one, other));
        assert_eq!(uplinks(&mut bench), first, "a translated flow stays where it is");
    }
    bench.run("ip link set eth2 down");
    assert_eq!(uplinks(&mut bench), [WAN; 40]);
    bench.run("ip link set eth2 up\nip neigh add 10.10.0.5 lladdr 02:00:00:00:02:05 nud permanent dev eth2");
    assert_eq!(uplinks(&mut bench), [WAN; 40], "and now they stay here");
    bench.command("conntrack -F");
    let again = uplinks(&mut bench);
    assert!(again.iter().filter(|port| **port == DMZ).count() > 30, "{again:?}");
}

#[test]
fn without_ports_two_hosts_have_one_way_in_both_directions() {
    let routes = format!("ip route replace default nexthop via 203.0.113.1 nexthop via {SECOND}");
    let mut bench = Bench::network(&routes);
    let address = |host| Ipv4Address::new(192, 168, 1, host);
    let mut taken = Vec::new();
    for host in 20..40 {
        let ways = [53, 80, 443].map(|port| bench.exchange(LAN, udp((address(host), 5), (SERVER, port))).0);
        assert_eq!(ways, [ways[0]; 3]);
        taken.push(ways[0]);
    }
    assert!(taken.contains(&WAN) && taken.contains(&DMZ), "{taken:?}");
    bench.run("sysctl -w net.ipv4.fib_multipath_hash_policy=1");
    let ways: Vec<_> =
        (0..20).map(|port| bench.exchange(LAN, udp((ALICE, 5), (SERVER, 53 + port))).0).collect();
    assert!(ways.contains(&WAN) && ways.contains(&DMZ), "with them each flow has its own: {ways:?}");
}

#[test]
fn an_error_about_a_flow_takes_the_way_of_the_flow() {
    let routes = format!("ip route replace default nexthop via 203.0.113.1 nexthop via {SECOND}");
    let mut bench = Bench::network(&[&routes, "sysctl -w net.ipv4.fib_multipath_hash_policy=1"].join("\n"));
    for number in 0..20 {
        // SERVER asks ALICE, whose answers go to one of the uplinks, and so does what BOB says of the question.
        let question = udp((SERVER, 2000 + number), (ALICE, 53));
        bench.exchange(WAN, question.clone());
        let way = bench.exchange(LAN, udp((ALICE, 53), (SERVER, 2000 + number))).0;
        let error = icmp(BOB, SERVER, 3, 3, 0, &question.ttl(63).quote(28));
        assert_eq!(bench.exchange(LAN, error).0, way);
    }
}

#[test]
fn a_forwarded_port_is_answered_by_the_uplink_that_was_asked() {
    let mut bench = two_uplinks();
    let server = (ALICE, 80);
    for (number, port) in [(0, WAN), (1, DMZ), (2, WAN), (3, DMZ)] {
        let (client, outer) = ((SERVER, 5000 + number), (OWN[port], 8080));
        let (inside, syn) = bench.exchange(port, tcp(client, outer, flag::SYN).numbers(1, 0));
        assert_eq!((inside, syn.destination()), (LAN, server));
        let answer = tcp(server, client, flag::SYN | flag::ACK).numbers(9, 2);
        let (back, left) = bench.exchange(LAN, answer);
        assert_eq!((back, left.source()), (port, outer));
    }
}

#[test]
fn the_set_up_survives_being_saved() {
    let bench = &mut two_uplinks();
    let saved = bench.command("config show");
    let cards: Vec<_> = (0..3).map(|port| PortInfo::new(router_mac(port), 1500)).collect();
    let mut again = Bench::new(cards.len(), &saved);
    assert_eq!(again.router.config(), bench.router.config());
    assert_eq!(again.command("config show"), saved);
}
