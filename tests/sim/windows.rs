//! What a segment must be to count for its connection (RFC 9293 3.10.7.4, RFC 5961): the windows of both ends, their resets,
//! and the ways in which they may begin anew.

use crate::{connect, gateway, outer};
use netstack::offload::{Abilities, Offload, Partial, Segmentation, SegmentationKind};
use smoltcp::time::Duration;
use std::num::NonZeroU16;
use tests::{bench::Bench, datagram::*, frame::Frame, network::*};

const CLIENT: Endpoint = (ALICE, 40000);
const WEB_SERVER: Endpoint = (SERVER, 80);
/// How long an established connection may be silent, and one in doubt.
const ESTABLISHED: u32 = 7440;
const UNACKNOWLEDGED: u32 = 300;

/// A router between both ends that drops what is INVALID.
fn router() -> Bench {
    Bench::network("iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP")
}

/// The same with a connection: the client's next number is 1001, the server's 5001, the windows 65535 bytes.
fn connected() -> Bench {
    let mut bench = router();
    connect(&mut bench, CLIENT, WEB_SERVER);
    bench
}

/// A segment of the client's.
fn client(flags: u8, seq: u32, ack: u32) -> Datagram {
    tcp(CLIENT, WEB_SERVER, flags).numbers(seq, ack)
}

/// A segment of the server's.
fn server(flags: u8, seq: u32, ack: u32) -> Datagram {
    tcp(WEB_SERVER, CLIENT, flags).numbers(seq, ack)
}

fn from_client(bench: &mut Bench, segment: Datagram) -> bool {
    bench.send(LAN, segment).iter().any(|(port, _)| *port == WAN)
}

fn from_server(bench: &mut Bench, segment: Datagram) -> bool {
    bench.send(WAN, segment).iter().any(|(port, _)| *port == LAN)
}

/// Both ends send a segment with data where they are after the handshake, a number of times, so that the flow takes the short
/// way if it can.
fn talk(bench: &mut Bench) {
    for turn in 0..4 {
        assert!(from_client(bench, client(flag::PSH | flag::ACK, 1001 + turn, 5001 + turn).payload("q")));
        assert!(from_server(bench, server(flag::PSH | flag::ACK, 5001 + turn, 1002 + turn).payload("a")));
    }
}

/// State of the only connection, and for how many seconds it may be silent.
fn tracked(bench: &mut Bench) -> (String, u32) {
    let line = bench.command("conntrack -L -p tcp");
    let mut words = line.split_whitespace().skip(2);
    let seconds = words.next().and_then(|word| word.parse().ok()).expect("a connection");
    (words.next().expect("its state").into(), seconds)
}

/// The connection is in this state, and fewer than two of its seconds have passed.
#[track_caller]
fn assert_tracked(bench: &mut Bench, state: &str, seconds: u32) {
    let (name, left) = tracked(bench);
    assert!(name == state && (seconds - 2..=seconds).contains(&left), "{name} {left}");
}

fn pass(bench: &mut Bench, seconds: u64) {
    bench.pass(Duration::from_secs(seconds));
}

#[test]
fn a_reset_out_of_window_changes_nothing() {
    use flag::*;
    for flags in [RST, RST | ACK] {
        for seq in [5001 + 70_000, 5000, 5001_u32.wrapping_sub(70_000), 0, 1 << 31] {
            let mut bench = connected();
            pass(&mut bench, 100);
            assert!(!from_server(&mut bench, server(flags, seq, 1001)), "{seq}");
            assert_tracked(&mut bench, "ESTABLISHED", ESTABLISHED - 100);
            talk(&mut bench);
        }
    }
}

#[test]
fn a_reset_out_of_window_reaches_no_inner_host_and_ends_no_translation() {
    let mut bench = gateway();
    let outside = connect(&mut bench, CLIENT, WEB_SERVER);
    let reset = tcp(WEB_SERVER, outside, flag::RST).numbers(5001 + 70_000, 0);
    assert_eq!(bench.send(WAN, reset), []);
    assert_tracked(&mut bench, "ESTABLISHED", ESTABLISHED);
    assert_eq!(outer(&mut bench, client(flag::ACK, 1001, 5001)), outside);
}

#[test]
fn a_reset_with_the_exact_number_closes() {
    for (from_client_side, seq, ack) in [(false, 5001, 1001), (true, 1001, 5001)] {
        let mut bench = connected();
        let passed = if from_client_side {
            from_client(&mut bench, client(flag::RST, seq, ack))
        } else {
            from_server(&mut bench, server(flag::RST | flag::ACK, seq, ack))
        };
        assert!(passed);
        assert_tracked(&mut bench, "CLOSE", 10);
    }
}

#[test]
fn a_reset_elsewhere_in_the_window_passes_and_the_challenge_keeps_the_connection() {
    let mut bench = connected();
    talk(&mut bench);
    assert!(from_server(&mut bench, server(flag::RST, 5005 + 1000, 0)), "its receiver is to judge it");
    assert_tracked(&mut bench, "ESTABLISHED", UNACKNOWLEDGED);
    pass(&mut bench, 200);
    assert!(from_client(&mut bench, client(flag::ACK, 1005, 5005)), "the challenge of RFC 5961 3.2");
    assert_tracked(&mut bench, "ESTABLISHED", ESTABLISHED);
}

#[test]
fn a_reset_behind_data_that_nobody_acknowledged_closes_if_it_acknowledges_what_its_end_did() {
    use flag::*;
    for (flags, ack, seconds) in
        [(RST | ACK, 1001, 10), (RST | ACK, 0, UNACKNOWLEDGED), (RST, 0, UNACKNOWLEDGED)]
    {
        let mut bench = connected();
        assert!(from_server(&mut bench, server(PSH | ACK, 5001, 1001).payload("last words")));
        assert!(from_server(&mut bench, server(flags, 5011, ack)));
        pass(&mut bench, u64::from(seconds) + 1);
        assert_eq!(bench.command("conntrack -C").trim(), "0");
    }
}

#[test]
fn a_reset_by_older_numbers_passes_once_the_connection_is_over_and_changes_nothing() {
    use flag::*;
    let mut bench = connected();
    talk(&mut bench);
    assert!(!from_server(&mut bench, server(RST, 5001, 0)), "not before");
    assert!(from_client(&mut bench, client(RST | ACK, 1005, 5005)));
    assert_tracked(&mut bench, "CLOSE", 10);
    pass(&mut bench, 5);
    assert!(from_server(&mut bench, server(RST, 5001, 0)));
    assert_tracked(&mut bench, "CLOSE", 5);
    assert!(!from_server(&mut bench, server(RST, 5005 + (1 << 30), 0)), "nobody has sent that");
}

#[test]
fn every_state_is_left_by_a_timeout() {
    use flag::*;
    let opening = [(true, SYN, 1000, 0), (false, SYN | ACK, 5000, 1001), (true, ACK, 1001, 5001)];
    let closing = [
        (true, FIN | ACK, 1001, 5001),
        (false, ACK, 5001, 1002),
        (false, FIN | ACK, 5001, 1002),
        (true, ACK, 1002, 5002),
    ];
    let whole: Vec<_> = opening.into_iter().chain(closing).collect();
    let states = ["SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT"];
    let mut ways: Vec<(&str, Vec<_>)> =
        (0..whole.len()).map(|end| (states[end], whole[..=end].to_vec())).collect();
    ways.push(("SYN_SENT2", vec![opening[0], (false, SYN, 5000, 0)]));
    ways.push(("CLOSE", [&opening[..], &[(false, RST, 5001, 0)]].concat()));
    for (state, way) in ways {
        let mut bench = router();
        for (up, flags, seq, ack) in way {
            let passed = match up {
                true => from_client(&mut bench, client(flags, seq, ack)),
                false => from_server(&mut bench, server(flags, seq, ack)),
            };
            assert!(passed, "{state}");
        }
        let (name, seconds) = tracked(&mut bench);
        assert_eq!(name, state);
        pass(&mut bench, u64::from(seconds) + 1);
        assert_eq!(bench.command("conntrack -C").trim(), "0", "{state} after {seconds} s");
    }
}

#[test]
fn a_blind_syn_changes_nothing_and_the_challenge_passes() {
    let mut bench = connected();
    talk(&mut bench);
    pass(&mut bench, 100);
    assert!(from_client(&mut bench, client(flag::SYN, 123_456_789, 0)));
    assert_tracked(&mut bench, "ESTABLISHED", ESTABLISHED - 100);
    assert!(from_server(&mut bench, server(flag::ACK, 5005, 1005)), "the challenge of RFC 5961 4.2");
    assert!(from_client(&mut bench, client(flag::PSH | flag::ACK, 1005, 5005).payload("still here")));
    assert_tracked(&mut bench, "ESTABLISHED", ESTABLISHED);
    assert!(!from_server(&mut bench, server(flag::SYN, 123_456_789, 0)), "the answering end opens nothing");
    assert_tracked(&mut bench, "ESTABLISHED", ESTABLISHED);
}

#[test]
fn a_challenge_acknowledges_no_fin() {
    use flag::*;
    let mut bench = connected();
    from_client(&mut bench, client(FIN | ACK, 1001, 5001));
    from_server(&mut bench, server(FIN | ACK, 5001, 1002));
    assert_eq!(tracked(&mut bench).0, "LAST_ACK");
    assert!(from_client(&mut bench, client(SYN, 123_456_789, 0)));
    assert!(from_server(&mut bench, server(ACK, 5002, 1002)));
    assert_eq!(tracked(&mut bench).0, "LAST_ACK");
    assert!(from_client(&mut bench, client(ACK, 1002, 5002)));
    assert_eq!(tracked(&mut bench).0, "TIME_WAIT");
}

#[test]
fn an_end_that_has_forgotten_its_connection_opens_another_one_if_both_agree() {
    use flag::*;
    let mut bench = connected();
    talk(&mut bench);
    let (first, second) = (123_456_789, 987_654_321);
    assert!(from_client(&mut bench, client(SYN, first, 0).window_scale(7)));
    assert!(from_server(&mut bench, server(SYN | ACK, second, first + 1).window_scale(7)));
    assert_eq!(tracked(&mut bench).0, "SYN_RECV");
    assert!(from_client(&mut bench, client(ACK, first + 1, second + 1)));
    assert_tracked(&mut bench, "ESTABLISHED", ESTABLISHED);
    assert!(from_server(&mut bench, server(PSH | ACK, second + 1, first + 1).payload("hello again")));
    pass(&mut bench, 100);
    from_client(&mut bench, client(ACK, 1005, 5005));
    assert_tracked(&mut bench, "ESTABLISHED", ESTABLISHED - 100);
}

#[test]
fn an_old_connection_that_answers_a_syn_is_reset_before_the_new_one_opens() {
    use flag::*;
    let mut bench = router();
    assert!(from_client(&mut bench, client(SYN, 1000, 0)));
    assert!(from_server(&mut bench, server(ACK, 777_777, 888_888)), "a challenge from an older connection");
    assert!(from_client(&mut bench, client(RST, 888_888, 0)));
    assert_eq!(tracked(&mut bench).0, "SYN_SENT");
    assert!(!from_server(&mut bench, server(SYN | ACK, 777_777, 888_888)), "that answers another SYN");
    assert!(from_client(&mut bench, client(SYN, 1000, 0)));
    assert!(from_server(&mut bench, server(SYN | ACK, 5000, 1001)));
    assert!(from_client(&mut bench, client(ACK, 1001, 5001)));
    assert_tracked(&mut bench, "ESTABLISHED", ESTABLISHED);
}

#[test]
fn stray_data_refreshes_nothing() {
    use flag::*;
    for (seq, ack) in [
        (1001 + 70_000, 5001),
        (1001_u32.wrapping_sub(2_000_000), 5001),
        (1 << 31, 5001),
        (1001, 5001 + 70_000),
        (1001, 1 << 31),
    ] {
        let mut bench = Bench::network("");
        connect(&mut bench, CLIENT, WEB_SERVER);
        talk(&mut bench);
        pass(&mut bench, 1000);
        from_client(&mut bench, client(PSH | ACK, seq, ack).payload("stray"));
        from_client(&mut bench, client(FIN | ACK, seq, ack));
        assert_tracked(&mut bench, "ESTABLISHED", ESTABLISHED - 1000);
        assert!(from_client(&mut bench, client(PSH | ACK, 1005, 5005).payload("true")));
        assert_tracked(&mut bench, "ESTABLISHED", ESTABLISHED);
    }
}

#[test]
fn what_is_ahead_of_the_window_is_invalid_and_what_was_long_on_its_way_is_not() {
    let mut bench = connected();
    talk(&mut bench);
    assert!(!from_client(&mut bench, client(flag::ACK, 1005 + 70_000, 5005)));
    assert!(!from_client(&mut bench, client(flag::ACK, 1005, 5005 + 70_000)), "nobody has sent that");
    assert!(from_client(&mut bench, client(flag::ACK, 1005_u32.wrapping_sub(2_000_000), 5005)));
    bench.run("sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1");
    assert!(!from_server(&mut bench, server(flag::RST, 5005 + 70_000, 0)), "no freedom for resets");
    assert!(from_client(&mut bench, client(flag::ACK, 1005 + 70_000, 5005)));
    bench.run("sysctl -w net.netfilter.nf_conntrack_tcp_ignore_invalid_rst=1");
    assert!(from_server(&mut bench, server(flag::RST, 5004, 0)));
    assert_eq!(tracked(&mut bench).0, "ESTABLISHED");
}

#[test]
fn a_handshake_without_its_last_ack_establishes_nothing() {
    use flag::*;
    let mut bench = router();
    from_client(&mut bench, client(SYN, 1000, 0));
    assert!(!from_server(&mut bench, server(SYN | ACK, 5000, 1002 + 65_536)), "it answers another SYN");
    assert_eq!(tracked(&mut bench).0, "SYN_SENT");
    assert!(from_server(&mut bench, server(SYN | ACK, 5000, 1001)));
    for segment in [server(SYN | ACK, 5000, 1001), server(ACK, 5001, 1001), server(PSH | ACK, 5001, 1001)] {
        assert!(from_server(&mut bench, segment));
    }
    for stray in [client(ACK, 1001, 5001 + 70_000), client(ACK, 1001 + 70_000, 5001), client(ACK, 1001, 0)] {
        from_client(&mut bench, stray);
        assert_eq!(tracked(&mut bench).0, "SYN_RECV");
    }
    assert!(from_client(&mut bench, client(ACK, 1001, 5001)));
    assert_eq!(tracked(&mut bench).0, "ESTABLISHED");
}

/// The client sends `length` bytes in segments, each acknowledged, through a connection with these first numbers.
fn transfer(bench: &mut Bench, (first, second): (u32, u32), length: u32) {
    const SEGMENT: u32 = 1000;
    for sent in (0..length).step_by(SEGMENT as usize) {
        let next = first.wrapping_add(1).wrapping_add(sent);
        let data = client(flag::ACK, next, second.wrapping_add(1)).payload([1; SEGMENT as usize]);
        assert!(from_client(bench, data), "after {sent} bytes");
        let ack = server(flag::ACK, second.wrapping_add(1), next.wrapping_add(SEGMENT));
        assert!(from_server(bench, ack), "after {sent} bytes");
    }
}

fn open(bench: &mut Bench, (first, second): (u32, u32)) {
    use flag::*;
    assert!(from_client(bench, client(SYN, first, 0)));
    assert!(from_server(bench, server(SYN | ACK, second, first.wrapping_add(1))));
    assert!(from_client(bench, client(ACK, first.wrapping_add(1), second.wrapping_add(1))));
}

#[test]
fn numbers_go_round() {
    for numbers in [(u32::MAX - 100_000, 5000), (1000, u32::MAX), (0x7fff_0000, 0x7fff_ffff)] {
        let mut bench = router();
        open(&mut bench, numbers);
        transfer(&mut bench, numbers, 200_000);
        assert_tracked(&mut bench, "ESTABLISHED", ESTABLISHED);
        let last = numbers.0.wrapping_add(200_001);
        assert!(!from_client(&mut bench, client(flag::RST, last.wrapping_add(70_000), 0)));
        assert!(from_client(&mut bench, client(flag::RST, last, 0)));
        assert_eq!(tracked(&mut bench).0, "CLOSE");
    }
}

#[test]
fn a_window_is_as_wide_as_both_ends_have_agreed_to_scale_it() {
    use flag::*;
    const AHEAD: u32 = 1_000_000;
    for (offered, answered, wide) in [(true, true, true), (true, false, false), (false, false, false)] {
        let mut bench = router();
        let option = |segment: Datagram, on: bool| if on { segment.window_scale(7) } else { segment };
        from_client(&mut bench, option(client(SYN, 1000, 0), offered));
        from_server(&mut bench, option(server(SYN | ACK, 5000, 1001), answered));
        assert!(from_client(&mut bench, client(ACK, 1001, 5001).window(500)));
        let ahead = |window| client(PSH | ACK, 1001 + AHEAD, 5001).window(window).payload("x");
        assert!(!from_client(&mut bench, ahead(500)), "no window of this size was offered");
        from_server(&mut bench, server(ACK, 5001, 1001).window(20_000));
        assert_eq!(from_client(&mut bench, ahead(500)), wide);
    }
}

#[test]
fn frames_of_64_kib_take_the_short_way_and_count_with_all_that_they_hold() {
    const PAYLOAD: u32 = 60_000;
    let mut bench = Bench::with_abilities(
        [Abilities { checksum: true, tso4: true, ..Abilities::NONE }; 3],
        "iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP",
    );
    open(&mut bench, (1000, u32::MAX - 300_000));
    let segmentation = Segmentation {
        kind: SegmentationKind::Tcp4,
        ecn: false,
        size: NonZeroU16::new(1460).expect("not 0"),
    };
    let offload = Offload::Partial(Partial { start: 34, offset: 16, segmentation: Some(segmentation) });
    for frames in 0..10 {
        let sent = u32::MAX - 300_000 + 1;
        let next = sent.wrapping_add(frames * PAYLOAD);
        let frame = server(flag::ACK, next, 1001).payload(vec![1; PAYLOAD as usize]);
        let frame = Frame::ip(neighbor_mac(WAN, SERVER), router_mac(WAN), frame).bytes();
        let left = bench.inject_unfinished(WAN, &frame, offload, 1900);
        assert!(matches!(&left[..], [(LAN, _, _)]), "frame {frames}: {} left", left.len());
        assert!(from_client(&mut bench, client(flag::ACK, 1001, next.wrapping_add(PAYLOAD))));
    }
    assert_tracked(&mut bench, "ESTABLISHED", ESTABLISHED);
}

#[test]
fn a_connection_picked_up_in_its_middle_goes_on_whatever_its_windows_are() {
    use flag::*;
    for (seq, ack) in [(1 << 20, 1 << 30), (u32::MAX, 1), (0x7fff_ffff, 0x8000_0000)] {
        let mut bench = router();
        assert!(from_client(&mut bench, client(PSH | ACK, seq, ack).window(500).payload("x")));
        // The window may have been scaled by any number of bits.
        for ahead in [0, 1000, 500 << 14] {
            let data = server(PSH | ACK, ack.wrapping_add(ahead), seq.wrapping_add(1)).payload("y");
            assert!(from_server(&mut bench, data), "{ahead}");
        }
        assert!(from_client(&mut bench, client(ACK, seq.wrapping_add(1), ack.wrapping_add(1))));
        assert_tracked(&mut bench, "ESTABLISHED", ESTABLISHED);
        assert!(from_server(&mut bench, server(RST, ack.wrapping_add(1), 0)), "an exact reset");
        assert_eq!(tracked(&mut bench).0, "CLOSE");
    }
    let mut bench = router();
    bench.run("sysctl -w net.netfilter.nf_conntrack_tcp_loose=0");
    assert!(!from_client(&mut bench, client(ACK, 1, 1)));
}

#[test]
fn a_connection_of_which_one_direction_is_seen_goes_on() {
    let mut bench = router();
    for turn in 0..20 {
        let segment = client(flag::ACK, 300_000_000_u32.wrapping_mul(turn), 7 + turn * 1000).payload("x");
        assert!(from_client(&mut bench, segment), "{turn}");
    }
}

#[test]
fn only_the_refusal_of_this_very_syn_ends_an_attempt() {
    use flag::*;
    let mut bench = router();
    from_client(&mut bench, client(SYN, 1000, 0));
    assert!(!from_server(&mut bench, server(RST, 0, 0)));
    assert!(!from_server(&mut bench, server(RST | ACK, 0, 1000)));
    assert_eq!(tracked(&mut bench).0, "SYN_SENT");
    assert!(from_server(&mut bench, server(RST | ACK, 0, 1001)));
    assert_eq!(tracked(&mut bench).0, "CLOSE");
}
