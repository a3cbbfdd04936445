//! Random settings that change what becomes of packets: how sources are checked, and how TCP connections are tracked.

use crate::rules::{chance, one, some};
use rand::Rng;

const WHO: &[&str] = &["all", "eth0", "eth1", "eth2"];
/// Off and strict are what networks have; 2 is loose, and goes before both.
const MODES: &[&str] = &["1", "2", "2"];

/// Lines of `sysctl`.
pub fn lines(random: &mut impl Rng) -> Vec<String> {
    some(random, 30, 2, reverse_path)
}

fn reverse_path(random: &mut impl Rng) -> String {
    format!("sysctl -w net.ipv4.conf.{}.rp_filter={}", one(random, WHO), one(random, MODES))
}
