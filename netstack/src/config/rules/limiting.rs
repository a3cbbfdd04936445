//! Matches that remember: how many connections, how many packets, who was here; iptables-extensions(8): connlimit, hashlimit,
//! recent.
//!
//! Here stands what was asked for. What is remembered stands in [`crate::stage::filter::Memory`] and
//! [`crate::table::groups::Groups`].

use alloc::string::String;
use core::cell::Cell;
use smoltcp::wire::Ipv4Address;

/// One of these matches.
#[derive(Clone, PartialEq, Debug)]
pub enum Limiting {
    /// `-m connlimit`
    Connections(ConnectionLimit),
    /// `-m hashlimit`
    Packets(HashLimit),
    /// `-m recent`
    Recent(Recent),
}

/// `-m connlimit`: whether an address has too many connections that meet this rule.
#[derive(Clone, Debug)]
pub struct ConnectionLimit {
    /// `--connlimit-upto`, or `--connlimit-above`.
    pub limit: u32,
    /// Fits those that have more than the limit, instead of those that have not.
    pub above: bool,
    /// `--connlimit-mask`: how many bits of the address count.
    pub prefix: u8,
    /// `--connlimit-daddr`, instead of `--connlimit-saddr`.
    pub destination: bool,
    /// The number of the rule, by which its connections are counted. The router gives it.
    pub number: Cell<u32>,
}

impl PartialEq for ConnectionLimit {
    fn eq(&self, other: &Self) -> bool {
        let wish = |it: &Self| (it.limit, it.above, it.prefix, it.destination);
        wish(self) == wish(other)
    }
}

/// `-m hashlimit`: whether packets with the same addresses and ports come too fast.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HashLimit {
    /// `--hashlimit-name`
    pub name: String,
    /// `--hashlimit-above`, instead of `--hashlimit-upto`.
    pub above: bool,
    /// Microseconds from one packet to the next.
    pub interval: u64,
    /// `--hashlimit-burst`
    pub burst: u32,
    /// `--hashlimit-mode`: a set of [`hash_mode`] bits; none: all packets together.
    pub mode: u8,
    /// `--hashlimit-srcmask`: how many bits of the source count.
    pub source_prefix: u8,
    /// `--hashlimit-dstmask`
    pub destination_prefix: u8,
    /// `--hashlimit-htable-size`; 0: as large as is good.
    pub size: u32,
    /// `--hashlimit-htable-max`: most entries; 0: as many as there can be.
    pub max: u32,
    /// `--hashlimit-htable-gcinterval`, in milliseconds.
    pub sweep: u32,
    /// `--hashlimit-htable-expire`: how long an entry is kept without a packet, in milliseconds.
    pub expire: u32,
}

/// Bits of [`HashLimit::mode`].
pub mod hash_mode {
    #![allow(missing_docs)]
    pub const DESTINATION: u8 = 1;
    pub const DESTINATION_PORT: u8 = 2;
    pub const SOURCE: u8 = 4;
    pub const SOURCE_PORT: u8 = 8;
}

impl HashLimit {
    /// The burst, unless another is asked for.
    pub const DEFAULT_BURST: u32 = 5;
    /// The largest rate per second, and the largest burst.
    pub const MAX: u32 = 1_000_000;
    /// Linux looks for what has expired so often, in milliseconds.
    pub const DEFAULT_SWEEP: u32 = 1000;

    /// The rate as Linux prints it: packets, and in how many seconds of 1, 60, 3600 or 86,400.
    pub fn rate(&self) -> (u64, u32) {
        let per = |seconds: u32| u64::from(seconds) * 1_000_000;
        let fits = |seconds: &u32| {
            let span = per(*seconds);
            self.interval <= span && span / self.interval >= span % self.interval
        };
        let seconds = [3600, 60, 1].into_iter().take_while(fits).last().unwrap_or(86_400);
        (per(seconds) / self.interval.max(1), seconds)
    }
}

/// `-m recent`: whether an address was here before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recent {
    /// Written with `!`.
    pub not: bool,
    /// What is done with the list.
    pub action: RecentAction,
    /// `--name`
    pub name: String,
    /// `--rdest`, instead of `--rsource`.
    pub destination: bool,
    /// `--mask`
    pub mask: Ipv4Address,
    /// `--seconds`: only packets of that time count; 0: all do.
    pub seconds: u32,
    /// `--hitcount`: so many packets at least; 0: any.
    pub hits: u32,
    /// `--reap`: who was not here within these seconds is forgotten.
    pub reap: bool,
    /// `--rttl`: only packets with the same time to live count.
    pub ttl: bool,
}

/// What `-m recent` does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum RecentAction {
    Set,
    Check,
    Update,
    Remove,
}

impl Recent {
    /// The list, unless another is named.
    pub const DEFAULT_NAME: &'static str = "DEFAULT";
    /// The largest `--hitcount`: so many packets of each address are remembered.
    pub const MAX_HITS: u32 = 255;
    /// The longest name in bytes.
    pub const MAX_NAME: usize = 199;
}

impl Limiting {
    /// Most names of lists of one kind in all rules together, as each has memory of its own.
    pub const MAX_NAMES: usize = 8;

    /// The name of what it remembers in, where that has one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Connections(_) => None,
            Self::Packets(limit) => Some(&limit.name),
            Self::Recent(recent) => Some(&recent.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_printed_in_the_unit_that_linux_takes() {
        let rate = |interval| {
            let limit = HashLimit {
                name: String::new(),
                above: false,
                interval,
                burst: 5,
                mode: 0,
                source_prefix: 32,
                destination_prefix: 32,
                size: 0,
                max: 0,
                sweep: 0,
                expire: 0,
            };
            limit.rate()
        };
        assert_eq!(rate(1_000_000), (1, 1), "60/minute");
        assert_eq!(rate(600_000), (100, 60));
        assert_eq!(rate(100_000), (10, 1));
        assert_eq!(rate(1), (1_000_000, 1));
        assert_eq!(rate(144_000_000), (25, 3600));
        assert_eq!(rate(86_400_000_000), (1, 86_400));
    }
}
