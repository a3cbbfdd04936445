//! `tcpdump`: frames that come in and leave, with the words and the lines of tcpdump(8).

use super::{Action, Failure, Job, Progress, Session, argument::decimal};
use crate::{
    config::Config,
    interface::InterfaceId,
    router::Router,
    tap::{
        Counts, TapId, Wish,
        filter::Filter,
        stream::Stream,
        text::{Printer, Style, TimeStyle},
    },
};
use alloc::{collections::VecDeque, format, string::String, vec::Vec};
use smoltcp::time::Instant;

/// How it is written.
pub const USAGE: &str = "\
usage: tcpdump [-enpqStv] [-c COUNT] [-i DEVICE | any] [-s BYTES] [-w - [--now MICROSECONDS]] [EXPRESSION]
EXPRESSION is that of pcap-filter(7), in quotes where it has signs: [src | dst] host ADDRESS, net PREFIX, port NUMBER, portrange A-B,
       ether host MAC, arp, ip, icmp, tcp, udp, ip proto NUMBER, tcp[tcpflags] & tcp-syn != 0, less N, inbound, ..
       with and, or, not and brackets. Ctrl-C ends it.";

/// Most bytes of a frame (tcpdump's MAXIMUM_SNAPLEN).
const SNAPSHOT: usize = 262_144;
/// Memory for frames that wait to be printed.
const MEMORY: usize = 256 << 10;
const STREAM_MEMORY: usize = 1 << 20;
/// Lines are made until there are so many bytes of them; then the console has its turn.
const PIECE: usize = 2048;

/// Words that may follow, for Tab.
pub fn words(_: &[&str]) -> &'static [&'static str] {
    &[
        "-S", "-c", "-e", "-i", "-n", "-q", "-s", "-t", "-v", "-w", "and", "any", "arp", "dst", "host",
        "icmp", "net", "not", "or", "port", "src", "tcp", "udp",
    ]
}

/// A failure with the name of the command.
pub fn fail(text: impl core::fmt::Display) -> Failure {
    Failure::new(1, format!("tcpdump: {text}"))
}

/// What the words ask for.
pub struct Wanted {
    /// `None`: any.
    interface: Option<InterfaceId>,
    /// How many frames; `None`: until it is interrupted.
    pub count: Option<u64>,
    snapshot: usize,
    style: Style,
    /// The filter, and its text.
    filter: Filter,
    expression: String,
    /// Whether a file is written to the second serial port.
    write: bool,
    /// What time it is for whoever reads the file, in microseconds since 1970.
    now: Option<u64>,
}

pub fn parse(words: &[String], config: &Config) -> Result<Action, Failure> {
    let wanted = understand(words, config)?;
    Ok(if wanted.write {
        Action::job(Write(Some(wanted)))
    } else {
        Action::job(Tcpdump { wanted, running: None })
    })
}

/// Understands the words, and changes nothing.
pub fn understand(words: &[String], config: &Config) -> Result<Wanted, Failure> {
    let mut wanted = Wanted {
        interface: default_interface(config),
        count: None,
        snapshot: SNAPSHOT,
        style: Style::default(),
        filter: Filter::default(),
        expression: String::new(),
        write: false,
        now: None,
    };
    let mut times = 0;
    let mut words = words.iter();
    let mut expression = Vec::new();
    while let Some(word) = words.next() {
        // As getopt of POSIX has it: the first word that is no option begins the expression.
        let letters = match word.strip_prefix('-') {
            Some("-") => break,
            Some("-now") => {
                let value = words.next().ok_or_else(|| fail("option requires an argument -- 'now'"))?;
                let micros = decimal(value).ok_or_else(|| fail(format_args!("invalid time {value}")))?;
                wanted.now = Some(micros);
                continue;
            }
            Some(letters) if !letters.is_empty() => letters,
            _ => {
                expression.push(word.as_str());
                break;
            }
        };
        let mut rest = letters.chars();
        while let Some(letter) = rest.next() {
            let mut value = || {
                let attached = core::mem::replace(&mut rest, "".chars()).as_str();
                match attached {
                    "" => words.next().map(String::as_str),
                    attached => Some(attached),
                }
                .ok_or_else(|| fail(format_args!("option requires an argument -- '{letter}'")))
            };
            match letter {
                'i' => wanted.interface = interface(value()?, config)?,
                'c' => {
                    let value = value()?;
                    let count = decimal(value).filter(|&count| count > 0);
                    wanted.count =
                        Some(count.ok_or_else(|| fail(format_args!("invalid packet count {value}")))?);
                }
                's' => {
                    let value = value()?;
                    let limit = format!("(must be >= 0 and <= {SNAPSHOT})");
                    wanted.snapshot = match decimal::<usize>(value).filter(|&bytes| bytes <= SNAPSHOT) {
                        Some(0) => SNAPSHOT,
                        Some(bytes) => bytes,
                        None => return Err(fail(format_args!("invalid snaplen {value} {limit}"))),
                    };
                }
                'w' => match value()? {
                    "-" => wanted.write = true,
                    other => {
                        let only = "only - can be written to, the second serial port";
                        return Err(fail(format_args!("{other}: {only}")));
                    }
                },
                'e' => wanted.style.ethernet = true,
                'v' => wanted.style.verbose = (wanted.style.verbose + 1).min(2),
                'q' => wanted.style.quiet = true,
                'S' => wanted.style.absolute = true,
                't' => times += 1,
                // Nothing is ever looked up, every line is printed at once, and cards are left as they are.
                'n' | 'l' | 'p' | 'N' | 'U' => {}
                other => return Err(fail(format_args!("invalid option -- '{other}'"))),
            }
        }
    }
    expression.extend(words.map(String::as_str));
    wanted.expression = expression.join(" ");
    wanted.filter = Filter::parse(&wanted.expression).map_err(fail)?;
    wanted.style.interfaces = wanted.interface.is_none();
    wanted.style.time = match times {
        0 => TimeStyle::Clock,
        1 => TimeStyle::None,
        2 => TimeStyle::Seconds,
        3 => TimeStyle::SinceLast,
        4 => TimeStyle::Date,
        _ => TimeStyle::SinceFirst,
    };
    Ok(wanted)
}

/// The first interface that is up, but for `lo`.
fn default_interface(config: &Config) -> Option<InterfaceId> {
    config.interfaces().skip(1).find(|(_, interface)| interface.up).map(|(id, _)| id)
}

/// `any`, or an interface by name.
fn interface(name: &str, config: &Config) -> Result<Option<InterfaceId>, Failure> {
    if name == "any" {
        return Ok(None);
    }
    let known = config.find_interface(name);
    known.map(Some).ok_or_else(|| fail(format_args!("{name}: No such device exists")))
}

impl Wanted {
    fn wish(&self, memory: usize) -> Wish {
        let Self { interface, snapshot, ref filter, .. } = *self;
        Wish { interface, filter: filter.clone(), snapshot, memory, overwrite: false }
    }

    /// Begins the file that is wanted.
    pub fn stream(
        &self,
        router: &mut Router,
        now: Instant,
        out: &mut VecDeque<u8>,
    ) -> Result<Stream, Failure> {
        let uptime = now.total_micros() as u64;
        let offset = self.now.map_or(0, |now| now.saturating_sub(uptime));
        let stream = Stream::begin(router, self.wish(STREAM_MEMORY), &self.expression, offset, out);
        stream.map_err(fail)
    }

    fn name<'r>(&self, router: &'r Router) -> &'r str {
        self.interface.map_or("any", |id| router.config().name(id))
    }
}

/// Prints frames.
struct Tcpdump {
    wanted: Wanted,
    running: Option<Running>,
}

struct Running {
    tap: TapId,
    printer: Printer,
    captured: u64,
    frame: Vec<u8>,
}

impl Job for Tcpdump {
    fn step(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Progress {
        let Some(running) = &mut self.running else {
            return match self.start(session, out) {
                Ok(()) => Progress::More,
                Err(failure) => Progress::Failed(failure),
            };
        };
        while self.wanted.count.is_none_or(|count| running.captured < count) {
            if out.len() >= PIECE {
                return Progress::More;
            }
            let Some(sight) = session.router.taps().take(running.tap, &mut running.frame) else {
                return Progress::Waiting;
            };
            running.captured += 1;
            let name = session.router.config().name(sight.interface);
            running.printer.print(&sight, name, &running.frame, out);
        }
        self.end(session, out);
        Progress::Done(0)
    }

    fn interrupt(&mut self, session: &mut Session<'_, '_>, out: &mut String) {
        self.end(session, out);
    }
}

impl Tcpdump {
    fn start(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Result<(), Failure> {
        let Wanted { snapshot, ref style, .. } = self.wanted;
        let tap = session.router.taps().open(self.wanted.wish(MEMORY)).map_err(fail)?;
        let name = self.wanted.name(session.router);
        *out += match style.verbose {
            0 => "tcpdump: verbose output suppressed, use -v[v]... for full protocol decode\n",
            _ => "tcpdump: ",
        };
        *out += &listening(name, snapshot);
        let printer = Printer::new(style.clone());
        self.running = Some(Running { tap, printer, captured: 0, frame: Vec::new() });
        Ok(())
    }

    /// The last words.
    fn end(&mut self, session: &mut Session<'_, '_>, out: &mut String) {
        let Some(running) = self.running.take() else { return };
        let counts = session.router.taps().close(running.tap);
        *out += &summary(running.captured, counts);
    }
}

/// Has a file written to the second serial port.
struct Write(Option<Wanted>);

impl Job for Write {
    fn step(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Progress {
        let Some(port) = session.platform.capture_port() else {
            return Progress::Failed(fail("-: there is no second serial port"));
        };
        if let Some(wanted) = self.0.take() {
            if port.is_busy() {
                return Progress::Failed(fail("-: the second serial port is in use"));
            }
            *out += "tcpdump: ";
            *out += &listening(wanted.name(session.router), wanted.snapshot);
            return match port.begin(wanted, session.router, session.cx.now) {
                Ok(()) => Progress::More,
                Err(failure) => Progress::Failed(failure),
            };
        }
        if port.is_busy() {
            return Progress::Waiting;
        }
        let (captured, counts) = port.result();
        *out += &summary(captured, counts);
        Progress::Done(0)
    }

    fn interrupt(&mut self, session: &mut Session<'_, '_>, out: &mut String) {
        if let (None, Some(port)) = (&self.0, session.platform.capture_port()) {
            port.end(session.router, session.cx.now);
            let (captured, counts) = port.result();
            *out += &summary(captured, counts);
        }
    }
}

fn listening(name: &str, snapshot: usize) -> String {
    format!("listening on {name}, link-type EN10MB (Ethernet), snapshot length {snapshot} bytes\n")
}

fn summary(captured: u64, counts: Counts) -> String {
    let line = |packets: u64, what: &str| {
        format!("{packets} packet{} {what}\n", if packets == 1 { "" } else { "s" })
    };
    line(captured, "captured")
        + &line(counts.fitting, "received by filter")
        + &line(counts.lost, "dropped by kernel")
}
