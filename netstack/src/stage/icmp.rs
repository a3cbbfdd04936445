//! What the router says about packets that it cannot send on: ICMP errors and TCP resets. Read RFC 1812 4.3.2 first.
//!
//! What is made here is a whole frame whose MAC addresses are zero: the pipeline routes it and fills them in.

use crate::{
    exchange::Exchange,
    headers::{ETHERNET_HEADER, Fragment, Headers, Transport, tcp_flag},
    packet::Packet,
    table::token_bucket::{Rate, TokenBucket},
    wire::{
        checksum,
        ipv4::{IPV4_HEADER, OwnHeader},
    },
};
use alloc::{boxed::Box, vec};
use smoltcp::{
    time::Instant,
    wire::{IpAddress, IpProtocol, Ipv4Address, TcpPacket, TcpSeqNumber},
};

/// An error that the router reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpError {
    /// 3/0: no route.
    NetUnreachable,
    /// 3/1: the neighbour does not answer, or an `unreachable` route.
    HostUnreachable,
    /// 3/2.
    ProtocolUnreachable,
    /// 3/3.
    PortUnreachable,
    /// 3/4: larger than the MTU of the next hop, in bytes, and DF is set (RFC 1191 4).
    FragmentationNeeded {
        /// That MTU.
        mtu: u16,
    },
    /// 3/9.
    NetProhibited,
    /// 3/10.
    HostProhibited,
    /// 3/13: a rule, or a `prohibit` route.
    AdminProhibited,
    /// 11/0.
    TtlExceeded,
    /// 11/1.
    ReassemblyTimeExceeded,
    /// 12/0: the byte of the header that is wrong.
    ParameterProblem {
        /// Its offset.
        pointer: u8,
    },
}

impl IcmpError {
    /// Type and code.
    pub fn kind_and_code(self) -> (u8, u8) {
        match self {
            Self::NetUnreachable => (3, 0),
            Self::HostUnreachable => (3, 1),
            Self::ProtocolUnreachable => (3, 2),
            Self::PortUnreachable => (3, 3),
            Self::FragmentationNeeded { .. } => (3, 4),
            Self::NetProhibited => (3, 9),
            Self::HostProhibited => (3, 10),
            Self::AdminProhibited => (3, 13),
            Self::TtlExceeded => (11, 0),
            Self::ReassemblyTimeExceeded => (11, 1),
            Self::ParameterProblem { .. } => (12, 0),
        }
    }

    /// Bytes 4 to 7 of the ICMP header.
    fn parameter(self) -> [u8; 4] {
        match self {
            Self::FragmentationNeeded { mtu } => u32::from(mtu).to_be_bytes(),
            Self::ParameterProblem { pointer } => [pointer, 0, 0, 0],
            _ => [0; 4],
        }
    }
}

/// Whether an error may be reported about a packet (RFC 1812 4.3.2.7): never about an ICMP error, a broadcast or
/// multicast of either layer, a later fragment, or to a source that is no single host. `link_broadcast`: the frame was
/// sent to a group, or the destination is the broadcast address of one of our networks.
pub fn may_report(headers: &Headers, link_broadcast: bool) -> bool {
    let source = headers.source.octets()[0];
    let single_host = source != 0 && source != 127 && source < 224;
    let group = link_broadcast || headers.destination.is_multicast() || headers.destination.is_broadcast();
    // Of ICMP types that nobody knows, any may be an error (RFC 1122 3.2.2).
    let about_error = match headers.transport {
        Transport::IcmpError { .. } => true,
        Transport::IcmpOther { kind, .. } => kind > 18,
        _ => false,
    };
    single_host && !group && !about_error && headers.fragment != Fragment::Later
}

/// Makes ICMP errors, and sees to it that nobody makes the router send too many (RFC 1812 4.3.2.8).
pub struct IcmpErrors {
    /// Sets of four, by the keyed hash of the destination.
    per_destination: Box<[[(Ipv4Address, TokenBucket); 4]]>,
    key: u64,
    all: TokenBucket,
    /// Of the next error: these may be fragmented on their way.
    identification: u16,
}

impl IcmpErrors {
    /// Destinations whose rate is known at once: four times this.
    const SETS: usize = 256;
    /// Linux's `icmp_msgs_per_sec` and `icmp_msgs_burst`.
    const ALL: Rate = Rate::new(1000, 1, 50);
    /// Errors that one destination may get at once (Linux's `XRLIM_BURST_FACTOR`).
    const BURST: u32 = 6;
    /// RFC 1812 4.3.2.3: as much of the packet as fits a datagram of 576 bytes.
    const LARGEST: usize = 576;

    /// With a random `key` for the table of destinations.
    pub fn new(key: u64) -> Self {
        let empty = (Ipv4Address::UNSPECIFIED, TokenBucket::FULL);
        Self {
            per_destination: vec![[empty; 4]; Self::SETS].into_boxed_slice(),
            key: key | 1,
            all: TokenBucket::FULL,
            identification: (key >> 48) as u16,
        }
    }

    /// Whether the limits let an error go to `destination`; takes the tokens if so. `ratelimit` is the least time between two
    /// in milliseconds (`icmp_ratelimit`), 0: no limit. Fragmentation needed is never limited (as on Linux): path
    /// MTU discovery needs every one.
    pub fn admit(
        &mut self,
        error: IcmpError,
        destination: Ipv4Address,
        ratelimit: u32,
        now: Instant,
    ) -> bool {
        if matches!(error, IcmpError::FragmentationNeeded { .. }) {
            return true;
        }
        let hash = self.key.wrapping_mul(u64::from(destination.to_bits())) >> 32;
        let set = &mut self.per_destination[hash as usize % Self::SETS];
        let place = set.iter().position(|(address, _)| *address == destination).unwrap_or_else(|| {
            // The fullest bucket loses least by being forgotten.
            let fullest = (0..set.len()).min_by_key(|&place| set[place].1.full_at()).unwrap_or(0);
            set[fullest] = (destination, TokenBucket::FULL);
            fullest
        });
        set[place].1.take(now, Rate::every_millis(ratelimit, Self::BURST)) && self.all.take(now, Self::ALL)
    }

    /// The error about a packet, from `source`. The packet is quoted as it stands in `frame`, so let it be as it came.
    /// `None` without a free buffer. Ask [`may_report`] and [`IcmpErrors::admit`] first.
    pub fn build(
        &mut self,
        exchange: &mut Exchange,
        frame: &[u8],
        headers: &Headers,
        error: IcmpError,
        source: Ipv4Address,
    ) -> Option<Packet> {
        const ICMP_HEADER: usize = 8;
        let original = frame.get(headers.l3..headers.l3 + usize::from(headers.total_length))?;
        let quote = &original[..original.len().min(Self::LARGEST - IPV4_HEADER - ICMP_HEADER)];
        let mut packet =
            exchange.allocate_frame(ETHERNET_HEADER + IPV4_HEADER + ICMP_HEADER + quote.len())?;
        self.identification = self.identification.wrapping_add(1);
        let icmp = OwnHeader {
            source,
            destination: headers.source,
            protocol: IpProtocol::Icmp,
            // RFC 1812 4.3.2.5: precedence 6, and the type of service of the packet that it is about.
            tos: 0xc0 | headers.tos & 0x1e,
            ttl: 64,
            identification: self.identification,
            dont_fragment: false,
        }
        .write(packet.bytes_mut());
        let (kind, code) = error.kind_and_code();
        icmp[..4].copy_from_slice(&[kind, code, 0, 0]);
        icmp[4..8].copy_from_slice(&error.parameter());
        icmp[8..].copy_from_slice(quote);
        let sum = !checksum::sum(icmp);
        icmp[2..4].copy_from_slice(&sum.to_be_bytes());
        Some(packet)
    }
}

/// The reset that refuses a TCP segment, in the name of its destination (`REJECT --reject-with tcp-reset`; RFC 9293
/// 3.10.7.1). `None` where none may be sent: about a reset, a later fragment, or what [`may_report`] forbids; or
/// without a free buffer.
pub fn reset(exchange: &mut Exchange, headers: &Headers, link_broadcast: bool) -> Option<Packet> {
    const TCP_HEADER: usize = 20;
    let Transport::Tcp { source, destination, sequence, acknowledgment, flags, header_length, .. } =
        headers.transport
    else {
        return None;
    };
    if flags & tcp_flag::RST != 0 || !may_report(headers, link_broadcast) {
        return None;
    }
    let mut packet = exchange.allocate_frame(ETHERNET_HEADER + IPV4_HEADER + TCP_HEADER)?;
    let segment = OwnHeader {
        source: headers.destination,
        destination: headers.source,
        protocol: IpProtocol::Tcp,
        tos: 0,
        ttl: 64,
        identification: 0,
        dont_fragment: true,
    }
    .write(packet.bytes_mut());
    segment.fill(0);
    let mut tcp = TcpPacket::new_unchecked(segment);
    tcp.set_src_port(destination);
    tcp.set_dst_port(source);
    tcp.set_header_len(TCP_HEADER as u8);
    tcp.set_rst(true);
    if flags & tcp_flag::ACK != 0 {
        tcp.set_seq_number(TcpSeqNumber(acknowledgment as i32));
    } else {
        let payload =
            u32::from(headers.total_length) - headers.header_length() as u32 - u32::from(header_length);
        let controls = [tcp_flag::SYN, tcp_flag::FIN].into_iter().filter(|flag| flags & flag != 0).count();
        tcp.set_ack(true);
        tcp.set_ack_number(TcpSeqNumber(sequence.wrapping_add(payload + controls as u32) as i32));
    }
    tcp.fill_checksum(&IpAddress::Ipv4(headers.destination), &IpAddress::Ipv4(headers.source));
    Some(packet)
}
