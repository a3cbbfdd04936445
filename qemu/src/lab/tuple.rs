//! What a translation changes and what it leaves: the tuple of a frame, and a mark by which it is known again.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;

use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, Icmpv4Message, Icmpv4Packet, IpProtocol, Ipv4Packet, TcpPacket,
    UdpPacket,
};

use super::segment::Segment;

/// A protocol, who speaks and who is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tuple {
    Tcp { source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16) },
    Udp { source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16) },
    Echo { source: Ipv4Addr, destination: Ipv4Addr, id: u16, request: bool },
}

impl Tuple {
    /// The tuple of a TCP, UDP or ICMP echo frame, and a mark of what no translation changes.
    pub fn of(frame: &[u8]) -> Option<(Tuple, u64)> {
        let ethernet = EthernetFrame::new_checked(frame).ok()?;
        if ethernet.ethertype() != EthernetProtocol::Ipv4 {
            return None;
        }
        let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
        let (from, to) = (ip.src_addr(), ip.dst_addr());
        let mut mark = DefaultHasher::new();
        let tuple = match ip.next_header() {
            IpProtocol::Tcp => {
                let tcp = TcpPacket::new_checked(ip.payload()).ok()?;
                (tcp.seq_number().0, tcp.ack_number().0, tcp.syn(), tcp.fin(), tcp.payload()).hash(&mut mark);
                Tuple::Tcp { source: (from, tcp.src_port()), destination: (to, tcp.dst_port()) }
            }
            IpProtocol::Udp => {
                let udp = UdpPacket::new_checked(ip.payload()).ok()?;
                udp.payload().hash(&mut mark);
                Tuple::Udp { source: (from, udp.src_port()), destination: (to, udp.dst_port()) }
            }
            IpProtocol::Icmp => {
                let icmp = Icmpv4Packet::new_checked(ip.payload()).ok()?;
                let request = match icmp.msg_type() {
                    Icmpv4Message::EchoRequest => true,
                    Icmpv4Message::EchoReply => false,
                    _ => return None,
                };
                (icmp.echo_seq_no(), request, icmp.data()).hash(&mut mark);
                Tuple::Echo { source: from, destination: to, id: icmp.echo_ident(), request }
            }
            _ => return None,
        };
        Some((tuple, mark.finish()))
    }

    /// The tuple of an answer.
    pub fn reversed(self) -> Tuple {
        match self {
            Tuple::Tcp { source, destination } => Tuple::Tcp { source: destination, destination: source },
            Tuple::Udp { source, destination } => Tuple::Udp { source: destination, destination: source },
            Tuple::Echo { source, destination, id, request } => {
                Tuple::Echo { source: destination, destination: source, id, request: !request }
            }
        }
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |(address, port): (Ipv4Addr, u16)| format!("{address}:{port}");
        match *self {
            Tuple::Tcp { source, destination } => write!(f, "tcp {} > {}", end(source), end(destination)),
            Tuple::Udp { source, destination } => write!(f, "udp {} > {}", end(source), end(destination)),
            Tuple::Echo { source, destination, id, request } => {
                let kind = if request { "request" } else { "reply" };
                write!(f, "echo {kind} {source} > {destination} id {id}")
            }
        }
    }
}

/// Each tuple that entered the router with the tuple it left as, in the order in which they came.
pub fn translations(segments: &[Segment]) -> Vec<(Tuple, Tuple)> {
    let sightings = |from_router| {
        let all = segments.iter().flat_map(|segment| &segment.seen);
        all.filter(move |sighting| sighting.from_router == from_router)
            .filter_map(|sighting| Some((sighting.at, Tuple::of(&sighting.frame)?)))
    };
    let left: HashMap<u64, Tuple> = sightings(true).map(|(_, (tuple, mark))| (mark, tuple)).collect();
    let mut entered: Vec<_> = sightings(false).collect();
    entered.sort_by_key(|(at, _)| *at);
    let mut known = HashSet::new();
    let first = entered.into_iter().filter(|(_, (tuple, _))| known.insert(*tuple));
    first.filter_map(|(_, (tuple, mark))| Some((tuple, *left.get(&mark)?))).collect()
}
