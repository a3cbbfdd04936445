//! `nstat`: the counters of IP, ICMP, TCP and UDP, under the names that Linux has for them (RFC 4293, and its own).

use super::{Action, Failure};
use crate::{
    config::Config,
    counters::Counter,
    headers::ETHERNET_HEADER,
    outcome::DropReason,
    router::{InterfaceCounters, Router},
    stage::arp::ARP_LENGTH,
};
use alloc::{format, string::String};

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
        let links = links(router);
        let mut text = String::from("#kernel\n");
        for &(counter, name) in Counter::SHOWN {
            let value = value(router, &links, counter);
            if zeros || value > 0 {
                text += &format!("{name:<32}{value:<16}{:>6}\n", "0.0");
            }
        }
        text
    }))
}

/// What went through all interfaces, without what is not IP: octets are those of IP.
fn links(router: &Router) -> InterfaceCounters {
    let mut all = InterfaceCounters::default();
    for (id, _) in router.config().interfaces() {
        let one = router.interface_counters(id);
        all.received_packets += one.received_packets;
        all.received_bytes += one.received_bytes;
        all.transmitted_packets += one.transmitted_packets;
        all.transmitted_bytes += one.transmitted_bytes;
    }
    let subtract = |from: &mut u64, less: u64| *from = from.saturating_sub(less);
    subtract(&mut all.received_packets, router.counted(Counter::OtherFrames));
    subtract(&mut all.received_bytes, router.counted(Counter::OtherOctets) + headers(all.received_packets));
    let arp = router.counted(Counter::ArpSent);
    subtract(&mut all.transmitted_bytes, headers(all.transmitted_packets) + arp * ARP_LENGTH as u64);
    subtract(&mut all.transmitted_packets, arp);
    all
}

fn headers(packets: u64) -> u64 {
    packets * ETHERNET_HEADER as u64
}

/// What was counted as such, and what follows from other counters: whatever may take the short way, and most of what is
/// dropped.
fn value(router: &Router, links: &InterfaceCounters, counter: Counter) -> u64 {
    use DropReason::*;
    let dropped =
        |reasons: &[DropReason]| reasons.iter().map(|&reason| router.drops().get(reason)).sum::<u64>();
    let (more, less) = match counter {
        Counter::IpInReceives => (links.received_packets, 0),
        Counter::IpInHdrErrors => (
            dropped(&[IpMalformed, IpChecksum, IpOptions, TtlExceeded]),
            router.counted(Counter::IpExtInTruncatedPkts),
        ),
        Counter::IpInAddrErrors => (dropped(&[ForwardingOff]), 0),
        Counter::IpForwDatagrams => (router.statistics().fast + router.statistics().forwarded, 0),
        Counter::IpInDiscards => (dropped(&[Overload, HostQueueFull]), 0),
        Counter::IpOutDiscards => (
            dropped(&[NeighborPending, NeighborsFull, NoBuffer, EgressQueueFull]),
            router.counted(Counter::IpInDiscards),
        ),
        Counter::IpReasmReqds | Counter::IpReasmFails => (dropped(&[FragmentsFull]), 0),
        Counter::IpFragFails => (dropped(&[FragmentationNeeded]), 0),
        Counter::IpOutTransmits => (links.transmitted_packets, 0),
        Counter::TcpOutSegs => (0, router.counted(Counter::FilterResets)),
        Counter::TcpExtIPReversePathFilter => (dropped(&[ReversePath]), 0),
        Counter::IpExtInNoRoutes => (dropped(&[NoRoute]), router.counted(Counter::IpOutNoRoutes)),
        Counter::IpExtInOctets => (links.received_bytes, 0),
        Counter::IpExtOutOctets => (links.transmitted_bytes, 0),
        Counter::IpExtInCsumErrors => (dropped(&[IpChecksum]), 0),
        _ => (0, 0),
    };
    (router.counted(counter) + more).saturating_sub(less)
}
