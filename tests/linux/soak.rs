//! Traffic of every kind at once, for as long as is asked: nothing stalls, nothing leaks, no byte changes.

use qemu::lab::Lab;
use serde_json::Value;
use std::{
    env,
    fmt::Display,
    fs,
    time::{Duration, Instant},
};
use tests::{
    namespace::{in_namespace, sh},
    peer::{Peer, Running},
    site::Site,
};

const GATEWAY: &str = include_str!("../data/home-gateway.sh");

/// How long, in seconds: 20 where nobody says otherwise.
const SECONDS: &str = "RUTTER_SOAK_SECONDS";

/// Flows end soon after their last packet, so that what is left over can be told from what still waits.
const SHORT_LIVES: &str = "
sysctl -w net.netfilter.nf_conntrack_icmp_timeout=5
sysctl -w net.netfilter.nf_conntrack_udp_timeout=10
sysctl -w net.netfilter.nf_conntrack_udp_timeout_stream=10
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_syn_sent=10
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_syn_recv=10
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_fin_wait=10
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_close_wait=10
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_last_ack=10
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_time_wait=10
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_unacknowledged=10
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_max_retrans=10
";

/// Of iperf3 in each direction.
const STREAMS: usize = 4;
/// Seconds for which one of them may be shut out by the others.
const SILENCE: usize = 10;
/// Length of the file whose content is looked at.
const FILE: usize = 4_000_000;

/// Memory may grow a little: the console remembers lines, the log fills its ring.
const GROWTH_KIB: u64 = 256;

/// What the router holds on to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Held {
    flows: u64,
    frames: u64,
    memory_kib: u64,
}

impl Held {
    fn by(lab: &mut Lab) -> Self {
        let number = |text: &str| text.trim().parse().unwrap_or_else(|_| panic!("no number: {text:?}"));
        let flows = number(&ask(lab, "conntrack -C"));
        let free = ask(lab, "free");
        let used = |row| {
            let line = free.lines().find(|line| line.starts_with(row)).unwrap_or_else(|| panic!("{free}"));
            number(line.split_whitespace().nth(2).unwrap_or_default())
        };
        Self { flows, frames: used("Frames:"), memory_kib: used("Mem:") }
    }

    fn leaks(&self, before: &Self) -> bool {
        self.flows > before.flows
            || self.frames > before.frames
            || self.memory_kib > before.memory_kib + GROWTH_KIB
    }
}

fn ask(lab: &mut Lab, command: &str) -> String {
    lab.command(command).expect("the console answers").text
}

/// Waits until the router holds no more than it should.
fn settled(lab: &mut Lab, enough: impl Fn(&Held) -> bool) -> Held {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let held = Held::by(lab);
        if enough(&held) || Instant::now() > deadline {
            return held;
        }
        lab.run_for(Duration::from_millis(500)).expect("the machine runs");
    }
}

/// What was found: figures for whoever reads, and faults.
#[derive(Default)]
struct Report {
    faults: Vec<String>,
}

impl Report {
    fn figure(&self, name: &str, value: impl Display) {
        println!("soak: {name:<28} {value}");
    }

    fn expect(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(fault());
        }
    }

    /// The output of a program that should have ended well.
    fn output(&mut self, name: &str, output: Result<String, String>) -> String {
        output.unwrap_or_else(|error| {
            self.faults.push(format!("{name}: {error}"));
            String::new()
        })
    }

    /// What iperf3 tells of a run.
    fn run(&mut self, name: &str, output: Result<String, String>) -> Value {
        let run: Value = serde_json::from_str(&self.output(name, output)).unwrap_or_default();
        self.expect(run["error"].is_null(), || format!("{name}: {}", run["error"]));
        run
    }

    /// Four streams of TCP, of which iperf3 tells once a second.
    fn streams(&mut self, name: &str, output: Result<String, String>) {
        let run = self.run(name, output);
        let seconds = run["intervals"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut rates: Vec<f64> = seconds.iter().map(|second| bits(&second["sum"]) / 1e9).collect();
        let stalled: Vec<_> = seconds.iter().filter(|second| bits(&second["sum"]) <= 0.0).collect();
        self.expect(!rates.is_empty() && stalled.is_empty(), || {
            let told: Vec<_> = stalled.iter().map(|second| told(second)).collect();
            format!(
                "{name}: nothing moved in {} of {} seconds:\n{}",
                told.len(),
                rates.len(),
                told.join("\n")
            )
        });
        let silence = (0..STREAMS).map(|stream| longest_silence(seconds, stream)).max().unwrap_or_default();
        self.expect(silence < SILENCE, || format!("{name}: a stream was silent for {silence} s"));
        rates.sort_by(f64::total_cmp);
        let at = |share: usize| rates.get((rates.len() * share / 100).min(rates.len().saturating_sub(1)));
        let [least, median, most] = [0, 50, 100].map(|share| at(share).copied().unwrap_or_default());
        let bytes = run["end"]["sum_received"]["bytes"].as_f64().unwrap_or_default() / 1e9;
        self.figure(
            name,
            format_args!(
                "{bytes:.1} GB; {least:.3} / {median:.3} / {most:.3} Gbit/s (least, median, most of {} seconds); \
                 longest silence of one stream {silence} s",
                rates.len()
            ),
        );
    }

    fn flood(&mut self, name: &str, output: Result<String, String>) {
        let run = self.run(name, output);
        let number = |field: &str| run["end"]["sum"][field].as_f64().unwrap_or_default();
        let (sent, lost) = (number("packets"), number("lost_packets"));
        self.expect(sent > lost, || format!("{name}: of {sent} datagrams {lost} were lost"));
        self.figure(name, format_args!("{sent} datagrams sent, {:.1} % lost", lost / sent * 100.0));
    }

    fn files(&mut self, name: &str, output: Result<String, String>) {
        let count = self.output(name, output);
        self.expect(count.trim() != "0", || format!("{name}: not one file arrived"));
        self.figure(name, format_args!("{} files of {FILE} bytes, each with the right hash", count.trim()));
    }
}

fn bits(of: &Value) -> f64 {
    of["bits_per_second"].as_f64().unwrap_or_default()
}

/// When a second was, and what its streams waited for.
fn told(second: &Value) -> String {
    let fields = ["retransmits", "snd_cwnd", "rtt"];
    let stream = |stream: &Value| fields.map(|field| format!("{field} {}", stream[field])).join(" ");
    let streams: Vec<_> = second["streams"].as_array().into_iter().flatten().map(stream).collect();
    format!("at {} s for {} s: {}", second["sum"]["start"], second["sum"]["seconds"], streams.join("; "))
}

/// The most seconds in a row in which nothing of a stream moved.
fn longest_silence(seconds: &[Value], stream: usize) -> usize {
    let silent = |second: &Value| bits(&second["streams"][stream]) <= 0.0;
    seconds.split(|second| !silent(second)).map(<[Value]>::len).max().unwrap_or_default()
}

/// Fetches a file again and again, and compares its hash each time; prints how often.
fn fetch(peer: &Peer, url: &str, hash: &str, seconds: u64) -> Running {
    peer.begin(&format!(
        "end=$(($(date +%s) + {seconds})); count=0
         while [ $(date +%s) -lt $end ]; do
             sum=$(curl -sS -f -m 60 {url} | sha256sum)
             [ \"$sum\" = \"{hash}  -\" ] || {{ echo \"fetched {url}: $sum\" >&2; exit 1; }}
             count=$((count + 1))
         done
         echo $count"
    ))
}

#[test]
fn all_kinds_of_traffic_at_once_neither_stall_nor_leak() {
    in_namespace(&["ip", "setpriv", "iperf3", "curl", "python3"], || {
        let seconds = env::var(SECONDS).map_or(20, |text| text.parse().expect(SECONDS));
        let mut site = Site::with_rutter("linux-soak", GATEWAY);
        site.lab().commands(SHORT_LIVES).expect("all of these can be set");

        let folder = env::temp_dir().join(format!("rutter-soak-{}", site.server.id()));
        fs::create_dir_all(&folder).expect("a folder for temporary files");
        let file = folder.join("file");
        let hash = sh(&format!("head -c {FILE} /dev/urandom > {0}; sha256sum < {0}", file.display()));
        let hash = hash.expect("room for a file");
        let hash = hash.split_whitespace().next().expect("a hash");
        let serve = format!("python3 -u -m http.server -d {} 80", folder.display());
        let _inside = site.server.start(&serve, "Serving HTTP");
        let _outside = site.internet.start(&serve, "Serving HTTP");
        let _servers = ["5201", "5202", "5203"].map(|port| {
            let serve = format!("iperf3 -s -B 198.51.100.7 -p {port} --forceflush");
            site.internet.start(&serve, "Server listening")
        });

        site.lab().commands("conntrack -F").expect("flows can be ended");
        let before = settled(site.lab(), |held| held.flows == 0);
        let iperf = |site: &Site, words: &str| {
            let limit = seconds + 60;
            site.laptop.begin(&format!("timeout {limit} iperf3 -J -t {seconds} -c 198.51.100.7 {words}"))
        };
        // iperf3 begins UDP with one datagram and its answer, and gives up where one of them is lost.
        let flood = iperf(&site, "-p 5203 -u -b 5M -l 64");
        settled(site.lab(), |held| held.flows >= 2);
        let up = iperf(&site, &format!("-p 5201 -C reno -P {STREAMS}"));
        let down = iperf(&site, &format!("-p 5202 -C reno -P {STREAMS} -R"));
        let fetched_out = fetch(&site.laptop, "http://198.51.100.7/file", hash, seconds);
        let fetched_in = fetch(&site.internet, "http://203.0.113.2:8080/file", hash, seconds);

        let mut report = Report::default();
        let mut slowest = Duration::ZERO;
        let end = Instant::now() + Duration::from_secs(seconds);
        let left = || end.saturating_duration_since(Instant::now());
        while !left().is_zero() {
            site.lab().run_for(left().min(Duration::from_secs(60))).expect("the machine runs");
            let asked = Instant::now();
            let held = Held::by(site.lab());
            slowest = slowest.max(asked.elapsed());
            println!("soak: {} s to go, {held:?}", left().as_secs());
        }
        report.streams("four streams up", up.end());
        report.streams("four streams down", down.end());
        report.flood("UDP flood", flood.end());
        report.files("files through the masquerade", fetched_out.end());
        report.files("files by the forwarded port", fetched_in.end());
        let after = settled(site.lab(), |held| !held.leaks(&before));
        report.expect(!after.leaks(&before), || format!("a leak: {before:?}, and then {after:?}"));
        report.figure("held before", format_args!("{before:?}"));
        report.figure("held after", format_args!("{after:?}"));
        report.figure("slowest of four answers", format_args!("{} ms at the console", slowest.as_millis()));
        for command in ["conntrack -S", "drops", "ip -s link"] {
            println!("rutter# {command}\n{}", ask(site.lab(), command));
        }
        // An error would leave a file in the folder for temporary ones.
        let _ = fs::remove_dir_all(&folder);
        if !report.faults.is_empty() {
            panic!("soak: FAILED after {seconds} s:\n{}", report.faults.join("\n"));
        }
        println!("soak: PASSED, {seconds} s");
        site.finish();
    });
}
