//! What other systems test their routers with, told anew and played on the booted image: the selftests of Linux's netfilter and
//! its packetdrill scripts, and OpenBSD's regression tests of pf and of its network stack.
//!
//! One machine plays all scenarios of an origin; between two of them it forgets rules and flows. `docs/scenarios.md` lists what was
//! taken over and what was not.

mod linux_packetdrill;
mod linux_selftests;
mod openbsd_arp;
mod openbsd_fragments;
mod openbsd_pf;
mod router;

use router::Router;
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

/// A scenario's name, and what happens in it.
type Scenario = (&'static str, fn(&mut Router));

/// The named functions as scenarios.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), $name)),*]
    };
}
pub(crate) use scenarios;

/// Everything that is played, by origin.
const ORIGINS: [(&str, &[Scenario]); 5] = [
    ("linux_packetdrill", linux_packetdrill::SCENARIOS),
    ("linux_selftests", linux_selftests::SCENARIOS),
    ("openbsd_arp", openbsd_arp::SCENARIOS),
    ("openbsd_fragments", openbsd_fragments::SCENARIOS),
    ("openbsd_pf", openbsd_pf::SCENARIOS),
];

/// Plays all scenarios of an origin, also behind one that fails.
fn play(origin: &str) {
    let (_, scenarios) = ORIGINS.iter().find(|(name, _)| *name == origin).expect("an origin");
    let mut router = Router::boot(origin);
    let mut failed = Vec::new();
    for (name, scenario) in *scenarios {
        println!("{origin}::{name}");
        router.forget();
        if catch_unwind(AssertUnwindSafe(|| scenario(&mut router))).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed on {origin}: {failed:?}");
    router.finish();
}

#[test]
fn packetdrill_scripts_of_linux() {
    play("linux_packetdrill");
}

#[test]
fn selftests_of_linux() {
    play("linux_selftests");
}

#[test]
fn arp_tests_of_openbsd() {
    play("openbsd_arp");
}

#[test]
fn fragment_tests_of_openbsd() {
    play("openbsd_fragments");
}

#[test]
fn pf_tests_of_openbsd() {
    play("openbsd_pf");
}

#[test]
fn the_page_lists_what_is_played() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scenarios.md");
    let text = fs::read_to_string(page).expect("docs/scenarios.md can be read");
    let listed: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| ORIGINS.iter().any(|it| word.starts_with(it.0)))
        .collect();
    let played: Vec<String> = ORIGINS
        .iter()
        .flat_map(|(origin, list)| list.iter().map(move |it| format!("{origin}::{}", it.0)))
        .collect();
    for name in &played {
        assert!(listed.contains(&name.as_str()), "{name} is not listed");
    }
    for name in listed {
        assert!(played.iter().any(|it| it == name), "{name} is listed, and not played");
    }
}
