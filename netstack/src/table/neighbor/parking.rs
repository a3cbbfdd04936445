//! A bounded pool of packets that wait, each for one neighbour; when it is full, the one that waits longest goes.

use alloc::vec::Vec;

/// The pool. A place is known to its owner, and the owner to the place.
pub(super) struct Parking<P> {
    places: Vec<Option<Parked<P>>>,
    free: Vec<u16>,
    /// The next place to be cleared when none is free. Under pressure it follows the order in which places were filled.
    hand: u16,
}

struct Parked<P> {
    owner: u16,
    packet: P,
}

impl<P> Parking<P> {
    pub(super) fn new(places: u16) -> Self {
        Self { places: (0..places).map(|_| None).collect(), free: (0..places).rev().collect(), hand: 0 }
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
    pub(super) fn put(&mut self, owner: u16, packet: P) -> Result<u16, P> {
        let Some(place) = self.free.pop() else { return Err(packet) };
        self.places[usize::from(place)] = Some(Parked { owner, packet });
        Ok(place)
    }

    /// Clears a place.
    pub(super) fn take(&mut self, place: u16) -> Option<P> {
        let parked = self.places[usize::from(place)].take()?;
        self.free.push(place);
        Some(parked.packet)
    }
}
