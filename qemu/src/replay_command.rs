//! `replay`: a recording through the plane, verdict by verdict.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use qemu::replay::Recording;

#[derive(clap::Args)]
pub struct Options {
    /// What `record dump` printed (the whole text of the console will do), or a pcapng file of `capture`
    #[arg(value_name = "FILE")]
    recording: PathBuf,
    /// Commands that configure the router [default: those in the recording]
    #[arg(value_name = "CONFIG")]
    configuration: Option<PathBuf>,
    /// Print only what comes out differently
    #[arg(short, long)]
    quiet: bool,
}

pub fn run(options: Options) -> Result<()> {
    let read = |path: &PathBuf| fs::read(path).with_context(|| path.display().to_string());
    let recording = Recording::read(&read(&options.recording)?)?;
    let configuration = match &options.configuration {
        Some(path) => String::from_utf8(read(path)?).context("the configuration is no text")?,
        None if recording.configuration.is_empty() => {
            bail!("the recording has no configuration: name a file")
        }
        None => recording.configuration.clone(),
    };
    let replayed = recording.replay(&configuration)?;
    for frame in replayed.iter().filter(|frame| !options.quiet || !frame.is_equal()) {
        println!("{frame}");
    }
    let different = replayed.iter().filter(|frame| !frame.is_equal()).count();
    let silent = replayed.iter().filter(|frame| frame.recorded.is_none()).count();
    println!("{} frames, {different} different, {silent} without a verdict", replayed.len());
    if different > 0 {
        bail!("{different} of {} verdicts are different", replayed.len());
    }
    Ok(())
}
