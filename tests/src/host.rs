//! A host with a real stack (smoltcp) on a simulated wire.

use crate::network::neighbor_mac;
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken},
    socket::{icmp, tcp, udp},
    time::Instant,
    wire::{IpCidr, Ipv4Address},
};
use std::collections::VecDeque;

/// Bytes that each direction of a TCP socket buffers.
const BUFFER: usize = 65_536;

/// The host.
pub struct Host {
    interface: Interface,
    wire: Wire,
    pub sockets: SocketSet<'static>,
}

/// The host's end of the wire: frames that came, and frames to go.
#[derive(Default)]
struct Wire {
    received: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
}

impl Host {
    /// A host with `address` in a network of `prefix` bits, whose way to everywhere else is `gateway`.
    pub fn new(address: Ipv4Address, prefix: u8, gateway: Ipv4Address) -> Self {
        let mut config = Config::new(neighbor_mac(0, address).into());
        config.random_seed = u64::from(u32::from(address));
        let mut wire = Wire::default();
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(address.into(), prefix)).expect("room for one address");
        });
        interface.routes_mut().add_default_ipv4_route(gateway).expect("room for one route");
        Self { interface, wire, sockets: SocketSet::new(Vec::new()) }
    }

    /// A TCP socket that waits for a connection to `port`.
    pub fn listen(&mut self, port: u16) -> SocketHandle {
        let handle = self.add_tcp();
        self.tcp(handle).listen(port).expect("the port is free");
        handle
    }

    /// A TCP socket that connects from `port` to `server`.
    pub fn connect(&mut self, port: u16, server: (Ipv4Address, u16)) -> SocketHandle {
        let handle = self.add_tcp();
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(self.interface.context(), server, port).expect("the port is free");
        handle
    }

    fn add_tcp(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        self.sockets.add(tcp::Socket::new(buffer(), buffer()))
    }

    pub fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// A UDP socket on `port`.
    pub fn bind(&mut self, port: u16) -> SocketHandle {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; BUFFER]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).expect("the port is free");
        self.sockets.add(socket)
    }

    pub fn udp(&mut self, handle: SocketHandle) -> &mut udp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// A socket that receives the ICMP errors about what UDP port `port` sends.
    pub fn errors_of_udp(&mut self, port: u16) -> SocketHandle {
        let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 64], vec![0; BUFFER]);
        let mut socket = icmp::Socket::new(buffer(), buffer());
        socket.bind(icmp::Endpoint::Udp(port.into())).expect("nobody else listens");
        self.sockets.add(socket)
    }

    pub fn icmp(&mut self, handle: SocketHandle) -> &mut icmp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// A frame arrives.
    pub fn receive(&mut self, frame: Vec<u8>) {
        self.wire.received.push_back(frame);
    }

    /// Works on what arrived and on what sockets want; gives the frames that leave.
    pub fn poll(&mut self, now: Instant) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        self.wire.sent.drain(..)
    }

    /// When `poll` has something to do next.
    pub fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        self.interface.poll_at(now, &self.sockets)
    }
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Received(frame), Sending(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Sending<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = vec![0xa5; length];
        let result = write(&mut frame);
        self.0.push_back(frame);
        result
    }
}
