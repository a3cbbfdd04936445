//! From text to commands: words, quotes, variables and separators, as far as POSIX sh has them (XCU 2.2 to 2.9.3).

use alloc::{collections::VecDeque, string::String, vec::Vec};

/// A line is cut into a few of these: commands with what stands between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// Whether it runs, given the status of the one before.
    pub when: When,
    /// Its words, not yet expanded.
    pub words: Vec<Word>,
    /// `<<WORD`: the line that ends the text for its input.
    pub here: Option<String>,
    /// Where its output goes.
    pub output: Output,
    /// `2>/dev/null`: errors are not shown.
    pub hush: bool,
}

/// What stands before a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// `;` or nothing.
    Always,
    /// `&&`
    Success,
    /// `||`
    Failure,
}

/// Where output goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// To the terminal.
    Console,
    /// `>/dev/null`
    Nowhere,
    /// `>FILE`; the only files that can be written are those of /proc/sys.
    File(Word),
}

/// A word, in pieces.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Word(pub Vec<Piece>);

/// A piece of a word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// `$NAME`, `${NAME}` or `$?`; unquoted, its value is split at blanks.
    Variable { name: String, quoted: bool },
}

/// Why a text cannot be cut into commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyntaxError {
    /// A quote is open, or the last character is a backslash: more lines are needed.
    Incomplete,
    /// This stands where it cannot.
    Unexpected(&'static str),
    /// What stands behind `>` or `<<` is missing or not supported.
    Redirection,
    /// `${..}` other than `${NAME}`, or `$(..)`.
    Expansion,
}

impl SyntaxError {
    /// One line for a person.
    pub fn message(self) -> String {
        match self {
            Self::Incomplete => String::from("syntax error: unexpected end of file"),
            Self::Unexpected(token) => {
                alloc::format!("syntax error near unexpected token `{token}'")
            }
            Self::Redirection => String::from(
                "syntax error: only >/dev/null, 2>/dev/null, 2>&1, >/proc/sys/.. and <<WORD redirect",
            ),
            Self::Expansion => String::from("syntax error: only $NAME, ${NAME} and $? are expanded"),
        }
    }
}

/// The values that words may name, bounded in number and size.
#[derive(Clone, Default, Debug)]
pub struct Variables(Vec<(String, String)>);

impl Variables {
    const MAX: usize = 64;

    /// The value of a variable; empty where it was never set, as in sh.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Sets a variable; `false`: there are too many.
    pub fn set(&mut self, name: &str, value: String) -> bool {
        if let Some(entry) = self.0.iter_mut().find(|(known, _)| known == name) {
            entry.1 = value;
        } else if self.0.len() < Self::MAX {
            self.0.push((String::from(name), value));
        } else {
            return false;
        }
        true
    }
}

/// The most bytes that quotes and backslashes may join to one line.
pub const LINE_MAX: usize = 4096;

/// The most bytes that the words of one command may have once their variables are expanded.
pub const EXPANDED_MAX: usize = 65_536;

/// The words with their variables replaced; `None` where that makes too much of them.
pub fn expand(words: &[Word], variables: &Variables, status: u8) -> Option<Vec<String>> {
    let mut out = Vec::new();
    let mut size = 0;
    for word in words {
        let mut open: Option<String> = None;
        for piece in &word.0 {
            match piece {
                Piece::Text(text) => {
                    size += text.len();
                    open.get_or_insert_default().push_str(text);
                }
                Piece::Variable { name, quoted } => {
                    let number;
                    let value = if name == "?" {
                        number = alloc::format!("{status}");
                        &number
                    } else {
                        variables.get(name)
                    };
                    size += value.len();
                    if size > EXPANDED_MAX {
                        return None;
                    }
                    if *quoted {
                        open.get_or_insert_default().push_str(value);
                        continue;
                    }
                    if value.starts_with([' ', '\t']) {
                        out.extend(open.take());
                    }
                    for (place, part) in value.split_ascii_whitespace().enumerate() {
                        if place > 0 {
                            out.extend(open.take());
                        }
                        open.get_or_insert_default().push_str(part);
                    }
                    if value.ends_with([' ', '\t']) {
                        out.extend(open.take());
                    }
                }
            }
        }
        out.extend(open);
    }
    Some(out)
}

/// Cuts one line into commands. The line may contain line breaks where a quote or a backslash carried it on.
pub fn parse(line: &str) -> Result<VecDeque<Command>, SyntaxError> {
    let mut commands = VecDeque::new();
    let mut command = Command::new(When::Always);
    let mut rest = Scanner { text: line };
    loop {
        rest.skip_blanks();
        let Some(next) = rest.peek() else { break };
        if next == '#' {
            rest.skip_comment();
            continue;
        }
        let when = if rest.take("&&") {
            Some((When::Success, "&&"))
        } else if rest.take("||") {
            Some((When::Failure, "||"))
        } else if rest.take(";") || rest.take("\n") {
            Some((When::Always, ";"))
        } else {
            None
        };
        if let Some((when, token)) = when {
            if !command.is_empty() {
                commands.push_back(core::mem::replace(&mut command, Command::new(when)));
            } else if when != When::Always || command.when != When::Always {
                return Err(SyntaxError::Unexpected(token));
            }
            continue;
        }
        if rest.take("2>&1") {
        } else if rest.take("2>") {
            rest.skip_blanks();
            if rest.word()? != Word::plain("/dev/null") {
                return Err(SyntaxError::Redirection);
            }
            command.hush = true;
        } else if rest.take("<<") {
            rest.skip_blanks();
            match rest.word()?.0.as_slice() {
                [Piece::Text(end)] => command.here = Some(end.clone()),
                _ => return Err(SyntaxError::Redirection),
            }
        } else if rest.take(">") {
            rest.skip_blanks();
            let file = rest.word()?;
            command.output = match file {
                file if file == Word::plain("/dev/null") => Output::Nowhere,
                Word(pieces) if pieces.is_empty() => return Err(SyntaxError::Redirection),
                file => Output::File(file),
            };
        } else if let Some(token) =
            ["|", "&", "<", "(", ")"].into_iter().find(|token| rest.text.starts_with(token))
        {
            return Err(SyntaxError::Unexpected(token));
        } else {
            command.words.push(rest.word()?);
        }
    }
    if !command.is_empty() {
        commands.push_back(command);
    } else if command.when != When::Always {
        return Err(SyntaxError::Incomplete);
    }
    Ok(commands)
}

impl Command {
    fn new(when: When) -> Self {
        Self { when, words: Vec::new(), here: None, output: Output::Console, hush: false }
    }

    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.here.is_none() && self.output == Output::Console && !self.hush
    }

    /// Whether it is to run after one that ended with `status`.
    pub fn is_due(&self, status: u8) -> bool {
        match self.when {
            When::Always => true,
            When::Success => status == 0,
            When::Failure => status != 0,
        }
    }
}

impl Word {
    fn plain(text: &str) -> Self {
        Self(alloc::vec![Piece::Text(String::from(text))])
    }

    fn push(&mut self, character: char) {
        if let Some(Piece::Text(text)) = self.0.last_mut() {
            text.push(character);
        } else {
            self.0.push(Piece::Text(String::from(character)));
        }
    }

    /// `NAME=VALUE` as an assignment: the name, and the word that is its value.
    pub fn assignment(&self) -> Option<(&str, Word)> {
        let Some(Piece::Text(text)) = self.0.first() else { return None };
        let (name, value) = text.split_once('=')?;
        let valid = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.chars().all(is_name_character);
        if !valid {
            return None;
        }
        let mut pieces = alloc::vec![Piece::Text(String::from(value))];
        pieces.extend(self.0[1..].iter().map(|piece| match piece {
            // An assignment does not split its value.
            Piece::Variable { name, .. } => Piece::Variable { name: name.clone(), quoted: true },
            text => text.clone(),
        }));
        Some((name, Word(pieces)))
    }
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

struct Scanner<'a> {
    text: &'a str,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<char> {
        self.text.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.text.chars();
        let next = characters.next();
        self.text = characters.as_str();
        next
    }

    fn take(&mut self, token: &str) -> bool {
        match self.text.strip_prefix(token) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    fn skip_blanks(&mut self) {
        loop {
            self.text = self.text.trim_start_matches([' ', '\t', '\r']);
            let carried_on = self.text.strip_prefix("\\\n").or(self.text.strip_prefix("\\\r\n"));
            match carried_on {
                Some(rest) if !rest.is_empty() => self.text = rest,
                _ => return,
            }
        }
    }

    fn skip_comment(&mut self) {
        self.text = self.text.find('\n').map_or("", |end| &self.text[end..]);
    }

    fn word(&mut self) -> Result<Word, SyntaxError> {
        let mut word = Word::default();
        while let Some(next) = self.peek() {
            if matches!(next, ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')') {
                break;
            }
            self.next();
            match next {
                '\'' => {
                    let end = self.text.find('\'').ok_or(SyntaxError::Incomplete)?;
                    word.push_str(&self.text[..end]);
                    self.text = &self.text[end + 1..];
                }
                '"' => self.double_quoted(&mut word)?,
                '\\' => {
                    self.take("\r");
                    match self.next().ok_or(SyntaxError::Incomplete)? {
                        '\n' if self.text.is_empty() => return Err(SyntaxError::Incomplete),
                        '\n' => {}
                        other => word.push(other),
                    }
                }
                '$' => self.variable(&mut word, false)?,
                '`' => return Err(SyntaxError::Expansion),
                other => word.push(other),
            }
        }
        Ok(word)
    }

    fn double_quoted(&mut self, word: &mut Word) -> Result<(), SyntaxError> {
        word.push_str("");
        loop {
            match self.next().ok_or(SyntaxError::Incomplete)? {
                '"' => return Ok(()),
                '$' => self.variable(word, true)?,
                '`' => return Err(SyntaxError::Expansion),
                '\\' => match self.next().ok_or(SyntaxError::Incomplete)? {
                    '\n' => {}
                    special @ ('"' | '\\' | '$' | '`') => word.push(special),
                    other => {
                        word.push('\\');
                        word.push(other);
                    }
                },
                other => word.push(other),
            }
        }
    }

    fn variable(&mut self, word: &mut Word, quoted: bool) -> Result<(), SyntaxError> {
        let name = if self.take("?") {
            "?"
        } else if self.take("{") {
            let (name, rest) = self.text.split_once('}').ok_or(SyntaxError::Expansion)?;
            if name != "?" && (name.is_empty() || !name.chars().all(is_name_character)) {
                return Err(SyntaxError::Expansion);
            }
            self.text = rest;
            name
        } else {
            let end = self.text.find(|next| !is_name_character(next)).unwrap_or(self.text.len());
            let (name, rest) = self.text.split_at(end);
            if name.is_empty() {
                if rest.starts_with('(') {
                    return Err(SyntaxError::Expansion);
                }
                word.push('$');
                return Ok(());
            }
            self.text = rest;
            name
        };
        word.0.push(Piece::Variable { name: String::from(name), quoted });
        Ok(())
    }
}

impl Word {
    fn push_str(&mut self, text: &str) {
        if let Some(Piece::Text(open)) = self.0.last_mut() {
            open.push_str(text);
        } else {
            // Also where it is empty: '' is a word.
            self.0.push(Piece::Text(String::from(text)));
        }
    }
}

/// The logical lines of a text with their numbers from 1: lines that a quote or a backslash carries on are joined,
/// and the text behind a `<<WORD` belongs to its line.
pub struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

/// A logical line.
pub struct Line<'a> {
    /// Where it begins, from 1.
    pub number: usize,
    /// What it says.
    pub commands: Result<VecDeque<Command>, SyntaxError>,
    /// The text behind its `<<WORD`.
    pub here: &'a str,
}

impl<'a> Lines<'a> {
    /// The lines of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { rest: text, number: 1 }
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        self.number += taken.matches('\n').count();
        taken
    }

    /// The length of the first physical line at `from`, its line break included.
    fn line_end(&self, from: usize) -> usize {
        self.rest[from..].find('\n').map_or(self.rest.len(), |end| from + end + 1)
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let number = self.number;
        let mut end = self.line_end(0);
        let mut commands = parse(&self.rest[..end]);
        while commands == Err(SyntaxError::Incomplete) && end < self.rest.len().min(LINE_MAX) {
            end = self.line_end(end);
            commands = parse(&self.rest[..end]);
        }
        self.take(end);
        let delimiter =
            commands.as_ref().ok().and_then(|commands| commands.iter().find_map(|it| it.here.clone()));
        let Some(delimiter) = delimiter else { return Some(Line { number, commands, here: "" }) };
        let mut end = 0;
        while end < self.rest.len() {
            let next = self.line_end(end);
            if self.rest[end..next].trim_end_matches(['\n', '\r']) == delimiter {
                let here = self.take(end);
                self.take(next - end);
                return Some(Line { number, commands, here });
            }
            end = next;
        }
        self.take(end);
        Some(Line { number, commands: Err(SyntaxError::Incomplete), here: "" })
    }
}

#[cfg(test)]
mod tests;
