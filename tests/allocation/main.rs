//! Nothing on a packet's way takes memory once the router is set up: the allocator itself counts.

use allocation_counter::measure;
use netstack::{
    command::load,
    config::PortInfo,
    exchange::Exchange,
    interface::PortId,
    outcome::{DropReason, Outcome},
    router::{Context, Limits, Router},
};
use rand::{SeedableRng, rngs::StdRng};
use smoltcp::{
    time::{Duration, Instant},
    wire::{EthernetAddress, Ipv4Address},
};
use tests::{bench::BUFFER_SIZE, datagram::*, frame::Frame, network::*};

/// Flows that the table holds: few, so that it is full soon.
const FLOWS: usize = 512;
/// Buffers: enough for all that waits at one time.
const BUFFERS: usize = 512;

/// A way out that is narrow, translation, and a filter with rules of each kind that has a state of its own.
const GATEWAY: &str = "
ip link set eth1 mtu 1280
ip route add blackhole 100.64.0.0/10
ip route add unreachable 100.65.0.0/16
iptables -t nat -A PREROUTING -i eth1 -p tcp --dport 8080 -j DNAT --to-destination 192.168.1.10:80
iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
iptables -P FORWARD DROP
iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A FORWARD -p tcp --dport 25 -j REJECT --reject-with tcp-reset
iptables -A FORWARD -p udp --dport 137 -j REJECT
iptables -A FORWARD -p udp --dport 9999 -m limit --limit 10/second -j LOG
iptables -A FORWARD ! -i eth1 -j ACCEPT
iptables -A FORWARD -d 192.168.1.10 -p tcp --dport 80 -j ACCEPT
";

/// A router that takes frames from what was made before.
struct Gateway {
    router: Router,
    exchange: Exchange,
    random: StdRng,
    now: Instant,
    /// What became of the last frame.
    outcome: Outcome,
}

impl Gateway {
    fn new() -> Self {
        let mut random = StdRng::seed_from_u64(1);
        let cards = [0, 1, 2].map(|port| PortInfo::new(router_mac(port), 1500));
        let limits = Limits { flows: FLOWS, ..Limits::default() };
        let mut router = Router::new(&cards, &limits, &mut random);
        load(&mut router, &[NETWORK, GATEWAY].concat()).unwrap_or_else(|error| panic!("{}", error.message));
        let exchange = Exchange::new(BUFFERS, BUFFER_SIZE);
        let outcome = Outcome::Consumed;
        let mut gateway = Self { router, exchange, random, now: Instant::from_secs(100), outcome };
        // Rules are indexed, which takes memory once, when they have not changed for a while.
        gateway.poll();
        gateway
    }

    fn poll(&mut self) {
        let cx = &mut Context { now: self.now, random: &mut self.random, exchange: &mut self.exchange };
        self.router.poll(cx);
        while let Some((_, packet)) = self.exchange.take_outgoing() {
            self.exchange.recycle(packet);
        }
    }

    fn inject(&mut self, port: usize, frame: &[u8]) {
        let mut packet = self.exchange.allocate_frame(frame.len()).expect("a buffer");
        packet.bytes_mut().copy_from_slice(frame);
        let cx = &mut Context { now: self.now, random: &mut self.random, exchange: &mut self.exchange };
        self.outcome = self.router.receive(cx, PortId(port as u8), packet);
        self.poll();
    }

    /// Asserts that these frames take no memory.
    #[track_caller]
    fn takes_nothing_for(&mut self, frames: &[(usize, Vec<u8>)]) {
        let counted = measure(|| {
            for (port, frame) in frames {
                self.inject(*port, frame);
            }
        });
        assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
    }

    /// Asserts that the passing of time takes no memory.
    #[track_caller]
    fn takes_nothing_in(&mut self, time: Duration) {
        let end = self.now + time;
        let counted = measure(|| {
            while self.now < end {
                self.now += Duration::from_millis(50);
                self.poll();
            }
        });
        assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
    }
}

/// The frame of a packet that a host on the wire of `port` sends to the router.
fn frame(port: usize, packet: Datagram) -> (usize, Vec<u8>) {
    (port, Frame::ip(neighbor_mac(port, packet.source), router_mac(port), packet).bytes())
}

/// ALICE's question from a port, and SERVER's answer to that port of the router.
fn query(port: u16) -> (usize, Vec<u8>) {
    frame(LAN, udp((ALICE, port), (SERVER, 53)).payload(b"who is it?"))
}

fn answer(port: u16) -> (usize, Vec<u8>) {
    frame(WAN, udp((SERVER, 53), (WAN_SIDE, port)).payload(b"it is me"))
}

#[test]
fn packets_of_flows_under_way() {
    let mut gateway = Gateway::new();
    let frames: Vec<_> = (0..100).flat_map(|_| [query(40000), answer(40000)]).collect();
    gateway.takes_nothing_for(&frames);
    assert!(gateway.router.statistics().fast > 150);
}

#[test]
fn new_flows_even_where_they_take_the_place_of_others() {
    let mut gateway = Gateway::new();
    let frames: Vec<_> = (0..3 * FLOWS as u16).map(|number| query(10000 + number)).collect();
    gateway.takes_nothing_for(&frames);
    assert_eq!(gateway.router.connections().flows.len(), FLOWS);
    assert!(gateway.router.connections().flows.statistics.early_drop > 0);
    // The translated port is taken: another one is looked for.
    let other: Vec<_> = (0..100).map(|_| frame(LAN, udp((BOB, 11000), (SERVER, 53)))).collect();
    gateway.takes_nothing_for(&other);
    gateway.takes_nothing_in(Duration::from_secs(150));
    assert!(gateway.router.connections().flows.is_empty(), "swept");
}

#[test]
fn connections_that_open_and_close() {
    use flag::*;
    let mut gateway = Gateway::new();
    let connection = |port: u16| {
        let (there, back, client) = ((WAN_SIDE, 8080), (ALICE, 80), (SERVER, port));
        [
            frame(WAN, tcp(client, there, SYN)),
            frame(LAN, tcp(back, client, SYN | ACK)),
            frame(WAN, tcp(client, there, ACK)),
            frame(LAN, tcp(back, client, PSH | ACK)),
            frame(WAN, tcp(client, there, FIN | ACK)),
            frame(LAN, tcp(back, client, FIN | ACK)),
            frame(WAN, tcp(client, there, ACK)),
            frame(LAN, tcp(back, client, RST)),
        ]
    };
    gateway.takes_nothing_for(&(20000..20100).flat_map(connection).collect::<Vec<_>>());
}

#[test]
fn arp_in_all_its_forms() {
    let mut gateway = Gateway::new();
    let mac = |last| EthernetAddress([2, 0, 0, 0, 7, last]);
    let address = |last| Ipv4Address::new(192, 168, 1, last);
    let request = |from, wanted| Frame::arp_request(mac(from), address(from), wanted);
    let mut frames = Vec::new();
    for last in 2..=254 {
        frames.push((LAN, request(last, LAN_SIDE).bytes()));
        frames.push((LAN, request(last, address(last)).bytes()));
        let unasked = Frame::arp_request(router_mac(LAN), LAN_SIDE, address(last)).arp_answer(mac(last ^ 1));
        frames.push((LAN, unasked.expect("an answer").bytes()));
    }
    // Somebody else has the router's address.
    frames.push((LAN, Frame::arp_request(mac(3), LAN_SIDE, LAN_SIDE).bytes()));
    gateway.takes_nothing_for(&frames);
}

#[test]
fn icmp_errors_made_and_passed_on() {
    let mut gateway = Gateway::new();
    let mut frames = Vec::new();
    for port in 30000..30050 {
        let from = (ALICE, port);
        let sent = udp(from, (SERVER, 53)).payload([7; 100]);
        frames.push(frame(LAN, sent.clone().ttl(1)));
        frames.push(frame(LAN, udp(from, (Ipv4Address::new(100, 65, 0, 1), 53))));
        frames.push(frame(LAN, udp(from, (Ipv4Address::new(100, 66, 0, 1), 53))));
        frames.push(frame(LAN, udp(from, (SERVER, 137))));
        frames.push(frame(LAN, udp(from, (SERVER, 9999))));
        frames.push(frame(LAN, tcp(from, (SERVER, 25), flag::SYN)));
        frames.push(frame(LAN, udp(from, (LAN_SIDE, 1))));
        frames.push(frame(LAN, sent.clone().payload([7; 1400]).dont_fragment()));
        frames.push(frame(LAN, sent.clone()));
        frames.push(frame(WAN, icmp_error(PROVIDER, 3, 1, &sent.from((WAN_SIDE, port)))));
        frames.push(frame(LAN, echo((ALICE, port), LAN_SIDE)));
        frames.push(frame(LAN, echo((ALICE, port), SERVER)));
        frames.push(frame(WAN, echo_reply(SERVER, (WAN_SIDE, port))));
    }
    gateway.takes_nothing_for(&frames);
}

#[test]
fn fragments_in_any_order_and_packets_that_have_to_be_fragmented() {
    let mut gateway = Gateway::new();
    let mut frames = Vec::new();
    for id in 0..100u16 {
        let whole = udp((ALICE, 40000), (SERVER, 53)).payload([7; 1400]).but(|p| p.id = id);
        frames.push(frame(LAN, whole));
        let first = other(ALICE, SERVER, 17, &[0x9c, 0x40, 0, 53, 0, 24, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        let first = first.but(|p| (p.id, p.more_fragments) = (1000 + id, true));
        let second = other(ALICE, SERVER, 17, &[9; 8]).but(|p| (p.id, p.offset) = (1000 + id, 16));
        frames.push(frame(LAN, second));
        // Every other one is never completed.
        if id % 2 == 0 {
            frames.push(frame(LAN, first));
        }
    }
    gateway.takes_nothing_for(&frames);
    gateway.takes_nothing_in(Duration::from_secs(60));
}

#[test]
fn packets_that_wait_for_a_mac_address() {
    let mut gateway = Gateway::new();
    let host = |last| Ipv4Address::new(10, 10, 0, last);
    let waiting = |last| frame(LAN, udp((ALICE, 40000), (host(last), 53)));
    let mut frames: Vec<_> = (20..120).flat_map(|last| [waiting(last), waiting(last)]).collect();
    gateway.takes_nothing_for(&frames);
    frames.clear();
    for last in (20..120).step_by(2) {
        let request = Frame::arp_request(router_mac(DMZ), DMZ_SIDE, host(last));
        frames.push((DMZ, request.arp_answer(neighbor_mac(DMZ, host(last))).expect("an answer").bytes()));
        frames.push(waiting(last));
    }
    gateway.takes_nothing_for(&frames);
    assert!(matches!(gateway.outcome, Outcome::Forwarded(_)), "{:?}", gateway.outcome);
    // The others never answer, and the senders are told.
    gateway.takes_nothing_in(Duration::from_secs(10));
    assert!(gateway.router.drops().get(DropReason::NeighborFailed) > 0);
}
