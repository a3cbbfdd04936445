//! What a tap holds, as a pcapng file that is written while frames come.

use super::{
    Counts, Refused, Sight, TapId, Wish,
    pcapng::{self, Out},
};
use crate::{interface::InterfaceId, outcome::Outcome, router::Router};
use alloc::{format, string::String, vec::Vec};
use smoltcp::time::Instant;

/// Bytes that wait for the serial line; no frame is written behind more.
const HIGH: usize = 64 << 10;

/// A file that is being written.
pub struct Stream {
    tap: TapId,
    /// By their numbers in the file.
    interfaces: Vec<InterfaceId>,
    /// What is added to the router's time to make it everybody's, in microseconds.
    offset: u64,
    captured: u64,
    frame: Vec<u8>,
}

impl Stream {
    /// Opens a tap and begins a file. `expression` is the filter's text.
    ///
    /// # Errors
    /// Those of [`Taps::open`](super::Taps::open).
    pub fn begin(
        router: &mut Router,
        wish: Wish,
        expression: &str,
        offset: u64,
        out: &mut Out,
    ) -> Result<Self, Refused> {
        let interfaces: Vec<InterfaceId> = match wish.interface {
            Some(interface) => [interface].into(),
            None => router.config().interfaces().map(|(id, _)| id).collect(),
        };
        let tap = router.taps().open(wish)?;
        pcapng::section("", out);
        for id in &interfaces {
            let interface = router.config().interface(*id);
            pcapng::interface(&interface.name, interface.mac, expression, out);
        }
        Ok(Self { tap, interfaces, offset, captured: 0, frame: Vec::new() })
    }

    /// Frames written so far.
    pub fn captured(&self) -> u64 {
        self.captured
    }

    /// Writes what the tap holds, until there are `most` frames in the file or enough for the line to do.
    pub fn go_on(&mut self, router: &mut Router, most: Option<u64>, out: &mut Out) {
        while most.is_none_or(|most| self.captured < most) && out.len() < HIGH {
            let Some(sight) = router.taps().take(self.tap, &mut self.frame) else { return };
            let number = self.interfaces.iter().position(|known| *known == sight.interface);
            if let Some(number) = number {
                self.captured += 1;
                let micros = sight.time.total_micros() as u64 + self.offset;
                pcapng::packet(number as u32, micros, &sight, &self.frame, &reason(&sight), out);
            }
        }
    }

    /// Closes the tap, and ends the file with what was counted.
    pub fn end(self, router: &mut Router, now: Instant, out: &mut Out) -> Counts {
        let counts = router.taps().close(self.tap);
        pcapng::statistics(0, now.total_micros() as u64 + self.offset, counts, out);
        counts
    }
}

/// Why a frame went no further.
fn reason(sight: &Sight) -> String {
    match sight.verdict {
        Some(verdict @ Outcome::Dropped(_)) => format!("{verdict}"),
        _ => String::new(),
    }
}
