//! What follows from what was said before: the next segment of a connection, and datagrams in pieces.

use super::Input;
use crate::{
    datagram::{Body, Datagram, flag::*},
    frame::{Content, Frame},
};
use std::collections::VecDeque;

/// Ends that go on speaking, of which the last words are known.
#[derive(Default)]
pub struct Ends {
    last: VecDeque<(usize, Frame)>,
}

/// Ends that are remembered.
const ENDS: usize = 8;

impl Ends {
    /// Remembers what somebody on the wire of `port` said.
    pub fn said(&mut self, port: usize, frame: Frame) {
        if frame.datagram().is_some_and(|packet| packet.protocol() == 6) {
            self.last.push_back((port, frame));
            self.last.drain(..self.last.len().saturating_sub(ENDS));
        }
    }

    /// One of them sends its next segment, near the number that follows its last one, and acknowledges what it got of `heard`.
    pub fn go_on<'f>(
        &self,
        input: &mut Input<'_>,
        heard: impl Iterator<Item = &'f Frame>,
    ) -> Option<(usize, Frame)> {
        let place = usize::from(input.byte()) % self.last.len().max(1);
        let (port, frame) = self.last.get(place)?.clone();
        let mut packet = frame.datagram()?.clone();
        let to = (packet.source(), packet.destination());
        let received =
            heard.filter_map(Frame::datagram).filter(|it| (it.destination(), it.source()) == to).last();
        if let Body::Tcp { sequence, acknowledgment, flags: of_next, window, options, payload, .. } =
            &mut packet.body
        {
            *sequence = sequence.wrapping_add(length(*of_next, payload));
            if let Some(Body::Tcp { sequence: theirs, flags, payload, .. }) = received.map(|it| &it.body) {
                *acknowledgment = theirs.wrapping_add(length(*flags, payload));
            }
            *sequence = sequence.wrapping_add_signed(distance(input));
            *acknowledgment = acknowledgment.wrapping_add_signed(distance(input));
            *of_next = flags(input);
            *window = input.word();
            let size = usize::from(input.byte()) % 32;
            *payload = input.bytes(size).to_vec();
            *options = input
                .choose::<&[u8]>(&[&[], &[2, 4, 5, 180], &[1, 3, 3, 7], &[1, 3, 3, 14], &[5, 2, 1, 1]])
                .to_vec();
        }
        Some((port, Frame { content: Content::Ip(packet), ..frame }))
    }
}

/// How many numbers a segment takes.
fn length(flags: u8, payload: &[u8]) -> u32 {
    payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0)
}

/// Mostly none; else a little, a window, or half of all numbers.
fn distance(input: &mut Input<'_>) -> i32 {
    match input.byte() {
        0xff => i32::MIN,
        byte @ 0xf0.. => (i32::from(byte & 7) - 4) << 14,
        byte @ 0xe0.. => i32::from(byte & 15) - 8,
        _ => 0,
    }
}

/// Flags that connections live by, and now and then any.
pub fn flags(input: &mut Input<'_>) -> u8 {
    match input.byte() {
        byte @ 0xf0.. => byte << 4 | input.byte() & 15,
        byte => {
            let usual = [ACK, SYN | ACK, PSH | ACK, FIN | ACK, RST, RST | ACK, SYN];
            usual[usize::from(byte) % usual.len()]
        }
    }
}

/// A packet in up to three fragments, in some order, one of them perhaps twice or over another.
pub fn pieces(input: &mut Input<'_>, frame: Frame) -> impl Iterator<Item = Frame> + use<> {
    let whole = frame.datagram().cloned();
    let cuts = [usize::from(input.byte()) * 8, usize::from(input.byte()) * 8];
    let overlap = usize::from(input.byte() % 4) * 8;
    let order = input.choose(&[[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1], [0, 0, 2], [1, 2, 0]]);
    let mut parts = Vec::new();
    if let Some(whole) = whole {
        let bytes = whole.bytes()[20 + whole.options.len()..].to_vec();
        let (first, second) = (cuts[0].min(bytes.len()), cuts[0].max(cuts[1]).min(bytes.len()));
        let starts = [0, first.saturating_sub(overlap) / 8 * 8, second / 8 * 8];
        for part in order {
            let end = [first, second, bytes.len()][part].max(starts[part]);
            let payload = bytes[starts[part]..end].to_vec();
            let body = Body::Other { protocol: whole.protocol(), payload };
            let fragment = Datagram {
                offset: starts[part] as u16,
                more_fragments: part != 2,
                dont_fragment: false,
                body,
                ..whole.clone()
            };
            parts.push(Frame { content: Content::Ip(fragment), ..frame.clone() });
        }
    } else {
        parts.push(frame);
    }
    parts.into_iter()
}
