//! A flow as a line of `conntrack -L`; the default format of libnetfilter_conntrack.

use crate::{
    headers::protocol::{ICMP, TCP, UDP},
    table::{
        flow::{Direction, Flow, Tuple, status},
        tick::Tick,
    },
};
use alloc::string::String;
use core::fmt::{self, Write};

const GRE: u8 = 47;

/// Writes the line of `flow`, with its line break; `extended` begins with the family.
pub(super) fn flow(out: &mut String, flow: &Flow, mark: u32, now: Tick, extended: bool) -> fmt::Result {
    let original = flow.tuple(Direction::Original);
    if extended {
        out.write_str("ipv4     2 ")?;
    }
    let name = match original.protocol {
        TCP => "tcp",
        UDP => "udp",
        ICMP => "icmp",
        GRE => "gre",
        _ => "unknown",
    };
    write!(out, "{name:<8} {} {} ", original.protocol, flow.expires.seconds_since(now))?;
    if original.protocol == TCP {
        write!(out, "{} ", flow.tcp)?;
    }
    tuple(out, &original, Direction::Original)?;
    if !flow.is(status::SEEN_REPLY) {
        out.write_str("[UNREPLIED] ")?;
    }
    tuple(out, &flow.tuple(Direction::Reply), Direction::Reply)?;
    if flow.is(status::ASSURED) {
        out.write_str("[ASSURED] ")?;
    }
    writeln!(out, "mark={mark} use=1")
}

fn tuple(out: &mut String, tuple: &Tuple, direction: Direction) -> fmt::Result {
    let Tuple { source, destination, source_port, destination_port, protocol } = tuple;
    write!(out, "src={source} dst={destination} ")?;
    match *protocol {
        TCP | UDP => write!(out, "sport={source_port} dport={destination_port} "),
        ICMP => {
            let (kind, identifier) = icmp(tuple, direction);
            write!(out, "type={kind} code=0 id={identifier} ")
        }
        GRE => out.write_str("srckey=0x0 dstkey=0x0 "),
        _ => Ok(()),
    }
}

/// Type and identifier of the queries or answers that have this tuple (RFC 792, RFC 950).
pub(super) fn icmp(tuple: &Tuple, direction: Direction) -> (u16, u16) {
    match (direction, tuple.source_port) {
        (Direction::Original, identifier) => (tuple.destination_port, identifier),
        (Direction::Reply, 8) => (0, tuple.destination_port),
        (Direction::Reply, request) => (request.saturating_add(1), tuple.destination_port),
    }
}
