//! What makes a rule impossible: its table, its chain, its protocol, a loop (iptables(8), x_tables of Linux).

use super::{ChainId, Hook, LimitInterface, Match, MssLimit, RejectWith, Rule, Table, TableName, Target};
use crate::{
    config::ConfigError,
    headers::{
        protocol::{ICMP, TCP, UDP},
        tcp_flag::SYN,
    },
    sort::sort,
};
use alloc::{format, string::String, vec, vec::Vec};

/// A set of hooks, one bit for each.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Hooks(u8);

impl Hooks {
    const NONE: Self = Self(0);

    fn of(hooks: &[Hook]) -> Self {
        Self(hooks.iter().fold(0, |set, &hook| set | 1 << hook as u8))
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// `PREROUTING/OUTPUT`
    fn names(self) -> String {
        use Hook::*;
        let all = [Prerouting, Input, Forward, Output, Postrouting];
        let names: Vec<_> =
            all.iter().filter(|&&hook| self.0 & 1 << hook as u8 != 0).map(|hook| hook.chain_name()).collect();
        names.join("/")
    }
}

impl Table {
    /// The most rules that a table holds.
    pub const MAX_RULES: usize = 16_384;
    /// The most chains that a table holds.
    pub const MAX_CHAINS: usize = 4_096;
    /// How many jumps may follow one another from a chain.
    pub const MAX_DEPTH: usize = 15;

    /// Whether these rules may be added to `chain`, after `gone` rules have been taken away.
    ///
    /// # Errors
    /// The first reason why not.
    pub(super) fn admit(&self, chain: ChainId, rules: &[Rule], gone: usize) -> Result<(), ConfigError> {
        self.admit_alone(rules, gone)?;
        let leads_on = rules.iter().any(|rule| rule.next_chain().is_some());
        if !leads_on && rules.iter().all(|rule| rule.bound_to_hooks().next().is_none()) {
            return Ok(());
        }
        let reach = self.reach(chain, rules)?;
        if leads_on {
            self.check_hooks(&reach)?;
        }
        rules.iter().try_for_each(|rule| rule.check_hooks(reach[usize::from(chain.0)]))
    }

    /// Whether the table has room for these rules, and each makes sense wherever it is.
    pub(super) fn admit_alone(&self, rules: &[Rule], gone: usize) -> Result<(), ConfigError> {
        let present: usize = self.chains.iter().map(|chain| chain.rules.len()).sum();
        if present + rules.len() - gone > Self::MAX_RULES {
            return Err(ConfigError::new(format!("Too many rules (a table holds {}).", Self::MAX_RULES)));
        }
        rules.iter().try_for_each(|rule| rule.check(self.name))
    }

    /// Whether every rule works where it is asked, and no chain leads back to itself.
    pub(crate) fn verify(&self) -> Result<(), ConfigError> {
        self.check_hooks(&self.reach(ChainId(0), &[])?)
    }

    fn check_hooks(&self, reach: &[Hooks]) -> Result<(), ConfigError> {
        let chains = self.chains.iter().zip(reach);
        let mut rules = chains.flat_map(|(chain, &hooks)| chain.rules.iter().map(move |rule| (rule, hooks)));
        rules.try_for_each(|(rule, hooks)| rule.check_hooks(hooks))
    }

    /// The hooks that reach each chain once `rules` are in `chain` too.
    ///
    /// # Errors
    /// Where chains lead to each other more than [`Table::MAX_DEPTH`] deep, or in a circle.
    fn reach(&self, chain: ChainId, rules: &[Rule]) -> Result<Vec<Hooks>, ConfigError> {
        let mut reach: Vec<Hooks> = self
            .chains
            .iter()
            .map(|chain| chain.builtin.as_ref().map_or(Hooks::NONE, |builtin| Hooks::of(&[builtin.hook])))
            .collect();
        let mut ways: Vec<(ChainId, ChainId)> =
            rules.iter().filter_map(|rule| Some((chain, rule.next_chain()?))).collect();
        for (place, chain) in self.chains.iter().enumerate() {
            ways.extend(
                chain.rules.iter().filter_map(|rule| Some((ChainId(place as u16), rule.next_chain()?))),
            );
        }
        sort(&mut ways);
        ways.dedup();
        // Each round looks at least one chain further; a circle would have no end.
        let mut depth = vec![0; self.chains.len()];
        loop {
            let mut settled = true;
            for &(from, to) in &ways {
                let (from, to) = (usize::from(from.0), usize::from(to.0));
                if depth[to] <= depth[from] {
                    (depth[to], settled) = (depth[from] + 1, false);
                }
                if depth[to] > Self::MAX_DEPTH {
                    return Err(ConfigError::new("Too many links."));
                }
                let hooks = Hooks(reach[to].0 | reach[from].0);
                if reach[to] != hooks {
                    (reach[to], settled) = (hooks, false);
                }
            }
            if settled {
                return Ok(reach);
            }
        }
    }
}

impl Rule {
    /// The most matches that one rule holds.
    pub const MAX_MATCHES: usize = 16;

    /// Whether the rule makes sense in this table, wherever in it.
    fn check(&self, table: TableName) -> Result<(), ConfigError> {
        let refuse = |text: String| Err(ConfigError(text));
        if self.matches.len() > Self::MAX_MATCHES {
            return refuse(format!("Too many matches (a rule holds {}).", Self::MAX_MATCHES));
        }
        for wanted in &self.matches {
            let (name, number) = match wanted {
                Match::Tcp { .. } => ("tcp", TCP),
                Match::Udp { .. } => ("udp", UDP),
                Match::Icmp(_) => ("icmp", ICMP),
                Match::Multiport { .. } if !matches!(self.only_protocol(), Some(TCP | UDP)) => {
                    return refuse(String::from("multiport needs `-p tcp' or `-p udp'"));
                }
                _ => continue,
            };
            if self.only_protocol() != Some(number) {
                return refuse(format!("{name} match: only valid for protocol {number}"));
            }
        }
        let Some(target) = &self.target else { return Ok(()) };
        let (home, ports) = match target {
            Target::Drop if table == TableName::Nat => {
                return Err(ConfigError::new(DROP_IN_NAT));
            }
            Target::TcpMss(_) => return self.check_mss(),
            Target::Reject(_) => (TableName::Filter, false),
            Target::NoTrack(_) => (TableName::Raw, false),
            Target::Ttl(_) | Target::Dscp(_) | Target::Tos(_) => (TableName::Mangle, false),
            Target::Masquerade { ports, .. } | Target::Redirect { ports, .. } => {
                (TableName::Nat, ports.is_some())
            }
            Target::Snat(to) | Target::Dnat(to) => (TableName::Nat, to.ports.is_some()),
            _ => return Ok(()),
        };
        if home != table {
            return refuse(format!("{} target: only valid in {home} table, not {table}", target.name()));
        }
        if ports && !matches!(self.only_protocol(), Some(TCP | UDP | ICMP)) {
            return refuse(String::from("Need TCP, UDP or ICMP with port specification"));
        }
        if *target == Target::Reject(RejectWith::TcpReset) && self.only_protocol() != Some(TCP) {
            return refuse(String::from("REJECT target: tcp-reset invalid for non-tcp"));
        }
        Ok(())
    }

    /// Only a SYN says what its sender's maximum segment size is (RFC 9293 3.7.1).
    fn check_mss(&self) -> Result<(), ConfigError> {
        let wants_syn = |wanted: &Match| matches!(wanted, Match::Tcp { flags: Some(flags), .. } if !flags.not && flags.value.1 & SYN != 0);
        if self.only_protocol() != Some(TCP) {
            return Err(ConfigError(format!("TCPMSS target: only valid for protocol {TCP}")));
        }
        if !self.matches.iter().any(wants_syn) {
            return Err(ConfigError::new("TCPMSS target: only works on TCP SYN packets"));
        }
        Ok(())
    }

    /// The parts of the rule that work at certain hooks only.
    fn bound_to_hooks(&self) -> impl Iterator<Item = (&'static str, &'static str, Hooks)> {
        use Hook::*;
        let target = self.target.as_ref().and_then(|target| {
            let hooks: &[Hook] = match target {
                Target::Masquerade { .. } => &[Postrouting],
                Target::Snat(_) => &[Input, Postrouting],
                Target::Dnat(_) | Target::Redirect { .. } => &[Prerouting, Output],
                Target::TcpMss(MssLimit::PathMtu) => &[Forward, Output, Postrouting],
                _ => return None,
            };
            Some((target.name(), "target", Hooks::of(hooks)))
        });
        let matches = self.matches.iter().filter_map(|wanted| {
            let (name, hooks): (_, &[Hook]) = match wanted {
                Match::Mac(_) => ("mac", &[Prerouting, Input, Forward]),
                Match::AddressType(wish) => match wish.limit? {
                    LimitInterface::In => ("addrtype", &[Prerouting, Input, Forward]),
                    LimitInterface::Out => ("addrtype", &[Forward, Output, Postrouting]),
                },
                _ => return None,
            };
            Some((name, "match", Hooks::of(hooks)))
        });
        target.into_iter().chain(matches)
    }

    /// Whether the rule works wherever it is asked.
    fn check_hooks(&self, used: Hooks) -> Result<(), ConfigError> {
        match self.bound_to_hooks().find(|(_, _, allowed)| used.without(*allowed) != Hooks::NONE) {
            None => Ok(()),
            Some((name, kind, allowed)) => Err(ConfigError::new(format!(
                "{name} {kind}: used from hooks {}, but only usable from {}",
                used.names(),
                allowed.names()
            ))),
        }
    }
}

/// Why no packet is dropped in the nat table, which only the first packet of a flow meets.
pub(super) const DROP_IN_NAT: &str =
    "The \"nat\" table is not intended for filtering, the use of DROP is therefore inhibited.";
