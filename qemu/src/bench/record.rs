//! What a packet may cost: the figures recorded in the repository, and the comparison with them.

use std::path::PathBuf;

use anstream::println;
use anyhow::{Context, Result, bail};
use qemu::workspace;
use serde_json::{Map, Value, json};

use super::instructions::{FORWARDED, MASQUERADED, NEW_FLOW};
use super::report::Report;

/// How much of the recorded figure may come on top.
const TOLERANCE: f64 = 0.03;

fn path() -> PathBuf {
    workspace::root().join("qemu/src/bench/recorded.json")
}

/// Records the figures of this report.
pub fn write(report: &Report) -> Result<()> {
    let mut recorded = Map::new();
    for name in [FORWARDED, MASQUERADED, NEW_FLOW] {
        let value = report.first(name).with_context(|| format!("{name}: not measured"))?;
        recorded.insert(name.to_owned(), json!(value.round()));
    }
    let text = serde_json::to_string_pretty(&Value::Object(recorded))? + "\n";
    std::fs::write(path(), text).with_context(|| path().display().to_string())
}

/// Compares the figures of this report with the recorded ones, and prints both.
pub fn guard(report: &Report) -> Result<()> {
    let text = std::fs::read_to_string(path()).with_context(|| path().display().to_string())?;
    let recorded: Value = serde_json::from_str(&text)?;
    let mut worse = Vec::new();
    for name in [FORWARDED, MASQUERADED, NEW_FLOW] {
        let before = recorded[name].as_f64().with_context(|| format!("{name}: not recorded"))?;
        let now = report.first(name).with_context(|| format!("{name}: not measured"))?;
        println!("{name}: {now:.0}, recorded {before:.0}");
        if exceeds(now, before) {
            worse.push(format!("{name} rose from {before:.0} to {now:.0}"));
        }
    }
    if worse.is_empty() {
        return Ok(());
    }
    bail!("{} (more than {} %; `bench --record` accepts it)", worse.join(", "), TOLERANCE * 100.0)
}

fn exceeds(now: f64, before: f64) -> bool {
    now > before * (1.0 + TOLERANCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_percent_more_is_allowed_and_four_are_not() {
        assert!(!exceeds(1029.0, 1000.0));
        assert!(exceeds(1040.0, 1000.0));
        assert!(!exceeds(1.0, 1000.0));
    }
}
