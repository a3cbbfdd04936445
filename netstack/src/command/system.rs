//! Commands about the machine: `dmesg`, `uptime`, `free`, `hostname`, `uname`, `reboot`, `poweroff`, and about the console.

use super::{
    Action, Failure, Power,
    argument::{Arguments, decimal},
    job::Builtin,
};
use crate::config::{Change, Config, ConfigError};
use alloc::{format, string::String};

fn unexpected(command: &str, word: &str) -> Failure {
    Failure::new(1, format!("{command}: unexpected argument '{word}'"))
}

fn no_words(command: &str, words: &[String]) -> Result<(), Failure> {
    words.first().map_or(Ok(()), |word| Err(unexpected(command, word)))
}

/// `dmesg [-C | -c | -n LEVEL]`
pub fn dmesg(words: &[String], _: &Config) -> Result<Action, Failure> {
    let mut words = Arguments::new(words);
    let (mut show, mut clear) = (true, false);
    while let Some(word) = words.next() {
        match word {
            "-C" | "--clear" => (show, clear) = (false, true),
            "-c" | "--read-clear" => clear = true,
            "-n" | "--console-level" => {
                let level = words
                    .value()
                    .map_err(|_| Failure::new(1, "dmesg: option requires an argument -- 'n'"))?;
                let Some(number) = level_number(level) else {
                    return Err(Failure::new(1, format!("dmesg: unknown level '{level}'")));
                };
                return Ok(Action::once(move |session| {
                    session.platform.set_console_level(number);
                    Ok(String::new())
                }));
            }
            other => return Err(unexpected("dmesg", other)),
        }
    }
    Ok(Action::once(move |session| {
        let mut out = String::new();
        if show {
            session.platform.log_lines(&mut |at, _, text| {
                let micros = at.total_micros().max(0);
                out += &format!("[{:5}.{:06}] {text}\n", micros / 1_000_000, micros % 1_000_000);
            });
        }
        if clear {
            session.platform.clear_log();
        }
        Ok(out)
    }))
}

fn level_number(word: &str) -> Option<u8> {
    const NAMES: [&str; 8] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];
    // By name, messages of that level are shown; by number, those below it, as with Linux.
    let named = NAMES.iter().position(|name| *name == word).map(|place| place as u8 + 1);
    named.or_else(|| decimal(word)).filter(|level| (1..=8).contains(level))
}

/// `uptime`
pub fn uptime(words: &[String], _: &Config) -> Result<Action, Failure> {
    no_words("uptime", words)?;
    Ok(Action::once(|session| {
        let seconds = session.cx.now.total_millis().max(0) as u64 / 1000;
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
        let day = match days {
            0 => String::new(),
            1 => String::from("1 day, "),
            days => format!("{days} days, "),
        };
        let time = match hours {
            0 if minutes == 0 && days == 0 => format!("{seconds} sec"),
            0 => format!("{minutes} min"),
            hours => format!("{hours:2}:{minutes:02}"),
        };
        Ok(format!(" up {day}{time}\n"))
    }))
}

/// `free [-b | -k | -m | -h]`
pub fn free(words: &[String], _: &Config) -> Result<Action, Failure> {
    let mut show: fn(u64) -> String = |bytes| format!("{}", bytes >> 10);
    for word in words {
        show = match word.as_str() {
            "-b" | "--bytes" => |bytes| format!("{bytes}"),
            "-k" | "--kibi" => |bytes| format!("{}", bytes >> 10),
            "-m" | "--mebi" => |bytes| format!("{}", bytes >> 20),
            "-h" | "--human" => human,
            other => return Err(unexpected("free", other)),
        };
    }
    Ok(Action::once(move |session| {
        let (total, used) = session.platform.memory();
        let (frames, waiting) = (session.cx.exchange.total(), session.cx.exchange.available());
        let row = |name, fields: [String; 3]| {
            let [total, used, free] = fields;
            format!("{name:<8}{total:>12} {used:>11} {free:>11}\n")
        };
        let memory = [total, used, total.saturating_sub(used)].map(show);
        let frames = [frames, frames.saturating_sub(waiting), waiting].map(|count| format!("{count}"));
        Ok(row("", ["total", "used", "free"].map(String::from))
            + &row("Mem:", memory)
            + &row("Frames:", frames))
    }))
}

/// As `free -h` and `ls -h` write sizes: 1.2Gi, 17Mi.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "Ki", "Mi", "Gi", "Ti"];
    let power = (bytes.checked_ilog2().unwrap_or(0) / 10).min(UNITS.len() as u32 - 1);
    let unit = UNITS[power as usize];
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    if power > 0 && tenths < 100 {
        format!("{}.{}{unit}", tenths / 10, tenths % 10)
    } else {
        format!("{}{unit}", tenths / 10)
    }
}

/// `hostname [NAME]`
pub fn hostname(words: &[String], _: &Config) -> Result<Action, Failure> {
    match words {
        [] => Ok(Action::show(|router| format!("{}\n", router.config().hostname))),
        [name] => {
            let name = name.clone();
            Ok(Action::edit(move |config| set_hostname(config, &name)))
        }
        [_, other, ..] => Err(unexpected("hostname", other)),
    }
}

fn set_hostname(config: &mut Config, name: &str) -> Result<Change, ConfigError> {
    let inner = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_');
    let valid = (1..=64).contains(&name.len())
        && name.chars().all(inner)
        && !name.starts_with(['-', '.'])
        && !name.ends_with(['-', '.']);
    if !valid {
        return Err(ConfigError::new("hostname: the specified hostname is invalid"));
    }
    config.hostname = String::from(name);
    Ok(Change::NONE)
}

/// `uname [-a]`
pub fn uname(words: &[String], _: &Config) -> Result<Action, Failure> {
    const RELEASE: &str = env!("CARGO_PKG_VERSION");
    match words {
        [] => Ok(Action::print("rutter")),
        [option] if option == "-a" => {
            Ok(Action::show(|router| format!("rutter {} {RELEASE} x86_64\n", router.config().hostname)))
        }
        [option] if option == "-r" => Ok(Action::print(RELEASE)),
        [option] if option == "-n" => Ok(Action::show(|router| format!("{}\n", router.config().hostname))),
        [option] if option == "-m" => Ok(Action::print("x86_64")),
        [other, ..] => Err(unexpected("uname", other)),
    }
}

/// `version`
pub fn version(words: &[String], _: &Config) -> Result<Action, Failure> {
    no_words("version", words)?;
    Ok(Action::print(concat!("rutter ", env!("CARGO_PKG_VERSION"))))
}

/// `reboot`
pub fn reboot(words: &[String], _: &Config) -> Result<Action, Failure> {
    no_words("reboot", words)?;
    Ok(end(Power::Reboot))
}

/// `poweroff`
pub fn poweroff(words: &[String], _: &Config) -> Result<Action, Failure> {
    no_words("poweroff", words)?;
    Ok(end(Power::Off))
}

fn end(action: Power) -> Action {
    Action::once(move |session| {
        session.platform.power(action);
        Ok(String::new())
    })
}

/// `history`
pub fn history(words: &[String], _: &Config) -> Result<Action, Failure> {
    no_words("history", words)?;
    Ok(Action::Console(Builtin::History))
}

/// `clear`
pub fn clear(words: &[String], _: &Config) -> Result<Action, Failure> {
    no_words("clear", words)?;
    Ok(Action::Console(Builtin::Clear))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1536, "1.5Ki"),
            (33_554_432, "32Mi"),
            (1_257_398_272, "1.1Gi"),
            (u64::MAX, "16777215Ti"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn host_names() {
        let mut config = Config::new(&[]);
        for name in ["gw", "gw-1.example"] {
            set_hostname(&mut config, name).unwrap();
            assert_eq!(config.hostname, name);
        }
        for name in ["", "-x", "x.", "a b", "x\x1b", &"x".repeat(65)] {
            assert!(set_hostname(&mut config, name).is_err(), "{name:?}");
        }
    }
}
