//! What real packets meet on their way (`trace`): the stations of those that fit, a few in a second, the last ones kept.

use super::filter::Filter;
use crate::{
    interface::InterfaceId,
    outcome::Outcome,
    table::token_bucket::{Rate, TokenBucket},
    trace::Transcript,
};
use alloc::{collections::VecDeque, format, string::String};
use smoltcp::time::Instant;

/// Packets that are traced: a flood of them makes neither work nor lines without end.
const RATE: Rate = Rate::new(10, 1, 50);
/// Packets that are kept.
const MOST_PACKETS: usize = 50;
/// Lines of each: of a long list of rules, the beginning.
const MOST_LINES: usize = 60;

/// Which packets are traced.
#[derive(Clone, Debug)]
pub struct Match {
    /// Those that came in here; `None`: anywhere, or made by the router.
    pub interface: Option<InterfaceId>,
    /// Those that fit this, as they come in.
    pub filter: Filter,
}

/// What one packet met.
#[derive(Debug)]
pub struct Story {
    /// When it came.
    pub time: Instant,
    /// A line for each station.
    pub(crate) transcript: Transcript,
}

impl Story {
    /// The lines.
    pub fn lines(&self) -> &[String] {
        &self.transcript.lines
    }

    /// Adds what became of the packet in the end, where its decision does not say that already.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        let Transcript { lines, cut, .. } = &mut self.transcript;
        if *cut > 0 {
            lines.push(format!("            ({cut} more lines)"));
        }
        let text = match outcome {
            Outcome::Parked => "waits for the MAC address of its next hop",
            Outcome::Delivered => "taken by the router's own sockets",
            Outcome::Dropped(reason) => reason.text(),
            Outcome::Forwarded(_) | Outcome::Consumed | Outcome::Held => return,
        };
        lines.push(format!("outcome     {text}"));
    }
}

/// Follows packets.
#[derive(Default)]
pub struct Tracer {
    wanted: Option<Match>,
    stories: VecDeque<Story>,
    bucket: Option<TokenBucket>,
    passed_over: u64,
}

impl Tracer {
    /// Whether any packet is to be traced.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.wanted.is_some()
    }

    /// Follows these packets from now on, and forgets what others met.
    pub(super) fn start(&mut self, wanted: Match) {
        *self = Self { wanted: Some(wanted), ..Self::default() };
    }

    /// Follows none any more. What was met stays to be read.
    pub(super) fn stop(&mut self) {
        self.wanted = None;
    }

    /// What the last packets met, oldest first.
    pub fn stories(&self) -> impl Iterator<Item = &Story> {
        self.stories.iter()
    }

    /// Packets that fitted and were not followed, because there were too many in a second.
    pub fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Whether a packet is to be traced.
    pub(crate) fn fits(&self, ingress: Option<InterfaceId>, head: &[u8], length: usize) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| {
            wanted.interface.is_none_or(|interface| ingress == Some(interface))
                && wanted.filter.fits(head, length, ingress.is_some())
        })
    }

    /// Begins the story of a packet that fits, unless there are too many.
    pub(crate) fn begin(&mut self, now: Instant) -> Option<Story> {
        if !self.bucket.get_or_insert(TokenBucket::FULL).take(now, RATE) {
            self.passed_over += 1;
            return None;
        }
        Some(Story { time: now, transcript: Transcript::new(MOST_LINES) })
    }

    /// Keeps a story.
    pub(crate) fn keep(&mut self, story: Story) {
        if self.stories.len() == MOST_PACKETS {
            self.stories.pop_front();
        }
        self.stories.push_back(story);
    }
}
