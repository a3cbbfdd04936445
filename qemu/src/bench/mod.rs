//! `bench`: the figures of the router on this machine, printed as they are found and written as JSON.

mod boot;
mod frame;
mod idle;
mod instructions;
mod memory;
mod taps;

use std::path::PathBuf;

use anstream::println;
use anyhow::{Context, Result};
use qemu::{image, workspace};
use serde_json::{Map, Value, json};

#[derive(clap::Args)]
pub struct Options {
    /// Where the figures go as JSON [default: bench.json in cargo's target directory]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What was measured so far.
#[derive(Default)]
struct Figures(Map<String, Value>);

impl Figures {
    /// Notes and prints a figure; its name ends with its unit in the JSON.
    fn add(&mut self, name: &str, unit: &str, value: f64) {
        println!("{name:<52} {value:>10.precision$} {unit}", precision = if value < 100.0 { 2 } else { 0 });
        self.0.insert(name.to_owned(), json!({ "value": value, "unit": unit }));
    }
}

/// Measures everything. Each part starts machines of its own.
pub fn run(options: Options) -> Result<()> {
    let mut figures = Figures::default();
    figures.add("image", "bytes", std::fs::metadata(image::build()?)?.len() as f64);
    memory::measure(&mut figures)?;
    boot::measure(&mut figures)?;
    idle::measure(&mut figures)?;
    instructions::measure(&mut figures)?;
    taps::measure(&mut figures)?;

    let path = options.json.unwrap_or_else(|| workspace::target().join("bench.json"));
    let text = serde_json::to_string_pretty(&Value::Object(figures.0))?;
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    println!("written to {}", path.display());
    Ok(())
}

/// The middle one of several measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
