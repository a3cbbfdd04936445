//! A frame as a filter sees it: as libpcap's programs do, byte by byte, and without judging what they find.

use super::{Bytes, Family, Layer, Network, Question, Side, has_ports};
use crate::headers::ETHERNET_HEADER;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;

/// A frame, its IPv4 packet and what that carries.
pub struct View<'f> {
    head: &'f [u8],
    length: u32,
    received: bool,
    ethertype: u16,
    payload: &'f [u8],
    ip: Option<Ip<'f>>,
}

#[derive(Clone, Copy)]
struct Ip<'f> {
    protocol: u8,
    source: u32,
    destination: u32,
    /// What follows the header, unless this is a later fragment.
    transport: Option<&'f [u8]>,
}

/// The number in `size` bytes.
fn number(bytes: &[u8], offset: usize, size: usize) -> Option<u32> {
    let bytes = bytes.get(offset..offset + size)?;
    Some(bytes.iter().fold(0, |number, &byte| (number << 8) | u32::from(byte)))
}

impl<'f> View<'f> {
    pub fn of(head: &'f [u8], length: u32, received: bool) -> Self {
        let ethertype = number(head, 12, 2).unwrap_or_default() as u16;
        let payload = head.get(ETHERNET_HEADER..).unwrap_or_default();
        let ip = if ethertype == IPV4 { Ip::of(payload) } else { None };
        Self { head, length, received, ethertype, payload, ip }
    }

    pub fn answer(&self, question: &Question) -> bool {
        match *question {
            Question::EtherType(wanted) => self.ethertype == wanted,
            Question::Protocol(wanted) => self.ip.is_some_and(|ip| ip.protocol == wanted),
            Question::Station(side, station) => {
                let is = |at: usize| self.head.get(at..at + 6) == Some(&station);
                side.of(is(6), is(0))
            }
            Question::StationGroup => self.head.first().is_some_and(|first| first & 1 != 0),
            Question::StationBroadcast => self.head.get(..6) == Some(&[0xff; 6]),
            Question::Network(side, family, network) => self.is_of(side, family, network),
            Question::Ports(side, protocol, first, last) => self.has_port(side, protocol, first, last),
            Question::HostGroup => self.ip.is_some_and(|ip| ip.destination >> 28 >= 14),
            Question::AtLeast(length) => self.length >= length,
            Question::AtMost(length) => self.length <= length,
            Question::Received(received) => self.received == received,
            Question::Bytes(bytes) => self.compare(&bytes).unwrap_or(false),
        }
    }

    fn is_of(&self, side: Side, family: Family, network: Network) -> bool {
        let is = |address: u32| address & network.mask == network.address;
        match (family, self.ip) {
            (Family::Any | Family::Ip, Some(ip)) => side.of(is(ip.source), is(ip.destination)),
            (Family::Any | Family::Arp, None) if self.ethertype == ARP => {
                let at = |offset| number(self.payload, offset, 4).is_some_and(is);
                side.of(at(14), at(24))
            }
            _ => false,
        }
    }

    fn has_port(&self, side: Side, protocol: Option<u8>, first: u16, last: u16) -> bool {
        let Some(ip) = self.ip else { return false };
        let Some(transport) = ip.transport else { return false };
        let fits = protocol.map_or_else(|| has_ports(ip.protocol), |wanted| ip.protocol == wanted);
        let range = u32::from(first)..=u32::from(last);
        let is = |offset| number(transport, offset, 2).is_some_and(|port| range.contains(&port));
        fits && side.of(is(0), is(2))
    }

    fn compare(&self, bytes: &Bytes) -> Option<bool> {
        let header = match bytes.layer {
            Layer::Ethernet => self.head,
            Layer::Arp if self.ethertype == ARP => self.payload,
            Layer::Ip => self.ip.map(|_| self.payload)?,
            Layer::Transport(wanted) => self.ip.filter(|ip| ip.protocol == wanted)?.transport?,
            Layer::Arp => return None,
        };
        let number = number(header, bytes.offset.into(), bytes.size.into())?;
        Some(bytes.comparison.of(number & bytes.mask, bytes.value))
    }
}

impl<'f> Ip<'f> {
    fn of(packet: &'f [u8]) -> Option<Self> {
        let fixed: &[u8; 20] = packet.first_chunk()?;
        let later_fragment = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x1fff != 0;
        let header_length = usize::from(fixed[0] & 0x0f) * 4;
        Some(Self {
            protocol: fixed[9],
            source: u32::from_be_bytes([fixed[12], fixed[13], fixed[14], fixed[15]]),
            destination: u32::from_be_bytes([fixed[16], fixed[17], fixed[18], fixed[19]]),
            transport: packet.get(header_length..).filter(|_| !later_fragment),
        })
    }
}
