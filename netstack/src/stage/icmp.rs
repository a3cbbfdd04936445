//! What the router says about packets that it cannot send on: ICMP errors and TCP resets. Read RFC 1812 4.3.2 first.
//!
//! What is made here is a whole frame whose MAC addresses are zero: the pipeline routes it and fills them in.

use crate::{
    config::sysctl::Sysctl,
    exchange::Exchange,
    headers::{ETHERNET_HEADER, Fragment, Headers, Transport, tcp_flag},
    packet::Packet,
    table::token_bucket::{Rate, TokenBucket},
    wire::{
        checksum,
        ipv4::{IPV4_HEADER, Identifications, OwnHeader},
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
    identifications: Identifications,
}

impl IcmpErrors {
    /// Destinations whose rate is known at once: four times this.
    const SETS: usize = 256;
    /// Errors that one destination may get at once (Linux's `XRLIM_BURST_FACTOR`).
    const BURST: u32 = 6;
    /// RFC 1812 4.3.2.3: as much of the packet as fits a datagram of 576 bytes.
    pub(crate) const LARGEST: usize = 576;

    /// With a random `key` for the table of destinations.
    pub fn new(key: u64) -> Self {
        let empty = (Ipv4Address::UNSPECIFIED, TokenBucket::FULL);
        Self {
            per_destination: vec![[empty; 4]; Self::SETS].into_boxed_slice(),
            key: key | 1,
            all: TokenBucket::FULL,
            identifications: Identifications::new(!key),
        }
    }

    /// Whether the limits let a message of this type and code go to `destination`; takes the tokens if so. As on Linux,
    /// types that `icmp_ratemask` does not name are not limited at all, and neither is fragmentation needed: path MTU
    /// discovery needs every one.
    pub fn admit(
        &mut self,
        (kind, code): (u8, u8),
        destination: Ipv4Address,
        limits: &Sysctl,
        now: Instant,
    ) -> bool {
        const FRAGMENTATION_NEEDED: (u8, u8) = (3, 4);
        if !limits.limits_icmp(kind) || (kind, code) == FRAGMENTATION_NEEDED {
            return true;
        }
        if limits.icmp_msgs_per_sec == 0 || limits.icmp_msgs_burst == 0 {
            return false;
        }
        let one = Rate::every_millis(limits.icmp_ratelimit, Self::BURST);
        let all = Rate::new(limits.icmp_msgs_per_sec, 1, limits.icmp_msgs_burst);
        let hash = self.key.wrapping_mul(u64::from(destination.to_bits())) >> 32;
        let set = &mut self.per_destination[hash as usize % Self::SETS];
        let place = set.iter().position(|(address, _)| *address == destination).unwrap_or_else(|| {
            // The fullest bucket loses least by being forgotten.
            let fullest = (0..set.len()).min_by_key(|&place| set[place].1.full_at()).unwrap_or(0);
            set[fullest] = (destination, TokenBucket::FULL);
            fullest
        });
        set[place].1.take(now, one) && self.all.take(now, all)
    }

    /// The error about a packet, from `source`. The packet is quoted as it stands in `frame`, or the beginning of it, so
    /// let it be as it came.
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
        let original = frame.get(headers.l3..)?;
        let length = original.len().min(headers.total_length.into());
        let quote = &original[..length.min(Self::LARGEST - IPV4_HEADER - ICMP_HEADER)];
        let mut packet =
            exchange.allocate_frame(ETHERNET_HEADER + IPV4_HEADER + ICMP_HEADER + quote.len())?;
        let icmp = OwnHeader {
            source,
            destination: headers.source,
            protocol: IpProtocol::Icmp,
            // RFC 1812 4.3.2.5: precedence 6, and the type of service of the packet that it is about.
            tos: 0xc0 | headers.tos & 0x1e,
            ttl: 64,
            identification: self.identifications.draw(),
            dont_fragment: false,
        }
        .write_frame(packet.bytes_mut());
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
    .write_frame(packet.bytes_mut());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{headers::protocol, test_support::udp_frame};
    use alloc::vec::Vec;

    const ROUTER: Ipv4Address = Ipv4Address::new(192, 168, 1, 1);

    fn parse(frame: &[u8]) -> Headers {
        Headers::parse(frame, ETHERNET_HEADER).unwrap()
    }

    /// An exchange whose one buffer is dirty.
    fn exchange() -> Exchange {
        let mut exchange = Exchange::new(1, 1514);
        let mut packet = exchange.allocate().unwrap();
        packet.storage_mut().fill(0xa5);
        exchange.recycle(packet);
        exchange
    }

    fn error_about(frame: &[u8], error: IcmpError) -> Vec<u8> {
        let mut errors = IcmpErrors::new(1);
        errors.build(&mut exchange(), frame, &parse(frame), error, ROUTER).unwrap().bytes().to_vec()
    }

    #[test]
    fn an_error_is_a_whole_packet_that_quotes_the_one_it_is_about() {
        let frame = udp_frame(100);
        let error = error_about(&frame, IcmpError::TtlExceeded);
        assert_eq!(error[..14], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x08, 0x00]);
        let headers = parse(&error);
        assert_eq!((headers.source, headers.destination), (ROUTER, parse(&frame).source));
        assert_eq!((headers.ttl, headers.tos, headers.dont_fragment), (64, 0xc0, false));
        assert_eq!(headers.icmp(), Some((11, 0)));
        assert_eq!(checksum::sum(&error[34..]), 0xffff);
        assert_eq!(error[38..42], [0; 4], "unused");
        assert_eq!(error[42..], frame[14..]);
    }

    #[test]
    fn a_long_packet_is_quoted_as_far_as_576_bytes_go() {
        let frame = udp_frame(1400);
        let error = error_about(&frame, IcmpError::NetUnreachable);
        assert_eq!(parse(&error).total_length, 576);
        assert_eq!(error[42..], frame[14..14 + 548]);
    }

    #[test]
    fn each_error_has_its_type_its_code_and_its_parameter() {
        let frame = udp_frame(0);
        for (error, expected) in [
            (IcmpError::NetUnreachable, [3, 0, 0, 0, 0, 0]),
            (IcmpError::HostUnreachable, [3, 1, 0, 0, 0, 0]),
            (IcmpError::ProtocolUnreachable, [3, 2, 0, 0, 0, 0]),
            (IcmpError::PortUnreachable, [3, 3, 0, 0, 0, 0]),
            (IcmpError::FragmentationNeeded { mtu: 1400 }, [3, 4, 0, 0, 0x05, 0x78]),
            (IcmpError::NetProhibited, [3, 9, 0, 0, 0, 0]),
            (IcmpError::HostProhibited, [3, 10, 0, 0, 0, 0]),
            (IcmpError::AdminProhibited, [3, 13, 0, 0, 0, 0]),
            (IcmpError::ReassemblyTimeExceeded, [11, 1, 0, 0, 0, 0]),
            (IcmpError::ParameterProblem { pointer: 20 }, [12, 0, 20, 0, 0, 0]),
        ] {
            let made = error_about(&frame, error);
            assert_eq!([made[34], made[35], made[38], made[39], made[40], made[41]], expected, "{error:?}");
        }
    }

    #[test]
    fn nothing_is_said_where_rfc_1812_forbids_it() {
        let good = parse(&udp_frame(8));
        let with = |change: &dyn Fn(&mut Headers)| {
            let mut headers = good.clone();
            change(&mut headers);
            may_report(&headers, false)
        };
        assert!(may_report(&good, false));
        assert!(with(&|headers| headers.fragment = Fragment::First));
        assert!(
            with(&|headers| headers.transport = Transport::IcmpQuery { kind: 8, code: 0, identifier: 1 })
        );
        assert!(!may_report(&good, true), "the frame was a broadcast");
        assert!(!with(&|headers| headers.fragment = Fragment::Later));
        assert!(!with(&|headers| headers.transport = Transport::IcmpError { kind: 3, code: 3 }));
        assert!(!with(&|headers| headers.transport = Transport::IcmpOther { kind: 40, code: 0 }));
        for destination in [[255; 4], [224, 0, 0, 5]] {
            assert!(!with(&|headers| headers.destination = destination.into()), "{destination:?}");
        }
        for source in [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255; 4]] {
            assert!(!with(&|headers| headers.source = source.into()), "{source:?}");
        }
    }

    /// How many of so many errors in a row are let through.
    fn admitted(
        errors: &mut IcmpErrors,
        error: IcmpError,
        limits: &Sysctl,
        destinations: impl Iterator<Item = u32>,
        at: i64,
    ) -> usize {
        let (message, now) = (error.kind_and_code(), Instant::from_secs(at));
        let address = |one| Ipv4Address::from_bits(0x0a00_0000 + one);
        destinations.filter(|&one| errors.admit(message, address(one), limits, now)).count()
    }

    /// How many of 200 at once are let through to one destination, and to as many.
    fn admitted_at_once(error: IcmpError, limits: &Sysctl) -> (usize, usize) {
        let same = core::iter::repeat_n(1, 200);
        (
            admitted(&mut IcmpErrors::new(7), error, limits, same, 100),
            admitted(&mut IcmpErrors::new(7), error, limits, 0..200, 100),
        )
    }

    #[test]
    fn one_destination_gets_six_at_once_and_then_one_each_second() {
        let (mut errors, limits) = (IcmpErrors::new(7), Sysctl::default());
        let same = || core::iter::repeat_n(1, 20);
        assert_eq!(admitted(&mut errors, IcmpError::TtlExceeded, &limits, same(), 100), 6);
        assert_eq!(admitted(&mut errors, IcmpError::TtlExceeded, &limits, same(), 101), 1);
        let other = admitted(&mut errors, IcmpError::TtlExceeded, &limits, 2..3, 101);
        assert_eq!(other, 1, "another one has its own limit");
    }

    #[test]
    fn all_destinations_together_have_a_limit_of_their_own() {
        let limits = |icmp_msgs_per_sec, icmp_msgs_burst| Sysctl {
            icmp_msgs_per_sec,
            icmp_msgs_burst,
            ..Sysctl::default()
        };
        for (limits, at_once) in [
            (Sysctl::default(), 50),
            (limits(1000, 7), 7),
            (limits(0, 50), 0),
            (limits(1000, 0), 0),
            (limits(u32::MAX, 7), 200),
        ] {
            assert_eq!(admitted_at_once(IcmpError::TtlExceeded, &limits).1, at_once, "{limits:?}");
        }
        let (mut errors, slow) = (IcmpErrors::new(7), limits(10, 7));
        assert_eq!(admitted(&mut errors, IcmpError::TtlExceeded, &slow, 0..200, 100), 7);
        assert_eq!(admitted(&mut errors, IcmpError::TtlExceeded, &slow, 200..400, 100), 0);
        assert_eq!(admitted(&mut errors, IcmpError::TtlExceeded, &slow, 400..600, 101), 7);
    }

    #[test]
    fn path_mtu_discovery_is_never_held_back() {
        let none = Sysctl { icmp_msgs_per_sec: 0, ..Sysctl::default() };
        let needed = IcmpError::FragmentationNeeded { mtu: 1400 };
        assert_eq!(admitted_at_once(needed, &none), (200, 200));
        assert_eq!(admitted_at_once(IcmpError::PortUnreachable, &none), (0, 0), "the same type");
    }

    #[test]
    fn types_beside_the_mask_are_not_held_back() {
        let mask = |icmp_ratemask| Sysctl { icmp_ratemask, ..Sysctl::default() };
        for (error, mask, at_once) in [
            (IcmpError::TtlExceeded, mask(1 << 3), (200, 200)),
            (IcmpError::PortUnreachable, mask(1 << 3), (6, 50)),
            (IcmpError::TtlExceeded, mask(1 << 11), (6, 50)),
            (IcmpError::PortUnreachable, mask(0), (200, 200)),
        ] {
            assert_eq!(admitted_at_once(error, &mask), at_once, "{error:?}");
        }
    }

    #[test]
    fn a_limit_of_zero_is_none_for_one_destination() {
        let limits = Sysctl { icmp_ratelimit: 0, ..Sysctl::default() };
        assert_eq!(admitted_at_once(IcmpError::TtlExceeded, &limits), (50, 50));
    }

    /// A TCP segment with so many bytes of payload.
    fn segment(flags: u8, payload: u16) -> Headers {
        let mut headers = parse(&udp_frame(0));
        headers.protocol = protocol::TCP;
        headers.total_length = 40 + payload;
        headers.transport = Transport::Tcp {
            source: 40_000,
            destination: 80,
            flags,
            sequence: 0xffff_fff0,
            acknowledgment: 0x1234_5678,
            window: 1000,
            header_length: 20,
        };
        headers
    }

    /// Flags, sequence and acknowledgment number of the reset.
    fn reset_for(headers: &Headers) -> Option<(u8, u32, u32)> {
        let packet = reset(&mut exchange(), headers, false)?;
        let made = parse(packet.bytes());
        assert_eq!((made.source, made.destination), (headers.destination, headers.source));
        let mut pseudo_header = [0; 12];
        pseudo_header[..8].copy_from_slice(&packet.bytes()[26..34]);
        (pseudo_header[9], pseudo_header[11]) = (protocol::TCP, 20);
        assert_eq!(checksum::sum(&[&pseudo_header, &packet.bytes()[34..]].concat()), 0xffff);
        match made.transport {
            Transport::Tcp { source: 80, destination: 40_000, flags, sequence, acknowledgment, .. } => {
                Some((flags, sequence, acknowledgment))
            }
            _ => None,
        }
    }

    #[test]
    fn a_reset_has_the_numbers_that_the_sender_will_believe() {
        use tcp_flag::{ACK, FIN, PSH, RST, SYN};
        assert_eq!(reset_for(&segment(SYN, 0)), Some((RST | ACK, 0, 0xffff_fff1)));
        assert_eq!(reset_for(&segment(ACK | PSH, 100)), Some((RST, 0x1234_5678, 0)));
        assert_eq!(reset_for(&segment(FIN, 0x20)), Some((RST | ACK, 0, 0x11)), "the numbers wrap");
        assert_eq!(reset_for(&segment(RST, 0)), None);
        assert_eq!(reset_for(&Headers { fragment: Fragment::Later, ..segment(ACK, 0) }), None);
        assert_eq!(reset_for(&parse(&udp_frame(0))), None);
    }
}
