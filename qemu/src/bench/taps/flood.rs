//! What an established TCP transfer keeps under a flood from the WAN, beside what it keeps under a null flood: the same
//! frames to a MAC address that nobody has. QEMU drops those, so they cost the host as much and the router nothing.
//! Transfer and flood come through the same card.
//!
//! An attacker is another machine. Here his program shares the processors with the router and both ends of the
//! transfer, so it runs only while nobody else wants to (SCHED_IDLE, sched(7)), and in the session of all the others,
//! because sessions are weighed against each other whatever their threads are: it sends as fast as the host can beside the
//! transfer. A host may send so much even so that the tap's queue has no room for the transfer's own segments. Where a
//! null flood leaves next to nothing, the router has no part in it, and the rate is lowered by steps until it does not. A
//! rate is kept evenly: as many frames in one burst each second would be the host's highest rate again.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
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
use super::Values;
use super::flows::Flows;
use super::namespace::Namespace;
use super::site::Site;
use super::tcp::iperf;

/// The table is full with 2,000 flows.
pub const SETTINGS: &str = "
sysctl -w net.netfilter.nf_conntrack_max=2000
ip addr add 203.0.113.3/24 dev eth1
iptables -t nat -A PREROUTING -d 203.0.113.3 -p tcp -j DNAT --to-destination 192.168.1.10
iptables -A FORWARD -i eth1 -d 192.168.1.10 -p tcp -j ACCEPT
";
/// So many of them stay, and the flood has the rest: beside nothing but flows that stay no transfer could begin.
const FLOWS: u16 = 1800;
/// How long a transfer lasts, in seconds, and which of them count: the flood begins and ends beside them.
const SECONDS: usize = 7;
const COUNTED: std::ops::Range<usize> = 2..6;
/// The flood begins when the transfer is under way.
const LEAD: Duration = Duration::from_millis(1000);
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
        *alone = transfer(&iperf(site, &format!("-t {SECONDS} {words}"))?)?;
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
    let router = EthernetAddress(Nic::new(1, Cable::Tap(site.wan.tap.clone())).mac);
    for ((direction, words), alone) in DIRECTIONS.into_iter().zip(alone) {
        for rate in RATES {
            let what = match rate {
                None => format!("TCP {direction} beside {name}"),
                Some(rate) => format!("TCP {direction} beside {name}, {rate}/s"),
            };
            let (null, frames) = beside(site, words, flood, CLOSED, rate)?;
            values.push((format!("{what}, null"), "Gbit/s", null));
            values.push((format!("  flood, {what}, null"), "packets/s", frames));
            if null < alone * MEANINGFUL {
                println!(
                    "{what}: the null flood leaves {null:.3} of {alone:.2} Gbit/s, so that nothing can be said"
                );
                continue;
            }
            let (real, frames) = beside(site, words, flood, router, rate)?;
            values.push((what.clone(), "Gbit/s", real));
            values.push((format!("  flood, {what}"), "packets/s", frames));
            values.push((format!("  kept, {what}"), "%", real / null * 100.0));
            break;
        }
    }
    Ok(())
}

/// The Gbit/s of a transfer while frames flood this MAC address, and how many of them the tap takes in a second.
fn beside(
    site: &Site,
    words: &str,
    flood: Flood,
    mac: EthernetAddress,
    rate: Option<u32>,
) -> Result<(f64, f64)> {
    let (stop, stopped) = channel();
    let (run, frames) = std::thread::scope(|scope| {
        let flooding = scope.spawn(move || -> Result<f64> {
            sleep(LEAD);
            let (before, start) = (site.wan.counters()?.sent, Instant::now());
            match flood {
                Flood::Syns(port) => site.wan.inside(|| syns(&site.wan.tap, mac, port, rate, stopped)),
                Flood::Scan => scan(&site.wan, mac, rate, stopped),
            }?;
            Ok((site.wan.counters()?.sent - before) as f64 / start.elapsed().as_secs_f64())
        });
        let run = iperf(site, &format!("-t {SECONDS} {words}"));
        drop(stop);
        (run, flooding.join().expect("a flood does not panic"))
    });
    Ok((transfer(&run?)?, frames?))
}

/// Sends SYNs from random sources until it is stopped.
fn syns(
    tap: &str,
    mac: EthernetAddress,
    port: Option<u16>,
    rate: Option<u32>,
    stopped: Receiver<()>,
) -> Result<()> {
    let sender = Sender::on(tap)?;
    let thread = gettid().as_raw_nonzero().to_string();
    let idle = Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status().context("chrt")?;
    ensure!(idle.success(), "chrt: {idle}");
    let mut dice = StdRng::seed_from_u64(1);
    let (start, mut sent) = (Instant::now(), 0_u64);
    while stopped.try_recv() == Err(TryRecvError::Empty) {
        let due = rate.map_or(sent + 1, |rate| (start.elapsed().as_secs_f64() * f64::from(rate)) as u64);
        sent = sent.max(due.saturating_sub(MOST_BEHIND));
        while sent < due {
            let source = Ipv4Address::from_bits(dice.random_range(0x0b00_0000..0x6400_0000));
            let path = Path { macs: (ATTACKER, mac), addresses: (source, ROUTER) };
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

/// Lets nmap scan the outer address that is forwarded, as if it were at `mac`, until it is stopped.
fn scan(wan: &Namespace, mac: EthernetAddress, rate: Option<u32>, stopped: Receiver<()>) -> Result<()> {
    let (tap, mac) = (&wan.tap, mac_text(mac.0));
    wan.run(&format!("ip neigh replace 203.0.113.3 lladdr {mac} nud permanent dev {tap}"))?;
    let rate = rate.unwrap_or(1_000_000);
    let line = format!(
        "while :; do nmap -n -Pn -sS -T5 --max-retries 0 --min-rate {rate} --send-ip --disable-arp-ping -p- 203.0.113.3; \
         done"
    );
    let mut command = wan.command(&format!("exec chrt --idle 0 sh -c '{line}'"));
    // A group to end it by, but not a session of its own.
    command.process_group(0);
    let mut program = Group(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("nmap")?);
    // It ends when nobody is left to send.
    let _ = stopped.recv();
    ensure!(program.0.try_wait()?.is_none(), "nmap ended too early");
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

/// The Gbit/s of what iperf3 says.
fn transfer(run: &Value) -> Result<f64> {
    ensure!(run["error"].is_null(), "the transfer: {}", run["error"]);
    let seconds = run["intervals"].as_array().context("iperf3's intervals")?;
    let rate = |second: &Value| second["sum"]["bits_per_second"].as_f64();
    let counted: Vec<f64> = seconds.iter().filter_map(rate).skip(COUNTED.start).take(COUNTED.len()).collect();
    ensure!(!counted.is_empty(), "the transfer ended too early");
    Ok(counted.iter().sum::<f64>() / counted.len() as f64 / 1e9)
}
