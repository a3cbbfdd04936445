//! What a packet met on its way, told to whoever asks (`explain`); costs nothing when nobody does.

use alloc::{string::String, vec::Vec};
use core::fmt;

/// A listener along the pipeline. The pipeline is generic over it, so that [`Silent`] compiles to nothing.
pub trait Trace {
    /// Whether anybody listens; guards work that is only done for the listener.
    const ON: bool;
    /// One line about one station, for example `filter FORWARD rule 3: -i eth0 -j ACCEPT`.
    fn station(&mut self, line: fmt::Arguments<'_>);
}

/// Nobody listens.
pub struct Silent;

impl Trace for Silent {
    const ON: bool = false;
    #[inline(always)]
    fn station(&mut self, _: fmt::Arguments<'_>) {}
}

/// Keeps the lines.
#[derive(Debug)]
pub struct Transcript {
    /// The lines in the order of the packet's way.
    pub lines: Vec<String>,
    most: usize,
    /// Lines that were too many.
    pub cut: usize,
}

impl Default for Transcript {
    /// Keeps all of them.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Transcript {
    /// Keeps this many lines at most.
    pub fn new(most: usize) -> Self {
        Self { lines: Vec::new(), most, cut: 0 }
    }
}

impl Trace for Transcript {
    const ON: bool = true;
    fn station(&mut self, line: fmt::Arguments<'_>) {
        if self.lines.len() < self.most {
            self.lines.push(alloc::format!("{line}"));
        } else {
            self.cut += 1;
        }
    }
}
