//! Compares what was counted: every rule and policy, as `iptables-save -c` prints them.

use crate::sides::Side;

const SAVE: &str = "iptables-save -c -t filter; iptables-save -c -t nat; iptables-save -c -t mangle; iptables-save -c -t raw";
/// The rule by which Linux tracks connections at all.
const TRACKING: &str = "always-tracked";

/// The first line in which the two listings differ. Those of policies are left out where the rules came without them:
/// a chain that Linux makes by itself does not count. Nor are those of mangle and raw: without rules their chains count nothing
/// here.
pub fn disagreement(linux: &mut dyn Side, rutter: &mut dyn Side, policies: bool) -> Option<String> {
    let (mut expected, mut seen) = (lines(&linux.print(SAVE)), lines(&rutter.print(SAVE)));
    for listing in [&mut expected, &mut seen] {
        listing.retain(|line| policies && line.counts_its_policies() || line.text.starts_with("-A"));
        listing.retain(|line| !line.text.contains(TRACKING));
    }
    let differs = |at: &usize| expected.get(*at) != seen.get(*at);
    let at = (0..expected.len().max(seen.len())).find(differs)?;
    Some(format!("counters:\n  linux  {:?}\n  rutter {:?}", expected.get(at), seen.get(at)))
}

/// A rule, or the policy of a chain.
#[derive(PartialEq, Eq, Debug)]
struct Line {
    table: String,
    text: String,
    packets: u64,
    bytes: u64,
}

impl Line {
    fn counts_its_policies(&self) -> bool {
        matches!(self.table.as_str(), "filter" | "nat")
    }
}

fn lines(listing: &str) -> Vec<Line> {
    let mut table = String::new();
    let mut lines = Vec::new();
    for line in listing.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name.to_string();
        }
        if let Some((text, packets, bytes)) = split(line) {
            lines.push(Line { table: table.clone(), text, packets, bytes });
        }
    }
    lines.sort_by(|a, b| (&a.table, a.text.starts_with('-')).cmp(&(&b.table, b.text.starts_with('-'))));
    lines
}

/// Takes `[PACKETS:BYTES]` out of a line.
fn split(line: &str) -> Option<(String, u64, u64)> {
    let (before, rest) = line.split_once('[')?;
    let (numbers, after) = rest.split_once(']')?;
    let (packets, bytes) = numbers.split_once(':')?;
    Some((format!("{}{}", before.trim(), after.trim()), packets.parse().ok()?, bytes.parse().ok()?))
}
