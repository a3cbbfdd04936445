//! `iptables-restore`: a text as `iptables-save` prints it, taken whole or not at all; iptables-restore(8).

use super::{Failure, Request, Verb, values::decimal};
use crate::config::{
    Change,
    rules::{Table, TableName, Tables},
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// How to restore.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Restore {
    /// `-c`: counters too.
    pub counters: bool,
    /// `-n`: what is there stays.
    pub keep: bool,
    /// `-t`: only look whether it could be done.
    pub test: bool,
    /// `-T`: only this table.
    pub only: Option<TableName>,
}

impl Restore {
    /// Understands the words behind `iptables-restore`.
    ///
    /// # Errors
    /// In the wording of iptables-restore, naming the word.
    pub fn parse<W: AsRef<str>>(words: &[W]) -> Result<Self, Failure> {
        let refuse = |text: String| Failure::new(1, text);
        let mut restore = Self::default();
        let mut words = words.iter().map(AsRef::as_ref).peekable();
        while let Some(word) = words.next() {
            match word {
                "-c" | "--counters" => restore.counters = true,
                "-n" | "--noflush" => restore.keep = true,
                "-t" | "--test" => restore.test = true,
                "-T" | "--table" => {
                    let name = words.next().unwrap_or("");
                    let found = TableName::ALL.into_iter().find(|table| table.name() == name);
                    restore.only =
                        Some(found.ok_or_else(|| refuse(format!("table '{name}' does not exist")))?);
                }
                "-w" | "--wait" => {
                    words.next_if(|word| decimal::<u32>(word).is_some());
                }
                "-4" | "-v" | "--ipv4" | "--verbose" => {}
                _ => match word.strip_prefix('-') {
                    Some(option) => {
                        return Err(refuse(format!("iptables-restore: invalid option -- '{option}'")));
                    }
                    None => return Err(refuse(format!("Can't open {word}: No such file or directory"))),
                },
            }
        }
        Ok(restore)
    }

    /// Replaces the tables that `text` names by what it says, all of them or, after an error, none.
    ///
    /// # Errors
    /// The first line that is wrong, with its number and the reason.
    pub fn apply(&self, text: &str, tables: &mut Tables) -> Result<Change, Failure> {
        let fail = |line: usize, reason: String| {
            Failure::new(1, format!("iptables-restore: line {line} failed: {reason}"))
        };
        let mut new = tables.clone();
        let mut present = None;
        let mut count = 0;
        for (place, line) in text.lines().enumerate() {
            count = place + 1;
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            present = match present {
                None => Some(self.open(line, &mut new).map_err(|reason| fail(count, reason))?),
                Some(name) => {
                    let goes_on = self.line(name, line, &mut new).map_err(|reason| fail(count, reason))?;
                    goes_on.then_some(name)
                }
            };
        }
        if present.is_some() {
            let line = count + 1;
            return Err(Failure::new(1, format!("iptables-restore: COMMIT expected at line {line}")));
        }
        if self.test {
            return Ok(Change::NONE);
        }
        *tables = new;
        Ok(Change { rules: true, ..Change::NONE })
    }

    fn is_wanted(&self, name: TableName) -> bool {
        self.only.is_none_or(|only| only == name)
    }

    /// `*filter`
    fn open(&self, line: &str, tables: &mut Tables) -> Result<TableName, String> {
        let name =
            line.strip_prefix('*').ok_or_else(|| format!("a line like `*filter' expected, not `{line}'"))?;
        let found = TableName::ALL.into_iter().find(|table| table.name() == name.trim());
        let name = found.ok_or_else(|| format!("table name '{name}' invalid"))?;
        if !self.keep && self.is_wanted(name) {
            *tables.get_mut(name) = Tables::default().take(name);
        }
        Ok(name)
    }

    /// A line of a table; `false`: it was the last.
    fn line(&self, name: TableName, line: &str, tables: &mut Tables) -> Result<bool, String> {
        if !self.is_wanted(name) {
            return Ok(line != "COMMIT");
        }
        if line == "COMMIT" {
            return tables.get(name).verify().map(|()| false).map_err(|reason| reason.0);
        }
        match line.strip_prefix(':') {
            Some(declaration) => self.declare(declaration, tables.get_mut(name))?,
            None => self.rule(name, line, tables)?,
        }
        Ok(true)
    }

    /// `:INPUT ACCEPT [12:3456]`
    fn declare(&self, declaration: &str, table: &mut Table) -> Result<(), String> {
        let mut words = declaration.split_ascii_whitespace();
        let chain = words.next().ok_or("chain name invalid")?;
        let policy = words.next().ok_or("policy invalid")?;
        let counters = match (words.next(), self.counters) {
            (Some(text), true) => {
                let counters = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).and_then(pair);
                Some(counters.ok_or_else(|| format!("invalid policy counters for chain '{chain}'"))?)
            }
            _ => None,
        };
        let done = match (table.find_chain(chain), policy) {
            (None, "-") => table.create_chain(chain),
            (Some(id), "-") if table.chain(id).builtin.is_none() => table.flush(Some(chain)),
            (Some(_), "-") => return Ok(()),
            _ => table.set_policy(chain, policy, counters),
        };
        done.map(|_| ()).map_err(|reason| reason.0)
    }

    /// `-A INPUT ..`, with `[12:3456]` before it or not.
    fn rule(&self, name: TableName, line: &str, tables: &mut Tables) -> Result<(), String> {
        let (counters, line) = match line.strip_prefix('[') {
            None => (None, line),
            Some(rest) => {
                let (counters, rest) = rest.split_once(']').ok_or("need ]")?;
                let counters = pair(counters).ok_or_else(|| format!("invalid counters `[{counters}]'"))?;
                (Some(counters).filter(|_| self.counters), rest)
            }
        };
        let words = split(line)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut request = Request::parse_for(name, &words, tables)?;
        match &mut request.verb {
            Verb::List(_) | Verb::Version => return Err(format!("`{line}' only prints")),
            Verb::Append { chain, rules } => {
                for rule in &*rules {
                    if let Some((packets, bytes)) = counters {
                        rule.counters.add(packets, bytes);
                    }
                }
                let table = tables.get_mut(name);
                return table.append_unverified(chain, core::mem::take(rules)).map_err(|reason| reason.0);
            }
            _ => {}
        }
        request.execute(tables).map(|_| ()).map_err(|reason| reason.0)
    }
}

/// `12:3456`
fn pair(text: &str) -> Option<(u64, u64)> {
    let (packets, bytes) = text.split_once(':')?;
    Some((decimal(packets)?, decimal(bytes)?))
}

/// Cuts a line into words at blanks. Within double quotes blanks belong to the word, and a backslash takes what
/// follows it as it stands.
pub(super) fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let mut word = String::new();
            let mut letters = rest[1..].chars();
            loop {
                match letters.next() {
                    Some('"') => break,
                    Some('\\') => word.extend(letters.next()),
                    Some(letter) => word.push(letter),
                    None => return Err("unexpected end of line while looking for matching `\"'".to_string()),
                }
            }
            words.push(word);
            rest = letters.as_str();
        } else {
            let end =
                rest.find(|letter: char| letter.is_ascii_whitespace() || letter == '"').unwrap_or(rest.len());
            words.push(rest[..end].to_string());
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(words)
}
