//! The tables of `iptables` as typed rules: what a rule looks at, and what it does.

use crate::interface::InterfaceName;
use alloc::{string::String, vec::Vec};
use core::cell::Cell;
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};

/// The tables.
#[derive(Clone, PartialEq, Debug)]
pub struct Tables {
    /// `-t filter`.
    pub filter: Table,
    /// `-t nat`.
    pub nat: Table,
}

/// Which table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TableName {
    /// `filter`.
    Filter,
    /// `nat`.
    Nat,
}

/// A station on a packet's way where rules are asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)]
pub enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

/// One table: built-in chains first, in hook order, then the user's in the order of their creation.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    /// The chains. A [`ChainId`] is a place in this list.
    pub chains: Vec<Chain>,
}

/// A chain's place in [`Table::chains`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChainId(pub u16);

/// A chain.
#[derive(Clone, PartialEq, Debug)]
pub struct Chain {
    /// At most 28 bytes, as iptables has it.
    pub name: String,
    /// Set for a built-in chain.
    pub builtin: Option<Builtin>,
    /// The rules in order.
    pub rules: Vec<Rule>,
}

/// What only a built-in chain has.
#[derive(Clone, PartialEq, Debug)]
pub struct Builtin {
    /// Where it is asked.
    pub hook: Hook,
    /// What happens when no rule decides.
    pub policy: Policy,
    /// Packets that the policy decided.
    pub counters: Counters,
}

/// The end of a built-in chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Policy {
    Accept,
    Drop,
}

/// Packets and bytes. Cells, because they count while the rules are only read. They say nothing about what is
/// configured, so any two compare as equal.
#[derive(Clone, Default, Debug)]
pub struct Counters {
    packets: Cell<u64>,
    bytes: Cell<u64>,
}

impl Counters {
    /// Counters that start at these values (`-c`, `iptables-restore`).
    pub fn new(packets: u64, bytes: u64) -> Self {
        Self { packets: Cell::new(packets), bytes: Cell::new(bytes) }
    }

    /// Counts.
    #[inline]
    pub fn add(&self, packets: u64, bytes: u64) {
        self.packets.set(self.packets.get().wrapping_add(packets));
        self.bytes.set(self.bytes.get().wrapping_add(bytes));
    }

    /// Packets and bytes so far.
    pub fn get(&self) -> (u64, u64) {
        (self.packets.get(), self.bytes.get())
    }

    /// Back to zero (`-Z`).
    pub fn reset(&self) {
        self.packets.set(0);
        self.bytes.set(0);
    }
}

impl PartialEq for Counters {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Something that a rule wants, or wants not (`!`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Negatable<T> {
    /// Written with `!`.
    pub not: bool,
    /// What it is about.
    pub value: T,
}

/// One rule. A part that is `None` matches everything.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// `-s`
    pub source: Option<Negatable<Ipv4Cidr>>,
    /// `-d`
    pub destination: Option<Negatable<Ipv4Cidr>>,
    /// `-i`
    pub in_interface: Option<Negatable<InterfacePattern>>,
    /// `-o`
    pub out_interface: Option<Negatable<InterfacePattern>>,
    /// `-p`, by number
    pub protocol: Option<Negatable<u8>>,
    /// `-f`: a fragment that is not the first
    pub fragment: Option<Negatable<()>>,
    /// The matches, in the order given; all must hold.
    pub matches: Vec<Match>,
    /// `-j` or `-g`; `None`: the rule only counts.
    pub target: Option<Target>,
    /// What it has matched.
    pub counters: Counters,
}

/// A name, or with `+` the beginning of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfacePattern {
    /// The text without the `+`.
    pub text: InterfaceName,
    /// Whether it ended in `+`.
    pub prefix: bool,
}

/// Ports from the first to the last, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

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
    Icmp {
        /// Type, and first and last code; type `None` is `any`.
        kind: Negatable<(Option<u8>, u8, u8)>,
    },
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
#[derive(Clone, PartialEq, Eq, Debug)]
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

/// `-m limit`: a token bucket.
#[derive(Clone, Debug)]
pub struct Limit {
    /// `--limit`: so many packets ..
    pub rate: u32,
    /// .. in so many seconds (1, 60, 3600 or 86400).
    pub per: u32,
    /// `--limit-burst`; 5 unless given.
    pub burst: u32,
    /// What is left and since when (micro-packets, microseconds); no part of what is configured.
    pub state: Cell<(u64, i64)>,
}

impl PartialEq for Limit {
    fn eq(&self, other: &Self) -> bool {
        (self.rate, self.per, self.burst) == (other.rate, other.per, other.burst)
    }
}

/// What a rule does with a packet that matches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// `ACCEPT`
    Accept,
    /// `DROP`
    Drop,
    /// `REJECT --reject-with`
    Reject(RejectWith),
    /// `RETURN`
    Return,
    /// `LOG`
    Log(Log),
    /// `-j CHAIN`
    Jump(ChainId),
    /// `-g CHAIN`
    Goto(ChainId),
    /// `MASQUERADE`
    Masquerade {
        /// `--to-ports`
        ports: Option<PortRange>,
        /// `--random` or `--random-fully`
        random: Option<RandomPorts>,
    },
    /// `SNAT --to-source`
    Snat(NatTo),
    /// `DNAT --to-destination`
    Dnat(NatTo),
    /// `REDIRECT --to-ports`
    Redirect {
        /// `--to-ports`
        ports: Option<PortRange>,
        /// `--random`
        random: Option<RandomPorts>,
    },
}

/// How ports are randomised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum RandomPorts {
    Random,
    RandomFully,
}

/// `A[-B][:P-Q]` of SNAT and DNAT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NatTo {
    /// First and last address; `None` where only ports were given.
    pub addresses: Option<(Ipv4Address, Ipv4Address)>,
    /// Ports.
    pub ports: Option<PortRange>,
    /// `--random`, `--random-fully`
    pub random: Option<RandomPorts>,
    /// `--persistent`
    pub persistent: bool,
}

/// What the sender of a rejected packet is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum RejectWith {
    NetUnreachable,
    HostUnreachable,
    ProtocolUnreachable,
    PortUnreachable,
    NetProhibited,
    HostProhibited,
    AdminProhibited,
    TcpReset,
}

/// `LOG`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// `--log-prefix`, at most 29 bytes
    pub prefix: String,
    /// `--log-level`, 0 to 7; 4 (warning) unless given
    pub level: u8,
    /// `--log-tcp-sequence`
    pub tcp_sequence: bool,
    /// `--log-tcp-options`
    pub tcp_options: bool,
    /// `--log-ip-options`
    pub ip_options: bool,
    /// `--log-uid`, which a router has no use for
    pub uid: bool,
}

impl Default for Tables {
    fn default() -> Self {
        use Hook::*;
        Self {
            filter: Table::new(&[Input, Forward, Output]),
            nat: Table::new(&[Prerouting, Input, Output, Postrouting]),
        }
    }
}

impl Tables {
    /// The table of that name.
    pub fn get(&self, name: TableName) -> &Table {
        match name {
            TableName::Filter => &self.filter,
            TableName::Nat => &self.nat,
        }
    }

    /// The table of that name, to be changed.
    pub fn get_mut(&mut self, name: TableName) -> &mut Table {
        match name {
            TableName::Filter => &mut self.filter,
            TableName::Nat => &mut self.nat,
        }
    }
}

impl Table {
    /// A table with these built-in chains, empty, policy ACCEPT.
    fn new(hooks: &[Hook]) -> Self {
        let chain = |&hook: &Hook| Chain {
            name: String::from(hook.chain_name()),
            builtin: Some(Builtin { hook, policy: Policy::Accept, counters: Counters::default() }),
            rules: Vec::new(),
        };
        Self { chains: hooks.iter().map(chain).collect() }
    }

    /// The built-in chain that is asked at `hook`.
    pub fn builtin(&self, hook: Hook) -> Option<ChainId> {
        let place =
            self.chains.iter().position(|chain| chain.builtin.as_ref().is_some_and(|it| it.hook == hook))?;
        Some(ChainId(place as u16))
    }

    /// The chain of that name.
    pub fn find_chain(&self, name: &str) -> Option<ChainId> {
        self.chains.iter().position(|chain| chain.name == name).map(|place| ChainId(place as u16))
    }

    /// A chain by its place.
    ///
    /// # Panics
    /// With a place that this table never gave out.
    pub fn chain(&self, id: ChainId) -> &Chain {
        &self.chains[usize::from(id.0)]
    }
}

impl Hook {
    /// The name of the built-in chain.
    pub fn chain_name(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Input => "INPUT",
            Self::Forward => "FORWARD",
            Self::Output => "OUTPUT",
            Self::Postrouting => "POSTROUTING",
        }
    }
}

impl InterfacePattern {
    /// Whether `name` fits.
    pub fn matches(&self, name: &str) -> bool {
        if self.prefix { name.starts_with(self.text.as_str()) } else { self.text == name }
    }
}

impl PortRange {
    /// Whether `port` lies in it.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}
