//! A packet's way through the plane, top to bottom: the map of the product.
//!
//! This is the slow path: it decides, and changes nothing while it does. [`crate::dispatch`] carries the decision
//! out, and leaves behind in the flow what [`crate::fastpath`] repeats for the packets that follow.

mod decision;
mod filtering;
#[cfg(test)]
mod tests;
mod translation;

pub(crate) use decision::{Answer, Arrival, Decision, FlowPart, Found, Refusal, Way};

use crate::{
    config::{interface::ReversePath, policy::TableId},
    headers::{Headers, Transport},
    interface::InterfaceId,
    outcome::DropReason,
    router::Router,
    stage::{
        filter::{Candidate, FlowState, FlowView},
        icmp::IcmpError,
        ipv4,
        track::{self, Tracked, tuple_of},
    },
    table::{
        connections::Draft,
        expectations::ExpectationId,
        fib::{Destination, NextHop, Query},
        flow::{Direction, FlowId, Tuple, status},
        tick::Tick,
    },
    trace::Trace,
};
use smoltcp::{time::Instant, wire::Ipv4Address};

impl Router {
    /// Decides what becomes of a packet; `decision` is a new one. (It is too large to be handed back.)
    pub(crate) fn decide<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        random: &mut dyn rand_core::Rng,
        trace: &mut T,
        decision: &mut Decision,
    ) {
        decision.way = self.walk(arrival, decision, random, trace);
    }

    /// The stations, in the order of the packet's way.
    fn walk<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        decision: &mut Decision,
        random: &mut dyn rand_core::Rng,
        trace: &mut T,
    ) -> Result<Way, Refusal> {
        // From here on `seen` is the packet as the rules see it: with its new destination, and its old source.
        let mut seen = arrival.headers.clone();
        self.before_tracking(arrival, decision, &seen, trace)?;
        let state = self.find_flow(arrival, decision, trace);
        self.find_room(arrival, decision, trace)?;
        self.mangle_first(arrival, decision, &seen, state, trace)?;
        self.check_redirect(arrival, decision)?;
        self.translate_destination(arrival, decision, &mut seen, random, trace);
        // As late as Linux does it, so that the rules count the same packets.
        self.check_source(arrival, decision, &seen, trace)?;
        let way = self.route(arrival, decision, &seen, trace)?;
        if let (&FlowPart::Existing { id, direction, .. }, Way::Forward(hop, _)) = (&decision.flow, way)
            && (self.has_moved(id, direction, hop) || self.misses_translation(decision, arrival, &seen, hop))
        {
            decision.flow = FlowPart::Moved { id };
            return Err(DropReason::NatUntracked.into());
        }
        self.check_forwarding(arrival, decision, &seen, way, trace)?;
        if let (Some(_), Way::Forward(..)) = (arrival.ingress, way) {
            decision.marking.count_hop();
        }
        self.filter(arrival, decision, &seen, state, way, trace)?;
        self.mangle_last(arrival, decision, &seen, state, way, trace)?;
        self.translate_source(arrival, decision, &seen, way, random, trace)?;
        decision.mss = self.mss_limit(arrival, decision, &seen, way, trace);
        // The next packet finds another mark of the flow than this one did.
        decision.trail.unstable |= decision.marking.flow != self.flow_mark(&decision.flow);
        Ok(way)
    }

    /// Martians and the reverse path.
    fn check_source<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        decision: &Decision,
        seen: &Headers,
        trace: &mut T,
    ) -> Result<(), Refusal> {
        let Some(ingress) = arrival.ingress else { return Ok(()) };
        let (source, destination) = (arrival.headers.source, arrival.headers.destination);
        let mut checked = ipv4::check(&self.fib, source, destination);
        if checked.is_ok() && !self.leads_back(ingress, arrival, decision, seen) {
            checked = Err(DropReason::ReversePath);
        }
        if T::ON {
            let verdict = checked.as_ref().map_or_else(|reason| reason.text(), |()| "ok");
            trace.station(format_args!("source      {source} on {}: {verdict}", self.config.name(ingress)));
        }
        Ok(checked?)
    }

    /// The reverse path, from where the packet goes after translation, as on Linux.
    fn leads_back(
        &self,
        ingress: InterfaceId,
        arrival: &Arrival<'_>,
        decision: &Decision,
        seen: &Headers,
    ) -> bool {
        let mode = self.config.sysctl.rp_filter_all.max(self.config.interface(ingress).rp_filter);
        // Whoever asks for an address has none.
        mode == ReversePath::Off
            || seen.source.is_unspecified()
            || self.fib.reverse_path(
                &self.config,
                (seen.source, ingress),
                || self.query(arrival, decision, seen),
                mode,
            )
    }

    /// Connection tracking.
    fn find_flow<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        decision: &mut Decision,
        trace: &mut T,
    ) -> FlowState {
        let settings = &self.config.sysctl.conntrack;
        let state;
        (state, decision.flow) = match track::track(&self.connections, settings, arrival) {
            _ if decision.marking.untracked => (FlowState::Untracked, FlowPart::Untracked),
            _ if let Some(view) = arrival.answers => (view.state, FlowPart::Answer(view)),
            Tracked::Flow { id, direction, state, effect } => {
                // Until it is answered, a flow is what its first packet was.
                let first = |id| self.connections.flows.get(id).tuple(Direction::Original);
                let announced =
                    state == FlowState::New && self.expectation_of(&first(id), arrival.now).is_some();
                let state = if announced { FlowState::Related } else { state };
                (state, FlowPart::Existing { id, direction, effect })
            }
            Tracked::New { tuple, tcp, replaces } => {
                let ingress = arrival.ingress.unwrap_or(InterfaceId::LOOPBACK);
                let expected = self.expectation_of(&tuple, arrival.now);
                let state = if expected.is_some() { FlowState::Related } else { FlowState::New };
                (state, FlowPart::New(Draft { replaces, ingress, expected, ..Draft::plain(tuple, tcp) }))
            }
            Tracked::Related { id, direction } => (FlowState::Related, FlowPart::Error { id, direction }),
            Tracked::Invalid => (FlowState::Invalid, FlowPart::None),
        };
        decision.marking.flow = self.flow_mark(&decision.flow);
        if T::ON {
            self.trace_flow(&decision.flow, state, trace);
        }
        state
    }

    /// A new flow that there is no room for is refused before any rule sees it, as on Linux.
    fn find_room<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        decision: &mut Decision,
        trace: &mut T,
    ) -> Result<(), Refusal> {
        let FlowPart::New(draft) = &mut decision.flow else { return Ok(()) };
        let room = self.connections.find_room(draft, Tick::at(arrival.now));
        // Where no rule looks at flows, packets pass without one.
        if room.is_ok() || !self.tracking_needed {
            return Ok(());
        }
        trace.station(format_args!("table       full of flows that may not be evicted"));
        Ok(room?)
    }

    /// What was announced by another flow, where a packet with this tuple is that.
    fn expectation_of(&self, tuple: &Tuple, now: Instant) -> Option<ExpectationId> {
        let expectations = &self.connections.expectations;
        if expectations.is_empty() { None } else { expectations.find(tuple, Tick::at(now)) }
    }

    /// RFC 5508 does not translate redirects, and Linux drops them where addresses are translated.
    fn check_redirect(&self, arrival: &Arrival<'_>, decision: &Decision) -> Result<(), Refusal> {
        const REDIRECT: u8 = 5;
        match decision.flow {
            FlowPart::Error { id, .. }
                if arrival.headers.icmp().is_some_and(|(kind, _)| kind == REDIRECT) =>
            {
                let flow = self.connections.flows.get(id);
                let translated = flow.is(status::SOURCE_NAT) || flow.is(status::DESTINATION_NAT);
                if translated { Err(DropReason::NatRedirect.into()) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    fn trace_flow<T: Trace>(&self, flow: &FlowPart, state: FlowState, trace: &mut T) {
        let name = match state {
            FlowState::Invalid => "INVALID",
            FlowState::New => "NEW",
            FlowState::Established => "ESTABLISHED",
            FlowState::Related => "RELATED",
            FlowState::Untracked => "UNTRACKED",
        };
        match flow {
            FlowPart::Existing { id, direction, .. } | FlowPart::Error { id, direction } => {
                let flow = self.connections.flows.get(*id);
                let of = match direction {
                    Direction::Original => "original",
                    Direction::Reply => "reply",
                };
                trace.station(format_args!(
                    "flow        {name}, {of} direction of {}",
                    flow.tuple(Direction::Original)
                ));
            }
            _ => trace.station(format_args!("flow        {name}")),
        }
    }

    /// The routing decision.
    fn route<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        decision: &Decision,
        seen: &Headers,
        trace: &mut T,
    ) -> Result<Way, Refusal> {
        let destination = seen.destination;
        let answer = self.fib.route(&self.config, destination, || self.query(arrival, decision, seen));
        if T::ON {
            let found = self.fib.find(&self.config, &self.query(arrival, decision, seen));
            self.trace_route(destination, answer, found.table, trace);
        }
        match (answer, arrival.ingress) {
            // RFC 1122 3.3.6: silently discarded, or a stranger could make many answer at once.
            (Destination::Local { .. }, Some(_)) if arrival.link_broadcast => {
                Err(DropReason::LinkBroadcast.into())
            }
            (Destination::Local { .. }, _) => Ok(Way::Deliver),
            (Destination::Broadcast { interface }, Some(ingress)) => match interface {
                Some(other) if other != ingress => Err(DropReason::DirectedBroadcast.into()),
                _ => Ok(Way::Deliver),
            },
            (Destination::Broadcast { interface: Some(interface) }, None) => Ok(Way::Broadcast(interface)),
            (Destination::Broadcast { interface: None } | Destination::Multicast, _) => {
                Err(DropReason::Multicast.into())
            }
            // A router that does not forward says nothing about what is not its own (RFC 1122 3.2.1.3).
            (_, Some(ingress)) if !self.config.interface(ingress).forwarding => {
                Err(DropReason::ForwardingOff.into())
            }
            (Destination::Unicast(hop), _) => Ok(Way::Forward(hop, hop.neighbor(destination))),
            (Destination::Blackhole, _) => Err(DropReason::RouteBlackhole.into()),
            (Destination::Unreachable, _) => {
                Err(Refusal::icmp(DropReason::RouteUnreachable, IcmpError::HostUnreachable))
            }
            (Destination::Prohibit, _) => {
                Err(Refusal::icmp(DropReason::RouteProhibit, IcmpError::AdminProhibited))
            }
            (Destination::NoRoute, _) => Err(Refusal::icmp(DropReason::NoRoute, IcmpError::NetUnreachable)),
        }
    }

    /// What the choice of a route and of a next hop may depend on.
    pub(super) fn query(&self, arrival: &Arrival<'_>, decision: &Decision, seen: &Headers) -> Query {
        let (arrives, leaves, bound) = match &decision.flow {
            FlowPart::Existing { id, direction, .. } | FlowPart::Error { id, direction } => {
                let flow = self.connections.flows.get(*id);
                let bound = *direction == Direction::Original && flow.is(status::SOURCE_NAT);
                (flow.tuple(*direction), flow.translated(*direction), bound.then_some(flow.outside))
            }
            FlowPart::New(draft) => (draft.original, draft.leaving, None),
            FlowPart::None | FlowPart::Untracked | FlowPart::Answer(_) | FlowPart::Moved { .. } => {
                let tuple = tuple_of(seen).unwrap_or(Query::to(seen.destination).flow);
                (tuple, tuple, None)
            }
        };
        // An error about a packet on its way through has its source by the way that it takes, so that is not for rules to know,
        // unless it is that of another interface (Linux: icmp_route_lookup).
        let is_own_error = arrival.ingress.is_none() && matches!(seen.transport, Transport::IcmpError { .. });
        let about = || arrival.frame.get(seen.l4 + 24..).and_then(|rest| rest.first_chunk());
        let by_way = !self.config.sysctl.icmp_errors_use_inbound_ifaddr;
        let chosen = is_own_error && by_way && about() != Some(&seen.source.octets());
        Query {
            destination: seen.destination,
            source: if chosen { Ipv4Address::UNSPECIFIED } else { seen.source },
            ingress: arrival.ingress.unwrap_or(InterfaceId::LOOPBACK),
            mark: decision.marking.packet,
            flow: Tuple { source: arrives.source, source_port: arrives.source_port, ..leaves },
            bound,
        }
    }

    fn trace_route<T: Trace>(
        &self,
        destination: Ipv4Address,
        answer: Destination,
        table: Option<TableId>,
        trace: &mut T,
    ) {
        match answer {
            Destination::Unicast(hop) => {
                let (neighbor, name) = (hop.neighbor(destination), self.config.name(hop.interface));
                match table.filter(|table| *table != TableId::MAIN) {
                    Some(table) => trace.station(format_args!(
                        "route       {destination} via {neighbor} dev {name} table {table}"
                    )),
                    None => {
                        trace.station(format_args!("route       {destination} via {neighbor} dev {name}"))
                    }
                }
            }
            Destination::Local { interface } => {
                trace.station(format_args!(
                    "route       {destination} is local on {}",
                    self.config.name(interface)
                ));
            }
            other => {
                let kind = match other {
                    Destination::Broadcast { .. } => "broadcast",
                    Destination::Multicast => "multicast",
                    Destination::Blackhole => "blackhole",
                    Destination::Unreachable => "unreachable",
                    Destination::Prohibit => "prohibit",
                    _ => "no route",
                };
                trace.station(format_args!("route       {destination}: {kind}"));
            }
        }
    }

    /// A flow with a translated source is bound to the interface that it left by (requirement 30).
    fn has_moved(&self, id: FlowId, direction: Direction, hop: NextHop) -> bool {
        let flow = self.connections.flows.get(id);
        direction == Direction::Original && flow.is(status::SOURCE_NAT) && flow.outside != hop.interface
    }

    /// Whether a rule now translates what was not translated when the flow began: its packets must not go on leaving
    /// with an inner source (requirement 29).
    fn misses_translation(
        &self,
        decision: &Decision,
        arrival: &Arrival<'_>,
        seen: &Headers,
        hop: NextHop,
    ) -> bool {
        let FlowPart::Existing { id, direction: Direction::Original, .. } = decision.flow else {
            return false;
        };
        let flow = self.connections.flows.get(id);
        arrival.ingress.is_some()
            && !flow.is(status::RESERVED)
            && !flow.is(status::SOURCE_NAT)
            && self.would_translate(arrival, decision, seen, Some(hop.interface), FlowState::New)
    }

    /// What only a packet on its way through must stand: broadcast frames, TTL and MTU (RFC 1812 5.3.1, 4.2.2.9).
    fn check_forwarding<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        decision: &Decision,
        seen: &Headers,
        way: Way,
        trace: &mut T,
    ) -> Result<(), Refusal> {
        let Way::Forward(hop, _) = way else { return Ok(()) };
        let refusal = if arrival.ingress.is_some() && arrival.link_broadcast {
            DropReason::LinkBroadcast.into()
        } else if arrival.ingress.is_some() && decision.marking.ttl <= 1 {
            Refusal::icmp(DropReason::TtlExceeded, IcmpError::TtlExceeded)
        } else if seen.wire_length > hop.mtu && seen.dont_fragment {
            Refusal::icmp(DropReason::FragmentationNeeded, IcmpError::FragmentationNeeded { mtu: hop.mtu })
        } else {
            return Ok(());
        };
        trace.station(format_args!("forward     {}", refusal.reason.text()));
        Err(refusal)
    }

    fn candidate<'a>(
        &'a self,
        arrival: &'a Arrival<'_>,
        seen: &'a Headers,
        egress: Option<InterfaceId>,
        flow: Option<FlowView>,
    ) -> Candidate<'a> {
        Candidate {
            frame: if arrival.ingress.is_some() { arrival.frame } else { &[] },
            headers: seen,
            ingress: arrival.ingress,
            egress,
            flow,
            interfaces: &self.config.interfaces,
            fib: &self.fib,
            now: arrival.now,
        }
    }

    /// The mark that a packet finds on its flow.
    fn flow_mark(&self, part: &FlowPart) -> u32 {
        match part {
            FlowPart::Existing { id, .. } | FlowPart::Error { id, .. } => self.connections.flows.mark(*id),
            FlowPart::Answer(view) => view.mark,
            FlowPart::New(_) | FlowPart::None | FlowPart::Untracked | FlowPart::Moved { .. } => 0,
        }
    }

    /// What the rules may know of a flow.
    pub(crate) fn view(&self, part: &FlowPart, state: FlowState) -> Option<FlowView> {
        match part {
            FlowPart::Untracked => None,
            FlowPart::Answer(view) => Some(*view),
            FlowPart::New(draft) => Some(new_view(draft)),
            FlowPart::Existing { id, direction, .. } | FlowPart::Error { id, direction } => {
                let flow = self.connections.flows.get(*id);
                let (original, reply) = (flow.tuple(Direction::Original), flow.tuple(Direction::Reply));
                Some(FlowView {
                    id: Some(*id),
                    state,
                    original_direction: *direction == Direction::Original,
                    source_translated: flow.is(status::SOURCE_NAT),
                    destination_translated: flow.is(status::DESTINATION_NAT),
                    protocol: original.protocol,
                    original: endpoints(&original),
                    reply: endpoints(&reply),
                    mark: self.connections.flows.mark(*id),
                })
            }
            FlowPart::None | FlowPart::Moved { .. } => Some(FlowView {
                id: None,
                state: FlowState::Invalid,
                original_direction: true,
                source_translated: false,
                destination_translated: false,
                protocol: 0,
                original: (Ipv4Address::UNSPECIFIED, 0, Ipv4Address::UNSPECIFIED, 0),
                reply: (Ipv4Address::UNSPECIFIED, 0, Ipv4Address::UNSPECIFIED, 0),
                mark: 0,
            }),
        }
    }
}

fn new_view(draft: &Draft) -> FlowView {
    FlowView {
        id: None,
        state: if draft.expected.is_some() { FlowState::Related } else { FlowState::New },
        original_direction: true,
        source_translated: draft.status & status::SOURCE_NAT != 0,
        destination_translated: draft.status & status::DESTINATION_NAT != 0,
        protocol: draft.original.protocol,
        original: endpoints(&draft.original),
        reply: endpoints(&draft.leaving.inverted()),
        mark: 0,
    }
}

fn endpoints(tuple: &Tuple) -> (Ipv4Address, u16, Ipv4Address, u16) {
    (tuple.source, tuple.source_port, tuple.destination, tuple.destination_port)
}
