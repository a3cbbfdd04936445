//! What the unit tests of the plane share.

use crate::config::interface::{InterfaceAddress, Scope};
use alloc::vec::Vec;
use core::convert::Infallible;
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

/// The settings of every property test: the same cases in every run, and no files left behind.
pub fn property() -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x7275_7474_6572),
        failure_persistence: None,
        ..Default::default()
    }
}
