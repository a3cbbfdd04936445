//! What rules want of the IPv4 header, and what they make of it; iptables-extensions(8): ttl, dscp, tos, length, iprange,
//! addrtype, pkttype, TTL, DSCP, TOS.

use super::Negatable;
use core::fmt::{self, Display, Formatter};
use smoltcp::wire::Ipv4Address;

/// `-m ttl`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TtlMatch {
    /// `--ttl-eq`
    Equal(Negatable<u8>),
    /// `--ttl-lt`
    Less(u8),
    /// `--ttl-gt`
    Greater(u8),
}

impl TtlMatch {
    /// Whether a TTL is as wanted.
    pub fn fits(self, ttl: u8) -> bool {
        match self {
            Self::Equal(wish) => wish.holds(ttl == wish.value),
            Self::Less(bound) => ttl < bound,
            Self::Greater(bound) => ttl > bound,
        }
    }
}

impl Display for TtlMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal(Negatable { not, value }) => {
                write!(f, "{} --ttl-eq {value}", if *not { " !" } else { "" })
            }
            Self::Less(bound) => write!(f, " --ttl-lt {bound}"),
            Self::Greater(bound) => write!(f, " --ttl-gt {bound}"),
        }
    }
}

/// `TTL`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TtlChange {
    /// `--ttl-set`
    Set(u8),
    /// `--ttl-dec`; never below 0
    Lower(u8),
    /// `--ttl-inc`; never above 255
    Raise(u8),
}

impl TtlChange {
    /// What it makes of a TTL.
    pub fn applied_to(self, ttl: u8) -> u8 {
        match self {
            Self::Set(ttl) => ttl,
            Self::Lower(by) => ttl.saturating_sub(by),
            Self::Raise(by) => ttl.saturating_add(by),
        }
    }
}

impl Display for TtlChange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(ttl) => write!(f, " --ttl-set {ttl}"),
            Self::Lower(by) => write!(f, " --ttl-dec {by}"),
            Self::Raise(by) => write!(f, " --ttl-inc {by}"),
        }
    }
}

/// Some bits of the type of service: `VALUE/MASK`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TosBits {
    /// What the bits are, or become.
    pub value: u8,
    /// Which bits.
    pub mask: u8,
}

impl TosBits {
    /// The bits of a code point (RFC 2474 3).
    pub fn dscp(code_point: u8) -> Self {
        Self { value: code_point << 2, mask: 0xfc }
    }

    /// Whether these bits of `tos` have the value.
    pub fn fits(self, tos: u8) -> bool {
        tos & self.mask == self.value
    }

    /// `tos` with these bits cleared, and then those of the value turned over.
    pub fn applied_to(self, tos: u8) -> u8 {
        tos & !self.mask ^ self.value
    }
}

impl Display for TosBits {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02x}/0x{:02x}", self.value, self.mask)
    }
}

/// `-m length`: bytes of an IPv4 packet, from the least to the most, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Lengths {
    pub least: u16,
    pub most: u16,
}

impl Lengths {
    /// Whether a packet of `length` bytes is meant.
    pub fn contains(self, length: u16) -> bool {
        (self.least..=self.most).contains(&length)
    }
}

/// `100` or `100:200`
impl Display for Lengths {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self { least, most } if least == most => write!(f, "{least}"),
            Self { least, most } => write!(f, "{least}:{most}"),
        }
    }
}

/// Addresses from the first to the last, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct AddressRange {
    pub first: Ipv4Address,
    pub last: Ipv4Address,
}

impl AddressRange {
    /// Whether `address` lies in it.
    pub fn contains(self, address: Ipv4Address) -> bool {
        (self.first..=self.last).contains(&address)
    }
}

impl Display for AddressRange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// `-m addrtype`
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct AddressTypeMatch {
    /// `--src-type`: a set of [`AddressType`]s
    pub source: Option<Negatable<AddressTypes>>,
    /// `--dst-type`
    pub destination: Option<Negatable<AddressTypes>>,
    /// `--limit-iface-in`, `--limit-iface-out`: only what the interface has counts as local or broadcast.
    pub limit: Option<LimitInterface>,
}

/// Which interface `-m addrtype` asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum LimitInterface {
    In,
    Out,
}

/// What an address is to the router; Linux: RTN_*.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum AddressType {
    Unspec,
    Unicast,
    Local,
    Broadcast,
    Anycast,
    Multicast,
    Blackhole,
    Unreachable,
    Prohibit,
    Throw,
    Nat,
    Xresolve,
}

/// A set of [`AddressType`]s, one bit for each.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct AddressTypes(pub u16);

impl AddressTypes {
    /// Every type by its bit.
    pub(crate) const NAMES: [&'static str; 12] = [
        "UNSPEC",
        "UNICAST",
        "LOCAL",
        "BROADCAST",
        "ANYCAST",
        "MULTICAST",
        "BLACKHOLE",
        "UNREACHABLE",
        "PROHIBIT",
        "THROW",
        "NAT",
        "XRESOLVE",
    ];

    /// Whether the set holds the type.
    pub fn contains(self, kind: AddressType) -> bool {
        self.0 >> kind as u16 & 1 != 0
    }
}

impl Display for AddressTypes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names = Self::NAMES.iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 != 0);
        for (place, (_, name)) in names.enumerate() {
            write!(f, "{}{name}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Whom a frame is for: `-m pkttype`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum PacketType {
    Unicast,
    Broadcast,
    Multicast,
}

impl Display for PacketType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unicast => "unicast",
            Self::Broadcast => "broadcast",
            Self::Multicast => "multicast",
        })
    }
}
