//! What is counted of a packet where it is decided about, for `nstat`.

use crate::{
    counters::Counter,
    headers::{Fragment, Headers, Transport, protocol},
    outcome::DropReason,
    packet::Packet,
    pipeline::{Refusal, Way},
    router::Router,
    table::fib::Destination,
};
use smoltcp::wire::Ipv4Address;

impl Router {
    /// How many a counter has counted by itself; what follows from others is beside that.
    pub fn counted(&self, counter: Counter) -> u64 {
        self.counted.get(counter) + self.host.counted(counter)
    }

    /// Counts a frame that is no IPv4 for this station.
    pub(crate) fn count_other(&mut self, frame: &Packet) {
        self.counted.count(Counter::OtherFrames);
        self.counted.add(Counter::OtherOctets, frame.len() as u64);
    }

    /// Counts a packet whose headers cannot be read.
    pub(crate) fn count_unreadable(&mut self, packet: &Packet, reason: DropReason) {
        let cut_off = reason == DropReason::IpMalformed && Headers::are_cut_off(packet);
        self.counted.add(Counter::IpExtInTruncatedPkts, cut_off.into());
    }

    /// Counts a packet from a card, if it is one to many.
    pub(crate) fn count_arrival(
        &mut self,
        link_broadcast: bool,
        headers: &Headers,
        way: Result<Way, Refusal>,
    ) {
        use DropReason::{DirectedBroadcast, MartianDestination, MartianSource, ReversePath};
        match way.map_err(|refusal| refusal.reason) {
            // Linux knows what kind of address it is for when the source is found to be right.
            Err(MartianSource | MartianDestination | ReversePath) => {}
            Ok(Way::Deliver) | Err(DirectedBroadcast) => self.count_to_many(headers.destination),
            _ if link_broadcast => self.count_to_many(headers.destination),
            _ => {}
        }
    }

    fn count_to_many(&mut self, destination: Ipv4Address) {
        /// Of all groups, the one that every host is in (RFC 1112 4).
        const ALL_HOSTS: Ipv4Address = Ipv4Address::new(224, 0, 0, 1);
        match self.fib.lookup(destination) {
            Destination::Broadcast { .. } => self.counted.count(Counter::IpExtInBcastPkts),
            Destination::Multicast if destination == ALL_HOSTS => {
                self.counted.count(Counter::IpExtInMcastPkts);
            }
            _ => {}
        }
    }

    /// Counts a packet that was made here. What no route leads out was never made, as Linux sees it.
    pub(crate) fn count_own(&mut self, headers: &Headers, way: Result<Way, Refusal>) {
        use DropReason::{FirewallPolicy, FirewallReject, FirewallRule};
        use DropReason::{NoRoute, RouteBlackhole, RouteProhibit, RouteUnreachable};
        let counted = &mut self.counted;
        match way.map_err(|refusal| refusal.reason) {
            // Linux tells the sender so, and of those only TCP does not count it.
            Err(FirewallRule | FirewallPolicy | FirewallReject) if headers.protocol != protocol::TCP => {
                counted.count(Counter::IpOutDiscards);
            }
            Err(NoRoute) => return counted.count(Counter::IpOutNoRoutes),
            Err(RouteBlackhole | RouteProhibit | RouteUnreachable) => return,
            _ => {}
        }
        if way == Ok(Way::Deliver) {
            // No card sees it.
            for (packets, octets) in [
                (Counter::IpOutTransmits, Counter::IpExtOutOctets),
                (Counter::IpInReceives, Counter::IpExtInOctets),
            ] {
                counted.count(packets);
                counted.add(octets, headers.total_length.into());
            }
        }
        if headers.fragment == Fragment::Later {
            return;
        }
        counted.count(Counter::IpOutRequests);
        match headers.transport {
            Transport::Tcp { .. } => counted.count(Counter::TcpOutSegs),
            Transport::Udp { .. } => counted.count(Counter::UdpOutDatagrams),
            _ => {
                if let Some((kind, _)) = headers.icmp() {
                    counted.count(Counter::IcmpOutMsgs);
                    Counter::icmp_out(kind).into_iter().for_each(|of_type| counted.count(of_type));
                }
            }
        }
    }
}
