//! The header that virtio-net puts before each frame. Read first: virtio 1.2, 5.1.6 "Device Operation".

use core::num::NonZeroU16;
use netstack::{
    offload::{Abilities, Offload, Partial, Segmentation, SegmentationKind},
    packet::Packet,
};

/// The longest form of the header.
pub const LONGEST: usize = 12;

// Flags.
const NEEDS_CHECKSUM: u8 = 1;
const CHECKSUM_VALID: u8 = 2;

// Kinds of segmentation.
const TCP4: u8 = 1;
const TCP6: u8 = 4;
const UDP: u8 = 5;
const ECN: u8 = 0x80;

/// Which header a device and we have agreed on, and what may be in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    /// Whether the number of buffers is at its end (12 bytes, not 10).
    pub numbered: bool,
    /// Whether a received frame may take more than one buffer.
    pub mergeable: bool,
    /// What the device may leave to us in the frames that it hands over.
    pub accepted: Abilities,
}

impl Format {
    /// Bytes of the header.
    #[inline]
    pub fn length(&self) -> usize {
        if self.numbered { LONGEST } else { LONGEST - 2 }
    }

    /// Buffers that a received frame takes; 0 makes no sense. `header` may reach into the frame.
    #[inline]
    pub fn buffers(&self, header: &[u8; LONGEST]) -> u16 {
        // A device that merges none need not say so.
        if self.mergeable { u16::from_le_bytes([header[10], header[11]]) } else { 1 }
    }

    /// Whether a header says nothing but that the frame is in one buffer, as most do.
    #[inline]
    pub fn is_plain(&self, header: &[u8; LONGEST]) -> bool {
        header[0..2] == [0, 0] && self.buffers(header) == 1
    }

    /// What a header says about a received frame; `None`: no sense, or what was not agreed on.
    pub fn read(&self, header: &[u8; LONGEST]) -> Option<Offload> {
        let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let (flags, kind) = (header[0], header[1]);
        if flags & NEEDS_CHECKSUM == 0 {
            let verified = flags & CHECKSUM_VALID != 0 && self.accepted.checksum;
            let offload = if verified { Offload::Verified } else { Offload::None };
            return (kind == 0).then_some(offload);
        }
        let segmentation = match kind {
            0 => None,
            _ => {
                let kind_of = match kind & !ECN {
                    TCP4 => SegmentationKind::Tcp4,
                    TCP6 => SegmentationKind::Tcp6,
                    UDP => SegmentationKind::Udp,
                    _ => return None,
                };
                Some(Segmentation { kind: kind_of, ecn: kind & ECN != 0, size: NonZeroU16::new(word(4))? })
            }
        };
        let partial = Partial { start: word(6), offset: word(8), segmentation };
        self.accepted.include(&partial).then_some(Offload::Partial(partial))
    }

    /// Puts the header before a frame that is to be sent. `false` without headroom.
    #[inline]
    pub fn put(&self, packet: &mut Packet) -> bool {
        let header = match packet.offload() {
            Offload::Partial(partial) => Some(partial_header(partial, packet.bytes())),
            Offload::None | Offload::Verified => None,
        };
        // The longer one is put, of which the shorter one is a part: a length that is known makes this two stores.
        let Some(place) = packet.prepend(LONGEST) else { return false };
        place.fill(0);
        if let Some(header) = &header {
            let shorter = LONGEST - self.length();
            place[shorter..].copy_from_slice(&header[..self.length()]);
        }
        if !self.numbered {
            packet.trim_front(2);
        }
        true
    }
}

/// The header of a frame whose checksum the device completes, which it may have to segment first.
#[inline(never)] // once for some ten kilobytes where it counts
fn partial_header(partial: &Partial, frame: &[u8]) -> [u8; LONGEST] {
    let mut header = [0; LONGEST];
    header[0] = NEEDS_CHECKSUM;
    header[6..8].copy_from_slice(&partial.start.to_le_bytes());
    header[8..10].copy_from_slice(&partial.offset.to_le_bytes());
    if let Some(segmentation) = &partial.segmentation {
        let start = usize::from(partial.start);
        let (kind, length) = match segmentation.kind {
            SegmentationKind::Tcp4 => (TCP4, tcp_header_length(frame, start)),
            SegmentationKind::Tcp6 => (TCP6, tcp_header_length(frame, start)),
            SegmentationKind::Udp => (UDP, 8),
        };
        header[1] = kind | if segmentation.ecn { ECN } else { 0 };
        header[2..4].copy_from_slice(&((start + length) as u16).to_le_bytes());
        header[4..6].copy_from_slice(&segmentation.size.get().to_le_bytes());
    }
    header
}

fn tcp_header_length(frame: &[u8], start: usize) -> usize {
    frame.get(start + 12).map_or(20, |offset| usize::from(offset >> 4) * 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODERN: Format = Format { numbered: true, mergeable: true, accepted: Abilities::ALL };
    /// One buffer, TCP over IPv4 in segments of 1448 bytes, headers of 66, checksum at 34 + 16.
    const SUPER_FRAME: [u8; LONGEST] = [1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0, 1, 0];

    fn super_frame() -> Partial {
        let size = NonZeroU16::new(1448).unwrap();
        let segmentation = Segmentation { kind: SegmentationKind::Tcp4, ecn: false, size };
        Partial { start: 34, offset: 16, segmentation: Some(segmentation) }
    }

    fn changed(change: impl FnOnce(&mut [u8; LONGEST])) -> [u8; LONGEST] {
        let mut header = SUPER_FRAME;
        change(&mut header);
        header
    }

    /// A frame whose TCP header has 32 bytes.
    fn packet(offload: Offload) -> Packet {
        let mut frame = [0; 100];
        frame[34 + 12] = 0x80;
        let mut packet = Packet::from_frame(&frame);
        packet.set_offload(offload);
        packet
    }

    #[test]
    fn a_super_frame_is_read_and_written_alike() {
        assert_eq!(MODERN.read(&SUPER_FRAME), Some(Offload::Partial(super_frame())));
        let mut packet = packet(Offload::Partial(super_frame()));
        assert!(MODERN.put(&mut packet));
        assert_eq!(
            packet.bytes()[..LONGEST],
            changed(|header| header[10] = 0),
            "no buffers are counted on the way out"
        );
    }

    #[test]
    fn every_kind_is_read_and_written_alike() {
        for kind in [TCP4, TCP6, UDP, TCP4 | ECN, TCP6 | ECN] {
            let header = changed(|header| header[1] = kind);
            let mut packet = packet(MODERN.read(&header).unwrap());
            MODERN.put(&mut packet);
            assert_eq!(packet.bytes()[1], kind);
        }
    }

    #[test]
    fn what_asks_for_nothing_is_all_zeros() {
        for offload in [Offload::None, Offload::Verified] {
            let mut packet = packet(offload);
            MODERN.put(&mut packet);
            assert_eq!((packet.len(), &packet.bytes()[..LONGEST]), (112, &[0; LONGEST][..]));
        }
        assert!(MODERN.is_plain(&[0, 0, 7, 7, 7, 7, 7, 7, 7, 7, 1, 0]));
        for (at, value) in [(0, 1), (1, 1), (10, 2), (11, 1)] {
            assert!(!MODERN.is_plain(&changed(|header| {
                header[..2].fill(0);
                header[at] = value;
            })));
        }
    }

    #[test]
    fn a_short_header_has_the_frame_behind_its_tenth_byte() {
        let short = Format { numbered: false, mergeable: false, ..MODERN };
        let mut packet = packet(Offload::Partial(super_frame()));
        packet.bytes_mut()[0] = 0xee;
        short.put(&mut packet);
        assert_eq!(packet.bytes()[..10], SUPER_FRAME[..10]);
        assert_eq!((packet.len(), packet.bytes()[10]), (110, 0xee));
        assert!(short.is_plain(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), "those are bytes of the frame");
        assert_eq!(short.buffers(&[0xff; LONGEST]), 1);
    }

    #[test]
    fn what_was_not_agreed_on_is_no_sense() {
        let plain = Format { accepted: Abilities::NONE, ..MODERN };
        assert_eq!(plain.read(&SUPER_FRAME), None);
        let checksums = Format { accepted: Abilities { checksum: true, ..Abilities::NONE }, ..MODERN };
        assert_eq!(checksums.read(&SUPER_FRAME), None);
        let verified = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        assert_eq!(checksums.read(&verified), Some(Offload::Verified));
        assert_eq!(plain.read(&verified), Some(Offload::None));
    }

    #[test]
    fn nonsense_is_recognised() {
        for (what, header) in [
            ("segments without a checksum", changed(|header| header[0] = 0)),
            ("an unknown kind", changed(|header| header[1] = 2)),
            ("fragments of UDP, which nobody agreed on", changed(|header| header[1] = 3)),
            ("nothing but CWR", changed(|header| header[1] = ECN)),
            ("segments of no byte", changed(|header| header[4..6].fill(0))),
        ] {
            assert_eq!(MODERN.read(&header), None, "{what}");
        }
        assert_eq!(MODERN.buffers(&changed(|header| header[10] = 0)), 0);
    }

    #[test]
    fn a_checksum_far_outside_a_frame_is_written_without_looking_there() {
        let partial = Partial { start: u16::MAX, offset: u16::MAX, ..super_frame() };
        let mut packet = packet(Offload::Partial(partial));
        assert!(MODERN.put(&mut packet));
    }
}
