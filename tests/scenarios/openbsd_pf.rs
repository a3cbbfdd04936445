//! OpenBSD's regression tests of pf that concern a router: state, forwarding, fragments and options (regress/sys/net/pf_state,
//! pf_forward, pf_fragment and pf_opts). What they redirect is reached by a port-forward here.

use crate::{Scenario, router::Router, scenarios};
use smoltcp::wire::Ipv4Address;
use tests::{datagram::*, network::*};

pub const SCENARIOS: &[Scenario] = scenarios![
    a_bogus_syn_is_challenged_and_the_state_stays,
    a_reset_before_a_gap_ends_the_state,
    a_reset_with_a_made_up_acknowledgment_ends_nothing,
    a_reset_behind_unacknowledged_data_ends_the_state,
    every_address_is_reached,
    the_mtu_beyond_is_reported_through_the_translation,
    a_quote_keeps_its_checksums_right,
    large_datagrams_pass_in_fragments,
    overlapping_fragments_are_left_to_their_receiver,
    options_that_say_nothing_pass,
    options_that_lie_or_lead_are_dropped,
];

const CLIENT: Endpoint = (ALICE, 40000);
/// Nobody: who sends there reaches ECHO.
const REDIRECTED: Ipv4Address = Ipv4Address::new(10, 188, 213, 188);
const ECHO: Ipv4Address = SERVER;
const REDIRECT: &str = "
iptables -t nat -A PREROUTING -i eth0 -d 10.188.213.188 -j DNAT --to-destination 198.51.100.7
iptables -t nat -A POSTROUTING -o eth1 -d 198.51.100.7 -m conntrack --ctstate DNAT -j MASQUERADE
";

/// A connection with pf's numbers: the client's begins at `first`, the server's at 5000.
struct State<'r> {
    router: &'r mut Router,
    first: u32,
}

impl State<'_> {
    const SERVER: Endpoint = (SERVER, 9);

    #[track_caller]
    fn open(router: &mut Router, first: u32) -> State<'_> {
        router.run("iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP");
        let mut state = State { router, first };
        assert!(state.up(flag::SYN, 0, 0, b""));
        assert!(state.down(flag::SYN | flag::ACK, 0, 1));
        assert!(state.up(flag::ACK, 1, 5001, b""));
        state
    }

    /// `seq` counts from the client's first number.
    fn up(&mut self, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> bool {
        let seq = self.first.wrapping_add(seq);
        let segment = tcp(CLIENT, Self::SERVER, flags).numbers(seq, ack).payload(payload);
        self.router.send(LAN, &segment).iter().any(|(port, _)| *port == WAN)
    }

    /// `ack` counts from the client's first number.
    fn down(&mut self, flags: u8, seq: u32, ack: u32) -> bool {
        let segment = tcp(Self::SERVER, CLIENT, flags).numbers(5000 + seq, self.first.wrapping_add(ack));
        self.router.send(WAN, &segment).iter().any(|(port, _)| *port == LAN)
    }

    fn is(&mut self, name: &str) -> bool {
        let tracked = self.router.tracked("-p tcp");
        matches!(&tracked[..], [one] if one.contains(&format!(" {name} ")))
    }
}

/// pf_state, challenge_ack: pf sends the challenge itself; here the server does, and it passes.
fn a_bogus_syn_is_challenged_and_the_state_stays(router: &mut Router) {
    let mut state = State::open(router, 1);
    assert!(state.up(flag::SYN, 1_000_000, 0, b""));
    assert!(state.is("ESTABLISHED"));
    assert!(state.down(flag::ACK, 1, 1), "the challenge");
    assert!(state.is("ESTABLISHED"));
    assert!(state.up(flag::PSH | flag::ACK, 1, 5001, b"data"));
}

/// pf_state, beforegap_rst: the reset stands where the server waits, and data behind it was seen.
fn a_reset_before_a_gap_ends_the_state(router: &mut Router) {
    use flag::*;
    let mut state = State::open(router, 1);
    assert!(state.up(PSH | ACK, 17, 5001, b"ABCDEFGH"));
    assert!(state.down(ACK, 1, 1));
    assert!(state.up(PSH | ACK, 1, 5001, b"abcdefgh"));
    assert!(state.down(ACK, 1, 9));
    assert!(state.up(RST | ACK, 9, 5001, b""));
    assert!(state.is("CLOSE"));
    assert!(state.up(SYN, 1 << 24, 0, b""), "a new connection");
    assert!(state.down(SYN | ACK, 0, (1 << 24) + 1));
    assert!(state.is("SYN_RECV"));
}

/// pf_state, fakeack_rst.
fn a_reset_with_a_made_up_acknowledgment_ends_nothing(router: &mut Router) {
    use flag::*;
    let mut state = State::open(router, 1 << 24);
    for (seq, ack) in [(0_u32.wrapping_sub(32_000), 0), (32_000, 0), (32_000, 5001 + 1), (32_000, 5001 - 1)] {
        state.up(RST | ACK, seq, ack, b"");
        assert!(state.is("ESTABLISHED"), "{seq} {ack}");
    }
    assert!(state.up(SYN, 5, 0, b""));
    assert!(state.down(ACK, 1, 1), "the challenge");
    assert!(state.is("ESTABLISHED"));
}

/// What pf takes for a perfect acknowledgment: a sender that gives up right behind its last data.
fn a_reset_behind_unacknowledged_data_ends_the_state(router: &mut Router) {
    use flag::*;
    let mut state = State::open(router, 1);
    assert!(state.up(PSH | ACK, 1, 5001, b"last words"));
    assert!(state.up(RST | ACK, 11, 5001, b""));
    assert!(state.is("CLOSE"));
}

/// What leaves on the WAN for a packet to `to`, and how the client sees the answer `answer` to it.
#[track_caller]
fn reaches(router: &mut Router, packet: &Datagram, answer: impl Fn(&Datagram) -> Datagram) {
    let (port, seen) = router.one(LAN, packet);
    assert_eq!((port, seen.destination, seen.checksums_are_right()), (WAN, ECHO, true));
    let (port, back) = router.one(WAN, &answer(&seen));
    assert_eq!((port, back.source(), back.destination()), (LAN, packet.destination(), packet.source()));
    assert!(back.checksums_are_right());
}

/// pf_forward: ping, udp, tcp.
fn every_address_is_reached(router: &mut Router) {
    router.run(REDIRECT);
    for own in OWN {
        let (port, reply) = router.one(LAN, &echo(CLIENT, own));
        assert_eq!((port, reply.source, reply.icmp_type()), (LAN, own, Some((0, 0))));
    }
    for to in [ECHO, REDIRECTED] {
        reaches(router, &echo(CLIENT, to), |seen| echo_reply(seen.destination, seen.source()));
        let back = |seen: &Datagram| seen.clone().from(seen.destination()).to(seen.source());
        reaches(router, &udp(CLIENT, (to, 7)).payload("echo"), back);
        reaches(router, &tcp(CLIENT, (to, 7), flag::SYN), |seen| {
            tcp(seen.destination(), seen.source(), flag::SYN | flag::ACK).numbers(5000, 1001)
        });
    }
}

const MTU: u32 = 1300;

/// A router beyond says that `seen` is too large; the report as the client gets it, who has asked `to`. Where that was
/// translated the report seems to come from there, as on Linux.
#[track_caller]
fn report(router: &mut Router, to: Ipv4Address, seen: &Datagram) -> Datagram {
    let report = icmp(PROVIDER, seen.source, 3, 4, MTU, &seen.quote(548));
    let (port, report) = router.one(WAN, &report);
    let reporter = if to == REDIRECTED { REDIRECTED } else { PROVIDER };
    assert_eq!((port, report.source, report.destination), (LAN, reporter, ALICE));
    assert_eq!(report.icmp_type(), Some((3, 4)));
    assert!(report.checksums_are_right());
    report
}

/// pf_forward and pf_fragment, ping-mtu: also the length in the quote is that of the packet.
fn the_mtu_beyond_is_reported_through_the_translation(router: &mut Router) {
    router.run(REDIRECT);
    for to in [ECHO, REDIRECTED] {
        let ping = echo(CLIENT, to).payload([3; 1400]).dont_fragment();
        let (_, seen) = router.one(LAN, &ping);
        let report = report(router, to, &seen);
        let Body::Icmp { word, payload, .. } = &report.body else { panic!("{report:?}") };
        assert_eq!((*word, &payload[2..4]), (MTU, &ping.bytes()[2..4]));
    }
    router.run(&format!("ip link set eth1 mtu {MTU}"));
    for to in [ECHO, REDIRECTED] {
        let ping = echo(CLIENT, to).payload([3; 1400]).dont_fragment();
        let (port, report) = router.one(LAN, &ping);
        assert_eq!((port, report.source, report.icmp_type()), (LAN, LAN_SIDE, Some((3, 4))));
        assert_eq!(report.quoted().map(|quoted| quoted.destination), Some(to));
    }
}

/// pf_fragment, ping-cksum and udp-cksum: what the client finds quoted is what it has sent, one hop on.
fn a_quote_keeps_its_checksums_right(router: &mut Router) {
    router.run(REDIRECT);
    for to in [ECHO, REDIRECTED] {
        for packet in [echo(CLIENT, to).payload([3; 1400]), udp(CLIENT, (to, 7)).payload([4; 1400])] {
            let packet = packet.dont_fragment();
            let (_, seen) = router.one(LAN, &packet);
            let report = report(router, to, &seen);
            let Body::Icmp { payload, .. } = &report.body else { panic!("{report:?}") };
            assert_eq!(*payload, packet.ttl(63).quote(payload.len()));
        }
    }
}

/// The parts of a packet, each of `size` bytes.
fn fragments(whole: &Datagram, size: usize) -> Vec<Datagram> {
    let bytes = &whole.bytes()[20..];
    let part = |from: usize| {
        let to = (from + size).min(bytes.len());
        let part = other(whole.source, whole.destination, whole.protocol(), &bytes[from..to]).but(|p| {
            (p.id, p.offset, p.more_fragments) = (whole.id, from as u16, to < bytes.len());
        });
        Datagram::read(&part.bytes()).expect("a packet")
    };
    (0..bytes.len()).step_by(size).map(part).collect()
}

/// pf_fragment, fragping: 5000 bytes to the other side and back.
fn large_datagrams_pass_in_fragments(router: &mut Router) {
    router.run(REDIRECT);
    for to in [ECHO, REDIRECTED] {
        let ping = echo(CLIENT, to).payload([3; 5000]).but(|p| p.id = 7001);
        let left = router.send_all(LAN, &fragments(&ping, 1480));
        assert_eq!(left.len(), 4);
        let message: Vec<u8> = left.iter().flat_map(|(_, part)| part.bytes()[20..].to_vec()).collect();
        assert_eq!(sum(&message), 0xffff, "the checksum over all parts");
        let reply = echo_reply(ECHO, left[0].1.source()).payload([3; 5000]).but(|p| p.id = 7002);
        let left = router.send_all(WAN, &fragments(&reply, 1480));
        assert_eq!(left.len(), 4);
        assert!(left.iter().all(|(port, it)| (*port, it.source, it.destination) == (LAN, to, ALICE)));
        let message: Vec<u8> = left.iter().flat_map(|(_, part)| part.bytes()[20..].to_vec()).collect();
        assert_eq!(message, echo_reply(to, CLIENT).payload([3; 5000]).bytes()[20..]);
    }
}

/// pf_fragment, frag, cutnew, cutold, dropnew and dropold: pf puts packets together and decides which bytes count. Here each
/// fragment passes, and whoever they are for decides (requirement 7).
fn overlapping_fragments_are_left_to_their_receiver(router: &mut Router) {
    router.run(REDIRECT);
    let ways: [&[(usize, usize)]; 5] = [
        &[(0, 8), (8, 24), (24, 40)],
        &[(0, 16), (8, 40)],
        &[(0, 8), (16, 40), (8, 24)],
        &[(0, 8), (16, 24), (8, 40)],
        &[(0, 8), (8, 32), (16, 24), (32, 40)],
    ];
    for (number, way) in ways.iter().enumerate() {
        for (to, id) in [(ECHO, 7100), (REDIRECTED, 7200)] {
            let ping = echo(CLIENT, to)
                .payload(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345")
                .but(|p| p.id = id + number as u16);
            let bytes = &ping.bytes()[20..];
            let parts = way.iter().map(|&(from, to)| {
                other(ALICE, ping.destination, 1, &bytes[from..to]).but(|p| {
                    (p.id, p.offset, p.more_fragments) = (ping.id, from as u16, to < bytes.len());
                })
            });
            let left = router.send_all(LAN, &parts.collect::<Vec<_>>());
            let offsets: Vec<_> =
                left.iter().map(|(port, part)| (*port, part.destination, part.offset)).collect();
            let expected: Vec<_> = way.iter().map(|&(from, _)| (WAN, ECHO, from as u16)).collect();
            assert_eq!(offsets, expected, "{way:?}");
        }
    }
}

/// pf_opts: no operation, end of list, forty bytes, router alert. pf drops them all unless a rule has allow-opts.
fn options_that_say_nothing_pass(router: &mut Router) {
    let alert = [&[1, 1], &[148, 4, 0, 0][..], &[1, 1]].concat();
    for options in [vec![1, 1, 1, 1], vec![1, 0, 0, 0], vec![1; 40], alert] {
        let ping = echo(CLIENT, ECHO).but(|p| p.options.clone_from(&options));
        assert_eq!(router.one(LAN, &ping), (WAN, ping.clone().ttl(63)), "{options:?}");
        let (port, reply) = router.one(LAN, &echo(CLIENT, LAN_SIDE).but(|p| p.options.clone_from(&options)));
        assert_eq!((port, reply.icmp_type()), (LAN, Some((0, 0))));
    }
}

/// pf_opts: an option whose length cannot be; and source routes, which pf never lets pass.
fn options_that_lie_or_lead_are_dropped(router: &mut Router) {
    for options in [
        vec![3, 0, 0, 0],
        vec![7, 41, 4, 0],
        vec![1, 1, 1, 7],
        vec![131, 7, 4, 10, 10, 0, 5, 0],
        vec![137, 7, 4, 10, 10, 0, 5, 0],
    ] {
        for to in [ECHO, LAN_SIDE] {
            let left = router.send(LAN, &echo(CLIENT, to).but(|p| p.options.clone_from(&options)));
            let answered =
                left.iter().all(|(port, it)| *port == LAN && it.icmp_type().is_some_and(|it| it.0 == 12));
            assert!(answered, "{options:?}: {left:?}");
        }
    }
}
