//! `trace`: every station of the real packets that fit, as `explain` prints those of an imagined one.

use super::{Action, Failure, Job, Progress, Session};
use crate::{
    config::Config,
    tap::{filter::Filter, tracer::Match},
};
use alloc::{format, string::String};

/// How it is written.
pub const USAGE: &str = "\
usage: trace on [-i DEVICE] [EXPRESSION]
       trace off
       trace [show]
EXPRESSION is that of tcpdump, and looks at packets as they come in.";

/// Words that may follow, for Tab.
pub fn words(before: &[&str]) -> &'static [&'static str] {
    match before {
        [] => &["off", "on", "show"],
        _ => &["-i", "and", "dst", "host", "icmp", "net", "not", "or", "port", "src", "tcp", "udp"],
    }
}

fn fail(text: impl core::fmt::Display) -> Failure {
    Failure::new(1, format!("trace: {text}"))
}

pub fn parse(words: &[String], config: &Config) -> Result<Action, Failure> {
    let (first, rest) = match words.split_first() {
        Some((first, rest)) => (first.as_str(), rest),
        None => ("show", words),
    };
    match (first, rest) {
        ("on", rest) => {
            let wanted = understand(rest, config)?;
            Ok(Action::once(move |session| {
                session.router.taps().start_trace(wanted);
                Ok(String::new())
            }))
        }
        ("off", []) => Ok(Action::once(|session| {
            session.router.taps().stop_trace();
            Ok(String::new())
        })),
        ("show", []) => Ok(Action::job(Show(0))),
        ("off" | "show", [word, ..]) => Err(fail(format_args!("unexpected argument '{word}'"))),
        (other, _) => Err(fail(format_args!("'{other}' is none of on, off, show"))),
    }
}

fn understand(words: &[String], config: &Config) -> Result<Match, Failure> {
    let (interface, words) = match words {
        [option, rest @ ..] if option == "-i" => {
            let [name, rest @ ..] = rest else { return Err(fail("option requires an argument -- 'i'")) };
            let known = config.find_interface(name);
            (Some(known.ok_or_else(|| fail(format_args!("{name}: No such device exists")))?), rest)
        }
        words => (None, words),
    };
    Ok(Match { interface, filter: Filter::parse(&words.join(" ")).map_err(fail)? })
}

/// Prints what was met, a packet in each step.
struct Show(usize);

impl Job for Show {
    fn step(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Progress {
        let tracer = session.router.taps().tracer();
        if let Some(story) = tracer.stories().nth(self.0) {
            self.0 += 1;
            let micros = story.time.total_micros();
            *out += &format!("[{:5}.{:06}]\n", micros / 1_000_000, micros % 1_000_000);
            for line in story.lines() {
                *out += line;
                out.push('\n');
            }
            return Progress::More;
        }
        let state = if tracer.is_on() { "on" } else { "off" };
        *out += &format!("trace is {state}; {} packets were passed over\n", tracer.passed_over());
        Progress::Done(0)
    }
}
