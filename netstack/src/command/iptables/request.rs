//! What an `iptables` command asks for, and doing it.

use super::{Failure, refused};
use crate::config::{
    Change, ConfigError,
    rules::{Rule, TableName, Tables},
};
use alloc::{string::String, vec::Vec};

/// A command that was understood, for the tables that it was parsed with.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// `-t`
    pub table: TableName,
    /// What to do.
    pub verb: Verb,
}

/// What to do.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Verb {
    Append { chain: String, rules: Vec<Rule> },
    Insert { chain: String, number: usize, rules: Vec<Rule> },
    Replace { chain: String, number: usize, rule: Rule },
    Delete { chain: String, rules: Vec<Rule> },
    DeleteNumber { chain: String, number: usize },
    Check { chain: String, rules: Vec<Rule> },
    Flush { chain: Option<String> },
    CreateChain { name: String },
    DeleteChain { name: Option<String> },
    RenameChain { from: String, to: String },
    SetPolicy { chain: String, policy: String, counters: Option<(u64, u64)> },
    List(View),
    Zero { chain: Option<String>, number: Option<usize> },
    Version,
}

/// `-L` and `-S`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct View {
    /// Only this chain.
    pub chain: Option<String>,
    /// Only this rule of it, from 1.
    pub number: Option<usize>,
    /// `-S`: as commands.
    pub as_commands: bool,
    /// `-Z` too: the counters are set to zero afterwards.
    pub zero: bool,
    /// `-v`
    pub verbose: bool,
    /// `-n`
    pub numeric: bool,
    /// `-x`
    pub exact: bool,
    /// `--line-numbers`
    pub line_numbers: bool,
}

impl Request {
    /// Does it. What only prints changes nothing, except for `-L -Z`, which is to be applied after the listing.
    ///
    /// # Errors
    /// In the wording of iptables; then nothing has changed.
    pub fn apply(self, tables: &mut Tables) -> Result<Change, Failure> {
        self.execute(tables).map_err(|reason| refused(&reason))
    }

    /// The same with the bare reason as the error.
    pub(super) fn execute(self, tables: &mut Tables) -> Result<Change, ConfigError> {
        let table = tables.get_mut(self.table);
        match self.verb {
            Verb::Append { chain, rules } => table.append(&chain, rules),
            Verb::Insert { chain, number, rules } => table.insert(&chain, number, rules),
            Verb::Replace { chain, number, rule } => table.replace(&chain, number, rule),
            Verb::Delete { chain, rules } => table.delete(&chain, &rules),
            Verb::DeleteNumber { chain, number } => table.delete_number(&chain, number),
            Verb::Check { chain, rules } => table.check(&chain, &rules).map(|()| Change::NONE),
            Verb::Flush { chain } => table.flush(chain.as_deref()),
            Verb::CreateChain { name } => table.create_chain(&name),
            Verb::DeleteChain { name } => table.delete_chain(name.as_deref()),
            Verb::RenameChain { from, to } => table.rename_chain(&from, &to),
            Verb::SetPolicy { chain, policy, counters } => table.set_policy(&chain, &policy, counters),
            Verb::List(View { zero: false, .. }) | Verb::Version => Ok(Change::NONE),
            Verb::List(View { chain, number, .. }) | Verb::Zero { chain, number } => {
                table.zero(chain.as_deref(), number).map(|()| Change::NONE)
            }
        }
    }
}
