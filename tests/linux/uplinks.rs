//! Two providers, and the usual script for them, run as it is by Linux and by rutter.
//!
//! ```text
//! laptop 192.168.1.10 ── eth0 [router] eth1 .2 ── 203.0.113.1, the first provider   ─┐
//!                          .1          eth2 .1 ── 10.10.0.5,   the second provider  ─┴ 198.51.100.7
//! ```
//!
//! Each provider has a host of the same address behind it: what comes by the wrong one is seen, or refused.

use crate::{home_gateway::curl, web::who_are_you};
use qemu::{
    lab::{Lab, Plan},
    nic::Cable,
};
use tests::{
    namespace::{in_namespace, sh},
    peer::Peer,
};

const ADDRESSES: &str = "
sysctl -q -w net.ipv4.conf.all.rp_filter=0
ip addr add 192.168.1.1/24 dev eth0
ip addr add 203.0.113.2/24 dev eth1
ip addr add 10.10.0.1/24 dev eth2
ip link set eth0 up
ip link set eth1 up
ip link set eth2 up
sysctl -q -w net.ipv4.ip_forward=1
";
const SCRIPT: &str = include_str!("../data/two-uplinks.sh");

const CABLES: [&str; 3] = ["lan0", "wan0", "wan1"];
const OUTER: [&str; 2] = ["203.0.113.2", "10.10.0.1"];

enum Router {
    Rutter(Box<Lab>),
    Linux(Peer),
}

impl Router {
    fn rutter() -> Self {
        for cable in CABLES {
            sh(&format!("ip tuntap add {cable} mode tap vnet_hdr; ip link set {cable} up")).expect("a tap");
        }
        let cables = CABLES.map(|tap| Cable::Tap(tap.into())).to_vec();
        let config = Some([ADDRESSES, SCRIPT].concat());
        let plan = Plan { nics: 0, cables, config, ..Plan::new("linux-uplinks") };
        Self::Rutter(Box::new(Lab::boot(plan).expect("the image boots")))
    }

    fn linux() -> Self {
        let router = Peer::new();
        for (number, cable) in CABLES.into_iter().enumerate() {
            sh(&format!("ip link add {cable} type veth peer name eth{number} netns {}", router.id()))
                .expect("veth pairs can be made");
        }
        router.sh(&[ADDRESSES, SCRIPT].concat());
        Self::Linux(router)
    }

    fn run(&mut self, command: &str) {
        match self {
            Self::Rutter(lab) => lab.commands(command).expect("the console answers"),
            Self::Linux(peer) => drop(peer.sh(command)),
        }
    }
}

/// The different answers to so many requests of the laptop, in order.
fn answers(laptop: &Peer, requests: usize) -> Vec<String> {
    let mut answers: Vec<_> = (0..requests).map(|_| curl(laptop, "http://198.51.100.7/")).collect();
    answers.sort();
    answers.dedup();
    answers
}

/// Puts the machines around the router, tries everything that the script is about, and takes an uplink away.
fn try_all(router: &mut Router) {
    let [laptop, first, second] = std::array::from_fn(|_| Peer::new());
    let at = |peer: &Peer, cable, script: &str| {
        sh(&format!("ip link set {cable} netns {}", peer.id())).expect("a cable can be moved");
        peer.sh(&format!("ip link set {cable} up\n{script}"));
    };
    at(&laptop, "lan0", "ip addr add 192.168.1.10/24 dev lan0; ip route add default via 192.168.1.1");
    at(&first, "wan0", "ip addr add 203.0.113.1/24 dev wan0; ip addr add 198.51.100.7/32 dev lo");
    at(&second, "wan1", "ip addr add 10.10.0.5/24 dev wan1; ip addr add 198.51.100.7/32 dev lo");
    laptop.sh("ping -q -c 1 -i 0.2 -w 20 203.0.113.1");
    who_are_you(&laptop, "laptop", "192.168.1.10:80");
    who_are_you(&first, "first", "198.51.100.7:80");
    who_are_you(&second, "second", "198.51.100.7:80");

    assert_eq!(answers(&laptop, 32), ["first sees 203.0.113.2", "second sees 10.10.0.1"]);
    for (provider, outer) in [&first, &second].into_iter().zip(OUTER) {
        for _ in 0..3 {
            let forwarded = curl(provider, &format!("--interface 198.51.100.7 http://{outer}:8080/"));
            assert_eq!(forwarded, "laptop sees 198.51.100.7", "by {outer}");
        }
        provider.sh(&format!("ping -q -c 2 -i 0.2 -w 10 -I 198.51.100.7 {outer}"));
    }
    router.run("ip link set eth2 down");
    assert_eq!(answers(&laptop, 8), ["first sees 203.0.113.2"]);
}

#[test]
fn the_script_for_two_providers_does_on_rutter_what_it_does_on_linux() {
    in_namespace(&["ip", "iptables", "curl", "ping"], || {
        Peer::new().run(|| try_all(&mut Router::linux()));
        let mut router = Router::rutter();
        try_all(&mut router);
        if let Router::Rutter(lab) = router {
            lab.finish();
        }
    });
}
