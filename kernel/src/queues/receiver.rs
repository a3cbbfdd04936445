//! One receive queue of a network card: empty buffers out, frames in. Read first: virtio 1.2, 5.1.6.3 "Setting Up Receive
//! Buffers" and 5.1.6.4 "Processing of Incoming Packets".

use super::is_unsegmented;
use crate::{
    header::{Format, LONGEST},
    ring::{Addresses, Doorbell, Part, Ring},
};
use netstack::{exchange::Exchange, offload::Offload, packet::Packet};

/// The longest frame that is let in: the longest IP packet, an Ethernet header and a VLAN tag.
const LONGEST_FRAME: usize = 65_535 + 18;

/// Where in a buffer the device writes its header and all that follows. A shorter header ends two bytes earlier.
const START: usize = Packet::HEADROOM - LONGEST;

/// What has come in through a queue.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Received {
    /// Frames.
    pub frames: u64,
    /// Those of them that took more than one buffer.
    pub merged: u64,
    /// Those of them that a sender left to be segmented.
    pub unsegmented: u64,
    /// Headers and lengths that could not be true.
    pub nonsense: u64,
    /// How often the device was told of empty buffers.
    pub kicks: u64,
}

/// A receive queue.
pub struct Receiver<D> {
    ring: Ring<Packet>,
    bell: D,
    format: Format,
    /// Bytes of frame that a buffer must hold.
    frame_room: usize,
    counters: Received,
}

impl<D: Doorbell> Receiver<D> {
    /// An empty queue with `size` descriptors, whose buffers must have room for `frame_room` bytes of frame.
    pub fn new(size: u16, bell: D, format: Format, frame_room: usize) -> Self {
        Self { ring: Ring::new(size), bell, format, frame_room, counters: Received::default() }
    }

    /// Where its ring lies, and its size.
    pub fn ring(&self) -> (Addresses, u16) {
        (self.ring.addresses(), self.ring.size())
    }

    /// What has come in.
    pub fn counters(&self) -> Received {
        self.counters
    }

    /// Answers of the device that could not be true.
    pub fn lies(&self) -> u64 {
        self.ring.lies() + self.counters.nonsense
    }

    /// Gives the device as many empty buffers as it takes, and tells it once.
    #[inline]
    pub fn refill(&mut self, exchange: &mut Exchange) {
        while self.ring.room() > 0 {
            let Some(mut packet) = exchange.take_buffer() else { break };
            let Some(room) = packet.storage_mut().get_mut(START..) else { continue };
            if room.len() < LONGEST + self.frame_room {
                continue; // made elsewhere, and too small to receive into
            }
            let part = Part::writable(room);
            // SAFETY: the packet owns its storage on the heap, and stays in the ring until the device is done.
            let pushed = unsafe { self.ring.push(packet, part) };
            debug_assert!(pushed.is_ok(), "there was room");
        }
        let kicked = self.ring.publish(&mut self.bell);
        self.counters.kicks += u64::from(kicked);
    }

    /// The next frame that came in.
    #[inline(always)] // at one place only
    pub fn receive(&mut self, exchange: &mut Exchange) -> Option<Packet> {
        while let Some((mut packet, written)) = self.ring.pop() {
            // Where the header is a short one, the first bytes of the frame are looked at as well, and ignored.
            let header = packet.storage_mut()[START..].first_chunk();
            let plain = header.is_some_and(|header| self.format.is_plain(header));
            let length = self.format.length();
            let complete = (written as usize)
                .checked_sub(length)
                .is_some_and(|written| packet.set_range(START + length, written));
            packet.set_offload(Offload::None);
            if complete && (plain || self.complete(&mut packet)) {
                self.counters.frames += 1;
                return Some(packet);
            }
            // The ring has counted an answer of no length.
            self.counters.nonsense += u64::from(!complete && written > 0);
            exchange.recycle(packet);
        }
        None
    }

    /// Reads a header that says something, and takes the further buffers of a frame. Whether there is a frame.
    #[inline(never)] // plain frames are many and short, these are few and long
    fn complete(&mut self, packet: &mut Packet) -> bool {
        let Some(&header) = packet.storage_mut()[START..].first_chunk() else { return false };
        let buffers = self.format.buffers(&header);
        let missing = self.take_further(packet, buffers.saturating_sub(1));
        let sensible = buffers > 0
            && !missing
            && (packet.is_contiguous() || packet.bytes().len() >= Packet::LEAST_HEAD)
            && packet.len() <= LONGEST_FRAME;
        let Some(offload) = self.format.read(&header).filter(|_| sensible) else {
            self.counters.nonsense += 1;
            return false;
        };
        packet.set_offload(offload);
        self.counters.merged += u64::from(buffers > 1);
        self.counters.unsegmented += u64::from(is_unsegmented(&offload));
        true
    }

    /// Takes the next `count` buffers, which belong to a frame whose head is `packet`. Whether one is missing.
    fn take_further(&mut self, packet: &mut Packet, count: u16) -> bool {
        let mut missing = false;
        let further = (0..count).map_while(|_| {
            // A device shows all buffers of a frame at once (virtio 1.2, 5.1.6.4).
            let Some((mut packet, written)) = self.ring.pop() else {
                missing = true;
                return None;
            };
            missing |= written == 0 || !packet.set_range(START, written as usize);
            Some(packet)
        });
        packet.extend(further);
        missing
    }

    /// Whether a frame has come in.
    #[inline]
    pub fn has_received(&self) -> bool {
        self.ring.has_used()
    }

    /// Whether the device has fewer buffers than it could take, because the pool was empty. No interrupt tells when there
    /// are some again.
    #[inline]
    pub fn is_starved(&self) -> bool {
        self.ring.room() > 0
    }

    /// Asks for an interrupt with the next frame, or for none.
    #[inline]
    pub fn set_interrupts(&mut self, on: bool) {
        self.ring.set_interrupts(on);
    }

    /// All buffers that the device had.
    ///
    /// # Safety
    /// The device was reset and touches none of them any more.
    pub unsafe fn into_buffers(self) -> impl Iterator<Item = Packet> {
        // SAFETY: the caller promises it.
        unsafe { self.ring.into_buffers() }
    }
}
