//! Runs texts of commands as sh would: variables, status, `&&` and `||`, redirections.

use super::{
    Action, Failure, ScriptError,
    script::{self, Command, Line, Lines, Output, SyntaxError, Variables, When},
    understand,
};
use crate::{config::Config, router::Router};
use alloc::{format, string::String, vec::Vec};

/// What goes from one command to the next.
#[derive(Default)]
pub struct Shell {
    /// `NAME=value`
    pub variables: Variables,
    /// `$?`
    pub status: u8,
}

impl Shell {
    /// Understands one command; what belongs to the shell itself is done at once.
    pub fn prepare(&mut self, command: &Command, config: &Config) -> Result<Action, Failure> {
        let assignments = command.words.iter().map_while(script::Word::assignment).collect::<Vec<_>>();
        if assignments.len() == command.words.len() {
            for (name, value) in assignments {
                let value = self.expand(&[value])?.concat();
                if !self.variables.set(name, value) {
                    return Err(Failure::new(1, format!("{name}: too many variables")));
                }
            }
            return Ok(Action::print(""));
        }
        let words = self.expand(&command.words)?;
        let target = match &command.output {
            Output::File(word) => self.expand(core::slice::from_ref(word))?.concat(),
            _ => return understand(&words, config),
        };
        redirect(&words, &target, config)
    }

    fn expand(&self, words: &[script::Word]) -> Result<Vec<String>, Failure> {
        script::expand(words, &self.variables, self.status)
            .ok_or_else(|| Failure::new(1, "the line is too long once its variables are replaced"))
    }
}

/// `echo VALUE > /proc/sys/..`: the same as `sysctl`.
fn redirect(words: &[String], file: &str, config: &Config) -> Result<Action, Failure> {
    let key = file.strip_prefix("/proc/sys/");
    match (words, key) {
        ([echo, value @ ..], Some(key)) if echo == "echo" => {
            let setting = format!("{key}={}", value.join(" "));
            super::sysctl::parse(&[setting], config)
        }
        _ => Err(Failure::new(1, format!("{file}: Permission denied"))),
    }
}

/// Checks a whole text of commands and then applies it whole (the configuration at boot). Only commands that change
/// the configuration are allowed, beside `echo` and the like. The text adds to what is configured already.
///
/// # Errors
/// The first line that is wrong; the router is then as it was.
pub fn load(router: &mut Router, text: &str) -> Result<(), ScriptError> {
    router.settle_counters();
    let mut scratch = router.config().clone();
    let mut shell = Shell::default();
    for line in Lines::new(text) {
        let number = line.number;
        run_line(&mut shell, line, &mut scratch).map_err(|message| ScriptError { line: number, message })?;
    }
    router.replace_config(scratch);
    Ok(())
}

fn run_line(shell: &mut Shell, line: Line<'_>, config: &mut Config) -> Result<(), String> {
    let commands = line.commands.map_err(SyntaxError::message)?;
    // A list of `&&` and `||` has failed when its last command has.
    let mut failed: Option<String> = None;
    for command in commands {
        if command.when == When::Always
            && let Some(message) = failed.take()
        {
            return Err(message);
        }
        if !command.is_due(shell.status) {
            continue;
        }
        let outcome = shell.prepare(&command, config).and_then(|action| match action {
            Action::Edit(change) => change(config).map(|_| ()),
            Action::Read(change) if command.here.is_some() => change(config, line.here).map(|_| ()),
            Action::Print(_) => Ok(()),
            _ => Err(Failure::new(1, "this command changes no configuration")),
        });
        shell.status = outcome.as_ref().map_or_else(|failure| failure.status, |()| 0);
        failed = outcome.err().map(|failure| match failure.text {
            text if text.is_empty() => String::from("the command failed"),
            text => text,
        });
    }
    failed.map_or(Ok(()), Err)
}

/// `echo WORD..`
pub fn echo(words: &[String], _: &Config) -> Result<Action, Failure> {
    Ok(match words.split_first() {
        Some((first, rest)) if first == "-n" => Action::Print(rest.join(" ")),
        _ => Action::Print(words.join(" ") + "\n"),
    })
}

/// `true`, `:`
pub fn succeed(_: &[String], _: &Config) -> Result<Action, Failure> {
    Ok(Action::print(""))
}

/// `false`
pub fn fail(_: &[String], _: &Config) -> Result<Action, Failure> {
    Err(Failure::new(1, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{PortInfo, tests::routes},
        router::Limits,
    };
    use smoltcp::wire::EthernetAddress;

    fn router() -> Router {
        let card = |last| PortInfo::new(EthernetAddress([0x52, 0x54, 0, 0, 0, last]), 1500);
        Router::new(&[card(1), card(2)], &Limits::default(), &mut crate::test_support::random())
    }

    #[test]
    fn a_text_is_applied_whole_with_variables_and_lists() {
        let mut router = router();
        let text = "#!/bin/sh\nWAN=eth1\nip addr add 10.0.2.15/24 dev $WAN; ip link set $WAN up\n\
                    ip route add default via 10.0.2.2 \\\n    dev $WAN\n\
                    ip route del blackhole 10.0.0.0/8 2>/dev/null || true\n\
                    echo 1 > /proc/sys/net/ipv4/ip_forward\n";
        load(&mut router, text).unwrap();
        assert_eq!(
            routes(router.config()),
            ["0.0.0.0/0 via 10.0.2.2 dev eth1", "10.0.2.0/24 dev eth1 proto kernel scope link src 10.0.2.15"]
        );
        assert!(router.config().sysctl.ip_forward);
    }

    #[test]
    fn one_wrong_line_refuses_the_whole_text() {
        for (text, line, message) in [
            ("ip link set eth0 up\n\nip link set eth9 up\n", 3, "Cannot find device \"eth9\""),
            ("ip link set eth0 up\nfoo bar", 2, "foo: command not found"),
            ("ip addr add 10.0.0.1/24 dev eth0 'x", 1, "syntax error: unexpected end of file"),
            ("ip link set eth0 up\nip route show\n", 2, "this command changes no configuration"),
            (
                "ip link set eth0 mtu 67 || ip link set eth0 mtu 9001",
                1,
                "Error: mtu greater than device maximum.",
            ),
            ("false; true", 1, "the command failed"),
        ] {
            let mut router = router();
            let before = router.config().clone();
            let error = load(&mut router, text).unwrap_err();
            assert_eq!((error.line, error.message.as_str()), (line, message));
            assert_eq!(*router.config(), before);
        }
    }
}
