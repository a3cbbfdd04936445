//! A network card: from a virtio device to frames. Read first: virtio 1.2, 5.1 "Network Device".

use crate::{
    interrupt::{Taken, Vector},
    virtio::{Bell, Device},
};
use alloc::{string::String, vec::Vec};
use core::mem;
use kernel::{
    control::{Command, Control},
    features::Features,
    queues::{Queues, Received, Receiver, Sent},
    watchdog::Watchdog,
};
use log::{error, info, warn};
use netstack::{config::PortInfo, exchange::Exchange};
use smoltcp::{
    time::{Duration, Instant},
    wire::EthernetAddress,
};

/// Receive and transmit queues take turns (virtio 1.2, 5.1.2), and the control queue is behind all of them.
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
const PAIR: u16 = 2;
/// So many pairs that the control queue still has a number.
const MOST_PAIRS: u16 = 0x7fff;
/// Descriptors of the control queue: a command takes two.
const CONTROL_SIZE: u16 = 4;

/// Offsets in the device's configuration (virtio 1.2, 5.1.4).
const CONFIGURATION_STATUS: usize = 6;
const CONFIGURATION_PAIRS: usize = 8;
const CONFIGURATION_MTU: usize = 10;
const LINK_UP: u16 = 1;
const ANNOUNCE: u16 = 2;

const STANDARD_MTU: usize = 1500;
/// Bytes of frame around an IP packet: the Ethernet header and one VLAN tag.
const AROUND_PACKET: usize = 18;
/// Lies that a device may tell before it is stopped.
const MOST_LIES: u64 = 64;
/// How soon the answer to a command is looked for.
const ANSWER_INTERVAL: Duration = Duration::from_millis(1);
/// How long a device may keep a frame that is to be sent, as on Linux. What it gives it to may have to wait.
const SENDING_PATIENCE: Duration = Duration::from_secs(5);
/// How long a device may take to answer a command: nothing but itself is asked.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// How often a device is asked whether it lives.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// How long a device stays stopped.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// What a card may take of the memory.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Entries of its rings.
    pub ring: u16,
    /// Entries of each receive ring but the first.
    pub further_ring: u16,
    /// Receive queues.
    pub queues: u16,
}

/// A card.
pub struct Card {
    device: Device,
    number: usize,
    limits: Limits,
    /// `None`: the device is stopped.
    queues: Option<Queues<Bell>>,
    control: Option<Control<Bell>>,
    features: Features,
    /// Whether it interrupts; one that does not is looked at from time to time.
    interrupts: bool,
    carrier: bool,
    /// What the router believes of the carrier.
    carrier_told: bool,
    mac: EthernetAddress,
    /// The address whose frames the device was asked to let in, besides its own.
    let_in: EthernetAddress,
    /// Whether the device asks that the router make itself known.
    announcement_wanted: bool,
    restart_at: Option<Instant>,
    sending: Watchdog,
    answering: Watchdog,
    probe_at: Instant,
    interrupts_taken: u64,
    restarts: u64,
}

impl Card {
    /// Starts card `number`, with no buffers yet. A card without a MAC address gets `fallback`.
    ///
    /// # Errors
    /// Why it does not work.
    pub fn open(
        device: Device,
        number: usize,
        limits: Limits,
        fallback: EthernetAddress,
    ) -> Result<Self, &'static str> {
        let mut card = Self {
            device,
            number,
            limits,
            queues: None,
            control: None,
            features: Features(0),
            interrupts: false,
            carrier: true,
            carrier_told: true,
            mac: fallback,
            let_in: fallback,
            announcement_wanted: false,
            restart_at: None,
            sending: Watchdog::new(SENDING_PATIENCE),
            answering: Watchdog::new(ANSWER_PATIENCE),
            probe_at: Instant::ZERO,
            interrupts_taken: 0,
            restarts: 0,
        };
        card.start()?;
        card.mac = card.own_mac().unwrap_or(fallback);
        Ok(card)
    }

    fn start(&mut self) -> Result<(), &'static str> {
        let device = &mut self.device;
        self.features = device.negotiate(|offered| Features::choose(offered).0).map(Features)?;
        if !self.features.any_layout() {
            return Err("a legacy device that wants its header in a buffer of its own");
        }
        let pairs =
            self.features.multiqueue().then(|| device.configuration_word(CONFIGURATION_PAIRS)).flatten();
        let pairs = pairs.map_or(1, |pairs| pairs.clamp(1, MOST_PAIRS));
        let used = pairs.min(self.limits.queues);
        let format = self.features.format();
        let numbers = || (RECEIVE..).step_by(PAIR.into()).take(used.into());
        self.interrupts = device.connect_interrupts(numbers(), Vector::card(self.number));
        let mut receivers = Vec::new();
        for queue in numbers() {
            let limit = if queue == RECEIVE { self.limits.ring } else { self.limits.further_ring };
            let size = device.queue_size(queue, limit).ok_or("a receive queue is missing")?;
            receivers.push(Receiver::new(size, device.bell(queue), format, AROUND_PACKET + STANDARD_MTU));
        }
        let size = device.queue_size(TRANSMIT, self.limits.ring).ok_or("the transmit queue is missing")?;
        let queues = Queues::new(receivers, size, device.bell(TRANSMIT), format);
        for (queue, (addresses, size)) in (RECEIVE..).zip(queues.rings()) {
            device.attach(queue, addresses, size);
        }
        let control = pairs * PAIR;
        self.control = match device.queue_size(control, CONTROL_SIZE) {
            Some(CONTROL_SIZE) if self.features.control() => {
                let queue = Control::new(CONTROL_SIZE, device.bell(control));
                let (addresses, size) = queue.ring();
                device.attach(control, addresses, size);
                Some(queue)
            }
            _ => None,
        };
        device.start();
        info!(
            "eth{}: {} receive queue{}, a ring of {}, features {:#x}{}",
            self.number,
            used,
            if used == 1 { "" } else { "s" },
            size,
            self.features.0,
            if self.interrupts { "" } else { ", no interrupts" }
        );
        self.queues = Some(queues);
        self.carrier = self.status() & LINK_UP != 0;
        if used > 1 {
            self.ask(Command::Pairs(used));
        }
        self.filter();
        Ok(())
    }

    /// Has the device let in what is for the router or for a group. The plane sorts out the rest, where there is any.
    fn filter(&mut self) {
        if !self.features.filter() {
            return;
        }
        self.ask(Command::AllMulticast(true));
        self.ask(Command::Address(self.let_in));
        self.ask(Command::Promiscuous(false));
    }

    fn ask(&mut self, command: Command) {
        if self.control.as_mut().is_some_and(|control| !control.ask(command)) {
            self.do_without_control();
        }
    }

    fn do_without_control(&mut self) {
        error!("eth{}: the device answers no commands", self.number);
        // Its ring stays where the device knows it to be.
        mem::forget(self.control.take());
    }

    /// Has the device let in frames for the address that the card now has.
    pub fn set_mac(&mut self, mac: EthernetAddress) {
        if self.let_in != mac {
            self.let_in = mac;
            self.filter();
        }
    }

    fn own_mac(&self) -> Option<EthernetAddress> {
        if !self.features.mac() {
            return None;
        }
        let mut mac = EthernetAddress([0; 6]);
        for (place, pair) in mac.0.chunks_exact_mut(2).enumerate() {
            pair.copy_from_slice(&self.device.configuration_word(2 * place)?.to_le_bytes());
        }
        mac.is_unicast().then_some(mac)
    }

    /// The device's status; without one the link is up.
    fn status(&self) -> u16 {
        let status = self.features.status().then(|| self.device.configuration_word(CONFIGURATION_STATUS));
        status.map_or(LINK_UP, Option::unwrap_or_default)
    }

    /// What the router needs to know, given the bytes of frame that a buffer holds.
    pub fn port_info(&self, frame_room: usize) -> PortInfo {
        let offered =
            if self.features.mtu() { self.device.configuration_word(CONFIGURATION_MTU) } else { None };
        // A frame that fits into no buffer takes several, where the device can do that.
        let room = if self.features.mergeable() { usize::from(u16::MAX) } else { frame_room - AROUND_PACKET };
        let room = u16::try_from(room).unwrap_or(u16::MAX);
        PortInfo {
            mac: self.mac,
            max_mtu: offered.map_or(room, |mtu| mtu.clamp(68, room)),
            abilities: self.features.abilities(),
            accepts: self.features.format().accepted,
        }
    }

    /// Where it is on its bus, as Linux writes it.
    pub fn address(&self) -> String {
        self.device.address()
    }

    /// What has come in since its queues were started, by queue.
    pub fn received(&self) -> impl Iterator<Item = Received> {
        self.queues.iter().flat_map(Queues::received)
    }

    /// What has gone out since its queues were started.
    pub fn sent(&self) -> Sent {
        self.queues.as_ref().map(Queues::sent).unwrap_or_default()
    }

    /// How often its further receive queues have begun to wait, because it brought too much.
    pub fn holds(&self) -> u64 {
        self.queues.as_ref().map_or(0, Queues::holds)
    }

    /// What the device has said since it was started that could not be true.
    pub fn lies(&self) -> u64 {
        let queues = self.queues.as_ref().map_or(0, Queues::lies);
        queues + self.control.as_ref().map_or(0, Control::lies)
    }

    /// Interrupts that came in, and how often the device was started anew.
    pub fn interrupts_and_restarts(&self) -> (u64, u64) {
        (self.interrupts_taken, self.restarts)
    }

    /// Buffers that its rings hold.
    pub fn ring_entries(&self) -> usize {
        self.queues.as_ref().map_or(0, Queues::entries)
    }

    /// Whether it interrupts when a frame comes in.
    pub fn interrupts(&self) -> bool {
        self.interrupts
    }

    /// Whether its link is up, if that is news since the last call. A router believes at first that it is.
    pub fn carrier_news(&mut self) -> Option<bool> {
        let before = mem::replace(&mut self.carrier_told, self.carrier);
        (before != self.carrier).then_some(self.carrier)
    }

    /// Its queues, unless it was given up.
    #[inline]
    pub fn queues(&mut self) -> Option<&mut Queues<Bell>> {
        self.queues.as_mut()
    }

    /// After an interrupt: lets a wired line fall again, and looks at the device where its configuration may have
    /// changed.
    pub fn after_interrupt(&mut self, taken: Taken, exchange: &mut Exchange, now: Instant) {
        let interrupted = taken.contains(Vector::card(self.number));
        self.interrupts_taken += u64::from(interrupted);
        let wired = interrupted && self.device.acknowledge();
        if !wired && !taken.contains(Vector::CONFIGURATION) {
            return;
        }
        if self.device.needs_reset() {
            self.stop("it asks for a reset", exchange, now);
            return;
        }
        let status = self.status();
        self.carrier = self.queues.is_some() && status & LINK_UP != 0;
        self.announcement_wanted |= self.features.announce() && status & ANNOUNCE != 0;
        // QEMU's may have forgotten to say that it needs a reset, where it found that out while the machine was let go on.
        self.probe_at = now;
    }

    /// Asks from time to time for something that is so already. A device that has died answers nothing; from its other
    /// queues that can be seen only as long as there is something to be sent.
    fn probe(&mut self, now: Instant) {
        if self.probed_at().is_some_and(|at| at <= now) {
            self.probe_at = now + PROBE_INTERVAL;
            self.ask(Command::AllMulticast(true));
        }
    }

    /// When it is asked next whether it lives.
    fn probed_at(&self) -> Option<Instant> {
        let idle = self.control.as_ref().is_some_and(|control| !control.is_busy());
        (idle && self.features.filter()).then_some(self.probe_at)
    }

    /// Whether the device asks that the router make itself known on its network, as after a migration. To ask is to
    /// promise it.
    pub fn take_announcement(&mut self) -> bool {
        let wanted = mem::take(&mut self.announcement_wanted);
        if wanted {
            self.ask(Command::Announced);
        }
        wanted
    }

    /// Stops a device that has lost its way, and starts it anew after a pause.
    pub fn tend(&mut self, exchange: &mut Exchange, now: Instant) {
        if self.queues.as_ref().is_some_and(|queues| queues.lies() > MOST_LIES) {
            self.stop("it says what cannot be", exchange, now);
        }
        if self.sending.look(self.queues.as_ref().and_then(Queues::unsent), now) {
            self.stop("it sends nothing", exchange, now);
        }
        if self.answering.look(self.control.as_ref().and_then(Control::unanswered), now) {
            // One that never answered would not after a reset either.
            if self.control.as_ref().is_some_and(Control::has_answered) {
                self.stop("it does not answer", exchange, now);
            } else {
                self.do_without_control();
            }
        }
        self.probe(now);
        if let Some((command, accepted)) = self.control.as_mut().and_then(Control::poll) {
            self.answered(command, accepted);
        }
        if self.restart_at.is_some_and(|at| at <= now) {
            self.restart_at = None;
            self.restarts += 1;
            match self.start() {
                Ok(()) => warn!("eth{}: started anew", self.number),
                Err(error) => error!("eth{}: given up: {error}", self.number),
            }
        }
    }

    fn answered(&mut self, command: Command, accepted: bool) {
        match command {
            _ if accepted => {}
            // It knows no table of addresses: then it has to let in everything.
            Command::Address(_) => self.ask(Command::Promiscuous(true)),
            _ => warn!("eth{}: the device refuses {command:?}", self.number),
        }
    }

    fn stop(&mut self, why: &str, exchange: &mut Exchange, now: Instant) {
        let Some(queues) = self.queues.take() else { return };
        self.carrier = false;
        match self.device.reset() {
            Ok(()) => {
                // SAFETY: the device was reset.
                unsafe {
                    queues.dissolve(exchange);
                    if let Some(control) = self.control.take() {
                        control.dissolve();
                    }
                }
                warn!("eth{}: the device was stopped: {why}", self.number);
                self.restart_at = Some(now + RESTART_PAUSE);
            }
            Err(error) => {
                // It may write to its buffers for ever, so nobody else may have them.
                mem::forget((queues, self.control.take()));
                error!("eth{}: given up: {error}", self.number);
            }
        }
    }

    /// When [`Card::tend`] has something to do.
    pub fn poll_at(&self, now: Instant) -> Option<Instant> {
        let answer = self.control.as_ref().is_some_and(Control::is_busy).then(|| now + ANSWER_INTERVAL);
        let turn = self.queues.as_ref().and_then(Queues::next_turn);
        [self.restart_at, answer, self.sending.next_look(), self.probed_at(), turn]
            .into_iter()
            .flatten()
            .min()
    }
}
