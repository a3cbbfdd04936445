//! Frames in a fixed piece of memory, oldest first.

use super::{Met, Sight, Verdict};
use crate::{
    interface::{InterfaceId, PortId},
    offload::{Offload, Partial, Segmentation, SegmentationKind},
    outcome::{DropReason, Outcome},
    packet::Packet,
    stage::overload::LoadImage,
    table::flow::FlowImage,
};
use alloc::{boxed::Box, vec, vec::Vec};
use core::num::NonZeroU16;
use smoltcp::time::Instant;

/// Bytes of memory that a ring leaves to the router.
const SPARE: usize = 512 << 10;
/// Bytes before those of each frame.
const HEAD: usize = 32;
/// Where in them the verdict is.
const VERDICT: usize = 20;
/// Where in them the lengths of the images of the flow and of the load are.
const FLOW: usize = 19;
const LOAD: usize = 30;

/// The memory. Places are counts of bytes since the start; in the memory they wrap around.
pub struct Ring {
    bytes: Box<[u8]>,
    start: u64,
    end: u64,
}

impl Ring {
    /// A ring of so many bytes. `None`: they are not there, or would leave too few for all else.
    pub fn new(size: usize) -> Option<Self> {
        Vec::<u8>::new().try_reserve_exact(size + SPARE).ok()?;
        Some(Self { bytes: vec![0; size].into_boxed_slice(), start: 0, end: 0 })
    }

    /// Forgets all frames.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Whether it holds a frame.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether frames have made room for later ones.
    pub fn has_lost(&self) -> bool {
        self.start > 0
    }

    /// Adds `kept` bytes of a frame, and gives its place. `overwrite`: the oldest ones make room; else `None` where there is
    /// none.
    pub fn push(&mut self, sight: &Sight, packet: &Packet, kept: usize, overwrite: bool) -> Option<u64> {
        let flow = sight.met.flow.as_ref().map_or(&[][..], FlowImage::bytes);
        let load = sight.met.load.as_ref().map_or(&[][..], LoadImage::bytes);
        let needed = HEAD + flow.len() + load.len() + kept;
        if needed > self.bytes.len() {
            return None;
        }
        while self.bytes.len() - ((self.end - self.start) as usize) < needed {
            if !overwrite {
                return None;
            }
            self.start += self.length_at(self.start);
        }
        let place = self.end;
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&sight.time.total_micros().to_le_bytes());
        head[8..12].copy_from_slice(&(kept as u32).to_le_bytes());
        head[12..16].copy_from_slice(&sight.length.to_le_bytes());
        head[16..18].copy_from_slice(&sight.interface.0.to_le_bytes());
        head[18] = sight.received.into();
        head[FLOW] = flow.len() as u8;
        head[VERDICT..VERDICT + 2].copy_from_slice(&verdict_to_bytes(sight.verdict));
        head[22..30].copy_from_slice(&offload_to_bytes(&sight.offload));
        head[LOAD] = load.len() as u8;
        self.write(&head);
        self.write(flow);
        self.write(load);
        let mut left = kept;
        for part in packet.parts() {
            let part = &part[..part.len().min(left)];
            self.write(part);
            left -= part.len();
        }
        Some(place)
    }

    /// Says what became of the frame at `place`, if it is still there.
    pub fn settle(&mut self, place: u64, verdict: Outcome) {
        if place >= self.start {
            let [kind, detail] = verdict_to_bytes(Some(verdict));
            for (at, byte) in (place + VERDICT as u64..).zip([kind, detail]) {
                let at = self.index(at);
                self.bytes[at] = byte;
            }
        }
    }

    /// Takes the oldest frame out: what is known of it, and its bytes in `frame`.
    pub fn pop(&mut self, frame: &mut Vec<u8>) -> Option<Sight> {
        let (sight, next) = self.read(self.start, frame)?;
        self.start = next;
        Some(sight)
    }

    /// Reads the frame at `place` (0: the oldest), and gives the place of the next one.
    pub fn read(&self, place: u64, frame: &mut Vec<u8>) -> Option<(Sight, u64)> {
        let place = place.max(self.start);
        if place >= self.end {
            return None;
        }
        let head: [u8; HEAD] = core::array::from_fn(|offset| self.bytes[self.index(place + offset as u64)]);
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let micros = u64::from(word(0)) | (u64::from(word(4)) << 32);
        let [flow, load, bytes] = [head[FLOW].into(), head[LOAD].into(), word(8) as usize];
        let mut at = place + HEAD as u64;
        self.copy(at, flow, frame);
        at += flow as u64;
        let flow = FlowImage::from_bytes(frame);
        self.copy(at, load, frame);
        at += load as u64;
        let load = LoadImage::from_bytes(frame);
        self.copy(at, bytes, frame);
        let sight = Sight {
            time: Instant::from_micros(micros as i64),
            interface: InterfaceId(u16::from_le_bytes([head[16], head[17]])),
            received: head[18] != 0,
            length: word(12),
            verdict: verdict_from_bytes([head[VERDICT], head[VERDICT + 1]]),
            offload: offload_from_bytes(&head[22..30]),
            met: Met { flow, load },
        };
        Some((sight, place + self.length_at(place)))
    }

    fn copy(&self, place: u64, length: usize, to: &mut Vec<u8>) {
        to.clear();
        let from = self.index(place);
        let first = &self.bytes[from..self.bytes.len().min(from + length)];
        to.extend_from_slice(first);
        to.extend_from_slice(&self.bytes[..length - first.len()]);
    }

    fn index(&self, place: u64) -> usize {
        (place % self.bytes.len() as u64) as usize
    }

    fn length_at(&self, place: u64) -> u64 {
        let kept: [u8; 4] = core::array::from_fn(|offset| self.bytes[self.index(place + 8 + offset as u64)]);
        let images = [FLOW, LOAD].map(|at| u64::from(self.bytes[self.index(place + at as u64)]));
        HEAD as u64 + images.iter().sum::<u64>() + u64::from(u32::from_le_bytes(kept))
    }

    fn write(&mut self, bytes: &[u8]) {
        let at = self.index(self.end);
        let (first, rest) = bytes.split_at(bytes.len().min(self.bytes.len() - at));
        self.bytes[at..at + first.len()].copy_from_slice(first);
        self.bytes[..rest.len()].copy_from_slice(rest);
        self.end += bytes.len() as u64;
    }
}

fn verdict_to_bytes(verdict: Verdict) -> [u8; 2] {
    match verdict {
        None => [0, 0],
        Some(Outcome::Forwarded(port)) => [1, port.0],
        Some(Outcome::Delivered) => [2, 0],
        Some(Outcome::Consumed) => [3, 0],
        Some(Outcome::Parked) => [4, 0],
        Some(Outcome::Held) => [5, 0],
        Some(Outcome::Dropped(reason)) => [6, reason as u8],
    }
}

fn verdict_from_bytes([kind, detail]: [u8; 2]) -> Verdict {
    Some(match kind {
        1 => Outcome::Forwarded(PortId(detail)),
        2 => Outcome::Delivered,
        3 => Outcome::Consumed,
        4 => Outcome::Parked,
        5 => Outcome::Held,
        6 => Outcome::Dropped(*DropReason::ALL.get(usize::from(detail))?),
        _ => return None,
    })
}

/// What was left to a card, in a few bytes.
pub fn offload_to_bytes(offload: &Offload) -> [u8; 8] {
    let Offload::Partial(partial) = offload else {
        return [u8::from(*offload == Offload::Verified), 0, 0, 0, 0, 0, 0, 0];
    };
    let ([start, start_high], [offset, _]) = (partial.start.to_le_bytes(), partial.offset.to_le_bytes());
    let (kind, ecn, size) = partial.segmentation.map_or((0, false, 0), |segmentation| {
        let kind = match segmentation.kind {
            SegmentationKind::Tcp4 => 1,
            SegmentationKind::Tcp6 => 2,
            SegmentationKind::Udp => 3,
        };
        (kind, segmentation.ecn, segmentation.size.get())
    });
    let [size, size_high] = size.to_le_bytes();
    [2, start, start_high, offset, kind, ecn.into(), size, size_high]
}

/// What these bytes say was left to a card.
pub fn offload_from_bytes(bytes: &[u8]) -> Offload {
    let &[state, start, start_high, offset, kind, ecn, size, size_high] = bytes else { return Offload::None };
    let kind = match kind {
        1 => Some(SegmentationKind::Tcp4),
        2 => Some(SegmentationKind::Tcp6),
        3 => Some(SegmentationKind::Udp),
        _ => None,
    };
    let size = NonZeroU16::new(u16::from_le_bytes([size, size_high]));
    let segmentation = kind.zip(size).map(|(kind, size)| Segmentation { kind, ecn: ecn != 0, size });
    match state {
        1 => Offload::Verified,
        2 => Offload::Partial(Partial {
            start: u16::from_le_bytes([start, start_high]),
            offset: offset.into(),
            segmentation,
        }),
        _ => Offload::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{tcp_segmentation, tcp_super_frame};

    fn sight(number: i64) -> Sight {
        Sight {
            time: Instant::from_micros(number),
            interface: InterfaceId(2),
            received: true,
            length: 40,
            verdict: None,
            offload: Offload::None,
            met: Met::default(),
        }
    }

    fn frame(number: i64) -> Packet {
        Packet::from_frame(&[number as u8; 40])
    }

    #[test]
    fn frames_come_out_as_they_went_in_with_what_became_of_them() {
        let mut ring = Ring::new(250).unwrap();
        let mut bytes = Vec::new();
        for number in 0..100 {
            let outcome = Outcome::Dropped(DropReason::ALL[number as usize % DropReason::ALL.len()]);
            let place = ring.push(&sight(number), &frame(number), 33, false).unwrap();
            ring.settle(place, outcome);
            assert_eq!(
                ring.pop(&mut bytes),
                Some(Sight { verdict: Some(outcome), ..sight(number) }),
                "{number}"
            );
            assert_eq!(bytes, [number as u8; 33]);
        }
        assert_eq!(ring.pop(&mut bytes), None);
    }

    #[test]
    fn a_full_ring_refuses_or_forgets_the_oldest() {
        let mut ring = Ring::new(250).unwrap();
        for number in 0..3 {
            assert!(ring.push(&sight(number), &frame(number), 40, false).is_some());
        }
        assert_eq!(ring.push(&sight(3), &frame(3), 40, false), None);
        assert!(ring.push(&sight(3), &frame(3), 40, true).is_some());
        let mut bytes = Vec::new();
        let times: Vec<i64> =
            core::iter::from_fn(|| ring.pop(&mut bytes)).map(|sight| sight.time.total_micros()).collect();
        assert_eq!(times, [1, 2, 3]);
        assert_eq!(ring.push(&sight(4), &frame(4), 250, true), None, "longer than the ring");
    }

    #[test]
    fn a_verdict_for_a_frame_that_is_gone_harms_nothing() {
        let mut ring = Ring::new(160).unwrap();
        let place = ring.push(&sight(0), &frame(0), 40, true).unwrap();
        for number in 1..4 {
            ring.push(&sight(number), &frame(number), 40, true);
        }
        ring.settle(place, Outcome::Held);
        let mut bytes = Vec::new();
        while let Some(sight) = ring.pop(&mut bytes) {
            assert_eq!((sight.verdict, &bytes[..]), (None, &[sight.time.total_micros() as u8; 40][..]));
        }
    }

    #[test]
    fn what_is_left_to_a_card_is_kept_too() {
        let packet = tcp_super_frame(&[7; 3000], tcp_segmentation(1000), 128);
        let mut ring = Ring::new(8192).unwrap();
        let seen = Sight { offload: *packet.offload(), length: packet.len() as u32, ..sight(0) };
        ring.push(&seen, &packet, packet.len(), false).unwrap();
        let mut bytes = Vec::new();
        assert_eq!(ring.pop(&mut bytes), Some(seen));
        assert_eq!(bytes, packet.parts().collect::<Vec<_>>().concat());
    }
}
