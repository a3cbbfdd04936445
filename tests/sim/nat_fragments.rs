//! Fragments through the translation, in any order (RFC 4787 REQ-14, requirement 28).

use crate::{answer, fragments, gateway, one_hop, outer, query, reassemble};
use netstack::outcome::DropReason;
use smoltcp::time::Duration;
use tests::{bench::Bench, datagram::*, network::*};

/// Every order of three.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

fn large() -> Vec<u8> {
    (0..2000).map(|at| (at * 7) as u8).collect()
}

/// A gateway on which the port of [`query`] belongs to another host already, so that it has to be translated.
fn busy_gateway() -> Bench {
    let mut bench = gateway();
    outer(&mut bench, udp((BOB, 40000), (SERVER, 53)));
    bench
}

/// What leaves when the fragments come in one after the other, by their offsets.
fn send_all(
    bench: &mut Bench,
    port: usize,
    fragments: &[Datagram],
    order: [usize; 3],
) -> Vec<(usize, Datagram)> {
    let mut left: Vec<_> =
        order.into_iter().flat_map(|number| bench.send(port, fragments[number].clone())).collect();
    left.sort_by_key(|(_, fragment)| fragment.offset);
    left
}

#[test]
fn fragments_are_translated_in_every_order() {
    for order in ORDERS {
        let mut bench = busy_gateway();
        let whole = query().payload(large());
        let left = send_all(&mut bench, LAN, &fragments(&whole, 800), order);
        assert!(left.iter().all(|(port, fragment)| *port == WAN && fragment.source == WAN_SIDE), "{left:?}");
        let out = reassemble(&left);
        assert_ne!(out.source(), (WAN_SIDE, 40000));
        assert_eq!(out, one_hop(whole.from(out.source())), "in the order {order:?}");
        assert!(out.checksums_are_right());

        let back = answer(out.source()).payload(large());
        let left = send_all(&mut bench, WAN, &fragments(&back, 800), order);
        assert!(left.iter().all(|(port, _)| *port == LAN), "{left:?}");
        let inside = reassemble(&left);
        assert_eq!(inside, one_hop(back.to((ALICE, 40000))), "in the order {order:?}");
        assert!(inside.checksums_are_right());
        assert_eq!(bench.kept_buffers(), 0);
    }
}

#[test]
fn fragments_for_a_forwarded_port_reach_its_server_in_every_order() {
    for order in ORDERS {
        let mut bench = Bench::network(
            "iptables -t nat -A PREROUTING -i eth1 -p udp --dport 8080 -j DNAT --to-destination 192.168.1.11:80",
        );
        let whole = udp((SERVER, 30000), (WAN_SIDE, 8080)).payload(large());
        let left = send_all(&mut bench, WAN, &fragments(&whole, 800), order);
        assert!(left.iter().all(|(port, _)| *port == LAN), "{left:?}");
        assert_eq!(reassemble(&left), one_hop(whole.to((BOB, 80))), "in the order {order:?}");
    }
}

#[test]
fn fragments_whose_first_one_never_comes_are_given_up() {
    let mut bench = gateway();
    let [_, second, third] = &fragments(&query().payload(large()), 800)[..] else {
        panic!("three fragments")
    };
    assert_eq!(bench.send(LAN, second.clone()), []);
    assert_eq!(bench.send(LAN, third.clone()), []);
    assert_eq!(bench.kept_buffers(), 2);
    let left = bench.pass(Duration::from_secs(31));
    assert_eq!((left.len(), bench.kept_buffers()), (0, 0));
    assert_eq!(bench.router.drops().get(DropReason::FragmentIncomplete), 2);
}

#[test]
fn fragments_of_a_datagram_that_the_rules_refuse_do_not_pass() {
    for order in ORDERS {
        let mut bench = gateway();
        bench.run("iptables -A FORWARD -p udp --dport 53 -j DROP");
        let left = send_all(&mut bench, LAN, &fragments(&query().payload(large()), 800), order);
        assert_eq!(left, [], "in the order {order:?}");
        assert_eq!(bench.kept_buffers(), 0);
    }
}
