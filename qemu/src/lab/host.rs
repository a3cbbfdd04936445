//! A host on a segment: a whole smoltcp stack with its own address, and the services that run on it.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::socket::AnySocket;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpCidr, Ipv4Cidr};

/// Frames a host may have ready for its cable.
const QUEUE: usize = 64;
const MTU: usize = 1514;

/// What answers on a host by itself.
pub trait Service {
    /// Looks after its sockets.
    fn poll(&mut self, sockets: &mut SocketSet<'static>);
}

/// A host.
pub struct Host {
    pub name: &'static str,
    pub mac: EthernetAddress,
    pub iface: Interface,
    pub sockets: SocketSet<'static>,
    services: Vec<Box<dyn Service>>,
    card: Card,
    next_port: u16,
}

impl Host {
    /// A host with addresses on its segment. Its first address is what it speaks from.
    pub fn new(name: &'static str, mac: [u8; 6], addresses: &[Ipv4Cidr], now: Instant) -> Host {
        let mac = EthernetAddress(mac);
        let mut card = Card::default();
        let mut config = Config::new(mac.into());
        // Sequence numbers and ports need to differ between hosts, and to be the same in each run.
        config.random_seed = mac.0.iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte));
        let mut iface = Interface::new(config, &mut card, now);
        iface.update_ip_addrs(|list| list.extend(addresses.iter().map(|address| IpCidr::Ipv4(*address))));
        Host {
            name,
            mac,
            iface,
            sockets: SocketSet::new(Vec::new()),
            services: Vec::new(),
            card,
            next_port: 49152,
        }
    }

    /// Sends what is not on its segment to `gateway`.
    pub fn via(mut self, gateway: Ipv4Addr) -> Host {
        self.iface.routes_mut().add_default_ipv4_route(gateway).expect("a new host has no routes");
        self
    }

    /// Runs a service.
    pub fn serve(&mut self, service: impl Service + 'static) {
        self.services.push(Box::new(service));
    }

    pub fn add<T: AnySocket<'static>>(&mut self, socket: T) -> SocketHandle {
        self.sockets.add(socket)
    }

    pub fn get<T: AnySocket<'static>>(&mut self, handle: SocketHandle) -> &mut T {
        self.sockets.get_mut(handle)
    }

    /// A local port that was not given out before.
    pub fn port(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }

    /// Takes a frame from the cable.
    pub fn hear(&mut self, frame: &[u8]) {
        let destination = EthernetAddress::from_bytes(&frame[..6]);
        if destination == self.mac || destination.is_broadcast() {
            self.card.received.push_back(frame.to_vec());
        }
    }

    /// Works until nothing is left to do now, and gives the frames for the cable.
    pub fn poll(&mut self, now: Instant) -> impl Iterator<Item = Vec<u8>> {
        loop {
            let progress = self.iface.poll(now, &mut self.card, &mut self.sockets);
            for service in &mut self.services {
                service.poll(&mut self.sockets);
            }
            if progress == smoltcp::iface::PollResult::None || self.card.sent.len() >= QUEUE {
                break;
            }
        }
        self.card.sent.drain(..)
    }

    /// How long nothing happens here unless a frame arrives.
    pub fn idle_for(&mut self, now: Instant) -> Option<Duration> {
        self.iface.poll_delay(now, &self.sockets)
    }
}

/// The host's own card: two queues.
#[derive(Default)]
struct Card {
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

impl phy::Device for Card {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Sending<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Received(frame), Sending(&mut self.sent)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sending<'_>> {
        (self.sent.len() < QUEUE).then_some(Sending(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

struct Received(Vec<u8>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

struct Sending<'a>(&'a mut Vec<Vec<u8>>);

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut frame = vec![0; length];
        let result = fill(&mut frame);
        self.0.push(frame);
        result
    }
}
