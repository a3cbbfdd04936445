//! What `tcpdump` shows: any frame, through any expression, printed in every way.

use super::Input;
use netstack::{
    interface::InterfaceId,
    offload::Offload,
    tap::{
        Met, Sight,
        filter::Filter,
        text::{Printer, Style, TimeStyle},
    },
};
use smoltcp::time::Instant;

/// Characters that may be printed of a frame without a byte, and for each of its bytes.
const OUTPUT: usize = 1 << 10;
const OUTPUT_PER_BYTE: usize = 64;

/// A line, which is an expression where it can be read as one, and frames behind it.
///
/// # Panics
/// Where an expression says yes and no to the same frame, or what is printed has no end or is nothing for a terminal.
pub fn sights(data: &[u8]) {
    let end = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (expression, rest) = data.split_at(end);
    let expression = String::from_utf8_lossy(expression);
    let filters = Filter::parse(&expression).ok().map(|filter| {
        let opposite = Filter::parse(&format!("not ({expression})"));
        (filter, opposite.ok().filter(|_| !expression.trim().is_empty()))
    });

    let mut input = Input::new(rest);
    let choices = input.byte();
    let style = |verbose| Style {
        ethernet: choices & 1 != 0,
        verbose,
        quiet: choices & 2 != 0,
        absolute: choices & 4 != 0,
        interfaces: choices & 8 != 0,
        time: TimeStyle::SinceLast,
    };
    let mut printers = [0, 1, 2].map(|verbose| Printer::new(style(verbose)));
    while !input.is_empty() {
        let length = usize::from(input.word());
        let received = input.byte() & 1 == 0;
        let frame = input.bytes(length % 2048);
        if let Some((filter, Some(opposite))) = &filters {
            let fits = filter.fits(frame, frame.len(), received);
            // What looks at bytes that are not there fits neither way.
            assert!(!(fits && opposite.fits(frame, frame.len(), received)), "{expression}");
        }
        let sight = Sight {
            time: Instant::from_micros(length as i64),
            interface: InterfaceId(1),
            received,
            // Of some frames not all was kept.
            length: frame.len().max(length) as u32,
            verdict: None,
            offload: Offload::None,
            met: Met::default(),
        };
        for printer in &mut printers {
            let mut out = String::new();
            printer.print(&sight, "eth0", frame, &mut out);
            assert!(out.len() <= OUTPUT + frame.len() * OUTPUT_PER_BYTE, "{} characters", out.len());
            assert!(out.chars().all(|it| it == '\n' || it == '\t' || (' '..='~').contains(&it)), "{out:?}");
        }
    }
}
