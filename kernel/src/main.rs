//! The machine below the router: it is started here, and then runs the one event loop.
//!
//! One turn of the loop takes a burst from each card through the router, and kicks each card once. The console and all
//! that time asks for have their turn when no frame came in, and from time to time. When nothing happens, the processor
//! spins for a moment, switches interrupts on, looks again, and halts.
//!
//! Under QEMU's translator whatever touches a device (a port, a register, a kick, an interrupt, PAUSE) waits for a lock that
//! the thread which brings frames holds most of the time. So on a packet's way nothing does but kicks, and those are few.
#![no_std]
#![no_main]

extern crate alloc;

mod apic;
mod card;
mod clock;
mod devices;
mod discovery;
mod entropy;
mod exception;
mod heap;
mod interrupt;
mod logger;
mod panic;
mod pci;
mod platform;
mod power;
mod serial;
mod startup;
mod tables;
mod virtio;

use alloc::vec::Vec;
use card::Card;
use chacha20::ChaCha20Rng;
use interrupt::Vector;
use log::info;
use netstack::{
    command::Console,
    exchange::Exchange,
    interface::PortId,
    packet::Packet,
    router::{Context, Router},
};
use platform::{Below, Machine};
use serial::{CAPTURE, CONSOLE, Serial};
use smoltcp::time::{Duration, Instant};
use x86_64::instructions::tlb;

boot::main!(startup::start);

/// Network cards that a machine can have; more are left alone.
const MOST_CARDS: usize = 8;
/// Frames taken from one receive queue before the next one has its turn.
const BURST: usize = 64;
/// Frames taken from all receive queues of a card in one turn.
const MOST_TAKEN: usize = 2 * BURST;
/// Bytes taken from a serial port in one turn.
const SERIAL_INPUT: usize = 64;
/// Transmitter loads given to the console in one turn: each byte may cost the host a system call.
const CONSOLE_LOADS: usize = 4;
/// Log lines are not shown while that much output waits.
const CONSOLE_BACKLOG: usize = 8 << 10;
/// For how many turns the cards are not told of what waits for them while more comes in: to tell a card makes an emulated
/// processor wait for QEMU's lock, which the thread that brings frames holds for fifty of them.
const MOST_TURNS_HELD: u32 = 3;
/// How long frames may keep the loop from everything else.
const CHORES_INTERVAL: Duration = Duration::from_micros(250);
/// Loads given to the second serial port in one turn, while frames are written to it.
const CAPTURE_LOADS: usize = 16;
/// How often the processor has to forget where pages lie. A real one has learnt them again within microseconds. QEMU's
/// emulation keeps them in a table that begins with 256 entries, and only when it is emptied makes it larger if it was too
/// small for the buffers and flows that are in use; each page that it has no room for costs more than a packet.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// How often is looked at what makes no interrupt.
const LOOK_INTERVAL: Duration = Duration::from_millis(4);

/// Everything that the event loop works on.
struct Kernel {
    router: Router,
    console: Console,
    exchange: Exchange,
    cards: Vec<Card>,
    /// Frames between a card and the router; empty but for that moment.
    burst: Vec<Packet>,
    random: ChaCha20Rng,
    machine: Machine,
    /// How long the loop spins before it halts.
    spin: Duration,
    /// When the chores are due, even if frames keep coming in.
    next_chores: Instant,
    /// When the processor is to forget where pages lie.
    next_flush: Instant,
    /// Whether the serial ports interrupt when their transmitters have room: the console's, and that for captures.
    awaiting_room: [bool; 2],
    /// When is to be looked at what comes in at the serial ports: the console's, and that for captures.
    next_looks: [Instant; 2],
    /// For how many turns the cards were not told of what waits for them.
    turns_held: u32,
    /// When the timer interrupts.
    timer: Option<Instant>,
}

impl Kernel {
    fn run(mut self) -> ! {
        panic::set_router(&mut self.router);
        loop {
            let now = clock::now();
            let mut busy = self.receive(now);
            if !busy || now >= self.next_chores {
                busy |= self.do_chores(now);
                self.next_chores = now + CHORES_INTERVAL;
            }
            self.transmit();
            if !busy && !self.machine.is_ending() {
                self.rest();
            }
        }
    }

    /// Everything but frames. Says whether there is more to do at once.
    fn do_chores(&mut self, now: Instant) -> bool {
        interrupt::let_in();
        self.after_interrupts(now);
        let mut busy = self.read_console(now);
        self.poll(now);
        busy |= self.write_console();
        busy |= self.serve_capture(now);
        self.machine.end_if_asked(!self.console.output().is_empty(), now);
        if now >= self.next_flush {
            tlb::flush_all();
            self.next_flush = now + FLUSH_INTERVAL;
        }
        busy
    }

    /// A burst from each card through the router. Says whether there was any.
    fn receive(&mut self, now: Instant) -> bool {
        let mut busy = false;
        for (number, card) in self.cards.iter_mut().enumerate() {
            let Some(queues) = card.queues() else { continue };
            queues.reclaim(&mut self.exchange);
            let port = PortId(number as u8);
            let (mut taken, mut waiting) = (0, false);
            for receiver in queues.due(self.router.is_crowded(port, now), now) {
                let most = BURST.min(MOST_TAKEN - taken);
                while self.burst.len() < most {
                    let Some(packet) = receiver.receive(&mut self.exchange) else { break };
                    self.burst.push(packet);
                }
                if !self.burst.is_empty() {
                    busy = true;
                    taken += self.burst.len();
                    let left = self.burst.len() == BURST && receiver.has_received();
                    waiting |= taken > BURST || left;
                    let cx = &mut Context { now, random: &mut self.random, exchange: &mut self.exchange };
                    self.router.receive_burst(cx, port, &mut self.burst);
                }
                receiver.refill(&mut self.exchange);
            }
            if waiting {
                self.router.note_waiting(port, now);
            }
        }
        busy
    }

    fn read_console(&mut self, now: Instant) -> bool {
        let bytes = listen(&CONSOLE, self.console.room(), &mut self.next_looks[0], now);
        if bytes.is_empty() {
            return false;
        }
        let cx = &mut Context { now, random: &mut self.random, exchange: &mut self.exchange };
        let mut below = Below { machine: &mut self.machine, cards: &self.cards };
        self.console.input(&bytes, &mut self.router, &mut below, cx);
        true
    }

    /// What time asks for.
    fn poll(&mut self, now: Instant) {
        let cx = &mut Context { now, random: &mut self.random, exchange: &mut self.exchange };
        self.router.poll(cx);
        let mut below = Below { machine: &mut self.machine, cards: &self.cards };
        self.console.poll(&mut self.router, &mut below, cx);
        for (number, card) in self.cards.iter_mut().enumerate() {
            card.tend(&mut self.exchange, now);
            if let Some(carrier) = card.carrier_news() {
                info!("eth{number}: link is {}", if carrier { "up" } else { "down" });
                self.router.set_carrier(PortId(number as u8), carrier);
            }
            if card.take_announcement() {
                self.router.announce(PortId(number as u8));
            }
            if let Some(mac) = self.router.mac(PortId(number as u8)) {
                card.set_mac(mac);
            }
        }
        while self.console.output().len() < CONSOLE_BACKLOG
            && logger::show_next(|line| self.console.message(line))
        {}
    }

    /// Puts what the router sends into the cards' rings, and tells each card once, when no more frames have come in.
    fn transmit(&mut self) {
        while let Some((port, packet)) = self.exchange.take_outgoing() {
            match self.cards.get_mut(usize::from(port.0)).and_then(Card::queues) {
                Some(queues) => {
                    if !queues.transmit(packet, &mut self.exchange) {
                        self.router.count_egress_drop(port);
                    }
                }
                None => self.exchange.recycle(packet),
            }
        }
        if self.turns_held < MOST_TURNS_HELD && self.has_received() {
            self.turns_held += 1;
            return;
        }
        self.turns_held = 0;
        for queues in self.cards.iter_mut().filter_map(Card::queues) {
            queues.flush();
        }
    }

    /// Gives the transmitter what it takes. Says whether it may take more at once.
    fn write_console(&mut self) -> bool {
        let output = self.console.output();
        for _ in 0..CONSOLE_LOADS {
            if output.is_empty() || CONSOLE.send(core::iter::from_fn(|| output.pop_front())) == 0 {
                return false;
            }
        }
        !output.is_empty()
    }

    /// Takes what is asked for at the second serial port, and gives it what it takes. Says whether there is more to do at
    /// once.
    fn serve_capture(&mut self, now: Instant) -> bool {
        let Some(port) = &mut self.machine.capture else { return false };
        let bytes = listen(&CAPTURE, SERIAL_INPUT, &mut self.next_looks[1], now);
        let cx = &Context { now, random: &mut self.random, exchange: &mut self.exchange };
        if !bytes.is_empty() {
            port.input(&bytes, &mut self.router, cx);
        }
        port.poll(&mut self.router, cx);
        let output = port.output();
        for _ in 0..CAPTURE_LOADS {
            if output.is_empty() || CAPTURE.send(core::iter::from_fn(|| output.pop_front())) == 0 {
                return !bytes.is_empty();
            }
        }
        true
    }

    /// Nothing happened: spins, and halts where still nothing happens.
    fn rest(&mut self) {
        // Without the instruction for it: PAUSE makes QEMU's translator leave the guest and ask for its lock.
        let spin_until = clock::now() + self.spin;
        while clock::now() < spin_until {
            if self.has_received() {
                return;
            }
        }
        self.set_interrupts(true);
        let until = self.next_event();
        let now = clock::now();
        if !self.has_received() && until.is_none_or(|until| until > now) {
            self.set_timer(until, now);
            interrupt::wait();
        }
        self.set_interrupts(false);
    }

    /// Looks at what has interrupted.
    fn after_interrupts(&mut self, now: Instant) {
        let taken = interrupt::take();
        if taken.contains(Vector::TIMER) {
            self.timer = None;
        }
        if taken.contains(Vector::SERIAL) {
            self.next_looks = [now; 2];
        }
        for card in &mut self.cards {
            card.after_interrupt(taken, &mut self.exchange, now);
        }
    }

    /// Has the timer interrupt by `until`. One that is set to interrupt sooner stays as it is.
    fn set_timer(&mut self, until: Option<Instant>, now: Instant) {
        let Some(until) = until.filter(|until| self.timer.is_none_or(|timer| *until < timer)) else { return };
        apic::set_timer((until - now).total_micros());
        self.timer = Some(until);
    }

    fn has_received(&mut self) -> bool {
        self.cards.iter_mut().filter_map(Card::queues).any(|queues| queues.has_received())
    }

    /// Lets the cards interrupt, or not, and the serial ports where output waits for room.
    fn set_interrupts(&mut self, on: bool) {
        for queues in self.cards.iter_mut().filter_map(Card::queues) {
            queues.set_interrupts(on);
        }
        if !on {
            return;
        }
        let capture = self.machine.capture.as_mut().is_some_and(|port| !port.output().is_empty());
        let waiting = [!self.console.output().is_empty(), capture];
        for ((port, waiting), awaiting) in
            [&CONSOLE, &CAPTURE].into_iter().zip(waiting).zip(&mut self.awaiting_room)
        {
            if waiting != *awaiting {
                *awaiting = waiting;
                port.enable_interrupts(waiting);
            }
        }
    }

    /// When there is something to do even if nothing comes in.
    fn next_event(&mut self) -> Option<Instant> {
        let look = self.cards.iter_mut().any(|card| {
            let starved = card.queues().is_some_and(|queues| queues.is_starved());
            starved || !card.interrupts()
        });
        let now = clock::now();
        let cards = self.cards.iter().filter_map(|card| card.poll_at(now)).min();
        let look = look.then(|| now + LOOK_INTERVAL);
        [self.router.poll_at(), self.console.poll_at(), cards, look].into_iter().flatten().min()
    }
}

/// What has come in at a serial port, up to `room` bytes of it. Where there was none, the port is left alone for a while,
/// unless it interrupts.
fn listen(
    port: &Serial,
    room: usize,
    next_look: &mut Instant,
    now: Instant,
) -> heapless::Vec<u8, SERIAL_INPUT> {
    let room = room.min(SERIAL_INPUT);
    if room == 0 || now < *next_look {
        return heapless::Vec::new();
    }
    let bytes: heapless::Vec<_, SERIAL_INPUT> = core::iter::from_fn(|| port.receive()).take(room).collect();
    if bytes.is_empty() {
        *next_look = now + LOOK_INTERVAL;
    }
    bytes
}
