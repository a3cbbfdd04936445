//! What an established TCP transfer keeps under a flood from the WAN, beside what it keeps under a null flood: the same
//! frames to a MAC address that nobody has. QEMU drops those, so they cost the host as much and the router nothing.
//! Transfer and flood come through the same card.
//!
//! An attacker is another machine. Here his program shares the processors with the router and both ends of the
//! transfer, so it runs only while nobody else wants to (SCHED_IDLE, sched(7)): it sends as fast as the host can beside
//! the transfer. A host may send so much even so that the tap's queue has no room for the transfer's own segments. Where a null
//! flood leaves next to nothing, the router has no part in it, and the rate is lowered by steps until it does not.

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anstream::println;
use anyhow::{Context, Result, ensure};
use qemu::nic::{Cable, Nic, mac_text};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

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
/// It outlasts the transfer, and is ended with it.
const FLOOD: u32 = 60;
/// A MAC address that nobody has.
const CLOSED: &str = "02:00:00:00:de:ad";
const DIRECTIONS: [(&str, &str); 2] = [("up", ""), ("down", "-R")];
/// Frames a second: as many as can be, then fewer.
const RATES: [Option<u32>; 4] = [None, Some(100_000), Some(50_000), Some(25_000)];
/// A null flood that leaves less of the transfer than this takes the host away from it.
const MEANINGFUL: f64 = 0.1;
/// trafgen hands over so much at a time: the kernel lets nobody else run in between.
const RING: &str = "64KiB";

/// What floods.
#[derive(Clone, Copy)]
enum Flood {
    /// trafgen, with what follows the Ethernet header in its words.
    Frames(&'static str),
    /// nmap, which takes the outer address to be where it is told.
    Scan,
}

const CLOSED_PORT: Flood = Flood::Frames(
    "ipv4(sa=drnd(0x0b000000,0x63ffffff),da=203.0.113.2,ttl=64), tcp(sp=drnd(1024,65535),dp=drnd(10000,60000),syn,win=65535)",
);
const FORWARDED_PORT: Flood = Flood::Frames(
    "ipv4(sa=drnd(0x0b000000,0x63ffffff),da=203.0.113.2,ttl=64), tcp(sp=drnd(1024,65535),dp=8080,syn,win=65535)",
);

/// Half-open flows fill the table, each taking the place of another one; then flows that stay do.
pub fn round(site: &Site) -> Result<Values> {
    let mut values = Values::new();
    let mut alone = [0.0; 2];
    for ((direction, words), alone) in DIRECTIONS.into_iter().zip(&mut alone) {
        *alone = transfer(&iperf(site, &format!("-t {SECONDS} {words}"))?)?;
        values.push((format!("TCP {direction}, no flood"), "Gbit/s", *alone));
    }
    compare(site, "SYNs to a closed port", CLOSED_PORT, alone, &mut values)?;
    compare(site, "SYNs to a forwarded port", FORWARDED_PORT, alone, &mut values)?;
    compare(site, "nmap", Flood::Scan, alone, &mut values)?;
    let flows = Flows::begin(site, FLOWS)?;
    compare(site, "SYNs, table full", FORWARDED_PORT, alone, &mut values)?;
    values.push(("established flows in the full table".into(), "flows", flows.len() as f64));
    values.push(("  lost".into(), "flows", (flows.len() - flows.alive()) as f64));
    Ok(values)
}

/// The throughput beside a null flood and beside the flood, at the highest rate at which the first one means something.
fn compare(site: &Site, name: &str, flood: Flood, alone: [f64; 2], values: &mut Values) -> Result<()> {
    let router = mac_text(Nic::new(1, Cable::Tap(site.wan.tap.clone())).mac);
    for ((direction, words), alone) in DIRECTIONS.into_iter().zip(alone) {
        for rate in RATES {
            let what = match rate {
                None => format!("TCP {direction} beside {name}"),
                Some(rate) => format!("TCP {direction} beside {name}, {rate}/s"),
            };
            let (null, frames) = beside(site, words, &flood.line(site, CLOSED, rate)?)?;
            values.push((format!("{what}, null"), "Gbit/s", null));
            values.push((format!("  flood, {what}, null"), "packets/s", frames));
            if null < alone * MEANINGFUL {
                println!(
                    "{what}: the null flood leaves {null:.3} of {alone:.2} Gbit/s, so that nothing can be said"
                );
                continue;
            }
            let (real, frames) = beside(site, words, &flood.line(site, &router, rate)?)?;
            values.push((what.clone(), "Gbit/s", real));
            values.push((format!("  flood, {what}"), "packets/s", frames));
            values.push((format!("  kept, {what}"), "%", real / null * 100.0));
            break;
        }
    }
    Ok(())
}

impl Flood {
    /// The command that sends to this MAC address.
    fn line(self, site: &Site, mac: &str, rate: Option<u32>) -> Result<String> {
        let tap = &site.wan.tap;
        Ok(match self {
            Flood::Frames(packet) => {
                let rate = rate.map_or(String::new(), |rate| format!("--rate {rate}pps"));
                format!(
                    "trafgen --dev {tap} --cpus 1 --ring-size {RING} {rate} '{{ eth(da={mac}), {packet} }}'"
                )
            }
            Flood::Scan => {
                site.wan
                    .run(&format!("ip neigh replace 203.0.113.3 lladdr {mac} nud permanent dev {tap}"))?;
                let rate = rate.unwrap_or(1_000_000);
                format!(
                    "sh -c 'while :; do nmap -n -Pn -sS -T5 --max-retries 0 --min-rate {rate} --send-ip \
                     --disable-arp-ping -p- 203.0.113.3; done'"
                )
            }
        })
    }
}

/// The Gbit/s of a transfer while a program of the WAN's side is at work, and how many frames a second that one sends.
fn beside(site: &Site, words: &str, line: &str) -> Result<(f64, f64)> {
    let mut sender = None;
    let run = std::thread::scope(|scope| {
        let transfer = scope.spawn(|| iperf(site, &format!("-t {SECONDS} {words}")));
        sleep(LEAD);
        sender = Some(Sender::start(&site.wan, line));
        transfer.join().expect("iperf3's thread does not panic")
    })?;
    let frames = sender.context("a flood")??.end()?;
    Ok((transfer(&run)?, frames))
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

/// A program that sends what it can while nobody else wants the processor.
struct Sender<'a> {
    program: Child,
    wan: &'a Namespace,
    started: Instant,
    before: u64,
}

impl<'a> Sender<'a> {
    fn start(wan: &'a Namespace, line: &str) -> Result<Sender<'a>> {
        let before = taken(wan)?;
        let mut command = wan.command(&format!("exec timeout -s INT {FLOOD} chrt --idle 0 {line}"));
        let program = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("a flood")?;
        Ok(Sender { program, wan, started: Instant::now(), before })
    }

    /// Ends it; gives the frames that it sent, per second.
    fn end(mut self) -> Result<f64> {
        let frames = taken(self.wan)? - self.before;
        let rate = frames as f64 / self.started.elapsed().as_secs_f64();
        ensure!(self.program.try_wait()?.is_none(), "a flood that ended too early");
        self.kill();
        Ok(rate)
    }

    /// Ends the program and those that it has started: timeout(1) leads a group.
    fn kill(&mut self) {
        // It may have been ended already.
        let _ = kill_process_group(Pid::from_child(&self.program), Signal::KILL);
        let _ = self.program.wait();
    }
}

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Frames that the tap has had room for so far. Of others trafgen tries again.
fn taken(wan: &Namespace) -> Result<u64> {
    let said = wan.run(&format!("ip -s -j link show dev {}", wan.tap))?.stdout;
    let list: Value = serde_json::from_slice(&said)?;
    list[0]["stats64"]["tx"]["packets"].as_u64().context("a counter of the tap")
}
