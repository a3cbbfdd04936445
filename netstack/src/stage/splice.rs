//! Changes the text and the numbers of a TCP segment, and mends its checksums by what changed (RFC 1624).

use crate::{
    headers::{Checksum, Headers, Transport},
    packet::Packet,
    wire::{
        checksum::{self, Delta},
        tcp_options::tcp_options,
        word::{mend, put_word, word},
    },
};
use core::ops::Range;

/// Where the checksum is in a TCP header.
const CHECKSUM: usize = 16;
/// Length of a TCP header without options, and with as many as it holds.
const FIXED: usize = 20;
const LONGEST: usize = 60;
/// The kind of the option that acknowledges single blocks (RFC 2018 3).
const SACK: u8 = 5;

/// Gives a segment another sequence number, and changes all that it acknowledges, single blocks too.
pub fn renumber(frame: &mut [u8], headers: &Headers, sequence: u32, acknowledged: impl Fn(u32) -> u32) {
    let Transport::Tcp { header_length, .. } = headers.transport else { return };
    let Some(header) = frame.get_mut(headers.l4..headers.l4 + usize::from(header_length)) else { return };
    let before = checksum::sum(header);
    header[4..8].copy_from_slice(&sequence.to_be_bytes());
    change(header, 8, &acknowledged);
    let mut options = [0; LONGEST - FIXED];
    let options = &mut options[..header.len() - FIXED];
    options.copy_from_slice(&header[FIXED..]);
    for (_, block) in tcp_options(options).flatten().filter(|(kind, _)| *kind == SACK) {
        for at in (block.start + 2..block.end).step_by(4).filter(|at| at + 4 <= block.end) {
            change(header, FIXED + at, &acknowledged);
        }
    }
    if headers.checksum != Checksum::Partial {
        let after = checksum::sum(header);
        mend(header, CHECKSUM, Delta::NONE.word(before, after));
    }
}

fn change(header: &mut [u8], at: usize, to: impl Fn(u32) -> u32) {
    if let Some(field) = header.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *field = to(u32::from_be_bytes(*field)).to_be_bytes();
    }
}

/// Puts `text` in the place of a part of the frame, which is whole and in one buffer. `false`, and no change: the packet would
/// be longer than `mtu`, or than its buffer.
#[must_use]
pub fn replace(packet: &mut Packet, headers: &Headers, place: Range<usize>, text: &[u8], mtu: u16) -> bool {
    let end = headers.l3 + usize::from(headers.total_length);
    if packet.bytes().len() != end || place.start < headers.l4 || !(place.start..=end).contains(&place.end) {
        return false;
    }
    let new_end = end - place.len() + text.len();
    let Some(total) = u16::try_from(new_end - headers.l3).ok().filter(|&total| total <= mtu) else {
        return false;
    };
    let before = checksum::sum(&packet.bytes()[headers.l4..]);
    if packet.append(new_end.saturating_sub(end)).is_none() {
        return false;
    }
    let frame = packet.bytes_mut();
    frame.copy_within(place.end..end, place.start + text.len());
    frame[place.start..place.start + text.len()].copy_from_slice(text);
    packet.truncate(new_end);

    let frame = packet.bytes_mut();
    let after = checksum::sum(&frame[headers.l4..]);
    let longer = Delta::NONE.word(headers.total_length, total);
    put_word(frame, headers.l3 + 2, total);
    mend(frame, headers.l3 + 10, longer);
    let field = headers.l4 + CHECKSUM;
    // The pseudo-header holds the length, too; one that is yet to be completed holds nothing else of all this.
    if headers.checksum == Checksum::Partial {
        let sum = longer.apply_to_sum(word(frame, field));
        put_word(frame, field, sum);
    } else {
        mend(frame, field, longer.word(before, after));
    }
    true
}
