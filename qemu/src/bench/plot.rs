//! The figures as a plot: how many times better than the other router, on a logarithmic scale.

use std::fmt::Display;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::report::{Report, number};

const WIDTH: u32 = 900;
/// Of one bar and the space around it.
const LINE: u32 = 26;
const MARGIN: u32 = 60;
/// Space for the names, and for what stands behind the bars.
const NAMES: u32 = 330;
const VALUES: u32 = 230;
const TEXT: (&str, i32) = ("sans-serif", 13);
const BETTER: RGBColor = RGBColor(46, 125, 100);
const WORSE: RGBColor = RGBColor(190, 80, 60);
const PLAIN: RGBColor = RGBColor(90, 90, 90);

/// One bar.
struct Bar {
    name: String,
    /// How many times better.
    factor: f64,
    values: String,
}

/// Draws the report of two guests to `path`. Says whether there was anything to compare.
pub fn draw(report: &Report, path: &Path) -> Result<bool> {
    let bars = bars(report);
    let [first, second] = report.guests() else { return Ok(false) };
    if bars.is_empty() {
        return Ok(false);
    }
    let height = LINE * bars.len() as u32 + MARGIN;
    let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE).map_err(text)?;
    let factors = || bars.iter().map(|bar| bar.factor);
    let least = factors().fold(0.5, f64::min);
    let most = factors().fold(10.0, f64::max) * 1.1;
    let scale = f64::from(WIDTH - NAMES - VALUES) / (most / least).ln();
    let x = |factor: f64| NAMES as i32 + ((factor / least).ln() * scale) as i32;

    let title = TextStyle::from(("sans-serif", 15).into_font()).color(&BLACK);
    let title_text = format!("{first}, times better than {second} (logarithmic)");
    root.draw_text(&title_text, &title, (x(1.0), 8)).map_err(text)?;
    let style = |horizontal| {
        let position = Pos::new(horizontal, VPos::Center);
        TextStyle::from(TEXT.into_font()).color(&PLAIN).pos(position)
    };
    let bottom = (height - MARGIN / 2 + 5) as i32;
    for mark in [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0].into_iter().filter(|mark| *mark <= most) {
        root.draw(&PathElement::new([(x(mark), 30), (x(mark), bottom)], PLAIN.mix(0.3))).map_err(text)?;
        root.draw_text(&format!("{mark}"), &style(HPos::Center), (x(mark), bottom + 10)).map_err(text)?;
    }
    for (bar, top) in bars.iter().zip((MARGIN as i32 / 2 + 4..).step_by(LINE as usize)) {
        let (middle, foot) = (top + LINE as i32 / 2 - 3, top + LINE as i32 - 7);
        let (color, end) = (if bar.factor < 1.0 { WORSE } else { BETTER }, x(bar.factor));
        let corners = [(x(1.0).min(end), top), (x(1.0).max(end), foot)];
        root.draw(&Rectangle::new(corners, color.filled())).map_err(text)?;
        root.draw_text(&bar.name, &style(HPos::Right), (NAMES as i32 - 10, middle)).map_err(text)?;
        let behind = (x(1.0).max(end) + 6, middle);
        root.draw_text(&bar.values, &style(HPos::Left), behind).map_err(text)?;
    }
    root.present().map_err(text)?;
    Ok(true)
}

/// The figures that can be compared. Of those that belong to another figure (their names are set in) only the guest's
/// time for one packet, connection or gigabyte is.
fn bars(report: &Report) -> Vec<Bar> {
    let bar = |(name, unit, medians): (&str, &str, Vec<Option<f64>>)| {
        let [Some(ours), Some(theirs)] = medians[..] else { return None };
        let part = name.starts_with(' ') && !name.contains("guest CPU");
        if part || ours <= 0.0 || theirs <= 0.0 {
            return None;
        }
        let factor = if more_is_better(unit) { ours / theirs } else { theirs / ours };
        let values = format!("{} and {} {unit}", number(Some(ours)), number(Some(theirs)));
        Some(Bar { name: name.trim().to_owned(), factor, values: values.trim().to_owned() })
    };
    report.rows().filter_map(bar).collect()
}

/// A rate is better when it is higher; a time, a size and a share are not.
fn more_is_better(unit: &str) -> bool {
    unit.ends_with("/s") || unit == "per s"
}

/// The errors of the library are not of this thread alone.
fn text(error: impl Display) -> anyhow::Error {
    anyhow!("the plot: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_says_how_many_times_better() {
        let mut report = Report::new(vec!["a", "b"]);
        for (guest, rate, time) in [(0, 30.0, 2.0), (1, 10.0, 5.0)] {
            report.add(guest, "rate", "packets/s", rate);
            report.add(guest, "  QEMU's own CPU", "us", 50.0);
            report.add(guest, "time", "ms", time);
        }
        let bars = bars(&report);
        let factors: Vec<_> = bars.iter().map(|bar| (bar.name.as_str(), bar.factor)).collect();
        assert_eq!(factors, [("rate", 3.0), ("time", 2.5)]);
    }
}
