//! TCP as tcpdump prints it (RFC 9293 3.1), with sequence numbers counted from the first one that was seen.

use super::{Part, Printer, ipv4::Ip};
use crate::headers::tcp_flag::{ACK, FIN, RST, SYN, URG};
use alloc::{collections::VecDeque, string::String};
use core::fmt::{self, Write};
use smoltcp::wire::Ipv4Address;

/// Connections whose first numbers are remembered.
const MOST_CONVERSATIONS: usize = 256;

/// The first numbers of connections.
#[derive(Default)]
pub struct Conversations(VecDeque<Conversation>);

type Endpoint = (Ipv4Address, u16);

struct Conversation {
    /// The lesser one first.
    ends: [Endpoint; 2],
    /// The first number of each.
    first: [u32; 2],
}

impl Conversations {
    /// The first numbers of sender and receiver, and whether they are news: then they are printed as they are.
    fn first(&mut self, from: Endpoint, to: Endpoint, flags: u8, numbers: (u32, u32)) -> (u32, u32, bool) {
        let reverse = usize::from(from > to);
        let ends = if reverse == 1 { [to, from] } else { [from, to] };
        let place = self.0.iter().position(|known| known.ends == ends);
        if let Some(place) = place
            && flags & SYN == 0
        {
            let first = self.0[place].first;
            return (first[reverse], first[1 - reverse], false);
        }
        let (sequence, next) = (numbers.0, numbers.1.wrapping_sub(1));
        let mut first = [sequence, next];
        first.rotate_left(reverse);
        match place {
            Some(place) => self.0[place].first = first,
            None => {
                if self.0.len() == MOST_CONVERSATIONS {
                    self.0.pop_front();
                }
                self.0.push_back(Conversation { ends, first });
            }
        }
        (sequence, next, true)
    }
}

impl Printer {
    pub(super) fn tcp(&mut self, ip: &Ip, segment: Part<'_>, out: &mut String) -> fmt::Result {
        let Ip { source, destination, .. } = *ip;
        let (Some(from), Some(to)) = (segment.word(0), segment.word(2)) else {
            return write!(out, "{source} > {destination}: [|tcp]");
        };
        write!(out, "{source}.{from} > {destination}.{to}: ")?;
        let Some(fixed) = segment.bytes.first_chunk::<20>() else { return out.write_str(" [|tcp]") };
        let header_length = usize::from(fixed[12] >> 4) * 4;
        let there = segment.length;
        if header_length < 20 {
            let length = there.saturating_sub(header_length);
            return write!(out, " tcp {length} [bad hdr length {header_length} - too short, < 20]");
        }
        let payload = there.checked_sub(header_length);
        let flags = fixed[13];
        if self.style.quiet {
            // A header that is too long makes a large number of it, as in tcpdump.
            write!(out, "tcp {}", (there as u32).wrapping_sub(header_length as u32))?;
        } else {
            out.write_str("Flags [")?;
            out.write_str(if flags == 0 { "none" } else { "" })?;
            let letters = "FSRP.UEW".chars().enumerate().filter(|(bit, _)| flags >> bit & 1 != 0);
            letters.map(|(_, letter)| letter).try_for_each(|letter| out.write_char(letter))?;
            out.write_char(']')?;
        }
        let Some(payload) = payload else {
            return write!(out, " [bad hdr length {header_length} - too long, > {there}]");
        };
        if self.style.quiet {
            return Ok(());
        }
        let long = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let (mut sequence, mut next) = (long(4), long(8));
        let mut receiver_first = 0;
        if !self.style.absolute && flags & ACK != 0 {
            let ends = ((source, from), (destination, to));
            let (first, other, news) = self.conversations.first(ends.0, ends.1, flags, (sequence, next));
            receiver_first = other;
            if !news {
                (sequence, next) = (sequence.wrapping_sub(first), next.wrapping_sub(other));
            }
        }
        if self.style.verbose > 0 && !ip.fragmented {
            self.checksum(ip, segment, out)?;
        }
        if self.style.verbose > 1 || payload > 0 || flags & (FIN | SYN | RST) != 0 {
            write!(out, ", seq {sequence}")?;
            if payload > 0 {
                write!(out, ":{}", sequence.wrapping_add(payload as u32))?;
            }
        }
        if flags & ACK != 0 {
            write!(out, ", ack {next}")?;
        }
        write!(out, ", win {}", u16::from_be_bytes([fixed[14], fixed[15]]))?;
        if flags & URG != 0 {
            write!(out, ", urg {}", u16::from_be_bytes([fixed[18], fixed[19]]))?;
        }
        if header_length > 20 {
            out.write_str(", options [")?;
            match segment.bytes.get(20..header_length) {
                Some(bytes) => options(bytes, receiver_first, out)?,
                None => return out.write_str("[|tcp]"),
            }
            out.write_char(']')?;
        }
        write!(out, ", length {payload}")
    }

    fn checksum(&self, ip: &Ip, segment: Part<'_>, out: &mut String) -> fmt::Result {
        let found = segment.word(16).unwrap_or_default();
        write!(out, ", cksum 0x{found:04x}")?;
        if segment.partial {
            return out.write_str(" (partial)");
        }
        if !segment.is_whole() {
            return Ok(());
        }
        match ip.right_checksum(segment, 16) {
            right if right == found => out.write_str(" (correct)"),
            right => write!(out, " (incorrect -> 0x{right:04x})"),
        }
    }
}

/// The options (RFC 9293 3.2, RFC 7323, RFC 2018); `base` is taken off the numbers of selective acknowledgments.
fn options(mut options: &[u8], base: u32, out: &mut String) -> fmt::Result {
    let mut separator = "";
    while let [kind, rest @ ..] = options {
        out.write_str(separator)?;
        separator = ",";
        if let 0 | 1 = *kind {
            out.write_str(if *kind == 0 { "eol" } else { "nop" })?;
            if *kind == 0 {
                return Ok(());
            }
            options = rest;
            continue;
        }
        let length = rest.first().map_or(0, |length| usize::from(*length));
        let Some((option, behind)) = options.split_at_checked(length).filter(|_| length >= 2) else {
            return out.write_str("[bad opt]");
        };
        let word = |bytes: &[u8; 4]| u32::from_be_bytes(*bytes);
        match (*kind, &option[2..]) {
            (2, &[high, low]) => write!(out, "mss {}", u16::from_be_bytes([high, low]))?,
            (3, [shift]) => write!(out, "wscale {shift}")?,
            (4, []) => out.write_str("sackOK")?,
            (5, blocks) if blocks.len().is_multiple_of(8) => {
                write!(out, "sack {} ", blocks.len() / 8)?;
                for [from, to] in blocks.as_chunks::<4>().0.as_chunks::<2>().0 {
                    let [from, to] = [from, to].map(|number| word(number).wrapping_sub(base));
                    write!(out, "{{{from}:{to}}}")?;
                }
            }
            (8, stamps) if stamps.len() == 8 => {
                let [value, echo] = [0, 4].map(|at| stamps[at..].first_chunk().map_or(0, word));
                write!(out, "TS val {value} ecr {echo}")?;
            }
            (kind, data) => {
                write!(out, "unknown-{kind}")?;
                if !data.is_empty() {
                    out.write_str(" 0x")?;
                    data.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
                }
            }
        }
        options = behind;
    }
    Ok(())
}
