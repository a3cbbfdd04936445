//! Frames whose checksum and segmentation are left to a network card (virtio 1.2, 5.1.6): sent on whole where the card on
//! the other side does that work, finished by the router where it does not.

use crate::{assert_error, connect, query, reassemble};
use netstack::{
    interface::PortId,
    offload::{Abilities, Offload, Partial, Segmentation, SegmentationKind},
    outcome::{DropReason, Outcome},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use smoltcp::time::Duration;
use std::num::NonZeroU16;
use tests::{bench::Bench, datagram::*, frame::Frame, network::*};

/// Bytes of payload that an MTU of 1500 leaves to TCP.
const MSS: u16 = 1460;
/// As long as buffers of a card usually are.
const BUFFER: usize = 1900;

const CHECKSUM_ONLY: Abilities = Abilities { checksum: true, ..Abilities::NONE };

/// How a card is told to cut TCP.
fn tcp4(size: u16) -> Option<Segmentation> {
    cut(SegmentationKind::Tcp4, size)
}

fn cut(kind: SegmentationKind, size: u16) -> Option<Segmentation> {
    NonZeroU16::new(size).map(|size| Segmentation { kind, ecn: false, size })
}

/// A frame as a machine on the same host hands it over: the checksum field holds the sum of the pseudo-header.
fn unfinished(port: usize, packet: &Datagram, segmentation: Option<Segmentation>) -> (Vec<u8>, Offload) {
    let offset = if packet.protocol() == 6 { 16 } else { 6 };
    let mut frame = Frame::ip(neighbor_mac(port, packet.source), router_mac(port), packet.clone()).bytes();
    let field = 34 + offset..36 + offset;
    frame[field].copy_from_slice(&pseudo_header(packet).to_be_bytes());
    (frame, Offload::Partial(Partial { start: 34, offset: offset as u16, segmentation }))
}

fn pseudo_header(packet: &Datagram) -> u16 {
    let bytes = packet.bytes();
    let length = (bytes.len() - 20) as u16;
    sum(&[&bytes[12..20], &[0, packet.protocol()], &length.to_be_bytes()].concat())
}

/// So many bytes that no two segments are alike.
fn data(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 251 + at) as u8).collect()
}

fn payload(packet: &Datagram) -> &[u8] {
    match &packet.body {
        Body::Udp { payload, .. } | Body::Tcp { payload, .. } => payload,
        _ => panic!("neither TCP nor UDP: {packet:?}"),
    }
}

/// Sends `packet` unfinished; gives the packets that left, all of which are finished.
#[track_caller]
fn finished(
    bench: &mut Bench,
    port: usize,
    packet: &Datagram,
    segmentation: Option<Segmentation>,
) -> Vec<(usize, Datagram)> {
    let (frame, offload) = unfinished(port, packet, segmentation);
    let left = bench.inject_unfinished(port, &frame, offload, BUFFER);
    left.into_iter()
        .map(|(port, frame, offload)| {
            assert_eq!(offload, Offload::None);
            (port, Frame::read(&frame).datagram().cloned().expect("a packet"))
        })
        .collect()
}

const FROM: Endpoint = (ALICE, 40000);
const TO: Endpoint = (SERVER, 80);

/// 20,000 bytes of the connection from [`FROM`] to [`TO`], in one frame.
fn download() -> Datagram {
    tcp(FROM, TO, flag::ACK | flag::PSH).numbers(1001, 5001).payload(data(20_000)).dont_fragment()
}

/// A gateway whose cards have these abilities, with a connection from [`FROM`]; and the outer source of that.
fn gateway(abilities: [Abilities; 3]) -> (Bench, Endpoint) {
    let mut bench = Bench::with_abilities(abilities, MASQUERADE);
    // Somebody else has the port already, so that the translation changes it, too.
    connect(&mut bench, (BOB, FROM.1), TO);
    let outside = connect(&mut bench, FROM, TO);
    assert_ne!(outside.1, FROM.1);
    (bench, outside)
}

#[test]
fn long_frames_for_silent_neighbours_do_not_use_up_the_buffers() {
    let mut bench = Bench::with_abilities([Abilities::ALL; 3], "");
    for last in 30..250 {
        let silent = ([192, 168, 1, last].into(), 80);
        let (frame, offload) = unfinished(WAN, &download().from(TO).to(silent), tcp4(MSS));
        bench.inject_unfinished(WAN, &frame, offload, BUFFER);
    }
    assert!(bench.kept_buffers() <= 256, "{} buffers wait", bench.kept_buffers());
    bench.exchange(LAN, query());
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.kept_buffers(), 0);
}

#[test]
fn a_super_frame_is_translated_whole_where_the_card_cuts_it() {
    let (mut bench, outside) = gateway([Abilities::NONE, Abilities::ALL, Abilities::NONE]);
    let (frame, offload) = unfinished(LAN, &download(), tcp4(MSS));
    let expected = download().ttl(63).from(outside);
    for turn in 0..3 {
        let left = bench.inject_unfinished(LAN, &frame, offload, BUFFER);
        let [(WAN, frame, left_to_card)] = &left[..] else { panic!("one frame: {left:?}") };
        assert_eq!(*left_to_card, offload);
        let (mut right, _) = unfinished(WAN, &expected, tcp4(MSS));
        right[..12].copy_from_slice(&frame[..12]);
        assert_eq!(*frame, right, "turn {turn}");
    }
    assert!(bench.router.statistics().fast >= 2, "the fast path takes it, too");
}

#[test]
fn a_super_frame_is_cut_where_the_card_does_not() {
    let without_tso4 = Abilities { tso4: false, ..Abilities::ALL };
    for abilities in [Abilities::NONE, CHECKSUM_ONLY, without_tso4] {
        let (mut bench, outside) = gateway([Abilities::ALL, abilities, Abilities::ALL]);
        let before = bench.kept_buffers();
        for turn in 0..3 {
            let left = finished(&mut bench, LAN, &download(), tcp4(MSS));
            assert_eq!(left.len(), 20_000_usize.div_ceil(MSS.into()));
            let mut joined = Vec::new();
            for (number, (port, segment)) in left.iter().enumerate() {
                let last = number + 1 == left.len();
                let end = if last { flag::PSH } else { 0 };
                let expected = tcp(outside, TO, flag::ACK | end)
                    .numbers(1001 + joined.len() as u32, 5001)
                    .payload(payload(segment))
                    .ttl(63)
                    .dont_fragment()
                    .but(|packet| packet.id = 1 + number as u16);
                assert_eq!((*port, segment), (WAN, &expected), "turn {turn}");
                assert!(last || payload(segment).len() == usize::from(MSS));
                joined.extend_from_slice(payload(segment));
            }
            assert_eq!(joined, data(20_000));
        }
        assert_eq!(bench.kept_buffers(), before, "every buffer is back");
    }
}

#[test]
fn a_reduced_window_is_left_only_to_a_card_that_knows_of_it() {
    const CWR: u8 = 0x80;
    let reduced = tcp(FROM, TO, flag::ACK | CWR).numbers(1001, 5001).payload(data(3000));
    let segmentation = tcp4(MSS).map(|cut| Segmentation { ecn: true, ..cut });
    let (mut able, _) = gateway([Abilities::ALL; 3]);
    let (frame, offload) = unfinished(LAN, &reduced, segmentation);
    assert_eq!(able.inject_unfinished(LAN, &frame, offload, BUFFER).len(), 1);
    let (mut unable, _) = gateway([Abilities { ecn: false, ..Abilities::ALL }; 3]);
    let left = finished(&mut unable, LAN, &reduced, segmentation);
    let reduces =
        |(_, packet): &(usize, Datagram)| matches!(packet.body, Body::Tcp { flags, .. } if flags & CWR != 0);
    assert_eq!(left.iter().map(reduces).collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn a_missing_checksum_is_completed_where_the_card_does_not() {
    let query = udp((ALICE, 40000), (SERVER, 53)).payload(b"who is it, in an odd number of bytes?");
    for (masquerade, turns) in [("", 1), (MASQUERADE, 4)] {
        let mut bench = Bench::with_abilities([Abilities::ALL, Abilities::NONE, Abilities::ALL], masquerade);
        for _ in 0..turns {
            let left = finished(&mut bench, LAN, &query, None);
            let source = if masquerade.is_empty() { query.source() } else { (WAN_SIDE, 40000) };
            assert_eq!(left, [(WAN, query.clone().ttl(63).from(source))]);
        }
    }
}

#[test]
fn a_missing_checksum_is_left_to_a_card_that_completes_it() {
    let query = udp((ALICE, 40000), (SERVER, 53)).payload(b"who is it?");
    let mut bench = Bench::with_abilities([Abilities::NONE, CHECKSUM_ONLY, Abilities::NONE], MASQUERADE);
    let (frame, offload) = unfinished(LAN, &query, None);
    for _ in 0..4 {
        let left = bench.inject_unfinished(LAN, &frame, offload, BUFFER);
        let (expected, _) = unfinished(WAN, &query.clone().ttl(63).from((WAN_SIDE, 40000)), None);
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].0, &left[0].1[12..], left[0].2), (WAN, &expected[12..], offload));
    }
}

#[test]
fn a_train_of_datagrams_is_cut_where_the_card_does_not() {
    let train = udp((ALICE, 40000), (SERVER, 443)).payload(data(5000));
    let segmentation = cut(SegmentationKind::Udp, 1200);
    let mut bench = Bench::with_abilities([Abilities::NONE; 3], MASQUERADE);
    for _ in 0..3 {
        let left = finished(&mut bench, LAN, &train, segmentation);
        let all: Vec<u8> = left.iter().flat_map(|(_, packet)| payload(packet).to_vec()).collect();
        assert_eq!(all, data(5000));
        let lengths: Vec<usize> = left.iter().map(|(_, packet)| payload(packet).len()).collect();
        assert_eq!(lengths, [1200, 1200, 1200, 1200, 200]);
        assert!(left.iter().all(|(_, packet)| packet.checksums_are_right()), "{left:?}");
    }
    let mut able = Bench::with_abilities([Abilities::ALL; 3], MASQUERADE);
    let (frame, offload) = unfinished(LAN, &train, segmentation);
    assert_eq!(able.inject_unfinished(LAN, &frame, offload, BUFFER).len(), 1);
}

#[test]
fn segments_that_are_too_long_for_the_way_are_reported() {
    for abilities in [Abilities::ALL, Abilities::NONE] {
        let (mut bench, _) = gateway([abilities; 3]);
        pass(&mut bench, MSS);
        bench.run("ip link set eth1 mtu 1499");
        let left = finished(&mut bench, LAN, &download(), tcp4(MSS));
        assert_error(&left, LAN, (3, 4), &download());
        assert!(matches!(left[0].1.body, Body::Icmp { word: 1499, .. }), "{left:?}");
        assert_eq!(bench.outcome, Some(Outcome::Dropped(DropReason::FragmentationNeeded)));
        pass(&mut bench, MSS - 1);
    }
}

/// The download leaves, whole or in segments of so many bytes, the long and the short way.
#[track_caller]
fn pass(bench: &mut Bench, size: u16) {
    let (frame, offload) = unfinished(LAN, &download(), tcp4(size));
    for _ in 0..2 {
        bench.inject_unfinished(LAN, &frame, offload, BUFFER);
        assert_eq!(bench.outcome, Some(Outcome::Forwarded(PortId(WAN as u8))));
    }
}

#[test]
fn segments_that_may_be_fragmented_are_fragmented_one_by_one() {
    let (mut bench, outside) = gateway([Abilities::ALL; 3]);
    bench.run("ip link set eth1 mtu 1000");
    let may = download().but(|packet| packet.dont_fragment = false);
    let left = finished(&mut bench, LAN, &may, tcp4(MSS));
    let datagrams: Vec<Datagram> = left.chunk_by(|a, b| a.1.id == b.1.id).map(reassemble).collect();
    assert_eq!(datagrams.len(), 14);
    assert!(datagrams.iter().all(|packet| packet.source() == outside && packet.checksums_are_right()));
    assert_eq!(
        datagrams.iter().flat_map(|packet| payload(packet).to_vec()).collect::<Vec<u8>>(),
        data(20_000)
    );
}

#[test]
fn a_long_datagram_gets_its_checksum_before_it_is_fragmented() {
    let long = udp((ALICE, 40000), (SERVER, 53)).payload(data(3001));
    let mut bench = Bench::with_abilities([Abilities::ALL; 3], MASQUERADE);
    let left = finished(&mut bench, LAN, &long, None);
    assert_eq!(reassemble(&left), long.ttl(63).from((WAN_SIDE, 40000)));
}

#[test]
fn the_router_itself_takes_what_is_unfinished() {
    let mut bench = Bench::with_abilities([Abilities::ALL; 3], "");
    let question = udp((ALICE, 40000), (LAN_SIDE, 9)).payload(data(3000));
    let left = finished(&mut bench, LAN, &question, None);
    assert_error(&left, LAN, (3, 3), &question);
    let quoted = left[0].1.quoted().expect("a quote");
    assert_eq!(
        quoted.quote(28)[20..],
        question.quote(28)[20..],
        "with the checksum that a wire would have seen"
    );

    let stray = tcp((ALICE, 40000), (LAN_SIDE, 80), flag::ACK).payload(data(20_000));
    let left = finished(&mut bench, LAN, &stray, tcp4(MSS));
    assert!(
        matches!(left[..], [(LAN, Datagram { body: Body::Tcp { flags: flag::RST, .. }, .. })]),
        "{left:?}"
    );

    let train = udp((ALICE, 40000), (LAN_SIDE, 9)).payload(data(300));
    let left = finished(&mut bench, LAN, &train, cut(SegmentationKind::Udp, 100));
    assert_eq!(left.len(), 3, "an error for each datagram");
}

#[test]
fn what_is_left_to_a_card_must_fit_the_packet() {
    let (mut bench, _) = gateway([Abilities::ALL; 3]);
    let good = Partial { start: 34, offset: 16, segmentation: tcp4(MSS) };
    let (frame, _) = unfinished(LAN, &download(), None);
    for bad in [
        Partial { start: 33, ..good },
        Partial { start: 35, ..good },
        Partial { start: u16::MAX, ..good },
        Partial { offset: 0, ..good },
        Partial { offset: u16::MAX, ..good },
        Partial { segmentation: tcp4(1), ..good },
        Partial { segmentation: cut(SegmentationKind::Udp, MSS), ..good },
        Partial { segmentation: cut(SegmentationKind::Tcp6, MSS), ..good },
    ] {
        let left = bench.inject_unfinished(LAN, &frame, Offload::Partial(bad), BUFFER);
        assert!(left.is_empty(), "{bad:?}: {left:?}");
        assert_eq!(bench.drop_reason(), DropReason::OffloadMalformed, "{bad:?}");
    }
    assert_eq!(bench.inject_unfinished(LAN, &frame, Offload::Partial(good), BUFFER).len(), 1);
}

#[test]
fn a_checksum_that_the_card_found_right_is_not_looked_at_again() {
    let spoilt = udp((ALICE, 40000), (LAN_SIDE, 9)).checksum(Checksum::Wrong(1)).payload(b"x");
    let frame = Frame::ip(neighbor_mac(LAN, ALICE), router_mac(LAN), spoilt).bytes();
    let mut bench = Bench::network("");
    assert!(bench.inject_unfinished(LAN, &frame, Offload::None, BUFFER).is_empty());
    assert_eq!(bench.drop_reason(), DropReason::TransportChecksum);
    assert_eq!(bench.inject_unfinished(LAN, &frame, Offload::Verified, BUFFER).len(), 1);
}

/// Whatever a card says: nothing breaks, no buffer is lost, and no unfinished frame leaves by a card that finishes none.
#[test]
fn no_lie_about_a_frame_does_harm() {
    const WAN_CAN: Abilities = Abilities { tso4: false, ..Abilities::ALL };
    let mut random = StdRng::seed_from_u64(1);
    let (mut bench, _) = gateway([Abilities::NONE, WAN_CAN, Abilities::NONE]);
    bench.run("ip link set eth1 mtu 1000");
    let before = bench.kept_buffers();
    let reply = tcp(TO, (WAN_SIDE, FROM.1), flag::ACK).numbers(5001, 1001).payload(data(9000));
    let packets = [
        (LAN, download()),
        (LAN, download().but(|packet| packet.dont_fragment = false)),
        (LAN, udp((ALICE, 40000), (SERVER, 53)).payload(data(3000))),
        (LAN, udp((ALICE, 40000), (LAN_SIDE, 53)).payload(data(3000))),
        (LAN, tcp((ALICE, 40000), (LAN_SIDE, 80), flag::ACK).payload(data(9000))),
        (LAN, echo((ALICE, 1), SERVER)),
        (WAN, reply),
    ];
    for _ in 0..1_500 {
        let (port, packet) = &packets[random.random_range(0..packets.len())];
        let mut number = |usual: u16, most: u16| match random.random_range(0..4) {
            0 => random.random_range(0..=most),
            _ => usual,
        };
        let kind = [SegmentationKind::Tcp4, SegmentationKind::Udp, SegmentationKind::Tcp6];
        let kind = kind[usize::from(number(0, 2))];
        let size = number(MSS, 2000);
        let segmentation = cut(kind, number(size, u16::MAX)).filter(|_| number(1, 1) == 1);
        let offset = if packet.protocol() == 6 { 16 } else { 6 };
        let partial = Partial { start: number(34, 100), offset: number(offset, u16::MAX), segmentation };
        let (mut frame, _) = unfinished(*port, packet, None);
        frame.truncate(usize::from(number(u16::MAX, 200)).max(1));
        let buffer = usize::from(number(BUFFER as u16, 1772)) + 128;
        for (port, frame, offload) in
            bench.inject_unfinished(*port, &frame, Offload::Partial(partial), buffer)
        {
            assert!(port == WAN || offload == Offload::None, "{partial:?}");
            let packet = Datagram::read(&frame[14..]).expect("its length is what it says");
            assert_eq!(packet.header_checksum, Checksum::Right, "{partial:?}: {packet:?}");
        }
    }
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.kept_buffers(), before);
}
