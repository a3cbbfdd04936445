//! A token bucket in one number: the generic cell rate algorithm (ITU-T I.371 annex A).
//!
//! Instead of tokens and the time they were counted at, it keeps the one time at which the bucket will be full
//! again. Shared by ICMP errors, LOG and whatever else must not be provoked without end.

use smoltcp::time::Instant;

/// How fast tokens come and how many fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Microseconds until the next token comes; 0: no limit at all.
    interval: i64,
    /// Tokens in a full bucket, at least 1.
    burst: i64,
}

impl Rate {
    /// `count` tokens in `seconds`, and `burst` of them at once. A count or a burst of 0 is taken as 1.
    pub const fn new(count: u32, seconds: u32, burst: u32) -> Self {
        let count = if count == 0 { 1 } else { count };
        Self::every(seconds as i64 * 1_000_000 / count as i64, burst)
    }

    /// A token every `milliseconds`, and `burst` of them at once. 0 milliseconds: no limit.
    pub const fn every_millis(milliseconds: u32, burst: u32) -> Self {
        Self::every(milliseconds as i64 * 1000, burst)
    }

    /// A token every `microseconds`, and `burst` of them at once.
    pub const fn every_micros(microseconds: u64, burst: u32) -> Self {
        Self::every(microseconds as i64, burst)
    }

    const fn every(interval: i64, burst: u32) -> Self {
        Self { interval, burst: if burst == 0 { 1 } else { burst as i64 } }
    }
}

/// The bucket. A new one is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenBucket {
    /// Microseconds since the epoch of the caller's clock.
    full_at: i64,
}

impl TokenBucket {
    /// A full bucket.
    pub const FULL: Self = Self { full_at: i64::MIN };

    /// A bucket that will be full at `full_at`.
    pub fn until(full_at: Instant) -> Self {
        Self { full_at: full_at.total_micros() }
    }

    /// Takes one token, if there is one.
    #[must_use]
    pub fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let full_at = self.full_at.max(now.total_micros());
        let taken = (full_at - now.total_micros()).saturating_add(rate.interval);
        if taken > rate.interval * rate.burst {
            return false;
        }
        self.full_at = full_at + rate.interval;
        true
    }

    /// When the bucket is full again; a time in the past means that it is full.
    pub fn full_at(&self) -> Instant {
        Instant::from_micros(self.full_at)
    }
}

impl Default for TokenBucket {
    fn default() -> Self {
        Self::FULL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Instant {
        Instant::from_millis(milliseconds)
    }

    fn taken(bucket: &mut TokenBucket, now: Instant, rate: Rate) -> usize {
        (0..1000).take_while(|_| bucket.take(now, rate)).count()
    }

    #[test]
    fn gives_the_burst_at_once_and_then_one_token_each_interval() {
        let rate = Rate::new(10, 1, 5);
        let mut bucket = TokenBucket::default();
        assert_eq!(taken(&mut bucket, at(0), rate), 5);
        assert_eq!(taken(&mut bucket, at(99), rate), 0);
        assert_eq!(taken(&mut bucket, at(100), rate), 1);
        assert_eq!(taken(&mut bucket, at(350), rate), 2);
    }

    #[test]
    fn never_holds_more_than_the_burst() {
        let rate = Rate::new(10, 1, 5);
        let mut bucket = TokenBucket::default();
        assert_eq!(taken(&mut bucket, at(0), rate), 5);
        assert_eq!(taken(&mut bucket, at(3_600_000), rate), 5);
    }

    #[test]
    fn an_interval_of_zero_is_no_limit() {
        let mut bucket = TokenBucket::default();
        assert_eq!(taken(&mut bucket, at(0), Rate::every_millis(0, 1)), 1000);
    }
}
