//! The matches that remember as `iptables -S` and `iptables -L` print them (iptables: extensions/libxt_connlimit.c,
//! libxt_hashlimit.c, libxt_recent.c).

use super::{ConnectionLimit, HashLimit, Limiting, Recent, RecentAction, hash_mode};
use core::fmt::{self, Display, Formatter};

/// ` -m recent --set ..`
impl Display for Limiting {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connections(ConnectionLimit { limit, above, prefix, destination, .. }) => {
                let (how, side) =
                    (if *above { "above" } else { "upto" }, if *destination { 'd' } else { 's' });
                write!(
                    f,
                    " -m connlimit --connlimit-{how} {limit} --connlimit-mask {prefix} --connlimit-{side}addr"
                )
            }
            Self::Packets(limit) => {
                let how = if limit.above { "above" } else { "upto" };
                write!(f, " -m hashlimit --hashlimit-{how} {}", Rate(limit))?;
                write!(f, " --hashlimit-burst {}", limit.burst)?;
                if limit.mode != 0 {
                    write!(f, " --hashlimit-mode {}", Mode { bits: limit.mode, between: ',' })?;
                }
                write!(f, " --hashlimit-name {}", limit.name)?;
                settings(f, limit, "--hashlimit-")
            }
            Self::Recent(recent) => {
                let action = match recent.action {
                    RecentAction::Set => "set",
                    RecentAction::Check => "rcheck",
                    RecentAction::Update => "update",
                    RecentAction::Remove => "remove",
                };
                write!(f, " -m recent{} --{action}", if recent.not { " !" } else { "" })?;
                number(f, "--seconds", recent.seconds, 0)?;
                f.write_str(if recent.reap { " --reap" } else { "" })?;
                number(f, "--hitcount", recent.hits, 0)?;
                f.write_str(if recent.ttl { " --rttl" } else { "" })?;
                let Recent { name, mask, destination, .. } = recent;
                write!(f, " --name {name} --mask {mask} --r{}", if *destination { "dest" } else { "source" })
            }
        }
    }
}

/// The same in the words of a listing.
pub(crate) struct Listed<'a>(pub &'a Limiting);

impl Display for Listed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Limiting::Connections(ConnectionLimit { limit, above, prefix, destination, .. }) => {
                let (side, how) = (if *destination { "dst" } else { "src" }, if *above { ">" } else { "<=" });
                write!(f, " #conn {side}/{prefix} {how} {limit}")
            }
            Limiting::Packets(limit) => {
                let how = if limit.above { "above" } else { "up to" };
                write!(f, " limit: {how} {} burst {}", Rate(limit), limit.burst)?;
                if limit.mode != 0 {
                    write!(f, " mode {}", Mode { bits: limit.mode, between: '-' })?;
                }
                settings(f, limit, "")
            }
            Limiting::Recent(recent) => {
                let action = match recent.action {
                    RecentAction::Set => "SET",
                    RecentAction::Check => "CHECK",
                    RecentAction::Update => "UPDATE",
                    RecentAction::Remove => "REMOVE",
                };
                write!(f, "{} recent: {action}", if recent.not { " !" } else { "" })?;
                number(f, "seconds:", recent.seconds, 0)?;
                f.write_str(if recent.reap { " reap" } else { "" })?;
                number(f, "hit_count:", recent.hits, 0)?;
                f.write_str(if recent.ttl { " TTL-Match" } else { "" })?;
                let Recent { name, mask, destination, .. } = recent;
                let side = if *destination { "dest" } else { "source" };
                write!(f, " name: {name} side: {side} mask: {mask}")
            }
        }
    }
}

/// ` --name 5`, unless that is what is meant anyway.
fn number(f: &mut Formatter<'_>, name: &str, value: u32, usual: u32) -> fmt::Result {
    if value == usual { Ok(()) } else { write!(f, " {name} {value}") }
}

/// What a table of `hashlimit` is like, where it is not like most.
fn settings(f: &mut Formatter<'_>, limit: &HashLimit, prefix: &str) -> fmt::Result {
    let (_, seconds) = limit.rate();
    let values = [
        ("htable-size", limit.size, 0),
        ("htable-max", limit.max, 0),
        ("htable-gcinterval", limit.sweep, HashLimit::DEFAULT_SWEEP),
        ("htable-expire", limit.expire, seconds * 1000),
        ("srcmask", limit.source_prefix.into(), 32),
        ("dstmask", limit.destination_prefix.into(), 32),
    ];
    let mut others = values.iter().filter(|(_, value, usual)| value != usual);
    others.try_for_each(|(name, value, _)| write!(f, " {prefix}{name} {value}"))
}

/// `5/min`
struct Rate<'a>(&'a HashLimit);

impl Display for Rate<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (packets, seconds) = self.0.rate();
        let unit = match seconds {
            1 => "sec",
            60 => "min",
            3600 => "hour",
            _ => "day",
        };
        write!(f, "{packets}/{unit}")
    }
}

/// `srcip,dstport`
struct Mode {
    bits: u8,
    between: char,
}

impl Mode {
    const NAMES: [(&'static str, u8); 4] = [
        ("srcip", hash_mode::SOURCE),
        ("srcport", hash_mode::SOURCE_PORT),
        ("dstip", hash_mode::DESTINATION),
        ("dstport", hash_mode::DESTINATION_PORT),
    ];
}

impl Display for Mode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let set = Self::NAMES.iter().filter(|(_, bit)| self.bits & bit != 0);
        for (place, (name, _)) in set.enumerate() {
            if place > 0 {
                write!(f, "{}", self.between)?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}
