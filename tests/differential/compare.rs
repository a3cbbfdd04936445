//! Holds what came out of Linux against what came out of rutter.
//!
//! Byte for byte, but for three things that neither side owes the other: a port that a translation picked at
//! random (then the choice must be used throughout), the IP identification of a packet made by the router itself,
//! and the order of frames on different cards.

use crate::{
    differences::Difference,
    scenario::Scenario,
    sides::{Record, is_made_here},
};
use std::collections::HashMap;
use tests::{
    datagram::{Body, Datagram, Endpoint},
    frame::Content,
};

/// Which port of Linux stands for a port of rutter, by protocol and both endpoints as rutter has them.
#[derive(Default)]
pub struct Renaming(HashMap<(u8, Endpoint, Endpoint), u16>);

/// The result of one step.
pub enum Verdict {
    /// They agree, but for details that are meant.
    Agree(Vec<Difference>),
    /// They differ as it is meant.
    Differ(Difference),
    Disagree(String),
}

impl Renaming {
    /// Compares one step; `earlier` is what happened in rutter before.
    pub fn judge(
        &mut self,
        scenario: &Scenario,
        linux: &Record,
        rutter: &Record,
        earlier: &[Record],
    ) -> Verdict {
        match self.compare(linux, rutter) {
            Ok(details) => Verdict::Agree(details),
            Err(disagreement) => match Difference::find(scenario, linux, rutter, earlier) {
                Some(difference) => Verdict::Differ(difference),
                None => Verdict::Disagree(format!(
                    "step #{}: {disagreement}\n  linux  {:?} {:?}\n  rutter {:?} {:?}\n         {:?}",
                    rutter.id, linux.changed, linux.left, rutter.changed, rutter.left, rutter.outcome
                )),
            },
        }
    }

    fn compare(&mut self, linux: &Record, rutter: &Record) -> Result<Vec<Difference>, String> {
        if linux.changed != rutter.changed {
            return Err("only one of them takes the change".into());
        }
        if linux.sent.is_some() != rutter.sent.is_some() {
            return Err("only one of them had something to answer".into());
        }
        let mut details = Vec::new();
        let Some((_, sent)) = &linux.sent else { return Ok(details) };
        if linux.left.len() != rutter.left.len() {
            return Err("one of them lets it pass or answers, the other does not".into());
        }
        for ((linux_port, linux_frame), (rutter_port, rutter_frame)) in linux.left.iter().zip(&rutter.left) {
            let (mut expected, mut seen) = (linux_frame.clone(), rutter_frame.clone());
            if let (Content::Ip(expected), Content::Ip(seen)) = (&mut expected.content, &mut seen.content) {
                self.rename(seen, expected)?;
                if is_made_here(sent, expected) && is_made_here(sent, seen) {
                    seen.id = expected.id;
                }
                details.extend(Difference::reconcile(sent, rutter.fragmented, expected, seen));
            }
            if linux_port != rutter_port {
                return Err("they leave by different cards".into());
            }
            if expected != seen {
                return Err("they send different frames".into());
            }
        }
        Ok(details)
    }

    /// Gives `packet` the ports that Linux has in their place, also in what it quotes.
    fn rename(&mut self, packet: &mut Datagram, like: &Datagram) -> Result<(), String> {
        let (source, destination, protocol) = (packet.source(), packet.destination(), packet.protocol());
        let has_ports = !packet.is_icmp_error() && !matches!(packet.body, Body::Other { .. });
        if has_ports && protocol == like.protocol() {
            let new_source = self.port(protocol, source, destination, like.source().1)?;
            let new_destination = match protocol {
                1 => new_source,
                _ => self.port(protocol, destination, source, like.destination().1)?,
            };
            *packet = packet.clone().from((source.0, new_source)).to((destination.0, new_destination));
        }
        if let (Some(mut quoted), Some(like)) = (packet.quoted(), like.quoted())
            && let Body::Icmp { payload, .. } = &mut packet.body
        {
            self.rename(&mut quoted, &like)?;
            // The quote is cut, so its lengths are those of what is there: only ports and the checksum over them are taken.
            let (bytes, header) = (quoted.bytes(), 20 + quoted.options.len());
            let (ports, checksum) = match quoted.protocol() {
                1 => (header + 4, header + 2),
                6 => (header, header + 16),
                _ => (header, header + 6),
            };
            let ports = ports..ports + if quoted.protocol() == 1 { 2 } else { 4 };
            for range in [ports, checksum..checksum + 2] {
                if range.end <= payload.len().min(bytes.len()) {
                    payload[range.clone()].copy_from_slice(&bytes[range]);
                }
            }
        }
        Ok(())
    }

    fn port(&mut self, protocol: u8, own: Endpoint, peer: Endpoint, linux: u16) -> Result<u16, String> {
        let known = *self.0.entry((protocol, own, peer)).or_insert(linux);
        if known == linux {
            return Ok(linux);
        }
        Err(format!("port {} of {} stood for {known} in Linux, and now for {linux}", own.1, own.0))
    }
}
