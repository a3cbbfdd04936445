//! Virtual reassembly: what the first fragment says of its datagram is remembered for the others (RFC 791 3.2,
//! RFC 4787 REQ-14). Fragments that come before the first one wait for it; nothing is put together.
//!
//! Bounded in datagrams, in waiting fragments and in time, so that no flood of fragments can fill the memory.

use crate::{
    headers::{Fragment, Headers, Transport, protocol},
    outcome::DropReason,
    packet::Packet,
};
use alloc::collections::VecDeque;
use smoltcp::{
    time::{Duration, Instant},
    wire::Ipv4Address,
};

/// How long a datagram may take to come (Linux's `ipfrag_time`).
const LIFETIME: Duration = Duration::from_secs(30);
/// Datagrams known at once.
const DATAGRAMS: usize = 256;
/// Fragments that wait at once, in all, and for one datagram.
const WAITING: usize = 64;
const WAITING_PER_DATAGRAM: usize = 16;
/// Buffers that those may have beyond the first of each. A fragment is rarely longer than one, and never needs to be.
const WAITING_FURTHER: usize = 16;

/// What the fragments of one datagram have in common (RFC 791 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key {
    source: Ipv4Address,
    destination: Ipv4Address,
    identification: u16,
    protocol: u8,
}

impl Key {
    fn of(headers: &Headers) -> Self {
        Self {
            source: headers.source,
            destination: headers.destination,
            identification: headers.identification,
            protocol: headers.protocol,
        }
    }
}

/// Fragments that wait for the first one of their datagram.
pub type Waiting = heapless::Vec<Packet, WAITING_PER_DATAGRAM>;

struct Datagram {
    key: Key,
    expires: Instant,
    /// The transport header, once the first fragment was here.
    transport: Option<Transport>,
    waiting: Waiting,
}

/// What is to be done with a fragment.
pub enum Admission {
    /// It goes on, with these headers: they now name the transport header of its datagram.
    Pass(Packet, Headers),
    /// The first fragment goes on, and so do those that had waited for it.
    Release(Packet, Headers, Waiting),
    /// It waits.
    Held,
    /// It ends here.
    Refused(Packet, DropReason),
}

/// Datagrams of which fragments are on their way, oldest first.
pub struct Fragments {
    datagrams: VecDeque<Datagram>,
    waiting: usize,
    /// Buffers that what waits has beyond the first of each.
    further: usize,
}

impl Default for Fragments {
    /// No datagram; all memory that it will need is taken here.
    fn default() -> Self {
        Self { datagrams: VecDeque::with_capacity(DATAGRAMS), waiting: 0, further: 0 }
    }
}

impl Fragments {
    /// Whether the first fragment of a later one's datagram was here.
    pub fn expects(&self, headers: &Headers, now: Instant) -> bool {
        let key = Key::of(headers);
        self.datagrams.iter().any(|it| it.key == key && it.expires > now && it.transport.is_some())
    }

    /// Takes in a fragment. What has to make room for it goes to `displaced`.
    pub fn admit(
        &mut self,
        packet: Packet,
        mut headers: Headers,
        now: Instant,
        mut displaced: impl FnMut(Packet),
    ) -> Admission {
        // Offset 1 would lay payload over the TCP flags (RFC 1858 3, RFC 3128).
        if headers.fragment == Fragment::Later
            && headers.fragment_offset == 8
            && headers.protocol == protocol::TCP
        {
            return Admission::Refused(packet, DropReason::FragmentIncomplete);
        }
        let place = self.place(Key::of(&headers), now, &mut displaced);
        let datagram = &mut self.datagrams[place];
        match (headers.fragment, datagram.transport) {
            (Fragment::Later, Some(transport)) => {
                headers.transport = transport;
                Admission::Pass(packet, headers)
            }
            (Fragment::Later, None) => {
                let further = packet.further_buffers();
                if further > 0 && self.further + further > WAITING_FURTHER {
                    return Admission::Refused(packet, DropReason::FragmentsFull);
                }
                if let Err(packet) = datagram.waiting.push(packet) {
                    return Admission::Refused(packet, DropReason::FragmentsFull);
                }
                self.waiting += 1;
                self.further += further;
                self.make_room(place, &mut displaced);
                Admission::Held
            }
            (_, known) => {
                // A second first fragment must not change what the flow of the datagram was decided by.
                if known.is_some_and(|transport| transport != headers.transport) {
                    return Admission::Refused(packet, DropReason::FragmentIncomplete);
                }
                datagram.transport = Some(headers.transport);
                let waiting = core::mem::take(&mut datagram.waiting);
                self.count_out(&waiting);
                Admission::Release(packet, headers, waiting)
            }
        }
    }

    /// The datagram's place, made where there is none. The oldest one makes room where there are too many: most
    /// likely all of it has passed.
    fn place(&mut self, key: Key, now: Instant, displaced: &mut impl FnMut(Packet)) -> usize {
        if let Some(place) = self.datagrams.iter().position(|it| it.key == key && it.expires > now) {
            return place;
        }
        if self.datagrams.len() >= DATAGRAMS
            && let Some(oldest) = self.datagrams.pop_front()
        {
            self.count_out(&oldest.waiting);
            oldest.waiting.into_iter().for_each(displaced);
        }
        self.datagrams.push_back(Datagram {
            key,
            expires: now + LIFETIME,
            transport: None,
            waiting: Waiting::new(),
        });
        self.datagrams.len() - 1
    }

    /// Where too many fragments wait, those of the datagram that waits longest give way, but not those of `newest`.
    fn make_room(&mut self, newest: usize, displaced: &mut impl FnMut(Packet)) {
        if self.waiting <= WAITING {
            return;
        }
        let mut others = self.datagrams.iter_mut().take(newest);
        if let Some(oldest) = others.find(|datagram| !datagram.waiting.is_empty()) {
            let waiting = core::mem::take(&mut oldest.waiting);
            self.count_out(&waiting);
            waiting.into_iter().for_each(displaced);
        }
    }

    /// Counts those that wait no longer.
    fn count_out(&mut self, gone: &[Packet]) {
        self.waiting -= gone.len();
        self.further -= gone.iter().map(Packet::further_buffers).sum::<usize>();
    }

    /// Ends one datagram whose time is over, with its waiting fragments. Call until it gives nothing.
    pub fn expire(&mut self, now: Instant) -> Option<Waiting> {
        self.datagrams.front().filter(|datagram| datagram.expires <= now)?;
        let waiting = self.datagrams.pop_front()?.waiting;
        self.count_out(&waiting);
        Some(waiting)
    }

    /// When the next datagram ends.
    pub fn poll_at(&self) -> Option<Instant> {
        self.datagrams.front().map(|datagram| datagram.expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{headers::ETHERNET_HEADER, stage::fragment::pieces, test_support::udp_frame};
    use alloc::vec::Vec;

    /// The fragments of one datagram, first to last.
    fn fragments(identification: u16) -> Vec<(Packet, Headers)> {
        let mut whole = udp_frame(1400);
        whole[18..20].copy_from_slice(&identification.to_be_bytes());
        whole[24..26].fill(0);
        let sum = !crate::wire::checksum::sum(&whole[14..34]);
        whole[24..26].copy_from_slice(&sum.to_be_bytes());
        let headers = Headers::parse(&whole, ETHERNET_HEADER).unwrap();
        let whole = Packet::from_frame(&whole);
        pieces(whole.bytes(), &headers, 576)
            .map(|piece| {
                let mut packet = Packet::with_capacity(1514);
                assert!(piece.write(&whole, &headers, &mut packet));
                let headers = Headers::parse(packet.bytes(), ETHERNET_HEADER).unwrap();
                (packet, headers)
            })
            .collect()
    }

    const NOW: Instant = Instant::from_micros_const(1_000_000);

    #[test]
    fn what_comes_before_the_first_fragment_waits_for_it() {
        let mut table = Fragments::default();
        let mut parts = fragments(1);
        let (last, middle) = (parts.remove(2), parts.remove(1));
        assert!(matches!(table.admit(last.0, last.1, NOW, drop), Admission::Held));
        assert!(matches!(table.admit(middle.0, middle.1, NOW, drop), Admission::Held));
        let (packet, headers) = parts.remove(0);
        let Admission::Release(_, headers, waiting) = table.admit(packet, headers, NOW, drop) else {
            panic!()
        };
        assert_eq!(headers.source_port(), Some(5000));
        assert_eq!(waiting.len(), 2);
    }

    #[test]
    fn what_comes_after_the_first_fragment_has_its_ports() {
        let mut table = Fragments::default();
        let mut parts = fragments(1).into_iter();
        let (packet, headers) = parts.next().unwrap();
        assert!(matches!(table.admit(packet, headers, NOW, drop), Admission::Release(..)));
        let (packet, headers) = parts.next().unwrap();
        let Admission::Pass(_, headers) = table.admit(packet, headers, NOW, drop) else { panic!() };
        assert_eq!((headers.source_port(), headers.fragment), (Some(5000), Fragment::Later));
    }

    #[test]
    fn long_fragments_wait_as_far_as_their_buffers_are_few() {
        let mut table = Fragments::default();
        let mut admit = |identification, further| {
            let (mut packet, headers) = fragments(identification).remove(1);
            packet.extend((0..further).map(|_| Packet::from_frame(&[7; 100])));
            table.admit(packet, headers, NOW, drop)
        };
        assert!(matches!(admit(1, WAITING_FURTHER), Admission::Held));
        assert!(matches!(admit(2, 1), Admission::Refused(_, DropReason::FragmentsFull)));
        assert!(matches!(admit(3, 0), Admission::Held));
        let (packet, headers) = fragments(1).remove(0);
        assert!(matches!(table.admit(packet, headers, NOW, drop), Admission::Release(..)));
        assert_eq!((table.waiting, table.further), (1, 0));
    }

    #[test]
    fn a_flood_of_later_fragments_displaces_the_oldest_and_is_forgotten_in_time() {
        let mut table = Fragments::default();
        let mut displaced = 0;
        for identification in 0..1000 {
            let (packet, headers) = fragments(identification).remove(1);
            let admission = table.admit(packet, headers, NOW, |_| displaced += 1);
            assert!(matches!(admission, Admission::Held));
        }
        assert_eq!(displaced, 1000 - WAITING);
        let mut freed = 0;
        while let Some(waiting) = table.expire(NOW + LIFETIME) {
            freed += waiting.len();
        }
        assert_eq!(freed, WAITING);
        assert_eq!(table.poll_at(), None);
    }

    #[test]
    fn any_number_of_whole_datagrams_passes() {
        let mut table = Fragments::default();
        for identification in 0..1000 {
            let mut parts = fragments(identification).into_iter();
            let (packet, headers) = parts.next().unwrap();
            assert!(matches!(table.admit(packet, headers, NOW, drop), Admission::Release(..)));
            for (packet, headers) in parts {
                assert!(matches!(table.admit(packet, headers, NOW, drop), Admission::Pass(..)));
            }
        }
    }

    #[test]
    fn a_second_first_fragment_cannot_change_the_ports() {
        let mut table = Fragments::default();
        let (packet, headers) = fragments(1).remove(0);
        assert!(matches!(table.admit(packet, headers, NOW, drop), Admission::Release(..)));
        let (packet, mut headers) = fragments(1).remove(0);
        headers.transport = Transport::Udp { source: 1, destination: 22, checksummed: true };
        assert!(matches!(table.admit(packet, headers, NOW, drop), Admission::Refused(..)));
    }

    #[test]
    fn a_fragment_over_the_tcp_flags_is_refused() {
        let (packet, mut headers) = fragments(1).remove(1);
        (headers.protocol, headers.fragment_offset) = (6, 8);
        assert!(matches!(Fragments::default().admit(packet, headers, NOW, drop), Admission::Refused(..)));
    }
}
