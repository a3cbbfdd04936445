//! Longest-prefix match for IPv4: a trie with strides of 16, 8 and 8 bits, whose nodes keep runs of equal slots.
//!
//! Read RFC 1812 5.2.4.3 for the rule. The strides are those of DIR-24-8 (Gupta, Lin, McKeown 1998) with a smaller root, the
//! bitmaps those of Poptrie (Asai, Ohara 2015). Each slot carries the best route for its addresses, so that a
//! lookup never walks back up: it is one load, and two more for each further byte. An empty table owns nothing, a
//! small one 256 KiB, and one of a million routes about sixteen bytes for each.

mod runs;

use alloc::{boxed::Box, vec, vec::Vec};
use runs::{Node, Runs};
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// What an address leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Slot(u32);

/// What a slot says, unpacked.
enum Content {
    /// The longest prefix here has this length and value; `None`: no prefix covers it.
    Route(Option<(u8, u32)>),
    /// Look further in this node.
    Node(usize),
}

impl Slot {
    const EMPTY: Self = Self(0);
    const NODE: u32 = 1 << 31;
    const VALUE_BITS: u32 = 25;

    /// Bits 25 to 30 hold the prefix length plus one, so that all zero means no route.
    fn route(length: u8, value: u32) -> Self {
        Self((u32::from(length) + 1) << Self::VALUE_BITS | value)
    }

    fn node(index: usize) -> Self {
        Self(Self::NODE | index as u32)
    }

    #[inline]
    fn content(self) -> Content {
        if self.0 & Self::NODE != 0 {
            return Content::Node((self.0 & !Self::NODE) as usize);
        }
        let length = self.0 >> Self::VALUE_BITS;
        Content::Route(length.checked_sub(1).map(|length| (length as u8, self.0 & Lpm::MAX_VALUE)))
    }
}

/// All slots of a node, one for each byte that an address may have there.
type Slots = [Slot; 256];

/// The table. It does not know which shorter prefixes a longer one hides: whoever takes a prefix away says which one
/// comes to light.
#[derive(Default)]
pub struct Lpm {
    /// 65,536 slots for the first 16 bits; empty as long as no route was inserted.
    root: Box<[Slot]>,
    /// Nodes for the third or the fourth byte.
    nodes: Vec<Node>,
    /// Nodes that are not in use.
    free: Vec<u32>,
    /// The slots of all nodes.
    runs: Runs,
}

impl Lpm {
    /// The largest value that a route can have.
    pub const MAX_VALUE: u32 = (1 << Slot::VALUE_BITS) - 1;

    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of memory that it owns.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.root)
            + self.nodes.capacity() * size_of::<Node>()
            + self.free.capacity() * size_of::<u32>()
            + self.runs.bytes()
    }

    /// The value of the longest prefix that covers `address`.
    #[inline]
    pub fn lookup(&self, address: Ipv4Address) -> Option<u32> {
        let address = address.to_bits();
        let mut slot = *self.root.get((address >> 16) as usize)?;
        for shift in [8, 0] {
            match slot.content() {
                Content::Route(route) => return route.map(|(_, value)| value),
                Content::Node(node) => slot = self.runs.at(&self.nodes[node], (address >> shift) as u8),
            }
        }
        match slot.content() {
            Content::Route(route) => route.map(|(_, value)| value),
            Content::Node(_) => None,
        }
    }

    /// Adds a prefix, or gives it a new value; host bits are ignored.
    ///
    /// # Panics
    /// With a value above [`Lpm::MAX_VALUE`].
    pub fn insert(&mut self, prefix: Ipv4Cidr, value: u32) {
        let (network, length) = (prefix.network().address().to_bits(), prefix.prefix_len());
        self.write(network, length, Self::slot(length, value));
    }

    /// Takes a prefix away, if it is there; host bits are ignored. `heir` is the longest shorter prefix that covers it,
    /// by its length and value.
    ///
    /// # Panics
    /// With a value above [`Lpm::MAX_VALUE`].
    pub fn remove(&mut self, prefix: Ipv4Cidr, heir: Option<(u8, u32)>) {
        let (network, length) = (prefix.network().address().to_bits(), prefix.prefix_len());
        if self.root.is_empty() {
            return;
        }
        self.write(network, length, heir.map_or(Slot::EMPTY, |(length, value)| Self::slot(length, value)));
        self.fold(network, length);
    }

    fn slot(length: u8, value: u32) -> Slot {
        assert!(value <= Self::MAX_VALUE, "value {value} does not fit a slot");
        Slot::route(length, value)
    }

    /// Writes `slot` to all addresses of a prefix, except where a longer prefix rules.
    fn write(&mut self, network: u32, length: u8, slot: Slot) {
        if self.root.is_empty() {
            self.root = vec![Slot::EMPTY; 1 << 16].into_boxed_slice();
        }
        let high = (network >> 16) as usize;
        if length <= 16 {
            for place in high..high + (1 << (16 - length)) {
                match self.root[place].content() {
                    Content::Node(node) => self.overwrite(node, 0..256, length, slot),
                    Content::Route(_) => replace(&mut self.root[place], length, slot),
                }
            }
            return;
        }
        let node = self.node_at_root(high);
        let third = (network >> 8 & 0xff) as usize;
        if length <= 24 {
            return self.overwrite(node, third..third + (1 << (24 - length)), length, slot);
        }
        let node = self.node_below(node, third);
        let fourth = (network & 0xff) as usize;
        self.overwrite(node, fourth..fourth + (1 << (32 - length)), length, slot);
    }

    /// Writes to some slots of a node and to all that hangs below them.
    fn overwrite(&mut self, node: usize, places: core::ops::Range<usize>, length: u8, slot: Slot) {
        let mut slots = self.runs.unpack(&self.nodes[node]);
        let mut place = places.start;
        while place < places.end {
            match slots[place].content() {
                Content::Node(below) => self.overwrite(below, 0..256, length, slot),
                Content::Route(_) => replace(&mut slots[place], length, slot),
            }
            place += 1;
        }
        self.runs.pack(&mut self.nodes[node], &slots);
    }

    /// The node below a slot of the root; made of what the slot said where there was none.
    fn node_at_root(&mut self, place: usize) -> usize {
        let slot = self.root[place];
        if let Content::Node(node) = slot.content() {
            return node;
        }
        let node = self.new_node(slot);
        self.root[place] = Slot::node(node);
        node
    }

    /// The node below a slot of another node.
    fn node_below(&mut self, parent: usize, place: usize) -> usize {
        let mut slots = self.runs.unpack(&self.nodes[parent]);
        if let Content::Node(node) = slots[place].content() {
            return node;
        }
        let node = self.new_node(slots[place]);
        slots[place] = Slot::node(node);
        self.runs.pack(&mut self.nodes[parent], &slots);
        node
    }

    /// A node that says the same for all its addresses.
    fn new_node(&mut self, slot: Slot) -> usize {
        let index = self.free.pop().map_or(self.nodes.len(), |index| index as usize);
        let node = self.runs.new_node(slot);
        if index == self.nodes.len() {
            self.nodes.push(node);
        } else {
            self.nodes[index] = node;
        }
        index
    }

    /// Gives back nodes along a prefix that say the same for all their addresses.
    fn fold(&mut self, network: u32, length: u8) {
        let high = (network >> 16) as usize;
        let Content::Node(upper) = self.root[high].content() else { return };
        let third = (network >> 8 & 0xff) as usize;
        if length > 24
            && let Content::Node(lower) = self.runs.at(&self.nodes[upper], third as u8).content()
            && let Some(slot) = self.give_back(lower)
        {
            let mut slots = self.runs.unpack(&self.nodes[upper]);
            slots[third] = slot;
            self.runs.pack(&mut self.nodes[upper], &slots);
        }
        if length > 16
            && let Some(slot) = self.give_back(upper)
        {
            self.root[high] = slot;
        }
    }

    /// Frees a node that says the same for all its addresses, and returns what.
    fn give_back(&mut self, index: usize) -> Option<Slot> {
        let node = &self.nodes[index];
        let slot = self.runs.at(node, 0);
        if node.len() > 1 || matches!(slot.content(), Content::Node(_)) {
            return None;
        }
        self.runs.release(node);
        self.free.push(index as u32);
        Some(slot)
    }
}

/// Lets a prefix of `length` write to a slot, unless a longer one holds it.
fn replace(target: &mut Slot, length: u8, slot: Slot) {
    match target.content() {
        Content::Route(Some((held, _))) if held > length => {}
        _ => *target = slot,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::property;
    use proptest::prelude::*;

    fn prefix(text: &str) -> Ipv4Cidr {
        text.parse().unwrap()
    }

    fn address(text: &str) -> Ipv4Address {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_prefix_wins_in_whatever_order_they_came() {
        let routes =
            [("0.0.0.0/0", 1), ("10.0.0.0/8", 2), ("10.1.0.0/16", 3), ("10.1.2.0/24", 4), ("10.1.2.3/32", 5)];
        let orders = [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 3, 1]];
        for order in orders {
            let mut table = Lpm::new();
            for place in order {
                table.insert(prefix(routes[place].0), routes[place].1);
            }
            let found = ["192.0.2.1", "10.9.0.1", "10.1.9.1", "10.1.2.9", "10.1.2.3"]
                .map(|text| table.lookup(address(text)));
            assert_eq!(found, [1, 2, 3, 4, 5].map(Some), "{order:?}");
        }
    }

    #[test]
    fn host_bits_of_a_prefix_mean_nothing() {
        let mut table = Lpm::new();
        table.insert(prefix("10.1.2.3/24"), 1);
        table.insert(prefix("10.1.2.9/24"), 2);
        assert_eq!(table.lookup(address("10.1.2.200")), Some(2));
        table.remove(prefix("10.1.2.77/24"), None);
        assert_eq!(table.lookup(address("10.1.2.200")), None);
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let mut table = Lpm::new();
        table.insert(prefix("10.0.0.0/8"), 0);
        let mut change = || {
            let hosts = (0..=255).map(|host| Ipv4Cidr::new(Ipv4Address::new(10, 1, 2, host), 32));
            hosts.clone().enumerate().for_each(|(value, host)| table.insert(host, value as u32));
            hosts.for_each(|host| table.remove(host, Some((8, 0))));
            assert_eq!(table.nodes.len(), table.free.len(), "every node is free again");
            table.bytes()
        };
        assert_eq!(change(), change(), "its memory is used again");
        assert_eq!(table.lookup(address("10.1.2.3")), Some(0));
    }

    #[test]
    fn an_empty_table_owns_no_memory() {
        let mut table = Lpm::new();
        table.remove(prefix("10.0.0.0/8"), None);
        assert_eq!(table.bytes(), 0);
        assert_eq!(table.lookup(address("10.1.2.3")), None);
    }

    /// Addresses that often share a prefix.
    fn crowded() -> impl Strategy<Value = u32> {
        prop_oneof![any::<u32>(), 0x0a00_0000..0x0a00_0400u32, 0x0a01_fff0..0x0a02_0010u32]
    }

    fn mask(network: u32, length: u8) -> u32 {
        network & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
    }

    fn covers(network: u32, length: u8, address: u32) -> bool {
        mask(network, length) == mask(address, length)
    }

    /// The longest of these prefixes that covers an address.
    fn longest(list: &[(u32, u8, u32)], address: u32) -> Option<(u8, u32)> {
        let covering = list.iter().filter(|&&(network, length, _)| covers(network, length, address));
        covering.max_by_key(|(_, length, _)| *length).map(|&(_, length, value)| (length, value))
    }

    proptest! {
        #![proptest_config(property())]

        #[test]
        fn equals_a_naive_scan(
            changes in prop::collection::vec((crowded(), 0..=32u8, prop::option::weighted(0.6, 0..1000u32)), 1..80),
            questions in prop::collection::vec(crowded(), 50),
        ) {
            let mut table = Lpm::new();
            let mut list = Vec::<(u32, u8, u32)>::new();
            for (step, &(network, length, value)) in changes.iter().enumerate() {
                // Half of what is taken away has been there before.
                let known = list.get(step % list.len().max(1)).filter(|_| value.is_none() && step % 2 == 0);
                let (network, length) = known.map_or((network, length), |&(network, length, _)| (network, length));
                list.retain(|&(other, held, _)| (other, held) != (mask(network, length), length));
                let prefix = Ipv4Cidr::new(Ipv4Address::from_bits(network), length);
                match value {
                    Some(value) => {
                        table.insert(prefix, value);
                        list.push((mask(network, length), length, value));
                    }
                    None => {
                        let shorter: Vec<_> = list.iter().copied().filter(|(_, held, _)| *held < length).collect();
                        table.remove(prefix, longest(&shorter, mask(network, length)));
                    }
                }
            }
            let ends = changes.iter().flat_map(|&(network, length, _)| {
                let last = mask(network, length) | !mask(u32::MAX, length);
                [mask(network, length), last, last.wrapping_add(1)]
            });
            for address in questions.iter().copied().chain(ends) {
                let naive = longest(&list, address).map(|(_, value)| value);
                prop_assert_eq!(table.lookup(Ipv4Address::from_bits(address)), naive);
            }
        }
    }
}
