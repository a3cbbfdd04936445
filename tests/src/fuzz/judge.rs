//! What must hold of the router and of every frame that it sends, whatever it was given.

use crate::{
    bench::Bench,
    datagram::Checksum,
    frame::{Content, Frame},
    network::{LAN_SIDE, WAN, router_mac},
};
use netstack::interface::InterfaceId;
use smoltcp::{time::Duration, wire::Ipv4Cidr};

/// Packets that may wait inside the router: for MAC addresses, and for the first fragment of their datagram.
const HELD: usize = 128 + 64;
const INSIDE: Ipv4Cidr = Ipv4Cidr::new(LAN_SIDE, 24);

/// Looks at everything that comes out.
pub struct Judge {
    /// Buffers that the router had before anything happened.
    kept: usize,
}

impl Judge {
    pub fn new(bench: &Bench) -> Self {
        Self { kept: bench.kept_buffers() }
    }

    /// Looks at what has just left, and at what the router keeps.
    pub fn check(&mut self, bench: &Bench, left: &[(usize, Vec<u8>)]) {
        for (port, bytes) in left {
            check_frame(bench, *port, bytes);
        }
        assert!(bench.kept_buffers() <= HELD, "{} buffers are inside", bench.kept_buffers());
        let flows = &bench.router.connections().flows;
        assert!(flows.len() <= flows.places(), "{} flows", flows.len());
    }

    /// Lets so much time go by that nothing may be left of all that was.
    pub fn check_end(&mut self, bench: &mut Bench) {
        // First step by step, as neighbours are asked and given up, then all at once.
        for (time, late) in [(5, false), (10_000, true), (60, false)] {
            let time = Duration::from_secs(time);
            let left = if late { bench.sleep(time) } else { bench.pass(time) };
            self.check(bench, &left);
        }
        let connections = bench.router.connections();
        assert_eq!((connections.flows.len(), connections.mappings.len()), (0, 0), "flows and mappings left");
        assert_eq!(bench.kept_buffers(), self.kept, "buffers left inside");
    }
}

fn check_frame(bench: &Bench, port: usize, bytes: &[u8]) {
    assert!(bytes.len() >= 14, "{bytes:02x?}");
    let frame = Frame::read(bytes);
    assert_eq!(frame.from, router_mac(port), "{frame:?}");
    let packet = match &frame.content {
        Content::Ip(packet) => packet,
        Content::Arp(_) => return,
        Content::Other(..) => panic!("neither a packet nor ARP: {frame:?}"),
    };
    assert_eq!(packet.header_checksum, Checksum::Right, "{packet:?}");
    assert!(packet.ttl > 0, "{packet:?}");
    let mtu = bench.router.config().interface(InterfaceId(port as u16 + 1)).mtu;
    assert!(bytes.len() - 14 <= usize::from(mtu), "longer than {mtu}: {packet:?}");
    // The router itself may say who it is; its hosts may not be seen.
    let inner = INSIDE.contains_addr(&packet.source) && packet.source != LAN_SIDE;
    assert!(port != WAN || !inner, "an inner source leaves: {packet:?}");
}
