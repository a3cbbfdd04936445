//! What a network card does for a frame that is yet to be finished, done in software: completes the checksum, or cuts the
//! frame into segments with one each. Read RFC 9293 3.1, RFC 768 and RFC 6864 4 first.

use crate::{
    headers::{ETHERNET_HEADER, protocol, tcp_flag},
    offload::{Offload, Partial, Segmentation},
    packet::Packet,
    wire::checksum,
};
use smoltcp::wire::Ipv4Address;

/// Completes the checksum of a frame that is yet to be finished, as one packet however long it is. Where the checksum lies
/// outside the frame's first buffer, nothing is done.
pub fn complete_checksum(packet: &mut Packet) {
    let Offload::Partial(Partial { start, offset, .. }) = *packet.offload() else { return };
    packet.set_offload(Offload::None);
    let field = usize::from(start) + usize::from(offset);
    let sum = checksum::sum_parts(packet.parts_from(start.into()));
    if let Some(field) = packet.bytes_mut().get_mut(field..field + 2) {
        field.copy_from_slice(&checksum::udp(!sum).to_be_bytes());
    }
}

/// A frame of TCP or UDP over IPv4 that has to be cut, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Offset of the transport header in the frame.
    l4: usize,
    /// Offset of the payload.
    payload: usize,
    /// Bytes of payload in each segment but the last.
    size: usize,
    /// How many segments.
    count: usize,
}

impl Plan {
    /// How to cut a frame; `None` where it need not be, or its headers are not whole.
    pub fn of(packet: &Packet) -> Option<Self> {
        let Offload::Partial(Partial { start, segmentation: Some(Segmentation { size, .. }), .. }) =
            *packet.offload()
        else {
            return None;
        };
        let (l4, frame) = (usize::from(start), packet.bytes());
        let header_length = match frame.get(ETHERNET_HEADER + 9)? {
            &protocol::TCP => usize::from(frame.get(l4 + 12)? >> 4) * 4,
            _ => 8,
        };
        let payload = l4 + header_length;
        if l4 < ETHERNET_HEADER + 20 || header_length < 8 || frame.len() < payload {
            return None;
        }
        let size = usize::from(size.get());
        Some(Self { l4, payload, size, count: (packet.len() - payload).div_ceil(size).max(1) })
    }

    /// The segments, first to last.
    pub fn segments(self) -> impl Iterator<Item = Segment> {
        (0..self.count).map(move |number| Segment { plan: self, number })
    }
}

/// One segment to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    plan: Plan,
    number: usize,
}

impl Segment {
    /// Writes the segment of `packet` as a frame into an empty packet; `false` where that is too small.
    ///
    /// As Linux does it: identifications count up, FIN and PSH stay with the last segment, CWR with the first.
    #[must_use]
    pub fn write(&self, packet: &Packet, into: &mut Packet) -> bool {
        let Plan { l4, payload, size, count } = self.plan;
        let offset = self.number * size;
        let length = size.min(packet.len() - payload - offset);
        let Some(frame) = into.append(payload + length) else { return false };
        packet.copy_to(0, &mut frame[..payload]);
        packet.copy_to(payload + offset, &mut frame[payload..]);
        let (headers, transport) = frame.split_at_mut(l4);
        let ip = &mut headers[ETHERNET_HEADER..];
        write_ip(ip, transport.len(), self.number);
        let field = if ip[9] == protocol::TCP {
            let sequence = u32::from_be_bytes([transport[4], transport[5], transport[6], transport[7]]);
            transport[4..8].copy_from_slice(&sequence.wrapping_add(offset as u32).to_be_bytes());
            if self.number != 0 {
                transport[13] &= !tcp_flag::CWR;
            }
            if self.number + 1 != count {
                transport[13] &= !(tcp_flag::FIN | tcp_flag::PSH);
            }
            16
        } else {
            let length = transport.len() as u16;
            transport[4..6].copy_from_slice(&length.to_be_bytes());
            6
        };
        write_checksum(ip, transport, field);
        true
    }
}

/// The IP header of segment `number`, whose payload is `length` bytes.
fn write_ip(ip: &mut [u8], length: usize, number: usize) {
    let total_length = (ip.len() + length) as u16;
    let identification = u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(number as u16);
    ip[2..4].copy_from_slice(&total_length.to_be_bytes());
    ip[4..6].copy_from_slice(&identification.to_be_bytes());
    ip[10..12].fill(0);
    let sum = !checksum::sum(ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// The transport checksum at offset `field`, from scratch: senders do not agree about the length that their sum of the
/// pseudo-header has in it.
fn write_checksum(ip: &[u8], transport: &mut [u8], field: usize) {
    let address = |at: usize| Ipv4Address::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
    transport[field..field + 2].fill(0);
    let pseudo_header = checksum::pseudo_header(address(12), address(16), ip[9], transport.len() as u16);
    let sum = !checksum::together(pseudo_header, checksum::sum(transport));
    transport[field..field + 2].copy_from_slice(&checksum::udp(sum).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        offload::SegmentationKind,
        test_support::{property, tcp_segmentation, tcp_super_frame, udp_frame},
    };
    use alloc::vec::Vec;
    use core::num::NonZeroU16;
    use proptest::prelude::*;
    use smoltcp::wire::{EthernetFrame, Ipv4Packet, TcpPacket, UdpPacket};

    /// Length of all headers of a [`tcp_super_frame`].
    const HEADERS: usize = 14 + 20 + 32;

    fn bytes(packet: &Packet) -> Vec<u8> {
        packet.parts().collect::<Vec<_>>().concat()
    }

    fn cut(packet: &Packet) -> Vec<Vec<u8>> {
        let plan = Plan::of(packet).expect("a frame to be cut");
        let write = |segment: Segment| {
            let mut made = Packet::with_capacity(10_000);
            made.storage_mut().fill(0xa5);
            assert!(segment.write(packet, &mut made));
            assert_eq!(*made.offload(), Offload::None);
            bytes(&made)
        };
        plan.segments().map(write).collect()
    }

    fn flags(frame: &[u8]) -> u8 {
        frame[14 + 20 + 13]
    }

    /// What two segments are made of, byte by byte; the sums were computed by another program (scapy).
    #[test]
    fn each_segment_has_its_own_length_identification_sequence_number_and_sums() {
        let mut packet = tcp_super_frame(b"Hello, world", tcp_segmentation(8), 70);
        packet.bytes_mut()[18..20].copy_from_slice(&[0xff, 0xff]);
        packet.bytes_mut()[47] = tcp_flag::ACK | tcp_flag::PSH;
        let segments = cut(&packet);
        assert_eq!(segments.len(), 2);
        let ip = |total, identification: [u8; 2], sum: [u8; 2]| {
            let [a, b] = identification;
            let [c, d] = sum;
            [0x45, 0, 0, total, a, b, 0, 0, 64, 6, c, d, 192, 168, 1, 2, 198, 51, 100, 7]
        };
        assert_eq!(segments[0][14..34], ip(60, [0xff, 0xff], [0x8e, 0xd7]));
        assert_eq!(segments[1][14..34], ip(56, [0, 0], [0x8e, 0xdb]));
        assert_eq!(segments[0][38..42], [0xff, 0xff, 0xff, 0x00]);
        assert_eq!(segments[1][38..42], [0xff, 0xff, 0xff, 0x08]);
        assert_eq!(
            [flags(&segments[0]), flags(&segments[1])],
            [tcp_flag::ACK, tcp_flag::ACK | tcp_flag::PSH]
        );
        assert_eq!([&segments[0][50..52], &segments[1][50..52]], [[0x33, 0x7f], [0x9c, 0x11]]);
        assert_eq!([&segments[0][66..], &segments[1][66..]], [&b"Hello, w"[..], b"orld"]);
    }

    #[test]
    fn an_end_is_said_last_and_a_reduced_window_first() {
        use tcp_flag::{ACK, CWR, FIN, PSH};
        let mut packet = tcp_super_frame(&[0; 30], tcp_segmentation(10), 200);
        packet.bytes_mut()[47] = ACK | CWR | FIN | PSH;
        let segments = cut(&packet);
        let flags: Vec<u8> = segments.iter().map(|segment| flags(segment)).collect();
        assert_eq!(flags, [ACK | CWR, ACK, ACK | FIN | PSH]);
    }

    #[test]
    fn a_frame_that_needs_no_cut_is_not_cut() {
        assert_eq!(Plan::of(&tcp_super_frame(&[0; 30], None, 200)), None);
        assert_eq!(Plan::of(&Packet::from_frame(&udp_frame(2000))), None);
        assert_eq!(cut(&tcp_super_frame(&[7; 30], tcp_segmentation(30), 200)).len(), 1);
        assert_eq!(cut(&tcp_super_frame(&[], tcp_segmentation(30), 200)).len(), 1);
    }

    #[test]
    fn a_segment_that_does_not_fit_its_buffer_is_not_made() {
        let packet = tcp_super_frame(&[0; 300], tcp_segmentation(200), 200);
        let segment = Plan::of(&packet).unwrap().segments().next().unwrap();
        assert!(!segment.write(&packet, &mut Packet::with_capacity(HEADERS + 199)));
        assert!(segment.write(&packet, &mut Packet::with_capacity(HEADERS + 200)));
    }

    #[test]
    fn headers_that_are_not_whole_make_no_plan() {
        for head in 0..HEADERS {
            assert_eq!(Plan::of(&tcp_super_frame(&[0; 300], tcp_segmentation(100), head)), None, "{head}");
        }
    }

    #[test]
    fn a_completed_udp_checksum_is_never_zero() {
        let mut packet = Packet::from_frame(&[0xff; 60]);
        packet.set_offload(Offload::Partial(Partial { start: 34, offset: 6, segmentation: None }));
        complete_checksum(&mut packet);
        assert_eq!(packet.bytes()[40..42], [0xff, 0xff]);
    }

    #[test]
    fn a_checksum_outside_the_frame_touches_nothing() {
        for (start, offset) in [(60, 0), (59, 0), (u16::MAX, u16::MAX), (0, 59)] {
            let mut packet = Packet::from_frame(&[7; 60]);
            packet.set_offload(Offload::Partial(Partial { start, offset, segmentation: None }));
            complete_checksum(&mut packet);
            assert_eq!(packet.bytes(), [7; 60]);
        }
    }

    proptest! {
        #![proptest_config(property())]

        #[test]
        fn the_segments_of_tcp_make_up_the_whole(
            payload in prop::collection::vec(any::<u8>(), 1..20_000),
            size in 8..9000u16,
            head in HEADERS..3000,
            flags in any::<u8>(),
        ) {
            let mut packet = tcp_super_frame(&payload, tcp_segmentation(size), head);
            packet.bytes_mut()[47] = flags;
            let (first, last) = (flags & tcp_flag::CWR, flags & (tcp_flag::FIN | tcp_flag::PSH));
            let segments = cut(&packet);
            let mut joined = Vec::new();
            for (number, segment) in segments.iter().enumerate() {
                let frame = EthernetFrame::new_checked(&segment[..]).unwrap();
                let ip = Ipv4Packet::new_checked(frame.payload()).unwrap();
                prop_assert!(ip.verify_checksum());
                prop_assert_eq!(usize::from(ip.total_len()), frame.payload().len());
                prop_assert_eq!(usize::from(ip.ident()), number);
                let tcp = TcpPacket::new_checked(ip.payload()).unwrap();
                prop_assert!(tcp.verify_checksum(&ip.src_addr().into(), &ip.dst_addr().into()));
                let sequence = 0xffff_ff00_u32.wrapping_add(joined.len() as u32);
                prop_assert_eq!(tcp.seq_number().0, sequence as i32);
                prop_assert_eq!(tcp.options(), &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
                let end = number + 1 == segments.len();
                let others = flags & !(tcp_flag::CWR | tcp_flag::FIN | tcp_flag::PSH);
                let expected = others | if number == 0 { first } else { 0 } | if end { last } else { 0 };
                prop_assert_eq!(self::flags(segment), expected);
                prop_assert!(tcp.payload().len() == usize::from(size) || end);
                joined.extend_from_slice(tcp.payload());
            }
            prop_assert_eq!(joined, payload);
        }

        #[test]
        fn the_segments_of_udp_are_datagrams_that_make_up_the_whole(
            length in 1..9000usize,
            size in 80..1500u16,
            head in 42..3000usize,
        ) {
            let whole = udp_frame(length);
            let (head, rest) = whole.split_at(head.min(whole.len()));
            let mut packet = Packet::from_frame(head);
            packet.extend([Packet::from_frame(rest)]);
            let size = NonZeroU16::new(size).unwrap();
            let segmentation = Some(Segmentation { kind: SegmentationKind::Udp, ecn: false, size });
            packet.set_offload(Offload::Partial(Partial { start: 34, offset: 6, segmentation }));
            let mut joined = Vec::new();
            for segment in cut(&packet) {
                let ip = Ipv4Packet::new_checked(&segment[14..]).unwrap();
                prop_assert!(ip.verify_checksum());
                let udp = UdpPacket::new_checked(ip.payload()).unwrap();
                prop_assert_ne!(udp.checksum(), 0);
                prop_assert!(udp.verify_checksum(&ip.src_addr().into(), &ip.dst_addr().into()));
                prop_assert_eq!(usize::from(udp.len()), ip.payload().len());
                joined.extend_from_slice(udp.payload());
            }
            prop_assert_eq!(&joined[..], &whole[42..]);
        }

        #[test]
        fn a_completed_checksum_is_right(
            payload in prop::collection::vec(any::<u8>(), 0..5000),
            head in HEADERS..3000,
        ) {
            let mut packet = tcp_super_frame(&payload, None, head);
            complete_checksum(&mut packet);
            prop_assert_eq!(*packet.offload(), Offload::None);
            let frame = bytes(&packet);
            let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
            let tcp = TcpPacket::new_checked(ip.payload()).unwrap();
            prop_assert!(tcp.verify_checksum(&ip.src_addr().into(), &ip.dst_addr().into()));
        }
    }
}
