//! Echo requests of a lab's host (RFC 792, "Echo or Echo Reply Message").

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Result;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::icmp;
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr};

use super::services::icmp_socket;
use super::{HostId, Lab};

impl Lab {
    /// One echo request from a host, and the time until its answer.
    pub fn ping(&mut self, from: HostId, to: Ipv4Addr) -> Result<Duration> {
        let host = self.get(from);
        let ident = host.port();
        let handle = host.add(icmp_socket(icmp::Endpoint::Ident(ident)));
        // The data tells this request from all others, whatever becomes of its identifier on the way.
        let data = ident.to_be_bytes().repeat(28);
        let request = Icmpv4Repr::EchoRequest { ident, seq_no: 1, data: &data };
        let mut bytes = vec![0; request.buffer_len()];
        request.emit(&mut Icmpv4Packet::new_unchecked(&mut bytes), &ChecksumCapabilities::default());
        host.get::<icmp::Socket<'_>>(handle).send_slice(&bytes, to.into())?;

        let sent = Instant::now();
        let reply = Icmpv4Repr::EchoReply { ident, seq_no: 1, data: &data };
        self.until(&format!("the echo of {to}"), |lab| {
            let (bytes, source) = lab.get(from).get::<icmp::Socket<'_>>(handle).recv().ok()?;
            let packet = Icmpv4Packet::new_checked(bytes).ok()?;
            let answer = Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()).ok()?;
            (source == to.into() && answer == reply).then_some(())
        })?;
        self.get(from).sockets.remove(handle);
        Ok(sent.elapsed())
    }
}
