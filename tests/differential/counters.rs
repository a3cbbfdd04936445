//! What `nstat` shows on Linux and on rutter after the same packets, one after the other.

use smoltcp::wire::{EthernetAddress, Ipv4Address};
use std::collections::BTreeMap;
use tests::{
    bench::Bench,
    datagram::*,
    frame::Frame,
    linux_router::LinuxRouter,
    namespace::{in_namespace, sh},
    network::*,
};

/// Counters and how far they have come.
type Counters = BTreeMap<String, u64>;

fn read(listing: &str) -> Counters {
    let words = listing.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    words.map(|words| (words[0].to_string(), words[1].parse().expect("a number"))).collect()
}

/// Since Linux 6.7 a packet counts as sent on before the rules are asked and its length is looked at.
const SENT_ON_TOO_EARLY: [&str; 4] =
    ["not to be fragmented", "rejected with a reset", "rejected with an error", "dropped by a rule"];

/// By how much each counter that both have has grown.
fn growth(before: &Counters, now: &Counters, both: &Counters) -> Counters {
    let grown = now.iter().filter(|(name, _)| both.contains_key(*name));
    grown.map(|(name, count)| (name.clone(), count - before[name])).filter(|(_, more)| *more > 0).collect()
}

/// What is done on both sides.
enum Step {
    /// Commands that both understand.
    Run(&'static str),
    /// A packet to the station of the router's card on this port.
    Send(usize, Datagram),
    /// The same in a broadcast frame.
    Broadcast(usize, Datagram),
    /// A frame.
    Frame(usize, Vec<u8>),
}

impl Step {
    fn frame(&self) -> Option<(usize, Vec<u8>)> {
        let from = |port: usize, packet: &Datagram| neighbor_mac(port, packet.source);
        Some(match self {
            Self::Run(_) => return None,
            Self::Send(port, packet) => {
                (*port, Frame::ip(from(*port, packet), router_mac(*port), packet.clone()).bytes())
            }
            Self::Broadcast(port, packet) => {
                let frame = Frame::ip(from(*port, packet), EthernetAddress::BROADCAST, packet.clone());
                (*port, frame.bytes())
            }
            Self::Frame(port, frame) => (*port, frame.clone()),
        })
    }
}

/// The frame of ALICE's query, changed from its IP header on.
fn damaged(change: impl FnOnce(&mut Vec<u8>)) -> Step {
    let mut frame = Frame::ip(neighbor_mac(LAN, ALICE), router_mac(LAN), query()).bytes();
    change(&mut frame);
    Step::Frame(LAN, frame)
}

fn query() -> Datagram {
    udp((ALICE, 40000), (SERVER, 53)).payload(b"who is it?")
}

/// A stranger, so that nobody is told of so much that Linux tells him no more.
fn stranger(number: u8) -> Endpoint {
    (Ipv4Address::new(198, 51, 100, 100 + number), 40000)
}

/// A fragment of an echo request to the router.
fn piece(id: u16, from: usize, to: usize) -> Step {
    let whole = echo((ALICE, 7), LAN_SIDE).payload([7; 1992]);
    let bytes = &whole.bytes()[20..];
    let packet = other(ALICE, LAN_SIDE, 1, &bytes[from..to]);
    Step::Send(LAN, packet.but(|p| (p.id, p.offset, p.more_fragments) = (id, from as u16, to < bytes.len())))
}

/// An ICMP error to the router about what it sent, or did not.
fn error_about(quoted: &Datagram) -> Step {
    Step::Send(LAN, icmp_error(ALICE, 3, 3, quoted))
}

fn steps() -> Vec<(&'static str, Step)> {
    use Step::{Broadcast, Run, Send};
    let lan_broadcast = Ipv4Address::new(192, 168, 1, 255);
    let (own_udp, own_echo) = (udp((LAN_SIDE, 33434), (ALICE, 33434)), echo((LAN_SIDE, 7), ALICE));
    let wrong = Checksum::Wrong(1);
    vec![
        ("on its way through", Send(LAN, query())),
        ("again", Send(LAN, query())),
        ("answered", Send(WAN, udp((SERVER, 53), (ALICE, 40000)))),
        ("on its way through a third time", Send(LAN, query())),
        ("padding", damaged(|frame| frame.extend([0xa5; 18]))),
        ("for another station", damaged(|frame| frame[5] ^= 1)),
        ("version 6", damaged(|frame| frame[14] = 0x65)),
        ("header of 16 bytes", damaged(|frame| frame[14] = 0x44)),
        ("wrong header checksum", damaged(|frame| frame[24] ^= 1)),
        ("cut off", damaged(|frame| frame.truncate(40))),
        ("cut off in its header", damaged(|frame| frame.truncate(30))),
        ("source route", Send(LAN, query().but(|p| p.options = vec![131, 7, 4, 10, 10, 0, 5, 0]))),
        ("TTL of 1", Send(LAN, query().ttl(1))),
        ("martian source", Send(LAN, query().but(|p| p.source = Ipv4Address::LOCALHOST))),
        ("own source", Send(LAN, query().but(|p| p.source = LAN_SIDE))),
        ("martian destination", Send(LAN, query().but(|p| p.destination = Ipv4Address::LOCALHOST))),
        ("ping", Send(LAN, echo((ALICE, 7), LAN_SIDE))),
        ("ping to another own address", Send(LAN, echo((ALICE, 7), WAN_SIDE))),
        ("ping with a wrong checksum", Send(LAN, echo((ALICE, 7), LAN_SIDE).checksum(wrong))),
        ("ping to all", Broadcast(LAN, echo((ALICE, 7), lan_broadcast))),
        ("ping to everybody", Broadcast(LAN, echo((ALICE, 7), Ipv4Address::BROADCAST))),
        ("echo reply", Send(LAN, echo_reply(ALICE, (LAN_SIDE, 7)))),
        ("closed port", Send(LAN, udp((ALICE, 1), (LAN_SIDE, 9)))),
        ("closed port, wrong checksum", Send(LAN, udp((ALICE, 1), (LAN_SIDE, 9)).checksum(wrong))),
        ("datagram to all", Broadcast(LAN, udp((ALICE, 1), (lan_broadcast, 9)))),
        ("SYN to a closed port", Send(LAN, tcp((ALICE, 1), (LAN_SIDE, 9), flag::SYN))),
        ("RST to a closed port", Send(LAN, tcp((ALICE, 1), (LAN_SIDE, 9), flag::RST))),
        ("SYN with a wrong checksum", Send(LAN, tcp((ALICE, 1), (LAN_SIDE, 9), flag::SYN).checksum(wrong))),
        ("unknown protocol", Send(LAN, other(ALICE, LAN_SIDE, 253, b"?"))),
        ("error about a datagram", error_about(&own_udp)),
        ("error about a segment", error_about(&tcp((LAN_SIDE, 1), (ALICE, 2), flag::SYN))),
        ("error about a ping", error_about(&own_echo)),
        ("error that quotes too little", Send(LAN, icmp(ALICE, LAN_SIDE, 3, 3, 0, &own_udp.quote(20)))),
        ("error with an unknown code", Send(LAN, icmp(ALICE, LAN_SIDE, 3, 16, 0, &own_udp.quote(28)))),
        ("time exceeded", Send(LAN, icmp_error(ALICE, 11, 0, &own_udp))),
        ("reassembly time exceeded", Send(LAN, icmp_error(ALICE, 11, 1, &own_udp))),
        ("parameter problem", Send(LAN, icmp_error(ALICE, 12, 0, &own_udp))),
        ("source quench", Send(LAN, icmp_error(ALICE, 4, 0, &own_udp))),
        ("redirect", Send(LAN, icmp_error(ALICE, 5, 1, &own_udp))),
        ("timestamp reply", Send(LAN, icmp(ALICE, LAN_SIDE, 14, 0, 7 << 16, &[0; 12]))),
        ("address mask request", Send(LAN, icmp(ALICE, LAN_SIDE, 17, 0, 7 << 16, &[0; 4]))),
        ("unknown type", Send(LAN, icmp(ALICE, LAN_SIDE, 40, 0, 0, &[0; 4]))),
        ("extended echo", Send(LAN, icmp(ALICE, LAN_SIDE, 42, 0, 7 << 16, &[0; 4]))),
        ("first fragment", piece(7, 0, 1000)),
        ("last fragment", piece(7, 1000, 2000)),
        ("first fragment of another", piece(8, 0, 1000)),
        ("the same once more", piece(8, 0, 1000)),
        ("overlapping fragment", piece(8, 992, 2000)),
        ("", Run("ip link set eth1 mtu 600")),
        ("to be fragmented", Send(LAN, query().payload([7; 1400]))),
        ("not to be fragmented", Send(LAN, query().payload([7; 1400]).dont_fragment())),
        ("", Run("ip link set eth1 mtu 1500; sysctl -w net.ipv4.conf.all.rp_filter=1")),
        ("wrong way back", Send(WAN, udp((WEB, 1), (ALICE, 2)))),
        ("", Run("sysctl -w net.ipv4.conf.all.rp_filter=0; ip route add blackhole 192.0.2.0/26")),
        ("", Run("ip route add unreachable 192.0.2.64/26; ip route add prohibit 192.0.2.128/26")),
        ("blackhole", Send(WAN, udp(stranger(0), (Ipv4Address::new(192, 0, 2, 1), 9)))),
        ("unreachable", Send(WAN, udp(stranger(1), (Ipv4Address::new(192, 0, 2, 65), 9)))),
        ("prohibited", Send(WAN, udp(stranger(2), (Ipv4Address::new(192, 0, 2, 129), 9)))),
        ("", Run("ip route del default; ip route add 198.51.100.0/24 via 203.0.113.1")),
        ("no route", Send(WAN, udp(stranger(3), (Ipv4Address::new(8, 8, 8, 8), 9)))),
        ("", Run("iptables -A FORWARD -p tcp --dport 25 -j REJECT --reject-with tcp-reset")),
        (
            "",
            Run(
                "iptables -A FORWARD -p tcp --dport 26 -j REJECT; iptables -A FORWARD -p tcp --dport 27 -j DROP",
            ),
        ),
        ("rejected with a reset", Send(LAN, tcp((ALICE, 1), (SERVER, 25), flag::SYN))),
        ("rejected with an error", Send(LAN, tcp((ALICE, 1), (SERVER, 26), flag::SYN))),
        ("dropped by a rule", Send(LAN, tcp((ALICE, 1), (SERVER, 27), flag::SYN))),
        ("", Run("iptables -A INPUT -p udp -j DROP; iptables -A OUTPUT -p icmp -j DROP")),
        ("dropped in INPUT", Send(LAN, udp((ALICE, 1), (LAN_SIDE, 9)))),
        ("to all, dropped in INPUT", Broadcast(LAN, udp((ALICE, 1), (lan_broadcast, 9)))),
        ("answer dropped in OUTPUT", Send(LAN, echo((ALICE, 7), LAN_SIDE))),
        ("", Run("iptables -F; sysctl -w net.ipv4.ip_forward=0")),
        ("forwarding is off", Send(LAN, query())),
    ]
}

#[test]
fn linux_and_rutter_count_the_same() {
    in_namespace(&["ip", "nstat", "iptables"], || {
        let macs: Vec<_> = (0..OWN.len()).map(router_mac).collect();
        let mut linux = LinuxRouter::new(&macs, &OWN).expect("taps can be made");
        sh(NETWORK).expect("Linux takes the configuration");
        let mut rutter = Bench::network("");
        // What counts the past of this host is not looked at.
        let count_there = || read(&sh("nstat -asz").expect("nstat counts"));
        let mut there = count_there();
        let mut here = read(&rutter.command("nstat -az"));
        // Before Linux 6.7, what goes out is counted twice.
        let twice = !there.contains_key("IpOutTransmits");
        let mut both = here.clone();
        both.retain(|name, _| {
            there.contains_key(name)
                && !(twice && ["IpOutRequests", "IpExtOutOctets"].contains(&name.as_str()))
        });
        assert!(both.len() > 50, "{both:?}");

        let mut differ = Vec::new();
        for (name, step) in steps() {
            match &step {
                Step::Run(commands) => {
                    sh(commands).expect("Linux takes it");
                    rutter.run(&commands.replace("; ", "\n"));
                }
                step => {
                    let (port, frame) = step.frame().expect("only commands have none");
                    linux.send(port, &frame);
                    rutter.inject(port, &frame);
                }
            }
            let (there_now, here_now) = (count_there(), read(&rutter.command("nstat -az")));
            let mut expected = growth(&there, &there_now, &both);
            if SENT_ON_TOO_EARLY.contains(&name) {
                expected.remove("IpForwDatagrams");
            }
            let seen = growth(&here, &here_now, &both);
            if expected != seen {
                differ.push(format!("{name}:\n  linux  {expected:?}\n  rutter {seen:?}"));
            }
            (there, here) = (there_now, here_now);
        }
        assert!(differ.is_empty(), "{}", differ.join("\n"));
    });
}
