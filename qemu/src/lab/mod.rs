//! A lab: the router in a virtual machine, and hosts of this program's own around it, all in one thread that sleeps
//! until a frame, a byte of the console or a host's timer wakes it.

mod capture;
mod console;
mod host;
mod link;
mod logs;
mod ping;
mod qmp;
mod segment;
pub mod services;
mod start;
pub mod tuple;

pub use console::Console;
pub use host::{Host, Service};
pub use qmp::Qmp;
pub use segment::{Segment, Sighting};
pub use start::Plan;

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smoltcp::wire::Ipv4Cidr;

use capture::Capture;
use logs::Logs;

/// How long an event may take on a busy machine before it counts as not happening.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command printed, and its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub text: String,
    pub status: u8,
}

/// Which host: the number of its segment, and its own on that segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostId(pub usize, usize);

/// A lab that runs.
pub struct Lab {
    pub console: Console,
    pub qmp: Qmp,
    /// The segment at each card of the router.
    pub segments: Vec<Segment>,
    /// How long [`until`](Lab::until) waits.
    pub patience: Duration,
    child: Child,
    capture: Capture,
    logs: Logs,
    started: Instant,
}

impl Lab {
    /// Starts the machine and waits for its prompt.
    pub fn boot(plan: Plan) -> Result<Lab> {
        let mut lab = Lab::start(plan)?;
        lab.until("the first prompt", |lab| lab.console.is_ready().then_some(()))?;
        Ok(lab)
    }

    /// Puts a host on the segment of card `segment`; its address there is the first of `addresses`.
    pub fn host(
        &mut self,
        segment: usize,
        name: &'static str,
        addresses: &[&str],
        gateway: Option<Ipv4Addr>,
    ) -> HostId {
        let addresses: Vec<Ipv4Cidr> =
            addresses.iter().map(|text| text.parse().expect("an address and a prefix length")).collect();
        let [.., third, fourth] = addresses[0].address().octets();
        let mac = [0x02, 0xaa, 0, segment as u8, third, fourth];
        let mut host = Host::new(name, mac, &addresses, self.now());
        if let Some(gateway) = gateway {
            host = host.via(gateway);
        }
        let hosts = &mut self.segments[segment].hosts;
        hosts.push(host);
        HostId(segment, hosts.len() - 1)
    }

    pub fn get(&mut self, host: HostId) -> &mut Host {
        &mut self.segments[host.0].hosts[host.1]
    }

    /// Puts a frame on the cable of card `segment`, as if a host had sent it.
    pub fn inject(&mut self, segment: usize, frame: &[u8]) -> Result<()> {
        self.capture.add(segment, frame)?;
        self.segments[segment].inject(frame);
        Ok(())
    }

    /// Runs a command on the router's console.
    pub fn command(&mut self, command: &str) -> Result<Answer> {
        let text = self.ask(command)?;
        let status = self.ask("echo $?")?;
        let status =
            status.trim().parse().with_context(|| format!("the status after `{command}`: `{status}`"))?;
        Ok(Answer { text, status })
    }

    /// Runs commands that must succeed, one a line.
    pub fn commands(&mut self, script: &str) -> Result<()> {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let answer = self.command(line)?;
            if answer.status != 0 {
                bail!("`{line}` failed with {}: {}", answer.status, answer.text.trim());
            }
        }
        Ok(())
    }

    fn ask(&mut self, line: &str) -> Result<String> {
        self.console.forget();
        self.console.type_bytes(line.as_bytes());
        self.console.type_bytes(b"\r");
        self.until(&format!("the answer to `{line}`"), |lab| lab.console.answer())
    }

    /// Lets everything run until `check` has an answer.
    pub fn until<T>(&mut self, what: &str, mut check: impl FnMut(&mut Lab) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + self.patience;
        loop {
            self.settle()?;
            if let Some(answer) = check(self) {
                return Ok(answer);
            }
            if self.console.is_closed() {
                bail!("the machine ended before {what}{}", self.evidence());
            }
            if Instant::now() >= deadline {
                bail!("waited {:?} in vain for {what}{}", self.patience, self.evidence());
            }
            self.wait(deadline)?;
        }
    }

    /// Lets everything run for a while.
    pub fn run_for(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end && !self.console.is_closed() {
            self.settle()?;
            self.wait(end)?;
        }
        Ok(())
    }

    /// Lets everything run until the machine ends by itself.
    pub fn end(&mut self) -> Result<ExitStatus> {
        self.run_for(self.patience)?;
        if !self.console.is_closed() {
            bail!("waited {:?} in vain for the machine's end{}", self.patience, self.evidence());
        }
        Ok(self.child.wait()?)
    }

    /// The processor time that the machine has used, where the system tells (proc(5), `/proc/pid/stat`).
    pub fn cpu_time(&self) -> Option<Duration> {
        const UTIME: usize = 11;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(UTIME).take(2);
        let ticks: u64 = fields.map(|ticks| ticks.parse::<u64>().ok()).sum::<Option<u64>>()?;
        Some(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
    }

    /// When the machine was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Where the console and the packets are logged.
    pub fn logs(&self) -> std::path::Display<'_> {
        self.logs.folder().display()
    }

    /// All went well: the logs are not needed.
    pub fn finish(mut self) {
        self.logs.discard();
    }

    fn now(&self) -> smoltcp::time::Instant {
        smoltcp::time::Instant::from_micros(self.started.elapsed().as_micros() as i64)
    }

    /// Lets the hosts do what they can do now.
    fn settle(&mut self) -> Result<()> {
        let now = self.now();
        if self.console.is_closed() {
            return Ok(());
        }
        for segment in &mut self.segments {
            segment.settle(now, &mut self.capture)?;
        }
        self.console.flush()?;
        Ok(())
    }

    /// Sleeps until there is something to do, and takes what came.
    fn wait(&mut self, deadline: Instant) -> Result<()> {
        let now = self.now();
        let timer = self.segments.iter_mut().filter_map(|segment| segment.idle_for(now)).min();
        let timer = timer.map(|delay| Duration::from_micros(delay.total_micros()));
        let rest = deadline.saturating_duration_since(Instant::now());
        let delay = timer.map_or(rest, |timer| timer.min(rest));

        let interest = |unsent| if unsent { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut fds =
            vec![PollFd::from_borrowed_fd(self.console.as_fd(), interest(self.console.has_unsent()))];
        for segment in &self.segments {
            fds.push(PollFd::from_borrowed_fd(segment.link.as_fd(), interest(segment.link.has_unsent())));
        }
        let timeout = Timespec::try_from(delay).context("a timer")?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("poll"),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !(fd.revents() & !PollFlags::OUT).is_empty()).collect();
        if ready[0] {
            self.console.receive()?;
        }
        for (segment, _) in self.segments.iter_mut().zip(&ready[1..]).filter(|(_, ready)| **ready) {
            if segment.receive(&mut self.capture).is_err() {
                // A cable ends with its machine; the console tells the rest.
                self.child.wait()?;
                self.console.receive()?;
            }
        }
        Ok(())
    }

    /// The end of what the console printed, and where the rest lies.
    fn evidence(&self) -> String {
        let text = self.console.text();
        let mut tail: Vec<String> =
            text.lines().rev().take(20).map(|line| line.chars().take(200).collect()).collect();
        tail.reverse();
        format!("; the logs are in {}; the console's last lines:\n  | {}", self.logs(), tail.join("\n  | "))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A machine that has ended already is no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
