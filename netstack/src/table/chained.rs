//! Records in buckets: one slab of fixed size, each record linked into the bucket that its hash names.

use alloc::vec::Vec;

const NIL: u32 = u32::MAX;

#[derive(Clone)]
struct Slot<T> {
    /// The next one in its bucket; of a free slot, the next free one.
    next: u32,
    record: T,
}

/// The records.
pub(super) struct Chained<T> {
    slots: Vec<Slot<T>>,
    heads: Vec<u32>,
    free: u32,
    used: usize,
}

impl<T: Copy> Chained<T> {
    /// Without any memory: nothing fits.
    pub(super) const fn empty() -> Self {
        Self { slots: Vec::new(), heads: Vec::new(), free: NIL, used: 0 }
    }

    /// Room for `capacity` records, all of it taken here.
    pub(super) fn new(capacity: usize) -> Self {
        Self { slots: Vec::with_capacity(capacity), heads: alloc::vec![NIL; capacity], ..Self::empty() }
    }

    pub(super) fn len(&self) -> usize {
        self.used
    }

    pub(super) fn is_full(&self) -> bool {
        self.used == self.heads.len()
    }

    pub(super) fn get(&self, place: u32) -> &T {
        &self.slots[place as usize].record
    }

    pub(super) fn get_mut(&mut self, place: u32) -> &mut T {
        &mut self.slots[place as usize].record
    }

    /// The place of the record of this hash that `fits`.
    pub(super) fn find(&self, hash: u32, fits: impl Fn(&T) -> bool) -> Option<u32> {
        let mut link = self.heads.get(self.bucket(hash)).copied().unwrap_or(NIL);
        while let Some(slot) = self.slots.get(link as usize) {
            if fits(&slot.record) {
                return Some(link);
            }
            link = slot.next;
        }
        None
    }

    /// Adds a record; `None` where there is no room.
    pub(super) fn insert(&mut self, hash: u32, record: T) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        let bucket = self.bucket(hash);
        let slot = Slot { next: self.heads[bucket], record };
        let place = if self.free == NIL {
            self.slots.push(slot);
            (self.slots.len() - 1) as u32
        } else {
            let place = self.free;
            self.free = self.slots[place as usize].next;
            self.slots[place as usize] = slot;
            place
        };
        self.heads[bucket] = place;
        self.used += 1;
        Some(place)
    }

    /// Takes out a record of this hash that `fits`.
    pub(super) fn remove(&mut self, hash: u32, fits: impl Fn(&T) -> bool) -> Option<T> {
        let bucket = self.bucket(hash);
        let (mut before, mut link) = (None, self.heads.get(bucket).copied().unwrap_or(NIL));
        while let Some(Slot { next, record }) = self.slots.get(link as usize).cloned() {
            if fits(&record) {
                match before {
                    None => self.heads[bucket] = next,
                    Some(before) => self.slots[before as usize].next = next,
                }
                self.slots[link as usize].next = self.free;
                self.free = link;
                self.used -= 1;
                return Some(record);
            }
            (before, link) = (Some(link), next);
        }
        None
    }

    fn bucket(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.heads.len() as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_one_bucket_are_found_and_removed_in_any_order() {
        let mut records = Chained::new(10);
        for number in 0..10 {
            assert!(records.insert(7, number).is_some());
        }
        assert_eq!(records.insert(7, 10), None, "full");
        for number in [9, 0, 4, 5, 1] {
            assert_eq!(records.remove(7, |&it| it == number), Some(number));
            assert_eq!(records.remove(7, |&it| it == number), None);
        }
        for number in [2, 3, 6, 7, 8] {
            assert!(records.find(7, |&it| it == number).is_some());
        }
        assert_eq!(records.len(), 5);
        assert!(records.insert(u32::MAX, 11).is_some());
    }

    #[test]
    fn without_memory_nothing_fits() {
        let mut records = Chained::empty();
        assert_eq!(records.insert(7, 1), None);
        assert_eq!(records.remove(7, |_| true), None);
        assert_eq!(records.find(7, |_| true), None);
    }
}
