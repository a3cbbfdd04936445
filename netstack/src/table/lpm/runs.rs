//! Where the nodes of the trie keep their slots: equal neighbours once, all nodes in one stretch of memory.

use super::{Slot, Slots};
use alloc::vec::Vec;

/// 256 slots, as runs of equal ones.
pub struct Node {
    /// One bit for each slot: whether it differs from the one before. The first bit is always set.
    starts: [u64; 4],
    /// Runs that begin before each word of `starts`.
    before: [u8; 4],
    /// Where the runs are.
    first: u32,
}

impl Node {
    /// Number of runs, 1 to 256.
    pub fn len(&self) -> usize {
        usize::from(self.before[3]) + self.starts[3].count_ones() as usize
    }

    /// The first slot of each run.
    fn places(&self) -> impl Iterator<Item = usize> {
        self.starts.iter().enumerate().flat_map(|(word, &starts)| {
            let rest = core::iter::successors(Some(starts), |bits| Some(bits & bits.checked_sub(1)?));
            rest.take_while(|&bits| bits != 0).map(move |bits| 64 * word + bits.trailing_zeros() as usize)
        })
    }
}

/// Blocks of slots, cut from one vector; those given back wait in a list for each size.
pub struct Runs {
    slots: Vec<Slot>,
    /// The first free block of each size; a free block's first slot says where the next one is.
    free: [u32; SIZES],
}

/// Sizes of blocks: four steps from one power of two to the next, so that at most a fifth is wasted.
const SIZES: usize = 28;
const NONE: u32 = u32::MAX;

/// The smallest size that holds `length` slots: its number and its slots.
fn size_for(length: usize) -> (usize, usize) {
    if length <= 4 {
        return (length - 1, length);
    }
    let step = (length - 1).ilog2() - 2;
    let quarters = ((length - 1) >> step) + 1;
    (4 * step as usize + quarters - 1, quarters << step)
}

impl Default for Runs {
    fn default() -> Self {
        Self { slots: Vec::new(), free: [NONE; SIZES] }
    }
}

impl Runs {
    /// Bytes of memory that it owns.
    pub fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// The slot of a node for one byte of an address.
    #[inline]
    pub fn at(&self, node: &Node, byte: u8) -> Slot {
        let word = usize::from(byte >> 6);
        let up_to = node.starts[word] << (63 - (byte & 63));
        let run = u32::from(node.before[word]) + up_to.count_ones() - 1;
        self.slots[(node.first + run) as usize]
    }

    /// A node whose slots are all equal.
    pub fn new_node(&mut self, slot: Slot) -> Node {
        let first = self.take(1);
        self.slots[first as usize] = slot;
        Node { starts: [1, 0, 0, 0], before: [0, 1, 1, 1], first }
    }

    /// All slots of a node.
    pub fn unpack(&self, node: &Node) -> Slots {
        let mut slots = [Slot::EMPTY; 256];
        let runs = &self.slots[node.first as usize..][..node.len()];
        let mut ends = node.places().skip(1).chain([256]);
        let mut start = 0;
        for &slot in runs {
            let end = ends.next().unwrap_or(256);
            slots[start..end].fill(slot);
            start = end;
        }
        slots
    }

    /// Gives a node these slots.
    pub fn pack(&mut self, node: &mut Node, slots: &Slots) {
        let mut packed = Node { starts: [1, 0, 0, 0], before: [0; 4], first: node.first };
        for (place, pair) in slots.windows(2).enumerate() {
            packed.starts[(place + 1) >> 6] |= u64::from(pair[0] != pair[1]) << ((place + 1) & 63);
        }
        for word in 1..4 {
            packed.before[word] = packed.before[word - 1] + packed.starts[word - 1].count_ones() as u8;
        }
        let length = packed.len();
        if size_for(length) != size_for(node.len()) {
            self.release(node);
            packed.first = self.take(length);
        }
        let runs = &mut self.slots[packed.first as usize..][..length];
        for (run, place) in runs.iter_mut().zip(packed.places()) {
            *run = slots[place];
        }
        *node = packed;
    }

    /// Gives a node's block back.
    pub fn release(&mut self, node: &Node) {
        let (number, _) = size_for(node.len());
        self.slots[node.first as usize] = Slot(self.free[number]);
        self.free[number] = node.first;
    }

    /// A block for so many slots.
    fn take(&mut self, length: usize) -> u32 {
        let (number, size) = size_for(length);
        match self.free[number] {
            NONE => {
                let first = self.slots.len();
                if first + size > self.slots.capacity() {
                    // Small steps, for there may be megabytes.
                    self.slots.reserve_exact(size + first / 8);
                }
                self.slots.resize(first + size, Slot::EMPTY);
                first as u32
            }
            first => {
                self.free[number] = self.slots[first as usize].0;
                first
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbered_without_a_gap_and_waste_at_most_a_fifth() {
        let mut known = Vec::new();
        for length in 1..=256 {
            let (number, size) = size_for(length);
            assert!(size >= length && (size - length) * 5 <= size, "{length} slots in {size}");
            if number == known.len() {
                known.push(size);
            }
            assert_eq!(known[number], size);
        }
        assert_eq!(known.len(), SIZES);
    }

    #[test]
    fn what_is_packed_is_found_again_and_blocks_are_used_again() {
        let mut runs = Runs::default();
        let mut node = runs.new_node(Slot(7));
        for step in [1, 2, 3, 5, 40, 255] {
            let slots: Slots = core::array::from_fn(|place| Slot((place / step) as u32));
            runs.pack(&mut node, &slots);
            assert!(runs.unpack(&node) == slots);
            assert!((0..=255).all(|byte| runs.at(&node, byte) == slots[usize::from(byte)]));
        }
        let most = runs.slots.len();
        for step in [1, 2, 3, 5, 40, 255] {
            runs.pack(&mut node, &core::array::from_fn(|place| Slot((place / step) as u32)));
        }
        assert_eq!(runs.slots.len(), most);
    }
}
