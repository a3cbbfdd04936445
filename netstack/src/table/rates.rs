//! A token bucket for each address, network or port (`-m hashlimit`): fixed memory, and one cache line or two to look at.
//!
//! Who is not there has a full bucket. So where nine want the eight places of a hash value, the one goes whose bucket is the fullest:
//! a flood from random sources displaces those that are quiet, and never the one that sends too much.

use super::{
    multilinear,
    token_bucket::{Rate, TokenBucket},
};
use alloc::vec::Vec;
use smoltcp::time::{Duration, Instant};

const WAYS: usize = 8;

/// What packets are counted by; what does not count is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Endpoints {
    pub source: u32,
    pub destination: u32,
    pub source_port: u16,
    pub destination_port: u16,
}

#[derive(Clone, Copy)]
struct Entry {
    endpoints: Endpoints,
    bucket: TokenBucket,
    /// When it is forgotten, unless a packet comes before.
    expires: Instant,
}

impl Entry {
    const FREE: Self = Self {
        endpoints: Endpoints { source: 0, destination: 0, source_port: 0, destination_port: 0 },
        bucket: TokenBucket::FULL,
        expires: Instant::from_micros_const(i64::MIN),
    };
}

/// The buckets of all.
pub struct Rates {
    lines: Vec<[Entry; WAYS]>,
    key: [u64; 4],
}

impl Rates {
    /// A table for `entries`, all of whose memory is taken here.
    pub fn new(entries: usize, key: [u64; 4]) -> Self {
        Self { lines: alloc::vec![[Entry::FREE; WAYS]; entries.div_ceil(WAYS).max(1)], key }
    }

    /// Whether one more packet of these is within the rate; with `take` it is also charged. They are forgotten after
    /// having been silent for `lifetime`.
    pub fn admit(
        &mut self,
        endpoints: Endpoints,
        rate: Rate,
        lifetime: Duration,
        now: Instant,
        take: bool,
    ) -> bool {
        let line = self.line(endpoints);
        let entries = &mut self.lines[line];
        let known = entries.iter().position(|it| it.endpoints == endpoints && it.expires > now);
        let mut bucket = known.map_or(TokenBucket::FULL, |at| entries[at].bucket);
        let admitted = bucket.take(now, rate);
        if take {
            let fullness = |it: &Entry| (it.expires > now).then_some(it.bucket.full_at());
            let quietest = || (0..WAYS).min_by_key(|&at| fullness(&entries[at])).unwrap_or(0);
            let at = known.unwrap_or_else(quietest);
            entries[at] = Entry { endpoints, bucket, expires: now + lifetime };
        }
        admitted
    }

    fn line(&self, endpoints: Endpoints) -> usize {
        let [k0, k1, k2, k3] = self.key;
        let addresses = multilinear::pair([k1, k2], [endpoints.source, endpoints.destination]);
        let ports = u64::from(endpoints.source_port) << 16 | u64::from(endpoints.destination_port);
        let sum = k0.wrapping_add(addresses).wrapping_add(k3.wrapping_mul(ports));
        multilinear::bucket(sum, self.lines.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::new(10, 1, 5);

    fn from(source: u32) -> Endpoints {
        Endpoints { source, destination: 0, source_port: 0, destination_port: 0 }
    }

    fn rates() -> Rates {
        Rates::new(64, [1 << 40 | 3, 5 << 33 | 7, 9 << 35 | 11, 13 << 34 | 15])
    }

    fn admitted(rates: &mut Rates, source: u32, millis: i64) -> usize {
        let now = Instant::from_millis(millis);
        (0..20).filter(|_| rates.admit(from(source), RATE, Duration::from_secs(10), now, true)).count()
    }

    #[test]
    fn each_has_a_bucket_of_its_own() {
        let mut rates = rates();
        assert_eq!(admitted(&mut rates, 1, 0), 5);
        assert_eq!(admitted(&mut rates, 2, 0), 5);
        assert_eq!(admitted(&mut rates, 1, 300), 3);
    }

    #[test]
    fn asking_without_taking_changes_nothing() {
        let mut rates = rates();
        let now = Instant::from_millis(0);
        for _ in 0..20 {
            assert!(rates.admit(from(1), RATE, Duration::from_secs(10), now, false));
        }
        assert_eq!(admitted(&mut rates, 1, 0), 5);
        assert!(!rates.admit(from(1), RATE, Duration::from_secs(10), now, false));
    }

    #[test]
    fn a_flood_from_others_gives_nobody_a_new_bucket_who_sends_on() {
        let mut rates = rates();
        assert_eq!(admitted(&mut rates, 1, 0), 5);
        for source in 100..10_000 {
            rates.admit(from(source), RATE, Duration::from_secs(10), Instant::from_millis(1), true);
        }
        assert_eq!(admitted(&mut rates, 1, 2), 0);
    }

    #[test]
    fn who_was_silent_long_enough_has_a_full_bucket() {
        let slow = Rate::new(1, 3600, 2);
        let mut rates = rates();
        let mut admit = |seconds| {
            let now = Instant::from_secs(seconds);
            rates.admit(from(1), slow, Duration::from_secs(10), now, true)
        };
        assert!(admit(0) && admit(0) && !admit(0));
        assert!(!admit(9) && admit(20));
    }
}
