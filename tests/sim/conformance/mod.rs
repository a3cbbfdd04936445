//! Writes docs/conformance.md: each row of the requirements, the tests that prove it, and what came of them.
//!
//! A test cannot know of the others that run beside it, so the proving ones are run once more, by this very program: what the
//! page says is what this build did.

mod rows;

use rows::SECTIONS;
use std::{
    collections::HashMap,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Rows that stand together.
struct Section {
    title: &'static str,
    rows: &'static [Row],
}

/// One requirement.
struct Row {
    number: u32,
    requirement: &'static str,
    /// Tests of this program. They are run for the page, and all have to pass.
    proof: &'static [&'static str],
    /// Tests of other programs, which `cargo test` runs as well.
    further: &'static [&'static str],
}

const INTRODUCTION: &str = "\
# Conformance

What the router must do on the wire, row by row, the tests that prove it, and what came of them. This page is written by
`cargo test`, which runs these tests for it and fails where one of them fails, or the page says anything else: see
[`tests/sim/conformance`](../tests/sim/conformance/mod.rs), whose `rows.rs` names the tests.

A name such as `forwarding::ttl_of_two_reaches_the_next_hop` is a test of `tests/sim`, which drives the router frame by frame in
virtual time; its result stands in the last column. Names behind *also* say their file: tests of single parts, of the booted image
and beside Linux, which `cargo test` runs for themselves.

The [differential test](../tests/differential/main.rs) sends the same packets through a Linux router with the same rules and
compares verdicts, packets and counters; what differs on purpose is listed in
[`differences.rs`](../tests/differential/differences.rs) with its reason.
";

fn all_rows() -> impl Iterator<Item = &'static Row> {
    SECTIONS.iter().flat_map(|section| section.rows)
}

/// Runs the tests that prove the rows; gives what the program says of each: `ok` if it passed.
fn results() -> HashMap<String, String> {
    let program = env::current_exe().expect("this program has a path");
    let names = all_rows().flat_map(|row| row.proof);
    let output = Command::new(program)
        .args(["--exact", "--format", "pretty", "--color", "never"])
        .args(names)
        .output()
        .expect("this program runs again");
    let result = |line: &str| {
        let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
        Some((name.to_string(), result.to_string()))
    };
    String::from_utf8_lossy(&output.stdout).lines().filter_map(result).collect()
}

/// The page, and the tests that did not pass.
fn page(results: &HashMap<String, String>) -> (String, Vec<String>) {
    let mut failed = Vec::new();
    let (mut tables, mut passed) = (String::new(), 0);
    for section in SECTIONS {
        let _ = write!(
            tables,
            "\n## {}\n\n| row | requirement | proven by | result |\n|---|---|---|---|\n",
            section.title
        );
        for Row { number, requirement, proof, further } in section.rows {
            let bad: Vec<String> = proof
                .iter()
                .filter_map(|test| match results.get(*test).map_or("is not there", String::as_str) {
                    "ok" => None,
                    result => Some(format!("`{test}`: {result}")),
                })
                .collect();
            let result = match bad.as_slice() {
                [] if proof.is_empty() => "**not proven**".to_string(),
                [] => format!("passed ({})", proof.len()),
                bad => format!("**failed**: {}", bad.join(", ")),
            };
            passed += usize::from(bad.is_empty() && !proof.is_empty());
            failed.extend(bad);
            let quoted =
                |tests: &[&str]| tests.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join(", ");
            let also = if further.is_empty() { String::new() } else { format!("; also {}", quoted(further)) };
            let _ = writeln!(tables, "| {number} | {requirement} | {}{also} | {result} |", quoted(proof));
        }
    }
    let tests: usize = all_rows().map(|row| row.proof.len()).sum();
    let total = all_rows().count();
    (format!("{INTRODUCTION}\n{passed} of {total} rows pass, with {tests} tests.\n{tables}"), failed)
}

#[test]
fn the_page_says_what_the_tests_say() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    let (page, failed) = page(&results());
    let before = fs::read_to_string(&place).unwrap_or_default();
    if before != page {
        fs::write(&place, &page).expect("the page can be written");
    }
    assert_eq!(failed, [""; 0], "tests that should prove a row");
    assert!(before == page, "docs/conformance.md said something else; it is written anew, to be committed");
}

#[test]
fn every_row_from_1_to_40_names_a_test() {
    let numbers: Vec<u32> = all_rows().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
    for row in all_rows() {
        assert!(!row.proof.is_empty(), "row {}", row.number);
    }
}

/// The source file that should hold a test of another program, and the test's name.
fn locate(test: &str) -> (PathBuf, &str) {
    let (place, name) = test.rsplit_once("::").expect("a test is named with its place");
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = if place.starts_with("netstack/") { tests.join("..") } else { tests.to_path_buf() };
    (root.join(place), name)
}

#[test]
fn every_test_of_another_program_that_is_named_exists() {
    for (row, test) in all_rows().flat_map(|row| row.further.iter().map(move |test| (row.number, test))) {
        let (file, name) = locate(test);
        let source = fs::read_to_string(&file).unwrap_or_else(|_| panic!("row {row}: no file for {test}"));
        let source: String = source.lines().map(|line| format!("{}\n", line.trim_start())).collect();
        assert!(source.contains(&format!("#[test]\nfn {name}(")), "row {row}: {test} is not there");
    }
}
