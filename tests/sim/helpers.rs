//! Flows that another flow announces: FTP's data connections and TFTP's answers (RFC 959, RFC 2428, RFC 1350, RFC 3022 4.4).

use crate::{gateway, one_hop, outer};
use netstack::outcome::DropReason;
use smoltcp::wire::Ipv4Address;
use tests::{bench::Bench, datagram::*, network::*};

/// Only what was asked for comes in, as at most gateways.
const FIREWALL: &str = "
iptables -P INPUT DROP
iptables -P FORWARD DROP
iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A FORWARD -i eth0 -m conntrack --ctstate NEW -j ACCEPT
sysctl -w net.netfilter.nf_conntrack_helper=1
";
const CONTROL: Endpoint = (ALICE, 40000);
const SERVICE: Endpoint = (SERVER, 21);
/// An outer address that takes more characters than ALICE's.
const LONG: Ipv4Address = Ipv4Address::new(203, 0, 113, 202);

/// A control connection through the gateway, and where its ends are in their numbers, each as it knows them itself.
struct Session {
    bench: Bench,
    /// The client as it knows itself, and as the server knows it; the same of the server.
    client: [Endpoint; 2],
    server: [Endpoint; 2],
    /// The card of the client, and that of the server.
    cards: [usize; 2],
    /// What each end sends next, and what it has had of the other.
    sent: [u32; 2],
    had: [u32; 2],
}

impl Session {
    /// ALICE's connection to SERVER, from behind the translation.
    fn open() -> Self {
        Self::open_as(WAN_SIDE)
    }

    /// The same with this outer address.
    fn open_as(outer: Ipv4Address) -> Self {
        let mut bench = Bench::network(FIREWALL);
        if outer != WAN_SIDE {
            bench.run(&format!("ip addr add {outer}/32 dev eth1"));
        }
        bench.run(&format!("iptables -t nat -A POSTROUTING -o eth1 -j SNAT --to-source {outer}"));
        Self {
            bench,
            client: [CONTROL, (outer, 40000)],
            server: [SERVICE, SERVICE],
            cards: [LAN, WAN],
            sent: [1000, 5000],
            had: [0, 0],
        }
        .shake_hands()
    }

    /// SERVER's connection to BOB's server, whose port is forwarded.
    fn open_from_outside() -> Self {
        let mut bench = gateway();
        bench.run(FIREWALL);
        bench.run(
            "iptables -t nat -A PREROUTING -i eth1 -p tcp --dport 21 -j DNAT --to-destination 192.168.1.11; \
             iptables -A FORWARD -p tcp --dport 21 -j ACCEPT",
        );
        Self {
            bench,
            client: [(SERVER, 30000), (SERVER, 30000)],
            server: [(BOB, 21), (WAN_SIDE, 21)],
            cards: [WAN, LAN],
            sent: [1000, 5000],
            had: [0, 0],
        }
        .shake_hands()
    }

    fn shake_hands(mut self) -> Self {
        use flag::*;
        let syn = self.pass(0, SYN, "");
        assert_eq!(syn.source(), self.client[1], "{syn:?}");
        (self.sent[0], self.had[1]) = (1001, 1001);
        self.pass(1, SYN | ACK, "");
        (self.sent[1], self.had[0]) = (5001, 5001);
        self.pass(0, ACK, "");
        self
    }

    /// A segment of one end (0: the client), with the numbers and addresses that it knows.
    fn segment(&self, from: usize, flags: u8, text: &str) -> Datagram {
        let (source, destination) =
            if from == 0 { (self.client[0], self.server[1]) } else { (self.server[0], self.client[1]) };
        tcp(source, destination, flags).numbers(self.sent[from], self.had[from]).payload(text)
    }

    /// The segment as it arrives at the other end.
    #[track_caller]
    fn pass(&mut self, from: usize, flags: u8, text: &str) -> Datagram {
        let segment = self.segment(from, flags, text);
        let (card, arrived) = self.bench.exchange(self.cards[from], segment);
        assert_eq!(card, self.cards[1 - from]);
        assert!(arrived.checksums_are_right(), "{arrived:?}");
        arrived
    }

    /// One end says a line and the other acknowledges all of it. Gives the line as it arrived.
    #[track_caller]
    fn say(&mut self, from: usize, text: &str) -> String {
        use flag::*;
        let arrived = self.pass(from, PSH | ACK, text);
        let (sequence, acknowledged) = numbers(&arrived);
        assert_eq!(sequence, self.had[1 - from], "it goes on where the last one ended");
        assert_eq!(acknowledged, self.sent[1 - from], "what the other end has sent, in its own numbers");
        let line = payload(&arrived);
        self.sent[from] += text.len() as u32;
        self.had[1 - from] += line.len() as u32;
        let answer = self.pass(1 - from, ACK, "");
        assert_eq!(numbers(&answer), (self.had[from], self.sent[from]), "{answer:?}");
        line
    }
}

fn numbers(packet: &Datagram) -> (u32, u32) {
    match &packet.body {
        Body::Tcp { sequence, acknowledgment, .. } => (*sequence, *acknowledgment),
        _ => panic!("{packet:?}"),
    }
}

fn payload(packet: &Datagram) -> String {
    match &packet.body {
        Body::Tcp { payload, .. } | Body::Udp { payload, .. } => {
            String::from_utf8_lossy(payload).into_owned()
        }
        _ => panic!("{packet:?}"),
    }
}

/// `a,b,c,d,high,low`
fn numbers_of((address, port): Endpoint) -> String {
    let [a, b, c, d] = address.octets();
    format!("{a},{b},{c},{d},{},{}", port >> 8, port & 0xff)
}

#[test]
fn a_server_reaches_the_port_that_a_client_behind_the_translation_announces() {
    for (outer, said, heard) in [
        (WAN_SIDE, "PORT 192,168,1,10,7,208\r\n", "PORT 203,0,113,2,7,208\r\n"),
        (WAN_SIDE, "EPRT |1|192.168.1.10|2000|\r\n", "EPRT |1|203.0.113.2|2000|\r\n"),
        (LONG, "PORT 192,168,1,10,7,208\r\n", "PORT 203,0,113,202,7,208\r\n"),
    ] {
        let mut session = Session::open_as(outer);
        session.say(0, "USER anonymous\r\n");
        assert_eq!(session.say(0, said), heard);
        // Lines go on in both directions, whose numbers are now different on both sides.
        session.say(1, "200 PORT command successful\r\n");
        session.say(0, "RETR file\r\n");
        session.say(0, said);
        session.say(1, "200 again\r\n");

        let bench = &mut session.bench;
        let syn = tcp((SERVER, 20), (outer, 2000), flag::SYN);
        assert_eq!(bench.send(WAN, syn.clone()), [(LAN, one_hop(syn.clone()).to((ALICE, 2000)))]);
        assert_eq!(bench.exchange(WAN, syn.clone()).0, LAN, "and again, if the first one is lost on its way");
        let answer = tcp((ALICE, 2000), (SERVER, 20), flag::SYN | flag::ACK).numbers(5000, 1001);
        assert_eq!(bench.send(LAN, answer.clone()), [(WAN, one_hop(answer).from((outer, 2000)))]);
        let other = tcp((OTHER, 20), (outer, 2000), flag::SYN);
        assert_eq!(bench.dropped(WAN, other), DropReason::FirewallPolicy, "only the server was told");
    }
}

#[test]
fn a_text_that_is_sent_again_is_changed_as_before() {
    let mut session = Session::open();
    let said = "PORT 192,168,1,10,7,208\r\n";
    let first = session.pass(0, flag::PSH | flag::ACK, said);
    assert_eq!(session.pass(0, flag::PSH | flag::ACK, said), first);
    session.say(0, said);
    session.say(0, "NOOP\r\n");
}

#[test]
fn blocks_that_are_acknowledged_singly_are_known_to_their_sender() {
    let mut session = Session::open_as(LONG);
    session.say(0, "PORT 192,168,1,10,7,208\r\n");
    assert_eq!(session.had[1], session.sent[0] + 1, "it is one character longer");
    let block = |from: u32| [&[1, 1, 5, 10][..], &from.to_be_bytes(), &(from + 10).to_be_bytes()].concat();
    let ack = session.segment(1, flag::ACK, "").but(|packet| {
        if let Body::Tcp { options, .. } = &mut packet.body {
            *options = block(session.had[1] + 100);
        }
    });
    let (_, arrived) = session.bench.exchange(WAN, ack);
    assert!(arrived.checksums_are_right(), "{arrived:?}");
    let Body::Tcp { options, .. } = &arrived.body else { panic!("{arrived:?}") };
    assert_eq!(*options, block(session.sent[0] + 100));
}

#[test]
fn a_port_that_is_taken_is_announced_as_another_one() {
    let mut session = Session::open();
    assert_eq!(outer(&mut session.bench, tcp((BOB, 2000), (OTHER, 80), flag::SYN)).1, 2000);
    let heard = session.say(0, "PORT 192,168,1,10,7,208\r\n");
    let numbers: Vec<u16> = heard[5..].trim_end().split(',').map(|number| number.parse().unwrap()).collect();
    let port = numbers[4] << 8 | numbers[5];
    assert_ne!(port, 2000);
    let syn = tcp((SERVER, 20), (WAN_SIDE, port), flag::SYN);
    let expected = one_hop(syn.clone()).to((ALICE, 2000));
    assert_eq!(session.bench.send(WAN, syn), [(LAN, expected)]);
}

#[test]
fn a_client_outside_reaches_the_port_that_a_server_behind_the_translation_announces() {
    let mut session = Session::open_from_outside();
    session.say(0, "PASV\r\n");
    let said = format!("227 Entering Passive Mode ({}).\r\n", numbers_of((BOB, 2000)));
    let heard = format!("227 Entering Passive Mode ({}).\r\n", numbers_of((WAN_SIDE, 2000)));
    assert_eq!(session.say(1, &said), heard);
    assert_eq!(session.say(1, "229 Entering Extended Passive Mode (|||2001|)\r\n").len(), 47);
    session.say(0, "LIST\r\n");
    for port in [2000, 2001] {
        let syn = tcp((SERVER, 30001), (WAN_SIDE, port), flag::SYN);
        assert_eq!(session.bench.send(WAN, syn.clone()), [(LAN, one_hop(syn).to((BOB, port)))]);
        let answer = tcp((BOB, port), (SERVER, 30001), flag::SYN | flag::ACK).numbers(5000, 1001);
        let expected = one_hop(answer.clone()).from((WAN_SIDE, port));
        assert_eq!(session.bench.send(LAN, answer), [(WAN, expected)]);
    }
}

#[test]
fn a_client_behind_the_translation_reaches_the_port_that_a_server_outside_announces() {
    let mut session = Session::open();
    // Of what is new, only control connections may leave.
    session.bench.run("iptables -D FORWARD 2; iptables -A FORWARD -i eth0 -p tcp --dport 21 -j ACCEPT");
    let syn = tcp((ALICE, 40001), (SERVER, 2000), flag::SYN);
    assert_eq!(session.bench.dropped(LAN, syn.clone()), DropReason::FirewallPolicy);
    let said = format!("227 Entering Passive Mode ({}).\r\n", numbers_of((SERVER, 2000)));
    assert_eq!(session.say(1, &said), said);
    let expected = one_hop(syn.clone()).from((WAN_SIDE, 40001));
    assert_eq!(session.bench.send(LAN, syn), [(WAN, expected)]);
}

#[test]
fn a_server_behind_the_translation_opens_its_data_connections_under_its_outer_address() {
    let mut session = Session::open_from_outside();
    let said = format!("PORT {}\r\n", numbers_of((SERVER, 31000)));
    assert_eq!(session.say(0, &said), said);
    let syn = tcp((BOB, 20), (SERVER, 31000), flag::SYN);
    assert_eq!(session.bench.send(LAN, syn.clone()), [(WAN, one_hop(syn).from((WAN_SIDE, 20)))]);
}

#[test]
fn nobody_announces_for_somebody_else_or_for_a_service() {
    let mut session = Session::open();
    for said in ["PORT 192,168,1,11,7,208\r\n", "PORT 198,51,100,8,7,208\r\n", "PORT 192,168,1,10,0,25\r\n"] {
        assert_eq!(session.say(0, said), said);
        for port in [2000, 25] {
            let syn = tcp((SERVER, 20), (WAN_SIDE, port), flag::SYN);
            assert_eq!(session.bench.dropped(WAN, syn), DropReason::FirewallPolicy, "{said}");
        }
    }
}

#[test]
fn nobody_listens_unless_it_is_switched_on() {
    let mut session = Session::open();
    session.bench.run("sysctl -w net.netfilter.nf_conntrack_helper=0");
    let said = "PORT 192,168,1,10,7,208\r\n";
    assert_eq!(session.say(0, said), said);
    let syn = tcp((SERVER, 20), (WAN_SIDE, 2000), flag::SYN);
    assert_eq!(session.bench.dropped(WAN, syn), DropReason::FirewallPolicy);
}

#[test]
fn numbers_stay_right_when_it_is_switched_off() {
    let mut session = Session::open();
    session.say(0, "PORT 192,168,1,10,7,208\r\n");
    session.bench.run("sysctl -w net.netfilter.nf_conntrack_helper=0");
    for _ in 0..3 {
        session.say(0, "NOOP\r\n");
        session.say(1, "200 zzz\r\n");
    }
}

#[test]
fn what_a_flow_announced_ends_with_it() {
    let mut session = Session::open();
    session.say(0, "PORT 192,168,1,10,7,208\r\n");
    session.bench.command("conntrack -D -p tcp --dport 21");
    let syn = tcp((SERVER, 20), (WAN_SIDE, 2000), flag::SYN);
    assert_eq!(session.bench.dropped(WAN, syn), DropReason::FirewallPolicy);
}

#[test]
fn a_text_that_would_become_too_long_does_not_pass_as_it_is() {
    let said = "PORT 192,168,1,10,7,208\r\nNOOP\r\n";
    let mut session = Session::open_as(LONG);
    session.bench.run(&format!("ip link set eth1 mtu {}", 40 + said.len()));
    let segment = session.segment(0, flag::PSH | flag::ACK, said);
    assert_eq!(session.bench.dropped(LAN, segment), DropReason::NatHelper);
    session.bench.run(&format!("ip link set eth1 mtu {}", 41 + said.len()));
    assert_eq!(session.say(0, said), "PORT 203,0,113,202,7,208\r\nNOOP\r\n");
}

#[test]
fn an_answer_from_another_port_finds_back_to_the_client_of_tftp() {
    let mut bench = gateway();
    bench.run(FIREWALL);
    let request = udp((ALICE, 40000), (SERVER, 69)).payload(b"\x00\x01file\x00octet\x00");
    assert_eq!(outer(&mut bench, request), (WAN_SIDE, 40000));
    let data = udp((SERVER, 50000), (WAN_SIDE, 40000)).payload(b"\x00\x03\x00\x01data");
    assert_eq!(bench.send(WAN, data.clone()), [(LAN, one_hop(data.clone()).to((ALICE, 40000)))]);
    assert_eq!(bench.exchange(WAN, data).0, LAN, "sent again, since no answer came");
    let ack = udp((ALICE, 40000), (SERVER, 50000)).payload(b"\x00\x04\x00\x01");
    assert_eq!(bench.send(LAN, ack.clone()), [(WAN, one_hop(ack).from((WAN_SIDE, 40000)))]);
    let other = udp((OTHER, 50000), (WAN_SIDE, 40000)).payload(b"\x00\x03\x00\x01data");
    assert_eq!(bench.dropped(WAN, other), DropReason::FirewallPolicy);
}

#[test]
fn what_is_no_request_of_tftp_announces_nothing() {
    let mut bench = gateway();
    bench.run(FIREWALL);
    outer(&mut bench, udp((ALICE, 40000), (SERVER, 69)).payload(b"\x00\x04\x00\x01"));
    let data = udp((SERVER, 50000), (WAN_SIDE, 40000)).payload(b"\x00\x03\x00\x01data");
    assert_eq!(bench.dropped(WAN, data), DropReason::FirewallPolicy);
}
