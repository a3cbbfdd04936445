//! One owned frame buffer with headroom: a frame is moved, never copied, from ingress to egress.

use alloc::{boxed::Box, vec};
use core::fmt;

/// An Ethernet frame in a buffer that has room to grow at both ends.
///
/// The storage is owned, so a driver can lend it to a device, and moving a `Packet` moves no payload.
pub struct Packet {
    storage: Box<[u8]>,
    start: u32,
    end: u32,
}

impl Packet {
    /// Bytes kept free before a received frame, for headers that are added on the way (VLAN, VXLAN, virtio-net).
    pub const HEADROOM: usize = 128;

    /// An empty packet whose storage holds `HEADROOM` and then `capacity` bytes of frame.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::from_storage(vec![0; Self::HEADROOM + capacity].into_boxed_slice())
    }

    /// An empty packet in storage that the caller brings. Storage shorter than `HEADROOM` gives a packet
    /// without headroom.
    pub fn from_storage(storage: Box<[u8]>) -> Self {
        let start = Self::HEADROOM.min(storage.len()) as u32;
        Self { storage, start, end: start }
    }

    /// A packet that holds a copy of `frame`, with headroom. For tests and for frames made from scratch.
    pub fn from_frame(frame: &[u8]) -> Self {
        let mut packet = Self::with_capacity(frame.len());
        packet.end = packet.start + frame.len() as u32;
        packet.bytes_mut().copy_from_slice(frame);
        packet
    }

    /// The frame, from the first byte of its Ethernet header.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.storage[self.start as usize..self.end as usize]
    }

    /// The frame, to be changed in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start as usize..self.end as usize]
    }

    /// Length of the frame in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether the frame has no byte.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Offset of the frame's first byte in the storage: the headroom that is left.
    #[inline]
    pub fn headroom(&self) -> usize {
        self.start as usize
    }

    /// Bytes that can still be appended.
    #[inline]
    pub fn tailroom(&self) -> usize {
        self.storage.len() - self.end as usize
    }

    /// The whole storage, for a driver that lends it to a device.
    #[inline]
    pub fn storage_mut(&mut self) -> &mut [u8] {
        &mut self.storage
    }

    /// Declares that the frame is `length` bytes from offset `start` of the storage, as a device wrote it.
    /// `false`, and no change, where that is outside the storage.
    #[inline]
    #[must_use]
    pub fn set_range(&mut self, start: usize, length: usize) -> bool {
        let Some(end) = start.checked_add(length) else { return false };
        if end > self.storage.len() {
            return false;
        }
        (self.start, self.end) = (start as u32, end as u32);
        true
    }

    /// Empties the packet and restores the headroom; the bytes stay as they are.
    #[inline]
    pub fn reset(&mut self) {
        self.start = Self::HEADROOM.min(self.storage.len()) as u32;
        self.end = self.start;
    }

    /// Makes room for `count` bytes in front of the frame and gives the slice; `None` without headroom.
    #[inline]
    pub fn prepend(&mut self, count: usize) -> Option<&mut [u8]> {
        let start = (self.start as usize).checked_sub(count)?;
        self.start = start as u32;
        Some(&mut self.storage[start..start + count])
    }

    /// Makes room for `count` bytes behind the frame and gives the slice; `None` without room.
    #[inline]
    pub fn append(&mut self, count: usize) -> Option<&mut [u8]> {
        if self.tailroom() < count {
            return None;
        }
        let end = self.end as usize;
        self.end += count as u32;
        Some(&mut self.storage[end..end + count])
    }

    /// Cuts `count` bytes off the front (all of them where there are fewer).
    #[inline]
    pub fn trim_front(&mut self, count: usize) {
        self.start = self.start.saturating_add(count as u32).min(self.end);
    }

    /// Cuts the frame to `length` bytes; longer than it is: no change.
    #[inline]
    pub fn truncate(&mut self, length: usize) {
        self.end = self.end.min(self.start.saturating_add(length as u32));
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packet({} bytes: {:02x?})", self.len(), self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_shrinks_at_both_ends_without_moving_the_frame() {
        let mut packet = Packet::from_frame(&[1, 2, 3, 4]);
        packet.prepend(2).unwrap().copy_from_slice(&[8, 9]);
        assert_eq!(packet.bytes(), [8, 9, 1, 2, 3, 4]);
        packet.trim_front(3);
        packet.truncate(2);
        assert_eq!(packet.bytes(), [2, 3]);
        assert!(packet.prepend(Packet::HEADROOM + 2).is_none(), "no more than the headroom");
        assert!(packet.append(3).is_none(), "no more than the tailroom");
        assert!(packet.append(1).is_some());
        assert_eq!(packet.len(), 3);
    }

    #[test]
    fn a_range_outside_the_storage_changes_nothing() {
        let mut packet = Packet::from_frame(&[1, 2, 3]);
        assert!(!packet.set_range(usize::MAX, 2));
        assert!(!packet.set_range(0, Packet::HEADROOM + 4));
        assert_eq!(packet.bytes(), [1, 2, 3]);
    }
}
