//! Fragments that overlap, that are too small, that never become whole, that make 65,536 bytes. Read first: RFC 1858;
//! RFC 3128, 2; RFC 791, 3.2.

use crate::{
    arena::{
        Arena, Attack,
        Fate::{Balanced, Endured},
        Side::{Lan, Wan},
        TOOLS,
    },
    dice::{INNER, LAPTOP, OUTER, SERVER},
};
use tests::{
    datagram::{Datagram, echo, flag, other, tcp, udp},
    namespace::in_namespace,
};

const UDP: u8 = 17;
const ICMP: u8 = 1;

/// A piece of a datagram from the internet to the router's outer address.
fn piece(id: u64, offset: u16, more: bool, length: usize) -> Datagram {
    other(SERVER, OUTER, UDP, &vec![0x5a; length]).but(|p| {
        (p.id, p.offset, p.more_fragments) = (id as u16, offset, more);
    })
}

/// The first piece, with the header of UDP.
fn head(id: u64, length: usize) -> Datagram {
    udp((SERVER, 53), (OUTER, 9999)).payload(vec![0x5a; length - 8]).but(|p| {
        (p.id, p.more_fragments) = (id as u16, true);
    })
}

/// The pieces of a ping from the laptop, of `total` bytes with its header, as long as an Ethernet carries them.
fn large_ping(number: u64, total: usize) -> Datagram {
    const PART: usize = 1480;
    let count = (total - 20).div_ceil(PART) as u64;
    let (id, place) = ((number / count) as u16, number % count);
    let whole = echo((LAPTOP, id), INNER).payload(vec![0; total - 28]).bytes();
    let start = place as usize * PART;
    let end = (start + PART).min(total - 20);
    other(LAPTOP, INNER, ICMP, &whole[20 + start..20 + end]).but(|p| {
        (p.id, p.offset, p.more_fragments) = (id, start as u16, end < total - 20);
    })
}

#[rustfmt::skip]
const ATTACKS: &[Attack] = &[
    Attack { what: "teardrop: the second within the first", side: Wan, frames: 5_000, fate: Endured,
        make: |dice| { let id = dice.number / 2; dice.ip(if dice.number.is_multiple_of(2) { head(id, 36) } else { piece(id, 24, false, 4) }) } },
    Attack { what: "the second over the end of the first", side: Wan, frames: 5_000, fate: Endured,
        make: |dice| { let id = dice.number / 2; dice.ip(if dice.number.is_multiple_of(2) { head(id, 64) } else { piece(id, 32, false, 64) }) } },
    Attack { what: "a second one over the ports", side: Wan, frames: 5_000, fate: Endured,
        make: |dice| { let id = dice.number / 2; dice.ip(if dice.number.is_multiple_of(2) { head(id, 64) } else { piece(id, 0, true, 64) }) } },
    Attack { what: "first ones that end within the TCP header", side: Wan, frames: 5_000, fate: Endured,
        make: |dice| { let (from, length) = ((dice.stranger(), dice.port()), dice.below(20) as usize & !7); let id = dice.word() as u16;
            let bytes = tcp(from, (OUTER, 8080), flag::SYN).bytes();
            dice.ip(other(from.0, OUTER, 6, &bytes[20..20 + length]).but(|p| (p.id, p.more_fragments) = (id, true))) } },
    Attack { what: "first ones without any other", side: Wan, frames: 5_000, fate: Endured,
        make: |dice| { let id = dice.number; dice.ip(head(id, 64)) } },
    Attack { what: "others without the first", side: Wan, frames: 5_000, fate: Endured,
        make: |dice| { let (id, offset) = (dice.number, dice.word() as u16 & 0x1ff8 | 8); dice.ip(piece(id, offset, true, 64)) } },
    Attack { what: "empty ones, and ones of odd lengths", side: Wan, frames: 5_000, fate: Endured,
        make: |dice| { let (id, offset, length) = (dice.word().into(), dice.word() as u16 & 0x1ff8, dice.below(16) as usize);
            dice.ip(piece(id, offset, true, length)) } },
    Attack { what: "ends beyond 65,535 bytes", side: Lan, frames: 5_000, fate: Endured,
        make: |dice| { let id = dice.number as u16; let length = dice.below(1400) as usize;
            dice.ip(other(LAPTOP, INNER, ICMP, &vec![0; length]).but(|p| (p.id, p.offset) = (id, 0xfff8))) } },
    Attack { what: "pings of 65,535 bytes", side: Lan, frames: 45 * 20, fate: Endured,
        make: |dice| { let packet = large_ping(dice.number, 65_535); dice.ip(packet) } },
    Attack { what: "fragments of the transfer's own connection", side: Wan, frames: 5_000, fate: Endured,
        make: |dice| { let (outer, server) = dice.flow; let id = dice.number as u16; let bytes = tcp(server, outer, flag::ACK).payload([0; 60]).bytes();
            dice.ip(other(server.0, outer.0, 6, &bytes[20..60]).but(|p| (p.id, p.more_fragments) = (id, true))) } },
    Attack { what: "whole packets after all that", side: Wan, frames: 1000, fate: Balanced,
        make: |dice| { let port = dice.port(); dice.ip(udp((SERVER, 53), (OUTER, port))) } },
];

#[test]
fn fragments() {
    in_namespace(&TOOLS, || {
        let mut arena = Arena::new("fragments", "");
        // Four packets of 64 KiB that are put together at a time, and one that is cut.
        arena.kept_kib = 5 * 64;
        arena.endure(ATTACKS);
        // What is whole in the end is answered. The laptop may still keep the first fragments of what happened to fit into the
        // transfer's windows, until it has no room for others.
        arena.site.server.sh("ping -q -c 1 -w 5 -s 60000 192.168.1.1");
        arena.finish();
    });
}
