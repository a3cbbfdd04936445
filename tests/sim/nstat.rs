//! `nstat`: what Linux would count for the same packets.

use crate::{gateway, query};
use tests::{datagram::*, network::*};

#[test]
fn packets_are_counted_under_the_names_of_linux() {
    let mut bench = gateway();
    assert_eq!(bench.command("nstat -a"), "#kernel");
    for _ in 0..5 {
        bench.send(LAN, query());
    }
    assert!(bench.router.statistics().fast > 0, "some of them took the short way");
    bench.send(LAN, query().ttl(1));
    bench.send(LAN, echo((ALICE, 7), LAN_SIDE));
    bench.run("ip route del default");
    bench.send(LAN, query());
    let shown = bench.command("nstat -a");
    let shown: Vec<Vec<&str>> = shown.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        shown,
        [
            ["IpInHdrErrors", "1", "0.0"],
            ["IpForwDatagrams", "5", "0.0"],
            ["IpInDelivers", "1", "0.0"],
            ["IpExtInNoRoutes", "1", "0.0"],
        ]
    );
    assert_eq!(bench.command("nstat -az").lines().count(), 10);
    assert_eq!(bench.command("nstat -r"), "nstat: unexpected argument '-r'");
}
