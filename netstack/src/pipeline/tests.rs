//! The whole way of a packet through a small gateway: 192.168.1.1/24 on eth0, 203.0.113.1/24 on eth1.

use crate::{
    config::{
        Change, Config, PortInfo,
        interface::{InterfaceAddress, Scope},
        route::{Route, RouteKind, RouteMetrics, RouteProtocol, StaticNeighbor},
        rules::{Hook, InterfacePattern, Negatable, Policy, RejectWith, Rule, Target},
    },
    exchange::Exchange,
    explain::{Payload, Probe},
    headers::{ETHERNET_HEADER, Headers, tcp_flag},
    interface::{InterfaceId, InterfaceName, PortId},
    outcome::{DropReason, Outcome},
    packet::Packet,
    router::{Context, Limits, Router},
    table::mapping::Endpoint,
    test_support::{TestRandom, mac, random, udp, udp_frame},
    wire::checksum,
};
use alloc::vec::Vec;
use smoltcp::{
    time::Instant,
    wire::{Ipv4Address, Ipv4Cidr},
};

const LAN: InterfaceId = InterfaceId(1);
const WAN: InterfaceId = InterfaceId(2);
const OUTER: Ipv4Address = Ipv4Address::new(203, 0, 113, 1);
const SERVER: Ipv4Address = Ipv4Address::new(198, 51, 100, 7);
const INNER: Ipv4Address = Ipv4Address::new(192, 168, 1, 2);

struct Gateway {
    router: Router,
    exchange: Exchange,
    random: TestRandom,
    now: Instant,
}

impl Gateway {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let ports = [1, 11].map(|host| PortInfo::new(mac(host), 1500));
        let mut random = random();
        let limits = Limits { flows: 64, neighbors: 16, ..Limits::default() };
        let mut router = Router::new(&ports, &limits, &mut random);
        let configured = router.edit(|config| {
            address(config, LAN, Ipv4Address::new(192, 168, 1, 1));
            address(config, WAN, OUTER);
            config.routes.extend([route(Ipv4Cidr::new(Ipv4Address::UNSPECIFIED, 0), WAN, Some(10))]);
            config.neighbors.push(neighbor(LAN, INNER, 2));
            config.neighbors.push(neighbor(WAN, Ipv4Address::new(203, 0, 113, 10), 12));
            change(config);
            Ok(Change::ALL)
        });
        assert_eq!(configured, Ok(()));
        let mut gateway =
            Self { router, exchange: Exchange::new(64, 2048), random, now: Instant::from_secs(100) };
        gateway.router.poll(&mut Context {
            now: gateway.now,
            random: &mut gateway.random,
            exchange: &mut gateway.exchange,
        });
        while gateway.exchange.take_outgoing().is_some() {}
        gateway
    }

    fn masquerading() -> Self {
        Self::new(|config| {
            let nat = &mut config.tables.nat;
            let chain = nat.builtin(Hook::Postrouting).unwrap();
            nat.chains[usize::from(chain.0)].rules.push(Rule {
                out_interface: Some(Negatable { not: false, value: pattern("eth1") }),
                target: Some(Target::Masquerade { ports: None, random: None }),
                ..Rule::default()
            });
        })
    }

    fn receive(&mut self, interface: InterfaceId, frame: &[u8]) -> Outcome {
        let port = PortId((interface.0 - 1) as u8);
        let mut frame = frame.to_vec();
        frame[..6].copy_from_slice(&self.router.config().interface(interface).mac.0);
        let mut cx = Context { now: self.now, random: &mut self.random, exchange: &mut self.exchange };
        self.router.receive(&mut cx, port, Packet::from_frame(&frame))
    }

    fn sent(&mut self) -> Vec<(PortId, Vec<u8>)> {
        core::iter::from_fn(|| self.exchange.take_outgoing())
            .map(|(port, packet)| (port, packet.bytes().to_vec()))
            .collect()
    }

    fn sent_one(&mut self) -> (PortId, Headers, Vec<u8>) {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:02x?}");
        let (port, frame) = sent.remove(0);
        (port, Headers::parse(&frame, ETHERNET_HEADER).unwrap(), frame)
    }
}

fn address(config: &mut Config, id: InterfaceId, address: Ipv4Address) {
    let interface = &mut config.interfaces[usize::from(id.0)];
    interface.up = true;
    interface.forwarding = true;
    interface.addresses.push(InterfaceAddress {
        cidr: Ipv4Cidr::new(address, 24),
        broadcast: None,
        scope: Scope::Global,
        secondary: false,
        label: None,
    });
    config.routes.extend([route(Ipv4Cidr::new(address, 24).network(), id, None)]);
}

fn route(destination: Ipv4Cidr, interface: InterfaceId, gateway: Option<u8>) -> Route {
    let gateway = gateway.map(|host| Ipv4Address::new(203, 0, 113, host));
    Route {
        destination,
        kind: RouteKind::Unicast { interface, gateway, onlink: false },
        metric: 0,
        source: None,
        scope: Scope::Global,
        protocol: RouteProtocol::Boot,
        metrics: RouteMetrics::default(),
    }
}

fn neighbor(interface: InterfaceId, address: Ipv4Address, host: u8) -> StaticNeighbor {
    StaticNeighbor { interface, address, mac: mac(host) }
}

fn pattern(name: &str) -> InterfacePattern {
    InterfacePattern { text: InterfaceName::try_from(name).unwrap(), prefix: false }
}

#[test]
fn a_packet_is_forwarded_with_a_lower_ttl_and_new_macs() {
    let mut gateway = Gateway::new(|_| {});
    assert_eq!(gateway.receive(LAN, &udp_frame(10)), Outcome::Forwarded(PortId(1)));
    let (_, headers, frame) = gateway.sent_one();
    assert_eq!((headers.source, headers.destination, headers.ttl), (INNER, SERVER, 63));
    assert_eq!(frame[..6], mac(12).0);
    assert_eq!(frame[6..12], mac(11).0);
}

#[test]
fn masquerade_hides_the_inner_source_and_brings_the_answer_back() {
    let mut gateway = Gateway::masquerading();
    gateway.receive(LAN, &udp_frame(10));
    let (_, headers, frame) = gateway.sent_one();
    assert_eq!((headers.source, headers.source_port()), (OUTER, Some(5000)));
    let expected = udp((OUTER, 5000), (SERVER, 53), 10);
    assert_eq!(frame[34..], expected[34..], "ports, checksum and payload");
    gateway.receive(WAN, &udp((SERVER, 53), (OUTER, 5000), 10));
    let (port, headers, frame) = gateway.sent_one();
    assert_eq!((port, headers.destination), (PortId(0), INNER));
    assert_eq!(frame[34..], udp((SERVER, 53), (INNER, 5000), 10)[34..]);
}

#[test]
fn an_answered_flow_takes_the_short_way_and_leaves_the_same_bytes() {
    let mut gateway = Gateway::masquerading();
    let mut frames = Vec::new();
    for round in 0..4 {
        gateway.receive(LAN, &udp_frame(10));
        frames.push(gateway.sent_one().2);
        gateway.receive(WAN, &udp((SERVER, 53), (OUTER, 5000), 10));
        gateway.sent();
        assert_eq!(gateway.router.statistics().fast > 0, round >= 2, "round {round}");
    }
    assert!(frames.iter().all(|frame| *frame == frames[0]));
}

#[test]
fn a_stranger_at_an_outer_port_gets_no_answer() {
    let mut gateway = Gateway::masquerading();
    gateway.receive(LAN, &udp_frame(10));
    gateway.sent();
    let stranger = Ipv4Address::new(198, 51, 100, 8);
    let outcome = gateway.receive(WAN, &udp((stranger, 53), (OUTER, 5000), 10));
    assert_eq!(outcome, Outcome::Dropped(DropReason::NatFiltered));
    assert!(gateway.sent().is_empty());
    assert_eq!(gateway.router.connections().flows.len(), 1, "the stranger leaves no flow behind");
}

#[test]
fn a_stranger_at_a_closed_port_is_told() {
    let mut gateway = Gateway::masquerading();
    let stranger = Ipv4Address::new(198, 51, 100, 8);
    let outcome = gateway.receive(WAN, &udp((stranger, 53), (OUTER, 5000), 10));
    assert_eq!(outcome, Outcome::Dropped(DropReason::NoListener));
    let (port, headers, _) = gateway.sent_one();
    assert_eq!((port, headers.icmp(), headers.destination), (PortId(1), Some((3, 3)), stranger));
    assert!(gateway.router.connections().flows.is_empty());
}

#[test]
fn two_inner_hosts_with_one_port_get_two_outer_ones() {
    let mut gateway = Gateway::masquerading();
    gateway.receive(LAN, &udp_frame(10));
    let first = gateway.sent_one().1.source_port();
    let other = Ipv4Address::new(192, 168, 1, 3);
    gateway.receive(LAN, &udp((other, 5000), (SERVER, 53), 10));
    let second = gateway.sent_one().1.source_port();
    assert_eq!(first, Some(5000));
    assert_ne!(second, first);
    assert!(second > Some(1023));
}

#[test]
fn ttl_one_is_answered_and_not_forwarded() {
    let mut gateway = Gateway::masquerading();
    let mut frame = udp_frame(10);
    frame[22] = 1;
    frame[24..26].fill(0);
    let sum = !crate::wire::checksum::sum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(gateway.receive(LAN, &frame), Outcome::Dropped(DropReason::TtlExceeded));
    let (port, headers, error) = gateway.sent_one();
    assert_eq!((port, headers.icmp()), (PortId(0), Some((11, 0))));
    assert_eq!((headers.source, headers.destination), (Ipv4Address::new(192, 168, 1, 1), INNER));
    assert_eq!(error[42..42 + 20], frame[14..34], "the quote is the packet as it came");
    assert!(gateway.router.connections().flows.is_empty(), "a dropped packet leaves no flow");
}

#[test]
fn explain_walks_the_real_pipeline_and_leaves_nothing_behind() {
    let mut gateway = Gateway::masquerading();
    let probe = Probe {
        ingress: Some(LAN),
        source: Endpoint { address: INNER, port: 5000 },
        destination: Endpoint { address: SERVER, port: 53 },
        payload: Payload::Udp,
        ttl: 64,
        length: 38,
        dont_fragment: false,
        mac: mac(2),
    };
    let lines = gateway.router.explain(&probe, gateway.now, &mut gateway.random);
    let text = lines.join("\n");
    for part in ["FORWARD out of eth1", "203.0.113.1:5000 > 198.51.100.7:53 ttl 63", "52:54:00:00:00:0c"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert!(gateway.router.connections().flows.is_empty());
    assert!(gateway.sent().is_empty());
}

/// An ICMP error of this type and code from `from` to `to` that quotes the IP packet of `about`.
fn icmp_error(from: Ipv4Address, to: Ipv4Address, kind: u8, code: u8, about: &[u8]) -> Vec<u8> {
    let probe = Probe {
        ingress: None,
        source: Endpoint { address: from, port: 0 },
        destination: Endpoint { address: to, port: 0 },
        payload: Payload::Icmp { kind, code, identifier: 0 },
        ttl: 64,
        length: (28 + about.len() - ETHERNET_HEADER) as u16,
        dont_fragment: false,
        mac: mac(12),
    };
    let mut frame = probe.frame(mac(11));
    frame[42..].copy_from_slice(&about[ETHERNET_HEADER..]);
    frame[36..38].fill(0);
    let sum = !checksum::sum(&frame[34..]);
    frame[36..38].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn an_icmp_error_from_outside_reaches_the_inner_host_about_its_own_packet() {
    let mut gateway = Gateway::masquerading();
    let inner = udp_frame(10);
    gateway.receive(LAN, &udp((Ipv4Address::new(192, 168, 1, 9), 5000), (SERVER, 53), 10));
    gateway.receive(LAN, &inner);
    let outer = gateway.sent().remove(1).1;
    assert_ne!(outer[34..36], inner[34..36], "the port had to change");
    let hop = Ipv4Address::new(203, 0, 113, 10);
    gateway.receive(WAN, &icmp_error(hop, OUTER, 11, 0, &outer));
    let (port, headers, error) = gateway.sent_one();
    assert_eq!((port, headers.source, headers.destination), (PortId(0), hop, INNER));
    assert_eq!(checksum::sum(&error[34..]), 0xffff, "checksum of the error");
    let quoted = &error[42..];
    assert_eq!(checksum::sum(&quoted[..20]), 0xffff, "checksum of the quoted header");
    assert_eq!(quoted[12..], inner[26..], "addresses, ports and checksum as the inner host sent them");
}

#[test]
fn an_icmp_error_from_inside_shows_the_outer_address_only() {
    let mut gateway = Gateway::masquerading();
    gateway.receive(LAN, &udp_frame(10));
    let answer = udp((SERVER, 53), (OUTER, 5000), 10);
    gateway.receive(WAN, &answer);
    let arrived = gateway.sent().remove(1).1;
    gateway.receive(LAN, &icmp_error(INNER, SERVER, 3, 3, &arrived));
    let (port, headers, error) = gateway.sent_one();
    assert_eq!((port, headers.source, headers.destination), (PortId(1), OUTER, SERVER));
    assert_eq!(error[42 + 16..42 + 28 + 10], answer[30..42 + 10], "the quote is what the server sent");
    assert_eq!(checksum::sum(&error[34..]), 0xffff);
}

#[test]
fn an_icmp_error_about_nothing_that_was_sent_does_not_reach_the_inner_host() {
    let mut gateway = Gateway::masquerading();
    let never_sent = udp((OUTER, 6000), (SERVER, 53), 10);
    gateway.receive(WAN, &icmp_error(SERVER, OUTER, 3, 3, &never_sent));
    assert!(gateway.sent().is_empty());
}

#[test]
fn a_late_reset_never_leaves_with_an_inner_source() {
    let mut gateway = Gateway::masquerading();
    let probe = Probe {
        ingress: Some(LAN),
        source: Endpoint { address: INNER, port: 5000 },
        destination: Endpoint { address: SERVER, port: 80 },
        payload: Payload::Tcp(tcp_flag::RST | tcp_flag::ACK),
        ttl: 64,
        length: 40,
        dont_fragment: false,
        mac: mac(2),
    };
    assert_eq!(gateway.receive(LAN, &probe.frame(mac(1))), Outcome::Dropped(DropReason::NatUntracked));
    assert!(gateway.sent().is_empty());
}

#[test]
fn a_masqueraded_flow_begins_anew_when_its_way_out_changes() {
    let mut gateway = Gateway::masquerading();
    gateway.receive(LAN, &udp_frame(10));
    let other = Ipv4Address::new(203, 0, 113, 2);
    let replaced = gateway.router.edit(|config| {
        config.interfaces[usize::from(WAN.0)].addresses[0].cidr = Ipv4Cidr::new(other, 24);
        Ok(Change::ALL)
    });
    assert_eq!(replaced, Ok(()));
    assert!(gateway.router.connections().flows.is_empty());
    gateway.sent();
    gateway.receive(LAN, &udp_frame(10));
    assert_eq!(gateway.sent_one().1.source, other);
}

#[test]
fn an_inner_host_reaches_another_by_its_outer_endpoint() {
    let mut gateway = Gateway::masquerading();
    let other = Ipv4Address::new(192, 168, 1, 3);
    let neighbors = gateway.router.edit(|config| {
        config.neighbors.push(neighbor(LAN, other, 3));
        Ok(Change { neighbors: true, ..Change::NONE })
    });
    assert_eq!(neighbors, Ok(()));
    gateway.receive(LAN, &udp((other, 6000), (SERVER, 53), 10));
    gateway.sent();
    gateway.receive(LAN, &udp((INNER, 5000), (OUTER, 6000), 10));
    let (port, headers, frame) = gateway.sent_one();
    assert_eq!((port, headers.source, headers.destination), (PortId(0), OUTER, other));
    assert_eq!(frame[34..], udp((OUTER, 5000), (other, 6000), 10)[34..]);
    gateway.receive(LAN, &udp((other, 6000), (OUTER, 5000), 10));
    let (_, headers, _) = gateway.sent_one();
    assert_eq!((headers.source, headers.destination), (OUTER, INNER));
}

#[test]
fn a_rule_change_is_felt_by_the_next_packet_of_an_old_flow() {
    let mut gateway = Gateway::masquerading();
    for _ in 0..3 {
        gateway.receive(LAN, &udp_frame(10));
        gateway.receive(WAN, &udp((SERVER, 53), (OUTER, 5000), 10));
    }
    assert!(gateway.router.statistics().fast > 0);
    let changed = gateway.router.edit(|config| {
        let forward = config.tables.filter.builtin(Hook::Forward).unwrap();
        let chain = &mut config.tables.filter.chains[usize::from(forward.0)];
        chain.builtin.as_mut().unwrap().policy = Policy::Drop;
        Ok(Change { rules: true, ..Change::NONE })
    });
    assert_eq!(changed, Ok(()));
    assert_eq!(gateway.receive(LAN, &udp_frame(10)), Outcome::Dropped(DropReason::FirewallPolicy));
}

#[test]
fn a_flow_that_began_without_translation_does_not_go_on_without_it() {
    let mut gateway = Gateway::new(|_| {});
    for _ in 0..2 {
        gateway.receive(LAN, &udp_frame(10));
        gateway.receive(WAN, &udp((SERVER, 53), (INNER, 5000), 10));
    }
    gateway.sent();
    let changed = gateway.router.edit(|config| {
        config.tables = Gateway::masquerading().router.config().tables.clone();
        Ok(Change { rules: true, ..Change::NONE })
    });
    assert_eq!(changed, Ok(()));
    gateway.receive(LAN, &udp_frame(10));
    assert_eq!(gateway.sent_one().1.source, OUTER);
}

#[test]
fn a_redirect_about_a_translated_flow_goes_nowhere() {
    let mut gateway = Gateway::masquerading();
    gateway.receive(LAN, &udp_frame(10));
    let outer = gateway.sent_one().2;
    let redirect = icmp_error(Ipv4Address::new(203, 0, 113, 10), OUTER, 5, 1, &outer);
    assert_eq!(gateway.receive(WAN, &redirect), Outcome::Dropped(DropReason::NatRedirect));
}

#[test]
fn packets_for_many_dead_neighbours_do_not_pile_up_calls() {
    let mut gateway = Gateway::masquerading();
    for host in 100..228 {
        let spoofed = Ipv4Address::new(192, 168, 1, host);
        let dead = Ipv4Address::new(203, 0, 113, host);
        gateway.receive(LAN, &udp((spoofed, 5000), (dead, 53), 10));
    }
    let work = std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
        for _ in 0..8 {
            gateway.now += smoltcp::time::Duration::from_secs(1);
            let Gateway { router, exchange, random, now } = &mut gateway;
            router.poll(&mut Context { now: *now, random, exchange });
            gateway.sent();
        }
        gateway.router.drops().get(DropReason::NeighborFailed)
    });
    assert!(work.unwrap().join().unwrap() > 0);
}

#[test]
fn a_reset_in_the_name_of_an_inner_host_does_not_leave_untranslated() {
    let mut gateway = Gateway::masquerading();
    let changed = gateway.router.edit(|config| {
        let forward = config.tables.filter.builtin(Hook::Forward).unwrap();
        let rule = Rule { target: Some(Target::Reject(RejectWith::TcpReset)), ..Rule::default() };
        config.tables.filter.chains[usize::from(forward.0)].rules.push(rule);
        Ok(Change { rules: true, ..Change::NONE })
    });
    assert_eq!(changed, Ok(()));
    let probe = Probe {
        ingress: Some(WAN),
        source: Endpoint { address: SERVER, port: 40000 },
        destination: Endpoint { address: INNER, port: 25 },
        payload: Payload::Tcp(tcp_flag::SYN),
        ttl: 64,
        length: 40,
        dont_fragment: false,
        mac: mac(12),
    };
    gateway.receive(WAN, &probe.frame(mac(11)));
    assert!(gateway.sent().is_empty());
}

/// Somebody on the inside sends with a server's address to another inner host, through a redirection to the router: what
/// the router answers would leave by the outer side in the name of that inner host.
#[test]
fn an_answer_to_a_borrowed_outer_address_does_not_leave_in_an_inner_hosts_name() {
    let answered = |source| {
        let mut gateway = Gateway::masquerading();
        let changed = gateway.router.edit(|config| {
            let prerouting = config.tables.nat.builtin(Hook::Prerouting).unwrap();
            let to = Target::Redirect { ports: None, random: None };
            let rule = Rule { target: Some(to), ..Rule::default() };
            config.tables.nat.chains[usize::from(prerouting.0)].rules.push(rule);
            Ok(Change { rules: true, ..Change::NONE })
        });
        assert_eq!(changed, Ok(()));
        let probe = Probe {
            ingress: Some(LAN),
            source: Endpoint { address: source, port: 40000 },
            destination: Endpoint { address: Ipv4Address::new(192, 168, 1, 9), port: 3128 },
            payload: Payload::Tcp(tcp_flag::SYN),
            ttl: 64,
            length: 40,
            dont_fragment: false,
            mac: mac(2),
        };
        gateway.receive(LAN, &probe.frame(mac(1)));
        gateway.sent().len()
    };
    assert_eq!(answered(INNER), 1, "the reset of a closed port");
    assert_eq!(answered(SERVER), 0);
}
