//! The person's side: a line editor over the commands, one running command at a time.

use super::{
    Action, Failure, Job, Platform, Progress, Read, Session, complete,
    editor::{Editor, Event, LINE_MAX},
    job::Builtin,
    script::{self, Command, Output, SyntaxError},
    shell::Shell,
};
use crate::{
    config::{Change, Config, ConfigError},
    router::{Context, Router},
};
use alloc::{boxed::Box, collections::VecDeque, format, string::String};
use smoltcp::time::Instant;

/// What is typed while a command runs is kept up to here.
const TYPE_AHEAD: usize = 16 * 1024;
/// With so much output waiting, nothing more is made.
const OUTPUT_HIGH: usize = 16 * 1024;
/// The longest text that may follow a command (`iptables-restore`).
const TEXT_MAX: usize = 2 << 20;
/// What one call does at most, so that packets do not have to wait: bytes taken, and steps of commands.
const BYTES_PER_TURN: usize = 4096;
const STEPS_PER_TURN: usize = 8;

/// The console of a router.
pub struct Console {
    editor: Editor,
    shell: Shell,
    output: VecDeque<u8>,
    /// Bytes that were typed and not looked at yet.
    typed: VecDeque<u8>,
    /// Bytes that were typed when there was no room left.
    lost: usize,
    /// The lines of a command that is not complete yet, because a quote is open.
    begun: String,
    /// The rest of the line that runs.
    queue: VecDeque<Command>,
    running: Option<Running>,
    reading: Option<Reading>,
    /// Whether the last output ended within a line.
    within_line: bool,
}

/// A command that runs.
struct Running {
    job: Box<dyn Job>,
    silent: bool,
    hush: bool,
    waiting: bool,
}

/// A command that waits for its text.
struct Reading {
    change: Box<Read>,
    text: String,
    /// The line that ends it, beside Ctrl-D.
    end: Option<String>,
    too_long: bool,
    hush: bool,
}

impl Console {
    /// A console that has printed its first prompt.
    pub fn new(router: &Router) -> Self {
        let mut console = Self {
            editor: Editor::default(),
            shell: Shell::default(),
            output: VecDeque::new(),
            typed: VecDeque::new(),
            lost: 0,
            begun: String::new(),
            queue: VecDeque::new(),
            running: None,
            reading: None,
            within_line: false,
        };
        console.prompt(router);
        console
    }

    /// How many bytes the driver should take from the terminal now; those that it leaves where they are make the
    /// sender wait, and none is lost. While a command waits for something else (`ping`), all are taken, for one of
    /// them may be Ctrl-C.
    pub fn room(&self) -> usize {
        match &self.running {
            Some(running) if running.waiting => TYPE_AHEAD,
            _ => TYPE_AHEAD - self.typed.len(),
        }
    }

    /// Bytes from the terminal. What was typed ahead beyond 16 KiB is lost, and a line says so.
    pub fn input(
        &mut self,
        bytes: &[u8],
        router: &mut Router,
        platform: &mut dyn Platform,
        cx: &mut Context<'_>,
    ) {
        for &byte in bytes {
            if byte == CTRL_C && self.is_busy() {
                self.interrupt(&mut Session { router, platform, cx });
            } else if self.typed.len() < TYPE_AHEAD {
                self.typed.push_back(byte);
            } else {
                self.lost += 1;
            }
        }
        self.poll(router, platform, cx);
    }

    /// Goes on with what runs and with what was typed. Call it in every turn of the event loop.
    pub fn poll(&mut self, router: &mut Router, platform: &mut dyn Platform, cx: &mut Context<'_>) {
        let mut session = Session { router, platform, cx };
        let (mut bytes, mut steps) = (BYTES_PER_TURN, STEPS_PER_TURN);
        while self.output.len() < OUTPUT_HIGH {
            if self.running.is_some() {
                if steps == 0 {
                    return;
                }
                steps -= 1;
                if !self.step(&mut session) {
                    return;
                }
            } else if !self.queue.is_empty() && self.reading.is_none() {
                if steps == 0 {
                    return;
                }
                steps -= 1;
                self.start_next(&mut session);
            } else {
                let next = if bytes == 0 { None } else { self.typed.pop_front() };
                let Some(byte) = next else { return };
                bytes -= 1;
                self.byte(byte, &mut session);
            }
        }
    }

    /// When `poll` has something to do next; `None`: only after input.
    pub fn poll_at(&self) -> Option<Instant> {
        match &self.running {
            _ if self.output.len() >= OUTPUT_HIGH => None,
            Some(running) if running.waiting => running.job.poll_at(),
            None if self.typed.is_empty() && (self.queue.is_empty() || self.reading.is_some()) => None,
            _ => Some(Instant::ZERO),
        }
    }

    /// A message from the machine (a log line), printed so that the line being typed stays whole.
    pub fn message(&mut self, text: &str) {
        let editing = !self.is_busy();
        if editing {
            self.editor.hide(&mut self.output);
        } else if self.within_line {
            self.print("\n");
        }
        self.print(text.trim_end_matches('\n'));
        self.print("\n");
        if editing {
            self.editor.show(&mut self.output);
        }
    }

    /// Bytes for the terminal. Take what the serial line can bear; a long listing goes on when there is room.
    pub fn output(&mut self) -> &mut VecDeque<u8> {
        &mut self.output
    }

    /// Whether a command runs, or others of the same line are still to run.
    fn is_busy(&self) -> bool {
        self.running.is_some() || (!self.queue.is_empty() && self.reading.is_none())
    }

    fn print(&mut self, text: &str) {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.output.push_back(b'\r');
            }
            self.output.push_back(byte);
        }
        if let Some(last) = text.bytes().next_back() {
            self.within_line = last != b'\n';
        }
    }

    /// The line is done: a new one begins.
    fn prompt(&mut self, router: &Router) {
        if self.within_line {
            self.print("\n");
        }
        if self.lost > 0 {
            let lost = core::mem::take(&mut self.lost);
            self.print(&format!("{lost} bytes were typed too fast and are lost\n"));
        }
        let prompt = match (&self.reading, self.begun.is_empty()) {
            (Some(_), _) => String::new(),
            (None, false) => String::from("> "),
            (None, true) => format!("{}# ", router.config().hostname),
        };
        self.editor.start(&prompt, &mut self.output);
    }

    fn interrupt(&mut self, session: &mut Session<'_, '_>) {
        self.typed.clear();
        self.queue.clear();
        self.print("^C\n");
        if let Some(mut running) = self.running.take() {
            let mut out = String::new();
            running.job.interrupt(session, &mut out);
            self.print(&out);
        }
        // As a shell has it: 128 and the number of SIGINT.
        self.shell.status = 130;
        self.prompt(session.router);
    }

    fn byte(&mut self, byte: u8, session: &mut Session<'_, '_>) {
        match self.editor.byte(byte, &mut self.output) {
            None => {}
            Some(Event::Line(line)) if self.reading.is_some() => self.read_line(&line, session),
            Some(Event::EndOfInput) if self.reading.is_some() => self.read_end(session),
            Some(Event::TooLong) if self.reading.is_some() => {
                self.reading.iter_mut().for_each(|reading| reading.too_long = true);
            }
            Some(Event::Line(line)) => self.line(&line, session),
            Some(Event::TooLong) => self.too_long(session),
            Some(Event::Interrupt) => {
                self.begun.clear();
                self.reading = None;
                self.queue.clear();
                self.shell.status = 130;
                self.prompt(session.router);
            }
            Some(Event::EndOfInput) => {}
            Some(Event::Complete) => self.complete(session.router),
        }
    }

    fn too_long(&mut self, session: &Session<'_, '_>) {
        self.begun.clear();
        self.shell.status = 1;
        self.print(&format!("the line is longer than {LINE_MAX} bytes\n"));
        self.prompt(session.router);
    }

    fn line(&mut self, line: &str, session: &mut Session<'_, '_>) {
        self.editor.remember(line);
        if self.begun.len() + line.len() > LINE_MAX {
            return self.too_long(session);
        }
        self.begun.push_str(line);
        self.begun.push('\n');
        match script::parse(&self.begun) {
            Err(SyntaxError::Incomplete) => return self.prompt(session.router),
            Err(error) => {
                self.shell.status = 2;
                self.print(&error.message());
                self.print("\n");
            }
            Ok(commands) => self.queue = commands,
        }
        self.begun.clear();
        if self.queue.is_empty() {
            self.prompt(session.router);
        }
    }

    /// Starts the next command of the line.
    fn start_next(&mut self, session: &mut Session<'_, '_>) {
        let Some(command) = self.queue.pop_front() else { return };
        if command.is_due(self.shell.status) {
            let hush = command.hush;
            match self.shell.prepare(&command, session.router.config()) {
                Err(failure) => self.fail(&failure, hush),
                Ok(Action::Edit(change)) => {
                    let outcome = edit(session.router, change);
                    self.settle(outcome, hush);
                }
                Ok(Action::Read(change)) => {
                    let text = String::new();
                    self.reading = Some(Reading { change, text, end: command.here, too_long: false, hush });
                    return self.prompt(session.router);
                }
                Ok(Action::Print(text)) => {
                    if command.output == Output::Console {
                        self.print(&text);
                    }
                    self.shell.status = 0;
                }
                Ok(Action::Console(builtin)) => self.builtin(builtin),
                Ok(Action::Job(job)) => {
                    let silent = command.output != Output::Console;
                    self.running = Some(Running { job, silent, hush, waiting: false });
                    return;
                }
            }
        }
        self.end_command(session.router);
    }

    /// Goes on with the running command; `false`: it waits.
    fn step(&mut self, session: &mut Session<'_, '_>) -> bool {
        let Some(running) = &mut self.running else { return false };
        let mut out = String::new();
        let progress = running.job.step(session, &mut out);
        let (silent, hush) = (running.silent, running.hush);
        running.waiting = progress == Progress::Waiting;
        if !silent {
            self.print(&out);
        }
        match progress {
            Progress::More => return true,
            Progress::Waiting => return false,
            Progress::Done(status) => self.shell.status = status,
            Progress::Failed(failure) => self.fail(&failure, hush),
        }
        self.running = None;
        self.end_command(session.router);
        true
    }

    fn end_command(&mut self, router: &Router) {
        if self.queue.is_empty() {
            self.prompt(router);
        }
    }

    fn settle(&mut self, outcome: Result<(), Failure>, hush: bool) {
        match outcome {
            Ok(()) => self.shell.status = 0,
            Err(failure) => self.fail(&failure, hush),
        }
    }

    fn fail(&mut self, failure: &Failure, hush: bool) {
        self.shell.status = failure.status;
        if !hush && !failure.text.is_empty() {
            if self.within_line {
                self.print("\n");
            }
            self.print(&failure.text);
            self.print("\n");
        }
    }

    fn read_line(&mut self, line: &str, session: &mut Session<'_, '_>) {
        let Some(reading) = &mut self.reading else { return };
        if reading.end.as_deref() == Some(line) {
            return self.read_end(session);
        }
        if reading.text.len() + line.len() >= TEXT_MAX {
            reading.too_long = true;
            reading.text = String::new();
        } else if !reading.too_long {
            reading.text.push_str(line);
            reading.text.push('\n');
        }
    }

    fn read_end(&mut self, session: &mut Session<'_, '_>) {
        let Some(reading) = self.reading.take() else { return };
        let Reading { change, text, too_long, hush, .. } = reading;
        if too_long {
            let text =
                format!("a line of the text is longer than {LINE_MAX} bytes, or the text than {TEXT_MAX}");
            self.fail(&Failure::new(1, text), hush);
        } else {
            let outcome = edit(session.router, |config| change(config, &text));
            self.settle(outcome, hush);
        }
        self.end_command(session.router);
    }

    fn builtin(&mut self, builtin: Builtin) {
        match builtin {
            Builtin::History => {
                let mut text = String::new();
                for (place, line) in self.editor.history().enumerate() {
                    text += &format!("{:5}  {line}\n", place + 1);
                }
                self.print(&text);
            }
            Builtin::Clear => self.output.extend(b"\x1b[H\x1b[2J"),
        }
        self.shell.status = 0;
    }

    fn complete(&mut self, router: &Router) {
        if self.reading.is_some() {
            return;
        }
        let completion = complete::complete(self.editor.before_cursor(), router.config());
        self.editor.insert_text(&completion.insert, &mut self.output);
        if !completion.choices.is_empty() {
            self.output.extend(b"\r\n");
            self.print(&completion.choices);
            self.editor.show(&mut self.output);
        }
    }
}

const CTRL_C: u8 = 3;

/// Changes the configuration, and keeps the status that a failure comes with.
fn edit(
    router: &mut Router,
    change: impl FnOnce(&mut Config) -> Result<Change, Failure>,
) -> Result<(), Failure> {
    let mut refused = None;
    let outcome = router.edit(|config| {
        change(config).map_err(|failure| {
            let error = ConfigError::new(failure.text.as_str());
            refused = Some(failure);
            error
        })
    });
    outcome.map_err(|error| refused.unwrap_or_else(|| error.into()))
}
