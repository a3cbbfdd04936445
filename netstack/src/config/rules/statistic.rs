//! `-m statistic`: as many packets by chance, or every so many; iptables-extensions(8).

use super::Negatable;
use core::{
    cell::Cell,
    fmt::{self, Display, Formatter},
};
use smoltcp::time::Instant;

/// Which packets are meant, and what it takes to know.
#[derive(Clone, Debug)]
pub struct Statistic {
    mode: Negatable<StatisticMode>,
    state: Cell<u64>,
}

/// How packets are chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatisticMode {
    /// `--mode random --probability`, in parts of [`StatisticMode::CERTAIN`]
    Random {
        /// So many of them are chosen.
        probability: u32,
    },
    /// `--mode nth`
    Nth {
        /// `--every`, at least 1
        every: u32,
        /// `--packet`: which one of them, from 0, below `every`
        packet: u32,
    },
}

impl StatisticMode {
    /// The probability of what is certain.
    pub const CERTAIN: u32 = 1 << 31;
}

impl Statistic {
    /// A choice that has seen no packet.
    pub fn new(mode: Negatable<StatisticMode>) -> Self {
        Self { mode, state: Cell::new(0) }
    }

    /// How packets are chosen, or with `!` are not.
    pub fn mode(&self) -> Negatable<StatisticMode> {
        self.mode
    }

    /// Whether this packet is meant; with `take` it is also counted.
    pub fn admit(&self, now: Instant, take: bool) -> bool {
        let state = self.state.get();
        let (next, chosen) = match self.mode.value {
            StatisticMode::Nth { every, packet } => {
                let place = state % u64::from(every.max(1));
                (place + 1, place == u64::from(packet))
            }
            StatisticMode::Random { probability } => {
                // Nobody gains by a guess, so that time is seed enough.
                let next = scrambled(state ^ now.total_micros() as u64);
                (next, next >> 33 < u64::from(probability))
            }
        };
        if take {
            self.state.set(next);
        }
        self.mode.holds(chosen)
    }
}

/// A step of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn scrambled(state: u64) -> u64 {
    let mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

impl PartialEq for Statistic {
    fn eq(&self, other: &Self) -> bool {
        self.mode == other.mode
    }
}

impl Display for Statistic {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let not = if self.mode.not { " !" } else { "" };
        match self.mode.value {
            StatisticMode::Random { .. } => {
                write!(f, " --mode random{not} --probability {}", self.probability())
            }
            StatisticMode::Nth { every, packet } => {
                write!(f, " --mode nth{not} --every {every} --packet {packet}")
            }
        }
    }
}

impl Statistic {
    /// The probability as Linux prints it.
    pub(crate) fn probability(&self) -> impl Display + use<> {
        let parts = match self.mode.value {
            StatisticMode::Random { probability } => probability,
            StatisticMode::Nth { .. } => 0,
        };
        Probability(parts)
    }
}

struct Probability(u32);

impl Display for Probability {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // Eleven digits, rounded as C does it: 10^11 / 2^31 is 5^11 / 2^20.
        let exact = u64::from(self.0) * 5_u64.pow(11);
        let (digits, rest, half) = (exact >> 20, exact % (1 << 20), 1 << 19);
        let digits = digits + u64::from(rest > half || rest == half && digits % 2 == 1);
        write!(f, "{}.{:011}", digits / 10_u64.pow(11), digits % 10_u64.pow(11))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn chosen(mode: StatisticMode, packets: i64) -> Vec<i64> {
        let statistic = Statistic::new(mode.into());
        (0..packets).filter(|&at| statistic.admit(Instant::from_micros(at), true)).collect()
    }

    #[test]
    fn every_so_many_packets_one_is_meant() {
        assert_eq!(chosen(StatisticMode::Nth { every: 3, packet: 0 }, 8), [0, 3, 6]);
        assert_eq!(chosen(StatisticMode::Nth { every: 3, packet: 2 }, 8), [2, 5]);
        assert_eq!(chosen(StatisticMode::Nth { every: 1, packet: 0 }, 3), [0, 1, 2]);
        let statistic = Statistic::new(StatisticMode::Nth { every: 2, packet: 0 }.into());
        assert!((0..3).all(|_| statistic.admit(Instant::ZERO, false)), "only asked");
    }

    #[test]
    fn as_many_are_meant_by_chance_as_is_probable() {
        let count = |probability| chosen(StatisticMode::Random { probability }, 10_000).len();
        assert_eq!((count(0), count(StatisticMode::CERTAIN)), (0, 10_000));
        let third = count(StatisticMode::CERTAIN / 3);
        assert!((3_100..3_560).contains(&third), "{third}");
    }
}
