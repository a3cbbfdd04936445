//! The router's own addresses: what is delivered to them, and what it sends itself. Read RFC 1122 3.2 first.
//!
//! smoltcp's sockets on an interface without a link (`Medium::Ip`). What would let a stranger make the router talk without
//! end, or in words that RFC 1122 forbids, is refused before smoltcp sees it.

mod counting;
mod device;
mod probe;
mod reassembly;
#[cfg(test)]
mod tests;

pub use probe::{AnswerKind, Probe, ProbeAnswer, ProbeKind, ProbeSession};

use crate::{
    config::Config,
    counters::{Counter, Counters},
    exchange::Exchange,
    headers::{Checksum, ETHERNET_HEADER, Fragment, Headers, Transport, protocol, tcp_flag},
    outcome::DropReason,
    packet::Packet,
    stage::icmp::{IcmpError, IcmpErrors},
    wire::{checksum, ipv4::write_ethernet},
};
use alloc::{boxed::Box, vec::Vec};
use device::{Card, Egress};
use probe::Probes;
use reassembly::Reassembly;
use smoltcp::{
    iface::{Context, Interface, PollResult, SocketSet},
    socket::{Socket, tcp},
    time::Instant,
    wire::{HardwareAddress, IpAddress, IpCidr, IpProtocol, Ipv4Address},
};

/// The beginning of a packet, as a frame whose MAC addresses are zero.
fn beginning(exchange: &mut Exchange, packet: &[u8], headers: Headers) -> Option<(Packet, Headers)> {
    let quoted = &packet[..packet.len().min(IcmpErrors::LARGEST)];
    let mut frame = exchange.allocate_frame(ETHERNET_HEADER + quoted.len())?;
    write_ethernet(frame.bytes_mut());
    frame.bytes_mut()[ETHERNET_HEADER..].copy_from_slice(quoted);
    let (l3, l4) = (headers.l3 + ETHERNET_HEADER, headers.l4 + ETHERNET_HEADER);
    Some((frame, Headers { l3, l4, ..headers }))
}

/// What became of a packet for the router itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// The sockets have it, or had no use for it.
    Accepted,
    /// Nobody listens: tell the sender so.
    Error(IcmpError),
    /// No such connection: answer with a TCP reset.
    Reset,
    /// Dropped.
    Dropped(DropReason),
}

/// The sockets and what belongs to them.
pub struct Host {
    interface: Interface,
    sockets: SocketSet<'static>,
    egress: Egress,
    probes: Probes,
    /// Made with the first fragment.
    reassembly: Option<Box<Reassembly>>,
    /// The beginning of a packet that was put together, and refused.
    refused: Option<(Packet, Headers)>,
    /// For a frame that lies in several buffers.
    gathered: Vec<u8>,
    ignore_echo: bool,
    poll_at: Option<Instant>,
    counted: Counters,
}

impl Host {
    /// Packets that wait in [`Host::take_outgoing`] at most.
    pub const QUEUE: usize = device::QUEUE;

    /// A host without addresses. `random` seeds sequence numbers and identifications.
    pub fn new(random: &mut dyn rand_core::Rng, now: Instant) -> Self {
        let mut egress = Egress::new(random.next_u64());
        let mut config = smoltcp::iface::Config::new(HardwareAddress::Ip);
        config.random_seed = random.next_u64();
        let mut exchange = Exchange::new(0, 0);
        let mut card = Card { incoming: None, exchange: &mut exchange, egress: &mut egress };
        Self {
            interface: Interface::new(config, &mut card, now),
            sockets: SocketSet::new(Vec::new()),
            egress,
            probes: Probes::default(),
            reassembly: None,
            refused: None,
            gathered: Vec::new(),
            ignore_echo: false,
            poll_at: None,
            counted: Counters::default(),
        }
    }

    /// Takes over the addresses of all interfaces, up or down (as on Linux), and `icmp_echo_ignore_all`.
    pub fn set_config(&mut self, config: &Config) {
        self.ignore_echo = config.sysctl.icmp_echo_ignore_all;
        let own = |address: &Ipv4Address| {
            !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast()
        };
        let addresses = config.interfaces.iter().flat_map(|interface| &interface.addresses);
        self.interface.update_ip_addrs(|list| {
            list.clear();
            for cidr in addresses.map(|entry| entry.cidr).filter(|cidr| own(&cidr.address())) {
                if list.push(IpCidr::Ipv4(cidr)).is_err() {
                    log::warn!("more addresses than the router's own sockets can have: {cidr} is not served");
                }
            }
        });
    }

    /// Hands over a packet for one of the router's addresses, or for a broadcast address of its networks. Its IP header
    /// has been checked; this checks the rest. An answer, if there is one, waits in [`Host::take_outgoing`].
    pub fn deliver(
        &mut self,
        exchange: &mut Exchange,
        packet: &Packet,
        headers: &Headers,
        now: Instant,
    ) -> Delivery {
        if packet.is_contiguous() {
            return self.deliver_frame(exchange, packet.bytes(), headers, now);
        }
        let mut gathered = core::mem::take(&mut self.gathered);
        gathered.resize(packet.len(), 0);
        packet.copy_to(0, &mut gathered);
        let delivery = self.deliver_frame(exchange, &gathered, headers, now);
        self.gathered = gathered;
        delivery
    }

    fn deliver_frame(
        &mut self,
        exchange: &mut Exchange,
        frame: &[u8],
        headers: &Headers,
        now: Instant,
    ) -> Delivery {
        if headers.fragment == Fragment::Whole {
            return self.deliver_whole(exchange, frame, headers, now);
        }
        self.counted.count(Counter::IpReasmReqds);
        let mut reassembly = self.reassembly.take().unwrap_or_else(|| Box::new(Reassembly::new()));
        let delivery = match reassembly.add(frame, headers, now) {
            Ok(None) => Delivery::Accepted,
            Ok(Some(packet)) => match Headers::parse(packet, 0) {
                Ok(headers) => {
                    self.counted.count(Counter::IpReasmOKs);
                    let delivery = self.deliver_whole(exchange, packet, &headers, now);
                    if matches!(delivery, Delivery::Error(_) | Delivery::Reset) {
                        self.refused = beginning(exchange, packet, headers);
                    }
                    delivery
                }
                Err(reason) => Delivery::Dropped(reason),
            },
            Err(reason) => {
                self.counted.count(Counter::IpReasmFails);
                Delivery::Dropped(reason)
            }
        };
        self.reassembly = Some(reassembly);
        delivery
    }

    /// The packet whose last fragment was refused just now, as far as an error would quote it.
    pub fn take_refused(&mut self) -> Option<(Packet, Headers)> {
        self.refused.take()
    }

    /// Gives up one packet that is still not whole after 30 s. Gives its first fragment, where that has come, as a frame whose
    /// MAC addresses are zero: its sender is to be told (RFC 1122 3.3.2). Call until it gives nothing.
    pub fn expire(&mut self, exchange: &mut Exchange, now: Instant) -> Option<Option<Packet>> {
        let first = self.reassembly.as_mut()?.expire(now)?;
        self.counted.count(Counter::IpReasmTimeout);
        self.counted.count(Counter::IpReasmFails);
        Some(first.and_then(|fragment| {
            let mut packet = exchange.allocate_frame(ETHERNET_HEADER + fragment.len())?;
            write_ethernet(packet.bytes_mut());
            packet.bytes_mut()[ETHERNET_HEADER..].copy_from_slice(fragment);
            Some(packet)
        }))
    }

    fn deliver_whole(
        &mut self,
        exchange: &mut Exchange,
        frame: &[u8],
        headers: &Headers,
        now: Instant,
    ) -> Delivery {
        let delivery = self.hand_over(exchange, frame, headers, now);
        self.count(frame, headers, delivery);
        delivery
    }

    fn hand_over(
        &mut self,
        exchange: &mut Exchange,
        frame: &[u8],
        headers: &Headers,
        now: Instant,
    ) -> Delivery {
        if let Err(refused) = self.screen(frame, headers) {
            return refused;
        }
        self.probes.hear(frame, headers, now);
        if !self.egress.has_room() {
            return Delivery::Dropped(DropReason::HostQueueFull);
        }
        if exchange.available() == 0 {
            return Delivery::Dropped(DropReason::NoBuffer);
        }
        let packet = &frame[headers.l3..headers.l3 + usize::from(headers.total_length)];
        let mut card = Card { incoming: Some(packet), exchange, egress: &mut self.egress };
        self.interface.poll_ingress_single(now, &mut card, &mut self.sockets);
        self.poll_at = self.interface.poll_at(now, &self.sockets);
        Delivery::Accepted
    }

    /// What smoltcp need not see, and what it would answer otherwise than it should.
    fn screen(&self, frame: &[u8], headers: &Headers) -> Result<(), Delivery> {
        let segment = &frame[headers.l4..headers.l3 + usize::from(headers.total_length)];
        if !checksum_holds(segment, headers) {
            return Err(Delivery::Dropped(DropReason::TransportChecksum));
        }
        let to_group = !self.interface.has_ip_addr(headers.destination);
        match headers.transport {
            Transport::Udp { destination, .. } => {
                if !self.hears_udp(headers.destination, destination, to_group) {
                    return Err(Delivery::Error(IcmpError::PortUnreachable));
                }
                Ok(())
            }
            // 0.0.0.0 says "not yet known" (RFC 1122 3.2.1.3 (a)), and only DHCP has a use for that.
            _ if headers.source.is_unspecified() => Err(Delivery::Dropped(DropReason::MartianSource)),
            // RFC 1122 4.2.3.10 for TCP; RFC 1122 3.2.2.6 lets echo be ignored, and that keeps us out of smurf attacks.
            Transport::Tcp { .. } if to_group => Err(Delivery::Dropped(DropReason::DirectedBroadcast)),
            Transport::IcmpQuery { .. } if to_group => Err(Delivery::Dropped(DropReason::EchoIgnored)),
            Transport::IcmpQuery { kind: 8, .. } if self.ignore_echo => {
                Err(Delivery::Dropped(DropReason::EchoIgnored))
            }
            Transport::Tcp { .. } if !self.hears_tcp(headers) => Err(Delivery::Reset),
            Transport::Other if !self.hears_protocol(headers.protocol) => {
                Err(Delivery::Error(IcmpError::ProtocolUnreachable))
            }
            _ => Ok(()),
        }
    }

    fn hears_udp(&self, address: Ipv4Address, port: u16, to_group: bool) -> bool {
        self.sockets.iter().any(|(_, socket)| match socket {
            Socket::Udp(socket) => {
                let endpoint = socket.endpoint();
                let bound_here = endpoint.addr.is_none_or(|own| own == IpAddress::Ipv4(address) || to_group);
                endpoint.port == port && bound_here
            }
            Socket::Raw(socket) => socket.ip_protocol() == Some(IpProtocol::Udp),
            _ => false,
        })
    }

    /// Whether a connection or a listener takes the segment, as smoltcp decides it.
    fn hears_tcp(&self, headers: &Headers) -> bool {
        let Transport::Tcp { source, destination, flags, .. } = headers.transport else { return false };
        let local = IpAddress::Ipv4(headers.destination);
        let opens = flags & (tcp_flag::SYN | tcp_flag::ACK | tcp_flag::RST) == tcp_flag::SYN;
        self.sockets.iter().any(|(_, socket)| match socket {
            Socket::Tcp(socket) if socket.state() == tcp::State::Listen => {
                let endpoint = socket.listen_endpoint();
                opens && endpoint.port == destination && endpoint.addr.is_none_or(|own| own == local)
            }
            Socket::Tcp(socket) => {
                let remote = (IpAddress::Ipv4(headers.source), source);
                socket.local_endpoint().is_some_and(|own| (own.addr, own.port) == (local, destination))
                    && socket.remote_endpoint().is_some_and(|peer| (peer.addr, peer.port) == remote)
            }
            Socket::Raw(socket) => socket.ip_protocol() == Some(IpProtocol::Tcp),
            _ => false,
        })
    }

    fn hears_protocol(&self, number: u8) -> bool {
        self.sockets.iter().any(|(_, socket)| match socket {
            Socket::Raw(socket) => socket.ip_protocol().is_none_or(|own| own == IpProtocol::from(number)),
            _ => false,
        })
    }

    /// Lets the sockets send what they have, as far as there is room.
    pub fn poll(&mut self, exchange: &mut Exchange, now: Instant) {
        while self.egress.has_room() && exchange.available() > 0 {
            let mut card = Card { incoming: None, exchange, egress: &mut self.egress };
            if self.interface.poll_egress(now, &mut card, &mut self.sockets) == PollResult::None {
                break;
            }
        }
        self.poll_at = self.interface.poll_at(now, &self.sockets);
    }

    /// When [`Host::poll`], [`Host::take_outgoing`] or [`Host::expire`] has something to do; a time in the past means at
    /// once.
    pub fn poll_at(&self) -> Option<Instant> {
        if !self.egress.is_empty() {
            return Some(Instant::ZERO);
        }
        let reassembly = self.reassembly.as_ref().and_then(|reassembly| reassembly.poll_at());
        [self.poll_at, reassembly].into_iter().flatten().min()
    }

    /// The next packet that the router sends itself: a frame whose MAC addresses are zero, to be routed.
    pub fn take_outgoing(&mut self) -> Option<Packet> {
        self.egress.pop()
    }

    /// Works with the sockets; [`Host::poll`] is due afterwards.
    pub fn with_sockets<R>(&mut self, work: impl FnOnce(&mut Context, &mut SocketSet<'static>) -> R) -> R {
        self.poll_at = Some(Instant::ZERO);
        work(self.interface.context(), &mut self.sockets)
    }

    /// Ports that the router itself uses, as protocol number and port: a translation must not take them.
    pub fn local_ports(&self) -> impl Iterator<Item = (u8, u16)> {
        let sockets = self.sockets.iter().filter_map(|(_, socket)| match socket {
            Socket::Udp(socket) => Some((protocol::UDP, socket.endpoint().port)),
            Socket::Tcp(socket) => {
                let port = socket.local_endpoint().map_or(socket.listen_endpoint().port, |own| own.port);
                Some((protocol::TCP, port))
            }
            _ => None,
        });
        sockets.filter(|(_, port)| *port != 0).chain(self.probes.ports().map(|port| (protocol::UDP, port)))
    }

    /// Opens a session for `ping` or `traceroute`. `None` where too many are open.
    pub fn open_probe(
        &mut self,
        kind: ProbeKind,
        source: Ipv4Address,
        destination: Ipv4Address,
        random: &mut dyn rand_core::Rng,
    ) -> Option<ProbeSession> {
        // As a source port it keeps clear of the ports of services.
        let identifiers = core::iter::repeat_with(|| random.next_u32() as u16 | 0x8000).take(64);
        let used: Vec<u16> = self.local_ports().map(|(_, port)| port).collect();
        self.probes.open(kind, source, destination, identifiers.filter(|one| !used.contains(one)))
    }

    /// Sends a probe: it waits in [`Host::take_outgoing`].
    ///
    /// # Errors
    /// `HostQueueFull`; `NoBuffer`; `FragmentationNeeded` with DF set where no buffer is long enough, or the packet would be
    /// longer than 65,535 bytes; `NoListener` for a session that is closed.
    pub fn send_probe(
        &mut self,
        exchange: &mut Exchange,
        session: ProbeSession,
        probe: Probe,
        now: Instant,
    ) -> Result<(), DropReason> {
        if !self.egress.has_room() {
            return Err(DropReason::HostQueueFull);
        }
        if exchange.available() == 0 {
            return Err(DropReason::NoBuffer);
        }
        let length = probe.packet_length();
        let fits = exchange
            .allocate_frame(ETHERNET_HEADER + length)
            .map(|packet| exchange.recycle(packet))
            .is_some();
        if length > usize::from(u16::MAX) || probe.dont_fragment && !fits {
            return Err(DropReason::FragmentationNeeded);
        }
        let write = self.probes.send(session, probe, now).ok_or(DropReason::NoListener)?;
        self.egress.emit(exchange, length, probe.dont_fragment, write);
        Ok(())
    }

    /// The next answer to a session's probes.
    pub fn take_answer(&mut self, session: ProbeSession) -> Option<ProbeAnswer> {
        self.probes.take_answer(session)
    }

    /// Ends a session.
    pub fn close_probe(&mut self, session: ProbeSession) {
        self.probes.close(session);
    }
}

/// Whether the checksum of the transport layer is right (RFC 768: a UDP checksum of 0 says that there is none). One that is
/// yet to be completed has nothing to protect: the packet never was on a wire.
fn checksum_holds(segment: &[u8], headers: &Headers) -> bool {
    let pseudo_header =
        |length: u16| checksum::pseudo_header(headers.source, headers.destination, headers.protocol, length);
    if headers.checksum != Checksum::Unknown {
        return true;
    }
    match headers.transport {
        Transport::Udp { checksummed: false, .. } | Transport::Other => true,
        Transport::Udp { .. } => {
            let length = u16::from_be_bytes([segment[4], segment[5]]);
            let datagram = segment.get(..usize::from(length));
            datagram.is_some_and(|bytes| {
                checksum::together(pseudo_header(length), checksum::sum(bytes)) == 0xffff
            })
        }
        Transport::Tcp { .. } => {
            checksum::together(pseudo_header(segment.len() as u16), checksum::sum(segment)) == 0xffff
        }
        Transport::IcmpQuery { .. } | Transport::IcmpError { .. } | Transport::IcmpOther { .. } => {
            checksum::sum(segment) == 0xffff
        }
    }
}
