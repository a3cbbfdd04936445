//! What an established TCP transfer keeps under a flood from the WAN, beside what it keeps under a null flood: the same
//! frames to a MAC address that nobody has, which cost the host as much and the router nothing. The frames come as fast
//! as one processor sends them (trafgen(8)).

use std::net::UdpSocket;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use qemu::nic::{Cable, Nic, mac_text};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Values;
use super::namespace::Namespace;
use super::site::{SERVER, Site};
use super::tcp::iperf;

/// The table is full with so many flows.
pub const SETTINGS: &str = "
sysctl -w net.netfilter.nf_conntrack_max=2000
ip addr add 203.0.113.3/24 dev eth1
iptables -t nat -A PREROUTING -d 203.0.113.3 -p tcp -j DNAT --to-destination 192.168.1.10
iptables -A FORWARD -i eth1 -d 192.168.1.10 -p tcp -j ACCEPT
";
/// More than fit in beside the transfer: the last ones are refused.
const FLOWS: u16 = 2020;
const FIRST_PORT: u16 = 20_000;
const ECHO_PORT: u16 = 9002;
/// How long a transfer lasts, in seconds, and which of them count: the flood begins and ends beside them.
const SECONDS: usize = 6;
const COUNTED: std::ops::Range<usize> = 2..5;
/// The flood begins when the transfer is under way.
const LEAD: Duration = Duration::from_millis(1000);
/// It outlasts the transfer, and is ended with it.
const FLOOD: u32 = 60;
/// A MAC address that nobody has.
const CLOSED: &str = "02:00:00:00:de:ad";
const DIRECTIONS: [(&str, &str); 2] = [("up", ""), ("down", "-R")];

/// Floods: their names, and what follows the Ethernet header in trafgen's words.
const FLOODS: [(&str, &str); 2] = [
    (
        "SYNs to a closed port",
        "ipv4(sa=drnd(0x0b000000,0x63ffffff),da=203.0.113.2,ttl=64), tcp(sp=drnd(1024,65535),dp=drnd(10000,60000),syn,win=65535)",
    ),
    (
        "SYNs to a forwarded port",
        "ipv4(sa=drnd(0x0b000000,0x63ffffff),da=203.0.113.2,ttl=64), tcp(sp=drnd(1024,65535),dp=8080,syn,win=65535)",
    ),
];

/// Half-open flows fill the table, each taking the place of another one.
pub fn round(site: &Site) -> Result<Values> {
    let mut values = Values::new();
    for (name, packet) in FLOODS {
        compare(site, name, packet, &mut values)?;
    }
    scan(site, &mut values)?;
    // From here on the table is full of flows that stay.
    let before = fill(site)?;
    let (name, packet) = FLOODS[1];
    compare(site, &format!("{name}, table full"), packet, &mut values)?;
    let lost = before.saturating_sub(answered(site)?);
    values.push(("established flows lost with a full table".into(), "flows", lost as f64));
    Ok(values)
}

/// The throughput beside a null flood and beside the flood.
fn compare(site: &Site, name: &str, packet: &str, values: &mut Values) -> Result<()> {
    for (direction, words) in DIRECTIONS {
        let [null, real] = [CLOSED.to_owned(), router_mac(&site.wan)].map(|mac| {
            let line = format!("trafgen --dev {} --cpus 1 '{{ eth(da={mac}), {packet} }}'", site.wan.tap);
            beside(site, words, &line)
        });
        note(values, name, direction, null?, real?);
    }
    Ok(())
}

/// The same beside nmap, which takes the outer address to be at a MAC address that nobody has, and then at the router's.
fn scan(site: &Site, values: &mut Values) -> Result<()> {
    const NMAP: &str =
        "nmap -n -Pn -sS -T5 --max-retries 0 --min-rate 100000 --send-ip --disable-arp-ping -p- 203.0.113.3";
    for (direction, words) in DIRECTIONS {
        let [null, real] = [CLOSED.to_owned(), router_mac(&site.wan)].map(|mac| {
            let neighbor = format!("203.0.113.3 lladdr {mac} nud permanent dev {}", site.wan.tap);
            site.wan.run(&format!("ip neigh replace {neighbor}"))?;
            beside(site, words, &format!("sh -c 'while :; do {NMAP}; done'"))
        });
        note(values, "nmap", direction, null?, real?);
    }
    Ok(())
}

/// Each is Gbit/s of the transfer and frames a second of the flood.
fn note(values: &mut Values, name: &str, direction: &str, null: (f64, f64), real: (f64, f64)) {
    let what = format!("TCP {direction} beside {name}");
    values.push((format!("{what}, null"), "Gbit/s", null.0));
    values.push((what.clone(), "Gbit/s", real.0));
    values.push((format!("  kept, {what}"), "%", real.0 / null.0 * 100.0));
    values.push((format!("  flood, {what}, null"), "packets/s", null.1));
    values.push((format!("  flood, {what}"), "packets/s", real.1));
}

/// The Gbit/s of a transfer while a program of the WAN's side is at work, and how many frames a second that one sends.
fn beside(site: &Site, words: &str, line: &str) -> Result<(f64, f64)> {
    let mut flood = None;
    let run = std::thread::scope(|scope| {
        let transfer = scope.spawn(|| iperf(site, &format!("-t {SECONDS} {words}")));
        sleep(LEAD);
        flood = Some(Flood::start(&site.wan, line));
        transfer.join().expect("iperf3's thread does not panic")
    })?;
    let frames = flood.context("a flood")??.end()?;
    ensure!(run["error"].is_null(), "the transfer: {}", run["error"]);
    let seconds = run["intervals"].as_array().context("iperf3's intervals")?;
    let rate = |second: &Value| second["sum"]["bits_per_second"].as_f64();
    let counted: Vec<f64> = seconds.iter().filter_map(rate).skip(COUNTED.start).take(COUNTED.len()).collect();
    ensure!(!counted.is_empty(), "the transfer ended too early");
    Ok((counted.iter().sum::<f64>() / counted.len() as f64 / 1e9, frames))
}

/// A program that sends as fast as it can.
struct Flood<'a> {
    program: Child,
    wan: &'a Namespace,
    started: Instant,
    before: u64,
}

impl<'a> Flood<'a> {
    fn start(wan: &'a Namespace, line: &str) -> Result<Flood<'a>> {
        let before = offered(wan)?;
        let mut command = wan.command(&format!("exec timeout -s INT {FLOOD} {line}"));
        let program = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("a flood")?;
        Ok(Flood { program, wan, started: Instant::now(), before })
    }

    /// Ends it; gives the frames that it sent, per second.
    fn end(mut self) -> Result<f64> {
        let frames = offered(self.wan)? - self.before;
        let rate = frames as f64 / self.started.elapsed().as_secs_f64();
        let pid = Pid::from_child(&self.program);
        kill_process(pid, Signal::INT).context("a flood that ended too early")?;
        self.program.wait()?;
        Ok(rate)
    }
}

impl Drop for Flood<'_> {
    fn drop(&mut self) {
        // It may have been ended already.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Frames that were put into the tap so far, those that it had no room for as well.
fn offered(wan: &Namespace) -> Result<u64> {
    let said = wan.run(&format!("ip -s -j link show dev {}", wan.tap))?.stdout;
    let list: Value = serde_json::from_slice(&said)?;
    let counter = |name: &str| list[0]["stats64"]["tx"][name].as_u64().context("a counter of the tap");
    Ok(counter("packets")? + counter("dropped")?)
}

fn router_mac(wan: &Namespace) -> String {
    mac_text(Nic::new(1, Cable::Tap(wan.tap.clone())).mac)
}

/// Fills the table with flows that were answered; gives how many there are.
fn fill(site: &Site) -> Result<usize> {
    // Asked twice, answered twice: assured.
    answered(site)?;
    answered(site)
}

/// How many of the flows from the LAN are answered.
fn answered(site: &Site) -> Result<usize> {
    let echo = site.wan.inside(|| Ok(UdpSocket::bind((SERVER, ECHO_PORT))?))?;
    echo.set_read_timeout(Some(Duration::from_millis(200)))?;
    let clients: Vec<UdpSocket> = site.lan.inside(|| {
        let bind = |number| -> Result<UdpSocket> {
            let socket = UdpSocket::bind(("0.0.0.0", FIRST_PORT + number))?;
            socket.connect((SERVER, ECHO_PORT))?;
            socket.set_read_timeout(Some(Duration::from_millis(200)))?;
            Ok(socket)
        };
        (0..FLOWS).map(bind).collect()
    })?;
    let mut count = 0;
    let mut bytes = [0; 16];
    for client in clients {
        client.send(b"there?")?;
        // What a full table refuses does not arrive.
        if let Ok((length, from)) = echo.recv_from(&mut bytes) {
            echo.send_to(&bytes[..length], from)?;
            count += usize::from(client.recv(&mut bytes).is_ok());
        }
    }
    Ok(count)
}
