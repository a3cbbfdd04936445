//! Routes with several ways: which flow takes which is each router's own choice, but a flow stays with its way, and the weights
//! are kept.

use crate::{
    scenario::{Network, Scenario},
    sides::{Linux, Rutter, Side},
};
use smoltcp::wire::Ipv4Address;
use tests::{datagram::*, frame::Frame, namespace::in_namespace, network::*};

const FLOWS: u16 = 120;
const WAYS: &str =
    "ip route add 198.51.100.0/28 nexthop via 203.0.113.1 weight 2 nexthop via 10.10.0.5 weight 1";

/// The card that a packet from somebody behind BOB leaves by.
fn way(side: &mut dyn Side, packet: Datagram) -> usize {
    let frame = Frame::ip(neighbor_mac(LAN, BOB), router_mac(LAN), packet);
    let left = side.send(LAN, &frame.bytes());
    assert_eq!(left.len(), 1, "one packet leaves");
    left[0].0
}

fn try_ways(side: &mut dyn Side, by_ports: bool) {
    let rules =
        vec![WAYS.into(), format!("sysctl -w net.ipv4.fib_multipath_hash_policy={}", u8::from(by_ports))];
    side.configure(&Scenario { network: Network::Plain, rules, steps: Vec::new() });
    let flow = |number: u16, port| match by_ports {
        true => udp((BOB, 10_000 + number), (SERVER, 53)),
        false => udp((Ipv4Address::new(172, 16, 1, number as u8), port), (SERVER, 53)),
    };
    let mut ways = |port| -> Vec<_> { (0..FLOWS).map(|number| way(side, flow(number, port))).collect() };
    let first = ways(1);
    assert_eq!([ways(2), ways(3)], [first.clone(), first.clone()], "each stays with its way");
    let over_the_provider = first.iter().filter(|way| **way == WAN).count();
    assert!((60..100).contains(&over_the_provider), "{over_the_provider} of {FLOWS}, not two of three");
}

#[test]
fn a_flow_stays_with_one_of_several_ways_on_linux_and_on_rutter() {
    in_namespace(&["ip", "iptables", "ipset", "conntrack"], || {
        let (mut linux, mut rutter) = (Linux::new(3), Rutter::default());
        for by_ports in [false, true] {
            try_ways(&mut linux, by_ports);
            try_ways(&mut rutter, by_ports);
        }
    });
}
