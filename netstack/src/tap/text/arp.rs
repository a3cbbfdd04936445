//! ARP as tcpdump prints it (RFC 826).

use super::{Part, Style};
use crate::interface::mac_text;
use alloc::string::String;
use core::fmt::{self, Write};
use smoltcp::wire::EthernetAddress;

/// Hardware and protocol: Ethernet and IPv4, with addresses of 6 and 4 bytes.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

pub fn print(packet: Part<'_>, style: &Style, out: &mut String) -> fmt::Result {
    if !style.ethernet {
        out.write_str("ARP, ")?;
    }
    let (Some(operation), Some(sender_mac), Some(sender), Some(target_mac), Some(target)) =
        (packet.word(6), packet.mac(8), packet.address(14), packet.mac(18), packet.address(24))
    else {
        return out.write_str("[|arp]");
    };
    if packet.bytes[..6] != ETHERNET_IPV4 {
        return write!(out, "Unknown Hardware or Protocol, length {}", packet.length);
    }
    if style.verbose > 0 {
        out.write_str("Ethernet (len 6), IPv4 (len 4), ")?;
    }
    match operation {
        1 => {
            write!(out, "Request who-has {target}")?;
            if target_mac != EthernetAddress([0; 6]) {
                write!(out, " ({})", mac_text(target_mac))?;
            }
            write!(out, " tell {sender}")?;
        }
        2 => write!(out, "Reply {sender} is-at {}", mac_text(sender_mac))?,
        other => write!(out, "Unknown ({other})")?,
    }
    write!(out, ", length {}", packet.length)
}
