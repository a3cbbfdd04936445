//! A split virtqueue, one descriptor for each buffer. Read first: virtio 1.2, 2.7 "Split Virtqueues".
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
use area::Area;

/// Tells a device that a queue has something new.
pub trait Doorbell {
    /// Kicks the device.
    fn ring(&mut self);
}

/// What the device does with a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// It reads: the buffer is sent.
    Transmit,
    /// It writes: the buffer is received into.
    Receive,
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

struct Slot<T> {
    buffer: T,
    length: u32,
}

/// A ring whose buffers of the type `T` all go in one direction.
pub struct Ring<T> {
    area: Area,
    direction: Direction,
    /// What the device has, by the number of its descriptor.
    slots: Box<[Option<Slot<T>>]>,
    /// Numbers of descriptors that the device does not have: the first `room` of them.
    free: Box<[u16]>,
    room: usize,
    /// Place in the available ring for the next buffer; runs ahead of what the device was told.
    next_available: u16,
    published: u16,
    next_used: u16,
    /// Answers of the device that were seen and not popped yet.
    seen: u16,
    lies: u64,
}

impl<T> Ring<T> {
    /// An empty ring for `size` buffers; interrupts are off.
    ///
    /// # Panics
    /// Unless `size` is a power of two and at most 32,768.
    pub fn new(size: u16, direction: Direction) -> Self {
        assert!(size.is_power_of_two(), "the size of a split virtqueue is a power of two");
        let mut area = Area::new(size);
        area.set_interrupts(false);
        Self {
            area,
            direction,
            slots: (0..size).map(|_| None).collect(),
            free: (0..size).rev().collect(),
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

    /// Buffers that it holds at most.
    pub fn size(&self) -> u16 {
        self.area.size()
    }

    /// Buffers that fit now.
    #[inline]
    pub fn room(&self) -> usize {
        self.room
    }

    /// Answers of the device so far that could not be true.
    pub fn lies(&self) -> u64 {
        self.lies
    }

    /// Adds a buffer. The device learns of it with [`Ring::publish`].
    ///
    /// `buffer` keeps alive and in place the `length` bytes at `address`; it comes back from [`Ring::pop`].
    ///
    /// # Errors
    /// The buffer itself, where the ring is full.
    ///
    /// # Safety
    /// Until the buffer comes back, or the device is reset and the ring dropped, nothing else touches these bytes.
    #[inline]
    pub unsafe fn push(&mut self, buffer: T, address: u64, length: u32) -> Result<(), T> {
        let Some(room) = self.room.checked_sub(1) else { return Err(buffer) };
        self.room = room;
        let id = self.free[room];
        self.area.write_descriptor(id, address, length, self.direction);
        self.area.write_available(self.next_available, id);
        self.next_available = self.next_available.wrapping_add(1);
        let before = self.slots[usize::from(id)].replace(Slot { buffer, length });
        mem::forget(before); // there was none, which the compiler cannot know
        Ok(())
    }

    /// Shows the device all buffers added since the last call, and kicks it where it wants that.
    #[inline]
    pub fn publish(&mut self, doorbell: &mut impl Doorbell) {
        if self.published == self.next_available {
            return;
        }
        self.published = self.next_available;
        self.area.set_available_index(self.published);
        // The index must be visible before the device's flag is read: else each side may go to sleep just when
        // the other has told it something (virtio 1.2, 2.7.13.4.1).
        fence(Ordering::SeqCst);
        if self.area.kick_wanted() {
            doorbell.ring();
        }
    }

    /// Whether the device has used a buffer that was not popped yet.
    #[inline]
    pub fn has_used(&self) -> bool {
        self.area.used_index() != self.next_used
    }

    /// The next buffer that the device has done with, and how many bytes it wrote into it. Lies are counted and
    /// skipped; the buffer of a lie about the length comes back with length 0.
    #[inline(always)] // once for each frame in each direction
    pub fn pop(&mut self) -> Option<(T, u32)> {
        loop {
            if self.seen == 0 {
                self.look()?;
            }
            self.seen -= 1;
            let (id, written) = self.area.used_element(self.next_used);
            self.next_used = self.next_used.wrapping_add(1);
            let Some(slot) = self.slots.get_mut(id as usize).and_then(Option::take) else {
                self.lies += 1;
                continue;
            };
            self.free[self.room] = id as u16;
            self.room += 1;
            let writable = if self.direction == Direction::Receive { slot.length } else { 0 };
            if written <= writable {
                return Some((slot.buffer, written));
            }
            self.lies += 1;
            return Some((slot.buffer, 0));
        }
    }

    /// Sees how far the device has come; `None`: no further, or further than it can.
    fn look(&mut self) -> Option<()> {
        let claimed = self.area.used_index().wrapping_sub(self.next_used);
        if claimed == 0 {
            return None;
        }
        if usize::from(claimed) > self.slots.len() - self.room {
            self.lies += 1;
            return None;
        }
        self.seen = claimed;
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
        self.slots.into_iter().flatten().map(|slot| slot.buffer)
    }
}

#[cfg(test)]
mod tests;
