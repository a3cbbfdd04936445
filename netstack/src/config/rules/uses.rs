//! What the plane wants to know of all rules at once.

use super::{
    Hook, Limiting, Match, MultiportSide, Policy, PortRange, Rule, Table, TableName, Tables, Target,
};
use crate::sort::sort;
use alloc::{format, string::String, vec::Vec};

/// Where the tables have something to say: the hooks at which they would not let everything pass uncounted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct BusyHooks(u32);

impl BusyHooks {
    /// Whether a table has something to say at a hook.
    #[inline]
    pub fn contains(self, table: TableName, hook: Hook) -> bool {
        self.0 & Self::bit(table, hook) != 0
    }

    fn bit(table: TableName, hook: Hook) -> u32 {
        1 << (8 * table as u32 + hook as u32)
    }
}

impl Tables {
    /// The hooks at which a table has rules, or a policy that drops.
    pub fn busy_hooks(&self) -> BusyHooks {
        let chains = |table| {
            self.get(table)
                .chains
                .iter()
                .filter_map(move |chain| Some((table, chain, chain.builtin.as_ref()?)))
        };
        let busy = TableName::ALL.into_iter().flat_map(chains);
        let busy =
            busy.filter(|(_, chain, builtin)| !chain.rules.is_empty() || builtin.policy == Policy::Drop);
        BusyHooks(busy.fold(0, |bits, (table, _, builtin)| bits | BusyHooks::bit(table, builtin.hook)))
    }

    /// The ports that port-forwards claim, with their protocol; no translation may hand these out (requirement 31).
    pub fn reserved_ports(&self) -> impl Iterator<Item = (u8, PortRange)> {
        rules(&self.nat)
            .filter(|rule| matches!(rule.target, Some(Target::Dnat(_) | Target::Redirect { .. })))
            .filter_map(|rule| Some((rule.only_protocol()?, rule)))
            .flat_map(|(number, rule)| {
                rule.matches.iter().flat_map(claimed_ports).map(move |range| (number, range))
            })
    }

    /// How many rules ask the set of that name.
    pub fn set_references(&self, name: &str) -> usize {
        let matches = self.iter().flat_map(rules).flat_map(|rule| &rule.matches);
        matches.filter(|it| matches!(it, Match::Set(wish) if wish.value.name == name)).count()
    }

    /// Every match that remembers, in the order of the rules.
    pub fn limiting(&self) -> impl Iterator<Item = &Limiting> {
        self.iter().flat_map(rules).flat_map(|rule| &rule.matches).filter_map(|it| match it {
            Match::Limiting(limiting) => Some(limiting),
            _ => None,
        })
    }

    /// The names of the tables of `hashlimit`, each once.
    pub fn hash_limits(&self) -> Vec<&str> {
        names(self.limiting().filter(|it| matches!(it, Limiting::Packets(_))))
    }

    /// The names of the lists of `recent`, each once.
    pub fn recent_lists(&self) -> Vec<&str> {
        names(self.limiting().filter(|it| matches!(it, Limiting::Recent(_))))
    }

    /// Numbers the rules that limit connections, and gives their words: as long as these are the same, a number means the
    /// same rule.
    pub fn number_connection_limits(&self) -> Vec<String> {
        let mut words = Vec::new();
        for table in self.iter() {
            for (chain, rule) in
                table.chains.iter().flat_map(|chain| chain.rules.iter().map(move |it| (chain, it)))
            {
                for wanted in &rule.matches {
                    if let Match::Limiting(Limiting::Connections(limit)) = wanted {
                        limit.number.set(words.len() as u32);
                        words.push(format!("{} {}{}", table.name, chain.name, table.text(rule)));
                    }
                }
            }
        }
        words
    }

    /// Whether any rule translates or looks at the state of flows. Where none does, a packet may also pass without
    /// a flow.
    pub fn look_at_flows(&self) -> bool {
        let mut matches = self.iter().flat_map(rules).flat_map(|rule| &rule.matches);
        rules(&self.nat).next().is_some()
            || matches.any(|it| {
                let counted = matches!(it, Match::Limiting(Limiting::Connections(_)));
                counted || matches!(it, Match::Conntrack(_) | Match::ConnMark(_))
            })
    }
}

fn names<'a>(limiting: impl Iterator<Item = &'a Limiting>) -> Vec<&'a str> {
    let mut names: Vec<&str> = limiting.filter_map(Limiting::name).collect();
    sort(&mut names);
    names.dedup();
    names
}

fn rules(table: &Table) -> impl Iterator<Item = &Rule> {
    table.chains.iter().flat_map(|chain| &chain.rules)
}

/// The destination ports that a match names.
fn claimed_ports(it: &Match) -> impl Iterator<Item = PortRange> {
    let single = match it {
        Match::Tcp { destination, .. } | Match::Udp { destination, .. } => {
            destination.filter(|ports| !ports.not).map(|ports| ports.value)
        }
        _ => None,
    };
    let several = match it {
        Match::Multiport { which: MultiportSide::Destination, ports } if !ports.not => ports.value.as_slice(),
        _ => &[],
    };
    single.into_iter().chain(several.iter().copied())
}
