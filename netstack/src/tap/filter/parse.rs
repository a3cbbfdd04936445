//! From the words of a filter expression to its program, with the errors of libpcap.
//!
//! `and` and `or` bind equally and to the left, as in pcap-filter(7); a number or an address alone means what the one
//! before it meant: `port 80 or 443`.

use super::{
    Bytes, Comparison, DEEPEST, Family, Filter, Layer, MOST_STEPS, Network, Question, Side, Step, has_ports,
    words::{dotted, host, mac, number, port, tokens, value},
};
use crate::{config::rules::names, headers::protocol};
use alloc::{format, string::String, vec::Vec};

/// Brackets within each other.
const DEEPEST_NESTING: usize = 32;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const RARP: u16 = 0x8035;
const IPV6: u16 = 0x86dd;

/// What stands before an address or a number.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Qualifiers {
    protocol: Option<Protocol>,
    side: Option<Side>,
    kind: Option<Kind>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Ethernet,
    Type(u16),
    Number(u8, &'static str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Host,
    Net,
    Port,
    PortRange,
    Protocol,
}

pub type Parsed<T> = Result<T, String>;

pub fn syntax_error<T>() -> Parsed<T> {
    Err(String::from("can't parse filter expression: syntax error"))
}

/// Compiles an expression.
pub fn parse(expression: &str) -> Parsed<Filter> {
    let mut parser = Parser { tokens: tokens(expression), at: 0, depth: 0, steps: Vec::new(), last: None };
    if !parser.tokens.is_empty() {
        parser.expression()?;
        if parser.at < parser.tokens.len() {
            return syntax_error();
        }
    }
    Ok(Filter(parser.steps))
}

struct Parser<'t> {
    tokens: Vec<&'t str>,
    at: usize,
    depth: usize,
    steps: Vec<Step>,
    /// Of the last address or number.
    last: Option<Qualifiers>,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t str> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Parsed<&'t str> {
        let token = self.peek();
        self.at += 1;
        token.map_or_else(syntax_error, Ok)
    }

    /// Takes the next token if it is one of these.
    fn takes(&mut self, words: &[&str]) -> bool {
        let found = self.peek().is_some_and(|token| words.contains(&token));
        self.at += usize::from(found);
        found
    }

    /// What `find` makes of the next token, which is then taken.
    fn take<T>(&mut self, find: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let found = self.peek().and_then(find)?;
        self.at += 1;
        Some(found)
    }

    fn push(&mut self, step: Step) -> Parsed<()> {
        if self.steps.len() == MOST_STEPS {
            return Err(String::from("the filter expression is too long"));
        }
        self.steps.push(step);
        Ok(())
    }

    fn ask(&mut self, question: Question) -> Parsed<()> {
        self.push(Step::Ask(question))
    }

    fn expression(&mut self) -> Parsed<()> {
        const { assert!(DEEPEST_NESTING < DEEPEST, "the stack is deep enough") };
        self.depth += 1;
        if self.depth > DEEPEST_NESTING {
            return Err(String::from("the filter expression is nested too deeply"));
        }
        self.term()?;
        while let Some(step) = self.take(|word| match word {
            "and" | "&&" => Some(Step::And),
            "or" | "||" => Some(Step::Or),
            _ => None,
        }) {
            self.term()?;
            self.push(step)?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn term(&mut self) -> Parsed<()> {
        let mut negated = false;
        while self.takes(&["not", "!"]) {
            negated = !negated;
        }
        if self.takes(&["("]) {
            self.bracket()?;
        } else {
            self.primitive()?;
        }
        if negated { self.push(Step::Not) } else { Ok(()) }
    }

    /// The rest of a bracket.
    fn bracket(&mut self) -> Parsed<()> {
        self.expression()?;
        if self.takes(&[")"]) { Ok(()) } else { syntax_error() }
    }

    fn primitive(&mut self) -> Parsed<()> {
        if let Some(question) = self.take(alone) {
            return self.ask(question?);
        }
        if self.takes(&["less"]) {
            let length = self.number()?;
            return self.ask(Question::AtMost(length));
        }
        if self.takes(&["greater"]) {
            let length = self.number()?;
            return self.ask(Question::AtLeast(length));
        }
        if self.takes(&["len"]) {
            return self.length();
        }
        let protocol = self.take(protocol);
        match protocol {
            Some(protocol) if self.takes(&["["]) => return self.bytes(protocol),
            Some(protocol) => {
                if let Some(question) = self.take(|word| group(protocol, word)) {
                    return self.ask(question?);
                }
            }
            None => {}
        }
        let side = self.side();
        let kind = self.take(kind);
        let qualifiers = match (protocol, side, kind) {
            (None, None, None) => self.last.map_or_else(syntax_error, Ok)?,
            (Some(Protocol::Type(number)), None, None) => return self.ask(Question::EtherType(number)),
            (Some(Protocol::Number(number, _)), None, None) => return self.ask(Question::Protocol(number)),
            (Some(Protocol::Ethernet), None, None) => return syntax_error(),
            _ => Qualifiers { protocol, side, kind },
        };
        self.last = Some(qualifiers);
        if self.takes(&["("]) { self.bracket() } else { self.identifier(qualifiers) }
    }

    fn side(&mut self) -> Option<Side> {
        let (first, other) = self.take(|word| match word {
            "src" => Some((Side::Source, "dst")),
            "dst" => Some((Side::Destination, "src")),
            _ => None,
        })?;
        let both = match (self.peek(), self.tokens.get(self.at + 1)) {
            (Some("or" | "||"), Some(word)) if *word == other => Side::Either,
            (Some("and" | "&&"), Some(word)) if *word == other => Side::Both,
            _ => return Some(first),
        };
        self.at += 2;
        Some(both)
    }

    /// What the qualifiers are about.
    fn identifier(&mut self, qualifiers: Qualifiers) -> Parsed<()> {
        let word = self.next()?;
        if matches!(word, ")" | "and" | "or" | "not" | "&&" | "||" | "!" | "&" | "|") {
            return syntax_error();
        }
        let side = qualifiers.side.unwrap_or(Side::Either);
        let question = match qualifiers.kind.unwrap_or(Kind::Host) {
            Kind::Host if qualifiers.protocol == Some(Protocol::Ethernet) => {
                let station = mac(word).ok_or_else(|| String::from("illegal link layer address"))?;
                Question::Station(side, station)
            }
            Kind::Host => {
                let family = family(qualifiers.protocol, "host")?;
                Question::Network(side, family, Network { address: host(word)?, mask: u32::MAX })
            }
            Kind::Net => Question::Network(side, family(qualifiers.protocol, "net")?, self.network(word)?),
            Kind::Port => {
                let port = port(word)?;
                Question::Ports(side, carrier(qualifiers.protocol, "port")?, port, port)
            }
            Kind::PortRange => {
                let (first, last) = word.split_once('-').unwrap_or((word, word));
                let (first, last) = (port(first)?, port(last)?);
                let carrier = carrier(qualifiers.protocol, "portrange")?;
                Question::Ports(side, carrier, first.min(last), first.max(last))
            }
            Kind::Protocol => numbered(qualifiers.protocol, word.strip_prefix('\\').unwrap_or(word))?,
        };
        self.ask(question)
    }

    fn network(&mut self, word: &str) -> Parsed<Network> {
        let unknown = || format!("unknown network '{word}'");
        let (text, length) = word.split_once('/').map_or((word, None), |(text, length)| (text, Some(length)));
        let (address, given) = dotted(text).ok_or_else(unknown)?;
        let (mask, shown) = if let Some(length) = length {
            let length = number(length).ok_or_else(unknown)?;
            if length > 32 {
                return Err(String::from("mask length must be <= 32"));
            }
            (u32::MAX.checked_shl(32 - length).unwrap_or(0), String::from(word))
        } else if self.takes(&["mask"]) {
            let mask = self.next()?;
            (host(mask)?, format!("{word} mask {mask}"))
        } else {
            // As many bytes as there are numbers.
            (u32::MAX.checked_shl(32 - 8 * given).unwrap_or(0), String::from(word))
        };
        if address & !mask != 0 {
            return Err(format!("non-network bits set in \"{shown}\""));
        }
        Ok(Network { address, mask })
    }

    fn number(&mut self) -> Parsed<u32> {
        number(self.next()?).map_or_else(syntax_error, Ok)
    }

    /// What follows `len`.
    fn length(&mut self) -> Parsed<()> {
        let comparison = self.comparison()?;
        let length = self.number()?;
        match comparison {
            Comparison::GreaterOrEqual => self.ask(Question::AtLeast(length)),
            Comparison::LessOrEqual => self.ask(Question::AtMost(length)),
            Comparison::Less => {
                self.ask(Question::AtLeast(length))?;
                self.push(Step::Not)
            }
            Comparison::Greater => {
                self.ask(Question::AtMost(length))?;
                self.push(Step::Not)
            }
            Comparison::Equal | Comparison::Unequal => {
                self.ask(Question::AtLeast(length))?;
                self.ask(Question::AtMost(length))?;
                self.push(Step::And)?;
                if comparison == Comparison::Unequal { self.push(Step::Not) } else { Ok(()) }
            }
        }
    }

    fn comparison(&mut self) -> Parsed<Comparison> {
        Ok(match self.next()? {
            "=" | "==" => Comparison::Equal,
            "!=" => Comparison::Unequal,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return syntax_error(),
        })
    }

    /// `OFFSET:SIZE] & MASK = VALUE`
    fn bytes(&mut self, protocol: Protocol) -> Parsed<()> {
        let layer = match protocol {
            Protocol::Ethernet => Layer::Ethernet,
            Protocol::Type(IPV4) => Layer::Ip,
            Protocol::Type(ARP) => Layer::Arp,
            Protocol::Number(number, _) => Layer::Transport(number),
            Protocol::Type(_) => return syntax_error(),
        };
        let offset = u16::try_from(value(self.next()?)?).map_err(|_| String::from("offset out of range"))?;
        let size = if self.takes(&[":"]) { self.number()? } else { 1 };
        if !matches!(size, 1 | 2 | 4) {
            return Err(String::from("data size must be 1, 2, or 4"));
        }
        if !self.takes(&["]"]) {
            return syntax_error();
        }
        let mask = if self.takes(&["&"]) { self.values()? } else { u32::MAX };
        let comparison = self.comparison()?;
        let value = self.values()?;
        self.ask(Question::Bytes(Bytes { layer, offset, size: size as u8, mask, comparison, value }))
    }

    /// A number, or several with `|`, with or without brackets.
    fn values(&mut self) -> Parsed<u32> {
        let bracket = self.takes(&["("]);
        let mut values = value(self.next()?)?;
        while self.takes(&["|"]) {
            values |= value(self.next()?)?;
        }
        if bracket && !self.takes(&[")"]) { syntax_error() } else { Ok(values) }
    }
}

/// A word that is a question by itself.
fn alone(word: &str) -> Option<Parsed<Question>> {
    Some(Ok(match word {
        "broadcast" => Question::StationBroadcast,
        "multicast" => Question::StationGroup,
        "inbound" => Question::Received(true),
        "outbound" => Question::Received(false),
        "ip6" => Question::EtherType(IPV6),
        "icmp6" | "vlan" | "mpls" | "gateway" | "pppoed" | "pppoes" => {
            return Some(Err(format!("'{word}' not supported in this configuration")));
        }
        _ => return None,
    }))
}

fn protocol(word: &str) -> Option<Protocol> {
    Some(match word {
        "ether" | "link" => Protocol::Ethernet,
        "ip" => Protocol::Type(IPV4),
        "arp" => Protocol::Type(ARP),
        "rarp" => Protocol::Type(RARP),
        "tcp" => Protocol::Number(protocol::TCP, "tcp"),
        "udp" => Protocol::Number(protocol::UDP, "udp"),
        "icmp" => Protocol::Number(protocol::ICMP, "icmp"),
        "igmp" => Protocol::Number(2, "igmp"),
        "esp" => Protocol::Number(50, "esp"),
        "ah" => Protocol::Number(51, "ah"),
        "pim" => Protocol::Number(103, "pim"),
        "vrrp" => Protocol::Number(112, "vrrp"),
        "sctp" => Protocol::Number(132, "sctp"),
        _ => return None,
    })
}

/// `ether broadcast`, `ip multicast` and the like.
fn group(protocol: Protocol, word: &str) -> Option<Parsed<Question>> {
    match (protocol, word) {
        (Protocol::Ethernet, "broadcast") => Some(Ok(Question::StationBroadcast)),
        (Protocol::Ethernet, "multicast") => Some(Ok(Question::StationGroup)),
        (Protocol::Type(IPV4), "multicast") => Some(Ok(Question::HostGroup)),
        (Protocol::Type(IPV4), "broadcast") => {
            Some(Err(String::from("netmask not known, so 'ip broadcast' not supported")))
        }
        _ => None,
    }
}

fn kind(word: &str) -> Option<Kind> {
    Some(match word {
        "host" => Kind::Host,
        "net" => Kind::Net,
        "port" => Kind::Port,
        "portrange" => Kind::PortRange,
        "proto" => Kind::Protocol,
        _ => return None,
    })
}

/// Where the addresses of a host or network are looked for.
fn family(protocol: Option<Protocol>, kind: &str) -> Parsed<Family> {
    let name = match protocol {
        None => return Ok(Family::Any),
        Some(Protocol::Type(IPV4)) => return Ok(Family::Ip),
        Some(Protocol::Type(ARP)) => return Ok(Family::Arp),
        Some(Protocol::Number(_, name)) => name,
        Some(Protocol::Type(_)) => "rarp",
        Some(Protocol::Ethernet) => "ether",
    };
    Err(format!("'{name}' modifier applied to {kind}"))
}

/// The protocol that has the ports; `None`: any that has some.
fn carrier(protocol: Option<Protocol>, kind: &str) -> Parsed<Option<u8>> {
    match protocol {
        None | Some(Protocol::Type(IPV4)) => Ok(None),
        Some(Protocol::Number(number, _)) if has_ports(number) => Ok(Some(number)),
        Some(_) => Err(format!("illegal qualifier of '{kind}'")),
    }
}

/// `ip proto 50`, `ether proto 0x0806`
fn numbered(protocol: Option<Protocol>, word: &str) -> Parsed<Question> {
    match protocol {
        Some(Protocol::Ethernet) => {
            let number = match protocol_type(word) {
                None => number(word).and_then(|number| u16::try_from(number).ok()),
                named => named,
            };
            number.map(Question::EtherType).ok_or_else(|| format!("unknown ether proto '{word}'"))
        }
        None | Some(Protocol::Type(IPV4)) => {
            let number = number(word).and_then(|number| u8::try_from(number).ok());
            let number = number.or_else(|| names::protocol_number(word));
            number.map(Question::Protocol).ok_or_else(|| format!("unknown ip proto '{word}'"))
        }
        Some(_) => Err(String::from("illegal qualifier of 'proto'")),
    }
}

fn protocol_type(word: &str) -> Option<u16> {
    match protocol(word) {
        Some(Protocol::Type(number)) => Some(number),
        _ => None,
    }
}
