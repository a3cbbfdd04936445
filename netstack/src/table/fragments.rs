//! Virtual reassembly: what the first fragment says of its datagram is remembered for the others (RFC 791 3.2,
//! RFC 4787 REQ-14). Fragments that come before the first one wait for it; nothing is put together.
//!
//! Bounded in datagrams, in waiting fragments and in time, so that no flood of fragments can fill the memory.

use crate::{
    headers::{Fragment, Headers, Transport},
    outcome::DropReason,
    packet::Packet,
};
use alloc::vec::Vec;
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

/// What the fragments of one datagram have in common (RFC 791 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key {
    source: Ipv4Address,
    destination: Ipv4Address,
    identification: u16,
    protocol: u8,
}

struct Datagram {
    key: Key,
    expires: Instant,
    /// The transport header, once the first fragment was here.
    transport: Option<Transport>,
    waiting: Vec<Packet>,
}

/// What is to be done with a fragment.
pub enum Admission {
    /// It goes on, with these headers: they now name the transport header of its datagram.
    Pass(Packet, Headers),
    /// The first fragment goes on, and so do those that had waited for it.
    Release(Packet, Headers, Vec<Packet>),
    /// It waits.
    Held,
    /// It ends here.
    Refused(Packet, DropReason),
}

/// Datagrams of which fragments are on their way.
#[derive(Default)]
pub struct Fragments {
    datagrams: Vec<Datagram>,
    waiting: usize,
}

impl Fragments {
    /// Takes in a fragment.
    pub fn admit(&mut self, packet: Packet, mut headers: Headers, now: Instant) -> Admission {
        // Offset 1 would lay payload over the TCP flags (RFC 1858 3, RFC 3128).
        if headers.fragment == Fragment::Later && headers.fragment_offset == 8 && headers.protocol == 6 {
            return Admission::Refused(packet, DropReason::FragmentIncomplete);
        }
        let key = Key {
            source: headers.source,
            destination: headers.destination,
            identification: headers.identification,
            protocol: headers.protocol,
        };
        let Some(place) = self.place(key, now) else {
            return Admission::Refused(packet, DropReason::FragmentsFull);
        };
        let datagram = &mut self.datagrams[place];
        match (headers.fragment, datagram.transport) {
            (Fragment::Later, Some(transport)) => {
                headers.transport = transport;
                Admission::Pass(packet, headers)
            }
            (Fragment::Later, None) => {
                if self.waiting >= WAITING || datagram.waiting.len() >= WAITING_PER_DATAGRAM {
                    return Admission::Refused(packet, DropReason::FragmentsFull);
                }
                datagram.waiting.push(packet);
                self.waiting += 1;
                Admission::Held
            }
            (_, known) => {
                // A second first fragment must not change what the flow of the datagram was decided by.
                if known.is_some_and(|transport| transport != headers.transport) {
                    return Admission::Refused(packet, DropReason::FragmentIncomplete);
                }
                datagram.transport = Some(headers.transport);
                let waiting = core::mem::take(&mut datagram.waiting);
                self.waiting -= waiting.len();
                Admission::Release(packet, headers, waiting)
            }
        }
    }

    /// The datagram's place, made where there is none; `None` where there are too many.
    fn place(&mut self, key: Key, now: Instant) -> Option<usize> {
        if let Some(place) = self.datagrams.iter().position(|datagram| datagram.key == key) {
            if self.datagrams[place].expires > now {
                return Some(place);
            }
            // The identification came round again: what waited belongs to the older datagram.
            return None;
        }
        if self.datagrams.len() >= DATAGRAMS {
            return None;
        }
        self.datagrams.push(Datagram { key, expires: now + LIFETIME, transport: None, waiting: Vec::new() });
        Some(self.datagrams.len() - 1)
    }

    /// Ends one datagram whose time is over, with its waiting fragments. Call until it gives nothing.
    pub fn expire(&mut self, now: Instant) -> Option<Vec<Packet>> {
        let place = self.datagrams.iter().position(|datagram| datagram.expires <= now)?;
        let waiting = self.datagrams.swap_remove(place).waiting;
        self.waiting -= waiting.len();
        Some(waiting)
    }

    /// When the next datagram ends.
    pub fn poll_at(&self) -> Option<Instant> {
        self.datagrams.iter().map(|datagram| datagram.expires).min()
    }
}
