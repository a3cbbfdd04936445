//! Coarse time for the timers of flows: one shift away from the clock, and 32 bits last for years.

use smoltcp::time::Instant;

/// Coarse time for timers: units of 2^16 microseconds since boot, good for eight years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Tick(u32);

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
        Self(self.0.saturating_add(ticks.0))
    }

    /// Whole seconds from `earlier` to here; 0 where that is in the future.
    pub fn seconds_since(self, earlier: Self) -> u32 {
        ((u64::from(self.0.saturating_sub(earlier.0)) << 16) / 1_000_000) as u32
    }
}

/// A span of [`Tick`]s.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ticks(u32);

impl Ticks {
    /// At least so many seconds.
    pub fn from_seconds(seconds: u32) -> Self {
        let ticks = (u64::from(seconds) * 1_000_000).div_ceil(1 << 16);
        Self(u32::try_from(ticks).unwrap_or(u32::MAX))
    }
}
