//! The two queues of a network card: frames in, frames out. Read first: virtio 1.2, 5.1.6 "Device Operation".
//!
//! A frame's buffer is lent to the device in place. The header that virtio-net puts before each frame lies in the
//! packet's headroom, so the packet that one card has filled goes to the next as it is.

use crate::ring::{Doorbell, Ring};
use netstack::{exchange::Exchange, packet::Packet};

/// What happened at a card since it was started.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Frames received.
    pub received: u64,
    /// Frames given to the device to be sent.
    pub sent: u64,
    /// Frames not sent because the transmit ring was full.
    pub transmit_full: u64,
    /// Frames not sent because they leave no headroom for the device's header.
    pub no_headroom: u64,
    /// Frames received that are shorter than the device's header.
    pub too_short: u64,
}

/// The receive and the transmit queue of one card.
pub struct Queues<D> {
    receive: Ring<Packet>,
    transmit: Ring<Packet>,
    receive_bell: D,
    transmit_bell: D,
    /// Bytes of the header before each frame.
    header: usize,
    /// Bytes of frame that a receive buffer must hold.
    frame_room: usize,
    counters: Counters,
}

impl<D: Doorbell> Queues<D> {
    /// Queues over two empty rings. `header` is the length of the virtio-net header; a receive buffer must have room for
    /// `frame_room` bytes.
    pub fn new(
        receive: Ring<Packet>,
        transmit: Ring<Packet>,
        bells: [D; 2],
        header: usize,
        frame_room: usize,
    ) -> Self {
        assert!(header <= Packet::HEADROOM, "the header lies in the headroom");
        let [receive_bell, transmit_bell] = bells;
        let counters = Counters::default();
        Self { receive, transmit, receive_bell, transmit_bell, header, frame_room, counters }
    }

    /// Buffers that both rings hold together.
    pub fn entries(&self) -> usize {
        usize::from(self.receive.size()) + usize::from(self.transmit.size())
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Answers of the device that could not be true.
    pub fn lies(&self) -> u64 {
        self.receive.lies() + self.transmit.lies()
    }

    /// Gives the device as many empty buffers as it takes, and tells it once.
    #[inline]
    pub fn refill(&mut self, exchange: &mut Exchange) {
        while self.receive.room() > 0 {
            let Some(mut packet) = exchange.allocate() else { break };
            if packet.tailroom() < self.frame_room {
                continue; // made elsewhere, too small to receive into; the pool was lent it by mistake
            }
            let start = packet.headroom() - self.header;
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
            let length = (written as usize).checked_sub(self.header);
            if length.is_some_and(|length| packet.set_range(Packet::HEADROOM, length)) {
                self.counters.received += 1;
                return Some(packet);
            }
            self.counters.too_short += 1;
            exchange.recycle(packet);
        }
        None
    }

    /// Puts a frame into the transmit ring; [`Queues::flush`] tells the device. What cannot be sent is counted and its
    /// buffer goes back to the pool.
    #[inline]
    pub fn transmit(&mut self, mut packet: Packet, exchange: &mut Exchange) -> bool {
        if self.transmit.room() == 0 {
            self.reclaim(exchange);
        }
        if self.transmit.room() == 0 {
            self.counters.transmit_full += 1;
            exchange.recycle(packet);
            return false;
        }
        let Some(header) = packet.prepend(self.header) else {
            self.counters.no_headroom += 1;
            exchange.recycle(packet);
            return false;
        };
        header.fill(0); // no checksum to complete, nothing to segment
        let frame = packet.bytes();
        let (address, length) = (frame.as_ptr() as u64, frame.len() as u32);
        // SAFETY: as in `refill`.
        let pushed = unsafe { self.transmit.push(packet, address, length) };
        debug_assert!(pushed.is_ok(), "there was room");
        self.counters.sent += 1;
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
