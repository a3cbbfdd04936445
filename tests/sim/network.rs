//! Real stacks on both sides of one, two and three routers, on wires that are not always kind.

use crate::reassemble;
use smoltcp::{
    iface::SocketHandle,
    time::Duration,
    wire::{Icmpv4DstUnreachable, Icmpv4Message, Icmpv4Packet, IpAddress, Ipv4Address},
};
use tests::{
    bench::Bench,
    datagram::*,
    frame::Frame,
    host::Host,
    network::{neighbor_mac, router_mac},
    world::{End, Wire, World},
};

const fn ip(a: u8, b: u8, c: u8, d: u8) -> Ipv4Address {
    Ipv4Address::new(a, b, c, d)
}

const CLIENT: Ipv4Address = ip(192, 168, 1, 10);
const SERVER: Ipv4Address = ip(203, 0, 113, 80);
const MINUTE: Duration = Duration::from_secs(60);

/// A gateway whose eth0 is 192.168.1.1/24 and whose eth1 is `outside`, with masquerade; `more` follows.
fn gateway(inside: &str, outside: &str, gateway: &str) -> Bench {
    Bench::new(
        2,
        &format!(
            "ip addr add {inside} dev eth0
ip addr add {outside} dev eth1
ip link set eth0 up
ip link set eth1 up
ip route add default via {gateway}
sysctl -w net.ipv4.ip_forward=1
iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
"
        ),
    )
}

/// A client and a server with one gateway between them. The wires are number 0 (LAN) and 1.
fn behind_one_gateway(wire: impl Fn(&[End]) -> Wire) -> World {
    let mut world = World::new(1);
    let client = world.add_host(Host::new(CLIENT, 24, ip(192, 168, 1, 1)));
    let server = world.add_host(Host::new(SERVER, 24, ip(203, 0, 113, 1)));
    let router = world.add_router(gateway("192.168.1.1/24", "203.0.113.2/24", "203.0.113.80"));
    world.add_wire(wire(&[client, End::Router(router, 0)]));
    world.add_wire(wire(&[server, End::Router(router, 1)]));
    world
}

/// The same with a second gateway that translates once more.
fn behind_two_gateways(wire: impl Fn(&[End]) -> Wire) -> World {
    let mut world = World::new(2);
    let client = world.add_host(Host::new(CLIENT, 24, ip(192, 168, 1, 1)));
    let server = world.add_host(Host::new(SERVER, 24, ip(203, 0, 113, 1)));
    let home = world.add_router(gateway("192.168.1.1/24", "100.64.0.2/24", "100.64.0.1"));
    let carrier = world.add_router(gateway("100.64.0.1/24", "203.0.113.2/24", "203.0.113.80"));
    world.add_wire(wire(&[client, End::Router(home, 0)]));
    world.add_wire(wire(&[End::Router(home, 1), End::Router(carrier, 0)]));
    world.add_wire(wire(&[End::Router(carrier, 1), server]));
    world
}

/// A download from host 1, port 80, to host 0.
struct Download {
    client: SocketHandle,
    server: SocketHandle,
    sent: usize,
    received: usize,
    length: usize,
}

/// The byte of a download at place `at`.
fn content(at: usize) -> u8 {
    (at ^ at >> 8 ^ at >> 16) as u8
}

impl Download {
    fn start(world: &mut World, port: u16, length: usize) -> Self {
        let server = world.hosts[1].listen(80);
        let client = world.hosts[0].connect(port, (SERVER, 80));
        Self { client, server, sent: 0, received: 0, length }
    }

    /// Lets both sides do what they can; `true` once all has arrived. What arrives is checked.
    fn step(&mut self, world: &mut World) -> bool {
        let server = world.hosts[1].tcp(self.server);
        while server.can_send() && self.sent < self.length {
            let piece: Vec<u8> = (self.sent..self.length).take(4096).map(content).collect();
            self.sent += server.send_slice(&piece).expect("the connection is open");
        }
        let client = world.hosts[0].tcp(self.client);
        while client.can_recv() {
            let received = &mut self.received;
            let check = |bytes: &mut [u8]| {
                assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == content(*received + at)));
                *received += bytes.len();
                (bytes.len(), ())
            };
            client.recv(check).expect("it can receive");
        }
        self.received == self.length
    }

    #[track_caller]
    fn finish(&mut self, world: &mut World, limit: Duration) {
        world.run_until(limit, |world| self.step(world));
    }
}

#[test]
fn a_download_passes_one_translation() {
    let mut world = behind_one_gateway(Wire::new);
    Download::start(&mut world, 40000, 1_000_000).finish(&mut world, MINUTE);
    let seen = world.wire(1).seen.iter().filter_map(|frame| Frame::read(frame).datagram().cloned());
    let sources: Vec<_> = seen.filter(|packet| packet.source != SERVER).map(|packet| packet.source).collect();
    assert!(!sources.is_empty() && sources.iter().all(|source| *source == ip(203, 0, 113, 2)));
}

#[test]
fn a_download_passes_two_translations() {
    let mut world = behind_two_gateways(Wire::new);
    Download::start(&mut world, 40000, 1_000_000).finish(&mut world, MINUTE);
}

#[test]
fn a_download_survives_loss_and_reordering_on_every_wire() {
    let mut world =
        behind_two_gateways(|ends| Wire { jitter: Duration::from_millis(3), loss: 20, ..Wire::new(ends) });
    Download::start(&mut world, 40000, 300_000).finish(&mut world, MINUTE * 20);
}

#[test]
fn many_downloads_share_one_outer_address() {
    let mut world = behind_one_gateway(Wire::new);
    let mut downloads: Vec<_> =
        (0..20).map(|number| Download::start(&mut world, 40000 + number, 20_000)).collect();
    world.run_until(MINUTE, |world| {
        let done: Vec<_> = downloads.iter_mut().map(|download| download.step(world)).collect();
        done.into_iter().all(|done| done)
    });
}

#[test]
fn a_rule_in_the_middle_of_a_download_stops_it_and_its_removal_lets_it_go_on() {
    let mut world = behind_one_gateway(Wire::new);
    let mut download = Download::start(&mut world, 40000, 1_000_000);
    world.run_until(MINUTE, |world| download.step(world) || download.received > 200_000);
    world.routers[0].run("iptables -I FORWARD -p tcp -j DROP");
    download.step(&mut world);
    world.run(Duration::from_secs(1));
    download.step(&mut world);
    let stopped = download.received;
    world.run(Duration::from_secs(5));
    download.step(&mut world);
    assert_eq!(download.received, stopped, "nothing passes");
    world.routers[0].run("iptables -D FORWARD 1");
    download.finish(&mut world, MINUTE * 5);
}

#[test]
fn changes_that_leave_a_download_its_way_do_not_disturb_it() {
    let mut world = behind_one_gateway(Wire::new);
    let mut download = Download::start(&mut world, 40000, 1_000_000);
    for mark in 1..10 {
        world.run_until(MINUTE, |world| download.step(world) || download.received > mark * 100_000);
        world.routers[0].run(&format!(
            "ip route add 10.{mark}.0.0/16 via 203.0.113.80\niptables -A FORWARD -p udp -j ACCEPT\nip link set eth0 mtu 1500"
        ));
    }
    download.finish(&mut world, MINUTE);
}

#[test]
fn a_flood_of_new_flows_does_not_end_a_download() {
    let limits = netstack::router::Limits { flows: 512, ..Default::default() };
    let mut world = behind_one_gateway(Wire::new);
    let config = "ip addr add 192.168.1.1/24 dev eth0
ip addr add 203.0.113.2/24 dev eth1
ip link set eth0 up
ip link set eth1 up
sysctl -w net.ipv4.ip_forward=1
iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
";
    let mut small = Bench::with(2, &limits, 7, config);
    small.now = world.now;
    world.routers[0] = small;
    let mut download = Download::start(&mut world, 40000, 500_000);
    let mut number = 0u32;
    let flooder = neighbor_mac(0, ip(192, 168, 1, 66));
    world.run_until(MINUTE * 5, |world| {
        for _ in 0..3 {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let from = (ip(192, 168, 1, 66 + (number >> 24) as u8 % 100), (number >> 8) as u16);
            let packet =
                if number & 1 == 0 { tcp(from, (SERVER, 81), flag::SYN) } else { udp(from, (SERVER, 9)) };
            let frame = Frame::ip(flooder, router_mac(0), packet).bytes();
            world.send(End::Host(0), frame);
        }
        download.step(world)
    });
}

/// Three routers in a row between a client and a server.
fn three_routers() -> World {
    let mut world = World::new(3);
    let client = world.add_host(Host::new(CLIENT, 24, ip(192, 168, 1, 1)));
    let server = world.add_host(Host::new(SERVER, 24, ip(203, 0, 113, 1)));
    let common = "ip link set eth0 up\nip link set eth1 up\nsysctl -w net.ipv4.ip_forward=1\n";
    let routes = [
        "ip addr add 192.168.1.1/24 dev eth0\nip addr add 10.0.1.1/24 dev eth1\nip route add default via 10.0.1.2\n",
        "ip addr add 10.0.1.2/24 dev eth0\nip addr add 10.0.2.2/24 dev eth1\nip route add default via 10.0.2.3\n\
         ip route add 192.168.1.0/24 via 10.0.1.1\n",
        "ip addr add 10.0.2.3/24 dev eth0\nip addr add 203.0.113.1/24 dev eth1\nip route add default via 10.0.2.2\n",
    ];
    let [a, b, c] = routes.map(|own| world.add_router(Bench::new(2, &[common, own].concat())));
    world.add_wire(Wire::new(&[client, End::Router(a, 0)]));
    world.add_wire(Wire::new(&[End::Router(a, 1), End::Router(b, 0)]));
    world.add_wire(Wire::new(&[End::Router(b, 1), End::Router(c, 0)]));
    world.add_wire(Wire::new(&[End::Router(c, 1), server]));
    world
}

/// Sends a UDP datagram to a closed port with this TTL, and gives who reports what.
fn probe(world: &mut World, ttl: u8) -> (IpAddress, Icmpv4Message) {
    let port = 33434 + u16::from(ttl);
    let sender = world.hosts[0].bind(port);
    let listener = world.hosts[0].errors_of_udp(port);
    world.hosts[0].udp(sender).set_hop_limit(Some(ttl));
    world.hosts[0].udp(sender).send_slice(b"probe", (SERVER, 33434)).expect("room for one datagram");
    let mut answer = None;
    world.run_until(MINUTE, |world| {
        if let Ok((bytes, from)) = world.hosts[0].icmp(listener).recv() {
            answer = Some((from, Icmpv4Packet::new_unchecked(bytes).msg_type()));
        }
        answer.is_some()
    });
    answer.expect("it was awaited")
}

#[test]
fn traceroute_sees_every_router_on_the_way() {
    let mut world = three_routers();
    let hops: Vec<_> = (1..=4).map(|ttl| probe(&mut world, ttl)).collect();
    assert_eq!(
        hops,
        [
            (ip(192, 168, 1, 1).into(), Icmpv4Message::TimeExceeded),
            (ip(10, 0, 1, 2).into(), Icmpv4Message::TimeExceeded),
            (ip(10, 0, 2, 3).into(), Icmpv4Message::TimeExceeded),
            (SERVER.into(), Icmpv4Message::DstUnreachable),
        ]
    );
}

#[test]
fn a_routing_loop_dies_of_its_ttl() {
    let mut world = three_routers();
    world.routers[1].run("ip route add 203.0.113.0/24 via 10.0.1.1");
    let (from, message) = probe(&mut world, 64);
    assert_eq!(message, Icmpv4Message::TimeExceeded);
    assert!(from == ip(10, 0, 1, 2).into() || from == ip(192, 168, 1, 1).into(), "{from}");
    let rounds = world
        .wire(1)
        .seen
        .iter()
        .filter(|frame| Frame::read(frame).datagram().is_some_and(|p| p.protocol() == 17));
    assert_eq!(rounds.count(), 63, "each pass costs one");
}

#[test]
fn a_host_that_is_not_there_is_reported_by_the_last_router() {
    let mut world = three_routers();
    let sender = world.hosts[0].bind(5000);
    let listener = world.hosts[0].errors_of_udp(5000);
    world.hosts[0]
        .udp(sender)
        .send_slice(b"anybody?", (ip(203, 0, 113, 99), 9))
        .expect("room for one datagram");
    let mut answer = None;
    world.run_until(MINUTE, |world| {
        if let Ok((bytes, from)) = world.hosts[0].icmp(listener).recv() {
            let packet = Icmpv4Packet::new_unchecked(bytes);
            answer = Some((from, packet.msg_type(), Icmpv4DstUnreachable::from(packet.msg_code())));
        }
        answer.is_some()
    });
    let expected =
        (ip(10, 0, 2, 3).into(), Icmpv4Message::DstUnreachable, Icmpv4DstUnreachable::HostUnreachable);
    assert_eq!(answer, Some(expected));
}

/// The client sends a datagram of 1400 bytes to port 9 of the server, over a wire whose MTU is 576; gives the packet.
fn too_large_for_the_middle(world: &mut World, change: impl FnOnce(Datagram) -> Datagram) -> Datagram {
    world.routers[1].run("ip link set eth1 mtu 576");
    world.wire(2).mtu = 576;
    // The neighbours get to know each other.
    probe(world, 64);
    let bytes: Vec<u8> = (0..1400).map(content).collect();
    let packet = change(udp((CLIENT, 5000), (SERVER, 9)).payload(bytes));
    world.send(End::Host(0), Frame::ip(neighbor_mac(0, CLIENT), router_mac(0), packet.clone()).bytes());
    world.run(Duration::from_secs(1));
    packet
}

/// The packets that were seen on a wire, where `which` holds.
fn seen(world: &mut World, wire: usize, which: impl Fn(&Datagram) -> bool) -> Vec<(usize, Datagram)> {
    let packets = world.wire(wire).seen.iter().filter_map(|frame| Frame::read(frame).datagram().cloned());
    packets.filter(which).map(|packet| (wire, packet)).collect()
}

#[test]
fn a_packet_larger_than_a_wire_in_the_middle_arrives_in_pieces() {
    let mut world = three_routers();
    let sent = too_large_for_the_middle(&mut world, |packet| packet.but(|p| p.id = 77));
    let pieces = seen(&mut world, 3, |packet| packet.id == 77 && packet.source == CLIENT);
    assert_eq!(reassemble(&pieces), sent.ttl(61));
}

#[test]
fn df_and_a_smaller_wire_in_the_middle_is_reported_with_its_mtu() {
    let mut world = three_routers();
    let sent = too_large_for_the_middle(&mut world, Datagram::dont_fragment);
    let errors = seen(&mut world, 0, |packet| packet.icmp_type() == Some((3, 4)));
    let [(_, error)] = &errors[..] else { panic!("one error, not {errors:?}") };
    assert_eq!((error.source, error.destination), (ip(10, 0, 1, 2), CLIENT));
    assert_eq!(error.quoted().map(|quoted| quoted.destination()), Some(sent.destination()));
    let Body::Icmp { word, .. } = error.body else { panic!("{error:?}") };
    assert_eq!(word, 576);
}
