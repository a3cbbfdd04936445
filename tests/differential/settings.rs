//! Random settings that change what becomes of packets: how sources are checked, and how TCP connections are tracked.

use crate::rules::{chance, one, some};
use rand::Rng;

const WHO: &[&str] = &["all", "eth0", "eth1", "eth2"];
/// Off and strict are what networks have; 2 is loose, and goes before both.
const MODES: &[&str] = &["1", "2", "2"];
/// What tracking may be told that is not so by itself.
const TRACKING: &[&str] = &["tcp_loose=0", "tcp_be_liberal=1", "tcp_ignore_invalid_rst=1"];

/// Lines of `sysctl`.
pub fn lines(random: &mut impl Rng) -> Vec<String> {
    let mut lines = some(random, 30, 2, reverse_path);
    let chosen = TRACKING.iter().filter(|_| chance(random, 15));
    lines.extend(chosen.map(|setting| format!("sysctl -w net.netfilter.nf_conntrack_{setting}")));
    lines
}

fn reverse_path(random: &mut impl Rng) -> String {
    format!("sysctl -w net.ipv4.conf.{}.rp_filter={}", one(random, WHO), one(random, MODES))
}
