//! `help`: all commands, or one of them.

use super::{Action, COMMANDS, Failure};
use crate::config::Config;
use alloc::{format, string::String};

pub fn parse(words: &[String], _: &Config) -> Result<Action, Failure> {
    let [name] = words else {
        let mut text = String::new();
        for command in COMMANDS {
            text += &format!("{:<17} {}\n", command.name, command.summary);
        }
        text += "`help COMMAND` shows how a command is written. Ctrl-C stops what runs, Tab completes words.";
        return Ok(Action::print(text));
    };
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => Ok(Action::print(format!("{}\n{}", command.summary, command.usage))),
        None => Err(Failure::new(1, format!("help: no help topics match `{name}'"))),
    }
}
