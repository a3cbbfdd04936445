//! What an attacker makes frames of: random numbers, the stations of a wire, and what may be known about the victim.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use smoltcp::wire::{EthernetAddress, Ipv4Address};
use std::net::SocketAddrV4;
use tests::{
    datagram::{Datagram, Endpoint},
    frame::{Content, Frame},
};

/// The dice of one attack. All of them fall the same in each run.
pub struct Dice {
    /// How many frames were made before this one.
    pub number: u64,
    /// The router's card on this wire.
    pub router: EthernetAddress,
    /// A station on this wire.
    pub station: EthernetAddress,
    /// The connection that has to go on, as it is seen from outside: the translated client, the server.
    pub flow: (Endpoint, Endpoint),
    random: StdRng,
}

impl Dice {
    pub fn new(router: EthernetAddress, station: EthernetAddress, client: SocketAddrV4) -> Self {
        // The port was free, so that it is kept.
        let flow = ((OUTER, client.port()), (SERVER, 9000));
        Self { number: 0, router, station, flow, random: StdRng::seed_from_u64(4732) }
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u32) -> u32 {
        self.random.random_range(0..end)
    }

    pub fn word(&mut self) -> u32 {
        self.random.random()
    }

    pub fn port(&mut self) -> u16 {
        self.random.random_range(1..=u16::MAX)
    }

    /// Up to `most` random bytes.
    pub fn bytes(&mut self, most: u32) -> Vec<u8> {
        let length = self.below(most + 1);
        (0..length).map(|_| self.random.random()).collect()
    }

    /// An address that may be somebody's on the internet.
    pub fn stranger(&mut self) -> Ipv4Address {
        Ipv4Address::from_bits(self.random.random_range(0x0b00_0000..0x6400_0000))
    }

    pub fn mac(&mut self) -> EthernetAddress {
        let [a, b, c, d] = self.word().to_be_bytes();
        EthernetAddress([2, 0xad, a, b, c, d])
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u32) as usize]
    }

    /// A packet to the router's card.
    pub fn ip(&self, packet: Datagram) -> Vec<u8> {
        Frame::ip(self.station, self.router, packet).bytes()
    }

    /// Anything, to anybody.
    pub fn frame(&self, to: EthernetAddress, kind: u16, content: Vec<u8>) -> Vec<u8> {
        Frame { to, from: self.station, content: Content::Other(kind, content) }.bytes()
    }
}

/// The router's addresses, those of the machines on its LAN, and what is outside.
pub const INNER: Ipv4Address = Ipv4Address::new(192, 168, 1, 1);
pub const OUTER: Ipv4Address = Ipv4Address::new(203, 0, 113, 2);
pub const LAPTOP: Ipv4Address = Ipv4Address::new(192, 168, 1, 11);
pub const PROVIDER: Ipv4Address = Ipv4Address::new(203, 0, 113, 1);
pub const SERVER: Ipv4Address = Ipv4Address::new(198, 51, 100, 7);
