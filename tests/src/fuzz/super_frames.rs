//! Frames that are yet to be finished: checksums to complete, segments to cut, in as many buffers as they need, and lies about all
//! of that.

use super::{EVENTS, GATEWAY, Input, judge::Judge, traffic::Traffic};
use crate::{bench::Bench, datagram::sum, frame::Frame};
use netstack::offload::{Abilities, Offload, Partial, Segmentation, SegmentationKind};
use std::num::NonZeroU16;

/// The longest frame that a card brings at once.
const LONGEST: usize = 14 + 65_535;
const KINDS: [SegmentationKind; 3] = [SegmentationKind::Tcp4, SegmentationKind::Udp, SegmentationKind::Tcp6];

/// Frames of up to 64 KiB from cards that leave work to whoever sends them on.
///
/// # Panics
/// Where the router does anything that it must not do.
pub fn super_frames(data: &[u8]) {
    let mut input = Input::new(data);
    let some = Abilities { tso4: false, ..Abilities::ALL };
    let mut bench = Bench::with_abilities([Abilities::ALL, Abilities::NONE, some], GATEWAY);
    let (mut judge, mut traffic) = (Judge::new(&bench), Traffic::default());
    for _ in 0..EVENTS {
        if input.is_empty() {
            break;
        }
        let (port, mut frame) = traffic.next(&mut input);
        if frame.is_empty() {
            continue;
        }
        let offload = match input.byte() % 4 {
            0 => Offload::None,
            1 => Offload::Verified,
            _ => grow(&mut input, &mut frame),
        };
        let buffer = 1024 + usize::from(input.byte()) * 3;
        let left = bench.inject_unfinished(port, &frame, offload, buffer);
        judge.check_unfinished(&bench, &left);
        traffic.heard(left.into_iter().map(|(port, frame, _)| (port, frame)).collect());
    }
    judge.check_end(&mut bench);
}

/// Makes a frame a long one, with right lengths and what is to be done to it; or not quite right.
fn grow(input: &mut Input<'_>, frame: &mut Vec<u8>) -> Offload {
    let longer = usize::from(input.word());
    frame.resize((frame.len() + longer).min(LONGEST), 7);
    let tcp = Frame::read_protocol(frame) == Some(6);
    if frame.len() >= 34 {
        let length = (frame.len() - 14) as u16;
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        frame[24..26].fill(0);
        let checksum = !sum(&frame[14..34]);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    }
    let lie = |usual: u16, input: &mut Input<'_>| if input.byte() == 0xff { input.word() } else { usual };
    let start = lie(34, input);
    let offset = lie(if tcp { 16 } else { 6 }, input);
    let kind = KINDS[usize::from(lie(u16::from(!tcp), input)) % KINDS.len()];
    let size = NonZeroU16::new(lie(1200, input));
    let segmentation =
        size.filter(|_| longer > 0).map(|size| Segmentation { kind, ecn: input.byte() == 0xff, size });
    Offload::Partial(Partial { start, offset, segmentation })
}
