//! The elements of sets as text; ipset(8).

use super::{Failure, refused, unsupported};
use crate::{
    command::iptables::{decimal, icmp_type},
    config::{
        ipset::{Elements, Member, Set, SetKind},
        rules::{IcmpType, names},
    },
    headers::protocol::{ICMP, TCP},
};
use alloc::{format, string::String, vec::Vec};
use core::fmt::{self, Display, Formatter};
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

fn wrong(reason: String) -> Failure {
    refused(&format!("Syntax error: {reason}"))
}

/// The elements that a word names in a set of this kind.
pub fn parse(kind: SetKind, word: &str) -> Result<Elements, Failure> {
    let (hosts, rest) = match word.split_once(',') {
        Some((hosts, rest)) => (hosts, Some(rest)),
        None => (word, None),
    };
    match (kind, rest) {
        (SetKind::IpPort, None) => Err(wrong(format!("Second element is missing from {word}."))),
        (SetKind::IpPort, Some(rest)) if rest.contains(',') => {
            Err(wrong(format!("Two elem separators in {word}, but settype {} supports one.", kind.name())))
        }
        (SetKind::IpPort, Some(rest)) => {
            let (protocol, ports) = ports(rest)?;
            Ok(Elements::Ports(range(hosts)?, protocol, ports))
        }
        (_, Some(_)) => {
            Err(wrong(format!("Elem separator in {word}, but settype {} supports none.", kind.name())))
        }
        (SetKind::Ip, None) => match range(hosts)? {
            (Ipv4Address::UNSPECIFIED, _) => {
                Err(refused("Null-valued element, cannot be stored in a hash type of set"))
            }
            (first, last) => Ok(Elements::Hosts(first, last)),
        },
        (SetKind::Net, None) => match hosts.contains('-') {
            true => range(hosts).map(|(first, last)| Elements::Networks(networks(first, last))),
            false => {
                let (address, length) = network(hosts)?;
                Ok(Elements::Networks(Vec::from([Ipv4Cidr::new(address, length).network()])))
            }
        },
    }
}

fn address(word: &str) -> Result<Ipv4Address, Failure> {
    word.parse().map_err(|_| wrong(format!("cannot parse {word}: resolving to IPv4 address failed")))
}

/// `ADDRESS[/LENGTH]`
fn network(word: &str) -> Result<(Ipv4Address, u8), Failure> {
    let Some((host, length)) = word.split_once('/') else { return Ok((address(word)?, 32)) };
    let host = address(host)?;
    match decimal::<u32>(length) {
        Some(0) => Err(refused("The value of the CIDR parameter of the IP address is invalid")),
        Some(length @ 1..=32) => Ok((host, length as u8)),
        Some(_) => Err(wrong(format!("'{length}' is out of range 0-32"))),
        None => Err(wrong(format!("'{length}' is invalid as number"))),
    }
}

/// `ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS-ADDRESS`, in either order.
fn range(word: &str) -> Result<(Ipv4Address, Ipv4Address), Failure> {
    if let Some((one, other)) = word.split_once('-') {
        let (one, other) = (address(one)?, address(other)?);
        return Ok((one.min(other), one.max(other)));
    }
    let (host, length) = network(word)?;
    let first = Ipv4Cidr::new(host, length).network().address();
    let last = first.to_bits() | u32::MAX.checked_shr(length.into()).unwrap_or(0);
    Ok((first, Ipv4Address::from_bits(last)))
}

/// The fewest networks that hold the addresses from the first to the last.
fn networks(first: Ipv4Address, last: Ipv4Address) -> Vec<Ipv4Cidr> {
    let mut networks = Vec::new();
    let (mut next, last) = (u64::from(first.to_bits()), u64::from(last.to_bits()));
    while next <= last {
        let aligned = if next == 0 { 31 } else { next.trailing_zeros().min(31) };
        let fitting = (last - next + 1).ilog2().min(aligned);
        networks.push(Ipv4Cidr::new(Ipv4Address::from_bits(next as u32), 32 - fitting as u8));
        next += 1 << fitting;
    }
    networks
}

/// `[PROTOCOL:]PORT[-PORT]`
fn ports(word: &str) -> Result<(u8, (u16, u16)), Failure> {
    let (name, ports) = word.split_once(':').unwrap_or(("tcp", word));
    let number = names::protocol_number(name).or_else(|| decimal(name)).filter(|&number| number > 0);
    let Some(number) = number else {
        return Err(wrong(format!("cannot parse '{name}' as a protocol")));
    };
    match number {
        ICMP => {
            let message = icmp_type(ports).ok().filter(|message| message.kind.is_some());
            let Some(IcmpType { kind: Some(kind), first_code, .. }) = message else {
                return Err(refused(&format!("Cannot parse {ports} as an ICMP type/code.")));
            };
            let port = u16::from_be_bytes([kind, first_code]);
            Ok((number, (port, port)))
        }
        TCP | 17 => {
            let port = |word: &str| {
                let known = decimal(word).or_else(|| names::service_port(word));
                known.ok_or_else(|| wrong(format!("cannot parse '{word}' as a {name} port")))
            };
            let (first, last) = match ports.split_once('-') {
                Some((first, last)) => (port(first)?, port(last)?),
                None => (port(ports)?, port(ports)?),
            };
            Ok((number, (first.min(last), first.max(last))))
        }
        _ if Set::has_ports(number) => Err(unsupported(name)),
        _ if decimal::<u16>(ports) == Some(0) => Ok((number, (0, 0))),
        _ => Err(wrong(format!("Protocol {name} can be used with pseudo port value 0 only."))),
    }
}

/// The elements of a test as its answer names them.
pub fn shown(elements: &Elements, word: &str) -> String {
    match elements {
        Elements::Ports((first, last), protocol, ports) if first == last && ports.0 == ports.1 => {
            format!("{}", Shown(Member::IpPort(*first, *protocol, ports.0)))
        }
        _ => String::from(word),
    }
}

/// An element as it is listed.
pub struct Shown(pub Member);

impl Display for Shown {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Member::Ip(address) => write!(f, "{address}"),
            Member::Net(net) if net.prefix_len() == 32 => write!(f, "{}", net.address()),
            Member::Net(net) => write!(f, "{net}"),
            Member::IpPort(address, protocol, port) => {
                write!(f, "{address},")?;
                match names::protocol_name(protocol) {
                    Some(name) => write!(f, "{name}:")?,
                    None => write!(f, "{protocol}:")?,
                }
                let [kind, code] = port.to_be_bytes();
                let name = names::icmp_name(IcmpType::with_code(kind, code))
                    .or_else(|| names::icmp_name(IcmpType::of(kind)).filter(|_| code == 0));
                match name {
                    Some(name) if protocol == ICMP => f.write_str(name),
                    _ if protocol == ICMP => write!(f, "{kind}/{code}"),
                    _ => write!(f, "{port}"),
                }
            }
        }
    }
}
