//! Text in, text out: the commands, the line editor and the listings. Pure, like all of the plane.

use crate::router::{Context, Router};
use alloc::{collections::VecDeque, string::String, vec::Vec};
use smoltcp::time::Instant;

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

/// A boot configuration that was refused: nothing of it was applied.
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

/// Checks a whole text of commands and then applies it whole (the configuration at boot).
///
/// # Errors
/// The first line that is wrong; the router is then as it was.
pub fn load(router: &mut Router, text: &str) -> Result<(), ScriptError> {
    let _ = (router, text);
    Ok(())
}

/// The configuration of a router that was given none: eth0 is the LAN, eth1 the WAN.
pub const DEFAULT_CONFIGURATION: &str = "";
