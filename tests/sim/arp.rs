//! Who has which MAC address (RFC 826, RFC 1122 2.3.2).

use netstack::outcome::DropReason;
use smoltcp::{
    time::Duration,
    wire::{ArpOperation, ArpRepr, EthernetAddress, Ipv4Address},
};
use tests::{
    bench::Bench,
    datagram::*,
    frame::{Content, Frame},
    network::*,
};

/// A host on the LAN that nobody has told the router about.
const CAROL: Ipv4Address = Ipv4Address::new(192, 168, 1, 20);
const CAROLS_MAC: EthernetAddress = EthernetAddress([0x02, 0, 0, 0, 0, 20]);
const OTHER_MAC: EthernetAddress = EthernetAddress([0x02, 0, 0, 0, 0, 21]);

fn bench() -> Bench {
    Bench::network("")
}

fn arp(operation: ArpOperation, from: (EthernetAddress, Ipv4Address), to: Ipv4Address) -> Frame {
    let mut frame = Frame::arp_request(from.0, from.1, to);
    if let Content::Arp(ArpRepr::EthernetIpv4 { operation: field, target_hardware_addr, .. }) =
        &mut frame.content
    {
        *field = operation;
        if operation == ArpOperation::Reply {
            (*target_hardware_addr, frame.to) = (router_mac(LAN), router_mac(LAN));
        }
    }
    frame
}

/// A packet that the router has to bring to CAROL.
fn for_carol() -> Datagram {
    udp((SERVER, 53), (CAROL, 40000))
}

/// ARP requests among `left`: port, MAC they are sent to, address asked for.
fn requests(left: &[(usize, Vec<u8>)]) -> Vec<(usize, EthernetAddress, Ipv4Address)> {
    let asked = |(port, bytes): &(usize, Vec<u8>)| match Frame::read(bytes) {
        Frame {
            to,
            content:
                Content::Arp(ArpRepr::EthernetIpv4 {
                    operation: ArpOperation::Request, target_protocol_addr, ..
                }),
            ..
        } => Some((*port, to, target_protocol_addr)),
        _ => None,
    };
    left.iter().filter_map(asked).collect()
}

/// The packet goes in on the WAN; gives all frames that leave.
fn deliver(bench: &mut Bench, packet: Datagram) -> Vec<(usize, Vec<u8>)> {
    bench.inject(WAN, &Frame::ip(neighbor_mac(WAN, SERVER), router_mac(WAN), packet).bytes())
}

/// Where a packet for CAROL goes at this moment: the MAC address, or `None` where it is not sent at once.
fn mac_of_carol(bench: &mut Bench) -> Option<EthernetAddress> {
    let left = deliver(bench, for_carol());
    let frames = left.iter().map(|(_, bytes)| Frame::read(bytes));
    frames.filter(|frame| frame.datagram().is_some()).map(|frame| frame.to).next()
}

fn carol_answers(bench: &mut Bench) -> Vec<(usize, Vec<u8>)> {
    bench.inject(LAN, &arp(ArpOperation::Reply, (CAROLS_MAC, CAROL), LAN_SIDE).bytes())
}

#[test]
fn own_addresses_are_answered_on_their_interface_only() {
    let mut bench = bench();
    let ask = |wanted| Frame::arp_request(CAROLS_MAC, CAROL, wanted);
    let reply = ask(LAN_SIDE).arp_answer(router_mac(LAN)).unwrap();
    assert_eq!(bench.inject(LAN, &ask(LAN_SIDE).bytes()), [(LAN, reply.bytes())]);
    for elsewhere in [WAN_SIDE, DMZ_SIDE, ALICE, CAROL] {
        assert_eq!(bench.inject(LAN, &ask(elsewhere).bytes()), [], "{elsewhere}");
    }
}

#[test]
fn a_probe_for_an_own_address_is_defended() {
    let mut bench = bench();
    let probe = Frame::arp_request(CAROLS_MAC, Ipv4Address::UNSPECIFIED, LAN_SIDE);
    let left = bench.inject(LAN, &probe.bytes());
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(mac_of_carol(&mut bench), None, "a probe teaches nothing");
}

#[test]
fn a_sender_with_a_group_mac_is_ignored() {
    let mut bench = bench();
    for mac in [EthernetAddress::BROADCAST, EthernetAddress([1, 0, 0x5e, 0, 0, 1])] {
        let request = Frame { from: CAROLS_MAC, ..Frame::arp_request(mac, CAROL, LAN_SIDE) };
        assert_eq!(bench.inject(LAN, &request.bytes()), [], "{mac}");
        assert_eq!(mac_of_carol(&mut bench), None, "{mac}");
    }
}

#[test]
fn a_packet_waits_for_the_answer_and_then_goes_out() {
    let mut bench = bench();
    let left = deliver(&mut bench, for_carol());
    assert_eq!(requests(&left), [(LAN, EthernetAddress::BROADCAST, CAROL)]);
    let left = carol_answers(&mut bench);
    let expected = Frame::ip(router_mac(LAN), CAROLS_MAC, for_carol().ttl(63));
    assert_eq!(left, [(LAN, expected.bytes())]);
    assert_eq!(bench.kept_buffers(), 0);
}

#[test]
fn at_least_three_packets_wait_in_order_and_their_number_is_bounded() {
    let mut bench = bench();
    let numbered = |number: u16| for_carol().but(|p| p.id = number);
    for number in 0..3 {
        deliver(&mut bench, numbered(number));
    }
    let ids = |left: Vec<(usize, Vec<u8>)>| -> Vec<u16> {
        left.iter().filter_map(|(_, bytes)| Frame::read(bytes).datagram().map(|packet| packet.id)).collect()
    };
    assert_eq!(ids(carol_answers(&mut bench)), [0, 1, 2]);

    let mut bench = self::bench();
    for number in 0..500 {
        deliver(&mut bench, numbered(number));
    }
    assert!(bench.kept_buffers() <= 16, "{} packets wait", bench.kept_buffers());
    assert!(bench.router.drops().get(DropReason::NeighborPending) >= 484);
    carol_answers(&mut bench);
    assert_eq!(bench.kept_buffers(), 0);
}

#[test]
fn packets_for_many_silent_neighbours_do_not_use_up_the_buffers() {
    let mut bench = bench();
    for last in 30..250 {
        for _ in 0..8 {
            deliver(&mut bench, udp((SERVER, 53), (Ipv4Address::new(192, 168, 1, last), 9)));
        }
    }
    assert!(bench.kept_buffers() <= tests::bench::BUFFERS / 2, "{} packets wait", bench.kept_buffers());
    assert!(!bench.send(LAN, crate::query()).is_empty(), "others are served");
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.kept_buffers(), 0);
}

#[test]
fn one_destination_is_asked_for_once_in_a_second() {
    let mut bench = bench();
    let mut asked = Vec::new();
    for _ in 0..100 {
        asked.extend(requests(&deliver(&mut bench, for_carol())));
        asked.extend(requests(&bench.pass(Duration::from_millis(10))));
    }
    assert!((1..=2).contains(&asked.len()), "{} requests within a second", asked.len());
}

#[test]
fn a_silent_neighbour_makes_every_waiting_packet_host_unreachable() {
    let mut bench = bench();
    for number in 0..3 {
        deliver(&mut bench, for_carol().but(|p| p.id = number));
    }
    let left = bench.pass(Duration::from_secs(10));
    let errors: Vec<_> = left
        .iter()
        .filter(|(port, _)| *port == WAN)
        .map(|(_, bytes)| Frame::read(bytes).datagram().cloned().expect("an ICMP error"))
        .collect();
    assert!(errors.iter().all(|error| error.icmp_type() == Some((3, 1))), "{errors:?}");
    let about: Vec<_> = errors.iter().filter_map(|error| error.quoted().map(|quoted| quoted.id)).collect();
    assert_eq!(about, [0, 1, 2]);
    assert_eq!(bench.kept_buffers(), 0);
}

#[test]
fn an_old_entry_is_probed_by_unicast_and_kept_in_use_meanwhile() {
    let mut bench = bench();
    deliver(&mut bench, for_carol());
    carol_answers(&mut bench);
    bench.pass(Duration::from_secs(120));
    assert_eq!(mac_of_carol(&mut bench), Some(CAROLS_MAC), "stale is still used");
    let asked = requests(&bench.pass(Duration::from_secs(10)));
    assert_eq!(asked.first(), Some(&(LAN, CAROLS_MAC, CAROL)), "the first request is unicast");
}

#[test]
fn an_entry_that_nobody_confirms_fails() {
    let mut bench = bench();
    deliver(&mut bench, for_carol());
    carol_answers(&mut bench);
    bench.pass(Duration::from_secs(120));
    mac_of_carol(&mut bench);
    bench.pass(Duration::from_secs(30));
    assert_eq!(mac_of_carol(&mut bench), None);
}

#[test]
fn a_static_entry_never_changes() {
    let mut bench =
        Bench::network("ip neigh add 192.168.1.20 lladdr 02:00:00:00:00:14 nud permanent dev eth0");
    for operation in [ArpOperation::Reply, ArpOperation::Request] {
        bench.inject(LAN, &arp(operation, (OTHER_MAC, CAROL), LAN_SIDE).bytes());
    }
    bench.pass(Duration::from_secs(1000));
    assert_eq!(mac_of_carol(&mut bench), Some(CAROLS_MAC));
}

#[test]
fn a_request_for_us_teaches_its_sender() {
    let mut bench = bench();
    bench.inject(LAN, &Frame::arp_request(CAROLS_MAC, CAROL, LAN_SIDE).bytes());
    assert_eq!(mac_of_carol(&mut bench), Some(CAROLS_MAC), "RFC 826: it is about to speak to us");
}

#[test]
fn an_unsolicited_reply_creates_nothing() {
    let mut bench = bench();
    carol_answers(&mut bench);
    assert_eq!(mac_of_carol(&mut bench), None);
}

#[test]
fn a_gratuitous_message_updates_what_exists_and_creates_nothing() {
    let mut bench = bench();
    let announce = |mac| Frame::arp_request(mac, CAROL, CAROL).bytes();
    bench.inject(LAN, &announce(CAROLS_MAC));
    assert_eq!(mac_of_carol(&mut bench), None);
    carol_answers(&mut bench);
    assert_eq!(mac_of_carol(&mut bench), Some(CAROLS_MAC));
    bench.pass(Duration::from_secs(5));
    bench.inject(LAN, &announce(OTHER_MAC));
    assert_eq!(mac_of_carol(&mut bench), Some(OTHER_MAC));
}

#[test]
fn a_sender_outside_the_network_teaches_nothing() {
    let mut bench = bench();
    bench.inject(LAN, &Frame::arp_request(CAROLS_MAC, SERVER, LAN_SIDE).bytes());
    let left = bench.send(LAN, crate::query());
    assert_eq!(left.first().map(|(port, _)| *port), Some(WAN));
}

/// The ARP requests that the router sends on the LAN about an address of its own: in whose name.
fn own_requests(left: &[(usize, Vec<u8>)], address: Ipv4Address) -> Vec<Ipv4Address> {
    let from = |(port, bytes): &(usize, Vec<u8>)| match Frame::read(bytes) {
        Frame {
            to: EthernetAddress::BROADCAST,
            content:
                Content::Arp(ArpRepr::EthernetIpv4 {
                    operation: ArpOperation::Request,
                    source_protocol_addr,
                    target_protocol_addr,
                    ..
                }),
            ..
        } if *port == LAN && target_protocol_addr == address => Some(source_protocol_addr),
        _ => None,
    };
    left.iter().filter_map(from).collect()
}

#[test]
fn a_new_address_is_probed_and_then_announced() {
    let mut bench = bench();
    bench.run("ip addr add 192.168.1.77/24 dev eth0");
    let new = Ipv4Address::new(192, 168, 1, 77);
    let left = bench.pass(Duration::from_secs(20));
    // RFC 5227 2.1.1 and 2.3: three probes in nobody's name, two announcements in its own.
    let nobody = Ipv4Address::UNSPECIFIED;
    assert_eq!(own_requests(&left, new), [nobody, nobody, nobody, new, new]);
}

#[test]
fn an_address_is_defended_at_most_once_in_ten_seconds() {
    let mut bench = bench();
    // RFC 5227 2.4 (b).
    let claim = arp(ArpOperation::Request, (CAROLS_MAC, LAN_SIDE), LAN_SIDE).bytes();
    let mut defences = 0;
    for _ in 0..25 {
        let mut left = bench.inject(LAN, &claim);
        left.extend(bench.pass(Duration::from_secs(1)));
        defences += own_requests(&left, LAN_SIDE).len();
    }
    assert_eq!(defences, 3);
}
