//! Two routers, each of which believes that the other one knows the way. Read first: RFC 1812, 5.3.1 "Time to Live".

use crate::arena::{Arena, Attack, Fate::Balanced, Side::Wan, TOOLS};
use smoltcp::wire::Ipv4Address;
use tests::{datagram::udp, namespace::in_namespace};

/// What comes from outside may go back there. Its sender is known, for he is to be told.
const OPEN: &str = "iptables -I FORWARD -i eth1 -o eth1 -j ACCEPT
                    ip neigh add 203.0.113.77 lladdr 02:00:00:00:00:77 nud permanent dev eth1\n";
/// The provider sends back what the router sends him by default.
const BACK: &str =
    "sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.wan0.rp_filter=0
                    ip neigh add 203.0.113.77 lladdr 02:00:00:00:00:77 nud permanent dev wan0
                    ip route add 198.19.0.0/16 via 203.0.113.2";

#[rustfmt::skip]
const ATTACKS: &[Attack] = &[
    // Each passes the router over a hundred times.
    Attack { what: "packets that go round and round", side: Wan, frames: 1000, fate: Balanced,
        make: |dice| { let to = (Ipv4Address::from_bits(0xc613_0000 | dice.below(0x1_0000)), 9);
            dice.ip(udp((Ipv4Address::new(203, 0, 113, 77), 5000), to).ttl(255)) } },
];

#[test]
fn loops() {
    in_namespace(&TOOLS, || {
        let mut arena = Arena::new("loops", OPEN);
        arena.site.internet.sh(BACK);
        arena.endure(ATTACKS);
        let books = arena.read_books("loops");
        assert!(books.drops.contains_key("ttl-exceeded") || books.flows > 0, "{books:?}");
        arena.finish();
    });
}
