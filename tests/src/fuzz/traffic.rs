//! Frames made from the fuzzer's choices: good ones with something wrong, answers to what the router sent, and noise.

use super::{
    Input,
    conversation::{Ends, flags, pieces},
};
use crate::{
    datagram::{Body, Checksum, Datagram, icmp},
    frame::{Content, Frame},
    network::*,
};
use smoltcp::wire::{ArpOperation, ArpRepr, EthernetAddress, Ipv4Address};
use std::collections::VecDeque;

/// Frames of the router that can still be answered.
const REMEMBERED: usize = 8;
/// The longest frame that a card brings.
const FRAME_MAX: usize = 1514;

const ADDRESSES: &[Ipv4Address] = &[
    ALICE,
    SERVER,
    WAN_SIDE,
    LAN_SIDE,
    BOB,
    OTHER,
    WEB,
    DMZ_SIDE,
    PROVIDER,
    SECOND_WAN_SIDE,
    Ipv4Address::new(192, 168, 1, 12),
    Ipv4Address::new(192, 168, 1, 255),
    Ipv4Address::new(203, 0, 113, 9),
    Ipv4Address::new(10, 10, 0, 6),
    Ipv4Address::new(172, 16, 0, 1),
    Ipv4Address::new(100, 64, 0, 1),
    Ipv4Address::new(100, 65, 0, 1),
    Ipv4Address::new(100, 66, 0, 1),
    Ipv4Address::new(127, 0, 0, 1),
    Ipv4Address::new(224, 0, 0, 1),
    Ipv4Address::BROADCAST,
    Ipv4Address::UNSPECIFIED,
];

const PORTS: &[u16] = &[40000, 53, 80, 8080, 3128, 4000, 5000, 1024, 25, 445, 33434, 0, 65535];

/// The wires on all sides of the router.
#[derive(Default)]
pub struct Traffic {
    sent: VecDeque<(usize, Frame)>,
    ends: Ends,
    /// Frames that follow at once.
    following: VecDeque<(usize, Vec<u8>)>,
}

impl Traffic {
    /// Remembers what the router sent, for somebody to answer it.
    pub fn heard(&mut self, frames: Vec<(usize, Vec<u8>)>) {
        self.sent.extend(frames.into_iter().map(|(port, bytes)| (port, Frame::read(&bytes))));
        self.sent.drain(..self.sent.len().saturating_sub(REMEMBERED));
    }

    /// The next frame that arrives, and where.
    pub fn next(&mut self, input: &mut Input<'_>) -> (usize, Vec<u8>) {
        if let Some(next) = self.following.pop_front() {
            return next;
        }
        let port = usize::from(input.byte()) % 3;
        let (port, mut frame) = match input.byte() % 8 {
            0 => {
                let length = usize::from(input.word()) % (FRAME_MAX + 1);
                (port, input.bytes(length).to_vec())
            }
            1 => (port, arp(input, port).bytes()),
            2 | 3 => self.answer(input).unwrap_or_else(|| (port, packet(input, port).bytes())),
            4 => {
                let heard = self.sent.iter().map(|(_, frame)| frame);
                let next = self.ends.go_on(input, heard);
                next.map_or_else(
                    || (port, packet(input, port).bytes()),
                    |(port, frame)| (port, frame.bytes()),
                )
            }
            5 => {
                let whole = packet(input, port);
                let mut parts = pieces(input, whole).map(|part| (port, part.bytes()));
                let first = parts.next().expect("a packet has a first part");
                self.following.extend(parts);
                first
            }
            _ => (port, packet(input, port).bytes()),
        };
        // Three of four frames stay whole.
        if let changes @ 1.. = usize::from(input.byte()).saturating_sub(192) % 4 {
            for _ in 0..changes {
                let (at, value) = (usize::from(input.byte()), input.byte());
                match frame.get_mut(at) {
                    Some(byte) => *byte = value,
                    // Behind the headers: cut off there.
                    None => frame.truncate(usize::from(value)),
                }
            }
        }
        frame.truncate(FRAME_MAX);
        if frame.len() >= 14 {
            self.ends.said(port, Frame::read(&frame));
        }
        (port, frame)
    }

    /// Somebody answers a frame that the router sent, or tells of an error about it.
    fn answer(&mut self, input: &mut Input<'_>) -> Option<(usize, Vec<u8>)> {
        let place = usize::from(input.byte()) % self.sent.len().max(1);
        let (port, frame) = self.sent.get(place)?.clone();
        let mac = neighbor_mac(port, input.choose(ADDRESSES));
        let about = match &frame.content {
            Content::Ip(about) => about,
            _ => return frame.arp_answer(mac).map(|frame| (port, frame.bytes())),
        };
        let answer = if input.byte().is_multiple_of(4) {
            let quote = about.quote(usize::from(input.word()) % 600);
            icmp_error(input, about.source, quote)
        } else {
            reply(input, about)
        };
        Some((port, Frame::ip(frame.to, frame.from, answer).bytes()))
    }
}

fn reply(input: &mut Input<'_>, about: &Datagram) -> Datagram {
    let mut reply = about.clone().from(about.destination()).to(about.source());
    reply.ttl = 64;
    match &mut reply.body {
        Body::Tcp { sequence, acknowledgment, flags: of_reply, payload, .. } => {
            let sent = payload.len() as u32 + u32::from(*of_reply & 3 != 0);
            (*sequence, *acknowledgment) = (*acknowledgment, sequence.wrapping_add(sent));
            *sequence = sequence.wrapping_add_signed(i32::from(input.byte() as i8) << 8);
            *of_reply = flags(input);
        }
        Body::Icmp { kind: kind @ 8, .. } => *kind = 0,
        _ => {}
    }
    reply
}

fn arp(input: &mut Input<'_>, port: usize) -> Frame {
    let address = input.choose(ADDRESSES);
    let mac = neighbor_mac(port, address);
    let target = input.choose(&[EthernetAddress([0; 6]), router_mac(port), EthernetAddress::BROADCAST]);
    let content = Content::Arp(ArpRepr::EthernetIpv4 {
        operation: input.choose(&[ArpOperation::Request, ArpOperation::Reply, ArpOperation::Unknown(3)]),
        source_hardware_addr: mac,
        source_protocol_addr: address,
        target_hardware_addr: target,
        target_protocol_addr: input.choose(ADDRESSES),
    });
    Frame { to: input.choose(&[EthernetAddress::BROADCAST, router_mac(port)]), from: mac, content }
}

fn packet(input: &mut Input<'_>, port: usize) -> Frame {
    let packet = datagram(input, 1);
    let from = neighbor_mac(port, packet.source);
    let to = match input.byte() {
        0xff => EthernetAddress::BROADCAST,
        0xfe => EthernetAddress([1, 0, 0x5e, 0, 0, 1]),
        0xfd => neighbor_mac(port, packet.destination),
        _ => router_mac(port),
    };
    Frame::ip(from, to, packet)
}

fn endpoint(input: &mut Input<'_>) -> u16 {
    match input.byte() {
        0xff => input.word(),
        byte => PORTS[usize::from(byte) % PORTS.len()],
    }
}

fn address(input: &mut Input<'_>) -> Ipv4Address {
    match input.byte() {
        0xff => Ipv4Address::from_bits(input.long()),
        byte => ADDRESSES[usize::from(byte) % ADDRESSES.len()],
    }
}

fn checksum(input: &mut Input<'_>) -> Checksum {
    match input.byte() {
        0xff => Checksum::Wrong(input.word()),
        0xfe => Checksum::Absent,
        _ => Checksum::Right,
    }
}

/// A multiple of four bytes of options, seldom any.
fn options(input: &mut Input<'_>) -> Vec<u8> {
    let words = usize::from(input.byte()).saturating_sub(0xf5);
    let mut options = input.bytes(4 * words).to_vec();
    options.resize(4 * words, 0);
    options
}

/// Few bytes as they are, or many that are all the same.
fn payload(input: &mut Input<'_>) -> Vec<u8> {
    match input.byte() {
        0xff => vec![input.byte(); usize::from(input.word()) % 1500],
        length => input.bytes(usize::from(length) % 32).to_vec(),
    }
}

/// A packet, which may quote others `depth` levels deep.
fn datagram(input: &mut Input<'_>, depth: usize) -> Datagram {
    let (source, destination) = (address(input), address(input));
    let body = match input.byte() % 8 {
        0 | 1 => Body::Udp {
            source: endpoint(input),
            destination: endpoint(input),
            length_error: u16::from(input.byte()).saturating_sub(0xfd).wrapping_neg(),
            checksum: checksum(input),
            payload: payload(input),
        },
        2..=4 => Body::Tcp {
            source: endpoint(input),
            destination: endpoint(input),
            sequence: u32::from(input.word()),
            acknowledgment: u32::from(input.word()),
            flags: input.byte(),
            window: input.word(),
            urgent: 0,
            options: options(input),
            checksum: checksum(input),
            payload: payload(input),
        },
        5 => Body::Icmp {
            kind: input.choose(&[8, 0, 13, 14, 17, 18, 9, 10, 15]),
            code: input.byte() & 1,
            word: u32::from(endpoint(input)) << 16,
            checksum: checksum(input),
            payload: payload(input),
        },
        6 if depth > 0 => {
            let mut quote = datagram(input, depth - 1).bytes();
            quote.truncate(usize::from(input.word()) % 600);
            return icmp_error(input, destination, quote);
        }
        _ => Body::Other { protocol: input.byte(), payload: payload(input) },
    };
    let mut packet = Datagram {
        source,
        destination,
        ttl: 64,
        tos: 0,
        id: u16::from(input.byte()),
        dont_fragment: false,
        more_fragments: false,
        offset: 0,
        options: options(input),
        header_checksum: Checksum::Right,
        body,
    };
    // A byte that is small in most cases leaves the good packet good.
    match input.byte() {
        0xe0..=0xef => packet.ttl = input.byte(),
        0xf0..=0xf3 => packet.dont_fragment = true,
        0xf4..=0xf7 => packet.more_fragments = true,
        0xf8..=0xfb => {
            packet.more_fragments = input.byte() & 1 != 0;
            packet.offset = (input.word() & 0x1fff) << 3;
        }
        0xfc..=0xfe => packet.header_checksum = checksum(input),
        0xff => packet.tos = input.byte(),
        _ => {}
    }
    packet
}

fn icmp_error(input: &mut Input<'_>, to: Ipv4Address, payload: Vec<u8>) -> Datagram {
    let (kind, code) = (input.choose(&[3, 11, 12, 5, 4]), input.byte() % 16);
    let (word, checksum) = (u32::from(input.word()), checksum(input));
    icmp(address(input), to, kind, code, word, &payload).checksum(checksum)
}
