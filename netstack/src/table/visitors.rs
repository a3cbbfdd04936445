//! Who was here, and when (`-m recent`): a list of addresses with the times of their last packets, in fixed memory.
//!
//! An address has eight places that it may be in, by a hash with a secret key. Where all are taken, whoever has been away longest
//! is forgotten, as in Linux's list of a hundred (net/netfilter/xt_recent.c).

use super::multilinear;
use alloc::vec::Vec;
use smoltcp::time::Instant;

const WAYS: usize = 8;
/// Before every packet.
const NEVER: Instant = Instant::from_micros_const(i64::MIN);

#[derive(Clone)]
struct Visitor {
    address: u32,
    /// When its last packet came that counts; [`NEVER`]: the place is free.
    latest: Instant,
    ttl: u8,
}

/// The list.
pub struct Visitors {
    visitors: Vec<Visitor>,
    /// The times of each visitor's last packets, of which the oldest one is overwritten.
    stamps: Vec<Instant>,
    /// How many times are kept for each visitor.
    depth: usize,
    key: [u64; 2],
}

/// A visitor's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VisitorId(usize);

impl Visitors {
    /// Times that one list remembers.
    const STAMPS: usize = 16_384;

    /// A list that remembers the last `depth` packets of each address, and as many addresses as that leaves room for.
    pub fn new(depth: usize, key: [u64; 2]) -> Self {
        let depth = depth.clamp(1, Self::STAMPS / WAYS);
        let places = Self::STAMPS / depth / WAYS * WAYS;
        let nobody = Visitor { address: 0, latest: NEVER, ttl: 0 };
        Self { visitors: alloc::vec![nobody; places], stamps: alloc::vec![NEVER; places * depth], depth, key }
    }

    /// The visitor of that address; with a `ttl`, only if it came with that.
    pub fn find(&self, address: u32, ttl: Option<u8>) -> Option<VisitorId> {
        let known =
            |it: &Visitor| it.address == address && it.latest != NEVER && ttl.is_none_or(|ttl| ttl == it.ttl);
        self.line(address).find(|&at| known(&self.visitors[at])).map(VisitorId)
    }

    /// Adds a visitor without any time, perhaps in place of another one.
    pub fn add(&mut self, address: u32, now: Instant, ttl: u8) -> VisitorId {
        let line = self.line(address);
        let at = line.clone().min_by_key(|&at| self.visitors[at].latest).unwrap_or(line.start);
        self.visitors[at] = Visitor { address, latest: now, ttl };
        self.stamps_of(at).fill(NEVER);
        VisitorId(at)
    }

    /// A packet of the visitor has come.
    pub fn stamp(&mut self, id: VisitorId, now: Instant, ttl: u8) {
        let VisitorId(at) = id;
        let stamps = self.stamps_of(at);
        stamps.rotate_right(1);
        stamps[0] = now;
        (self.visitors[at].latest, self.visitors[at].ttl) = (now, ttl);
    }

    /// How many of the visitor's last packets came since then.
    pub fn hits(&self, id: VisitorId, since: Instant) -> usize {
        let first = id.0 * self.depth;
        let stamps = &self.stamps[first..first + self.depth];
        stamps.iter().filter(|&&stamp| stamp != NEVER && stamp >= since).count()
    }

    /// Forgets a visitor.
    pub fn remove(&mut self, id: VisitorId) {
        self.visitors[id.0].latest = NEVER;
    }

    /// Forgets whoever in an address's places was not here since then.
    pub fn reap(&mut self, address: u32, since: Instant) {
        for at in self.line(address) {
            if self.visitors[at].latest < since {
                self.visitors[at].latest = NEVER;
            }
        }
    }

    fn stamps_of(&mut self, at: usize) -> &mut [Instant] {
        &mut self.stamps[at * self.depth..(at + 1) * self.depth]
    }

    /// The places that an address may be in.
    fn line(&self, address: u32) -> core::ops::Range<usize> {
        let [k0, k1] = self.key;
        let sum = k0.wrapping_add(k1.wrapping_mul(address.into()));
        let first = multilinear::bucket(sum, self.visitors.len() / WAYS) * WAYS;
        first..first + WAYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Instant {
        Instant::from_secs(seconds)
    }

    fn visitors(depth: usize) -> Visitors {
        Visitors::new(depth, [1 << 40 | 3, 5 << 33 | 7])
    }

    #[test]
    fn the_last_times_are_remembered_and_counted() {
        let mut visitors = visitors(4);
        assert_eq!(visitors.find(1, None), None);
        let id = visitors.add(1, at(0), 64);
        assert_eq!(visitors.hits(id, at(0)), 0);
        for second in 0..10 {
            visitors.stamp(id, at(second), 64);
        }
        assert_eq!(visitors.find(1, None), Some(id));
        assert_eq!(
            (visitors.hits(id, at(0)), visitors.hits(id, at(8)), visitors.hits(id, at(10))),
            (4, 2, 0)
        );
        assert_eq!((visitors.find(1, Some(64)), visitors.find(1, Some(63))), (Some(id), None));
        visitors.remove(id);
        assert_eq!(visitors.find(1, None), None);
    }

    #[test]
    fn who_comes_again_is_not_displaced_by_a_crowd() {
        let mut visitors = visitors(4);
        let id = visitors.add(0, at(0), 64);
        for number in 1..100_000 {
            let now = Instant::from_millis(i64::from(number));
            if number % 2 == 0 {
                visitors.stamp(id, now, 64);
            } else {
                visitors.add(number, now, 64);
            }
        }
        assert_eq!(visitors.find(0, None), Some(id));
    }
}
