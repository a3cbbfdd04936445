//! What the driver of a card has counted, as `ethtool -S` prints it on the console.

use qemu::lab::Lab;
use std::collections::BTreeMap;

/// All of its counters, by name.
///
/// # Panics
/// Where the console does not answer.
pub fn counters(lab: &mut Lab, card: &str) -> BTreeMap<String, u64> {
    let statistics = lab.command(&format!("ethtool -S {card}")).expect("the console answers").text;
    let lines = statistics.lines().filter_map(|line| line.trim().split_once(": "));
    lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

/// One of them.
///
/// # Panics
/// Where there is none of that name.
pub fn counter(lab: &mut Lab, card: &str, name: &str) -> u64 {
    let counters = counters(lab, card);
    *counters.get(name).unwrap_or_else(|| panic!("{name} in {counters:?}"))
}
