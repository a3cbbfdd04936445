//! Matches and targets about the IPv4 header: their options, and how a listing shows them; iptables-extensions(8): ttl,
//! dscp, tos, length, iprange, addrtype, pkttype, TTL, DSCP, TOS.

use super::{
    extension::{OptionSpec, option},
    values::{Parsed, bounded, full_address, number},
};
use crate::config::rules::{
    AddressRange, AddressTypeMatch, AddressTypes, Lengths, LimitInterface, Match, Negatable, PacketType,
    Target, TosBits, TtlChange, TtlMatch,
};
use alloc::{format, string::ToString};
use core::fmt::{self, Formatter};

/// One of several ways to say one thing.
const fn way(name: &'static str) -> OptionSpec {
    option(name, 1).apart_from_others_of(1)
}

static TTL_MATCH: &[OptionSpec] = &[way("ttl-lt"), way("ttl-gt"), way("ttl-eq").or("ttl").negatable()];
static DSCP_MATCH: &[OptionSpec] = &[way("dscp").negatable(), way("dscp-class").negatable()];
static TOS_MATCH: &[OptionSpec] = &[option("tos", 1).negatable().required()];
static LENGTH: &[OptionSpec] = &[option("length", 1).negatable().required()];
static IPRANGE: &[OptionSpec] = &[option("src-range", 1).negatable(), option("dst-range", 1).negatable()];
static ADDRTYPE: &[OptionSpec] = &[
    option("src-type", 1).negatable(),
    option("dst-type", 1).negatable(),
    option("limit-iface-in", 0).apart_from_others_of(1),
    option("limit-iface-out", 0).apart_from_others_of(1),
];
static PKTTYPE: &[OptionSpec] = &[option("pkt-type", 1).negatable().required()];
static TTL: &[OptionSpec] = &[way("ttl-set"), way("ttl-dec"), way("ttl-inc")];
static DSCP: &[OptionSpec] = &[way("set-dscp"), way("set-dscp-class")];
static TOS: &[OptionSpec] = &[way("set-tos"), way("and-tos"), way("or-tos"), way("xor-tos")];

/// The match of that name, with its options.
pub(super) fn new_match(name: &str) -> Option<(&'static str, &'static [OptionSpec], Match)> {
    Some(match name {
        "ttl" => ("ttl", TTL_MATCH, Match::Ttl(TtlMatch::Less(0))),
        "dscp" => ("dscp", DSCP_MATCH, Match::Dscp(0.into())),
        "tos" => ("tos", TOS_MATCH, Match::Tos(TosBits { value: 0, mask: 0 }.into())),
        "length" => ("length", LENGTH, Match::Length(Lengths { least: 0, most: 0 }.into())),
        "iprange" => ("iprange", IPRANGE, Match::AddressRange { source: None, destination: None }),
        "addrtype" => ("addrtype", ADDRTYPE, Match::AddressType(AddressTypeMatch::default())),
        "pkttype" => ("pkttype", PKTTYPE, Match::PacketType(PacketType::Unicast.into())),
        _ => return None,
    })
}

/// The target of that name, with its options.
pub(super) fn new_target(name: &str) -> Option<(&'static [OptionSpec], Target)> {
    Some(match name {
        "TTL" => (TTL, Target::Ttl(TtlChange::Lower(0))),
        "DSCP" => (DSCP, Target::Dscp(0)),
        "TOS" => (TOS, Target::Tos(TosBits { value: 0, mask: 0 })),
        _ => return None,
    })
}

/// What is wrong with a match or a target that was given these options, one bit for each.
pub(super) fn check(name: &str, given: u16) -> Parsed<()> {
    let types = given & 3;
    Err(match (name, given) {
        ("ttl", 0) => "TTL match: You must specify one of `--ttl-eq', `--ttl-lt', `--ttl-gt",
        ("dscp", 0) => "DSCP match: Parameter --dscp is required",
        ("iprange", 0) => "iprange match: You must specify `--src-range' or `--dst-range'",
        ("addrtype", _) if types == 0 => "addrtype: you must specify --src-type or --dst-type",
        ("TTL", 0) => "TTL: You must specify an action",
        ("DSCP", 0) => "DSCP target: Parameter --set-dscp is required",
        ("TOS", 0) => "TOS: An action is required",
        _ => return Ok(()),
    }
    .to_string())
}

/// Takes an option of such a match.
pub(super) fn match_option(part: &mut Match, name: &str, not: bool, text: &str) -> Parsed<()> {
    let range = || address_range(name, text).map(|value| Some(Negatable { not, value }));
    let types = || address_types(text).map(|value| Some(Negatable { not, value }));
    match part {
        Match::Ttl(wish) => {
            let value = byte("ttl", name, text, 0)?;
            *wish = match name {
                "ttl-lt" => TtlMatch::Less(value),
                "ttl-gt" => TtlMatch::Greater(value),
                _ => TtlMatch::Equal(Negatable { not, value }),
            };
        }
        Match::Dscp(wish) => {
            let value = if name == "dscp" { code_point("dscp", name, text)? } else { class(text)? };
            *wish = Negatable { not, value };
        }
        Match::Tos(wish) => *wish = Negatable { not, value: tos(text)? },
        Match::Length(wish) => *wish = Negatable { not, value: lengths(text)? },
        Match::AddressRange { source, .. } if name == "src-range" => *source = range()?,
        Match::AddressRange { destination, .. } => *destination = range()?,
        Match::AddressType(wish) => match name {
            "src-type" => wish.source = types()?,
            "dst-type" => wish.destination = types()?,
            "limit-iface-in" => wish.limit = Some(LimitInterface::In),
            _ => wish.limit = Some(LimitInterface::Out),
        },
        Match::PacketType(wish) => *wish = Negatable { not, value: packet_type(text)? },
        _ => {}
    }
    Ok(())
}

/// Takes an option of such a target.
pub(super) fn target_option(part: &mut Target, name: &str, text: &str) -> Parsed<()> {
    match part {
        Target::Ttl(change) => {
            *change = match name {
                "ttl-set" => TtlChange::Set(byte("TTL", name, text, 0)?),
                "ttl-dec" => TtlChange::Lower(byte("TTL", name, text, 1)?),
                _ => TtlChange::Raise(byte("TTL", name, text, 1)?),
            };
        }
        Target::Dscp(value) => {
            *value = if name == "set-dscp" { code_point("DSCP", name, text)? } else { class(text)? };
        }
        Target::Tos(change) => {
            let bits = || byte("TOS", name, text, 0);
            *change = match name {
                "set-tos" => tos(text)?,
                "and-tos" => TosBits { value: 0, mask: !bits()? },
                "or-tos" => TosBits { value: bits()?, mask: bits()? },
                _ => TosBits { value: bits()?, mask: 0 },
            };
        }
        _ => {}
    }
    Ok(())
}

fn byte(extension: &str, name: &str, text: &str, least: u16) -> Parsed<u8> {
    bounded(extension, name, text, least..=255).map(|value| value as u8)
}

fn code_point(extension: &str, name: &str, text: &str) -> Parsed<u8> {
    bounded(extension, name, text, 0..=63).map(|value| value as u8)
}

/// A class of RFC 2474, RFC 2597 or RFC 3246 by name.
fn class(text: &str) -> Parsed<u8> {
    let upper = text.to_ascii_uppercase();
    let code_point = match upper.as_bytes() {
        b"BE" => Some(0),
        b"EF" => Some(46),
        [b'C', b'S', class @ b'0'..=b'7'] => Some((class - b'0') * 8),
        [b'A', b'F', class @ b'1'..=b'4', drop @ b'1'..=b'3'] => Some((class - b'0') * 8 + (drop - b'0') * 2),
        _ => None,
    };
    code_point.ok_or_else(|| format!("Invalid DSCP value `{text}'"))
}

/// The types of service of RFC 1349 by name.
const TOS_NAMES: [(&str, u8); 5] = [
    ("Minimize-Delay", 0x10),
    ("Maximize-Throughput", 0x08),
    ("Maximize-Reliability", 0x04),
    ("Minimize-Cost", 0x02),
    ("Normal-Service", 0x00),
];

/// The bits that a name is about: all but the precedence.
const NAMED_TOS: u8 = 0x3f;

/// `VALUE[/MASK]` or a name
fn tos(text: &str) -> Parsed<TosBits> {
    let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
    if let Some(value) = number(value) {
        let mask = mask.map_or(Some(u8::MAX), number).ok_or_else(|| format!("Illegal value: \"{text}\""))?;
        return Ok(TosBits { value, mask });
    }
    let named = TOS_NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    let named = named.map(|&(_, value)| TosBits { value, mask: NAMED_TOS });
    named.ok_or_else(|| format!("Symbolic name \"{text}\" is unknown"))
}

/// `N`, `N:M`, `N:` or `:M`
fn lengths(text: &str) -> Parsed<Lengths> {
    let one = |part: &str, default: u16| match part {
        "" => Ok(default),
        part => number(part).ok_or_else(|| {
            format!("length: bad value for option \"--length\" near \"{part}\", or out of range (0-65535).")
        }),
    };
    match text.split_once(':') {
        Some((least, most)) => Ok(Lengths { least: one(least, 0)?, most: one(most, u16::MAX)? }),
        None => one(text, 0).map(|length| Lengths { least: length, most: length }),
    }
}

/// `A` or `A-B`
fn address_range(name: &str, text: &str) -> Parsed<AddressRange> {
    let address = |text: &str| {
        full_address(text).ok_or_else(|| format!("iprange: Bad value for \"--{name}\" option: \"{text}\""))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = AddressRange { first: address(first)?, last: address(last)? };
    if range.first > range.last {
        return Err(format!("iprange: range {text} is reversed and will never match"));
    }
    Ok(range)
}

/// Types with commas between them.
fn address_types(text: &str) -> Parsed<AddressTypes> {
    text.split(',').try_fold(AddressTypes::default(), |types, word| {
        let bit = AddressTypes::NAMES.iter().position(|name| name.eq_ignore_ascii_case(word));
        let bit = bit.ok_or_else(|| format!("addrtype: bad type \"{word}\""))?;
        Ok(AddressTypes(types.0 | 1 << bit))
    })
}

fn packet_type(text: &str) -> Parsed<PacketType> {
    match text.to_ascii_lowercase().as_str() {
        "unicast" | "host" => Ok(PacketType::Unicast),
        "broadcast" | "bcast" => Ok(PacketType::Broadcast),
        "multicast" | "mcast" => Ok(PacketType::Multicast),
        _ => Err(format!("Bad packet type '{text}'")),
    }
}

/// What a listing says of a match.
pub(super) fn list_match(f: &mut Formatter<'_>, part: &Match, numeric: bool) -> fmt::Result {
    let mark = |not: bool| if not { "!" } else { "" };
    match part {
        Match::Ttl(TtlMatch::Equal(Negatable { not: false, value })) => {
            write!(f, " TTL match TTL == {value}")
        }
        Match::Ttl(TtlMatch::Equal(Negatable { not: true, value })) => write!(f, " TTL match TTL != {value}"),
        Match::Ttl(TtlMatch::Less(bound)) => write!(f, " TTL match TTL < {bound}"),
        Match::Ttl(TtlMatch::Greater(bound)) => write!(f, " TTL match TTL > {bound}"),
        Match::Dscp(wish) => write!(f, " DSCP match {}0x{:02x}", mark(wish.not), wish.value),
        Match::Tos(wish) => {
            write!(f, " tos match{}", mark(wish.not))?;
            match tos_name(wish.value).filter(|_| !numeric) {
                Some(name) => write!(f, " {name}"),
                None => write!(f, "{}", wish.value),
            }
        }
        Match::Length(wish) => write!(f, " length {}{}", mark(wish.not), wish.value),
        Match::AddressRange { source, destination } => {
            listed_range(f, "source", source)?;
            listed_range(f, "destination", destination)
        }
        Match::AddressType(wish) => {
            f.write_str(" ADDRTYPE match")?;
            let mut types = |side: &str, types: &Option<Negatable<AddressTypes>>| match types {
                None => Ok(()),
                Some(types) => write!(f, " {side}-type {}{}", mark(types.not), types.value),
            };
            types("src", &wish.source)?;
            types("dst", &wish.destination)?;
            f.write_str(match wish.limit {
                None => "",
                Some(LimitInterface::In) => " limit-in",
                Some(LimitInterface::Out) => " limit-out",
            })
        }
        Match::PacketType(wish) => write!(f, " PKTTYPE {}= {}", if wish.not { "!" } else { "" }, wish.value),
        _ => Ok(()),
    }
}

fn listed_range(f: &mut Formatter<'_>, side: &str, range: &Option<Negatable<AddressRange>>) -> fmt::Result {
    match range {
        None => Ok(()),
        Some(Negatable { not, value }) => {
            write!(f, " {side} IP range {}{value}", if *not { "! " } else { "" })
        }
    }
}

/// What a listing says of a target.
pub(super) fn list_target(f: &mut Formatter<'_>, target: &Target, numeric: bool) -> fmt::Result {
    match target {
        Target::Ttl(TtlChange::Set(ttl)) => write!(f, " TTL set to {ttl}"),
        Target::Ttl(TtlChange::Lower(by)) => write!(f, " TTL decrement by {by}"),
        Target::Ttl(TtlChange::Raise(by)) => write!(f, " TTL increment by {by}"),
        Target::Dscp(code_point) => write!(f, " DSCP set 0x{code_point:02x}"),
        Target::Tos(change) if numeric => write!(f, " TOS set {change}"),
        Target::Tos(change) => match (tos_name(*change), *change) {
            // As Linux has it, with the spaces where they are.
            (Some(name), _) => write!(f, "  TOS set{name}"),
            (None, TosBits { value, mask }) if value == mask => write!(f, " TOS or 0x{value:02x}"),
            (None, TosBits { value, mask: 0 }) => write!(f, " TOS xor 0x{value:02x}"),
            (None, TosBits { value: 0, mask }) => write!(f, " TOS and 0x{:02x}", !mask),
            (None, bits) => write!(f, " TOS set {bits}"),
        },
        _ => Ok(()),
    }
}

fn tos_name(bits: TosBits) -> Option<&'static str> {
    let named = TOS_NAMES.iter().find(|(_, value)| bits == TosBits { value: *value, mask: NAMED_TOS });
    named.map(|(name, _)| *name)
}
