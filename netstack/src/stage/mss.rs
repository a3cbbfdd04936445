//! Lowers the maximum segment size that a SYN offers, as the target TCPMSS wants it. Read RFC 9293 3.1 and 3.7.1 first.

use crate::{
    headers::{Checksum, Fragment, Headers, Transport},
    packet::Packet,
    wire::{
        checksum::Delta,
        tcp_options::tcp_options,
        word::{mend, put_word, word},
    },
};

/// What a sender means that names no size (RFC 9293 3.7.1).
pub const DEFAULT: u16 = 536;

/// IPv4 and TCP headers without options: how much smaller than a packet its segment is.
const HEADERS: u16 = 40;
/// Length of a TCP header without options, and with as many as it holds.
const FIXED: usize = 20;
const LONGEST: usize = 60;
/// The option: kind, length, and the size.
const KIND: u8 = 2;
const LENGTH: usize = 4;

/// The size of the segments that fit in packets of `mtu` bytes.
pub fn of_mtu(mtu: u16) -> u16 {
    mtu.saturating_sub(HEADERS)
}

/// Lowers the size that the packet offers to `limit`, where it is larger. One that offers none is given the option, as
/// Linux does, unless it carries data or is then longer than `mtu`.
pub fn lower(packet: &mut Packet, headers: &Headers, limit: u16, mtu: u16) {
    let Transport::Tcp { header_length, .. } = headers.transport else { return };
    let end = headers.l4 + usize::from(header_length);
    let Some(options) = packet.bytes().get(headers.l4 + FIXED..end) else { return };
    match find(options) {
        Place::At(at) => replace(packet.bytes_mut(), headers, headers.l4 + FIXED + at, limit),
        Place::Nowhere => insert(packet, headers, usize::from(header_length), limit.min(DEFAULT), mtu),
        Place::Unreadable => {}
    }
}

/// Where among the options the size is.
#[derive(PartialEq, Debug)]
enum Place {
    /// Its two bytes begin here.
    At(usize),
    Nowhere,
    /// An option ends before it begins, or beyond the header.
    Unreadable,
}

fn find(options: &[u8]) -> Place {
    for option in tcp_options(options) {
        match option {
            Some((KIND, place)) if place.len() == LENGTH => return Place::At(place.start + 2),
            Some(_) => {}
            None => return Place::Unreadable,
        }
    }
    Place::Nowhere
}

fn replace(frame: &mut [u8], headers: &Headers, at: usize, limit: u16) {
    let old = word(frame, at);
    if old <= limit {
        return;
    }
    put_word(frame, at, limit);
    // A checksum that is yet to be completed knows nothing of what is in the segment.
    if headers.checksum != Checksum::Partial {
        // Each byte of a value at an odd place is in the other half of its word (RFC 1071 2 (B)).
        let halves =
            |value: u16| if (at - headers.l4).is_multiple_of(2) { value } else { value.swap_bytes() };
        mend(frame, headers.l4 + 16, Delta::NONE.word(halves(old), halves(limit)));
    }
}

fn insert(packet: &mut Packet, headers: &Headers, header_length: usize, size: u16, mtu: u16) {
    const OPTION: u16 = (KIND as u16) << 8 | LENGTH as u16;
    let (total, place) = (headers.total_length, headers.l4 + FIXED);
    let end = headers.l4 + header_length;
    let full = header_length + LENGTH > LONGEST || usize::from(total) + LENGTH > usize::from(mtu);
    let alone = headers.fragment == Fragment::Whole && packet.len() == end;
    if full || !alone || packet.append(LENGTH).is_none() {
        return;
    }
    let frame = packet.bytes_mut();
    frame.copy_within(place..end, place + LENGTH);
    put_word(frame, place, OPTION);
    put_word(frame, place + 2, size);

    let longer = Delta::NONE.word(total, total + LENGTH as u16);
    put_word(frame, headers.l3 + 2, total + LENGTH as u16);
    mend(frame, headers.l3 + 10, longer);
    let (at, field) = (headers.l4 + 12, headers.l4 + 16);
    let (old, new) = (word(frame, at), word(frame, at) + ((LENGTH as u16 / 4) << 12));
    put_word(frame, at, new);
    // The pseudo-header holds the length, too: it is longer by as much.
    if headers.checksum == Checksum::Partial {
        let sum = longer.apply_to_sum(word(frame, field));
        put_word(frame, field, sum);
    } else {
        mend(frame, field, longer.word(old, new).word(0, OPTION).word(0, size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        headers::protocol,
        offload::{Offload, Partial},
        stage::segment::complete_checksum,
        test_support::{property, udp},
        wire::checksum,
    };
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use smoltcp::wire::Ipv4Address;

    const FROM: Ipv4Address = Ipv4Address::new(192, 168, 1, 2);
    const TO: Ipv4Address = Ipv4Address::new(198, 51, 100, 7);

    /// A SYN with these options and this payload. Its checksum is right, or yet to be completed.
    fn syn(options: &[u8], payload: &[u8], partial: bool) -> Packet {
        let length = FIXED + options.len() + payload.len();
        let mut frame = udp((FROM, 5000), (TO, 80), length - 8);
        frame[23] = protocol::TCP;
        frame[24..26].fill(0);
        let sum = !checksum::sum(&frame[14..34]);
        put_word(&mut frame, 24, sum);
        frame[38..54].fill(0);
        frame[46..50].copy_from_slice(&[((FIXED + options.len()) / 4 * 16) as u8, 2, 0xff, 0xff]);
        frame[54..].copy_from_slice(&[options, payload].concat());
        put_word(&mut frame, 50, checksum::pseudo_header(FROM, TO, protocol::TCP, length as u16));
        let mut packet = Packet::with_capacity(200);
        packet.append(frame.len()).unwrap().copy_from_slice(&frame);
        packet.set_offload(Offload::Partial(Partial { start: 34, offset: 16, segmentation: None }));
        if !partial {
            complete_checksum(&mut packet);
        }
        packet
    }

    fn lowered(mut packet: Packet, limit: u16, mtu: u16) -> Packet {
        let headers = Headers::of(&packet).unwrap();
        lower(&mut packet, &headers, limit, mtu);
        packet
    }

    /// The options as they leave; both checksums are right.
    #[track_caller]
    fn options(mut packet: Packet) -> Vec<u8> {
        complete_checksum(&mut packet);
        let frame = packet.bytes();
        let headers = Headers::parse(frame, 14).unwrap();
        assert_eq!(usize::from(headers.total_length), frame.len() - 14);
        let pseudo = checksum::pseudo_header(FROM, TO, protocol::TCP, frame.len() as u16 - 34);
        assert_eq!(checksum::together(checksum::sum(&frame[34..]), pseudo), 0xffff);
        frame[54..34 + usize::from(frame[46] >> 4) * 4].to_vec()
    }

    #[test]
    fn a_larger_size_is_lowered_and_a_smaller_one_left() {
        for partial in [false, true] {
            let sent = [2, 4, 0x05, 0xb4, 1, 3, 3, 7];
            assert_eq!(
                options(lowered(syn(&sent, b"", partial), 1412, 1500)),
                [2, 4, 0x05, 0x84, 1, 3, 3, 7]
            );
            assert_eq!(
                lowered(syn(&sent, b"", partial), 1460, 1500).bytes(),
                syn(&sent, b"", partial).bytes()
            );
            assert_eq!(
                lowered(syn(&sent, b"", partial), 9000, 1500).bytes(),
                syn(&sent, b"", partial).bytes()
            );
        }
    }

    #[test]
    fn the_size_is_found_at_an_odd_place_and_with_data_behind() {
        let sent = [1, 2, 4, 0x05, 0xb4, 3, 3, 7];
        assert_eq!(options(lowered(syn(&sent, b"data", false), 1000, 1500)), [1, 2, 4, 0x03, 0xe8, 3, 3, 7]);
    }

    #[test]
    fn a_checksum_that_came_wrong_leaves_wrong() {
        let mut packet = syn(&[2, 4, 0x05, 0xb4], b"", false);
        packet.bytes_mut()[50] ^= 0x40;
        let mut expected = lowered(syn(&[2, 4, 0x05, 0xb4], b"", false), 1000, 1500);
        expected.bytes_mut()[50] ^= 0x40;
        let sum = |packet: &Packet| checksum::sum(&packet.bytes()[34..]);
        assert_eq!(sum(&lowered(packet, 1000, 1500)), sum(&expected));
    }

    #[test]
    fn a_syn_without_a_size_is_given_one_of_536_at_most() {
        for partial in [false, true] {
            assert_eq!(options(lowered(syn(&[], b"", partial), 1412, 1500)), [2, 4, 0x02, 0x18]);
            let sent = [4, 2, 1, 1];
            assert_eq!(options(lowered(syn(&sent, b"", partial), 500, 1500)), [2, 4, 0x01, 0xf4, 4, 2, 1, 1]);
        }
    }

    #[test]
    fn nothing_is_inserted_where_there_is_no_room() {
        let full = [1; 40];
        for (sent, payload, mtu) in [(&full[..], &b""[..], 1500), (&[], b"data", 1500), (&[], b"", 43)] {
            assert_eq!(
                lowered(syn(sent, payload, false), 500, mtu).bytes(),
                syn(sent, payload, false).bytes()
            );
        }
        let mut tight = Packet::from_frame(syn(&[], b"", false).bytes());
        let headers = Headers::of(&tight).unwrap();
        lower(&mut tight, &headers, 500, 1500);
        assert_eq!(tight.bytes(), syn(&[], b"", false).bytes(), "the buffer ends here");
    }

    #[test]
    fn options_end_where_they_say_and_no_lie_is_believed() {
        assert_eq!(find(&[0, 2, 4, 5]), Place::Nowhere, "behind the end");
        assert_eq!(find(&[2, 3, 0, 1]), Place::Nowhere, "no such option is three bytes long");
        assert_eq!(find(&[1, 1, 1, 2]), Place::Unreadable);
        assert_eq!(find(&[3, 0, 2, 4]), Place::Unreadable);
        assert_eq!(find(&[1, 2, 4, 5]), Place::Unreadable);
    }

    proptest! {
        #![proptest_config(property())]

        #[test]
        fn whatever_the_options_are_the_packet_stays_sound(
            words in prop::collection::vec(any::<[u8; 4]>(), 0..=10),
            limit in any::<u16>(),
            mtu in 68..=1500_u16,
            partial in any::<bool>(),
        ) {
            let sent = words.concat();
            let left = options(lowered(syn(&sent, b"", partial), limit, mtu));
            if let (Place::At(before), Place::At(after)) = (find(&sent), find(&left)) {
                prop_assert_eq!(word(&left, after), word(&sent, before).min(limit));
            }
        }
    }
}
