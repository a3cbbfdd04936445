//! Sets of rules: 64 to a word, words without a rule left out.

use alloc::vec::Vec;

/// A set of the rules of a part of a chain, of which there are 16,384 at most, by number.
pub struct Places {
    /// One bit for each word: whether it is stored.
    filled: [u64; 4],
    /// Words stored before each part of `filled`.
    before: [u8; 4],
    /// Where they are.
    first: u32,
}

impl Places {
    /// Adds the words that have a rule.
    pub fn add_filled(&self, union: &mut [u64; 4]) {
        union.iter_mut().zip(self.filled).for_each(|(all, one)| *all |= one);
    }
}

/// The words of all sets of a chain.
#[derive(Default)]
pub struct Words(Vec<u64>);

impl Words {
    /// A set of these rules, which come in order.
    pub fn collect(&mut self, rules: impl Iterator<Item = u16>) -> Places {
        let mut places = Places { filled: [0; 4], before: [0; 4], first: self.0.len() as u32 };
        for rule in rules {
            let word = usize::from(rule / 64) % 256;
            if places.filled[word / 64] >> (word % 64) & 1 == 0 {
                places.filled[word / 64] |= 1 << (word % 64);
                self.0.push(0);
            }
            if let Some(last) = self.0.last_mut() {
                *last |= 1 << (rule % 64);
            }
        }
        for part in 1..4 {
            places.before[part] = places.before[part - 1] + places.filled[part - 1].count_ones() as u8;
        }
        places
    }

    /// 64 rules of a set.
    #[inline]
    pub fn get(&self, set: &Places, word: usize) -> u64 {
        let (part, bit) = (word / 64, word % 64);
        let Some(filled) = set.filled.get(part).filter(|filled| *filled >> bit & 1 != 0) else { return 0 };
        let rank = u32::from(set.before[part]) + (filled & !(u64::MAX << bit)).count_ones();
        self.0[(set.first + rank) as usize]
    }

    /// Gives back memory that is not needed.
    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    /// Bytes of memory that it owns.
    pub fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<u64>()
    }
}
