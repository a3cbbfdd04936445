//! OpenBSD's regression tests of fragments to a host, which the router is to whoever pings it (regress/sys/netinet/frag; RFC 791
//! 3.2, RFC 5722 4).
//!
//! Where fragments overlap or contradict each other OpenBSD keeps what came first and answers; the router gives such a packet up.

use crate::{Scenario, router::Router, scenarios};
use std::sync::atomic::{AtomicU16, Ordering};
use tests::{datagram::*, network::*};

pub const SCENARIOS: &[Scenario] = scenarios![
    two_fragments_are_put_together,
    fragments_are_put_together_in_every_order,
    the_longest_packet_is_put_together_and_one_byte_more_is_not,
    a_large_answer_is_fragmented_again,
    padding_behind_a_fragment_is_no_part_of_it,
    options_stand_in_the_first_fragment,
    a_fragment_that_overlaps_spoils_the_packet_and_one_that_adds_nothing_does_not,
    an_end_that_moves_spoils_the_packet,
    fragments_of_no_bytes_spoil_the_packet,
    many_packets_that_stay_incomplete_do_not_shut_others_out,
    a_header_in_pieces_reaches_its_port,
];

const PAYLOAD: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

/// An echo request to the router with this payload, under an identification of its own.
fn request(payload: &[u8]) -> Datagram {
    static IDENTIFICATION: AtomicU16 = AtomicU16::new(1);
    let id = IDENTIFICATION.fetch_add(1, Ordering::Relaxed);
    echo((ALICE, id), LAN_SIDE).payload(payload).but(|p| p.id = id)
}

/// Bytes `from..to` of what follows the header; `more`: others follow.
fn part(whole: &Datagram, from: usize, to: usize, more: bool) -> Datagram {
    let bytes = &whole.bytes()[20..];
    other(whole.source, whole.destination, whole.protocol(), &bytes[from..to.min(bytes.len())]).but(|p| {
        (p.id, p.offset, p.more_fragments) = (whole.id, from as u16, more);
    })
}

/// The payload of the echo reply to these fragments of `whole`.
fn answer(router: &mut Router, whole: &Datagram, parts: &[Datagram]) -> Option<Vec<u8>> {
    let left = router.send_all(LAN, parts);
    let [(LAN, reply)] = &left[..] else {
        assert_eq!(left, [], "an answer, or nothing");
        return None;
    };
    let Body::Icmp { kind: 0, code: 0, word, payload, .. } = &reply.body else { panic!("{reply:?}") };
    assert_eq!(((word >> 16) as u16, reply.checksums_are_right()), (whole.source().1, true));
    Some(payload.clone())
}

/// The whole is answered, so it was no more than the fragments that were wrong.
#[track_caller]
fn assert_unharmed(router: &mut Router) {
    two_fragments_are_put_together(router);
}

/// frag, frag_udppayload.
fn two_fragments_are_put_together(router: &mut Router) {
    let whole = request(PAYLOAD);
    let parts = [part(&whole, 0, 16, true), part(&whole, 16, 40, false)];
    assert_eq!(answer(router, &whole, &parts).as_deref(), Some(&PAYLOAD[..]));
}

/// frag_permute.
fn fragments_are_put_together_in_every_order(router: &mut Router) {
    let ranges = [(0, 8), (8, 24), (24, 40)];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let whole = request(PAYLOAD);
        let parts = order.map(|at: usize| part(&whole, ranges[at].0, ranges[at].1, at != 2));
        assert_eq!(answer(router, &whole, &parts).as_deref(), Some(&PAYLOAD[..]), "{order:?}");
    }
}

/// frag_maxlen.
fn the_longest_packet_is_put_together_and_one_byte_more_is_not(router: &mut Router) {
    const FRAGMENT: usize = 1480;
    const HEADERS: usize = 28;
    for (length, fits) in [(65_535 - HEADERS, true), (65_536 - HEADERS, false)] {
        // What is too long for a packet's length field is made of an ICMP message alone.
        let whole = request(&[]);
        let message: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let Body::Icmp { word, .. } = whole.body else { panic!("an echo") };
        let mut bytes = [&[8, 0, 0, 0], &word.to_be_bytes()[..], &message].concat();
        let checksum = !sum(&bytes);
        bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
        let parts = (0..bytes.len()).step_by(FRAGMENT).map(|from| {
            let to = (from + FRAGMENT).min(bytes.len());
            other(ALICE, LAN_SIDE, 1, &bytes[from..to]).but(|p| {
                (p.id, p.offset, p.more_fragments) = (whole.id, from as u16, to < bytes.len());
            })
        });
        let left = router.send_all(LAN, &parts.collect::<Vec<_>>());
        let answered: usize = left.iter().map(|(_, fragment)| fragment.bytes().len() - 20).sum();
        assert_eq!(answered, if fits { length + 8 } else { 0 });
    }
    assert_unharmed(router);
}

/// frag_refrag.
fn a_large_answer_is_fragmented_again(router: &mut Router) {
    let payload: Vec<u8> = (0..1600).map(|at| at as u8).collect();
    let whole = request(&payload);
    let parts: Vec<_> =
        (0..1608).step_by(32).map(|from| part(&whole, from, from + 32, from + 32 < 1608)).collect();
    let left = router.send_all(LAN, &parts);
    assert_eq!(left.len(), 2);
    let message: Vec<u8> = left.iter().flat_map(|(_, fragment)| fragment.bytes()[20..].to_vec()).collect();
    assert_eq!((sum(&message), &message[8..]), (0xffff, &payload[..]));
}

/// frag_padding.
fn padding_behind_a_fragment_is_no_part_of_it(router: &mut Router) {
    let whole = request(PAYLOAD);
    let to = router.mac(LAN);
    let frames = [part(&whole, 0, 24, true), part(&whole, 24, 40, false)].map(|part| {
        let padded = [part.bytes(), vec![0xee; 10]].concat();
        tests::frame::Frame {
            to,
            from: neighbor_mac(LAN, ALICE),
            content: tests::frame::Content::Other(0x0800, padded),
        }
    });
    let left = router.exchange(LAN, &frames);
    let [(LAN, reply)] = &left[..] else { panic!("{left:?}") };
    let Some(Body::Icmp { payload, .. }) = reply.datagram().map(|reply| &reply.body) else {
        panic!("{reply:?}")
    };
    assert_eq!(payload[..], PAYLOAD[..]);
}

/// frag_opt.
fn options_stand_in_the_first_fragment(router: &mut Router) {
    let whole = request(PAYLOAD);
    let first = part(&whole, 0, 16, true).but(|p| p.options = vec![1, 1, 1, 0]);
    let parts = [first, part(&whole, 16, 40, false)];
    assert_eq!(answer(router, &whole, &parts).as_deref(), Some(&PAYLOAD[..]));
}

/// frag_overhead, overindex, overlimit, overreplace and overtail with their variants.
fn a_fragment_that_overlaps_spoils_the_packet_and_one_that_adds_nothing_does_not(router: &mut Router) {
    type Way = &'static [(usize, usize, bool)];
    const OVERLAPPING: [Way; 4] = [
        &[(0, 16, true), (8, 40, false)],
        &[(0, 16, true), (16, 32, true), (24, 40, false)],
        &[(16, 40, false), (0, 24, true)],
        &[(0, 16, true), (24, 40, false), (8, 32, true)],
    ];
    const TWICE: [Way; 3] = [
        &[(0, 32, true), (8, 24, true), (32, 40, false)],
        &[(8, 16, true), (0, 16, true), (16, 40, false)],
        &[(0, 16, true), (0, 16, true), (16, 40, false)],
    ];
    let ways = OVERLAPPING.map(|way| (way, false)).into_iter().chain(TWICE.map(|way| (way, true)));
    for (way, answered) in ways {
        let whole = request(PAYLOAD);
        let parts: Vec<_> = way.iter().map(|&(from, to, more)| part(&whole, from, to, more)).collect();
        let expected = answered.then_some(&PAYLOAD[..]);
        assert_eq!(answer(router, &whole, &parts).as_deref(), expected, "{way:?}");
        assert_unharmed(router);
    }
}

/// frag_mf0long, mf0short, mf0middle and mf1end.
fn an_end_that_moves_spoils_the_packet(router: &mut Router) {
    let ways: [&[(usize, usize, bool)]; 4] = [
        &[(24, 40, false), (16, 24, false), (0, 16, true)],
        &[(16, 32, false), (32, 40, false), (0, 16, true)],
        &[(0, 16, true), (24, 40, true), (16, 24, false)],
        &[(16, 40, false), (40, 48, true), (0, 16, true)],
    ];
    for way in ways {
        let whole = request(&[7; 40]);
        let parts: Vec<_> = way.iter().map(|&(from, to, more)| part(&whole, from, to, more)).collect();
        assert_eq!(answer(router, &whole, &parts), None, "{way:?}");
        assert_unharmed(router);
    }
}

/// frag_zerofirst, zerosecond.
fn fragments_of_no_bytes_spoil_the_packet(router: &mut Router) {
    for empty in [(0, 0, true), (8, 8, true), (40, 40, false)] {
        let whole = request(PAYLOAD);
        let empty = part(&whole, empty.0, empty.1, empty.2);
        let parts = [empty, part(&whole, 0, 16, true), part(&whole, 16, 40, false)];
        let answered = answer(router, &whole, &parts);
        assert!(answered.is_none_or(|payload| payload == PAYLOAD));
        assert_unharmed(router);
    }
}

/// frag_queuelimit: as fast as they come, in one burst.
fn many_packets_that_stay_incomplete_do_not_shut_others_out(router: &mut Router) {
    let junk: Vec<_> = (0..100).map(|_| part(&request(PAYLOAD), 0, 16, true)).collect();
    assert_eq!(router.send_all(LAN, &junk), []);
    assert_unharmed(router);
}

/// frag_udpheader: nobody listens there, and the sender is told so about the whole.
fn a_header_in_pieces_reaches_its_port(router: &mut Router) {
    let whole = udp((ALICE, 40000), (LAN_SIDE, 9999)).payload(PAYLOAD).but(|p| p.id = 50_000);
    let parts = [part(&whole, 0, 8, true), part(&whole, 8, 40, false)];
    let left = router.send_all(LAN, &parts);
    let [(LAN, error)] = &left[..] else { panic!("{left:?}") };
    assert_eq!((error.source, error.icmp_type()), (LAN_SIDE, Some((3, 3))));
    assert_eq!(error.quoted(), Some(whole));
}
