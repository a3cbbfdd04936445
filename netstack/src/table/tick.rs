//! Coarse time for the timers of flows: one shift away from the clock, in 32 bits that wrap after almost nine years. Read
//! first: RFC 1982, 3.2, for how such numbers compare.

use core::cmp::Ordering;
use smoltcp::time::Instant;

/// Coarse time for timers: units of 2^16 microseconds since boot. Of two ticks that one is later which lies less than half
/// of all ticks, more than four years, ahead of the other.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tick(u32);

impl Ord for Tick {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0.wrapping_sub(other.0) as i32).cmp(&0)
    }
}

impl PartialOrd for Tick {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Tick {
    /// The tick of a moment.
    #[inline]
    pub fn at(now: Instant) -> Self {
        Self((now.total_micros() >> 16) as u32)
    }

    /// `seconds` later.
    #[must_use]
    pub fn plus_seconds(self, seconds: u32) -> Self {
        self.plus(Ticks::from_seconds(seconds))
    }

    /// So much later.
    #[inline]
    #[must_use]
    pub fn plus(self, ticks: Ticks) -> Self {
        Self(self.0.wrapping_add(ticks.0))
    }

    /// Whole seconds from `earlier` to here; 0 where that is in the future.
    pub fn seconds_since(self, earlier: Self) -> u32 {
        let ticks = if self > earlier { self.0.wrapping_sub(earlier.0) } else { 0 };
        ((u64::from(ticks) << 16) / 1_000_000) as u32
    }
}

/// A span of [`Tick`]s.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ticks(u32);

impl Ticks {
    /// As far ahead as a [`Tick`] can be.
    const MOST: u32 = i32::MAX as u32;

    /// At least so many seconds, but four years at most.
    pub fn from_seconds(seconds: u32) -> Self {
        let ticks = (u64::from(seconds) * 1_000_000).div_ceil(1 << 16);
        Self(u32::try_from(ticks).map_or(Self::MOST, |ticks| ticks.min(Self::MOST)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_distance_hold_across_the_wrap() {
        for start in [0, 1000, u32::MAX - 1, u32::MAX, i32::MAX as u32] {
            let (now, later) = (Tick(start), Tick(start).plus_seconds(10));
            assert!(later > now && now.max(later) == later && now.min(later) == now);
            assert_eq!((later.seconds_since(now), now.seconds_since(later)), (10, 0));
            assert!(now.plus_seconds(u32::MAX) > now);
        }
    }
}
