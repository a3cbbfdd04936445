//! The ring against a device made of plain memory: an honest one, and one that lies.

extern crate std;
use super::*;
use std::{vec, vec::Vec};

const SIZE: u16 = 4;

/// Counts its kicks.
#[derive(Default)]
struct Bell(usize);

impl Doorbell for Bell {
    fn ring(&mut self) {
        self.0 += 1;
    }
}

/// The other side: reads and writes the ring's memory at the addresses that a real device would be given.
struct Device {
    addresses: Addresses,
    next_available: u16,
    used: u16,
}

impl Device {
    fn of<T>(ring: &Ring<T>) -> Self {
        Self { addresses: ring.addresses(), next_available: 0, used: 0 }
    }

    fn word(&self, address: u64) -> *mut u16 {
        address as *mut u16
    }

    /// The descriptors that were published and not taken yet: number, address, length, flags.
    fn take(&mut self) -> Vec<(u16, u64, u32, u16)> {
        let mut taken = vec![];
        // SAFETY: the addresses are those of a living ring of `SIZE`.
        unsafe {
            while *self.word(self.addresses.available + 2) != self.next_available {
                let place = u64::from(self.next_available % SIZE);
                let id = *self.word(self.addresses.available + 4 + 2 * place);
                let descriptor = self.addresses.descriptors + 16 * u64::from(id);
                taken.push((
                    id,
                    *(descriptor as *const u64),
                    *((descriptor + 8) as *const u32),
                    *((descriptor + 12) as *const u16),
                ));
                self.next_available = self.next_available.wrapping_add(1);
            }
        }
        taken
    }

    fn put(&mut self, id: u32, length: u32) {
        let element = self.addresses.used + 4 + 8 * u64::from(self.used % SIZE);
        // SAFETY: as above.
        unsafe {
            *(element as *mut u32) = id;
            *((element + 4) as *mut u32) = length;
        }
        self.set_index(self.used.wrapping_add(1));
    }

    fn set_index(&mut self, index: u16) {
        self.used = index;
        // SAFETY: as above.
        unsafe { *self.word(self.addresses.used + 2) = index };
    }

    fn set_no_notify(&mut self, flag: u16) {
        // SAFETY: as above.
        unsafe { *self.word(self.addresses.used) = flag };
    }

    fn no_interrupt(&self) -> u16 {
        // SAFETY: as above.
        unsafe { *self.word(self.addresses.available) }
    }
}

fn receive_ring() -> (Ring<char>, Device, Bell) {
    let ring = Ring::new(SIZE, Direction::Receive);
    let device = Device::of(&ring);
    (ring, device, Bell::default())
}

fn push(ring: &mut Ring<char>, name: char) -> Result<(), char> {
    // SAFETY: no device of these tests touches a buffer.
    unsafe { ring.push(name, u64::from(name), 100) }
}

#[test]
fn buffers_come_back_in_the_order_of_the_device() {
    let (mut ring, mut device, mut bell) = receive_ring();
    for name in ['a', 'b', 'c', 'd'] {
        push(&mut ring, name).unwrap();
    }
    assert_eq!(push(&mut ring, 'e'), Err('e'), "the ring is full");
    assert!(device.take().is_empty(), "nothing is shown before it is published");
    ring.publish(&mut bell);
    let taken = device.take();
    assert_eq!(taken.iter().map(|buffer| buffer.1).collect::<Vec<_>>(), ['a', 'b', 'c', 'd'].map(u64::from));
    assert!(taken.iter().all(|buffer| buffer.2 == 100 && buffer.3 == 2), "writable for the device");
    assert_eq!(ring.pop(), None);
    device.put(taken[2].0.into(), 60);
    device.put(taken[0].0.into(), 100);
    assert_eq!(ring.pop(), Some(('c', 60)));
    assert_eq!(ring.pop(), Some(('a', 100)));
    assert_eq!((ring.pop(), ring.lies()), (None, 0));
}

#[test]
fn one_kick_for_a_burst_and_none_where_the_device_looks_by_itself() {
    let (mut ring, mut device, mut bell) = receive_ring();
    ring.publish(&mut bell);
    assert_eq!(bell.0, 0, "nothing to tell");
    push(&mut ring, 'a').unwrap();
    push(&mut ring, 'b').unwrap();
    ring.publish(&mut bell);
    ring.publish(&mut bell);
    assert_eq!(bell.0, 1);
    device.set_no_notify(1);
    push(&mut ring, 'c').unwrap();
    ring.publish(&mut bell);
    assert_eq!((bell.0, device.take().len()), (1, 3));
}

#[test]
fn the_indexes_wrap() {
    let (mut ring, mut device, mut bell) = receive_ring();
    for round in 0..200_000u32 {
        push(&mut ring, 'x').unwrap();
        push(&mut ring, 'y').unwrap();
        ring.publish(&mut bell);
        for (id, ..) in device.take() {
            device.put(id.into(), round % 100);
        }
        assert_eq!(ring.pop(), Some(('x', round % 100)));
        assert_eq!(ring.pop(), Some(('y', round % 100)));
    }
    assert_eq!((bell.0, ring.lies(), ring.room()), (200_000, 0, 4));
}

#[test]
fn a_transmit_buffer_is_not_writable_and_nothing_was_written_to_it() {
    let mut ring = Ring::new(SIZE, Direction::Transmit);
    let mut device = Device::of(&ring);
    push(&mut ring, 'a').unwrap();
    ring.publish(&mut Bell::default());
    let (id, _, _, flags) = device.take()[0];
    assert_eq!(flags, 0);
    device.put(id.into(), 1);
    assert_eq!((ring.pop(), ring.lies()), (Some(('a', 0)), 1));
}

#[test]
fn a_number_that_the_device_was_not_given_is_a_lie() {
    let (mut ring, mut device, mut bell) = receive_ring();
    for name in ['a', 'b', 'c', 'd'] {
        push(&mut ring, name).unwrap();
    }
    ring.publish(&mut bell);
    let first = device.take()[0].0;
    device.put(u32::MAX, 10);
    device.put(u32::from(SIZE), 10);
    device.put(first.into(), 10);
    device.put(first.into(), 10);
    assert_eq!(ring.pop(), Some(('a', 10)));
    assert_eq!((ring.pop(), ring.lies()), (None, 3));
    push(&mut ring, 'e').unwrap();
    ring.publish(&mut bell);
    let next = device.take().pop().unwrap();
    device.put(next.0.into(), 20);
    assert_eq!(ring.pop(), Some(('e', 20)), "the next honest answer counts");
}

#[test]
fn a_length_beyond_the_buffer_is_a_lie() {
    let (mut ring, mut device, mut bell) = receive_ring();
    push(&mut ring, 'a').unwrap();
    ring.publish(&mut bell);
    let id = device.take()[0].0;
    device.put(id.into(), 101);
    assert_eq!((ring.pop(), ring.lies()), (Some(('a', 0)), 1));
}

#[test]
fn an_index_that_runs_ahead_is_a_lie() {
    let (mut ring, mut device, mut bell) = receive_ring();
    push(&mut ring, 'a').unwrap();
    ring.publish(&mut bell);
    device.set_index(2);
    assert_eq!((ring.pop(), ring.lies()), (None, 1));
    device.set_index(u16::MAX);
    assert_eq!((ring.pop(), ring.lies()), (None, 2));
    // SAFETY: this device stopped.
    let rest: Vec<_> = unsafe { ring.into_buffers() }.collect();
    assert_eq!(rest, ['a'], "the buffer is not lost");
}

#[test]
fn interrupts_are_off_until_asked_for() {
    let (mut ring, device, _) = receive_ring();
    assert_eq!(device.no_interrupt(), 1);
    ring.set_interrupts(true);
    assert_eq!(device.no_interrupt(), 0);
    ring.set_interrupts(false);
    assert_eq!(device.no_interrupt(), 1);
}

#[test]
fn the_layout_is_that_of_legacy_devices() {
    let ring = Ring::<char>::new(256, Direction::Receive);
    let addresses = ring.addresses();
    assert_eq!(addresses.descriptors % 4096, 0);
    assert_eq!(addresses.available - addresses.descriptors, 16 * 256);
    assert_eq!(addresses.used - addresses.descriptors, 8192);
}
