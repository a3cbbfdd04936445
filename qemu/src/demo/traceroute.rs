//! The hops from the laptop to the web server, by probes whose TTL runs out (RFC 792, "Time Exceeded").

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use qemu::lab::services::{icmp_socket, udp_socket};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::{icmp, udp};
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, IpAddress};

use super::{Demo, INSIDE, LAPTOP, WEB};

/// The port of traceroute's first probe.
const FIRST_PORT: u16 = 33434;

pub fn run(demo: &mut Demo) -> Result<String> {
    let hops = [probe(demo, 1)?, probe(demo, 2)?];
    ensure!(hops == [INSIDE, WEB], "the hops are {hops:?}");
    Ok(format!("1 {}, 2 {}", hops[0], hops[1]))
}

/// Sends a probe, and gives the sender of the error about it. The error must quote what the laptop sent.
fn probe(demo: &mut Demo, ttl: u8) -> Result<Ipv4Addr> {
    let laptop = demo.laptop;
    let host = demo.lab.get(laptop);
    let port = host.port();
    let errors = host.add(icmp_socket(icmp::Endpoint::Udp(port.into())));
    let mut socket = udp_socket();
    socket.set_hop_limit(Some(ttl));
    socket.bind(port)?;
    socket.send_slice(format!("probe with TTL {ttl}").as_bytes(), (WEB, FIRST_PORT + u16::from(ttl)))?;
    let probe = host.add(socket);
    let hop = demo.lab.until(&format!("an error about the probe with TTL {ttl}"), |lab| {
        let (bytes, source) = lab.get(laptop).get::<icmp::Socket<'_>>(errors).recv().ok()?;
        let IpAddress::Ipv4(source) = source;
        quotes(bytes, LAPTOP).then_some(source)
    });
    demo.lab.get(laptop).get::<udp::Socket<'_>>(probe).close();
    hop
}

/// An ICMP error quotes a packet from `source`.
pub fn quotes(error: &[u8], source: Ipv4Addr) -> bool {
    let Ok(packet) = Icmpv4Packet::new_checked(error) else { return false };
    match Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()) {
        Ok(Icmpv4Repr::TimeExceeded { header, .. } | Icmpv4Repr::DstUnreachable { header, .. }) => {
            header.src_addr == source
        }
        _ => false,
    }
}
