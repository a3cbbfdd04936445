//! `ip`: options, objects and their abbreviations, as ip(8) of iproute2 has them.

mod address;
mod link;
mod neighbor;
mod route;
mod route_get;
mod route_show;
mod rule;

use super::{
    Action,
    argument::{Arguments, Failure, abbreviates},
};
use crate::config::Config;
use alloc::{format, string::String};

pub use link::shown_mtu;
pub use route::protocol_text;
pub use rule::rule_text;

/// What stands between `ip` and the object.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Options {
    /// `-s`: with counters.
    pub statistics: bool,
    /// `-d`: with what is usually left out.
    pub details: bool,
    /// `-br`: a short table.
    pub brief: bool,
    /// `-j`: JSON.
    pub json: bool,
    /// `-p`: JSON that people can read.
    pub pretty: bool,
    /// `-o`: one line for each entry.
    pub oneline: bool,
    /// `-4`, `-6`, `-0`: only this family.
    pub family: Family,
}

/// An address family.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Family {
    /// All of them.
    #[default]
    Any,
    /// `-4`
    Inet,
    /// `-6`: there is none yet, so nothing is listed.
    Inet6,
    /// `-0`
    Link,
}

/// How `ip` is written.
pub const USAGE: &str = "\
Usage: ip [ OPTIONS ] { link | address | route | rule | neigh } { COMMAND | help }
OPTIONS := { -s[tatistics] | -d[etails] | -br[ief] | -j[son] | -p[retty] | -o[neline] | -4 }";

/// What may follow the words behind `ip`, for Tab.
pub fn words(before: &[&str]) -> &'static [&'static str] {
    let mut before = before.iter().skip_while(|word| word.starts_with('-'));
    let Some(object) = before.next() else { return &["address", "link", "neigh", "route", "rule"] };
    let command = before.next();
    match object.chars().next() {
        Some('a') if command.is_none() => &["add", "del", "flush", "help", "replace", "show"],
        Some('a') => &["broadcast", "dev", "label", "primary", "scope", "secondary", "to", "up"],
        Some('l') if command.is_none() => &["help", "set", "show"],
        Some('l') => &["address", "alias", "dev", "down", "mtu", "up"],
        Some('n') if command.is_none() => &["add", "del", "flush", "help", "replace", "show"],
        Some('n') => &["dev", "lladdr", "nud", "permanent", "to"],
        Some('r') if object.starts_with("ru") => match command {
            None => &["add", "del", "flush", "help", "show"],
            Some(_) => &[
                "blackhole",
                "from",
                "fwmark",
                "iif",
                "lookup",
                "not",
                "priority",
                "prohibit",
                "suppress_prefixlength",
                "table",
                "to",
                "unreachable",
            ],
        },
        Some('r') if command.is_none() => {
            &["add", "append", "change", "del", "flush", "get", "help", "prepend", "replace", "show"]
        }
        Some('r') => &[
            "advmss",
            "blackhole",
            "default",
            "dev",
            "from",
            "iif",
            "mark",
            "metric",
            "mtu",
            "nexthop",
            "oif",
            "onlink",
            "prohibit",
            "proto",
            "scope",
            "src",
            "table",
            "throw",
            "type",
            "unreachable",
            "via",
            "weight",
        ],
        _ => &[],
    }
}

/// Understands the words behind `ip`.
pub fn parse(words: &[String], config: &Config) -> Result<Action, Failure> {
    let mut words = Arguments::new(words);
    let mut options = Options::default();
    while let Some(word) = words.peek().filter(|word| word.starts_with('-')) {
        words.next();
        option(word, &mut words, &mut options)?;
    }
    let Some(object) = words.next() else { return Err(Failure::new(255, USAGE)) };
    let parse = [
        ("address", address::parse as fn(Options, Arguments<'_>, &Config) -> Result<Action, Failure>),
        ("route", route::parse),
        ("rule", rule::parse),
        ("neighbor", neighbor::parse),
        ("neighbour", neighbor::parse),
        ("link", link::parse),
    ]
    .into_iter()
    .find(|(name, _)| abbreviates(object, name));
    match parse {
        Some((_, parse)) => parse(options, words, config),
        None if abbreviates(object, "help") => Ok(Action::print(USAGE)),
        None => Err(Failure::new(1, format!("Object \"{object}\" is unknown, try \"ip help\"."))),
    }
}

fn option(word: &str, words: &mut Arguments<'_>, options: &mut Options) -> Result<(), Failure> {
    // Two dashes are as good as one, and the order is that of iproute2, which says what `-b` or `-s` is short for.
    let name = word.strip_prefix("--").or(word.strip_prefix('-')).unwrap_or(word);
    match name {
        "4" => options.family = Family::Inet,
        "6" => options.family = Family::Inet6,
        "0" => options.family = Family::Link,
        "br" => options.brief = true,
        name if abbreviates(name, "family") => {
            let family = words.value()?;
            options.family = match family {
                "inet" => Family::Inet,
                "inet6" => Family::Inet6,
                "link" => Family::Link,
                _ => return Err(Failure::wrong(family, "invalid protocol family")),
            }
        }
        name if abbreviates(name, "statistics") || name == "stats" => options.statistics = true,
        name if abbreviates(name, "details") => options.details = true,
        name if name.len() > 1 && abbreviates(name, "brief") => options.brief = true,
        name if abbreviates(name, "json") => options.json = true,
        name if abbreviates(name, "pretty") => options.pretty = true,
        name if abbreviates(name, "oneline") => options.oneline = true,
        name if abbreviates(name, "color") || name.starts_with("c=") || name.starts_with("color=") => {}
        name if abbreviates(name, "human-readable") || name == "iec" || name == "Numeric" || name == "N" => {}
        _ => return Err(Failure::new(255, format!("Option \"{word}\" is unknown, try \"ip -help\"."))),
    }
    Ok(())
}

/// A command that an object does not have.
fn unknown_command(word: &str, object: &str) -> Failure {
    Failure::new(255, format!("Command \"{word}\" is unknown, try \"ip {object} help\"."))
}
