//! `ping`, with the words of iputils' ping(8).

use super::{
    Action, Failure, Job, Progress, Session,
    argument::{Arguments, decimal},
    probing::{self, milliseconds},
};
use crate::{
    config::Config,
    host::{AnswerKind, Probe, ProbeAnswer, ProbeKind, ProbeSession},
};
use alloc::{format, string::String};
use smoltcp::{
    time::{Duration, Instant},
    wire::Ipv4Address,
};

/// How it is written.
pub const USAGE: &str = "\
usage: ping [-c COUNT] [-i SECONDS] [-s BYTES] [-t TTL] [-W SECONDS] [-I ADDRESS | DEVICE] [-M do] [-n] [-q] ADDRESS";

/// Shorter intervals would only measure the queue of the router's own packets.
const INTERVAL_MIN: Duration = Duration::from_millis(2);

struct Ping {
    destination: Ipv4Address,
    source: Ipv4Address,
    count: Option<u64>,
    interval: Duration,
    patience: Duration,
    size: u16,
    ttl: u8,
    dont_fragment: bool,
    quiet: bool,
    /// From the first step on.
    session: Option<ProbeSession>,
    started: Instant,
    last_sent: Instant,
    sent: u64,
    received: u64,
    duplicates: u64,
    errors: u64,
    /// Round trips in microseconds.
    times: Times,
}

#[derive(Default)]
struct Times {
    least: u64,
    most: u64,
    sum: u64,
    squares: u128,
    count: u64,
}

impl Times {
    fn add(&mut self, micros: u64) {
        self.least = if self.count == 0 { micros } else { self.least.min(micros) };
        self.most = self.most.max(micros);
        self.sum += micros;
        self.squares += u128::from(micros).pow(2);
        self.count += 1;
    }

    /// `rtt min/avg/max/mdev = ..`
    fn line(&self) -> String {
        let count = self.count.max(1);
        let average = self.sum / count;
        // In this order nothing is lost to rounding where times are short.
        let spread = self.squares.saturating_sub(u128::from(self.sum).pow(2) / u128::from(count));
        let variance = spread / u128::from(count);
        let [least, average, most, deviation] =
            [self.least, average, self.most, variance.isqrt() as u64].map(milliseconds);
        format!("rtt min/avg/max/mdev = {least}/{average}/{most}/{deviation} ms\n")
    }
}

fn invalid(word: &str) -> Failure {
    Failure::new(1, format!("ping: invalid argument: '{word}'"))
}

pub fn parse(words: &[String], config: &Config) -> Result<Action, Failure> {
    let mut ping = Ping {
        destination: Ipv4Address::UNSPECIFIED,
        source: Ipv4Address::UNSPECIFIED,
        count: None,
        interval: Duration::from_secs(1),
        patience: Duration::from_secs(10),
        size: 56,
        ttl: 64,
        dont_fragment: false,
        quiet: false,
        session: None,
        started: Instant::ZERO,
        last_sent: Instant::ZERO,
        sent: 0,
        received: 0,
        duplicates: 0,
        errors: 0,
        times: Times::default(),
    };
    let mut words = Arguments::new(words);
    let mut source = None;
    let mut destination = None;
    while let Some(word) = words.next() {
        let Some((letter, attached)) = probing::option(word) else {
            if destination.is_some() {
                return Err(Failure::new(2, format!("ping: only one destination, not also \"{word}\"")));
            }
            destination = Some(probing::destination("ping", word)?);
            continue;
        };
        if matches!(letter, 'n' | 'q') && attached.is_empty() {
            ping.quiet |= letter == 'q';
            continue;
        }
        let mut value = || match attached {
            "" => words
                .next()
                .ok_or_else(|| Failure::new(2, format!("ping: option requires an argument -- '{letter}'"))),
            attached => Ok(attached),
        };
        match letter {
            'c' => {
                let value = value()?;
                ping.count = Some(decimal(value).filter(|&count| count > 0).ok_or_else(|| invalid(value))?);
            }
            'i' => {
                let value = value()?;
                let interval = probing::seconds(value).ok_or_else(|| invalid(value))?;
                ping.interval = interval.max(INTERVAL_MIN);
            }
            's' => {
                let value = value()?;
                ping.size = decimal(value).filter(|&size| size <= 65_507).ok_or_else(|| invalid(value))?;
            }
            't' => {
                let value = value()?;
                ping.ttl = decimal(value).filter(|&ttl| ttl > 0).ok_or_else(|| invalid(value))?;
            }
            'W' => {
                let value = value()?;
                ping.patience = probing::seconds(value).ok_or_else(|| invalid(value))?;
            }
            'I' => {
                let value = value()?;
                source = Some(
                    probing::source(value, config)
                        .ok_or_else(|| Failure::new(2, format!("ping: unknown iface: {value}")))?,
                );
            }
            'M' => {
                let value = value()?;
                ping.dont_fragment = match value {
                    "do" => true,
                    "dont" | "want" => false,
                    _ => return Err(invalid(value)),
                };
            }
            other => return Err(Failure::new(2, format!("ping: invalid option -- '{other}'"))),
        }
    }
    let Some(destination) = destination else {
        return Err(Failure::new(1, "ping: usage error: Destination address required"));
    };
    ping.destination = destination;
    ping.source = source.unwrap_or(Ipv4Address::UNSPECIFIED);
    Ok(Action::job(ping))
}

impl Job for Ping {
    fn step(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Progress {
        let id = match self.session {
            Some(id) => id,
            None => match self.start(session, out) {
                Ok(id) => id,
                Err(failure) => return Progress::Failed(failure),
            },
        };
        while let Some(answer) = session.router.host.take_answer(id) {
            self.answer(&answer, out);
        }
        if self.count.is_none_or(|count| self.sent < count) {
            if session.cx.now >= self.next_send() {
                self.send(id, session, out);
            }
        } else if self.received + self.errors >= self.sent || session.cx.now >= self.end() {
            out.push('\n');
            self.finish(session, out);
            return Progress::Done(u8::from(self.received == 0));
        }
        Progress::Waiting
    }

    fn poll_at(&self) -> Option<Instant> {
        let more = self.count.is_none_or(|count| self.sent < count);
        Some(if more { self.next_send() } else { self.end() })
    }

    fn interrupt(&mut self, session: &mut Session<'_, '_>, out: &mut String) {
        self.finish(session, out);
    }
}

impl Ping {
    fn start(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Result<ProbeSession, Failure> {
        self.source = probing::check(session.router, self.destination, self.source)
            .map_err(|why| Failure::new(2, format!("ping: {why}")))?;
        let (source, destination) = (self.source, self.destination);
        let cx = &mut *session.cx;
        let id = session
            .router
            .with_host(|host| host.open_probe(ProbeKind::Echo, source, destination, cx.random))
            .ok_or_else(|| Failure::new(2, "ping: too many of them are running"))?;
        self.session = Some(id);
        self.started = session.cx.now;
        let size = u32::from(self.size);
        *out += &format!("PING {destination} ({destination}) {size}({}) bytes of data.\n", size + 28);
        Ok(id)
    }

    fn next_send(&self) -> Instant {
        if self.sent == 0 { self.started } else { self.last_sent + self.interval }
    }

    /// When the answers that are still missing are given up: where there have been any, soon.
    fn end(&self) -> Instant {
        let patience = match self.times.count {
            0 => self.patience,
            _ => Duration::from_micros(2 * self.times.most).max(Duration::from_millis(10)),
        };
        self.last_sent + patience
    }

    fn send(&mut self, id: ProbeSession, session: &mut Session<'_, '_>, out: &mut String) {
        self.sent += 1;
        self.last_sent = session.cx.now;
        let probe = Probe {
            sequence: self.sent as u16,
            size: self.size,
            ttl: self.ttl,
            tos: 0,
            dont_fragment: self.dont_fragment,
        };
        let cx = &mut *session.cx;
        if session.router.host.send_probe(cx.exchange, id, probe, cx.now).is_err() {
            self.errors += 1;
            *out += "ping: sendmsg: No buffer space available\n";
        }
    }

    fn answer(&mut self, answer: &ProbeAnswer, out: &mut String) {
        let ProbeAnswer { sequence, from, ttl, length, round_trip, .. } = *answer;
        match answer.kind {
            AnswerKind::Reply => {
                let time = match round_trip {
                    Some(time) => {
                        self.received += 1;
                        self.times.add(time.total_micros());
                        format!(" time={} ms", short_milliseconds(time.total_micros()))
                    }
                    None => {
                        self.duplicates += 1;
                        String::from(" (DUP!)")
                    }
                };
                if !self.quiet {
                    *out += &format!("{length} bytes from {from}: icmp_seq={sequence} ttl={ttl}{time}\n");
                }
            }
            AnswerKind::Error { kind, code, mtu } => {
                self.errors += 1;
                if !self.quiet {
                    *out += &format!("From {from} icmp_seq={sequence} {}\n", error_text(kind, code, mtu));
                }
            }
        }
    }

    fn finish(&mut self, session: &mut Session<'_, '_>, out: &mut String) {
        if let Some(id) = self.session.take() {
            session.router.with_host(|host| host.close_probe(id));
        }
        let extra =
            |count: u64, what: &str| if count > 0 { format!("+{count} {what}, ") } else { String::new() };
        *out += &format!(
            "--- {} ping statistics ---\n{} packets transmitted, {} received, {}{}{}% packet loss, time {}ms\n",
            self.destination,
            self.sent,
            self.received,
            extra(self.duplicates, "duplicates"),
            extra(self.errors, "errors"),
            loss(self.sent, self.received),
            (self.last_sent - self.started).total_millis(),
        );
        *out += &if self.times.count > 0 { self.times.line() } else { String::from("\n") };
    }
}

/// Three digits, as iputils shows a single round trip.
fn short_milliseconds(micros: u64) -> String {
    let digits = match micros {
        100_000.. => 0,
        10_000.. => 1,
        1000.. => 2,
        _ => 3,
    };
    let text = milliseconds(micros);
    String::from(text[..text.len() - 3 + digits].trim_end_matches('.'))
}

/// Percent with six digits, without zeros at the end, as C's `%g`.
fn loss(sent: u64, received: u64) -> String {
    let lost = u128::from(sent.saturating_sub(received)) * 100;
    let sent = u128::from(sent.max(1));
    let decimals = match lost / sent {
        100.. => 3,
        10.. => 4,
        1.. => 5,
        _ => 6,
    };
    let scale = 10u128.pow(decimals);
    let rounded = (lost * scale + sent / 2) / sent;
    let text = format!("{}.{:0width$}", rounded / scale, rounded % scale, width = decimals as usize);
    String::from(text.trim_end_matches('0').trim_end_matches('.'))
}

/// What an ICMP error says, in the words of iputils.
fn error_text(kind: u8, code: u8, mtu: u16) -> String {
    let text = match (kind, code) {
        (3, 0) => "Destination Net Unreachable",
        (3, 1) => "Destination Host Unreachable",
        (3, 2) => "Destination Protocol Unreachable",
        (3, 3) => "Destination Port Unreachable",
        (3, 4) => return format!("Frag needed and DF set (mtu = {mtu})"),
        (3, 5) => "Source Route Failed",
        (3, 6) => "Destination Net Unknown",
        (3, 7) => "Destination Host Unknown",
        (3, 8) => "Source Host Isolated",
        (3, 9) => "Destination Net Prohibited",
        (3, 10) => "Destination Host Prohibited",
        (3, 11) => "Destination Net Unreachable for Type of Service",
        (3, 12) => "Destination Host Unreachable for Type of Service",
        (3, 13) => "Packet filtered",
        (3, 14) => "Precedence Violation",
        (3, 15) => "Precedence Cutoff",
        (11, 0) => "Time to live exceeded",
        (11, 1) => "Frag reassembly time exceeded",
        (12, _) => "Parameter problem",
        _ => return format!("ICMP error {kind}/{code}"),
    };
    String::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_iputils_shows_them() {
        for (micros, text) in
            [(92, "0.092"), (1234, "1.23"), (12_345, "12.3"), (123_456, "123"), (0, "0.000")]
        {
            assert_eq!(short_milliseconds(micros), text);
        }
        let mut times = Times::default();
        [45, 92].into_iter().for_each(|micros| times.add(micros));
        assert_eq!(times.line(), "rtt min/avg/max/mdev = 0.045/0.068/0.092/0.023 ms\n");
    }

    #[test]
    fn loss_as_c_prints_it() {
        for (sent, received, text) in [
            (1, 1, "0"),
            (1, 0, "100"),
            (3, 2, "33.3333"),
            (15, 14, "6.66667"),
            (1000, 999, "0.1"),
            (7, 0, "100"),
            (0, 0, "0"),
        ] {
            assert_eq!(loss(sent, received), text);
        }
    }
}
