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

    fn card_address(&self, port: PortId) -> String {
        format!("0000:00:{:02x}.0", port.0)
    }

    fn card_counters(&self, port: PortId, each: &mut dyn FnMut(&str, u64)) {
        each("rx_kicks", port.0.into());
        each("tx_kicks", 2);
    }

    fn power(&mut self, action: Power) {
        self.power = Some(action);
    }
}

impl Terminal {
    pub fn new() -> Self {
        let cards = [0x56, 0x57].map(|last| {
            let mac = smoltcp::wire::EthernetAddress([0x52, 0x54, 0x00, 0x12, 0x34, last]);
            PortInfo::new(mac, u16::MAX)
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
fn ip_route_prints_metrics_as_iproute2_does() {
    replay(include_str!("fixtures/route_metrics.txt"));
}

#[test]
fn ip_route_prints_tables_as_iproute2_does() {
    replay(include_str!("fixtures/route_tables.txt"));
}

#[test]
fn ip_route_prints_several_next_hops_as_iproute2_does() {
    replay(include_str!("fixtures/route_multipath.txt"));
}

#[test]
fn ip_rule_prints_what_iproute2_prints() {
    replay(include_str!("fixtures/rule.txt"));
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
    assert_eq!(
        terminal.press(b"ip \t"),
        "ip \naddress  link     neigh    route    rule\n\rrutter# ip \x1b[K"
    );
}

#[test]
fn the_machine_is_asked() {
    let mut terminal = Terminal::new();
    assert_eq!(terminal.run("dmesg -c"), "[    1.234567] eth0: link up\n");
    assert!(terminal.machine.cleared);
    terminal.set("dmesg -n 7");
    assert_eq!(terminal.machine.level, Some(7));
    let _in_use = terminal.exchange.allocate();
    assert_eq!(
        terminal.run("free"),
        "               total        used        free\n\
         Mem:           32768       10240       22528\n\
         Frames:           64           1          63\n"
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

const GATEWAY: &str = include_str!("../../../tests/data/home-gateway.sh");

#[test]
fn the_home_gateway_script_loads_and_runs_line_by_line_alike() {
    let mut loaded = Terminal::new();
    load(&mut loaded.router, GATEWAY).unwrap();
    let mut typed = Terminal::new();
    for line in GATEWAY.lines() {
        assert_eq!(typed.run(line), "", "{line}");
    }
    assert_eq!(loaded.router.config(), typed.router.config());
    assert_eq!(loaded.router.config().tables.filter.chains[1].rules.len(), 5);
}

#[test]
fn the_built_in_configuration_fits_every_number_of_cards() {
    for cards in 0..4 {
        let ports: Vec<PortInfo> =
            (0..cards).map(|last| PortInfo::new(crate::test_support::mac(last as u8), 1500)).collect();
        let mut router = Router::new(&ports, &Limits::default(), &mut random());
        load(&mut router, &default_configuration(cards)).unwrap();
        let config = router.config();
        assert_eq!(config.routes.len(), [0, 1, 3, 3][cards]);
        assert!(config.sysctl.ip_forward && config.tables.filter.chains[0].rules.len() >= 3);
    }
    assert_eq!(default_configuration(2), DEFAULT_CONFIGURATION);
}

#[test]
fn what_config_show_prints_makes_the_same_configuration() {
    let mut state = 1u64;
    let mut dice = move |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    let mut changes = 0;
    for _ in 0..60 {
        let mut terminal = Terminal::new();
        load(&mut terminal.router, ["", DEFAULT_CONFIGURATION, GATEWAY][dice(3) as usize]).unwrap();
        for _ in 0..40 {
            let line = any_command(&mut dice);
            let shown = terminal.run(&line);
            changes += usize::from(shown.is_empty());
        }
        let shown = terminal.run("config show");
        let mut again = Terminal::new();
        if let Err(error) = load(&mut again.router, &shown) {
            panic!("{error:?}\n{shown}");
        }
        assert_eq!(terminal.router.config(), again.router.config(), "{shown}");
        let mut pasted = Terminal::new();
        pasted.press(shown.as_bytes());
        assert_eq!(terminal.router.config(), pasted.router.config(), "{shown}");
        assert_eq!(again.run("config show"), shown);
    }
    assert!(changes > 600, "only {changes} commands changed anything");
}

/// Some command about two interfaces and a handful of networks, which often belong together.
fn any_command(dice: &mut impl FnMut(u64) -> u64) -> String {
    let device = ["eth0", "eth1", "lo"][dice(9).min(2) as usize % 3];
    let address = format!("10.{}.0.{}", dice(3), dice(4) + 1);
    let length = [24, 24, 16, 31, 32][dice(5) as usize];
    let verb = ["add", "add", "replace", "append", "del"][dice(5) as usize];
    let metric = ["", "", " metric 7"][dice(3) as usize];
    let network = ["10.0.0.0/24", "10.1.0.0/24", "172.16.0.0/12", "default", "192.0.2.1"][dice(5) as usize];
    match dice(20) {
        0..3 => format!("ip addr add {address}/{length} dev {device}"),
        3 => format!("ip addr add {address}/{length} broadcast + scope link label web dev {device}"),
        4 => format!("ip addr del {address}/{length} dev {device}"),
        5 => format!("ip link set {device} {}", ["up", "up", "down"][dice(3) as usize]),
        6 => format!("ip link set {device} mtu {} alias \"it's {}\"", 1400 + dice(9), dice(9)),
        7 => format!("ip link set {device} address 02:00:00:00:00:0{}", dice(9)),
        8..10 => {
            let path = ["", "", " mtu 1400", " mtu lock 1300 advmss 1200"][dice(4) as usize];
            format!("ip route {verb} {network} via {address}{metric}{path}")
        }
        10 => format!("ip route {verb} {network} dev {device}{metric} src {address}"),
        11 => format!("ip route {verb} {network} via {address} dev {device} onlink proto static"),
        12 => {
            format!("ip route {verb} {}{network}{metric}", ["blackhole ", "prohibit ", ""][dice(3) as usize])
        }
        16 => format!(
            "ip route {verb} {network} via {address}{metric} table {}",
            ["100", "default"][dice(2) as usize]
        ),
        17 | 18 => {
            let other = format!("10.{}.0.{}", dice(3), dice(4) + 1);
            let table = ["", "", " table 100"][dice(3) as usize];
            let onlink = ["", " onlink"][dice(2) as usize];
            format!(
                "ip route {verb} {network}{metric}{table} nexthop via {address} dev eth0{onlink} weight {} \
                 nexthop via {other} dev eth1{onlink}",
                dice(3) + 1
            )
        }
        19 => {
            let verb = ["add", "add", "del"][dice(3) as usize];
            let not = ["", "not "][dice(2) as usize];
            let selector =
                ["", "to 10.9.0.0/16 ", "fwmark 7 ", "fwmark 0x10/0xf0 ", "iif lo "][dice(5) as usize];
            let action = ["lookup 100", "blackhole", "lookup main suppress_prefixlength 0"][dice(3) as usize];
            let priority = ["", " pref 100", " pref 32766", " pref 40000"][dice(4) as usize];
            format!("ip rule {verb} {not}from {address} {selector}{action}{priority}")
        }
        13 => format!("ip neigh replace {address} lladdr 02:00:00:00:01:0{} dev {device}", dice(9)),
        14 => format!(
            "sysctl -w net.ipv4.conf.{device}.{}={}",
            ["forwarding", "log_martians", "rp_filter"][dice(3) as usize],
            dice(2)
        ),
        _ => [
            "sysctl -w net.ipv4.ip_forward=0",
            "sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"",
            "sysctl -w net.netfilter.nf_conntrack_udp_timeout=33",
            "sysctl -w net.ipv4.icmp_ratemask=0 net.ipv4.conf.all.send_redirects=0",
            "hostname gw",
            "ip route flush proto kernel",
            "ip rule flush",
            "ip rule del priority 32766",
            "ip rule add lookup main priority 32766",
            "iptables -A FORWARD -p tcp --dport 80 -m comment --comment \"a 'b' $ c\" -j DROP",
        ][dice(10) as usize]
            .into(),
    }
}

#[test]
fn ping_counts_what_comes_back_and_ctrl_c_ends_it() {
    let mut terminal = Terminal::new();
    assert_eq!(terminal.run("ping -c 1 10.9.9.9"), "ping: connect: Network is unreachable\n");
    assert_eq!(terminal.run("ping"), "ping: usage error: Destination address required\n");
    assert_eq!(terminal.run("ping -c x 127.0.0.1"), "ping: invalid argument: 'x'\n");
    assert_eq!(terminal.run("ping example.org"), "ping: example.org: Temporary failure in name resolution\n");
    terminal.set("ip addr add 192.0.2.1/24 dev eth0\nip link set eth0 up");
    terminal.press(b"ping -c 1 192.0.2.1\r");
    assert_eq!(
        terminal.press(b""),
        "64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0.000 ms\n\n\
         --- 192.0.2.1 ping statistics ---\n\
         1 packets transmitted, 1 received, 0% packet loss, time 0ms\n\
         rtt min/avg/max/mdev = 0.000/0.000/0.000/0.000 ms\nrutter# "
    );
    // Nobody answers ARP: after three seconds the router tells itself so.
    let mut shown = terminal.press(b"ping 192.0.2.9\r");
    for _ in 0..50 {
        terminal.now += smoltcp::time::Duration::from_millis(100);
        shown += &terminal.press(b"");
    }
    assert!(shown.contains("From 192.0.2.1 icmp_seq=1 Destination Host Unreachable\n"), "{shown}");
    let end = terminal.press(b"\x03");
    assert!(end.starts_with("^C\n--- 192.0.2.9 ping statistics ---\n"), "{end}");
    assert!(end.contains(" packets transmitted, 0 received, +") && end.ends_with("rutter# "), "{end}");
    assert_eq!(terminal.run("echo $?"), "130\n");
}

#[test]
fn traceroute_shows_the_routers_on_the_way() {
    let mut terminal = Terminal::new();
    terminal
        .set("ip addr add 192.0.2.1/24 dev eth0\nip link set eth0 up\nip route add default via 192.0.2.2");
    let here = terminal.run("traceroute -n 192.0.2.1") + &terminal.press(b"");
    assert_eq!(
        here,
        "traceroute to 192.0.2.1 (192.0.2.1), 30 hops max, 60 byte packets\n \
         1  192.0.2.1  0.000 ms  0.000 ms  0.000 ms\nrutter# "
    );
    let mut shown = terminal.press(b"traceroute -n -q 2 -m 2 -w 1 198.51.100.1\r");
    for _ in 0..60 {
        terminal.now += smoltcp::time::Duration::from_millis(100);
        shown += &terminal.press(b"");
    }
    assert!(shown.contains("2 hops max") && shown.contains("\n 1  * *\n 2  * *\nrutter# "), "{shown}");
}

#[test]
fn explain_describes_the_packet_that_was_asked_for() {
    let mut terminal = Terminal::new();
    load(&mut terminal.router, DEFAULT_CONFIGURATION).unwrap();
    let told =
        terminal.run("explain in eth0 tcp 192.168.1.9:40000 203.0.113.1:80 ttl 9 mac 02:00:00:00:00:05");
    assert!(told.contains("192.168.1.9:40000 > 203.0.113.1:80") && told.contains("eth1"), "{told}");
    let told = terminal.run("explain in eth1 icmp 198.51.100.7 10.0.2.15 echo-request id 5");
    assert!(told.contains("DELIVER"), "{told}");
    let told = terminal.run("explain in eth1 udp 198.51.100.7:1 10.0.2.15:53");
    assert!(told.contains("DROP firewall-policy"), "{told}");
    for (line, message) in [
        ("explain", "explain: `in DEVICE` or `out` is missing\n"),
        ("explain in eth9 tcp", "Cannot find device \"eth9\"\n"),
        ("explain in eth0 foo", "explain: unexpected argument 'foo'\n"),
        ("explain in eth0 tcp 1.2.3.4 5.6.7.8:1", "explain: the port of 1.2.3.4 is missing\n"),
        ("explain in eth0 udp 1.2.3.4:1 5.6.7.8:1 syn", "explain: unexpected argument 'syn'\n"),
        ("explain in eth0 udp 1.2.3.4:1 5.6.7.8:1 ttl", "explain: what follows 'ttl' is missing\n"),
        ("explain out tcp 1.2.3.4:1 5.6.7.8:65536", "explain: unexpected argument '65536'\n"),
    ] {
        assert_eq!(terminal.run(line), message);
    }
}

#[test]
fn rules_are_pasted_until_ctrl_d_or_a_word() {
    let mut terminal = Terminal::new();
    terminal.press(b"iptables-restore\r*filter\r:FORWARD DROP [0:0]\rCOMMIT\r");
    assert_eq!(terminal.press(b"\x04"), "rutter# ");
    assert_eq!(terminal.run("iptables -S FORWARD"), "-P FORWARD DROP\n");
    terminal.press(b"iptables-restore <<END && echo done\r*filter\r:FORWARD ACCEPT [0:0]\rCOMMIT\r");
    assert_eq!(terminal.press(b"END\r"), "END\ndone\nrutter# ");
    assert_eq!(terminal.run("iptables -S FORWARD"), "-P FORWARD ACCEPT\n");
    assert_eq!(terminal.press(b"iptables-restore\r*filter\r\x03"), "iptables-restore\n*filter\n^C\nrutter# ");
    assert_eq!(terminal.run("iptables -D FORWARD 7; echo $?"), "iptables: Index of deletion too big.\n1\n");
}

/// Words that commands know, so that random lines get past the first word.
const WORDS: [&str; 64] = [
    "ip",
    "sysctl",
    "iptables",
    "conntrack",
    "ping",
    "explain",
    "config",
    "help",
    "echo",
    "-s",
    "-j",
    "-c",
    "-w",
    "-A",
    "-D",
    "-L",
    "-j",
    "link",
    "addr",
    "route",
    "neigh",
    "set",
    "add",
    "del",
    "show",
    "flush",
    "replace",
    "get",
    "dev",
    "eth0",
    "eth1",
    "lo",
    "via",
    "10.0.0.1",
    "10.0.0.0/8",
    "default",
    "metric",
    "mtu",
    "up",
    "down",
    "address",
    "02:00:00:00:00:01",
    "alias",
    "4294967296",
    "-1",
    "0",
    "65535",
    "net.ipv4.ip_forward=1",
    "in",
    "out",
    "tcp",
    "udp",
    "1.2.3.4:5",
    "'",
    "\"",
    "\\",
    "$X",
    "X=y",
    "&&",
    "||",
    ";",
    ">",
    "<<E",
    "#",
];

#[test]
fn no_bytes_bring_the_console_down() {
    let mut state = 7u64;
    let mut dice = move |sides: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % sides
    };
    let mut terminal = Terminal::new();
    for round in 0..4000 {
        let mut keys = Vec::new();
        for _ in 0..dice(24) {
            match dice(8) {
                0 => keys.extend([0x1b, b'[', dice(256) as u8, dice(256) as u8]),
                1 => keys.push(dice(256) as u8),
                2 => keys.push(dice(32) as u8),
                _ => {
                    keys.extend(WORDS[dice(WORDS.len())].bytes());
                    keys.push(b' ');
                }
            }
        }
        keys.push(b'\r');
        terminal.press(&keys);
        terminal.now += smoltcp::time::Duration::from_millis(10);
        if round % 16 == 0 {
            // Whatever was left open or running ends with these.
            terminal.press(b"\x04\x03\x03");
            assert_eq!(terminal.run("echo here"), "here\n");
        }
    }
}
