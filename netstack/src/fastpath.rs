//! The short way of an established flow: one look at the frame, one lookup, one rewrite, and out.
//!
//! It repeats what the slow path left in the flow, as long as nothing that it was decided by has changed. What is
//! not the plainest of packets (options, fragments, TCP flags that move a connection, ICMP) goes the slow way.

use crate::{
    headers::{ETHERNET_HEADER, protocol, tcp_flag},
    interface::{InterfaceId, PortId},
    offload::{Offload, Partial, SegmentationKind},
    packet::Packet,
    pipeline::Found,
    router::{Link, Router},
    stage::{tcp::TcpState, track::refreshes},
    table::{
        flow::{Tuple, status},
        tick::Tick,
    },
    wire::checksum,
};
use smoltcp::{time::Instant, wire::Ipv4Address};

/// Ethernet, IPv4 without options, and a UDP header: what every packet here has.
const PLAIN: usize = ETHERNET_HEADER + 28;
/// The same with a TCP header.
const PLAIN_TCP: usize = ETHERNET_HEADER + 40;
/// Offsets in such a frame.
const IP: usize = ETHERNET_HEADER;
const TRANSPORT: usize = IP + 20;

/// A packet that has to be decided.
pub(crate) struct Undecided {
    /// What the flow table said, where it was asked.
    pub found: Option<Found>,
}

impl Undecided {
    const UNKNOWN: Self = Self { found: None };
}

impl Router {
    /// Makes the frame what leaves, and gives the interface and the port that it leaves by.
    ///
    /// # Errors
    /// Where the slow path has to decide; the frame is then as it was.
    #[inline]
    pub(crate) fn repeat(
        &mut self,
        now: Instant,
        link: &Link,
        packet: &mut Packet,
    ) -> Result<(InterfaceId, PortId), Undecided> {
        let length = packet.len();
        let Some(frame) = packet.bytes_mut().first_chunk_mut::<PLAIN>() else {
            return Err(Undecided::UNKNOWN);
        };
        let total_length = u16::from_be_bytes([frame[IP + 2], frame[IP + 3]]);
        let fragment = u16::from_be_bytes([frame[IP + 6], frame[IP + 7]]) & 0x3fff;
        let plain = frame[0..6] == link.mac.0
            && frame[6] & 1 == 0
            && frame[12..15] == [0x08, 0x00, 0x45]
            && fragment == 0
            && frame[IP + 8] > 1
            && total_length >= 28
            && usize::from(total_length) + ETHERNET_HEADER <= length
            && link.up;
        if !plain || checksum::sum(&frame[IP..TRANSPORT]) != 0xffff {
            return Err(Undecided::UNKNOWN);
        }
        let number = frame[IP + 9];
        let tuple = Tuple {
            source: address(frame, IP + 12),
            destination: address(frame, IP + 16),
            source_port: u16::from_be_bytes([frame[TRANSPORT], frame[TRANSPORT + 1]]),
            destination_port: u16::from_be_bytes([frame[TRANSPORT + 2], frame[TRANSPORT + 3]]),
            protocol: number,
        };
        let checksum_at = match number {
            protocol::TCP => {
                if total_length < 40 || !is_plain(packet.bytes()) {
                    return Err(Undecided::UNKNOWN);
                }
                TRANSPORT + 16
            }
            protocol::UDP => TRANSPORT + 6,
            _ => return Err(Undecided::UNKNOWN),
        };
        let (partial, wire_length) = match packet.offload() {
            Offload::Partial(partial) => match wire_length(packet.bytes(), number, total_length, partial) {
                Some(length) => (true, length),
                None => return Err(Undecided::UNKNOWN),
            },
            _ => (false, total_length),
        };
        let tick = Tick::at(now);
        let found = self.connections.flows.find(&tuple, tick);
        let undecided = Undecided { found: Some(found) };
        let Some((id, direction)) = found else { return Err(undecided) };
        let flow = self.connections.flows.get_mut(id);
        let Some(shortcut) = &flow.shortcuts[direction as usize] else { return Err(undecided) };
        if shortcut.epoch != self.epoch
            || shortcut.ingress != link.interface
            || wire_length > shortcut.mtu
            || (number == protocol::TCP && flow.tcp != TcpState::Established)
        {
            return Err(undecided);
        }
        let Some(mac) = self.neighbors.usable(shortcut.neighbor, now) else { return Err(undecided) };

        let to = flow.translated(direction);
        let frame = packet.bytes_mut();
        frame[0..6].copy_from_slice(&mac.0);
        frame[6..12].copy_from_slice(&self.links[usize::from(shortcut.port.0)].mac.0);
        frame[IP + 8] -= 1;
        mend(frame, IP + 10, |old| shortcut.ip.apply(old));
        frame[IP + 12..IP + 16].copy_from_slice(&to.source.octets());
        frame[IP + 16..IP + 20].copy_from_slice(&to.destination.octets());
        frame[TRANSPORT..TRANSPORT + 2].copy_from_slice(&to.source_port.to_be_bytes());
        frame[TRANSPORT + 2..TRANSPORT + 4].copy_from_slice(&to.destination_port.to_be_bytes());
        mend(frame, checksum_at, |old| match (number, old) {
            _ if partial => shortcut.ip.without_ttl().apply_to_sum(old),
            (protocol::UDP, 0) => 0,
            (protocol::UDP, old) => checksum::udp(shortcut.transport.apply(old)),
            (_, old) => shortcut.transport.apply(old),
        });

        let lifetime = if number == protocol::UDP {
            if flow.is(status::SEEN_REPLY) {
                flow.status |= status::ASSURED;
            }
            if flow.is(status::ASSURED) { self.lifetimes.udp_stream } else { self.lifetimes.udp }
        } else if flow.is(status::SEEN_REPLY) {
            self.lifetimes.tcp_established
        } else {
            self.lifetimes.tcp_unacknowledged
        };
        if refreshes(flow.status, direction) {
            flow.expires = tick.plus(lifetime);
        }
        self.paths.count(shortcut.path, u64::from(total_length));
        let (egress, port) = (shortcut.egress, shortcut.port);
        packet.truncate(ETHERNET_HEADER + usize::from(total_length));
        self.statistics.fast += 1;
        Ok((egress, port))
    }
}

#[inline]
fn address(frame: &[u8; PLAIN], at: usize) -> Ipv4Address {
    Ipv4Address::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3])
}

/// Whether a TCP segment cannot change the state of an established connection.
#[inline]
fn is_plain(frame: &[u8]) -> bool {
    use tcp_flag::{ACK, FIN, RST, SYN, URG};
    let Some(frame) = frame.first_chunk::<PLAIN_TCP>() else { return false };
    frame[TRANSPORT + 12] >> 4 >= 5 && frame[TRANSPORT + 13] & (SYN | FIN | RST | ACK | URG) == ACK
}

/// Length of the longest packet on the wire that a plain frame stands for; `None` where something else is left to a card
/// than its own transport checksum and its own segmentation.
fn wire_length(frame: &[u8], number: u8, total_length: u16, partial: &Partial) -> Option<u16> {
    let (field, kind, header_length) = match number {
        protocol::TCP => (16, SegmentationKind::Tcp4, usize::from(frame.get(TRANSPORT + 12)? >> 4) * 4),
        _ => (6, SegmentationKind::Udp, 8),
    };
    if usize::from(partial.start) != TRANSPORT || partial.offset != field {
        return None;
    }
    let Some(segmentation) = partial.segmentation else { return Some(total_length) };
    let headers = TRANSPORT - IP + header_length;
    let payload = usize::from(total_length).checked_sub(headers)?;
    let whole =
        frame.len() >= IP + headers && segmentation.kind == kind && segmentation.is_plausible(payload);
    whole.then(|| segmentation.wire_length(total_length, headers))
}

#[inline]
fn mend(frame: &mut [u8], at: usize, change: impl FnOnce(u16) -> u16) {
    let value = change(u16::from_be_bytes([frame[at], frame[at + 1]]));
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
