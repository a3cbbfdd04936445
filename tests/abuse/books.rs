//! What the router's counters say, all read at one moment; and whether every frame is accounted for.

use qemu::lab::Lab;
use serde_json::Value;
use std::collections::BTreeMap;

/// One line of the console, so that no frame passes between the counters.
const LINE: &str = "ip -s -j link; echo =; drops -j; echo =; iptables -nvxL INPUT; echo =; \
                    iptables -nvxL OUTPUT; echo =; conntrack -C; echo =; free";
/// Dropped by the router's own sockets: INPUT has let them through.
const BEHIND_INPUT: [&str; 4] = ["no-listener", "transport-checksum", "host-queue-full", "echo-ignored"];

/// The books.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Frames that came in and went out, over all cards.
    received: u64,
    sent: u64,
    /// Packets that INPUT let through, and those made here that OUTPUT did.
    delivered: u64,
    made: u64,
    /// Frames dropped, by reason.
    pub drops: BTreeMap<String, u64>,
    /// What the router holds on to.
    pub flows: u64,
    pub frames: u64,
    pub memory_kib: u64,
}

impl Books {
    pub fn read(lab: &mut Lab) -> Self {
        let said = lab.command(LINE).expect("the console answers").text;
        let parts: Vec<&str> = said.split("=\n").collect();
        let [links, drops, input, output, flows, free] = parts[..] else { panic!("{said}") };
        let links: Value = serde_json::from_str(links).expect("ip speaks JSON");
        let cards = links.as_array().into_iter().flatten().filter(|link| link["ifname"] != "lo");
        let mut books = Self::default();
        for card in cards {
            let counter = |way: &str, name: &str| {
                card["stats64"][way][name].as_u64().unwrap_or_else(|| panic!("no {way} {name} in {card}"))
            };
            books.received += counter("rx", "packets");
            // What a card had no room for was handed to it, and dropped.
            books.sent += counter("tx", "packets") - counter("tx", "dropped");
        }
        let drops: Value = serde_json::from_str(drops).expect("drops speaks JSON");
        for drop in drops.as_array().into_iter().flatten() {
            let reason = drop["reason"].as_str().expect("a reason").to_owned();
            books.drops.insert(reason, drop["packets"].as_u64().expect("a number"));
        }
        let rules = input.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let accepting = rules.filter(|words| words.get(2) == Some(&"ACCEPT"));
        books.delivered = accepting.map(|words| number(words[0])).sum();
        let policy = output.split_once("policy ACCEPT ").and_then(|(_, rest)| rest.split_once(" packets"));
        books.made = number(policy.unwrap_or_else(|| panic!("{output}")).0);
        books.flows = number(flows);
        let used = |row| {
            let line = free.lines().find(|line| line.starts_with(row)).unwrap_or_else(|| panic!("{free}"));
            number(line.split_whitespace().nth(2).unwrap_or_default())
        };
        (books.memory_kib, books.frames) = (used("Mem:"), used("Frames:"));
        books
    }

    /// Frames dropped for one of these reasons.
    pub fn dropped(&self, reasons: &[&str]) -> u64 {
        reasons.iter().filter_map(|reason| self.drops.get(*reason)).sum()
    }

    /// What came in or was made here, and what went out, was dropped, or was for the router itself.
    pub fn sides(&self) -> (u64, u64) {
        let all: u64 = self.drops.values().sum();
        let kept = self.delivered - self.dropped(&BEHIND_INPUT);
        (self.received + self.made, self.sent + all + kept)
    }

    /// The reasons whose counters rose since, and by how much.
    pub fn rose_since(&self, before: &Self) -> BTreeMap<&str, u64> {
        let rise = |(reason, count): (&'_ String, &u64)| count - before.drops.get(reason).unwrap_or(&0);
        let all = self.drops.iter().map(|entry| (entry.0.as_str(), rise(entry)));
        all.filter(|(_, rise)| *rise > 0).collect()
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or_else(|_| panic!("no number: {text:?}"))
}
