//! The packetdrill scripts of Linux's connection tracking: segments that a tracker once took for something else. Each runs with and
//! without a translation of the client's address (RFC 9293 3.10.7, RFC 5961).

use crate::{Scenario, router::Router, scenarios};
use tests::{datagram::*, network::*};

pub const SCENARIOS: &[Scenario] = scenarios![
    what_was_acknowledged_already_is_valid,
    a_late_reset_is_valid_once_the_connection_is_over,
    resets_out_of_window_are_invalid_and_change_nothing,
    a_challenge_to_a_syn_ends_the_older_connection_and_the_new_one_opens,
    the_answer_to_an_older_syn_is_invalid_and_the_right_one_opens,
    a_syn_amid_a_connection_is_challenged_and_opens_anew_after_the_reset,
];

const CLIENT: Endpoint = (ALICE, 40000);
const HOST: Endpoint = (SERVER, 8080);
/// Where each end's numbers begin.
const OURS: u32 = 1000;
const THEIRS: u32 = 5000;

/// A client and a server with the router between them, which drops and counts what is INVALID.
struct Talk<'r> {
    router: &'r mut Router,
    /// The client as the server sees it.
    outside: Endpoint,
}

impl Talk<'_> {
    fn pass_up(&mut self, segment: Datagram) -> bool {
        let left = self.router.send(LAN, &segment.from(CLIENT).to(HOST));
        assert!(left.iter().all(|(port, left)| *port == WAN && left.source() == self.outside), "{left:?}");
        !left.is_empty()
    }

    fn pass_down(&mut self, segment: Datagram) -> bool {
        let left = self.router.send(WAN, &segment.from(HOST).to(self.outside));
        assert!(left.iter().all(|(port, left)| *port == LAN && left.destination() == CLIENT), "{left:?}");
        !left.is_empty()
    }

    /// The client's number 1 is that behind its SYN, and so is the server's.
    fn client(&mut self, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> bool {
        self.pass_up(segment(flags, OURS + seq, THEIRS + ack, payload))
    }

    fn server(&mut self, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> bool {
        self.pass_down(segment(flags, THEIRS + seq, OURS + ack, payload))
    }

    #[track_caller]
    fn open(&mut self) {
        assert!(self.client(flag::SYN, 0, 0, b""));
        assert!(self.server(flag::SYN | flag::ACK, 0, 1, b""));
        assert!(self.client(flag::ACK, 1, 1, b""));
        self.assert_state("ESTABLISHED");
    }

    #[track_caller]
    fn assert_state(&mut self, state: &str) {
        let tracked = self.router.tracked("-p tcp");
        assert!(
            matches!(&tracked[..], [one] if one.contains(&format!(" {state} "))),
            "{state}, not {tracked:?}"
        );
    }

    #[track_caller]
    fn assert_invalid(&mut self, packets: u64) {
        assert_eq!(self.router.counted("--ctstate INVALID"), packets, "INVALID packets");
    }
}

fn segment(flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Datagram {
    let ack = if flags & flag::ACK == 0 { 0 } else { ack };
    tcp(CLIENT, HOST, flags).numbers(seq, ack).payload(payload)
}

/// Tells the story without a translation, and with one.
fn twice(router: &mut Router, story: fn(&mut Talk<'_>)) {
    for (rules, outside) in [("", CLIENT), (MASQUERADE, (WAN_SIDE, CLIENT.1))] {
        router.forget();
        router.run(rules);
        router.run("iptables -t mangle -A PREROUTING -p tcp -m conntrack --ctstate INVALID -j DROP");
        story(&mut Talk { router: &mut *router, outside });
    }
}

/// conntrack_ack_loss_stall: the acknowledgment was lost behind the router, and the data comes again.
fn what_was_acknowledged_already_is_valid(router: &mut Router) {
    use flag::*;
    const LENGTH: u32 = 1400;
    twice(router, |talk| {
        talk.open();
        let data = [7; LENGTH as usize];
        for part in 0..46 {
            let seq = 1 + part * LENGTH;
            assert!(talk.client(PSH | ACK, seq, 1, &data));
            assert!(talk.server(ACK, 1, seq + LENGTH, b""));
        }
        assert!(talk.client(PSH | ACK, 1, 1, &data), "the first segment, 64,400 bytes ago");
        talk.assert_invalid(0);
    });
}

/// conntrack_inexact_rst: the server knows nothing of the connection any more when the client's last words arrive, and its reset has
/// a number from before its FIN.
fn a_late_reset_is_valid_once_the_connection_is_over(router: &mut Router) {
    use flag::*;
    twice(router, |talk| {
        talk.open();
        for part in 0..3 {
            assert!(talk.server(ACK, 1 + part * 1000, 1, &[9; 1000]));
            assert!(talk.client(ACK, 1, 1001 + part * 1000, b""));
        }
        assert!(talk.client(PSH | ACK, 1, 3001, &[8; 1000]));
        assert!(talk.server(FIN | ACK, 3001, 1001, b""));
        assert!(talk.client(ACK, 1001, 3002, b""));
        talk.assert_state("CLOSE_WAIT");
        assert!(talk.client(RST | ACK, 1001, 3002, b""), "the client closes with unread data");
        talk.assert_state("CLOSE");
        assert!(talk.pass_down(segment(RST, THEIRS + 2001, 0, b"")), "a number from before");
        talk.assert_state("CLOSE");
        talk.assert_invalid(0);
    });
}

/// conntrack_rst_invalid.
fn resets_out_of_window_are_invalid_and_change_nothing(router: &mut Router) {
    use flag::*;
    twice(router, |talk| {
        talk.open();
        for part in 0..3 {
            assert!(talk.server(ACK, 1 + part * 1000, 1, &[9; 1000]));
            assert!(talk.client(ACK, 1, 1001 + part * 1000, b""));
        }
        for seq in [0, 1_000_000, 42] {
            assert!(!talk.pass_down(segment(RST, THEIRS + seq, 0, b"")), "{seq}");
            talk.assert_state("ESTABLISHED");
        }
        assert!(talk.client(PSH | ACK, 1, 3001, &[8; 1000]));
        assert!(talk.server(ACK, 3001, 1001, b""));
        assert!(!talk.server(RST | ACK, 3000, 1001, b""), "one less than expected");
        talk.assert_state("ESTABLISHED");
        talk.assert_invalid(4);
        assert!(talk.server(RST | ACK, 3001, 1001, b""), "the very number");
        talk.assert_state("CLOSE");
        talk.assert_invalid(4);
    });
}

/// conntrack_syn_challenge_ack: the server still has an older connection with the same ports.
fn a_challenge_to_a_syn_ends_the_older_connection_and_the_new_one_opens(router: &mut Router) {
    use flag::*;
    twice(router, |talk| {
        let syn = || segment(SYN, OURS, 0, b"").window_scale(8);
        assert!(talk.pass_up(syn()));
        assert!(talk.pass_down(segment(ACK, 145_824_453, 643_160_523, b"").window(240)));
        assert!(talk.pass_up(segment(RST, 643_160_523, 0, b"").window(0)));
        talk.assert_state("SYN_SENT");
        assert!(talk.pass_up(syn()));
        assert!(talk.pass_down(segment(SYN | ACK, 0, OURS + 1, b"").window(250).window_scale(0)));
        assert!(talk.pass_up(segment(ACK, OURS + 1, 1, b"").window(256)));
        talk.assert_state("ESTABLISHED");
        assert!(talk.router.tracked("-p tcp")[0].contains("[ASSURED]"));
        talk.assert_invalid(0);
    });
}

/// conntrack_synack_old.
fn the_answer_to_an_older_syn_is_invalid_and_the_right_one_opens(router: &mut Router) {
    use flag::*;
    twice(router, |talk| {
        let syn = || segment(SYN, OURS, 0, b"").window_scale(8);
        let answer = |seq, ack| segment(SYN | ACK, seq, ack, b"").window(250).window_scale(0);
        assert!(talk.pass_up(syn()));
        assert!(!talk.pass_down(answer(145_824_453, 643_160_523)), "that answers another SYN");
        assert!(talk.pass_up(syn()));
        talk.assert_state("SYN_SENT");
        assert!(talk.router.tracked("-p tcp")[0].contains("[UNREPLIED]"));
        assert!(talk.pass_down(answer(145_758_918, OURS + 1)));
        assert!(talk.pass_up(segment(PSH | ACK, OURS + 1, 145_758_919, b"x").window(256)));
        talk.assert_state("ESTABLISHED");
        assert!(talk.router.tracked("-p tcp")[0].contains("[ASSURED]"));
        talk.assert_invalid(1);
    });
}

/// conntrack_synack_reuse: the client has forgotten the connection.
fn a_syn_amid_a_connection_is_challenged_and_opens_anew_after_the_reset(router: &mut Router) {
    use flag::*;
    twice(router, |talk| {
        talk.open();
        assert!(talk.client(PSH | ACK, 1, 1, &[8; 100]));
        assert!(talk.server(ACK, 1, 101, b""));
        assert!(talk.client(SYN, 2000, 0, b""));
        assert!(talk.server(ACK, 1, 101, b""), "the challenge");
        talk.assert_state("ESTABLISHED");
        assert!(talk.client(RST | ACK, 101, 1, b""));
        talk.assert_state("CLOSE");
        assert!(talk.client(SYN, 2000, 0, b""));
        assert!(talk.pass_down(segment(SYN | ACK, 777_777, OURS + 2001, b"")));
        talk.assert_state("SYN_RECV");
        talk.assert_invalid(0);
    });
}
