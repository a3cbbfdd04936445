//! Tab: what a word that was begun may become.

use super::COMMANDS;
use crate::{config::Config, sort::sort};
use alloc::{format, string::String, vec::Vec};

/// What Tab does.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Completion {
    /// To be inserted at the cursor.
    pub insert: String,
    /// To be shown, where several words are possible: a line or more.
    pub choices: String,
}

/// Words behind which the name of an interface stands.
const BEFORE_INTERFACE: [&str; 12] =
    ["dev", "iif", "oif", "in", "out", "-i", "-o", "-I", "-k", "-K", "-S", "ifconfig"];

/// Completes the word that ends `text`.
pub fn complete(text: &str, config: &Config) -> Completion {
    let segment = text.rsplit([';', '|', '&']).next().unwrap_or(text);
    let mut words: Vec<&str> = segment.split_ascii_whitespace().collect();
    let begun = if segment.ends_with([' ', '\t']) { "" } else { words.pop().unwrap_or("") };
    if words.is_empty() && begun.is_empty() {
        // Lines that are pasted may begin with tabs.
        return Completion::default();
    }
    let mut found: Vec<&str> =
        candidates(&words, config).into_iter().filter(|it| it.starts_with(begun)).collect();
    sort(&mut found);
    found.dedup();
    let Some((first, others)) = found.split_first() else { return Completion::default() };
    if others.is_empty() {
        return Completion { insert: format!("{} ", &first[begun.len()..]), choices: String::new() };
    }
    // All words are ASCII, but for names of interfaces; those are compared whole characters at a time, too.
    let common = others.iter().fold(*first, |common, word| {
        let differs = common.char_indices().zip(word.chars()).find(|((_, a), b)| a != b);
        let end = differs.map_or(common.len().min(word.len()), |((place, _), _)| place);
        &common[..end]
    });
    if common.len() > begun.len() {
        return Completion { insert: String::from(&common[begun.len()..]), choices: String::new() };
    }
    Completion { insert: String::new(), choices: columns(&found) }
}

fn candidates<'a>(words: &[&str], config: &'a Config) -> Vec<&'a str> {
    let interfaces = config.interfaces.iter().map(|interface| interface.name.as_str());
    let Some((name, rest)) = words.split_first() else {
        return COMMANDS.iter().map(|command| command.name).collect();
    };
    if words.last().is_some_and(|last| BEFORE_INTERFACE.contains(last)) {
        return interfaces.collect();
    }
    if *name == "help" {
        return COMMANDS.iter().map(|command| command.name).collect();
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == *name) else { return Vec::new() };
    (command.words)(rest).iter().copied().chain(interfaces.filter(|_| !rest.is_empty())).collect()
}

/// The words side by side, on lines of at most 79 columns.
fn columns(words: &[&str]) -> String {
    let width = words.iter().map(|word| word.chars().count()).max().unwrap_or(0) + 2;
    let per_line = (79 / width).max(1);
    let mut out = String::new();
    for line in words.chunks(per_line) {
        let mut text = String::new();
        for word in line {
            text += &format!("{word:<width$}");
        }
        out += text.trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    #[test]
    fn commands_keywords_and_interfaces() {
        for (text, insert) in [
            ("sysc", "tl "),
            ("ip lin", "k "),
            ("ip -s lin", "k "),
            ("ip link set al", "ias "),
            ("ip link set dev e", "th"),
            ("ip link set dev eth1", " "),
            ("ip addr add 10.0.0.1/24 b", "roadcast "),
            ("ip a; ip ro", "ute "),
            ("ip rule add pri", "ority "),
            ("help sysctl", " "),
            ("xyz", ""),
            ("xyz ab", ""),
            ("\t", ""),
            ("", ""),
        ] {
            assert_eq!(complete(text, &config()).insert, insert, "{text:?}");
        }
        assert_eq!(complete("ip link set dev ", &config()).choices, "eth0  eth1  lo\n");
        assert_eq!(complete("ip ", &config()).choices, "address  link     neigh    route    rule\n");
    }
}
