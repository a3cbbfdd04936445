//! Random sets of addresses, networks and services, and the matches that ask them.

use crate::rules::{chance, one, one_of};
use rand::{Rng, RngExt};

struct Kind {
    name: &'static str,
    holds: &'static str,
    elements: &'static [&'static str],
    asked_for: &'static [&'static str],
}

const KINDS: &[Kind] = &[
    Kind {
        name: "hosts",
        holds: "hash:ip",
        elements: &["192.168.1.10", "192.168.1.11", "198.51.100.0/29", "203.0.113.2", "10.10.0.5"],
        asked_for: &["src", "dst"],
    },
    Kind {
        name: "networks",
        holds: "hash:net",
        elements: &[
            "192.168.1.0/24",
            "192.168.1.11 nomatch",
            "198.51.100.0/24",
            "198.51.100.8/30 nomatch",
            "10.0.0.0/8",
            "203.0.113.0/25",
        ],
        asked_for: &["src", "dst"],
    },
    Kind {
        name: "services",
        holds: "hash:ip,port",
        elements: &[
            "198.51.100.7,80",
            "198.51.100.0/28,udp:53",
            "192.168.1.11,tcp:80-443",
            "10.10.0.5,8080",
            "192.168.1.0/28,udp:5000-5500",
            "203.0.113.2,icmp:echo-request",
            "192.168.1.10,gre:0",
        ],
        asked_for: &["src,src", "dst,dst", "src,dst", "dst,src"],
    },
];

/// A match that asks a set.
pub fn question(random: &mut impl Rng) -> String {
    let Kind { name, asked_for, .. } = &KINDS[random.random_range(0..KINDS.len())];
    let not = if chance(random, 20) { "! " } else { "" };
    format!(" -m set {not}--match-set {name} {}", one(random, asked_for))
}

/// What makes the sets that `rules` ask and do not make, each with some of its elements.
pub fn asked_by(random: &mut impl Rng, rules: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    for Kind { name, holds, elements, .. } in KINDS {
        let create = format!("ipset create {name} {holds}");
        if rules.contains(&create) || !rules.iter().any(|rule| rule.contains(&format!("--match-set {name} ")))
        {
            continue;
        }
        lines.push(create);
        let percent = one_of(random, &[20, 50, 80]);
        let chosen = elements.iter().filter(|_| chance(random, percent));
        lines.extend(chosen.map(|element| format!("ipset add {name} {element}")));
    }
    lines
}
