//! The two queues of a network card: frames in, frames out. Read first: virtio 1.2, 5.1.6 "Device Operation".
//!
//! A frame's buffer is lent to the device in place. The header that virtio-net puts before each frame lies in the
//! packet's headroom, so the packet that one card has filled goes to the next as it is.

use crate::ring::{Doorbell, Ring};
use netstack::{exchange::Exchange, packet::Packet};

/// What virtio-net puts before each frame (virtio 1.2, 5.1.6.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Header {
    /// 12 bytes.
    Modern,
    /// 10 bytes: without the number of buffers.
    Legacy,
}

impl Header {
    const fn length(self) -> usize {
        match self {
            Self::Modern => 12,
            Self::Legacy => 10,
        }
    }

    /// Puts a header before the frame that asks for nothing: no checksum to complete, nothing to segment. `false` without
    /// headroom.
    #[inline]
    fn put(self, packet: &mut Packet) -> bool {
        // The longer one is put, of which the shorter one is the end: a length that is known makes this two stores.
        const LONGEST: usize = Header::Modern.length();
        let Some(header) = packet.prepend(LONGEST) else { return false };
        header.copy_from_slice(&[0; LONGEST]);
        packet.trim_front(LONGEST - self.length());
        true
    }
}

/// The receive and the transmit queue of one card.
pub struct Queues<D> {
    receive: Ring<Packet>,
    transmit: Ring<Packet>,
    receive_bell: D,
    transmit_bell: D,
    header: Header,
    /// Bytes of frame that a receive buffer must hold.
    frame_room: usize,
    /// Frames that are shorter than the device's own header.
    too_short: u64,
}

impl<D: Doorbell> Queues<D> {
    /// Queues over two empty rings. A receive buffer must have room for `frame_room` bytes.
    pub fn new(
        receive: Ring<Packet>,
        transmit: Ring<Packet>,
        bells: [D; 2],
        header: Header,
        frame_room: usize,
    ) -> Self {
        let [receive_bell, transmit_bell] = bells;
        Self { receive, transmit, receive_bell, transmit_bell, header, frame_room, too_short: 0 }
    }

    /// Buffers that both rings hold together.
    pub fn entries(&self) -> usize {
        usize::from(self.receive.size()) + usize::from(self.transmit.size())
    }

    /// Answers of the device that could not be true.
    pub fn lies(&self) -> u64 {
        self.receive.lies() + self.transmit.lies() + self.too_short
    }

    /// Gives the device as many empty buffers as it takes, and tells it once.
    #[inline]
    pub fn refill(&mut self, exchange: &mut Exchange) {
        while self.receive.room() > 0 {
            let Some(mut packet) = exchange.allocate() else { break };
            if packet.tailroom() < self.frame_room {
                continue; // made elsewhere, and too small to receive into
            }
            let start = packet.headroom() - self.header.length();
            let buffer = &mut packet.storage_mut()[start..];
            let (address, length) = (buffer.as_mut_ptr() as u64, buffer.len() as u32);
            // SAFETY: the packet owns the buffer on the heap, and stays in the ring until the device is done.
            let pushed = unsafe { self.receive.push(packet, address, length) };
            debug_assert!(pushed.is_ok(), "there was room");
        }
        self.receive.publish(&mut self.receive_bell);
    }

    /// The next frame that came in.
    #[inline]
    pub fn receive(&mut self, exchange: &mut Exchange) -> Option<Packet> {
        while let Some((mut packet, written)) = self.receive.pop() {
            let length = (written as usize).checked_sub(self.header.length());
            if length.is_some_and(|length| packet.set_range(Packet::HEADROOM, length)) {
                return Some(packet);
            }
            self.too_short += u64::from(written > 0); // an empty answer is no frame, but no lie either
            exchange.recycle(packet);
        }
        None
    }

    /// Puts a frame into the transmit ring; [`Queues::flush`] tells the device. `false`: the ring is full, or the frame
    /// leaves no headroom for the device's header; then its buffer is back in the pool.
    #[inline]
    pub fn transmit(&mut self, mut packet: Packet, exchange: &mut Exchange) -> bool {
        if self.transmit.room() == 0 {
            self.reclaim(exchange);
        }
        if self.transmit.room() == 0 {
            exchange.recycle(packet);
            return false;
        }
        if !self.header.put(&mut packet) {
            exchange.recycle(packet);
            return false;
        }
        let frame = packet.bytes();
        let (address, length) = (frame.as_ptr() as u64, frame.len() as u32);
        // SAFETY: as in `refill`.
        let pushed = unsafe { self.transmit.push(packet, address, length) };
        debug_assert!(pushed.is_ok(), "there was room");
        true
    }

    /// Tells the device of all frames put since the last call.
    #[inline]
    pub fn flush(&mut self) {
        self.transmit.publish(&mut self.transmit_bell);
    }

    /// Takes back the buffers of frames that were sent.
    #[inline]
    pub fn reclaim(&mut self, exchange: &mut Exchange) {
        while let Some((packet, _)) = self.transmit.pop() {
            exchange.recycle(packet);
        }
    }

    /// Whether a frame has come in.
    #[inline]
    pub fn has_received(&self) -> bool {
        self.receive.has_used()
    }

    /// Whether the device has fewer buffers than it could take, because the pool was empty. No interrupt tells when there
    /// are some again.
    #[inline]
    pub fn is_starved(&self) -> bool {
        self.receive.room() > 0
    }

    /// Asks for an interrupt with the next frame, or for none. What is sent never interrupts.
    #[inline]
    pub fn set_interrupts(&mut self, on: bool) {
        self.receive.set_interrupts(on);
    }

    /// Gives all buffers back to the pool.
    ///
    /// # Safety
    /// The device was reset and touches none of them any more.
    pub unsafe fn dissolve(self, exchange: &mut Exchange) {
        for ring in [self.receive, self.transmit] {
            // SAFETY: the caller promises it.
            for packet in unsafe { ring.into_buffers() } {
                exchange.recycle(packet);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fake_device::{Bell, Device},
        ring::Direction,
    };
    use alloc::{vec, vec::Vec};

    const HEADER: usize = Header::Modern.length();
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
        let (receive, transmit) = (Ring::new(4, Direction::Receive), Ring::new(4, Direction::Transmit));
        let (receiver, sender) = (Device::of(&receive), Device::of(&transmit));
        let queues = Queues::new(receive, transmit, [&bells[0], &bells[1]], Header::Modern, ROOM);
        Bench { queues, receiver, sender, exchange: Exchange::new(BUFFERS, ROOM) }
    }

    /// A header that a device has written, and a frame.
    fn received(frame: &[u8]) -> Vec<u8> {
        [&[0xa5; HEADER][..], frame].concat()
    }

    #[test]
    fn a_frame_goes_from_one_ring_to_the_other_without_being_moved() {
        let bells = Default::default();
        let mut bench = bench(&bells);
        bench.queues.refill(&mut bench.exchange);
        let offer = bench.receiver.take()[0];
        assert_eq!(offer.length as usize, HEADER + ROOM);
        offer.fill(&received(&[1, 2, 3]));
        bench.receiver.put(offer.id, (HEADER + 3) as u32);

        let packet = bench.queues.receive(&mut bench.exchange).unwrap();
        assert_eq!(packet.bytes(), [1, 2, 3]);
        assert!(bench.queues.transmit(packet, &mut bench.exchange));
        bench.queues.flush();
        let sent = bench.sender.take()[0];
        assert_eq!((sent.address, sent.writable), (offer.address, false));
        assert_eq!(sent.bytes(), [&[0; HEADER][..], &[1, 2, 3]].concat(), "the header asks for nothing");

        bench.sender.put(sent.id, 0);
        bench.queues.reclaim(&mut bench.exchange);
        bench.queues.refill(&mut bench.exchange);
        assert_eq!(bench.exchange.available(), BUFFERS - 4, "all others are in the receive ring");
    }

    #[test]
    fn a_burst_is_one_kick() {
        let bells: [Bell; 2] = Default::default();
        let mut bench = bench(&bells);
        bench.queues.refill(&mut bench.exchange);
        bench.queues.refill(&mut bench.exchange);
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
        let first = bench.sender.take()[0];
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
        bench.queues.refill(&mut bench.exchange);
        let offers = bench.receiver.take();
        bench.receiver.put(offers[0].id, HEADER as u32 - 1);
        bench.receiver.put(offers[1].id, u32::MAX);
        bench.receiver.put(77, 100);
        offers[2].fill(&received(&[9]));
        bench.receiver.put(offers[2].id, HEADER as u32 + 1);
        let packet = bench.queues.receive(&mut bench.exchange).unwrap();
        assert_eq!(packet.bytes(), [9], "the next honest frame passes");
        assert_eq!(bench.queues.lies(), 3);
        assert!(bench.queues.receive(&mut bench.exchange).is_none());
        bench.exchange.recycle(packet);
        assert_eq!(bench.exchange.available(), BUFFERS - 1, "one buffer is still with the device");
    }

    #[test]
    fn an_empty_pool_starves_the_card_until_it_fills_again() {
        let bells = Default::default();
        let mut bench = bench(&bells);
        let hoard: Vec<Packet> = core::iter::from_fn(|| bench.exchange.allocate()).skip(2).collect();
        bench.queues.refill(&mut bench.exchange);
        assert!(bench.queues.is_starved());
        for packet in hoard {
            bench.exchange.recycle(packet);
        }
        bench.queues.refill(&mut bench.exchange);
        assert!(!bench.queues.is_starved());
    }

    #[test]
    fn a_buffer_too_small_to_receive_into_is_never_offered() {
        let bells = Default::default();
        let mut bench = bench(&bells);
        while bench.exchange.allocate().is_some() {}
        bench.exchange.recycle(Packet::with_capacity(ROOM - 1));
        bench.queues.refill(&mut bench.exchange);
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
                bench.queues.refill(&mut bench.exchange);
                bench.receiver.take();
                bench.sender.take();
                let device = if random(2) == 0 { &mut bench.receiver } else { &mut bench.sender };
                match random(20) {
                    0 => device.set_index(random(0x1_0000) as u16),
                    1 => device.put(random(u32::MAX), random(u32::MAX)),
                    _ => device.put(random(5), random(1600)),
                }
                while let Some(packet) = bench.queues.receive(&mut bench.exchange) {
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
        bench.queues.refill(&mut bench.exchange);
        let packets = vec![bench.exchange.allocate().unwrap(), bench.exchange.allocate().unwrap()];
        for packet in packets {
            bench.queues.transmit(packet, &mut bench.exchange);
        }
        // SAFETY: this device does only what a test says.
        unsafe { bench.queues.dissolve(&mut bench.exchange) };
        assert_eq!(bench.exchange.available(), BUFFERS);
    }
}
