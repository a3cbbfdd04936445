//! What a card may bring that brings more than the router can take. Read first: Druschel and Banga, "Lazy Receiver
//! Processing", 1996, for why the refused has to be cheap, and RFC 8289, 3 for bursts that are not overload.
//!
//! A packet of a flow that goes on costs a tenth of one that the rules have to be asked about. So a flood of the latter
//! would keep the former waiting until their card has no room for them. While a card is crowded, packets that belong to no flow
//! pass at a rate; the others always do. A card is crowded where more frames wait than the driver takes at a time, twice in
//! a row, and for a moment after that: else a flood that is refused cheaply would be let in again and again.

use crate::table::token_bucket::{Rate, TokenBucket};
use smoltcp::time::{Duration, Instant};

/// Within what time more frames have to wait twice.
const SOON: Duration = Duration::from_millis(2);
/// How long a card stays crowded.
const MOMENT: Duration = Duration::from_millis(20);
/// Packets of no flow that may come at once.
const BURST: u32 = 1000;

/// What is known of a card's load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    noted: Instant,
    crowded_until: Instant,
    bucket: TokenBucket,
}

impl Default for Load {
    fn default() -> Self {
        let never = Instant::from_micros(i64::MIN / 2);
        Self { noted: never, crowded_until: never, bucket: TokenBucket::FULL }
    }
}

impl Load {
    /// More frames wait than were taken.
    pub fn note_waiting(&mut self, now: Instant) {
        if now < self.noted + SOON {
            self.crowded_until = now + MOMENT;
        }
        self.noted = now;
    }

    /// Whether it is crowded.
    #[inline]
    pub fn is_crowded(&self, now: Instant) -> bool {
        now < self.crowded_until
    }

    /// Whether one more packet of no flow may pass, of which a crowded card may bring `rate` in a second; 0: any number.
    #[must_use]
    pub fn admit(&mut self, rate: u32, now: Instant) -> bool {
        rate == 0 || self.bucket.take(now, Rate::new(rate, 1, BURST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 10_000;

    fn at(milliseconds: i64) -> Instant {
        Instant::from_millis(milliseconds)
    }

    /// How many of `count` pass.
    fn admitted(load: &mut Load, count: usize, now: Instant) -> usize {
        (0..count).filter(|_| load.admit(RATE, now)).count()
    }

    #[test]
    fn a_card_is_crowded_for_a_moment_where_frames_wait_twice() {
        let mut load = Load::default();
        load.note_waiting(at(0));
        assert!(!load.is_crowded(at(0)), "once is a burst");
        load.note_waiting(at(2));
        assert!(!load.is_crowded(at(2)), "that was another one");
        load.note_waiting(at(3));
        assert!(load.is_crowded(at(22)) && !load.is_crowded(at(23)));
    }

    #[test]
    fn a_burst_passes_and_a_flood_passes_at_the_rate() {
        let mut load = Load::default();
        assert_eq!(admitted(&mut load, 800, at(0)), 800);
        let flood: usize = (1..=1000).map(|now| admitted(&mut load, 300, at(now))).sum();
        assert!((10_000..=11_200).contains(&flood), "{flood} in a second");
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit() {
        let mut load = Load::default();
        assert!((0..100_000).all(|_| load.admit(0, at(0))));
    }
}
