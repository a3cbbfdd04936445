//! Ethernet frames as a test writes them: an IPv4 packet or an ARP packet between two MAC addresses (RFC 894, RFC 826).

use crate::datagram::Datagram;
use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress, Ipv4Address};
use std::fmt;

/// A frame and where it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub to: EthernetAddress,
    pub from: EthernetAddress,
    pub content: Content,
}

/// What a frame carries.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    Ip(Datagram),
    Arp(ArpRepr),
    /// Anything else: type and bytes.
    Other(u16, Vec<u8>),
}

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;

impl Frame {
    pub fn ip(from: EthernetAddress, to: EthernetAddress, packet: Datagram) -> Self {
        Self { to, from, content: Content::Ip(packet) }
    }

    /// An ARP request for `wanted`, broadcast.
    pub fn arp_request(from: EthernetAddress, address: Ipv4Address, wanted: Ipv4Address) -> Self {
        let request = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: from,
            source_protocol_addr: address,
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: wanted,
        };
        Self { to: EthernetAddress::BROADCAST, from, content: Content::Arp(request) }
    }

    /// The answer that a host with `mac` gives to an ARP request; `None` where this is none.
    pub fn arp_answer(&self, mac: EthernetAddress) -> Option<Self> {
        let Content::Arp(ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr,
            source_protocol_addr,
            target_protocol_addr,
            ..
        }) = self.content
        else {
            return None;
        };
        let reply = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: mac,
            source_protocol_addr: target_protocol_addr,
            target_hardware_addr: source_hardware_addr,
            target_protocol_addr: source_protocol_addr,
        };
        Some(Self { to: source_hardware_addr, from: mac, content: Content::Arp(reply) })
    }

    /// The packet inside, where it is one.
    pub fn datagram(&self) -> Option<&Datagram> {
        match &self.content {
            Content::Ip(packet) => Some(packet),
            _ => None,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let (kind, content) = match &self.content {
            Content::Ip(packet) => (IPV4, packet.bytes()),
            Content::Arp(repr) => {
                let mut bytes = vec![0; repr.buffer_len()];
                repr.emit(&mut ArpPacket::new_unchecked(&mut bytes));
                (ARP, bytes)
            }
            Content::Other(kind, bytes) => (*kind, bytes.clone()),
        };
        [&self.to.0[..], &self.from.0, &kind.to_be_bytes(), &content].concat()
    }

    /// The protocol of the IPv4 packet in a frame, whatever else is wrong with it.
    pub fn read_protocol(bytes: &[u8]) -> Option<u8> {
        bytes.get(23).copied().filter(|_| bytes[12..14] == IPV4.to_be_bytes())
    }

    /// Reads a frame of at least 14 bytes.
    ///
    /// # Panics
    /// With a shorter one.
    pub fn read(bytes: &[u8]) -> Self {
        let (header, payload) = bytes.split_at(14);
        let kind = u16::from_be_bytes([header[12], header[13]]);
        let other = || Content::Other(kind, payload.to_vec());
        let content = match kind {
            IPV4 => Datagram::read(payload).map_or_else(other, Content::Ip),
            ARP => ArpPacket::new_checked(payload)
                .and_then(|packet| ArpRepr::parse(&packet))
                .map_or_else(|_| other(), Content::Arp),
            _ => other(),
        };
        Self {
            to: EthernetAddress::from_bytes(&header[..6]),
            from: EthernetAddress::from_bytes(&header[6..12]),
            content,
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {}: ", self.from, self.to)?;
        match &self.content {
            Content::Ip(packet) => write!(f, "{packet:?}"),
            Content::Arp(repr) => write!(f, "{repr:?}"),
            Content::Other(kind, bytes) => write!(f, "type {kind:#06x} {bytes:02x?}"),
        }
    }
}
