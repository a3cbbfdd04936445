//! The matches of a rule (`-m`); iptables-extensions(8).

use super::{
    AddressRange, AddressTypeMatch, Lengths, Limiting, Masked, Negatable, PacketType, PortRange, Statistic,
    TosBits, TtlMatch,
};
use alloc::{string::String, vec::Vec};
use core::cell::Cell;
use smoltcp::{
    time::Instant,
    wire::{EthernetAddress, Ipv4Cidr},
};

/// A match beyond those that every rule can have.
#[derive(Clone, PartialEq, Debug)]
pub enum Match {
    /// `-m tcp`
    Tcp {
        /// `--sport`
        source: Option<Negatable<PortRange>>,
        /// `--dport`
        destination: Option<Negatable<PortRange>>,
        /// `--tcp-flags MASK COMP`; `--syn` is `FIN,SYN,RST,ACK SYN`
        flags: Option<Negatable<(u8, u8)>>,
    },
    /// `-m udp`
    Udp {
        /// `--sport`
        source: Option<Negatable<PortRange>>,
        /// `--dport`
        destination: Option<Negatable<PortRange>>,
    },
    /// `-m icmp --icmp-type`
    Icmp(Negatable<IcmpType>),
    /// `-m multiport`
    Multiport {
        /// Which port it looks at.
        which: MultiportSide,
        /// At most 15 ports, a range counting twice.
        ports: Negatable<Vec<PortRange>>,
    },
    /// `-m conntrack` and `-m state`
    Conntrack(ConntrackMatch),
    /// `-m comment --comment`
    Comment(String),
    /// `-m mac --mac-source`
    Mac(Negatable<EthernetAddress>),
    /// `-m limit`
    Limit(Limit),
    /// `-m set --match-set`
    Set(Negatable<SetMatch>),
    /// `-m connlimit`, `-m hashlimit` and `-m recent`
    Limiting(Limiting),
    /// `-m mark`: the packet's mark
    Mark(Negatable<Masked>),
    /// `-m connmark`: the flow's mark
    ConnMark(Negatable<Masked>),
    /// `-m ttl`
    Ttl(TtlMatch),
    /// `-m dscp`: a code point, 0 to 63
    Dscp(Negatable<u8>),
    /// `-m tos`
    Tos(Negatable<TosBits>),
    /// `-m length`: bytes of the IPv4 packet
    Length(Negatable<Lengths>),
    /// `-m iprange`
    AddressRange {
        /// `--src-range`
        source: Option<Negatable<AddressRange>>,
        /// `--dst-range`
        destination: Option<Negatable<AddressRange>>,
    },
    /// `-m addrtype`
    AddressType(AddressTypeMatch),
    /// `-m pkttype`
    PacketType(Negatable<PacketType>),
    /// `-m statistic`
    Statistic(Statistic),
}

impl Match {
    /// Whether it matters that it is asked: each packet changes what it says of the next one.
    pub fn counts(&self) -> bool {
        matches!(self, Self::Limit(_) | Self::Statistic(_))
    }
}

/// `-m set --match-set NAME src,dst`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct SetMatch {
    /// The name of the set.
    pub name: String,
    /// Which side each part of an element is: `true` is `src`.
    pub sources: heapless::Vec<bool, { Self::MAX_SIDES }>,
}

impl SetMatch {
    /// The most sides.
    pub const MAX_SIDES: usize = 6;
}

/// What `--icmp-type` names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpType {
    /// Type; `None` is `any`.
    pub kind: Option<u8>,
    /// First code.
    pub first_code: u8,
    /// Last code, included.
    pub last_code: u8,
}

impl IcmpType {
    /// Whatever the type and code are.
    pub const ANY: Self = Self { kind: None, first_code: 0, last_code: u8::MAX };

    /// One type with every code.
    pub const fn of(kind: u8) -> Self {
        Self { kind: Some(kind), ..Self::ANY }
    }

    /// One type with one code.
    pub const fn with_code(kind: u8, code: u8) -> Self {
        Self { kind: Some(kind), first_code: code, last_code: code }
    }

    /// Whether a message of this type and code is meant.
    pub fn contains(self, kind: u8, code: u8) -> bool {
        self.kind.is_none_or(|it| it == kind && (self.first_code..=self.last_code).contains(&code))
    }

    /// Whether the code does not matter.
    pub fn any_code(self) -> bool {
        (self.first_code, self.last_code) == (0, u8::MAX)
    }
}

/// Which port `multiport` looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum MultiportSide {
    Source,
    Destination,
    Either,
}

/// `-m conntrack`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ConntrackMatch {
    /// Written as `-m state --state`.
    pub legacy: bool,
    /// `--ctstate`: a set of [`state_bit`]s.
    pub states: Option<Negatable<u8>>,
    /// `--ctproto`
    pub protocol: Option<Negatable<u8>>,
    /// `--ctorigsrc`
    pub original_source: Option<Negatable<Ipv4Cidr>>,
    /// `--ctorigdst`
    pub original_destination: Option<Negatable<Ipv4Cidr>>,
    /// `--ctreplsrc`
    pub reply_source: Option<Negatable<Ipv4Cidr>>,
    /// `--ctrepldst`
    pub reply_destination: Option<Negatable<Ipv4Cidr>>,
    /// `--ctorigsrcport`
    pub original_source_port: Option<Negatable<PortRange>>,
    /// `--ctorigdstport`
    pub original_destination_port: Option<Negatable<PortRange>>,
    /// `--ctreplsrcport`
    pub reply_source_port: Option<Negatable<PortRange>>,
    /// `--ctrepldstport`
    pub reply_destination_port: Option<Negatable<PortRange>>,
    /// `--ctdir`: `true` is ORIGINAL
    pub direction_original: Option<bool>,
}

/// Bits of [`ConntrackMatch::states`].
pub mod state_bit {
    #![allow(missing_docs)]
    pub const INVALID: u8 = 1;
    pub const NEW: u8 = 2;
    pub const ESTABLISHED: u8 = 4;
    pub const RELATED: u8 = 8;
    pub const UNTRACKED: u8 = 16;
    pub const SNAT: u8 = 32;
    pub const DNAT: u8 = 64;
}

/// `-m limit`: a token bucket, full at first.
#[derive(Clone, Debug)]
pub struct Limit {
    rate: u32,
    per: u32,
    burst: u32,
    bucket: Cell<Bucket>,
}

/// Contents of a token bucket. A packet costs [`Limit::cost`] units, and `rate` units flow in each microsecond, so no
/// refill is ever lost to rounding.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: u64,
    filled_at: Instant,
}

impl Limit {
    /// `3/hour`, unless `--limit` says otherwise.
    pub const DEFAULT_RATE: (u32, u32) = (3, 3_600);
    /// The burst, unless `--limit-burst` says otherwise.
    pub const DEFAULT_BURST: u32 = 5;
    /// The largest rate per second and the largest burst.
    pub const MAX: u32 = 10_000;

    /// A limit of `rate` packets in `per` seconds (1, 60, 3600 or 86400), in the form in which Linux keeps it: the
    /// longest gap between two packets in units of 100 us. `60/min` thus becomes `1/sec`. `None` where `rate` is 0
    /// or above [`Limit::MAX`] a second.
    pub fn new(rate: u32, per: u32, burst: u32) -> Option<Self> {
        const UNITS: [u32; 4] = [86_400, 3_600, 60, 1];
        let gap = per.checked_mul(Self::MAX)?.checked_div(rate).filter(|&gap| gap > 0)?;
        let fits = |&unit: &u32| {
            let span = unit * Self::MAX;
            gap <= span && span / gap >= span % gap
        };
        let per = UNITS.into_iter().skip(1).take_while(fits).last().unwrap_or(UNITS[0]);
        let rate = per * Self::MAX / gap;
        let limit =
            Self { rate, per, burst, bucket: Cell::new(Bucket { level: 0, filled_at: Instant::ZERO }) };
        limit.bucket.set(Bucket { level: limit.capacity(), filled_at: Instant::ZERO });
        Some(limit)
    }

    /// Packets in [`Limit::per`] seconds.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// The span of [`Limit::rate`]: 1, 60, 3600 or 86400 seconds.
    pub fn per(&self) -> u32 {
        self.per
    }

    /// How many packets may come at once after a long silence.
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// The same rate with another burst, which is then full.
    pub fn with_burst(self, burst: u32) -> Self {
        Self { burst, ..self }.filled()
    }

    fn filled(self) -> Self {
        self.bucket.set(Bucket { level: self.capacity(), filled_at: Instant::ZERO });
        self
    }

    /// Whether one more packet is within the limit; with `take` it is also charged.
    pub fn admit(&self, now: Instant, take: bool) -> bool {
        let Bucket { level, filled_at } = self.bucket.get();
        let elapsed = (now - filled_at).total_micros();
        let level = elapsed.saturating_mul(u64::from(self.rate)).saturating_add(level).min(self.capacity());
        let left = level.checked_sub(self.cost());
        if take {
            self.bucket.set(Bucket { level: left.unwrap_or(level), filled_at: now });
        }
        left.is_some()
    }

    fn cost(&self) -> u64 {
        u64::from(self.per) * 1_000_000
    }

    fn capacity(&self) -> u64 {
        u64::from(self.burst) * self.cost()
    }
}

impl PartialEq for Limit {
    fn eq(&self, other: &Self) -> bool {
        (self.rate, self.per, self.burst) == (other.rate, other.per, other.burst)
    }
}
