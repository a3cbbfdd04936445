//! Packets on the cables of a machine that stands in the network of `tests::network`.

use qemu::lab::{Lab, Plan};
use tests::datagram::Datagram;
use tests::frame::Frame;
use tests::network::{NETWORK, neighbor_mac};

/// A machine in the test network, with further commands in its configuration.
pub fn network(name: &str, more: &str) -> Plan {
    Plan { nics: 3, config: Some(format!("{NETWORK}{more}")), ..Plan::new(name) }
}

/// Sends a packet to the router's card `port`, from the neighbour there.
pub fn send(lab: &mut Lab, port: usize, packet: &Datagram) {
    let frame = Frame::ip(neighbor_mac(port, packet.source), lab.segments[port].router, packet.clone());
    lab.inject(port, &frame.bytes()).unwrap();
}

/// The packets that left the router's card `port` so far.
pub fn left(lab: &Lab, port: usize) -> impl Iterator<Item = Datagram> {
    let frames = lab.segments[port].seen.iter().filter(|sighting| sighting.from_router);
    frames.filter_map(|sighting| Frame::read(&sighting.frame).datagram().cloned())
}

/// Waits for the first packet that leaves the router's card `port`.
pub fn first(lab: &mut Lab, port: usize) -> Datagram {
    lab.until(&format!("a packet from eth{port}"), |lab| left(lab, port).next()).unwrap()
}
