//! The fuzzer's committed inputs, once each: what was found stays found.

use std::{fs, panic::catch_unwind, path::Path};

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = fs::read_dir(&corpus).expect("the corpus is there");
    let inputs: Vec<_> = files.map(|file| file.expect("a readable folder").path()).collect();
    assert!(!inputs.is_empty(), "nothing in {}", corpus.display());
    for path in inputs {
        let input = fs::read(&path).expect("a readable file");
        assert!(catch_unwind(|| run(&input)).is_ok(), "{} fails", path.display());
    }
}

#[test]
fn frames() {
    replay("frames", tests::fuzz::frames);
}

#[test]
fn frames_over_time() {
    replay("frames_over_time", tests::fuzz::frames_over_time);
}

#[test]
fn command() {
    replay("command", tests::fuzz::command);
}

#[test]
fn super_frames() {
    replay("super_frames", tests::fuzz::super_frames);
}

#[test]
fn saved_rules() {
    replay("saved_rules", tests::fuzz::saved_rules);
}

#[test]
fn sights() {
    replay("sights", tests::fuzz::sights);
}
