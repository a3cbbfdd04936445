//! A split virtqueue. Read first: virtio 1.2, 2.7 "Split Virtqueues".
//!
//! The device sees the memory of the ring and may write anything there at any time. So nothing is believed: what a
//! buffer is, where it lies and how long it is stands in memory of our own, and an answer that does not fit is counted
//! as a lie. Buffers are published and the device is kicked once for a whole burst.

use alloc::boxed::Box;
use core::{
    mem,
    sync::atomic::{Ordering, fence},
};

mod area;
pub use area::Area;

/// Tells a device that a queue has something new.
pub trait Doorbell {
    /// Kicks the device.
    fn ring(&mut self);
}

/// What the device does with a part of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// It reads.
    Transmit,
    /// It writes.
    Receive,
}

/// A stretch of memory in a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Where it lies.
    pub address: u64,
    /// Its bytes.
    pub length: u32,
    /// Whether the device reads it or writes it.
    pub direction: Direction,
}

impl Part {
    /// A part that the device reads.
    #[inline]
    pub fn readable(bytes: &[u8]) -> Self {
        Self { address: bytes.as_ptr() as u64, length: bytes.len() as u32, direction: Direction::Transmit }
    }

    /// A part that the device writes.
    #[inline]
    pub fn writable(bytes: &mut [u8]) -> Self {
        Self { address: bytes.as_mut_ptr() as u64, length: bytes.len() as u32, direction: Direction::Receive }
    }

    fn room_to_write(&self) -> u32 {
        if self.direction == Direction::Receive { self.length } else { 0 }
    }
}

/// Where a ring lies in memory, for the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// The descriptor table.
    pub descriptors: u64,
    /// The available ring (the driver's).
    pub available: u64,
    /// The used ring (the device's).
    pub used: u64,
}

/// Descriptors that a ring may have.
pub const MOST: usize = 1024;

/// What we know of a descriptor.
struct Entry<T> {
    /// The buffer of which it is the first part, where the device has it.
    buffer: Option<T>,
    /// How many bytes the device may write to that buffer.
    writable: u32,
    /// In how many parts that buffer was given.
    parts: u16,
    /// The descriptor of the next part; of a free one: the next free one.
    next: u16,
}

/// A ring of buffers of the type `T`.
pub struct Ring<T> {
    area: Area,
    /// As many as there may ever be: so each number leads to one, and nothing has to be compared on a packet's way.
    entries: Box<[Entry<T>; MOST]>,
    /// The first of the free descriptors, and how many there are.
    free: u16,
    room: usize,
    /// Place in the available ring for the next buffer; runs ahead of what the device was told.
    next_available: u16,
    published: u16,
    next_used: u16,
    /// How far the device has come, as far as it was seen.
    seen: u16,
    lies: u64,
}

/// Descriptors that were taken for a buffer.
#[must_use]
pub struct Chain {
    head: u16,
    parts: u16,
    writable: u32,
}

impl<T> Ring<T> {
    /// An empty ring with `size` descriptors; interrupts are off.
    ///
    /// # Panics
    /// Unless `size` is a power of two and at most [`MOST`].
    pub fn new(size: u16) -> Self {
        assert!(size.is_power_of_two(), "the size of a split virtqueue is a power of two");
        assert!(usize::from(size) <= MOST, "no ring is that large");
        let mut area = Area::new(size);
        area.set_interrupts(false);
        let entry = |id| Entry { buffer: None, writable: 0, parts: 0, next: (id as u16 + 1) % size };
        let entries: Box<[_]> = (0..MOST).map(entry).collect();
        Self {
            area,
            entries: entries.try_into().unwrap_or_else(|_| unreachable!("that many were collected")),
            free: 0,
            room: size.into(),
            next_available: 0,
            published: 0,
            next_used: 0,
            seen: 0,
            lies: 0,
        }
    }

    /// Where it lies.
    pub fn addresses(&self) -> Addresses {
        self.area.addresses()
    }

    /// Parts that it holds at most.
    pub fn size(&self) -> u16 {
        self.area.size()
    }

    /// Parts that fit now.
    #[inline]
    pub fn room(&self) -> usize {
        self.room
    }

    /// Answers of the device so far that could not be true.
    pub fn lies(&self) -> u64 {
        self.lies
    }

    /// Adds a buffer of one part. The device learns of it with [`Ring::publish`]; it comes back from [`Ring::pop`].
    ///
    /// # Errors
    /// The buffer itself, where the ring is full.
    ///
    /// # Safety
    /// `buffer` keeps the part in its place. Until it comes back, or the device is reset and the ring dropped, nothing
    /// else touches the part.
    #[inline(always)] // once for each frame in each direction
    pub unsafe fn push(&mut self, buffer: T, part: Part) -> Result<(), T> {
        if self.room == 0 {
            return Err(buffer);
        }
        let head = self.free;
        self.area.write_descriptor(head, part, None);
        self.free = self.next_of(head);
        self.room -= 1;
        self.lend(buffer, Chain { head, parts: 1, writable: part.room_to_write() });
        Ok(())
    }

    /// Takes descriptors for a buffer that consists of `parts`; `None` where there are not enough of them, or no part.
    pub fn take(&mut self, mut parts: impl Iterator<Item = Part>) -> Option<Chain> {
        let (head, mut last, mut count, mut writable) = (self.free, self.free, 0, 0);
        let mut next_part = parts.next();
        while let Some(part) = next_part {
            if count == self.room {
                return None; // what was written stays in descriptors that are free
            }
            next_part = parts.next();
            let next = self.next_of(last);
            self.area.write_descriptor(last, part, next_part.is_some().then_some(next));
            last = next;
            count += 1;
            writable += part.room_to_write();
        }
        self.free = last;
        self.room -= count;
        (count > 0).then_some(Chain { head, parts: count as u16, writable })
    }

    /// Adds a buffer of several parts, for which descriptors were taken.
    ///
    /// # Safety
    /// As [`Ring::push`], for each of the parts.
    pub unsafe fn push_chain(&mut self, buffer: T, chain: Chain) {
        self.lend(buffer, chain);
    }

    #[inline(always)]
    fn lend(&mut self, buffer: T, chain: Chain) {
        self.area.write_available(self.next_available, chain.head);
        self.next_available = self.next_available.wrapping_add(1);
        let entry = &mut self.entries[usize::from(chain.head) % MOST];
        (entry.writable, entry.parts) = (chain.writable, chain.parts);
        mem::forget(entry.buffer.replace(buffer)); // there was none, which the compiler cannot know
    }

    #[inline(always)]
    fn next_of(&self, id: u16) -> u16 {
        self.entries[usize::from(id) % MOST].next
    }

    /// Shows the device all buffers added since the last call, and kicks it where it wants that. Whether it did.
    #[inline]
    pub fn publish(&mut self, doorbell: &mut impl Doorbell) -> bool {
        if self.published == self.next_available {
            return false;
        }
        self.published = self.next_available;
        self.area.set_available_index(self.published);
        // The index must be visible before the device's flag is read: else each side may go to sleep just when
        // the other has told it something (virtio 1.2, 2.7.13.4.1).
        fence(Ordering::SeqCst);
        let wanted = self.area.kick_wanted();
        if wanted {
            doorbell.ring();
        }
        wanted
    }

    /// Whether the device has used a buffer that was not popped yet.
    #[inline]
    pub fn has_used(&self) -> bool {
        self.area.used_index() != self.next_used
    }

    /// How far the device has come, modulo 65,536, where it was told of buffers that it has not used yet.
    pub fn owed(&self) -> Option<u16> {
        let used = self.area.used_index();
        (used != self.published).then_some(used)
    }

    /// The next buffer that the device has done with, and how many bytes it wrote into it. Lies are counted and
    /// skipped; the buffer of a lie about the length comes back with length 0.
    #[inline(always)] // once for each frame in each direction
    pub fn pop(&mut self) -> Option<(T, u32)> {
        loop {
            if self.next_used == self.seen {
                self.look()?;
            }
            let (id, written) = self.area.used_element(self.next_used);
            self.next_used = self.next_used.wrapping_add(1);
            let entry = self.entries.get_mut(id as usize);
            let Some((entry, buffer)) = entry.and_then(|entry| entry.buffer.take().map(|it| (entry, it)))
            else {
                self.lies += 1;
                continue;
            };
            let (parts, writable) = (entry.parts, entry.writable);
            self.release(id as u16, parts);
            if written <= writable {
                return Some((buffer, written));
            }
            self.lies += 1;
            return Some((buffer, 0));
        }
    }

    /// Gives the descriptors of a buffer that came back to the free ones.
    #[inline(always)]
    fn release(&mut self, head: u16, parts: u16) {
        let mut last = head;
        for _ in 1..parts {
            last = self.next_of(last);
        }
        self.entries[usize::from(last) % MOST].next = self.free;
        self.free = head;
        self.room += usize::from(parts);
    }

    /// Sees how far the device has come; `None`: no further, or further than it can.
    fn look(&mut self) -> Option<()> {
        let used = self.area.used_index();
        let claimed = used.wrapping_sub(self.next_used);
        if claimed == 0 {
            return None;
        }
        if usize::from(claimed) > usize::from(self.size()) - self.room {
            self.lies += 1;
            return None;
        }
        self.seen = used;
        Some(())
    }

    /// Asks the device for an interrupt with the next buffer that it uses, or for none. Look at [`Ring::has_used`]
    /// after switching them on: what came before makes no interrupt.
    #[inline]
    pub fn set_interrupts(&mut self, on: bool) {
        self.area.set_interrupts(on);
        if on {
            // The wish must be visible before the used index is read again (virtio 1.2, 2.7.14).
            fence(Ordering::SeqCst);
        }
    }

    /// All buffers that the device had, popped or not.
    ///
    /// # Safety
    /// The device was reset since the last [`Ring::publish`], so it touches none of them any more.
    pub unsafe fn into_buffers(self) -> impl Iterator<Item = T> {
        self.entries.into_iter().filter_map(|entry| entry.buffer)
    }
}

#[cfg(test)]
mod tests;
