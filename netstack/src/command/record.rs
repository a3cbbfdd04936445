//! `record`: the flight recorder, and its recording as text that can be taken off a terminal.

use super::{Action, Failure, Job, Progress, Session, argument::decimal};
use crate::{
    config::Config,
    router::Router,
    tap::{
        pcapng::Out,
        text::{Printer, Style},
    },
};
use alloc::{format, string::String, vec::Vec};

/// How it is written.
pub const USAGE: &str = "\
usage: record on [-b KIBIBYTES] [-s BYTES]
       record off
       record show
       record dump";

/// Words that may follow, for Tab.
pub fn words(before: &[&str]) -> &'static [&'static str] {
    match before {
        [] => &["dump", "off", "on", "show"],
        _ => &["-b", "-s"],
    }
}

/// Memory for frames, and most bytes of each, where nothing else is said.
const KIBIBYTES: usize = 1024;
const SNAPSHOT: usize = 2048;
/// The most memory that can be asked for.
const MOST_KIBIBYTES: usize = 16 * 1024;
/// A step writes about so much.
const PIECE: usize = 2048;

/// The lines around a recording.
pub const BEGIN: &str = "-----BEGIN RUTTER RECORDING-----";
/// See [`BEGIN`].
pub const END: &str = "-----END RUTTER RECORDING-----";

fn fail(text: impl core::fmt::Display) -> Failure {
    Failure::new(1, format!("record: {text}"))
}

pub fn parse(words: &[String], _: &Config) -> Result<Action, Failure> {
    let Some((first, rest)) = words.split_first() else { return Err(fail("on, off, show or dump?")) };
    match (first.as_str(), rest) {
        ("on", rest) => {
            let (kibibytes, snapshot) = sizes(rest)?;
            Ok(Action::once(move |session| {
                session.router.start_recording(kibibytes << 10, snapshot).map_err(fail)?;
                Ok(String::new())
            }))
        }
        ("off", []) => Ok(Action::once(|session| {
            session.router.stop_recording();
            Ok(String::new())
        })),
        ("show", []) => Ok(Action::job(Show { place: 0, printer: None })),
        ("dump", []) => Ok(Action::job(Dump { place: None, buffer: Out::new() })),
        ("off" | "show" | "dump", [word, ..]) => Err(fail(format_args!("unexpected argument '{word}'"))),
        (other, _) => Err(fail(format_args!("'{other}' is none of on, off, show, dump"))),
    }
}

fn sizes(words: &[String]) -> Result<(usize, usize), Failure> {
    let (mut kibibytes, mut snapshot) = (KIBIBYTES, SNAPSHOT);
    let mut words = words.iter();
    while let Some(option) = words.next() {
        let (size, range) = match option.as_str() {
            "-b" => (&mut kibibytes, 4..=MOST_KIBIBYTES),
            "-s" => (&mut snapshot, 64..=usize::from(u16::MAX)),
            other => return Err(fail(format_args!("unexpected argument '{other}'"))),
        };
        let value = words.next().ok_or_else(|| fail(format_args!("{option} wants a number")))?;
        *size = decimal(value).filter(|size| range.contains(size)).ok_or_else(|| {
            fail(format_args!("{option} {value}: from {} to {}", range.start(), range.end()))
        })?;
    }
    Ok((kibibytes, snapshot))
}

const OFF: &str = "nothing is recorded: `record on`";

/// Prints the recording as `tcpdump` does, each frame with what became of it.
struct Show {
    place: u64,
    printer: Option<Printer>,
}

impl Job for Show {
    fn step(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Progress {
        let Some(tap) = session.router.recording() else { return Progress::Failed(fail(OFF)) };
        let style = Style { interfaces: true, ..Style::default() };
        let printer = self.printer.get_or_insert_with(|| Printer::new(style));
        let mut frame = Vec::new();
        while out.len() < PIECE {
            let taps = session.router.taps();
            let Some((sight, next)) = taps.read(tap, self.place, &mut frame) else {
                return Progress::Done(0);
            };
            self.place = next;
            printer.print(&sight, session.router.config().name(sight.interface), &frame, out);
            if let Some(verdict) = sight.verdict {
                *out += &format!("\t{}\n", verdict);
            }
        }
        Progress::More
    }
}

/// Prints the recording as a file in base64.
struct Dump {
    /// Of the next frame; `None`: it has not begun.
    place: Option<u64>,
    buffer: Out,
}

impl Job for Dump {
    fn step(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Progress {
        if session.router.recording().is_none() {
            return Progress::Failed(fail(OFF));
        }
        let mut place = match self.place {
            Some(place) => place,
            None => {
                *out += &format!("{BEGIN}\n");
                session.router.begin_dump(&mut self.buffer);
                0
            }
        };
        while out.len() < PIECE {
            if self.buffer.len() < BYTES_PER_LINE {
                match session.router.dump_frame(place, &mut self.buffer) {
                    Some(next) => place = next,
                    None => {
                        base64_line(&mut self.buffer, out);
                        *out += &format!("{END}\n");
                        return Progress::Done(0);
                    }
                }
            }
            base64_line(&mut self.buffer, out);
        }
        self.place = Some(place);
        Progress::More
    }
}

/// Writes the whole recording at once, a line at a time, without its oldest frames where there are more than `most`: for a
/// panic.
pub fn dump(router: &Router, most: usize, line: &mut dyn FnMut(&str)) {
    if router.recording().is_none() {
        return;
    }
    let mut places = Vec::new();
    let (mut place, mut discarded) = (0, Out::new());
    while let Some(next) = router.dump_frame(place, &mut discarded) {
        places.push(place);
        discarded.clear();
        place = next;
    }
    let mut buffer = Out::new();
    router.begin_dump(&mut buffer);
    line(BEGIN);
    let mut write = |buffer: &mut Out, least: usize| {
        while buffer.len() >= least && !buffer.is_empty() {
            let mut text = String::new();
            base64_line(buffer, &mut text);
            line(text.trim_end());
        }
    };
    for &place in &places[places.len().saturating_sub(most)..] {
        router.dump_frame(place, &mut buffer);
        write(&mut buffer, BYTES_PER_LINE);
    }
    write(&mut buffer, 1);
    line(END);
}

const BYTES_PER_LINE: usize = 57;

/// Takes up to 57 bytes and adds them as a line of base64 (RFC 4648 4).
fn base64_line(bytes: &mut Out, out: &mut String) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let count = bytes.len().min(BYTES_PER_LINE);
    if count == 0 {
        return;
    }
    let line: Vec<u8> = bytes.drain(..count).collect();
    for group in line.chunks(3) {
        let word = [0, 1, 2].map(|at| u32::from(group.get(at).copied().unwrap_or_default()));
        let word = word[0] << 16 | word[1] << 8 | word[2];
        for at in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= group.len() { char::from(letter) } else { '=' });
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (bytes, text) in
            [("f", "Zg==\n"), ("fo", "Zm8=\n"), ("foo", "Zm9v\n"), ("foobar", "Zm9vYmFy\n"), ("", "")]
        {
            let mut out = String::new();
            base64_line(&mut bytes.bytes().collect(), &mut out);
            assert_eq!(out, text);
        }
    }
}
