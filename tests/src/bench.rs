//! A router on a bench, in virtual time: frames go in by hand, and every frame that leaves is caught.

use crate::{
    datagram::Datagram,
    frame::{Content, Frame},
    network::{NETWORK, neighbor_mac, router_mac},
};
use netstack::{
    command::{Console, Platform, Power, load},
    config::PortInfo,
    exchange::Exchange,
    interface::PortId,
    offload::{Abilities, Offload},
    outcome::{DropReason, Outcome},
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
    buffers: Exchange,
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
        let cards: Vec<_> = (0..ports).map(|port| PortInfo::new(router_mac(port), 1500)).collect();
        Self::on(&cards, limits, seed, config)
    }

    /// A router in the network of [`NETWORK`] that has also run `config`, and whose cards can what these words say.
    pub fn with_abilities(abilities: [Abilities; 3], config: &str) -> Self {
        let cards: Vec<_> = (0..3)
            .map(|port| PortInfo { abilities: abilities[port], ..PortInfo::new(router_mac(port), 1500) })
            .collect();
        Self::on(&cards, &Limits::default(), 0, &[NETWORK, config].concat())
    }

    fn on(cards: &[PortInfo], limits: &Limits, seed: u64, config: &str) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let router = Router::new(cards, limits, &mut random);
        let buffers = Exchange::new(BUFFERS, BUFFER_SIZE);
        let mut bench = Self { router, now: Instant::from_secs(1), outcome: None, buffers, random };
        bench.run(config);
        // The router says who it is, which no test but its own wants to see.
        bench.pass(Duration::from_secs(10));
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

    /// Runs commands, some of which may be refused.
    pub fn try_run(&mut self, commands: &str) -> bool {
        load(&mut self.router, commands).is_ok()
    }

    /// Types one command at the console; gives what it prints, without the echo and the prompts.
    pub fn command(&mut self, line: &str) -> String {
        let mut console = Console::new(&self.router);
        console.output().clear();
        let text = self.press(&mut console, format!("{line}\r").as_bytes());
        let text = String::from_utf8_lossy(&text).replace('\r', "");
        let answer = text.split_once('\n').map_or("", |(_echo, answer)| answer);
        answer.rsplit_once('\n').map_or("", |(answer, _prompt)| answer).to_string()
    }

    /// Presses these keys at a console; gives what it shows until it waits for more keys, or for time to pass.
    ///
    /// # Panics
    /// Where it has something to show again and again without end.
    pub fn press(&mut self, console: &mut Console, keys: &[u8]) -> Vec<u8> {
        let mut context = Context { now: self.now, random: &mut self.random, exchange: &mut self.buffers };
        console.input(keys, &mut self.router, &mut NoMachine, &mut context);
        let mut shown = Vec::new();
        for _ in 0..1_000_000 {
            console.poll(&mut self.router, &mut NoMachine, &mut context);
            shown.extend(console.output().drain(..));
            if console.poll_at().is_none_or(|at| at > context.now) {
                return shown;
            }
        }
        panic!("the console is never done");
    }

    /// A frame arrives on the wire of `port`; gives every frame that left because of it, with its card.
    pub fn inject(&mut self, port: usize, frame: &[u8]) -> Vec<(usize, Vec<u8>)> {
        let mut packet = self.buffers.allocate().expect("a buffer for a received frame");
        packet.append(frame.len()).expect("the frame fits the buffer").copy_from_slice(frame);
        let mut context = Context { now: self.now, random: &mut self.random, exchange: &mut self.buffers };
        self.outcome = Some(self.router.receive(&mut context, PortId(port as u8), packet));
        self.router.poll(&mut context);
        self.collect()
    }

    /// A frame that is yet to be finished arrives on the wire of `port`, in buffers of so many bytes; gives every frame that
    /// left because of it, with what is still to be done to it.
    pub fn inject_unfinished(
        &mut self,
        port: usize,
        frame: &[u8],
        offload: Offload,
        buffer: usize,
    ) -> Vec<(usize, Vec<u8>, Offload)> {
        let mut parts = frame.chunks(buffer).map(|part| {
            let mut packet = self.buffers.allocate().expect("a buffer for a received frame");
            packet.append(part.len()).expect("the part fits the buffer").copy_from_slice(part);
            packet
        });
        let mut packet = parts.next().expect("a frame with a byte");
        packet.extend(parts);
        packet.set_offload(offload);
        let mut context = Context { now: self.now, random: &mut self.random, exchange: &mut self.buffers };
        self.outcome = Some(self.router.receive(&mut context, PortId(port as u8), packet));
        self.router.poll(&mut context);
        self.collect_unfinished()
    }

    /// A host on the wire of `port` sends `packet` to the router; gives every packet that left because of it.
    pub fn send(&mut self, port: usize, packet: Datagram) -> Vec<(usize, Datagram)> {
        let from = neighbor_mac(port, packet.source);
        let frame = Frame::ip(from, router_mac(port), packet);
        self.packets(|bench| bench.inject(port, &frame.bytes()))
    }

    /// Like [`Bench::send`], where exactly one packet leaves.
    ///
    /// # Panics
    /// Where none leaves, or several do.
    #[track_caller]
    pub fn exchange(&mut self, port: usize, packet: Datagram) -> (usize, Datagram) {
        let mut left = self.send(port, packet);
        assert_eq!(left.len(), 1, "one packet leaves: {left:?}, {:?}", self.outcome);
        left.remove(0)
    }

    /// Like [`Bench::send`], where the packet is dropped and nobody is told; gives the reason.
    ///
    /// # Panics
    /// Where anything leaves, or the packet was not dropped.
    #[track_caller]
    pub fn dropped(&mut self, port: usize, packet: Datagram) -> DropReason {
        let left = self.send(port, packet);
        assert_eq!(left, [], "nothing leaves");
        self.drop_reason()
    }

    /// Why the last frame was dropped.
    ///
    /// # Panics
    /// Where it was not.
    #[track_caller]
    pub fn drop_reason(&self) -> DropReason {
        match self.outcome {
            Some(Outcome::Dropped(reason)) => reason,
            other => panic!("not dropped but {other:?}"),
        }
    }

    /// Time goes by; gives every frame that left meanwhile.
    pub fn pass(&mut self, time: Duration) -> Vec<(usize, Vec<u8>)> {
        let end = self.now + time;
        self.poll_until(end)
    }

    /// Time goes by until `end`.
    ///
    /// # Panics
    /// Where the router has something to do again and again without end.
    pub fn poll_until(&mut self, end: Instant) -> Vec<(usize, Vec<u8>)> {
        let mut left = Vec::new();
        for _ in 0..1_000_000 {
            let next = self.router.poll_at().filter(|next| *next < end);
            self.now = next.unwrap_or(end).max(self.now);
            self.poll();
            left.extend(self.collect());
            if next.is_none() {
                return left;
            }
        }
        panic!("the router is never done: it is {}, and it wants {:?}", self.now, self.router.poll_at());
    }

    /// Time goes by, and the router is looked after only when it is over; gives every frame that left then.
    pub fn sleep(&mut self, time: Duration) -> Vec<(usize, Vec<u8>)> {
        self.now += time;
        self.poll();
        self.collect()
    }

    /// The link of a card comes up or goes down.
    pub fn set_carrier(&mut self, port: usize, carrier: bool) {
        self.router.set_carrier(PortId(port as u8), carrier);
    }

    /// Buffers that are neither in the pool nor on their way out: what the router keeps.
    pub fn kept_buffers(&self) -> usize {
        BUFFERS - self.buffers.available()
    }

    fn poll(&mut self) {
        let mut context = Context { now: self.now, random: &mut self.random, exchange: &mut self.buffers };
        self.router.poll(&mut context);
    }

    fn collect(&mut self) -> Vec<(usize, Vec<u8>)> {
        self.collect_unfinished().into_iter().map(|(port, frame, _)| (port, frame)).collect()
    }

    fn collect_unfinished(&mut self) -> Vec<(usize, Vec<u8>, Offload)> {
        let mut left = Vec::new();
        while let Some((port, packet)) = self.buffers.take_outgoing() {
            let frame = packet.parts().collect::<Vec<_>>().concat();
            left.push((usize::from(port.0), frame, *packet.offload()));
            self.buffers.recycle(packet);
        }
        left
    }

    /// The packets among the frames that leave during `action`; ARP is left out.
    ///
    /// # Panics
    /// Where a frame is neither.
    pub fn packets(
        &mut self,
        action: impl FnOnce(&mut Self) -> Vec<(usize, Vec<u8>)>,
    ) -> Vec<(usize, Datagram)> {
        let read = |(port, bytes): (usize, Vec<u8>)| match Frame::read(&bytes).content {
            Content::Ip(packet) => Some((port, packet)),
            Content::Arp(_) => None,
            Content::Other(..) => panic!("neither a packet nor ARP: {bytes:02x?}"),
        };
        action(self).into_iter().filter_map(read).collect()
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
