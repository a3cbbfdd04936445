//! IPv4 and UDP as tcpdump prints them (RFC 791 3.1, RFC 768).

use super::{MOST_QUOTES, Part, Printer};
use crate::{headers::protocol, wire::checksum};
use alloc::string::String;
use core::fmt::{self, Write};
use smoltcp::wire::Ipv4Address;

/// What the printers of the protocols above need of an IPv4 header.
#[derive(Clone, Copy)]
pub struct Ip {
    pub source: Ipv4Address,
    pub destination: Ipv4Address,
    pub protocol: u8,
    pub fragmented: bool,
}

impl Ip {
    /// The checksum that belongs into the field at `field` of a TCP or UDP packet, which has to be whole.
    pub fn right_checksum(&self, packet: Part<'_>, field: usize) -> u16 {
        let pseudo =
            checksum::pseudo_header(self.source, self.destination, self.protocol, packet.length as u16);
        let found = packet.word(field).unwrap_or_default();
        // Taking a word out of a sum is adding its complement (RFC 1624).
        let sum = checksum::together(checksum::together(checksum::sum(packet.bytes), !found), pseudo);
        !sum
    }
}

impl Printer {
    /// An IPv4 packet, which is named where no Ethernet header stands before it.
    pub(super) fn ipv4(&mut self, packet: Part<'_>, out: &mut String) -> fmt::Result {
        let Some(first) = packet.byte(0) else { return out.write_str("IP [|ip]") };
        if first >> 4 != 4 {
            return write!(out, "IP{} (invalid)", first >> 4);
        }
        if !self.style.ethernet {
            out.write_str("IP ")?;
        }
        let Some(fixed) = packet.bytes.first_chunk::<20>() else { return out.write_str("[|ip]") };
        let header_length = usize::from(first & 0x0f) * 4;
        let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if header_length < 20 {
            return write!(out, "bad-hlen {header_length}");
        }
        if length < header_length {
            return write!(out, "bad-len {length}");
        }
        if packet.length < length {
            write!(out, "truncated-ip - {} bytes missing! ", length - packet.length)?;
        }
        let packet = packet.cut(length);
        let fragment = u16::from_be_bytes([fixed[6], fixed[7]]);
        let ip = Ip {
            source: Ipv4Address::new(fixed[12], fixed[13], fixed[14], fixed[15]),
            destination: Ipv4Address::new(fixed[16], fixed[17], fixed[18], fixed[19]),
            protocol: fixed[9],
            fragmented: fragment & 0x3fff != 0,
        };
        if self.style.verbose > 0 {
            header(fixed, packet.bytes, header_length, out)?;
        }
        let Ip { source, destination, protocol, .. } = ip;
        let payload = packet.behind(header_length);
        if fragment & 0x1fff != 0 {
            return write!(out, "{source} > {destination}: ip-proto-{protocol}");
        }
        match protocol {
            protocol::TCP => self.tcp(&ip, payload, out),
            protocol::UDP => self.udp(&ip, payload, out),
            _ => {
                write!(out, "{source} > {destination}: ")?;
                match protocol {
                    protocol::ICMP => self.icmp(payload, ip.fragmented, out),
                    _ => write!(out, " ip-proto-{protocol} {}", payload.length),
                }
            }
        }
    }

    /// A packet that an ICMP error quotes, perhaps only its beginning.
    pub(super) fn quoted(&mut self, packet: Part<'_>, out: &mut String) -> fmt::Result {
        let length = packet.word(2).map_or(packet.length, usize::from).max(packet.length);
        if self.quotes == MOST_QUOTES {
            return out.write_str("IP [...]");
        }
        self.quotes += 1;
        let printed = self.ipv4(Part { length, ..packet }, out);
        self.quotes -= 1;
        printed
    }

    fn udp(&self, ip: &Ip, packet: Part<'_>, out: &mut String) -> fmt::Result {
        let (Some(from), Some(to)) = (packet.word(0), packet.word(2)) else {
            return write!(out, "{} > {}: [|udp]", ip.source, ip.destination);
        };
        write!(out, "{}.{from} > {}.{to}: ", ip.source, ip.destination)?;
        if packet.length < 8 {
            return write!(out, "truncated-udp {}", packet.length);
        }
        let (Some(length), Some(sum)) = (packet.word(4), packet.word(6)) else {
            return out.write_str(" [|udp]");
        };
        let Some(length) = usize::from(length).checked_sub(8) else {
            return write!(out, "truncated-udplength {length}");
        };
        let there = packet.length - 8;
        if self.style.verbose > 1 && !ip.fragmented {
            if sum == 0 {
                out.write_str("[no cksum] ")?;
            } else if packet.partial {
                out.write_str("[partial udp cksum] ")?;
            } else if packet.is_whole() {
                match checksum::udp(ip.right_checksum(packet.cut(length + 8), 6)) {
                    right if right == sum => out.write_str("[udp sum ok] ")?,
                    right => write!(out, "[bad udp cksum 0x{sum:04x} -> 0x{right:04x}!] ")?,
                }
            }
        }
        if length > there && !ip.fragmented {
            return write!(out, "UDP, bad length {length} > {there}");
        }
        write!(out, "UDP, length {length}")
    }
}

/// What `-v` adds: `(tos 0x0, ttl 64, ..)` and a new line.
fn header(fixed: &[u8; 20], packet: &[u8], header_length: usize, out: &mut String) -> fmt::Result {
    let word = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    write!(out, "(tos 0x{:x}", fixed[1])?;
    out.write_str(match fixed[1] & 3 {
        1 => ",ECT(1)",
        2 => ",ECT(0)",
        3 => ",CE",
        _ => "",
    })?;
    if fixed[8] > 0 {
        write!(out, ", ttl {}", fixed[8])?;
    }
    let flags = match word(6) >> 13 {
        0 => "none",
        1 => "+",
        2 => "DF",
        3 => "+, DF",
        4 => "rsvd",
        5 => "+, rsvd",
        6 => "DF, rsvd",
        _ => "+, DF, rsvd",
    };
    let (id, offset) = (word(4), (word(6) & 0x1fff) * 8);
    let protocol = protocol_name(fixed[9]);
    write!(out, ", id {id}, offset {offset}, flags [{flags}], proto {protocol} ({})", fixed[9])?;
    write!(out, ", length {}", word(2))?;
    if let Some(header) = packet.get(..header_length) {
        if header_length > 20 {
            out.write_str(", options (")?;
            options(&header[20..], out)?;
            out.write_char(')')?;
        }
        let sum = checksum::sum(header);
        if sum != 0xffff {
            let right = !checksum::together(sum, !word(10));
            write!(out, ", bad cksum {:x} (->{right:x})!", word(10))?;
        }
    }
    out.write_str(")\n    ")
}

fn protocol_name(number: u8) -> &'static str {
    match number {
        1 => "ICMP",
        2 => "IGMP",
        4 => "IPIP",
        6 => "TCP",
        17 => "UDP",
        33 => "DCCP",
        41 => "IPv6",
        46 => "RSVP",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        88 => "EIGRP",
        89 => "OSPF",
        103 => "PIM",
        108 => "Compressed IP",
        112 => "VRRP",
        132 => "SCTP",
        136 => "UDP-Lite",
        _ => "unknown",
    }
}

fn options(mut options: &[u8], out: &mut String) -> fmt::Result {
    const RECORD_ROUTE: u8 = 7;
    const LOOSE_ROUTE: u8 = 131;
    const STRICT_ROUTE: u8 = 137;
    let mut separator = "";
    while let [kind, rest @ ..] = options {
        out.write_str(separator)?;
        separator = ",";
        let name = match *kind {
            0 => return out.write_str("EOL"),
            1 => "NOP",
            RECORD_ROUTE => "RR",
            68 => "timestamp",
            130 => "security",
            LOOSE_ROUTE => "LSRR",
            STRICT_ROUTE => "SSRR",
            148 => "RA",
            _ => "",
        };
        match name {
            "" => write!(out, "unknown {kind}")?,
            name => out.write_str(name)?,
        }
        if *kind == 1 {
            options = rest;
            continue;
        }
        let length = rest.first().map_or(0, |length| usize::from(*length));
        let Some((option, behind)) = options.split_at_checked(length).filter(|_| length >= 2) else {
            return write!(out, " [bad length {length}]");
        };
        if let (RECORD_ROUTE | LOOSE_ROUTE | STRICT_ROUTE, Some((pointer, addresses))) =
            (*kind, option[2..].split_first())
        {
            route(usize::from(*pointer), addresses, out)?;
        }
        options = behind;
    }
    Ok(())
}

/// The addresses of a recorded or wanted route; a comma follows those that `pointer` has passed.
fn route(pointer: usize, addresses: &[u8], out: &mut String) -> fmt::Result {
    let mut separator = " ";
    for (at, address) in (3..).step_by(4).zip(addresses.as_chunks().0) {
        write!(out, "{separator}{}", Ipv4Address::from_octets(*address))?;
        separator = if pointer > at + 1 { ", " } else { " " };
    }
    Ok(())
}
