//! Translation there and back is the identity, whatever the packet (RFC 3022 4.1, RFC 1624), by the long way and the short.

use crate::one_hop;
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};
use tests::{bench::Bench, datagram::*, network::*};

/// The home gateway, which also forwards two ports to ALICE.
const GATEWAY: &str = "
iptables -t nat -A PREROUTING -i eth1 -p tcp --dport 8080 -j DNAT --to-destination 192.168.1.10:80
iptables -t nat -A PREROUTING -i eth1 -p udp --dport 8080 -j DNAT --to-destination 192.168.1.10:80
iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
";
/// Where the forwarded ports are, and where they lead.
const OUTSIDE: Endpoint = (WAN_SIDE, 8080);
const INSIDE: Endpoint = (ALICE, 80);
/// Packets of each direction: the long way takes the first ones, the short way the last.
const ROUNDS: usize = 4;

/// What a packet may be, but for its addresses and ports.
#[derive(Clone, Debug)]
struct Traits {
    protocol: u8,
    payload: Vec<u8>,
    checksum: Checksum,
    tos: u8,
    id: u16,
    ttl: u8,
    dont_fragment: bool,
    options: Vec<u8>,
    push: bool,
}

fn traits(protocols: &'static [u8]) -> impl Strategy<Value = Traits> {
    let checksum = prop_oneof![
        6 => Just(Checksum::Right),
        1 => Just(Checksum::Absent),
        1 => (1..0xff00u16).prop_map(Checksum::Wrong),
    ];
    let options = prop_oneof![4 => Just(vec![]), 1 => Just(vec![1, 1, 1, 0])];
    let payload = prop::collection::vec(any::<u8>(), 0..300);
    let bits = (any::<u8>(), any::<u16>(), 2..=255u8, any::<bool>(), any::<bool>());
    (prop::sample::select(protocols), payload, checksum, bits, options).prop_map(
        |(protocol, payload, checksum, (tos, id, ttl, dont_fragment, push), options)| {
            Traits { protocol, payload, checksum, tos, id, ttl, dont_fragment, options, push }.of(protocol)
        },
    )
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

impl Traits {
    /// The same of another protocol; only UDP can do without a checksum.
    fn of(self, protocol: u8) -> Self {
        let lost = self.checksum == Checksum::Absent && protocol != UDP;
        Self { protocol, checksum: if lost { Checksum::Right } else { self.checksum }, ..self }
    }

    /// The packet with these traits from one endpoint to another; `answer` says that it is one.
    fn packet(&self, from: Endpoint, to: Endpoint, answer: bool) -> Datagram {
        let packet = match (self.protocol, answer) {
            (UDP, _) => udp(from, to),
            (TCP, _) => {
                let (seq, ack) = if answer { (5000, 1000) } else { (1000, 5000) };
                tcp(from, to, if self.push { flag::ACK | flag::PSH } else { flag::ACK }).numbers(seq, ack)
            }
            (_, false) => echo(from, to.0),
            (_, true) => echo_reply(from.0, to),
        };
        packet.payload(&self.payload).checksum(self.checksum).but(|p| {
            (p.tos, p.id, p.ttl, p.dont_fragment) = (self.tos, self.id, self.ttl, self.dont_fragment);
            p.options.clone_from(&self.options);
        })
    }
}

fn config() -> Config {
    Config {
        cases: 200,
        rng_seed: RngSeed::Fixed(0x7275_7474_6572),
        failure_persistence: None,
        ..Config::default()
    }
}

/// Whether the packet is in fact what its checksum says: an error of the wrong size is none, or looks like absence.
fn is_itself(packet: &Datagram) -> bool {
    Datagram::read(&packet.bytes()).as_ref() == Some(packet)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_goes_out_masqueraded_comes_back_as_if_nothing_had_been(
        there in traits(&[ICMP, TCP, UDP]),
        back in traits(&[ICMP, TCP, UDP]),
        port in 1024..=u16::MAX,
        service in 1..=u16::MAX,
    ) {
        let back = back.of(there.protocol);
        let (from, to) = ((ALICE, port), (SERVER, service));
        let mut bench = Bench::network(GATEWAY);
        for _ in 0..ROUNDS {
            let packet = there.packet(from, to, false);
            prop_assume!(is_itself(&packet));
            let (card, left) = bench.exchange(LAN, packet.clone());
            let outside = left.source();
            prop_assert_eq!((card, outside.0), (WAN, WAN_SIDE));
            prop_assert_eq!(left, one_hop(packet).from(outside));

            let answer = back.packet(to, outside, true);
            prop_assume!(is_itself(&answer));
            let expected = one_hop(answer.clone()).to(from);
            prop_assert_eq!(bench.exchange(WAN, answer), (LAN, expected));
        }
        let plain = there.options.is_empty() || back.options.is_empty();
        prop_assert_eq!(bench.router.statistics().fast > 0, plain && there.protocol != ICMP);
    }

    #[test]
    fn what_comes_in_by_a_forwarded_port_is_answered_from_there(
        there in traits(&[TCP, UDP]),
        back in traits(&[TCP, UDP]),
        port in 1..=u16::MAX,
    ) {
        let back = back.of(there.protocol);
        let client = (SERVER, port);
        let mut bench = Bench::network(GATEWAY);
        for _ in 0..ROUNDS {
            let packet = there.packet(client, OUTSIDE, false);
            prop_assume!(is_itself(&packet));
            let expected = one_hop(packet.clone()).to(INSIDE);
            prop_assert_eq!(bench.exchange(WAN, packet), (LAN, expected));

            let answer = back.packet(INSIDE, client, true);
            prop_assume!(is_itself(&answer));
            let expected = one_hop(answer.clone()).from(OUTSIDE);
            prop_assert_eq!(bench.exchange(LAN, answer), (WAN, expected));
        }
    }
}
