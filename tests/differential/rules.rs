//! Random rule sets: lines that iptables accepts, over so few addresses and ports that many of them match.

use crate::{mangling, routing, sets};
use rand::{Rng, RngExt, seq::IndexedRandom};

const SOURCES: &[&str] = &[
    "192.168.1.10",
    "192.168.1.11",
    "192.168.1.10/31",
    "192.168.1.0/24",
    "198.51.100.7",
    "198.51.100.0/24",
    "10.10.0.5",
    "203.0.113.0/24",
    "0.0.0.0/0",
];
const DESTINATIONS: &[&str] = &[
    "198.51.100.7",
    "198.51.100.8",
    "198.51.100.0/24",
    "192.168.1.11",
    "192.168.1.0/24",
    "10.10.0.0/24",
    "203.0.113.2",
    "192.168.1.1",
    "0.0.0.0/0",
];
pub const INTERFACES: &[&str] = &["eth0", "eth1", "eth2", "eth+"];
const PORTS: &[&str] = &["53", "80", "443", "8080", "22", "1:1023", "1024:65535", "5000:6000", "80:443"];
const STATES: &[&str] = &[
    "NEW",
    "ESTABLISHED",
    "RELATED,ESTABLISHED",
    "INVALID",
    "RELATED",
    "DNAT",
    "SNAT",
    "NEW,INVALID",
    "NEW,ESTABLISHED",
    "UNTRACKED",
];
const REJECTS: &[&str] = &[
    "icmp-port-unreachable",
    "icmp-net-unreachable",
    "icmp-host-unreachable",
    "icmp-proto-unreachable",
    "icmp-net-prohibited",
    "icmp-host-prohibited",
    "icmp-admin-prohibited",
];
const FLAGS: &[&str] =
    &["--syn", "! --syn", "--tcp-flags SYN,RST SYN", "--tcp-flags ALL NONE", "--tcp-flags RST RST"];
const ICMP_TYPES: &[&str] = &[
    "echo-request",
    "echo-reply",
    "destination-unreachable",
    "time-exceeded",
    "3/4",
    "any",
    "8",
    "fragmentation-needed",
];

/// What rules look at beside addresses, ports and states.
const LOOKS: &[&str] = &[
    "mark ! --mark 0",
    "mark --mark 0x2/0x2",
    "connmark ! --mark 0/0x1",
    "ttl --ttl-lt 64",
    "ttl --ttl-gt 62",
    "ttl ! --ttl-eq 63",
    "dscp --dscp 0",
    "dscp ! --dscp-class EF",
    "tos --tos 0x10/0x1e",
    "tos ! --tos 0/0x1e",
    "length --length 28:60",
    "length ! --length :40",
    "iprange --src-range 192.168.1.10-192.168.1.20",
    "iprange ! --dst-range 198.51.100.7-198.51.100.9",
    "iprange --src-range 0.0.0.0-198.51.100.7 --dst-range 10.10.0.5",
    "addrtype --dst-type LOCAL",
    "addrtype --src-type UNICAST ! --dst-type LOCAL,BROADCAST",
    "addrtype ! --src-type UNICAST",
    "pkttype --pkt-type unicast",
    "pkttype ! --pkt-type broadcast",
];

/// A random choice of text.
pub fn one<'t>(random: &mut impl Rng, of: &[&'t str]) -> &'t str {
    of.choose(random).copied().unwrap_or_default()
}

pub fn one_of<T: Copy>(random: &mut impl Rng, of: &[T]) -> T {
    of[random.random_range(0..of.len())]
}

pub fn chance(random: &mut impl Rng, percent: u32) -> bool {
    random.random_ratio(percent, 100)
}

/// In so many percent of all cases some of these lines, `most` at most.
pub fn some<R: Rng>(random: &mut R, percent: u32, most: usize, line: fn(&mut R) -> String) -> Vec<String> {
    let number = if chance(random, percent) { random.random_range(1..=most) } else { 0 };
    (0..number).map(|_| line(random)).collect()
}

/// Rules of all tables and routing rules.
pub fn rule_set(random: &mut impl Rng) -> Vec<String> {
    let mut lines = Vec::new();
    let chains: Vec<String> = (0..random.random_range(0..4)).map(|number| format!("user{number}")).collect();
    lines.extend(chains.iter().map(|chain| format!("iptables -N {chain}")));
    for (number, chain) in chains.iter().enumerate() {
        for _ in 0..random.random_range(1..4) {
            lines.push(filter_rule(random, chain, &chains[number + 1..]));
        }
    }
    if chance(random, 50) {
        let state = one(random, &["ESTABLISHED", "RELATED,ESTABLISHED"]);
        lines.push(format!("iptables -A FORWARD -m conntrack --ctstate {state} -j ACCEPT"));
    }
    for (chain, most) in [("FORWARD", 6), ("INPUT", 4), ("OUTPUT", 3)] {
        for _ in 0..random.random_range(0..=most) {
            lines.push(filter_rule(random, chain, &chains));
        }
        if chance(random, 30) {
            lines.push(format!("iptables -P {chain} DROP"));
        }
    }
    lines.extend(some(random, 75, 3, |random| source_rule(random, "POSTROUTING")));
    lines.extend(some(random, 50, 3, |random| destination_rule(random, "PREROUTING")));
    lines.extend(mangling::rule_set(random));
    lines.extend(routing::rule_set(random));
    lines
}

/// A rule of the table filter, which may lead to one of these chains.
pub fn filter_rule(random: &mut impl Rng, chain: &str, jumps: &[String]) -> String {
    let (text, protocol) = matches(random, chain);
    let target = match random.random_range(0..100) {
        0..30 => "-j ACCEPT".into(),
        30..45 => "-j DROP".into(),
        45..58 if protocol == "tcp" && chance(random, 50) => "-j REJECT --reject-with tcp-reset".into(),
        45..58 => format!("-j REJECT --reject-with {}", one(random, REJECTS)),
        58..68 => "-j LOG --log-prefix \"seen \"".into(),
        68..74 if chain.starts_with("user") => "-j RETURN".into(),
        74..95 if !jumps.is_empty() => {
            let how = if chance(random, 25) { "-g" } else { "-j" };
            format!("{how} {}", jumps.choose(random).map_or("", String::as_str))
        }
        68..80 => String::new(),
        _ => "-j ACCEPT".into(),
    };
    format!("iptables -A {chain}{text} {target}").trim_end().to_string()
}

/// A rule that translates sources, in nat POSTROUTING or a user chain that it leads to.
pub fn source_rule(random: &mut impl Rng, chain: &str) -> String {
    let out = one(random, &["eth1", "eth1", "eth1", "eth0", "eth2"]);
    let (text, protocol) = translated(random, true);
    let own = ["192.168.1.1", "203.0.113.2", "10.10.0.1"];
    let address = match out {
        "eth0" => own[0],
        "eth2" => own[2],
        _ => one(random, &[own[1], "203.0.113.3"]),
    };
    let target = match random.random_range(0..10) {
        0..5 => "MASQUERADE".into(),
        5 if !protocol.is_empty() => "MASQUERADE --to-ports 50000-50099".into(),
        6 if !protocol.is_empty() => format!("SNAT --to-source {address}:40000-40050"),
        8 if chance(random, 50) => "MASQUERADE --random".into(),
        9 if chance(random, 50) => format!("SNAT --to-source {address} --random-fully"),
        7 => "ACCEPT".into(),
        _ => format!("SNAT --to-source {address}"),
    };
    format!("iptables -t nat -A {chain} -o {out}{text} -j {target}")
}

/// A rule that translates destinations, in nat PREROUTING or a user chain that it leads to.
pub fn destination_rule(random: &mut impl Rng, chain: &str) -> String {
    let (text, protocol) = translated(random, false);
    let interface = if chance(random, 50) && chain != "OUTPUT" {
        format!(" -i {}", one(random, INTERFACES))
    } else {
        String::new()
    };
    let target = match random.random_range(0..10) {
        0..4 if !protocol.is_empty() => {
            format!(
                "DNAT --to-destination {}",
                one(random, &["192.168.1.11:80", "10.10.0.5:8080", "10.10.0.5:80"])
            )
        }
        4 if !protocol.is_empty() => "REDIRECT --to-ports 8080".into(),
        5 => "REDIRECT".into(),
        6 => "ACCEPT".into(),
        _ => format!("DNAT --to-destination {}", one(random, &["192.168.1.11", "10.10.0.5"])),
    };
    format!("iptables -t nat -A {chain}{interface}{text} -j {target}")
}

/// Rules of nat about what is delivered to the router, and about what it sends by itself: which is nothing here, as answers belong to
/// the flow of what they answer.
pub fn own_rules(random: &mut impl Rng) -> Vec<String> {
    let mut lines = some(random, 30, 3, input_rule);
    lines.extend(some(random, 15, 2, |random| destination_rule(random, "OUTPUT")));
    lines
}

fn input_rule(random: &mut impl Rng) -> String {
    let sources = chance(random, 50);
    let (text, protocol) = translated(random, sources);
    let address = one(random, &["192.168.1.11", "10.10.0.5", "198.51.100.8"]);
    let target = match random.random_range(0..6) {
        0 => "ACCEPT".into(),
        1 if !protocol.is_empty() => format!("SNAT --to-source {address}:40000-40050"),
        2 => format!("SNAT --to-source {address} --random"),
        _ => format!("SNAT --to-source {address}"),
    };
    format!("iptables -t nat -A INPUT{text} -j {target}")
}

/// The matches of a rule in the table nat about sources or destinations, and its protocol where it is one with ports.
pub fn translated(random: &mut impl Rng, sources: bool) -> (String, &'static str) {
    let (addresses, option) = if sources { (SOURCES, "-s") } else { (DESTINATIONS, "-d") };
    let mut text = String::new();
    if chance(random, 40) {
        text += &format!(" {option} {}", one(random, addresses));
    }
    let protocol = one(random, &["", "tcp", "udp"]);
    if !protocol.is_empty() {
        text += &format!(" -p {protocol}");
        if chance(random, 60) {
            text += &format!(" --dport {}", one(random, PORTS));
        }
    }
    (text, protocol)
}

/// The matches of a rule in the table raw, mangle or filter, and its protocol.
pub fn matches(random: &mut impl Rng, chain: &str) -> (String, &'static str) {
    let mut text = String::new();
    let not = |random: &mut _| if chance(random, 15) { "! " } else { "" };
    if chance(random, 30) {
        text += &address(not(random), "-s", one(random, SOURCES));
    }
    if chance(random, 30) {
        text += &address(not(random), "-d", one(random, DESTINATIONS));
    }
    if chance(random, 35) && !matches!(chain, "OUTPUT" | "POSTROUTING") {
        text += &format!(" {}-i {}", not(random), one(random, INTERFACES));
    }
    if chance(random, 35) && !matches!(chain, "INPUT" | "PREROUTING") {
        text += &format!(" {}-o {}", not(random), one(random, INTERFACES));
    }
    let protocol = one(random, &["", "", "tcp", "tcp", "udp", "icmp", "47", "! tcp", "! icmp"]);
    if let Some(negated) = protocol.strip_prefix("! ") {
        text += &format!(" ! -p {negated}");
    } else if !protocol.is_empty() {
        text += &format!(" -p {protocol}");
        text += &transport(random, protocol);
    }
    if chance(random, 35) {
        text += &format!(" -m conntrack {}--ctstate {}", not(random), one(random, STATES));
    } else if chance(random, 10) {
        text += &format!(" -m state --state {}", one(random, &["NEW", "ESTABLISHED,RELATED", "INVALID"]));
    }
    match random.random_range(0..50) {
        0 => text += " -m comment --comment \"a rule\"",
        1 if matches!(chain, "INPUT" | "FORWARD") => text += " -m mac --mac-source 02:00:00:00:00:0a",
        2 => text += " -m limit --limit 1/hour --limit-burst 2",
        3 => text += " -m conntrack --ctdir ORIGINAL",
        4 => text += " -m conntrack --ctorigdst 203.0.113.2",
        5 | 6 => {
            text +=
                &format!(" -m mark {}--mark {}", not(random), one(random, &["0x1", "0x10/0x10", "0x2/0x3"]))
        }
        7 | 8 => {
            text += &format!(" -m connmark {}--mark {}", not(random), one(random, &["0x1", "0x100/0xff00"]))
        }
        9..19 => text += &format!(" -m {}", one(random, LOOKS)),
        19..23 => text += &sets::question(random),
        23 => text += " -m statistic --mode nth --every 2 --packet 1",
        24 if matches!(chain, "PREROUTING" | "INPUT") => {
            text += " -m addrtype --dst-type LOCAL --limit-iface-in"
        }
        _ => {}
    }
    (text, protocol)
}

/// Not everything is not a thing that iptables takes.
fn address(not: &str, option: &str, address: &str) -> String {
    let not = if address == "0.0.0.0/0" { "" } else { not };
    format!(" {not}{option} {address}")
}

fn transport(random: &mut impl Rng, protocol: &str) -> String {
    let not = if chance(random, 15) { "! " } else { "" };
    let port = one(random, PORTS);
    match (protocol, random.random_range(0..10)) {
        ("tcp" | "udp", 0..4) => format!(" {not}--dport {port}"),
        ("tcp" | "udp", 4) => format!(" {not}--sport {port}"),
        ("tcp" | "udp", 5) => {
            let which = one(random, &["--dports", "--sports", "--ports"]);
            let ports = one(random, &["80,443", "53,5000:6000", "1:1023,8080"]);
            format!(" -m multiport {not}{which} {ports}")
        }
        ("tcp", 6..8) => format!(" {}", one(random, FLAGS)),
        ("icmp", 0..6) => format!(" {not}--icmp-type {}", one(random, ICMP_TYPES)),
        _ => String::new(),
    }
}
