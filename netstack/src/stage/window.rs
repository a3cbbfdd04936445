//! What the ends of a TCP connection may send each other at this moment, seen from between them (RFC 9293 3.10.7.4,
//! RFC 7323 2, RFC 5961).
//!
//! Of each end this remembers the number that it waits for, exactly, and the largest window that it ever offered, as a
//! power of two. An end sends no further than it has been allowed to, and what allowed it to has passed here: so what lies
//! beyond was sent by somebody else. The sum of the two never falls short of the right edge of the real window.

use crate::{
    headers::{Fragment, Headers, Transport, tcp_flag},
    table::flow::Direction,
};
use smoltcp::wire::TcpOption;

/// The part of a segment that tracking looks at.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// The bits of [`tcp_flag`].
    pub flags: u8,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number; means nothing without ACK.
    pub acknowledgment: u32,
    /// Window as it stands in the header, unscaled.
    pub window: u16,
    /// The window scale option of a SYN.
    pub scale: Option<u8>,
}

impl Segment {
    /// The segment in a frame; `None` where the packet is not TCP.
    pub fn of(frame: &[u8], headers: &Headers) -> Option<Self> {
        let Transport::Tcp { flags, sequence, acknowledgment, window, header_length, .. } = headers.transport
        else {
            return None;
        };
        let has_options = flags & tcp_flag::SYN != 0 && headers.fragment != Fragment::Later;
        let options = || frame.get(headers.l4 + 20..headers.l4 + usize::from(header_length));
        let scale = if has_options { options().and_then(window_scale) } else { None };
        Some(Self { flags, sequence, acknowledgment, window, scale })
    }

    /// Whether all of these flags are set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }
}

fn window_scale(mut options: &[u8]) -> Option<u8> {
    while !options.is_empty() {
        let (rest, option) = TcpOption::parse(options).ok()?;
        match option {
            TcpOption::WindowScale(scale) => return Some(scale.min(MAX_SCALE)),
            TcpOption::EndOfList => return None,
            _ => options = rest,
        }
    }
    None
}

/// RFC 7323 2.3.
const MAX_SCALE: u8 = 14;
/// Windows of fewer bits are not told apart: the fast path looks at the high byte of the field alone.
const LEAST_BITS: u8 = 8;
/// The reach of an end of which nothing has been heard: no distance between two numbers is larger.
const ANYWHERE: u8 = 32;
/// How much data may go with a SYN, in bits (RFC 7413): so far the answer may acknowledge more than the SYN.
const SYN_DATA: u8 = 16;
/// What is further back than this, or than a window, was on its way too long to tell anything. In bits; Linux has 66,000.
const LEAST_PAST: u8 = 17;

/// Where a segment stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Where it may be.
    Inside,
    /// All that it says was said long ago.
    Past,
    /// Where its sender cannot be yet, or it acknowledges what was never sent.
    Beyond,
}

/// What each end offers, in the least space.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Offers {
    /// How far each end may be sent to beyond the number that it waits for, as a power of two.
    reach: [u8; 2],
    /// Bits of the high byte of the window field that neither end has set so far.
    unused: u8,
}

impl Offers {
    /// Bits that the larger of the two window fields takes.
    fn bits(self) -> u8 {
        16 - self.unused.count_ones() as u8
    }

    /// What an end takes to scale its windows by.
    fn scale(self, end: Direction) -> u8 {
        self.reach[end as usize].saturating_sub(self.bits())
    }

    fn new(bits: u8, scales: [u8; 2]) -> Self {
        Self { reach: scales.map(|scale| bits + scale), unused: unused(bits) }
    }

    /// Makes room for a larger window.
    fn grow(&mut self, bits: u8) {
        let more = bits.saturating_sub(self.bits());
        if more > 0 {
            for reach in self.reach.iter_mut().filter(|reach| **reach != ANYWHERE) {
                *reach += more;
            }
            self.unused = unused(bits);
        }
    }
}

/// Bits of the high byte of a window field beyond these.
fn unused(bits: u8) -> u8 {
    (0xff_u16 << (bits - LEAST_BITS)) as u8
}

/// Bits that a window field takes.
fn bits(window: u16) -> u8 {
    (16 - window.leading_zeros() as u8).max(LEAST_BITS)
}

/// The windows of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Windows {
    /// The sequence number that each end waits for: the highest that it acknowledged.
    pub(crate) expected: [u32; 2],
    pub(crate) offers: Offers,
}

impl Windows {
    /// Bytes of [`Windows::to_bytes`].
    pub(crate) const BYTES: usize = 11;

    /// For a recording.
    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let [[a, b, c, d], [e, f, g, h]] = self.expected.map(u32::to_le_bytes);
        let Offers { reach: [i, j], unused } = self.offers;
        [a, b, c, d, e, f, g, h, i, j, unused]
    }

    /// The windows that these bytes are.
    pub(crate) fn from_bytes([a, b, c, d, e, f, g, h, i, j, unused]: [u8; Self::BYTES]) -> Self {
        let expected = [[a, b, c, d], [e, f, g, h]].map(u32::from_le_bytes);
        Self { expected, offers: Offers { reach: [i, j].map(|reach| reach.min(ANYWHERE)), unused } }
    }

    /// After the SYN that begins a connection. Of the other end it is known what it will have to acknowledge.
    pub fn opened(syn: &Segment) -> Self {
        let blank = Self { expected: [0; 2], offers: Offers::new(LEAST_BITS, [0; 2]) };
        let mut windows = blank.synchronized(Direction::Original, syn);
        windows.offers.reach[Direction::Reply as usize] = SYN_DATA;
        windows
    }

    /// After the first segment of a connection that is picked up in its middle. What its ends scale their windows by is not
    /// known, so it could be the most; what the other end waits for is not known before it speaks.
    pub fn picked_up(segment: &Segment) -> Self {
        let mut offers = Offers::new(bits(segment.window), [MAX_SCALE; 2]);
        offers.reach[Direction::Reply as usize] = ANYWHERE;
        Self { expected: [segment.acknowledgment, segment.sequence], offers }
    }

    /// After a repetition of that SYN, or another one in its place. It may have fewer options than the one that will be
    /// answered.
    #[must_use]
    pub fn opened_again(&self, syn: &Segment) -> Self {
        let before =
            if self.began(Direction::Original, syn) { self.offers.scale(Direction::Original) } else { 0 };
        Self::opened(&Segment { scale: Some(syn.scale.unwrap_or(0).max(before)), ..*syn })
    }

    /// After a SYN of this end: it says where its numbers begin, and by how much its windows will be scaled; its own is not.
    #[must_use]
    pub fn synchronized(mut self, from: Direction, syn: &Segment) -> Self {
        let (own, other) = (from as usize, from.opposite() as usize);
        let mut scales = [Direction::Original, Direction::Reply].map(|end| self.offers.scale(end));
        scales[own] = syn.scale.unwrap_or(0);
        let mut wide = self.offers.bits();
        if syn.has(tcp_flag::ACK) && syn.scale.is_none() {
            // Both scale, or none does (RFC 7323 2.2).
            wide = self.offers.reach[other].clamp(wide, 16);
            scales = [0; 2];
        }
        wide = wide.max(bits(syn.window).saturating_sub(scales[own]));
        self.offers = Offers::new(wide, scales);
        self.expected[other] = syn.sequence.wrapping_add(1);
        if syn.has(tcp_flag::ACK) {
            self.expected[own] = syn.acknowledgment;
        }
        self
    }

    /// After a SYN-ACK of the answering end to a SYN that was let pass but not believed.
    pub fn reopened(syn_ack: &Segment) -> Self {
        let blank = Self { expected: [0; 2], offers: Offers::new(LEAST_BITS, [MAX_SCALE; 2]) };
        blank.synchronized(Direction::Reply, syn_ack)
    }

    /// Whether this is the number after a SYN of this end.
    pub fn began(&self, from: Direction, syn: &Segment) -> bool {
        self.expected[from.opposite() as usize] == syn.sequence.wrapping_add(1)
    }

    /// Whether a segment of this end acknowledges the SYN of the other one.
    pub fn answers(&self, from: Direction, segment: &Segment) -> bool {
        let news = segment.acknowledgment.wrapping_sub(self.expected[from as usize]);
        segment.has(tcp_flag::ACK) && u64::from(news) >> self.offers.reach[from as usize] == 0
    }

    /// The sequence number that this end is to send next, as far as the other one has acknowledged, and its own
    /// acknowledgment.
    pub fn next(&self, from: Direction) -> (u32, u32) {
        (self.expected[from.opposite() as usize], self.expected[from as usize])
    }

    /// How far the segment of an end is ahead of what the other one waits for.
    fn ahead(&self, from: Direction, sequence: u32) -> i64 {
        i64::from(sequence.wrapping_sub(self.expected[from.opposite() as usize]) as i32)
    }

    /// Whether a reset of this end is the very next thing that the other one waits for (RFC 5961 3.2).
    pub fn is_next(&self, from: Direction, segment: &Segment) -> bool {
        self.ahead(from, segment.sequence) == 0
    }

    /// Whether a reset of this end stands behind data that nobody has acknowledged yet, and acknowledges exactly what this end
    /// did last: who cannot see the connection guesses that number as hardly as the other one.
    pub fn is_last_word(&self, from: Direction, segment: &Segment) -> bool {
        let same = segment.acknowledgment == self.expected[from as usize];
        segment.has(tcp_flag::ACK) && same && self.is_near(from, segment)
    }

    /// Whether the other end would answer a reset of this end with a challenge.
    pub fn is_near(&self, from: Direction, segment: &Segment) -> bool {
        let ahead = self.ahead(from, segment.sequence);
        ahead > 0 && ahead <= 1 << self.offers.reach[from.opposite() as usize]
            || self.is_open(from.opposite())
    }

    fn is_open(&self, end: Direction) -> bool {
        self.offers.reach[end as usize] == ANYWHERE
    }

    /// Where a segment stands, of which this end has sent some before.
    pub fn place(&self, from: Direction, segment: &Segment) -> Place {
        let (own, other) = (self.offers.reach[from as usize], self.offers.reach[from.opposite() as usize]);
        let ahead = self.ahead(from, segment.sequence);
        let news = match segment.has(tcp_flag::ACK) {
            true => i64::from(segment.acknowledgment.wrapping_sub(self.expected[from as usize]) as i32),
            false => 0,
        };
        let past = |reach: u8| -(1_i64 << reach.max(LEAST_PAST));
        if ahead > 1 << other || news > 1 << own {
            Place::Beyond
        } else if ahead < past(other) || news < past(own) {
            Place::Past
        } else {
            Place::Inside
        }
    }

    /// Whether a segment of this end goes on where the others ended, and so stands inside; `window` is the high byte of that
    /// field. All that it changes then is the number that the other end waits for.
    #[inline]
    pub fn goes_on(&self, from: Direction, sequence: u32, acknowledgment: u32, window: u8) -> bool {
        let (own, other) = (from as usize, from.opposite() as usize);
        let ahead = u64::from(sequence.wrapping_sub(self.expected[other]));
        let news = u64::from(acknowledgment.wrapping_sub(self.expected[own]));
        let reach = |end: usize| u32::from(self.offers.reach[end]);
        (ahead.wrapping_shr(reach(other)) | news.wrapping_shr(reach(own))) == 0
            && window & self.offers.unused == 0
    }

    /// After a segment that stands inside.
    #[must_use]
    pub fn advanced(mut self, from: Direction, segment: &Segment) -> Self {
        let own = from as usize;
        let news = segment.acknowledgment.wrapping_sub(self.expected[own]) as i32;
        if segment.has(tcp_flag::ACK) && (news > 0 || self.is_open(from)) {
            self.expected[own] = segment.acknowledgment;
        }
        self.offers.grow(bits(segment.window));
        if self.is_open(from) {
            self.offers.reach[own] = self.offers.bits() + MAX_SCALE;
        }
        self
    }

    /// Whoever sends beyond the windows is believed from here on: somebody wants it so (`nf_conntrack_tcp_be_liberal`).
    #[must_use]
    pub fn widened(mut self) -> Self {
        self.offers.reach = [ANYWHERE; 2];
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Original, Reply};
    use tcp_flag::{ACK, SYN};

    const SCALE: u8 = 7;

    fn segment(flags: u8, sequence: u32, acknowledgment: u32) -> Segment {
        Segment { flags, sequence, acknowledgment, window: 500, scale: None }
    }

    fn syn(flags: u8, sequence: u32, acknowledgment: u32) -> Segment {
        Segment { window: 64_000, scale: Some(SCALE), ..segment(flags, sequence, acknowledgment) }
    }

    /// The windows after a handshake with these first numbers.
    fn handshake(original: u32, reply: u32) -> Windows {
        let (first, second) = (original.wrapping_add(1), reply.wrapping_add(1));
        Windows::opened(&syn(SYN, original, 0))
            .synchronized(Reply, &syn(SYN | ACK, reply, first))
            .advanced(Original, &segment(ACK, first, second))
    }

    #[test]
    fn a_segment_stands_inside_as_far_as_the_scaled_window_goes() {
        // Numbers that go round while the window is open, and such that do not.
        for (first, second) in [(1000, 5000), (u32::MAX - 10, u32::MAX), (0x7fff_fff0, 0x8000_0000)] {
            let windows = handshake(first, second);
            let window = 1_u32 << 16;
            let (next, ack) = windows.next(Original);
            assert_eq!((next, ack), (first.wrapping_add(1), second.wrapping_add(1)));
            let place = |ahead: u32, news: u32| {
                windows.place(Original, &segment(ACK, next.wrapping_add(ahead), ack.wrapping_add(news)))
            };
            assert_eq!(place(0, 0), Place::Inside);
            assert_eq!(place(500 << SCALE, 0), Place::Inside);
            assert_eq!(place(window + 1, 0), Place::Beyond);
            assert_eq!(place(0, window + 1), Place::Beyond, "that was never sent");
            assert_eq!(place(0_u32.wrapping_sub(1), 0), Place::Inside, "a keepalive");
            assert_eq!(place(0_u32.wrapping_sub(1 << 18), 0), Place::Past);
            assert_eq!(place(0, 0_u32.wrapping_sub(1 << 18)), Place::Past);
        }
    }

    #[test]
    fn a_larger_window_reaches_further_and_a_smaller_one_takes_nothing_back() {
        let windows = handshake(0, 0);
        let ahead = |windows: &Windows, bytes: u32| windows.place(Reply, &segment(ACK, 1 + bytes, 1));
        assert_eq!(ahead(&windows, 60_000 << SCALE), Place::Beyond);
        let wide = Segment { window: 60_000, ..segment(ACK, 1, 1) };
        let windows = windows.advanced(Original, &wide);
        assert_eq!(ahead(&windows, 60_000 << SCALE), Place::Inside);
        let windows = windows.advanced(Original, &Segment { window: 0, ..wide });
        assert_eq!(ahead(&windows, 60_000 << SCALE), Place::Inside);
    }

    #[test]
    fn windows_are_scaled_only_if_both_ends_say_so() {
        let answer = Segment { scale: None, ..syn(SYN | ACK, 0, 1) };
        let windows = Windows::opened(&syn(SYN, 0, 0)).synchronized(Reply, &answer);
        assert_eq!(windows.place(Reply, &segment(ACK, 1 + 64_000, 1)), Place::Inside);
        assert_eq!(windows.place(Reply, &segment(ACK, 1 + 70_000, 1)), Place::Beyond);
        assert_eq!(windows.place(Original, &segment(ACK, 1 + 70_000, 1)), Place::Beyond);
    }

    #[test]
    fn a_syn_that_is_repeated_without_options_takes_no_scale_back() {
        let bare = Segment { scale: None, ..syn(SYN, 0, 0) };
        let first = Windows::opened(&syn(SYN, 0, 0));
        assert_eq!(first.opened_again(&bare), first);
        assert_ne!(first.opened_again(&Segment { sequence: 9, ..bare }).offers, first.offers);
    }

    #[test]
    fn a_connection_picked_up_may_have_the_largest_windows() {
        let windows = Windows::picked_up(&segment(ACK, 7000, 9000));
        let far = |windows: &Windows, ahead: u32| windows.place(Reply, &segment(ACK, 9000 + ahead, 7000));
        assert_eq!(far(&windows, 500 << 14), Place::Inside);
        assert_eq!(far(&windows, 1 << 24), Place::Beyond);
        // What the other end waits for is not known before it has spoken.
        assert_eq!(windows.place(Original, &segment(ACK, 1 << 31, 9000)), Place::Inside);
        let windows = windows.advanced(Reply, &segment(ACK, 9000, 8000));
        assert_eq!(windows.next(Original), (8000, 9000));
        assert_eq!(windows.place(Original, &segment(ACK, 0_u32.wrapping_sub(1 << 30), 9000)), Place::Past);
        assert_eq!(windows.place(Original, &segment(ACK, 1 << 30, 9000)), Place::Beyond);
    }

    /// The fast path must let nothing through that the slow path would judge otherwise.
    #[test]
    fn what_goes_on_is_inside_and_moves_nothing_but_what_is_expected() {
        let start = handshake(u32::MAX - 40_000, 5000);
        for windows in [start, Windows::picked_up(&segment(ACK, 5001, 5001)), start.widened()] {
            let mut taken = 0;
            for exponent in 0..32 {
                for (ahead, news) in [(1 << exponent, 0), (0, 1 << exponent), (0, 0)] {
                    for ahead in [ahead, 0_u32.wrapping_sub(ahead)] {
                        let window = 1_u16.checked_shl(exponent).unwrap_or(0);
                        let (next, ack) = windows.next(Original);
                        let (next, ack) = (next.wrapping_add(ahead), ack.wrapping_add(news));
                        if !windows.goes_on(Original, next, ack, (window >> 8) as u8) {
                            continue;
                        }
                        taken += 1;
                        let segment = Segment { window, ..segment(ACK, next, ack) };
                        assert_eq!(windows.place(Original, &segment), Place::Inside);
                        if !windows.is_open(Original) {
                            let mut after = windows;
                            after.expected[Original as usize] = ack;
                            assert_eq!(windows.advanced(Original, &segment), after);
                        }
                    }
                }
            }
            assert!(taken > 40, "{taken}");
        }
    }

    #[test]
    fn the_window_scale_is_found_among_the_options() {
        assert_eq!(window_scale(&[2, 4, 5, 180, 1, 3, 3, 7]), Some(7));
        assert_eq!(window_scale(&[3, 3, 15, 0]), Some(MAX_SCALE));
        for none in [&[][..], &[2, 4, 5, 180], &[0, 3, 3, 7], &[3, 2], &[3, 3], &[1, 1, 1, 1]] {
            assert_eq!(window_scale(none), None, "{none:?}");
        }
    }
}
