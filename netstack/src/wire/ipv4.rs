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
