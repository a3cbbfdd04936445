//! Decisions that the fast path repeats: where packets go and what counts them. Each is kept once for all the flows of
//! which it was taken, so that a flow need only say which one.
//!
//! A ring: a new decision takes the place of the oldest, and flows that still go that way are decided anew.

use super::{neighbor::NeighborId, path::PathId, tick::Ticks};
use crate::{
    config::rules::Counters,
    interface::{InterfaceId, PortId},
};
use alloc::{vec, vec::Vec};
use core::num::NonZeroU32;
use smoltcp::time::Instant;

/// Names a shortcut. The name of one that is gone is not used again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShortcutId(NonZeroU32);

/// What was decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Course {
    /// The interface the packets come in on.
    pub ingress: InterfaceId,
    /// The interface they leave by.
    pub egress: InterfaceId,
    /// The card below that.
    pub port: PortId,
    /// The largest packet that can leave, in bytes.
    pub mtu: u16,
    /// The next hop.
    pub neighbor: NeighborId,
    /// The rules that count each packet.
    pub path: PathId,
    /// How long a flow lives after a packet; no time where the packet does not keep it alive.
    pub lifetime: Ticks,
    /// What else is written into the IPv4 header.
    pub rewrite: Rewrite,
}

/// What rules write into the IPv4 header of each packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rewrite {
    /// The time to live, before this hop is counted.
    pub ttl: Option<u8>,
    /// The bits of the type of service that stay.
    pub tos_kept: u8,
    /// The bits of it that are then turned over.
    pub tos_turned: u8,
}

impl Rewrite {
    /// Nothing.
    pub const NONE: Self = Self { ttl: None, tos_kept: u8::MAX, tos_turned: 0 };

    /// What becomes of a type of service.
    pub fn tos(self, tos: u8) -> u8 {
        tos & self.tos_kept ^ self.tos_turned
    }
}

/// A decision, and what the fast path needs for carrying it out.
#[derive(Clone)]
pub struct Shortcut {
    /// What was decided.
    pub course: Course,
    /// The addresses of the Ethernet header that leaves: destination, source.
    pub macs: [u8; 12],
    /// `macs` holds until then, as long as the neighbour table does not change. Of a course that rewrites more than addresses
    /// nothing ever holds, so that the fast path need not ask each packet for it.
    pub fresh_until: Instant,
    /// The state of the neighbour table for which `macs` holds.
    pub neighbors: u32,
    /// Packets that went this way, and their bytes without the Ethernet header, since they were last told on.
    pub counters: Counters,
    id: Option<ShortcutId>,
    /// The next place in the same bucket.
    next: u16,
}

const NIL: u16 = u16::MAX;

/// All decisions that hold.
pub struct Shortcuts {
    ring: Vec<Shortcut>,
    buckets: Vec<u16>,
    last: u32,
}

impl Shortcuts {
    /// Room for at least `capacity` shortcuts (at most 32,768).
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, 1 << 15).next_power_of_two();
        let unused = Shortcut {
            course: Course {
                ingress: InterfaceId::LOOPBACK,
                egress: InterfaceId::LOOPBACK,
                port: PortId(0),
                mtu: 0,
                neighbor: NeighborId::NONE,
                path: PathId::EMPTY,
                lifetime: Ticks::default(),
                rewrite: Rewrite::NONE,
            },
            macs: [0; 12],
            fresh_until: Instant::ZERO,
            neighbors: 0,
            counters: Counters::default(),
            id: None,
            next: NIL,
        };
        Self { ring: vec![unused; capacity], buckets: vec![NIL; capacity], last: 0 }
    }

    /// The shortcut of a name, while it holds.
    #[inline]
    pub fn get_mut(&mut self, id: ShortcutId) -> Option<&mut Shortcut> {
        let place = self.place(id);
        let shortcut = self.ring.get_mut(place)?;
        if shortcut.id == Some(id) { Some(shortcut) } else { None }
    }

    /// The shortcut for a course. A new one may take the place of another, whose counts go to `tell`.
    ///
    /// `None` when all names are used up, after 2^32 of them. Take all shortcuts away from all flows, and call
    /// [`Shortcuts::forget_names`].
    pub fn intern(&mut self, course: Course, tell: impl FnOnce(&Shortcut)) -> Option<ShortcutId> {
        let bucket = self.bucket(&course);
        let mut place = self.buckets[bucket];
        while let Some(shortcut) = self.ring.get(usize::from(place)) {
            if shortcut.course == course {
                return shortcut.id;
            }
            place = shortcut.next;
        }
        let id = ShortcutId(NonZeroU32::MIN.checked_add(self.last)?);
        self.last += 1;
        let place = self.place(id);
        if self.ring[place].id.is_some() {
            tell(&self.ring[place]);
            self.unlink(place as u16);
        }
        self.ring[place] = Shortcut {
            course,
            macs: [0; 12],
            fresh_until: Instant::ZERO,
            neighbors: 0,
            counters: Counters::default(),
            id: Some(id),
            next: self.buckets[bucket],
        };
        self.buckets[bucket] = place as u16;
        Some(id)
    }

    /// No decision holds any more. Tell on what they counted before.
    pub fn clear(&mut self) {
        self.buckets.fill(NIL);
        for shortcut in &mut self.ring {
            shortcut.id = None;
        }
    }

    /// Begins with the first name again.
    pub fn forget_names(&mut self) {
        self.clear();
        self.last = 0;
    }

    /// Every shortcut that holds.
    pub fn iter(&self) -> impl Iterator<Item = &Shortcut> {
        self.ring.iter().filter(|shortcut| shortcut.id.is_some())
    }

    #[inline]
    fn place(&self, id: ShortcutId) -> usize {
        id.0.get() as usize & (self.ring.len() - 1)
    }

    fn unlink(&mut self, place: u16) {
        let Shortcut { course, next, .. } = self.ring[usize::from(place)];
        let bucket = self.bucket(&course);
        if self.buckets[bucket] == place {
            self.buckets[bucket] = next;
            return;
        }
        let mut before = self.buckets[bucket];
        while let Some(shortcut) = self.ring.get_mut(usize::from(before)) {
            if shortcut.next == place {
                shortcut.next = next;
                return;
            }
            before = shortcut.next;
        }
    }

    /// Neighbours are numbered as they come, and ways through the rules, too: no hash could spread them better.
    fn bucket(&self, course: &Course) -> usize {
        let Course { ingress, egress, neighbor, path, .. } = course;
        let interfaces = usize::from(ingress.0 ^ egress.0.rotate_left(3));
        (neighbor.place() + path.number() * 67 + interfaces * 257) & (self.buckets.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(mtu: u16) -> Course {
        Course { mtu, ..Shortcuts::new(1).ring[0].course }
    }

    fn intern(shortcuts: &mut Shortcuts, mtu: u16) -> ShortcutId {
        shortcuts.intern(course(mtu), |_| {}).unwrap()
    }

    #[test]
    fn one_course_has_one_shortcut() {
        let mut shortcuts = Shortcuts::new(4);
        let (first, second) = (intern(&mut shortcuts, 1500), intern(&mut shortcuts, 1400));
        assert_ne!(first, second);
        assert_eq!(intern(&mut shortcuts, 1500), first);
        assert_eq!(shortcuts.get_mut(second).unwrap().course.mtu, 1400);
    }

    #[test]
    fn the_oldest_makes_room_and_tells_what_it_counted() {
        let mut shortcuts = Shortcuts::new(4);
        let ids: Vec<_> = (0..4).map(|mtu| intern(&mut shortcuts, mtu)).collect();
        shortcuts.get_mut(ids[0]).unwrap().counters.add(1, 100);
        let mut told = None;
        let new = shortcuts.intern(course(4), |shortcut| told = Some(shortcut.counters.get())).unwrap();
        assert_eq!(told, Some((1, 100)));
        assert!(shortcuts.get_mut(ids[0]).is_none());
        for (mtu, id) in ids.into_iter().enumerate().skip(1) {
            assert_eq!(intern(&mut shortcuts, mtu as u16), id);
        }
        assert_eq!(intern(&mut shortcuts, 4), new);
    }

    #[test]
    fn nothing_holds_once_all_are_forgotten() {
        let mut shortcuts = Shortcuts::new(4);
        let old = intern(&mut shortcuts, 1500);
        shortcuts.clear();
        assert!(shortcuts.get_mut(old).is_none());
        assert_ne!(intern(&mut shortcuts, 1500), old);
        assert_eq!(shortcuts.iter().count(), 1);
    }

    #[test]
    fn names_are_never_used_twice_unless_all_are_forgotten() {
        let mut shortcuts = Shortcuts::new(4);
        shortcuts.last = u32::MAX - 1;
        let last = intern(&mut shortcuts, 1);
        assert_eq!(shortcuts.intern(course(2), |_| {}), None);
        shortcuts.forget_names();
        assert_ne!(intern(&mut shortcuts, 1), last);
    }
}
