//! More new flows than a table holds: SYN floods, sweeps, tuples made to collide, answers that are asked for. Read first:
//! RFC 4987, 3 "Common Defenses", for what a half-open connection costs.

use crate::{
    arena::{
        Arena, Attack,
        Fate::{Balanced, Dropped},
        Side::{Lan, Wan},
        TOOLS,
    },
    dice::{INNER, LAPTOP, OUTER, SERVER},
};
use smoltcp::wire::Ipv4Address;
use tests::{
    datagram::{echo, flag, tcp, udp},
    namespace::in_namespace,
};

#[rustfmt::skip]
const ATTACKS: &[Attack] = &[
    // Nobody is there: no flow, no answer.
    Attack { what: "SYNs from anywhere to every port", side: Wan, frames: 30_000, fate: Dropped(&["firewall-policy"]),
        make: |dice| { let to = (OUTER, 10_000 + (dice.word() % 50_000) as u16); let from = (dice.stranger(), dice.port());
            dice.ip(tcp(from, to, flag::SYN)) } },
    // The server behind does not answer: each leaves a half-open connection.
    Attack { what: "SYNs from anywhere to a forwarded port", side: Wan, frames: 40_000, fate: Balanced,
        make: |dice| { let from = (dice.stranger(), dice.port()); dice.ip(tcp(from, (OUTER, 8080), flag::SYN)) } },
    // The rules say to answer each with a RST.
    Attack { what: "SYNs from anywhere to a port that is rejected", side: Wan, frames: 5_000, fate: Balanced,
        make: |dice| { let from = (dice.stranger(), dice.port()); dice.ip(tcp(from, (OUTER, 113), flag::SYN)) } },
    Attack { what: "segments of no connection", side: Wan, frames: 5_000, fate: Dropped(&["firewall-policy", "firewall-rule"]),
        make: |dice| { let flags = dice.one_of(&[flag::ACK, flag::RST, flag::RST | flag::ACK, flag::FIN | flag::ACK, flag::SYN | flag::ACK]);
            let (from, port) = ((dice.stranger(), dice.port()), 10_000 + (dice.word() % 50_000) as u16);
            dice.ip(tcp(from, (OUTER, port), flags)) } },
    Attack { what: "a sweep over the UDP ports", side: Wan, frames: 0x8000, fate: Dropped(&["firewall-policy"]),
        make: |dice| { let port = dice.number as u16; dice.ip(udp((SERVER, 53), (OUTER, port))) } },
    // Each is for the router itself, which may tell the sender that nobody listens.
    Attack { what: "the same from inside", side: Lan, frames: 5_000, fate: Balanced,
        make: |dice| { let port = dice.number as u16 | 1; dice.ip(udp((LAPTOP, 40_000), (INNER, port))) } },
    // Each begins a flow with a mapping; the table holds 65,536.
    Attack { what: "a new flow with each datagram", side: Lan, frames: 40_000, fate: Balanced,
        make: |dice| { let from = (LAPTOP, 10_000 + (dice.number % 50_000) as u16);
            let to = (Ipv4Address::from_bits(0xc612_0001 + (dice.number / 50_000) as u32), 53); dice.ip(udp(from, to)) } },
    // The sums and the exclusive ors of addresses and ports are the same in all of them.
    Attack { what: "tuples that collide where the hash is a plain one", side: Lan, frames: 30_000, fate: Balanced,
        make: |dice| { let step = dice.number as u16; let pair = dice.number as u32 >> 13 & 7;
            let from = (LAPTOP, 0x4000 | step & 0x1fff); let to = (Ipv4Address::from_bits(0xc612_0100 | pair << 12), 0x5fff - (step & 0x1fff));
            dice.ip(udp(from, to)) } },
    Attack { what: "pings from anywhere", side: Wan, frames: 5_000, fate: Balanced,
        make: |dice| { let from = (dice.stranger(), dice.port()); dice.ip(echo(from, OUTER)) } },
    Attack { what: "pings from inside", side: Lan, frames: 5_000, fate: Balanced,
        make: |dice| { let id = dice.port(); dice.ip(echo((LAPTOP, id), INNER)) } },
];

#[test]
fn floods() {
    in_namespace(&TOOLS, || {
        let mut arena = Arena::new("floods", "");
        // The forwarded port's server hears, and says nothing.
        arena.site.server.sh("ip link set eth0 arp off; ip addr flush dev eth0");
        arena.endure(ATTACKS);
        arena.finish();
    });
}
