//! Taps: frames that come in and leave, copied for whoever asked for them (`tcpdump`, the recorder), or followed on their way
//! (`trace`). Where nobody did, a burst of frames costs one look at [`Taps::are_open`].

pub mod filter;
pub mod pcapng;
pub mod recorder;
mod ring;
pub mod stream;
pub mod text;
pub mod tracer;

use crate::{
    interface::InterfaceId, offload::Offload, outcome::Outcome, packet::Packet, stage::overload::LoadImage,
    table::flow::FlowImage,
};
use alloc::{boxed::Box, vec::Vec};
use core::fmt;
use filter::Filter;
use recorder::Recorder;
use ring::Ring;
pub use ring::offload_from_bytes;
use smoltcp::time::Instant;
use tracer::{Match, Tracer};

/// Taps that can be open at once.
const MOST: usize = 4;

/// What became of a frame that came in; `None` for one that was sent, or where it is not known yet.
pub type Verdict = Option<Outcome>;

/// What is known of a frame that was seen, beside its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sight {
    /// When the router saw it.
    pub time: Instant,
    /// Where.
    pub interface: InterfaceId,
    /// Whether it came in there, or was sent.
    pub received: bool,
    /// How many bytes it had; fewer may have been kept.
    pub length: u32,
    /// What became of it.
    pub verdict: Verdict,
    /// What was left to a card.
    pub offload: Offload,
    /// What it met; for a recording alone.
    pub met: Met,
}

/// What a frame that came in met in the router, as it was then.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Met {
    /// The flow that it belongs to.
    pub flow: Option<FlowImage>,
    /// The load of its card, where that was crowded.
    pub load: Option<LoadImage>,
}

/// What a tap is to keep.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Frames of this interface; `None`: of all.
    pub interface: Option<InterfaceId>,
    /// Frames that fit this.
    pub filter: Filter,
    /// Most bytes of a frame that are kept.
    pub snapshot: usize,
    /// Bytes of memory for frames.
    pub memory: usize,
    /// Whether new frames take the place of old ones where the memory is full; else they are lost, and counted.
    pub overwrite: bool,
}

/// What a tap has counted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Frames that fitted the filter.
    pub fitting: u64,
    /// Those of them that there was no memory for.
    pub lost: u64,
}

/// Why a tap is not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// As many are open as there can be.
    TooMany,
    /// There is no memory for its frames.
    NoMemory,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooMany => "too many of them are running",
            Self::NoMemory => "Cannot allocate memory",
        })
    }
}

/// An open tap, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TapId(usize);

struct Tap {
    wish: Wish,
    ring: Ring,
    counts: Counts,
    /// The frame that is on its way, whose verdict is still to come.
    pending: Option<u64>,
}

/// All taps of a router.
#[derive(Default)]
pub struct Taps {
    taps: [Option<Box<Tap>>; MOST],
    tracer: Tracer,
    recorder: Option<Recorder>,
    open: bool,
}

impl Taps {
    /// Whether anybody looks on.
    #[inline]
    pub fn are_open(&self) -> bool {
        self.open
    }

    /// Opens a tap.
    ///
    /// # Errors
    /// Too many are open, or memory does not suffice.
    pub fn open(&mut self, wish: Wish) -> Result<TapId, Refused> {
        let place = self.taps.iter().position(Option::is_none).ok_or(Refused::TooMany)?;
        let ring = Ring::new(wish.memory).ok_or(Refused::NoMemory)?;
        self.taps[place] = Some(Box::new(Tap { wish, ring, counts: Counts::default(), pending: None }));
        self.look();
        Ok(TapId(place))
    }

    /// Closes a tap. Frames that were not taken are forgotten.
    pub fn close(&mut self, tap: TapId) -> Counts {
        let counts = self.counts(tap);
        self.taps[tap.0] = None;
        self.look();
        counts
    }

    /// Whom `trace` follows, and what they met.
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    pub(crate) fn tracer_mut(&mut self) -> &mut Tracer {
        &mut self.tracer
    }

    /// Follows these packets from now on.
    pub fn start_trace(&mut self, wanted: Match) {
        self.tracer.start(wanted);
        self.look();
    }

    /// Follows none any more.
    pub fn stop_trace(&mut self) {
        self.tracer.stop();
        self.look();
    }

    fn look(&mut self) {
        self.open = self.tracer.is_on() || self.taps.iter().any(Option::is_some);
    }

    /// What a tap has counted.
    pub fn counts(&self, tap: TapId) -> Counts {
        self.taps[tap.0].as_ref().map_or_else(Counts::default, |tap| tap.counts)
    }

    /// Whether a tap holds a frame.
    pub fn has_frame(&self, tap: TapId) -> bool {
        self.taps[tap.0].as_ref().is_some_and(|tap| !tap.ring.is_empty())
    }

    /// Takes the oldest frame that a tap holds; its bytes are put into `frame`.
    pub fn take(&mut self, tap: TapId, frame: &mut Vec<u8>) -> Option<Sight> {
        self.taps[tap.0].as_mut()?.ring.pop(frame)
    }

    /// Reads a frame that a tap holds and leaves it there. `place` is 0 for the oldest one, and the second half of the
    /// answer for the one behind it.
    pub fn read(&self, tap: TapId, place: u64, frame: &mut Vec<u8>) -> Option<(Sight, u64)> {
        self.taps[tap.0].as_ref()?.ring.read(place, frame)
    }

    /// Forgets what a tap holds.
    pub(crate) fn clear(&mut self, tap: TapId) {
        if let Some(tap) = &mut self.taps[tap.0] {
            tap.ring.clear();
        }
    }

    /// Whether frames have made room for later ones.
    pub(crate) fn has_lost(&self, tap: TapId) -> bool {
        self.taps[tap.0].as_ref().is_some_and(|tap| tap.ring.has_lost())
    }

    /// Whether somebody wants to know what frames meet.
    pub(crate) fn want_met(&self) -> bool {
        self.recorder.is_some()
    }

    /// Shows a frame to all taps. That of one that came in is to be settled.
    pub(crate) fn show(
        &mut self,
        time: Instant,
        interface: InterfaceId,
        received: bool,
        packet: &Packet,
        met: Met,
    ) {
        let length = packet.len();
        let offload = *packet.offload();
        let sight = Sight { time, interface, received, length: length as u32, verdict: None, offload, met };
        for tap in self.taps.iter_mut().flatten() {
            let wish = &tap.wish;
            if wish.interface.is_some_and(|wanted| wanted != interface)
                || !wish.filter.fits(packet.bytes(), length, received)
            {
                continue;
            }
            tap.counts.fitting += 1;
            let place = tap.ring.push(&sight, packet, length.min(wish.snapshot), wish.overwrite);
            tap.counts.lost += u64::from(place.is_none());
            if received {
                tap.pending = place;
            }
        }
    }

    /// Says what became of the frame that came in last.
    pub(crate) fn settle(&mut self, outcome: Outcome) {
        for tap in self.taps.iter_mut().flatten() {
            if let Some(place) = tap.pending.take() {
                tap.ring.settle(place, outcome);
            }
        }
    }
}
