//! A bounded pool of packets that wait, each for one neighbour; when it is full, the one that waits longest goes.
//!
//! A place is for a packet of any length, so the buffers that long ones take are bounded as well: else a few of them would leave none
//! for what comes in.

use alloc::vec::Vec;

/// The pool. A place is known to its owner, and the owner to the place.
pub(super) struct Parking<P> {
    places: Vec<Option<Parked<P>>>,
    free: Vec<u16>,
    /// The next place to be cleared when none is free. Under pressure it follows the order in which places were filled.
    hand: u16,
    /// Buffers that the packets have beyond the first of each, and how many these may be.
    further: usize,
    most_further: usize,
}

struct Parked<P> {
    owner: u16,
    packet: P,
    further: usize,
}

impl<P> Parking<P> {
    pub(super) fn new(places: u16, most_further: usize) -> Self {
        let (free, further) = ((0..places).rev().collect(), 0);
        Self { places: (0..places).map(|_| None).collect(), free, hand: 0, further, most_further }
    }

    /// Whether a packet with so many further buffers is none too long, now.
    pub(super) fn takes(&self, further: usize) -> bool {
        further == 0 || self.further + further <= self.most_further
    }

    /// The place that has to be cleared before another packet fits, and its owner; `None`: there is room.
    pub(super) fn crowded(&mut self) -> Option<(u16, u16)> {
        if !self.free.is_empty() {
            return None;
        }
        let place = self.hand;
        self.hand = (self.hand + 1) % self.places.len() as u16;
        self.places[usize::from(place)].as_ref().map(|parked| (parked.owner, place))
    }

    /// Puts a packet into a free place; gives it back where there is none.
    pub(super) fn put(&mut self, owner: u16, packet: P, further: usize) -> Result<u16, P> {
        let Some(place) = self.free.pop() else { return Err(packet) };
        self.places[usize::from(place)] = Some(Parked { owner, packet, further });
        self.further += further;
        Ok(place)
    }

    /// Clears a place.
    pub(super) fn take(&mut self, place: u16) -> Option<P> {
        let parked = self.places[usize::from(place)].take()?;
        self.free.push(place);
        self.further -= parked.further;
        Some(parked.packet)
    }
}
