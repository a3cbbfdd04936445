//! `iptables -L` and `-S`, line by line; iptables(8).
//!
//! A table may hold thousands of rules, so a listing is a cursor that writes one line at a time.

use super::{Failure, LineSource, refused, request::View, row::Row};
use crate::{
    config::{
        ConfigError,
        rules::{Chain, ChainId, Rule, Table, TableName, Tables},
    },
    sort::sort_by,
};
use alloc::{string::String, vec::Vec};
use core::fmt::{self, Write};

/// A listing on its way. It borrows nothing: where rules change meanwhile, it goes on with what is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    table: TableName,
    view: View,
    chains: Vec<ChainId>,
    /// The place in `chains`.
    at: usize,
    step: Step,
}

/// What the next line of a chain is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// `-P`, `-N` or `Chain ..`
    Head,
    /// The names of the columns.
    Columns,
    /// A rule, by its place.
    Rule(usize),
}

impl Listing {
    pub(super) fn new(name: TableName, view: View, tables: &Tables) -> Result<Self, Failure> {
        let table = tables.get(name);
        let chains = match &view.chain {
            None => chains_in_order(table),
            Some(name) => {
                let found = table.find_chain(name);
                let id =
                    found.ok_or_else(|| refused(&ConfigError::new("No chain/target/match by that name.")))?;
                Vec::from([id])
            }
        };
        let step = view.number.map_or(Step::Head, |number| Step::Rule(number.wrapping_sub(1)));
        Ok(Self { table: name, view, chains, at: 0, step })
    }

    /// `-P INPUT ACCEPT` or `-N LAN`.
    fn declare(&self, chain: &Chain, out: &mut String) -> fmt::Result {
        let Some(builtin) = &chain.builtin else { return writeln!(out, "-N {}", chain.name) };
        write!(out, "-P {} {}", chain.name, builtin.policy.name())?;
        if self.view.verbose {
            let (packets, bytes) = builtin.counters.get();
            write!(out, " -c {packets} {bytes}")?;
        }
        writeln!(out)
    }

    /// `Chain INPUT (policy ACCEPT)` or `Chain LAN (2 references)`.
    fn head(&self, table: &Table, chain: &Chain, out: &mut String) -> fmt::Result {
        if self.at > 0 {
            writeln!(out)?;
        }
        write!(out, "Chain {} (", chain.name)?;
        match &chain.builtin {
            None => write!(out, "{} references", table.references(self.chains[self.at]))?,
            Some(builtin) => {
                write!(out, "policy {}", builtin.policy.name())?;
                if self.view.verbose {
                    let (packets, bytes) = builtin.counters.get();
                    let shown = |count| Count { count, exact: self.view.exact };
                    write!(out, " {} packets, {} bytes", shown(packets), shown(bytes))?;
                }
            }
        }
        writeln!(out, ")")
    }

    fn columns(&self, out: &mut String) {
        if self.view.line_numbers {
            out.push_str("num  ");
        }
        if self.view.verbose {
            out.push_str(if self.view.exact { "    pkts      bytes " } else { " pkts bytes " });
        }
        out.push_str("target     prot opt ");
        if self.view.verbose {
            out.push_str("in     out     ");
        }
        out.push_str("source               destination         \n");
    }

    fn rule(&self, table: &Table, chain: &Chain, place: usize, rule: &Rule, out: &mut String) -> fmt::Result {
        if self.view.as_commands {
            let text = table.text(rule);
            let text = if self.view.verbose { text.with_counters() } else { text };
            return writeln!(out, "-A {}{text}", chain.name);
        }
        if self.view.line_numbers {
            write!(out, "{:<4} ", place + 1)?;
        }
        if self.view.verbose {
            let (packets, bytes) = rule.counters.get();
            let shown = |count| Count { count, exact: self.view.exact };
            let width = if self.view.exact { 8 } else { 5 };
            write!(out, "{:>width$} {:>width$} ", shown(packets), shown(bytes))?;
        }
        writeln!(out, "{}", Row { view: &self.view, table, rule })
    }
}

impl LineSource for Listing {
    fn next_line(&mut self, tables: &Tables, out: &mut String) -> bool {
        let table = tables.get(self.table);
        loop {
            let next = self.chains.get(self.at).and_then(|id| table.chains.get(usize::from(id.0)));
            let Some(chain) = next else {
                // -S declares all chains before the first rule.
                if self.step != Step::Head || !self.view.as_commands || self.chains.is_empty() {
                    return false;
                }
                (self.at, self.step) = (0, Step::Rule(0));
                continue;
            };
            // Writing to a string cannot fail.
            match self.step {
                Step::Head if self.view.as_commands => {
                    let _ = self.declare(chain, out);
                    self.at += 1;
                }
                Step::Head => {
                    let _ = self.head(table, chain, out);
                    self.step = Step::Columns;
                }
                Step::Columns => {
                    self.columns(out);
                    self.step = Step::Rule(0);
                }
                Step::Rule(place) => {
                    let Some(rule) = chain.rules.get(place) else {
                        self.at += 1;
                        self.step = if self.view.as_commands { Step::Rule(0) } else { Step::Head };
                        continue;
                    };
                    let _ = self.rule(table, chain, place, rule, out);
                    self.step = Step::Rule(place + 1);
                    if self.view.number.is_some() {
                        self.at = self.chains.len();
                    }
                }
            }
            return true;
        }
    }
}

/// The built-in chains in their order, then the user's by name.
pub(super) fn chains_in_order(table: &Table) -> Vec<ChainId> {
    let mut chains: Vec<ChainId> = (0..table.chains.len()).map(|place| ChainId(place as u16)).collect();
    let key = |id: ChainId| {
        let chain = table.chain(id);
        (chain.builtin.as_ref().map_or(u8::MAX, |builtin| builtin.hook as u8), &chain.name)
    };
    sort_by(&mut chains, |&a, &b| key(a) < key(b));
    chains
}

/// A count; unless it is to be exact, with at most five characters where that is possible (`1234K`).
struct Count {
    count: u64,
    exact: bool,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = heapless::String::<24>::new();
        if self.exact || self.count <= 99_999 {
            write!(text, "{}", self.count)?;
            return f.pad(&text);
        }
        let mut count = self.count;
        for (place, unit) in ["K", "M", "G", "T"].into_iter().enumerate() {
            count = count.saturating_add(500) / 1000;
            if count <= 9999 || place == 3 {
                write!(text, "{count}{unit}")?;
                break;
            }
        }
        f.pad(&text)
    }
}
