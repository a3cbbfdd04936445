//! Rewrites the addresses and ports of a packet and mends its checksums by what changed (RFC 1624), so that a
//! checksum that came wrong leaves wrong.

use super::track::{query_identifier, quoted_tuple};
use crate::{
    headers::{Checksum, Fragment, Headers, Quote, Transport, protocol},
    table::flow::{Direction, Flow, Tuple, deltas, status},
    wire::{
        checksum::{self, Delta},
        word::{mend, put_word, word},
    },
};
use smoltcp::wire::Ipv4Address;

/// Offset of the checksum in the transport header.
fn checksum_offset(number: u8) -> Option<usize> {
    match number {
        protocol::TCP => Some(16),
        protocol::UDP => Some(6),
        protocol::ICMP => Some(2),
        _ => None,
    }
}

/// Gives the packet the addresses and ports of `to`, with the changes of both checksums known.
///
/// A transport checksum that is yet to be completed knows of the addresses alone: the ports are summed when it is.
fn rewrite(frame: &mut [u8], headers: &Headers, to: &Tuple, ip: Delta, transport: Delta) {
    let header = headers.l3;
    mend(frame, header + 10, ip);
    frame[header + 12..header + 16].copy_from_slice(&to.source.octets());
    frame[header + 16..header + 20].copy_from_slice(&to.destination.octets());
    // Later fragments carry no transport header; the first one's checksum covers the change of all.
    if headers.fragment == Fragment::Later {
        return;
    }
    let partial = headers.checksum == Checksum::Partial;
    match headers.transport {
        Transport::Tcp { .. } => {
            put_word(frame, headers.l4, to.source_port);
            put_word(frame, headers.l4 + 2, to.destination_port);
            let old = word(frame, headers.l4 + 16);
            let checksum = if partial { ip.apply_to_sum(old) } else { transport.apply(old) };
            put_word(frame, headers.l4 + 16, checksum);
        }
        Transport::Udp { checksummed, .. } => {
            put_word(frame, headers.l4, to.source_port);
            put_word(frame, headers.l4 + 2, to.destination_port);
            if partial {
                let sum = ip.apply_to_sum(word(frame, headers.l4 + 6));
                put_word(frame, headers.l4 + 6, sum);
            } else if checksummed {
                let checksum = checksum::udp(transport.apply(word(frame, headers.l4 + 6)));
                put_word(frame, headers.l4 + 6, checksum);
            }
        }
        Transport::IcmpQuery { kind, .. } => {
            put_word(frame, headers.l4 + 4, query_identifier(to, kind));
            mend(frame, headers.l4 + 2, transport);
        }
        _ => {}
    }
}

/// Gives the packet the addresses and ports of `to`.
pub fn rewrite_from(frame: &mut [u8], headers: &Headers, from: &Tuple, to: &Tuple) {
    if from != to {
        let (ip, transport) = deltas(from, to);
        rewrite(frame, headers, to, ip, transport);
    }
}

/// Gives the packet the addresses and ports with which packets of this direction of a flow leave.
pub fn rewrite_as(frame: &mut [u8], headers: &Headers, flow: &Flow, direction: Direction) {
    if flow.is_translated() {
        let (ip, transport) = flow.deltas(direction);
        rewrite(frame, headers, &flow.translated(direction), ip, transport);
    }
}

/// Gives the packet this TTL and type of service.
#[inline]
pub fn set_ttl_and_tos(frame: &mut [u8], headers: &Headers, ttl: u8, tos: u8) {
    if (ttl, tos) == (headers.ttl, headers.tos) {
        return;
    }
    let Some(ip) = frame.get_mut(headers.l3..).and_then(<[u8]>::first_chunk_mut::<12>) else { return };
    let words = |ip: &[u8; 12]| [[ip[0], ip[1]], [ip[8], ip[9]]].map(u16::from_be_bytes);
    let old = words(ip);
    (ip[1], ip[8]) = (tos, ttl);
    let new = words(ip);
    let delta = Delta::NONE.word(old[0], new[0]).word(old[1], new[1]);
    let checksum = delta.apply(u16::from_be_bytes([ip[10], ip[11]]));
    ip[10..].copy_from_slice(&checksum.to_be_bytes());
}

/// The addresses with which an ICMP error leaves that runs in `direction` of a flow: it goes where the flow's
/// packets go, and comes from the flow's outer address where its real source lies behind a translation.
pub fn error_addresses(headers: &Headers, flow: &Flow, direction: Direction) -> (Ipv4Address, Ipv4Address) {
    let translated = flow.translated(direction);
    let hides_source = match direction {
        Direction::Original => flow.is(status::SOURCE_NAT),
        Direction::Reply => flow.is(status::DESTINATION_NAT),
    };
    (if hides_source { translated.source } else { headers.source }, translated.destination)
}

/// Translates an ICMP error that runs in `direction` of `flow`, and the packet that it quotes back to the form in
/// which its sender knows it (RFC 5508 4.2, 4.3).
pub fn rewrite_error(frame: &mut [u8], headers: &Headers, flow: &Flow, direction: Direction) {
    let (source, destination) = error_addresses(headers, flow, direction);
    let ip = Delta::NONE
        .address(headers.source.to_bits(), source.to_bits())
        .address(headers.destination.to_bits(), destination.to_bits());
    mend(frame, headers.l3 + 10, ip);
    frame[headers.l3 + 12..headers.l3 + 16].copy_from_slice(&source.octets());
    frame[headers.l3 + 16..headers.l3 + 20].copy_from_slice(&destination.octets());

    let Some(quote) = Quote::parse(frame, headers.l4) else { return };
    let (from, to) = (quoted_tuple(&quote), flow.tuple(direction.opposite()));
    if from == to {
        return;
    }
    let (ip, transport) = deltas(&from, &to);
    // All that changes inside is also under the checksum of the ICMP error itself.
    let mut inside = ip;
    let mut change = |frame: &mut [u8], at: usize, value: u16| {
        inside = inside.word(word(frame, at), value);
        put_word(frame, at, value);
    };
    let checksum = ip.apply(word(frame, quote.l3 + 10));
    change(frame, quote.l3 + 10, checksum);
    match quote.protocol {
        protocol::ICMP => change(frame, quote.l4 + 4, query_identifier(&to, quote.icmp_kind)),
        protocol::TCP | protocol::UDP => {
            change(frame, quote.l4, to.source_port);
            change(frame, quote.l4 + 2, to.destination_port);
        }
        _ => {}
    }
    let end = (headers.l3 + usize::from(headers.total_length)).min(frame.len());
    if let Some(at) = checksum_offset(quote.protocol).map(|offset| quote.l4 + offset)
        && at + 2 <= end
        && !(quote.protocol == protocol::UDP && word(frame, at) == 0)
    {
        let checksum = transport.apply(word(frame, at));
        let is_udp = quote.protocol == protocol::UDP;
        change(frame, at, if is_udp { checksum::udp(checksum) } else { checksum });
    }
    frame[quote.l3 + 12..quote.l3 + 16].copy_from_slice(&to.source.octets());
    frame[quote.l3 + 16..quote.l3 + 20].copy_from_slice(&to.destination.octets());
    mend(frame, headers.l4 + 2, inside);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        offload::{Offload, Partial},
        packet::Packet,
        stage::{segment::complete_checksum, track::tuple_of},
        test_support::{property, tcp_super_frame, udp_frame},
    };
    use proptest::prelude::*;

    /// A UDP frame whose checksum is yet to be completed.
    fn partial_udp(payload: usize) -> Packet {
        let mut packet = Packet::from_frame(&udp_frame(payload));
        let addresses = (Ipv4Address::new(192, 168, 1, 2), Ipv4Address::new(198, 51, 100, 7));
        let sum = checksum::pseudo_header(addresses.0, addresses.1, protocol::UDP, payload as u16 + 8);
        put_word(packet.bytes_mut(), 40, sum);
        packet.set_offload(Offload::Partial(Partial { start: 34, offset: 6, segmentation: None }));
        packet
    }

    fn translated(mut packet: Packet, to: &Tuple) -> Packet {
        let headers = Headers::of(&packet).unwrap();
        let from = tuple_of(&headers).unwrap();
        let to = Tuple { protocol: from.protocol, ..*to };
        rewrite_from(packet.bytes_mut(), &headers, &from, &to);
        packet
    }

    fn completed(mut packet: Packet) -> Packet {
        complete_checksum(&mut packet);
        packet
    }

    proptest! {
        #![proptest_config(property())]

        #[test]
        fn translating_and_completing_a_checksum_may_change_places(
            addresses in any::<[u32; 2]>(),
            ports in any::<[u16; 2]>(),
            payload in prop::collection::vec(any::<u8>(), 0..100),
            udp in any::<bool>(),
        ) {
            let to = Tuple {
                source: Ipv4Address::from_bits(addresses[0]),
                destination: Ipv4Address::from_bits(addresses[1]),
                source_port: ports[0],
                destination_port: ports[1],
                protocol: 0,
            };
            let make = || if udp { partial_udp(payload.len()) } else { tcp_super_frame(&payload, None, 1000) };
            let first = completed(translated(make(), &to));
            let last = translated(completed(make()), &to);
            let at = if udp { 40 } else { 50 };
            // Zero has two forms, both of them right; UDP knows one of them.
            let sum = |packet: &Packet| word(packet.bytes(), at) % 0xffff;
            prop_assert_eq!(sum(&first), sum(&last));
            prop_assert_eq!(&first.bytes()[..at], &last.bytes()[..at]);
            prop_assert_eq!(&first.bytes()[at + 2..], &last.bytes()[at + 2..]);
        }
    }
}
