//! Lies about the connection that has to go on, by somebody who knows its addresses and ports. Read first: RFC 5927, 4;
//! RFC 5961, 3 to 5.

use crate::{
    arena::{
        Arena, Attack,
        Fate::{Balanced, Dropped},
        Side::Wan,
        TOOLS,
    },
    dice::{Dice, OUTER, PROVIDER},
};
use tests::{
    datagram::{Datagram, flag, icmp, icmp_error, tcp},
    namespace::in_namespace,
};

/// A segment of the client, as it may have been on the WAN; its numbers are guessed.
fn quoted(dice: &mut Dice) -> Datagram {
    let (client, server) = dice.flow;
    tcp(client, server, flag::ACK).numbers(dice.word(), dice.word()).payload([0; 8])
}

/// A segment of the server, with numbers that are guessed.
fn guessed(dice: &mut Dice, flags: u8) -> Datagram {
    let (client, server) = dice.flow;
    tcp(server, client, flags).numbers(dice.word(), dice.word())
}

#[rustfmt::skip]
const ATTACKS: &[Attack] = &[
    Attack { what: "redirects to another router", side: Wan, frames: 5_000, fate: Balanced,
        make: |dice| { let about = quoted(dice); let quote = about.quote(28); let word = dice.word();
            dice.ip(icmp(PROVIDER, OUTER, 5, (dice.number % 4) as u8, word, &quote)) } },
    // They are passed on to the client, who knows his numbers.
    Attack { what: "unreachable, with every code", side: Wan, frames: 5_000, fate: Balanced,
        make: |dice| { let about = quoted(dice); dice.ip(icmp_error(PROVIDER, 3, (dice.number % 16) as u8, &about)) } },
    Attack { what: "fragmentation needed, to every size", side: Wan, frames: 5_000, fate: Balanced,
        make: |dice| { let about = quoted(dice); let quote = about.quote(548); let mtu = dice.below(2000);
            dice.ip(icmp(PROVIDER, OUTER, 3, 4, mtu, &quote)) } },
    Attack { what: "source quench, time exceeded, parameter problem", side: Wan, frames: 5_000, fate: Balanced,
        make: |dice| { let kind = dice.one_of(&[4, 11, 12]); let about = quoted(dice); dice.ip(icmp_error(PROVIDER, kind, 0, &about)) } },
    Attack { what: "errors about what was never sent", side: Wan, frames: 5_000, fate: Dropped(&["firewall-rule", "firewall-policy"]),
        make: |dice| { let from = (OUTER, dice.port() | 1); let to = (dice.stranger(), dice.port()); let about = tcp(from, to, flag::ACK);
            dice.ip(icmp_error(PROVIDER, 3, 1, &about)) } },
    Attack { what: "quotes that are cut off or garbage", side: Wan, frames: 5_000, fate: Balanced,
        make: |dice| { let (kind, word) = (dice.one_of(&[3, 4, 5, 11, 12]), dice.word()); let mut quote = quoted(dice).bytes();
            let (at, value, length) = (dice.below(28) as usize, dice.word() as u8, dice.below(40) as usize);
            quote[at] = value; quote.truncate(length); dice.ip(icmp(PROVIDER, OUTER, kind, 0, word, &quote)) } },
    // One in 65,536 or so falls into the window; the client asks back then.
    Attack { what: "resets with guessed numbers", side: Wan, frames: 5_000, fate: Balanced,
        make: |dice| { let packet = guessed(dice, flag::RST); dice.ip(packet) } },
    Attack { what: "SYNs into the connection", side: Wan, frames: 5_000, fate: Balanced,
        make: |dice| { let packet = guessed(dice, flag::SYN); dice.ip(packet) } },
    Attack { what: "data and ends with guessed numbers", side: Wan, frames: 5_000, fate: Balanced,
        make: |dice| { let flags = dice.one_of(&[flag::ACK, flag::FIN | flag::ACK, flag::PSH | flag::ACK]);
            let packet = guessed(dice, flags).payload([0; 64]); dice.ip(packet) } },
    Attack { what: "its ports, from other servers", side: Wan, frames: 5_000, fate: Balanced,
        make: |dice| { let from = (dice.stranger(), 9000); let flags = dice.one_of(&[flag::SYN, flag::ACK, flag::RST]); let client = dice.flow.0;
            dice.ip(tcp(from, client, flags)) } },
];

#[test]
fn forged() {
    in_namespace(&TOOLS, || {
        let mut arena = Arena::new("forged", "");
        arena.endure(ATTACKS);
        arena.finish();
    });
}
