//! Random user chains of the tables nat, mangle and raw.

use crate::{
    mangling,
    rules::{self, chance, one},
};
use rand::{Rng, RngExt};

/// User chains of one table.
struct Kind {
    table: &'static str,
    name: &'static str,
    /// The built-in chains that lead to them.
    from: &'static [&'static str],
}

const KINDS: &[Kind] = &[
    Kind { table: "nat", name: "outer", from: &["POSTROUTING"] },
    Kind { table: "nat", name: "inner", from: &["PREROUTING"] },
    Kind {
        table: "mangle",
        name: "mark",
        from: &["PREROUTING", "FORWARD", "INPUT", "POSTROUTING", "POSTROUTING", "OUTPUT"],
    },
    Kind { table: "raw", name: "early", from: &["PREROUTING", "PREROUTING", "OUTPUT"] },
];

/// Adds user chains, and rules anywhere among `lines` that lead to them.
pub fn add(random: &mut impl Rng, lines: &mut Vec<String>) {
    for kind in KINDS.iter() {
        if chance(random, 70) {
            continue;
        }
        let Kind { table, name, from } = kind;
        let chains: Vec<String> =
            (0..random.random_range(1..4)).map(|number| format!("{name}{number}")).collect();
        let mut own: Vec<String> =
            chains.iter().map(|chain| format!("iptables -t {table} -N {chain}")).collect();
        for (number, chain) in chains.iter().enumerate() {
            for _ in 0..random.random_range(1..4) {
                own.push(rule(random, kind, chain, &chains[number + 1..]));
            }
        }
        // The sets that rules ask come first.
        let sets = lines.iter().take_while(|line| line.starts_with("ipset ")).count();
        let made = sets + own.len();
        lines.splice(sets..sets, own);
        for _ in 0..random.random_range(1..4) {
            let from = one(random, from);
            let line = leading(random, kind, from, &chains);
            lines.insert(random.random_range(made..=lines.len()), line);
        }
    }
}

/// A rule of a user chain, which may lead to those behind it.
fn rule(random: &mut impl Rng, kind: &Kind, chain: &str, further: &[String]) -> String {
    if !further.is_empty() && chance(random, 30) {
        return leading(random, kind, chain, further);
    }
    if chance(random, 15) {
        let Kind { table, .. } = kind;
        return format!("iptables -t {table} -A {chain}{} -j RETURN", looks(random, kind, chain));
    }
    match (kind.table, kind.name) {
        ("nat", "outer") => rules::source_rule(random, chain),
        ("nat", _) => rules::destination_rule(random, chain),
        ("raw", _) => mangling::raw_rule(random, chain),
        _ => mangling::rule(random, chain),
    }
}

/// A rule that leads to one of these chains, with or without a way back.
fn leading(random: &mut impl Rng, kind: &Kind, from: &str, to: &[String]) -> String {
    let looks = looks(random, kind, from);
    let how = if chance(random, 25) { "-g" } else { "-j" };
    let to = &to[random.random_range(0..to.len())];
    format!("iptables -t {} -A {from}{looks} {how} {to}", kind.table)
}

fn looks(random: &mut impl Rng, kind: &Kind, chain: &str) -> String {
    match kind.table {
        "nat" => rules::translated(random, kind.name == "outer").0,
        _ => rules::matches(random, chain).0,
    }
}
