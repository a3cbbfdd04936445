//! How many ICMP messages the router sends, and where they come from (`net.ipv4.icmp_*`, Linux's ip-sysctl.rst).

use crate::{assert_error, query};
use netstack::outcome::DropReason;
use smoltcp::{time::Duration, wire::Ipv4Address};
use tests::{bench::Bench, datagram::*, network::*};

/// How many of 20 packets of ALICE's, each of another flow, are answered.
fn answered(bench: &mut Bench, packet: impl Fn(u16) -> Datagram) -> usize {
    (0..20).filter(|&number| !bench.send(LAN, packet(40000 + number)).is_empty()).count()
}

fn late(port: u16) -> Datagram {
    udp((ALICE, port), (SERVER, 53)).ttl(1)
}

fn knock(port: u16) -> Datagram {
    udp((ALICE, port), (LAN_SIDE, 9))
}

fn ping(identifier: u16) -> Datagram {
    echo((ALICE, identifier), LAN_SIDE)
}

fn too_large(port: u16) -> Datagram {
    udp((ALICE, port), (SERVER, 53)).payload([7; 1253]).dont_fragment()
}

#[test]
fn only_the_types_of_the_mask_are_held_back() {
    const TIME_EXCEEDED: u32 = 1 << 11;
    const UNREACHABLE: u32 = 1 << 3;
    const ECHO_REPLY: u32 = 1;
    // Errors about TTL and about ports, and echo replies.
    for (mask, answers) in [
        (6168, [6, 6, 20]),
        (TIME_EXCEEDED, [6, 20, 20]),
        (UNREACHABLE, [20, 6, 20]),
        (ECHO_REPLY, [20, 20, 6]),
        (0, [20, 20, 20]),
    ] {
        let mut bench = Bench::network(&format!(
            "sysctl -w net.ipv4.icmp_ratelimit=1000 net.ipv4.icmp_ratemask={mask}\nip link set eth1 mtu 1280"
        ));
        let mut asked = |packet: fn(u16) -> Datagram| {
            bench.pass(Duration::from_secs(10));
            answered(&mut bench, packet)
        };
        assert_eq!([asked(late), asked(knock), asked(ping)], answers, "mask {mask}");
        assert_eq!(asked(too_large), 20, "what path MTU discovery needs, mask {mask}");
        let unanswered = bench.router.drops().get(DropReason::EchoIgnored);
        assert_eq!(unanswered, 20 - answers[2] as u64);
    }
}

#[test]
fn all_together_have_a_rate_and_a_burst() {
    let mut bench = Bench::network(
        "sysctl -w net.ipv4.icmp_msgs_per_sec=10 net.ipv4.icmp_msgs_burst=7
         ip link set eth1 mtu 1280",
    );
    assert_eq!(answered(&mut bench, late), 7);
    bench.pass(Duration::from_millis(300));
    assert_eq!(answered(&mut bench, knock), 3, "ten in a second");
    assert_eq!((answered(&mut bench, ping), answered(&mut bench, too_large)), (20, 20), "not limited");
    for none in ["per_sec=0", "per_sec=10 net.ipv4.icmp_msgs_burst=0"] {
        bench.run(&format!("sysctl -w net.ipv4.icmp_msgs_{none}"));
        bench.pass(Duration::from_secs(10));
        assert_eq!((answered(&mut bench, late), answered(&mut bench, too_large)), (0, 20), "{none}");
    }
}

const INBOUND: &str = "sysctl -w net.ipv4.icmp_errors_use_inbound_ifaddr=1\n";

/// SERVER's packet, whose TTL runs out, comes in on the DMZ, though the way to SERVER is another: the interface and the source
/// of the error about it.
#[track_caller]
fn error_about_a_detour(bench: &mut Bench) -> (usize, Ipv4Address) {
    let (port, error) = bench.exchange(DMZ, udp((SERVER, 53), (ALICE, 40000)).ttl(1));
    assert_eq!((error.icmp_type(), error.destination), (Some((11, 0)), SERVER));
    (port, error.source)
}

#[test]
fn an_error_has_the_address_of_the_way_it_takes_or_of_the_way_the_packet_came() {
    assert_eq!(error_about_a_detour(&mut Bench::network("")), (WAN, WAN_SIDE));
    let mut bench = Bench::network(INBOUND);
    assert_eq!(error_about_a_detour(&mut bench), (WAN, DMZ_SIDE));
    let closed = knock(40000);
    assert_error(&bench.send(LAN, closed.clone()), LAN, (3, 3), &closed);
    bench.run("ip addr add 198.51.100.9/24 dev eth2\nip route add 198.51.100.7 via 203.0.113.1");
    let near = Ipv4Address::new(198, 51, 100, 9);
    assert_eq!(error_about_a_detour(&mut bench), (WAN, near), "the one in the network of the receiver");
    bench.run("ip addr flush dev eth2");
    assert_eq!(error_about_a_detour(&mut bench), (WAN, LAN_SIDE), "that of the first interface that has one");
}

#[test]
fn rules_see_the_source_of_an_error_where_it_is_that_of_the_way_the_packet_came() {
    let table = "ip route add default via 10.10.0.5 table 100\nip rule add from 10.10.0.1 lookup 100\n";
    assert_eq!(error_about_a_detour(&mut Bench::network(table)), (WAN, WAN_SIDE));
    assert_eq!(error_about_a_detour(&mut Bench::network(&[table, INBOUND].concat())), (DMZ, DMZ_SIDE));
}

#[test]
fn an_error_about_a_packet_that_waited_in_vain_knows_where_it_came_in() {
    for (config, source) in [("", WAN_SIDE), (INBOUND, DMZ_SIDE)] {
        let mut bench = Bench::network(config);
        let nobody = Ipv4Address::new(192, 168, 1, 99);
        assert_eq!(bench.send(DMZ, udp((SERVER, 53), (nobody, 40000))), []);
        let left = bench.packets(|bench| bench.pass(Duration::from_secs(5)));
        let [(port, error)] = &left[..] else { panic!("one error, not {left:?}") };
        assert_eq!((*port, error.icmp_type(), error.source), (WAN, Some((3, 1)), source));
    }
}

#[test]
fn an_unlimited_type_does_not_use_up_what_others_may_send() {
    let mut bench = Bench::network("sysctl -w net.ipv4.icmp_ratemask=8 net.ipv4.icmp_msgs_burst=5");
    assert_eq!(answered(&mut bench, late), 20);
    assert_eq!(answered(&mut bench, knock), 5);
    assert!(!bench.send(LAN, query()).is_empty(), "and traffic goes on");
}
