//! IPv4 packets as a test writes them: a good packet and what is different about it (RFC 791, 768, 792, 9293).
//!
//! Own code, on purpose: what judges the router shares no line with it. Reading and writing are exact inverses, so
//! two packets are equal only where every byte is.

mod bytes;
mod show;

pub use bytes::sum;
use smoltcp::wire::Ipv4Address;

/// An address and a port, or the identifier of an ICMP query.
pub type Endpoint = (Ipv4Address, u16);

/// FIN, SYN, RST, PSH, ACK and URG as they stand in byte 13 of the TCP header.
pub mod flag {
    #![allow(missing_docs)]
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
}

/// How a checksum field stands to the bytes it covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// As it should be.
    Right,
    /// Zero in a UDP header: there is none.
    Absent,
    /// Off by this much in ones' complement. A translation by RFC 1624 leaves the error as it was.
    Wrong(u16),
}

/// An IPv4 packet.
#[derive(Clone, PartialEq, Eq)]
pub struct Datagram {
    pub source: Ipv4Address,
    pub destination: Ipv4Address,
    pub ttl: u8,
    pub tos: u8,
    pub id: u16,
    pub dont_fragment: bool,
    pub more_fragments: bool,
    /// In bytes, a multiple of 8.
    pub offset: u16,
    /// A multiple of 4 bytes.
    pub options: Vec<u8>,
    pub header_checksum: Checksum,
    pub body: Body,
}

/// What follows the IPv4 header.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    Udp {
        source: u16,
        destination: u16,
        /// What the length field says more (or less, wrapping) than is there.
        length_error: u16,
        checksum: Checksum,
        payload: Vec<u8>,
    },
    Tcp {
        source: u16,
        destination: u16,
        sequence: u32,
        acknowledgment: u32,
        flags: u8,
        window: u16,
        urgent: u16,
        /// A multiple of 4 bytes.
        options: Vec<u8>,
        checksum: Checksum,
        payload: Vec<u8>,
    },
    Icmp {
        kind: u8,
        code: u8,
        /// Bytes 4 to 7: identifier and sequence number, or the MTU of a "fragmentation needed".
        word: u32,
        checksum: Checksum,
        payload: Vec<u8>,
    },
    /// Any other protocol, a later fragment, or a transport header that is cut off.
    Other { protocol: u8, payload: Vec<u8> },
}

/// A UDP datagram with an empty payload.
pub fn udp(from: Endpoint, to: Endpoint) -> Datagram {
    let body = Body::Udp {
        source: from.1,
        destination: to.1,
        length_error: 0,
        checksum: Checksum::Right,
        payload: Vec::new(),
    };
    Datagram::new(from.0, to.0, body)
}

/// A TCP segment with these flags, sequence number 1000, and 5000 acknowledged where ACK is among the flags.
pub fn tcp(from: Endpoint, to: Endpoint, flags: u8) -> Datagram {
    let body = Body::Tcp {
        source: from.1,
        destination: to.1,
        sequence: 1000,
        acknowledgment: if flags & flag::ACK != 0 { 5000 } else { 0 },
        flags,
        window: 65535,
        urgent: 0,
        options: Vec::new(),
        checksum: Checksum::Right,
        payload: Vec::new(),
    };
    Datagram::new(from.0, to.0, body)
}

/// An ICMP echo request with sequence number 1.
pub fn echo(from: Endpoint, to: Ipv4Address) -> Datagram {
    icmp(from.0, to, 8, 0, u32::from(from.1) << 16 | 1, b"echo")
}

/// The reply to [`echo`].
pub fn echo_reply(from: Ipv4Address, to: Endpoint) -> Datagram {
    icmp(from, to.0, 0, 0, u32::from(to.1) << 16 | 1, b"echo")
}

/// An ICMP error about `quoted`, which arrived where `from` saw it.
pub fn icmp_error(from: Ipv4Address, kind: u8, code: u8, quoted: &Datagram) -> Datagram {
    icmp(from, quoted.source, kind, code, 0, &quoted.quote(548))
}

/// Any ICMP message; `word` is bytes 4 to 7.
pub fn icmp(from: Ipv4Address, to: Ipv4Address, kind: u8, code: u8, word: u32, payload: &[u8]) -> Datagram {
    let body = Body::Icmp { kind, code, word, checksum: Checksum::Right, payload: payload.to_vec() };
    Datagram::new(from, to, body)
}

/// A packet of a protocol without ports.
pub fn other(from: Ipv4Address, to: Ipv4Address, protocol: u8, payload: &[u8]) -> Datagram {
    Datagram::new(from, to, Body::Other { protocol, payload: payload.to_vec() })
}

impl Datagram {
    /// The good packet: TTL 64, not a fragment, may be fragmented, no options.
    fn new(source: Ipv4Address, destination: Ipv4Address, body: Body) -> Self {
        Self {
            source,
            destination,
            ttl: 64,
            tos: 0,
            id: 1,
            dont_fragment: false,
            more_fragments: false,
            offset: 0,
            options: Vec::new(),
            header_checksum: Checksum::Right,
            body,
        }
    }

    /// The same packet otherwise: `packet.but(|p| p.ttl = 1)`.
    #[must_use]
    pub fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    #[must_use]
    pub fn ttl(self, ttl: u8) -> Self {
        self.but(|p| p.ttl = ttl)
    }

    #[must_use]
    pub fn dont_fragment(self) -> Self {
        self.but(|p| p.dont_fragment = true)
    }

    /// With this source address, and port or identifier.
    #[must_use]
    pub fn from(self, (address, port): Endpoint) -> Self {
        self.but(|p| {
            p.source = address;
            match &mut p.body {
                Body::Udp { source, .. } | Body::Tcp { source, .. } => *source = port,
                Body::Icmp { word, .. } => *word = u32::from(port) << 16 | *word & 0xffff,
                Body::Other { .. } => {}
            }
        })
    }

    /// With this destination address, and port or identifier.
    #[must_use]
    pub fn to(self, (address, port): Endpoint) -> Self {
        self.but(|p| {
            p.destination = address;
            match &mut p.body {
                Body::Udp { destination, .. } | Body::Tcp { destination, .. } => *destination = port,
                Body::Icmp { word, .. } => *word = u32::from(port) << 16 | *word & 0xffff,
                Body::Other { .. } => {}
            }
        })
    }

    #[must_use]
    pub fn payload(self, bytes: impl AsRef<[u8]>) -> Self {
        self.but(|p| match &mut p.body {
            Body::Udp { payload, .. }
            | Body::Tcp { payload, .. }
            | Body::Icmp { payload, .. }
            | Body::Other { payload, .. } => *payload = bytes.as_ref().to_vec(),
        })
    }

    /// With these numbers in its TCP header.
    #[must_use]
    pub fn numbers(self, seq: u32, ack: u32) -> Self {
        self.but(|p| {
            if let Body::Tcp { sequence, acknowledgment, .. } = &mut p.body {
                (*sequence, *acknowledgment) = (seq, ack);
            }
        })
    }

    /// With this window in its TCP header.
    #[must_use]
    pub fn window(self, size: u16) -> Self {
        self.but(|p| {
            if let Body::Tcp { window, .. } = &mut p.body {
                *window = size;
            }
        })
    }

    /// With the TCP option that says by how many bits its sender's windows are scaled.
    #[must_use]
    pub fn window_scale(self, bits: u8) -> Self {
        self.but(|p| {
            if let Body::Tcp { options, .. } = &mut p.body {
                options.extend([1, 3, 3, bits]);
            }
        })
    }

    /// With this transport checksum.
    #[must_use]
    pub fn checksum(self, is: Checksum) -> Self {
        self.but(|p| {
            if let Some(checksum) = p.transport_checksum_mut() {
                *checksum = is;
            }
        })
    }

    /// Source address and port (or identifier, or 0).
    pub fn source(&self) -> Endpoint {
        let port = match &self.body {
            Body::Udp { source, .. } | Body::Tcp { source, .. } => *source,
            Body::Icmp { word, .. } => (word >> 16) as u16,
            Body::Other { .. } => 0,
        };
        (self.source, port)
    }

    /// Destination address and port (or identifier, or 0).
    pub fn destination(&self) -> Endpoint {
        let port = match &self.body {
            Body::Udp { destination, .. } | Body::Tcp { destination, .. } => *destination,
            Body::Icmp { word, .. } => (word >> 16) as u16,
            Body::Other { .. } => 0,
        };
        (self.destination, port)
    }

    pub fn protocol(&self) -> u8 {
        match self.body {
            Body::Icmp { .. } => 1,
            Body::Tcp { .. } => 6,
            Body::Udp { .. } => 17,
            Body::Other { protocol, .. } => protocol,
        }
    }

    /// ICMP type and code.
    pub fn icmp_type(&self) -> Option<(u8, u8)> {
        match self.body {
            Body::Icmp { kind, code, .. } => Some((kind, code)),
            _ => None,
        }
    }

    /// Whether it is an ICMP error, which quotes another packet.
    pub fn is_icmp_error(&self) -> bool {
        matches!(self.body, Body::Icmp { kind: 3 | 4 | 5 | 11 | 12, .. })
    }

    /// The packet that an ICMP error quotes; its lengths and checksums may not fit where the quote is cut.
    pub fn quoted(&self) -> Option<Self> {
        match &self.body {
            Body::Icmp { payload, .. } if self.is_icmp_error() => Self::read_cut(payload),
            _ => None,
        }
    }

    /// What an ICMP error about this packet quotes of it: at most `most` bytes.
    pub fn quote(&self, most: usize) -> Vec<u8> {
        let mut bytes = self.bytes();
        bytes.truncate(most);
        bytes
    }

    pub fn transport_checksum(&self) -> Option<Checksum> {
        match &self.body {
            Body::Udp { checksum, .. } | Body::Tcp { checksum, .. } | Body::Icmp { checksum, .. } => {
                Some(*checksum)
            }
            Body::Other { .. } => None,
        }
    }

    fn transport_checksum_mut(&mut self) -> Option<&mut Checksum> {
        match &mut self.body {
            Body::Udp { checksum, .. } | Body::Tcp { checksum, .. } | Body::Icmp { checksum, .. } => {
                Some(checksum)
            }
            Body::Other { .. } => None,
        }
    }

    /// Whether every checksum is right, or rightly absent.
    pub fn checksums_are_right(&self) -> bool {
        let wrong = |checksum| matches!(checksum, Checksum::Wrong(_));
        !wrong(self.header_checksum) && !self.transport_checksum().is_some_and(wrong)
    }
}
