//! The conformance table names tests that exist.

use std::{fs, path::Path};

/// Rows of the table that are claimed.
const ROWS: [&[u32]; 4] = [
    &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    &[13, 14, 15, 16, 17],
    &[18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31],
    &[32, 33, 34, 36, 37, 38, 39],
];

/// The lines of the table as row number and the tests named.
fn table() -> Vec<(u32, Vec<String>)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    let text = fs::read_to_string(page).expect("docs/conformance.md can be read");
    let row = |line: &str| {
        let mut cells = line.split('|').skip(1);
        let number = cells.next()?.trim().parse().ok()?;
        let tests = cells.nth(1)?.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Some((number, tests))
    };
    text.lines().filter_map(row).collect()
}

/// The source file that should hold a test, and the test's name.
fn locate(test: &str) -> (std::path::PathBuf, &str) {
    let (place, name) = test.rsplit_once("::").expect("a test is named with its place");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = match place {
        place if place.starts_with("netstack/") => root.join("..").join(place),
        place if place.ends_with(".rs") => root.join(place),
        module => root.join(format!("sim/{module}.rs")),
    };
    (file, name)
}

#[test]
fn every_claimed_row_is_in_the_table_with_a_test() {
    let numbers: Vec<u32> = table().iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, ROWS.concat());
    for (number, tests) in table() {
        assert!(!tests.is_empty(), "row {number} names no test");
    }
}

#[test]
fn every_named_test_exists() {
    for (number, tests) in table() {
        for test in tests {
            let (file, name) = locate(&test);
            let source =
                fs::read_to_string(&file).unwrap_or_else(|_| panic!("row {number}: no file for {test}"));
            let function = format!("#[test]\nfn {name}(");
            let source: String = source.lines().map(|line| format!("{}\n", line.trim_start())).collect();
            assert!(source.contains(&function), "row {number}: {test} is not there");
        }
    }
}
