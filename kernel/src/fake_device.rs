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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Number of its descriptor.
    pub id: u32,
    /// Where it lies.
    pub address: u64,
    /// How long it is.
    pub length: u32,
    /// Whether the device may write to it.
    pub writable: bool,
}

impl Offer {
    /// Writes into the buffer as a device does.
    pub fn fill(&self, bytes: &[u8]) {
        assert!(self.writable && bytes.len() <= self.length as usize);
        // SAFETY: the driver lends the buffer to the device.
        unsafe { core::slice::from_raw_parts_mut(self.address as *mut u8, bytes.len()) }
            .copy_from_slice(bytes);
    }

    /// What the buffer holds.
    pub fn bytes(&self) -> Vec<u8> {
        // SAFETY: as in `fill`.
        unsafe { core::slice::from_raw_parts(self.address as *const u8, self.length as usize) }.to_vec()
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
        Self { addresses: ring.addresses(), size: ring.size(), next_available: 0, used: 0 }
    }

    fn read<T: Copy>(&self, address: u64) -> T {
        // SAFETY: a place in a living ring, aligned as the layout says.
        unsafe { (address as *const T).read_volatile() }
    }

    fn write<T>(&self, address: u64, value: T) {
        // SAFETY: as in `read`.
        unsafe { (address as *mut T).write_volatile(value) };
    }

    /// The buffers that were published and not taken yet.
    pub fn take(&mut self) -> Vec<Offer> {
        let mut taken = Vec::new();
        while self.read::<u16>(self.addresses.available + 2) != self.next_available {
            let place = u64::from(self.next_available % self.size);
            let id: u16 = self.read(self.addresses.available + 4 + 2 * place);
            let descriptor = self.addresses.descriptors + 16 * u64::from(id);
            taken.push(Offer {
                id: id.into(),
                address: self.read(descriptor),
                length: self.read(descriptor + 8),
                writable: self.read::<u16>(descriptor + 12) == 2,
            });
            self.next_available = self.next_available.wrapping_add(1);
        }
        taken
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

    /// Sets the flags of the used ring: 1 says that no kick is needed.
    pub fn set_no_notify(&mut self, flag: u16) {
        self.write(self.addresses.used, flag);
    }

    /// The flags of the available ring: 1 says that no interrupt is wanted.
    pub fn no_interrupt(&self) -> u16 {
        self.read(self.addresses.available)
    }
}
