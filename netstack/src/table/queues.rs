//! Queues over the slots of a slab: every slot is in exactly one, and moves to another in constant time.

use alloc::vec::Vec;

const NONE: u16 = u16::MAX;

#[derive(Clone, Copy)]
struct Link {
    queue: u8,
    previous: u16,
    next: u16,
}

#[derive(Clone, Copy)]
struct Ends {
    first: u16,
    last: u16,
}

/// `N` queues that share the slots 0, 1, 2, ..; at first all are in queue 0, in order.
pub(super) struct Queues<const N: usize> {
    links: Vec<Link>,
    ends: [Ends; N],
}

impl<const N: usize> Queues<N> {
    /// Queues over `slots` slots, of which there can be 65,535.
    pub(super) fn new(slots: u16) -> Self {
        let mut queues =
            Self { links: Vec::with_capacity(slots.into()), ends: [Ends { first: NONE, last: NONE }; N] };
        for slot in 0..slots {
            queues.links.push(Link { queue: 0, previous: NONE, next: NONE });
            queues.append(slot, 0);
        }
        queues
    }

    /// The queue that a slot is in.
    pub(super) fn queue_of(&self, slot: u16) -> usize {
        self.links[usize::from(slot)].queue.into()
    }

    /// The slot that is in a queue for longest (or was put first).
    pub(super) fn first(&self, queue: usize) -> Option<u16> {
        Some(self.ends[queue].first).filter(|&slot| slot != NONE)
    }

    /// The slots of a queue, first to last.
    pub(super) fn iter(&self, queue: usize) -> impl Iterator<Item = u16> {
        core::iter::successors(self.first(queue), |&slot| {
            Some(self.links[usize::from(slot)].next).filter(|&next| next != NONE)
        })
    }

    /// Moves a slot to the end of a queue.
    pub(super) fn move_last(&mut self, slot: u16, queue: usize) {
        self.unlink(slot);
        self.append(slot, queue);
    }

    /// Moves a slot to the front of a queue.
    pub(super) fn move_first(&mut self, slot: u16, queue: usize) {
        self.unlink(slot);
        let next = self.ends[queue].first;
        self.links[usize::from(slot)] = Link { queue: queue as u8, previous: NONE, next };
        self.ends[queue].first = slot;
        match next {
            NONE => self.ends[queue].last = slot,
            next => self.links[usize::from(next)].previous = slot,
        }
    }

    fn append(&mut self, slot: u16, queue: usize) {
        let previous = self.ends[queue].last;
        self.links[usize::from(slot)] = Link { queue: queue as u8, previous, next: NONE };
        self.ends[queue].last = slot;
        match previous {
            NONE => self.ends[queue].first = slot,
            previous => self.links[usize::from(previous)].next = slot,
        }
    }

    fn unlink(&mut self, slot: u16) {
        let Link { queue, previous, next } = self.links[usize::from(slot)];
        let ends = &mut self.ends[usize::from(queue)];
        match previous {
            NONE => ends.first = next,
            previous => self.links[usize::from(previous)].next = next,
        }
        let ends = &mut self.ends[usize::from(queue)];
        match next {
            NONE => ends.last = previous,
            next => self.links[usize::from(next)].previous = previous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(queues: &Queues<2>, queue: usize) -> Vec<u16> {
        queues.iter(queue).collect()
    }

    #[test]
    fn a_slot_is_in_one_queue_at_a_time_and_order_is_kept() {
        let mut queues = Queues::<2>::new(4);
        assert_eq!(slots(&queues, 0), [0, 1, 2, 3]);
        queues.move_last(1, 1);
        queues.move_last(3, 1);
        queues.move_first(0, 1);
        assert_eq!((slots(&queues, 0), slots(&queues, 1)), ([2].into(), [0, 1, 3].into()));
        queues.move_last(1, 1);
        assert_eq!(slots(&queues, 1), [0, 3, 1]);
        queues.move_first(2, 0);
        queues.move_last(3, 0);
        assert_eq!((slots(&queues, 0), slots(&queues, 1)), ([2, 3].into(), [0, 1].into()));
        assert_eq!(queues.queue_of(3), 0);
    }
}
