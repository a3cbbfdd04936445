//! A router between two neighbours that it knows for good, so that no ARP is counted, and datagrams through it.

use std::net::Ipv4Addr;

use anyhow::Result;
use qemu::lab::{Lab, Plan};
use smoltcp::wire::EthernetAddress;

use super::Bench;
use super::frame::Path;
use super::guest::Guest;

const NETWORK: &str = "
ip addr add 192.168.1.1/24 dev eth0
ip addr add 203.0.113.1/24 dev eth1
ip link set eth0 up
ip link set eth1 up
ip route add default via 203.0.113.254
sysctl -w net.ipv4.ip_forward=1
";
/// A stateful firewall with a masquerade.
pub const MASQUERADE: &str = "
iptables -P FORWARD DROP
iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A FORWARD -i eth0 -j ACCEPT
iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
";
const LAPTOP_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0x0a]);
const LAPTOP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const GATEWAY_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 1, 1]);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 254);
/// The first of those that are spoken to.
const WEB: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// What the router is to be, with further commands.
pub fn plan(guest: &Guest, bench: &Bench, name: &str, commands: &str) -> Result<Plan> {
    let (laptop, gateway) =
        (guest.neighbour(LAPTOP, LAPTOP_MAC, "eth0"), guest.neighbour(GATEWAY, GATEWAY_MAC, "eth1"));
    let plan = guest.plan(name, &format!("{NETWORK}{laptop}{gateway}{commands}"))?;
    Ok(Plan { board: bench.board.clone(), ..plan })
}

/// Puts a datagram on the LAN's cable, from `port` of the laptop to the host with number `web` beyond the WAN.
pub fn send(lab: &mut Lab, port: u16, web: u32) -> Result<()> {
    let web = Ipv4Addr::from_bits(WEB.to_bits() + web);
    let path = Path { macs: (LAPTOP_MAC, lab.segments[0].router), addresses: (LAPTOP, web) };
    lab.inject(0, &path.datagram(port))
}
