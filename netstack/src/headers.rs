//! The headers of one IPv4 packet, read once: every later stage looks here and not at the bytes again.
//!
//! Own code instead of `smoltcp::wire`, because the whole plane needs one summary that is checked against
//! the frame's length a single time. Read RFC 791 3.1, RFC 9293 3.1, RFC 768 and RFC 792 first.

use crate::outcome::DropReason;
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

/// The headers of one IPv4 packet.
#[derive(Clone, Debug)]
pub struct Headers {
    /// Offset of the IPv4 header in the frame.
    pub l3: usize,
    /// Offset of the transport header in the frame.
    pub l4: usize,
    /// Total length of the IPv4 packet in bytes, header included.
    pub total_length: u16,
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
}

impl Headers {
    /// Reads and checks the IPv4 packet at offset `l3` of `frame` (requirement 1), its options included.
    ///
    /// # Errors
    /// `IpMalformed`, `IpChecksum`, `IpOptions`, `SourceRoute` or `TransportMalformed`.
    pub fn parse(frame: &[u8], l3: usize) -> Result<Self, DropReason> {
        let ip = frame.get(l3..).ok_or(DropReason::IpMalformed)?;
        let fixed: &[u8; 20] = ip.first_chunk().ok_or(DropReason::IpMalformed)?;
        let header_length = usize::from(fixed[0] & 0x0f) * 4;
        let total_length = u16::from_be_bytes([fixed[2], fixed[3]]);
        if fixed[0] >> 4 != 4
            || header_length < 20
            || usize::from(total_length) < header_length
            || usize::from(total_length) > ip.len()
        {
            return Err(DropReason::IpMalformed);
        }
        let header = &ip[..header_length];
        if crate::wire::checksum::sum(header) != 0xffff {
            return Err(DropReason::IpChecksum);
        }
        if header_length > 20 {
            check_options(&header[20..])?;
        }
        Self::summarize(&ip[..usize::from(total_length)], header_length, l3)
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
