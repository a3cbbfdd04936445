//! Matches that remember; iptables-extensions(8): connlimit, hashlimit, recent.

use super::{
    extension::{OptionSpec, option},
    values::{Parsed, number, prefix_length},
};
use crate::config::rules::{
    ConnectionLimit, HashLimit, Limiting, Match, Recent, RecentAction, Tables, hash_mode,
};
use alloc::{
    format,
    string::{String, ToString},
};
use core::{cell::Cell, ops::RangeInclusive};
use smoltcp::wire::Ipv4Address;

static CONNLIMIT: &[OptionSpec] = &[
    option("connlimit-upto", 1).negatable().apart_from_others_of(1),
    option("connlimit-above", 1).negatable().apart_from_others_of(1),
    option("connlimit-mask", 1),
    option("connlimit-saddr", 0).apart_from_others_of(2),
    option("connlimit-daddr", 0).apart_from_others_of(2),
];

static HASHLIMIT: &[OptionSpec] = &[
    option("hashlimit-upto", 1).or("hashlimit").negatable().apart_from_others_of(1),
    option("hashlimit-above", 1).negatable().apart_from_others_of(1),
    option("hashlimit-name", 1),
    option("hashlimit-burst", 1),
    option("hashlimit-mode", 1),
    option("hashlimit-srcmask", 1),
    option("hashlimit-dstmask", 1),
    option("hashlimit-htable-size", 1),
    option("hashlimit-htable-max", 1),
    option("hashlimit-htable-gcinterval", 1),
    option("hashlimit-htable-expire", 1),
];

/// A time or a number is asked for only where the list is asked.
static RECENT: &[OptionSpec] = &[
    option("set", 0).negatable().apart_from_others_of(1 | 2 | 4 | 8),
    option("rcheck", 0).negatable().apart_from_others_of(1),
    option("update", 0).negatable().apart_from_others_of(1),
    option("remove", 0).negatable().apart_from_others_of(1 | 16 | 32),
    option("seconds", 1).apart_from_others_of(2 | 16),
    option("hitcount", 1).apart_from_others_of(4 | 32),
    option("rttl", 0).apart_from_others_of(8),
    option("reap", 0),
    option("name", 1),
    option("mask", 1),
    option("rsource", 0),
    option("rdest", 0),
];

/// The bit of an option among those that were given.
fn bit(options: &[OptionSpec], name: &str) -> u16 {
    options.iter().position(|option| option.name == name).map_or(0, |place| 1 << place)
}

/// The match of that name, with its options.
pub(super) fn new_match(name: &str) -> Option<(&'static str, &'static [OptionSpec], Match)> {
    let (name, options, part): (_, &'static [OptionSpec], _) = match name {
        "connlimit" => {
            let (limit, number) = (0, Cell::new(0));
            let part = ConnectionLimit { limit, above: false, prefix: 32, destination: false, number };
            ("connlimit", CONNLIMIT, Limiting::Connections(part))
        }
        "hashlimit" => {
            let part = HashLimit {
                name: String::new(),
                above: false,
                interval: 1,
                burst: HashLimit::DEFAULT_BURST,
                mode: 0,
                source_prefix: 32,
                destination_prefix: 32,
                size: 0,
                max: 0,
                sweep: HashLimit::DEFAULT_SWEEP,
                expire: 0,
            };
            ("hashlimit", HASHLIMIT, Limiting::Packets(part))
        }
        "recent" => {
            let part = Recent {
                not: false,
                action: RecentAction::Set,
                name: Recent::DEFAULT_NAME.to_string(),
                destination: false,
                mask: Ipv4Address::BROADCAST,
                seconds: 0,
                hits: 0,
                reap: false,
                ttl: false,
            };
            ("recent", RECENT, Limiting::Recent(part))
        }
        _ => return None,
    };
    Some((name, options, Match::Limiting(part)))
}

/// Takes an option of such a match.
pub(super) fn match_option(part: &mut Limiting, name: &str, not: bool, value: &str) -> Parsed<()> {
    match part {
        Limiting::Connections(limit) => connlimit_option(limit, name, not, value),
        Limiting::Packets(limit) => hashlimit_option(limit, name, not, value),
        Limiting::Recent(recent) => recent_option(recent, name, not, value),
    }
}

/// Whether all that is needed was given.
pub(super) fn check(part: &Limiting, given: u16) -> Parsed<()> {
    let any = |options, names: &[&str]| names.iter().any(|name| given & bit(options, name) != 0);
    match part {
        Limiting::Connections(_) if !any(CONNLIMIT, &["connlimit-upto", "connlimit-above"]) => {
            Err("You must specify \"--connlimit-above\" or \"--connlimit-upto\".".to_string())
        }
        Limiting::Packets(_) if !any(HASHLIMIT, &["hashlimit-upto", "hashlimit-above"]) => {
            Err("You have to specify --hashlimit".to_string())
        }
        Limiting::Packets(_) if !any(HASHLIMIT, &["hashlimit-name"]) => {
            Err("hashlimit: option \"--hashlimit-name\" must be specified".to_string())
        }
        Limiting::Recent(recent) if recent.reap && recent.seconds == 0 => {
            Err("recent: option \"--reap\" also requires \"--seconds\".".to_string())
        }
        Limiting::Recent(_) if !any(RECENT, &["set", "rcheck", "update", "remove"]) => {
            Err("recent: you must specify one of `--set', `--rcheck' `--update' or `--remove'".to_string())
        }
        _ => Ok(()),
    }
}

/// Whether there is memory for one more list or table, if `part` needs one.
pub(super) fn check_memory(part: &Limiting, tables: &Tables) -> Parsed<()> {
    let Some(name) = part.name() else { return Ok(()) };
    let (kind, known) = match part {
        Limiting::Recent(_) => ("recent", tables.recent_lists()),
        _ => ("hashlimit", tables.hash_limits()),
    };
    if known.len() >= Limiting::MAX_NAMES && !known.contains(&name) {
        return Err(format!("{kind}: too many names (there is memory for {}).", Limiting::MAX_NAMES));
    }
    Ok(())
}

fn connlimit_option(limit: &mut ConnectionLimit, name: &str, not: bool, value: &str) -> Parsed<()> {
    match name {
        "connlimit-upto" | "connlimit-above" => {
            limit.limit = bounded("connlimit: ", name, value, 0..=u32::MAX)?;
            limit.above = (name == "connlimit-above") != not;
        }
        "connlimit-mask" => limit.prefix = prefix("connlimit", name, value)?,
        _ => limit.destination = name == "connlimit-daddr",
    }
    Ok(())
}

fn hashlimit_option(limit: &mut HashLimit, name: &str, not: bool, value: &str) -> Parsed<()> {
    let any = 0..=u32::MAX;
    match name {
        "hashlimit-upto" | "hashlimit-above" => {
            let (interval, unit) = interval(name, value)?;
            limit.interval = interval;
            limit.above = (name == "hashlimit-above") != not;
            if limit.expire == 0 {
                limit.expire = unit * 1000;
            }
        }
        "hashlimit-name" => limit.name = list_name("hashlimit", name, value)?,
        "hashlimit-burst" => limit.burst = bounded("", name, value, 1..=HashLimit::MAX)?,
        "hashlimit-mode" => {
            for word in value.split(',').filter(|word| !word.is_empty()) {
                limit.mode |= match word {
                    "srcip" => hash_mode::SOURCE,
                    "srcport" => hash_mode::SOURCE_PORT,
                    "dstip" => hash_mode::DESTINATION,
                    "dstport" => hash_mode::DESTINATION_PORT,
                    _ => return Err(format!("hashlimit: Bad value for \"--{name}\" option: \"{value}\"")),
                };
            }
        }
        "hashlimit-srcmask" => limit.source_prefix = prefix("hashlimit", name, value)?,
        "hashlimit-dstmask" => limit.destination_prefix = prefix("hashlimit", name, value)?,
        "hashlimit-htable-size" => limit.size = bounded("hashlimit: ", name, value, any)?,
        "hashlimit-htable-max" => limit.max = bounded("hashlimit: ", name, value, any)?,
        "hashlimit-htable-gcinterval" => limit.sweep = bounded("hashlimit: ", name, value, any)?,
        _ => limit.expire = bounded("hashlimit: ", name, value, any)?,
    }
    Ok(())
}

fn recent_option(recent: &mut Recent, name: &str, not: bool, value: &str) -> Parsed<()> {
    let action = match name {
        "set" => RecentAction::Set,
        "rcheck" => RecentAction::Check,
        "update" => RecentAction::Update,
        "remove" => RecentAction::Remove,
        _ => {
            match name {
                "seconds" => recent.seconds = bounded("recent: ", name, value, 1..=u32::MAX)?,
                "hitcount" => recent.hits = bounded("recent: ", name, value, 0..=Recent::MAX_HITS)?,
                "rttl" => recent.ttl = true,
                "reap" => recent.reap = true,
                "name" => recent.name = list_name("recent", name, value)?,
                "mask" => {
                    recent.mask = value.parse().map_err(|_| {
                        format!("recent: bad value for option \"--{name}\": \"{value}\" is no IPv4 address")
                    })?;
                }
                _ => recent.destination = name == "rdest",
            }
            return Ok(());
        }
    };
    (recent.action, recent.not) = (action, not);
    Ok(())
}

/// `5`, `5/s`, `5/min`: microseconds from one packet to the next, and the seconds of the unit.
fn interval(option: &str, text: &str) -> Parsed<(u64, u32)> {
    let (packets, unit) = text.split_once('/').unwrap_or((text, "second"));
    let units = [("second", 1), ("minute", 60), ("hour", 3_600), ("day", 86_400)];
    let lower = unit.to_ascii_lowercase();
    let unit = units.iter().find(|(name, _)| !lower.is_empty() && name.starts_with(&lower));
    let digits = packets.bytes().all(|byte| byte.is_ascii_digit());
    match (packets.parse::<u64>(), unit) {
        (Ok(packets @ 1..), Some(&(_, seconds))) if digits => {
            let interval = u64::from(seconds) * 1_000_000 / packets;
            if interval == 0 { Err(format!("Rate too fast \"{text}\"")) } else { Ok((interval, seconds)) }
        }
        _ if packets.ends_with('b') => {
            Err(format!("hashlimit: rates in bytes are not supported: \"{text}\""))
        }
        _ => Err(format!("hashlimit: Bad value for \"--{option}\" option: \"{text}\"")),
    }
}

fn bounded(extension: &str, option: &str, text: &str, bounds: RangeInclusive<u32>) -> Parsed<u32> {
    number(text).filter(|value| bounds.contains(value)).ok_or_else(|| {
        let (least, most) = (bounds.start(), bounds.end());
        format!("{extension}bad value for option \"--{option}\", or out of range ({least}-{most}).")
    })
}

fn prefix(extension: &str, option: &str, text: &str) -> Parsed<u8> {
    prefix_length(text).ok_or_else(|| {
        format!(
            "{extension}: bad value for option \"--{option}\", neither a valid network mask nor valid CIDR (0-32)."
        )
    })
}

/// A name that stands without quotes in what `iptables -S` prints.
fn list_name(extension: &str, option: &str, text: &str) -> Parsed<String> {
    if text.is_empty() {
        return Err("Argument must have a minimum length of 1 characters".to_string());
    }
    let awkward = |letter: char| !letter.is_ascii_graphic() || "/\"'\\;#".contains(letter);
    if text.len() > Recent::MAX_NAME || text.contains(awkward) {
        return Err(format!("{extension}: bad value for option \"--{option}\": \"{text}\""));
    }
    Ok(text.to_string())
}
