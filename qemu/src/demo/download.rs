//! Twenty files at once through the masquerade, each byte checked.

use anyhow::{Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use qemu::lab::services::{Download, Progress};
use qemu::lab::tuple::{Tuple, translations};
use std::collections::BTreeSet;
use std::time::Instant;

use super::{Demo, FILE, OUTSIDE, WEB};

pub const COUNT: usize = 20;

pub fn run(demo: &mut Demo) -> Result<String> {
    let laptop = demo.laptop;
    let mut downloads: Vec<_> =
        (0..COUNT as u32).map(|number| Download::start(demo.lab.get(laptop), (WEB, 80), number)).collect();
    let style = ProgressStyle::with_template("      {bar:40} {bytes}/{total_bytes} {binary_bytes_per_sec}")?;
    let bar = ProgressBar::new((COUNT * FILE) as u64).with_style(style);
    let started = Instant::now();
    let ends = demo.lab.until("the end of all downloads", |lab| {
        let progress: Vec<_> = downloads.iter_mut().map(|download| download.poll(lab.get(laptop))).collect();
        bar.set_position(progress.iter().map(received).sum::<usize>() as u64);
        let running = progress.iter().any(|progress| matches!(progress, Progress::Receiving(_)));
        (!running).then_some(progress)
    });
    bar.finish_and_clear();
    let wrong = ends?.iter().filter(|end| **end != Progress::Complete(FILE)).count();
    if wrong > 0 {
        bail!("{wrong} of {COUNT} files are not what was asked for");
    }
    let rate = (COUNT * FILE) as f64 / started.elapsed().as_secs_f64() / 1e6;
    let ports: BTreeSet<u16> = translations(&demo.lab.segments).into_iter().filter_map(outer_port).collect();
    ensure!(ports.len() == COUNT, "{COUNT} connections had {} outer ports", ports.len());
    Ok(format!("{COUNT} files of {} KiB, every byte right, {rate:.1} MB/s", FILE / 1024))
}

fn received(progress: &Progress) -> usize {
    match progress {
        Progress::Receiving(count) | Progress::Complete(count) => *count,
        Progress::Failed => 0,
    }
}

/// The port of the WAN address that a connection to the web server left from.
fn outer_port((_, after): (Tuple, Tuple)) -> Option<u16> {
    match after {
        Tuple::Tcp { source: (OUTSIDE, port), destination: (WEB, _) } => Some(port),
        _ => None,
    }
}
