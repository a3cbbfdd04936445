//! A network namespace for one test: as root, or as the root of a user namespace (`unshare -rn`), or not at all.

use nix::{
    sched::{CloneFlags, unshare},
    unistd::geteuid,
};
use qemu::setup::{find, test_programs};
use std::{
    any::type_name,
    env,
    fs::File,
    io::{self, Write},
    process::{Command, Output, Stdio},
};

/// Set in the environment of a test that runs again inside `unshare -rn`.
const INSIDE: &str = "RUTTER_TEST_INSIDE_UNSHARE";

/// Runs `test` in a thread whose network namespace is new and empty; processes started by that thread are in it
/// too. Call it as `in_namespace(&["iptables"], || ..)` straight from a test function: without the right to make
/// a namespace the same test is run again inside `unshare -rn`. Where neither is possible, or one of the `tools`
/// is missing and cannot be installed, the test is skipped and says so.
///
/// # Panics
/// When the test does.
pub fn in_namespace<F: FnOnce() + Send + 'static>(tools: &[&str], test: F) {
    let name = test_name::<F>();
    if let Some(missing) = tools.iter().find(|tool| find(tool).is_none())
        && let Err(error) = test_programs()
    {
        return skip(&name, &format!("{missing} is not installed ({error:#})"));
    }
    if let Err(error) = File::options().read(true).write(true).open("/dev/net/tun") {
        return skip(&name, &format!("/dev/net/tun cannot be opened ({error})"));
    }
    if geteuid().is_root()
        && Command::new("unshare").args(["-n", "true"]).status().is_ok_and(|it| it.success())
    {
        let thread = std::thread::Builder::new().name(name);
        let thread = thread.spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("root makes a network namespace");
            test();
        });
        if let Err(panic) = thread.expect("a thread starts").join() {
            std::panic::resume_unwind(panic);
        }
        return;
    }
    let possible = Command::new("unshare").args(["-rn", "true"]).stderr(Stdio::null()).status();
    if env::var_os(INSIDE).is_some() || !possible.is_ok_and(|it| it.success()) {
        return skip(&name, "it needs root, or a user namespace (unshare -rn), to make a network namespace");
    }
    let again = Command::new("unshare")
        .arg("-rn")
        .arg(env::current_exe().expect("a test knows its program"))
        .args([&name, "--exact", "--include-ignored", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare was there a moment ago");
    assert!(again.success(), "{name} failed inside unshare -rn");
}

/// Says on the real standard error, which the test harness does not capture, that a test did not run.
pub fn skip(name: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {why}");
}

/// The name of the test that wrote the closure of type `F`, as the test harness has it.
fn test_name<F>() -> String {
    let path = type_name::<F>();
    let path = path.split_once("::").map_or(path, |(_, rest)| rest);
    path.split("::{{closure}}").next().unwrap_or(path).to_string()
}

/// Runs `script` with /bin/sh in the namespace of this thread and gives what it printed.
///
/// # Errors
/// What it wrote, where a command of it failed.
pub fn sh(script: &str) -> Result<String, String> {
    printed(script, shell(script).output())
}

/// `script` for /bin/sh, which stops at the first command that fails.
pub fn shell(script: &str) -> Command {
    let path = env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let mut command = Command::new("/bin/sh");
    // A user namespace cannot write /run/xtables.lock, and a namespace of one thread needs no lock.
    command.args(["-e", "-c", script]).env("PATH", path).env("XTABLES_LOCKFILE", "/dev/null");
    command
}

/// What `script` printed.
///
/// # Errors
/// What it wrote, where a command of it failed.
pub fn printed(script: &str, output: io::Result<Output>) -> Result<String, String> {
    let output = output.map_err(|error| format!("/bin/sh: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let (error, out) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    Err(format!("{}\n{error}{out}", script.trim()))
}
