//! What comes in from a wire, up to the point where it is decided about: the fast path, ARP, fragments.

use crate::{
    counters::Counter,
    dispatch::Origin,
    fastpath::Undecided,
    headers::{ETHERNET_HEADER, Fragment, Headers, Transport},
    interface::{InterfaceId, PortId, mac_text},
    outcome::{DropReason, Outcome},
    packet::Packet,
    pipeline::Found,
    router::{Context, Link, Router},
    stage::{
        arp, ethernet,
        log::RATE,
        track::{find_by_quote, tuple_of},
    },
    table::{
        address_claims::Conflict,
        flow::{Direction, status},
        fragments::Admission,
        neighbor::Claim,
        tick::Tick,
    },
    tap::Met,
};
use alloc::vec::Vec;
use smoltcp::{time::Instant, wire::EthernetAddress};

/// With more flows than these, their records do not fit into a processor's nearer caches.
const MANY_FLOWS: usize = 4096;

impl Router {
    /// Takes one frame from the wire to its end.
    pub fn receive(&mut self, cx: &mut Context<'_>, port: PortId, packet: Packet) -> Outcome {
        self.now = cx.now;
        let Some(&link) = self.links.get(usize::from(port.0)) else {
            return self.discard(cx, packet, DropReason::InterfaceDown);
        };
        self.count_received(&link, 1, packet.len());
        if self.taps.are_open() {
            return self.advance_in_sight(cx, &link, packet);
        }
        self.advance(cx, &link, packet)
    }

    /// Takes the frames that came in together on one card to their end, in order, and leaves `burst` empty.
    pub fn receive_burst(&mut self, cx: &mut Context<'_>, port: PortId, burst: &mut Vec<Packet>) {
        self.now = cx.now;
        let Some(&link) = self.links.get(usize::from(port.0)) else {
            return burst
                .drain(..)
                .for_each(|packet| _ = self.discard(cx, packet, DropReason::InterfaceDown));
        };
        self.count_received(&link, burst.len(), burst.iter().map(Packet::len).sum());
        if self.connections.flows.len() > MANY_FLOWS {
            self.touch(burst);
        }
        if self.taps.are_open() {
            return burst.drain(..).for_each(|packet| _ = self.advance_in_sight(cx, &link, packet));
        }
        for packet in burst.drain(..) {
            self.advance(cx, &link, packet);
        }
    }

    /// The same where somebody looks on.
    #[cold]
    #[inline(never)]
    fn advance_in_sight(&mut self, cx: &mut Context<'_>, link: &Link, packet: Packet) -> Outcome {
        let met = self.met(link.interface, &packet, cx.now);
        self.taps.show(cx.now, link.interface, true, &packet, met);
        let followed = self.taps.tracer().fits(Some(link.interface), packet.bytes(), packet.len());
        let outcome = if followed {
            // The short way has no stations.
            self.receive_slowly(cx, link.interface, Undecided { packet, found: None })
        } else {
            self.advance(cx, link, packet)
        };
        self.taps.settle(outcome);
        self.show_sent(cx);
        outcome
    }

    /// Shows the taps what was sent since the last call.
    pub(crate) fn show_sent(&mut self, cx: &mut Context<'_>) {
        for (port, packet) in cx.exchange.newly_sent() {
            if let Some(link) = self.links.get(usize::from(port.0)) {
                self.taps.show(cx.now, link.interface, false, packet, Met::default());
            }
        }
    }

    #[inline]
    fn count_received(&mut self, link: &Link, packets: usize, bytes: usize) {
        let counters = self.counters[usize::from(link.interface.0)].get_mut();
        counters.received_packets += packets as u64;
        counters.received_bytes += bytes as u64;
    }

    /// The short way where it is open, else the long one.
    #[inline(always)] // as `repeat`
    fn advance(&mut self, cx: &mut Context<'_>, link: &Link, packet: Packet) -> Outcome {
        match self.repeat(cx, link, packet) {
            Ok(outcome) => outcome,
            Err(undecided) => self.receive_slowly(cx, link.interface, undecided),
        }
    }

    #[inline(never)] // for the sake of the short way's registers
    fn receive_slowly(
        &mut self,
        cx: &mut Context<'_>,
        ingress: InterfaceId,
        undecided: Undecided,
    ) -> Outcome {
        let Undecided { mut packet, found } = undecided;
        self.statistics.slow += 1;
        match ethernet::classify(packet.bytes(), self.config.interface(ingress)) {
            Ok(ethernet::Class::Arp) => {
                self.count_other(&packet);
                self.receive_arp(cx, ingress, packet)
            }
            Ok(ethernet::Class::Ipv4 { group }) => match Headers::of(&packet) {
                Ok(headers) => {
                    packet.truncate(ETHERNET_HEADER + usize::from(headers.total_length));
                    let origin = Origin { ingress: Some(ingress), link_broadcast: group, answers: None };
                    let whole = headers.fragment == Fragment::Whole;
                    let crowded = self.loads[usize::from(ingress.0)].is_crowded(cx.now);
                    // A fragment's flow is looked up when its ports are known.
                    let found = found
                        .unwrap_or_else(|| if whole || crowded { self.find(cx.now, &headers) } else { None });
                    if crowded && !self.admits(cx, ingress, &packet, &headers, found) {
                        return self.refuse(cx, ingress, packet, DropReason::Overload);
                    }
                    if !whole {
                        return self.receive_fragment(cx, origin, packet, headers);
                    }
                    self.process(cx, origin, packet, &headers, found)
                }
                Err(reason) => {
                    self.count_unreadable(&packet, reason);
                    if let (DropReason::SourceRoute, Some(addresses)) = (reason, Headers::addresses(&packet))
                    {
                        self.log_martian(ingress, addresses, reason, cx.now);
                    }
                    self.refuse(cx, ingress, packet, reason)
                }
            },
            Err(reason) => {
                self.count_other(&packet);
                self.refuse(cx, ingress, packet, reason)
            }
        }
    }

    /// Whether a packet of a crowded card is taken: it belongs to a flow that goes on, or to the few others that may come.
    #[cold]
    fn admits(
        &mut self,
        cx: &Context<'_>,
        ingress: InterfaceId,
        packet: &Packet,
        headers: &Headers,
        found: Found,
    ) -> bool {
        let rate = self.config.sysctl.overload_rate;
        self.goes_on(packet.bytes(), headers, found, cx.now)
            || self.loads[usize::from(ingress.0)].admit(rate, cx.now)
    }

    /// Whether a packet belongs to a flow that goes on.
    pub(crate) fn goes_on(&self, frame: &[u8], headers: &Headers, found: Found, now: Instant) -> bool {
        match (found, headers.transport) {
            // One that nobody has answered yet costs as much as one that is new.
            (Some((id, direction)), _) => {
                direction == Direction::Reply || self.connections.flows.get(id).is(status::SEEN_REPLY)
            }
            (None, Transport::IcmpError { .. }) => {
                find_by_quote(&self.connections, frame, headers, Tick::at(now)).is_some()
            }
            _ => headers.fragment == Fragment::Later && self.fragments.expects(headers, now),
        }
    }

    /// Drops what is wrong as it comes, which also counts at its interface.
    fn refuse(
        &mut self,
        cx: &mut Context<'_>,
        ingress: InterfaceId,
        packet: Packet,
        reason: DropReason,
    ) -> Outcome {
        self.counters[usize::from(ingress.0)].get_mut().received_dropped += 1;
        self.discard(cx, packet, reason)
    }

    pub(crate) fn find(&self, now: Instant, headers: &Headers) -> Found {
        tuple_of(headers).and_then(|tuple| self.connections.flows.find(&tuple, Tick::at(now)))
    }

    fn receive_fragment(
        &mut self,
        cx: &mut Context<'_>,
        origin: Origin,
        packet: Packet,
        headers: Headers,
    ) -> Outcome {
        let (drops, exchange) = (&mut self.drops, &mut *cx.exchange);
        let admission = self.fragments.admit(packet, headers, cx.now, |displaced| {
            drops.count(DropReason::FragmentsFull);
            exchange.recycle(displaced);
        });
        match admission {
            Admission::Held => Outcome::Held,
            Admission::Refused(packet, reason) => {
                if reason == DropReason::FragmentIncomplete {
                    self.counted.count(Counter::IpReasmReqds);
                    self.counted.count(Counter::IpReasmFails);
                }
                self.discard(cx, packet, reason)
            }
            Admission::Pass(packet, headers) => {
                let found = self.find(cx.now, &headers);
                self.process(cx, origin, packet, &headers, found)
            }
            Admission::Release(packet, headers, waiting) => {
                let found = self.find(cx.now, &headers);
                let outcome = self.process(cx, origin, packet, &headers, found);
                let transport = headers.transport;
                for packet in waiting {
                    // Checked when it came.
                    if let Ok(headers) = Headers::of(&packet) {
                        let headers = Headers { transport, ..headers };
                        let found = self.find(cx.now, &headers);
                        self.process(cx, origin, packet, &headers, found);
                    }
                }
                outcome
            }
        }
    }

    fn receive_arp(&mut self, cx: &mut Context<'_>, ingress: InterfaceId, packet: Packet) -> Outcome {
        let interface = self.config.interface(ingress);
        let heard = match arp::parse(packet.bytes(), ETHERNET_HEADER) {
            Ok(heard) => heard,
            Err(reason) => return self.refuse(cx, ingress, packet, reason),
        };
        let decision = arp::decide(interface, &heard);
        let mac = interface.mac;
        let claim = |kind| Claim { interface: ingress, address: heard.sender, mac: heard.sender_mac, kind };
        match decision {
            arp::Decision::Ignore(reason) => return self.refuse(cx, ingress, packet, reason),
            arp::Decision::Learn(kind) => self.neighbors.heard(&claim(kind), cx.now),
            arp::Decision::Answer { learn } => {
                if let Some(kind) = learn {
                    self.neighbors.heard(&claim(kind), cx.now);
                }
                if let Some(reply) = arp::reply(cx.exchange, mac, &heard) {
                    self.transmit_arp(cx, ingress, heard.sender_mac, reply);
                }
            }
            arp::Decision::Conflict => self.settle_conflict(cx, ingress, &heard),
        }
        self.poll_neighbors(cx);
        cx.exchange.recycle(packet);
        Outcome::Consumed
    }

    /// Somebody else uses an address of ours (RFC 5227 2.4).
    fn settle_conflict(&mut self, cx: &mut Context<'_>, ingress: InterfaceId, heard: &arp::Arp) {
        let name = self.config.name(ingress);
        if self.log_bucket.take(cx.now, RATE) {
            log::warn!("{name}: {} is also used by {}", heard.sender, mac_text(heard.sender_mac));
        }
        if self.claims.conflict(ingress, heard.sender, cx.now) == Conflict::Defend {
            let mac = self.config.interface(ingress).mac;
            if let Some(packet) = arp::request(cx.exchange, mac, heard.sender, heard.sender, None) {
                self.transmit_arp(cx, ingress, EthernetAddress::BROADCAST, packet);
            }
        }
    }
}
