//! The selftests of Linux's netfilter that concern an IPv4 router: NAT, tracking, path MTU, reverse path
//! (tools/testing/selftests/net/netfilter).

use crate::{Scenario, router::Router, scenarios};
use smoltcp::wire::Ipv4Address;
use tests::{datagram::*, network::*};

pub const SCENARIOS: &[Scenario] = scenarios![
    masquerade_shows_the_outer_address,
    redirect_answers_in_the_place_of_another,
    a_client_can_shadow_a_port_of_the_router,
    a_filter_or_other_ports_keep_the_ports_of_the_router,
    a_port_forward_and_its_server_are_reached_by_one_client_port,
    two_forwarded_ports_lead_one_client_port_to_one_server,
    the_report_of_a_smaller_mtu_is_related,
    syns_that_nobody_answers_meet_a_new_rule_in_the_end,
    packets_of_one_socket_at_once_are_one_flow,
    both_ends_at_once_keep_their_ports,
    no_more_flows_are_tracked_than_are_allowed,
    flows_are_listed_and_deleted_by_what_they_are,
    large_packets_of_an_old_flow_are_fragmented,
    large_packets_that_may_not_be_fragmented_are_reported,
    a_source_that_is_elsewhere_fails_the_reverse_path,
    fragments_leave_as_they_came,
];

/// A host that a server's port is forwarded to.
const FORWARD: &str =
    "iptables -t nat -A PREROUTING -i eth1 -p udp --dport 1234 -j DNAT --to-destination 10.10.0.5:1234\n";

/// nft_nat, masquerade: with the kept identifier, and with a random one.
fn masquerade_shows_the_outer_address(router: &mut Router) {
    for how in ["", " --random", " --random-fully"] {
        router.forget();
        let (request, reply) = (echo((ALICE, 7), SERVER), |to| echo_reply(SERVER, to));
        assert_eq!(router.one(LAN, &request), (WAN, request.clone().ttl(63)));
        assert_eq!(router.one(WAN, &reply((ALICE, 7))), (LAN, reply((ALICE, 7)).ttl(63)));
        router.run(&format!("iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE{how}"));
        for _ in 0..2 {
            let (port, seen) = router.one(LAN, &request);
            assert_eq!((port, seen.source), (WAN, WAN_SIDE));
            assert_eq!(router.one(WAN, &reply(seen.source())), (LAN, reply((ALICE, 7)).ttl(63)));
        }
    }
}

/// nft_nat, redirect.
fn redirect_answers_in_the_place_of_another(router: &mut Router) {
    router.run("iptables -t nat -A PREROUTING -i eth0 -p icmp -s 192.168.1.10 -d 198.51.100.7 -j REDIRECT");
    let (port, answer) = router.one(LAN, &echo((ALICE, 7), SERVER));
    assert_eq!((port, answer.source, answer.icmp_type()), (LAN, SERVER, Some((0, 0))));
    assert_eq!(router.one(LAN, &echo((BOB, 7), SERVER)).0, WAN, "others reach the true one");
}

/// The service of the router that nft_nat's port shadowing is about.
const SERVICE: u16 = 1405;
const STRANGER: Endpoint = (SERVER, 41404);

/// An inner client sends from the service's port to a host outside, which then asks the service: whom does it reach?
fn shadows(router: &mut Router) -> bool {
    router.send(LAN, &udp((ALICE, SERVICE), STRANGER).payload("from below"));
    let left = router.send(WAN, &udp(STRANGER, (WAN_SIDE, SERVICE)).payload("to the service"));
    left.iter().any(|(port, packet)| *port == LAN && packet.destination == ALICE)
}

/// nft_nat, port shadowing with default rules: whoever asks the port of a mapping reaches its holder.
fn a_client_can_shadow_a_port_of_the_router(router: &mut Router) {
    router.run(MASQUERADE);
    assert!(shadows(router));
}

/// nft_nat, port shadowing: the two ways out of it that iptables has without NOTRACK.
fn a_filter_or_other_ports_keep_the_ports_of_the_router(router: &mut Router) {
    for rules in [
        "iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
         iptables -A FORWARD -i eth0 -p udp --sport 1405 -j DROP",
        "iptables -t nat -A POSTROUTING -o eth1 -p udp --sport 0:1405 -j MASQUERADE --to-ports 1406-65535 --random
         iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE",
    ] {
        router.forget();
        router.run(rules);
        assert!(!shadows(router), "{rules}");
    }
}

/// nft_nat, DNAT clash: the same client port through the port-forward, and to the server itself. Both answers find back.
fn a_port_forward_and_its_server_are_reached_by_one_client_port(router: &mut Router) {
    router.run(FORWARD);
    for to in [(WAN_SIDE, 1234), (WEB, 1234)] {
        let (port, question) = router.one(WAN, &udp((SERVER, 4321), to).payload("PING"));
        assert_eq!((port, question.destination()), (DMZ, (WEB, 1234)));
        let answer = udp((WEB, 1234), question.source()).payload("PONG");
        let (port, answer) = router.one(DMZ, &answer);
        assert_eq!((port, answer.source(), answer.destination()), (WAN, to, (SERVER, 4321)));
    }
}

/// nf_nat_edemux: two ports are led to one, and the client uses one port for both.
fn two_forwarded_ports_lead_one_client_port_to_one_server(router: &mut Router) {
    for port in [5202, 5203] {
        router.run(&format!(
            "iptables -t nat -A PREROUTING -i eth1 -p tcp --dport {port} -j DNAT --to-destination 10.10.0.5:5201"
        ));
    }
    let (client, server) = ((SERVER, 10000), (WEB, 5201));
    for port in [5202, 5203] {
        let to = (WAN_SIDE, port);
        let (_, syn) = router.one(WAN, &tcp(client, to, flag::SYN));
        assert_eq!(syn.destination(), server);
        let syn_ack = tcp(server, syn.source(), flag::SYN | flag::ACK).numbers(5000, 1001);
        let (_, answer) = router.one(DMZ, &syn_ack);
        assert_eq!((answer.source(), answer.destination()), (to, client));
        assert_eq!(router.one(WAN, &tcp(client, to, flag::ACK).numbers(1001, 5001)).1.source(), syn.source());
    }
    let tracked = router.tracked("-p tcp --state ESTABLISHED");
    assert_eq!(tracked.len(), 2, "{tracked:?}");
}

/// conntrack_icmp_related: a router beyond has a smaller MTU, and this one translates.
fn the_report_of_a_smaller_mtu_is_related(router: &mut Router) {
    const MTU: u32 = 1280;
    router.run(
        "iptables -t nat -A POSTROUTING -o eth1 -p icmp -j MASQUERADE
         iptables -A FORWARD -p icmp --icmp-type destination-unreachable -m conntrack --ctstate RELATED -j ACCEPT
         iptables -A FORWARD -p icmp -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT
         iptables -P FORWARD DROP",
    );
    let request = echo((ALICE, 7), SERVER).payload([1; 1300]).dont_fragment();
    let (_, seen) = router.one(LAN, &request);
    let report = icmp(PROVIDER, WAN_SIDE, 3, 4, MTU, &seen.quote(548));
    let (port, report) = router.one(WAN, &report);
    assert_eq!((port, report.destination, report.icmp_type()), (LAN, ALICE, Some((3, 4))));
    assert!(report.checksums_are_right());
    assert_eq!(report.bytes().len(), 576);
    let quoted = report.quoted().expect("a quote");
    assert_eq!((quoted.source(), quoted.destination()), ((ALICE, 7), (SERVER, 7)));
    assert_eq!(router.counted("--ctstate RELATED"), 1);
}

/// conntrack_tcp_unreplied: a client knocks again and again at an address that nobody has, and a rule leads it elsewhere then.
fn syns_that_nobody_answers_meet_a_new_rule_in_the_end(router: &mut Router) {
    router.run("sysctl -w net.netfilter.nf_conntrack_tcp_timeout_syn_sent=2");
    let syn = |seq| tcp((ALICE, 40000), (SERVER, 80), flag::SYN).numbers(seq, 0);
    assert_eq!(router.one(LAN, &syn(1000)).0, WAN);
    router.run("iptables -t nat -A PREROUTING -i eth0 -d 198.51.100.7 -p tcp --dport 80 -j DNAT --to-destination 10.10.0.5:8080");
    // Each attempt has another number, and none leaves the router time to forget.
    let begun = std::time::Instant::now();
    let redirected = (1..).find_map(|attempt| {
        let left = router.send(LAN, &syn(1000 + attempt * 100_000));
        (left.iter().any(|(port, _)| *port == DMZ) || begun.elapsed().as_secs() > 20).then_some(left)
    });
    assert_eq!(redirected.expect("a last attempt")[0].1.destination(), (WEB, 8080));
}

/// conntrack_clash: threads of one program send at the same moment.
fn packets_of_one_socket_at_once_are_one_flow(router: &mut Router) {
    router.run(MASQUERADE);
    router.run("iptables -t nat -A PREROUTING -i eth0 -p udp --dport 22111 -j DNAT --to-destination 198.51.100.7:9000-9002");
    let packets: Vec<_> =
        (0..64).map(|number| udp((ALICE, 40000), (OTHER, 22111)).payload([number])).collect();
    let left = router.send_all(LAN, &packets);
    assert_eq!(left.len(), packets.len());
    assert!(
        left.iter()
            .all(|(_, it)| (it.source(), it.destination()) == (left[0].1.source(), left[0].1.destination()))
    );
    assert_eq!(router.tracked("-p udp").len(), 1);
}

/// conntrack_reverse_clash: two programs send to each other at once; a translation elsewhere is no reason to change a port.
fn both_ends_at_once_keep_their_ports(router: &mut Router) {
    router.run("iptables -t nat -A POSTROUTING -o eth2 -j MASQUERADE");
    let (here, there) = ((ALICE, 56789), (SERVER, 56790));
    for _ in 0..3 {
        let (port, left) = router.one(LAN, &udp(here, there));
        assert_eq!((port, left.source(), left.destination()), (WAN, here, there));
        let (port, left) = router.one(WAN, &udp(there, here));
        assert_eq!((port, left.source(), left.destination()), (LAN, there, here));
    }
    assert_eq!(router.tracked("-p udp").len(), 1);
}

/// conntrack_resize: the limit changes while there are more flows than it allows.
fn no_more_flows_are_tracked_than_are_allowed(router: &mut Router) {
    let flood = |router: &mut Router, from: Ipv4Address, count: u16| {
        let packets: Vec<_> = (0..count).map(|port| udp((from, 1024 + port), (SERVER, 53))).collect();
        packets.chunks(64).for_each(|packets| drop(router.send_all(LAN, packets)));
        let count = router.print("sysctl -n net.netfilter.nf_conntrack_count");
        count.trim().parse::<u32>().expect("a number")
    };
    assert_eq!(flood(router, ALICE, 512), 512);
    router.run("sysctl -w net.netfilter.nf_conntrack_max=128");
    assert!(flood(router, BOB, 512) <= 512);
    router.run("conntrack -F");
    assert!(flood(router, BOB, 512) <= 128);
    router.run("sysctl -w net.netfilter.nf_conntrack_max=0");
    assert_eq!(flood(router, BOB, 512), 512);
}

/// conntrack_dump_flush.
fn flows_are_listed_and_deleted_by_what_they_are(router: &mut Router) {
    for (port, from) in [(1000, ALICE), (2000, ALICE), (1000, BOB)] {
        router.one(LAN, &udp((from, port), (SERVER, 53)));
    }
    router.one(LAN, &tcp((ALICE, 1000), (SERVER, 80), flag::SYN));
    assert_eq!(router.tracked("").len(), 4);
    assert_eq!(router.tracked("-s 192.168.1.10").len(), 3);
    assert_eq!(router.tracked("-p udp --sport 1000").len(), 2);
    router.run("conntrack -D -p udp -s 192.168.1.10");
    assert_eq!(router.tracked("").len(), 2);
    router.run("conntrack -F");
    assert_eq!(router.tracked("").len(), 0);
}

/// A client with an established connection through the translation that the rules name, to a server behind a smaller MTU.
struct Narrow<'r> {
    router: &'r mut Router,
    /// Whom the client speaks to, and who that is.
    to: Endpoint,
    server: Endpoint,
    outside: Endpoint,
}

const MTU: u16 = 1280;

impl<'r> Narrow<'r> {
    /// Once to the server itself, and once by an address that is translated to it.
    fn each(router: &'r mut Router, mut story: impl FnMut(&mut Narrow<'_>)) {
        let server = (SERVER, 12345);
        for to in [server, (Ipv4Address::new(10, 6, 6, 6), 1666)] {
            router.forget();
            router.run(MASQUERADE);
            router.run("iptables -t nat -A PREROUTING -i eth0 -d 10.6.6.6 -p tcp --dport 1666 -j DNAT --to-destination 198.51.100.7:12345");
            router.run(&format!("ip link set eth1 mtu {MTU}"));
            let mut narrow = Narrow { router: &mut *router, to, server, outside: (WAN_SIDE, 40000) };
            narrow.up(flag::SYN, 1000, 0, 0);
            narrow.down(flag::SYN | flag::ACK, 5000, 1001, 0);
            narrow.up(flag::ACK, 1001, 5001, 0);
            // Enough of them that the rest takes the fast path.
            for turn in 0..4 {
                narrow.up(flag::ACK, 1001 + turn * 100, 5001, 100);
                narrow.down(flag::ACK, 5001, 1101 + turn * 100, 0);
            }
            story(&mut narrow);
        }
    }

    fn segment(&self, size: usize) -> Datagram {
        tcp((ALICE, 40000), self.to, flag::ACK)
            .numbers(1401, 5001)
            .payload(vec![5; size])
            .but(|p| p.id = 4711)
    }

    #[track_caller]
    fn up(&mut self, flags: u8, seq: u32, ack: u32, size: usize) {
        let segment = tcp((ALICE, 40000), self.to, flags).numbers(seq, ack).payload(vec![5; size]);
        let (port, left) = self.router.one(LAN, &segment);
        assert_eq!((port, left.source(), left.destination()), (WAN, self.outside, self.server));
    }

    #[track_caller]
    fn down(&mut self, flags: u8, seq: u32, ack: u32, size: usize) {
        let segment = tcp(self.server, self.outside, flags).numbers(seq, ack).payload(vec![6; size]);
        let (port, left) = self.router.one(WAN, &segment);
        assert_eq!((port, left.source(), left.destination()), (LAN, self.to, (ALICE, 40000)));
    }
}

/// nft_flowtable without path MTU discovery.
fn large_packets_of_an_old_flow_are_fragmented(router: &mut Router) {
    Narrow::each(router, |narrow| {
        let segment = narrow.segment(1460);
        let left = narrow.router.send(LAN, &segment);
        assert_eq!(left.len(), 2, "{left:?}");
        let whole = segment.from(narrow.outside).to(narrow.server).ttl(63).bytes();
        let mut payload: Vec<u8> = Vec::new();
        for (port, fragment) in &left {
            assert_eq!((*port, fragment.id, usize::from(fragment.offset)), (WAN, 4711, payload.len()));
            let bytes = fragment.bytes();
            assert!(bytes.len() <= usize::from(MTU));
            payload.extend(&bytes[20..]);
        }
        assert_eq!(payload, whole[20..], "the fragments are the translated segment");
    });
}

/// nft_flowtable with path MTU discovery: the report names what the client has sent, as the client knows it.
fn large_packets_that_may_not_be_fragmented_are_reported(router: &mut Router) {
    Narrow::each(router, |narrow| {
        let segment = narrow.segment(1460).dont_fragment();
        let (port, report) = narrow.router.one(LAN, &segment);
        assert_eq!((port, report.source, report.icmp_type()), (LAN, LAN_SIDE, Some((3, 4))));
        let Body::Icmp { word, payload, .. } = &report.body else { panic!("{report:?}") };
        assert_eq!(*word, u32::from(MTU));
        assert_eq!(*payload, segment.quote(payload.len()));
        narrow.up(flag::ACK, 1401, 5001, usize::from(MTU) - 40);
        // A narrower wire beyond.
        let (_, seen) = narrow.router.one(LAN, &narrow.segment(1200).dont_fragment());
        let beyond = icmp(PROVIDER, WAN_SIDE, 3, 4, 1000, &seen.quote(548));
        let (port, report) = narrow.router.one(WAN, &beyond);
        assert_eq!((port, report.destination, report.checksums_are_right()), (LAN, ALICE, true));
        let quoted = report.quoted().expect("a quote");
        assert_eq!((quoted.source(), quoted.destination()), ((ALICE, 40000), narrow.to));
    });
}

/// rpath: what comes in where its source is not.
fn a_source_that_is_elsewhere_fails_the_reverse_path(router: &mut Router) {
    let (martian, regular) = (echo((WEB, 7), LAN_SIDE), echo((ALICE, 7), LAN_SIDE));
    assert_eq!(router.one(LAN, &martian).0, DMZ, "nobody asks");
    router.run("sysctl -w net.ipv4.conf.all.rp_filter=1");
    assert_eq!(router.send(LAN, &martian), []);
    assert_eq!(router.one(LAN, &regular).0, LAN);
    assert_eq!(router.send(LAN, &udp((WEB, 5), (SERVER, 5))), [], "nor is it forwarded");
}

/// conntrack_ipip_mtu: that rules look at connections is no reason to put fragments together, and so to make them larger.
fn fragments_leave_as_they_came(router: &mut Router) {
    router.run("iptables -A FORWARD -m conntrack --ctstate NEW");
    let whole = udp((ALICE, 40000), (SERVER, 5000)).payload([b'a'; 1400]).but(|p| p.id = 99);
    let bytes = whole.bytes();
    let part = |from: usize, to: usize| {
        other(ALICE, SERVER, 17, &bytes[20 + from..20 + to]).but(|p| {
            (p.id, p.offset, p.more_fragments) = (99, from as u16, to < bytes.len() - 20);
        })
    };
    for _ in 0..3 {
        let fragments = [part(0, 1360), part(1360, bytes.len() - 20)];
        let left = router.send_all(LAN, &fragments);
        let expected = fragments.map(|it| (WAN, Datagram::read(&it.ttl(63).bytes()).expect("a packet")));
        assert_eq!(left, expected);
    }
}
