//! Real TCP between Linux machines through cards of all kinds: with and without checksums, segmentation, merged buffers.

use qemu::lab::{Lab, Plan};
use std::{
    fmt::Write as _,
    io::{Read, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
};
use tests::{
    datagram::{Body, Checksum},
    driver::counter,
    namespace::{in_namespace, sh},
    peer::Peer,
    site::Capture,
};

/// What a card does not have, as QEMU's options say it.
const FULL: &str = "";
const NO_HOST_TSO: &str = ",host_tso4=off,host_tso6=off,host_ecn=off";
const NO_CSUM: &str = ",csum=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off";
const NO_GUEST_TSO: &str = ",guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off";
const NO_GUEST_CSUM: &str = ",guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off";
const NO_MERGING: &str = ",mrg_rxbuf=off";
const NOTHING: &str = ",csum=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,guest_csum=off,\
                       guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,mrg_rxbuf=off";

const INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const PORT: u16 = 9000;

/// Bytes that go each way.
const LENGTH: usize = 3_000_000;
/// The longest IP packet on the cables between the machines.
const MTU: usize = 1500;

/// The kinds of the cards on the LAN and on the WAN, and the MTU that the router has on its WAN.
const MATRIX: [(&str, &str, usize); 10] = [
    (FULL, FULL, MTU),
    (FULL, NOTHING, MTU),
    (NOTHING, FULL, MTU),
    (NOTHING, NOTHING, MTU),
    (FULL, NO_HOST_TSO, MTU),
    (NO_CSUM, FULL, MTU),
    (NO_GUEST_TSO, NO_GUEST_CSUM, MTU),
    (NO_MERGING, FULL, MTU),
    (FULL, FULL, 1400),
    (FULL, NO_CSUM, 1400),
];

/// A machine on the LAN, one outside, and the router between them.
struct Line {
    inside: Peer,
    outside: Peer,
    lab: Lab,
}

/// A tap for the card, and a machine behind a bridge. The bridge's cable to the machine takes neither frames to be cut nor
/// without checksums: so what is captured there is what a wire would have seen.
fn plug(tap: &str, addresses: &str, peer: &Peer) {
    sh(&format!(
        "ip tuntap add {tap} mode tap vnet_hdr
         ip link add {tap}-bridge type bridge
         ip link add {tap}-cable type veth peer name eth0 netns {}
         ethtool -K {tap}-cable tx off
         for port in {tap} {tap}-cable; do ip link set $port master {tap}-bridge; ip link set $port up; done
         ip link set {tap}-bridge up",
        peer.id()
    ))
    .expect("a bridge can be made");
    peer.sh(&format!("ip link set eth0 up\n{addresses}"));
}

impl Line {
    fn boot(number: usize, (lan, wan, mtu): (&str, &str, usize)) -> Self {
        let (inside, outside) = (Peer::new(), Peer::new());
        plug("lan", "ip addr add 192.168.1.10/24 dev eth0; ip route add default via 192.168.1.1", &inside);
        plug("wan", "ip addr add 203.0.113.1/24 dev eth0", &outside);
        let mut more = Vec::new();
        for (tap, features, last) in [("lan", lan, 1), ("wan", wan, 2)] {
            more.extend(["-netdev".into(), format!("tap,id={tap},ifname={tap},script=no,downscript=no")]);
            let card = format!("virtio-net-pci,netdev={tap},mac=02:00:00:00:00:0{last},romfile={features}");
            more.extend(["-device".into(), card]);
        }
        let config = format!(
            "ip addr add 192.168.1.1/24 dev eth0
             ip addr add 203.0.113.2/24 dev eth1
             ip link set eth0 up
             ip link set eth1 mtu {mtu} up
             iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
             sysctl -w net.ipv4.ip_forward=1"
        );
        let more = more.into_iter().map(Into::into).collect();
        let name = format!("offload-{number}");
        let lab = Lab::boot(Plan { nics: 0, more, config: Some(config), ..Plan::new(&name) });
        let line = Self { inside, outside, lab: lab.expect("the image boots") };
        line.inside.sh("ping -q -c 1 -w 20 203.0.113.1");
        line
    }
}

/// Byte `at` of what is sent: no stretch of it is like another.
fn byte(at: usize) -> u8 {
    (at as u32).wrapping_mul(0x9e37_79b1).to_be_bytes()[0]
}

/// Sends [`LENGTH`] bytes through a connection that `inside` opened, one way or the other; all of it must come out as it went in.
fn transfer(line: &Line, upload: bool) {
    let listener = line.outside.run(|| TcpListener::bind((OUTSIDE, PORT)).expect("a free port"));
    let near = line.inside.run(|| TcpStream::connect((OUTSIDE, PORT)).expect("the router forwards"));
    let (far, _) = listener.accept().expect("a connection");
    let (mut from, mut to) = if upload { (near, far) } else { (far, near) };
    let sender = thread::spawn(move || {
        let bytes: Vec<u8> = (0..LENGTH).map(byte).collect();
        from.write_all(&bytes).expect("the connection lives");
    });
    let mut bytes = Vec::new();
    to.read_to_end(&mut bytes).expect("the connection lives");
    sender.join().expect("all was sent");
    let wrong = bytes.iter().enumerate().position(|(at, found)| *found != byte(at));
    assert_eq!((bytes.len(), wrong), (LENGTH, None), "content");
}

/// What is wrong with what a receiver was sent; and how many segments with payload that were.
fn judge(capture: Capture, receiver: Ipv4Addr, mtu: usize) -> (String, usize) {
    let (mut wrong, mut segments) = (String::new(), 0);
    for packet in capture.end().into_iter().filter(|packet| packet.destination == receiver) {
        let Body::Tcp { payload, .. } = &packet.body else { continue };
        let length = packet.bytes().len();
        segments += usize::from(!payload.is_empty());
        if packet.header_checksum != Checksum::Right || !packet.checksums_are_right() || length > mtu {
            let _ = writeln!(wrong, "{length} bytes: {packet:?}");
        }
    }
    (wrong, segments)
}

#[test]
fn every_mix_of_cards_carries_tcp_as_a_wire_would() {
    in_namespace(&["ip", "ping", "tcpdump", "ethtool"], || {
        for (number, kinds) in MATRIX.into_iter().enumerate() {
            let what = format!("{number}: {kinds:?}");
            let (lan, wan, mtu) = kinds;
            let mut line = Line::boot(number, kinds);
            for (upload, receiver, address, mtu) in
                [(true, &line.outside, OUTSIDE, mtu), (false, &line.inside, INSIDE, MTU)]
            {
                let capture = Capture::start(receiver, "eth0");
                transfer(&line, upload);
                let (wrong, segments) = judge(capture, address, mtu);
                assert_eq!(wrong, "", "{what}, upload: {upload}");
                assert!(segments >= LENGTH / mtu, "{what}, upload: {upload}: {segments} segments");
            }
            // Frames of many segments pass where both cards can, and come from no card that cannot.
            let unsegmented = counter(&mut line.lab, "eth0", "rx_queue_0_gso");
            assert_eq!(unsegmented > 0, ![NOTHING, NO_GUEST_TSO, NO_MERGING].contains(&lan), "{what}");
            let whole = counter(&mut line.lab, "eth1", "tx_queue_0_gso");
            assert_eq!(whole > 0, unsegmented > 0 && wan == FULL, "{what}");
            line.lab.finish();
            sh("for side in lan wan; do ip link del $side; ip link del $side-bridge; done
                for side in lan wan; do ip link del $side-cable || true; done")
            .expect("what was made can be unmade");
        }
    });
}
