//! Text in, text out: the commands, the line editor and the listings. Pure, like all of the plane.

mod argument;
mod conntrack;
mod ip;
mod iptables;
mod job;
mod print;
mod script;
mod shell;
mod sysctl;

use crate::{
    config::Config,
    router::{Context, Router},
};
use alloc::{collections::VecDeque, format, string::String, vec::Vec};
use smoltcp::time::Instant;

pub use argument::Failure;
pub use job::{Action, Edit, Job, Progress, Read, Session};
pub use shell::load;

/// What the commands ask of the machine below.
pub trait Platform {
    /// Bytes of memory: total, and in use.
    fn memory(&self) -> (u64, u64);
    /// Every line of the log ring, oldest first: time since boot, level (0 to 7), text.
    fn log_lines(&self, each: &mut dyn FnMut(Instant, u8, &str));
    /// Empties the log ring (`dmesg -C`).
    fn clear_log(&mut self);
    /// Messages less important than this are not shown on the console (`dmesg -n`).
    fn set_console_level(&mut self, level: u8);
    /// Ends the machine once all output is out.
    fn power(&mut self, action: Power);
}

/// How the machine ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Power {
    Off,
    Reboot,
}

/// The person's side: a line editor over the commands, one running command at a time.
pub struct Console {
    output: VecDeque<u8>,
    pending: Vec<u8>,
}

/// A configuration that was refused: nothing of it was applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptError {
    /// Line in the text, from 1.
    pub line: usize,
    /// What was wrong.
    pub message: String,
}

impl Console {
    /// A console that has printed its first prompt.
    pub fn new(router: &Router) -> Self {
        let _ = router;
        Self { output: VecDeque::new(), pending: Vec::new() }
    }

    /// Bytes from the terminal.
    pub fn input(
        &mut self,
        bytes: &[u8],
        router: &mut Router,
        platform: &mut dyn Platform,
        cx: &mut Context<'_>,
    ) {
        let _ = (router, platform, cx);
        self.pending.extend_from_slice(bytes);
    }

    /// Goes on with what runs (a ping, a long listing). Call it in every turn of the event loop.
    pub fn poll(&mut self, router: &mut Router, platform: &mut dyn Platform, cx: &mut Context<'_>) {
        let _ = (router, platform, cx);
    }

    /// When `poll` has something to do next; `None`: only after input.
    pub fn poll_at(&self) -> Option<Instant> {
        None
    }

    /// A message from the machine (a log line), printed so that the line being typed stays whole.
    pub fn message(&mut self, text: &str) {
        self.output.extend(text.bytes());
    }

    /// Bytes for the terminal. Take what the serial line can bear; a long listing goes on when there is room.
    pub fn output(&mut self) -> &mut VecDeque<u8> {
        &mut self.output
    }
}

/// A command: how it is called, and how its words are understood.
struct Command {
    name: &'static str,
    parse: fn(&[String], &Config) -> Result<Action, Failure>,
}

static COMMANDS: &[Command] = &[
    Command { name: ":", parse: shell::succeed },
    Command { name: "conntrack", parse: conntrack::parse },
    Command { name: "echo", parse: shell::echo },
    Command { name: "false", parse: shell::fail },
    Command { name: "ip", parse: ip::parse },
    Command { name: "iptables", parse: iptables::parse },
    Command { name: "iptables-restore", parse: iptables::parse_restore },
    Command { name: "iptables-save", parse: iptables::parse_save },
    Command { name: "sysctl", parse: sysctl::parse },
    Command { name: "true", parse: shell::succeed },
];

/// Understands a command, without doing anything yet. The first word may be a path, as in scripts.
fn understand(words: &[String], config: &Config) -> Result<Action, Failure> {
    let Some((first, rest)) = words.split_first() else { return Ok(Action::print("")) };
    let name = ["/sbin/", "/usr/sbin/", "/bin/", "/usr/bin/"]
        .into_iter()
        .find_map(|folder| first.strip_prefix(folder))
        .unwrap_or(first);
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => (command.parse)(rest, config),
        None => Err(Failure::new(127, format!("{first}: command not found"))),
    }
}

/// The configuration of a router that was given none: eth0 is the LAN, eth1 the WAN.
pub const DEFAULT_CONFIGURATION: &str = "";
