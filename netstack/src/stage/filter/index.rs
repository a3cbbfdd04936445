//! Finds the next rule of a long chain that may fit a packet, without looking at those that cannot.
//!
//! The rules of a chain are parted by the fields that they look at. In each part, and for each of its fields, the rules that a
//! value leaves possible are a set of bits; what all fields leave possible is held against the packet (Lakshman and
//! Stiliadis, SIGCOMM 1998). Words without a bit are not stored, and those that some field lacks not read (Baboescu
//! and Varghese, SIGCOMM 2001). A set may hold too many rules, for a rule that is found is asked itself; it never
//! holds too few.

mod places;

use super::fit::Subject;
use crate::{
    config::rules::{
        Chain, ChainId, Match, MultiportSide, Negatable, PortRange, Rule, Table, TableName, Tables,
    },
    sort::{sort, sort_by},
};
use alloc::{collections::BTreeMap, vec::Vec};
use places::{Places, Words};
use smoltcp::{
    time::{Duration, Instant},
    wire::Ipv4Cidr,
};

/// The fields that are indexed.
const FIELDS: usize = 7;
/// A chain with fewer rules is walked.
const FEWEST_RULES: usize = 16;
/// The most blocks of values that a rule names in one field; a rule that wants more is asked itself.
const MOST_BLOCKS: usize = 4;
/// Rules that still change are not indexed: only when nothing has changed for so long,
const QUIET: Duration = Duration::from_millis(100);
/// or when something has changed for so long.
const PATIENCE: Duration = Duration::from_secs(1);

/// The indexes of all tables. They follow from the rules; where one is missing, the rules are walked.
#[derive(Default)]
pub struct Indexes {
    filter: TableIndex,
    nat: TableIndex,
    mangle: TableIndex,
    raw: TableIndex,
    /// The first and the last change that the indexes do not know.
    changed: Option<(Instant, Instant)>,
}

impl Indexes {
    /// Forgets everything, for the rules have changed.
    pub fn forget(&mut self, now: Instant) {
        let changed = Some((self.changed.map_or(now, |(first, _)| first), now));
        *self = Self { changed, ..Self::default() };
    }

    /// When [`Indexes::poll`] has something to do.
    pub fn poll_at(&self) -> Option<Instant> {
        self.changed.map(|(first, last)| (last + QUIET).min(first + PATIENCE))
    }

    /// Indexes the rules, once they have come to rest.
    pub fn poll(&mut self, tables: &Tables, now: Instant) {
        if self.poll_at().is_some_and(|due| due <= now) {
            let [filter, nat, mangle, raw] =
                [&tables.filter, &tables.nat, &tables.mangle, &tables.raw].map(TableIndex::new);
            *self = Self { filter, nat, mangle, raw, changed: None };
        }
    }

    /// The index of a table.
    pub fn of(&self, table: TableName) -> &TableIndex {
        match table {
            TableName::Filter => &self.filter,
            TableName::Nat => &self.nat,
            TableName::Mangle => &self.mangle,
            TableName::Raw => &self.raw,
        }
    }
}

/// The index of a table.
#[derive(Default)]
pub struct TableIndex {
    /// One for each chain, `None` for a short one; no chain at all where the rules are not indexed.
    chains: Vec<Option<ChainIndex>>,
}

impl TableIndex {
    /// No index: all rules are walked.
    pub const NONE: &'static Self = &Self { chains: Vec::new() };

    /// The index of these rules; of no others may it be asked.
    pub fn new(table: &Table) -> Self {
        Self { chains: table.chains.iter().map(ChainIndex::new).collect() }
    }

    /// Bytes of memory that it owns, about.
    pub fn bytes(&self) -> usize {
        self.chains.iter().flatten().map(ChainIndex::bytes).sum()
    }

    pub(super) fn chain(&self, id: ChainId) -> Option<&ChainIndex> {
        self.chains.get(usize::from(id.0))?.as_ref()
    }
}

/// The index of a chain.
pub(super) struct ChainIndex {
    parts: Vec<Part>,
}

/// What a packet has in the indexed fields, as numbers; `None` where it has no such field.
type Keys = [Option<u32>; FIELDS];

impl ChainIndex {
    fn new(chain: &Chain) -> Option<Self> {
        if chain.rules.len() < FEWEST_RULES {
            return None;
        }
        let mut parts: BTreeMap<u8, Vec<u16>> = BTreeMap::new();
        for (place, rule) in chain.rules.iter().enumerate() {
            let fields = (0..FIELDS).filter(|&field| blocks(field, rule).is_some());
            let fields = fields.fold(0, |fields, field| fields | 1 << field);
            parts.entry(fields).or_default().push(place as u16);
        }
        let parts = parts.into_iter().map(|(fields, places)| Part::new(fields, places, &chain.rules));
        Some(Self { parts: parts.collect() })
    }

    fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }
}

/// The rules of a chain that look at the same fields.
struct Part {
    /// Their places in the chain. In the sets of the part they are numbered one after the other.
    rules: Vec<u16>,
    /// The field with the most values comes first: it leaves the fewest rules.
    fields: Vec<Field>,
    words: Words,
}

impl Part {
    fn new(fields: u8, mut places: Vec<u16>, rules: &[Rule]) -> Self {
        places.shrink_to_fit();
        let mut words = Words::default();
        let numbers = (0..FIELDS).filter(|number| fields >> number & 1 != 0);
        let mut fields: Vec<Field> = numbers
            .map(|number| {
                Field::new(number, places.iter().map(|&place| &rules[usize::from(place)]), &mut words)
            })
            .collect();
        sort_by(&mut fields, |a, b| a.groups.len() > b.groups.len());
        words.shrink();
        Self { rules: places, fields, words }
    }

    fn bytes(&self) -> usize {
        let fields: usize = self.fields.iter().map(Field::bytes).sum();
        fields + self.rules.capacity() * size_of::<u16>() + self.words.bytes()
    }

    /// The place of the first rule from `place` on that may fit.
    fn next(&self, keys: &Keys, place: usize) -> Option<u16> {
        let first = self.rules.partition_point(|&rule| usize::from(rule) < place);
        let mut sets: heapless::Vec<&Places, MOST_SETS> = heapless::Vec::new();
        let mut ends: heapless::Vec<usize, FIELDS> = heapless::Vec::new();
        let mut filled = [u64::MAX; 4];
        for field in &self.fields {
            let mut union = [0; 4];
            for set in field.groups(keys[field.number]?) {
                set.add_filled(&mut union);
                sets.push(set).ok()?;
            }
            filled.iter_mut().zip(union).for_each(|(all, one)| *all &= one);
            if filled == [0; 4] {
                return None;
            }
            ends.push(sets.len()).ok()?;
        }
        // Of 64 rules, those that every field leaves possible.
        let possible = |word: usize| {
            let (mut bits, mut start) = (u64::MAX, 0);
            for &end in &ends {
                bits &= sets[start..end].iter().fold(0, |union, set| union | self.words.get(set, word));
                start = end;
            }
            bits
        };
        let mut wanted = u64::MAX << (first % 64);
        let mut word = first / 64;
        loop {
            word = next_bit(&filled, word)?;
            if word != first / 64 {
                wanted = u64::MAX;
            }
            let bits = possible(word) & wanted;
            if bits != 0 {
                return self.rules.get(64 * word + bits.trailing_zeros() as usize).copied();
            }
            word += 1;
        }
    }
}

/// The first bit from `bit` on.
fn next_bit(set: &[u64; 4], bit: usize) -> Option<usize> {
    let mut mask = u64::MAX << (bit % 64);
    for (part, bits) in set.iter().enumerate().skip(bit / 64) {
        if bits & mask != 0 {
            return Some(64 * part + (bits & mask).trailing_zeros() as usize);
        }
        mask = u64::MAX;
    }
    None
}

/// Values that begin with the same bits. Ports, protocols and the hashes of names are numbers of 32 bits, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Block {
    length: u8,
    value: u32,
}

impl Block {
    fn new(value: u32, length: u8) -> Self {
        Self { length, value: value & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0) }
    }

    fn hash(self) -> usize {
        let mixed = (u64::from(self.value) << 6 | u64::from(self.length)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize
    }
}

/// One field of the rules of a part.
struct Field {
    number: usize,
    /// Lengths that blocks have, one bit for each.
    lengths: u64,
    /// Rules that want a value of this block.
    groups: Vec<(Block, Places)>,
    /// Groups by the hash of their block, plus one; 0: none. There are twice as many as groups, at least.
    buckets: Vec<u32>,
}

impl Field {
    fn new<'r>(number: usize, rules: impl Iterator<Item = &'r Rule>, words: &mut Words) -> Self {
        let mut wanted: Vec<(Block, u16)> = Vec::new();
        for (place, rule) in rules.enumerate() {
            let blocks = blocks(number, rule).into_iter().flatten();
            wanted.extend(blocks.map(|block| (block, place as u16)));
        }
        sort(&mut wanted);
        wanted.dedup();
        let mut groups: Vec<(Block, Places)> = Vec::new();
        let mut lengths = 0;
        for group in wanted.chunk_by(|a, b| a.0 == b.0) {
            lengths |= 1 << group[0].0.length;
            groups.push((group[0].0, words.collect(group.iter().map(|(_, place)| *place))));
        }
        groups.shrink_to_fit();
        let mut buckets = alloc::vec![0; (2 * groups.len()).next_power_of_two()];
        let mask = buckets.len() - 1;
        for (place, (block, _)) in groups.iter().enumerate() {
            let mut bucket = block.hash() & mask;
            while buckets[bucket] != 0 {
                bucket = (bucket + 1) & mask;
            }
            buckets[bucket] = place as u32 + 1;
        }
        Self { number, lengths, groups, buckets }
    }

    fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<(Block, Places)>() + self.buckets.capacity() * size_of::<u32>()
    }

    fn group(&self, block: Block) -> Option<&Places> {
        let mask = self.buckets.len() - 1;
        let mut bucket = block.hash() & mask;
        loop {
            let (known, places) = self.groups.get((self.buckets[bucket] as usize).checked_sub(1)?)?;
            if *known == block {
                return Some(places);
            }
            bucket = (bucket + 1) & mask;
        }
    }

    /// All groups whose block contains a value.
    fn groups(&self, value: u32) -> impl Iterator<Item = &Places> {
        let rest = core::iter::successors(Some(self.lengths), |bits| Some(bits & bits.checked_sub(1)?));
        let lengths = rest.take_while(|&bits| bits != 0).map(|bits| bits.trailing_zeros() as u8);
        lengths.filter_map(move |length| self.group(Block::new(value, length)))
    }
}

/// A name as a number; that two may have the same does no harm.
fn name_key(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// What a packet has in the fields, in the order of [`blocks`].
fn keys(subject: &Subject<'_>) -> Keys {
    let headers = subject.headers();
    let (source_port, destination_port) = subject.ports().unzip();
    [
        Some(headers.source.to_bits()),
        Some(headers.destination.to_bits()),
        destination_port.map(u32::from),
        source_port.map(u32::from),
        Some(headers.protocol.into()),
        Some(name_key(subject.ingress())),
        Some(name_key(subject.egress())),
    ]
}

/// The values of one field that a rule wants; `None` where it does not matter, or is left to the rule.
fn blocks(field: usize, rule: &Rule) -> Option<heapless::Vec<Block, MOST_BLOCKS>> {
    fn plain<T>(wish: &Option<Negatable<T>>) -> Option<&T> {
        wish.as_ref().filter(|wish| !wish.not).map(|wish| &wish.value)
    }
    fn one(value: u32, length: u8) -> Option<heapless::Vec<Block, MOST_BLOCKS>> {
        heapless::Vec::from_slice(&[Block::new(value, length)]).ok()
    }
    let network = |net: &Ipv4Cidr| one(net.address().to_bits(), net.prefix_len());
    match field {
        0 => plain(&rule.source).and_then(network),
        1 => plain(&rule.destination).and_then(network),
        2 | 3 => {
            // What follows one that counts is asked only after that.
            let constant = rule.matches.iter().take_while(|wanted| !wanted.counts());
            constant.filter_map(|wanted| ports(wanted, field == 2)).find_map(port_blocks)
        }
        4 => plain(&rule.protocol).and_then(|&protocol| one(protocol.into(), 32)),
        _ => {
            let pattern = plain(if field == 5 { &rule.in_interface } else { &rule.out_interface });
            pattern.filter(|pattern| !pattern.prefix).and_then(|pattern| one(name_key(&pattern.text), 32))
        }
    }
}

/// The ports that a match wants on one side.
fn ports(wanted: &Match, destination: bool) -> Option<&[PortRange]> {
    match wanted {
        Match::Tcp { source, destination: to, .. } | Match::Udp { source, destination: to } => {
            let side = if destination { to } else { source };
            side.as_ref().filter(|wish| !wish.not).map(|wish| core::slice::from_ref(&wish.value))
        }
        Match::Multiport { which, ports } if !ports.not => {
            let meant = match which {
                MultiportSide::Source => !destination,
                MultiportSide::Destination => destination,
                MultiportSide::Either => false,
            };
            meant.then_some(&ports.value)
        }
        _ => None,
    }
}

/// Blocks that cover all of these ports.
fn port_blocks(ranges: &[PortRange]) -> Option<heapless::Vec<Block, MOST_BLOCKS>> {
    let mut blocks = heapless::Vec::new();
    for &PortRange { first, last } in ranges {
        let around =
            |first: u16, last: u16| Block::new(first.into(), 16 + (first ^ last).leading_zeros() as u8);
        let whole = around(first, last);
        if whole.length == 16 && first == 0 && last == u16::MAX {
            return None;
        }
        // A range that lies across the middle of its block fits two smaller ones more closely.
        let middle = match whole.length {
            32 => first,
            length => last & !0 << (31 - length),
        };
        let halves = match middle.checked_sub(1) {
            Some(before) if middle > first => Some([around(first, before), around(middle, last)]),
            _ => None,
        };
        match halves.filter(|halves| halves.iter().any(|half| half.length > whole.length + 1)) {
            Some(halves) => blocks.extend_from_slice(&halves).ok()?,
            None => blocks.push(whole).ok()?,
        }
    }
    Some(blocks)
}

/// A search for the rules of a chain that may fit one packet.
pub(super) struct Search<'i> {
    index: &'i ChainIndex,
    keys: Keys,
    /// The next rule of each part that may fit; `None` where there is no more.
    found: heapless::Vec<Option<u16>, { 1 << FIELDS }>,
}

/// A set for each length of an address and of a port, and one for each other field.
const MOST_SETS: usize = 2 * 33 + 2 * 17 + 3;

impl<'i> Search<'i> {
    /// A search from `place` on.
    pub(super) fn new(index: &'i ChainIndex, subject: &Subject<'_>, place: usize) -> Self {
        let keys = keys(subject);
        let found = index.parts.iter().map(|part| part.next(&keys, place)).collect();
        Self { index, keys, found }
    }

    /// The first rule from `place` on that may fit; places only grow.
    pub(super) fn next(&mut self, place: usize) -> Option<usize> {
        for (part, found) in self.index.parts.iter().zip(&mut self.found) {
            if found.is_some_and(|found| usize::from(found) < place) {
                *found = part.next(&self.keys, place);
            }
        }
        self.found.iter().flatten().min().map(|&rule| usize::from(rule))
    }
}

#[cfg(test)]
mod tests;
