//! A card's queues against a device made of plain memory.

use super::*;
use crate::{
    fake_device::{Bell, Device},
    header::LONGEST,
};
use alloc::{vec, vec::Vec};
use netstack::offload::Abilities;

const FORMAT: Format = Format { numbered: true, mergeable: true, accepted: Abilities::ALL };
const HEADER: usize = LONGEST;
const ROOM: usize = 1518;
const BUFFERS: usize = 16;

/// A card with rings of four entries each, the device behind it, and a pool.
struct Bench<'a> {
    queues: Queues<&'a Bell>,
    receiver: Device,
    sender: Device,
    exchange: Exchange,
}

fn bench(bells: &[Bell; 2]) -> Bench<'_> {
    let receiver = Receiver::new(4, &bells[0], FORMAT, ROOM);
    let queues = Queues::new(vec![receiver], 4, &bells[1], FORMAT);
    let [receiver, sender] = devices(&queues).try_into().unwrap_or_else(|_| panic!("one pair of queues"));
    Bench { queues, receiver, sender, exchange: Exchange::new(BUFFERS, ROOM) }
}

/// What is behind each ring, in the order of their numbers.
fn devices<D: Doorbell>(queues: &Queues<D>) -> Vec<Device> {
    queues.rings().map(|(addresses, size)| Device::at(addresses, size)).collect()
}

/// A header that asks for nothing, and a frame.
fn received(frame: &[u8]) -> Vec<u8> {
    merged(1, frame)
}

/// The first buffer of a frame that takes several.
fn merged(buffers: u8, frame: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, buffers, 0], frame].concat()
}

#[test]
fn a_frame_goes_from_one_ring_to_the_other_without_being_moved() {
    let bells = Default::default();
    let mut bench = bench(&bells);
    bench.queues.receivers[0].refill(&mut bench.exchange);
    let offer = bench.receiver.take().remove(0);
    assert_eq!(offer.part().length as usize, HEADER + ROOM);
    offer.fill(&received(&[1, 2, 3]));
    bench.receiver.put(offer.id, (HEADER + 3) as u32);

    let packet = bench.queues.receivers[0].receive(&mut bench.exchange).unwrap();
    assert_eq!(packet.bytes(), [1, 2, 3]);
    assert!(bench.queues.transmit(packet, &mut bench.exchange));
    bench.queues.flush();
    let sent = bench.sender.take().remove(0);
    assert_eq!((sent.part().address, sent.part().writable), (offer.part().address, false));
    assert_eq!(sent.bytes(), [&[0; HEADER][..], &[1, 2, 3]].concat(), "the header asks for nothing");

    bench.sender.put(sent.id, 0);
    bench.queues.reclaim(&mut bench.exchange);
    bench.queues.receivers[0].refill(&mut bench.exchange);
    assert_eq!(bench.exchange.available(), BUFFERS - 4, "all others are in the receive ring");
}

#[test]
fn a_burst_is_one_kick() {
    let bells: [Bell; 2] = Default::default();
    let mut bench = bench(&bells);
    bench.queues.receivers[0].refill(&mut bench.exchange);
    bench.queues.receivers[0].refill(&mut bench.exchange);
    for _ in 0..3 {
        bench.queues.transmit(Packet::from_frame(&[0; 60]), &mut bench.exchange);
    }
    bench.queues.flush();
    bench.queues.flush();
    assert_eq!([bells[0].kicks(), bells[1].kicks()], [1, 1]);
}

#[test]
fn a_full_ring_drops_and_counts_and_loses_no_buffer() {
    let bells = Default::default();
    let mut bench = bench(&bells);
    let sent: Vec<bool> = (0..6)
        .map(|_| {
            let packet = bench.exchange.allocate().unwrap();
            bench.queues.transmit(packet, &mut bench.exchange)
        })
        .collect();
    assert_eq!(sent, [true, true, true, true, false, false]);
    assert_eq!(bench.exchange.available(), BUFFERS - 4);
    bench.queues.flush();
    let first = bench.sender.take().remove(0);
    bench.sender.put(first.id, 0);
    let packet = bench.exchange.allocate().unwrap();
    assert!(bench.queues.transmit(packet, &mut bench.exchange), "what was sent makes room at once");
}

#[test]
fn a_frame_without_headroom_is_not_sent() {
    let bells = Default::default();
    let mut bench = bench(&bells);
    let mut packet = bench.exchange.allocate().unwrap();
    packet.prepend(Packet::HEADROOM).unwrap();
    assert!(!bench.queues.transmit(packet, &mut bench.exchange));
    assert_eq!(bench.exchange.available(), BUFFERS);
}

#[test]
fn what_is_no_frame_goes_back_to_the_pool() {
    let bells = Default::default();
    let mut bench = bench(&bells);
    bench.queues.receivers[0].refill(&mut bench.exchange);
    let offers = bench.receiver.take();
    bench.receiver.put(offers[0].id, HEADER as u32 - 1);
    bench.receiver.put(offers[1].id, u32::MAX);
    bench.receiver.put(77, 100);
    offers[2].fill(&received(&[9]));
    bench.receiver.put(offers[2].id, HEADER as u32 + 1);
    let packet = bench.queues.receivers[0].receive(&mut bench.exchange).unwrap();
    assert_eq!(packet.bytes(), [9], "the next honest frame passes");
    assert_eq!(bench.queues.lies(), 3);
    assert!(bench.queues.receivers[0].receive(&mut bench.exchange).is_none());
    bench.exchange.recycle(packet);
    assert_eq!(bench.exchange.available(), BUFFERS - 1, "one buffer is still with the device");
}

#[test]
fn an_empty_pool_starves_the_card_until_it_fills_again() {
    let bells = Default::default();
    let mut bench = bench(&bells);
    let hoard: Vec<Packet> = core::iter::from_fn(|| bench.exchange.allocate()).skip(2).collect();
    bench.queues.receivers[0].refill(&mut bench.exchange);
    assert!(bench.queues.is_starved());
    for packet in hoard {
        bench.exchange.recycle(packet);
    }
    bench.queues.receivers[0].refill(&mut bench.exchange);
    assert!(!bench.queues.is_starved());
}

#[test]
fn a_buffer_too_small_to_receive_into_is_never_offered() {
    let bells = Default::default();
    let mut bench = bench(&bells);
    while bench.exchange.allocate().is_some() {}
    bench.exchange.recycle(Packet::with_capacity(ROOM - 1));
    bench.queues.receivers[0].refill(&mut bench.exchange);
    assert!(bench.receiver.take().is_empty());
}

#[test]
fn no_buffer_is_lost_to_a_device_that_answers_at_random() {
    let bells = Default::default();
    let mut state = 1u32;
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    for _ in 0..200 {
        let mut bench = bench(&bells);
        for _ in 0..200 {
            bench.queues.receivers[0].refill(&mut bench.exchange);
            bench.receiver.take();
            bench.sender.take();
            let device = if random(2) == 0 { &mut bench.receiver } else { &mut bench.sender };
            match random(20) {
                0 => device.set_index(random(0x1_0000) as u16),
                1 => device.put(random(u32::MAX), random(u32::MAX)),
                _ => device.put(random(5), random(1600)),
            }
            while let Some(packet) = bench.queues.receivers[0].receive(&mut bench.exchange) {
                assert!(packet.len() <= ROOM);
                bench.queues.transmit(packet, &mut bench.exchange);
            }
            bench.queues.flush();
            bench.queues.reclaim(&mut bench.exchange);
        }
        // SAFETY: this device writes to no buffer.
        unsafe { bench.queues.dissolve(&mut bench.exchange) };
        assert_eq!(bench.exchange.available(), BUFFERS);
    }
}

#[test]
fn dissolving_gives_every_buffer_back() {
    let bells = Default::default();
    let mut bench = bench(&bells);
    bench.queues.receivers[0].refill(&mut bench.exchange);
    let packets = vec![bench.exchange.allocate().unwrap(), bench.exchange.allocate().unwrap()];
    for packet in packets {
        bench.queues.transmit(packet, &mut bench.exchange);
    }
    // SAFETY: this device does only what a test says.
    unsafe { bench.queues.dissolve(&mut bench.exchange) };
    assert_eq!(bench.exchange.available(), BUFFERS);
}

/// Has the device put bytes into its next buffers, one for each, and say so all at once.
fn hand_over(bench: &mut Bench<'_>, parts: &[Vec<u8>]) {
    bench.queues.receivers[0].refill(&mut bench.exchange);
    let offers = bench.receiver.take();
    for (offer, bytes) in offers.iter().zip(parts) {
        offer.fill(bytes);
        bench.receiver.put(offer.id, bytes.len() as u32);
    }
}

#[test]
fn a_frame_in_several_buffers_goes_out_as_one_chain() {
    let bells = Default::default();
    let mut bench = bench(&bells);
    let head = vec![1; 1000];
    hand_over(&mut bench, &[merged(3, &head), vec![2; 1530], vec![3; 7], received(&[4; 60])]);
    let packet = bench.queues.receivers[0].receive(&mut bench.exchange).unwrap();
    assert_eq!((packet.len(), packet.bytes()), (2537, &head[..]));
    let next = bench.queues.receivers[0].receive(&mut bench.exchange).unwrap();
    assert_eq!(next.bytes(), [4; 60], "the next frame begins behind it");
    assert!(bench.queues.transmit(packet, &mut bench.exchange));
    assert!(bench.queues.transmit(next, &mut bench.exchange), "three descriptors and one");
    bench.queues.flush();
    let sent = bench.sender.take().remove(0);
    assert_eq!(sent.bytes(), [&[0; HEADER][..], &head, &[2; 1530], &[3; 7]].concat());
    assert_eq!(bench.queues.receivers[0].counters().merged, 1);
    bench.sender.put(sent.id, 0);
    bench.queues.reclaim(&mut bench.exchange);
    assert_eq!(bench.exchange.available(), BUFFERS - 1);
}

#[test]
fn a_frame_of_which_a_buffer_is_missing_is_dropped_whole() {
    let bells = Default::default();
    for parts in [
        &[merged(3, &[1; 1000]), vec![2; 1530]][..],
        &[merged(2, &[1; 1000]), vec![]],
        &[merged(2, &[1; 100]), vec![2; 1530]],
        &[merged(0, &[1; 100])],
    ] {
        let mut bench = bench(&bells);
        hand_over(&mut bench, parts);
        assert!(bench.queues.receivers[0].receive(&mut bench.exchange).is_none());
        assert!(bench.queues.lies() > 0);
        hand_over(&mut bench, &[received(&[9; 60])]);
        let packet = bench.queues.receivers[0].receive(&mut bench.exchange).unwrap();
        assert_eq!(packet.bytes(), [9; 60], "the next honest frame passes");
    }
}

#[test]
fn what_a_sender_left_undone_is_said_on_both_sides() {
    let bells = Default::default();
    let mut bench = bench(&bells);
    let header = [1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 1, 0];
    let mut frame = [0; 200];
    frame[34 + 12] = 0x50;
    hand_over(&mut bench, &[[&header[..], &frame].concat()]);
    let packet = bench.queues.receivers[0].receive(&mut bench.exchange).unwrap();
    assert!(matches!(packet.offload(), Offload::Partial(_)));
    bench.queues.transmit(packet, &mut bench.exchange);
    bench.queues.flush();
    assert_eq!(bench.sender.take().remove(0).bytes()[..10], header[..10]);
    let received = bench.queues.receivers[0].counters();
    assert_eq!((received.unsegmented, bench.queues.sent().unsegmented), (1, 1));
}

#[test]
fn a_card_that_sends_nothing_holds_no_more_than_its_ring() {
    let bells = Default::default();
    let (mut stuck, mut lively) = (bench(&bells), bench(&bells));
    let exchange = &mut Exchange::new(BUFFERS, ROOM);
    for round in 0..100u8 {
        lively.queues.receivers[0].refill(exchange);
        for offer in lively.receiver.take() {
            offer.fill(&received(&[round; 60]));
            lively.receiver.put(offer.id, (HEADER + 60) as u32);
        }
        // Of four frames that come in, the first two are for the card that is stuck.
        for number in 0..4 {
            let packet = lively.queues.receivers[0]
                .receive(exchange)
                .expect("the receive ring is full again in each round");
            if number < 2 {
                stuck.queues.transmit(packet, exchange);
            } else {
                assert!(lively.queues.transmit(packet, exchange), "round {round}");
            }
        }
        stuck.queues.flush();
        lively.queues.flush();
        for sent in lively.sender.take() {
            lively.sender.put(sent.id, 0);
        }
        lively.queues.reclaim(exchange);
    }
    let (stuck, lively) = (stuck.queues.sent(), lively.queues.sent());
    assert_eq!((stuck.frames, stuck.overruns), (4, 196));
    assert_eq!((lively.frames, lively.overruns), (200, 0));
}

/// A card with four receive queues, the devices behind them, and a pool.
fn several(bell: &Bell) -> (Queues<&Bell>, Vec<Device>, Exchange) {
    let receivers = (0..4).map(|_| Receiver::new(4, bell, FORMAT, ROOM)).collect();
    let queues = Queues::new(receivers, 4, bell, FORMAT);
    let devices = devices(&queues).into_iter().step_by(2).collect();
    (queues, devices, Exchange::new(2 * BUFFERS, ROOM))
}

/// One turn: what comes in through the queues whose turn it is. They get buffers, and each is filled with its queue's number.
fn turn(card: &mut (Queues<&Bell>, Vec<Device>, Exchange), crowded: bool, micros: i64) -> Vec<u8> {
    let (queues, devices, exchange) = card;
    let mut taken = Vec::new();
    for receiver in queues.due(crowded, Instant::from_micros(micros)) {
        while let Some(packet) = receiver.receive(exchange) {
            taken.push(packet.bytes()[0]);
            exchange.recycle(packet);
        }
        receiver.refill(exchange);
    }
    for (number, device) in devices.iter_mut().enumerate() {
        for offer in device.take() {
            offer.fill(&received(&[number as u8; 60]));
            device.put(offer.id, (HEADER + 60) as u32);
        }
    }
    taken
}

#[test]
fn each_pair_of_queues_has_its_rings() {
    let bell = Bell::default();
    let (queues, ..) = several(&bell);
    let sizes: Vec<u16> = queues.rings().map(|(_, size)| size).collect();
    assert_eq!(sizes, [4, 4, 4, 2, 4, 2, 4, 2], "receive and transmit, and only the first of those is used");
    assert_eq!(queues.entries(), 4 + 4 * 4);
}

#[test]
fn all_queues_have_their_turn_and_another_one_comes_first_each_time() {
    let bell = Bell::default();
    let card = &mut several(&bell);
    turn(card, false, 0);
    let firsts = |taken: Vec<u8>| -> Vec<u8> { taken.into_iter().step_by(4).collect() };
    let turns: Vec<_> = (1..5).map(|micros| firsts(turn(card, false, micros))).collect();
    assert_eq!(turns, [[0, 3, 1, 2], [0, 1, 2, 3], [0, 2, 3, 1], [0, 3, 1, 2]]);
}

#[test]
fn while_a_card_is_crowded_its_further_queues_wait_for_their_turns() {
    let bell = Bell::default();
    let card = &mut several(&bell);
    turn(card, false, 0);
    let step = TURN.total_micros() as i64;
    for round in 1..10 {
        let mut taken: Vec<u8> = (0..10).flat_map(|part| turn(card, true, round * step + part)).collect();
        taken.retain(|&queue| queue != 0);
        assert_eq!(taken.len(), 4, "one of them, once");
        assert!(card.0.has_received(), "the first one is always looked at");
        assert_eq!(card.0.next_turn(), Some(Instant::from_micros((round + 1) * step)));
    }
    assert_eq!(turn(card, false, 100 * step).len(), 16, "nothing was lost meanwhile");
    assert_eq!(card.0.next_turn(), None);
    assert_eq!(card.0.holds(), 1);
}

#[test]
fn what_waits_for_its_turn_neither_interrupts_nor_keeps_the_processor_awake() {
    let bell = Bell::default();
    let (mut queues, mut devices, mut exchange) = several(&bell);
    queues.due(false, Instant::ZERO).for_each(|receiver| receiver.refill(&mut exchange));
    let put = |device: &mut Device| {
        let offer = device.take().remove(0);
        offer.fill(&received(&[1; 60]));
        device.put(offer.id, (HEADER + 60) as u32);
    };
    put(&mut devices[2]);
    assert!(queues.has_received());
    queues.set_interrupts(true);
    assert!(devices.iter().all(|device| device.no_interrupt() == 0));
    let _ = queues.due(true, Instant::ZERO);
    assert!(!queues.has_received());
    queues.set_interrupts(true);
    let unwanted: Vec<u16> = devices.iter().map(Device::no_interrupt).collect();
    assert_eq!(unwanted, [0, 1, 1, 1]);
    put(&mut devices[0]);
    assert!(queues.has_received());
}

#[test]
fn a_card_with_one_queue_holds_nothing_back() {
    let bells = Default::default();
    let mut bench = bench(&bells);
    assert_eq!(bench.queues.due(true, Instant::ZERO).count(), 1);
    assert_eq!((bench.queues.next_turn(), bench.queues.holds()), (None, 0));
}
