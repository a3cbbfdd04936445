//! Cuts a packet that is too large for its way into fragments, and fragments into smaller ones (RFC 791 3.2).

use crate::{
    headers::{ETHERNET_HEADER, Headers},
    packet::Packet,
    wire::checksum,
};

/// One fragment to be made: a part of the packet's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    start: usize,
    length: usize,
    more: bool,
}

/// Bit in the flags word: more fragments follow.
const MORE_FRAGMENTS: u16 = 0x2000;

/// The fragments for an MTU of a packet that begins in `frame`, first to last. An MTU with no room for 8 bytes of payload gives none.
pub fn pieces(frame: &[u8], headers: &Headers, mtu: u16) -> impl Iterator<Item = Piece> + use<> {
    let payload = usize::from(headers.total_length) - headers.header_length();
    let step = usize::from(mtu).saturating_sub(headers.header_length()) & !7;
    let last_has_more = frame[headers.l3 + 6] & (MORE_FRAGMENTS >> 8) as u8 != 0;
    let count = if step == 0 { 0 } else { payload.div_ceil(step) };
    (0..count).map(move |number| {
        let start = number * step;
        let length = step.min(payload - start);
        Piece { start, length, more: last_has_more || start + length < payload }
    })
}

impl Piece {
    /// Writes the fragment of `packet` as a frame into an empty packet; `false` where that is too small.
    #[must_use]
    pub fn write(&self, packet: &Packet, headers: &Headers, into: &mut Packet) -> bool {
        let frame = packet.bytes();
        let mut options = [0; 40];
        let options = self.options(frame, headers, &mut options);
        let header_length = 20 + options.len();
        let Some(out) = into.append(ETHERNET_HEADER + header_length + self.length) else { return false };
        out[..ETHERNET_HEADER].copy_from_slice(&frame[..ETHERNET_HEADER]);
        let ip = &mut out[ETHERNET_HEADER..];
        ip[..20].copy_from_slice(&frame[headers.l3..headers.l3 + 20]);
        ip[20..header_length].copy_from_slice(options);
        packet.copy_to(headers.l4 + self.start, &mut ip[header_length..]);
        ip[0] = 0x40 | (header_length / 4) as u8;
        let total = (header_length + self.length) as u16;
        ip[2..4].copy_from_slice(&total.to_be_bytes());
        let offset = (headers.fragment_offset + self.start as u16) >> 3;
        let flags = offset | if self.more { MORE_FRAGMENTS } else { 0 };
        ip[6..8].copy_from_slice(&flags.to_be_bytes());
        ip[10..12].fill(0);
        let sum = !checksum::sum(&ip[..header_length]);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        true
    }

    /// All options go into the first fragment, and only those with the copied bit into the others (RFC 791 3.1).
    fn options<'b>(&self, frame: &[u8], headers: &Headers, buffer: &'b mut [u8; 40]) -> &'b [u8] {
        let all = &frame[headers.l3 + 20..headers.l4];
        if self.start == 0 {
            buffer[..all.len()].copy_from_slice(all);
            return &buffer[..all.len()];
        }
        const COPIED: u8 = 0x80;
        let (mut from, mut to) = (0, 0);
        while let Some(&kind) = all.get(from).filter(|kind| **kind != 0) {
            let length = if kind == 1 { 1 } else { usize::from(*all.get(from + 1).unwrap_or(&2)).max(2) };
            let Some(option) = all.get(from..from + length) else { break };
            if kind & COPIED != 0 {
                buffer[to..to + length].copy_from_slice(option);
                to += length;
            }
            from += length;
        }
        &buffer[..to.next_multiple_of(4)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::udp_frame;
    use alloc::vec::Vec;

    fn cut(frame: &[u8], mtu: u16) -> Vec<Vec<u8>> {
        // In two buffers, the second of which begins in the middle of the payload.
        let (head, rest) = frame.split_at(100);
        let mut whole = Packet::from_frame(head);
        whole.extend([Packet::from_frame(rest)]);
        let headers = Headers::of(&whole).unwrap();
        pieces(head, &headers, mtu)
            .map(|piece| {
                let mut packet = Packet::with_capacity(1514);
                assert!(piece.write(&whole, &headers, &mut packet));
                packet.bytes().to_vec()
            })
            .collect()
    }

    fn payload(frame: &[u8]) -> &[u8] {
        let headers = Headers::parse(frame, ETHERNET_HEADER).unwrap();
        &frame[headers.l4..]
    }

    #[test]
    fn the_pieces_make_up_the_whole_and_all_but_the_last_say_so() {
        let whole = udp_frame(1400);
        let parts = cut(&whole, 576);
        assert_eq!(parts.len(), 3);
        let joined: Vec<u8> = parts.iter().flat_map(|part| payload(part).to_vec()).collect();
        assert_eq!(joined, payload(&whole));
        let flags: Vec<u16> = parts.iter().map(|part| u16::from_be_bytes([part[20], part[21]])).collect();
        assert_eq!(flags, [0x2000, 0x2000 | (552 / 8), 1104 / 8]);
    }

    #[test]
    fn a_fragment_of_a_fragment_keeps_its_place() {
        let middle = cut(&udp_frame(1400), 1000).remove(0);
        let parts = cut(&middle, 516);
        let flags: Vec<u16> = parts.iter().map(|part| u16::from_be_bytes([part[20], part[21]])).collect();
        assert_eq!(flags, [0x2000, 0x2000 | (496 / 8)]);
    }

    #[test]
    fn an_mtu_without_room_for_payload_makes_no_piece() {
        assert!(cut(&udp_frame(100), 27).is_empty());
    }
}
