//! `tcpdump` on the console: what comes in as it came, what leaves as it leaves, and no more than there is memory for.

use crate::{gateway, query};
use netstack::{
    command::Console,
    offload::{Abilities, Offload, Partial, Segmentation, SegmentationKind},
};
use std::num::NonZeroU16;
use tests::{bench::Bench, datagram::*, frame::Frame, network::*};

/// A console at which a command was typed.
struct Terminal {
    bench: Bench,
    console: Console,
}

impl Terminal {
    fn new(bench: Bench, line: &str) -> Self {
        let console = Console::new(&bench.router);
        let mut terminal = Self { bench, console };
        terminal.press(format!("{line}\r").as_bytes());
        terminal
    }

    /// What is printed since the last call.
    fn press(&mut self, keys: &[u8]) -> String {
        let shown = self.bench.press(&mut self.console, keys);
        String::from_utf8_lossy(&shown).replace('\r', "")
    }

    fn read(&mut self) -> String {
        self.press(b"")
    }

    /// What Ctrl-C prints, but for the prompt.
    fn end(&mut self) -> String {
        let shown = self.press(b"\x03");
        shown.trim_end_matches("rutter# ").to_string()
    }
}

#[test]
fn a_translated_packet_is_seen_before_and_after() {
    let mut terminal = Terminal::new(gateway(), "tcpdump -n -t -i any port 53");
    terminal.bench.send(LAN, query());
    terminal.bench.send(LAN, udp((ALICE, 40000), (SERVER, 54)));
    assert_eq!(
        terminal.read(),
        "eth0  In  IP 192.168.1.10.40000 > 198.51.100.7.53: UDP, length 10\n\
         eth1  Out IP 203.0.113.2.40000 > 198.51.100.7.53: UDP, length 10\n"
    );
    assert_eq!(
        terminal.end(),
        "^C\n2 packets captured\n2 packets received by filter\n0 packets dropped by kernel\n"
    );
    terminal.bench.send(LAN, query());
    assert_eq!(terminal.read(), "", "it has ended");
}

#[test]
fn both_ways_are_seen_also_of_packets_that_take_the_short_way() {
    let mut terminal = Terminal::new(gateway(), "tcpdump -n -t -i eth1");
    for _ in 0..4 {
        terminal.bench.send(LAN, query());
        terminal.bench.send(WAN, udp((SERVER, 53), (WAN_SIDE, 40000)).payload(b"1234"));
    }
    assert!(terminal.bench.router.statistics().fast > 0);
    let round = "IP 203.0.113.2.40000 > 198.51.100.7.53: UDP, length 10\n\
                 IP 198.51.100.7.53 > 203.0.113.2.40000: UDP, length 4\n";
    assert_eq!(terminal.read(), round.repeat(4));
}

#[test]
fn what_the_router_answers_and_what_it_drops_are_seen() {
    let mut terminal = Terminal::new(gateway(), "tcpdump -nt -i eth1");
    terminal.bench.send(WAN, echo((SERVER, 7), WAN_SIDE).payload(b""));
    terminal.bench.send(WAN, udp((SERVER, 53), (ALICE, 9)).ttl(1));
    let printed = terminal.read();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        lines,
        [
            "IP 198.51.100.7 > 203.0.113.2: ICMP echo request, id 7, seq 1, length 8",
            "IP 203.0.113.2 > 198.51.100.7: ICMP echo reply, id 7, seq 1, length 8",
            "IP 198.51.100.7.53 > 192.168.1.10.9: UDP, length 0",
            "IP 203.0.113.2 > 198.51.100.7: ICMP time exceeded in-transit, length 36",
        ]
    );
}

#[test]
fn it_ends_after_so_many_packets() {
    let mut terminal = Terminal::new(gateway(), "tcpdump -n -t -c 1 -i eth0");
    terminal.bench.send(LAN, query());
    terminal.bench.send(LAN, query());
    let printed = terminal.read();
    assert!(
        printed.starts_with("IP 192.168.1.10.40000 > 198.51.100.7.53: UDP, length 10\n1 packet captured\n")
    );
    assert!(printed.ends_with("rutter# "), "{printed}");
    assert!(!terminal.bench.router.taps().are_open());
}

#[test]
fn what_there_is_no_memory_for_is_counted_and_harms_no_packet() {
    let mut terminal = Terminal::new(gateway(), "tcpdump -n -t -i eth0 udp");
    let large = query().payload([0; 1400]);
    for _ in 0..1000 {
        assert_eq!(terminal.bench.send(LAN, large.clone()).len(), 1);
    }
    let lines = terminal.read().lines().count();
    assert!((100..1000).contains(&lines), "{lines}");
    let lost = 1000 - lines;
    assert!(terminal.end().contains(&format!("\n{lost} packets dropped by kernel\n")));
}

#[test]
fn a_frame_that_is_yet_to_be_cut_is_one_packet() {
    let bench = Bench::with_abilities([Abilities::ALL; 3], "");
    let mut terminal = Terminal::new(bench, "tcpdump -n -t -v -i any");
    let packet = tcp((ALICE, 40000), (SERVER, 80), flag::ACK).numbers(1, 1).payload([7; 4000]);
    let frame = Frame::ip(neighbor_mac(LAN, ALICE), router_mac(LAN), packet).bytes();
    let size = NonZeroU16::new(1400).unwrap();
    let segmentation = Some(Segmentation { kind: SegmentationKind::Tcp4, ecn: false, size });
    let offload = Offload::Partial(Partial { start: 34, offset: 16, segmentation });
    terminal.bench.inject_unfinished(LAN, &frame, offload, 1900);
    let printed = terminal.read();
    let seen = printed.lines().filter(|line| line.ends_with(", length 4000")).collect::<Vec<_>>();
    assert_eq!(seen.len(), 2, "{printed}");
    assert!(seen[0].contains("(partial), seq 1:4001, ack 1"), "{printed}");
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    for (command, error) in [
        ("tcpdump -i eth9", "tcpdump: eth9: No such device exists"),
        ("tcpdump -Z", "tcpdump: invalid option -- 'Z'"),
        ("tcpdump -c", "tcpdump: option requires an argument -- 'c'"),
        ("tcpdump -nc0", "tcpdump: invalid packet count 0"),
        ("tcpdump -s x", "tcpdump: invalid snaplen x (must be >= 0 and <= 262144)"),
        ("tcpdump host", "tcpdump: can't parse filter expression: syntax error"),
        ("tcpdump -n 'port 80 and (host nowhere)'", "tcpdump: unknown host 'nowhere'"),
    ] {
        let mut bench = gateway();
        assert_eq!(bench.command(command), error, "{command}");
        assert!(!bench.router.taps().are_open());
    }
}
