//! The options of `conntrack` that say which flows are meant; conntrack(8).

use super::{super::iptables, Failure, print::icmp, usage};
use crate::{
    config::rules::{Masked, names},
    headers::protocol::{ICMP, TCP, UDP},
    table::flow::{Direction, Flow, status},
};
use alloc::{format, string::String};
use core::{iter::Peekable, str::FromStr};
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// Which flows are meant: those that fit everything that is set.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Filter {
    protocol: Option<u8>,
    /// `-f ipv6`: there are none.
    none: bool,
    /// Source and destination by direction: `-s`, `-d`, `-r`, `-q`.
    addresses: [[Option<Ipv4Cidr>; 2]; 2],
    /// Source and destination port by direction.
    ports: [[Option<u16>; 2]; 2],
    icmp_type: Option<u16>,
    icmp_identifier: Option<u16>,
    /// `--state`, in Linux's words.
    state: Option<String>,
    /// Bits of [`status`] that must be set.
    status: u8,
    /// `-u UNREPLIED`
    unreplied: bool,
    mark: Option<Masked>,
    source_nat: Option<NatFilter>,
    destination_nat: Option<NatFilter>,
    any_nat: Option<NatFilter>,
}

/// Translated at all, or to this address.
type NatFilter = Option<Ipv4Address>;

/// The states of TCP that may be asked for.
const STATES: [&str; 10] = [
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
];

impl Filter {
    /// Takes `-p` from among all words.
    pub(super) fn set_protocol(&mut self, words: &[String]) -> Result<(), Failure> {
        let place = words.iter().position(|word| is_protocol_option(word));
        let Some(name) = place.and_then(|place| words.get(place + 1)) else { return Ok(()) };
        let number = name.parse().ok().or_else(|| names::protocol_number(&name.to_ascii_lowercase()));
        self.protocol = Some(number.ok_or_else(|| usage(format!("`{name}' unsupported protocol")))?);
        Ok(())
    }

    /// Takes one option and what follows it.
    pub(super) fn option<'a>(
        &mut self,
        word: &'a str,
        rest: &mut Peekable<impl Iterator<Item = &'a str>>,
    ) -> Result<(), Failure> {
        if let "-n" | "--src-nat" | "-g" | "--dst-nat" | "-j" | "--any-nat" = word {
            let wanted = rest.next_if(|word| !word.starts_with('-')).map(address).transpose()?;
            match word {
                "-n" | "--src-nat" => self.source_nat = Some(wanted),
                "-g" | "--dst-nat" => self.destination_nat = Some(wanted),
                _ => self.any_nat = Some(wanted),
            }
            return Ok(());
        }
        if let "-z" | "--zero" = word {
            return Ok(());
        }
        let mut value = || rest.next().ok_or_else(|| usage(format!("option `{word}' requires an argument")));
        let unknown = || Err(usage(format!("unknown option `{word}'")));
        match (word, self.protocol) {
            (word, _) if is_protocol_option(word) => {
                value()?;
            }
            ("-s" | "--src" | "--orig-src", _) => self.addresses[0][0] = Some(network(value()?)?),
            ("-d" | "--dst" | "--orig-dst", _) => self.addresses[0][1] = Some(network(value()?)?),
            ("-r" | "--reply-src", _) => self.addresses[1][0] = Some(network(value()?)?),
            ("-q" | "--reply-dst", _) => self.addresses[1][1] = Some(network(value()?)?),
            ("-f" | "--family", _) => match value()? {
                "ipv4" => {}
                "ipv6" => self.none = true,
                other => return Err(usage(format!("`{other}' unsupported protocol family"))),
            },
            ("-m" | "--mark", _) => {
                let text = value()?;
                let mark = iptables::masked(text).ok_or_else(|| usage(format!("Invalid mark `{text}'")))?;
                self.mark = Some(mark);
            }
            ("-u" | "--status", _) => value()?.split(',').try_for_each(|name| self.add_status(name))?,
            ("--state", Some(TCP)) => {
                let name = value()?;
                if !STATES.contains(&name) {
                    return Err(usage(format!("unknown TCP state `{name}'")));
                }
                self.state = Some(name.into());
            }
            (_, Some(TCP | UDP)) => {
                let (direction, end) = match word {
                    "--sport" | "--orig-port-src" => (0, 0),
                    "--dport" | "--orig-port-dst" => (0, 1),
                    "--reply-port-src" => (1, 0),
                    "--reply-port-dst" => (1, 1),
                    _ => return unknown(),
                };
                self.ports[direction][end] = Some(number(value()?)?);
            }
            ("--icmp-type", Some(ICMP)) => self.icmp_type = Some(number(value()?)?),
            ("--icmp-id", Some(ICMP)) => self.icmp_identifier = Some(number(value()?)?),
            _ => return unknown(),
        }
        Ok(())
    }

    fn add_status(&mut self, name: &str) -> Result<(), Failure> {
        match name {
            "ASSURED" => self.status |= status::ASSURED,
            "SEEN_REPLY" => self.status |= status::SEEN_REPLY,
            "UNREPLIED" => self.unreplied = true,
            _ => return Err(usage(format!("Bad status `{name}'"))),
        }
        Ok(())
    }

    /// Takes the mark away, which is then not asked for: what `-U` makes of the marks of those that fit.
    pub(super) fn take_mark(&mut self) -> Option<Masked> {
        self.mark.take()
    }

    /// Whether the flow is meant.
    pub(super) fn fits(&self, flow: &Flow, mark: u32) -> bool {
        let original = flow.tuple(Direction::Original);
        let tuples = [(original, 0), (flow.tuple(Direction::Reply), 1)];
        let addresses = tuples.into_iter().all(|(tuple, direction)| {
            let [source, destination] = self.addresses[direction];
            source.is_none_or(|net| net.contains_addr(&tuple.source))
                && destination.is_none_or(|net| net.contains_addr(&tuple.destination))
        });
        let ports = tuples.into_iter().all(|(tuple, direction)| {
            let [source, destination] = self.ports[direction];
            source.is_none_or(|port| port == tuple.source_port)
                && destination.is_none_or(|port| port == tuple.destination_port)
        });
        let (icmp_type, identifier) = icmp(&original, Direction::Original);
        !self.none
            && self.protocol.is_none_or(|protocol| protocol == original.protocol)
            && addresses
            && ports
            && self.icmp_type.is_none_or(|wanted| wanted == icmp_type)
            && self.icmp_identifier.is_none_or(|wanted| wanted == identifier)
            && self.state.as_deref().is_none_or(|state| format!("{}", flow.tcp) == state)
            && self.status & !flow.status == 0
            && !(self.unreplied && flow.is(status::SEEN_REPLY))
            && self.mark.is_none_or(|wanted| wanted.fits(mark))
            && self.source_nat.is_none_or(|to| source_translated(flow, to))
            && self.destination_nat.is_none_or(|to| destination_translated(flow, to))
            && self.any_nat.is_none_or(|to| source_translated(flow, to) || destination_translated(flow, to))
    }
}

fn is_protocol_option(word: &str) -> bool {
    matches!(word, "-p" | "--proto" | "--protonum")
}

fn source_translated(flow: &Flow, to: NatFilter) -> bool {
    flow.is(status::SOURCE_NAT) && to.is_none_or(|to| flow.tuple(Direction::Reply).destination == to)
}

fn destination_translated(flow: &Flow, to: NatFilter) -> bool {
    flow.is(status::DESTINATION_NAT) && to.is_none_or(|to| flow.tuple(Direction::Reply).source == to)
}

fn address(text: &str) -> Result<Ipv4Address, Failure> {
    Ipv4Address::from_str(text).map_err(|_| usage(format!("Invalid IP address `{text}'")))
}

fn network(text: &str) -> Result<Ipv4Cidr, Failure> {
    let (text, length) = text.split_once('/').unwrap_or((text, "32"));
    let address = address(text)?;
    let length = length.parse().ok().filter(|&length: &u8| length <= 32);
    Ok(Ipv4Cidr::new(address, length.ok_or_else(|| usage("Invalid netmask".into()))?))
}

fn number<T: FromStr>(text: &str) -> Result<T, Failure> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or_else(|| usage(format!("Invalid number `{text}'")))
}
