//! `conntrack`: the flows that are tracked, in the format of conntrack-tools 1.4.7; conntrack(8).

mod filter;
mod print;

use super::{Action, Failure, Job, Progress, Session};
use crate::{
    config::{Config, rules::Masked},
    router::Router,
    table::{connections::Connections, flow::FlowStatistics, tick::Tick},
};
use alloc::{format, string::String};
use core::fmt::Write as _;
use filter::Filter;
use smoltcp::time::Instant;

/// What `conntrack -V` prints, and what messages begin with.
const VERSION: &str = "conntrack v1.4.7 (conntrack-tools)";

/// A command that was not understood.
fn usage(reason: String) -> Failure {
    Failure::new(2, format!("{VERSION}: {reason}"))
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verb {
    List,
    Delete,
    Update,
    Count,
    Flush,
    Statistics,
    Version,
}

const VERBS: [(&str, &str, Verb); 7] = [
    ("-L", "--dump", Verb::List),
    ("-D", "--delete", Verb::Delete),
    ("-U", "--update", Verb::Update),
    ("-C", "--count", Verb::Count),
    ("-F", "--flush", Verb::Flush),
    ("-S", "--stats", Verb::Statistics),
    ("-V", "--version", Verb::Version),
];

/// Understands the words behind `conntrack`.
pub(super) fn parse(words: &[String], _: &Config) -> Result<Action, Failure> {
    let request = Request::parse(words)?;
    Ok(match request.verb {
        Verb::List | Verb::Delete | Verb::Update => Action::job(Walk { request, place: 0, count: 0 }),
        Verb::Count => Action::show(|router| format!("{}\n", router.connections().flows.len())),
        Verb::Statistics => Action::show(|router| statistics(&router.connections().flows.statistics)),
        Verb::Version => Action::print(VERSION),
        Verb::Flush => Action::once(|session| {
            session.router.end_all_flows();
            Ok(format!("{VERSION}: connection tracking table has been emptied.\n"))
        }),
    })
}

/// A command that was understood.
#[derive(Debug)]
struct Request {
    verb: Verb,
    /// `expect` instead of `conntrack`: a table that is always empty.
    expectations: bool,
    /// `-o extended`
    extended: bool,
    filter: Filter,
    /// `-U --mark`: what marks become.
    mark: Option<Masked>,
}

impl Request {
    fn parse(words: &[String]) -> Result<Self, Failure> {
        let mut request = Self {
            verb: Verb::Version,
            expectations: false,
            extended: false,
            filter: Filter::default(),
            mark: None,
        };
        let mut verb = None;
        let mut first_option = None;
        // The options of a protocol are known only once it is, wherever `-p` stands.
        request.filter.set_protocol(words)?;
        let mut words = words.iter().map(String::as_str).peekable();
        while let Some(word) = words.next() {
            if let Some(&(_, _, found)) =
                VERBS.iter().find(|(short, long, _)| word == *short || word == *long)
            {
                if verb.replace(found).is_some() {
                    return Err(usage("Invalid commands combination".into()));
                }
                request.expectations = match words.next_if(|word| !word.starts_with('-')) {
                    None | Some("conntrack") => false,
                    Some("expect") => true,
                    Some(other) => return Err(usage(format!("unknown type `{other}'"))),
                };
            } else if word == "-o" || word == "--output" {
                match words.next() {
                    Some("extended") => request.extended = true,
                    Some(other) => return Err(usage(format!("unsupported output type `{other}'"))),
                    None => return Err(usage(format!("option `{word}' requires an argument"))),
                }
            } else {
                first_option = first_option.or(Some(word));
                request.filter.option(word, &mut words)?;
            }
        }
        request.verb = verb.ok_or_else(|| usage("no command specified".into()))?;
        if request.verb == Verb::Update {
            request.mark = request.filter.take_mark();
        }
        match (request.verb, first_option) {
            (Verb::List | Verb::Delete | Verb::Update, _) | (_, None) => Ok(request),
            (_, Some(option)) => Err(usage(format!("Illegal option `{option}' with this command"))),
        }
    }
}

/// `-L`, `-D` or `-U`: a walk through the table, some places at a time.
struct Walk {
    request: Request,
    place: usize,
    count: usize,
}

impl Walk {
    /// Most places that are looked at in one step, and bytes after which it pauses.
    const PLACES: usize = 4096;
    const BYTES: usize = 2048;

    fn advance(&mut self, router: &mut Router, now: Instant, out: &mut String) -> Progress {
        let now = Tick::at(now);
        let end = self.place.saturating_add(Self::PLACES);
        let places = if self.request.expectations { 0 } else { router.connections().flows.places() };
        while self.place < places {
            if self.place == end || out.len() > Self::BYTES {
                return Progress::More;
            }
            let found = router.connections().flows.at_place(self.place);
            self.place += 1;
            let Some((id, flow)) = found.filter(|(_, flow)| flow.expires > now) else { continue };
            let mark = router.connections().flows.mark(id);
            if !self.request.filter.fits(flow, mark) {
                continue;
            }
            let new = self.request.mark.map_or(mark, |change| change.applied_to(mark));
            if self.request.verb == Verb::Update && new == mark {
                continue;
            }
            self.count += 1;
            // Writing to a string cannot fail.
            let _ = print::flow(out, flow, new, now, self.request.extended);
            match self.request.verb {
                Verb::Delete => router.end_flow(id),
                Verb::Update => router.mark_flow(id, new),
                _ => {}
            }
        }
        let what = if self.request.expectations { "expectations" } else { "flow entries" };
        let done = match self.request.verb {
            Verb::Delete => "deleted",
            Verb::Update => "updated",
            _ => "shown",
        };
        let _ = writeln!(out, "{VERSION}: {} {what} have been {done}.", self.count);
        Progress::Done(u8::from(self.request.verb == Verb::Delete && self.count == 0))
    }
}

impl Job for Walk {
    fn step(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Progress {
        self.advance(session.router, session.cx.now, out)
    }
}

/// `-S`. There is one processor; what cannot happen here stays at 0. The last word is not Linux's: the memory of each
/// flow, its buckets and its outer port included.
fn statistics(counters: &FlowStatistics) -> String {
    let FlowStatistics { invalid, insert, insert_failed, drop, early_drop } = counters;
    format!(
        "cpu=0   \tfound=0 invalid={invalid} insert={insert} insert_failed={insert_failed} drop={drop} \
         early_drop={early_drop} error=0 search_restart=0 clash_resolve=0 chaintoolong=0 bytes_per_flow={} \n",
        Connections::BYTES_PER_FLOW
    )
}

#[cfg(test)]
mod tests;
