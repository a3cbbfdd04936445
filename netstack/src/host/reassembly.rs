//! Puts together fragmented packets for the router itself. Read RFC 791 3.2 and RFC 5722 4 first.
//!
//! Own code: smoltcp's lets four lost fragments block all reassembly for a minute, and takes overlaps.

use crate::{headers::Headers, outcome::DropReason, wire::checksum};
use alloc::{boxed::Box, vec, vec::Vec};
use smoltcp::{
    time::{Duration, Instant},
    wire::Ipv4Address,
};

/// Packets that can be incomplete at once.
const CONTEXTS: usize = 4;
/// As long as Linux waits (`ipfrag_time`).
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest IPv4 header: the payload is kept behind so much room.
const HEADER_ROOM: usize = 60;
/// Longest IPv4 packet.
const LONGEST: usize = 65_535;

type Key = (Ipv4Address, Ipv4Address, u8, u16);

/// All packets that are not yet whole: at most four, of 64 KiB each. The buffers are kept.
pub(super) struct Reassembly {
    contexts: [Context; CONTEXTS],
}

/// One packet that is not yet whole.
struct Context {
    /// `None`: free.
    key: Option<Key>,
    began: Instant,
    bytes: Vec<u8>,
    /// Length of the first fragment's header; 0 as long as that is missing.
    header: usize,
    /// Length of the payload; known with the last fragment.
    length: Option<usize>,
    /// Where the payload received so far ends.
    end: usize,
    /// Bytes received.
    received: usize,
    /// A bit for each 8 bytes of payload that are here.
    here: Box<[u64; LONGEST.div_ceil(8 * 64)]>,
}

/// What a fragment did to its packet.
enum Progress {
    Incomplete,
    Whole,
    /// It contradicts the others.
    Spoilt,
}

impl Reassembly {
    pub(super) fn new() -> Self {
        Self { contexts: core::array::from_fn(|_| Context::free()) }
    }

    /// Takes a fragment. Gives the whole IPv4 packet when it was the last one missing.
    ///
    /// # Errors
    /// `FragmentIncomplete` where it overlaps another or would make a packet too long: the whole packet is given up.
    pub(super) fn add(
        &mut self,
        frame: &[u8],
        headers: &Headers,
        now: Instant,
    ) -> Result<Option<&[u8]>, DropReason> {
        let key = (headers.source, headers.destination, headers.protocol, headers.identification);
        let fresh = |context: &Context| now < context.began + TIMEOUT;
        let known = self.contexts.iter().position(|context| context.key == Some(key) && fresh(context));
        let place = known.unwrap_or_else(|| {
            // Where none is free the oldest goes: junk can delay a packet, but not shut it out.
            let age = |place: &usize| (self.contexts[*place].key.is_some(), self.contexts[*place].began);
            let place = (0..CONTEXTS).min_by_key(age).unwrap_or(0);
            self.contexts[place].begin(key, now);
            place
        });
        let context = &mut self.contexts[place];
        match context.add(frame, headers) {
            Progress::Incomplete => Ok(None),
            Progress::Whole => Ok(Some(context.finish())),
            Progress::Spoilt => {
                context.key = None;
                Err(DropReason::FragmentIncomplete)
            }
        }
    }
}

impl Context {
    fn free() -> Self {
        Self {
            key: None,
            began: Instant::ZERO,
            bytes: Vec::new(),
            header: 0,
            length: None,
            end: 0,
            received: 0,
            here: vec![0; LONGEST.div_ceil(8 * 64)]
                .into_boxed_slice()
                .try_into()
                .unwrap_or_else(|_| unreachable!()),
        }
    }

    fn begin(&mut self, key: Key, now: Instant) {
        (self.key, self.began) = (Some(key), now);
        (self.header, self.length, self.end, self.received) = (0, None, 0, 0);
        self.here.fill(0);
    }

    fn add(&mut self, frame: &[u8], headers: &Headers) -> Progress {
        let payload = &frame[headers.l4..headers.l3 + usize::from(headers.total_length)];
        let more = frame[headers.l3 + 6] & 0x20 != 0;
        let begin = usize::from(headers.fragment_offset);
        let end = begin + payload.len();
        let past_the_end = self.length.is_some_and(|length| end > length || !more && end != length);
        let before_others = !more && end < self.end;
        let ragged = payload.is_empty() || more && payload.len() % 8 != 0;
        if ragged || past_the_end || before_others || headers.header_length() + end > LONGEST {
            return Progress::Spoilt;
        }
        let units = begin / 8..end.div_ceil(8);
        let already = units.clone().filter(|unit| self.here[unit / 64] >> (unit % 64) & 1 != 0).count();
        if already == units.len() {
            return Progress::Incomplete;
        }
        if already != 0 {
            return Progress::Spoilt;
        }
        units.for_each(|unit| self.here[unit / 64] |= 1 << (unit % 64));
        if self.bytes.len() < HEADER_ROOM + end {
            self.bytes.resize(HEADER_ROOM + end, 0);
        }
        self.bytes[HEADER_ROOM + begin..HEADER_ROOM + end].copy_from_slice(payload);
        if begin == 0 {
            self.header = headers.header_length();
            self.bytes[HEADER_ROOM - self.header..HEADER_ROOM]
                .copy_from_slice(&frame[headers.l3..headers.l4]);
        }
        if !more {
            self.length = Some(end);
        }
        self.end = self.end.max(end);
        self.received += payload.len();
        if self.header != 0 && self.length == Some(self.received) {
            Progress::Whole
        } else {
            Progress::Incomplete
        }
    }

    /// Makes one header for the whole, and frees the context; the bytes stay until it is used again.
    fn finish(&mut self) -> &[u8] {
        self.key = None;
        let packet = &mut self.bytes[HEADER_ROOM - self.header..HEADER_ROOM + self.end];
        let total_length = (self.header + self.end).min(LONGEST) as u16;
        packet[2..4].copy_from_slice(&total_length.to_be_bytes());
        packet[6..8].fill(0);
        packet[10..12].fill(0);
        let sum = !checksum::sum(&packet[..self.header]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet
    }
}
