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
    /// Packets that were given up to make room for another.
    displaced: u64,
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
        Self { contexts: core::array::from_fn(|_| Context::free()), displaced: 0 }
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
            self.displaced += u64::from(self.contexts[place].key.is_some());
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

    /// Ends one packet whose time is over. Gives its first fragment as it came, where that is here. Call until it gives
    /// nothing.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Option<&[u8]>> {
        let late = |context: &&mut Context| context.key.is_some() && context.began + TIMEOUT <= now;
        let context = self.contexts.iter_mut().find(late)?;
        context.key = None;
        Some(context.first_fragment())
    }

    /// How many packets were given up to make room for others.
    pub(super) fn displaced(&self) -> u64 {
        self.displaced
    }

    /// When the next packet's time is over.
    pub(super) fn poll_at(&self) -> Option<Instant> {
        let incomplete = self.contexts.iter().filter(|context| context.key.is_some());
        incomplete.map(|context| context.began + TIMEOUT).min()
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
        let ragged = payload.is_empty() || more && !payload.len().is_multiple_of(8);
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

    /// The first fragment, whose header says how long it is.
    fn first_fragment(&self) -> Option<&[u8]> {
        let packet = self.bytes.get(HEADER_ROOM - self.header..).filter(|_| self.header != 0)?;
        packet.get(..usize::from(u16::from_be_bytes([packet[2], packet[3]])))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        headers::ETHERNET_HEADER,
        packet::Packet,
        stage::fragment,
        test_support::{property, udp_frame},
    };
    use proptest::prelude::*;

    fn parse(frame: &[u8]) -> Headers {
        Headers::parse(frame, ETHERNET_HEADER).unwrap()
    }

    /// A datagram with this identification, in fragments for this MTU.
    fn fragments(payload: usize, mtu: u16, identification: u16) -> Vec<Vec<u8>> {
        let mut frame = udp_frame(payload);
        frame[18..20].copy_from_slice(&identification.to_be_bytes());
        set_checksum(&mut frame);
        let headers = parse(&frame);
        let whole = Packet::from_frame(&frame);
        fragment::pieces(&frame, &headers, mtu)
            .map(|piece| {
                let mut packet = Packet::with_capacity(1514);
                assert!(piece.write(&whole, &headers, &mut packet));
                packet.bytes().to_vec()
            })
            .collect()
    }

    fn set_checksum(frame: &mut [u8]) {
        frame[24..26].fill(0);
        let sum = !checksum::sum(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }

    /// Moves a fragment to another offset, in units of 8 bytes.
    fn moved(mut frame: Vec<u8>, offset: u16, more: bool) -> Vec<u8> {
        frame[20..22].copy_from_slice(&(offset | u16::from(more) << 13).to_be_bytes());
        set_checksum(&mut frame);
        frame
    }

    fn add<'r>(
        reassembly: &'r mut Reassembly,
        frame: &[u8],
        second: i64,
    ) -> Result<Option<&'r [u8]>, DropReason> {
        reassembly.add(frame, &parse(frame), Instant::from_secs(second))
    }

    proptest! {
        #![proptest_config(property())]

        #[test]
        fn any_order_with_repetitions_gives_the_packet(
            payload in 100..8000usize,
            mtu in 68..1500u16,
            keys in prop::collection::vec(any::<u16>(), 200),
        ) {
            let parts = fragments(payload, mtu, 7);
            prop_assume!(parts.len() > 1);
            let mut order: Vec<usize> = (0..parts.len()).collect();
            order.sort_by_key(|&part| keys[part]);
            let mut reassembly = Reassembly::new();
            let (last, others) = order.split_last().unwrap();
            for part in others {
                prop_assert_eq!(add(&mut reassembly, &parts[*part], 0), Ok(None));
                prop_assert_eq!(add(&mut reassembly, &parts[*part], 0), Ok(None));
            }
            let whole = add(&mut reassembly, &parts[*last], 0).unwrap().unwrap();
            let headers = Headers::parse(whole, 0).unwrap();
            prop_assert_eq!(headers.fragment, crate::headers::Fragment::Whole);
            prop_assert_eq!(&whole[20..], &udp_frame(payload)[34..]);
        }
    }

    #[test]
    fn an_overlap_spoils_the_packet() {
        let parts = fragments(2000, 1500, 7);
        let mut reassembly = Reassembly::new();
        assert_eq!(add(&mut reassembly, &parts[0], 0), Ok(None));
        let teardrop = moved(parts[1].clone(), 184, false);
        assert_eq!(add(&mut reassembly, &teardrop, 0), Err(DropReason::FragmentIncomplete));
        assert_eq!(add(&mut reassembly, &parts[1], 0), Ok(None), "the first half is gone");
    }

    #[test]
    fn fragments_that_contradict_each_other_about_the_end_spoil_the_packet() {
        let parts = fragments(4000, 1500, 7);
        let end = |offset, more| moved(parts[2].clone(), offset, more);
        for (first, second) in [
            (end(370, false), end(500, false)),                    // two ends
            (end(370, false), moved(parts[1].clone(), 500, true)), // data behind the end
            (moved(parts[1].clone(), 500, true), end(370, false)), // an end before the data
        ] {
            let mut reassembly = Reassembly::new();
            assert_eq!(add(&mut reassembly, &first, 0), Ok(None));
            assert_eq!(add(&mut reassembly, &second, 0), Err(DropReason::FragmentIncomplete));
        }
    }

    #[test]
    fn a_packet_longer_than_65535_bytes_is_no_packet() {
        let part = fragments(2000, 1500, 7).remove(0);
        let mut reassembly = Reassembly::new();
        assert_eq!(
            add(&mut reassembly, &moved(part.clone(), 8191, false), 0),
            Err(DropReason::FragmentIncomplete)
        );
        assert_eq!(add(&mut reassembly, &moved(part, 8000, true), 0), Ok(None));
    }

    #[test]
    fn only_the_last_fragment_may_have_an_odd_length() {
        let odd = moved(fragments(2001, 1500, 7).remove(1), 185, true);
        assert_eq!(add(&mut Reassembly::new(), &odd, 0), Err(DropReason::FragmentIncomplete));
    }

    #[test]
    fn half_a_packet_is_forgotten_after_30_s() {
        let parts = fragments(2000, 1500, 7);
        for (second, whole) in [(29, true), (30, false)] {
            let mut reassembly = Reassembly::new();
            assert_eq!(add(&mut reassembly, &parts[0], 0), Ok(None));
            assert_eq!(add(&mut reassembly, &parts[1], second).unwrap().is_some(), whole);
        }
    }

    #[test]
    fn the_first_fragment_is_given_back_when_the_time_is_over() {
        let parts = fragments(4000, 1500, 7);
        for (here, first) in [(&parts[..2], Some(&parts[0][14..])), (&parts[1..], None)] {
            let mut reassembly = Reassembly::new();
            for part in here.iter().rev() {
                assert_eq!(add(&mut reassembly, part, 0), Ok(None));
            }
            let end = Instant::from_secs(30);
            assert_eq!(reassembly.poll_at(), Some(end));
            assert_eq!(reassembly.expire(end - Duration::from_micros(1)), None);
            assert_eq!(reassembly.expire(end), Some(first));
            assert_eq!(reassembly.expire(end), None);
            assert_eq!(reassembly.poll_at(), None);
        }
    }

    #[test]
    fn lost_fragments_do_not_shut_others_out() {
        let mut reassembly = Reassembly::new();
        for junk in 0..100 {
            assert_eq!(add(&mut reassembly, &fragments(2000, 1500, 1000 + junk)[0], 0), Ok(None));
        }
        let parts = fragments(2000, 1500, 7);
        assert_eq!(add(&mut reassembly, &parts[1], 1), Ok(None));
        assert!(add(&mut reassembly, &parts[0], 1).unwrap().is_some());
        assert_eq!(reassembly.displaced(), 97);
    }
}
