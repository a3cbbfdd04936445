//! Rules that remember: as Linux judges and counts, as long as time plays no part.

use crate::{
    disagreement,
    rules::{chance, one},
    scenario::{Network, ROUND, Scenario, Step, What},
    sides::{Linux, Rutter},
};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use std::collections::BTreeMap;
use tests::{datagram::*, namespace::in_namespace, network::*};

const RULE_SETS: u64 = 20;
const PACKETS: usize = 60;

/// Rules for TCP about connections, for UDP about rates and for ICMP about who was here. The rates are so low that no test lives to
/// see another packet let in. Only one rule counts connections, and drops none that it counts: Linux goes on counting what was dropped
/// for some milliseconds.
fn rules(random: &mut StdRng, seed: u64) -> Vec<String> {
    let mut rules = vec![format!(
        "iptables -A FORWARD -p tcp --syn -m connlimit {} {} {} {}",
        one(
            random,
            &["-j DROP --connlimit-above", "-j ACCEPT --connlimit-upto", "-j DROP ! --connlimit-upto"]
        ),
        random.random_range(1..5),
        one(random, &["", "--connlimit-mask 24", "--connlimit-mask 0", "--connlimit-mask 31"]),
        one(random, &["", "--connlimit-saddr", "--connlimit-daddr"]),
    )];
    for number in 0..random.random_range(1..4) {
        let limit = hash_limit(random, &format!("h{seed}-{number}"));
        let looks = one(random, &["", "-i eth0", "-o eth0", "-s 192.168.1.0/24"]);
        let verdict = one(random, &["DROP", "ACCEPT"]);
        rules.push(format!("iptables -A FORWARD {looks} -p udp {limit} -j {verdict}"));
    }
    for _ in 0..random.random_range(2..6) {
        let recent = recent(random, &format!("r{seed}"));
        let verdict = one(random, &["", "-j DROP", "-j ACCEPT"]);
        rules.push(format!("iptables -A FORWARD -p icmp {recent} {verdict}"));
    }
    rules
}

/// Lets so few packets pass in an hour that no test lives to see another one.
fn hash_limit(random: &mut impl Rng, name: &str) -> String {
    const MODES: &[&str] = &[
        "",
        "--hashlimit-mode srcip",
        "--hashlimit-mode dstip",
        "--hashlimit-mode srcip,dstip",
        "--hashlimit-mode dstport",
        "--hashlimit-mode srcip,srcport,dstip,dstport",
    ];
    let side = one(random, &["above", "upto"]);
    let burst = random.random_range(1..7);
    let (mode, mask) =
        (one(random, MODES), one(random, &["", "--hashlimit-srcmask 24", "--hashlimit-dstmask 8"]));
    format!(
        "-m hashlimit --hashlimit-{side} 10/hour --hashlimit-burst {burst} {mode} {mask} --hashlimit-name {name}"
    )
}

fn recent(random: &mut impl Rng, name: &str) -> String {
    let side = one(random, &["", "--rsource", "--rdest"]);
    let seconds = one(random, &["", "--seconds 3600"]);
    let asked = one(random, &["--rcheck", "--update"]);
    let hits = random.random_range(1..6);
    let what = match random.random_range(0..5) {
        0 | 1 => "--set".to_string(),
        2 => "--remove".to_string(),
        _ => format!("{asked} {seconds} --hitcount {hits}"),
    };
    let not = one(random, &["", "", "!"]);
    format!("-m recent {not} {what} --name {name} {side}")
}

/// Puts rules with `hashlimit` and `recent` among the `lines` of a rule set. Not with `connlimit`: how long Linux counts what
/// was dropped is a matter of time.
pub fn add(random: &mut impl Rng, lines: &mut Vec<String>) {
    if chance(random, 75) {
        return;
    }
    // The sets that rules ask come first.
    let first = lines.iter().rposition(|line| line.starts_with("ipset ")).map_or(0, |at| at + 1);
    for number in 0..random.random_range(1..5) {
        let chain = one(random, &["FORWARD", "FORWARD", "INPUT"]);
        let protocol = one(random, &["", " -p tcp", " -p udp", " -p icmp"]);
        let wish = match chance(random, 50) {
            true => hash_limit(random, &format!("h{ROUND}-{number}")),
            false => recent(random, &format!("r{ROUND}")),
        };
        let verdict = one(random, &["", " -j DROP", " -j ACCEPT", " -j REJECT"]);
        let line = format!("iptables -A {chain}{protocol} {wish}{verdict}");
        lines.insert(random.random_range(first..=lines.len()), line);
    }
}

fn packet(random: &mut StdRng, number: usize) -> What {
    let (port, from, to) = match random.random_range(0..6) {
        0 | 1 => (LAN, ALICE, SERVER),
        2 => (LAN, BOB, SERVER),
        3 => (LAN, BOB, OTHER),
        4 => (LAN, ALICE, WEB),
        _ => (WAN, SERVER, WEB),
    };
    let packet = match random.random_range(0..3) {
        0 => tcp((from, 20_000 + number as u16), (to, 80), flag::SYN),
        1 => udp((from, 5000 + random.random_range(0..3)), (to, 53 + random.random_range(0..2))),
        _ => echo((from, random.random_range(1..4)), to),
    };
    What::Send { port, packet }
}

#[test]
fn rules_that_remember_agree_with_linux() {
    in_namespace(&["ip", "iptables", "ipset", "conntrack"], || {
        let (mut linux, mut rutter) = (Linux::new(3), Rutter::default());
        for seed in 0..RULE_SETS {
            let random = &mut StdRng::seed_from_u64(seed);
            let rules = rules(random, seed);
            let steps = (0..PACKETS).map(|id| Step { id, what: packet(random, id) }).collect();
            let scenario = Scenario { network: Network::Plain, rules, steps };
            let mut meant = BTreeMap::new();
            let why = disagreement(&mut linux, &mut rutter, &scenario, &mut meant);
            assert_eq!((why, meant), (None, BTreeMap::new()), "seed {seed}: {:#?}", scenario.rules);
        }
    });
}
