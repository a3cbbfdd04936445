//! What is written to the log about packets, in the format of Linux's kernel log: by LOG rules, and for `log_martians`.

use crate::{
    config::{
        Config,
        rules::{Log, Target},
    },
    headers::{Fragment, Headers, Transport, tcp_flag},
    interface::InterfaceId,
    outcome::DropReason,
    pipeline::Arrival,
    stage::filter::CounterRef,
    table::token_bucket::{Rate, TokenBucket},
};
use alloc::string::String;
use core::fmt::Write as _;
use smoltcp::{time::Instant, wire::Ipv4Address};

/// LOG lines in all: a flood fills neither the log nor the time (requirement 38).
pub(crate) const RATE: Rate = Rate::new(50, 1, 100);

/// Writes the line of the LOG rule at `reference`, unless there were too many.
pub(crate) fn write(
    config: &Config,
    reference: &CounterRef,
    arrival: &Arrival<'_>,
    egress: Option<InterfaceId>,
    bucket: &mut TokenBucket,
) {
    let chain = config.tables.get(reference.table).chain(reference.chain);
    let rule = reference.rule.and_then(|place| chain.rules.get(usize::from(place)));
    let Some(Target::Log(options)) = rule.and_then(|rule| rule.target.as_ref()) else { return };
    if !bucket.take(arrival.now, RATE) {
        return;
    }
    let level = match options.level {
        0..=3 => log::Level::Error,
        4 => log::Level::Warn,
        5 | 6 => log::Level::Info,
        _ => log::Level::Debug,
    };
    log::log!(target: "netfilter", level, "{}", line(config, options, arrival, egress));
}

/// Writes the line of Linux about a packet that was dropped for its `(source, destination)` or for a source route, where
/// `log_martians` is on for the interface that it came in on, unless there were too many.
pub(crate) fn martian(
    config: &Config,
    ingress: InterfaceId,
    (source, destination): (Ipv4Address, Ipv4Address),
    reason: DropReason,
    now: Instant,
    bucket: &mut TokenBucket,
) {
    use DropReason::{MartianDestination, MartianSource, ReversePath, SourceRoute};
    let interface = config.interface(ingress);
    if !matches!(reason, MartianSource | MartianDestination | ReversePath | SourceRoute)
        || !(config.sysctl.log_martians_all || interface.log_martians)
        || !bucket.take(now, RATE)
    {
        return;
    }
    let name = &interface.name;
    match reason {
        SourceRoute => log::warn!("source route option {source} -> {destination}"),
        MartianDestination => log::warn!("martian destination {destination} from {source}, dev {name}"),
        _ => log::warn!("martian source {destination} from {source}, on dev {name}"),
    }
}

fn line(config: &Config, options: &Log, arrival: &Arrival<'_>, egress: Option<InterfaceId>) -> String {
    let headers = arrival.headers;
    let name = |id: Option<InterfaceId>| id.map_or("", |id| config.name(id).as_str());
    let mut line = String::with_capacity(256);
    let _ = write!(line, "{}IN={} OUT={} ", options.prefix, name(arrival.ingress), name(egress));
    if let (true, Some(ethernet)) = (arrival.ingress.is_some(), arrival.frame.first_chunk::<14>()) {
        line.push_str("MAC=");
        for (place, byte) in ethernet.iter().enumerate() {
            let _ = write!(line, "{}{byte:02x}", if place == 0 { "" } else { ":" });
        }
        line.push(' ');
    }
    let _ = write!(
        line,
        "SRC={} DST={} LEN={} TOS=0x{:02X} PREC=0x{:02X} TTL={} ID={} ",
        headers.source,
        headers.destination,
        headers.total_length,
        headers.tos & 0x1e,
        headers.tos & 0xe0,
        headers.ttl,
        headers.identification,
    );
    if headers.dont_fragment {
        line.push_str("DF ");
    }
    match headers.fragment {
        Fragment::Whole => {}
        Fragment::First => line.push_str("MF "),
        Fragment::Later => {
            let _ = write!(line, "FRAG:{} ", headers.fragment_offset / 8);
        }
    }
    transport(&mut line, options, headers);
    line.truncate(line.trim_end().len());
    line
}

fn transport(line: &mut String, options: &Log, headers: &Headers) {
    let _ = match headers.transport {
        Transport::Tcp { source, destination, flags, sequence, acknowledgment, window, .. } => {
            let _ = write!(line, "PROTO=TCP SPT={source} DPT={destination} ");
            if options.tcp_sequence {
                let _ = write!(line, "SEQ={sequence} ACK={acknowledgment} ");
            }
            let _ = write!(line, "WINDOW={window} RES=0x00 ");
            let names = [
                (tcp_flag::URG, "URG "),
                (tcp_flag::ACK, "ACK "),
                (tcp_flag::PSH, "PSH "),
                (tcp_flag::RST, "RST "),
                (tcp_flag::SYN, "SYN "),
                (tcp_flag::FIN, "FIN "),
            ];
            for (_, name) in names.into_iter().filter(|(bit, _)| flags & bit != 0) {
                line.push_str(name);
            }
            write!(line, "URGP=0")
        }
        Transport::Udp { source, destination, .. } => {
            let length = usize::from(headers.total_length) - headers.header_length();
            write!(line, "PROTO=UDP SPT={source} DPT={destination} LEN={length}")
        }
        Transport::IcmpQuery { kind, code, identifier } => {
            write!(line, "PROTO=ICMP TYPE={kind} CODE={code} ID={identifier}")
        }
        Transport::IcmpError { kind, code } | Transport::IcmpOther { kind, code } => {
            write!(line, "PROTO=ICMP TYPE={kind} CODE={code}")
        }
        Transport::Other => write!(line, "PROTO={}", headers.protocol),
    };
}
