//! Headers that are impossible, or that nobody honest writes. Read first: RFC 1812, 5.2.2 and 5.3.7; RFC 7126 for options.

use crate::{
    arena::{
        Arena, Attack,
        Fate::{Balanced, Dropped},
        Side::{Lan, Wan},
        TOOLS,
    },
    dice::{Dice, INNER, LAPTOP, OUTER, PROVIDER, SERVER},
};
use smoltcp::wire::{EthernetAddress, Ipv4Address};
use tests::{
    datagram::{Checksum, Datagram, other, tcp, udp},
    namespace::in_namespace,
};

const IPV4: u16 = 0x0800;
const SYN: u8 = tests::datagram::flag::SYN;

/// Sources that can be no sender on a wire, and destinations that can be on none.
const NO_SOURCE: [[u8; 4]; 8] = [
    [0, 0, 0, 1],
    [127, 0, 0, 1],
    [224, 0, 0, 1],
    [239, 255, 255, 255],
    [240, 0, 0, 1],
    [255, 255, 255, 255],
    [192, 168, 1, 1],
    [203, 0, 113, 2],
];
const NO_DESTINATION: [[u8; 4]; 4] = [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [127, 255, 0, 9]];

/// A good datagram for somebody inside, which is there to be spoiled.
fn victim(dice: &mut Dice) -> Datagram {
    let port = dice.port();
    udp((SERVER, 53), (OUTER, port)).payload([0x5a; 32])
}

/// Bytes in place of an IP packet.
fn raw(dice: &Dice, bytes: Vec<u8>) -> Vec<u8> {
    dice.frame(dice.router, IPV4, bytes)
}

#[rustfmt::skip]
const ATTACKS: &[Attack] = &[
    Attack { what: "IP options of every length, of random bytes", side: Wan, frames: 41 * 200, fate: Balanced,
        make: |dice| { let length = (dice.number % 41) as usize; let options: Vec<u8> = (0..length.div_ceil(4) * 4).map(|at| if at < length { dice.word() as u8 } else { 0 }).collect();
            let packet = victim(dice).but(|p| p.options = options); dice.ip(packet) } },
    Attack { what: "each kind of option with each length that it may claim", side: Lan, frames: 256 * 40, fate: Balanced,
        make: |dice| { let (kind, length) = (dice.number as u8, (dice.number >> 8) as u8);
            let to = dice.stranger();
            dice.ip(udp((LAPTOP, 5000), (to, 53)).but(|p| p.options = vec![kind, length, 4, 0, 0, 0, 0, 0])) } },
    Attack { what: "source routes", side: Wan, frames: 5_000, fate: Dropped(&["source-route"]),
        make: |dice| { let kind = dice.one_of(&[131, 137]); let packet = victim(dice).but(|p| p.options = vec![kind, 7, 4, 10, 0, 0, 1, 0]); dice.ip(packet) } },
    Attack { what: "LAND: from the router to itself", side: Wan, frames: 5_000, fate: Dropped(&["martian-source"]),
        make: |dice| { let (own, port) = (dice.one_of(&[INNER, OUTER]), dice.port()); dice.ip(tcp((own, port), (own, port), SYN)) } },
    Attack { what: "sources that can be nobody", side: Wan, frames: 5_000, fate: Dropped(&["martian-source"]),
        make: |dice| { let from = Ipv4Address::from(dice.one_of(&NO_SOURCE)); let packet = victim(dice).but(|p| p.source = from); dice.ip(packet) } },
    Attack { what: "destinations that can be nowhere", side: Wan, frames: 5_000, fate: Dropped(&["martian-destination"]),
        make: |dice| { let to = Ipv4Address::from(dice.one_of(&NO_DESTINATION)); let packet = victim(dice).but(|p| p.destination = to); dice.ip(packet) } },
    Attack { what: "inner sources that come from outside", side: Wan, frames: 5_000, fate: Dropped(&["reverse-path"]),
        make: |dice| { let last = dice.below(200) + 20; let packet = victim(dice).but(|p| p.source = Ipv4Address::new(192, 168, 1, last as u8)); dice.ip(packet) } },
    Attack { what: "wrong versions, header lengths and total lengths", side: Wan, frames: 5_000, fate: Dropped(&["ip-malformed", "ip-checksum", "ip-options", "source-route"]),
        make: |dice| { let mut bytes = victim(dice).bytes();
            match dice.below(3) { 0 => bytes[0] = 0x50 | bytes[0] & 15, 1 => bytes[0] = 0x40 | dice.below(5) as u8, _ => bytes[2] = 0x40 }
            raw(dice, bytes) } },
    Attack { what: "wrong header checksums", side: Wan, frames: 5_000, fate: Dropped(&["ip-checksum"]),
        make: |dice| { let wrong = dice.below(0xfffe) as u16 + 1; let packet = victim(dice).but(|p| p.header_checksum = Checksum::Wrong(wrong)); dice.ip(packet) } },
    Attack { what: "packets that end too early", side: Wan, frames: 5_000, fate: Dropped(&["ip-malformed"]),
        make: |dice| { let mut bytes = victim(dice).bytes(); let length = dice.below(bytes.len() as u32) as usize; bytes.truncate(length); raw(dice, bytes) } },
    Attack { what: "transport headers that are cut off or impossible", side: Wan, frames: 5_000, fate: Balanced,
        make: |dice| { let (protocol, content) = (dice.one_of(&[1, 6, 17]), dice.bytes(40)); dice.ip(other(SERVER, OUTER, protocol, &content)) } },
    Attack { what: "every combination of TCP flags", side: Wan, frames: 64 * 100, fate: Balanced,
        make: |dice| { let (from, flags) = ((dice.stranger(), dice.port()), dice.number as u8 & 0x3f); dice.ip(tcp(from, (OUTER, 8080), flags)) } },
    Attack { what: "every IP protocol", side: Wan, frames: 256 * 40, fate: Balanced,
        make: |dice| { let content = dice.bytes(64); dice.ip(other(SERVER, OUTER, dice.number as u8, &content)) } },
    Attack { what: "UDP to the broadcast addresses", side: Lan, frames: 5_000, fate: Balanced,
        make: |dice| { let to = dice.one_of(&[Ipv4Address::BROADCAST, Ipv4Address::new(192, 168, 1, 255), Ipv4Address::new(203, 0, 113, 255)]);
            let packet = udp((LAPTOP, 5000), (to, 7)); dice.frame(EthernetAddress::BROADCAST, IPV4, packet.bytes()) } },
    Attack { what: "every other kind of frame", side: Lan, frames: 5_000, fate: Dropped(&["ethertype-unknown"]),
        make: |dice| { let (kind, content) = (0x0807 + dice.below(0x8000) as u16, dice.bytes(200)); dice.frame(EthernetAddress::BROADCAST, kind, content) } },
    Attack { what: "frames from group addresses", side: Wan, frames: 5_000, fate: Dropped(&["ethernet-source"]),
        make: |dice| { dice.station = EthernetAddress([1, 0, 0x5e, 0, 0, 1]); let packet = victim(dice); dice.ip(packet) } },
    Attack { what: "time to live that runs out", side: Lan, frames: 5_000, fate: Dropped(&["ttl-exceeded"]),
        make: |dice| { let to = (dice.stranger(), 33_434); dice.ip(udp((LAPTOP, 5000), to).ttl(dice.number as u8 & 1)) } },
    Attack { what: "no route to there", side: Lan, frames: 5_000, fate: Dropped(&["route-blackhole", "route-unreachable"]),
        make: |dice| { let to = dice.one_of(&[Ipv4Address::new(10, 1, 2, 3), Ipv4Address::new(172, 16, 5, 6)]); dice.ip(udp((LAPTOP, 5000), (to, 9))) } },
    Attack { what: "larger than any way leads, and not to be fragmented", side: Wan, frames: 1000, fate: Balanced,
        make: |dice| { let port = dice.port(); dice.ip(udp((PROVIDER, 53), (OUTER, port)).payload([0; 1400]).dont_fragment()) } },
];

#[test]
fn headers() {
    in_namespace(&TOOLS, || {
        let mut arena = Arena::new("headers", "");
        arena.endure(ATTACKS);
        arena.finish();
    });
}
