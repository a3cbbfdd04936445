//! What the commands ask of the machine.

use crate::{card::Card, heap, logger, power, serial};
use alloc::{format, string::String};
use netstack::{
    command::{CapturePort, Platform, Power},
    interface::PortId,
};
use smoltcp::time::{Duration, Instant};

/// How long the last output may take before the machine ends without it.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// The machine, as the commands see it.
pub struct Machine {
    memory_total: u64,
    ending: Option<(Power, Option<Instant>)>,
    /// The second serial port, where there is one.
    pub capture: Option<CapturePort>,
}

impl Machine {
    /// A machine with that many bytes of memory.
    pub fn new(memory_total: u64) -> Self {
        let capture = serial::CAPTURE.is_present().then(CapturePort::default);
        Self { memory_total, ending: None, capture }
    }

    /// Ends the machine if that was asked for, as soon as all output is out: `waiting` says whether some is left.
    pub fn end_if_asked(&mut self, waiting: bool, now: Instant) {
        let Some((action, limit)) = &mut self.ending else { return };
        let limit = *limit.get_or_insert(now + LAST_OUTPUT);
        if (waiting || !serial::CONSOLE.is_drained()) && now < limit {
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

/// The machine and its cards, as long as a command looks at them.
pub struct Below<'a> {
    /// The machine.
    pub machine: &'a mut Machine,
    /// Its cards.
    pub cards: &'a [Card],
}

impl Platform for Below<'_> {
    fn memory(&self) -> (u64, u64) {
        let total = self.machine.memory_total;
        (total, total.saturating_sub(heap::free()))
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

    fn card_address(&self, port: PortId) -> String {
        self.cards.get(usize::from(port.0)).map(Card::address).unwrap_or_default()
    }

    fn card_counters(&self, port: PortId, each: &mut dyn FnMut(&str, u64)) {
        let Some(card) = self.cards.get(usize::from(port.0)) else { return };
        for (queue, received) in card.received().enumerate() {
            let mut each = |what, value| each(&format!("rx_queue_{queue}_{what}"), value);
            each("packets", received.frames);
            each("merged", received.merged);
            each("gso", received.unsegmented);
            each("nonsense", received.nonsense);
            each("kicks", received.kicks);
        }
        each("rx_holds", card.holds());
        let sent = card.sent();
        each("tx_queue_0_packets", sent.frames);
        each("tx_queue_0_gso", sent.unsegmented);
        each("tx_queue_0_overruns", sent.overruns);
        each("tx_queue_0_kicks", sent.kicks);
        let (interrupts, restarts) = card.interrupts_and_restarts();
        each("device_interrupts", interrupts);
        each("device_lies", card.lies());
        each("device_restarts", restarts);
    }

    fn capture_port(&mut self) -> Option<&mut CapturePort> {
        self.machine.capture.as_mut()
    }

    fn power(&mut self, action: Power) {
        self.machine.ending = Some((action, None));
    }
}
