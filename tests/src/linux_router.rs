//! A Linux router in the network namespace of this thread, whose cards are taps in the test's hands.

use crate::{
    frame::{Content, Frame},
    namespace::sh,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use smoltcp::wire::{ArpOperation, ArpRepr, EthernetAddress, Ipv4Address};
use std::{io, os::fd::AsFd};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

/// The router. Its interfaces are eth0, eth1 and so on.
pub struct LinuxRouter {
    ports: Vec<SyncDevice>,
    sentinels: Vec<Ipv4Address>,
}

/// The sender of the sentinels. Nothing else uses it, so an ARP reply to it is never an answer to a test's frame.
const SENTINEL: EthernetAddress = EthernetAddress([0x02, 0xff, 0xff, 0xff, 0xff, 0xfe]);

/// How Linux is told to be no more than the router that a configuration describes: no IPv6, and no global limit on
/// ICMP errors beside `icmp_ratelimit`. Checksums are not the business of connection tracking here (RFC 4787
/// asks of a NAT that it pass a wrong one on), and a wild route back is judged by `rp_filter` alone.
const QUIET: &str = "
    sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
    sysctl -qw net.ipv4.icmp_msgs_per_sec=1000000 net.ipv4.icmp_msgs_burst=1000000
    sysctl -qw net.netfilter.nf_conntrack_checksum=0
    sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0
    ip link set lo up
";

impl LinuxRouter {
    /// A router with one card for each MAC address, all down. `sentinels` are addresses that a configuration
    /// will give to the cards: by the answer to an ARP probe for its own address a card shows that everything
    /// before it is done.
    pub fn new(macs: &[EthernetAddress], sentinels: &[Ipv4Address]) -> io::Result<Self> {
        assert_eq!(macs.len(), sentinels.len());
        sh(QUIET).map_err(io::Error::other)?;
        let open = |(number, mac): (usize, &EthernetAddress)| {
            let name = format!("eth{number}");
            let device = DeviceBuilder::new().name(name).layer(Layer::L2).packet_information(false);
            let tap = device.mac_addr(mac.0).enable(false).build_sync()?;
            tap.set_nonblocking(true)?;
            Ok(tap)
        };
        let ports = macs.iter().enumerate().map(open).collect::<io::Result<_>>()?;
        Ok(Self { ports, sentinels: sentinels.to_vec() })
    }

    /// Puts one frame on the wire of a card and gives every frame that left because of it, with its card.
    ///
    /// # Panics
    /// When the router does not answer the sentinel within two seconds.
    pub fn send(&mut self, port: usize, frame: &[u8]) -> Vec<(usize, Vec<u8>)> {
        self.ports[port].send(frame).expect("the tap takes a frame");
        for (tap, wanted) in self.ports.iter().zip(&self.sentinels) {
            let probe = Frame::arp_request(SENTINEL, Ipv4Address::UNSPECIFIED, *wanted);
            tap.send(&probe.bytes()).expect("the tap takes a frame");
        }
        let mut left = Vec::new();
        for (number, tap) in self.ports.iter().enumerate() {
            loop {
                let frame =
                    receive(tap).unwrap_or_else(|| panic!("eth{number} does not answer its sentinel"));
                if answers_sentinel(&frame) {
                    break;
                }
                left.push((number, frame));
            }
        }
        left
    }
}

fn receive(tap: &SyncDevice) -> Option<Vec<u8>> {
    let mut frame = vec![0xa5; 65536];
    loop {
        match tap.recv(&mut frame) {
            Ok(length) => {
                frame.truncate(length);
                return Some(frame);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut wait = [PollFd::new(tap.as_fd(), PollFlags::POLLIN)];
                if poll(&mut wait, PollTimeout::from(2000u16)) == Ok(0) {
                    return None;
                }
            }
            Err(error) => panic!("reading from a tap: {error}"),
        }
    }
}

fn answers_sentinel(frame: &[u8]) -> bool {
    let frame = Frame::read(frame);
    let reply =
        matches!(frame.content, Content::Arp(ArpRepr::EthernetIpv4 { operation: ArpOperation::Reply, .. }));
    reply && frame.to == SENTINEL
}
