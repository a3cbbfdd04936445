//! What the demo prints: a line for each station, and the tuples that were translated in it.

use std::collections::HashSet;

use anstream::println;
use anyhow::Result;
use clap::builder::styling::{AnsiColor, Style};
use qemu::lab::Segment;
use qemu::lab::tuple::translations;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();
/// Rows of one table.
const ROWS: usize = 6;

pub fn heading(text: &str) {
    println!("{text}");
}

pub fn quote(text: &str) {
    for line in text.lines() {
        println!("{DIM}  | {line}{DIM:#}");
    }
}

pub fn good(text: &str) {
    println!("{GOOD}ok{GOOD:#}    {text}");
}

/// The outcome of a station, and its tuples before and after the router.
pub fn station(name: &str, outcome: &Result<String>, segments: &[Segment]) {
    match outcome {
        Ok(seen) => println!("{GOOD}ok{GOOD:#}    {name}: {seen}"),
        Err(error) => println!("{BAD}FAIL{BAD:#}  {name}: {error:#}"),
    }
    let mut answers = HashSet::new();
    let mut rows = Vec::new();
    for (before, after) in translations(segments) {
        // A flow is shown once, as the side that spoke first saw it.
        if before != after && !answers.contains(&before) {
            answers.insert(after.reversed());
            rows.push((before, after));
        }
    }
    for (before, after) in rows.iter().take(ROWS) {
        println!("{DIM}        {:<52}  becomes  {after}{DIM:#}", before.to_string());
    }
    if rows.len() > ROWS {
        println!("{DIM}        and {} more{DIM:#}", rows.len() - ROWS);
    }
}
