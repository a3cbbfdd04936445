//! `nstat`: the counters of the IP layer, under the names that Linux has for them (RFC 4293, and its own).

use super::{Action, Failure};
use crate::{config::Config, outcome::DropReason, router::Router};
use alloc::{format, string::String};

/// What each counter counts.
type Count = fn(&Router) -> u64;

/// In the order of Linux's `nstat`.
const COUNTERS: &[(&str, Count)] = &[
    ("IpInHdrErrors", |router| {
        use DropReason::{IpChecksum, IpMalformed, IpOptions, TtlExceeded};
        sum(router, &[IpMalformed, IpChecksum, IpOptions, TtlExceeded])
    }),
    ("IpInAddrErrors", |router| sum(router, &[DropReason::MartianDestination, DropReason::ForwardingOff])),
    ("IpForwDatagrams", |router| {
        let statistics = router.statistics();
        statistics.fast + statistics.forwarded
    }),
    ("IpInDelivers", |router| router.statistics().delivered),
    ("IpReasmTimeout", |router| sum(router, &[DropReason::FragmentIncomplete])),
    ("IpFragFails", |router| sum(router, &[DropReason::FragmentationNeeded])),
    ("TcpExtIPReversePathFilter", |router| sum(router, &[DropReason::ReversePath])),
    ("IpExtInNoRoutes", |router| sum(router, &[DropReason::NoRoute])),
    ("IpExtInCsumErrors", |router| sum(router, &[DropReason::IpChecksum])),
];

fn sum(router: &Router, reasons: &[DropReason]) -> u64 {
    reasons.iter().map(|&reason| router.drops().get(reason)).sum()
}

pub fn parse(words: &[String], _: &Config) -> Result<Action, Failure> {
    let mut zeros = false;
    for word in words {
        match word.as_str() {
            "-a" => {}
            "-z" => zeros = true,
            "-az" | "-za" => zeros = true,
            other => return Err(Failure::new(1, format!("nstat: unexpected argument '{other}'"))),
        }
    }
    Ok(Action::show(move |router| {
        let counted = COUNTERS.iter().map(|(name, count)| (name, count(router)));
        counted
            .filter(|(_, count)| zeros || *count > 0)
            .fold(String::from("#kernel\n"), |text, (name, count)| {
                text + &format!("{name:<32}{count:<16}{:>6}\n", "0.0")
            })
    }))
}
