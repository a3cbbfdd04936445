//! What runs: commands that take their time, and what they may touch meanwhile.

use super::Platform;
use crate::{
    config::{Change, Config},
    router::{Context, Router},
};
use alloc::{boxed::Box, string::String};
use smoltcp::time::Instant;

pub use super::argument::Failure;

/// Everything a running command may look at and change.
pub struct Session<'a, 'b> {
    /// The router.
    pub router: &'a mut Router,
    /// The machine below.
    pub platform: &'a mut dyn Platform,
    /// The moment.
    pub cx: &'a mut Context<'b>,
}

/// What a command wants, once its words are understood. Nothing has happened yet.
pub enum Action {
    /// Changes the configuration.
    Edit(Box<Edit>),
    /// Changes the configuration by a text that follows the command.
    Read(Box<Read>),
    /// Prints a text.
    Print(String),
    /// Does something with the console itself.
    Console(Builtin),
    /// Anything else.
    Job(Box<dyn Job>),
}

/// What a command can do with the console itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Builtin {
    /// `history`
    History,
    /// `clear`
    Clear,
}

/// A change of the configuration: checks everything first, and says what became stale.
pub type Edit = dyn FnOnce(&mut Config) -> Result<Change, Failure>;
/// The same, with the text that follows the command.
pub type Read = dyn FnOnce(&mut Config, &str) -> Result<Change, Failure>;

/// A command that runs in steps, so that the packets do not have to wait for it.
pub trait Job {
    /// Goes on, and writes a piece of its output: a few kilobytes at most.
    fn step(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Progress;

    /// When it wants to go on, after it said [`Progress::Waiting`].
    fn poll_at(&self) -> Option<Instant> {
        None
    }

    /// Ctrl-C: writes its last words and cleans up.
    fn interrupt(&mut self, _: &mut Session<'_, '_>, _: &mut String) {}
}

/// How far a job is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// It has more to write.
    More,
    /// It waits for [`Job::poll_at`] or for a packet.
    Waiting,
    /// It ended, with this status.
    Done(u8),
    /// It failed.
    Failed(Failure),
}

impl Action {
    /// Changes the configuration.
    pub fn edit<E: Into<Failure>>(change: impl FnOnce(&mut Config) -> Result<Change, E> + 'static) -> Self {
        Self::Edit(Box::new(|config| change(config).map_err(Into::into)))
    }

    /// Runs in steps.
    pub fn job(job: impl Job + 'static) -> Self {
        Self::Job(Box::new(job))
    }

    /// Does something at once, and writes what it has to say.
    pub fn once(work: impl FnOnce(&mut Session<'_, '_>) -> Result<String, Failure> + 'static) -> Self {
        Self::job(Once(Some(work)))
    }

    /// Looks at the router.
    pub fn look(look: impl FnOnce(&Router) -> Result<String, Failure> + 'static) -> Self {
        Self::once(|session| look(session.router))
    }

    /// Looks at the router, where nothing can go wrong.
    pub fn show(look: impl FnOnce(&Router) -> String + 'static) -> Self {
        Self::once(|session| Ok(look(session.router)))
    }

    /// Prints a text, and a line break behind it.
    pub fn print(text: impl Into<String>) -> Self {
        let mut text = text.into();
        if !text.is_empty() {
            text.push('\n');
        }
        Self::Print(text)
    }
}

struct Once<F>(Option<F>);

impl<F: FnOnce(&mut Session<'_, '_>) -> Result<String, Failure>> Job for Once<F> {
    fn step(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Progress {
        match self.0.take().map(|work| work(session)) {
            Some(Ok(text)) => {
                out.push_str(&text);
                Progress::Done(0)
            }
            Some(Err(failure)) => Progress::Failed(failure),
            None => Progress::Done(0),
        }
    }
}
