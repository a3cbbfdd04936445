//! `sysctl`, as sysctl(8) of procps has it.

use super::{Action, Failure, Session, argument::Arguments};
use crate::{
    config::{Config, sysctl::SysctlError},
    sort::sort,
};
use alloc::{format, string::String, vec::Vec};

/// How it is written.
pub const USAGE: &str = "usage: sysctl [-a] [-n] [-N] [-e] [-q] [-w] [KEY[=VALUE]]..";

/// A value that nobody sets: the number of flows.
const COUNT: &str = "net/netfilter/nf_conntrack_count";
/// Set to 0, it is what the memory allows, and that is what is shown.
const MAX: &str = "net/netfilter/nf_conntrack_max";

#[derive(Clone, Copy, Default)]
struct Options {
    all: bool,
    values_only: bool,
    names_only: bool,
    ignore_unknown: bool,
    write: bool,
}

pub fn parse(words: &[String], config: &Config) -> Result<Action, Failure> {
    let mut options = Options::default();
    let mut keys = Vec::new();
    for word in Arguments::new(words) {
        match word.strip_prefix('-') {
            Some(letters) if !letters.is_empty() => option(word, letters, &mut options)?,
            _ => keys.push(word),
        }
    }
    if options.all {
        return Ok(list(options, None));
    }
    if keys.is_empty() {
        return Err(Failure::new(1, "sysctl: no variables specified"));
    }
    if options.write || keys.iter().any(|key| key.contains('=')) {
        return write(options, &keys, config);
    }
    // One key that is a directory shows all below it.
    let paths: Vec<String> = keys.iter().map(|key| path(key)).collect();
    Ok(list(options, Some(paths)))
}

fn option(word: &str, letters: &str, options: &mut Options) -> Result<(), Failure> {
    let long = letters.strip_prefix('-');
    let letters = match long {
        Some("all") => "a",
        Some("values") => "n",
        Some("names") => "N",
        Some("ignore") => "e",
        Some("quiet") => "q",
        Some("write") => "w",
        Some(_) => return Err(Failure::new(1, format!("sysctl: unrecognized option '{word}'"))),
        None => letters,
    };
    for letter in letters.chars() {
        match letter {
            'a' | 'A' | 'X' => options.all = true,
            'n' => options.values_only = true,
            'N' => options.names_only = true,
            'e' => options.ignore_unknown = true,
            'w' => options.write = true,
            // Nothing is printed that was set.
            'q' => {}
            'p' | 'f' => {
                return Err(Failure::new(
                    1,
                    "sysctl: there are no files to read; give the settings as words",
                ));
            }
            other => return Err(Failure::new(1, format!("sysctl: invalid option -- '{other}'"))),
        }
    }
    Ok(())
}

/// The place below /proc/sys: whichever of `.` and `/` comes first separates, and the other stands for it.
fn path(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(first) if key.as_bytes()[first] == b'.' => key
            .chars()
            .map(|character| match character {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => String::from(key),
    }
}

/// The name of a place, with dots.
fn name(path: &str) -> String {
    path.chars()
        .map(|character| match character {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect()
}

fn unknown(path: &str) -> Failure {
    Failure::new(1, format!("sysctl: cannot stat /proc/sys/{path}: No such file or directory"))
}

fn write(options: Options, keys: &[&str], config: &Config) -> Result<Action, Failure> {
    let mut wanted = Vec::new();
    for key in keys {
        let Some((key, value)) = key.split_once('=') else {
            return Err(Failure::new(1, format!("sysctl: \"{key}\" must be of the form name=value")));
        };
        let path = path(key.trim_ascii());
        match config.sysctl(&path) {
            None if path == COUNT => return Err(invalid(&path)),
            None if options.ignore_unknown => {}
            None => return Err(unknown(&path)),
            Some(_) => wanted.push((path, String::from(value.trim_ascii()))),
        }
    }
    // All values are tried first, so that one that is wrong leaves no trace of the others.
    let mut scratch =
        Config { interfaces: config.interfaces.clone(), sysctl: config.sysctl.clone(), ..Config::new(&[]) };
    for (path, value) in &wanted {
        scratch.set_sysctl(path, value).map_err(|error| match error {
            SysctlError::Unknown => unknown(path),
            SysctlError::Invalid => invalid(path),
            SysctlError::Fixed(only) => {
                Failure::new(1, format!("{} (it is always {only})", invalid(path).text))
            }
        })?;
    }
    Ok(Action::edit(move |config| {
        let mut change = crate::config::Change::NONE;
        for (path, value) in &wanted {
            change = config.set_sysctl(path, value).map_err(|_| invalid(path))?;
        }
        Ok::<_, Failure>(change)
    }))
}

fn invalid(path: &str) -> Failure {
    Failure::new(1, format!("sysctl: setting key \"{}\": Invalid argument", name(path)))
}

fn value(path: &str, session: &Session<'_, '_>) -> Option<String> {
    let config = session.router.config();
    match path {
        COUNT => Some(format!("{}", session.router.connections().flows.len())),
        MAX if config.sysctl.conntrack.max == 0 => {
            Some(format!("{}", session.router.connections().flows.limit()))
        }
        _ => config.sysctl(path),
    }
}

/// Shows these keys, or all of them.
fn list(options: Options, wanted: Option<Vec<String>>) -> Action {
    Action::once(move |session| {
        let mut known = session.router.config().sysctl_paths();
        known.push(String::from(COUNT));
        sort(&mut known);
        let mut out = String::new();
        let mut failure = None;
        for wanted in wanted.unwrap_or_else(|| alloc::vec![String::new()]) {
            let inside = format!("{}/", wanted.trim_end_matches('/'));
            let found = known
                .iter()
                .filter(|path| **path == wanted || wanted.is_empty() || path.starts_with(&inside));
            let before = out.len();
            for path in found {
                let value = value(path, session).unwrap_or_default();
                out.push_str(&match options {
                    Options { names_only: true, .. } => name(path),
                    Options { values_only: true, .. } => value,
                    _ => format!("{} = {value}", name(path)),
                });
                out.push('\n');
            }
            if out.len() == before && !options.ignore_unknown {
                out.push_str(&unknown(&wanted).text);
                out.push('\n');
                failure = Some(Failure::new(1, ""));
            }
        }
        match failure {
            None => Ok(out),
            Some(failure) => Err(Failure { text: String::from(out.trim_end()), ..failure }),
        }
    })
}
