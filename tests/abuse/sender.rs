//! Puts frames on the cable of one of the router's cards, at a steady rate.

use crate::dice::Dice;
use qemu::tap;
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Frames per second: what the router can take in beside everything else, so that few are lost before they reach it.
const RATE: f64 = 20_000.0;
/// Frames sent without a look at the clock.
const BURST: u64 = 32;

/// An end of a cable, where a tap is.
pub struct Sender(tap::Sender);

impl Sender {
    /// On this tap of the namespace that it is called in.
    pub fn on(tap: &str) -> Self {
        Self(tap::Sender::on(tap).expect("the tap is there"))
    }

    /// Sends `count` frames; gives how many the kernel took.
    pub fn send(&mut self, dice: &mut Dice, count: u64, make: fn(&mut Dice) -> Vec<u8>) -> u64 {
        let (start, mut taken) = (Instant::now(), 0);
        for number in 0..count {
            dice.number = number;
            if self.0.put(&make(dice)) {
                taken += 1;
            }
            if number % BURST == 0 {
                let due = Duration::from_secs_f64(number as f64 / RATE);
                sleep(due.saturating_sub(start.elapsed()));
            }
        }
        taken
    }

    /// Frames that were lost because the router did not take them fast enough; asked in the tap's namespace.
    pub fn lost(tap: &str) -> u64 {
        tap::Counters::of(tap).expect("the tap is there").lost
    }
}
