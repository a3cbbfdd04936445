//! Random changes between the packets: what was decided before holds no longer, and what was begun goes on.
//!
//! What is deleted or replaced by its number stands in the table filter: in mangle, Linux has a rule more.

use crate::{
    mangling,
    rules::{chance, filter_rule, one},
    scenario::{Step, What},
};
use rand::{Rng, RngExt};

const CHAINS: &[&str] = &["FORWARD", "FORWARD", "FORWARD", "INPUT", "OUTPUT"];
/// For networks that no other line has a route to.
const ROUTES: &[&str] = &[
    "198.51.100.4/30 via 10.10.0.5",
    "198.51.100.4/30 via 203.0.113.9",
    "198.51.100.4/30 via 203.0.113.1 mtu 1280",
    "198.51.100.8/30 via 10.10.0.5",
    "198.51.100.8/30 via 192.168.1.11",
    "blackhole 198.51.100.8/30",
    "172.16.0.0/17 via 10.10.0.5",
];

/// Puts changes among `steps`.
pub fn add(random: &mut impl Rng, steps: &mut Vec<Step>) {
    if chance(random, 60) {
        return;
    }
    let first = steps.iter().map(|step| step.id + 1).max().unwrap_or(0);
    for id in first..first + random.random_range(1..4) {
        let what = What::Change(change(random));
        steps.insert(random.random_range(0..=steps.len()), Step { id, what });
    }
}

fn change(random: &mut impl Rng) -> String {
    let chain = one(random, CHAINS);
    let number = random.random_range(1..4);
    match random.random_range(0..20) {
        0..4 => rule(random, chain).replacen("-A", "-I", 1),
        4..6 => rule(random, chain).replacen(&format!("-A {chain}"), &format!("-I {chain} {number}"), 1),
        6..8 => rule(random, chain).replacen(&format!("-A {chain}"), &format!("-R {chain} {number}"), 1),
        8..11 => format!("iptables -D {chain} {number}"),
        11..13 => format!("iptables -P {chain} {}", one(random, &["ACCEPT", "DROP"])),
        13 => format!("iptables -F {chain}"),
        14 => restore(random),
        15..17 => mangling::one_rule(random).replacen("-A", "-I", 1),
        _ => format!("ip route replace {}", one(random, ROUTES)),
    }
}

/// A rule that may lead to a chain which is not there: then both refuse it.
fn rule(random: &mut impl Rng, chain: &str) -> String {
    filter_rule(random, chain, &["user0".into(), "user1".into()])
}

/// Other rules in the place of all of the table filter, or beside them.
fn restore(random: &mut impl Rng) -> String {
    let beside = if chance(random, 50) { " -n" } else { "" };
    let policy = one(random, &["ACCEPT", "DROP"]);
    let mut text = format!("iptables-restore{beside} <<'END'\n*filter\n:FORWARD {policy} [0:0]\n");
    if beside.is_empty() {
        text += ":INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n";
    }
    for _ in 0..random.random_range(0..4) {
        let chain = one(random, CHAINS);
        let rule = filter_rule(random, chain, &[]);
        text += rule.strip_prefix("iptables ").unwrap_or(&rule);
        text += "\n";
    }
    text + "COMMIT\nEND"
}
