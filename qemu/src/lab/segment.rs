//! An Ethernet segment at one card of the router: the cable, the hosts on it, and a record of what passed.

use std::io;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;

use super::capture::Capture;
use super::host::Host;
use super::link::Link;

/// The shortest thing that has an Ethernet header.
const HEADER: usize = 14;
/// What is remembered at most; the capture file has all.
const REMEMBERED: usize = 100_000;

/// A frame that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub at: std::time::Instant,
    pub from_router: bool,
    pub frame: Vec<u8>,
}

/// A segment.
pub struct Segment {
    pub hosts: Vec<Host>,
    /// The frames that passed, oldest first.
    pub seen: Vec<Sighting>,
    /// The address of the router's card.
    pub router: EthernetAddress,
    pub(super) link: Link,
    index: usize,
}

impl Segment {
    pub fn new(index: usize, link: Link, router: EthernetAddress) -> Segment {
        Segment { hosts: Vec::new(), seen: Vec::new(), router, link, index }
    }

    /// The machine has taken all that was sent.
    pub fn is_drained(&self) -> bool {
        !self.link.has_unsent()
    }

    /// How many frames the router has sent.
    pub fn from_router(&self) -> usize {
        self.seen.iter().filter(|sighting| sighting.from_router).count()
    }

    /// Puts a frame on the cable.
    pub(super) fn inject(&mut self, frame: &[u8]) {
        self.link.send(frame);
        self.remember(false, frame);
    }

    /// Reads what the router sent, and gives it to the hosts.
    pub(super) fn receive(&mut self, capture: &mut Capture) -> io::Result<()> {
        let mut frames = Vec::new();
        self.link.receive(|frame| frames.push(frame.to_vec()))?;
        for frame in frames.into_iter().filter(|frame| frame.len() >= HEADER) {
            for host in &mut self.hosts {
                host.hear(&frame);
            }
            record(capture, self.index, &frame)?;
            self.remember(true, &frame);
        }
        Ok(())
    }

    /// Lets the hosts work until none has anything to do.
    pub(super) fn settle(&mut self, now: Instant, capture: &mut Capture) -> io::Result<()> {
        let mut quiet = false;
        while !quiet && !self.link.is_full() {
            quiet = true;
            for sender in 0..self.hosts.len() {
                let frames: Vec<_> = self.hosts[sender].poll(now).collect();
                for frame in frames {
                    quiet = false;
                    record(capture, self.index, &frame)?;
                    for (index, host) in self.hosts.iter_mut().enumerate() {
                        if index != sender {
                            host.hear(&frame);
                        }
                    }
                    self.link.send(&frame);
                    self.remember(false, &frame);
                }
            }
        }
        self.link.flush()
    }

    /// How long nothing happens here unless a frame arrives.
    pub(super) fn idle_for(&mut self, now: Instant) -> Option<Duration> {
        if self.link.is_full() {
            return None;
        }
        self.hosts.iter_mut().filter_map(|host| host.idle_for(now)).min()
    }

    fn remember(&mut self, from_router: bool, frame: &[u8]) {
        if self.seen.len() < REMEMBERED {
            let at = std::time::Instant::now();
            self.seen.push(Sighting { at, from_router, frame: frame.to_vec() });
        }
    }
}

fn record(capture: &mut Capture, index: usize, frame: &[u8]) -> io::Result<()> {
    capture.add(index, frame).map_err(io::Error::other)
}
