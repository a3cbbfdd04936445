//! Sends an imagined packet through the real pipeline, changes nothing, and tells what it met (`explain`).

use crate::{
    headers::{ETHERNET_HEADER, Headers, Transport, protocol, tcp_flag},
    interface::{InterfaceId, mac_text},
    outcome::DropReason,
    pipeline::{Answer, Arrival, Decision, FlowPart, Way},
    router::Router,
    stage::translate,
    table::{fib::NextHop, mapping::Endpoint},
    trace::{Trace, Transcript},
    wire::checksum,
};
use alloc::{format, string::String, vec, vec::Vec};
use core::fmt;
use smoltcp::{
    time::Instant,
    wire::{EthernetAddress, Ipv4Address},
};

/// A packet that somebody imagines.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Where it comes in; `None`: the router itself sends it.
    pub ingress: Option<InterfaceId>,
    /// Source; the port means nothing for ICMP and others.
    pub source: Endpoint,
    /// Destination; likewise.
    pub destination: Endpoint,
    /// What it carries.
    pub payload: Payload,
    /// Time to live.
    pub ttl: u8,
    /// Total length of the IP packet in bytes; shorter than its headers: as short as they allow.
    pub length: u16,
    /// Whether DF is set.
    pub dont_fragment: bool,
    /// MAC address of the sender.
    pub mac: EthernetAddress,
}

/// What an imagined packet carries.
#[derive(Clone, Copy, Debug)]
pub enum Payload {
    /// TCP with these flags (byte 13 of the header).
    Tcp(u8),
    /// UDP.
    Udp,
    /// ICMP.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier.
        identifier: u16,
    },
    /// Another protocol, by number.
    Other(u8),
}

impl Probe {
    /// The frame, with right checksums.
    pub(crate) fn frame(&self, to: EthernetAddress) -> Vec<u8> {
        let (number, header) = match self.payload {
            Payload::Tcp(_) => (protocol::TCP, 20),
            Payload::Udp => (protocol::UDP, 8),
            Payload::Icmp { .. } => (protocol::ICMP, 8),
            Payload::Other(number) => (number, 0),
        };
        let length = self.length.max(20 + header);
        let mut frame = vec![0; ETHERNET_HEADER + usize::from(length)];
        frame[..6].copy_from_slice(&to.0);
        frame[6..12].copy_from_slice(&self.mac.0);
        frame[12] = 0x08;
        let ip = &mut frame[ETHERNET_HEADER..];
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&length.to_be_bytes());
        ip[6] = if self.dont_fragment { 0x40 } else { 0 };
        ip[8] = self.ttl;
        ip[9] = number;
        ip[12..16].copy_from_slice(&self.source.address.octets());
        ip[16..20].copy_from_slice(&self.destination.address.octets());
        let sum = !checksum::sum(&ip[..20]);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());

        let mut pseudo = [0; 12];
        pseudo[..8].copy_from_slice(&ip[12..20]);
        pseudo[9] = number;
        pseudo[10..].copy_from_slice(&(length - 20).to_be_bytes());
        let segment = &mut ip[20..];
        let checksum_at = match self.payload {
            Payload::Tcp(flags) => {
                segment[12] = 5 << 4;
                segment[13] = flags;
                segment[14..16].copy_from_slice(&[0xff, 0xff]);
                16
            }
            Payload::Udp => {
                segment[4..6].copy_from_slice(&(length - 20).to_be_bytes());
                6
            }
            Payload::Icmp { kind, code, identifier } => {
                segment[..2].copy_from_slice(&[kind, code]);
                segment[4..6].copy_from_slice(&identifier.to_be_bytes());
                pseudo.fill(0);
                2
            }
            Payload::Other(_) => return frame,
        };
        if !matches!(self.payload, Payload::Icmp { .. }) {
            segment[..2].copy_from_slice(&self.source.port.to_be_bytes());
            segment[2..4].copy_from_slice(&self.destination.port.to_be_bytes());
        }
        let covered = [&pseudo, &*segment].concat();
        let sum = !checksum::sum(&covered);
        segment[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        frame
    }
}

impl Router {
    /// What would become of `probe`, station by station, a line each; the last lines are the verdict and the frame
    /// that would leave. Ports that would be chosen at random are chosen at random here, too.
    pub fn explain(&self, probe: &Probe, now: Instant, random: &mut dyn rand_core::Rng) -> Vec<String> {
        let mut trace = Transcript::default();
        let to = probe.ingress.map_or(EthernetAddress([0; 6]), |id| self.config.interface(id).mac);
        let mut frame = probe.frame(to);
        let mut headers = match Headers::parse(&frame, ETHERNET_HEADER) {
            Ok(headers) => headers,
            Err(reason) => return vec![format!("verdict     DROP {reason}: {}", reason.text())],
        };
        self.explain_arrival(probe.ingress, &headers, &mut trace);
        if let Some(id) = probe.ingress.filter(|id| !self.config.interface(*id).up) {
            let reason = DropReason::InterfaceDown;
            trace.station(format_args!("verdict     DROP {reason}: {} is down", self.config.name(id)));
            return trace.lines;
        }
        let found = self.find(now, &headers);
        if let (Some((id, direction)), Transport::Tcp { sequence, acknowledgment, .. }) =
            (found, &mut headers.transport)
        {
            // It goes on where the connection is.
            (*sequence, *acknowledgment) = self.connections.flows.get(id).windows().next(direction);
        }
        if let Some(load) = probe.ingress.map(|id| &self.loads[usize::from(id.0)])
            && load.is_crowded(now)
            && !self.goes_on(&frame, &headers, found, now)
        {
            let rate = load.rate(self.config.sysctl.overload_rate);
            trace.station(format_args!("overload    of no known flow, of which {rate} pass each second"));
        }
        let arrival = Arrival {
            ingress: probe.ingress,
            link_broadcast: false,
            frame: &frame.clone(),
            headers: &headers,
            now,
            tuple: crate::stage::track::tuple_of(&headers),
            found,
            answers: None,
            effects: false,
        };
        let mut decision = Decision::new(arrival.headers);
        self.decide(&arrival, random, &mut trace, &mut decision);
        if decision.is_moved() {
            trace.station(format_args!(
                "flow        ends, because it would leave by another interface; anew:"
            ));
            let arrival = Arrival { found: None, ..arrival };
            decision = Decision::new(arrival.headers);
            self.decide(&arrival, random, &mut trace, &mut decision);
        }
        self.explain_way(&decision, &headers, &mut frame, now, &mut trace);
        trace.lines
    }

    /// The first line: the packet, and where it comes in.
    pub(crate) fn explain_arrival(
        &self,
        ingress: Option<InterfaceId>,
        headers: &Headers,
        trace: &mut impl Trace,
    ) {
        let origin = ingress.map_or("out", |_| "in");
        let name = ingress.map_or("", |id| self.config.name(id).as_str());
        let colon = if name.is_empty() { "" } else { ": " };
        trace.station(format_args!("{origin:<11} {name}{colon}{}", Summary(headers)));
    }

    pub(crate) fn explain_way(
        &self,
        decision: &Decision,
        headers: &Headers,
        frame: &mut [u8],
        now: Instant,
        trace: &mut impl Trace,
    ) {
        let way = match decision.way {
            Ok(way) => way,
            Err(refusal) => {
                trace.station(format_args!("verdict     DROP {}: {}", refusal.reason, refusal.reason.text()));
                match refusal.answer {
                    Answer::Nothing => {}
                    Answer::TcpReset => {
                        trace.station(format_args!("answer      TCP reset to {}", headers.source))
                    }
                    Answer::Icmp(error) => {
                        let (kind, code) = error.kind_and_code();
                        trace.station(format_args!("answer      ICMP {kind}/{code} to {}", headers.source));
                    }
                }
                return;
            }
        };
        if let FlowPart::New(draft) = &decision.flow
            && draft.replaces.is_none()
            && self.connections.exceeds_source_limit(draft)
        {
            let reason = DropReason::SourceLimit;
            trace.station(format_args!("verdict     DROP {reason}: {}", reason.text()));
            return;
        }
        self.translate(frame, headers, &decision.flow);
        translate::set_ttl_and_tos(frame, headers, decision.marking.ttl, decision.marking.tos);
        match way {
            Way::Deliver => trace.station(format_args!("verdict     DELIVER to this router")),
            Way::Broadcast(interface) => {
                trace.station(format_args!("verdict     BROADCAST on {}", self.config.name(interface)));
            }
            Way::Forward(hop, address) => {
                let mac = self.explain_neighbor(hop, address, now, trace);
                trace.station(format_args!("verdict     FORWARD out of {}", self.config.name(hop.interface)));
                let from = self.config.interface(hop.interface).mac;
                if let Ok(left) = Headers::parse(frame, ETHERNET_HEADER) {
                    trace.station(format_args!("frame       {} > {mac}, {}", mac_text(from), Summary(&left)));
                }
                if headers.total_length > hop.mtu {
                    trace.station(format_args!("fragments   of at most {} bytes", hop.mtu));
                }
            }
        }
    }

    fn explain_neighbor(
        &self,
        hop: NextHop,
        address: Ipv4Address,
        now: Instant,
        trace: &mut impl Trace,
    ) -> String {
        let name = self.config.name(hop.interface);
        match self.neighbors.get(hop.interface, address, now) {
            Some(view) => {
                let mac = view.mac.map_or_else(|| String::from("?"), |mac| format!("{}", mac_text(mac)));
                trace.station(format_args!("neighbor    {address} dev {name} lladdr {mac} {}", view.state));
                mac
            }
            None => {
                trace.station(format_args!(
                    "neighbor    {address} dev {name} is not known; it would be asked for"
                ));
                String::from("?")
            }
        }
    }
}

/// One line about a packet, much as tcpdump prints it.
struct Summary<'h>(&'h Headers);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Headers { source, destination, ttl, total_length, .. } = self.0;
        match self.0.transport {
            Transport::Tcp { source: from, destination: to, flags, .. } => {
                write!(f, "tcp {source}:{from} > {destination}:{to} [")?;
                let names = [
                    (tcp_flag::SYN, 'S'),
                    (tcp_flag::FIN, 'F'),
                    (tcp_flag::RST, 'R'),
                    (tcp_flag::PSH, 'P'),
                    (tcp_flag::URG, 'U'),
                    (tcp_flag::ACK, '.'),
                ];
                for (_, letter) in names.into_iter().filter(|(bit, _)| flags & bit != 0) {
                    write!(f, "{letter}")?;
                }
                f.write_str("]")?;
            }
            Transport::Udp { source: from, destination: to, .. } => {
                write!(f, "udp {source}:{from} > {destination}:{to}")?;
            }
            Transport::IcmpQuery { kind, code, identifier } => {
                write!(f, "icmp {source} > {destination} type {kind} code {code} id {identifier}")?;
            }
            Transport::IcmpError { kind, code } | Transport::IcmpOther { kind, code } => {
                write!(f, "icmp {source} > {destination} type {kind} code {code}")?;
            }
            Transport::Other => write!(f, "proto {} {source} > {destination}", self.0.protocol)?,
        }
        write!(f, " ttl {ttl} length {total_length}")
    }
}
