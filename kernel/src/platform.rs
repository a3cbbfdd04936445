//! What the commands ask of the machine.

use crate::{heap, logger, power, serial};
use netstack::command::{Platform, Power};
use smoltcp::time::{Duration, Instant};

/// How long the last output may take before the machine ends without it.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// The machine, as the commands see it.
pub struct Machine {
    memory_total: u64,
    ending: Option<(Power, Option<Instant>)>,
}

impl Machine {
    /// A machine with that many bytes of memory.
    pub fn new(memory_total: u64) -> Self {
        Self { memory_total, ending: None }
    }

    /// Ends the machine if that was asked for, as soon as all output is out: `waiting` says whether some is left.
    pub fn end_if_asked(&mut self, waiting: bool, now: Instant) {
        let Some((action, limit)) = &mut self.ending else { return };
        let limit = *limit.get_or_insert(now + LAST_OUTPUT);
        if (waiting || !serial::is_drained()) && now < limit {
            return;
        }
        match action {
            Power::Off => power::off(),
            Power::Reboot => power::reset(),
        }
    }

    /// Whether the machine is about to end: then the event loop does not rest.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }
}

impl Platform for Machine {
    fn memory(&self) -> (u64, u64) {
        (self.memory_total, self.memory_total.saturating_sub(heap::free()))
    }

    fn log_lines(&self, each: &mut dyn FnMut(Instant, u8, &str)) {
        logger::for_each(|line| each(Instant::from_micros(line.micros), line.level, line.text));
    }

    fn clear_log(&mut self) {
        logger::clear();
    }

    fn set_console_level(&mut self, level: u8) {
        logger::set_console_level(level);
    }

    fn power(&mut self, action: Power) {
        self.ending = Some((action, None));
    }
}
