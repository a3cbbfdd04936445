//! The short way of an established flow: one look at the frame, one lookup, one rewrite, and out.
//!
//! It repeats what the slow path left in the flow, as long as nothing that it was decided by has changed. What is
//! not the plainest of packets (options, fragments, TCP flags that move a connection, ICMP) goes the slow way.

use crate::{
    headers::{ETHERNET_HEADER, protocol, tcp_flag},
    offload::{Offload, SegmentationKind},
    outcome::Outcome,
    packet::Packet,
    pipeline::Found,
    router::{Context, Link, Router},
    stage::window::Windows,
    table::{
        flow::{Direction, Key},
        shortcut::{Rewrite, Shortcut},
        tick::Tick,
    },
    wire::checksum::{self, Delta},
};
use smoltcp::{time::Instant, wire::EthernetAddress};

/// Ethernet, IPv4 without options, and a UDP header: what every packet here has.
const PLAIN: usize = ETHERNET_HEADER + 28;
/// What a TCP header has beyond that.
const TCP_REST: usize = 12;
/// Offsets in such a frame.
const IP: usize = ETHERNET_HEADER;
const TRANSPORT: usize = IP + 20;
/// Frames whose flows are looked for together.
const TOUCHED: usize = 64;

/// A packet that has to be decided.
pub(crate) struct Undecided {
    pub packet: Packet,
    /// What the flow table said, where it was asked.
    pub found: Option<Found>,
}

impl Router {
    /// Reads what the flows of these frames are found by, and the flows, all of it before any is used: what is not in a
    /// cache is fetched at once and not one after the other. Nothing comes of it but that.
    pub(crate) fn touch(&self, frames: &[Packet]) {
        let flows = &self.connections.flows;
        for frames in frames.chunks(TOUCHED) {
            let mut links = [0; TOUCHED];
            for (packet, link) in frames.iter().zip(&mut links) {
                if let Some(frame) = packet.bytes().first_chunk() {
                    *link = flows.touch_bucket(&key_in(frame));
                }
            }
            core::hint::black_box(links.iter().fold(0, |all, &link| all ^ flows.touch_flow(link)));
        }
    }

    /// Makes the frame what leaves, and sends it.
    ///
    /// # Errors
    /// Where the slow path has to decide; the frame is then as it was.
    #[inline(always)] // into the loop that all frames go through, and once more where somebody looks on
    pub(crate) fn repeat(
        &mut self,
        cx: &mut Context<'_>,
        link: &Link,
        mut packet: Packet,
    ) -> Result<Outcome, Undecided> {
        let length = packet.len();
        let partial = matches!(packet.offload(), Offload::Partial(_));
        let cut_to = if partial { segment_length(&packet) } else { Some(u16::MAX) };
        let Some(cut_to) = cut_to else { return Err(Undecided { packet, found: None }) };
        let Some((frame, rest)) = packet.bytes_mut().split_first_chunk_mut::<PLAIN>() else {
            return Err(Undecided { packet, found: None });
        };
        if !is_plain(frame, rest, link.station, length) {
            return Err(Undecided { packet, found: None });
        }
        let key = key_in(frame);
        let total_length = u16::from_be_bytes(field(frame, IP + 2));

        let tick = Tick::at(cx.now);
        let found = self.connections.flows.find_key(&key, tick);
        let Some((id, direction)) = found else { return Err(Undecided { packet, found: Some(found) }) };
        let flow = self.connections.flows.get_mut(id);
        let acknowledged = if key.protocol == protocol::TCP {
            let Some(number) = acknowledgment(frame, rest, flow.windows(), direction) else {
                return Err(Undecided { packet, found: Some(found) });
            };
            number
        } else {
            0
        };
        let shortcut = flow.shortcuts[direction as usize].and_then(|name| self.shortcuts.get_mut(name));
        let Some(shortcut) = shortcut else { return Err(Undecided { packet, found: Some(found) }) };
        if shortcut.course.ingress != link.interface || total_length.min(cut_to) > shortcut.course.mtu {
            return Err(Undecided { packet, found: Some(found) });
        }
        if shortcut.neighbors != self.neighbors.changes() || cx.now >= shortcut.fresh_until {
            let Some((mac, fresh_until)) = self.neighbors.usable(shortcut.course.neighbor, cx.now) else {
                return Err(Undecided { packet, found: Some(found) });
            };
            let from = self.links[usize::from(shortcut.course.port.0)].mac;
            refresh(shortcut, [mac, from], fresh_until, self.neighbors.changes());
            rewrite(frame, shortcut.course.rewrite);
        }

        let leaving = flow.key(direction.opposite()).inverted();
        let (ip, transport) = flow.deltas(direction);
        put(frame, 0, shortcut.macs);
        frame[IP + 8] -= 1;
        put(frame, IP + 10, ip.mend_with_ttl(field(frame, IP + 10)));
        put(frame, IP + 12, leaving.addresses.to_ne_bytes());
        put(frame, TRANSPORT, leaving.ports.to_ne_bytes());
        // A partial checksum covers the addresses alone.
        let mend = |old| if partial { ip.mend_sum(old) } else { transport.mend(old) };
        if key.protocol == protocol::UDP {
            let old = field(frame, TRANSPORT + 6);
            if old != [0; 2] {
                put(frame, TRANSPORT + 6, checksum::udp_field(mend(old)));
            }
        } else if let Some(rest) = rest.first_chunk_mut::<TCP_REST>() {
            put(rest, 8, mend(field(rest, 8)));
            flow.set_expected(direction, acknowledged);
        }

        flow.expires = flow.expires.max(tick.plus(shortcut.course.lifetime));
        let used = ETHERNET_HEADER + usize::from(total_length);
        if used < length {
            packet.truncate(used);
        }
        self.statistics.fast += 1;
        let port = shortcut.course.port;
        if partial {
            // What its card does not do may be done here, and makes more packets of it than the rules see.
            let (path, egress) = (shortcut.course.path, shortcut.course.egress);
            self.paths.count(path, 1, total_length.into());
            return Ok(self.hand_over(cx, egress, port, packet));
        }
        shortcut.counters.add(1, total_length.into());
        cx.exchange.transmit(port, packet);
        Ok(Outcome::Forwarded(port))
    }
}

/// What a frame to this MAC address begins with, as [`is_plain`] compares it.
pub(crate) fn station(mac: EthernetAddress) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

/// Whether a frame of `length` bytes is plain: for this station, whole, sound, and without a say in the flow's state.
#[inline]
fn is_plain(frame: &[u8; PLAIN], rest: &[u8], station: u64, length: usize) -> bool {
    /// The destination's address, and the bit of the source's that makes it a group.
    const STATION: u64 = u64::from_le_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0]);
    /// Ethernet type, version and header length.
    const IPV4: u32 = u32::from_le_bytes([0x08, 0x00, 0x45, 0]);
    const IPV4_BITS: u32 = u32::from_le_bytes([0xff, 0xff, 0xff, 0]);
    /// The offset, and that more will come.
    const FRAGMENT: u16 = 0x3fff;

    let total_length = u16::from_be_bytes(field(frame, IP + 2));
    u64::from_le_bytes(field(frame, 0)) & STATION == station
        && u32::from_le_bytes(field(frame, 12)) & IPV4_BITS == IPV4
        && u16::from_be_bytes(field(frame, IP + 6)) & FRAGMENT == 0
        && frame[IP + 8] > 1
        && usize::from(total_length) + ETHERNET_HEADER <= length
        && match frame[IP + 9] {
            protocol::TCP => total_length >= 40 && moves_nothing(rest),
            protocol::UDP => total_length >= 28,
            _ => false,
        }
        && checksum::sum(&field::<20, PLAIN>(frame, IP)) == 0xffff
}

/// Whether a TCP segment cannot change the state of an established connection.
#[inline]
fn moves_nothing(rest: &[u8]) -> bool {
    use tcp_flag::{ACK, MOVING};
    let Some(rest) = rest.first_chunk::<TCP_REST>() else { return false };
    rest[4] >> 4 >= 5 && rest[5] & MOVING == ACK
}

/// What a TCP segment acknowledges, if it goes on where the others of its connection ended.
#[inline]
fn acknowledgment(frame: &[u8; PLAIN], rest: &[u8], windows: Windows, from: Direction) -> Option<u32> {
    let rest = rest.first_chunk::<TCP_REST>()?;
    let sequence = u32::from_be_bytes(field(frame, TRANSPORT + 4));
    let acknowledgment = u32::from_be_bytes(field(rest, 0));
    windows.goes_on(from, sequence, acknowledgment, rest[6]).then_some(acknowledgment)
}

/// The flow key in a plain frame.
#[inline]
fn key_in(frame: &[u8; PLAIN]) -> Key {
    Key {
        addresses: u64::from_ne_bytes(field(frame, IP + 12)),
        ports: u32::from_ne_bytes(field(frame, TRANSPORT)),
        protocol: frame[IP + 9],
    }
}

/// What a frame whose checksum is yet to be completed will be cut to: the longest IP packet that it makes on the wire, unless
/// it is shorter itself. `None` where something else is left to a card than the checksum and the segmentation of a plain
/// frame.
#[inline(never)] // such frames are long and few
fn segment_length(packet: &Packet) -> Option<u16> {
    let Offload::Partial(partial) = packet.offload() else { return None };
    let (frame, rest) = packet.bytes().split_first_chunk::<PLAIN>()?;
    let (field_offset, kind, header_length) = match frame[IP + 9] {
        protocol::TCP => (16, SegmentationKind::Tcp4, usize::from(rest.get(4)? >> 4) * 4),
        _ => (6, SegmentationKind::Udp, 8),
    };
    if usize::from(partial.start) != TRANSPORT || partial.offset != field_offset {
        return None;
    }
    let Some(segmentation) = partial.segmentation else { return Some(u16::MAX) };
    let total_length = u16::from_be_bytes(field(frame, IP + 2));
    let headers = TRANSPORT - IP + header_length;
    let payload = usize::from(total_length).checked_sub(headers)?;
    let whole = packet.bytes().len() >= IP + headers
        && segmentation.kind == kind
        && segmentation.is_plausible(payload);
    whole.then(|| segmentation.wire_length(total_length, headers))
}

/// The next hop's MAC address may have changed.
#[cold]
fn refresh(shortcut: &mut Shortcut, macs: [EthernetAddress; 2], fresh_until: Instant, neighbors: u32) {
    let (to, from) = shortcut.macs.split_at_mut(6);
    to.copy_from_slice(&macs[0].0);
    from.copy_from_slice(&macs[1].0);
    shortcut.neighbors = neighbors;
    shortcut.fresh_until = if shortcut.course.rewrite == Rewrite::NONE { fresh_until } else { Instant::ZERO };
}

/// Writes what rules want of the IPv4 header.
#[cold]
fn rewrite(frame: &mut [u8; PLAIN], rewrite: Rewrite) {
    let words = |frame: &[u8; PLAIN]| [IP, IP + 8].map(|at| u16::from_be_bytes(field(frame, at)));
    let old = words(frame);
    frame[IP + 1] = rewrite.tos(frame[IP + 1]);
    frame[IP + 8] = rewrite.ttl.unwrap_or(frame[IP + 8]);
    let new = words(frame);
    let delta = Delta::NONE.word(old[0], new[0]).word(old[1], new[1]);
    let checksum = delta.apply(u16::from_be_bytes(field(frame, IP + 10)));
    put(frame, IP + 10, checksum.to_be_bytes());
}

/// `N` bytes of a frame; the place is known when this is compiled, and so is that it is inside.
#[inline(always)]
fn field<const N: usize, const FRAME: usize>(frame: &[u8; FRAME], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&frame[at..at + N]);
    bytes
}

/// Writes them.
#[inline(always)]
fn put<const N: usize, const FRAME: usize>(frame: &mut [u8; FRAME], at: usize, bytes: [u8; N]) {
    frame[at..at + N].copy_from_slice(&bytes);
}
