//! ARP at its worst: floods, spoofed stations, a whole /16 that has to be asked for. Read first: RFC 826; RFC 5227, 2.4.

use crate::{
    arena::{
        Arena, Attack,
        Fate::{Dropped, Endured},
        Side::{Lan, Wan},
        TOOLS,
    },
    dice::{Dice, INNER, LAPTOP, PROVIDER},
};
use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress, Ipv4Address};
use tests::{datagram::udp, namespace::in_namespace};

const ARP: u16 = 0x0806;

/// A wide network on the LAN, beside the usual one.
const WIDE: &str = "ip addr add 10.99.0.1/16 dev eth0
                    iptables -A INPUT -i eth0 -s 10.99.0.0/16 -j ACCEPT\n";

/// A station says that it has `address`, and asks or tells whoever has `target`.
fn claim(
    dice: &Dice,
    operation: ArpOperation,
    mac: EthernetAddress,
    address: Ipv4Address,
    target: Ipv4Address,
) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: mac,
        source_protocol_addr: address,
        target_hardware_addr: dice.router,
        target_protocol_addr: target,
    };
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(&mut ArpPacket::new_unchecked(&mut bytes));
    dice.frame(EthernetAddress::BROADCAST, ARP, bytes)
}

fn on_the_lan(dice: &mut Dice) -> Ipv4Address {
    Ipv4Address::from_bits(0x0a63_0100 + dice.below(0xfe00))
}

#[rustfmt::skip]
const ATTACKS: &[Attack] = &[
    // Each new asker would like to be in the table.
    Attack { what: "requests for the router from anybody", side: Lan, frames: 5_000, fate: Endured,
        make: |dice| { let (mac, address) = (dice.mac(), on_the_lan(dice)); claim(dice, ArpOperation::Request, mac, address, INNER) } },
    Attack { what: "answers that nobody asked for", side: Lan, frames: 5_000, fate: Endured,
        make: |dice| { let (mac, address) = (dice.mac(), on_the_lan(dice)); claim(dice, ArpOperation::Reply, mac, address, INNER) } },
    // Static entries never change.
    Attack { what: "somebody who says to be the laptop", side: Lan, frames: 5_000, fate: Endured,
        make: |dice| { let mac = dice.mac(); claim(dice, ArpOperation::Reply, mac, LAPTOP, INNER) } },
    Attack { what: "somebody who says to be the provider", side: Wan, frames: 5_000, fate: Endured,
        make: |dice| { let mac = dice.mac(); claim(dice, ArpOperation::Reply, mac, PROVIDER, PROVIDER) } },
    // It defends itself, now and then.
    Attack { what: "somebody who says to be the router", side: Lan, frames: 5_000, fate: Endured,
        make: |dice| { let mac = dice.mac(); claim(dice, ArpOperation::Request, mac, INNER, INNER) } },
    Attack { what: "requests for others", side: Lan, frames: 5_000, fate: Endured,
        make: |dice| { let (mac, address) = (dice.mac(), dice.stranger()); claim(dice, ArpOperation::Request, mac, address, LAPTOP) } },
    Attack { what: "ARP that is none", side: Lan, frames: 5_000, fate: Dropped(&["arp-malformed", "arp-ignored"]),
        make: |dice| { let content = dice.bytes(60); dice.frame(EthernetAddress::BROADCAST, ARP, content) } },
    // The router has to ask for each of them, and remembers as many as it has room for.
    Attack { what: "a sweep over a /16 that is not there", side: Lan, frames: 0xff00, fate: Endured,
        make: |dice| { let to = Ipv4Address::from_bits(0x0a63_0100 + dice.number as u32 % 0xfe00); dice.ip(udp((LAPTOP, 5000), (to, 9))) } },
];

#[test]
fn neighbors() {
    in_namespace(&TOOLS, || {
        let mut arena = Arena::new("neighbors", WIDE);
        arena.endure(ATTACKS);
        // A newcomer is found all the same.
        arena.site.laptop.sh("ip addr add 10.99.0.2/16 dev eth0; ping -q -c 1 -w 20 -I 10.99.0.2 10.99.0.1");
        arena.finish();
    });
}
