//! What `log_martians` says of packets whose addresses cannot be right where they came in.

use crate::{log_lines::logged, query};
use netstack::outcome::DropReason;
use smoltcp::wire::Ipv4Address;
use tests::{bench::Bench, datagram::*, network::*};

const LOOPBACK: Ipv4Address = Ipv4Address::LOCALHOST;

/// What is logged of one packet, which is dropped.
#[track_caller]
fn said(bench: &mut Bench, port: usize, packet: Datagram) -> Vec<String> {
    logged(|| _ = bench.dropped(port, packet))
}

#[test]
fn martians_and_wrong_ways_back_are_logged_in_the_words_of_linux() {
    let mut bench = Bench::network(
        "sysctl -w net.ipv4.conf.all.log_martians=1
         sysctl -w net.ipv4.conf.eth1.rp_filter=1",
    );
    for (port, packet, line) in [
        (
            LAN,
            query().but(|p| p.source = LOOPBACK),
            "martian source 198.51.100.7 from 127.0.0.1, on dev eth0",
        ),
        (
            LAN,
            query().but(|p| p.destination = LOOPBACK),
            "martian destination 127.0.0.1 from 192.168.1.10, dev eth0",
        ),
        (WAN, udp((WEB, 1000), (ALICE, 53)), "martian source 192.168.1.10 from 10.10.0.5, on dev eth1"),
        (
            LAN,
            query().but(|p| p.options = vec![131, 7, 4, 10, 10, 0, 5, 0]),
            "source route option 192.168.1.10 -> 198.51.100.7",
        ),
    ] {
        assert_eq!(said(&mut bench, port, packet), [line]);
    }
    assert_eq!(logged(|| _ = bench.exchange(LAN, query())), [""; 0], "a good packet is nothing to speak of");
    bench.run("iptables -A FORWARD -j DROP");
    assert_eq!(said(&mut bench, LAN, query()), [""; 0], "and neither is one that a rule drops");
}

#[test]
fn it_is_off_by_default_and_on_for_all_or_for_one_interface() {
    let martian = |port| (port, query().but(|p| p.source = LOOPBACK));
    let speaks = |bench: &mut Bench, (port, packet)| !said(bench, port, packet).is_empty();
    let mut bench = Bench::network("");
    assert!(!speaks(&mut bench, martian(LAN)));
    bench.run("sysctl -w net.ipv4.conf.default.log_martians=1");
    assert!(!speaks(&mut bench, martian(LAN)), "no interface is to come");
    bench.run("sysctl -w net.ipv4.conf.eth0.log_martians=1");
    assert!(speaks(&mut bench, martian(LAN)) && !speaks(&mut bench, martian(WAN)));
    bench.run("sysctl -w net.ipv4.conf.all.log_martians=1 net.ipv4.conf.eth0.log_martians=0");
    assert!(speaks(&mut bench, martian(LAN)) && speaks(&mut bench, martian(WAN)));
}

#[test]
fn a_flood_of_martians_writes_few_lines() {
    let mut bench = Bench::network("sysctl -w net.ipv4.conf.all.log_martians=1");
    let martian = query().but(|p| p.source = LOOPBACK);
    let lines = logged(|| {
        for _ in 0..10_000 {
            assert_eq!(bench.dropped(LAN, martian.clone()), DropReason::MartianSource);
        }
    });
    assert!((1..200).contains(&lines.len()), "{} lines", lines.len());
}
