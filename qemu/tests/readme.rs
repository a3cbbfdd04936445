//! What the README tells people to type is what the checks run.

use std::fs;

fn file(name: &str) -> String {
    fs::read_to_string(qemu::workspace::root().join(name)).unwrap()
}

/// The lines of the README's shell blocks, without their comments.
fn commands(readme: &str) -> Vec<&str> {
    let blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(str::lines).map(|line| line.split('#').next().unwrap().trim()).collect()
}

#[test]
fn the_checks_run_the_commands_of_the_readme() {
    let (readme, checks) = (file("README.md"), file(".ci/run"));
    let commands = commands(&readme);
    assert!(commands.contains(&"cargo run") && commands.contains(&"cargo test"), "{commands:?}");
    for command in commands {
        let runs = |line: &str| line.contains(command);
        assert!(checks.lines().any(runs), "`{command}` stands in the README and not in .ci/run");
    }
}
