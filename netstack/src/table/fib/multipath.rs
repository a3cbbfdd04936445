//! The choice among several next hops by the hash of a flow, so that all its packets take one way. Read RFC 2992 first.

use super::{
    Destination, NextHop, Query,
    entry::{Hop, destination_of, hops_of},
};
use crate::{
    config::{Config, route::Route},
    interface::InterfaceId,
    table::flow::Tuple,
};

/// How next hops are chosen.
#[derive(Clone, Copy, Default)]
pub struct Multipath {
    /// Nobody outside knows it, or he could choose flows that all take one way.
    key: [u64; 2],
    /// Whether the ports count (`fib_multipath_hash_policy`), or the addresses alone.
    pub by_ports: bool,
}

impl Multipath {
    pub fn new(key: [u64; 2]) -> Self {
        Self { key, by_ports: false }
    }

    /// Where a packet goes that takes a route.
    pub fn destination(&self, route: &Route, config: &Config, query: &Query) -> Destination {
        let several = self.choose(hops_of(route, config), query).map(Destination::Unicast);
        several.unwrap_or_else(|| destination_of(route, config))
    }

    /// One of several next hops. Those of the interface that its flow is bound to come first, or those that have the source of
    /// what the router itself sends; then each has its share of the flows, by its weight.
    fn choose(&self, hops: impl Iterator<Item = Hop> + Clone, query: &Query) -> Option<NextHop> {
        let own = query.ingress == InterfaceId::LOOPBACK && !query.source.is_unspecified();
        let preferred = |hop: &Hop| match query.bound {
            Some(interface) => hop.next.interface == interface,
            None => own && hop.next.source == Some(query.source),
        };
        let all = !hops.clone().any(|hop| preferred(&hop));
        let mut eligible = hops.filter(|hop| all || preferred(hop));
        let total: u64 = eligible.clone().map(|hop| u64::from(hop.weight)).sum();
        let mut share = (u64::from(self.hash(&query.flow)) * total) >> 32;
        let chosen = eligible.find(|hop| match share.checked_sub(hop.weight.into()) {
            Some(rest) => {
                share = rest;
                false
            }
            None => true,
        });
        chosen.map(|hop| hop.next)
    }

    /// The same for both directions of a flow, as on Linux.
    fn hash(&self, flow: &Tuple) -> u32 {
        let end = |address: smoltcp::wire::Ipv4Address, port: u16| {
            u64::from(address.to_bits()) << 16 | u64::from(if self.by_ports { port } else { 0 })
        };
        let (one, other) = (end(flow.source, flow.source_port), end(flow.destination, flow.destination_port));
        let protocol = if self.by_ports { flow.protocol.into() } else { 0 };
        let ends = fold(one.min(other) ^ self.key[0], one.max(other) ^ self.key[1]);
        (fold(ends ^ protocol, self.key[0] | 1) >> 32) as u32
    }
}

/// Both halves of a product.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::wire::Ipv4Address;

    const KEY: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03];

    fn hop(number: u16, weight: u16) -> Hop {
        let source = Some(Ipv4Address::new(10, 0, 0, number as u8));
        let interface = InterfaceId(number);
        Hop { next: NextHop { interface, gateway: None, source, mtu: 1500, advmss: 1460 }, weight }
    }

    /// A query of flow number `number`, of ten hosts that have their ports in turn.
    fn query(number: u32) -> Query {
        let destination = Ipv4Address::new(198, 51, 100, 7);
        let source = Ipv4Address::from_bits(0xc0a8_0100 + number % 10);
        let flow =
            Tuple { source, destination, source_port: number as u16, destination_port: 443, protocol: 6 };
        Query { source, ingress: InterfaceId(9), flow, ..Query::to(destination) }
    }

    fn egress(multipath: &Multipath, hops: &[Hop], query: &Query) -> u16 {
        multipath.choose(hops.iter().copied(), query).unwrap().interface.0
    }

    #[test]
    fn each_next_hop_has_its_share_of_the_flows() {
        let multipath = Multipath { by_ports: true, ..Multipath::new(KEY) };
        let hops = [hop(1, 5), hop(2, 2), hop(3, 1)];
        let mut shares = [0; 3];
        for number in 0..8000 {
            shares[usize::from(egress(&multipath, &hops, &query(number))) - 1] += 1;
        }
        for (share, expected) in shares.into_iter().zip([5000, 2000, 1000]) {
            assert!(i32::abs(share - expected) < 200, "{shares:?}");
        }
    }

    #[test]
    fn without_ports_all_flows_between_two_hosts_take_one_way_in_both_directions() {
        let multipath = Multipath::new(KEY);
        let hops = [hop(1, 1), hop(2, 1)];
        for number in 0..100 {
            let there = query(number);
            let again = query(number + 10);
            let back = Query { flow: there.flow.inverted(), ..there };
            let chosen = egress(&multipath, &hops, &there);
            assert_eq!([again, back].map(|query| egress(&multipath, &hops, &query)), [chosen; 2]);
        }
    }

    #[test]
    fn another_key_spreads_them_otherwise() {
        let hops = [hop(1, 1), hop(2, 1)];
        let chosen = [KEY, [3, 4]].map(|key| {
            let multipath = Multipath { by_ports: true, ..Multipath::new(key) };
            (0..100).map(|number| egress(&multipath, &hops, &query(number))).collect::<alloc::vec::Vec<_>>()
        });
        assert_ne!(chosen[0], chosen[1]);
    }

    #[test]
    fn a_bound_flow_and_the_owner_of_a_source_stay_with_their_interface() {
        let multipath = Multipath::new(KEY);
        let hops = [hop(1, 200), hop(2, 1)];
        for number in 0..100 {
            let bound = Query { bound: Some(InterfaceId(2)), ..query(number) };
            assert_eq!(egress(&multipath, &hops, &bound), 2);
            let own = Query {
                ingress: InterfaceId::LOOPBACK,
                source: Ipv4Address::new(10, 0, 0, 2),
                ..query(number)
            };
            assert_eq!(egress(&multipath, &hops, &own), 2);
            let gone = Query { bound: Some(InterfaceId(7)), ..query(number) };
            assert_eq!(egress(&multipath, &hops, &gone), egress(&multipath, &hops, &query(number)));
        }
    }
}
