//! `iptables`, `iptables-save` and `iptables-restore`, as the tools of Linux understand and print them (1.8.9).

mod extension;
mod header;
mod limiting;
mod list;
mod marking;
mod options;
mod parse;
#[cfg(test)]
mod properties;
mod request;
mod restore;
mod row;
mod save;
mod statistic;
#[cfg(test)]
mod tests;
mod values;
mod words;

use super::{Action, Failure, Job, Progress, Session};
use crate::config::{Config, ConfigError, rules::Tables};
use alloc::{boxed::Box, format, string::String};
use list::Listing;
use request::{Request, Verb};
use restore::Restore;
pub use save::Save;
pub(super) use values::{decimal, icmp_type, masked};
pub(super) use words::words;

/// What `iptables -V` prints, and what errors begin with.
const VERSION: &str = "v1.8.9 (rutter)";

/// A command that was understood but cannot be done.
fn refused(reason: &ConfigError) -> Failure {
    Failure::new(1, format!("iptables: {reason}"))
}

/// A command that was not understood.
fn usage(reason: &str) -> Failure {
    match reason {
        _ if reason.starts_with("Bad argument") => Failure::new(2, reason),
        _ if reason.starts_with("table ") => Failure::new(3, format!("iptables {VERSION}: {reason}")),
        _ => Failure::new(2, format!("iptables {VERSION}: {reason}")),
    }
}

/// `iptables`
pub(super) fn parse(words: &[String], config: &Config) -> Result<Action, Failure> {
    let request = Request::parse(words, &config.tables)?;
    match &request.verb {
        Verb::Version => Ok(Action::print(format!("iptables {VERSION}"))),
        Verb::List(view) => {
            let listing = Listing::new(request.table, view.clone(), &config.tables)?;
            let zero = view.zero.then_some(request);
            Ok(Action::job(Lines { source: listing, afterwards: zero }))
        }
        _ => Ok(Action::edit(move |config| request.apply(&mut config.tables))),
    }
}

/// `iptables-save`
pub(super) fn parse_save(words: &[String], _: &Config) -> Result<Action, Failure> {
    Ok(lines(Save::parse(words)?))
}

/// Prints what a source says, a few kilobytes at a time.
pub(super) fn lines(source: impl LineSource + 'static) -> Action {
    Action::job(Lines { source, afterwards: None })
}

/// `iptables-restore`
pub(super) fn parse_restore(words: &[String], _: &Config) -> Result<Action, Failure> {
    let restore = Restore::parse(words)?;
    Ok(Action::Read(Box::new(move |config: &mut Config, text: &str| restore.apply(text, &mut config.tables))))
}

/// A text that is written line by line.
pub(super) trait LineSource {
    /// Appends the next line, with its line break; `false` at the end.
    fn next_line(&mut self, tables: &Tables, out: &mut String) -> bool;
}

/// Prints a long text a few kilobytes at a time.
struct Lines<S> {
    source: S,
    /// `-Z` beside `-L`.
    afterwards: Option<Request>,
}

impl<S: LineSource> Job for Lines<S> {
    fn step(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Progress {
        const STEP: usize = 2048;
        session.router.settle_counters();
        while out.len() < STEP {
            if self.source.next_line(&session.router.config().tables, out) {
                continue;
            }
            let Some(request) = self.afterwards.take() else { return Progress::Done(0) };
            let zero = |config: &mut Config| request.execute(&mut config.tables);
            return match session.router.edit(zero) {
                Ok(()) => Progress::Done(0),
                Err(reason) => Progress::Failed(refused(&reason)),
            };
        }
        Progress::More
    }
}
