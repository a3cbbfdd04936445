//! `ipset`, as the tool of Linux understands and prints it (7.17).

mod element;
mod list;
#[cfg(test)]
mod tests;

use super::{
    Action, Failure,
    iptables::{decimal, lines},
};
use crate::config::{
    Change, Config, ConfigError,
    ipset::{Elements, Set, SetKind, Sets},
    rules::Tables,
};
use alloc::{boxed::Box, format, string::String, vec::Vec};
pub use list::SetListing;
use list::View;

/// What errors begin with.
const NAME: &str = "ipset v7.17";

pub const USAGE: &str = "\
usage: ipset create SET { hash:ip | hash:net | hash:ip,port } [family inet] [hashsize NUMBER] [maxelem NUMBER]
       ipset { add | del | test } SET ELEMENT [nomatch]
       ipset { destroy | flush | list | save } [SET]
       ipset { rename | swap } SET SET
       ipset restore, and the text of ipset save, then Ctrl-D; or <<WORD
ELEMENT := ADDRESS[/LENGTH | -ADDRESS][,[PROTOCOL:]PORT[-PORT]]
options: -exist, -quiet, -name, -terse";

/// Words that may follow.
pub fn words(before: &[&str]) -> &'static [&'static str] {
    match before {
        [] => {
            &["add", "create", "del", "destroy", "flush", "list", "rename", "restore", "save", "swap", "test"]
        }
        ["create", _] => &["hash:ip", "hash:ip,port", "hash:net"],
        ["create", ..] => &["family", "hashsize", "inet", "maxelem"],
        _ => &["-exist", "-name", "-quiet", "-terse", "nomatch"],
    }
}

/// A command that was understood but cannot be done.
fn refused(reason: &str) -> Failure {
    Failure::new(1, format!("{NAME}: {reason}"))
}

/// A command that was not understood.
fn usage(reason: &str) -> Failure {
    Failure::new(2, format!("{NAME}: {reason}"))
}

/// A word that Linux knows and rutter does not.
fn unsupported(word: &str) -> Failure {
    refused(&format!("{word} is not supported"))
}

/// Options, which may stand anywhere.
#[derive(Clone, Copy, Default)]
struct Options {
    exist: bool,
    quiet: bool,
    names: bool,
    terse: bool,
}

impl Options {
    /// Takes the options out of the words.
    fn take<'a>(words: impl Iterator<Item = &'a str>) -> Result<(Self, Vec<&'a str>), Failure> {
        let mut options = Self::default();
        let mut rest = Vec::new();
        for word in words {
            match word {
                "-!" | "-exist" | "--exist" => options.exist = true,
                "-q" | "-quiet" | "--quiet" => options.quiet = true,
                "-n" | "-name" | "--name" => options.names = true,
                "-t" | "-terse" | "--terse" => options.terse = true,
                // Elements are always sorted.
                "-s" | "-sorted" | "--sorted" => {}
                "-o" | "-output" | "--output" | "-r" | "-resolve" | "--resolve" | "-f" | "-file"
                | "--file" => {
                    return Err(unsupported(word));
                }
                _ => rest.push(word),
            }
        }
        Ok((options, rest))
    }
}

/// `ipset`
pub fn parse(words: &[String], config: &Config) -> Result<Action, Failure> {
    let (options, words) = Options::take(words.iter().map(String::as_str))?;
    let quietly = move |failure: Failure| match options.quiet {
        true => Failure::new(failure.status, ""),
        false => failure,
    };
    understand(options, &words, config).map_err(quietly).map(|action| match action {
        Action::Edit(change) => Action::edit(move |config| change(config).map_err(quietly)),
        action => action,
    })
}

fn understand(options: Options, words: &[&str], config: &Config) -> Result<Action, Failure> {
    let sets = &config.tables.sets;
    let Some((&command, rest)) = words.split_first() else { return Err(usage("No command specified.")) };
    let one = |rest: &[&str]| match rest {
        [] => Ok(None),
        [name] => Ok(Some(String::from(*name))),
        [_, word, ..] => Err(usage(&format!("Unknown argument {word}"))),
    };
    match command {
        "list" | "-L" | "--list" | "save" | "-S" | "--save" => {
            let name = one(rest)?;
            if let Some(name) = &name {
                sets.existing(name).map_err(|reason| refused(&reason.0))?;
            }
            let view = match command.trim_start_matches('-') {
                "save" | "S" => View::Commands,
                _ if options.names => View::Names,
                _ if options.terse => View::Heads,
                _ => View::Whole,
            };
            Ok(lines(SetListing::new(view, name.as_deref(), &config.tables)))
        }
        "test" | "-T" | "--test" => {
            let [name, element] = two(command, rest)?;
            let set = sets.existing(name).map_err(|reason| refused(&reason.0))?;
            let elements = element::parse(set.kind, element)?;
            match set.test(&elements) {
                true if options.quiet => Ok(Action::print("")),
                true => Ok(Action::print(format!(
                    "Warning: {} is in set {name}.",
                    element::shown(&elements, element)
                ))),
                false => Err(Failure::new(
                    1,
                    format!("{} is NOT in set {name}.", element::shown(&elements, element)),
                )),
            }
        }
        "restore" | "-R" | "--restore" => {
            Ok(Action::Read(Box::new(move |config: &mut Config, text: &str| {
                restore(text, options, &mut config.tables)
            })))
        }
        "version" | "-v" | "-V" | "--version" => Ok(Action::print(format!("{NAME}, protocol version: 7"))),
        "help" | "-h" | "-H" | "--help" => Ok(Action::print(USAGE)),
        _ => {
            let request = Request::parse(options, words, sets)?;
            Ok(Action::edit(move |config: &mut Config| request.apply(&mut config.tables)))
        }
    }
}

/// The two words that a command needs.
fn two<'a>(command: &str, words: &[&'a str]) -> Result<[&'a str; 2], Failure> {
    match words {
        [] => Err(usage(&format!("Missing mandatory argument to command {command}"))),
        [_] => Err(usage(&format!("Missing second mandatory argument to command {command}"))),
        [one, other] => Ok([one, other]),
        [_, _, word, ..] => Err(usage(&format!("Unknown argument: `{word}'"))),
    }
}

/// A change of the sets.
enum Request {
    Create { name: String, set: Set, exist: bool },
    Add { name: String, elements: Elements, except: bool, exist: bool },
    Delete { name: String, elements: Elements, exist: bool },
    Flush { name: Option<String> },
    Destroy { name: Option<String> },
    Rename { from: String, to: String },
    Swap { one: String, other: String },
}

impl Request {
    fn parse(options: Options, words: &[&str], sets: &Sets) -> Result<Self, Failure> {
        let Some((&command, rest)) = words.split_first() else { return Err(usage("No command specified.")) };
        let exist = options.exist;
        let own = |name: &str| String::from(name);
        let optional = |rest: &[&str]| match rest {
            [] => Ok(None),
            [name] => Ok(Some(own(name))),
            [_, word, ..] => Err(usage(&format!("Unknown argument {word}"))),
        };
        match command {
            "create" | "-N" | "--create" => {
                let [name, kind] = two(command, &rest[..rest.len().min(2)])?;
                let set = new_set(kind, &rest[2..])?;
                Ok(Self::Create { name: check_name(name)?, set, exist })
            }
            "add" | "-A" | "--add" | "del" | "-D" | "--del" => {
                let [name, element] = two(command, &rest[..rest.len().min(2)])?;
                let set = sets.existing(name).map_err(|reason| refused(&reason.0))?;
                let elements = element::parse(set.kind, element)?;
                let (name, adds) = (own(name), matches!(command, "add" | "-A" | "--add"));
                match rest[2..] {
                    [] if !adds => Ok(Self::Delete { name, elements, exist }),
                    [] => Ok(Self::Add { name, elements, except: false, exist }),
                    ["nomatch"] if adds && set.kind == SetKind::Net => {
                        Ok(Self::Add { name, elements, except: true, exist })
                    }
                    ["timeout", ..] => {
                        Err(refused("Timeout cannot be used: set was created without timeout support"))
                    }
                    [word, ..] => Err(usage(&format!("Unknown argument: `{word}'"))),
                }
            }
            "flush" | "-F" | "--flush" => Ok(Self::Flush { name: optional(rest)? }),
            "destroy" | "-X" | "--destroy" => Ok(Self::Destroy { name: optional(rest)? }),
            "rename" | "-E" | "--rename" => {
                let [from, to] = two(command, rest)?;
                Ok(Self::Rename { from: own(from), to: check_name(to)? })
            }
            "swap" | "-W" | "--swap" => {
                let [one, other] = two(command, rest)?;
                Ok(Self::Swap { one: own(one), other: own(other) })
            }
            _ => Err(usage(&format!("No command specified: unknown argument {command}"))),
        }
    }

    fn apply(self, tables: &mut Tables) -> Result<Change, Failure> {
        self.execute(tables).map_err(|reason| refused(&reason.0))
    }

    fn execute(self, tables: &mut Tables) -> Result<Change, ConfigError> {
        let mut sets = core::mem::take(&mut tables.sets);
        let used = |name: &str| tables.set_references(name) > 0;
        let done = match self {
            Self::Create { name, set, exist } => sets.create(&name, set, exist),
            Self::Add { name, elements, except, exist } => sets.add(&name, &elements, except, exist),
            Self::Delete { name, elements, exist } => sets.delete(&name, &elements, exist),
            Self::Flush { name } => sets.flush(name.as_deref()),
            Self::Destroy { name } => sets.destroy(name.as_deref(), used),
            Self::Rename { from, to } => sets.rename(&from, &to, used),
            Self::Swap { one, other } => sets.swap(&one, &other),
        };
        tables.sets = sets;
        done.map(|()| Change { sets: true, ..Change::NONE })
    }
}

/// A name that can be typed again.
fn check_name(name: &str) -> Result<String, Failure> {
    let longest = Sets::MAX_NAME;
    if name.len() > longest {
        return Err(refused(&format!("Syntax error: setname '{name}' is longer than {longest} characters")));
    }
    let awkward =
        |letter: char| letter.is_whitespace() || letter.is_control() || "\"'\\;#$&|<>(),".contains(letter);
    if name.is_empty() || name.starts_with(['-', '!']) || name.contains(awkward) {
        return Err(refused(&format!("Syntax error: setname '{name}' is not allowed")));
    }
    Ok(String::from(name))
}

/// A set by its type and the options behind it.
fn new_set(kind: &str, options: &[&str]) -> Result<Set, Failure> {
    const OTHER_KINDS: [&str; 13] = [
        "bitmap:ip",
        "bitmap:ip,mac",
        "bitmap:port",
        "hash:ip,mark",
        "hash:ip,port,ip",
        "hash:ip,port,net",
        "hash:ip,mac",
        "hash:mac",
        "hash:net,net",
        "hash:net,port",
        "hash:net,port,net",
        "hash:net,iface",
        "list:set",
    ];
    let known = SetKind::ALL.into_iter().find(|known| known.name() == kind);
    let Some(known) = known else {
        return Err(match OTHER_KINDS.contains(&kind) {
            true => refused("Kernel error received: set type not supported"),
            false => refused(&format!("Syntax error: typename '{kind}' is unknown")),
        });
    };
    let (mut hash_size, mut most) = (Set::DEFAULT_HASH_SIZE, Set::DEFAULT_MOST);
    let mut options = options.iter();
    while let Some(&option) = options.next() {
        let mut value = || {
            options
                .next()
                .copied()
                .ok_or_else(|| usage(&format!("Missing mandatory argument of option `{option}'")))
        };
        match option {
            "family" => match value()? {
                "inet" | "ipv4" | "-4" => {}
                other => return Err(unsupported(&format!("family {other}"))),
            },
            "hashsize" => hash_size = number(value()?)?.clamp(64, 1 << 31).next_power_of_two(),
            "maxelem" => most = number(value()?)?,
            // What only a hash needs.
            "bucketsize" => drop(number(value()?)?),
            "initval" => drop(value()?),
            "timeout" | "counters" | "comment" | "skbinfo" | "forceadd" | "netmask" | "bitmask" | "range" => {
                return Err(unsupported(option));
            }
            _ => return Err(usage(&format!("Unknown argument: `{option}'"))),
        }
    }
    Ok(Set::new(known, hash_size, most))
}

fn number(word: &str) -> Result<u32, Failure> {
    match decimal::<u64>(word).map(u32::try_from) {
        Some(Ok(number)) => Ok(number),
        Some(Err(_)) => Err(refused(&format!("Syntax error: '{word}' is out of range 0-{}", u32::MAX))),
        None => Err(refused(&format!("Syntax error: '{word}' is invalid as number"))),
    }
}

/// `ipset restore`: all of the lines or, after an error, none.
fn restore(text: &str, options: Options, tables: &mut Tables) -> Result<Change, Failure> {
    let before = tables.sets.clone();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line == "COMMIT" {
            continue;
        }
        let done = Options::take(line.split_ascii_whitespace()).and_then(|(own, words)| {
            let options = Options { exist: options.exist || own.exist, ..own };
            Request::parse(options, &words, &tables.sets)?.apply(tables)
        });
        if let Err(failure) = done {
            tables.sets = before;
            let reason = failure.text.strip_prefix(NAME).unwrap_or(&failure.text);
            let reason = reason.trim_start_matches(": ");
            return Err(Failure::new(failure.status, format!("{NAME}: Error in line {number}: {reason}")));
        }
    }
    Ok(Change { sets: true, ..Change::NONE })
}
