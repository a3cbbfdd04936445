//! Compares the flows that are tracked in the end, as `conntrack -L` lists them.

use crate::{sides::Side, traffic};

/// What stands in the original tuple, and in the reply tuple of a flow that is not translated.
const MIRROR: [(&str, &str); 5] =
    [("src=", "dst="), ("dst=", "src="), ("sport=", "dport="), ("dport=", "sport="), ("id=", "id=")];

/// The first flow that is not listed by both.
pub fn disagreement(linux: &mut dyn Side, rutter: &mut dyn Side) -> Option<String> {
    // How many there are is said by Linux to standard error, and by rutter behind the list.
    let (expected, seen) =
        (flows(&linux.print("conntrack -L 2>/dev/null")), flows(&rutter.print("conntrack -L")));
    let differs = |at: &usize| expected.get(*at) != seen.get(*at);
    let at = (0..expected.len().max(seen.len())).find(differs)?;
    Some(format!("flows:\n  linux  {:?}\n  rutter {:?}", expected.get(at), seen.get(at)))
}

/// The flows of a listing. A connection that was reset is left out: Linux forgets it at once where nothing but the reset
/// had answered.
fn flows(listing: &str) -> Vec<String> {
    let lines = listing.lines().filter(|line| !line.starts_with("conntrack v") && !line.contains(" CLOSE "));
    let mut flows: Vec<String> = lines.map(flow).collect();
    flows.sort();
    flows
}

/// A line without what neither owes the other: how long the flow lives, and the port that a translation picked. Linux
/// assures a flow of UDP only after two seconds.
fn flow(line: &str) -> String {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    words.remove(2);
    let udp = words[0] == "udp";
    words.retain(|word| !word.starts_with("use="));
    words.retain(|word| !udp || *word != "[ASSURED]");

    let value = |name: &str, nth| words.iter().filter_map(|word| word.strip_prefix(name)).nth(nth);
    let translated = MIRROR.iter().any(|(name, other)| value(name, 0) != value(other, 1));
    let reply = words.iter().rposition(|word| word.starts_with("src=")).expect("a reply tuple");
    let is_port = |word: &str| ["sport=", "dport=", "id="].iter().any(|name| word.starts_with(name));
    let kept = words.iter().enumerate().filter(|(at, word)| !(translated && *at > reply && is_port(word)));
    // To a port that a translation picked somebody may begin a flow of another protocol.
    let said = |word: &str| match word.split_once('=') {
        Some((name, value)) if is_port(word) && !value.parse().is_ok_and(traffic::is_said) => {
            format!("{name}=*")
        }
        _ => word.to_string(),
    };
    kept.map(|(_, word)| said(word)).collect::<Vec<_>>().join(" ")
}
