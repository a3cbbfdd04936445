//! A frame as lines of text, as tcpdump 4.99 prints it. Names are never asked for: everything is printed as with `-n`.

mod arp;
mod icmp;
mod ipv4;
mod tcp;
#[cfg(test)]
mod tests;

use super::Sight;
use crate::{headers::ETHERNET_HEADER, interface::mac_text, offload::Offload};
use alloc::string::String;
use core::fmt::{self, Write};
use smoltcp::{
    time::{Duration, Instant},
    wire::EthernetAddress,
};
use tcp::Conversations;

/// What is printed of each frame.
#[derive(Clone, Default, Debug)]
pub struct Style {
    /// `-e`: the Ethernet header.
    pub ethernet: bool,
    /// `-v`: 1 with the IPv4 header and TCP's checksum, 2 with that of UDP.
    pub verbose: u8,
    /// `-q`: less of it.
    pub quiet: bool,
    /// `-S`: sequence numbers of TCP as they are.
    pub absolute: bool,
    /// Whether the interface is told, because there are several.
    pub interfaces: bool,
    /// How the time is told.
    pub time: TimeStyle,
}

/// `-t` and its like. The router knows no date: its time begins when it starts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TimeStyle {
    /// Hours, minutes, seconds and microseconds.
    #[default]
    Clock,
    /// `-t`: not at all.
    None,
    /// `-tt`: seconds.
    Seconds,
    /// `-ttt`: since the line before.
    SinceLast,
    /// `-tttt`: with the date.
    Date,
    /// `-ttttt`: since the first line.
    SinceFirst,
}

/// Quotes within each other that are printed: each takes some of the stack.
const MOST_QUOTES: u8 = 8;

/// Prints frames, one after the other.
pub struct Printer {
    style: Style,
    conversations: Conversations,
    first: Option<Instant>,
    last: Option<Instant>,
    /// Quotes that stand around what is being printed.
    quotes: u8,
}

/// A header and what follows it, as far as it was kept.
#[derive(Clone, Copy)]
struct Part<'b> {
    bytes: &'b [u8],
    /// Bytes that it had.
    length: usize,
    /// Whether its checksum is yet to be made by a card.
    partial: bool,
}

impl<'b> Part<'b> {
    /// From `offset` on.
    fn behind(self, offset: usize) -> Self {
        let bytes = self.bytes.get(offset..).unwrap_or_default();
        Self { bytes, length: self.length.saturating_sub(offset), ..self }
    }

    /// No longer than `length`.
    fn cut(self, length: usize) -> Self {
        Self { bytes: &self.bytes[..self.bytes.len().min(length)], length: self.length.min(length), ..self }
    }

    /// Whether all of it is there.
    fn is_whole(self) -> bool {
        self.bytes.len() == self.length
    }

    fn byte(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn word(self, at: usize) -> Option<u16> {
        Some(u16::from_be_bytes(*self.bytes.get(at..)?.first_chunk()?))
    }

    fn long(self, at: usize) -> Option<u32> {
        Some(u32::from_be_bytes(*self.bytes.get(at..)?.first_chunk()?))
    }

    fn address(self, at: usize) -> Option<smoltcp::wire::Ipv4Address> {
        self.long(at).map(smoltcp::wire::Ipv4Address::from_bits)
    }

    fn mac(self, at: usize) -> Option<EthernetAddress> {
        Some(EthernetAddress(*self.bytes.get(at..)?.first_chunk()?))
    }
}

impl Printer {
    /// A printer that has printed nothing yet.
    pub fn new(style: Style) -> Self {
        Self { style, conversations: Conversations::default(), first: None, last: None, quotes: 0 }
    }

    /// The lines for a frame that was seen at the interface `name`, of which `bytes` were kept.
    pub fn print(&mut self, sight: &Sight, name: &str, bytes: &[u8], out: &mut String) {
        let frame = Part {
            bytes,
            length: sight.length as usize,
            partial: matches!(sight.offload, Offload::Partial(_)),
        };
        // Nothing that is written to a string can fail.
        let _ = self.head(sight, name, frame, out).and_then(|()| self.frame(frame, out));
        out.push('\n');
    }

    fn head(&mut self, sight: &Sight, name: &str, frame: Part<'_>, out: &mut String) -> fmt::Result {
        let first = *self.first.get_or_insert(sight.time);
        let last = self.last.replace(sight.time).unwrap_or(sight.time);
        let micros = sight.time.total_micros().max(0) as u64;
        match self.style.time {
            TimeStyle::None => {}
            TimeStyle::Clock => write!(out, "{} ", Clock(micros % (86_400 * 1_000_000)))?,
            TimeStyle::Seconds => write!(out, "{}.{:06} ", micros / 1_000_000, micros % 1_000_000)?,
            TimeStyle::SinceLast => write!(out, " {} ", since(last, sight.time))?,
            TimeStyle::SinceFirst => write!(out, " {} ", since(first, sight.time))?,
            TimeStyle::Date => {
                let days = micros / (86_400 * 1_000_000);
                write!(out, "day {days} {} ", Clock(micros % (86_400 * 1_000_000)))?;
            }
        }
        if self.style.interfaces {
            let way = match (sight.received, frame.mac(0)) {
                (false, _) => "Out",
                (true, Some(EthernetAddress::BROADCAST)) => "B",
                (true, Some(to)) if to.is_multicast() => "M",
                _ => "In",
            };
            write!(out, "{name:<5} {way:<3} ")?;
        }
        Ok(())
    }

    fn frame(&mut self, frame: Part<'_>, out: &mut String) -> fmt::Result {
        const DOT1Q: u16 = 0x8100;
        let (Some(to), Some(from), Some(mut kind)) = (frame.mac(0), frame.mac(6), frame.word(12)) else {
            return out.write_str("[|ether]");
        };
        let header = |out: &mut String, kind| {
            write!(out, "{} > {}, ", mac_text(from), mac_text(to))?;
            self.ether_type(kind, out)?;
            write!(out, ", length {}: ", frame.length)
        };
        if self.style.ethernet {
            header(out, kind)?;
        }
        let mut packet = frame.behind(ETHERNET_HEADER);
        while kind == DOT1Q {
            let (Some(tag), Some(inner)) = (packet.word(0), packet.word(2)) else {
                return out.write_str("[|vlan]");
            };
            if self.style.ethernet {
                let eligible = if tag & 0x1000 != 0 { ", DEI" } else { "" };
                write!(out, "vlan {}, p {}{eligible}, ", tag & 0xfff, tag >> 13)?;
                self.ether_type(inner, out)?;
                out.write_str(", ")?;
            }
            (kind, packet) = (inner, packet.behind(4));
        }
        match kind {
            0x0800 => self.ipv4(packet, out),
            0x0806 => arp::print(packet, &self.style, out),
            _ if self.style.ethernet => Ok(()),
            _ => header(out, kind),
        }
    }

    fn ether_type(&self, kind: u16, out: &mut String) -> fmt::Result {
        let name = match kind {
            0x0800 => Some("IPv4"),
            0x0806 => Some("ARP"),
            0x8035 => Some("Reverse ARP"),
            0x8100 => Some("802.1Q"),
            0x86dd => Some("IPv6"),
            0x8808 => Some("MPCP"),
            0x8809 => Some("Slow Protocols"),
            0x8863 => Some("PPPoE D"),
            0x8864 => Some("PPPoE S"),
            0x888e => Some("EAPOL"),
            0x88cc => Some("LLDP"),
            0x9000 => Some("Loopback"),
            ..=1500 => return out.write_str("802.3"),
            _ => None,
        };
        match (name, self.style.quiet) {
            (Some(name), true) => out.write_str(name),
            (None, true) => write!(out, "Unknown Ethertype (0x{kind:04x})"),
            (name, false) => write!(out, "ethertype {} (0x{kind:04x})", name.unwrap_or("Unknown")),
        }
    }
}

/// A time of day from its microseconds.
struct Clock(u64);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000;
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        write!(f, "{hours:02}:{minutes:02}:{:02}.{:06}", seconds % 60, self.0 % 1_000_000)
    }
}

fn since(before: Instant, now: Instant) -> Clock {
    let passed = if now > before { now - before } else { Duration::ZERO };
    Clock(passed.total_micros())
}
