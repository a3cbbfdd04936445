//! The same rules and the same packets through a Linux router and through rutter: both must do the same.

mod chains;
mod changes;
mod compare;
mod counters;
mod counts;
mod differences;
mod flows;
mod home_gateway;
mod limiting;
mod mangling;
mod routing;
mod rules;
mod scenario;
mod sets;
mod settings;
mod sides;
mod traffic;
mod ways;

use compare::{Renaming, Verdict};
use differences::Difference;
use rand::{SeedableRng, rngs::StdRng};
use scenario::{Network, Scenario};
use sides::{Linux, Record, Rutter, Side, run};
use std::{
    collections::BTreeMap,
    env,
    sync::atomic::{AtomicU16, Ordering},
};
use tests::namespace::in_namespace;

/// How many rule sets are tried, unless the environment says another number.
const RULE_SETS: u64 = 200;
/// So many rule sets that disagree are looked at in one run.
const ENOUGH: usize = 10;
/// Set it to try so many.
const COUNT: &str = "RUTTER_RULE_SETS";
/// Set it to try only the rule set of one seed.
const SEED: &str = "RUTTER_SEED";

/// Every part has random numbers of its own, so that one more line in a part leaves the others of a seed as they were.
fn generate(seed: u64) -> Scenario {
    let part = |number: u64| StdRng::seed_from_u64(seed | number << 32);
    let network = Network::ALL[(seed / 8 % 4) as usize];
    let random = &mut part(0);
    let mut rules = rules::rule_set(random);
    rules.splice(0..0, sets::asked_by(random, &rules));
    let mut steps = traffic::traffic(random);
    chains::add(&mut part(1), &mut rules);
    rules.extend(rules::own_rules(&mut part(5)));
    rules.extend(settings::lines(&mut part(3)));
    changes::add(&mut part(4), &mut steps);
    limiting::add(&mut part(6), &mut rules);
    let mut scenario = Scenario { network, rules, steps };
    let lines: Vec<String> = scenario.lines().map(String::from).collect();
    scenario.rules.splice(0..0, sets::asked_by(&mut part(2), &lines));
    scenario
}

/// What the two routers do otherwise, or nothing. Steps that are meant to differ are counted in `meant`, and all
/// others tried again without them.
fn disagreement(
    linux: &mut dyn Side,
    rutter: &mut dyn Side,
    scenario: &Scenario,
    meant: &mut BTreeMap<Difference, usize>,
) -> Option<String> {
    static ROUND: AtomicU16 = AtomicU16::new(0);
    let mut scenario = scenario.clone();
    loop {
        let round = ROUND.fetch_add(1, Ordering::Relaxed);
        let expected = run(linux, &scenario, round);
        let seen = run(rutter, &scenario, round);
        match first_disagreement(&scenario, &expected, &seen, meant) {
            Some((_, Verdict::Disagree(why))) => return Some(why),
            Some((id, _)) => scenario.remove(id),
            None => {
                let (why, explain): (_, fn(&Scenario, &Record, &[Record]) -> _) =
                    match counts::disagreement(linux, rutter, true) {
                        Some(why) => (why, Difference::in_counters),
                        None => (flows::disagreement(linux, rutter)?, Difference::in_flows),
                    };
                let explained: Vec<_> = seen
                    .iter()
                    .enumerate()
                    .filter_map(|(at, record)| Some((record.id, explain(&scenario, record, &seen[..at])?)))
                    .collect();
                if explained.is_empty() {
                    return Some(why);
                }
                for (id, difference) in explained {
                    *meant.entry(difference).or_default() += 1;
                    scenario.remove(id);
                }
            }
        }
    }
}

/// The first step in which the two did not do the same.
fn first_disagreement(
    scenario: &Scenario,
    expected: &[Record],
    seen: &[Record],
    meant: &mut BTreeMap<Difference, usize>,
) -> Option<(usize, Verdict)> {
    let mut renaming = Renaming::default();
    for (at, (expected, now)) in expected.iter().zip(seen).enumerate() {
        match renaming.judge(scenario, expected, now, &seen[..at]) {
            Verdict::Agree(details) => {
                details.into_iter().for_each(|detail| *meant.entry(detail).or_default() += 1);
            }
            verdict => {
                if let Verdict::Differ(difference) = verdict {
                    *meant.entry(difference).or_default() += 1;
                }
                return Some((now.id, verdict));
            }
        }
    }
    None
}

/// The smallest scenario that can be made by leaving things out and that they still disagree on, and how they do.
fn shrink(
    linux: &mut dyn Side,
    rutter: &mut dyn Side,
    mut scenario: Scenario,
    mut why: String,
) -> (Scenario, String) {
    let meant = &mut BTreeMap::new();
    loop {
        let parts = scenario.rules.len() + scenario.steps.len();
        for part in (0..parts).rev() {
            let mut smaller = scenario.clone();
            if part < smaller.rules.len() {
                // Others may jump to a chain or ask a set, so those stay.
                let line = smaller.rules.remove(part);
                if line.contains(" -N ") || line.starts_with("ipset create") {
                    continue;
                }
            } else if part - smaller.rules.len() < smaller.steps.len() {
                smaller.steps.remove(part - smaller.rules.len());
            }
            if let Some(still) = disagreement(linux, rutter, &smaller, meant) {
                (scenario, why) = (smaller, still);
            }
        }
        if scenario.rules.len() + scenario.steps.len() == parts {
            return (scenario, why);
        }
    }
}

#[test]
fn linux_and_rutter_agree_on_generated_rule_sets() {
    in_namespace(&["ip", "iptables", "ipset", "conntrack"], || {
        let (mut linux, mut rutter) = (Linux::new(3), Rutter::default());
        let number = |name| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
        let seeds = match number(SEED) {
            Some(seed) => seed..seed + 1,
            None => 0..number(COUNT).unwrap_or(RULE_SETS),
        };
        let mut meant = BTreeMap::new();
        let mut disagreements = 0;
        for seed in seeds.clone() {
            if seed % 100 == 0 {
                println!("rule set {seed} of {seeds:?}");
            }
            let scenario = generate(seed);
            if let Some(why) = disagreement(&mut linux, &mut rutter, &scenario, &mut meant) {
                let (smallest, why) = shrink(&mut linux, &mut rutter, scenario, why);
                println!("{SEED}={seed}\n{smallest:?}{why}\n");
                disagreements += 1;
                assert!(
                    disagreements < ENOUGH,
                    "{disagreements} rule sets of {} disagree",
                    seed + 1 - seeds.start
                );
            }
        }
        assert_eq!(disagreements, 0, "rule sets disagree");
        println!("rule sets {seeds:?} agree; meant to differ: {meant:?}");
    });
}

#[test]
fn a_difference_between_two_routers_is_seen() {
    let mut rutter = Rutter::default();
    let mut seen = 0;
    for seed in 0..20 {
        let scenario = generate(seed);
        let mut other = scenario.clone();
        other.rules.push("iptables -I FORWARD -p udp -j DROP".into());
        let records = [&scenario, &scenario, &other].map(|scenario| run(&mut rutter, scenario, 0));
        let differs = |at: usize| {
            first_disagreement(&scenario, &records[0], &records[at], &mut BTreeMap::new()).is_some()
        };
        assert!(!differs(1), "a router agrees with itself");
        seen += usize::from(differs(2));
    }
    assert!(seen >= 8, "that UDP is dropped was seen in {seen} of 20 scenarios only");
}
