//! Changes to a table. Each checks everything first and then changes all or nothing; iptables(8).

use super::{Builtin, Chain, ChainId, Counters, Policy, Rule, Table, TableName, Target, check::DROP_IN_NAT};
use crate::{
    config::{Change, ConfigError},
    sort::sort,
};
use alloc::{format, string::String, vec::Vec};
use core::iter;

/// What every change of rules makes stale.
const RULES: Change = Change { rules: true, ..Change::NONE };

const NO_CHAIN: &str = "No chain/target/match by that name.";
const NO_RULE: &str = "Bad rule (does a matching rule exist in that chain?).";

/// The names of targets, which no chain may have.
const TARGET_NAMES: [&str; 10] =
    ["ACCEPT", "DROP", "RETURN", "REJECT", "LOG", "MASQUERADE", "SNAT", "DNAT", "REDIRECT", "TCPMSS"];

impl Table {
    /// The longest name of a chain, in bytes.
    pub const MAX_CHAIN_NAME: usize = 28;

    fn existing(&self, name: &str) -> Result<ChainId, ConfigError> {
        self.find_chain(name).ok_or_else(|| ConfigError::new(NO_CHAIN))
    }

    fn existing_user_chain(&self, name: &str) -> Result<ChainId, ConfigError> {
        let id = self.existing(name)?;
        if self.chain(id).builtin.is_some() { Err(ConfigError::new(NO_CHAIN)) } else { Ok(id) }
    }

    fn rules_mut(&mut self, id: ChainId) -> &mut Vec<Rule> {
        &mut self.chains[usize::from(id.0)].rules
    }

    /// `-A`: adds rules to the end of a chain.
    ///
    /// # Errors
    /// No such chain, or a rule that cannot work there.
    pub fn append(&mut self, chain: &str, rules: Vec<Rule>) -> Result<Change, ConfigError> {
        let id = self.existing(chain)?;
        self.admit(id, &rules, 0)?;
        self.rules_mut(id).extend(rules);
        Ok(RULES)
    }

    /// The same for a table that is being built: what depends on the ways between chains is left to
    /// [`Table::verify`], so that a long text does not cost the square of its length.
    ///
    /// # Errors
    /// No such chain, or a rule that cannot work in this table.
    pub(crate) fn append_unverified(&mut self, chain: &str, rules: Vec<Rule>) -> Result<(), ConfigError> {
        let id = self.existing(chain)?;
        self.admit_alone(&rules, 0)?;
        self.rules_mut(id).extend(rules);
        Ok(())
    }

    /// `-I`: puts rules before the rule of that number, one after the other, so that the last comes first.
    ///
    /// # Errors
    /// No such chain or place, or a rule that cannot work there.
    pub fn insert(&mut self, chain: &str, number: usize, rules: Vec<Rule>) -> Result<Change, ConfigError> {
        let id = self.existing(chain)?;
        let place = number.wrapping_sub(1);
        if place > self.chain(id).rules.len() {
            return Err(ConfigError::new("Index of insertion too big."));
        }
        self.admit(id, &rules, 0)?;
        self.rules_mut(id).splice(place..place, rules.into_iter().rev());
        Ok(RULES)
    }

    /// `-R`: replaces the rule of that number.
    ///
    /// # Errors
    /// No such chain or rule, or a rule that cannot work there.
    pub fn replace(&mut self, chain: &str, number: usize, rule: Rule) -> Result<Change, ConfigError> {
        let id = self.existing(chain)?;
        let place = number.wrapping_sub(1);
        if place >= self.chain(id).rules.len() {
            return Err(ConfigError::new("Index of replacement too big."));
        }
        self.admit(id, core::slice::from_ref(&rule), 1)?;
        self.rules_mut(id)[place] = rule;
        Ok(RULES)
    }

    /// `-D`: deletes the first rule that equals each of these.
    ///
    /// # Errors
    /// No such chain, or no such rule; then none is deleted.
    pub fn delete(&mut self, chain: &str, rules: &[Rule]) -> Result<Change, ConfigError> {
        let id = self.existing(chain)?;
        let mut doomed: Vec<usize> = Vec::new();
        for rule in rules {
            let mut present = self.chain(id).rules.iter().enumerate();
            let found = present.find(|(place, it)| *it == rule && !doomed.contains(place));
            doomed.push(found.ok_or_else(|| ConfigError::new(NO_RULE))?.0);
        }
        sort(&mut doomed);
        for place in doomed.into_iter().rev() {
            self.rules_mut(id).remove(place);
        }
        Ok(RULES)
    }

    /// `-D` with a number.
    ///
    /// # Errors
    /// No such chain or rule.
    pub fn delete_number(&mut self, chain: &str, number: usize) -> Result<Change, ConfigError> {
        let id = self.existing(chain)?;
        let place = number.wrapping_sub(1);
        if place >= self.chain(id).rules.len() {
            return Err(ConfigError::new("Index of deletion too big."));
        }
        self.rules_mut(id).remove(place);
        Ok(RULES)
    }

    /// `-C`: whether all of these rules are in the chain.
    ///
    /// # Errors
    /// No such chain, or no such rule.
    pub fn check(&self, chain: &str, rules: &[Rule]) -> Result<(), ConfigError> {
        let present = &self.chain(self.existing(chain)?).rules;
        if rules.iter().all(|rule| present.contains(rule)) { Ok(()) } else { Err(ConfigError::new(NO_RULE)) }
    }

    /// `-F`: deletes every rule of a chain, or of all chains.
    ///
    /// # Errors
    /// No such chain.
    pub fn flush(&mut self, chain: Option<&str>) -> Result<Change, ConfigError> {
        match chain {
            Some(name) => {
                let id = self.existing(name)?;
                self.rules_mut(id).clear();
            }
            None => self.chains.iter_mut().for_each(|chain| chain.rules.clear()),
        }
        Ok(RULES)
    }

    /// `-N`: creates a user chain.
    ///
    /// # Errors
    /// A name that is taken or that no chain may have.
    pub fn create_chain(&mut self, name: &str) -> Result<Change, ConfigError> {
        check_chain_name(name).map_err(ConfigError)?;
        if self.find_chain(name).is_some() {
            return Err(ConfigError::new("Chain already exists."));
        }
        if self.chains.len() >= Self::MAX_CHAINS {
            return Err(ConfigError::new(format!("Too many chains (a table holds {}).", Self::MAX_CHAINS)));
        }
        self.chains.push(Chain { name: String::from(name), builtin: None, rules: Vec::new() });
        Ok(RULES)
    }

    /// `-X`: deletes a user chain, or all of them. They must be empty, and no rule may lead to them.
    ///
    /// # Errors
    /// No such chain, or one that is not empty or is in use; then none is deleted.
    pub fn delete_chain(&mut self, name: Option<&str>) -> Result<Change, ConfigError> {
        let doomed: Vec<ChainId> = match name {
            Some(name) => iter::once(self.existing_user_chain(name)?).collect(),
            None => self.user_chains().collect(),
        };
        for &id in &doomed {
            if self.references(id) > 0 {
                return Err(ConfigError::new("Too many links."));
            }
            if !self.chain(id).rules.is_empty() {
                return Err(ConfigError::new("Directory not empty."));
            }
        }
        for gone in doomed.into_iter().rev() {
            self.chains.remove(usize::from(gone.0));
            for rule in self.chains.iter_mut().flat_map(|chain| &mut chain.rules) {
                if let Some(Target::Jump(next) | Target::Goto(next)) = &mut rule.target
                    && *next > gone
                {
                    next.0 -= 1;
                }
            }
        }
        Ok(RULES)
    }

    fn user_chains(&self) -> impl Iterator<Item = ChainId> {
        let places = self.chains.iter().enumerate().filter(|(_, chain)| chain.builtin.is_none());
        places.map(|(place, _)| ChainId(place as u16))
    }

    /// `-E`: renames a user chain.
    ///
    /// # Errors
    /// No such chain, or a name that is taken or that no chain may have.
    pub fn rename_chain(&mut self, from: &str, to: &str) -> Result<Change, ConfigError> {
        let id = self.existing_user_chain(from)?;
        check_chain_name(to).map_err(ConfigError)?;
        if self.find_chain(to).is_some() {
            return Err(ConfigError::new("File exists."));
        }
        self.chains[usize::from(id.0)].name = String::from(to);
        Ok(RULES)
    }

    /// `-P`: sets the policy of a built-in chain, and its counters: to zero, as on Linux, where none are given.
    ///
    /// # Errors
    /// No such built-in chain, no such policy, or DROP in the nat table.
    pub fn set_policy(
        &mut self,
        chain: &str,
        policy: &str,
        counters: Option<(u64, u64)>,
    ) -> Result<Change, ConfigError> {
        let builtin = self.chains.iter_mut().find(|it| it.name == chain).and_then(|it| it.builtin.as_mut());
        let builtin: &mut Builtin = builtin.ok_or_else(|| ConfigError::new("Bad built-in chain name."))?;
        let policy = match policy {
            "ACCEPT" => Policy::Accept,
            "DROP" if self.name == TableName::Nat => return Err(ConfigError::new(DROP_IN_NAT)),
            "DROP" => Policy::Drop,
            _ => return Err(ConfigError::new(format!("Bad policy name `{policy}'."))),
        };
        builtin.policy = policy;
        let (packets, bytes) = counters.unwrap_or_default();
        builtin.counters = Counters::new(packets, bytes);
        Ok(RULES)
    }

    /// `-Z`: sets counters to zero: of all chains, of one, or of one rule of it.
    ///
    /// # Errors
    /// No such chain or rule.
    pub fn zero(&self, chain: Option<&str>, number: Option<usize>) -> Result<(), ConfigError> {
        let chains = match chain {
            Some(name) => core::slice::from_ref(self.chain(self.existing(name)?)),
            None => &self.chains,
        };
        if let (Some(number), [chain]) = (number, chains) {
            let rule = chain.rules.get(number.wrapping_sub(1));
            rule.ok_or_else(|| ConfigError::new("Index of counter too big."))?.counters.reset();
            return Ok(());
        }
        for chain in chains {
            chain.builtin.iter().for_each(|builtin| builtin.counters.reset());
            chain.rules.iter().for_each(|rule| rule.counters.reset());
        }
        Ok(())
    }
}

/// Whether a chain may be called so; if not, the reason.
pub(crate) fn check_chain_name(name: &str) -> Result<(), String> {
    if let Some(first @ ('-' | '!')) = name.chars().next() {
        return Err(format!("chain name not allowed to start with `{first}'"));
    }
    if name.len() > Table::MAX_CHAIN_NAME {
        let limit = Table::MAX_CHAIN_NAME + 1;
        return Err(format!("chain name `{name}' too long (must be under {limit} chars)"));
    }
    if TARGET_NAMES.contains(&name) {
        return Err(String::from("chain name may not clash with target name"));
    }
    // Such a name could not be written in a command again.
    let awkward = |letter: char| letter.is_whitespace() || letter.is_control() || "\"'\\;#".contains(letter);
    if name.is_empty() || name.contains(awkward) {
        return Err(format!("Invalid chain name `{name}'"));
    }
    Ok(())
}
