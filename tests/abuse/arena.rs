//! Where the attacks take place: the image at its smallest memory as a home gateway, machines around it, the transfer that
//! has to go on, and an attacker on each side.

use crate::{books::Books, dice::Dice, sender::Sender, transfer::Transfer};
use qemu::{lab::Plan, nic::mac_text};
use smoltcp::wire::EthernetAddress;
use std::{
    env,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tests::{
    namespace::sh,
    peer::Peer,
    site::{self, Site},
};

/// Programs that every family needs.
pub const TOOLS: [&str; 3] = ["ip", "ping", "setpriv"];
/// How many times as many frames the long form sends.
pub const LONGER: u64 = 20;
/// In MiB: one more than an empty router needs (docs/performance.md), for the rules and routes of the gateway.
const MEMORY: u32 = 15;
/// The longest that the console may take.
const CONSOLE: Duration = Duration::from_secs(1);
/// Between two questions at the console during an attack.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the router may hold on to what an attack left: incomplete packets wait for 30 s.
const RECOVERY: Duration = Duration::from_secs(60);
/// What it may hold on to for good: the console remembers lines, the log fills its ring.
const GROWTH_KIB: u64 = 256;
/// Flows and frames of what is not the attack's.
const FLOWS: u64 = 8;
const FRAMES: u64 = 64;

const GATEWAY: &str = include_str!("../data/home-gateway.sh");
/// What an attack leaves behind ends soon.
const SHORT_LIVES: &str = "
sysctl -w net.netfilter.nf_conntrack_generic_timeout=2
sysctl -w net.netfilter.nf_conntrack_icmp_timeout=2
sysctl -w net.netfilter.nf_conntrack_udp_timeout=2
sysctl -w net.netfilter.nf_conntrack_udp_timeout_stream=2
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_syn_sent=2
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_syn_recv=2
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_close=2
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_fin_wait=2
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_close_wait=2
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_last_ack=2
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_time_wait=2
";

/// By then the router has probed for its addresses and announced them (RFC 5227), which no sum of frames could explain.
const CLAIMED: Duration = Duration::from_secs(10);

/// The attacks take turns: each has the whole machine.
static TURN: Mutex<()> = Mutex::new(());

/// The card whose cable an attacker is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Lan,
    Wan,
}

/// What becomes of an attack's frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Each is dropped, for one of these reasons.
    Dropped(&'static [&'static str]),
    /// They are forwarded, answered or dropped: what came in is what went out, and what was dropped.
    Balanced,
    /// The router asks for neighbours because of them, or keeps some for a while, so that no sum can be made.
    Endured,
}

/// Frames of one kind.
pub struct Attack {
    pub what: &'static str,
    pub side: Side,
    /// How many, in the short form.
    pub frames: u64,
    pub fate: Fate,
    pub make: fn(&mut Dice) -> Vec<u8>,
}

/// The ground, with the books as they were before all attacks.
pub struct Arena {
    pub site: Site,
    pub transfer: Transfer,
    name: String,
    lan: Sender,
    wan: Sender,
    before: Books,
    slowest: Duration,
    /// Buffers that the router makes at the first need and keeps, in KiB.
    pub kept_kib: u64,
    turn: Option<MutexGuard<'static, ()>>,
}

/// The MAC address of the router's card on this side.
fn router_mac(side: Side) -> EthernetAddress {
    site::router_mac(side as usize)
}

fn peer_mac(peer: &Peer, device: &str) -> String {
    let said = peer.sh(&format!("ip -br link show dev {device}"));
    said.split_whitespace().nth(2).unwrap_or_else(|| panic!("{said}")).to_owned()
}

impl Arena {
    /// A home gateway that has also run `more`.
    pub fn new(name: &str, more: &str) -> Self {
        // A machine that panics ends instead of trying again.
        Self::with_plan(name, more, Plan { more: vec!["-no-reboot".into()], ..Plan::new(name) })
    }

    /// The same in a machine that has something more.
    pub fn with_plan(name: &str, more: &str, plan: Plan) -> Self {
        let name = format!("abuse-{name}");
        let config = [GATEWAY, SHORT_LIVES, more].concat();
        let plan = Plan { name: name.clone(), memory: MEMORY, config: Some(config), ..plan };
        let mut site = Site::with_plan(plan);
        fix_neighbors(&mut site);
        let lab = site.lab();
        lab.run_for(CLAIMED.saturating_sub(lab.started().elapsed())).expect("the machine runs");
        // A test that failed leaves nothing that the next one could stumble over.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let transfer = Transfer::start(&site);
        transfer.goes_on().expect("nobody attacks yet");
        let (lan, wan) = (Sender::on("lan0"), site.internet.run(|| Sender::on("wan0")));
        let before = Books::read(site.lab());
        Self {
            site,
            transfer,
            name,
            lan,
            wan,
            before,
            slowest: Duration::ZERO,
            kept_kib: 0,
            turn: Some(turn),
        }
    }

    /// Lets one attack after the other come.
    pub fn endure(&mut self, attacks: &[Attack]) {
        for attack in attacks {
            self.endure_one(attack);
        }
    }

    /// Sends frames of which something is to become.
    pub fn send(&mut self, side: Side, count: u64, make: fn(&mut Dice) -> Vec<u8>) {
        let mut dice = self.dice(side);
        let sender = if side == Side::Lan { &mut self.lan } else { &mut self.wan };
        sender.send(&mut dice, count, make);
    }

    fn endure_one(&mut self, attack: &Attack) {
        let (what, start) = (attack.what, Instant::now());
        let lost = self.lost(attack.side);
        let before = self.read_books(what);
        let count = attack.frames * if is_long() { LONGER } else { 1 };
        let mut dice = self.dice(attack.side);
        let sender = if attack.side == Side::Lan { &mut self.lan } else { &mut self.wan };
        let (make, lab) = (attack.make, self.site.lab());
        let (sent, slowest) = thread::scope(|scope| {
            let flood = scope.spawn(move || sender.send(&mut dice, count, make));
            let mut slowest = Duration::ZERO;
            while !flood.is_finished() {
                let asked = Instant::now();
                lab.command("true").unwrap_or_else(|error| panic!("{what}: {error:#}"));
                slowest = slowest.max(asked.elapsed());
                lab.run_for(PAUSE).expect("the machine runs");
            }
            (flood.join().expect("a sender does not panic"), slowest)
        });
        let delay = self.go_on(what);
        let lost = self.lost(attack.side) - lost;
        self.slowest = self.slowest.max(slowest);
        let after = self.judge(attack, &before, sent, lost);
        println!(
            "{}: {what}: {sent} frames, {lost} of them lost on the way, {:?}; dropped {:?}; \
             the console took {slowest:?} at most, the transfer {delay:?}",
            self.name,
            start.elapsed(),
            after.rose_since(&before)
        );
        assert!(slowest < CONSOLE, "{what}: the console took {slowest:?}");
    }

    /// Compares the books with what was sent, once the router has taken all of it.
    fn judge(&mut self, attack: &Attack, before: &Books, sent: u64, lost: u64) -> Books {
        let Attack { what, fate, .. } = attack;
        let fits = |after: &Books| match *fate {
            Fate::Dropped(reasons) => {
                // On a busy host more may wait than the router takes.
                let rise = [reasons, &["overload"]].map(|of| after.dropped(of) - before.dropped(of));
                let rise = rise.iter().sum();
                (sent.saturating_sub(lost)..=sent).contains(&rise)
            }
            Fate::Balanced => after.sides().0 - before.sides().0 == after.sides().1 - before.sides().1,
            Fate::Endured => true,
        };
        let deadline = Instant::now() + CONSOLE;
        loop {
            let after = self.read_books(what);
            if fits(&after) {
                return after;
            }
            // The router may still be at the last frames.
            assert!(
                Instant::now() < deadline,
                "{what}: {sent} frames, {lost} of them lost on the way, should be {fate:?}: dropped {:?}, \
                 entered and left {:?} before, {:?} after",
                after.rose_since(before),
                before.sides(),
                after.sides()
            );
        }
    }

    /// The transfer has to.
    pub fn go_on(&mut self, what: &str) -> Duration {
        self.transfer.goes_on().unwrap_or_else(|error| {
            // The machine may stand still.
            let log =
                self.site.lab().command("dmesg").map_or_else(|error| format!("{error:#}"), |it| it.text);
            panic!("{what}: the transfer: {error}\n{log}")
        })
    }

    /// Whether the console answers in time; what it says.
    pub fn ask(&mut self, command: &str) -> String {
        let asked = Instant::now();
        let answer = self.site.lab().command(command).expect("the console answers");
        let took = asked.elapsed();
        self.slowest = self.slowest.max(took);
        assert!(took < CONSOLE, "`{command}` took {took:?}");
        answer.text
    }

    pub fn read_books(&mut self, what: &str) -> Books {
        let books = Books::read(self.site.lab());
        assert!(books.memory_kib < u64::from(MEMORY) << 10, "{what}: {books:?}");
        books
    }

    /// An attacker's dice on this side.
    pub fn dice(&self, side: Side) -> Dice {
        let station = EthernetAddress([2, 0xbd, 0, 0, 0, side as u8]);
        Dice::new(router_mac(side), station, self.transfer.client)
    }

    fn lost(&self, side: Side) -> u64 {
        match side {
            Side::Lan => Sender::lost("lan0"),
            Side::Wan => self.site.internet.run(|| Sender::lost("wan0")),
        }
    }

    /// All attacks are over: waits until the router holds no more than before them.
    pub fn finish(mut self) {
        self.turn = None;
        let deadline = Instant::now() + RECOVERY;
        let (start, before) = (Instant::now(), self.before.clone());
        loop {
            let now = self.read_books("the end");
            let holds = now.flows <= before.flows + FLOWS
                && now.frames <= before.frames + FRAMES
                && now.memory_kib <= before.memory_kib + GROWTH_KIB + self.kept_kib;
            if holds {
                break;
            }
            assert!(Instant::now() < deadline, "{}: {before:?} before, and now {now:?}", self.name);
            self.site.lab().run_for(PAUSE).expect("the machine runs");
        }
        self.go_on("the end");
        println!(
            "{}: memory, flows and frames are back after {:?}; the console took {:?} at most",
            self.name,
            start.elapsed(),
            self.slowest
        );
        self.site.finish();
    }
}

/// Whether the long form was asked for.
pub fn is_long() -> bool {
    env::var("RUTTER_ABUSE").is_ok_and(|form| form == "long")
}

/// Everybody knows his neighbours for good and speaks IPv4 only: nothing but the attacks asks the router anything.
fn fix_neighbors(site: &mut Site) {
    let quiet = "sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 || true";
    sh(quiet).expect("it may fail");
    let inner = mac_text(router_mac(Side::Lan).0);
    let outer = mac_text(router_mac(Side::Wan).0);
    let mut known = String::new();
    for (peer, device, address) in
        [(&site.server, "eth0", "192.168.1.10"), (&site.laptop, "eth0", "192.168.1.11")]
    {
        peer.sh(quiet);
        peer.sh(&format!("ip neigh replace 192.168.1.1 lladdr {inner} nud permanent dev {device}"));
        known +=
            &format!("ip neigh replace {address} lladdr {} nud permanent dev eth0\n", peer_mac(peer, device));
    }
    site.internet.sh(quiet);
    site.internet.sh(&format!("ip neigh replace 203.0.113.2 lladdr {outer} nud permanent dev wan0"));
    let provider = peer_mac(&site.internet, "wan0");
    known += &format!("ip neigh replace 203.0.113.1 lladdr {provider} nud permanent dev eth1\n");
    site.lab().commands(&known).expect("neighbours can be known");
}
