//! One owned frame with headroom: it is moved, never copied, from ingress to egress.

use crate::offload::Offload;
use alloc::{boxed::Box, vec};
use core::fmt;

/// An Ethernet frame in a buffer that has room to grow at both ends, and what is still to be done to it.
///
/// A frame that is too long for one buffer goes on in further ones ([`Packet::extend`]). All headers are in the first
/// one, the *head*: whoever receives sees to it that the head holds the whole frame, or [`Packet::LEAST_HEAD`] bytes of it.
///
/// A `Packet` is one pointer, and owns all it points to: a driver can lend its storage to a device, moving it moves no
/// payload, and emptying it frees no memory.
pub struct Packet(Box<Buffer>);

struct Buffer {
    storage: Box<[u8]>,
    start: u32,
    end: u32,
    /// Bytes of frame in all further buffers; counts in the head only.
    beyond: u32,
    offload: Offload,
    next: Option<Packet>,
}

impl Packet {
    /// Bytes kept free before a received frame, for headers that are added on the way (VLAN, VXLAN, virtio-net).
    pub const HEADROOM: usize = 128;
    /// Bytes of a longer frame that its head must hold.
    pub const LEAST_HEAD: usize = 128;

    /// An empty packet whose storage holds `HEADROOM` and then `capacity` bytes of frame.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::from_storage(vec![0; Self::HEADROOM + capacity].into_boxed_slice())
    }

    /// An empty packet in storage that the caller brings. Storage shorter than `HEADROOM` gives a packet
    /// without headroom.
    pub fn from_storage(storage: Box<[u8]>) -> Self {
        let start = Self::HEADROOM.min(storage.len()) as u32;
        let buffer = Buffer { storage, start, end: start, beyond: 0, offload: Offload::None, next: None };
        Self(Box::new(buffer))
    }

    /// A packet that holds a copy of `frame`, with headroom. For tests and for frames made from scratch.
    pub fn from_frame(frame: &[u8]) -> Self {
        let mut packet = Self::with_capacity(frame.len());
        packet.0.end = packet.0.start + frame.len() as u32;
        packet.bytes_mut().copy_from_slice(frame);
        packet
    }

    /// The frame, from the first byte of its Ethernet header, as far as it is in the head.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        let buffer = &*self.0;
        &buffer.storage[buffer.start as usize..buffer.end as usize]
    }

    /// The same, to be changed in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let buffer = &mut *self.0;
        &mut buffer.storage[buffer.start as usize..buffer.end as usize]
    }

    /// Length of the whole frame in bytes, further buffers included.
    #[inline]
    pub fn len(&self) -> usize {
        (self.0.end - self.0.start) as usize + self.0.beyond as usize
    }

    /// Whether the frame has no byte.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is still to be done to the frame, or known about it.
    #[inline]
    pub fn offload(&self) -> &Offload {
        &self.0.offload
    }

    /// Says what is still to be done to the frame, or known about it.
    #[inline]
    pub fn set_offload(&mut self, offload: Offload) {
        self.0.offload = offload;
    }

    /// Offset of the frame's first byte in the storage: the headroom that is left.
    #[inline]
    pub fn headroom(&self) -> usize {
        self.0.start as usize
    }

    /// Bytes that can still be appended to the head.
    #[inline]
    pub fn tailroom(&self) -> usize {
        self.0.storage.len() - self.0.end as usize
    }

    /// The whole storage of the head, for a driver that lends it to a device.
    #[inline]
    pub fn storage_mut(&mut self) -> &mut [u8] {
        &mut self.0.storage
    }

    /// Declares that the head's part of the frame is `length` bytes from offset `start` of the storage, as a device wrote
    /// it. `false`, and no change, where that is outside the storage.
    #[inline]
    #[must_use]
    pub fn set_range(&mut self, start: usize, length: usize) -> bool {
        let Some(end) = start.checked_add(length) else { return false };
        if end > self.0.storage.len() {
            return false;
        }
        (self.0.start, self.0.end) = (start as u32, end as u32);
        true
    }

    /// Empties the packet and restores the headroom; the bytes stay as they are. Further buffers are not touched: take
    /// them off before, or they stay.
    #[inline]
    pub fn reset(&mut self) {
        self.0.start = Self::HEADROOM.min(self.0.storage.len()) as u32;
        self.0.end = self.0.start;
        self.0.offload = Offload::None;
    }

    /// Makes room for `count` bytes in front of the frame and gives the slice; `None` without headroom.
    #[inline]
    pub fn prepend(&mut self, count: usize) -> Option<&mut [u8]> {
        let start = (self.0.start as usize).checked_sub(count)?;
        self.0.start = start as u32;
        Some(&mut self.0.storage[start..start + count])
    }

    /// Makes room for `count` bytes behind the frame's part in the head and gives the slice; `None` without room.
    #[inline]
    pub fn append(&mut self, count: usize) -> Option<&mut [u8]> {
        if self.tailroom() < count {
            return None;
        }
        let end = self.0.end as usize;
        self.0.end += count as u32;
        Some(&mut self.0.storage[end..end + count])
    }

    /// Cuts `count` bytes off the front of the head (all of them where there are fewer).
    #[inline]
    pub fn trim_front(&mut self, count: usize) {
        self.0.start = self.0.start.saturating_add(count as u32).min(self.0.end);
    }

    /// Cuts the whole frame to `length` bytes; longer than it is: no change. Buffers that nothing is left of stay with the
    /// packet, empty, until it is recycled.
    #[inline(always)]
    pub fn truncate(&mut self, length: usize) {
        if self.0.beyond == 0 {
            self.0.end = self.0.end.min(self.0.start.saturating_add(length as u32));
        } else if length < self.len() {
            self.cut(length);
        }
    }

    #[inline(never)]
    fn cut(&mut self, length: usize) {
        let (mut left, mut next) = (length, Some(&mut *self));
        while let Some(Packet(buffer)) = next {
            let kept = left.min((buffer.end - buffer.start) as usize);
            buffer.end = buffer.start + kept as u32;
            left -= kept;
            next = buffer.next.as_mut();
        }
        self.0.beyond = length as u32 - (self.0.end - self.0.start);
    }

    /// Lets the frame go on in further buffers: what is in each of them follows what is here.
    pub fn extend(&mut self, buffers: impl IntoIterator<Item = Packet>) {
        let (mut added, mut last) = (0, &mut self.0.next);
        for packet in buffers {
            while let Some(Packet(buffer)) = last {
                last = &mut buffer.next;
            }
            added += packet.len() as u32;
            last = &mut last.insert(packet).0.next;
        }
        self.0.beyond += added;
    }

    /// How many buffers the frame takes beyond its first one.
    pub fn further_buffers(&self) -> usize {
        core::iter::successors(self.0.next.as_ref(), |packet| packet.0.next.as_ref()).count()
    }

    /// Takes off everything behind the head: a packet that holds the rest of the frame.
    #[inline]
    pub fn take_next(&mut self) -> Option<Packet> {
        let mut rest = self.0.next.take()?;
        let beyond = core::mem::take(&mut self.0.beyond);
        rest.0.beyond = beyond - (rest.0.end - rest.0.start);
        Some(rest)
    }

    /// The frame, part by part: the head, and then the further buffers. Parts without a byte are left out, so an
    /// empty frame has none.
    #[inline]
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut next = Some(self);
        core::iter::from_fn(move || {
            let packet = next?;
            next = packet.0.next.as_ref();
            Some(packet.bytes())
        })
        .filter(|part| !part.is_empty())
    }

    /// The same, from `offset` of the frame on.
    pub fn parts_from(&self, offset: usize) -> impl Iterator<Item = &[u8]> {
        let mut skip = offset;
        self.parts().filter_map(move |part| {
            let rest = part.get(skip..);
            skip = skip.saturating_sub(part.len());
            rest.filter(|rest| !rest.is_empty())
        })
    }

    /// Whether the whole frame is in the head.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.0.beyond == 0
    }

    /// Copies the frame from `offset` on into `to`, until either ends. Gives how many bytes it copied.
    pub fn copy_to(&self, offset: usize, to: &mut [u8]) -> usize {
        let mut done = 0;
        for part in self.parts_from(offset) {
            let count = part.len().min(to.len() - done);
            to[done..done + count].copy_from_slice(&part[..count]);
            done += count;
            if done == to.len() {
                break;
            }
        }
        done
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
    use alloc::vec::Vec;

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

    #[test]
    fn moving_a_packet_moves_one_pointer() {
        assert_eq!(size_of::<Option<Packet>>(), size_of::<usize>());
    }

    /// 1 to 9 in three buffers.
    fn long() -> Packet {
        let mut packet = Packet::from_frame(&[1, 2, 3]);
        packet.extend([Packet::from_frame(&[4, 5])]);
        packet.extend([Packet::from_frame(&[]), Packet::from_frame(&[6, 7, 8, 9])]);
        packet
    }

    #[test]
    fn a_long_frame_is_the_sum_of_its_parts() {
        let packet = long();
        assert_eq!((packet.len(), packet.bytes()), (9, &[1, 2, 3][..]));
        let parts: Vec<&[u8]> = packet.parts().collect();
        assert_eq!(parts, [&[1, 2, 3][..], &[4, 5], &[6, 7, 8, 9]]);
        for offset in 0..=10 {
            let mut copy = [0; 4];
            let count = packet.copy_to(offset, &mut copy);
            let expected: Vec<u8> = (1..=9).skip(offset).take(4).collect();
            assert_eq!(copy[..count], expected);
        }
    }

    #[test]
    fn a_long_frame_can_be_cut_anywhere() {
        for length in 0..=10 {
            let mut packet = long();
            packet.truncate(length);
            let expected: Vec<u8> = (1..=9).take(length).collect();
            assert_eq!(packet.parts().collect::<Vec<_>>().concat(), expected);
            assert_eq!((packet.len(), packet.is_contiguous()), (expected.len(), length <= 3));
        }
    }

    #[test]
    fn further_buffers_come_off_again_with_the_rest_of_the_frame() {
        let mut head = long();
        let rest = head.take_next().unwrap();
        assert_eq!((head.len(), rest.len()), (3, 6));
        assert!(head.is_contiguous() && head.take_next().is_none());
        head.extend([rest]);
        head.extend([Packet::from_frame(&[10])]);
        assert_eq!(head.parts().collect::<Vec<_>>().concat(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }
}
