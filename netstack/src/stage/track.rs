//! Which flow a packet belongs to, and in what state that puts it (RFC 5382, RFC 5508; Linux's `ctstate`).

use super::{
    filter::FlowState,
    tcp::{Connection, Effect, Misfit, TcpState},
    window::Segment,
};
use crate::{
    config::sysctl::ConntrackSysctl,
    headers::{Fragment, Headers, Quote, Transport, protocol},
    pipeline::Arrival,
    table::{
        connections::Connections,
        flow::{Direction, Flow, FlowId, Tuple, status},
        tick::Tick,
    },
};

/// What tracking says of a packet.
#[derive(Clone, Copy, Debug)]
pub enum Tracked {
    /// It belongs to a flow.
    Flow {
        /// The flow.
        id: FlowId,
        /// Its direction in the flow.
        direction: Direction,
        /// NEW until an answer was seen, then ESTABLISHED.
        state: FlowState,
        /// What the packet does to it.
        effect: Effect,
    },
    /// It would begin a flow.
    New {
        /// Its tuple.
        tuple: Tuple,
        /// A TCP connection after this packet.
        tcp: Connection,
        /// The finished flow of the same tuple that goes first.
        replaces: Option<FlowId>,
    },
    /// An ICMP error about a packet of a flow.
    Related {
        /// The flow.
        id: FlowId,
        /// The direction in which the error runs: against the packet that it is about.
        direction: Direction,
    },
    /// It can belong to no flow, and can begin none.
    Invalid,
}

/// The tuple of a packet; `None` for what has no flow (ICMP errors, later fragments, odd ICMP).
#[inline]
pub fn tuple_of(headers: &Headers) -> Option<Tuple> {
    let (source_port, destination_port) = match headers.transport {
        Transport::Tcp { source, destination, .. } | Transport::Udp { source, destination, .. } => {
            (source, destination)
        }
        Transport::IcmpQuery { kind, identifier, .. } => query_ports(kind, identifier),
        Transport::Other if headers.fragment != Fragment::Later && headers.protocol != protocol::ICMP => {
            (0, 0)
        }
        _ => return None,
    };
    Some(Tuple {
        source: headers.source,
        destination: headers.destination,
        source_port,
        destination_port,
        protocol: headers.protocol,
    })
}

/// The ports that stand for an ICMP query: a request comes "from" its identifier, an answer goes "to" it.
fn query_ports(kind: u8, identifier: u16) -> (u16, u16) {
    match request_of(kind) {
        Some(request) => (u16::from(request), identifier),
        None => (identifier, u16::from(kind)),
    }
}

/// The type of the request that a type of answer belongs to (RFC 792, RFC 950).
fn request_of(kind: u8) -> Option<u8> {
    match kind {
        0 => Some(8),
        14 | 16 | 18 => Some(kind - 1),
        _ => None,
    }
}

/// The identifier of an ICMP query in its tuple.
pub fn query_identifier(tuple: &Tuple, kind: u8) -> u16 {
    if request_of(kind).is_some() { tuple.destination_port } else { tuple.source_port }
}

/// The tuple of the packet that an ICMP error quotes.
pub fn quoted_tuple(quote: &Quote) -> Tuple {
    let (source_port, destination_port) = match quote.protocol {
        protocol::ICMP => query_ports(quote.icmp_kind, quote.source_port),
        _ => (quote.source_port, quote.destination_port),
    };
    Tuple {
        source: quote.source,
        destination: quote.destination,
        source_port,
        destination_port,
        protocol: quote.protocol,
    }
}

/// Finds the packet's place, its flow having been looked up before. Changes nothing.
pub(crate) fn track(connections: &Connections, settings: &ConntrackSysctl, arrival: &Arrival<'_>) -> Tracked {
    let headers = arrival.headers;
    if let Transport::IcmpError { .. } = headers.transport {
        return track_error(connections, arrival.frame, headers, Tick::at(arrival.now));
    }
    let Some(tuple) = arrival.tuple else { return Tracked::Invalid };
    let Some((id, direction)) = arrival.found else {
        return begin(arrival, settings, tuple, None);
    };
    let flow = connections.flows.get(id);
    let effect = match Segment::of(arrival.frame, headers) {
        Some(mut segment) => {
            if !connections.shifts.is_empty() {
                // What is tracked are the numbers as their sender has them.
                let number = segment.acknowledgment;
                segment.acknowledgment = connections.shifts.acknowledgment(id, direction, number);
            }
            flow.connection().step(direction, &segment, settings)
        }
        None => Ok(Effect::Keeps(Connection::default())),
    };
    match effect {
        Ok(effect) => Tracked::Flow { id, direction, state: state_in(flow, direction), effect },
        Err(Misfit::Restart) => begin(arrival, settings, tuple, Some(id)),
        Err(Misfit::Invalid) => Tracked::Invalid,
    }
}

/// An ICMP error belongs to the flow whose packet it quotes, as that packet was when it left here.
fn track_error(connections: &Connections, frame: &[u8], headers: &Headers, now: Tick) -> Tracked {
    match find_by_quote(connections, frame, headers, now) {
        Some((id, direction)) => Tracked::Related { id, direction },
        None => Tracked::Invalid,
    }
}

/// The flow that an ICMP error is about, and the direction in which the error runs. `None` for what is no such error.
pub(crate) fn find_by_quote(
    connections: &Connections,
    frame: &[u8],
    headers: &Headers,
    now: Tick,
) -> Option<(FlowId, Direction)> {
    let Transport::IcmpError { .. } = headers.transport else { return None };
    let end = (headers.l3 + usize::from(headers.total_length)).min(frame.len());
    let quote = Quote::parse(&frame[..end], headers.l4);
    // It must be addressed to the sender of what it quotes.
    let quote = quote.filter(|quote| quote.source == headers.destination)?;
    connections.flows.find(&quoted_tuple(&quote).inverted(), now)
}

/// NEW until an answer was seen.
pub fn state_in(flow: &Flow, direction: Direction) -> FlowState {
    match direction {
        Direction::Original if !flow.is(status::SEEN_REPLY) => FlowState::New,
        _ => FlowState::Established,
    }
}

/// A packet whose flow is not there, or over.
fn begin(
    arrival: &Arrival<'_>,
    settings: &ConntrackSysctl,
    tuple: Tuple,
    replaces: Option<FlowId>,
) -> Tracked {
    let connection = match (Segment::of(arrival.frame, arrival.headers), arrival.headers.transport) {
        (Some(segment), _) => Connection::first(&segment, settings.tcp_loose),
        (None, Transport::IcmpQuery { kind, .. }) if request_of(kind).is_some() => None,
        _ => Some(Connection::default()),
    };
    match connection {
        Some(tcp) => Tracked::New { tuple, tcp, replaces },
        None => Tracked::Invalid,
    }
}

/// How long a flow may be silent, in seconds (RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 5508 REQ-2).
pub fn timeout(settings: &ConntrackSysctl, flow_protocol: u8, tcp: TcpState, flow_status: u8) -> u32 {
    match flow_protocol {
        protocol::TCP if tcp == TcpState::Established && flow_status & status::SEEN_REPLY == 0 => {
            settings.tcp_timeout_unacknowledged
        }
        protocol::TCP => tcp.timeout(settings),
        protocol::UDP if flow_status & status::ASSURED != 0 => settings.udp_timeout_stream,
        protocol::UDP => settings.udp_timeout,
        protocol::ICMP => settings.icmp_timeout,
        _ => settings.generic_timeout,
    }
}

/// Whether a packet of this direction keeps the flow alive: only those that come from inside a translation do
/// (RFC 4787 REQ-6), or either where nothing is translated.
#[inline]
pub fn refreshes(flow_status: u8, direction: Direction) -> bool {
    match flow_status & (status::SOURCE_NAT | status::DESTINATION_NAT) {
        status::SOURCE_NAT => direction == Direction::Original,
        status::DESTINATION_NAT => direction == Direction::Reply,
        _ => true,
    }
}
