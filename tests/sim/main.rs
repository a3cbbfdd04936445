//! Routers and hosts in virtual time, in this process: one test for each thing that a router must do.

mod arp;
mod conformance;
mod firewall;
mod forwarding;
mod header;
mod helpers;
mod icmp;
mod icmp_settings;
mod limiting;
mod log_lines;
mod marks;
mod martians;
mod mss;
mod nat;
mod nat_fragments;
mod nat_icmp;
mod nat_identity;
mod nat_pmtu;
mod nat_ports;
mod network;
mod nstat;
mod offload;
mod overload;
mod policy;
mod raw;
mod record;
mod source_limit;
mod tcpdump;
mod trace;
mod tracking;
mod windows;

use tests::{bench::Bench, datagram::*, network::*};

/// ALICE asks SERVER's name service.
fn query() -> Datagram {
    udp((ALICE, 40000), (SERVER, 53)).payload(b"who is it?")
}

/// SERVER answers `to`.
fn answer(to: Endpoint) -> Datagram {
    udp((SERVER, 53), to).payload(b"it is me")
}

/// The router with the home gateway's translation and no filter.
fn gateway() -> Bench {
    Bench::network(MASQUERADE)
}

/// The packet `what` as it leaves after one hop.
fn one_hop(what: Datagram) -> Datagram {
    let ttl = what.ttl - 1;
    what.ttl(ttl)
}

/// Asserts that `left` is one ICMP error to the sender of `about` that quotes it.
#[track_caller]
fn assert_error(left: &[(usize, Datagram)], port: usize, kind_and_code: (u8, u8), about: &Datagram) {
    let [(out, error)] = left else { panic!("one error, not {left:?}") };
    assert_eq!((*out, error.icmp_type()), (port, Some(kind_and_code)), "{error:?}");
    assert_eq!((error.source, error.destination), (OWN[port], about.source));
    assert!(error.checksums_are_right(), "{error:?}");
    assert_eq!(error.quoted().as_ref().map(|quoted| quoted.source()), Some(about.source()), "{error:?}");
    assert_eq!(error.quoted().map(|quoted| quoted.destination()), Some(about.destination()));
}

/// The outer source under which the translated `packet` of a LAN host leaves.
#[track_caller]
fn outer(bench: &mut Bench, packet: Datagram) -> Endpoint {
    let (port, left) = bench.exchange(LAN, packet.clone());
    assert_eq!((port, left.destination()), (WAN, packet.destination()));
    assert!(left.checksums_are_right(), "{left:?}");
    left.source()
}

/// The three segments that open a connection of ALICE's `from` with `to`; gives ALICE's outer source.
#[track_caller]
fn connect(bench: &mut Bench, from: Endpoint, to: Endpoint) -> Endpoint {
    use flag::*;
    let outside = outer(bench, tcp(from, to, SYN).numbers(1000, 0));
    let reply = tcp(to, outside, SYN | ACK).numbers(5000, 1001);
    let (port, inside) = bench.exchange(WAN, reply);
    assert_eq!((port, inside.destination()), (LAN, from));
    assert_eq!(outer(bench, tcp(from, to, ACK).numbers(1001, 5001)), outside);
    outside
}

/// A datagram in fragments whose payloads have `size` bytes, a multiple of 8, and the last one what is left.
fn fragments(whole: &Datagram, size: usize) -> Vec<Datagram> {
    let bytes = whole.bytes();
    let payload = &bytes[20 + whole.options.len()..];
    let pieces = payload.chunks(size).enumerate().map(|(number, piece)| {
        let offset = number * size;
        whole.clone().but(|fragment| {
            fragment.body = Body::Other { protocol: whole.protocol(), payload: piece.to_vec() };
            (fragment.offset, fragment.more_fragments) =
                (offset as u16, offset + piece.len() < payload.len());
        })
    });
    pieces.collect()
}

/// Puts fragments of one datagram together again; they may overlap nowhere and leave no hole.
fn reassemble(fragments: &[(usize, Datagram)]) -> Datagram {
    let mut bytes = Vec::new();
    for (at, (_, fragment)) in fragments.iter().enumerate() {
        assert_eq!(
            usize::from(fragment.offset),
            bytes.len(),
            "fragment {at} begins where the last one ended"
        );
        assert_eq!(fragment.more_fragments, at + 1 < fragments.len());
        assert_eq!(fragment.header_checksum, Checksum::Right);
        bytes.extend(&fragment.bytes()[20 + fragment.options.len()..]);
    }
    let mut whole = fragments[0].1.clone();
    whole.more_fragments = false;
    let protocol = whole.protocol();
    whole.body = Body::Other { protocol, payload: bytes };
    Datagram::read(&whole.bytes()).expect("a whole packet")
}
