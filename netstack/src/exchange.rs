//! Where frames leave the plane and where empty buffers come from: the whole of what it asks of a driver.

use crate::{interface::PortId, packet::Packet};
use alloc::vec::Vec;

/// Buffers in, frames out. Sized once; nothing on a packet's way allocates.
pub struct Exchange {
    free: Vec<Packet>,
    free_limit: usize,
    /// Frames for the driver; those before `next_outgoing` were collected.
    outgoing: Vec<Option<(PortId, Packet)>>,
    next_outgoing: usize,
    /// Those before it were shown to whoever looks on.
    shown: usize,
}

impl Exchange {
    /// An exchange with `buffers` free packets of `capacity` frame bytes each.
    pub fn new(buffers: usize, capacity: usize) -> Self {
        Self {
            free: (0..buffers).map(|_| Packet::with_capacity(capacity)).collect(),
            free_limit: buffers,
            outgoing: Vec::with_capacity(buffers),
            next_outgoing: 0,
            shown: 0,
        }
    }

    /// A buffer for the driver, which says by itself what is in it: [`Packet::set_range`], [`Packet::set_offload`].
    #[inline]
    pub fn take_buffer(&mut self) -> Option<Packet> {
        self.free.pop()
    }

    /// An empty packet for a frame made here; `None` where the pool is used up, and then the frame is not made.
    pub fn allocate(&mut self) -> Option<Packet> {
        let mut packet = self.take_buffer()?;
        packet.reset();
        Some(packet)
    }

    /// A packet whose frame is `length` bytes long and holds whatever was in the buffer. `None` where the pool is used
    /// up, or its buffers are too short.
    pub fn allocate_frame(&mut self, length: usize) -> Option<Packet> {
        let mut packet = self.allocate()?;
        if packet.append(length).is_none() {
            self.recycle(packet);
            return None;
        }
        Some(packet)
    }

    /// Takes back a packet that nobody needs any more, each of its buffers by itself.
    #[inline]
    pub fn recycle(&mut self, mut packet: Packet) {
        while let Some(rest) = packet.take_next() {
            self.put_back(packet);
            packet = rest;
        }
        self.put_back(packet);
    }

    #[inline]
    fn put_back(&mut self, buffer: Packet) {
        if self.free.len() < self.free_limit {
            self.free.push(buffer);
        }
    }

    /// Free packets at this moment.
    pub fn available(&self) -> usize {
        self.free.len()
    }

    /// Packets that there are: free, on their way, and in the driver's hands.
    pub fn total(&self) -> usize {
        self.free_limit
    }

    /// Sends a frame out of `port`, which does by itself what is still to be done to it. The driver collects it with
    /// [`Exchange::take_outgoing`].
    #[inline]
    pub fn transmit(&mut self, port: PortId, packet: Packet) {
        self.outgoing.push(Some((port, packet)));
    }

    /// The next frame to be put on a wire, oldest first. The driver takes all there are.
    pub fn take_outgoing(&mut self) -> Option<(PortId, Packet)> {
        let Some(place) = self.outgoing.get_mut(self.next_outgoing) else {
            self.outgoing.clear();
            (self.next_outgoing, self.shown) = (0, 0);
            return None;
        };
        self.next_outgoing += 1;
        place.take()
    }

    /// The frames that were sent since the last call and wait for the driver, for somebody to look at.
    pub(crate) fn newly_sent(&mut self) -> impl Iterator<Item = (PortId, &Packet)> {
        let from = core::mem::replace(&mut self.shown, self.outgoing.len());
        self.outgoing[from..].iter().flatten().map(|(port, packet)| (*port, packet))
    }

    /// Frames that wait for the driver.
    pub fn pending(&self) -> usize {
        self.outgoing.len() - self.next_outgoing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_buffer_of_a_long_frame_comes_back_by_itself() {
        let mut exchange = Exchange::new(3, 16);
        let mut frame = exchange.allocate_frame(16).unwrap();
        frame.extend([exchange.allocate_frame(16).unwrap(), exchange.allocate_frame(1).unwrap()]);
        assert_eq!((frame.len(), exchange.available()), (33, 0));
        exchange.recycle(frame);
        for _ in 0..3 {
            let packet = exchange.allocate().unwrap();
            assert!(packet.is_empty() && packet.is_contiguous());
        }
    }
}
