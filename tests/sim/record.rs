//! The flight recorder: a recording that is sent through the plane once more gives the same verdicts.

use crate::{answer, connect, fragments, overload::crowd, query};
use netstack::outcome::{DropReason, Outcome};
use qemu::replay::{Recording, Replayed};
use smoltcp::time::Duration;
use tests::{bench::Bench, datagram::*, network::*};

/// What `record dump` prints, sent through the plane once more.
fn replayed(bench: &mut Bench) -> Vec<Replayed> {
    let text = bench.command("record dump");
    let recording = Recording::read(text.as_bytes()).unwrap();
    recording.replay(&recording.configuration).unwrap()
}

#[track_caller]
fn assert_equal(bench: &mut Bench, frames: usize) {
    let replayed = replayed(bench);
    let different: Vec<String> =
        replayed.iter().filter(|frame| !frame.is_equal()).map(ToString::to_string).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert_eq!(replayed.len(), frames);
    assert!(replayed.iter().all(|frame| frame.recorded.is_some()));
}

const RULES: &str = "
iptables -P FORWARD DROP
iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A FORWARD -i eth0 -p tcp --dport 23 -j REJECT
iptables -A FORWARD -i eth0 -j ACCEPT
";

fn bench() -> Bench {
    Bench::network(&[MASQUERADE, RULES].concat())
}

/// Traffic of every kind, and how many frames that were.
fn traffic(bench: &mut Bench) -> usize {
    let (from, to) = ((ALICE, 41000), (SERVER, 80));
    let outside = connect(bench, from, to);
    let port = bench.exchange(LAN, query()).1.source();
    let large = udp((ALICE, 42000), (SERVER, 9)).payload([7; 3000]);
    let pieces = fragments(&large, 1400);
    let unreachable = icmp_error(SERVER, 3, 3, &udp(port, (SERVER, 53)));
    let frames = [
        (LAN, tcp(from, to, flag::ACK | flag::PSH).numbers(1001, 5001).payload("data")),
        (WAN, tcp(to, outside, flag::ACK).numbers(5001, 1005)),
        (WAN, tcp(to, outside, flag::ACK).numbers(1, 1)),
        (WAN, answer(port)),
        (WAN, unreachable),
        (WAN, udp((OTHER, 53), port)),
        (LAN, query().ttl(1)),
        (LAN, tcp((ALICE, 43000), (SERVER, 23), flag::SYN)),
        (LAN, echo((ALICE, 7), LAN_SIDE)),
        (LAN, echo((ALICE, 7), SERVER)),
        (WAN, udp(([127, 0, 0, 1].into(), 53), port)),
        (LAN, udp((ALICE, 1), (LAN_SIDE, 1))),
        (LAN, udp((ALICE, 1), ([192, 168, 1, 77].into(), 1))),
        (LAN, pieces[1].clone()),
        (LAN, pieces[0].clone()),
        (LAN, pieces[2].clone()),
        (LAN, tcp(from, to, flag::RST).numbers(1005, 0)),
    ];
    let count = frames.len() + 4;
    for (port, packet) in frames {
        bench.send(port, packet);
        bench.pass(Duration::from_millis(7));
    }
    count
}

#[test]
fn a_recording_gives_the_same_verdicts() {
    let mut bench = bench();
    bench.command("record on");
    let frames = traffic(&mut bench);
    assert_equal(&mut bench, frames);
}

#[test]
fn it_may_begin_in_the_middle_of_flows() {
    let mut bench = bench();
    let (from, to) = ((ALICE, 41000), (SERVER, 80));
    let outside = connect(&mut bench, from, to);
    let port = bench.exchange(LAN, query()).1.source();
    bench.pass(Duration::from_secs(5));
    bench.command("record on");
    for (side, packet) in [
        (WAN, answer(port)),
        (WAN, icmp_error(SERVER, 3, 3, &udp(port, (SERVER, 53)))),
        (WAN, tcp(to, outside, flag::ACK).numbers(5001, 1001)),
        (WAN, tcp(to, outside, flag::RST).numbers(77, 0)),
        (LAN, tcp(from, to, flag::FIN | flag::ACK).numbers(1001, 5001)),
    ] {
        bench.send(side, packet);
    }
    assert_equal(&mut bench, 5);
}

#[test]
fn so_may_one_whose_oldest_frames_made_room() {
    let mut bench = bench();
    bench.command("record on -b 5");
    let frames = traffic(&mut bench);
    let replayed = replayed(&mut bench);
    assert!((3..frames).contains(&replayed.len()), "{} of {frames}", replayed.len());
    // What was waiting when the oldest frame came is not known.
    let fragments = |frame: &&Replayed| !frame.is_equal() && !frame.to_string().contains("fragment");
    assert_eq!(replayed.iter().filter(fragments).count(), 0);
}

#[test]
fn what_a_crowded_card_may_not_bring_is_not_brought_again() {
    let mut bench = bench();
    bench.command("record on -b 64");
    let (from, to) = ((ALICE, 41000), (SERVER, 80));
    let outside = connect(&mut bench, from, to);
    crowd(&mut bench, WAN);
    let knock = |bench: &mut Bench, number: u16| {
        bench.send(WAN, udp((OTHER, number), (OWN[WAN], 9)));
    };
    for round in 0..30 {
        bench.pass(Duration::from_millis(7));
        for number in 0..200 {
            knock(&mut bench, round * 200 + number);
        }
        bench.send(WAN, tcp(to, outside, flag::ACK).numbers(5001, 1001));
    }
    // The rate grows, and grows in the recording.
    bench.pass(Duration::from_millis(800));
    (0..50).for_each(|number| knock(&mut bench, number));
    let replayed = replayed(&mut bench);
    let overload = |frame: &&Replayed| frame.outcome == Outcome::Dropped(DropReason::Overload);
    assert!(replayed.iter().filter(overload).count() > 100);
    assert!(!replayed.iter().all(|frame| overload(&frame)));
    let different: Vec<String> =
        replayed.iter().filter(|frame| !frame.is_equal()).map(ToString::to_string).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn what_comes_out_differently_is_told() {
    let mut bench = bench();
    bench.command("record on");
    bench.send(LAN, query());
    bench.send(LAN, query().ttl(1));
    let text = bench.command("record dump");
    let recording = Recording::read(text.as_bytes()).unwrap();
    let other = recording.configuration.replace("-A FORWARD -i eth0 -j ACCEPT", "-A FORWARD -i eth0 -j DROP");
    assert_ne!(other, recording.configuration);
    let replayed = recording.replay(&other).unwrap();
    assert_eq!(replayed.iter().map(Replayed::is_equal).collect::<Vec<_>>(), [false, true]);
    let told = replayed[0].to_string();
    assert!(
        told.contains("recorded forwarded out of eth1") && told.contains("replayed dropped firewall-rule"),
        "{told}"
    );
}

#[test]
fn a_change_of_the_configuration_begins_it_anew() {
    let mut bench = bench();
    bench.command("record on");
    bench.send(LAN, query());
    bench.command("iptables -A FORWARD -p udp -j DROP");
    bench.send(LAN, query());
    assert_equal(&mut bench, 1);
}

#[test]
fn what_was_recorded_is_shown_with_its_fate() {
    let mut bench = bench();
    bench.command("record on");
    bench.send(LAN, query());
    bench.send(LAN, echo((ALICE, 7), LAN_SIDE));
    let shown = bench.command("record show");
    let fates: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix('\t')).collect();
    assert_eq!(fates, ["forwarded out of eth1", "delivered to the router"]);
    assert_eq!(bench.command("record off"), "");
    assert_eq!(bench.command("record show"), "record: nothing is recorded: `record on`");
    assert!(!bench.router.taps().are_open());
}

#[test]
fn what_is_no_recording_is_refused() {
    for text in ["", "hello", "-----BEGIN RUTTER RECORDING-----\n????\n-----END RUTTER RECORDING-----"] {
        assert!(Recording::read(text.as_bytes()).is_err(), "{text}");
    }
}
