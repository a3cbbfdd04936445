//! Finds out that a device has died without saying so: it keeps what it was given.

use smoltcp::time::{Duration, Instant};

/// Looks without any progress after which a device counts as dead. One would not do: where the whole machine has stood for
/// a while, the clock may have gone on without the device.
const LOOKS: u8 = 5;

/// Watches one queue of a device.
pub struct Watchdog {
    interval: Duration,
    /// How far the device had come with what it was given.
    mark: u16,
    looks: u8,
    next_look: Option<Instant>,
}

impl Watchdog {
    /// One that barks when the device has made no progress for `patience`.
    pub const fn new(patience: Duration) -> Self {
        let interval = Duration::from_micros(patience.total_micros() / LOOKS as u64);
        Self { interval, mark: 0, looks: 0, next_look: None }
    }

    /// Looks at what the device owes, as [`Ring::owed`](crate::ring::Ring::owed) says it; whether it is dead.
    pub fn look(&mut self, owed: Option<u16>, now: Instant) -> bool {
        let Some(mark) = owed else {
            self.next_look = None;
            return false;
        };
        match self.next_look {
            Some(at) if mark == self.mark => {
                if at <= now {
                    self.looks += 1;
                    self.next_look = Some(now + self.interval);
                }
            }
            _ => *self = Self { mark, looks: 0, next_look: Some(now + self.interval), ..*self },
        }
        self.looks >= LOOKS
    }

    /// When it wants to look again, even if nothing else happens.
    pub fn next_look(&self) -> Option<Instant> {
        self.next_look
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks each 100 ms at what a device with 5 s owes; after how many milliseconds it was found dead.
    fn bark(owed: impl Fn(i64) -> Option<u16>) -> Option<i64> {
        let mut watchdog = Watchdog::new(Duration::from_secs(5));
        (0..30_000).step_by(100).find(|&at| watchdog.look(owed(at), Instant::from_millis(at)))
    }

    #[test]
    fn a_device_that_keeps_what_it_got_is_dead() {
        assert_eq!(bark(|_| Some(7)), Some(5000));
        assert_eq!(bark(|at| Some(if at < 3000 { 6 } else { 7 })), Some(8000));
    }

    #[test]
    fn a_device_that_goes_on_or_owes_nothing_lives() {
        assert_eq!(bark(|at| Some((at / 4900) as u16)), None);
        assert_eq!(bark(|_| None), None);
        // Whatever it gets, it has done with in time.
        assert_eq!(bark(|at| (at % 5000 != 0).then_some(7)), None);
    }

    #[test]
    fn a_clock_that_jumps_kills_nothing() {
        let mut watchdog = Watchdog::new(Duration::from_secs(5));
        for second in [0, 3600, 7200, 10_800] {
            assert!(!watchdog.look(Some(7), Instant::from_secs(second)));
        }
        assert_eq!(watchdog.next_look(), Some(Instant::from_secs(10_801)));
    }
}
