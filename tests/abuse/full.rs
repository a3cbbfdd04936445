//! A table that is full of flows which must stay: what is new is refused, and what is there goes on (requirement 34).

use crate::{
    arena::{
        Arena, Attack,
        Fate::Dropped,
        Side::{Lan, Wan},
        TOOLS,
    },
    dice::{Dice, LAPTOP, OUTER, SERVER},
};
use tests::{
    datagram::{flag, tcp, udp},
    namespace::in_namespace,
};

/// Flows that the table may hold.
const LIMIT: u64 = 1000;
const FIRST_PORT: u16 = 20_000;

/// The flows live longer than the attack.
const SETTINGS: &str = "
sysctl -w net.netfilter.nf_conntrack_max=1000
sysctl -w net.netfilter.nf_conntrack_udp_timeout=120
sysctl -w net.netfilter.nf_conntrack_udp_timeout_stream=300
";

#[rustfmt::skip]
const ATTACKS: &[Attack] = &[
    Attack { what: "datagrams of new flows into a full table", side: Lan, frames: 20_000, fate: Dropped(&["flow-table-full"]),
        make: |dice| { let from = (LAPTOP, 10_000 + (dice.number % 10_000) as u16); dice.ip(udp(from, (SERVER, 54))) } },
    Attack { what: "SYNs to a forwarded port into a full table", side: Wan, frames: 20_000, fate: Dropped(&["flow-table-full"]),
        make: |dice| { let from = (dice.stranger(), dice.port()); dice.ip(tcp(from, (OUTER, 8080), flag::SYN)) } },
];

fn outward(dice: &mut Dice) -> Vec<u8> {
    let port = FIRST_PORT + dice.number as u16;
    dice.ip(udp((LAPTOP, port), (SERVER, 53)))
}

fn inward(dice: &mut Dice) -> Vec<u8> {
    let port = FIRST_PORT + dice.number as u16;
    dice.ip(udp((SERVER, 53), (OUTER, port)))
}

#[test]
fn a_full_table_keeps_its_flows() {
    in_namespace(&TOOLS, || {
        let mut arena = Arena::new("full", SETTINGS);
        // Asked, answered, and asked again: assured.
        let room = LIMIT - arena.read_books("full").flows;
        for (side, make) in [(Lan, outward as fn(&mut Dice) -> Vec<u8>), (Wan, inward), (Lan, outward)] {
            arena.send(side, room, make);
            arena.go_on("preparations");
        }
        let books = arena.read_books("full");
        assert_eq!(books.flows, LIMIT, "{books:?}");
        arena.endure(ATTACKS);
        let books = arena.read_books("full");
        assert_eq!(books.flows, LIMIT, "{books:?}");
        let said = arena.ask("conntrack -S");
        assert!(said.contains("early_drop=0 "), "{said}");
        // It lists all of them, which takes the console some time.
        arena.site.lab().command("conntrack -D -p udp").expect("flows can be ended");
        arena.finish();
    });
}
