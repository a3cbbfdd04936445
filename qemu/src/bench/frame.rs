//! Frames that the measurements send, byte for byte.

use std::net::Ipv4Addr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv4Packet, Icmpv4Repr, IpProtocol,
    Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket, UdpRepr,
};

/// From whom to whom, on the wire and beyond.
#[derive(Clone, Copy)]
pub struct Path {
    pub macs: (EthernetAddress, EthernetAddress),
    pub addresses: (Ipv4Addr, Ipv4Addr),
}

impl Path {
    /// An echo request.
    pub fn echo_request(self) -> Vec<u8> {
        let echo = Icmpv4Repr::EchoRequest { ident: 1, seq_no: 1, data: b"first" };
        self.ipv4(IpProtocol::Icmp, echo.buffer_len(), |payload| {
            echo.emit(&mut Icmpv4Packet::new_unchecked(payload), &ChecksumCapabilities::default());
        })
    }

    /// A datagram from `port` to the port of DNS, in a frame of 64 bytes with its check sequence.
    pub fn datagram(self, port: u16) -> Vec<u8> {
        const DATA: [u8; 18] = [0x5a; 18];
        let udp = UdpRepr { src_port: port, dst_port: 53 };
        self.ipv4(IpProtocol::Udp, udp.header_len() + DATA.len(), |payload| {
            let (source, destination) = self.addresses;
            udp.emit(
                &mut UdpPacket::new_unchecked(payload),
                &source.into(),
                &destination.into(),
                DATA.len(),
                |data| data.copy_from_slice(&DATA),
                &ChecksumCapabilities::default(),
            );
        })
    }

    /// A segment that asks for a connection between two ports.
    pub fn syn(self, (source_port, port): (u16, u16)) -> Vec<u8> {
        let tcp = TcpRepr {
            src_port: source_port,
            dst_port: port,
            control: TcpControl::Syn,
            seq_number: TcpSeqNumber(1),
            ack_number: None,
            window_len: u16::MAX,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        };
        self.ipv4(IpProtocol::Tcp, tcp.buffer_len(), |payload| {
            let (source, destination) = self.addresses;
            let mut segment = TcpPacket::new_unchecked(payload);
            tcp.emit(&mut segment, &source.into(), &destination.into(), &ChecksumCapabilities::default());
        })
    }

    fn ipv4(self, protocol: IpProtocol, length: usize, fill: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let ethernet =
            EthernetRepr { src_addr: self.macs.0, dst_addr: self.macs.1, ethertype: EthernetProtocol::Ipv4 };
        let ip = Ipv4Repr {
            src_addr: self.addresses.0,
            dst_addr: self.addresses.1,
            next_header: protocol,
            payload_len: length,
            hop_limit: 64,
        };
        let mut bytes = vec![0; ethernet.buffer_len() + ip.buffer_len() + length];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes);
        ethernet.emit(&mut frame);
        let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
        ip.emit(&mut packet, &ChecksumCapabilities::default());
        fill(packet.payload_mut());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_fills_the_smallest_frame() {
        let mac = EthernetAddress([2; 6]);
        let path = Path { macs: (mac, mac), addresses: ([192, 0, 2, 1].into(), [192, 0, 2, 2].into()) };
        let frame = path.datagram(5000);
        // The four bytes of the check sequence are the card's.
        assert_eq!(frame.len(), 60);
        assert!(qemu::lab::tuple::Tuple::of(&frame).is_some());
    }
}
