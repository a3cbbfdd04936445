//! The ring against a device made of plain memory: an honest one, and one that lies.

use super::*;
use crate::fake_device::{Bell, Device, Offer, Stretch};
use alloc::vec::Vec;

const SIZE: u16 = 4;

fn bench() -> (Ring<char>, Device, Bell) {
    let ring = Ring::new(SIZE);
    let device = Device::of(&ring);
    (ring, device, Bell::default())
}

fn part(address: u64, direction: Direction) -> Part {
    Part { address, length: 100, direction }
}

fn push_parts(ring: &mut Ring<char>, name: char, parts: &[Part]) -> Option<()> {
    let chain = ring.take(parts.iter().copied())?;
    // SAFETY: no device of these tests touches a buffer.
    unsafe { ring.push_chain(name, chain) };
    Some(())
}

/// Pushes a buffer of one part for the device to write.
fn push(ring: &mut Ring<char>, name: char) -> Option<()> {
    // SAFETY: as above.
    unsafe { ring.push(name, part(name.into(), Direction::Receive)) }.ok()
}

#[test]
fn buffers_come_back_in_the_order_of_the_device() {
    let (mut ring, mut device, mut bell) = bench();
    for name in ['a', 'b', 'c', 'd'] {
        push(&mut ring, name).unwrap();
    }
    assert_eq!(push(&mut ring, 'e'), None, "the ring is full");
    assert!(device.take().is_empty(), "nothing is shown before it is published");
    ring.publish(&mut bell);
    let taken = device.take();
    let offered = |name, offer: &Offer| {
        offer.part() == Stretch { address: u64::from(name), length: 100, writable: true }
    };
    assert!(
        taken.len() == 4 && ['a', 'b', 'c', 'd'].into_iter().zip(&taken).all(|(name, it)| offered(name, it))
    );
    assert_eq!(ring.pop(), None);
    device.put(taken[2].id, 60);
    device.put(taken[0].id, 100);
    assert_eq!(ring.pop(), Some(('c', 60)));
    assert_eq!(ring.pop(), Some(('a', 100)));
    assert_eq!((ring.pop(), ring.lies()), (None, 0));
}

#[test]
fn a_device_owes_what_it_was_told_of_and_has_not_used() {
    let (mut ring, mut device, mut bell) = bench();
    push(&mut ring, 'a').unwrap();
    push(&mut ring, 'b').unwrap();
    assert_eq!(ring.owed(), None, "it was told of nothing");
    ring.publish(&mut bell);
    let taken = device.take();
    assert_eq!(ring.owed(), Some(0));
    device.put(taken[0].id, 100);
    assert_eq!(ring.owed(), Some(1), "popped or not");
    device.put(taken[1].id, 100);
    assert_eq!(ring.owed(), None);
}

#[test]
fn one_kick_for_a_burst_and_none_where_the_device_looks_by_itself() {
    let (mut ring, mut device, mut bell) = bench();
    ring.publish(&mut bell);
    assert_eq!(bell.kicks(), 0, "nothing to tell");
    push(&mut ring, 'a').unwrap();
    push(&mut ring, 'b').unwrap();
    ring.publish(&mut bell);
    ring.publish(&mut bell);
    assert_eq!(bell.kicks(), 1);
    device.set_no_notify(1);
    push(&mut ring, 'c').unwrap();
    ring.publish(&mut bell);
    assert_eq!((bell.kicks(), device.take().len()), (1, 3));
}

#[test]
fn the_indexes_wrap() {
    let (mut ring, mut device, mut bell) = bench();
    for round in 0..200_000u32 {
        push(&mut ring, 'x').unwrap();
        push(&mut ring, 'y').unwrap();
        ring.publish(&mut bell);
        for offer in device.take() {
            device.put(offer.id, round % 100);
        }
        assert_eq!(ring.pop(), Some(('x', round % 100)));
        assert_eq!(ring.pop(), Some(('y', round % 100)));
    }
    assert_eq!((bell.kicks(), ring.lies(), ring.room()), (200_000, 0, 4));
}

#[test]
fn a_transmit_buffer_is_not_writable_and_nothing_was_written_to_it() {
    let (mut ring, mut device, mut bell) = bench();
    push_parts(&mut ring, 'a', &[part(1, Direction::Transmit)]).unwrap();
    ring.publish(&mut bell);
    let offer = &device.take()[0];
    assert!(!offer.part().writable);
    device.put(offer.id, 1);
    assert_eq!((ring.pop(), ring.lies()), (Some(('a', 0)), 1));
}

#[test]
fn a_buffer_in_parts_is_a_chain_and_all_of_it_comes_back() {
    let (mut ring, mut device, mut bell) = bench();
    let question = [part(1, Direction::Transmit), part(2, Direction::Transmit), part(3, Direction::Receive)];
    for _ in 0..10 {
        push_parts(&mut ring, 'q', &question).unwrap();
        assert_eq!(push_parts(&mut ring, 'x', &question[..2]), None, "one descriptor is left");
        push(&mut ring, 'b').unwrap();
        assert_eq!(push(&mut ring, 'x'), None);
        ring.publish(&mut bell);
        let offers = device.take();
        let places: Vec<_> = offers[0].parts.iter().map(|part| (part.address, part.writable)).collect();
        assert_eq!(places, [(1, false), (2, false), (3, true)]);
        for offer in offers.iter().rev() {
            device.put(offer.id, 100);
        }
        assert_eq!((ring.pop(), ring.pop()), (Some(('b', 100)), Some(('q', 100))));
        assert_eq!((ring.room(), ring.lies()), (4, 0));
    }
}

#[test]
fn a_descriptor_in_the_midst_of_a_chain_is_no_buffer() {
    let (mut ring, mut device, mut bell) = bench();
    push_parts(&mut ring, 'q', &[part(1, Direction::Receive); 4]).unwrap();
    ring.publish(&mut bell);
    let head = device.take()[0].id;
    for id in (0..4).filter(|id| *id != head) {
        device.put(id, 1);
        assert_eq!(ring.pop(), None);
    }
    device.put(head, 400);
    assert_eq!((ring.pop(), ring.lies(), ring.room()), (Some(('q', 400)), 3, 4));
}

#[test]
fn a_number_that_the_device_was_not_given_is_a_lie() {
    let (mut ring, mut device, mut bell) = bench();
    for name in ['a', 'b', 'c', 'd'] {
        push(&mut ring, name).unwrap();
    }
    ring.publish(&mut bell);
    let first = device.take()[0].id;
    device.put(u32::MAX, 10);
    device.put(u32::from(SIZE), 10);
    device.put(first, 10);
    device.put(first, 10);
    assert_eq!(ring.pop(), Some(('a', 10)));
    assert_eq!((ring.pop(), ring.lies()), (None, 3));
    push(&mut ring, 'e').unwrap();
    ring.publish(&mut bell);
    let next = device.take().pop().unwrap();
    device.put(next.id, 20);
    assert_eq!(ring.pop(), Some(('e', 20)), "the next honest answer counts");
}

#[test]
fn a_length_beyond_the_buffer_is_a_lie() {
    let (mut ring, mut device, mut bell) = bench();
    push(&mut ring, 'a').unwrap();
    ring.publish(&mut bell);
    let id = device.take()[0].id;
    device.put(id, 101);
    assert_eq!((ring.pop(), ring.lies()), (Some(('a', 0)), 1));
}

#[test]
fn an_index_that_runs_ahead_is_a_lie() {
    let (mut ring, mut device, mut bell) = bench();
    push(&mut ring, 'a').unwrap();
    ring.publish(&mut bell);
    device.set_index(2);
    assert_eq!((ring.pop(), ring.lies()), (None, 1));
    device.set_index(u16::MAX);
    assert_eq!((ring.pop(), ring.lies()), (None, 2));
    device.set_index(0);
    assert_eq!((ring.pop(), ring.lies()), (None, 2), "the truth is no lie");
    // SAFETY: this device stopped.
    let rest: Vec<_> = unsafe { ring.into_buffers() }.collect();
    assert_eq!(rest, ['a'], "the buffer is not lost");
}

#[test]
fn interrupts_are_off_until_asked_for() {
    let (mut ring, device, _) = bench();
    assert_eq!(device.no_interrupt(), 1);
    ring.set_interrupts(true);
    assert_eq!(device.no_interrupt(), 0);
    ring.set_interrupts(false);
    assert_eq!(device.no_interrupt(), 1);
}

#[test]
fn the_layout_is_that_of_legacy_devices() {
    let ring = Ring::<char>::new(256);
    let addresses = ring.addresses();
    assert_eq!(addresses.descriptors % 4096, 0);
    assert_eq!(addresses.available - addresses.descriptors, 16 * 256);
    assert_eq!(addresses.used - addresses.descriptors, 8192);
}
