//! `traceroute`, with the words of traceroute(8) of Linux: UDP probes (or echo requests) of rising time to live.

use super::{
    Action, Failure, Job, Progress, Session,
    argument::{Arguments, decimal},
    probing::{self, milliseconds},
};
use crate::{
    config::Config,
    host::{AnswerKind, Probe, ProbeKind, ProbeSession},
};
use alloc::{format, string::String, vec::Vec};
use smoltcp::{
    time::{Duration, Instant},
    wire::Ipv4Address,
};

/// How it is written.
pub const USAGE: &str = "\
usage: traceroute [-I] [-n] [-f FIRST_TTL] [-m MAX_TTL] [-q PROBES_PER_HOP] [-w SECONDS] ADDRESS";

/// The port of the first UDP probe; each further one has the next.
const BASE_PORT: u16 = 33_434;
/// Probes that are under way at once.
const AT_ONCE: usize = 16;
/// Bytes of a probe, headers included.
const PACKET: u16 = 60;

struct Traceroute {
    destination: Ipv4Address,
    kind: ProbeKind,
    numeric: bool,
    first_ttl: u8,
    most_hops: u8,
    per_hop: usize,
    patience: Duration,
    session: Option<ProbeSession>,
    /// The probes that were sent, in order.
    probes: Vec<State>,
    /// How many of them are printed.
    printed: usize,
    /// The last hop that is of interest, once something there has answered for good.
    last_hop: Option<usize>,
}

#[derive(Clone, Copy)]
enum State {
    Sent(Instant),
    Lost,
    Answered { from: Ipv4Address, micros: u64, note: Note },
}

/// What stands behind the time where the answer was not just "too many hops".
#[derive(Clone, Copy, PartialEq, Eq)]
enum Note {
    None,
    Unreachable(u8),
}

fn invalid(letter: char, word: &str) -> Failure {
    Failure::new(2, format!("Bad option `-{letter}' (with arg `{word}')"))
}

pub fn parse(words: &[String], _: &Config) -> Result<Action, Failure> {
    let mut it = Traceroute {
        destination: Ipv4Address::UNSPECIFIED,
        kind: ProbeKind::Udp,
        numeric: false,
        first_ttl: 1,
        most_hops: 30,
        per_hop: 3,
        patience: Duration::from_secs(5),
        session: None,
        probes: Vec::new(),
        printed: 0,
        last_hop: None,
    };
    let mut words = Arguments::new(words);
    let mut destination = None;
    while let Some(word) = words.next() {
        let Some((letter, attached)) = probing::option(word) else {
            if destination.is_some() {
                return Err(Failure::new(
                    2,
                    format!("traceroute: only one destination, not also \"{word}\""),
                ));
            }
            destination = Some(probing::destination("traceroute", word)?);
            continue;
        };
        match letter {
            'n' => it.numeric = true,
            'I' => it.kind = ProbeKind::Echo,
            'f' | 'm' | 'q' | 'w' => {
                let value = if attached.is_empty() { words.next().unwrap_or("") } else { attached };
                let number = decimal::<u8>(value).filter(|&number| number > 0);
                let number = || number.ok_or_else(|| invalid(letter, value));
                match letter {
                    'f' => it.first_ttl = number()?,
                    'm' => it.most_hops = number()?,
                    'q' => it.per_hop = usize::from(number()?.min(10)),
                    _ => it.patience = probing::seconds(value).ok_or_else(|| invalid(letter, value))?,
                }
            }
            other => return Err(Failure::new(2, format!("Bad option `-{other}'"))),
        }
    }
    it.destination = destination.ok_or_else(|| Failure::new(2, USAGE))?;
    if it.first_ttl > it.most_hops {
        return Err(Failure::new(2, "first hop out of range"));
    }
    Ok(Action::job(it))
}

impl Job for Traceroute {
    fn step(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Progress {
        let id = match self.session {
            Some(id) => id,
            None => match self.start(session, out) {
                Ok(id) => id,
                Err(failure) => return Progress::Failed(failure),
            },
        };
        self.hear(id, session);
        self.send(id, session);
        self.print(out);
        if self.printed == self.total() {
            out.push('\n');
            self.close(session);
            return Progress::Done(0);
        }
        Progress::Waiting
    }

    fn poll_at(&self) -> Option<Instant> {
        let oldest =
            self.probes[self.printed.min(self.probes.len())..].iter().find_map(|probe| match probe {
                State::Sent(at) => Some(*at + self.patience),
                _ => None,
            });
        oldest.or(Some(Instant::ZERO))
    }

    fn interrupt(&mut self, session: &mut Session<'_, '_>, _: &mut String) {
        self.close(session);
    }
}

impl Traceroute {
    fn start(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Result<ProbeSession, Failure> {
        let destination = self.destination;
        let source = probing::check(session.router, destination, Ipv4Address::UNSPECIFIED)
            .map_err(|why| Failure::new(1, why))?;
        let (kind, cx) = (self.kind, &mut *session.cx);
        let id = session
            .router
            .with_host(|host| host.open_probe(kind, source, destination, cx.random))
            .ok_or_else(|| Failure::new(1, "traceroute: too many of them are running"))?;
        self.session = Some(id);
        *out += &format!(
            "traceroute to {destination} ({destination}), {} hops max, {PACKET} byte packets",
            self.most_hops
        );
        Ok(id)
    }

    fn close(&mut self, session: &mut Session<'_, '_>) {
        if let Some(id) = self.session.take() {
            session.router.with_host(|host| host.close_probe(id));
        }
    }

    /// How many probes there will have been.
    fn total(&self) -> usize {
        let hops = usize::from(self.most_hops - self.first_ttl) + 1;
        self.last_hop.map_or(hops, |last| last + 1) * self.per_hop
    }

    fn hear(&mut self, id: ProbeSession, session: &mut Session<'_, '_>) {
        while let Some(answer) = session.router.host.take_answer(id) {
            let place = usize::from(answer.sequence.wrapping_sub(self.first_sequence()));
            let (Some(state), Some(time)) = (self.probes.get_mut(place), answer.round_trip) else { continue };
            if !matches!(state, State::Sent(_)) {
                continue;
            }
            let (end, note) = match answer.kind {
                AnswerKind::Reply | AnswerKind::Error { kind: 3, code: 3, .. } => (true, Note::None),
                AnswerKind::Error { kind: 3, code, .. } => (true, Note::Unreachable(code)),
                AnswerKind::Error { .. } => (false, Note::None),
            };
            *state = State::Answered { from: answer.from, micros: time.total_micros(), note };
            if end {
                let hop = place / self.per_hop;
                self.last_hop = Some(self.last_hop.map_or(hop, |last| last.min(hop)));
            }
        }
        let now = session.cx.now;
        for state in &mut self.probes {
            if matches!(state, State::Sent(at) if *at + self.patience <= now) {
                *state = State::Lost;
            }
        }
    }

    fn first_sequence(&self) -> u16 {
        match self.kind {
            ProbeKind::Udp => BASE_PORT,
            ProbeKind::Echo => 1,
        }
    }

    fn send(&mut self, id: ProbeSession, session: &mut Session<'_, '_>) {
        let mut open = self.probes.iter().filter(|state| matches!(state, State::Sent(_))).count();
        while open < AT_ONCE && self.probes.len() < self.total() {
            let place = self.probes.len();
            let probe = Probe {
                sequence: self.first_sequence() + place as u16,
                size: PACKET - 28,
                ttl: self.first_ttl + (place / self.per_hop) as u8,
                tos: 0,
                dont_fragment: false,
            };
            let cx = &mut *session.cx;
            if session.router.host.send_probe(cx.exchange, id, probe, cx.now).is_err() {
                if open > 0 {
                    // There is no room for now; an answer, or the lack of one, is the time to try again.
                    return;
                }
                self.probes.push(State::Lost);
                continue;
            }
            self.probes.push(State::Sent(cx.now));
            open += 1;
        }
    }

    /// Prints what is known, in order.
    fn print(&mut self, out: &mut String) {
        while let Some(state) = self.probes.get(self.printed).filter(|_| self.printed < self.total()) {
            if self.printed.is_multiple_of(self.per_hop) && !matches!(state, State::Sent(_)) {
                *out += &format!("\n{:2} ", usize::from(self.first_ttl) + self.printed / self.per_hop);
            }
            match *state {
                State::Sent(_) => return,
                State::Lost => *out += " *",
                State::Answered { from, micros, note } => {
                    if self.previous() != Some(from) {
                        *out += &match self.numeric {
                            true => format!(" {from}"),
                            false => format!(" {from} ({from})"),
                        };
                    }
                    *out += &format!("  {} ms", milliseconds(micros));
                    if let Note::Unreachable(code) = note {
                        *out += &note_text(code);
                    }
                }
            }
            self.printed += 1;
        }
    }

    /// Who answered last at this hop.
    fn previous(&self) -> Option<Ipv4Address> {
        let begin = self.printed - self.printed % self.per_hop;
        self.probes[begin..self.printed].iter().rev().find_map(|state| match state {
            State::Answered { from, .. } => Some(*from),
            _ => None,
        })
    }
}

fn note_text(code: u8) -> String {
    match code {
        0 | 6 | 11 => String::from(" !N"),
        1 | 7 | 12 => String::from(" !H"),
        2 => String::from(" !P"),
        4 => String::from(" !F"),
        5 => String::from(" !S"),
        9 | 10 | 13 => String::from(" !X"),
        code => format!(" !<{code}>"),
    }
}
