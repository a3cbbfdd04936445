//! OpenBSD's regression tests of ARP that concern a router without proxy ARP (regress/sys/netinet/arp; RFC 826, RFC 5227).

use crate::{
    Scenario,
    router::{Router, arp_only},
    scenarios,
};
use smoltcp::wire::{ArpOperation, ArpRepr, EthernetAddress, Ipv4Address};
use tests::{
    datagram::udp,
    frame::{Content, Frame},
    network::*,
};

pub const SCENARIOS: &[Scenario] = scenarios![
    a_request_is_answered_and_teaches,
    a_probe_is_answered_and_teaches_nothing,
    senders_that_are_a_group_are_ignored,
    an_announcement_of_a_stranger_teaches_nothing,
    whoever_claims_the_routers_address_is_not_believed,
    a_neighbor_that_moved_is_followed,
    nobody_is_answered_for,
];

/// Somebody on the LAN whom the router does not know.
const FAKE: Ipv4Address = Ipv4Address::new(192, 168, 1, 77);
const MAC: EthernetAddress = EthernetAddress([0x02, 0, 0, 0, 0, 77]);
const OTHER_MAC: EthernetAddress = EthernetAddress([0x02, 0, 0, 0, 0, 78]);

/// A request of `sender` to everybody.
fn request(sender: (EthernetAddress, Ipv4Address), wanted: Ipv4Address) -> Frame {
    Frame::arp_request(sender.0, sender.1, wanted)
}

/// A reply of `sender` to the router.
fn reply(router: &Router, sender: (EthernetAddress, Ipv4Address)) -> Frame {
    let content = Content::Arp(ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: sender.0,
        source_protocol_addr: sender.1,
        target_hardware_addr: router.mac(LAN),
        target_protocol_addr: LAN_SIDE,
    });
    Frame { to: router.mac(LAN), from: sender.0, content }
}

fn ask(router: &mut Router, frame: &Frame) -> Vec<(usize, Frame)> {
    arp_only(router.exchange(LAN, std::slice::from_ref(frame)))
}

fn forget(router: &mut Router) {
    router.print("ip neigh del 192.168.1.77 dev eth0");
}

fn a_request_is_answered_and_teaches(router: &mut Router) {
    forget(router);
    let frame = request((MAC, FAKE), LAN_SIDE);
    let expected = frame.arp_answer(router.mac(LAN)).expect("a request");
    assert_eq!(ask(router, &frame), [(LAN, expected)]);
    assert_eq!(router.neighbor(FAKE), Some(MAC));
}

fn a_probe_is_answered_and_teaches_nothing(router: &mut Router) {
    forget(router);
    let frame = request((MAC, Ipv4Address::UNSPECIFIED), LAN_SIDE);
    let expected = frame.arp_answer(router.mac(LAN)).expect("a request");
    assert_eq!(ask(router, &frame), [(LAN, expected)]);
    assert_eq!(router.neighbor(Ipv4Address::UNSPECIFIED), None);
}

fn senders_that_are_a_group_are_ignored(router: &mut Router) {
    forget(router);
    for group in [EthernetAddress::BROADCAST, EthernetAddress([0x33, 0x33, 0, 0, 0, 1])] {
        assert_eq!(ask(router, &request((group, FAKE), LAN_SIDE)), []);
        assert_eq!(router.neighbor(FAKE), None);
    }
}

fn an_announcement_of_a_stranger_teaches_nothing(router: &mut Router) {
    forget(router);
    assert_eq!(ask(router, &request((MAC, FAKE), FAKE)), []);
    let unasked = reply(router, (MAC, FAKE));
    assert_eq!(ask(router, &unasked), []);
    assert_eq!(router.neighbor(FAKE), None);
}

fn whoever_claims_the_routers_address_is_not_believed(router: &mut Router) {
    // The router may defend its address, and learns nothing.
    for claim in [request((MAC, LAN_SIDE), LAN_SIDE), reply(router, (MAC, LAN_SIDE))] {
        for (_, answer) in ask(router, &claim) {
            assert_eq!((answer.from, answer.to), (router.mac(LAN), EthernetAddress::BROADCAST));
        }
    }
    assert_eq!(router.neighbor(LAN_SIDE), None);
    a_request_is_answered_and_teaches(router);
}

fn a_neighbor_that_moved_is_followed(router: &mut Router) {
    a_request_is_answered_and_teaches(router);
    assert_eq!(ask(router, &request((OTHER_MAC, FAKE), FAKE)), [], "an announcement");
    assert_eq!(router.neighbor(FAKE), Some(OTHER_MAC));
    // ALICE's entry was typed, and stays.
    assert_eq!(ask(router, &request((OTHER_MAC, ALICE), ALICE)), []);
    let left = router.send_all(WAN, &[udp((SERVER, 53), (ALICE, 53))]);
    assert_eq!(left.len(), 1);
    assert_eq!(router.neighbor(ALICE), Some(neighbor_mac(LAN, ALICE)));
}

fn nobody_is_answered_for(router: &mut Router) {
    for wanted in [ALICE, FAKE, WAN_SIDE, DMZ_SIDE, SERVER] {
        assert_eq!(ask(router, &request((MAC, FAKE), wanted)), [], "{wanted}");
    }
}
