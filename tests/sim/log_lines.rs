//! What the router of a test writes to its log. A program has one logger, but each test runs in a thread of its own.

use std::{cell::RefCell, sync::Once};

thread_local! {
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

struct PerThread;

impl log::Log for PerThread {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.with_borrow_mut(|lines| {
            if let Some(lines) = lines {
                lines.push(record.args().to_string());
            }
        });
    }

    fn flush(&self) {}
}

/// What is logged in this thread while `action` runs.
pub fn logged(action: impl FnOnce()) -> Vec<String> {
    static LOGGER: Once = Once::new();
    LOGGER.call_once(|| {
        log::set_logger(&PerThread).expect("no other logger is set");
        log::set_max_level(log::LevelFilter::Debug);
    });
    LINES.set(Some(Vec::new()));
    action();
    LINES.take().unwrap_or_default()
}
