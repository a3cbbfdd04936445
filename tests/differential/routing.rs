//! Random routing rules and tables.
//!
//! Errors about routes are told to nobody but strangers: Linux limits them for each sender, whatever sysctl says. Where a
//! route has several ways they all lead to one station, because Linux's hash is not rutter's.

use crate::rules::{chance, one, some};
use rand::{Rng, RngExt};

const SELECTORS: &[&str] = &[
    "from 192.168.1.0/24",
    "from 192.168.1.10",
    "not from 192.168.1.10",
    "from 198.51.100.0/24",
    "from 203.0.113.2",
    "from 192.168.1.1",
    "to 198.51.100.7",
    "to 198.51.100.0/24",
    "not to 198.51.100.0/24",
    "to 192.168.1.0/24",
    "to 10.10.0.5",
    "iif eth0",
    "iif eth1",
    "iif eth2",
    "iif lo",
    "not iif eth0",
    "fwmark 0x1",
    "fwmark 0x2/0x3",
    "not fwmark 0x1",
    "fwmark 0x1 iif eth0",
    "from 192.168.1.0/24 to 198.51.100.7 iif eth0",
    "from all",
];
const ACTIONS: &[&str] = &[
    "table 100",
    "table 100",
    "table 101",
    "table 101",
    "table 102",
    "lookup main suppress_prefixlength 0",
    "lookup main",
    "blackhole",
];
/// Who asks for a place that cannot be reached is a stranger.
const REFUSALS: &[&str] = &["to 192.0.2.0/25 unreachable", "to 100.64.0.0/10 prohibit"];
const ROUTES: &[&str] = &[
    "default via 203.0.113.1",
    "default via 203.0.113.1 mtu 1300",
    "default via 10.10.0.5",
    "default via 10.10.0.5",
    "198.51.100.0/24 via 192.168.1.11",
    "198.51.100.8/32 via 10.10.0.5 mtu 1280",
    "198.51.100.7/32 via 203.0.113.1 advmss 1000",
    "unreachable 192.0.2.0/24",
    "throw 198.51.100.0/25",
    "blackhole 198.51.100.8/32",
    "192.168.1.0/24 dev eth0",
    "default nexthop via 203.0.113.1 weight 1 nexthop via 203.0.113.9 weight 3",
    "198.51.100.0/24 nexthop via 203.0.113.9 dev eth1 nexthop via 203.0.113.1 dev eth1",
];
/// Routes beside those that a network has already.
const MAIN_ROUTES: &[&str] = &[
    "198.51.100.8/32 via 203.0.113.1 mtu 1300",
    "198.51.100.7/32 via 10.10.0.5",
    "198.51.100.0/29 nexthop via 203.0.113.1 nexthop via 203.0.113.9 weight 5",
];

/// Lines for `ip rule` and `ip route`.
pub fn rule_set(random: &mut impl Rng) -> Vec<String> {
    let mut lines = some(random, 15, 1, |random| format!("ip route add {}", one(random, MAIN_ROUTES)));
    if chance(random, 70) {
        return lines;
    }
    for table in [100, 101, 102] {
        let mut routes: Vec<&'static str> = Vec::new();
        for _ in 0..random.random_range(0..4) {
            let route = one(random, ROUTES);
            let prefix =
                |route: &'static str| route.split(' ').find(|word| word.contains('/') || *word == "default");
            if routes.iter().all(|other| prefix(other) != prefix(route)) {
                routes.push(route);
            }
        }
        lines.extend(routes.iter().map(|route| format!("ip route add table {table} {route}")));
    }
    for number in 1..random.random_range(2..5) {
        let rule = match random.random_range(0..8) {
            0 => one(random, REFUSALS).into(),
            _ => format!("{} {}", one(random, SELECTORS), one(random, ACTIONS)),
        };
        // The last one comes before all others.
        let priority = if chance(random, 80) { format!(" priority {}", number * 100) } else { String::new() };
        lines.push(format!("ip rule add {rule}{priority}"));
    }
    lines
}
