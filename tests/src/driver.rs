//! What the driver of a card has counted, as `ethtool -S` prints it on the console.

use qemu::lab::Lab;

/// One of its counters.
///
/// # Panics
/// Where there is none of that name.
pub fn counter(lab: &mut Lab, card: &str, name: &str) -> u64 {
    let statistics = lab.command(&format!("ethtool -S {card}")).expect("the console answers").text;
    let value = statistics.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {statistics}"))
}
