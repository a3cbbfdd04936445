//! A machine beside the router: a network namespace of its own, with whatever programs run in it.

use crate::namespace::{printed, sh, shell};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::{Pid, gettid},
};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How long a program may take to end when it is asked to, and how often is looked whether it has.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

type Work = Box<dyn FnOnce() + Send>;

/// The machine. A thread lives in its namespace and does what it is told; processes that it starts are there too.
pub struct Peer {
    thread: Pid,
    orders: mpsc::Sender<Work>,
}

/// A program that runs until this is dropped.
pub struct Program(Child);

/// Commands that are under way; dropped, they end.
pub struct Running {
    script: String,
    /// `None`: its end has been seen.
    shell: Option<Child>,
}

impl Default for Peer {
    fn default() -> Self {
        Self::new()
    }
}

impl Peer {
    /// A machine with `lo`, and no cable yet.
    ///
    /// # Panics
    /// Where no namespace can be made, though one could before.
    pub fn new() -> Self {
        let (orders, list) = mpsc::channel::<Work>();
        let (born, birth) = mpsc::channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("the first namespace could be made too");
            sh("ip link set lo up").expect("lo is always there");
            born.send(gettid()).expect("somebody waits for it");
            list.into_iter().for_each(|work| work());
        });
        Self { thread: birth.recv().expect("the thread lives"), orders }
    }

    /// The number by which `ip link set DEV netns` knows it.
    pub fn id(&self) -> Pid {
        self.thread
    }

    /// Does something in the namespace.
    ///
    /// # Panics
    /// When `work` does.
    pub fn run<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        let (done, result) = mpsc::channel();
        let work = move || done.send(work()).expect("somebody waits for it");
        self.orders.send(Box::new(work)).expect("the thread lives");
        result.recv().expect("the work does not panic")
    }

    /// Runs commands that must succeed, and gives what they print.
    ///
    /// # Panics
    /// Where one fails.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.try_sh(script).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs commands.
    ///
    /// # Errors
    /// What they say where one fails.
    pub fn try_sh(&self, script: &str) -> Result<String, String> {
        let script = script.to_owned();
        self.run(move || sh(&script))
    }

    /// Begins commands whose end is waited for later.
    ///
    /// # Panics
    /// Where there is no shell.
    pub fn begin(&self, script: &str) -> Running {
        let mut shell = shell(script);
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.run(move || shell.spawn().expect("/bin/sh is always there"));
        Running { script: script.to_owned(), shell: Some(child) }
    }

    /// Starts a program, and waits until it prints `ready` to standard output or standard error.
    ///
    /// # Panics
    /// Where it ends before.
    #[track_caller]
    pub fn start(&self, command: &str, ready: &str) -> Program {
        let line = format!("exec {command} 2>&1");
        let mut child = self.run(move || {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &line]).stdin(Stdio::null()).stdout(Stdio::piped());
            shell.spawn().expect("/bin/sh is always there")
        });
        let output = BufReader::new(child.stdout.take().expect("a pipe was asked for"));
        let mut lines = output.lines().map_while(Result::ok);
        let said: Vec<_> = lines.by_ref().take_while(|line| !line.contains(ready)).collect();
        // Whatever it says from here on must not fill the pipe.
        thread::spawn(move || lines.for_each(drop));
        match child.try_wait() {
            Ok(None) => Program(child),
            _ => panic!("`{command}` ended: {}", said.join("\n")),
        }
    }
}

impl Program {
    /// Asks it to end, as Ctrl-C does, and waits until it has. One that does not hear (turnserver once in a while) is killed.
    ///
    /// # Panics
    /// Where it is gone already.
    pub fn end(mut self) {
        let pid = Pid::from_raw(self.0.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && self.0.try_wait().expect("it is ours").is_none() {
            thread::sleep(LOOK);
        }
    }
}

impl Running {
    /// Whether they have ended; [`Running::end`] says how.
    ///
    /// # Panics
    /// Never: they are ours.
    pub fn is_over(&mut self) -> bool {
        let shell = self.shell.as_mut().expect("nobody has waited yet");
        shell.try_wait().expect("it is ours").is_some()
    }

    /// Waits for the end, and gives what was printed.
    ///
    /// # Errors
    /// What the commands say where one fails.
    ///
    /// # Panics
    /// Never: it can be waited for once only.
    pub fn end(mut self) -> Result<String, String> {
        let shell = self.shell.take().expect("this is the only one who waits");
        printed(&self.script, shell.wait_with_output())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut shell) = self.shell.take() {
            // It may have ended by itself.
            let _ = shell.kill();
            let _ = shell.wait();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
