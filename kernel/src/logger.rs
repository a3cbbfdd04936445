//! The log: every message goes to a ring; the event loop shows the important ones on the console.

use crate::{clock, serial};
use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicU8, Ordering},
};
use kernel::log_ring::{LONGEST, Line, LogRing};
use log::{Level, LevelFilter, Log, Metadata, Record};
use spin::Mutex;

/// Messages with a level below this are shown, as Linux's `console_loglevel` says: errors and worse.
pub const CONSOLE_LEVEL: u8 = 4;
/// During the start, warnings are shown too.
const STARTING_LEVEL: u8 = 5;

static RING: Mutex<LogRing<{ 32 << 10 }>> = Mutex::new(LogRing::new());
static LEVEL_SHOWN: AtomicU8 = AtomicU8::new(STARTING_LEVEL);

struct Front;

/// Starts to take messages.
pub fn init(debug: bool) {
    // It fails only where a logger is set already.
    let _ = log::set_logger(&Front);
    log::set_max_level(if debug { LevelFilter::Debug } else { LevelFilter::Info });
}

impl Log for Front {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        let mut line = heapless::String::<LONGEST>::new();
        let _ = write!(Truncating(&mut line), "{}", record.args());
        // Interrupt handlers do not log, so the lock is free unless a panic, or a reader of lines, logs in turn.
        if let Some(mut ring) = RING.try_lock() {
            ring.push(clock::now().total_micros(), level, &line);
        }
    }

    fn flush(&self) {}
}

/// Writes what fits and drops the rest.
struct Truncating<'a>(&'a mut heapless::String<LONGEST>);

impl Write for Truncating<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.0.capacity() - self.0.len();
        let _ = self.0.push_str(&text[..text.floor_char_boundary(room)]);
        Ok(())
    }
}

/// Every line, oldest first.
pub fn for_each(each: impl FnMut(Line<'_>)) {
    RING.lock().for_each(each);
}

/// Forgets all lines.
pub fn clear() {
    RING.lock().clear();
}

/// Messages with a level below this are shown on the console from now on.
pub fn set_console_level(level: u8) {
    LEVEL_SHOWN.store(level, Ordering::Relaxed);
}

/// Hands on the next line that the console is to show; `false` where there is none.
pub fn show_next(mut show: impl FnMut(&str)) -> bool {
    let limit = LEVEL_SHOWN.load(Ordering::Relaxed);
    // It is taken where a panic came from here.
    let Some(mut ring) = RING.try_lock() else { return false };
    let mut shown = false;
    while !shown
        && ring.show_next(|line| {
            shown = line.level < limit;
            if shown {
                show(line.text);
            }
        })
    {}
    shown
}

/// Shows at once what the console has not shown yet: before the event loop runs, and when it never will again.
pub fn show_directly() {
    while show_next(|text| {
        let _ = writeln!(serial::Direct, "{text}");
    }) {}
}
