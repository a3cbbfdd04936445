//! What a card may bring that brings more than the router can take. Read first: Druschel and Banga, "Lazy Receiver
//! Processing", 1996, for why the refused has to be cheap, and RFC 8289, 3 for bursts that are not overload.
//!
//! A packet of a flow that goes on costs a tenth of one that the rules have to be asked about. So a flood of the latter
//! would keep the former waiting until their card has no room for them. While a card is crowded, packets that belong to no flow
//! pass at a rate; the others always do. A card is crowded where more frames wait than the driver takes at a time, twice in
//! a row, and until nothing was refused for a while: else a flood that is refused cheaply would be let in again and again.
//! What a machine can take is not known, so the rate begins low and grows until frames wait again.

use crate::table::token_bucket::{Rate, TokenBucket};
use smoltcp::time::{Duration, Instant};

/// Within what time more frames have to wait twice: two turns of the event loop, when every frame costs most.
const SOON: Duration = Duration::from_millis(5);
/// How long a card stays crowded after the last packet that was refused, and after how long its rate grows.
const WHILE: Duration = Duration::from_secs(1);
/// Packets of no flow that may come at once.
const BURST: u32 = 4000;
/// Packets of no flow pass in batches, once in so many microseconds: to wake a host for each would cost it more than they do.
const BATCH: i64 = 10_000;

/// What is known of a card's load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    noted: Instant,
    crowded_until: Instant,
    /// How often the rate has grown, and when it did so last.
    steps: u32,
    grown: Instant,
    /// Gives tokens at the lowest rate. Each lets in one packet, and one more for each time that the rate has grown.
    bucket: TokenBucket,
    credit: u32,
}

impl Default for Load {
    fn default() -> Self {
        let never = Instant::from_micros(i64::MIN / 2);
        Self {
            noted: never,
            crowded_until: never,
            steps: 0,
            grown: never,
            bucket: TokenBucket::FULL,
            credit: 0,
        }
    }
}

/// What decides how many packets of no flow a crowded card may bring, in a few bytes: steps, credit, when the rate grew, and when
/// the bucket will be full again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadImage([u8; 24]);

impl LoadImage {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The image that these bytes are; `None` where there are too many or too few.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The load of a card that is crowded at `now`.
    pub(crate) fn load(&self, now: Instant) -> Load {
        let word = |at: usize| u32::from_le_bytes(core::array::from_fn(|offset| self.0[at + offset]));
        let time = |at: usize| {
            Instant::from_micros(i64::from_le_bytes(core::array::from_fn(|offset| self.0[at + offset])))
        };
        Load {
            crowded_until: now + WHILE,
            steps: word(0),
            credit: word(4),
            grown: time(8),
            bucket: TokenBucket::until(time(16)),
            ..Load::default()
        }
    }
}

impl Load {
    /// Its image, if the card is crowded.
    pub(crate) fn image(&self, now: Instant) -> Option<LoadImage> {
        let mut bytes = [0; 24];
        bytes[0..4].copy_from_slice(&self.steps.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.credit.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.grown.total_micros().to_le_bytes());
        bytes[16..24].copy_from_slice(&self.bucket.full_at().total_micros().to_le_bytes());
        self.is_crowded(now).then_some(LoadImage(bytes))
    }

    /// More frames wait than were taken.
    pub fn note_waiting(&mut self, now: Instant) {
        if now < self.noted + SOON {
            self.crowded_until = now + WHILE;
            (self.steps, self.credit) = (0, 0);
            self.grown = now;
        }
        self.noted = now;
    }

    /// Whether it is crowded.
    #[inline]
    pub fn is_crowded(&self, now: Instant) -> bool {
        now < self.crowded_until
    }

    /// How many packets of no flow pass in a second, where that begins with `least`; 0: any number.
    pub fn rate(&self, least: u32) -> u32 {
        least.saturating_mul(self.steps + 1)
    }

    /// Whether a crowded card may bring one more packet of no flow.
    #[must_use]
    pub fn admit(&mut self, least: u32, now: Instant) -> bool {
        if now >= self.grown + WHILE {
            self.steps += 1;
            self.grown = now;
        }
        if self.credit > 0 {
            self.credit -= 1;
            return true;
        }
        let batch = Instant::from_micros(now.total_micros() / BATCH * BATCH);
        let admitted = least == 0 || self.bucket.take(batch, Rate::new(least, 1, BURST));
        if admitted {
            self.credit = self.steps;
        } else {
            self.crowded_until = now + WHILE;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: u32 = 2000;

    fn at(milliseconds: i64) -> Instant {
        Instant::from_millis(milliseconds)
    }

    /// How many of `count` pass.
    fn admitted(load: &mut Load, count: usize, now: Instant) -> usize {
        (0..count).filter(|_| load.admit(LEAST, now)).count()
    }

    fn crowded(now: Instant) -> Load {
        let mut load = Load::default();
        load.note_waiting(now);
        load.note_waiting(now);
        load
    }

    #[test]
    fn a_card_is_crowded_for_a_while_where_frames_wait_twice() {
        let mut load = Load::default();
        load.note_waiting(at(0));
        assert!(!load.is_crowded(at(0)), "once is a burst");
        load.note_waiting(at(5));
        assert!(!load.is_crowded(at(5)), "that was another one");
        load.note_waiting(at(9));
        assert!(load.is_crowded(at(1008)) && !load.is_crowded(at(1009)));
    }

    #[test]
    fn it_stays_crowded_while_a_flood_goes_on_and_no_longer() {
        let mut load = crowded(at(0));
        for now in 0..1500 {
            let _ = admitted(&mut load, 100, at(now));
        }
        assert!(load.is_crowded(at(2498)) && !load.is_crowded(at(2499)));
    }

    #[test]
    fn a_burst_passes_and_a_flood_passes_at_the_rate() {
        let mut load = crowded(at(0));
        assert_eq!(admitted(&mut load, 800, at(0)), 800);
        let flood: usize = (1..1000).map(|now| admitted(&mut load, 300, at(now))).sum();
        assert!((5130..=5250).contains(&flood), "{flood} in a second");
    }

    #[test]
    fn the_rate_grows_until_frames_wait_again() {
        let mut load = crowded(at(0));
        let second = |load: &mut Load, number: i64| -> usize {
            (0..1000).map(|now| admitted(load, 300, at(1000 * number + now))).sum()
        };
        let passed = [0, 1, 2, 3].map(|number| second(&mut load, number));
        for (passed, expected) in passed.into_iter().zip([6000, 4000, 6000, 8000]) {
            assert!((expected * 98 / 100..=expected * 102 / 100).contains(&passed), "{passed} of {expected}");
        }
        load.note_waiting(at(4000));
        load.note_waiting(at(4000));
        assert_eq!(load.rate(LEAST), LEAST);
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit_however_long() {
        let mut load = Load::default();
        assert!((0..100_000).all(|now| load.admit(0, at(1000 * now))));
        assert_eq!(load.rate(0), 0);
    }
}
