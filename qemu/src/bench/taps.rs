//! Throughput between two network namespaces, through the masquerade, over taps. Needs root.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anstream::println;
use anyhow::{Context, Result, ensure};
use qemu::machine::Machine;
use qemu::nic::{Cable, Nic};
use qemu::{image, setup};
use serde_json::Value;

use super::{Figures, median};

const CONFIG: &str = "
ip addr add 10.91.0.1/24 dev eth0
ip addr add 10.92.0.1/24 dev eth1
ip link set eth0 up
ip link set eth1 up
sysctl -w net.ipv4.ip_forward=1
iptables -P FORWARD DROP
iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A FORWARD -i eth0 -j ACCEPT
iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
";
const SERVER: &str = "10.92.0.2";
const ROUNDS: usize = 3;
const SECONDS: &str = "4";

pub fn measure(figures: &mut Figures) -> Result<()> {
    if !rustix::process::geteuid().is_root() || !Path::new("/dev/net/tun").exists() {
        println!("throughput over taps: not measured, it needs root and /dev/net/tun");
        return Ok(());
    }
    setup::test_programs()?;
    let bench = Bench::start()?;
    let gbits = |run: &Value| run["end"]["sum_received"]["bits_per_second"].as_f64().map(|bits| bits / 1e9);
    let packets = |run: &Value| {
        let sum = &run["end"]["sum"];
        Some((sum["packets"].as_f64()? - sum["lost_packets"].as_f64()?) / sum["seconds"].as_f64()?)
    };
    figures.add("TCP, one stream, up", "Gbit/s", bench.iperf(&["-C", "reno"], gbits)?);
    figures.add("TCP, one stream, down", "Gbit/s", bench.iperf(&["-C", "reno", "-R"], gbits)?);
    // 18 bytes of payload make a frame of 64 with its check sequence.
    figures.add(
        "UDP, frames of 64 bytes",
        "packets/s",
        bench.iperf(&["-u", "-b", "0", "-l", "18"], packets)?,
    );
    Ok(())
}

/// Two namespaces with a tap each, and the router between them.
struct Bench {
    machine: Child,
    lan: Namespace,
    wan: Namespace,
    folder: PathBuf,
}

impl Bench {
    fn start() -> Result<Bench> {
        let qemu = setup::qemu()?;
        let (lan, wan) = (Namespace::new("lan")?, Namespace::new("wan")?);
        let folder = qemu::workspace::target().join("lab/bench_taps");
        std::fs::create_dir_all(&folder)?;
        let config = folder.join("router.conf");
        std::fs::write(&config, CONFIG)?;

        // The taps move to their namespaces once QEMU has opened them.
        for namespace in [&lan, &wan] {
            sh(&format!("ip tuntap add {0} mode tap vnet_hdr && ip link set {0} up", namespace.tap))?;
        }
        let nics = [&lan, &wan].map(|namespace| Cable::Tap(namespace.tap.clone()));
        let console = folder.join("console.log");
        let machine = Machine {
            nics: nics.into_iter().enumerate().map(|(index, cable)| Nic::new(index, cable)).collect(),
            config: Some(config),
            serial: vec!["-serial".into(), format!("file:{}", console.display()).into()],
            ..Machine::new(image::build()?)
        };
        let machine = machine.command(&qemu).stdin(Stdio::null()).spawn().context("QEMU")?;
        let bench = Bench { machine, lan, wan, folder };
        bench.lan.join("10.91.0.2/24")?;
        bench.wan.join(&format!("{SERVER}/24"))?;
        bench.lan.run("ip route add default via 10.91.0.1")?;
        // Asks until the router is there.
        bench
            .lan
            .run(&format!("ping -q -c 1 -i 0.2 -w 20 {SERVER}"))
            .context("no ping through the router")?;
        Ok(bench)
    }

    /// The median of what `figure` reads from several runs of iperf3.
    fn iperf(&self, words: &[&str], figure: impl Fn(&Value) -> Option<f64>) -> Result<f64> {
        let mut values = Vec::new();
        for _ in 0..ROUNDS {
            let mut server = self.wan.command("iperf3 -s -1").stdout(Stdio::null()).spawn()?;
            self.wan.run("timeout 5 sh -c 'until ss -ltn | grep -q :5201; do :; done'")?;
            let line = format!("iperf3 -J -c {SERVER} -t {SECONDS} {}", words.join(" "));
            let output = self.lan.run(&line)?;
            server.wait()?;
            let run: Value = serde_json::from_slice(&output.stdout).context("iperf3's JSON")?;
            values.push(figure(&run).with_context(|| format!("iperf3 says {run}"))?);
        }
        Ok(median(values))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Nothing here can be helped by an error.
        let _ = self.machine.kill();
        let _ = self.machine.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A network namespace of this process, with a tap.
struct Namespace {
    name: String,
    tap: String,
}

impl Namespace {
    fn new(side: &str) -> Result<Namespace> {
        let name = format!("rutter-{}-{side}", std::process::id());
        sh(&format!("ip netns add {name}"))?;
        Ok(Namespace { name, tap: format!("rt{}{side}", std::process::id()) })
    }

    /// Takes the tap in, and gives it an address.
    fn join(&self, address: &str) -> Result<()> {
        let Namespace { name, tap } = self;
        // QEMU opens the tap when it starts; a tap without a reader has no carrier.
        sh(&format!("timeout 20 sh -c 'until grep -q 1 /sys/class/net/{tap}/carrier; do :; done'"))?;
        sh(&format!("ip link set {tap} netns {name}"))?;
        self.run(&format!("ip addr add {address} dev {tap} && ip link set {tap} up"))?;
        Ok(())
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "sh", "-c", line]).stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Result<Output> {
        succeed(self.command(line), line)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The tap is in one of two places.
        let _ = sh(&format!("ip link del {} 2>/dev/null; ip netns del {}", self.tap, self.name));
    }
}

fn sh(line: &str) -> Result<Output> {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    succeed(command, line)
}

fn succeed(mut command: Command, line: &str) -> Result<Output> {
    let output = command.output().with_context(|| line.to_owned())?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{line}` failed ({}): {}", output.status, error.trim());
    Ok(output)
}
