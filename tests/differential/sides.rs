//! The two routers behind one face: what is typed, what goes in, what comes out, what is counted.

use crate::scenario::{Network, ROUND, Scenario, What, put_together};
use netstack::outcome::Outcome;
use smoltcp::time::Duration;
use std::{collections::BTreeMap, fs};
use tests::{
    bench::Bench,
    datagram::Datagram,
    frame::Frame,
    linux_router::LinuxRouter,
    namespace::sh,
    network::{OWN, router_mac},
};

/// A router that scenarios are tried on.
pub trait Side {
    /// Brings the router to the state that the scenario starts from: nothing of an earlier one is left.
    fn configure(&mut self, scenario: &Scenario);
    /// Puts a frame on a wire; gives every frame that left because of it, with its card.
    fn send(&mut self, port: usize, frame: &[u8]) -> Vec<(usize, Vec<u8>)>;
    /// Types commands; `false` where they are refused.
    fn change(&mut self, commands: &str) -> bool;
    /// What a listing command prints.
    fn print(&mut self, command: &str) -> String;
    /// What became of the last frame, where the router can say.
    fn outcome(&self) -> Option<Outcome>;
}

/// What happened in one step.
#[derive(Debug)]
pub struct Record {
    pub id: usize,
    /// What was sent; `None` where there was nothing to answer.
    pub sent: Option<(usize, Datagram)>,
    pub left: Vec<(usize, Frame)>,
    /// What became of the packet, or of its last fragment.
    pub outcome: Option<Outcome>,
    /// Whether it came in fragments.
    pub fragmented: bool,
    /// Where the step was no packet but a change: whether the router took it.
    pub changed: Option<bool>,
}

impl Record {
    /// A step in which nothing was sent.
    fn without_packet(id: usize) -> Self {
        Self { id, sent: None, left: Vec::new(), outcome: None, fragmented: false, changed: None }
    }

    /// The packet that was sent, as it came out at the other end.
    pub fn passed_on(&self) -> Option<(usize, &Datagram)> {
        let (_, sent) = self.sent.as_ref()?;
        self.left
            .iter()
            .filter_map(|(port, frame)| Some((*port, frame.datagram()?)))
            .find(|(_, packet)| !is_made_here(sent, packet))
    }
}

/// Whether the router itself made `left`, an ICMP error or a reset about `sent` or an echo reply to it.
pub fn is_made_here(sent: &Datagram, left: &Datagram) -> bool {
    use tests::datagram::{Body, flag::RST};
    match (&sent.body, &left.body) {
        (Body::Icmp { kind, .. }, Body::Icmp { kind: answer, .. }) => kind != answer,
        (Body::Tcp { flags: had, .. }, Body::Tcp { flags, .. }) => had & RST == 0 && flags & RST != 0,
        _ => sent.protocol() != left.protocol(),
    }
}

/// Runs all steps. `round` is another one each time, but the same for both sides.
pub fn run(side: &mut dyn Side, scenario: &Scenario, round: u16) -> Vec<Record> {
    let numbered = |line: &String| line.replace(ROUND, &round.to_string());
    let rules = scenario.rules.iter().map(numbered).collect();
    side.configure(&Scenario { rules, ..scenario.clone() });
    let mut records: Vec<Record> = Vec::new();
    for step in &scenario.steps {
        let came_out = |id| {
            let record = records.iter().find(|record| record.id == id)?;
            record.passed_on().map(|(port, packet)| (port, packet.clone()))
        };
        if let What::Change(commands) = &step.what {
            let changed = Some(side.change(commands));
            records.push(Record { changed, ..Record::without_packet(step.id) });
            continue;
        }
        let stranger = round.wrapping_mul(31).wrapping_add(step.id as u16);
        let Some((port, packet, frames)) = step.what.frames(stranger, came_out) else {
            records.push(Record::without_packet(step.id));
            continue;
        };
        let packet = match step.what {
            What::Damaged { .. } => Frame::read(&frames[0]).datagram().cloned().unwrap_or(packet),
            _ => packet,
        };
        let left = frames.iter().flat_map(|frame| side.send(port, frame));
        let left = put_together(left.map(|(port, frame)| (port, Frame::read(&frame))).collect());
        records.push(Record {
            id: step.id,
            sent: Some((port, packet)),
            left,
            outcome: side.outcome(),
            fragmented: matches!(step.what, What::Fragmented { .. }),
            changed: None,
        });
    }
    records
}

/// netstack in this process.
#[derive(Default)]
pub struct Rutter(Option<Bench>);

impl Rutter {
    fn bench(&mut self) -> &mut Bench {
        self.0.as_mut().expect("configured before it is used")
    }
}

impl Side for Rutter {
    fn configure(&mut self, scenario: &Scenario) {
        let commands = [scenario.network.commands(), scenario.rules.join("\n")].concat();
        self.0 = Some(Bench::new(OWN.len(), &commands));
    }

    fn send(&mut self, port: usize, frame: &[u8]) -> Vec<(usize, Vec<u8>)> {
        let mut left = self.bench().inject(port, frame);
        left.extend(self.bench().pass(Duration::from_millis(1)));
        left.sort_by_key(|(port, _)| *port);
        left
    }

    /// A text for a command comes by a script, all else by the console: there nothing is made anew but what changes.
    fn change(&mut self, commands: &str) -> bool {
        match commands.contains('\n') {
            true => self.bench().try_run(commands),
            false => self.bench().command(&format!("{commands} && echo taken")) == "taken",
        }
    }

    fn print(&mut self, command: &str) -> String {
        self.bench().command(command)
    }

    fn outcome(&self) -> Option<Outcome> {
        self.0.as_ref().and_then(|bench| bench.outcome)
    }
}

/// Linux in the network namespace of this thread.
pub struct Linux {
    router: LinuxRouter,
    network: Option<Network>,
    /// Undoes what the last scenario did beside adding rules.
    undo: String,
    /// The settings that it changed, below /proc/sys, with what they were.
    settings: Vec<(String, String)>,
}

/// Every built-in chain whose policy counts, and a rule for which connections are always tracked. Nothing else is left.
const FORGET_RULES: &str = "
iptables-restore <<'END'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
COMMIT
*mangle
-A PREROUTING -m conntrack --ctstate NEW -m comment --comment always-tracked
COMMIT
*raw
COMMIT
END
ipset destroy
conntrack -F 2>/dev/null
";
const FORGET_NETWORK: &str = "
sysctl -qw net.ipv4.conf.all.rp_filter=0
for port in $(ip -br link | cut -d\" \" -f1 | grep eth); do
    ip link set $port down; ip link set $port mtu 1500; ip addr flush dev $port
done
ip route flush table main; ip neigh flush all nud permanent
";

impl Linux {
    /// A router with so many cards.
    pub fn new(cards: usize) -> Self {
        let macs: Vec<_> = (0..cards).map(router_mac).collect();
        let router = LinuxRouter::new(&macs, &OWN[..cards]).expect("taps can be made");
        Self { router, network: None, undo: String::new(), settings: Vec::new() }
    }

    /// Does what a line of `sysctl` says. A process of its own would take as long as ten packets.
    fn set(&mut self, line: &str) {
        let setting = line.rsplit(' ').next().and_then(|setting| setting.split_once('='));
        let (key, value) = setting.expect("KEY=VALUE");
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        let before = fs::read_to_string(&path).and_then(|before| fs::write(&path, value).map(|()| before));
        let before = before.unwrap_or_else(|error| panic!("{line}: {error}"));
        self.settings.push((path, before));
    }

    /// Runs commands that must succeed.
    fn sh(commands: &str) -> String {
        sh(commands).unwrap_or_else(|error| panic!("Linux refuses: {error}"))
    }
}

impl Side for Linux {
    fn configure(&mut self, scenario: &Scenario) {
        Self::sh(&[FORGET_RULES, &self.undo].concat());
        for (path, before) in self.settings.drain(..).rev() {
            fs::write(path, before).expect("a setting can be taken back");
        }
        if self.network != Some(scenario.network) {
            Self::sh(FORGET_NETWORK);
            Self::sh(&scenario.network.commands());
            self.network = Some(scenario.network);
        }
        let (settings, rules): (Vec<_>, Vec<_>) =
            scenario.rules.iter().map(String::as_str).partition(|line| line.starts_with("sysctl "));
        Self::sh(&at_once(&rules));
        settings.iter().for_each(|line| self.set(line));
        self.undo = scenario.rules.iter().rev().filter_map(|rule| undo(rule)).collect();
    }

    fn send(&mut self, port: usize, frame: &[u8]) -> Vec<(usize, Vec<u8>)> {
        self.router.send(port, frame)
    }

    fn change(&mut self, commands: &str) -> bool {
        self.undo.insert_str(0, &undo(commands).unwrap_or_default());
        sh(commands).is_ok()
    }

    fn print(&mut self, command: &str) -> String {
        Self::sh(command)
    }

    fn outcome(&self) -> Option<Outcome> {
        None
    }
}

/// The same commands with all rules handed over at once, and all elements of sets: each commit has Linux wait.
fn at_once(lines: &[&str]) -> String {
    let (mut sets, mut others) = (String::new(), String::new());
    let mut tables: BTreeMap<&str, String> = BTreeMap::new();
    for line in lines {
        let (place, text) = match line.split_once(' ') {
            Some(("ipset", line)) => (&mut sets, line),
            Some(("iptables", line)) => {
                let named = line.strip_prefix("-t ").and_then(|line| line.split_once(' '));
                let (table, rule) = named.unwrap_or(("filter", line));
                (tables.entry(table).or_default(), rule)
            }
            _ => (&mut others, *line),
        };
        *place += &format!("{text}\n");
    }
    let rules: String = tables.iter().map(|(name, rules)| format!("*{name}\n{rules}COMMIT\n")).collect();
    format!("ipset restore <<'END'\n{sets}END\niptables-restore -n <<'END'\n{rules}END\n{others}")
}

/// What takes back a line that sets up routes. One that is replaced was not there before, unless it was replaced twice.
fn undo(line: &str) -> Option<String> {
    if let Some(route) = line.strip_prefix("ip route replace ") {
        let network = route.split(' ').find(|word| word.contains('/'))?;
        return Some(format!("ip route del {network} 2>/dev/null || :\n"));
    }
    let (object, what) = line.strip_prefix("ip ")?.split_once(" add ")?;
    Some(format!("ip {object} del {what}\n"))
}
