//! A guest between two namespaces: a gateway with a host on each side.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use qemu::machine::{Board, Machine};
use qemu::nic::{Cable, Nic};
use qemu::{setup, workspace};

use super::super::guest::Guest;
use super::Cpu;
use super::namespace::Namespace;

/// The host on the WAN, which is the home gateway's default route, too.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const LAPTOP: &str = "192.168.1.10/24";

/// The site.
pub struct Site {
    pub lan: Namespace,
    pub wan: Namespace,
    machine: Child,
}

/// How long something took, and what the machine used meanwhile.
pub struct Cost {
    pub seconds: f64,
    pub cpu: Cpu,
}

impl Site {
    /// Starts the machine with this configuration and waits until it forwards.
    pub fn start(guest: &Guest, board: &Board, config: &str, one_queue: bool) -> Result<Site> {
        let qemu = setup::qemu()?;
        let namespace = |side| Namespace::new(guest.name(), side, one_queue);
        let (lan, wan) = (namespace("lan")?, namespace("wan")?);
        let folder = workspace::target().join("bench");
        std::fs::create_dir_all(&folder)?;
        let disk = folder.join(format!("taps_{}.disk", guest.name()));
        guest.write_disk(config, &disk)?;
        let console = folder.join(format!("taps_{}.log", guest.name()));
        let nics = [&lan, &wan].map(|namespace| Cable::Tap(namespace.tap.clone()));
        let machine = Machine {
            board: board.clone(),
            memory: guest.memory(),
            nics: nics.into_iter().enumerate().map(|(index, cable)| Nic::new(index, cable)).collect(),
            config: Some(disk),
            append: guest.command_line().into(),
            serial: vec!["-serial".into(), format!("file:{}", console.display()).into()],
            // The threads tell what they are.
            more: ["-name", "debug-threads=on"].map(Into::into).to_vec(),
            ..Machine::new(guest.image().to_owned())
        };
        let qemu = machine.command(&qemu);
        // QEMU ends with this program, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(qemu.get_program()).args(qemu.get_args());
        command.envs(qemu.get_envs().filter_map(|(key, value)| Some((key, value?))));
        let machine = command.stdin(Stdio::null()).spawn().context("QEMU")?;
        let site = Site { lan, wan, machine };
        site.lan.join(LAPTOP)?;
        site.wan.join(&format!("{SERVER}/24"))?;
        site.lan.run("ip route add default via 192.168.1.1")?;
        site.lan
            .run(&format!("timeout 90 sh -c 'until ping -q -c 1 -W 1 {SERVER}; do :; done'"))
            .with_context(|| format!("no ping through; the console's log is {}", console.display()))?;
        Ok(site)
    }

    /// What the machine uses while `act` runs.
    pub fn during<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<(T, Cost)> {
        let (start, before) = (Instant::now(), self.cpu()?);
        let result = act()?;
        Ok((result, Cost { seconds: start.elapsed().as_secs_f64(), cpu: self.cpu()? - before }))
    }

    fn cpu(&self) -> Result<Cpu> {
        Cpu::of(self.machine.id())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // A machine that has ended already is no error.
        let _ = self.machine.kill();
        let _ = self.machine.wait();
    }
}
