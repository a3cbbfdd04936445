//! How a lab begins: what it is to be, and the machine that is started for it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use command_fds::{CommandFdExt, FdMapping};
use smoltcp::wire::EthernetAddress;

use super::capture::Capture;
use super::link::Link;
use super::logs::Logs;
use super::{Console, Lab, PATIENCE, Qmp, Segment};
use crate::machine::{Accel, Board, Machine};
use crate::nic::{Cable, Nic};
use crate::{image, setup};

/// The machine's ends of the sockets, as descriptors of QEMU.
const CONSOLE_FD: i32 = 10;
const QMP_FD: i32 = 11;
const FIRST_CABLE_FD: i32 = 12;

/// What a lab is to be: tests name only their difference from the default.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names the folder with the logs.
    pub name: String,
    /// What boots; none is the router, built first.
    pub image: Option<PathBuf>,
    pub board: Board,
    pub accel: Accel,
    /// In MiB.
    pub memory: u32,
    /// Cards, each with a segment of its own.
    pub nics: usize,
    /// Further cards, behind those with a segment, whose cables end elsewhere.
    pub cables: Vec<Cable>,
    /// The text of the configuration; none leaves the router its own default.
    pub config: Option<String>,
    pub append: String,
    /// Further words for QEMU.
    pub more: Vec<OsString>,
}

impl Plan {
    /// The usual machine: q35, two cards, the router's default configuration.
    pub fn new(name: &str) -> Plan {
        Plan {
            name: name.into(),
            image: None,
            board: Board::q35(),
            accel: Accel::best(),
            memory: 64,
            nics: 2,
            cables: Vec::new(),
            config: None,
            append: String::new(),
            more: Vec::new(),
        }
    }
}

impl Lab {
    /// Starts the machine, and does not wait for it.
    pub fn start(plan: Plan) -> Result<Lab> {
        let qemu = setup::qemu()?;
        let logs = Logs::create(&plan.name)?;
        let config = plan.config.as_deref().map(|text| logs.write("router.conf", text)).transpose()?;
        let (console, console_end) = Console::pair(logs.file("console.log")?)?;
        let (qmp, qmp_end) = Qmp::pair()?;
        let mut ends = vec![
            FdMapping { parent_fd: console_end, child_fd: CONSOLE_FD },
            FdMapping { parent_fd: qmp_end, child_fd: QMP_FD },
        ];
        let mut segments = Vec::new();
        let mut nics = Vec::new();
        for (index, fd) in (0..plan.nics).zip(FIRST_CABLE_FD..) {
            let (link, end) = Link::pair()?;
            let nic = Nic::new(index, Cable::Stream(fd));
            segments.push(Segment::new(index, link, EthernetAddress(nic.mac)));
            nics.push(nic);
            ends.push(FdMapping { parent_fd: end, child_fd: fd });
        }
        let elsewhere = plan.cables.into_iter().zip(plan.nics..);
        nics.extend(elsewhere.map(|(cable, index)| Nic::new(index, cable)));
        let machine = Machine {
            board: plan.board,
            accel: plan.accel,
            memory: plan.memory,
            nics,
            config,
            append: plan.append,
            serial: words(&format!("-chardev socket,id=console,fd={CONSOLE_FD} -serial chardev:console")),
            more: [
                words(&format!("-chardev socket,id=qmp,fd={QMP_FD} -mon chardev=qmp,mode=control")),
                plan.more,
            ]
            .concat(),
            ..Machine::new(plan.image.map_or_else(image::build, Ok)?)
        };
        let capture = Capture::create(&logs.path("packets.pcapng"), plan.nics)?;
        let started = Instant::now();
        let child = spawn(&machine.command(&qemu), ends, &logs)?;
        Ok(Lab { console, qmp, segments, patience: PATIENCE, child, capture, logs, started })
    }
}

fn words(text: &str) -> Vec<OsString> {
    text.split(' ').map(OsString::from).collect()
}

/// Starts QEMU with the machine's ends of all sockets. It ends with this program, however that ends.
fn spawn(qemu: &Command, ends: Vec<FdMapping>, logs: &Logs) -> Result<Child> {
    let mut command = match setup::find("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(qemu.get_program());
            command
        }
        None => Command::new(qemu.get_program()),
    };
    command.args(qemu.get_args());
    command.envs(qemu.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(logs.file("qemu.log")?);
    command.fd_mappings(ends)?;
    command.spawn().context("QEMU")
}
