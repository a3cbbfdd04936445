//! A router on a bench, in virtual time: frames go in by hand, and every frame that leaves is caught.

use crate::{
    datagram::Datagram,
    frame::Frame,
    network::{NETWORK, neighbor_mac, router_mac},
};
use netstack::{
    command::{Console, Platform, Power, load},
    config::PortInfo,
    exchange::Exchange,
    interface::PortId,
    outcome::Outcome,
    router::{Context, Limits, Router},
};
use rand::{SeedableRng, rngs::StdRng};
use smoltcp::time::{Duration, Instant};

/// The router and what it stands on.
pub struct Bench {
    pub router: Router,
    pub now: Instant,
    /// What became of the last frame.
    pub outcome: Option<Outcome>,
    exchange: Exchange,
    random: StdRng,
}

/// Buffers of a bench: enough for what may wait inside a router, few enough that a leak shows.
pub const BUFFERS: usize = 1024;
/// Frame bytes that a buffer holds.
pub const BUFFER_SIZE: usize = 2048;

impl Bench {
    /// A router with `ports` cards that has run `config`.
    ///
    /// # Panics
    /// Where the configuration is refused.
    pub fn new(ports: usize, config: &str) -> Self {
        Self::with(ports, &Limits::default(), 0, config)
    }

    /// A router in the network of [`NETWORK`] that has also run `config`.
    pub fn network(config: &str) -> Self {
        Self::new(3, &[NETWORK, config].concat())
    }

    /// A router of this size whose random numbers follow from `seed`.
    pub fn with(ports: usize, limits: &Limits, seed: u64, config: &str) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let cards: Vec<_> =
            (0..ports).map(|port| PortInfo { mac: router_mac(port), max_mtu: 1500 }).collect();
        let router = Router::new(&cards, limits, &mut random);
        let exchange = Exchange::new(BUFFERS, BUFFER_SIZE);
        let mut bench = Self { router, now: Instant::from_secs(1), outcome: None, exchange, random };
        bench.run(config);
        bench
    }

    /// Runs commands.
    ///
    /// # Panics
    /// Where one is refused.
    pub fn run(&mut self, commands: &str) {
        if let Err(error) = load(&mut self.router, commands) {
            panic!("line {} ({:?}): {}", error.line, commands.lines().nth(error.line - 1), error.message);
        }
    }

    /// Types one command at the console; gives what it prints, without the echo and the prompts.
    pub fn command(&mut self, line: &str) -> String {
        let mut console = Console::new(&self.router);
        console.output().clear();
        let typed = format!("{line}\r");
        let mut context = Context { now: self.now, random: &mut self.random, exchange: &mut self.exchange };
        console.input(typed.as_bytes(), &mut self.router, &mut NoMachine, &mut context);
        let mut text = Vec::new();
        loop {
            console.poll(&mut self.router, &mut NoMachine, &mut context);
            let more: Vec<u8> = console.output().drain(..).collect();
            if more.is_empty() {
                break;
            }
            text.extend(more);
        }
        let text = String::from_utf8_lossy(&text).replace('\r', "");
        let answer = text.split_once('\n').map_or("", |(_echo, answer)| answer);
        answer.rsplit_once('\n').map_or("", |(answer, _prompt)| answer).to_string()
    }

    /// A frame arrives on the wire of `port`; gives every frame that left because of it, with its card.
    pub fn inject(&mut self, port: usize, frame: &[u8]) -> Vec<(usize, Vec<u8>)> {
        let mut packet = self.exchange.allocate().expect("a buffer for a received frame");
        packet.append(frame.len()).expect("the frame fits the buffer").copy_from_slice(frame);
        let mut context = Context { now: self.now, random: &mut self.random, exchange: &mut self.exchange };
        self.outcome = Some(self.router.receive(&mut context, PortId(port as u8), packet));
        self.router.poll(&mut context);
        self.collect()
    }

    /// A host on the wire of `port` sends `packet` to the router; gives every packet that left because of it.
    pub fn send(&mut self, port: usize, packet: Datagram) -> Vec<(usize, Datagram)> {
        let from = neighbor_mac(port, packet.source);
        let frame = Frame::ip(from, router_mac(port), packet);
        self.packets(|bench| bench.inject(port, &frame.bytes()))
    }

    /// Time goes by; gives every frame that left meanwhile.
    pub fn pass(&mut self, time: Duration) -> Vec<(usize, Vec<u8>)> {
        let end = self.now + time;
        let mut left = Vec::new();
        while let Some(next) = self.router.poll_at().filter(|next| *next <= end) {
            // A router that asks for the past again and again would hang the machine.
            self.now = next.max(self.now + Duration::from_micros(1));
            self.poll();
            left.extend(self.collect());
        }
        self.now = end;
        self.poll();
        left.extend(self.collect());
        left
    }

    /// Buffers that are neither in the pool nor on their way out: what the router keeps.
    pub fn kept_buffers(&self) -> usize {
        BUFFERS - self.exchange.available()
    }

    fn poll(&mut self) {
        let mut context = Context { now: self.now, random: &mut self.random, exchange: &mut self.exchange };
        self.router.poll(&mut context);
    }

    fn collect(&mut self) -> Vec<(usize, Vec<u8>)> {
        let mut left = Vec::new();
        while let Some((port, packet)) = self.exchange.take_outgoing() {
            left.push((usize::from(port.0), packet.bytes().to_vec()));
            self.exchange.recycle(packet);
        }
        left
    }

    /// The packets among the frames that leave during `action`.
    ///
    /// # Panics
    /// Where a frame is no packet.
    fn packets(&mut self, action: impl FnOnce(&mut Self) -> Vec<(usize, Vec<u8>)>) -> Vec<(usize, Datagram)> {
        let frames = action(self);
        let read = |(port, frame): (usize, Vec<u8>)| {
            let frame = Frame::read(&frame);
            let packet = frame.datagram().unwrap_or_else(|| panic!("not a packet: {frame:?}"));
            (port, packet.clone())
        };
        frames.into_iter().map(read).collect()
    }
}

/// The machine of a router that has none below it.
struct NoMachine;

impl Platform for NoMachine {
    fn memory(&self) -> (u64, u64) {
        (64 << 20, 16 << 20)
    }

    fn log_lines(&self, _: &mut dyn FnMut(Instant, u8, &str)) {}

    fn clear_log(&mut self) {}

    fn set_console_level(&mut self, _: u8) {}

    fn power(&mut self, _: Power) {}
}
