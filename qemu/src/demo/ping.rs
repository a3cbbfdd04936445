//! Echo requests from the laptop to the web server, and the answers (RFC 792).

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use qemu::lab::HostId;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::icmp;
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr};

use super::{Demo, OUTSIDE, WAN, WEB};

const COUNT: u16 = 5;

pub fn run(demo: &mut Demo) -> Result<String> {
    let mut times = Vec::new();
    for _ in 0..COUNT {
        times.push(once(demo, demo.laptop, WEB)?);
    }
    times.sort();
    let sources = demo.lab.segments[WAN].seen.iter().filter(|sighting| sighting.from_router);
    let masqueraded = sources.filter(|sighting| sighting.frame[26..30] == OUTSIDE.octets()).count();
    ensure!(masqueraded >= COUNT.into(), "only {masqueraded} requests came from {OUTSIDE}");
    Ok(format!(
        "{COUNT} of {COUNT} answers from {WEB}, which saw {OUTSIDE}; median {:.1?}",
        times[times.len() / 2]
    ))
}

/// A socket for ICMP messages.
pub fn socket(endpoint: icmp::Endpoint) -> icmp::Socket<'static> {
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 8], vec![0; 4096]);
    let mut socket = icmp::Socket::new(buffer(), buffer());
    socket.bind(endpoint).expect("a new socket binds");
    socket
}

/// One echo request, and the time until its answer.
pub fn once(demo: &mut Demo, from: HostId, to: Ipv4Addr) -> Result<Duration> {
    let host = demo.lab.get(from);
    let ident = host.port();
    let handle = host.add(socket(icmp::Endpoint::Ident(ident)));
    // The data tells this request from all others, whatever becomes of its identifier on the way.
    let data = ident.to_be_bytes().repeat(28);
    let request = Icmpv4Repr::EchoRequest { ident, seq_no: 1, data: &data };
    let mut bytes = vec![0; request.buffer_len()];
    request.emit(&mut Icmpv4Packet::new_unchecked(&mut bytes), &ChecksumCapabilities::default());
    host.get::<icmp::Socket<'_>>(handle).send_slice(&bytes, to.into())?;

    let sent = Instant::now();
    let reply = Icmpv4Repr::EchoReply { ident, seq_no: 1, data: &data };
    demo.lab.until(&format!("the echo of {to}"), |lab| {
        let (bytes, source) = lab.get(from).get::<icmp::Socket<'_>>(handle).recv().ok()?;
        let packet = Icmpv4Packet::new_checked(bytes).ok()?;
        let answer = Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()).ok()?;
        (source == to.into() && answer == reply).then_some(())
    })?;
    Ok(sent.elapsed())
}
