//! Longest-prefix match for IPv4 in at most three loads: a trie with strides of 16, 8 and 8 bits.
//!
//! Read RFC 1812 5.2.4.3 for the rule; the layout is that of DIR-24-8 (Gupta, Lin, McKeown 1998) with a smaller
//! root. Each slot carries the best route for its addresses, so that a lookup never walks back up. An empty
//! table owns nothing, a small one 256 KiB; a million scattered /24 take about 80 MiB.

use alloc::{boxed::Box, collections::BTreeMap, vec, vec::Vec};
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

/// The table.
#[derive(Default)]
pub struct Lpm {
    /// 65,536 slots for the first 16 bits; empty as long as no route was inserted.
    root: Box<[Slot]>,
    /// Nodes of 256 slots for the third or the fourth byte.
    nodes: Vec<[Slot; 256]>,
    /// Nodes that are not in use.
    free: Vec<u32>,
    /// Every route by network and length: what a shorter prefix is when a longer one goes.
    routes: BTreeMap<(u32, u8), u32>,
}

impl Lpm {
    /// The largest value that a route can have.
    pub const MAX_VALUE: u32 = (1 << Slot::VALUE_BITS) - 1;

    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of prefixes.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there is no prefix at all.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// The value of the longest prefix that covers `address`.
    #[inline]
    pub fn lookup(&self, address: Ipv4Address) -> Option<u32> {
        let address = address.to_bits();
        let mut slot = *self.root.get((address >> 16) as usize)?;
        for shift in [8, 0] {
            match slot.content() {
                Content::Route(route) => return route.map(|(_, value)| value),
                Content::Node(node) => slot = self.nodes[node][(address >> shift & 0xff) as usize],
            }
        }
        match slot.content() {
            Content::Route(route) => route.map(|(_, value)| value),
            Content::Node(_) => None,
        }
    }

    /// Adds a prefix, or gives it a new value; host bits are ignored. Returns the value that it had.
    ///
    /// # Panics
    /// With a value above [`Lpm::MAX_VALUE`].
    pub fn insert(&mut self, prefix: Ipv4Cidr, value: u32) -> Option<u32> {
        assert!(value <= Self::MAX_VALUE, "value {value} does not fit a slot");
        let network = prefix.network().address().to_bits();
        let length = prefix.prefix_len();
        if self.root.is_empty() {
            self.root = vec![Slot::EMPTY; 1 << 16].into_boxed_slice();
        }
        self.write(network, length, Slot::route(length, value));
        self.routes.insert((network, length), value)
    }

    /// Takes a prefix away; host bits are ignored. Returns the value that it had.
    pub fn remove(&mut self, prefix: Ipv4Cidr) -> Option<u32> {
        let network = prefix.network().address().to_bits();
        let length = prefix.prefix_len();
        let value = self.routes.remove(&(network, length))?;
        let heir = (0..length).rev().find_map(|shorter| {
            let network = mask(network, shorter);
            self.routes.get(&(network, shorter)).map(|&value| Slot::route(shorter, value))
        });
        self.write(network, length, heir.unwrap_or(Slot::EMPTY));
        self.fold(network, length);
        Some(value)
    }

    /// Writes `slot` to all addresses of a prefix, except where a longer prefix rules.
    fn write(&mut self, network: u32, length: u8, slot: Slot) {
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
        let node = self.descend(Place::Root(high));
        let third = (network >> 8 & 0xff) as usize;
        if length <= 24 {
            self.overwrite(node, third..third + (1 << (24 - length)), length, slot);
            return;
        }
        let node = self.descend(Place::Node(node, third));
        let fourth = (network & 0xff) as usize;
        self.overwrite(node, fourth..fourth + (1 << (32 - length)), length, slot);
    }

    /// Writes to some slots of a node and to all that hangs below them.
    fn overwrite(&mut self, node: usize, places: core::ops::Range<usize>, length: u8, slot: Slot) {
        for place in places {
            match self.nodes[node][place].content() {
                Content::Node(below) => self.overwrite(below, 0..256, length, slot),
                Content::Route(_) => replace(&mut self.nodes[node][place], length, slot),
            }
        }
    }

    /// The node below a slot; made of what the slot said where there was none.
    fn descend(&mut self, place: Place) -> usize {
        let slot = self.at(place);
        if let Content::Node(node) = slot.content() {
            return node;
        }
        let node = match self.free.pop() {
            Some(node) => node as usize,
            None => {
                self.nodes.push([Slot::EMPTY; 256]);
                self.nodes.len() - 1
            }
        };
        self.nodes[node] = [slot; 256];
        *self.at_mut(place) = Slot::node(node);
        node
    }

    /// Gives back nodes along a prefix that say the same for all their addresses.
    fn fold(&mut self, network: u32, length: u8) {
        if length <= 16 {
            return;
        }
        let top = Place::Root((network >> 16) as usize);
        if let Content::Node(node) = self.at(top).content()
            && length > 24
        {
            self.fold_one(Place::Node(node, (network >> 8 & 0xff) as usize));
        }
        self.fold_one(top);
    }

    fn fold_one(&mut self, place: Place) {
        let Content::Node(node) = self.at(place).content() else { return };
        let first = self.nodes[node][0];
        if matches!(first.content(), Content::Route(_)) && self.nodes[node].iter().all(|&slot| slot == first)
        {
            *self.at_mut(place) = first;
            self.free.push(node as u32);
        }
    }

    fn at(&self, place: Place) -> Slot {
        match place {
            Place::Root(place) => self.root[place],
            Place::Node(node, place) => self.nodes[node][place],
        }
    }

    fn at_mut(&mut self, place: Place) -> &mut Slot {
        match place {
            Place::Root(place) => &mut self.root[place],
            Place::Node(node, place) => &mut self.nodes[node][place],
        }
    }
}

/// Where a slot is.
#[derive(Clone, Copy)]
enum Place {
    Root(usize),
    Node(usize, usize),
}

/// Lets a prefix of `length` write to a slot, unless a longer one holds it.
fn replace(target: &mut Slot, length: u8, slot: Slot) {
    match target.content() {
        Content::Route(Some((held, _))) if held > length => {}
        _ => *target = slot,
    }
}

fn mask(network: u32, length: u8) -> u32 {
    network & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
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
        assert_eq!(table.insert(prefix("10.1.2.3/24"), 1), None);
        assert_eq!(table.insert(prefix("10.1.2.9/24"), 2), Some(1));
        assert_eq!(table.lookup(address("10.1.2.200")), Some(2));
        assert_eq!(table.remove(prefix("10.1.2.77/24")), Some(2));
        assert!(table.is_empty());
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let mut table = Lpm::new();
        table.insert(prefix("10.0.0.0/8"), 0);
        for host in 0..=255 {
            table.insert(Ipv4Cidr::new(Ipv4Address::new(10, 1, 2, host), 32), u32::from(host));
        }
        for host in 0..=255 {
            table.remove(Ipv4Cidr::new(Ipv4Address::new(10, 1, 2, host), 32));
        }
        assert_eq!(table.nodes.len(), table.free.len(), "every node is free again");
        assert_eq!(table.lookup(address("10.1.2.3")), Some(0));
    }

    #[test]
    fn an_empty_table_owns_no_memory() {
        let table = Lpm::new();
        assert_eq!((table.root.len(), table.nodes.capacity()), (0, 0));
        assert_eq!(table.lookup(address("10.1.2.3")), None);
    }

    /// Addresses that often share a prefix.
    fn crowded() -> impl Strategy<Value = u32> {
        prop_oneof![any::<u32>(), 0x0a00_0000..0x0a00_0400u32, 0x0a01_fff0..0x0a02_0010u32]
    }

    fn covers(network: u32, length: u8, address: u32) -> bool {
        mask(network, length) == mask(address, length)
    }

    proptest! {
        #![proptest_config(property())]

        #[test]
        fn equals_a_naive_scan(
            changes in prop::collection::vec((crowded(), 0..=32u8, prop::option::weighted(0.7, 0..1000u32)), 1..80),
            questions in prop::collection::vec(crowded(), 50),
        ) {
            let mut table = Lpm::new();
            let mut list = Vec::<(u32, u8, u32)>::new();
            for &(network, length, value) in &changes {
                list.retain(|&(other, held, _)| (other, held) != (mask(network, length), length));
                let prefix = Ipv4Cidr::new(Ipv4Address::from_bits(network), length);
                match value {
                    Some(value) => {
                        table.insert(prefix, value);
                        list.push((mask(network, length), length, value));
                    }
                    None => {
                        table.remove(prefix);
                    }
                }
            }
            let ends = changes.iter().flat_map(|&(network, length, _)| {
                let last = mask(network, length) | !mask(u32::MAX, length);
                [mask(network, length), last, last.wrapping_add(1)]
            });
            for address in questions.iter().copied().chain(ends) {
                let naive = list
                    .iter()
                    .filter(|&&(network, length, _)| covers(network, length, address))
                    .max_by_key(|(_, length, _)| *length)
                    .map(|&(_, _, value)| value);
                prop_assert_eq!(table.lookup(Ipv4Address::from_bits(address)), naive);
            }
            prop_assert_eq!(table.len(), list.len());
        }
    }
}
