//! A home gateway as people write it, run as it is by /bin/sh on Linux and by rutter: the same packets, the same end.

use crate::{
    compare::{Renaming, Verdict},
    counts,
    scenario::{Network, Scenario, Step, What},
    sides::{Linux, Record, Rutter, run},
};
use smoltcp::wire::Ipv4Address;
use tests::{datagram::*, namespace::in_namespace, network::*};

/// A host of the LAN that is no server.
const LAPTOP: Ipv4Address = BOB;

/// What is sent, and what leaves because of it on either router: nothing, or a packet on a card.
#[rustfmt::skip]
fn probes() -> Vec<(What, &'static str)> {
    use flag::{ACK, PSH, RST, SYN};
    let send = |port, packet| What::Send { port, packet };
    let answer = |to, with| What::Answer { to, with };
    let lan_tcp = |port, to: Endpoint, flags| send(LAN, tcp((LAPTOP, port), to, flags));
    let wan_tcp = |port, to: Endpoint, flags| send(WAN, tcp((SERVER, port), to, flags));
    let web = (SERVER, 443);
    vec![
        // The LAN to the outside, and back.
        (lan_tcp(40000, web, SYN), "eth1 tcp 203.0.113.2:40000 > 198.51.100.7:443"),
        (answer(0, tcp(web, web, SYN | ACK).numbers(5000, 1001)), "eth0 tcp 198.51.100.7:443 > 192.168.1.11:40000"),
        (send(LAN, tcp((LAPTOP, 40000), web, ACK).numbers(1001, 5001)), "eth1 tcp 203.0.113.2:40000 > 198.51.100.7:443"),
        (send(LAN, tcp((LAPTOP, 40000), web, PSH | ACK).numbers(1001, 5001).payload("x")), "eth1 tcp 203.0.113.2:40000 > 198.51.100.7:443"),
        (send(LAN, udp((LAPTOP, 5000), (OTHER, 53))), "eth1 udp 203.0.113.2:5000 > 198.51.100.8:53"),
        (answer(4, udp(web, web)), "eth0 udp 198.51.100.8:53 > 192.168.1.11:5000"),
        (send(LAN, echo((LAPTOP, 7), SERVER)), "eth1 icmp 203.0.113.2 > 198.51.100.7 8/0"),
        (answer(6, echo_reply(SERVER, web)), "eth0 icmp 198.51.100.7 > 192.168.1.11 0/0"),
        (What::Error { to: 4, from: PROVIDER, kind: 3, code: 1, word: 0, quote: 28 }, "eth0 icmp 203.0.113.1 > 192.168.1.11 3/1"),
        // What the rules keep in, and where there is no way.
        (lan_tcp(40001, (SERVER, 25), SYN), "eth0 icmp 192.168.1.1 > 192.168.1.11 3/3"),
        (lan_tcp(40002, (SERVER, 445), SYN), "eth0 icmp 192.168.1.1 > 192.168.1.11 3/3"),
        (send(LAN, udp((LAPTOP, 5001), (Ipv4Address::new(10, 1, 2, 3), 53))), ""),
        (send(LAN, udp((LAPTOP, 5001), (Ipv4Address::new(172, 20, 0, 1), 53))), "eth0 icmp 192.168.1.1 > 192.168.1.11 3/1"),
        (send(LAN, udp((LAPTOP, 5002), (SERVER, 33434)).ttl(1)), "eth0 icmp 192.168.1.1 > 192.168.1.11 11/0"),
        (lan_tcp(40003, web, SYN | RST), ""),
        // The router itself.
        (send(LAN, echo((LAPTOP, 8), LAN_SIDE)), "eth0 icmp 192.168.1.1 > 192.168.1.11 0/0"),
        (send(LAN, echo((LAPTOP, 8), WAN_SIDE)), "eth0 icmp 203.0.113.2 > 192.168.1.11 0/0"),
        (send(WAN, echo((SERVER, 8), WAN_SIDE)), "eth1 icmp 203.0.113.2 > 198.51.100.7 0/0"),
        (lan_tcp(40004, (LAN_SIDE, 22), SYN), "eth0 tcp 192.168.1.1:22 > 192.168.1.11:40004"),
        (wan_tcp(30000, (WAN_SIDE, 22), SYN), ""),
        (wan_tcp(30001, (WAN_SIDE, 113), SYN), "eth1 tcp 203.0.113.2:113 > 198.51.100.7:30001"),
        (send(WAN, udp((SERVER, 30002), (WAN_SIDE, 5000))), ""),
        // From outside: the two forwarded ports, and nothing else.
        (wan_tcp(30003, (WAN_SIDE, 8080), SYN), "eth0 tcp 198.51.100.7:30003 > 192.168.1.10:80"),
        (answer(22, tcp(web, web, SYN | ACK).numbers(5000, 1001)), "eth1 tcp 203.0.113.2:8080 > 198.51.100.7:30003"),
        (wan_tcp(30004, (WAN_SIDE, 2222), SYN), "eth0 tcp 198.51.100.7:30004 > 192.168.1.10:22"),
        (wan_tcp(30005, (ALICE, 80), SYN), ""),
        (wan_tcp(30006, (LAPTOP, 80), SYN), ""),
        (wan_tcp(30007, (WAN_SIDE, 8081), SYN), ""),
        (wan_tcp(30008, (WAN_SIDE, 8080), ACK), ""),
        (send(WAN, udp((LAPTOP, 1), (ALICE, 2))), ""),
        // The LAN to its own server by the outer address.
        (lan_tcp(40005, (WAN_SIDE, 8080), SYN), "eth0 tcp 192.168.1.1:40005 > 192.168.1.10:80"),
        (answer(30, tcp(web, web, SYN | ACK).numbers(5000, 1001)), "eth0 tcp 203.0.113.2:8080 > 192.168.1.11:40005"),
    ]
}

/// A record as the table above has it.
fn outcome(record: &Record) -> String {
    let left = record.left.iter().map(|(port, frame)| {
        let text = frame.datagram().map_or_else(|| format!("{frame:?}"), |packet| format!("{packet:?}"));
        let words: Vec<_> = text.split(' ').take(if text.starts_with("icmp") { 5 } else { 4 }).collect();
        format!("eth{port} {}", words.join(" "))
    });
    left.collect::<Vec<_>>().join(", ")
}

#[test]
fn a_home_gateway_script_does_the_same_on_linux_and_on_rutter() {
    in_namespace(&["ip", "iptables", "ipset", "conntrack"], || {
        let probes = probes();
        let steps =
            probes.iter().enumerate().map(|(id, (what, _))| Step { id, what: what.clone() }).collect();
        let scenario = Scenario { network: Network::HomeGateway, rules: Vec::new(), steps };
        let (mut linux, mut rutter) = (Linux::new(2), Rutter::default());
        let expected = run(&mut linux, &scenario, 0);
        let seen = run(&mut rutter, &scenario, 0);
        let mut renaming = Renaming::default();
        for (at, (_, wanted)) in probes.iter().enumerate() {
            let step = &scenario.steps[at];
            assert_eq!(outcome(&expected[at]), *wanted, "Linux, {step:?}");
            assert_eq!(outcome(&seen[at]), *wanted, "rutter, {step:?}: {:?}", seen[at].outcome);
            let verdict = renaming.judge(&scenario, &expected[at], &seen[at], &seen[..at]);
            assert!(matches!(verdict, Verdict::Agree(_)), "{step:?}: {:?}, {:?}", expected[at], seen[at]);
        }
        assert_eq!(counts::disagreement(&mut linux, &mut rutter, false), None);
    });
}
