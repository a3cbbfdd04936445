//! Commands typed at a console, and transcripts of iproute2 on Linux that must come out the same.

use super::*;
use crate::{
    config::PortInfo,
    exchange::Exchange,
    router::{Context, Limits, Router},
    test_support::{TestRandom, random},
};
use alloc::vec::Vec;

/// A router with two cards, its console, and a person at it.
pub struct Terminal {
    pub router: Router,
    pub now: Instant,
    pub machine: Machine,
    console: Console,
    exchange: Exchange,
    random: TestRandom,
}

/// A machine of 32 MiB that keeps what it was told.
#[derive(Default)]
pub struct Machine {
    pub power: Option<Power>,
    pub level: Option<u8>,
    pub cleared: bool,
}

impl Platform for Machine {
    fn memory(&self) -> (u64, u64) {
        (32 << 20, 10 << 20)
    }

    fn log_lines(&self, each: &mut dyn FnMut(Instant, u8, &str)) {
        each(Instant::from_micros(1_234_567), 6, "eth0: link up");
    }

    fn clear_log(&mut self) {
        self.cleared = true;
    }

    fn set_console_level(&mut self, level: u8) {
        self.level = Some(level);
    }

    fn power(&mut self, action: Power) {
        self.power = Some(action);
    }
}

impl Terminal {
    pub fn new() -> Self {
        let cards = [0x56, 0x57].map(|last| {
            let mac = smoltcp::wire::EthernetAddress([0x52, 0x54, 0x00, 0x12, 0x34, last]);
            PortInfo { mac, max_mtu: u16::MAX }
        });
        let mut random = random();
        let router = Router::new(&cards, &Limits::default(), &mut random);
        let mut console = Console::new(&router);
        assert_eq!(text(&console.output().drain(..).collect::<Vec<_>>()), "rutter# ");
        let exchange = Exchange::new(64, 2048);
        Self { router, now: Instant::from_secs(1), machine: Machine::default(), console, exchange, random }
    }

    /// Bytes from the terminal; gives what appears on it.
    pub fn press(&mut self, keys: &[u8]) -> String {
        let mut cx = Context { now: self.now, random: &mut self.random, exchange: &mut self.exchange };
        self.console.input(keys, &mut self.router, &mut self.machine, &mut cx);
        let mut shown = Vec::new();
        loop {
            self.console.poll(&mut self.router, &mut self.machine, &mut cx);
            self.router.poll(&mut cx);
            shown.extend(self.console.output().drain(..));
            if self.console.poll_at().is_none_or(|at| at > cx.now) {
                return text(&shown);
            }
        }
    }

    /// Types a line; gives what it prints.
    pub fn run(&mut self, line: &str) -> String {
        let shown = self.press(format!("{line}\r").as_bytes());
        let answer = shown.strip_prefix(&format!("{line}\n")).unwrap_or(&shown);
        let prompt = format!("{}# ", self.router.config().hostname);
        String::from(answer.strip_suffix(&prompt).unwrap_or(answer))
    }

    /// Types lines that print nothing.
    pub fn set(&mut self, lines: &str) {
        for line in lines.lines() {
            assert_eq!(self.run(line), "", "{line}");
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\r\n", "\n")
}

/// Runs a transcript: `$ COMMAND`, what it prints, and `[STATUS]` where that is not 0.
fn replay(transcript: &str) {
    let mut terminal = Terminal::new();
    // Without a buffer no ARP announcement leaves, so that the counters stay at zero.
    terminal.exchange = Exchange::new(0, 0);
    let mut differences = String::new();
    for entry in transcript.split("\n$ ") {
        let entry = entry.trim_start_matches("$ ");
        let (command, expected) = entry.split_once('\n').unwrap_or((entry, ""));
        // The transcripts are without empty lines.
        let mut printed: String =
            terminal.run(command).split_inclusive('\n').filter(|line| *line != "\n").collect();
        let status = terminal.run("echo $?");
        if status != "0\n" {
            printed += &format!("[{}]\n", status.trim_end());
        }
        if printed.trim_end_matches('\n') != expected.trim_end_matches('\n') {
            differences += &format!("$ {command}\n{printed}--- instead of\n{expected}\n\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn ip_link_prints_what_iproute2_prints() {
    replay(include_str!("fixtures/link.txt"));
}

#[test]
fn ip_addr_prints_what_iproute2_prints() {
    replay(include_str!("fixtures/address.txt"));
}

#[test]
fn ip_route_prints_what_iproute2_prints() {
    replay(include_str!("fixtures/route.txt"));
}

#[test]
fn ip_neigh_prints_what_iproute2_prints() {
    replay(include_str!("fixtures/neighbor.txt"));
}

#[test]
fn the_old_commands_print_what_net_tools_print() {
    replay(include_str!("fixtures/habit.txt"));
}

#[test]
fn sysctl_prints_what_procps_prints() {
    replay(include_str!("fixtures/sysctl.txt"));
}

#[test]
fn a_change_prints_nothing_and_an_error_one_line_with_its_status() {
    let mut terminal = Terminal::new();
    terminal.set("ip link set eth0 up\nsysctl -w net.ipv4.ip_forward=1\nhostname gw");
    assert_eq!(terminal.run("foo bar"), "foo: command not found\n");
    assert_eq!(terminal.run("echo $?"), "127\n");
    assert_eq!(terminal.run("echo $?"), "0\n");
    assert_eq!(
        terminal.run("ip link set eth9 up || echo no && echo yes; echo \"a  b\" 'c'"),
        "Cannot find device \"eth9\"\nno\nyes\na  b c\n"
    );
    assert_eq!(terminal.run("ip link set eth9 up 2>/dev/null"), "");
    assert_eq!(terminal.run("/sbin/ip -br link show lo >/dev/null; DEV=lo"), "");
    assert_eq!(
        terminal.run("ip -br link show $DEV # comment"),
        "lo               UNKNOWN        00:00:00:00:00:00 <LOOPBACK,UP,LOWER_UP> \n"
    );
    assert_eq!(terminal.run("ip a | grep x"), "syntax error near unexpected token `|'\n");
}

#[test]
fn lines_are_carried_on_and_given_up() {
    let mut terminal = Terminal::new();
    assert_eq!(terminal.press(b"echo 'a\r"), "echo 'a\n> ");
    assert_eq!(terminal.press(b"b'\r"), "b'\na\nb\nrutter# ");
    assert_eq!(terminal.press(b"echo \\\rx\r"), "echo \\\n> x\nx\nrutter# ");
    assert_eq!(terminal.press(b"echo 'a\r\x03"), "echo 'a\n> ^C\nrutter# ");
    assert_eq!(terminal.run("echo $?"), "130\n");
    assert_eq!(terminal.press(b"abc\x03"), "abc^C\nrutter# ");
}

#[test]
fn a_long_line_is_refused_whole() {
    let mut terminal = Terminal::new();
    let long = format!("hostname {}", "x".repeat(5000));
    assert!(terminal.run(&long).ends_with("the line is longer than 4096 bytes\n"));
    assert_eq!(terminal.run("echo $?"), "1\n");
    assert_eq!(terminal.router.config().hostname, "rutter");
}

#[test]
fn a_paste_of_any_size_loses_nothing_while_lines_execute() {
    let mut terminal = Terminal::new();
    let mut paste = String::new();
    for number in 0..2000 {
        paste += &format!("ip route add blackhole 10.{}.{}.0/24\n", number / 256, number % 256);
    }
    for chunk in paste.as_bytes().chunks(64) {
        terminal.press(chunk);
    }
    assert_eq!(terminal.router.config().routes.len(), 2000);
}

#[test]
fn what_is_typed_too_fast_is_counted_and_memory_stays_bounded() {
    let mut terminal = Terminal::new();
    let mut cx =
        Context { now: terminal.now, random: &mut terminal.random, exchange: &mut terminal.exchange };
    for _ in 0..100 {
        let console = &mut terminal.console;
        console.input(&b"help\r".repeat(800), &mut terminal.router, &mut terminal.machine, &mut cx);
        assert!(console.output().len() < 64 << 10);
    }
    assert_eq!(terminal.console.room(), 0);
    terminal.console.output().clear();
    let shown = terminal.press(b"\x03");
    assert!(shown.contains("typed too fast"), "{shown}");
}

#[test]
fn a_message_leaves_the_line_whole() {
    let mut terminal = Terminal::new();
    terminal.press(b"ip ro");
    terminal.console.message("eth0: link up");
    assert_eq!(
        text(&terminal.console.output().drain(..).collect::<Vec<_>>()),
        "\r\x1b[Keth0: link up\n\rrutter# ip ro\x1b[K"
    );
}

#[test]
fn a_long_listing_goes_on_when_there_is_room() {
    let mut terminal = Terminal::new();
    let routes: String = (0..10_000)
        .map(|number| format!("ip route add blackhole 10.{}.{}.0/24\n", number / 256, number % 256))
        .collect();
    load(&mut terminal.router, &routes).unwrap();
    let mut cx =
        Context { now: terminal.now, random: &mut terminal.random, exchange: &mut terminal.exchange };
    let console = &mut terminal.console;
    console.input(b"ip route\r", &mut terminal.router, &mut terminal.machine, &mut cx);
    let mut lines = 0;
    loop {
        console.poll(&mut terminal.router, &mut terminal.machine, &mut cx);
        assert!(console.output().len() < 32 << 10);
        if console.output().is_empty() {
            break;
        }
        lines += console.output().drain(..).filter(|&byte| byte == b'\n').count();
    }
    assert_eq!(lines, 10_001);
    console.input(b"ip route\rhostname x\r", &mut terminal.router, &mut terminal.machine, &mut cx);
    console.input(b"\x03", &mut terminal.router, &mut terminal.machine, &mut cx);
    let shown = text(&console.output().drain(..).collect::<Vec<_>>());
    assert!(shown.ends_with("^C\nrutter# "), "{}", &shown[shown.len() - 100..]);
}

#[test]
fn tab_completes_and_offers() {
    let mut terminal = Terminal::new();
    assert_eq!(terminal.press(b"upt\t\r"), "uptime \n up 1 sec\nrutter# ");
    assert_eq!(terminal.press(b"ip \t"), "ip \naddress  link     neigh    route\n\rrutter# ip \x1b[K");
}

#[test]
fn the_machine_is_asked() {
    let mut terminal = Terminal::new();
    assert_eq!(terminal.run("dmesg -c"), "[    1.234567] eth0: link up\n");
    assert!(terminal.machine.cleared);
    terminal.set("dmesg -n 7");
    assert_eq!(terminal.machine.level, Some(7));
    assert_eq!(
        terminal.run("free"),
        "               total        used        free\nMem:           32768       10240       22528\n"
    );
    assert_eq!(terminal.run("uname -a"), format!("rutter rutter {} x86_64\n", env!("CARGO_PKG_VERSION")));
    terminal.set("poweroff");
    assert_eq!(terminal.machine.power, Some(Power::Off));
    terminal.set("reboot");
    assert_eq!(terminal.machine.power, Some(Power::Reboot));
    assert_eq!(terminal.run("history | x"), "syntax error near unexpected token `|'\n");
    assert!(terminal.run("history").starts_with("    1  dmesg -c\n    2  dmesg -n 7\n"));
}

#[test]
fn every_command_has_help() {
    let mut terminal = Terminal::new();
    let all = terminal.run("help");
    for command in COMMANDS {
        assert!(all.contains(command.name));
        let help = terminal.run(&format!("help {}", command.name));
        assert!(help.starts_with(command.summary) && help.to_lowercase().contains("\nusage: "), "{help}");
    }
    assert_eq!(terminal.run("help foo"), "help: no help topics match `foo'\n");
}
