//! The other side of a ring, for tests: it reads and writes the ring's memory at the addresses that a real device would be
//! given, and does just what a test tells it.

use crate::ring::{Addresses, Doorbell, Ring};
use alloc::vec::Vec;
use core::cell::Cell;

/// Counts its kicks.
#[derive(Default)]
pub struct Bell(Cell<usize>);

impl Bell {
    /// Kicks so far.
    pub fn kicks(&self) -> usize {
        self.0.get()
    }
}

impl Doorbell for Bell {
    fn ring(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

impl Doorbell for &Bell {
    fn ring(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// A buffer that the driver has published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Number of its first descriptor.
    pub id: u32,
    /// Its parts, in order.
    pub parts: Vec<Stretch>,
}

/// A part of a buffer as the device sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// Where it lies.
    pub address: u64,
    /// How long it is.
    pub length: u32,
    /// Whether the device may write to it.
    pub writable: bool,
}

impl Offer {
    /// Its only part.
    pub fn part(&self) -> Stretch {
        assert_eq!(self.parts.len(), 1);
        self.parts[0]
    }

    /// Bytes that the device may write.
    pub fn room(&self) -> u32 {
        self.parts.iter().filter(|part| part.writable).map(|part| part.length).sum()
    }

    /// Writes into the buffer as a device does.
    pub fn fill(&self, mut bytes: &[u8]) {
        assert!(bytes.len() <= self.room() as usize);
        for part in self.parts.iter().filter(|part| part.writable) {
            let (here, rest) = bytes.split_at(bytes.len().min(part.length as usize));
            // SAFETY: the driver lends the buffer to the device.
            unsafe { core::slice::from_raw_parts_mut(part.address as *mut u8, here.len()) }
                .copy_from_slice(here);
            bytes = rest;
        }
    }

    /// What the device can read of the buffer.
    pub fn bytes(&self) -> Vec<u8> {
        let readable = self.parts.iter().filter(|part| !part.writable);
        // SAFETY: as in `fill`.
        let bytes = |part: &Stretch| unsafe {
            core::slice::from_raw_parts(part.address as *const u8, part.length as usize)
        };
        readable.flat_map(bytes).copied().collect()
    }
}

/// The device's side of a ring.
pub struct Device {
    addresses: Addresses,
    size: u16,
    next_available: u16,
    used: u16,
}

impl Device {
    /// The other side of `ring`, which must outlive it.
    pub fn of<T>(ring: &Ring<T>) -> Self {
        Self::at(ring.addresses(), ring.size())
    }

    /// The other side of a ring that lies there, and must outlive it.
    pub fn at(addresses: Addresses, size: u16) -> Self {
        Self { addresses, size, next_available: 0, used: 0 }
    }

    fn read<T: Copy>(&self, address: u64) -> T {
        // SAFETY: a place in a living ring, aligned as the layout says.
        unsafe { (address as *const T).read_volatile() }
    }

    fn write<T>(&self, address: u64, value: T) {
        // SAFETY: as in `read`.
        unsafe { (address as *mut T).write_volatile(value) };
    }

    /// The next buffer that was published and not taken yet.
    pub fn take_one(&mut self) -> Option<Offer> {
        if self.read::<u16>(self.addresses.available + 2) == self.next_available {
            return None;
        }
        let place = u64::from(self.next_available % self.size);
        self.next_available = self.next_available.wrapping_add(1);
        let id: u16 = self.read(self.addresses.available + 4 + 2 * place);
        let (mut parts, mut next) = (Vec::new(), Some(id));
        while let Some(id) = next {
            assert!(id < self.size && parts.len() < self.size.into(), "a chain leads out of the table");
            let descriptor = self.addresses.descriptors + 16 * u64::from(id);
            let flags: u16 = self.read(descriptor + 12);
            parts.push(Stretch {
                address: self.read(descriptor),
                length: self.read(descriptor + 8),
                writable: flags & 2 != 0,
            });
            next = (flags & 1 != 0).then(|| self.read(descriptor + 14));
        }
        Some(Offer { id: id.into(), parts })
    }

    /// The buffers that were published and not taken yet.
    pub fn take(&mut self) -> Vec<Offer> {
        core::iter::from_fn(|| self.take_one()).collect()
    }

    /// Says that it is done with a buffer.
    pub fn put(&mut self, id: u32, written: u32) {
        let element = self.addresses.used + 4 + 8 * u64::from(self.used % self.size);
        self.write(element, id);
        self.write(element + 4, written);
        self.set_index(self.used.wrapping_add(1));
    }

    /// Sets the index of the used ring.
    pub fn set_index(&mut self, index: u16) {
        self.used = index;
        self.write(self.addresses.used + 2, index);
    }

    /// Writes `value` into one of the 8-byte words of the descriptor table and both rings.
    pub fn scribble(&mut self, place: usize, value: u64) {
        let end = self.addresses.used + 4 + 8 * u64::from(self.size);
        let words = (end - self.addresses.descriptors) / 8;
        self.write(self.addresses.descriptors + 8 * (place as u64 % words), value);
    }

    /// Sets the flags of the used ring: 1 says that no kick is needed.
    pub fn set_no_notify(&mut self, flag: u16) {
        self.write(self.addresses.used, flag);
    }

    /// The flags of the available ring: 1 says that no interrupt is wanted.
    pub fn no_interrupt(&self) -> u16 {
        self.read(self.addresses.available)
    }
}
