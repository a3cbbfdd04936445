//! What must hold of the router and of every frame that it sends, whatever it was given.

use crate::{
    bench::Bench,
    datagram::Checksum,
    frame::{Content, Frame},
    network::{LAN_SIDE, WAN, router_mac},
};
use netstack::{
    interface::InterfaceId,
    offload::{Offload, Partial},
};
use smoltcp::{time::Duration, wire::Ipv4Cidr};

/// Buffers of packets that may wait inside the router: for MAC addresses, and for the first fragment of their datagram; and those
/// beyond the first of each.
const HELD: usize = 128 + 64 + 32 + 16;
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

    /// The same for frames some of which are yet to be finished: these are as long as their segments will be.
    pub fn check_unfinished(&mut self, bench: &Bench, left: &[(usize, Vec<u8>, Offload)]) {
        for (port, bytes, offload) in left {
            let segments = matches!(offload, Offload::Partial(Partial { segmentation: Some(_), .. }));
            check_content(*port, bytes);
            assert!(segments || fits(bench, *port, bytes), "{offload:?} {bytes:02x?}");
        }
        self.check(bench, &[]);
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
    check_content(port, bytes);
    assert!(fits(bench, port, bytes), "too long for eth{port}: {bytes:02x?}");
}

fn fits(bench: &Bench, port: usize, bytes: &[u8]) -> bool {
    let mtu = bench.router.config().interface(InterfaceId(port as u16 + 1)).mtu;
    bytes.len() - 14 <= usize::from(mtu)
}

fn check_content(port: usize, bytes: &[u8]) {
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
    // The router itself may say who it is; its hosts may not be seen.
    let inner = INSIDE.contains_addr(&packet.source) && packet.source != LAN_SIDE;
    assert!(port != WAN || !inner, "an inner source leaves: {packet:?}");
}
