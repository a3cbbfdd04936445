//! The two queues of a network card: frames in, frames out. Read first: virtio 1.2, 5.1.6 "Device Operation".
//!
//! A frame's buffers are lent to the device in place. The header that virtio-net puts before each frame lies in the
//! packet's headroom, so the buffers that one card has filled go to the next as they are.

use crate::{
    header::{Format, LONGEST},
    ring::{Addresses, Doorbell, Part, Ring},
};
use netstack::{exchange::Exchange, offload::Offload, packet::Packet};

/// The longest frame that is let in: the longest IP packet, an Ethernet header and a VLAN tag.
const LONGEST_FRAME: usize = 65_535 + 18;

/// Where in a buffer the device writes its header and all that follows. A shorter header ends two bytes earlier.
const START: usize = Packet::HEADROOM - LONGEST;

/// What has gone through a card's queues.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Frames that came in.
    pub received: u64,
    /// Those of them that took more than one buffer.
    pub received_merged: u64,
    /// Those of them that a sender left to be segmented.
    pub received_unsegmented: u64,
    /// Frames that were given to the device.
    pub sent: u64,
    /// Those of them that it has to segment.
    pub sent_unsegmented: u64,
    /// Frames that the transmit ring had no room for.
    pub overruns: u64,
    /// Headers and lengths that could not be true.
    pub nonsense: u64,
    /// How often the device was told of empty buffers.
    pub receive_kicks: u64,
    /// How often the device was told of frames to be sent.
    pub transmit_kicks: u64,
}

/// The receive and the transmit queue of one card.
pub struct Queues<D> {
    receive: Ring<Packet>,
    transmit: Ring<Packet>,
    receive_bell: D,
    transmit_bell: D,
    format: Format,
    /// Bytes of frame that a receive buffer must hold.
    frame_room: usize,
    counters: Counters,
}

impl<D: Doorbell> Queues<D> {
    /// Empty queues with that many descriptors each. A receive buffer must have room for `frame_room` bytes.
    pub fn new(sizes: [u16; 2], bells: [D; 2], format: Format, frame_room: usize) -> Self {
        let [receive_bell, transmit_bell] = bells;
        Self {
            receive: Ring::new(sizes[0]),
            transmit: Ring::new(sizes[1]),
            receive_bell,
            transmit_bell,
            format,
            frame_room,
            counters: Counters::default(),
        }
    }

    /// Where the rings lie, and their sizes: receive, transmit.
    pub fn rings(&self) -> [(Addresses, u16); 2] {
        [(self.receive.addresses(), self.receive.size()), (self.transmit.addresses(), self.transmit.size())]
    }

    /// Buffers that both rings hold together.
    pub fn entries(&self) -> usize {
        usize::from(self.receive.size()) + usize::from(self.transmit.size())
    }

    /// What has gone through.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Answers of the device that could not be true.
    pub fn lies(&self) -> u64 {
        self.receive.lies() + self.transmit.lies() + self.counters.nonsense
    }

    /// Gives the device as many empty buffers as it takes, and tells it once.
    #[inline]
    pub fn refill(&mut self, exchange: &mut Exchange) {
        while self.receive.room() > 0 {
            let Some(mut packet) = exchange.take_buffer() else { break };
            let Some(room) = packet.storage_mut().get_mut(START..) else { continue };
            if room.len() < LONGEST + self.frame_room {
                continue; // made elsewhere, and too small to receive into
            }
            let part = Part::writable(room);
            // SAFETY: the packet owns its storage on the heap, and stays in the ring until the device is done.
            let pushed = unsafe { self.receive.push(packet, part) };
            debug_assert!(pushed.is_ok(), "there was room");
        }
        let kicked = self.receive.publish(&mut self.receive_bell);
        self.counters.receive_kicks += u64::from(kicked);
    }

    /// The next frame that came in.
    #[inline(always)] // at one place only
    pub fn receive(&mut self, exchange: &mut Exchange) -> Option<Packet> {
        while let Some((mut packet, written)) = self.receive.pop() {
            // Where the header is a short one, the first bytes of the frame are looked at as well, and ignored.
            let header = packet.storage_mut()[START..].first_chunk();
            let plain = header.is_some_and(|header| self.format.is_plain(header));
            let length = self.format.length();
            let complete = (written as usize)
                .checked_sub(length)
                .is_some_and(|written| packet.set_range(START + length, written));
            packet.set_offload(Offload::None);
            if complete && (plain || self.complete(&mut packet)) {
                self.counters.received += 1;
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
        self.counters.received_merged += u64::from(buffers > 1);
        self.counters.received_unsegmented += u64::from(is_unsegmented(&offload));
        true
    }

    /// Takes the next `count` buffers, which belong to a frame whose head is `packet`. Whether one is missing.
    fn take_further(&mut self, packet: &mut Packet, count: u16) -> bool {
        let mut missing = false;
        let further = (0..count).map_while(|_| {
            // A device shows all buffers of a frame at once (virtio 1.2, 5.1.6.4).
            let Some((mut packet, written)) = self.receive.pop() else {
                missing = true;
                return None;
            };
            missing |= written == 0 || !packet.set_range(START, written as usize);
            Some(packet)
        });
        packet.extend(further);
        missing
    }

    /// Puts a frame into the transmit ring; [`Queues::flush`] tells the device. `false`: the ring has no room for all of
    /// its buffers, or the frame leaves no headroom for the device's header; then its buffers are back in the pool.
    #[inline(always)] // at one place only
    pub fn transmit(&mut self, mut packet: Packet, exchange: &mut Exchange) -> bool {
        if !self.format.put(&mut packet) {
            exchange.recycle(packet);
            return false;
        }
        let unsegmented = is_unsegmented(packet.offload());
        let mut pushed = self.push(packet);
        if let Err(packet) = pushed {
            self.reclaim(exchange);
            pushed = self.push(packet);
        }
        if let Err(packet) = pushed {
            self.counters.overruns += 1;
            exchange.recycle(packet);
            return false;
        }
        self.counters.sent += 1;
        self.counters.sent_unsegmented += u64::from(unsegmented);
        true
    }

    #[inline(always)]
    fn push(&mut self, packet: Packet) -> Result<(), Packet> {
        if packet.is_contiguous() {
            let part = Part::readable(packet.bytes());
            // SAFETY: as in `refill`.
            return unsafe { self.transmit.push(packet, part) };
        }
        self.push_parts(packet)
    }

    #[inline(never)] // once for tens of kilobytes
    fn push_parts(&mut self, packet: Packet) -> Result<(), Packet> {
        let Some(chain) = self.transmit.take(packet.parts().map(Part::readable)) else { return Err(packet) };
        // SAFETY: as in `refill`.
        unsafe { self.transmit.push_chain(packet, chain) };
        Ok(())
    }

    /// Tells the device of all frames put since the last call.
    #[inline]
    pub fn flush(&mut self) {
        let kicked = self.transmit.publish(&mut self.transmit_bell);
        self.counters.transmit_kicks += u64::from(kicked);
    }

    /// Takes back the buffers of frames that were sent.
    #[inline]
    pub fn reclaim(&mut self, exchange: &mut Exchange) {
        while let Some((packet, _)) = self.transmit.pop() {
            exchange.recycle(packet);
        }
    }

    /// How far the device has come with the frames to be sent, as [`Ring::owed`] says it.
    pub fn unsent(&self) -> Option<u16> {
        self.transmit.owed()
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
        // SAFETY: the caller promises it.
        let (receive, transmit) = unsafe { (self.receive.into_buffers(), self.transmit.into_buffers()) };
        receive.chain(transmit).for_each(|packet| exchange.recycle(packet));
    }
}

#[inline]
fn is_unsegmented(offload: &Offload) -> bool {
    matches!(offload, Offload::Partial(partial) if partial.segmentation.is_some())
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
