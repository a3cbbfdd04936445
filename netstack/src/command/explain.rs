//! `explain`: the words that describe an imagined packet.

use super::{
    Action, Failure, Job, Progress, Session,
    argument::{Arguments, decimal, device, mac},
};
use crate::{
    config::{Config, rules::names},
    explain::{Payload, Probe},
    headers::{protocol, tcp_flag},
    interface::InterfaceId,
    table::mapping::Endpoint,
};
use alloc::{format, string::String};
use smoltcp::wire::{EthernetAddress, Ipv4Address};

/// How it is written.
pub const USAGE: &str = "\
usage: explain { in DEVICE | out } tcp SOURCE:PORT DESTINATION:PORT [syn] [ack] [fin] [rst] [psh] [urg]
       explain { in DEVICE | out } udp SOURCE:PORT DESTINATION:PORT
       explain { in DEVICE | out } icmp SOURCE DESTINATION [TYPE] [id NUMBER]
       explain { in DEVICE | out } PROTOCOL SOURCE DESTINATION
       and at the end: [ttl NUMBER] [len BYTES] [df] [mac ADDRESS]
Without flags, a TCP packet is a SYN; without a type, an ICMP packet is an echo request.";

/// The sender's MAC address, where neither the words nor the neighbour table say it.
const SOMEBODY: EthernetAddress = EthernetAddress([0x02, 0, 0, 0, 0, 0x01]);

fn wrong(word: &str) -> Failure {
    Failure::new(1, format!("explain: unexpected argument '{word}'"))
}

fn missing(what: &str) -> Failure {
    Failure::new(1, format!("explain: {what} is missing"))
}

pub fn parse(words: &[String], config: &Config) -> Result<Action, Failure> {
    let mut words = Arguments::new(words);
    let ingress = match words.next() {
        Some("in") => Some(device(words.next().ok_or_else(|| missing("the interface"))?, config)?),
        Some("out") => None,
        Some(other) => return Err(wrong(other)),
        None => return Err(missing("`in DEVICE` or `out`")),
    };
    if ingress == Some(InterfaceId::LOOPBACK) {
        return Err(Failure::new(1, "explain: no packet comes in on lo"));
    }
    let name = words.next().ok_or_else(|| missing("the protocol"))?;
    let number = decimal::<u8>(name).or_else(|| names::protocol_number(name)).ok_or_else(|| wrong(name))?;
    let has_ports = matches!(number, protocol::TCP | protocol::UDP);
    let source = endpoint(words.next().ok_or_else(|| missing("the source"))?, has_ports)?;
    let destination = endpoint(words.next().ok_or_else(|| missing("the destination"))?, has_ports)?;
    let mut probe = Probe {
        ingress,
        source,
        destination,
        payload: match number {
            protocol::TCP => Payload::Tcp(0),
            protocol::UDP => Payload::Udp,
            protocol::ICMP => Payload::Icmp { kind: 8, code: 0, identifier: 1 },
            other => Payload::Other(other),
        },
        ttl: 64,
        length: 0,
        dont_fragment: false,
        mac: SOMEBODY,
    };
    let mut sender = None;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| missing(&format!("what follows '{word}'")));
        match word {
            "ttl" => probe.ttl = parsed(value()?)?,
            "len" => probe.length = parsed(value()?)?,
            "df" => probe.dont_fragment = true,
            "mac" => sender = Some(mac(value()?)?),
            _ => match &mut probe.payload {
                Payload::Tcp(flags) => *flags |= tcp_flags(word)?,
                Payload::Icmp { identifier, .. } if word == "id" => *identifier = parsed(value()?)?,
                Payload::Icmp { kind, code, .. } => (*kind, *code) = icmp(word)?,
                _ => return Err(wrong(word)),
            },
        }
    }
    if let Payload::Tcp(flags @ 0) = &mut probe.payload {
        *flags = tcp_flag::SYN;
    }
    Ok(Action::job(Explain { probe, sender }))
}

fn parsed<T: core::str::FromStr>(word: &str) -> Result<T, Failure> {
    decimal(word).ok_or_else(|| wrong(word))
}

fn endpoint(word: &str, has_port: bool) -> Result<Endpoint, Failure> {
    let (address, port) = match word.split_once(':') {
        Some((address, port)) if has_port => (address, parsed(port)?),
        None if has_port => return Err(missing(&format!("the port of {word}"))),
        _ => (word, 0),
    };
    let address: Ipv4Address = address.parse().map_err(|_| wrong(word))?;
    Ok(Endpoint { address, port })
}

/// One flag, or several with commas.
fn tcp_flags(word: &str) -> Result<u8, Failure> {
    let flag = |name: &str| match name {
        "fin" => Some(tcp_flag::FIN),
        "syn" => Some(tcp_flag::SYN),
        "rst" => Some(tcp_flag::RST),
        "psh" => Some(tcp_flag::PSH),
        "ack" => Some(tcp_flag::ACK),
        "urg" => Some(tcp_flag::URG),
        _ => None,
    };
    word.split(',').try_fold(0, |flags, name| Some(flags | flag(name)?)).ok_or_else(|| wrong(word))
}

/// A type as `iptables --icmp-type` has it: a name, a number, or number and code.
fn icmp(word: &str) -> Result<(u8, u8), Failure> {
    if let Some((_, named)) = names::icmp_types(word).find(|(name, _)| *name == word)
        && let Some(kind) = named.kind
    {
        return Ok((kind, named.first_code));
    }
    let (kind, code) = word.split_once('/').unwrap_or((word, "0"));
    Ok((parsed(kind).map_err(|_| wrong(word))?, parsed(code).map_err(|_| wrong(word))?))
}

struct Explain {
    probe: Probe,
    sender: Option<EthernetAddress>,
}

impl Job for Explain {
    fn step(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Progress {
        let now = session.cx.now;
        let known = self.probe.ingress.and_then(|interface| {
            session.router.neighbors().get(interface, self.probe.source.address, now)?.mac
        });
        self.probe.mac = self.sender.or(known).unwrap_or(SOMEBODY);
        for line in session.router.explain(&self.probe, now, session.cx.random) {
            *out += &line;
            out.push('\n');
        }
        Progress::Done(0)
    }
}
