//! `cargo run`: the command line of the host program.

mod bench;
mod capture_command;
mod demo;
mod replay_command;
mod run;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use qemu::{image, setup};

/// Boots rutter, a router that is its own operating system, in QEMU.
///
/// Without a command, the router boots with this terminal as its console: its LAN is a unix socket that another
/// virtual machine can join, its WAN is QEMU's user network. What is missing on this machine (the Rust target of the
/// image, QEMU) is installed first.
#[derive(Parser)]
#[command(bin_name = "cargo run --", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Boot the router with this terminal as its console (Ctrl-A X quits)
    Run(run::Options),
    /// Write the frames of the router that runs to a file that Wireshark reads
    Capture(capture_command::Options),
    /// Send a recording of a router through the plane on this machine, and compare the verdicts
    Replay(replay_command::Options),
    /// Build the release image; the last line of output is its path
    Image,
    /// Play the hosts on both sides of the router, and judge what they see
    Demo(demo::Options),
    /// Measure the router on this machine
    Bench(bench::Options),
    /// Install what is missing on this machine, and nothing else
    Setup {
        /// Also the programs that tests and benchmarks start (iperf3, traceroute, ...)
        #[arg(long)]
        tests: bool,
    },
}

fn main() -> ExitCode {
    match execute(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("rutter: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Option<Command>) -> Result<()> {
    match command {
        None => execute(Arguments::parse_from(["rutter", "run"]).command),
        Some(Command::Run(options)) => run::run(options),
        Some(Command::Capture(options)) => capture_command::run(options),
        Some(Command::Replay(options)) => replay_command::run(options),
        Some(Command::Image) => {
            let image = image::build()?;
            println!("{}", image.display());
            Ok(())
        }
        Some(Command::Demo(options)) => demo::run(options),
        Some(Command::Bench(options)) => bench::run(options),
        Some(Command::Setup { tests }) => {
            setup::target()?;
            setup::qemu()?;
            if tests {
                setup::test_programs()?;
                setup::coturn("turnserver")?;
                setup::benchmark_runner()?;
            }
            Ok(())
        }
    }
}
