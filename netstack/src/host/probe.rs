//! Probes and their answers: what `ping` and `traceroute` are made of. Read RFC 792 and RFC 1393 1 first.
//!
//! Own code beside smoltcp's ICMP socket, which hears no errors about echo requests, and none about UDP whose quote is
//! as short as RFC 792 allows.

use crate::{
    headers::{Headers, Quote, Transport, protocol},
    wire::{
        checksum,
        ipv4::{IPV4_HEADER, OwnHeader},
    },
};
use alloc::{collections::VecDeque, vec::Vec};
use smoltcp::{
    time::{Duration, Instant},
    wire::{IpAddress, IpProtocol, Ipv4Address, UdpPacket},
};

/// Sessions at once.
const SESSIONS: usize = 16;
/// Probes of a session whose answers can still be told apart, and answers that can wait.
const OUTSTANDING: usize = 64;
/// ICMP echo and UDP headers are as long.
const PROBE_HEADER: usize = 8;

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProbeKind {
    /// ICMP echo requests.
    Echo,
    /// UDP datagrams to a port that nobody is likely to use: the probe's `sequence`.
    Udp,
}

/// A run of probes to one destination. It ends with [`super::Host::close_probe`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeSession {
    /// Identifier of its echo requests, or source port of its datagrams: no two sessions have the same.
    pub identifier: u16,
}

/// One probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Sequence number of an echo request, destination port of a datagram.
    pub sequence: u16,
    /// Bytes of payload behind the ICMP or UDP header.
    pub size: u16,
    /// Time to live; 0 is taken as 1.
    pub ttl: u8,
    /// Type of service.
    pub tos: u8,
    /// The DF bit.
    pub dont_fragment: bool,
}

impl Probe {
    /// Length of its IPv4 packet.
    pub(super) fn packet_length(&self) -> usize {
        IPV4_HEADER + PROBE_HEADER + usize::from(self.size)
    }
}

/// What came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeAnswer {
    /// The probe's sequence.
    pub sequence: u16,
    /// Who answered.
    pub from: Ipv4Address,
    /// Time to live that the answer had left.
    pub ttl: u8,
    /// Bytes of the answer from its ICMP header on.
    pub length: u16,
    /// Since the probe was sent; `None` for a second answer, and for one that is too late to be told.
    pub round_trip: Option<Duration>,
    /// What it says.
    pub kind: AnswerKind,
}

/// What an answer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnswerKind {
    /// An echo reply.
    Reply,
    /// An ICMP error about the probe.
    Error {
        /// ICMP type: 3 unreachable, 11 time exceeded, and so on.
        kind: u8,
        /// ICMP code.
        code: u8,
        /// MTU of the next hop, where the code is 3/4 and says it.
        mtu: u16,
    },
}

struct Session {
    id: ProbeSession,
    kind: ProbeKind,
    source: Ipv4Address,
    destination: Ipv4Address,
    /// What was sent and not answered, oldest first.
    outstanding: VecDeque<(u16, Instant)>,
    answers: VecDeque<ProbeAnswer>,
}

/// All sessions.
#[derive(Default)]
pub(super) struct Probes {
    sessions: Vec<Session>,
}

impl Probes {
    /// Opens a session under an identifier that `used` does not know. `None` where there are too many.
    pub(super) fn open(
        &mut self,
        kind: ProbeKind,
        source: Ipv4Address,
        destination: Ipv4Address,
        mut identifiers: impl Iterator<Item = u16>,
    ) -> Option<ProbeSession> {
        if self.sessions.len() == SESSIONS {
            return None;
        }
        let identifier =
            identifiers.find(|&one| self.sessions.iter().all(|session| session.id.identifier != one))?;
        let id = ProbeSession { identifier };
        self.sessions.push(Session {
            id,
            kind,
            source,
            destination,
            outstanding: VecDeque::with_capacity(OUTSTANDING),
            answers: VecDeque::with_capacity(OUTSTANDING),
        });
        Some(id)
    }

    pub(super) fn close(&mut self, id: ProbeSession) {
        self.sessions.retain(|session| session.id != id);
    }

    pub(super) fn take_answer(&mut self, id: ProbeSession) -> Option<ProbeAnswer> {
        self.sessions.iter_mut().find(|session| session.id == id)?.answers.pop_front()
    }

    /// Source ports of UDP sessions.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        self.sessions
            .iter()
            .filter(|session| session.kind == ProbeKind::Udp)
            .map(|session| session.id.identifier)
    }

    /// Takes note of a probe that is sent now. Gives what writes it; `None`: the session is closed.
    pub(super) fn send(
        &mut self,
        id: ProbeSession,
        probe: Probe,
        now: Instant,
    ) -> Option<impl FnOnce(&mut [u8])> {
        let session = self.sessions.iter_mut().find(|session| session.id == id)?;
        if session.outstanding.len() == OUTSTANDING {
            session.outstanding.pop_front();
        }
        session.outstanding.push_back((probe.sequence, now));
        Some(move |packet: &mut [u8]| session.write(packet, &probe))
    }

    /// Whether a packet that an error quotes is a probe of an open session.
    pub(super) fn sent(&self, quote: &Quote) -> bool {
        self.sessions.iter().any(|session| session.sent(quote))
    }

    /// Sees whether a packet for the router answers a probe.
    pub(super) fn hear(&mut self, frame: &[u8], headers: &Headers, now: Instant) {
        let icmp = &frame[headers.l4..headers.l3 + usize::from(headers.total_length)];
        let word = |at: usize| u16::from_be_bytes([icmp[at], icmp[at + 1]]);
        let (identifier, sequence, kind, expected) = match headers.transport {
            Transport::IcmpQuery { kind: 0, identifier, .. } => {
                (identifier, word(6), AnswerKind::Reply, ProbeKind::Echo)
            }
            Transport::IcmpError { kind, code } => {
                let Some(quote) = Quote::parse(frame, headers.l4) else { return };
                let Some(session) = self.sessions.iter().find(|session| session.sent(&quote)) else { return };
                let sequence = match session.kind {
                    ProbeKind::Echo => match frame.get(quote.l4 + 6..quote.l4 + 8) {
                        Some(bytes) => u16::from_be_bytes([bytes[0], bytes[1]]),
                        None => return,
                    },
                    ProbeKind::Udp => quote.destination_port,
                };
                (quote.source_port, sequence, AnswerKind::Error { kind, code, mtu: word(6) }, session.kind)
            }
            _ => return,
        };
        let session = self
            .sessions
            .iter_mut()
            .find(|session| session.id.identifier == identifier && session.kind == expected);
        let Some(session) = session else { return };
        let sent = session.outstanding.iter().position(|(one, _)| *one == sequence);
        let sent_at = sent.and_then(|place| session.outstanding.remove(place)).map(|(_, at)| at);
        if session.answers.len() == OUTSTANDING {
            session.answers.pop_front();
        }
        session.answers.push_back(ProbeAnswer {
            sequence,
            from: headers.source,
            ttl: headers.ttl,
            length: icmp.len() as u16,
            round_trip: sent_at.map(|at| now - at),
            kind,
        });
    }
}

impl Session {
    /// Whether a quoted packet is of this session.
    fn sent(&self, quote: &Quote) -> bool {
        let protocol = match self.kind {
            ProbeKind::Echo => protocol::ICMP,
            ProbeKind::Udp => protocol::UDP,
        };
        quote.protocol == protocol
            && quote.source_port == self.id.identifier
            && quote.destination == self.destination
    }

    /// Writes a probe that fills `packet`.
    fn write(&self, packet: &mut [u8], probe: &Probe) {
        const ECHO_REQUEST: u8 = 8;
        let header = OwnHeader {
            source: self.source,
            destination: self.destination,
            protocol: match self.kind {
                ProbeKind::Echo => IpProtocol::Icmp,
                ProbeKind::Udp => IpProtocol::Udp,
            },
            tos: probe.tos,
            ttl: probe.ttl.max(1),
            identification: 0,
            dont_fragment: probe.dont_fragment,
        };
        let segment = header.write(packet);
        for (place, byte) in segment[PROBE_HEADER..].iter_mut().enumerate() {
            *byte = place as u8;
        }
        match self.kind {
            ProbeKind::Echo => {
                segment[..4].copy_from_slice(&[ECHO_REQUEST, 0, 0, 0]);
                segment[4..6].copy_from_slice(&self.id.identifier.to_be_bytes());
                segment[6..8].copy_from_slice(&probe.sequence.to_be_bytes());
                let sum = !checksum::sum(segment);
                segment[2..4].copy_from_slice(&sum.to_be_bytes());
            }
            ProbeKind::Udp => {
                let length = segment.len() as u16;
                let mut udp = UdpPacket::new_unchecked(segment);
                udp.set_src_port(self.id.identifier);
                udp.set_dst_port(probe.sequence);
                udp.set_len(length);
                udp.fill_checksum(&IpAddress::Ipv4(self.source), &IpAddress::Ipv4(self.destination));
            }
        }
    }
}
