//! One flow: two tuples, what becomes of their packets, and when it ends. All of it is one cache line.
//!
//! Tuples are kept as they stand in a frame, so that the fast path compares and writes them in whole words.

mod image;
mod table;

pub use image::FlowImage;
pub use table::{FlowStatistics, FlowTable};

use super::{shortcut::ShortcutId, tick::Tick};
use crate::{
    headers::protocol,
    interface::InterfaceId,
    stage::{
        tcp::{Connection, TcpState},
        window::{Offers, Windows},
    },
    wire::checksum::Delta,
};
use core::fmt;
use smoltcp::wire::Ipv4Address;

/// What identifies one direction of a flow. For an ICMP query the requester's port is the identifier and the other
/// one stands for the kind of query, so that inverting it gives the answer's tuple as for any protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tuple {
    /// Source address.
    pub source: Ipv4Address,
    /// Destination address.
    pub destination: Ipv4Address,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

impl Tuple {
    /// The tuple of the answers.
    #[inline]
    #[must_use]
    pub fn inverted(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
        }
    }
}

/// A [`Tuple`] as the bytes of a frame have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// Source and destination address.
    pub addresses: u64,
    /// Source and destination port.
    pub ports: u32,
    /// IP protocol number.
    pub protocol: u8,
}

impl Key {
    /// The key of the answers.
    #[inline]
    #[must_use]
    pub fn inverted(self) -> Self {
        Self {
            addresses: self.addresses.rotate_left(32),
            ports: self.ports.rotate_left(16),
            protocol: self.protocol,
        }
    }
}

impl From<&Tuple> for Key {
    #[inline]
    fn from(tuple: &Tuple) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (tuple.source.octets(), tuple.destination.octets());
        let ([i, j], [k, l]) = (tuple.source_port.to_be_bytes(), tuple.destination_port.to_be_bytes());
        Self {
            addresses: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            ports: u32::from_ne_bytes([i, j, k, l]),
            protocol: tuple.protocol,
        }
    }
}

impl From<Key> for Tuple {
    #[inline]
    fn from(key: Key) -> Self {
        let ([a, b, c, d, e, f, g, h], [i, j, k, l]) = (key.addresses.to_ne_bytes(), key.ports.to_ne_bytes());
        Self {
            source: Ipv4Address::new(a, b, c, d),
            destination: Ipv4Address::new(e, f, g, h),
            source_port: u16::from_be_bytes([i, j]),
            destination_port: u16::from_be_bytes([k, l]),
            protocol: key.protocol,
        }
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, destination, source_port, destination_port, protocol } = self;
        write!(f, "{source}:{source_port} > {destination}:{destination_port} proto {protocol}")
    }
}

/// A direction of a flow; `Original` is that of its first packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// As the first packet.
    Original = 0,
    /// The other way.
    Reply = 1,
}

impl Direction {
    /// The other one.
    #[inline]
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// A flow's place in the table. It may be another flow's once this one is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FlowId(u32);

impl FlowId {
    /// The place as a number, for listings that go on later.
    pub fn place(self) -> usize {
        self.0 as usize
    }
}

/// Bits of [`Flow::status`].
pub mod status {
    /// A packet of the reply direction was seen.
    pub const SEEN_REPLY: u8 = 1;
    /// Never evicted for a new flow.
    pub const ASSURED: u8 = 2;
    /// The source of the original direction is translated.
    pub const SOURCE_NAT: u8 = 4;
    /// The destination of the original direction is translated.
    pub const DESTINATION_NAT: u8 = 8;
    /// Translated by MASQUERADE: it ends with its outer address.
    pub const MASQUERADED: u8 = 16;
    /// Its outer endpoint is reserved by a mapping.
    pub const RESERVED: u8 = 32;
    /// A SYN came that asks for a new TCP connection in the place of this one.
    pub const ASKED: u8 = 64;
}

/// One flow.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct Flow {
    /// Of each direction, as its packets arrive.
    addresses: [u64; 2],
    ports: [u32; 2],
    /// The next link of each direction's bucket.
    next: [u32; 2],
    /// What the slow path decided for each direction.
    pub shortcuts: [Option<ShortcutId>; 2],
    /// When it ends unless a packet comes.
    pub expires: Tick,
    /// How the checksums of the IP header and of the transport header change in the original direction.
    deltas: (Delta, Delta),
    /// Where a translated source leaves: the flow ends when its packets would leave elsewhere.
    pub outside: InterfaceId,
    protocol: u8,
    /// Bits of [`status`].
    pub status: u8,
    /// State, where it is TCP.
    pub tcp: TcpState,
    /// What the ends of a TCP connection take: with `expected`, its [`Windows`].
    offers: Offers,
    expected: [u32; 2],
}

impl Flow {
    /// A flow of these two tuples, each as its packets arrive.
    pub fn new(original: Tuple, reply: Tuple) -> Self {
        let keys = [Key::from(&original), Key::from(&reply)];
        Self {
            addresses: keys.map(|key| key.addresses),
            ports: keys.map(|key| key.ports),
            next: [table::NIL; 2],
            shortcuts: [None; 2],
            expires: Tick::default(),
            deltas: deltas(&original, &reply.inverted()),
            outside: InterfaceId::LOOPBACK,
            protocol: original.protocol,
            status: 0,
            tcp: TcpState::None,
            offers: Offers::default(),
            expected: [0; 2],
        }
    }

    /// What is known of its TCP connection.
    #[inline]
    pub fn connection(&self) -> Connection {
        Connection { state: self.tcp, windows: self.windows(), asked: self.is(status::ASKED) }
    }

    /// Changes what is known of its TCP connection.
    pub fn set_connection(&mut self, connection: &Connection) {
        let Connection { state, windows, asked } = *connection;
        (self.tcp, self.expected, self.offers) = (state, windows.expected, windows.offers);
        self.status = self.status & !status::ASKED | if asked { status::ASKED } else { 0 };
    }

    /// The windows of its TCP connection.
    #[inline]
    pub fn windows(&self) -> Windows {
        Windows { expected: self.expected, offers: self.offers }
    }

    /// An end of its TCP connection has acknowledged what came before this number, and all else stays as it is.
    #[inline]
    pub fn set_expected(&mut self, end: Direction, number: u32) {
        self.expected[end as usize] = number;
    }

    /// The key of a direction, as its packets arrive.
    #[inline]
    pub fn key(&self, direction: Direction) -> Key {
        let at = direction as usize;
        Key { addresses: self.addresses[at], ports: self.ports[at], protocol: self.protocol }
    }

    /// The tuple of a direction, as its packets arrive.
    #[inline]
    pub fn tuple(&self, direction: Direction) -> Tuple {
        self.key(direction).into()
    }

    /// The tuple of a direction as its packets leave.
    #[inline]
    pub fn translated(&self, direction: Direction) -> Tuple {
        self.key(direction.opposite()).inverted().into()
    }

    /// How the checksums of the IP header and of the transport header change in a direction.
    #[inline]
    pub fn deltas(&self, direction: Direction) -> (Delta, Delta) {
        let ((ip, transport), back) = (self.deltas, direction == Direction::Reply);
        (ip.inverse_if(back), transport.inverse_if(back))
    }

    /// Whether its packets leave with other addresses or ports than they came with.
    #[inline]
    pub fn is_translated(&self) -> bool {
        self.status & (status::SOURCE_NAT | status::DESTINATION_NAT) != 0
    }

    /// IP protocol number.
    #[inline]
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Whether all of these bits of [`status`] are set.
    #[inline]
    pub fn is(&self, bits: u8) -> bool {
        self.status & bits == bits
    }
}

/// How the checksums of the IP header and of the transport header change from one tuple to the other.
pub fn deltas(from: &Tuple, to: &Tuple) -> (Delta, Delta) {
    let addresses = Delta::NONE
        .address(from.source.to_bits(), to.source.to_bits())
        .address(from.destination.to_bits(), to.destination.to_bits());
    let ports =
        Delta::NONE.word(from.source_port, to.source_port).word(from.destination_port, to.destination_port);
    let transport = match from.protocol {
        // The ICMP checksum covers no pseudo-header (RFC 792).
        protocol::ICMP => ports,
        _ => addresses.and(ports),
    };
    (addresses, transport)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_cache_line() {
        assert_eq!((size_of::<Flow>(), align_of::<Flow>()), (64, 64));
    }

    #[test]
    fn a_key_turns_round_like_its_tuple() {
        let tuple = Tuple {
            source: Ipv4Address::new(192, 168, 1, 2),
            destination: Ipv4Address::new(198, 51, 100, 7),
            source_port: 5000,
            destination_port: 80,
            protocol: 6,
        };
        let key = Key::from(&tuple);
        assert_eq!(Tuple::from(key), tuple);
        assert_eq!(Tuple::from(key.inverted()), tuple.inverted());
    }
}
