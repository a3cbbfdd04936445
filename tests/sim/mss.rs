//! TCPMSS on the way of a handshake (requirement 39).

use crate::{connect, gateway};
use tests::{bench::Bench, datagram::*, network::*};

const CLAMP: &str =
    "iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu";

/// A segment of a handshake that offers segments of `size` bytes.
fn offer(from: Endpoint, to: Endpoint, flags: u8, size: u16) -> Datagram {
    tcp(from, to, flags).but(|packet| {
        if let Body::Tcp { options, .. } = &mut packet.body {
            *options = [&[2, 4][..], &size.to_be_bytes()].concat();
        }
    })
}

fn options(packet: &Datagram) -> &[u8] {
    match &packet.body {
        Body::Tcp { options, .. } => options,
        _ => &[],
    }
}

/// What is left of ALICE's offer of `size` bytes.
#[track_caller]
fn offered(bench: &mut Bench, size: u16) -> u16 {
    let (port, left) = bench.exchange(LAN, offer((ALICE, 40000), (SERVER, 80), flag::SYN, size));
    assert_eq!(port, WAN);
    assert!(left.checksums_are_right(), "{left:?}");
    let [2, 4, high, low] = *options(&left) else { panic!("{left:?}") };
    u16::from_be_bytes([high, low])
}

#[test]
fn a_syn_is_clamped_to_the_smaller_mtu_of_both_ways_and_never_raised() {
    let mut bench = gateway();
    bench.run(CLAMP);
    assert_eq!(offered(&mut bench, 1460), 1460);
    assert_eq!(offered(&mut bench, 9000), 1460);
    bench.run("ip link set eth1 mtu 1400");
    assert_eq!(offered(&mut bench, 1460), 1360);
    assert_eq!(offered(&mut bench, 1200), 1200, "it is only lowered");
    bench.run("ip link set eth1 mtu 1500; ip link set eth0 mtu 1300");
    assert_eq!(offered(&mut bench, 1460), 1260, "the way back is the smaller one");
}

#[test]
fn the_mtu_of_a_route_counts_on_both_ways() {
    let mut bench = gateway();
    bench.run(CLAMP);
    bench.run("ip route replace default via 203.0.113.1 mtu 1400");
    assert_eq!(offered(&mut bench, 1460), 1360);
    bench.run("ip route replace default via 203.0.113.1; ip route add 192.168.1.10 dev eth0 mtu 1300");
    assert_eq!(offered(&mut bench, 1460), 1260, "the way back");
}

#[test]
fn a_connection_of_the_router_itself_asks_for_what_its_route_says() {
    let mut bench = Bench::network("");
    for (route, size) in [("", 1460), ("mtu 1400", 1360), ("mtu 1400 advmss 1000", 1000)] {
        bench.run(&format!("ip route replace default via 203.0.113.1 {route}"));
        let told = bench.command("explain out tcp 203.0.113.2:40000 198.51.100.7:80");
        assert!(told.contains(&format!("mss         at most {size}\n")), "{told}");
    }
}

#[test]
fn an_answer_to_a_syn_is_clamped_too() {
    let mut bench = gateway();
    bench.run(&format!("ip link set eth1 mtu 1400; {CLAMP}"));
    bench.exchange(LAN, offer((ALICE, 40000), (SERVER, 80), flag::SYN, 1460));
    let answer = offer((SERVER, 80), (WAN_SIDE, 40000), flag::SYN | flag::ACK, 1460).numbers(5000, 1001);
    let (port, left) = bench.exchange(WAN, answer);
    assert_eq!((port, options(&left)), (LAN, &[2, 4, 0x05, 0x50][..]));
    assert!(left.checksums_are_right(), "{left:?}");
}

#[test]
fn a_size_is_set_in_every_table_and_the_least_one_counts() {
    for place in
        ["-A FORWARD", "-t mangle -A PREROUTING", "-t mangle -A POSTROUTING", "-t nat -A POSTROUTING"]
    {
        let mut bench = Bench::network("");
        bench.run(&format!("iptables {place} -p tcp --syn -j TCPMSS --set-mss 1000"));
        assert_eq!(offered(&mut bench, 1460), 1000, "{place}");
    }
    let mut bench = gateway();
    bench.run(&format!("{CLAMP}; iptables -A FORWARD -p tcp --syn -j TCPMSS --set-mss 1000"));
    assert_eq!(offered(&mut bench, 1460), 1000);
}

#[test]
fn a_syn_without_a_size_is_given_the_default_one() {
    let mut bench = gateway();
    bench.run(CLAMP);
    let (_, left) = bench.exchange(LAN, tcp((ALICE, 40000), (SERVER, 80), flag::SYN));
    assert_eq!(options(&left), [2, 4, 0x02, 0x18]);
    assert!(left.checksums_are_right(), "{left:?}");
}

#[test]
fn what_follows_the_handshake_takes_the_fast_path() {
    let mut bench = gateway();
    bench.run(CLAMP);
    connect(&mut bench, (ALICE, 40000), (SERVER, 80));
    let data = tcp((ALICE, 40000), (SERVER, 80), flag::ACK).numbers(1001, 5001).payload(b"x");
    for _ in 0..3 {
        bench.exchange(LAN, data.clone());
    }
    let before = bench.router.statistics().fast;
    bench.exchange(LAN, data);
    assert_eq!(bench.router.statistics().fast, before + 1);
}
