//! The options of `-m statistic`; iptables-extensions(8).

use super::{
    extension::{OptionSpec, option},
    values::{Parsed, number},
};
use crate::config::rules::{Negatable, Statistic, StatisticMode};
use alloc::{
    format,
    string::{String, ToString},
};
use core::fmt::{self, Formatter};

pub(super) static OPTIONS: &[OptionSpec] = &[
    option("mode", 1),
    option("probability", 1).negatable().apart_from_others_of(1),
    option("every", 1).negatable().apart_from_others_of(1),
    option("packet", 1),
];

/// The bits of the options that were given.
const MODE: u16 = 1;
const PROBABILITY: u16 = 2;
const EVERY: u16 = 4;
const PACKET: u16 = 8;

/// The match without options.
pub(super) fn new() -> Statistic {
    Statistic::new(StatisticMode::Random { probability: 0 }.into())
}

/// Takes an option; `given` are those given so far. One that is not for this mode is found to be wrong in the end.
pub(super) fn set(statistic: &mut Statistic, given: u16, name: &str, not: bool, text: &str) -> Parsed<()> {
    let Negatable { not: before, value: mode } = statistic.mode();
    let value = match (name, mode) {
        ("mode", _) => match text {
            "random" => mode,
            "nth" => StatisticMode::Nth { every: 1, packet: 0 },
            _ => return Err(format!("Bad mode \"{text}\"")),
        },
        _ if given & MODE == 0 => return Err(NO_MODE.to_string()),
        ("probability", StatisticMode::Random { .. }) => {
            StatisticMode::Random { probability: probability(text)? }
        }
        ("every", StatisticMode::Nth { packet, .. }) => {
            StatisticMode::Nth { every: bounded(name, text, 1)?, packet }
        }
        ("packet", StatisticMode::Nth { every, .. }) => {
            StatisticMode::Nth { every, packet: bounded(name, text, 0)? }
        }
        _ => mode,
    };
    *statistic = Statistic::new(Negatable { not: before || not, value });
    Ok(())
}

const NO_MODE: &str = "statistic: option \"--mode\" must be specified";

fn bounded(name: &str, text: &str, least: u32) -> Parsed<u32> {
    let value = number(text).filter(|&value| value >= least);
    value.ok_or_else(|| out_of_range(name, &format!("{least}-{}", u32::MAX)))
}

/// A number from 0 to 1, with 18 digits behind the point at most.
fn probability(text: &str) -> Parsed<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    let valid = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let value = || -> Option<u128> { format!("0{whole}{fraction}").parse().ok() };
    let one = 10_u128.pow(fraction.len().min(18) as u32);
    let value = Some(()).filter(|()| valid).and_then(|()| value()).filter(|&value| value <= one);
    let parts = value.map(|value| (value * u128::from(StatisticMode::CERTAIN) + one / 2) / one);
    parts.map(|parts| parts as u32).ok_or_else(|| out_of_range("probability", "0-1"))
}

fn out_of_range(name: &str, range: &str) -> String {
    format!("statistic: bad value for option \"--{name}\", or out of range ({range}).")
}

/// What is wrong with a match that was given these options.
pub(super) fn check(statistic: &Statistic, given: u16) -> Parsed<()> {
    let has = |option: u16| given & option != 0;
    let wrong = match statistic.mode().value {
        StatisticMode::Random { .. } if !has(PROBABILITY) => {
            "--probability must be specified when using random mode"
        }
        StatisticMode::Nth { .. } if !has(EVERY | PACKET) => {
            "--every and --packet must be specified when using nth mode"
        }
        StatisticMode::Nth { .. } if !has(EVERY) => "the --packet p must be 0 <= p <= n-1",
        StatisticMode::Nth { .. } if has(EVERY) && !has(PACKET) => {
            "statistic: option \"--every\" also requires \"--packet\"."
        }
        StatisticMode::Nth { every, packet } if packet >= every => "the --packet p must be 0 <= p <= n-1",
        _ => return Ok(()),
    };
    Err(wrong.to_string())
}

/// What a listing says of it.
pub(super) fn list(f: &mut Formatter<'_>, statistic: &Statistic) -> fmt::Result {
    let Negatable { not, value } = statistic.mode();
    let not = if not { " !" } else { "" };
    match value {
        StatisticMode::Random { .. } => {
            write!(f, " statistic mode random{not} probability {}", statistic.probability())
        }
        StatisticMode::Nth { every, packet: 0 } => write!(f, " statistic mode nth{not} every {every}"),
        StatisticMode::Nth { every, packet } => {
            write!(f, " statistic mode nth{not} every {every} packet {packet}")
        }
    }
}
