//! Random rules of raw and mangle: what is tracked, marks, segment sizes, times to live and types of service.

use crate::rules::{INTERFACES, chance, matches, one, one_of, some};
use rand::{Rng, RngExt};

const CHAINS: &[&str] =
    &["PREROUTING", "PREROUTING", "FORWARD", "FORWARD", "INPUT", "POSTROUTING", "POSTROUTING", "OUTPUT"];
const MARKS: &[&str] = &[
    "MARK --set-mark 0x1",
    "MARK --set-mark 0x2/0x3",
    "MARK --or-mark 0x10",
    "MARK --and-mark 0x1",
    "MARK --xor-mark 0x1",
    "CONNMARK --set-mark 0x1",
    "CONNMARK --set-mark 0x100/0xff00",
    "CONNMARK --save-mark",
    "CONNMARK --restore-mark",
    "CONNMARK --save-mark --mask 0xf",
];
const HEADERS: &[&str] = &[
    "TTL --ttl-set 40",
    "TTL --ttl-dec 3",
    "TTL --ttl-inc 5",
    "DSCP --set-dscp 10",
    "DSCP --set-dscp-class EF",
    "TOS --set-tos 0x10/0x3f",
    "TOS --or-tos 0x04",
    "TOS --xor-tos 0xb9",
];
const VERDICTS: &[&str] = &["ACCEPT", "DROP"];

/// Rules of raw and mangle.
pub fn rule_set(random: &mut impl Rng) -> Vec<String> {
    let mut lines = some(random, 25, 2, early_rule);
    lines.extend(some(random, 30, 2, size_rule));
    lines.extend(some(random, 40, 4, mark_rule));
    lines.extend(some(random, 30, 3, header_rule));
    lines.extend(some(random, 20, 2, verdict));
    lines
}

/// A rule of raw or mangle that writes into no segment.
pub fn one_rule(random: &mut impl Rng) -> String {
    match random.random_range(0..4) {
        0 => early_rule(random),
        1 => mark_rule(random),
        2 => header_rule(random),
        _ => verdict(random),
    }
}

/// A rule of raw.
fn early_rule(random: &mut impl Rng) -> String {
    let chain = one(random, &["PREROUTING", "PREROUTING", "PREROUTING", "OUTPUT"]);
    raw_rule(random, chain)
}

/// A rule that is asked before it is known which flow a packet belongs to, in this chain.
pub fn raw_rule(random: &mut impl Rng, chain: &str) -> String {
    let (text, _) = matches(random, chain);
    let target =
        one(random, &["NOTRACK", "NOTRACK", "CT --notrack", "DROP", "ACCEPT", "MARK --set-mark 0x1"]);
    format!("iptables -t raw -A {chain}{text} -j {target}")
}

/// A rule that lowers the maximum segment size.
fn size_rule(random: &mut impl Rng) -> String {
    let (chain, option) =
        one_of(random, &[("FORWARD", "-o"), ("FORWARD", "-i"), ("POSTROUTING", "-o"), ("PREROUTING", "-i")]);
    let port =
        if chance(random, 70) { format!(" {option} {}", one(random, INTERFACES)) } else { String::new() };
    let size = match chain {
        "PREROUTING" => one(random, &["--set-mss 1200", "--set-mss 536"]),
        _ => one(random, &["--clamp-mss-to-pmtu", "--clamp-mss-to-pmtu", "--set-mss 1400", "--set-mss 1000"]),
    };
    format!("iptables -t mangle -A {chain}{port} -p tcp --tcp-flags SYN,RST SYN -j TCPMSS {size}")
}

/// A rule that marks packets or flows.
fn mark_rule(random: &mut impl Rng) -> String {
    about(random, MARKS)
}

/// A rule that writes into the IPv4 header.
fn header_rule(random: &mut impl Rng) -> String {
    about(random, HEADERS)
}

fn verdict(random: &mut impl Rng) -> String {
    about(random, VERDICTS)
}

/// A rule of mangle, in this chain.
pub fn rule(random: &mut impl Rng, chain: &str) -> String {
    let targets = one_of(random, &[MARKS, MARKS, HEADERS, HEADERS, VERDICTS]);
    with_target(random, chain, targets)
}

fn about(random: &mut impl Rng, targets: &[&str]) -> String {
    let chain = one(random, CHAINS);
    with_target(random, chain, targets)
}

fn with_target(random: &mut impl Rng, chain: &str, targets: &[&str]) -> String {
    let (text, _) = matches(random, chain);
    format!("iptables -t mangle -A {chain}{text} -j {}", one(random, targets))
}
