//! Packets of protocols that the router does not speak: right ones and malformed ones must do no harm. Read first: RFC
//! 7348, 5; RFC 9568, 5; RFC 2131, 2; RFC 1035, 4.

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
    datagram::{other, udp},
    namespace::in_namespace,
};

const IPV4: u16 = 0x0800;
const VRRP: u8 = 112;
const VRRP_GROUP: Ipv4Address = Ipv4Address::new(224, 0, 0, 18);
const VRRP_MAC: EthernetAddress = EthernetAddress([1, 0, 0x5e, 0, 0, 18]);

/// A good beginning, with some of it spoiled, and a random end.
fn spoiled(dice: &mut Dice, good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let at = dice.below(bytes.len() as u32) as usize;
    bytes[at] ^= dice.word() as u8;
    bytes.truncate(dice.below(bytes.len() as u32 + 1) as usize);
    bytes.extend(dice.bytes(300));
    bytes
}

#[rustfmt::skip]
const ATTACKS: &[Attack] = &[
    // Flags, VNI 42, and an inner frame.
    Attack { what: "VXLAN", side: Wan, frames: 5_000, fate: Dropped(&["firewall-policy"]),
        make: |dice| { let content = spoiled(dice, &[8, 0, 0, 0, 0, 0, 42, 0, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0]);
            let port = dice.port(); dice.ip(udp((SERVER, port), (OUTER, 4789)).payload(content)) } },
    // A master of priority 255 for the router's own address.
    Attack { what: "a rogue VRRP master", side: Lan, frames: 5_000, fate: Dropped(&["multicast"]),
        make: |dice| { let content = spoiled(dice, &[0x31, 1, 255, 1, 0, 100, 0, 0, 192, 168, 1, 1]);
            let packet = other(LAPTOP, VRRP_GROUP, VRRP, &content).ttl(255); dice.frame(VRRP_MAC, IPV4, packet.bytes()) } },
    Attack { what: "DHCP from clients without an address", side: Lan, frames: 5_000, fate: Balanced,
        make: |dice| { let mac = dice.mac(); let mut good = vec![1, 1, 6, 0]; good.extend([0; 24]); good.extend(mac.0); good.extend([0; 202]);
            good.extend([99, 130, 83, 99, 53, 1, 1, 255]); let content = spoiled(dice, &good);
            let packet = udp((Ipv4Address::UNSPECIFIED, 68), (Ipv4Address::BROADCAST, 67)).payload(content);
            dice.frame(EthernetAddress::BROADCAST, IPV4, packet.bytes()) } },
    Attack { what: "DHCP from a rogue server", side: Wan, frames: 5_000, fate: Balanced,
        make: |dice| { let content = spoiled(dice, &[2, 1, 6, 0, 1, 2, 3, 4]);
            dice.ip(udp((PROVIDER, 67), (OUTER, 68)).payload(content)) } },
    // A question for the longest name, whose compression points to itself.
    Attack { what: "DNS questions", side: Lan, frames: 5_000, fate: Balanced,
        make: |dice| { let content = spoiled(dice, &[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1]);
            let port = dice.port(); dice.ip(udp((LAPTOP, port), (INNER, 53)).payload(content)) } },
    Attack { what: "DNS answers that nobody asked for", side: Wan, frames: 5_000, fate: Dropped(&["firewall-policy"]),
        make: |dice| { let content = spoiled(dice, &[0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1]);
            let port = dice.port() | 0x8000; dice.ip(udp((SERVER, 53), (OUTER, port)).payload(content)) } },
    Attack { what: "tunnels, routing protocols, group management", side: Wan, frames: 5_000, fate: Balanced,
        make: |dice| { let (protocol, content) = (dice.one_of(&[2, 4, 41, 47, 50, 51, 89, 103, 115, 132]), dice.bytes(200));
            dice.ip(other(SERVER, OUTER, protocol, &content)) } },
    Attack { what: "spanning tree, LLDP, pause frames", side: Lan, frames: 5_000, fate: Dropped(&["ethertype-unknown"]),
        make: |dice| { let (last, kind) = dice.one_of(&[(0, 38), (14, 0x88cc), (1, 0x8808)]); let content = dice.bytes(100);
            dice.frame(EthernetAddress([1, 0x80, 0xc2, 0, 0, last]), kind, content) } },
    Attack { what: "IPv6 and VLAN tags", side: Lan, frames: 5_000, fate: Dropped(&["ethertype-unknown"]),
        make: |dice| { let kind = dice.one_of(&[0x86dd, 0x8100, 0x88a8]); let content = dice.bytes(100); dice.frame(dice.router, kind, content) } },
];

#[test]
fn strangers() {
    in_namespace(&TOOLS, || {
        let mut arena = Arena::new("strangers", "");
        arena.endure(ATTACKS);
        arena.finish();
    });
}
