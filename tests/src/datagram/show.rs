//! Datagrams for a person: one line, with nothing in it that is as it always is.

use super::{Body, Checksum, Datagram};
use std::fmt;

impl fmt::Debug for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((from, source), (to, destination)) = (self.source(), self.destination());
        let payload = match &self.body {
            Body::Udp { checksum, length_error, payload, .. } => {
                write!(f, "udp {from}:{source} > {to}:{destination}")?;
                checksum.describe(f, "")?;
                if *length_error != 0 {
                    write!(f, " length+{}", *length_error as i16)?;
                }
                payload
            }
            Body::Tcp {
                sequence, acknowledgment, flags, window, urgent, options, checksum, payload, ..
            } => {
                write!(f, "tcp {from}:{source} > {to}:{destination} ")?;
                let letters = "FSRPAUEC".chars().enumerate().filter(|(bit, _)| flags >> bit & 1 != 0);
                write!(
                    f,
                    "[{}] seq {sequence} ack {acknowledgment}",
                    letters.map(|(_, c)| c).collect::<String>()
                )?;
                write!(f, " win {window}")?;
                if *urgent != 0 {
                    write!(f, " urgent {urgent}")?;
                }
                if !options.is_empty() {
                    write!(f, " options {options:02x?}")?;
                }
                checksum.describe(f, "")?;
                payload
            }
            Body::Icmp { kind, code, word, checksum, payload } => {
                write!(f, "icmp {from} > {to} {kind}/{code} word {word:#x}")?;
                checksum.describe(f, "")?;
                payload
            }
            Body::Other { protocol, payload } => {
                write!(f, "protocol {protocol} {from} > {to}")?;
                payload
            }
        };
        write!(f, " ttl {}", self.ttl)?;
        if self.tos != 0 {
            write!(f, " tos {:#x}", self.tos)?;
        }
        write!(f, " id {:#x}", self.id)?;
        if self.dont_fragment {
            write!(f, " DF")?;
        }
        if self.more_fragments || self.offset != 0 {
            write!(f, " fragment {}{}", self.offset, if self.more_fragments { "+" } else { "" })?;
        }
        if !self.options.is_empty() {
            write!(f, " ip options {:02x?}", self.options)?;
        }
        self.header_checksum.describe(f, "header ")?;
        match self.quoted() {
            Some(quoted) => write!(f, " about ({quoted:?} of {} bytes)", payload.len()),
            None if payload.len() > 32 => {
                write!(f, " payload \"{}\"..{} bytes", payload[..16].escape_ascii(), payload.len())
            }
            None => write!(f, " payload \"{}\"", payload.escape_ascii()),
        }
    }
}

impl Checksum {
    fn describe(self, f: &mut fmt::Formatter<'_>, which: &str) -> fmt::Result {
        match self {
            Self::Right => Ok(()),
            Self::Absent => write!(f, " without checksum"),
            Self::Wrong(error) => write!(f, " {which}checksum wrong by {error:#x}"),
        }
    }
}
