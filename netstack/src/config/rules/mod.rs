//! The tables of `iptables` as typed rules: what a rule looks at, and what it does; iptables(8).

mod check;
mod edit;
mod header;
mod limiting;
mod limiting_text;
mod marks;
mod matches;
pub mod names;
mod statistic;
mod target;
mod text;
mod uses;

pub(crate) use edit::check_chain_name;
pub use header::{
    AddressRange, AddressType, AddressTypeMatch, AddressTypes, Lengths, LimitInterface, PacketType, TosBits,
    TtlChange, TtlMatch,
};
pub use limiting::{ConnectionLimit, HashLimit, Limiting, Recent, RecentAction, hash_mode};
pub(crate) use limiting_text::Listed;
pub use marks::{ConnMark, MarkMasks, Masked};
pub use matches::{ConntrackMatch, IcmpType, Limit, Match, MultiportSide, SetMatch, state_bit};
pub use statistic::{Statistic, StatisticMode};
pub use target::{Log, MssLimit, NatTo, NoTrack, RandomPorts, RejectWith, Target};
pub use text::RuleText;
pub(crate) use text::{Dashed, HostOrNet, Mac, States, TcpFlags};
pub use uses::BusyHooks;

use super::ipset::Sets;
use crate::interface::InterfaceName;
use alloc::{string::String, vec::Vec};
use core::{cell::Cell, fmt};
use smoltcp::wire::Ipv4Cidr;

/// The tables, and the sets that their rules ask.
#[derive(Clone, PartialEq, Debug)]
pub struct Tables {
    /// `-t filter`.
    pub filter: Table,
    /// `-t nat`.
    pub nat: Table,
    /// `-t mangle`.
    pub mangle: Table,
    /// `-t raw`.
    pub raw: Table,
    /// The sets of `ipset`.
    pub sets: Sets,
}

/// Which table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TableName {
    /// `filter`.
    Filter,
    /// `nat`.
    Nat,
    /// `mangle`.
    Mangle,
    /// `raw`.
    Raw,
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
    /// Which one it is.
    pub name: TableName,
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
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Negatable<T> {
    /// Written with `!`.
    pub not: bool,
    /// What it is about.
    pub value: T,
}

impl<T> Negatable<T> {
    /// Whether the wish is granted, given whether the value was found.
    #[inline]
    pub fn holds(&self, found: bool) -> bool {
        found != self.not
    }
}

impl<T> From<T> for Negatable<T> {
    fn from(value: T) -> Self {
        Self { not: false, value }
    }
}

/// One rule. A part that is `None` matches everything.
#[derive(Clone, Default, PartialEq, Debug)]
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

impl Rule {
    /// The chain that the rule leads to.
    pub fn next_chain(&self) -> Option<ChainId> {
        match self.target {
            Some(Target::Jump(chain) | Target::Goto(chain)) => Some(chain),
            _ => None,
        }
    }

    /// The one protocol that the rule is about; `None` where it is about several.
    pub fn only_protocol(&self) -> Option<u8> {
        self.protocol.filter(|wish| !wish.not).map(|wish| wish.value)
    }
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

impl Default for Tables {
    fn default() -> Self {
        use Hook::*;
        Self {
            filter: Table::new(TableName::Filter, &[Input, Forward, Output]),
            nat: Table::new(TableName::Nat, &[Prerouting, Input, Output, Postrouting]),
            mangle: Table::new(TableName::Mangle, &[Prerouting, Input, Forward, Output, Postrouting]),
            raw: Table::new(TableName::Raw, &[Prerouting, Output]),
            sets: Sets::default(),
        }
    }
}

impl Tables {
    /// The table of that name.
    pub fn get(&self, name: TableName) -> &Table {
        match name {
            TableName::Filter => &self.filter,
            TableName::Nat => &self.nat,
            TableName::Mangle => &self.mangle,
            TableName::Raw => &self.raw,
        }
    }

    /// All tables.
    pub fn iter(&self) -> impl Iterator<Item = &Table> {
        TableName::ALL.into_iter().map(|name| self.get(name))
    }

    /// The table of that name alone.
    pub fn take(self, name: TableName) -> Table {
        match name {
            TableName::Filter => self.filter,
            TableName::Nat => self.nat,
            TableName::Mangle => self.mangle,
            TableName::Raw => self.raw,
        }
    }

    /// The table of that name, to be changed.
    pub fn get_mut(&mut self, name: TableName) -> &mut Table {
        match name {
            TableName::Filter => &mut self.filter,
            TableName::Nat => &mut self.nat,
            TableName::Mangle => &mut self.mangle,
            TableName::Raw => &mut self.raw,
        }
    }
}

impl Table {
    /// A table with these built-in chains, empty, policy ACCEPT.
    fn new(name: TableName, hooks: &[Hook]) -> Self {
        let chain = |&hook: &Hook| Chain {
            name: String::from(hook.chain_name()),
            builtin: Some(Builtin { hook, policy: Policy::Accept, counters: Counters::default() }),
            rules: Vec::new(),
        };
        Self { name, chains: hooks.iter().map(chain).collect() }
    }

    /// The built-in chain that is asked at `hook`.
    pub fn builtin(&self, hook: Hook) -> Option<ChainId> {
        let place = match (self.name, hook) {
            (TableName::Mangle, hook) => hook as u16,
            (TableName::Filter, Hook::Input) | (TableName::Nat | TableName::Raw, Hook::Prerouting) => 0,
            (TableName::Filter, Hook::Forward)
            | (TableName::Nat, Hook::Input)
            | (TableName::Raw, Hook::Output) => 1,
            (TableName::Filter | TableName::Nat, Hook::Output) => 2,
            (TableName::Nat, Hook::Postrouting) => 3,
            (TableName::Filter, Hook::Prerouting | Hook::Postrouting)
            | (TableName::Nat, Hook::Forward)
            | (TableName::Raw, Hook::Input | Hook::Forward | Hook::Postrouting) => return None,
        };
        Some(ChainId(place))
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

    /// How many rules jump or go to a chain.
    pub fn references(&self, id: ChainId) -> usize {
        let rules = self.chains.iter().flat_map(|chain| &chain.rules);
        rules.filter(|rule| rule.next_chain() == Some(id)).count()
    }

    /// The words of `rule`, which is a rule of this table, as `iptables -S` prints them after `-A CHAIN`.
    pub fn text<'a>(&'a self, rule: &'a Rule) -> RuleText<'a> {
        RuleText { table: self, rule, counters: false }
    }
}

impl TableName {
    /// All, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Mangle, Self::Raw, Self::Filter, Self::Nat];

    /// The word after `-t`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Mangle => "mangle",
            Self::Raw => "raw",
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Policy {
    /// The word after `-P CHAIN`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
        }
    }
}

impl Hook {
    /// The name of the built-in chain that is asked there.
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
        // Of so few bytes, each by itself is sooner compared than a call is made.
        let text = self.text.as_bytes();
        let fits = if self.prefix { text.len() <= name.len() } else { text.len() == name.len() };
        fits && text.iter().zip(name.as_bytes()).all(|(one, other)| one == other)
    }
}

impl PortRange {
    /// Every port.
    pub const ALL: Self = Self { first: 0, last: u16::MAX };

    /// One port.
    pub const fn single(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// Whether `port` lies in it.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}
