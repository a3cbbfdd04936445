//! `run`: the router with this terminal as its console.

use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use qemu::machine::{Accel, Board, Machine, shell_line};
use qemu::nic::{Cable, Nic};
use qemu::{capture, image, setup};

#[derive(clap::Args)]
pub struct Options {
    /// Cable of eth0: user[,OPTION..], tap:NAME, fd:N, unix:PATH, none [default: a unix socket that is printed]
    #[arg(long, value_name = "SPEC")]
    lan: Option<Cable>,
    /// Cable of eth1
    #[arg(long, value_name = "SPEC", default_value = "user")]
    wan: Cable,
    /// Cable of eth2, eth3, ...
    #[arg(long, value_name = "SPEC")]
    nic: Vec<Cable>,
    /// Unix socket of the second serial port, which `capture` reads [default: one that `capture` finds]
    #[arg(long, value_name = "PATH")]
    capture: Option<PathBuf>,
    /// Commands that configure the router, instead of its own default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Words for the router itself, for example config=none
    #[arg(long, value_name = "WORDS", default_value = "", hide_default_value = true)]
    append: String,
    /// q35, pc or microvm, with QEMU's own options after a comma
    #[arg(long, value_name = "MACHINE", default_value = "q35")]
    machine: Board,
    /// Memory of the machine
    #[arg(long, value_name = "MiB", default_value_t = 128)]
    memory: u32,
    /// What runs the guest [default: kvm where it works, else tcg]
    #[arg(long, value_enum)]
    accel: Option<Accel>,
    /// Boot this image instead of building one
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Print QEMU's command line instead of starting it
    #[arg(long)]
    print: bool,
}

pub fn run(options: Options) -> Result<()> {
    let qemu = setup::qemu()?;
    let image = options.image.map_or_else(image::build, Ok)?;
    if let Some(config) = &options.config {
        std::fs::File::open(config).with_context(|| config.display().to_string())?;
    }
    let cables = [options.lan.unwrap_or_else(default_lan), options.wan].into_iter().chain(options.nic);
    let capture_socket = options.capture.unwrap_or_else(|| unless_taken(capture::default_socket()));
    let machine = Machine {
        board: options.machine,
        memory: options.memory,
        accel: options.accel.unwrap_or_else(Accel::best),
        nics: cables.enumerate().map(|(index, cable)| Nic::new(index, cable)).collect(),
        config: options.config,
        append: options.append,
        more: capture::port(&capture_socket),
        ..Machine::new(image)
    };
    let mut command = machine.command(&qemu);
    if options.print {
        println!("{}", shell_line(&command));
        return Ok(());
    }
    for (index, nic) in machine.nics.iter().enumerate() {
        if let Some(words) = nic.cable.other_end() {
            eprintln!(
                "rutter: another machine joins eth{index} with: {words} -device virtio-net-pci,netdev=net0"
            );
        }
    }
    let socket = if capture_socket == capture::default_socket() {
        String::new()
    } else {
        format!(" --socket {}", capture_socket.display())
    };
    eprintln!("rutter: frames go to a file with: cargo run -- capture{socket} --out FILE.pcapng");
    eprintln!("rutter: Ctrl-A X quits, Ctrl-A H lists the other keys, Ctrl-A Ctrl-A is Ctrl-A itself");
    // The machine takes this process's place: signals and the exit status are its own.
    Err(command.exec()).context("QEMU")
}

/// A socket of this user.
fn default_lan() -> Cable {
    let dir = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let uid = rustix::process::getuid().as_raw();
    Cable::Unix(unless_taken(dir.join(format!("rutter-{uid}-lan.sock"))))
}

/// Where a router listens already, this one gets another socket.
fn unless_taken(path: PathBuf) -> PathBuf {
    let taken = UnixStream::connect(&path).is_ok();
    if taken { path.with_extension(format!("{}.sock", std::process::id())) } else { path }
}
