//! The second serial port: a line with the words of `tcpdump` comes in, a pcapng file goes out until Ctrl-C. No other command
//! is known there.

use super::{
    Failure,
    tcpdump::{self, Wanted},
};
use crate::{
    router::{Context, Router},
    tap::{Counts, pcapng, stream::Stream},
};
use alloc::{collections::VecDeque, string::String, vec::Vec};
use smoltcp::time::Instant;

/// The longest line.
const LONGEST: usize = 4096;
const CTRL_C: u8 = 3;

/// The port.
#[derive(Default)]
pub struct CapturePort {
    line: Vec<u8>,
    running: Option<(Stream, Wanted)>,
    /// Frames in the last file, and what its tap has counted.
    result: (u64, Counts),
    output: VecDeque<u8>,
}

impl CapturePort {
    /// Bytes that came in.
    pub fn input(&mut self, bytes: &[u8], router: &mut Router, cx: &Context<'_>) {
        for &byte in bytes {
            match byte {
                CTRL_C => {
                    self.line.clear();
                    self.end(router, cx.now);
                }
                b'\r' | b'\n' => self.end_of_line(router, cx.now),
                _ if self.line.len() < LONGEST => self.line.push(byte),
                _ => {}
            }
        }
    }

    /// Goes on with the file. Call it in every turn of the event loop.
    pub fn poll(&mut self, router: &mut Router, cx: &Context<'_>) {
        let Some((stream, wanted)) = &mut self.running else { return };
        stream.go_on(router, wanted.count, &mut self.output);
        if wanted.count.is_some_and(|count| stream.captured() >= count) {
            self.end(router, cx.now);
        }
    }

    /// Bytes for the port.
    pub fn output(&mut self) -> &mut VecDeque<u8> {
        &mut self.output
    }

    /// Whether a file is being written.
    pub fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// Begins a file.
    pub(super) fn begin(&mut self, wanted: Wanted, router: &mut Router, now: Instant) -> Result<(), Failure> {
        let stream = wanted.stream(router, now, &mut self.output)?;
        self.running = Some((stream, wanted));
        Ok(())
    }

    /// Ends the file, if there is one.
    pub(super) fn end(&mut self, router: &mut Router, now: Instant) {
        if let Some((stream, _)) = self.running.take() {
            self.result = (stream.captured(), stream.end(router, now, &mut self.output));
        }
    }

    /// Frames in the last file, and what was counted.
    pub(super) fn result(&self) -> (u64, Counts) {
        self.result
    }

    fn end_of_line(&mut self, router: &mut Router, now: Instant) {
        let line = core::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let mut words = line.split_ascii_whitespace().map(String::from);
        let Some(command) = words.next() else { return };
        let words: Vec<String> = words.collect();
        let begun = match command.as_str() {
            "tcpdump" if self.is_busy() => Err(tcpdump::fail("-: the second serial port is in use")),
            "tcpdump" => tcpdump::understand(&words, router.config())
                .and_then(|wanted| self.begin(wanted, router, now)),
            _ => Err(tcpdump::fail("no other command is known here")),
        };
        if let Err(failure) = begun
            && !self.is_busy()
        {
            // A file without a frame, which says why.
            pcapng::section(&failure.text, &mut self.output);
        }
    }
}
