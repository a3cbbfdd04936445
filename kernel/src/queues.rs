//! The queues of a network card: frames in, frames out. Read first: virtio 1.2, 5.1.6 "Device Operation".
//!
//! A frame's buffers are lent to the device in place. The header that virtio-net puts before each frame lies in the
//! packet's headroom, so the buffers that one card has filled go to the next as they are.
//!
//! A card may have several receive queues. All frames are sent through the first transmit queue, because a host's tap then
//! brings all answers to them through the first receive queue ("automatic receive flow steering", virtio 1.2, 5.1.6.5.5), and
//! spreads what it knows nothing of over all queues. So a flood of strangers is mostly in the further queues, and while it
//! goes on those are seldom looked at: what they have no buffers for the host drops, and neither QEMU nor the router has seen it.

use crate::{
    header::Format,
    ring::{Addresses, Area, Doorbell, Part, Ring},
};
use alloc::vec::Vec;
use netstack::{exchange::Exchange, offload::Offload, packet::Packet};
use smoltcp::time::{Duration, Instant};

mod receiver;
pub use receiver::{Received, Receiver};

/// How often one of the further receive queues has its turn while a card brings too much.
const TURN: Duration = Duration::from_micros(1500);
/// Descriptors of a transmit queue that is there because the standard pairs queues, and never used.
const IDLE_SIZE: u16 = 2;

/// What has gone out through a card's transmit queue.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Frames that were given to the device.
    pub frames: u64,
    /// Those of them that it has to segment.
    pub unsegmented: u64,
    /// Frames that the ring had no room for.
    pub overruns: u64,
    /// How often the device was told of frames.
    pub kicks: u64,
}

/// The queues of one card.
pub struct Queues<D> {
    /// One at least.
    receivers: Vec<Receiver<D>>,
    transmit: Ring<Packet>,
    transmit_bell: D,
    /// One for each of the further receive queues.
    idle: Vec<Area>,
    format: Format,
    sent: Sent,
    /// Whether the further receive queues have to wait for their turns, and how often they have begun to.
    is_holding: bool,
    holds: u64,
    /// When one of them has its turn then, and which of them was first in the last turn.
    next_turn: Instant,
    turn: usize,
}

impl<D: Doorbell> Queues<D> {
    /// A card with these receive queues, one at least, and a transmit queue with `size` descriptors.
    pub fn new(receivers: Vec<Receiver<D>>, size: u16, transmit_bell: D, format: Format) -> Self {
        let idle = receivers.iter().skip(1).map(|_| Area::new(IDLE_SIZE)).collect();
        Self {
            receivers,
            transmit: Ring::new(size),
            transmit_bell,
            idle,
            format,
            sent: Sent::default(),
            is_holding: false,
            holds: 0,
            next_turn: Instant::ZERO,
            turn: 0,
        }
    }

    /// Where the rings lie, and their sizes, in the order of the queues' numbers: receive, transmit, receive, transmit...
    pub fn rings(&self) -> impl Iterator<Item = (Addresses, u16)> {
        let transmit = (self.transmit.addresses(), self.transmit.size());
        let idle = self.idle.iter().map(|area| (area.addresses(), area.size()));
        let transmit = core::iter::once(transmit).chain(idle);
        self.receivers
            .iter()
            .map(Receiver::ring)
            .zip(transmit)
            .flat_map(|(receive, transmit)| [receive, transmit])
    }

    /// Buffers that all rings hold together.
    pub fn entries(&self) -> usize {
        let received: usize = self.receivers.iter().map(|receiver| usize::from(receiver.ring().1)).sum();
        received + usize::from(self.transmit.size())
    }

    /// What has come in, by queue.
    pub fn received(&self) -> impl Iterator<Item = Received> {
        self.receivers.iter().map(Receiver::counters)
    }

    /// What has gone out.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// Answers of the device that could not be true.
    pub fn lies(&self) -> u64 {
        self.receivers.iter().map(Receiver::lies).sum::<u64>() + self.transmit.lies()
    }

    /// The receive queues whose turn it is: the first one, and all of the others, unless the card is `crowded`; another one of
    /// them begins each time.
    #[inline]
    pub fn due(&mut self, crowded: bool, now: Instant) -> impl Iterator<Item = &mut Receiver<D>> {
        let (first, further) = self.receivers.split_at_mut(1);
        let holding = crowded && !further.is_empty();
        self.holds += u64::from(holding && !self.is_holding);
        self.is_holding = holding;
        let turns = if !holding { further.len() } else { usize::from(now >= self.next_turn) };
        if turns > 0 {
            self.next_turn = now + TURN;
            self.turn = (self.turn + 1) % further.len();
        }
        let (before, after) = further.split_at_mut(self.turn);
        first.iter_mut().chain(after.iter_mut().chain(before).take(turns))
    }

    /// When one of the further receive queues has its turn, where they have to wait for it.
    pub fn next_turn(&self) -> Option<Instant> {
        self.is_holding.then_some(self.next_turn)
    }

    /// How often the further receive queues have begun to wait for their turns.
    pub fn holds(&self) -> u64 {
        self.holds
    }

    /// The receive queues that are looked at as soon as something is in them.
    #[inline]
    fn attended(&self) -> &[Receiver<D>] {
        if self.is_holding { &self.receivers[..1] } else { &self.receivers }
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
            self.sent.overruns += 1;
            exchange.recycle(packet);
            return false;
        }
        self.sent.frames += 1;
        self.sent.unsegmented += u64::from(unsegmented);
        true
    }

    #[inline(always)]
    fn push(&mut self, packet: Packet) -> Result<(), Packet> {
        if packet.is_contiguous() {
            let part = Part::readable(packet.bytes());
            // SAFETY: as in `Receiver::refill`.
            return unsafe { self.transmit.push(packet, part) };
        }
        self.push_parts(packet)
    }

    #[inline(never)] // once for tens of kilobytes
    fn push_parts(&mut self, packet: Packet) -> Result<(), Packet> {
        let Some(chain) = self.transmit.take(packet.parts().map(Part::readable)) else { return Err(packet) };
        // SAFETY: as in `Receiver::refill`.
        unsafe { self.transmit.push_chain(packet, chain) };
        Ok(())
    }

    /// Tells the device of all frames put since the last call.
    #[inline]
    pub fn flush(&mut self) {
        let kicked = self.transmit.publish(&mut self.transmit_bell);
        self.sent.kicks += u64::from(kicked);
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

    /// Whether a frame has come in, other than one that has to wait for its queue's turn.
    #[inline]
    pub fn has_received(&self) -> bool {
        self.attended().iter().any(Receiver::has_received)
    }

    /// Whether the device has fewer buffers than it could take, because the pool was empty. No interrupt tells when there
    /// are some again.
    #[inline]
    pub fn is_starved(&self) -> bool {
        self.receivers.iter().any(Receiver::is_starved)
    }

    /// Asks for an interrupt with the next frame, or for none. What has to wait for its turn does not interrupt, nor does what
    /// is sent.
    #[inline]
    pub fn set_interrupts(&mut self, on: bool) {
        let attended = self.attended().len();
        for (number, receiver) in self.receivers.iter_mut().enumerate() {
            receiver.set_interrupts(on && number < attended);
        }
    }

    /// Gives all buffers back to the pool.
    ///
    /// # Safety
    /// The device was reset and touches none of them any more.
    pub unsafe fn dissolve(self, exchange: &mut Exchange) {
        for receiver in self.receivers {
            // SAFETY: the caller promises it.
            unsafe { receiver.into_buffers() }.for_each(|packet| exchange.recycle(packet));
        }
        // SAFETY: as above.
        unsafe { self.transmit.into_buffers() }.for_each(|packet| exchange.recycle(packet));
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
