//! ICMP as tcpdump prints it (RFC 792, RFC 1122 3.2.2.1, RFC 1812 5.2.7.1).

use super::{Part, Printer};
use crate::{headers::protocol, wire::checksum};
use alloc::string::String;
use core::fmt::{self, Write};
use smoltcp::wire::Ipv4Address;

/// Bytes before the packet that an error quotes.
const HEADER: usize = 8;

impl Printer {
    pub(super) fn icmp(&mut self, message: Part<'_>, fragmented: bool, out: &mut String) -> fmt::Result {
        let (Some(kind), Some(code)) = (message.byte(0), message.byte(1)) else {
            return out.write_str("[|icmp]");
        };
        out.write_str("ICMP ")?;
        if write_kind(kind, code, message, out)?.is_none() {
            return out.write_str(" [|icmp]");
        }
        write!(out, ", length {}", message.length)?;
        if self.style.verbose == 0 {
            return Ok(());
        }
        let Some(field) = message.word(2) else { return out.write_str(" [|icmp]") };
        if !fragmented && message.is_whole() {
            let sum = checksum::sum(message.bytes);
            if sum != 0xffff {
                let right = !checksum::together(sum, !field);
                write!(out, " (wrong icmp cksum {field:x} (->{right:x})!)")?;
            }
        }
        if matches!(kind, 3 | 4 | 5 | 11 | 12) {
            out.write_str("\n\t")?;
            self.quoted(Part { partial: false, ..message.behind(HEADER) }, out)?;
        }
        Ok(())
    }
}

/// What the message is; `None` where too little of it is there.
fn write_kind(kind: u8, code: u8, message: Part<'_>, out: &mut String) -> Result<Option<()>, fmt::Error> {
    let numbers = || message.word(4).zip(message.word(6));
    match kind {
        0 | 8 => {
            let Some((id, sequence)) = numbers() else { return Ok(None) };
            let name = if kind == 0 { "reply" } else { "request" };
            write!(out, "echo {name}, id {id}, seq {sequence}")?;
        }
        3 => return unreachable(code, message, out),
        4 => out.write_str("source quench")?,
        5 => {
            let about = message.behind(HEADER).address(16);
            let Some((gateway, about)) = message.address(4).zip(about) else { return Ok(None) };
            match code {
                0 => write!(out, "redirect {about} to net {gateway}")?,
                1 => write!(out, "redirect {about} to host {gateway}")?,
                2 => write!(out, "redirect-tos {about} to net {gateway}")?,
                3 => write!(out, "redirect-tos {about} to host {gateway}")?,
                _ => write!(out, "redirect-#{code} {about} to net {gateway}")?,
            }
        }
        9 => out.write_str("router advertisement")?,
        10 => out.write_str("router solicitation")?,
        11 => match code {
            0 => out.write_str("time exceeded in-transit")?,
            1 => out.write_str("ip reassembly time exceeded")?,
            _ => write!(out, "time exceeded-#{code}")?,
        },
        12 if code != 0 => write!(out, "parameter problem - code {code}")?,
        12 => {
            let Some(octet) = message.byte(4) else { return Ok(None) };
            write!(out, "parameter problem - octet {octet}")?;
        }
        13 => {
            let Some((id, sequence)) = numbers() else { return Ok(None) };
            write!(out, "time stamp query id {id} seq {sequence}")?;
        }
        14 => {
            let (Some((id, sequence)), Some(sent), Some(received), Some(answered)) =
                (numbers(), message.long(8), message.long(12), message.long(16))
            else {
                return Ok(None);
            };
            let [sent, received, answered] = [sent, received, answered].map(Stamp);
            write!(out, "time stamp reply id {id} seq {sequence}: ")?;
            write!(out, "org {sent}, recv {received}, xmit {answered}")?;
        }
        15 => out.write_str("information request")?,
        16 => out.write_str("information reply")?,
        17 => out.write_str("address mask request")?,
        18 => {
            let Some(mask) = message.long(8) else { return Ok(None) };
            write!(out, "address mask is 0x{mask:08x}")?;
        }
        _ => write!(out, "type-#{kind}")?,
    }
    Ok(Some(()))
}

fn unreachable(code: u8, message: Part<'_>, out: &mut String) -> Result<Option<()>, fmt::Error> {
    let quote = message.behind(HEADER);
    let Some((number, about)) = quote.byte(9).zip(quote.address(16)) else { return Ok(None) };
    let text = |what: &str, out: &mut String, about: Ipv4Address| match what.split_once('@') {
        Some((before, behind)) => write!(out, "{before}{about}{behind}"),
        None => Ok(()),
    };
    let plain = match code {
        0 => "net @ unreachable",
        1 => "host @ unreachable",
        5 => "@ unreachable - source route failed",
        6 => "net @ unreachable - unknown",
        7 => "host @ unreachable - unknown",
        8 => "@ unreachable - source host isolated",
        9 => "net @ unreachable - admin prohibited",
        10 => "host @ unreachable - admin prohibited",
        11 => "net @ unreachable - tos prohibited",
        12 => "host @ unreachable - tos prohibited",
        13 => "host @ unreachable - admin prohibited filter",
        14 => "host @ unreachable - host precedence violation",
        15 => "host @ unreachable - precedence cutoff",
        _ => "",
    };
    match code {
        2 => write!(out, "{about} protocol {number} unreachable")?,
        3 => {
            let header_length = quote.byte(0).map_or(0, |first| usize::from(first & 0x0f) * 4);
            let Some(port) = quote.word(header_length + 2) else { return Ok(None) };
            match number {
                protocol::TCP => write!(out, "{about} tcp port {port} unreachable")?,
                protocol::UDP => write!(out, "{about} udp port {port} unreachable")?,
                _ => write!(out, "{about} protocol {number} port {port} unreachable")?,
            }
        }
        4 => {
            write!(out, "{about} unreachable - need to frag")?;
            if let Some(mtu @ 1..) = message.word(6) {
                write!(out, " (mtu {mtu})")?;
            }
        }
        0..=15 => text(plain, out, about)?,
        _ => write!(out, "{about} unreachable - #{code}")?,
    }
    Ok(Some(()))
}

/// Milliseconds since midnight.
struct Stamp(u32);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        write!(f, "{hours:02}:{minutes:02}:{:02}.{:03}", seconds % 60, self.0 % 1000)
    }
}
