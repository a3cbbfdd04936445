//! Rules that remember: as Linux judges and counts, as long as time plays no part.

use crate::{
    disagreement,
    scenario::{Network, Scenario, Step, What},
    sides::{Linux, Rutter},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::collections::BTreeMap;
use tests::{datagram::*, namespace::in_namespace, network::*};

const RULE_SETS: u64 = 20;
const PACKETS: usize = 60;

fn one_of<'a>(random: &mut StdRng, choices: &[&'a str]) -> &'a str {
    choices[random.random_range(0..choices.len())]
}

/// Rules for TCP about connections, for UDP about rates and for ICMP about who was here. The rates are so low that no test lives to
/// see another packet let in. Only one rule counts connections, and drops none that it counts: Linux goes on counting what was dropped
/// for some milliseconds.
fn rules(random: &mut StdRng, seed: u64) -> Vec<String> {
    let mut rules = vec![format!(
        "iptables -A FORWARD -p tcp --syn -m connlimit {} {} {} {}",
        one_of(
            random,
            &["-j DROP --connlimit-above", "-j ACCEPT --connlimit-upto", "-j DROP ! --connlimit-upto"]
        ),
        random.random_range(1..5),
        one_of(random, &["", "--connlimit-mask 24", "--connlimit-mask 0", "--connlimit-mask 31"]),
        one_of(random, &["", "--connlimit-saddr", "--connlimit-daddr"]),
    )];
    for number in 0..random.random_range(1..4) {
        rules.push(format!(
            "iptables -A FORWARD {} -p udp -m hashlimit --hashlimit-{} 10/hour --hashlimit-burst {} {} {} \
             --hashlimit-name h{seed}-{number} -j {}",
            one_of(random, &["", "-i eth0", "-o eth0", "-s 192.168.1.0/24"]),
            one_of(random, &["above", "upto"]),
            random.random_range(1..7),
            one_of(
                random,
                &[
                    "",
                    "--hashlimit-mode srcip",
                    "--hashlimit-mode dstip",
                    "--hashlimit-mode srcip,dstip",
                    "--hashlimit-mode dstport",
                    "--hashlimit-mode srcip,srcport,dstip,dstport",
                ]
            ),
            one_of(random, &["", "--hashlimit-srcmask 24", "--hashlimit-dstmask 8"]),
            one_of(random, &["DROP", "ACCEPT"]),
        ));
    }
    for _ in 0..random.random_range(2..6) {
        let side = one_of(random, &["", "--rsource", "--rdest"]);
        let seconds = one_of(random, &["", "--seconds 3600"]);
        let asked = one_of(random, &["--rcheck", "--update"]);
        let hits = random.random_range(1..6);
        let what = match random.random_range(0..5) {
            0 | 1 => "--set".to_string(),
            2 => "--remove".to_string(),
            _ => format!("{asked} {seconds} --hitcount {hits}"),
        };
        rules.push(format!(
            "iptables -A FORWARD -p icmp -m recent {} {what} --name r{seed} {side} {}",
            one_of(random, &["", "", "!"]),
            one_of(random, &["", "-j DROP", "-j ACCEPT"]),
        ));
    }
    rules
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
