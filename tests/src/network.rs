//! The network that most tests stand in: a gateway between a LAN, a provider and a DMZ, as Linux commands.
//!
//! ```text
//! ALICE .10 ─┐ 192.168.1.0/24            203.0.113.0/24
//! BOB   .11 ─┴─── eth0 .1 [router] eth1 .2 ─── PROVIDER .1 ─── SERVER 198.51.100.7, OTHER 198.51.100.8
//!                             eth2 .1 ─── 10.10.0.0/24 ─── WEB .5
//! ```

use smoltcp::wire::{EthernetAddress, Ipv4Address};

/// The card on the LAN, eth0.
pub const LAN: usize = 0;
/// The card on the provider's side, eth1.
pub const WAN: usize = 1;
/// The card on the DMZ, eth2.
pub const DMZ: usize = 2;

pub const ALICE: Ipv4Address = Ipv4Address::new(192, 168, 1, 10);
pub const BOB: Ipv4Address = Ipv4Address::new(192, 168, 1, 11);
pub const LAN_SIDE: Ipv4Address = Ipv4Address::new(192, 168, 1, 1);
pub const WAN_SIDE: Ipv4Address = Ipv4Address::new(203, 0, 113, 2);
pub const DMZ_SIDE: Ipv4Address = Ipv4Address::new(10, 10, 0, 1);
pub const PROVIDER: Ipv4Address = Ipv4Address::new(203, 0, 113, 1);
pub const SERVER: Ipv4Address = Ipv4Address::new(198, 51, 100, 7);
pub const OTHER: Ipv4Address = Ipv4Address::new(198, 51, 100, 8);
pub const WEB: Ipv4Address = Ipv4Address::new(10, 10, 0, 5);

/// A second address of the router on the WAN, where a test gives it one.
pub const SECOND_WAN_SIDE: Ipv4Address = Ipv4Address::new(203, 0, 113, 3);

/// The router's own address on each card.
pub const OWN: [Ipv4Address; 3] = [LAN_SIDE, WAN_SIDE, DMZ_SIDE];

/// Addresses, routes and neighbours; forwarding on, no rule, no limit on ICMP errors. Every neighbour is known for
/// good, so that ARP stays out of tests that are not about it.
pub const NETWORK: &str = "
ip addr add 192.168.1.1/24 dev eth0
ip addr add 203.0.113.2/24 dev eth1
ip addr add 10.10.0.1/24 dev eth2
ip link set eth0 up
ip link set eth1 up
ip link set eth2 up
ip route add default via 203.0.113.1
ip neigh add 192.168.1.10 lladdr 02:00:00:00:00:0a nud permanent dev eth0
ip neigh add 192.168.1.11 lladdr 02:00:00:00:00:0b nud permanent dev eth0
ip neigh add 203.0.113.1 lladdr 02:00:00:00:01:01 nud permanent dev eth1
ip neigh add 10.10.0.5 lladdr 02:00:00:00:02:05 nud permanent dev eth2
sysctl -w net.ipv4.ip_forward=1
sysctl -w net.ipv4.icmp_ratelimit=0
";

/// The home gateway's translation.
pub const MASQUERADE: &str = "iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE\n";

/// The MAC address of the router's card on `port`.
pub fn router_mac(port: usize) -> EthernetAddress {
    EthernetAddress([0x02, 0, 0, 0, 0xff, port as u8])
}

/// The MAC address of whoever has `address` on the wire of `port`, or of the one who sends for it there.
pub fn neighbor_mac(port: usize, address: Ipv4Address) -> EthernetAddress {
    let last = if port == WAN { 1 } else { address.octets()[3] };
    EthernetAddress([0x02, 0, 0, 0, port as u8, last])
}
