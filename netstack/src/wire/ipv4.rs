//! The IPv4 header of a packet that the router makes itself (RFC 791 3.1), and the frame without addresses before it.

use crate::headers::ETHERNET_HEADER;
use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Address, Ipv4Packet};

/// Length of an IPv4 header without options.
pub const IPV4_HEADER: usize = 20;

/// What the header says; the rest follows from the frame.
#[derive(Clone, Copy, Debug)]
pub struct OwnHeader {
    /// Source address.
    pub source: Ipv4Address,
    /// Destination address.
    pub destination: Ipv4Address,
    /// Protocol of the payload.
    pub protocol: IpProtocol,
    /// Type of service.
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// Identification.
    pub identification: u16,
    /// The DF bit.
    pub dont_fragment: bool,
}

impl OwnHeader {
    /// Writes an Ethernet header without addresses and this header into a `frame` that has room for both. Gives the
    /// payload.
    pub fn write_frame(self, frame: &mut [u8]) -> &mut [u8] {
        write_ethernet(frame);
        self.write(&mut frame[ETHERNET_HEADER..])
    }

    /// Writes the header of a packet that fills `bytes`, which must have room for it. Gives the payload.
    pub fn write(self, bytes: &mut [u8]) -> &mut [u8] {
        let total_length = bytes.len() as u16;
        let mut ip = Ipv4Packet::new_unchecked(&mut *bytes);
        ip.set_version(4);
        ip.set_header_len(IPV4_HEADER as u8);
        ip.set_dscp(self.tos >> 2);
        ip.set_ecn(self.tos & 3);
        ip.set_total_len(total_length);
        ip.set_ident(self.identification);
        ip.clear_flags();
        ip.set_dont_frag(self.dont_fragment);
        ip.set_frag_offset(0);
        ip.set_hop_limit(self.ttl);
        ip.set_next_header(self.protocol);
        ip.set_src_addr(self.source);
        ip.set_dst_addr(self.destination);
        ip.fill_checksum();
        &mut bytes[IPV4_HEADER..]
    }
}

/// Writes an Ethernet header for IPv4 whose addresses are zero: they are filled in where the frame leaves.
pub fn write_ethernet(frame: &mut [u8]) {
    let mut ethernet = EthernetFrame::new_unchecked(frame);
    ethernet.set_src_addr(EthernetAddress([0; 6]));
    ethernet.set_dst_addr(EthernetAddress([0; 6]));
    ethernet.set_ethertype(EthernetProtocol::Ipv4);
}

/// The identifications of packets that may be fragmented: not to be foreseen, so that nobody can count through them what
/// the router sends to others (RFC 6274 3.5.2).
#[derive(Debug)]
pub struct Identifications(u64);

impl Identifications {
    /// A sequence that follows from a random `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The next one (xorshift64*, Vigna 2014).
    pub fn draw(&mut self) -> u16 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 48) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifications_neither_count_up_nor_repeat_soon() {
        let mut sequence = Identifications::new(0);
        let drawn: alloc::vec::Vec<u16> = (0..100).map(|_| sequence.draw()).collect();
        let different: alloc::collections::BTreeSet<u16> = drawn.iter().copied().collect();
        assert!(different.len() > 95, "{}", different.len());
        assert!(drawn.windows(2).filter(|pair| pair[1].wrapping_sub(pair[0]) < 16).count() < 5);
    }
}
