//! A datagram to a closed port: the error that comes back is translated, outside and in its quote (RFC 5508, 4).

use anyhow::{Result, ensure};
use qemu::lab::services::{icmp_socket, udp_socket};
use smoltcp::socket::icmp;

use super::traceroute::quotes;
use super::{Demo, LAPTOP, OUTSIDE, WAN, WEB};

const CLOSED: u16 = 9;

pub fn run(demo: &mut Demo) -> Result<String> {
    let laptop = demo.laptop;
    let host = demo.lab.get(laptop);
    let port = host.port();
    let errors = host.add(icmp_socket(icmp::Endpoint::Udp(port.into())));
    let mut socket = udp_socket();
    socket.bind(port)?;
    socket.send_slice(b"anyone there?", (WEB, CLOSED))?;
    host.add(socket);
    demo.lab.until("the error about a closed port", |lab| {
        let (bytes, source) = lab.get(laptop).get::<icmp::Socket<'_>>(errors).recv().ok()?;
        (source == WEB.into() && quotes(bytes, LAPTOP)).then_some(())
    })?;
    let mut errors = demo.lab.segments[WAN].seen.iter().filter(|sighting| !sighting.from_router);
    let outer = errors.any(|sighting| sighting.frame.len() > 42 && quotes(&sighting.frame[34..], OUTSIDE));
    ensure!(outer, "no error that quotes {OUTSIDE} was seen on the WAN");
    Ok(format!("{WEB} says port {CLOSED} is closed; it quoted {OUTSIDE}, and the laptop reads {LAPTOP}"))
}
