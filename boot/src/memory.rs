//! Which memory is free: the machine's map, less what is already in use.

use core::{fmt, ops::Deref};

/// A page.
pub const PAGE: u64 = 4096;

/// Memory below this address belongs to the firmware and the loader, whatever the map says.
const LOW_MEMORY_END: u64 = 1 << 20;

/// Addresses from `start` up to, but not including, `end`.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// The address behind the last one.
    pub end: u64,
}

impl Range {
    /// The range; empty where `end` is not above `start`.
    pub const fn new(start: u64, end: u64) -> Self {
        Self { start, end: if end > start { end } else { start } }
    }

    /// Bytes in it.
    pub const fn length(self) -> u64 {
        self.end - self.start
    }

    /// Whether no address is in it.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The whole pages inside it.
    pub const fn pages_inside(self) -> Self {
        let start = match self.start.checked_next_multiple_of(PAGE) {
            Some(start) => start,
            None => return Self::new(self.end, self.end),
        };
        Self::new(start, self.end & !(PAGE - 1))
    }

    /// All pages that it touches.
    pub const fn pages_around(self) -> Self {
        let end = match self.end.checked_next_multiple_of(PAGE) {
            Some(end) => end,
            None => !(PAGE - 1),
        };
        Self::new(self.start & !(PAGE - 1), end)
    }

    /// What is left of it before and behind `hole`.
    fn without(self, hole: Self) -> [Self; 2] {
        [
            Self::new(self.start, self.end.min(hole.start)),
            Self::new(self.start.max(hole.end).min(self.end), self.end),
        ]
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
    }
}

/// A short list of ranges that needs no heap.
#[derive(Clone, Copy)]
pub struct Regions {
    ranges: [Range; Self::CAPACITY],
    count: usize,
}

impl Regions {
    /// More than any machine has; what comes later is left unused.
    const CAPACITY: usize = 32;

    /// No range.
    pub const fn new() -> Self {
        Self { ranges: [Range { start: 0, end: 0 }; Self::CAPACITY], count: 0 }
    }

    /// Adds a range, unless it is empty or the list is full.
    pub fn push(&mut self, range: Range) {
        if !range.is_empty() && self.count < Self::CAPACITY {
            self.ranges[self.count] = range;
            self.count += 1;
        }
    }

    /// Takes `hole` out of every range.
    pub fn remove(&mut self, hole: Range) {
        let before = *self;
        *self = Self::new();
        for range in before.iter() {
            for rest in range.without(hole) {
                self.push(rest);
            }
        }
    }

    /// Bytes in all ranges together.
    pub fn total(&self) -> u64 {
        self.iter().map(|range| range.length()).sum()
    }
}

impl Default for Regions {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Regions {
    type Target = [Range];

    fn deref(&self) -> &[Range] {
        &self.ranges[..self.count]
    }
}

/// The whole pages of `map` that neither the firmware nor the image nor the module use.
pub fn usable(map: &Regions, image: Range, module: Option<Range>) -> Regions {
    let mut usable = Regions::new();
    for range in map.iter() {
        usable.push(Range::new(range.start.max(LOW_MEMORY_END), range.end).pages_inside());
    }
    usable.remove(image.pages_around());
    if let Some(module) = module {
        usable.remove(module.pages_around());
    }
    usable
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn machine() -> Regions {
        let mut map = Regions::new();
        map.push(Range::new(0, 0x9fc00));
        map.push(Range::new(MIB, 32 * MIB - 0x2_0000));
        map
    }

    #[test]
    fn firmware_image_and_module_are_left_alone() {
        let image = Range::new(MIB, 2 * MIB + 1);
        let module = Range::new(30 * MIB + 5, 30 * MIB + 6);
        assert_eq!(
            *usable(&machine(), image, Some(module)),
            [Range::new(2 * MIB + PAGE, 30 * MIB), Range::new(30 * MIB + PAGE, 32 * MIB - 0x2_0000),]
        );
    }

    #[test]
    fn a_module_over_the_end_of_memory_takes_only_what_is_there() {
        let module = Range::new(32 * MIB - 0x2_1000, 32 * MIB);
        assert_eq!(
            *usable(&machine(), Range::new(MIB, 2 * MIB), Some(module)),
            [Range::new(2 * MIB, 32 * MIB - 0x2_1000)]
        );
    }

    #[test]
    fn ranges_of_a_lying_map_do_not_overflow() {
        let mut map = Regions::new();
        map.push(Range::new(u64::MAX - 5, u64::MAX));
        map.push(Range::new(7, 5));
        assert!(usable(&map, Range::default(), None).is_empty());
        for _ in 0..2 * Regions::CAPACITY {
            map.push(Range::new(MIB, 2 * MIB));
        }
        assert_eq!(map.len(), Regions::CAPACITY);
    }
}
