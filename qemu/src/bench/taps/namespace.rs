//! A network namespace with a tap. Read ip-netns(8).

use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use qemu::tap::Counters;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A namespace of this process. It ends with this value.
pub struct Namespace {
    name: String,
    pub tap: String,
}

impl Namespace {
    /// A namespace named after `guest` and `side`, and a tap that is not in it yet: QEMU opens it first. The tap has one queue
    /// or several.
    pub fn new(guest: &str, side: &str, one_queue: bool) -> Result<Namespace> {
        let pid = std::process::id();
        let namespace = Namespace {
            name: format!("rutter-{pid}-{guest}-{side}"),
            // A name has 15 letters at most.
            tap: format!("{}{}{pid}", &guest[..1], &side[..1]),
        };
        sh(&format!("ip netns add {}", namespace.name))?;
        let queues = if one_queue { "" } else { "multi_queue" };
        sh(&format!("ip tuntap add {0} mode tap vnet_hdr {queues} && ip link set {0} up", namespace.tap))?;
        Ok(namespace)
    }

    /// Takes the tap in once QEMU has it, and gives it an address.
    pub fn join(&self, address: &str) -> Result<()> {
        let Namespace { name, tap } = self;
        // A tap without a reader has no carrier.
        sh(&format!("timeout 30 sh -c 'until grep -q 1 /sys/class/net/{tap}/carrier; do sleep 0.01; done'"))?;
        sh(&format!("ip link set {tap} netns {name}"))?;
        self.run(&format!("ip link set lo up && ip addr add {address} dev {tap} && ip link set {tap} up"))?;
        Ok(())
    }

    /// A shell's command line in here.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "sh", "-c", line]).stdin(Stdio::null());
        command
    }

    /// Runs a command line that must succeed.
    pub fn run(&self, line: &str) -> Result<Output> {
        succeed(self.command(line), line)
    }

    /// Calls `act` on a thread that is in here. The sockets that it opens stay here wherever they are used.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.name);
        let enter = || -> Result<T> {
            let file = File::open(&path).with_context(|| path.clone())?;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            act()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().expect("a measurement does not panic"))
    }

    /// What the tap has counted so far.
    pub fn counters(&self) -> Result<Counters> {
        self.inside(|| Counters::of(&self.tap))
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
