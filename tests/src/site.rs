//! A small site with real Linux machines: two on a LAN, the internet outside, and a router between them.
//!
//! ```text
//! SERVER 192.168.1.10 ─┐                                      ┌ 203.0.113.1 (the provider)
//! LAPTOP 192.168.1.11 ─┴ switch ─ eth0 [router] eth1 ─────────┤
//!                              .1              203.0.113.2    └ 198.51.100.7, 198.51.100.8 (the internet)
//! ```
//!
//! The router is the image in QEMU, on taps, or Linux, on veth pairs.

use crate::{
    datagram::Datagram,
    frame::Frame,
    namespace::sh,
    peer::{Peer, Program},
};
use qemu::{
    lab::{Lab, Plan},
    nic::{Cable, Nic},
};
use smoltcp::wire::EthernetAddress;
use std::{fs, path::PathBuf};

/// The taps of the router's cards, where it is the image.
const TAPS: [&str; 2] = ["lan0", "wan0"];

/// The MAC address of the router's card with this number, where it is the image.
pub fn router_mac(card: usize) -> EthernetAddress {
    EthernetAddress(Nic::new(card, Cable::Tap(TAPS[card].into())).mac)
}

/// The site.
pub struct Site {
    /// 192.168.1.10.
    pub server: Peer,
    /// 192.168.1.11.
    pub laptop: Peer,
    /// The provider and what is behind it.
    pub internet: Peer,
    router: Router,
}

/// What routes lives as long as the site.
enum Router {
    Rutter(Box<Lab>),
    Linux { _router: Peer },
}

impl Site {
    /// A site whose router is the image, with this configuration.
    ///
    /// # Panics
    /// Where the image does not boot.
    pub fn with_rutter(name: &str, config: &str) -> Self {
        Self::with_plan(Plan { config: Some(config.into()), ..Plan::new(name) })
    }

    /// A site whose router is the image in this machine, whose cards the site makes.
    ///
    /// # Panics
    /// Where the image does not boot.
    pub fn with_plan(plan: Plan) -> Self {
        for tap in TAPS {
            sh(&format!("ip tuntap add {tap} mode tap vnet_hdr multi_queue; ip link set {tap} up"))
                .expect("taps can be made");
        }
        let cables = TAPS.map(|tap| Cable::Tap(tap.into())).to_vec();
        let lab = Lab::boot(Plan { nics: 0, cables, ..plan }).expect("the image boots");
        Self::around(Router::Rutter(Box::new(lab)))
    }

    /// A site whose router is Linux, after this script.
    pub fn with_linux(script: &str) -> Self {
        let router = Peer::new();
        for (ours, theirs) in [("lan0", "eth0"), ("wan0", "eth1")] {
            sh(&format!("ip link add {ours} type veth peer name {theirs} netns {}", router.id()))
                .expect("veth pairs can be made");
        }
        router.sh(script);
        Self::around(Router::Linux { _router: router })
    }

    /// Puts the machines at the other ends of lan0 and wan0.
    fn around(router: Router) -> Self {
        let [server, laptop, internet] = std::array::from_fn(|_| Peer::new());
        sh(&format!(
            "ip link add switch type bridge
             ip link add server type veth peer name eth0 netns {}
             ip link add laptop type veth peer name eth0 netns {}
             for port in lan0 server laptop; do ip link set $port master switch; ip link set $port up; done
             ip link set switch up
             ip link set wan0 netns {}",
            server.id(),
            laptop.id(),
            internet.id()
        ))
        .expect("a bridge can be made");
        for (peer, address) in [(&server, "192.168.1.10/24"), (&laptop, "192.168.1.11/24")] {
            peer.sh(&format!(
                "ip addr add {address} dev eth0; ip link set eth0 up; ip route add default via 192.168.1.1"
            ));
        }
        internet.sh("
            ip addr add 203.0.113.1/24 dev wan0; ip link set wan0 up
            ip addr add 198.51.100.7/32 dev lo; ip addr add 198.51.100.8/32 dev lo
            ip route add 192.168.1.0/24 via 203.0.113.2
        ");
        let site = Self { server, laptop, internet, router };
        // A bridge forwards at once, but a card may still be coming up on either side.
        site.laptop.sh("ping -q -c 1 -i 0.2 -w 20 192.168.1.1");
        site
    }

    /// The machine with the router, where it is the image.
    pub fn lab(&mut self) -> &mut Lab {
        match &mut self.router {
            Router::Rutter(lab) => lab,
            Router::Linux { .. } => panic!("this router is Linux"),
        }
    }

    /// All went well.
    pub fn finish(self) {
        if let Router::Rutter(lab) = self.router {
            lab.finish();
        }
    }
}

/// What goes over a machine's interface, from when this is made.
pub struct Capture {
    file: PathBuf,
    tcpdump: Program,
}

impl Capture {
    pub fn start(peer: &Peer, interface: &str) -> Self {
        let file = std::env::temp_dir().join(format!("rutter-{}-{interface}.pcap", peer.id()));
        let words = "--immediate-mode -B 32768 -U -Z root -n -s 2000";
        let line = format!("tcpdump -i {interface} {words} -w {}", file.display());
        Self { tcpdump: peer.start(&line, "listening on"), file }
    }

    /// Ends it; gives the packets. Read pcap-savefile(5).
    pub fn end(self) -> Vec<Datagram> {
        self.tcpdump.end();
        let bytes = fs::read(&self.file).expect("tcpdump has written its file");
        // An error would leave a file in the folder for temporary ones.
        let _ = fs::remove_file(&self.file);
        let mut packets = Vec::new();
        let mut rest = bytes.get(24..).expect("a file header");
        while let Some((header, behind)) = rest.split_first_chunk::<16>() {
            let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
            let (frame, behind) = behind.split_at(length);
            packets.extend(Frame::read(frame).datagram().cloned());
            rest = behind;
        }
        packets
    }
}
