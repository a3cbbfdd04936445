//! Frames as a pcapng file, block by block. Read first: draft-ietf-opsawg-pcapng, 3 "General File Structure" and 4 "Block
//! Definition".

use super::{Counts, Sight};
use alloc::{collections::VecDeque, vec::Vec};
use smoltcp::wire::EthernetAddress;

/// Where blocks are written to.
pub type Out = VecDeque<u8>;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const ETHERNET: u16 = 1;
/// Options that every block may have.
const COMMENT: u16 = 1;

/// Begins a file. `comment` tells what it is about, in at most 64 KiB.
pub fn section(comment: &str, out: &mut Out) {
    const APPLICATION: u16 = 4;
    let mut body = Vec::new();
    body.extend(BYTE_ORDER.to_le_bytes());
    body.extend(1_u16.to_le_bytes());
    body.extend(0_u16.to_le_bytes());
    // How long the section will be is not known.
    body.extend(u64::MAX.to_le_bytes());
    option(APPLICATION, concat!("rutter ", env!("CARGO_PKG_VERSION")).as_bytes(), &mut body);
    option(COMMENT, comment.as_bytes(), &mut body);
    block(SECTION_HEADER, &body, out);
}

/// Describes the next interface: the first one is number 0 in the blocks that follow.
pub fn interface(name: &str, mac: EthernetAddress, filter: &str, out: &mut Out) {
    const NAME: u16 = 2;
    const MAC_ADDRESS: u16 = 6;
    const RESOLUTION: u16 = 9;
    const FILTER: u16 = 11;
    const MICROSECONDS: u8 = 6;
    let mut body = Vec::new();
    body.extend(ETHERNET.to_le_bytes());
    body.extend(0_u16.to_le_bytes());
    // No limit to the length of a frame.
    body.extend(0_u32.to_le_bytes());
    option(NAME, name.as_bytes(), &mut body);
    option(MAC_ADDRESS, &mac.0, &mut body);
    option(RESOLUTION, &[MICROSECONDS], &mut body);
    if !filter.is_empty() {
        // 0: it is a text for libpcap.
        option(FILTER, &[&[0], filter.as_bytes()].concat(), &mut body);
    }
    block(INTERFACE_DESCRIPTION, &body, out);
}

/// A frame that was seen at interface number `interface`, at `micros`.
pub fn packet(interface: u32, micros: u64, sight: &Sight, frame: &[u8], comment: &str, out: &mut Out) {
    const FLAGS: u16 = 2;
    const INBOUND: u32 = 1;
    const OUTBOUND: u32 = 2;
    let mut body = Vec::with_capacity(frame.len() + comment.len() + 64);
    body.extend(interface.to_le_bytes());
    body.extend(((micros >> 32) as u32).to_le_bytes());
    body.extend((micros as u32).to_le_bytes());
    body.extend((frame.len() as u32).to_le_bytes());
    body.extend(sight.length.to_le_bytes());
    body.extend(frame);
    pad(&mut body);
    option(FLAGS, &(if sight.received { INBOUND } else { OUTBOUND }).to_le_bytes(), &mut body);
    option(COMMENT, comment.as_bytes(), &mut body);
    block(ENHANCED_PACKET, &body, out);
}

/// What was counted until `micros`, at the end of a file.
pub fn statistics(interface: u32, micros: u64, counts: Counts, out: &mut Out) {
    const ACCEPTED: u16 = 6;
    const LOST: u16 = 7;
    let mut body = Vec::new();
    body.extend(interface.to_le_bytes());
    body.extend(((micros >> 32) as u32).to_le_bytes());
    body.extend((micros as u32).to_le_bytes());
    option(ACCEPTED, &counts.fitting.to_le_bytes(), &mut body);
    option(LOST, &counts.lost.to_le_bytes(), &mut body);
    block(INTERFACE_STATISTICS, &body, out);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

/// An option, unless it has nothing to say; what is too long for one is cut off.
fn option(code: u16, value: &[u8], body: &mut Vec<u8>) {
    let value = &value[..value.len().min(u16::MAX.into())];
    if !value.is_empty() {
        body.extend(code.to_le_bytes());
        body.extend((value.len() as u16).to_le_bytes());
        body.extend(value);
        pad(body);
    }
}

/// A block whose options end with its body.
fn block(kind: u32, body: &[u8], out: &mut Out) {
    const END_OF_OPTIONS: [u8; 4] = [0; 4];
    let length = (body.len() + END_OF_OPTIONS.len() + 12) as u32;
    out.extend(kind.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(body);
    out.extend(END_OF_OPTIONS);
    out.extend(length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{interface::InterfaceId, offload::Offload, tap::Met};
    use smoltcp::time::Instant;

    #[test]
    fn blocks_byte_by_byte() {
        let mut out = Out::new();
        interface("eth0", EthernetAddress([2, 0, 0, 0, 0, 1]), "udp", &mut out);
        #[rustfmt::skip]
        let description = [
            1, 0, 0, 0, 60, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
            2, 0, 4, 0, b'e', b't', b'h', b'0',
            6, 0, 6, 0, 2, 0, 0, 0, 0, 1, 0, 0,
            9, 0, 1, 0, 6, 0, 0, 0,
            11, 0, 4, 0, 0, b'u', b'd', b'p',
            0, 0, 0, 0, 60, 0, 0, 0,
        ];
        assert_eq!(out, description);
        out.clear();
        let sight = Sight {
            time: Instant::ZERO,
            interface: InterfaceId(1),
            received: false,
            length: 60,
            verdict: None,
            offload: Offload::None,
            met: Met::default(),
        };
        packet(3, 0x0000_0001_0000_0002, &sight, &[7, 8, 9], "why", &mut out);
        #[rustfmt::skip]
        let frame = [
            6, 0, 0, 0, 56, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 60, 0, 0, 0,
            7, 8, 9, 0,
            2, 0, 4, 0, 2, 0, 0, 0,
            1, 0, 3, 0, b'w', b'h', b'y', 0,
            0, 0, 0, 0, 56, 0, 0, 0,
        ];
        assert_eq!(out, frame);
    }

    #[test]
    fn every_block_is_as_long_as_it_says() {
        let mut out = Out::new();
        section("a comment of some length", &mut out);
        statistics(0, 1, Counts { fitting: 3, lost: 1 }, &mut out);
        section(&"x".repeat(70_000), &mut out);
        let mut bytes = &*out.make_contiguous();
        while let Some(length) = bytes.get(4..8) {
            let length = u32::from_le_bytes(*length.first_chunk().unwrap()) as usize;
            let (block, rest) = bytes.split_at(length);
            assert_eq!((length % 4, &block[length - 4..]), (0, &block[4..8]));
            bytes = rest;
        }
        assert!(bytes.is_empty());
    }
}
