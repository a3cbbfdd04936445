//! Text in, text out: the commands, the line editor and the listings. Pure, like all of the plane.

mod argument;
mod capture;
mod complete;
mod conntrack;
mod console;
mod drops;
mod editor;
mod ethtool;
mod explain;
mod habit;
mod help;
mod ip;
mod ipset;
mod iptables;
mod job;
mod nstat;
mod ping;
mod print;
mod probing;
mod record;
mod script;
mod shell;
mod show_config;
mod sysctl;
mod system;
mod tcpdump;
#[cfg(test)]
mod tests;
mod trace;
mod traceroute;

use crate::{config::Config, interface::PortId};
use alloc::{format, string::String};
use smoltcp::time::Instant;

pub(crate) use argument::Failure;
pub use capture::CapturePort;
pub use console::Console;
pub(crate) use job::{Action, Job, Progress, Read, Session};
pub use record::{BEGIN, END, dump};
pub use shell::load;
pub(crate) use show_config::commands;

/// What the commands ask of the machine below.
pub trait Platform {
    /// Bytes of memory: total, and in use.
    fn memory(&self) -> (u64, u64);
    /// Every line of the log ring, oldest first: time since boot, level (0 to 7), text.
    fn log_lines(&self, each: &mut dyn FnMut(Instant, u8, &str));
    /// Empties the log ring (`dmesg -C`).
    fn clear_log(&mut self);
    /// Messages less important than this are not shown on the console (`dmesg -n`).
    fn set_console_level(&mut self, level: u8);
    /// Where a network card is on its bus (`ethtool -i`); empty where that is unknown.
    fn card_address(&self, _: PortId) -> String {
        String::new()
    }
    /// What the driver of a network card has counted, by name (`ethtool -S`).
    fn card_counters(&self, _: PortId, _each: &mut dyn FnMut(&str, u64)) {}
    /// The second serial port, where there is one.
    fn capture_port(&mut self) -> Option<&mut CapturePort> {
        None
    }
    /// Ends the machine once all output is out.
    fn power(&mut self, action: Power);
}

/// How the machine ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Power {
    Off,
    Reboot,
}

/// A configuration that was refused: nothing of it was applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptError {
    /// Line in the text, from 1.
    pub line: usize,
    /// What was wrong.
    pub message: String,
}

/// A command: how it is called, what is said about it, and how its words are understood.
struct Command {
    name: &'static str,
    summary: &'static str,
    usage: &'static str,
    /// Words that may follow those that are there already, for Tab.
    words: fn(&[&str]) -> &'static [&'static str],
    parse: fn(&[String], &Config) -> Result<Action, Failure>,
}

macro_rules! commands {
    ($($name:literal $parse:expr, $words:expr, $summary:literal, $usage:expr;)*) => {
        &[$(Command { name: $name, summary: $summary, usage: $usage, words: $words, parse: $parse },)*]
    };
}

/// Nothing in particular follows.
fn none(_: &[&str]) -> &'static [&'static str] {
    &[]
}

const CONNTRACK: &str = "\
usage: conntrack { -L | -D | -U | -C | -F | -S } [-p PROTOCOL] [-s ADDRESS] [-d ADDRESS] [--sport PORT] [--dport PORT]
                 [--state STATE] [-m MARK]";

fn conntrack_words(_: &[&str]) -> &'static [&'static str] {
    &["--dport", "--mark", "--sport", "--state", "-C", "-D", "-F", "-L", "-S", "-U", "-d", "-p", "-s"]
}

const IPTABLES: &str = "\
usage: iptables [-t { filter | nat | mangle | raw }] { -A | -C | -D } CHAIN RULE
       iptables [-t TABLE] -I CHAIN [NUMBER] RULE
       iptables [-t TABLE] -R CHAIN NUMBER RULE
       iptables [-t TABLE] -D CHAIN NUMBER
       iptables [-t TABLE] { -L | -S | -F | -Z | -N | -X } [CHAIN] [-n] [-v] [-x] [--line-numbers]
       iptables [-t TABLE] -P CHAIN { ACCEPT | DROP }
       iptables [-t TABLE] -E OLD NEW
RULE := [!] -p PROTOCOL, -s PREFIX, -d PREFIX, -i DEVICE, -o DEVICE, -f, -m MATCH .., -j TARGET ..";

const RESTORE: &str = "usage: iptables-restore [-c] [-n] [-t] [-T TABLE], and the text of iptables-save, then Ctrl-D; or <<WORD";

fn explain_words(before: &[&str]) -> &'static [&'static str] {
    match before.len() {
        0 => &["in", "out"],
        _ => &["ack", "df", "fin", "icmp", "len", "mac", "psh", "rst", "syn", "tcp", "ttl", "udp", "urg"],
    }
}

static COMMANDS: &[Command] = commands! {
    ":" shell::succeed, none, "Does nothing, successfully.", "usage: :";
    "arp" habit::arp, |_| &["-a", "-n"], "Shows the neighbours.", "usage: arp [-a] [-n] [ADDRESS]";
    "clear" system::clear, none, "Clears the screen.", "usage: clear";
    "config" show_config::parse, |_| &["show"], "Shows the commands that make the present configuration.", "usage: config show";
    "conntrack" conntrack::parse, conntrack_words, "Lists, counts and ends the flows that are tracked.", CONNTRACK;
    "dmesg" system::dmesg, |_| &["-C", "-c", "-n"], "Shows the log.", "usage: dmesg [-C | -c | -n LEVEL]";
    "drops" drops::parse, |_| &["-a", "-j"], "Shows how many packets were dropped, by reason.", "usage: drops [-a] [-j]";
    "echo" shell::echo, none, "Prints its words.", "usage: echo [-n] [WORD]..";
    "ethtool" ethtool::parse, ethtool::words, "Shows and sets what the network cards do for the router.", ethtool::USAGE;
    "explain" explain::parse, explain_words, "Tells what would become of a packet, station by station.", explain::USAGE;
    "false" shell::fail, none, "Does nothing, unsuccessfully.", "usage: false";
    "free" system::free, |_| &["-b", "-k", "-m", "-h"], "Shows the use of memory.", "usage: free [-b | -k | -m | -h]";
    "help" help::parse, none, "Shows all commands, or how one is written.", "usage: help [COMMAND]";
    "history" system::history, none, "Shows the lines typed before.", "usage: history";
    "hostname" system::hostname, none, "Shows or sets the name of this router.", "usage: hostname [NAME]";
    "ifconfig" habit::ifconfig, |_| &["-a"], "Shows the interfaces.", "usage: ifconfig [-a] [DEVICE]";
    "ip" ip::parse, ip::words, "Shows and sets interfaces, addresses, routes, rules and neighbours.", ip::USAGE;
    "ipset" ipset::parse, ipset::words, "Shows and sets the sets of addresses that rules ask.", ipset::USAGE;
    "iptables" iptables::parse, iptables::words, "Shows and sets the rules of the packet filter and of the translation.", IPTABLES;
    "iptables-restore" iptables::parse_restore, |_| &["-T", "-c", "-n", "-t"], "Replaces rules by a text, which ends with Ctrl-D.", RESTORE;
    "iptables-save" iptables::parse_save, |_| &["-c", "-t"], "Prints all rules as a text.", "usage: iptables-save [-c] [-t TABLE]";
    "netstat" habit::netstat, |_| &["-i", "-rn"], "Shows the routes or the interfaces.", "usage: netstat { -rn | -i }";
    "nstat" nstat::parse, |_| &["-a", "-z"], "Shows the counters of IP under Linux's names.", "usage: nstat [-a] [-z]";
    "ping" ping::parse, |_| &["-I", "-W", "-c", "-i", "-n", "-q", "-s", "-t"], "Asks a host for echoes.", ping::USAGE;
    "poweroff" system::poweroff, none, "Switches the machine off.", "usage: poweroff";
    "reboot" system::reboot, none, "Starts the machine anew.", "usage: reboot";
    "record" record::parse, record::words, "Records frames with what becomes of them.", record::USAGE;
    "route" habit::route, |_| &["-n"], "Shows the routes.", "usage: route [-n]";
    "sysctl" sysctl::parse, |_| &["-a", "-w", "-n", "-q", "-e"], "Shows and sets switches and timers.", sysctl::USAGE;
    "tcpdump" tcpdump::parse, tcpdump::words, "Prints the frames that come in and leave.", tcpdump::USAGE;
    "trace" trace::parse, trace::words, "Follows real packets, station by station.", trace::USAGE;
    "traceroute" traceroute::parse, |_| &["-I", "-f", "-m", "-n", "-q", "-w"], "Shows the routers on the way to a host.", traceroute::USAGE;
    "true" shell::succeed, none, "Does nothing, successfully.", "usage: true";
    "uname" system::uname, |_| &["-a"], "Shows name and version of this system.", "usage: uname [-a | -r | -n | -m]";
    "uptime" system::uptime, none, "Shows how long the machine has been running.", "usage: uptime";
    "version" system::version, none, "Shows the version of this system.", "usage: version";
};

/// Understands a command, without doing anything yet. The first word may be a path, as in scripts.
fn understand(words: &[String], config: &Config) -> Result<Action, Failure> {
    let Some((first, rest)) = words.split_first() else { return Ok(Action::print("")) };
    let name = ["/sbin/", "/usr/sbin/", "/bin/", "/usr/bin/"]
        .into_iter()
        .find_map(|folder| first.strip_prefix(folder))
        .unwrap_or(first);
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => (command.parse)(rest, config),
        None => Err(Failure::new(127, format!("{first}: command not found"))),
    }
}

/// The configuration of a router that was given none: eth0 is the LAN, eth1 the WAN, as QEMU's user network wants it.
pub const DEFAULT_CONFIGURATION: &str = "\
ip addr add 192.168.1.1/24 broadcast + dev eth0
ip link set eth0 up
ip addr add 10.0.2.15/24 broadcast + dev eth1
ip link set eth1 up
ip route add default via 10.0.2.2 dev eth1
iptables -P INPUT DROP
iptables -P FORWARD DROP
iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -i eth0 -j ACCEPT
iptables -A INPUT -p icmp -m icmp --icmp-type echo-request -j ACCEPT
iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A FORWARD -i eth0 -j ACCEPT
iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
sysctl -w net.ipv4.ip_forward=1
";

/// [`DEFAULT_CONFIGURATION`] for a machine with so many cards: lines about a card that it does not have are left out.
pub fn default_configuration(cards: usize) -> String {
    let names = ["eth0", "eth1"];
    let missing = names.get(cards..).unwrap_or_default();
    let lines = DEFAULT_CONFIGURATION.lines().filter(|line| !missing.iter().any(|name| line.contains(name)));
    lines.fold(String::new(), |text, line| text + line + "\n")
}
