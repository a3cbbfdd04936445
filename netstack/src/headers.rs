//! The headers of one IPv4 packet, read once: every later stage looks here and not at the bytes again.
//!
//! Own code instead of `smoltcp::wire`, because the whole plane needs one summary that is checked against
//! the frame's length a single time. Read RFC 791 3.1, RFC 9293 3.1, RFC 768 and RFC 792 first.

use crate::{
    offload::{Offload, Partial, SegmentationKind},
    outcome::DropReason,
    packet::Packet,
};
use smoltcp::wire::Ipv4Address;

/// Length of an Ethernet header without tags.
pub const ETHERNET_HEADER: usize = 14;

/// IP protocol numbers that the plane treats specially.
pub mod protocol {
    #![allow(missing_docs)]
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
}

/// TCP flag bits as they stand in byte 13 of the header.
pub mod tcp_flag {
    #![allow(missing_docs)]
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
    pub const CWR: u8 = 0x80;
    /// Those that have a say in the state of a connection. Of an established one, segments with ACK alone move nothing.
    pub const MOVING: u8 = FIN | SYN | RST | ACK | URG;
}

/// Where a packet stands among the fragments of its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fragment {
    /// Not fragmented.
    Whole,
    /// Offset 0 with more to come: it has the transport header.
    First,
    /// It has no transport header.
    Later,
}

/// The transport header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// TCP; `flags` are the bits of [`tcp_flag`].
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Byte 13 of the header.
        flags: u8,
        /// Sequence number.
        sequence: u32,
        /// Acknowledgment number (meaningless without ACK).
        acknowledgment: u32,
        /// Window as it stands in the header, unscaled.
        window: u16,
        /// Length of the header with its options, in bytes.
        header_length: u8,
    },
    /// UDP.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Whether the sender computed a checksum (RFC 768: 0 means none).
        checksummed: bool,
    },
    /// An ICMP query or answer that carries an identifier, such as echo.
    IcmpQuery {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier.
        identifier: u16,
    },
    /// An ICMP error; it quotes the packet that it is about, from offset `l4 + 8`.
    IcmpError {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// Another ICMP message.
    IcmpOther {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// Another protocol, or a later fragment.
    Other,
}

/// What is known of a packet's transport checksum.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Checksum {
    /// Nobody has looked at it.
    #[default]
    Unknown,
    /// The card found it right.
    Verified,
    /// It is yet to be completed: the field holds the sum of the pseudo-header alone, not complemented.
    Partial,
}

/// The headers of one IPv4 packet.
#[derive(Clone, Debug)]
pub struct Headers {
    /// Offset of the IPv4 header in the frame.
    pub l3: usize,
    /// Offset of the transport header in the frame.
    pub l4: usize,
    /// Total length of the IPv4 packet in bytes, header included.
    pub total_length: u16,
    /// Total length of the longest packet that it is on a wire: where it is yet to be segmented, that of a segment.
    pub wire_length: u16,
    /// Source address.
    pub source: Ipv4Address,
    /// Destination address.
    pub destination: Ipv4Address,
    /// IP protocol number.
    pub protocol: u8,
    /// Time to live.
    pub ttl: u8,
    /// Type of service (DSCP and ECN).
    pub tos: u8,
    /// Identification.
    pub identification: u16,
    /// The DF bit.
    pub dont_fragment: bool,
    /// Place among fragments.
    pub fragment: Fragment,
    /// Offset of this fragment's payload in its datagram, in bytes.
    pub fragment_offset: u16,
    /// The transport header.
    pub transport: Transport,
    /// What is known of its checksum.
    pub checksum: Checksum,
}

impl Headers {
    /// Reads and checks the IPv4 packet at offset `l3` of `frame` (requirement 1), its options included.
    ///
    /// # Errors
    /// `IpMalformed`, `IpChecksum`, `IpOptions`, `SourceRoute` or `TransportMalformed`.
    pub fn parse(frame: &[u8], l3: usize) -> Result<Self, DropReason> {
        Self::parse_head(frame, l3, frame.len())
    }

    /// The same for the IPv4 packet behind the Ethernet header of a packet, which may go on in further buffers, and whose
    /// checksum and segmentation may be left to a card.
    ///
    /// # Errors
    /// As above, and `OffloadMalformed` where what is left to a card does not fit the packet.
    pub fn of(packet: &Packet) -> Result<Self, DropReason> {
        let mut headers = Self::parse_head(packet.bytes(), ETHERNET_HEADER, packet.len())?;
        match packet.offload() {
            Offload::None => {}
            Offload::Verified => headers.checksum = Checksum::Verified,
            Offload::Partial(partial) => headers.leave_to_card(partial, packet.bytes().len())?,
        }
        Ok(headers)
    }

    /// Whether a packet that cannot be read has a sound header that says that more was to come.
    pub fn are_cut_off(packet: &Packet) -> bool {
        let ip = packet.bytes().get(ETHERNET_HEADER..).unwrap_or_default();
        let Some([0x45..=0x4f, _, high, low]) = ip.first_chunk::<4>() else { return false };
        let header = ip.get(..usize::from(ip[0] & 0x0f) * 4);
        let total_length = usize::from(u16::from_be_bytes([*high, *low]));
        total_length > packet.len() - ETHERNET_HEADER
            && header.is_some_and(|header| crate::wire::checksum::sum(header) == 0xffff)
    }

    /// Source and destination, where there is an IPv4 header.
    pub fn addresses(packet: &Packet) -> Option<(Ipv4Address, Ipv4Address)> {
        let [a, b, c, d, e, f, g, h] = *packet.bytes().get(ETHERNET_HEADER + 12..)?.first_chunk::<8>()?;
        Some((Ipv4Address::new(a, b, c, d), Ipv4Address::new(e, f, g, h)))
    }

    /// Reads and checks a packet in a frame of `length` bytes of which `head` is the beginning.
    fn parse_head(head: &[u8], l3: usize, length: usize) -> Result<Self, DropReason> {
        let ip = head.get(l3..).ok_or(DropReason::IpMalformed)?;
        let fixed: &[u8; 20] = ip.first_chunk().ok_or(DropReason::IpMalformed)?;
        let header_length = usize::from(fixed[0] & 0x0f) * 4;
        let total_length = u16::from_be_bytes([fixed[2], fixed[3]]);
        if fixed[0] >> 4 != 4
            || header_length < 20
            || usize::from(total_length) < header_length
            || usize::from(total_length) > length - l3
        {
            return Err(DropReason::IpMalformed);
        }
        let header = ip.get(..header_length).ok_or(DropReason::IpMalformed)?;
        if crate::wire::checksum::sum(header) != 0xffff {
            return Err(DropReason::IpChecksum);
        }
        if header_length > 20 {
            check_options(&header[20..])?;
        }
        Self::summarize(&ip[..ip.len().min(total_length.into())], header_length, l3)
    }

    /// Holds what is left to a card against the packet; `head` bytes of the frame are in its first buffer.
    ///
    /// Nothing may be left to the card that changes, behind the back of the rules, what they looked at: a checksum lies
    /// in its own field of this packet's transport header, or somewhere behind that header (that of a packet in a tunnel).
    fn leave_to_card(&mut self, partial: &Partial, head: usize) -> Result<(), DropReason> {
        let malformed = DropReason::OffloadMalformed;
        let start = usize::from(partial.start);
        let field = start + usize::from(partial.offset);
        let (own_field, header_length) = match self.transport {
            Transport::Tcp { header_length, .. } => (Some(self.l4 + 16), usize::from(header_length)),
            Transport::Udp { .. } => (Some(self.l4 + 6), 8),
            Transport::Other => (None, 0),
            _ => (None, 8),
        };
        let end = head.min(self.l3 + usize::from(self.total_length));
        let own = start == self.l4 && own_field == Some(field);
        let inside = start >= self.l4 && field >= self.l4 + header_length;
        if self.fragment != Fragment::Whole || !(own || inside) || field + 2 > end {
            return Err(malformed);
        }
        if own {
            self.checksum = Checksum::Partial;
        }
        let Some(segmentation) = partial.segmentation else { return Ok(()) };
        let cut = matches!(
            (self.transport, segmentation.kind),
            (Transport::Tcp { .. }, SegmentationKind::Tcp4) | (Transport::Udp { .. }, SegmentationKind::Udp)
        );
        let headers = self.header_length() + header_length;
        let payload = usize::from(self.total_length) - headers;
        if !own || !cut || !segmentation.is_plausible(payload) {
            return Err(malformed);
        }
        self.wire_length = segmentation.wire_length(self.total_length, headers);
        Ok(())
    }

    /// Reads a header that was already checked, or that an ICMP error quotes (and may have cut).
    fn summarize(ip: &[u8], header_length: usize, l3: usize) -> Result<Self, DropReason> {
        let fixed: &[u8; 20] = ip.first_chunk().ok_or(DropReason::IpMalformed)?;
        let flags = u16::from_be_bytes([fixed[6], fixed[7]]);
        let fragment_offset = (flags & 0x1fff) << 3;
        let fragment = match (fragment_offset, flags & 0x2000) {
            (0, 0) => Fragment::Whole,
            (0, _) => Fragment::First,
            _ => Fragment::Later,
        };
        let protocol = fixed[9];
        let transport = match fragment {
            Fragment::Later => Transport::Other,
            _ => parse_transport(protocol, &ip[header_length..])?,
        };
        Ok(Self {
            l3,
            l4: l3 + header_length,
            total_length: u16::from_be_bytes([fixed[2], fixed[3]]),
            wire_length: u16::from_be_bytes([fixed[2], fixed[3]]),
            source: Ipv4Address::new(fixed[12], fixed[13], fixed[14], fixed[15]),
            destination: Ipv4Address::new(fixed[16], fixed[17], fixed[18], fixed[19]),
            protocol,
            ttl: fixed[8],
            tos: fixed[1],
            identification: u16::from_be_bytes([fixed[4], fixed[5]]),
            dont_fragment: flags & 0x4000 != 0,
            fragment,
            fragment_offset,
            transport,
            checksum: Checksum::Unknown,
        })
    }

    /// Source port, or the identifier of an ICMP query; `None` where there is neither.
    pub fn source_port(&self) -> Option<u16> {
        match self.transport {
            Transport::Tcp { source, .. } | Transport::Udp { source, .. } => Some(source),
            Transport::IcmpQuery { identifier, .. } => Some(identifier),
            _ => None,
        }
    }

    /// Destination port; `None` for what has no ports.
    pub fn destination_port(&self) -> Option<u16> {
        match self.transport {
            Transport::Tcp { destination, .. } | Transport::Udp { destination, .. } => Some(destination),
            _ => None,
        }
    }

    /// ICMP type and code.
    pub fn icmp(&self) -> Option<(u8, u8)> {
        match self.transport {
            Transport::IcmpQuery { kind, code, .. }
            | Transport::IcmpError { kind, code }
            | Transport::IcmpOther { kind, code } => Some((kind, code)),
            _ => None,
        }
    }

    /// TCP flags.
    pub fn tcp_flags(&self) -> Option<u8> {
        match self.transport {
            Transport::Tcp { flags, .. } => Some(flags),
            _ => None,
        }
    }

    /// Length of the IPv4 header in bytes.
    pub fn header_length(&self) -> usize {
        self.l4 - self.l3
    }
}

/// The headers that an ICMP error quotes: at least the IP header and 8 bytes (RFC 792), perhaps no more.
#[derive(Clone, Debug)]
pub struct Quote {
    /// Offset of the quoted IPv4 header in the frame.
    pub l3: usize,
    /// Offset of the quoted transport header in the frame.
    pub l4: usize,
    /// Source of the quoted packet.
    pub source: Ipv4Address,
    /// Destination of the quoted packet.
    pub destination: Ipv4Address,
    /// Protocol of the quoted packet.
    pub protocol: u8,
    /// Source port, or query identifier.
    pub source_port: u16,
    /// Destination port; 0 for a query.
    pub destination_port: u16,
    /// Type of a quoted ICMP query; 0 otherwise.
    pub icmp_kind: u8,
}

impl Quote {
    /// Reads the quote of the ICMP error whose ICMP header is at `l4`. `None` where it quotes another
    /// ICMP message than a query, a later fragment, or too little.
    pub fn parse(packet: &[u8], l4: usize) -> Option<Self> {
        let l3 = l4 + 8;
        let ip = packet.get(l3..)?;
        let fixed: &[u8; 20] = ip.first_chunk()?;
        let header_length = usize::from(fixed[0] & 0x0f) * 4;
        let later_fragment = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x1fff != 0;
        if fixed[0] >> 4 != 4 || header_length < 20 || later_fragment {
            return None;
        }
        let eight: &[u8; 8] = ip.get(header_length..)?.first_chunk()?;
        let protocol = fixed[9];
        let (source_port, destination_port, icmp_kind) = match protocol {
            protocol::TCP | protocol::UDP => {
                (u16::from_be_bytes([eight[0], eight[1]]), u16::from_be_bytes([eight[2], eight[3]]), 0)
            }
            protocol::ICMP if is_icmp_query(eight[0]) => {
                (u16::from_be_bytes([eight[4], eight[5]]), 0, eight[0])
            }
            protocol::ICMP => return None,
            _ => (0, 0, 0),
        };
        Some(Self {
            l3,
            l4: l3 + header_length,
            source: Ipv4Address::new(fixed[12], fixed[13], fixed[14], fixed[15]),
            destination: Ipv4Address::new(fixed[16], fixed[17], fixed[18], fixed[19]),
            protocol,
            source_port,
            destination_port,
            icmp_kind,
        })
    }
}

fn parse_transport(protocol: u8, segment: &[u8]) -> Result<Transport, DropReason> {
    let port = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
    let word =
        |at: usize| u32::from_be_bytes([segment[at], segment[at + 1], segment[at + 2], segment[at + 3]]);
    Ok(match protocol {
        protocol::TCP => {
            let header_length = segment.get(12).map_or(0, |byte| byte >> 4 << 2);
            if header_length < 20 || segment.len() < usize::from(header_length) {
                return Err(DropReason::TransportMalformed);
            }
            Transport::Tcp {
                source: port(0),
                destination: port(2),
                sequence: word(4),
                acknowledgment: word(8),
                flags: segment[13],
                window: port(14),
                header_length,
            }
        }
        protocol::UDP => {
            if segment.len() < 8 {
                return Err(DropReason::TransportMalformed);
            }
            Transport::Udp { source: port(0), destination: port(2), checksummed: port(6) != 0 }
        }
        protocol::ICMP => {
            if segment.len() < 8 {
                return Err(DropReason::TransportMalformed);
            }
            let (kind, code) = (segment[0], segment[1]);
            match kind {
                3 | 4 | 5 | 11 | 12 => Transport::IcmpError { kind, code },
                _ if is_icmp_query(kind) => Transport::IcmpQuery { kind, code, identifier: port(4) },
                _ => Transport::IcmpOther { kind, code },
            }
        }
        _ => Transport::Other,
    })
}

/// Echo, timestamp, information and address mask, requests and replies (RFC 792, RFC 950).
fn is_icmp_query(kind: u8) -> bool {
    matches!(kind, 0 | 8 | 13..=18)
}

/// Walks the options: every length must fit, and source routes are refused (RFC 791 3.1, RFC 7126 4.3-4.4).
fn check_options(mut options: &[u8]) -> Result<(), DropReason> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    while let [kind, rest @ ..] = options {
        options = match *kind {
            END => return Ok(()),
            NO_OPERATION => rest,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return Err(DropReason::SourceRoute),
            _ => {
                let length = usize::from(*rest.first().ok_or(DropReason::IpOptions)?);
                if length < 2 {
                    return Err(DropReason::IpOptions);
                }
                options.get(length..).ok_or(DropReason::IpOptions)?
            }
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        offload::Segmentation,
        test_support::{tcp_segmentation, tcp_super_frame},
    };
    use core::num::NonZeroU16;

    /// A TCP frame of 3000 bytes of payload to be cut into segments of 1000, with its IP header of 20 bytes at 14 and its TCP
    /// header of 32 bytes at 34.
    const GOOD: Partial = Partial { start: 34, offset: 16, segmentation: None };

    fn read(partial: Partial) -> Result<Headers, DropReason> {
        let mut packet = tcp_super_frame(&[0; 3000], None, 128);
        packet.set_offload(Offload::Partial(partial));
        Headers::of(&packet)
    }

    #[test]
    fn a_frame_that_is_yet_to_be_segmented_is_as_long_as_a_segment() {
        let whole = read(GOOD).unwrap();
        assert_eq!((whole.total_length, whole.wire_length), (3052, 3052));
        let cut = read(Partial { segmentation: tcp_segmentation(1000), ..GOOD }).unwrap();
        assert_eq!((cut.total_length, cut.wire_length, cut.checksum), (3052, 1052, Checksum::Partial));
        let short = read(Partial { segmentation: tcp_segmentation(9000), ..GOOD }).unwrap();
        assert_eq!(short.wire_length, 3052);
    }

    #[test]
    fn nothing_that_rules_look_at_is_left_to_a_card() {
        for (start, offset) in [
            (34, 14),       // the window
            (34, 0),        // the source port
            (35, 12),       // the flags, by a sum that begins behind the header's start
            (20, 30),       // the own field, by a sum that begins in the IP header
            (34, u16::MAX), // outside
            (u16::MAX, 16), // outside
            (126, 1),       // half of it in the second buffer
            (0, 24),        // the checksum of the IP header
        ] {
            let made = read(Partial { start, offset, segmentation: None });
            assert_eq!(made.unwrap_err(), DropReason::OffloadMalformed, "{start} {offset}");
        }
    }

    #[test]
    fn a_checksum_inside_a_tunnel_is_the_cards_but_not_ours() {
        let headers = read(Partial { start: 90, offset: 16, segmentation: None }).unwrap();
        assert_eq!(headers.checksum, Checksum::Unknown);
    }

    #[test]
    fn a_segmentation_of_something_else_is_refused() {
        let size = |bytes| NonZeroU16::new(bytes).unwrap();
        let good = Segmentation { kind: SegmentationKind::Tcp4, ecn: false, size: size(1000) };
        for (start, segmentation) in [
            (34, Segmentation { kind: SegmentationKind::Udp, ..good }),
            (34, Segmentation { kind: SegmentationKind::Tcp6, ..good }),
            (34, Segmentation { size: size(7), ..good }),
            (90, good), // the segments of a tunnel's inside
        ] {
            let made = read(Partial { start, offset: 16, segmentation: Some(segmentation) });
            assert_eq!(made.unwrap_err(), DropReason::OffloadMalformed, "{start} {segmentation:?}");
        }
    }

    #[test]
    fn a_fragment_is_never_left_to_a_card() {
        let mut packet = tcp_super_frame(&[0; 100], None, 1000);
        packet.bytes_mut()[20] |= 0x20;
        packet.bytes_mut()[24..26].fill(0);
        let sum = !crate::wire::checksum::sum(&packet.bytes()[14..34]);
        packet.bytes_mut()[24..26].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(Headers::of(&packet).unwrap_err(), DropReason::OffloadMalformed);
    }

    #[test]
    fn a_packet_may_go_on_in_further_buffers_but_not_behind_the_frame() {
        assert_eq!(Headers::of(&tcp_super_frame(&[0; 3000], None, 66)).unwrap().total_length, 3052);
        let mut short = tcp_super_frame(&[0; 3000], None, 66);
        short.truncate(3065);
        assert_eq!(Headers::of(&short).unwrap_err(), DropReason::IpMalformed);
        let cut = tcp_super_frame(&[0; 3000], None, 65);
        assert_eq!(Headers::of(&cut).unwrap_err(), DropReason::TransportMalformed);
    }
}
