//! The figures: one table on the terminal, and the same as JSON.

use anstream::println;
use serde_json::{Value, json};

/// The widest name in the first column.
const NAME: usize = 50;

/// What was measured so far, of each guest.
pub struct Report {
    guests: Vec<&'static str>,
    figures: Vec<Figure>,
    printed: usize,
}

struct Figure {
    name: String,
    unit: &'static str,
    /// Of each guest, one for each round.
    values: Vec<Vec<f64>>,
}

impl Report {
    /// An empty report, whose table begins.
    pub fn new(guests: Vec<&'static str>) -> Report {
        let report = Report { guests, figures: Vec::new(), printed: 0 };
        let names: String = report.guests.iter().map(|name| format!(" {name:>12}")).collect();
        let ratio = if report.guests.len() > 1 { "   ratio" } else { "" };
        println!("{:<NAME$}{names}{ratio}", "");
        report
    }

    /// Notes what was measured of the guest with number `guest`.
    pub fn add(&mut self, guest: usize, name: &str, unit: &'static str, value: f64) {
        let number = self.figures.iter().position(|figure| figure.name == name).unwrap_or_else(|| {
            let values = vec![Vec::new(); self.guests.len()];
            self.figures.push(Figure { name: name.to_owned(), unit, values });
            self.figures.len() - 1
        });
        self.figures[number].values[guest].push(value);
    }

    /// Prints the medians that were not printed yet.
    pub fn print(&mut self) {
        for figure in &self.figures[self.printed..] {
            let columns: String = figure.medians().map(|median| format!(" {:>12}", number(median))).collect();
            let ratio = figure.ratio().map_or(String::new(), |ratio| format!(" {:>7}", number(Some(ratio))));
            println!("{:<NAME$}{columns}{ratio}  {}", figure.name, figure.unit);
        }
        self.printed = self.figures.len();
    }

    /// The median of a figure of the first guest.
    pub fn first(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name)?.medians().next()?
    }

    /// Name, unit and the medians of all guests.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &str, Vec<Option<f64>>)> {
        self.figures.iter().map(|figure| (figure.name.as_str(), figure.unit, figure.medians().collect()))
    }

    pub fn guests(&self) -> &[&'static str] {
        &self.guests
    }

    /// Every value of every round.
    pub fn json(&self) -> Value {
        let figure = |figure: &Figure| {
            let mut object = json!({ "name": figure.name, "unit": figure.unit, "ratio": figure.ratio() });
            for ((guest, values), median) in self.guests.iter().zip(&figure.values).zip(figure.medians()) {
                object[guest] = json!({ "median": median, "rounds": values });
            }
            object
        };
        self.figures.iter().map(figure).collect()
    }
}

impl Figure {
    fn medians(&self) -> impl Iterator<Item = Option<f64>> {
        self.values.iter().map(|values| median(values.clone()))
    }

    /// The first guest's figure as a part of the second one's.
    fn ratio(&self) -> Option<f64> {
        let medians: Vec<_> = self.medians().collect();
        let [Some(first), Some(second)] = medians[..] else { return None };
        (second != 0.0).then(|| first / second)
    }
}

/// The middle one of several measurements.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Three digits that count, or the whole number.
pub fn number(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(value) if value >= 99.95 => format!("{value:.0}"),
        Some(value) if value >= 9.995 => format!("{value:.1}"),
        Some(value) if value >= 0.1 => format!("{value:.2}"),
        Some(value) => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_of_its_rounds_and_its_ratio_that_of_the_medians() {
        let mut report = Report::new(vec!["a", "b"]);
        for (first, second) in [(1.0, 10.0), (9.0, 8.0), (2.0, 4.0)] {
            report.add(0, "time", "s", first);
            report.add(1, "time", "s", second);
        }
        let json = report.json();
        assert_eq!(json[0]["a"]["median"], 2.0);
        assert_eq!(json[0]["b"]["rounds"], json!([10.0, 8.0, 4.0]));
        assert_eq!(json[0]["ratio"], 0.25);
        assert_eq!(report.first("time"), Some(2.0));
    }

    #[test]
    fn what_was_not_measured_has_no_number() {
        let mut report = Report::new(vec!["a", "b"]);
        report.add(1, "time", "s", 1.0);
        assert_eq!(report.json()[0]["ratio"], Value::Null);
        assert_eq!(number(None), "-");
        assert_eq!(
            ["1234", "12.3", "1.23", "0.0123"],
            [1234.1, 12.34, 1.234, 0.0123].map(|v| number(Some(v)))
        );
    }
}
