//! From the words of an `iptables` command to a [`Request`]; iptables(8).

use super::{
    Failure,
    extension::{Extension, Part},
    limiting,
    options::{GlobalOption, OPTIONS, Takes},
    request::{Request, Verb, View},
    usage,
    values::{Parsed, decimal, interface, networks, protocol},
};
use crate::config::rules::{
    Counters, InterfacePattern, Match, Negatable, Rule, Table, TableName, Tables, Target, check_chain_name,
    names,
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use smoltcp::wire::Ipv4Cidr;

impl Request {
    /// Understands the words behind `iptables`. The names of chains in `-j` and `-g` are looked up in `tables`.
    ///
    /// # Errors
    /// In the wording of iptables, naming the word.
    pub fn parse<W: AsRef<str>>(words: &[W], tables: &Tables) -> Result<Self, Failure> {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        Parser::read(&words).and_then(|parser| parser.finish(tables)).map_err(|reason| usage(&reason))
    }

    /// The same for a line of iptables-restore, which names its table elsewhere; with the bare reason as the error.
    pub(super) fn parse_for(table: TableName, words: &[&str], tables: &Tables) -> Parsed<Self> {
        let parser = Parser::read(words)?;
        if parser.table.is_some() {
            return Err("The -t option cannot be used in iptables-restore.".to_string());
        }
        Parser { table: Some(table), ..parser }.finish(tables)
    }
}

/// A command with the words that belong to it.
struct Command<'a> {
    letter: char,
    chain: Option<&'a str>,
    number: Option<usize>,
    /// The new name, or the policy.
    second: Option<&'a str>,
}

struct Parser<'a> {
    words: &'a [&'a str],
    /// A `!` stands before what comes now.
    not: bool,
    /// Letters of the options that were given.
    given: Vec<char>,
    table: Option<TableName>,
    command: Option<Command<'a>>,
    zero: bool,
    /// All of the rule but what the fields below hold.
    rule: Rule,
    sources: Option<Negatable<Vec<Ipv4Cidr>>>,
    destinations: Option<Negatable<Vec<Ipv4Cidr>>>,
    extensions: Vec<Extension>,
    /// `-j CHAIN` or, with `true`, `-g CHAIN`.
    next_chain: Option<(&'a str, bool)>,
}

/// Which option a long name means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// An option of an extension: its place, and that of the option.
    Extension(usize, usize),
    /// The letter of a global option.
    Global(char),
}

impl<'a> Parser<'a> {
    fn read(words: &'a [&'a str]) -> Parsed<Self> {
        let mut parser = Self {
            words,
            not: false,
            given: Vec::new(),
            table: None,
            command: None,
            zero: false,
            rule: Rule::default(),
            sources: None,
            destinations: None,
            extensions: Vec::new(),
            next_chain: None,
        };
        while let Some(word) = parser.next_word() {
            if word == "!" {
                if parser.not {
                    return Err("multiple consecutive ! not allowed".to_string());
                }
                parser.not = true;
                continue;
            }
            match word.strip_prefix("--").filter(|name| !name.is_empty()) {
                Some(long) => parser.long_option(long)?,
                None => parser.short_options(word)?,
            }
            parser.not = false;
        }
        if parser.not { Err("nothing appropriate following !".to_string()) } else { Ok(parser) }
    }

    fn next_word(&mut self) -> Option<&'a str> {
        let (&word, rest) = self.words.split_first()?;
        self.words = rest;
        Some(word)
    }

    /// The next word, unless it is an option.
    fn next_argument(&mut self) -> Option<&'a str> {
        let next = self.words.first().filter(|word| !word.starts_with(['-', '!']));
        if next.is_some() { self.next_word() } else { None }
    }

    /// `-n`, `-nvL`, `-p tcp`, `-ptcp`.
    fn short_options(&mut self, word: &'a str) -> Parsed<()> {
        let letters = word.strip_prefix('-').filter(|letters| !letters.is_empty());
        let mut letters = letters.ok_or_else(|| format!("Bad argument `{word}'"))?.chars();
        while let Some(letter) = letters.next() {
            let known = OPTIONS.iter().find(|option| option.letter == letter && letter != LINE_NUMBERS);
            let option = known.ok_or_else(|| format!("unknown option \"-{letter}\""))?;
            let attached =
                Some(letters.as_str()).filter(|rest| !rest.is_empty() && option.takes != Takes::Nothing);
            self.global_option(option, attached, &format!("-{letter}"))?;
            if attached.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// `--source ADDRESS`, `--source=ADDRESS`, and every beginning that can mean one option only.
    fn long_option(&mut self, text: &'a str) -> Parsed<()> {
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let meaning = self.find(name).or_else(|| {
            let protocol = names::protocol_name(self.rule.protocol.as_ref()?.value)?;
            let loaded = self.extensions.iter().any(|it| it.name == protocol);
            self.extensions.push(Extension::new_match(protocol).filter(|_| !loaded)?);
            let found = self.find(name);
            if found.is_none() {
                self.extensions.pop();
            }
            found
        });
        match meaning.ok_or_else(|| format!("unknown option \"--{name}\""))? {
            Meaning::Global(letter) => match OPTIONS.iter().find(|option| option.letter == letter) {
                Some(option) => self.global_option(option, attached, &format!("--{name}")),
                None => Ok(()),
            },
            Meaning::Extension(extension, place) => {
                let wanted = self.extensions[extension].options[place].values;
                let mut values: Vec<&str> = attached.into_iter().collect();
                while values.len() < wanted {
                    values.push(self.next_word().ok_or_else(|| match values.len() {
                        0 => format!("option \"--{name}\" requires an argument"),
                        _ => format!("--{name} requires two args."),
                    })?);
                }
                if values.len() > wanted {
                    return Err(format!("option \"--{name}\" takes no argument"));
                }
                self.extensions[extension].set(place, self.not, &values)
            }
        }
    }

    /// The option of that name, or the only one whose name begins so. The newest extension comes first.
    fn find(&self, name: &str) -> Option<Meaning> {
        let of_extension = |place: usize| {
            let options = self.extensions[place].options.iter().enumerate();
            options.flat_map(move |(option, it)| {
                [it.name, it.alias].map(|name| (name, Meaning::Extension(place, option)))
            })
        };
        let extensions = (0..self.extensions.len()).rev().flat_map(of_extension);
        let globals = OPTIONS.iter().map(|option| (option.name, Meaning::Global(option.letter)));
        let all = extensions.chain(globals);
        if let Some((_, exact)) = all.clone().find(|(candidate, _)| *candidate == name) {
            return Some(exact);
        }
        let mut begun = all.filter(|(candidate, _)| candidate.starts_with(name)).map(|(_, meaning)| meaning);
        let first = begun.next()?;
        begun.all(|other| other == first).then_some(first)
    }

    fn global_option(
        &mut self,
        option: &GlobalOption,
        attached: Option<&'a str>,
        written: &str,
    ) -> Parsed<()> {
        let (letter, not) = (option.letter, self.not);
        if not && !option.negatable {
            return Err(format!("cannot have ! before {written}"));
        }
        let value = match option.takes {
            Takes::Nothing => None,
            Takes::Perhaps => attached.or_else(|| self.next_argument()),
            Takes::Value => {
                let word = attached.or_else(|| self.next_word());
                Some(word.ok_or_else(|| format!("option \"{written}\" requires an argument"))?)
            }
        };
        let text = value.unwrap_or("");
        if option.letter.is_ascii_uppercase() {
            return self.command(letter, value);
        }
        // `-j` and `-g` are two ways to give one thing.
        let once = if letter == 'g' { 'j' } else { letter };
        if "pdsiojfct".contains(once) && self.given.contains(&once) {
            return Err(format!("multiple -{once} flags not allowed"));
        }
        self.given.push(once);
        match letter {
            't' => self.table = Some(table(text)?),
            'p' => self.rule.protocol = Some(Negatable { not, value: protocol(text)? }),
            's' => self.sources = Some(addresses(text, not)?),
            'd' => self.destinations = Some(addresses(text, not)?),
            'i' => self.rule.in_interface = interface_wish(text, not)?,
            'o' => self.rule.out_interface = interface_wish(text, not)?,
            'f' => self.rule.fragment = Some(Negatable { not, value: () }),
            'm' => {
                self.extensions.push(Extension::new_match(text).ok_or_else(|| unknown_match(text))?);
            }
            'j' => match Extension::new_target(text) {
                Some(target) => self.extensions.push(target),
                None => self.next_chain = Some((text, false)),
            },
            'g' => self.next_chain = Some((text, true)),
            'c' => self.rule.counters = self.counters(text)?,
            'w' if value.is_some() && decimal::<u32>(text).is_none() => {
                return Err("wait seconds not numeric".to_string());
            }
            _ => {}
        }
        Ok(())
    }

    /// `-c PACKETS BYTES` or `-c PACKETS,BYTES`.
    fn counters(&mut self, text: &'a str) -> Parsed<Counters> {
        let (packets, bytes) = match text.split_once(',') {
            Some(pair) => pair,
            None => (text, self.next_argument().ok_or("-c requires packet and byte counter")?),
        };
        let packets = decimal(packets).ok_or("-c packet counter not numeric")?;
        let bytes = decimal(bytes).ok_or("-c byte counter not numeric")?;
        Ok(Counters::new(packets, bytes))
    }

    /// `-A`, `-L`, ..
    fn command(&mut self, letter: char, chain: Option<&'a str>) -> Parsed<()> {
        let number = match letter {
            'D' | 'I' | 'L' | 'R' | 'S' | 'Z' if chain.is_some() => {
                self.next_argument().map(rule_number).transpose()?
            }
            _ => None,
        };
        let second = if matches!(letter, 'E' | 'P') { self.next_argument() } else { None };
        self.zero |= letter == 'Z';
        let new = Command { letter, chain, number, second };
        self.command = Some(match self.command.take() {
            None => new,
            // A listing and -Z go together, in either order, and may share the name of the chain.
            Some(old) if matches!((old.letter, letter), ('L' | 'S', 'Z') | ('Z', 'L' | 'S')) => Command {
                letter: if letter == 'Z' { old.letter } else { letter },
                chain: chain.or(old.chain),
                number: number.or(old.number),
                second: None,
            },
            Some(old) => return Err(format!("Cannot use -{letter} with -{}", old.letter)),
        });
        Ok(())
    }

    fn finish(mut self, tables: &Tables) -> Parsed<Request> {
        let table = self.table.unwrap_or(TableName::Filter);
        let command = self.command.take().ok_or("no command specified")?;
        self.check_options(&command)?;
        let Command { letter, number, second, .. } = command;
        let name = command.chain.map(String::from);
        let chain = name.clone().unwrap_or_default();
        let mut rules = match (letter, number) {
            ('A' | 'C' | 'I' | 'R', _) | ('D', None) => self.rules(&chain, tables.get(table), tables)?,
            _ => Vec::new(),
        };
        let verb = match (letter, number) {
            ('A', _) => Verb::Append { chain, rules },
            ('C', _) => Verb::Check { chain, rules },
            ('D', None) => Verb::Delete { chain, rules },
            ('D', Some(number)) => Verb::DeleteNumber { chain, number },
            ('I', number) => Verb::Insert { chain, number: number.unwrap_or(1), rules },
            ('R', None) => return Err("-R requires a rule number".to_string()),
            ('R', Some(number)) => match (rules.pop(), rules.is_empty()) {
                (Some(rule), true) => Verb::Replace { chain, number, rule },
                _ => return Err("Replacement rule does not specify a unique address".to_string()),
            },
            ('E', _) => {
                let to = second.ok_or("-E requires old-chain-name and new-chain-name")?;
                Verb::RenameChain { from: chain, to: to.to_string() }
            }
            ('F', _) => Verb::Flush { chain: name },
            ('N', _) => {
                check_chain_name(&chain)?;
                Verb::CreateChain { name: chain }
            }
            ('P', _) => {
                let policy = second.ok_or("-P requires a chain and a policy")?;
                let counters = self.given.contains(&'c').then(|| self.rule.counters.get());
                Verb::SetPolicy { chain, policy: policy.to_string(), counters }
            }
            ('X', _) => Verb::DeleteChain { name },
            ('Z', number) => Verb::Zero { chain: name, number },
            ('V', _) => Verb::Version,
            _ => Verb::List(View {
                chain: name,
                number,
                as_commands: letter == 'S',
                zero: self.zero,
                verbose: self.given.contains(&'v'),
                numeric: self.given.contains(&'n'),
                exact: self.given.contains(&'x'),
                line_numbers: self.given.contains(&LINE_NUMBERS),
            }),
        };
        Ok(Request { table, verb })
    }

    /// Whether every option that was given belongs to this command.
    fn check_options(&self, command: &Command<'_>) -> Parsed<()> {
        let rule = match command.letter {
            'A' | 'C' | 'I' | 'R' => true,
            'D' => command.number.is_none(),
            _ => false,
        };
        let foreign = |&&letter: &&char| match letter {
            'n' | 'x' | LINE_NUMBERS => command.letter != 'L',
            'c' => !rule && command.letter != 'P',
            letter => !rule && "psdiofjm".contains(letter),
        };
        match self.given.iter().find(foreign) {
            Some(letter) => Err(format!("Illegal option `-{letter}' with this command")),
            None => Ok(()),
        }
    }

    /// The rules that one command means: one for each pair of a source and a destination.
    fn rules(&mut self, chain: &str, table: &Table, tables: &Tables) -> Parsed<Vec<Rule>> {
        match chain {
            "PREROUTING" | "INPUT" if self.rule.out_interface.is_some() => {
                return Err(format!("Can't use -o with {chain}"));
            }
            "OUTPUT" | "POSTROUTING" if self.rule.in_interface.is_some() => {
                return Err(format!("Can't use -i with {chain}"));
            }
            _ => {}
        }
        let mut rule = core::mem::take(&mut self.rule);
        for extension in self.extensions.drain(..) {
            extension.finish()?;
            if let Part::Match(Match::Set(wish)) = &extension.part
                && tables.sets.get(&wish.value.name).is_none()
            {
                return Err(format!("Set {} doesn't exist.", wish.value.name));
            }
            if let Part::Match(Match::Limiting(part)) = &extension.part {
                limiting::check_memory(part, tables)?;
            }
            match extension.part {
                Part::Match(part) => rule.matches.push(part),
                Part::Target(part) => rule.target = Some(part),
            }
        }
        if let Some((name, goto)) = self.next_chain {
            let found = table.find_chain(name).filter(|&id| table.chain(id).builtin.is_none());
            let id = found.ok_or_else(|| format!("Chain '{name}' does not exist"))?;
            rule.target = Some(if goto { Target::Goto(id) } else { Target::Jump(id) });
        }
        match rule.protocol {
            Some(Negatable { value: 0, not: true }) => {
                return Err("rule would never match protocol".to_string());
            }
            Some(Negatable { value: 0, not: false }) => rule.protocol = None,
            _ => {}
        }
        let sources = wishes(self.sources.take());
        let destinations = wishes(self.destinations.take());
        if sources.len() * destinations.len() > Table::MAX_RULES {
            return Err("too many addresses specified".to_string());
        }
        let mut rules = Vec::with_capacity(sources.len() * destinations.len());
        for source in &sources {
            for &destination in &destinations {
                rules.push(Rule { source: *source, destination, ..rule.clone() });
            }
        }
        Ok(rules)
    }
}

/// The letter that stands for `--line-numbers`, which has no short form.
const LINE_NUMBERS: char = '0';

fn table(name: &str) -> Parsed<TableName> {
    let found = TableName::ALL.into_iter().find(|table| table.name() == name);
    found.ok_or_else(|| format!("table '{name}' does not exist"))
}

/// Why there is no match of that name.
fn unknown_match(name: &str) -> String {
    match name {
        "time" => "time match: rutter has no clock that knows the time of day".to_string(),
        "physdev" => "physdev match: rutter has no bridges whose ports could be asked for".to_string(),
        _ => format!("Couldn't load match `{name}':No such file or directory"),
    }
}

fn rule_number(text: &str) -> Parsed<usize> {
    let number = decimal(text).filter(|&number| number > 0);
    number.ok_or_else(|| format!("Invalid rule number `{text}'"))
}

fn addresses(text: &str, not: bool) -> Parsed<Negatable<Vec<Ipv4Cidr>>> {
    let value = networks(text)?;
    match value.as_slice() {
        [one] if not && one.prefix_len() == 0 => Err(format!("rule would never match address {text}")),
        [_, _, ..] if not => {
            Err("! not allowed with multiple source or destination IP addresses".to_string())
        }
        _ => Ok(Negatable { not, value }),
    }
}

/// One wish for each address; every address is no wish. Never empty.
fn wishes(addresses: Option<Negatable<Vec<Ipv4Cidr>>>) -> Vec<Option<Negatable<Ipv4Cidr>>> {
    let Some(Negatable { not, value }) = addresses else { return vec![None] };
    value.into_iter().map(|value| (value.prefix_len() > 0).then_some(Negatable { not, value })).collect()
}

/// A wish for an interface; every interface is no wish.
fn interface_wish(text: &str, not: bool) -> Parsed<Option<Negatable<InterfacePattern>>> {
    let value = interface(text)?;
    Ok((not || !value.prefix || !value.text.is_empty()).then_some(Negatable { not, value }))
}
