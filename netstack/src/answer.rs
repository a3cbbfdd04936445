//! What the router itself takes, and what it says: its own sockets, and the errors and resets about packets of others.

use crate::{
    config::interface::Scope,
    counters::Counter,
    dispatch::{Origin, Parked},
    headers::{Headers, protocol},
    host::{Delivery, Host},
    interface::InterfaceId,
    outcome::{DropReason, Outcome},
    packet::Packet,
    pipeline::Answer,
    router::{Context, Router},
    stage::{
        filter::FlowView,
        icmp::{self, IcmpError},
        segment,
        track::tuple_of,
    },
    table::{
        fib::{Destination, source_on},
        flow::Tuple,
        mapping::Endpoint,
        tick::Tick,
    },
};
use smoltcp::{time::Instant, wire::Ipv4Address};

/// Type of the ICMP message that answers a ping (RFC 792).
const ECHO_REPLY: u8 = 0;

impl Router {
    /// Hands a packet to the router's own sockets, and answers for them where nobody listens.
    pub(crate) fn deliver(&mut self, cx: &mut Context<'_>, packet: Packet) -> Outcome {
        let headers = match Headers::of(&packet) {
            Ok(headers) => headers,
            Err(reason) => return self.discard(cx, packet, reason),
        };
        if headers.protocol == protocol::UDP && headers.wire_length < headers.total_length {
            // Each segment is a datagram of its own.
            return self.finish(cx, packet, |router, cx, packet| router.deliver(cx, packet));
        }
        let delivery = self.host.deliver(cx.exchange, &packet, &headers, cx.now);
        // What came in fragments is refused as the whole that the last of them made.
        let (mut packet, headers) = match self.host.take_refused() {
            Some(whole) => {
                cx.exchange.recycle(packet);
                whole
            }
            None => (packet, headers),
        };
        let (reason, answer) = match delivery {
            Delivery::Accepted => {
                cx.exchange.recycle(packet);
                return Outcome::Delivered;
            }
            Delivery::Dropped(reason) => (reason, None),
            // Perhaps the inner host behind this port opens towards the sender at this very moment: an answer would
            // spoil that (RFC 5382 REQ-4).
            Delivery::Error(_) | Delivery::Reset if self.is_mapped(&headers) => {
                (DropReason::NatFiltered, None)
            }
            Delivery::Error(error) => {
                let made = self.icmp_error(cx, Origin::HOST, &mut packet, &headers, error, headers.source);
                (DropReason::NoListener, made)
            }
            Delivery::Reset => {
                let made = icmp::reset(cx.exchange, &headers, false);
                self.counted.add(Counter::TcpOutRsts, made.is_some().into());
                (DropReason::NoListener, made)
            }
        };
        // The packet is translated already, so its answer has to be translated back: it goes the way of the flow.
        if let Some(answer) = answer {
            self.originate(cx, Origin::HOST, answer);
        }
        self.discard(cx, packet, reason)
    }

    /// Sends what the router's own sockets have to send.
    pub(crate) fn send_from_host(&mut self, cx: &mut Context<'_>) {
        // As many as the host can hold: what it says to itself meanwhile waits for the next turn.
        for _ in 0..Host::QUEUE {
            let Some(packet) = self.host.take_outgoing() else { return };
            if self.holds_back(&packet, cx.now) {
                self.discard(cx, packet, DropReason::EchoIgnored);
            } else {
                self.originate(cx, Origin::HOST, packet);
            }
        }
    }

    /// Whether a packet is an echo reply, `icmp_ratemask` says that these are limited, and there were too many.
    fn holds_back(&mut self, packet: &Packet, now: Instant) -> bool {
        let limits = &self.config.sysctl;
        if !limits.limits_icmp(ECHO_REPLY) {
            return false;
        }
        let Ok(headers) = Headers::of(packet) else { return false };
        let reply = (ECHO_REPLY, 0);
        headers.icmp() == Some(reply) && !self.icmp_errors.admit(reply, headers.destination, limits, now)
    }

    /// Tells the sender of a refused packet.
    pub(crate) fn answer(
        &mut self,
        cx: &mut Context<'_>,
        origin: Origin,
        packet: &mut Packet,
        headers: &Headers,
        answer: Answer,
        answers: Option<FlowView>,
    ) {
        let made = match answer {
            Answer::Nothing => return,
            // That an echo reply of ours may not leave is nobody's news but ours.
            Answer::Icmp(_) if origin.ingress.is_none() && headers.icmp() == Some((ECHO_REPLY, 0)) => return,
            Answer::TcpReset => {
                let made = icmp::reset(cx.exchange, headers, origin.link_broadcast);
                self.counted.add(Counter::FilterResets, made.is_some().into());
                made
            }
            Answer::Icmp(error) => self.icmp_error(cx, origin, packet, headers, error, headers.source),
        };
        if let Some(reply) = made {
            self.originate(cx, Origin { answers, ..Origin::HOST }, reply);
        }
    }

    /// A next hop did not answer: the sender of a packet that waited for it is told (requirement 5). The packet is
    /// already translated, so the error about it is translated back like one that came from outside.
    pub(crate) fn unreachable(&mut self, cx: &mut Context<'_>, parked: Parked) {
        let Parked { ingress, mut packet, .. } = parked;
        if let Ok(headers) = Headers::of(&packet) {
            let answers = tuple_of(&headers).map(Tuple::inverted);
            let flow = answers.and_then(|answers| self.connections.flows.find(&answers, Tick::at(cx.now)));
            let receiver = flow.map_or(headers.source, |(id, direction)| {
                self.connections.flows.get(id).translated(direction).destination
            });
            let (origin, error) = (Origin { ingress, ..Origin::HOST }, IcmpError::HostUnreachable);
            if let Some(error) = self.icmp_error(cx, origin, &mut packet, &headers, error, receiver) {
                self.originate(cx, Origin::HOST, error);
            }
        }
        self.discard(cx, packet, DropReason::NeighborFailed);
    }

    /// A packet for the router itself did not become whole in time: the sender of its first fragment is told.
    pub(crate) fn report_incomplete(&mut self, cx: &mut Context<'_>, first: Option<Packet>) {
        let reason = DropReason::FragmentIncomplete;
        let Some(mut first) = first else { return self.drops.count(reason) };
        if let Ok(headers) = Headers::of(&first) {
            let error = IcmpError::ReassemblyTimeExceeded;
            let made = self.icmp_error(cx, Origin::HOST, &mut first, &headers, error, headers.source);
            if let Some(error) = made {
                self.originate(cx, Origin::HOST, error);
            }
        }
        self.discard(cx, first, reason);
    }

    /// An ICMP error about a packet, unless there must be none (requirement 8) or `receiver`, who will get it, has had
    /// too many. The packet gets its checksum if that was missing: nobody else would complete it in the quote.
    fn icmp_error(
        &mut self,
        cx: &mut Context<'_>,
        about: Origin,
        packet: &mut Packet,
        headers: &Headers,
        error: IcmpError,
        receiver: Ipv4Address,
    ) -> Option<Packet> {
        let source = if self.fib.is_local(headers.destination) {
            headers.destination
        } else {
            self.error_source(about.ingress, headers.source)?
        };
        let group = about.link_broadcast || self.is_broadcast(headers.destination);
        let (message, limits) = (error.kind_and_code(), &self.config.sysctl);
        if !icmp::may_report(headers, group) || !self.icmp_errors.admit(message, receiver, limits, cx.now) {
            return None;
        }
        segment::complete_checksum(packet);
        self.icmp_errors.build(cx.exchange, packet.bytes(), headers, error, source)
    }

    /// Where an error about a packet on its way through comes from.
    fn error_source(&self, ingress: Option<InterfaceId>, receiver: Ipv4Address) -> Option<Ipv4Address> {
        let inbound = ingress.filter(|_| self.config.sysctl.icmp_errors_use_inbound_ifaddr);
        let source = match inbound {
            Some(id) => source_on(self.config.interface(id), Some(receiver), Scope::Link),
            None => self.fib.source_for(&self.config, receiver),
        };
        source.or_else(|| self.any_address())
    }

    /// Sends a packet that was made here.
    pub(crate) fn originate(&mut self, cx: &mut Context<'_>, origin: Origin, packet: Packet) -> Outcome {
        match Headers::of(&packet) {
            Ok(headers) => {
                let found = self.find(cx.now, &headers);
                self.process(cx, origin, packet, &headers, found)
            }
            Err(reason) => self.discard(cx, packet, reason),
        }
    }

    /// Whether a packet for the router itself is for the outer endpoint of an inner host.
    fn is_mapped(&self, headers: &Headers) -> bool {
        let Some(port) = headers.destination_port() else { return false };
        let outer = Endpoint { address: headers.destination, port };
        self.connections.mappings.find_outer(headers.protocol, outer).is_some()
    }

    fn is_broadcast(&self, address: Ipv4Address) -> bool {
        matches!(self.fib.lookup(address), Destination::Broadcast { .. } | Destination::Multicast)
    }

    fn any_address(&self) -> Option<Ipv4Address> {
        let mut addresses = self.config.interfaces.iter().skip(1).flat_map(|interface| &interface.addresses);
        addresses.next().map(|address| address.cidr.address())
    }
}
