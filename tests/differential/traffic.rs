//! Random packets: conversations between the hosts of the network, whole and broken, mixed with one another.

use crate::scenario::{Damage, STRANGER, Step, What};
use rand::{Rng, RngExt, seq::IndexedRandom};
use smoltcp::wire::Ipv4Address;
use tests::{datagram::*, network::*};

type Host = (usize, Ipv4Address);

const CLIENTS: &[Host] = &[
    (LAN, ALICE),
    (LAN, ALICE),
    (LAN, BOB),
    (LAN, BOB),
    (WAN, SERVER),
    (WAN, SERVER),
    (WAN, OTHER),
    (DMZ, WEB),
];
/// Whom they talk to. The last ones are the router itself.
const SERVERS: &[Ipv4Address] =
    &[SERVER, SERVER, SERVER, OTHER, OTHER, WEB, ALICE, BOB, WAN_SIDE, WAN_SIDE, LAN_SIDE];
/// Places that cannot be reached: a blackhole, an unreachable and a prohibited network, and one beyond the default
/// route, where there is one.
const NOWHERE: &[Ipv4Address] = &[
    Ipv4Address::new(192, 0, 2, 1),
    Ipv4Address::new(192, 0, 2, 65),
    Ipv4Address::new(192, 0, 2, 129),
    Ipv4Address::new(100, 64, 0, 1),
];
const CLIENT_PORTS: &[u16] = &[40000, 40001, 5000, 1000, 33000];
const SERVER_PORTS: &[u16] = &[53, 80, 443, 8080, 22, 5500];

/// Whether a port or an identifier is one that somebody says by himself.
pub fn is_said(port: u16) -> bool {
    CLIENT_PORTS.contains(&port) || SERVER_PORTS.contains(&port)
}

/// Whether `address` is one of the places that cannot be reached.
pub fn is_nowhere(address: Ipv4Address) -> bool {
    NOWHERE.contains(&address)
}

/// Two to seven conversations, interleaved at random, each in its own order.
pub fn traffic(random: &mut impl Rng) -> Vec<Step> {
    let mut next_id = 0;
    let mut conversations: Vec<Vec<Step>> =
        (0..random.random_range(2..8)).map(|_| conversation(random, &mut next_id)).collect();
    let mut steps = Vec::new();
    conversations.retain(|steps| !steps.is_empty());
    while !conversations.is_empty() {
        let turn = random.random_range(0..conversations.len());
        steps.push(conversations[turn].remove(0));
        conversations.retain(|rest| !rest.is_empty());
    }
    steps
}

/// The steps of one conversation, under construction.
struct Talk<'n> {
    steps: Vec<Step>,
    next_id: &'n mut usize,
}

impl Talk<'_> {
    fn add(&mut self, what: What) -> usize {
        let id = *self.next_id;
        *self.next_id += 1;
        self.steps.push(Step { id, what });
        id
    }

    fn send(&mut self, port: usize, packet: &Datagram) -> usize {
        self.add(What::Send { port, packet: packet.clone() })
    }

    fn answer(&mut self, to: usize, with: &Datagram) -> usize {
        self.add(What::Answer { to, with: with.clone() })
    }
}

fn conversation(random: &mut impl Rng, next_id: &mut usize) -> Vec<Step> {
    let (port, client) = *CLIENTS.choose(random).unwrap_or(&(LAN, ALICE));
    let others: Vec<_> = SERVERS.iter().filter(|server| **server != client).collect();
    let server = **others.choose(random).unwrap_or(&&SERVER);
    let from = (client, *CLIENT_PORTS.choose(random).unwrap_or(&40000));
    let to = (server, *SERVER_PORTS.choose(random).unwrap_or(&80));
    let mut talk = Talk { steps: Vec::new(), next_id };
    match random.random_range(0..120) {
        0..30 => tcp_connection(random, &mut talk, port, from, to),
        30..55 => udp_exchange(random, &mut talk, port, from, to),
        55..70 => echo_exchange(random, &mut talk, port, from, server),
        70..76 => short_life(random, &mut talk, port, from, to),
        76..82 => stray_segment(random, &mut talk, port, from, to),
        82..88 => stray_message(random, &mut talk, port, client, server),
        88..93 => large(random, &mut talk, port, from, to),
        93..97 => to_nowhere(random, &mut talk, from.1, to.1),
        97..105 => damaged(random, &mut talk, port, from, to),
        105..113 => fragmented(random, &mut talk, port, from, to),
        _ => with_options(random, &mut talk, port, from, to),
    }
    talk.steps
}

/// A TCP connection from its SYN on, as far as it gets; closed, reset, or left open.
fn tcp_connection(random: &mut impl Rng, talk: &mut Talk<'_>, port: usize, from: Endpoint, to: Endpoint) {
    use flag::*;
    let (mut ours, mut theirs) = (1000, 5000);
    let segment = |flags, seq, ack, bytes: &[u8]| tcp(from, to, flags).numbers(seq, ack).payload(bytes);
    let syn = segment(SYN, ours, 0, b"").but(|p| {
        if let Body::Tcp { options, .. } = &mut p.body {
            *options = vec![2, 4, 5, 180]; // a maximum segment size of 1460
        }
    });
    let mut first = talk.send(port, &syn);
    if random.random_ratio(1, 8) {
        first = talk.send(port, &syn);
    }
    if random.random_ratio(1, 8) {
        talk.answer(first, &segment(RST | ACK, 0, ours + 1, b""));
        return;
    }
    if random.random_ratio(1, 10) {
        error(random, talk, first);
    }
    ours += 1;
    talk.answer(first, &segment(SYN | ACK, theirs, ours, b""));
    theirs += 1;
    if random.random_ratio(1, 8) {
        return;
    }
    talk.send(port, &segment(ACK, ours, theirs, b""));
    if random.random_ratio(1, 3) {
        surprise(random, talk, first, port, &segment, (ours, theirs));
    }
    for _ in 0..random.random_range(0..3) {
        let request = b"GET / HTTP/1.0\r\n\r\n";
        talk.send(port, &segment(PSH | ACK, ours, theirs, request));
        ours += request.len() as u32;
        let response = b"HTTP/1.0 200 OK\r\n\r\nodd";
        talk.answer(first, &segment(PSH | ACK, theirs, ours, response));
        theirs += response.len() as u32;
        talk.send(port, &segment(ACK, ours, theirs, b""));
    }
    match random.random_range(0..4) {
        0 => {
            talk.send(port, &segment(FIN | ACK, ours, theirs, b""));
            talk.answer(first, &segment(FIN | ACK, theirs, ours + 1, b""));
            talk.send(port, &segment(ACK, ours + 1, theirs + 1, b""));
        }
        1 => {
            talk.answer(first, &segment(FIN | ACK, theirs, ours, b""));
            talk.send(port, &segment(ACK, ours, theirs + 1, b""));
            talk.send(port, &segment(FIN | ACK, ours, theirs + 1, b""));
            talk.answer(first, &segment(ACK, theirs + 1, ours + 1, b""));
        }
        2 => {
            talk.send(port, &segment(RST | ACK, ours, theirs, b""));
        }
        _ => {}
    }
}

/// Segments that have no place in an established connection, or not the one they claim. What lies between the window and the power
/// of two above it, where Linux and rutter may differ, is left out; so is the very edge.
fn surprise(
    random: &mut impl Rng,
    talk: &mut Talk<'_>,
    first: usize,
    port: usize,
    segment: &impl Fn(u8, u32, u32, &[u8]) -> Datagram,
    (ours, theirs): (u32, u32),
) {
    use flag::*;
    const BEYOND: u32 = 1 << 20;
    const OLD: u32 = 1 << 22;
    for _ in 0..random.random_range(1..4) {
        let flags = *[ACK, PSH | ACK, RST, RST | ACK, FIN | ACK].choose(random).unwrap_or(&ACK);
        let (seq, ack) = *[
            (ours + BEYOND, theirs),
            (ours, theirs + BEYOND),
            (ours.wrapping_sub(OLD), theirs),
            (ours + 1000, theirs),
            (ours.wrapping_sub(1), theirs),
            (1 << 31, 1 << 31),
        ]
        .choose(random)
        .unwrap_or(&(ours, theirs));
        match random.random_range(0..8) {
            0..3 => drop(talk.send(port, &segment(flags, seq, ack, b"stray"))),
            3..6 => drop(talk.answer(first, &segment(flags, seq + theirs - ours, ack + ours - theirs, b""))),
            6 => {
                talk.send(port, &segment(SYN, 77_000_000, 0, b""));
                let (flags, seq, ack) =
                    *[(ACK, theirs, ours), (SYN | ACK, 88_000_000, 77_000_001), (RST | ACK, 0, 77_000_001)]
                        .choose(random)
                        .unwrap_or(&(ACK, theirs, ours));
                talk.answer(first, &segment(flags, seq, ack, b""));
            }
            _ => drop(talk.send(port, &segment(ACK, ours, theirs, b"").checksum(Checksum::Wrong(0x0101)))),
        }
    }
}

fn udp_exchange(random: &mut impl Rng, talk: &mut Talk<'_>, port: usize, from: Endpoint, to: Endpoint) {
    let packet = |bytes: &[u8]| udp(from, to).payload(bytes);
    let without_checksum = random.random_ratio(1, 6);
    let packet =
        |bytes| if without_checksum { packet(bytes).checksum(Checksum::Absent) } else { packet(bytes) };
    let first = talk.send(port, &packet(b"question"));
    for _ in 0..random.random_range(0..3) {
        talk.answer(first, &packet(b"an answer"));
        talk.send(port, &packet(b"another question"));
    }
    if random.random_ratio(1, 3) {
        error(random, talk, first);
    }
}

fn echo_exchange(random: &mut impl Rng, talk: &mut Talk<'_>, port: usize, from: Endpoint, to: Ipv4Address) {
    let first = talk.send(port, &echo(from, to));
    for _ in 0..random.random_range(0..3) {
        talk.answer(first, &echo_reply(to, from));
        talk.send(port, &echo(from, to));
    }
    if random.random_ratio(1, 4) {
        error(random, talk, first);
    }
}

/// An error from a router beyond about what came out of step `about`.
fn error(random: &mut impl Rng, talk: &mut Talk<'_>, about: usize) {
    let errors =
        [(3, 0, 0), (3, 1, 0), (3, 3, 0), (3, 4, 1400), (3, 13, 0), (11, 0, 0), (12, 0, 0x1400_0000)];
    let (kind, code, word) = *errors.choose(random).unwrap_or(&errors[0]);
    let from = *[PROVIDER, SERVER, WEB, BOB].choose(random).unwrap_or(&PROVIDER);
    let quote = *[28, 28, 128, 548].choose(random).unwrap_or(&28);
    talk.add(What::Error { to: about, from, kind, code, word, quote });
}

/// Packets that a router may not forward any more, or only just.
fn short_life(random: &mut impl Rng, talk: &mut Talk<'_>, port: usize, from: Endpoint, to: Endpoint) {
    for ttl in [1, 2, 0] {
        if random.random_bool(0.7) {
            let packet = match random.random_range(0..3) {
                0 => udp(from, to).payload(b"traceroute"),
                1 => tcp(from, to, flag::SYN),
                _ => echo(from, to.0),
            };
            talk.send(port, &packet.ttl(ttl));
        }
    }
}

/// Packets whose way ends at the router. Each has a sender of its own: Linux limits errors about routes for each
/// sender, whatever sysctl says.
fn to_nowhere(random: &mut impl Rng, talk: &mut Talk<'_>, from_port: u16, to_port: u16) {
    for _ in 0..random.random_range(1..4) {
        let from = (STRANGER, from_port);
        let to = (*NOWHERE.choose(random).unwrap_or(&SERVER), to_port);
        let packet = match random.random_range(0..3) {
            0 => udp(from, to).payload(b"anybody there?"),
            1 => tcp(from, to, flag::SYN),
            _ => echo(from, to.0),
        };
        talk.send(LAN, &packet);
    }
}

/// TCP segments that no connection sends in this place.
fn stray_segment(random: &mut impl Rng, talk: &mut Talk<'_>, port: usize, from: Endpoint, to: Endpoint) {
    use flag::*;
    let odd = [ACK, RST, FIN, SYN | FIN, 0, FIN | PSH | URG, SYN | ACK, RST | ACK, SYN | RST, FIN | ACK];
    for _ in 0..random.random_range(1..4) {
        let flags = *odd.choose(random).unwrap_or(&ACK);
        talk.send(port, &tcp(from, to, flags));
    }
}

/// ICMP messages that answer nothing, and protocols without ports.
fn stray_message(
    random: &mut impl Rng,
    talk: &mut Talk<'_>,
    port: usize,
    from: Ipv4Address,
    to: Ipv4Address,
) {
    let unknown = udp((to, 9), (from, 9)).payload(b"never sent");
    let first = match random.random_range(0..6) {
        0 => talk.send(port, &echo_reply(from, (to, 77))),
        1 => talk.send(port, &icmp_error(from, 3, 3, &unknown).but(|p| p.destination = to)),
        2 => talk.send(port, &icmp(from, to, 13, 0, 0x0007_0001, &[0; 12])),
        3 => talk.send(port, &icmp(from, to, 42, 0, 0, b"no such type")),
        4 => talk.send(port, &other(from, to, 47, &[0, 0, 8, 0, 1, 2, 3, 4])),
        _ => talk.send(port, &other(from, to, 253, b"experiment")),
    };
    if random.random_bool(0.5) {
        error(random, talk, first);
    }
}

/// Packets of the size of an MTU and beyond a smaller one.
fn large(random: &mut impl Rng, talk: &mut Talk<'_>, port: usize, from: Endpoint, to: Endpoint) {
    let size = *[1252, 1253, 1300, 1472].choose(random).unwrap_or(&1472);
    let bytes: Vec<u8> = (0..size).map(|at| at as u8).collect();
    let packet = udp(from, to).payload(bytes);
    let packet = if random.random_bool(0.5) { packet.dont_fragment() } else { packet };
    let first = talk.send(port, &packet);
    talk.answer(first, &udp(from, to).payload(b"got it"));
}

/// Datagrams in fragments, in order or backwards.
fn fragmented(random: &mut impl Rng, talk: &mut Talk<'_>, port: usize, from: Endpoint, to: Endpoint) {
    let size = *[600, 1473, 2900].choose(random).unwrap_or(&600);
    let bytes: Vec<u8> = (0..size).map(|at| at as u8).collect();
    for _ in 0..random.random_range(1..3) {
        let packet = match random.random_range(0..3) {
            0 => echo(from, to.0),
            _ => udp(from, to),
        };
        let packet = packet.payload(&bytes).but(|p| p.id = random.random());
        let size = *[8, 400, 1480].choose(random).unwrap_or(&400);
        let what = What::Fragmented { port, packet, size: size.max(400), backwards: random.random_bool(0.5) };
        let first = talk.add(what);
        talk.answer(first, &udp(from, to).payload(b"got it"));
        if random.random_ratio(1, 4) {
            error(random, talk, first);
        }
    }
}

/// Packets with options of every kind.
fn with_options(random: &mut impl Rng, talk: &mut Talk<'_>, port: usize, from: Endpoint, to: Endpoint) {
    const OPTIONS: &[&[u8]] = &[
        &[1, 1, 1, 1],
        &[1, 0, 0, 0],
        &[148, 4, 0, 0],
        &[130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[94, 4, 0, 0],
        &[7, 7, 4, 0, 0, 0, 0, 0],
        &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[131, 7, 4, 10, 10, 0, 5, 0],
        &[137, 7, 4, 10, 10, 0, 5, 0],
        &[148, 3, 0, 0],
        &[7, 40, 4, 0],
        &[148, 0, 0, 0],
    ];
    for _ in 0..random.random_range(1..3) {
        let options = OPTIONS.choose(random).unwrap_or(&OPTIONS[0]).to_vec();
        let packet = match random.random_range(0..3) {
            0 => echo(from, to.0),
            1 => tcp(from, to, flag::SYN),
            _ => udp(from, to).payload(b"with options"),
        };
        let first = talk.send(port, &packet.but(|p| p.options = options));
        talk.answer(first, &udp(from, to).payload(b"without"));
    }
}

fn damaged(random: &mut impl Rng, talk: &mut Talk<'_>, port: usize, from: Endpoint, to: Endpoint) {
    let packet = match random.random_range(0..3) {
        0 => udp(from, to).payload(b"some bytes"),
        1 => tcp(from, to, flag::SYN),
        _ => echo(from, to.0),
    };
    let first = match random.random_range(0..8) {
        0 => talk.send(port, &packet.checksum(Checksum::Wrong(0x0101))),
        1 => talk.send(port, &packet.but(|p| p.header_checksum = Checksum::Wrong(0x0101))),
        2 => talk.add(What::Damaged { port, packet, damage: Damage::Padded(18) }),
        3 => talk.add(What::Damaged { port, packet, damage: Damage::Cut(24) }),
        4 => talk.add(What::Damaged { port, packet, damage: Damage::Byte { at: 0, value: 0x44 } }),
        5 => talk.add(What::Damaged { port, packet, damage: Damage::Byte { at: 0, value: 0x65 } }),
        6 => talk.send(port, &packet.but(|p| p.options = vec![1, 1, 1, 0])),
        _ => talk.send(port, &packet.but(|p| p.tos = 0xb8)),
    };
    talk.answer(first, &udp(from, to));
}
