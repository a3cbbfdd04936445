//! Hosts and routers on wires that delay, lose and reorder, all in virtual time: a run is the same every time.

use crate::{bench::Bench, host::Host};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use smoltcp::time::{Duration, Instant};
use std::{cmp::Reverse, collections::BinaryHeap};

/// Everything that there is.
pub struct World {
    pub now: Instant,
    pub hosts: Vec<Host>,
    pub routers: Vec<Bench>,
    wires: Vec<Wire>,
    flying: BinaryHeap<Reverse<Flight>>,
    flights: u64,
    random: StdRng,
}

/// One end of a wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum End {
    /// A host, by its place in [`World::hosts`].
    Host(usize),
    /// A router, by its place in [`World::routers`], and the number of its card.
    Router(usize, usize),
}

/// What a wire does to frames. Everybody on it hears everything.
#[derive(Clone)]
pub struct Wire {
    pub ends: Vec<End>,
    pub delay: Duration,
    /// Up to so much more delay for each frame, which changes their order.
    pub jitter: Duration,
    /// Of a thousand frames, so many are lost.
    pub loss: u32,
    /// Longer packets do not pass.
    pub mtu: usize,
    /// Every frame that passed, for a test to look at.
    pub seen: Vec<Vec<u8>>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    arrival: Instant,
    number: u64,
    to: End,
    frame: Vec<u8>,
}

impl Wire {
    /// A good wire: one millisecond, nothing lost.
    pub fn new(ends: &[End]) -> Self {
        Self {
            ends: ends.to_vec(),
            delay: Duration::from_millis(1),
            jitter: Duration::ZERO,
            loss: 0,
            mtu: 1500,
            seen: Vec::new(),
        }
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::from_secs(100),
            hosts: Vec::new(),
            routers: Vec::new(),
            wires: Vec::new(),
            flying: BinaryHeap::new(),
            flights: 0,
            random: StdRng::seed_from_u64(seed),
        }
    }

    pub fn add_host(&mut self, host: Host) -> End {
        self.hosts.push(host);
        End::Host(self.hosts.len() - 1)
    }

    /// Adds a router; `card` numbers of it are the ends of wires.
    pub fn add_router(&mut self, mut router: Bench) -> usize {
        router.now = self.now;
        self.routers.push(router);
        self.routers.len() - 1
    }

    pub fn add_wire(&mut self, wire: Wire) -> usize {
        self.wires.push(wire);
        self.wires.len() - 1
    }

    pub fn wire(&mut self, number: usize) -> &mut Wire {
        &mut self.wires[number]
    }

    /// Lets time go by until `done`, which is asked after everything that happens.
    ///
    /// # Panics
    /// Where that does not come true within `limit`.
    #[track_caller]
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) {
        let end = self.now + limit;
        loop {
            self.settle();
            if done(self) {
                return;
            }
            let next = self.next_event();
            assert!(next.is_some_and(|next| next <= end), "not done within {limit}");
            self.now = next.unwrap_or(end).max(self.now);
        }
    }

    /// Lets this much time go by.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            match self.next_event() {
                Some(next) if next <= end => self.now = next.max(self.now),
                _ => break,
            }
        }
        self.now = end;
        self.settle();
    }

    /// Puts a frame on the wire that `from` is on.
    pub fn send(&mut self, from: End, frame: Vec<u8>) {
        let on_it = |wire: &&mut Wire| wire.ends.contains(&from);
        let Some(wire) = self.wires.iter_mut().find(on_it) else { return };
        if frame.len() > wire.mtu + 14 || self.random.random_ratio(wire.loss, 1000) {
            return;
        }
        let jitter = self.random.random_range(0..=wire.jitter.total_micros());
        let arrival = self.now + wire.delay + Duration::from_micros(jitter);
        for to in wire.ends.iter().filter(|end| **end != from) {
            self.flights += 1;
            self.flying.push(Reverse(Flight {
                arrival,
                number: self.flights,
                to: *to,
                frame: frame.clone(),
            }));
        }
        wire.seen.push(frame);
    }

    /// Does all that is to be done at this moment.
    fn settle(&mut self) {
        loop {
            let mut left = Vec::new();
            while self.flying.peek().is_some_and(|Reverse(flight)| flight.arrival <= self.now) {
                let Some(Reverse(Flight { to, frame, .. })) = self.flying.pop() else { break };
                match to {
                    End::Host(host) => self.hosts[host].receive(frame),
                    End::Router(router, card) => {
                        let bench = &mut self.routers[router];
                        bench.now = self.now;
                        let out = bench.inject(card, &frame).into_iter();
                        left.extend(out.map(|(card, frame)| (End::Router(router, card), frame)));
                    }
                }
            }
            for (number, host) in self.hosts.iter_mut().enumerate() {
                left.extend(host.poll(self.now).map(|frame| (End::Host(number), frame)));
            }
            for (number, router) in self.routers.iter_mut().enumerate() {
                let out = router.poll_until(self.now).into_iter();
                left.extend(out.map(|(card, frame)| (End::Router(number, card), frame)));
            }
            if left.is_empty() {
                return;
            }
            left.into_iter().for_each(|(from, frame)| self.send(from, frame));
        }
    }

    fn next_event(&mut self) -> Option<Instant> {
        let now = self.now;
        let flights = self.flying.peek().map(|Reverse(flight)| flight.arrival);
        let hosts = self.hosts.iter_mut().filter_map(|host| host.poll_at(now));
        let routers = self.routers.iter().filter_map(|bench| bench.router.poll_at());
        let next = flights.into_iter().chain(hosts).chain(routers).min()?;
        // Whoever asks for now has just been served.
        Some(next.max(now + Duration::from_micros(1)))
    }
}
