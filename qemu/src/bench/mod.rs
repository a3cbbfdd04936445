//! `bench`: the figures of the router on this machine, beside those of Linux, as a table, as JSON and as a plot.

mod boot;
mod frame;
mod guest;
mod host;
mod idle;
mod instructions;
mod linux;
mod masquerade;
mod memory;
mod plot;
mod profile;
mod record;
mod report;
mod taps;

use std::path::PathBuf;

use anstream::println;
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use qemu::machine::Board;
use qemu::{image, workspace};
use serde_json::json;

use guest::Guest;
use host::Host;
use report::Report;

#[derive(clap::Args)]
pub struct Options {
    /// Measure another router beside it
    #[arg(long, value_name = "ROUTER")]
    against: Option<Other>,
    /// How often each figure is measured; the table has the medians
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure this only
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<Part>,
    /// q35, pc or microvm, with QEMU's own options after a comma
    #[arg(long, value_name = "MACHINE", default_value = "q35")]
    machine: Board,
    /// Let the taps have one queue each, not several
    #[arg(long)]
    one_queue: bool,
    /// Measure this image instead of building one
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Fail where a packet costs more instructions than is recorded
    #[arg(long)]
    guard: bool,
    /// Record what a packet costs
    #[arg(long, conflicts_with = "guard")]
    record: bool,
    /// Where the figures go as JSON [default: bench/figures.json in cargo's target directory]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Other {
    /// Debian's kernel with busybox and iptables
    Linux,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Bytes that QEMU loads
    Image,
    /// Instructions of the guest for a packet
    Instructions,
    /// The time until the first packet is forwarded
    Boot,
    /// The smallest memory
    Memory,
    /// The smallest memory with 64 k flows, and with 1 M
    Flows,
    /// What an idle router costs
    Idle,
    /// Gbit/s with one stream and with four
    Tcp,
    /// Small and large packets per second
    Packets,
    /// TCP connections per second
    Connections,
    /// Round trips, idle and under load
    Latency,
    /// What TCP keeps under floods from outside; only where it is asked for
    Flood,
    /// The functions that a packet's instructions are spent in; only where it is asked for
    Profile,
}

/// Parts that are left out where nobody asks for them.
const ON_REQUEST: [Part; 2] = [Part::Flood, Part::Profile];

/// What is measured, and how.
struct Bench {
    guests: Vec<Guest>,
    rounds: u32,
    board: Board,
    one_queue: bool,
}

/// Measures. Each part starts machines of its own; in each round, the guests take turns.
pub fn run(options: Options) -> Result<()> {
    let mut guests = vec![Guest::Rutter(options.image.map_or_else(image::build, Ok)?)];
    if let Some(Other::Linux) = options.against {
        guests.push(Guest::linux()?);
    }
    let (host, load) = (Host::look(&options.machine)?, host::load());
    println!("{host}, load {}", load.map_or("unknown".into(), |load| load.to_string()));
    let mut report = Report::new(guests.iter().map(Guest::name).collect());
    let bench =
        Bench { guests, rounds: options.rounds, board: options.machine, one_queue: options.one_queue };
    let all = Part::value_variants().iter().filter(|part| !ON_REQUEST.contains(part)).copied();
    let parts = if options.only.is_empty() { all.collect() } else { options.only };
    // What cannot be measured does not keep the rest from it.
    let mut failures = Vec::new();
    for part in parts {
        if let Err(error) = part.measure(&bench, &mut report) {
            failures.push(format!("{part:?}: {error:#}"));
        }
        report.print();
    }

    let path = options.json.unwrap_or_else(|| workspace::target().join("bench/figures.json"));
    let folder = path.parent().context("a file")?;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let text = serde_json::to_string_pretty(&json!({
        "host": host.json(),
        "load": { "before": load, "after": host::load() },
        "rounds": bench.rounds,
        "figures": report.json(),
    }))?;
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    println!("written to {}", path.display());
    let plot = path.with_extension("svg");
    if plot::draw(&report, &plot)? {
        println!("drawn to {}", plot.display());
    }
    ensure!(failures.is_empty(), "not measured: {}", failures.join("; "));
    if options.record {
        record::write(&report)?;
    }
    if options.guard { record::guard(&report) } else { Ok(()) }
}

impl Part {
    fn measure(self, bench: &Bench, report: &mut Report) -> Result<()> {
        match self {
            Part::Image => {
                for (number, guest) in bench.guests.iter().enumerate() {
                    report.add(number, "image", "bytes", guest.size()? as f64);
                }
                Ok(())
            }
            Part::Instructions => instructions::measure(bench, report),
            Part::Boot => boot::measure(bench, report),
            Part::Memory => memory::measure(bench, report),
            Part::Flows => memory::measure_flows(bench, report),
            Part::Idle => idle::measure(bench, report),
            Part::Tcp => taps::tcp(bench, report),
            Part::Packets => taps::packets(bench, report),
            Part::Connections => taps::connections(bench, report),
            Part::Latency => taps::latency(bench, report),
            Part::Flood => taps::flood(bench, report),
            Part::Profile => profile::print(bench),
        }
    }
}
