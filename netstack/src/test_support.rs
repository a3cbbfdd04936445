//! What the unit tests of the plane share.

use crate::{
    config::interface::{InterfaceAddress, Scope},
    headers::{protocol, tcp_flag},
    offload::{Offload, Partial, Segmentation, SegmentationKind},
    packet::Packet,
    wire::checksum,
};
use alloc::vec::Vec;
use core::{convert::Infallible, num::NonZeroU16};
use rand_core::TryRng;
use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{EthernetAddress, IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr},
};

/// Numbers that are the same in every run (xorshift64*).
pub struct TestRandom(u64);

/// A fresh source of them.
pub fn random() -> TestRandom {
    TestRandom(0x9e37_79b9_7f4a_7c15)
}

impl TryRng for TestRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|word| (word >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        Ok(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            *byte = self.try_next_u32()? as u8;
        }
        Ok(())
    }
}

/// MAC address of a host whose number is `host`.
pub const fn mac(host: u8) -> EthernetAddress {
    EthernetAddress([0x52, 0x54, 0, 0, 0, host])
}

/// An address of an interface, as `ip address add` makes it.
pub fn interface_address(cidr: &str) -> InterfaceAddress {
    let scope = Scope::Global;
    InterfaceAddress { cidr: cidr.parse().unwrap(), broadcast: None, scope, secondary: false, label: None }
}

/// A UDP frame from 192.168.1.2:5000 to 198.51.100.7:53 with so many bytes of payload, to the router's LAN card.
pub fn udp_frame(payload: usize) -> Vec<u8> {
    udp((Ipv4Address::new(192, 168, 1, 2), 5000), (Ipv4Address::new(198, 51, 100, 7), 53), payload)
}

/// A UDP frame with a right checksum from `mac(2)` to `mac(1)`.
pub fn udp(source: (Ipv4Address, u16), destination: (Ipv4Address, u16), payload: usize) -> Vec<u8> {
    let ip = Ipv4Repr {
        src_addr: source.0,
        dst_addr: destination.0,
        next_header: IpProtocol::Udp,
        payload_len: 8 + payload,
        hop_limit: 64,
    };
    let mut frame = alloc::vec![0xa5; 14 + 28 + payload];
    frame[..6].copy_from_slice(&mac(1).0);
    frame[6..12].copy_from_slice(&mac(2).0);
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    let mut packet = Ipv4Packet::new_unchecked(&mut frame[14..]);
    ip.emit(&mut packet, &ChecksumCapabilities::default());
    packet.set_dont_frag(false);
    packet.fill_checksum();
    UdpRepr { src_port: source.1, dst_port: destination.1 }.emit(
        &mut UdpPacket::new_unchecked(packet.payload_mut()),
        &ip.src_addr.into(),
        &ip.dst_addr.into(),
        payload,
        |bytes| bytes.fill(0x5a),
        &ChecksumCapabilities::default(),
    );
    frame
}

/// A frame from `mac(2)` to `mac(1)` that is yet to be finished: TCP with ACK from 192.168.1.2:5000 to 198.51.100.7:80, with
/// 12 bytes of options, whose checksum field holds the sum of the pseudo-header. The head buffer ends at `head`.
pub fn tcp_super_frame(payload: &[u8], segmentation: Option<Segmentation>, head: usize) -> Packet {
    let (source, destination) = (Ipv4Address::new(192, 168, 1, 2), Ipv4Address::new(198, 51, 100, 7));
    let mut frame = udp((source, 5000), (destination, 80), payload.len() + 24);
    frame[23] = protocol::TCP;
    frame[24..26].fill(0);
    let sum = !checksum::sum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame[38..66].fill(0);
    frame[38..42].copy_from_slice(&0xffff_ff00_u32.to_be_bytes());
    frame[46..48].copy_from_slice(&[8 << 4, tcp_flag::ACK]);
    frame[54..66].copy_from_slice(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    frame[66..].copy_from_slice(payload);
    let length = frame.len() as u16 - 34;
    let sum = checksum::pseudo_header(source, destination, protocol::TCP, length);
    frame[50..52].copy_from_slice(&sum.to_be_bytes());
    let (head, rest) = frame.split_at(head.min(frame.len()));
    let mut packet = Packet::from_frame(head);
    packet.extend(rest.chunks(1499).map(Packet::from_frame));
    packet.set_offload(Offload::Partial(Partial { start: 34, offset: 16, segmentation }));
    packet
}

/// How a card is told to cut TCP.
pub fn tcp_segmentation(size: u16) -> Option<Segmentation> {
    Some(Segmentation { kind: SegmentationKind::Tcp4, ecn: false, size: NonZeroU16::new(size)? })
}

/// The settings of every property test: the same cases in every run, and no files left behind.
pub fn property() -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x7275_7474_6572),
        failure_persistence: None,
        ..Default::default()
    }
}
