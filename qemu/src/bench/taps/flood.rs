//! What an established TCP transfer keeps under a flood from the WAN, beside what it keeps under a null flood: the same
//! frames to a MAC address that nobody has. QEMU drops those, so they cost the host as much and the router nothing.
//! Transfer and flood come through the same card. What TCP makes of a full queue differs from second to second by more
//! than what is measured here, so the two floods take turns beside one and the same transfer, in phases.
//!
//! An attacker is another machine. Here his program shares the processors with the router and both ends of the
//! transfer, so it runs only while nobody else wants to (SCHED_IDLE, sched(7)), and in the session of all the others,
//! because sessions are weighed against each other whatever their threads are: it sends as fast as the host can beside the
//! transfer. A host may send so much even so that the tap's queue has no room for the transfer's own segments. Where a
//! null flood leaves next to nothing, the router has no part in it, and the rate is lowered by steps until it does not. A
//! rate is kept evenly: as many frames in one burst each second would be the host's highest rate again.

use std::ops::{Add, Range};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anstream::println;
use anyhow::{Context, Result, ensure};
use qemu::nic::{Cable, Nic, mac_text};
use qemu::tap::Sender;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::thread::gettid;
use serde_json::Value;
use smoltcp::wire::{EthernetAddress, Ipv4Address};

use super::super::frame::Path;
use super::flows::Flows;
use super::namespace::Namespace;
use super::site::Site;
use super::tcp::iperf;
use super::{Cpu, Values};

/// The table is full with 2,000 flows.
pub const SETTINGS: &str = "
sysctl -w net.netfilter.nf_conntrack_max=2000
ip addr add 203.0.113.3/24 dev eth1
iptables -t nat -A PREROUTING -d 203.0.113.3 -p tcp -j DNAT --to-destination 192.168.1.10
iptables -A FORWARD -i eth1 -d 192.168.1.10 -p tcp -j ACCEPT
";
/// So many of them stay, and the flood has the rest: beside nothing but flows that stay no transfer could begin.
const FLOWS: u16 = 1800;
/// The floods begin when the transfer is under way, after so many seconds.
const LEAD: usize = 2;
/// Which flood each phase has: what changes slowly hits both alike.
const PHASES: [usize; 8] = [NULL, REAL, REAL, NULL, NULL, REAL, REAL, NULL];
const NULL: usize = 0;
const REAL: usize = 1;
/// How long a phase lasts, in seconds, and which of them count: one flood gives way to the other beside them.
const PHASE: usize = 4;
const COUNTED: Range<usize> = 1..3;
/// A MAC address that nobody has.
const CLOSED: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0xde, 0xad]);
/// Where the flood seems to come from on the wire.
const ATTACKER: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 9]);
const ROUTER: Ipv4Address = Ipv4Address::new(203, 0, 113, 2);
const FORWARDED: u16 = 8080;
/// The sender sleeps in between.
const NAP: Duration = Duration::from_micros(50);
/// So many frames in one go where it comes too late.
const MOST_BEHIND: u64 = 1000;
const DIRECTIONS: [(&str, &str); 2] = [("up", ""), ("down", "-R")];
/// Frames a second: as many as can be, then fewer.
const RATES: [Option<u32>; 4] = [None, Some(200_000), Some(100_000), Some(50_000)];
/// A null flood that leaves less of the transfer than this takes the host away from it.
const MEANINGFUL: f64 = 0.1;

/// What floods.
#[derive(Clone, Copy)]
enum Flood {
    /// SYNs from random sources to this port of the router, or to any high one.
    Syns(Option<u16>),
    /// nmap, which takes the outer address to be where it is told.
    Scan,
}

/// Half-open flows fill the table, each taking the place of another one; then flows that stay do.
pub fn round(site: &Site) -> Result<Values> {
    let mut values = Values::new();
    let mut alone = [0.0; 2];
    for ((direction, words), alone) in DIRECTIONS.into_iter().zip(&mut alone) {
        let run = iperf(site, &format!("-t {} {words}", LEAD + PHASE))?;
        *alone = mean(&seconds(&run)?, LEAD..LEAD + PHASE)?;
        values.push((format!("TCP {direction}, no flood"), "Gbit/s", *alone));
    }
    compare(site, "SYNs to a closed port", Flood::Syns(None), alone, &mut values)?;
    compare(site, "SYNs to a forwarded port", Flood::Syns(Some(FORWARDED)), alone, &mut values)?;
    compare(site, "nmap", Flood::Scan, alone, &mut values)?;
    let flows = Flows::begin(site, FLOWS)?;
    compare(site, "SYNs, table full", Flood::Syns(Some(FORWARDED)), alone, &mut values)?;
    values.push(("established flows in the full table".into(), "flows", flows.len() as f64));
    values.push(("  lost".into(), "flows", (flows.len() - flows.alive()) as f64));
    Ok(values)
}

/// The throughput beside a null flood and beside the flood, at the highest rate at which the first one means something.
fn compare(site: &Site, name: &str, flood: Flood, alone: [f64; 2], values: &mut Values) -> Result<()> {
    for ((direction, words), alone) in DIRECTIONS.into_iter().zip(alone) {
        for rate in RATES {
            let what = match rate {
                None => format!("TCP {direction} beside {name}"),
                Some(rate) => format!("TCP {direction} beside {name}, {rate}/s"),
            };
            let [null, real] = beside(site, words, flood, rate)?;
            null.report(&format!("{what}, null"), values);
            if null.transfer < alone * MEANINGFUL {
                println!(
                    "{what}: the null flood leaves {:.3} of {alone:.2} Gbit/s, so that nothing can be said",
                    null.transfer
                );
                continue;
            }
            real.report(&what, values);
            values.push((format!("  kept, {what}"), "%", real.transfer / null.transfer * 100.0));
            break;
        }
    }
    Ok(())
}

/// What was seen beside one of the two floods.
struct Beside {
    /// Gbit/s.
    transfer: f64,
    load: Load,
}

impl Beside {
    fn report(&self, what: &str, values: &mut Values) {
        let Load { seconds, taken, lost, cpu } = self.load;
        values.push((what.to_owned(), "Gbit/s", self.transfer));
        values.push((format!("  frames taken, {what}"), "packets/s", taken / seconds));
        values.push((format!("  lost before, {what}"), "%", lost / (lost + taken) * 100.0));
        values.push((format!("  guest CPU, {what}"), "%", cpu.guest / seconds * 100.0));
        values.push((format!("  QEMU's own CPU, {what}"), "%", cpu.qemu / seconds * 100.0));
    }
}

/// What became of all that was put on the cable while a flood went on. What is lost in its queue is what slows the transfer down.
#[derive(Clone, Copy, Default)]
struct Load {
    seconds: f64,
    /// Frames that QEMU took.
    taken: f64,
    /// Frames that the tap's queue had no room for.
    lost: f64,
    cpu: Cpu,
}

impl Add for Load {
    type Output = Load;

    fn add(self, other: Load) -> Load {
        Load {
            seconds: self.seconds + other.seconds,
            taken: self.taken + other.taken,
            lost: self.lost + other.lost,
            cpu: self.cpu + other.cpu,
        }
    }
}

/// One transfer, beside which the null flood and the real one take turns.
fn beside(site: &Site, words: &str, flood: Flood, rate: Option<u32>) -> Result<[Beside; 2]> {
    let router = EthernetAddress(Nic::new(1, Cable::Tap(site.wan.tap.clone())).mac);
    let macs = [CLOSED, router];
    let flooding = || match flood {
        Flood::Syns(port) => {
            let (aim, over) = (AtomicUsize::new(NULL), AtomicBool::new(false));
            std::thread::scope(|scope| {
                let sender = || syns(&site.wan.tap, &macs, port, rate, &aim, &over);
                let sender = scope.spawn(move || site.wan.inside(sender));
                let loads = conduct(site, |flood| {
                    aim.store(flood, Relaxed);
                    Ok(())
                });
                over.store(true, Relaxed);
                sender.join().expect("a flood does not panic")?;
                loads
            })
        }
        Flood::Scan => {
            let mut program = scan(&site.wan, rate)?;
            let loads = conduct(site, |flood| direct_scan(&site.wan, macs[flood]));
            ensure!(program.0.try_wait()?.is_none(), "nmap ended too early");
            loads
        }
    };
    let (run, loads) = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            sleep(Duration::from_secs(LEAD as u64));
            flooding()
        });
        let run = iperf(site, &format!("-t {} {words}", LEAD + PHASES.len() * PHASE));
        (run, flooding.join().expect("a flood does not panic"))
    });
    let (seconds, loads) = (seconds(&run?)?, loads?);
    let seen = |flood| -> Result<Beside> {
        let phases = (0..PHASES.len()).filter(|&phase| PHASES[phase] == flood);
        let starts = phases.clone().map(|phase| LEAD + phase * PHASE);
        let counted = starts.map(|start| mean(&seconds, start + COUNTED.start..start + COUNTED.end));
        let transfers = counted.collect::<Result<Vec<_>>>()?;
        let transfer = transfers.iter().sum::<f64>() / transfers.len() as f64;
        Ok(Beside { transfer, load: phases.map(|phase| loads[phase]).fold(Load::default(), Add::add) })
    };
    Ok([seen(NULL)?, seen(REAL)?])
}

/// Has one flood after the other begin when it is its turn, and sees what becomes of it.
fn conduct(site: &Site, begin: impl Fn(usize) -> Result<()>) -> Result<[Load; PHASES.len()]> {
    let mut loads = [Load::default(); PHASES.len()];
    let start = Instant::now();
    for (phase, load) in loads.iter_mut().enumerate() {
        begin(PHASES[phase])?;
        let before = site.wan.counters()?;
        let (after, cost) = site.during(|| {
            sleep(Duration::from_secs(((phase + 1) * PHASE) as u64).saturating_sub(start.elapsed()));
            site.wan.counters()
        })?;
        *load = Load {
            seconds: cost.seconds,
            taken: (after.sent - before.sent) as f64,
            lost: (after.lost - before.lost) as f64,
            cpu: cost.cpu,
        };
    }
    Ok(loads)
}

/// Sends SYNs from random sources to that of these MAC addresses which `aim` says, until it is `over`.
fn syns(
    tap: &str,
    macs: &[EthernetAddress; 2],
    port: Option<u16>,
    rate: Option<u32>,
    aim: &AtomicUsize,
    over: &AtomicBool,
) -> Result<()> {
    let sender = Sender::on(tap)?;
    let thread = gettid().as_raw_nonzero().to_string();
    let idle = Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status().context("chrt")?;
    ensure!(idle.success(), "chrt: {idle}");
    let mut dice = StdRng::seed_from_u64(1);
    let (start, mut sent) = (Instant::now(), 0_u64);
    while !over.load(Relaxed) {
        let due = rate.map_or(sent + 1, |rate| (start.elapsed().as_secs_f64() * f64::from(rate)) as u64);
        sent = sent.max(due.saturating_sub(MOST_BEHIND));
        while sent < due {
            let source = Ipv4Address::from_bits(dice.random_range(0x0b00_0000..0x6400_0000));
            let path = Path { macs: (ATTACKER, macs[aim.load(Relaxed)]), addresses: (source, ROUTER) };
            let port = port.unwrap_or_else(|| dice.random_range(10_000..60_000));
            // A full queue of the tap is a loss like another.
            sender.put(&path.syn((dice.random_range(1024..=65_535), port)));
            sent += 1;
        }
        if rate.is_some() {
            sleep(NAP);
        }
    }
    Ok(())
}

/// Lets nmap scan the outer address that is forwarded.
fn scan(wan: &Namespace, rate: Option<u32>) -> Result<Group> {
    direct_scan(wan, CLOSED)?;
    let rate = rate.unwrap_or(1_000_000);
    let line = format!(
        "while :; do nmap -n -Pn -sS -T5 --max-retries 0 --min-rate {rate} --send-ip --disable-arp-ping -p- 203.0.113.3; \
         done"
    );
    let mut command = wan.command(&format!("exec chrt --idle 0 sh -c '{line}'"));
    // A group to end it by, but not a session of its own.
    command.process_group(0);
    Ok(Group(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("nmap")?))
}

/// Has the address that is scanned be at this MAC address.
fn direct_scan(wan: &Namespace, mac: EthernetAddress) -> Result<()> {
    let (tap, mac) = (&wan.tap, mac_text(mac.0));
    wan.run(&format!("ip neigh replace 203.0.113.3 lladdr {mac} nud permanent dev {tap}"))?;
    Ok(())
}

/// A program that leads a group, and ends with all of it.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// The Gbit/s of each second, as iperf3 says.
fn seconds(run: &Value) -> Result<Vec<f64>> {
    ensure!(run["error"].is_null(), "the transfer: {}", run["error"]);
    let seconds = run["intervals"].as_array().context("iperf3's intervals")?;
    Ok(seconds.iter().filter_map(|second| Some(second["sum"]["bits_per_second"].as_f64()? / 1e9)).collect())
}

fn mean(seconds: &[f64], counted: Range<usize>) -> Result<f64> {
    let counted = seconds.get(counted).context("the transfer ended too early")?;
    Ok(counted.iter().sum::<f64>() / counted.len() as f64)
}
