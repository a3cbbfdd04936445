//! Clocks that wrap: flows are timed by 32 bits, which last for almost nine years; so this is virtual time. Read first:
//! `netstack/src/table/tick.rs`.

use smoltcp::time::Duration;
use tests::{
    bench::Bench,
    datagram::udp,
    network::{ALICE, LAN, MASQUERADE, SERVER, WAN, WAN_SIDE},
};

/// Microseconds until the tick is zero again.
const WRAP: u64 = 1 << 48;
/// A flow that has not been answered lives so long.
const TIMEOUT: u64 = 60;
const DAY: u64 = 24 * 3600;

/// A router that stands shortly before the wrap. It wakes up now and then, as it does anyway.
fn before_the_wrap() -> Bench {
    let mut bench = Bench::network(MASQUERADE);
    let wanted = Duration::from_micros(WRAP) - Duration::from_secs(10);
    while bench.now.total_micros() as u64 + DAY * 1_000_000 < wanted.total_micros() {
        bench.sleep(Duration::from_secs(DAY));
    }
    let rest = wanted.total_micros() - bench.now.total_micros() as u64;
    bench.sleep(Duration::from_micros(rest));
    bench
}

#[test]
fn flows_live_across_the_wrap_and_end_behind_it() {
    let mut bench = before_the_wrap();
    let (question, answer) = (udp((ALICE, 5000), (SERVER, 53)), udp((SERVER, 53), (WAN_SIDE, 5000)));
    assert_eq!(bench.exchange(LAN, question.clone()).0, WAN);
    // Over the wrap, the flow is still there.
    bench.pass(Duration::from_secs(20));
    assert_eq!(bench.exchange(WAN, answer.clone()).0, LAN);
    assert_eq!(bench.exchange(LAN, question).0, WAN);
    // Its time is over as it would be at any other moment.
    bench.pass(Duration::from_secs(TIMEOUT * 10));
    let left = bench.send(WAN, answer);
    assert!(left.iter().all(|(port, _)| *port != LAN), "the flow should have ended: {left:?}");
    assert_eq!(bench.command("conntrack -C"), "0");
}
