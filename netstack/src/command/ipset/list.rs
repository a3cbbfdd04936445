//! `ipset list` and `ipset save`, line by line; ipset(8).

use super::element::Shown;
use crate::{
    command::iptables::LineSource,
    config::{
        ipset::{Member, Set, SetKind},
        rules::Tables,
    },
};
use alloc::{string::String, vec::Vec};
use core::fmt::Write;

/// What is shown of a set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Everything.
    Whole,
    /// `-terse`: all but its elements.
    Heads,
    /// `-name`
    Names,
    /// `save`: the commands that make it.
    Commands,
}

/// A listing on its way. It borrows nothing: where sets change meanwhile, it goes on with what is there.
pub struct SetListing {
    view: View,
    /// Sets that are still to be shown, the next one last.
    names: Vec<String>,
    /// Set once the head of a set is out: its last element that is out.
    inside: Option<Option<Member>>,
    first: bool,
}

impl SetListing {
    /// Of one set, or of all.
    pub fn new(view: View, name: Option<&str>, tables: &Tables) -> Self {
        let all = tables.sets.iter().map(|(name, _)| name);
        let mut names: Vec<String> =
            all.filter(|it| name.is_none_or(|name| name == *it)).map(String::from).collect();
        names.reverse();
        Self { view, names, inside: None, first: true }
    }

    /// The commands that make all sets.
    pub fn all(tables: &Tables) -> Self {
        Self::new(View::Commands, None, tables)
    }

    fn head(&self, name: &str, set: &Set, tables: &Tables, out: &mut String) {
        let kind = set.kind.name();
        let header = format_args!("family inet hashsize {} maxelem {}", set.hash_size, set.most);
        let _ = match self.view {
            View::Names => writeln!(out, "{name}"),
            View::Commands => writeln!(out, "create {name} {kind} {header}"),
            View::Whole | View::Heads => {
                let revision = if set.kind == SetKind::Ip { 6 } else { 7 };
                let (bytes, references, count) = (set.bytes(), tables.set_references(name), set.len());
                write!(
                    out,
                    "{}Name: {name}\nType: {kind}\nRevision: {revision}\nHeader: {header}\nSize in memory: {bytes}\n\
                     References: {references}\nNumber of entries: {count}\n{}",
                    if self.first { "" } else { "\n" },
                    if self.view == View::Whole { "Members:\n" } else { "" }
                )
            }
        };
    }
}

impl LineSource for SetListing {
    fn next_line(&mut self, tables: &Tables, out: &mut String) -> bool {
        loop {
            let Some(name) = self.names.last() else { return false };
            let set = tables.sets.get(name);
            match (set, self.inside) {
                (Some(set), None) => {
                    self.head(name, set, tables, out);
                    (self.inside, self.first) = (Some(None), false);
                    return true;
                }
                (Some(set), Some(last)) if matches!(self.view, View::Whole | View::Commands) => {
                    if let Some((member, except)) = set.members(last).next() {
                        if self.view == View::Commands {
                            let _ = write!(out, "add {name} ");
                        }
                        let _ = writeln!(out, "{}{}", Shown(member), if except { " nomatch" } else { "" });
                        self.inside = Some(Some(member));
                        return true;
                    }
                }
                _ => {}
            }
            self.names.pop();
            self.inside = None;
        }
    }
}
