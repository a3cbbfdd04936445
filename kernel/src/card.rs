//! A network card: from a virtio device to frames. Read first: virtio 1.2, 5.1 "Network Device".

use crate::{
    interrupt::{Taken, Vector},
    virtio::{ANY_LAYOUT, Bell, Device, VERSION_1},
};
use core::mem;
use kernel::{
    queues::{Header, Queues},
    ring::{Direction, Ring},
};
use log::{error, info, warn};
use netstack::{config::PortInfo, exchange::Exchange};
use smoltcp::{
    time::{Duration, Instant},
    wire::EthernetAddress,
};

const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;

const FEATURE_MTU: u64 = 1 << 3;
const FEATURE_MAC: u64 = 1 << 5;
const FEATURE_STATUS: u64 = 1 << 16;
const WANTED: u64 = FEATURE_MTU | FEATURE_MAC | FEATURE_STATUS | ANY_LAYOUT | VERSION_1;

/// Offsets in the device's configuration (virtio 1.2, 5.1.4).
const CONFIGURATION_STATUS: usize = 6;
const CONFIGURATION_MTU: usize = 10;
const LINK_UP: u16 = 1;

const STANDARD_MTU: usize = 1500;
/// Bytes of frame around an IP packet: the Ethernet header and one VLAN tag.
const AROUND_PACKET: usize = 18;
/// Lies that a device may tell before it is stopped.
const MOST_LIES: u64 = 64;
/// How long a device stays stopped.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// A card.
pub struct Card {
    device: Device,
    number: usize,
    ring_limit: u16,
    /// `None`: the device is stopped.
    queues: Option<Queues<Bell>>,
    features: u64,
    /// Whether it interrupts; one that does not is looked at from time to time.
    interrupts: bool,
    carrier: bool,
    /// What the router believes of the carrier.
    carrier_told: bool,
    mac: EthernetAddress,
    restart_at: Option<Instant>,
}

impl Card {
    /// Starts card `number`, with rings of at most `ring_limit` entries and no buffers yet. A card without a MAC address
    /// gets `fallback`.
    ///
    /// # Errors
    /// Why it does not work.
    pub fn open(
        device: Device,
        number: usize,
        ring_limit: u16,
        fallback: EthernetAddress,
    ) -> Result<Self, &'static str> {
        let mut card = Self {
            device,
            number,
            ring_limit,
            queues: None,
            features: 0,
            interrupts: false,
            carrier: true,
            carrier_told: true,
            mac: fallback,
            restart_at: None,
        };
        card.start()?;
        card.mac = card.own_mac().unwrap_or(fallback);
        Ok(card)
    }

    fn start(&mut self) -> Result<(), &'static str> {
        let device = &mut self.device;
        self.features = device.negotiate(WANTED)?;
        if self.features & (VERSION_1 | ANY_LAYOUT) == 0 {
            return Err("a legacy device that wants its header in a buffer of its own");
        }
        let header = if self.features & VERSION_1 != 0 { Header::Modern } else { Header::Legacy };
        self.interrupts = device.connect_interrupts(RECEIVE, Vector::card(self.number));
        let mut ring = |queue, direction| {
            let size = device.queue_size(queue, self.ring_limit);
            if size == 0 {
                return Err("a queue is missing");
            }
            let ring = Ring::new(size, direction);
            device.attach(queue, &ring);
            Ok(ring)
        };
        let receive = ring(RECEIVE, Direction::Receive)?;
        let transmit = ring(TRANSMIT, Direction::Transmit)?;
        let bells = [device.bell(RECEIVE), device.bell(TRANSMIT)];
        device.start();
        info!(
            "eth{}: {header:?} virtio, rings of {} and {}, features {:#x}{}",
            self.number,
            receive.size(),
            transmit.size(),
            self.features,
            if self.interrupts { "" } else { ", no interrupts" }
        );
        self.queues = Some(Queues::new(receive, transmit, bells, header, AROUND_PACKET + STANDARD_MTU));
        self.carrier = self.link_is_up();
        Ok(())
    }

    fn own_mac(&self) -> Option<EthernetAddress> {
        if self.features & FEATURE_MAC == 0 {
            return None;
        }
        let mut mac = EthernetAddress([0; 6]);
        for (place, pair) in mac.0.chunks_exact_mut(2).enumerate() {
            pair.copy_from_slice(&self.device.configuration_word(2 * place)?.to_le_bytes());
        }
        mac.is_unicast().then_some(mac)
    }

    fn link_is_up(&self) -> bool {
        let status = || self.device.configuration_word(CONFIGURATION_STATUS);
        self.features & FEATURE_STATUS == 0 || status().is_some_and(|status| status & LINK_UP != 0)
    }

    /// What the router needs to know, given the bytes of frame that a buffer holds.
    pub fn port_info(&self, frame_room: usize) -> PortInfo {
        let offered = if self.features & FEATURE_MTU != 0 {
            self.device.configuration_word(CONFIGURATION_MTU)
        } else {
            None
        };
        let room = u16::try_from(frame_room - AROUND_PACKET).unwrap_or(u16::MAX);
        PortInfo::new(self.mac, offered.map_or(room, |mtu| mtu.clamp(68, room)))
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
        let wired = taken.contains(Vector::card(self.number)) && self.device.acknowledge();
        if !wired && !taken.contains(Vector::CONFIGURATION) {
            return;
        }
        if self.device.needs_reset() {
            self.stop(exchange, now);
        } else {
            self.carrier = self.queues.is_some() && self.link_is_up();
        }
    }

    /// Stops a device that has lost its way, and starts it anew after a pause.
    pub fn tend(&mut self, exchange: &mut Exchange, now: Instant) {
        if self.queues.as_ref().is_some_and(|queues| queues.lies() > MOST_LIES) {
            self.stop(exchange, now);
        }
        if self.restart_at.is_some_and(|at| at <= now) {
            self.restart_at = None;
            match self.start() {
                Ok(()) => warn!("eth{}: started anew", self.number),
                Err(error) => error!("eth{}: given up: {error}", self.number),
            }
        }
    }

    fn stop(&mut self, exchange: &mut Exchange, now: Instant) {
        let Some(queues) = self.queues.take() else { return };
        self.carrier = false;
        match self.device.reset() {
            Ok(()) => {
                // SAFETY: the device was reset.
                unsafe { queues.dissolve(exchange) };
                warn!("eth{}: the device is confused and was stopped", self.number);
                self.restart_at = Some(now + RESTART_PAUSE);
            }
            Err(error) => {
                // It may write to its buffers for ever, so nobody else may have them.
                mem::forget(queues);
                error!("eth{}: given up: {error}", self.number);
            }
        }
    }

    /// When [`Card::tend`] has something to do.
    pub fn poll_at(&self) -> Option<Instant> {
        self.restart_at
    }
}
