//! The lines of tcpdump 4.99.3 (`tcpdump -n -t -r frames.pcap`, with the options that are named) must come out the same.
//! The frames were written with scapy: one of each kind, with the faults that a decoder has words for.

use super::*;
use crate::{interface::InterfaceId, tap::Met};
use alloc::{string::ToString, vec::Vec};

const FRAMES: &[u8] = include_bytes!("fixtures/frames.pcap");

/// The frames of a pcap file in this machine's byte order.
fn frames() -> Vec<&'static [u8]> {
    let mut frames = Vec::new();
    let mut rest = &FRAMES[24..];
    while let Some((header, behind)) = rest.split_first_chunk::<16>() {
        let length = u32::from_le_bytes(*header[8..].first_chunk().unwrap()) as usize;
        let (frame, behind) = behind.split_at(length);
        frames.push(frame);
        rest = behind;
    }
    frames
}

fn sight(frame: &[u8], micros: i64) -> Sight {
    Sight {
        time: Instant::from_micros(micros),
        interface: InterfaceId(1),
        received: true,
        length: frame.len() as u32,
        verdict: None,
        offload: Offload::None,
        met: Met::default(),
    }
}

/// What is printed of all frames.
fn printed(style: Style) -> String {
    let mut printer = Printer::new(Style { time: TimeStyle::None, ..style });
    let mut out = String::new();
    frames().iter().for_each(|frame| printer.print(&sight(frame, 0), "eth0", frame, &mut out));
    out
}

#[track_caller]
fn same(style: Style, expected: &str) {
    let printed = printed(style);
    for (ours, theirs) in printed.lines().zip(expected.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(printed.lines().count(), expected.lines().count());
}

#[test]
fn plain() {
    same(Style::default(), include_str!("fixtures/plain.txt"));
}

#[test]
fn with_the_ethernet_header() {
    same(Style { ethernet: true, ..Style::default() }, include_str!("fixtures/ethernet.txt"));
}

#[test]
fn verbose() {
    same(Style { verbose: 1, ..Style::default() }, include_str!("fixtures/verbose.txt"));
    same(Style { verbose: 2, ..Style::default() }, include_str!("fixtures/very-verbose.txt"));
    let both = Style { verbose: 1, ethernet: true, ..Style::default() };
    same(both, include_str!("fixtures/ethernet-verbose.txt"));
}

#[test]
fn quiet() {
    same(Style { quiet: true, ..Style::default() }, include_str!("fixtures/quiet.txt"));
    let both = Style { quiet: true, ethernet: true, ..Style::default() };
    same(both, include_str!("fixtures/quiet-ethernet.txt"));
}

#[test]
fn sequence_numbers_as_they_are() {
    same(Style { absolute: true, ..Style::default() }, include_str!("fixtures/absolute.txt"));
}

#[test]
fn a_frame_of_which_any_part_is_missing_is_printed_all_the_same() {
    for verbose in 0..3 {
        let mut printer = Printer::new(Style { verbose, ethernet: verbose > 0, ..Style::default() });
        for frame in frames() {
            for kept in 0..frame.len().min(120) {
                printer.print(&sight(frame, 0), "eth0", &frame[..kept], &mut String::new());
                printer.print(&sight(&frame[..kept], 0), "eth0", &frame[..kept], &mut String::new());
            }
        }
    }
}

#[test]
fn times() {
    let shown = |time| {
        let mut printer = Printer::new(Style { time, ..Style::default() });
        let mut out = String::new();
        for micros in [1_000_001, 3_723_000_002, 90_061_000_003] {
            printer.print(&sight(&[], micros), "eth0", &[], &mut out);
        }
        out.lines().map(|line| line.trim_end_matches(" [|ether]").to_string()).collect::<Vec<_>>()
    };
    assert_eq!(shown(TimeStyle::Clock), ["00:00:01.000001", "01:02:03.000002", "01:01:01.000003"]);
    assert_eq!(shown(TimeStyle::Seconds), ["1.000001", "3723.000002", "90061.000003"]);
    assert_eq!(shown(TimeStyle::SinceLast), [" 00:00:00.000000", " 01:02:02.000001", " 23:58:58.000001"]);
    assert_eq!(shown(TimeStyle::SinceFirst), [" 00:00:00.000000", " 01:02:02.000001", " 25:01:00.000002"]);
    assert_eq!(
        shown(TimeStyle::Date),
        ["day 0 00:00:01.000001", "day 0 01:02:03.000002", "day 1 01:01:01.000003"]
    );
}

#[test]
fn one_interface_of_several_is_named_with_the_direction() {
    let mut printer = Printer::new(Style { interfaces: true, time: TimeStyle::None, ..Style::default() });
    let mut shown = |to: u8, received| {
        let mut frame = [0; 14];
        frame[..6].fill(to);
        let mut out = String::new();
        printer.print(&Sight { received, ..sight(&frame, 0) }, "eth0", &frame, &mut out);
        out[..10].to_string()
    };
    assert_eq!(shown(2, true), "eth0  In  ");
    assert_eq!(shown(3, true), "eth0  M   ");
    assert_eq!(shown(0xff, true), "eth0  B   ");
    assert_eq!(shown(0xff, false), "eth0  Out ");
}

/// Errors have no business to quote errors (RFC 1122 3.2.2), but somebody may send 2300 of them within each other.
#[test]
fn quotes_within_quotes_end() {
    const LEVEL: [u8; 28] = [
        0x45, 0, 0xff, 0xff, 0, 1, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
        3, 1, 0, 0, 0, 0, 0, 0, // host unreachable
    ];
    let ethernet = [&[0; 12][..], &[8, 0]].concat();
    let frame = [ethernet, LEVEL.repeat(65_000 / LEVEL.len())].concat();
    let mut out = String::new();
    Printer::new(Style { verbose: 2, ..Style::default() }).print(&sight(&frame, 0), "eth0", &frame, &mut out);
    assert_eq!(out.matches("host 10.0.0.2 unreachable").count(), 1 + usize::from(MOST_QUOTES));
}
