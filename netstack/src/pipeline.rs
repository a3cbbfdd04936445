//! A packet's way through the plane, top to bottom: the map of the product.
//!
//! This is the slow path: it decides, and changes nothing while it does. [`crate::dispatch`] carries the decision
//! out, and leaves behind in the flow what [`crate::fastpath`] repeats for the packets that follow.

use crate::{
    config::rules::{Hook, NatTo, RejectWith, Rule, TableName, Target},
    headers::{Headers, Transport},
    interface::InterfaceId,
    outcome::DropReason,
    router::Router,
    stage::{
        filter::{self, Candidate, FlowState, FlowView, Ruling, Trail},
        icmp::IcmpError,
        ipv4, nat,
        track::{self, Tracked},
        translate,
    },
    table::{
        connections::Draft,
        fib::{Destination, NextHop},
        flow::{Direction, FlowId, Tick, Tuple, status},
        mapping::Endpoint,
    },
    trace::Trace,
};
use smoltcp::{time::Instant, wire::Ipv4Address};

/// A packet at the start of its way.
pub(crate) struct Arrival<'a> {
    /// Where it came in; `None`: the router itself sends it.
    pub ingress: Option<InterfaceId>,
    /// Whether its frame was for everybody or a group.
    pub link_broadcast: bool,
    /// The frame.
    pub frame: &'a [u8],
    /// Its headers.
    pub headers: &'a Headers,
    /// Now.
    pub now: Instant,
    /// Its tuple, where it has one, and the live flow that has that tuple: looked up once for the whole way.
    pub tuple: Option<Tuple>,
    pub found: Found,
    /// Whether the router made it to answer a packet that it refused: RELATED by definition.
    pub answer: bool,
    /// Whether deciding may use up what a `limit` match counts; not for an imagined packet.
    pub effects: bool,
}

/// The live flow that has a packet's tuple.
pub(crate) type Found = Option<(FlowId, Direction)>;

/// What is to become of a packet. Nothing has happened yet.
pub(crate) struct Decision {
    pub way: Result<Way, Refusal>,
    pub flow: FlowPart,
    /// Rules of the filter that count it.
    pub filtered: Trail,
    /// Rules of the nat table that count it.
    pub translated: Trail,
}

/// Where a packet goes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Way {
    /// Out of an interface.
    Forward(NextHop, Ipv4Address),
    /// To everybody on the link of an interface.
    Broadcast(InterfaceId),
    /// To the router's own sockets.
    Deliver,
}

/// Why a packet ends here, and what its sender is told.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Refusal {
    pub reason: DropReason,
    pub answer: Answer,
}

/// What the sender of a refused packet is told.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Answer {
    Nothing,
    Icmp(IcmpError),
    TcpReset,
}

/// What a packet means for the flow table.
#[derive(Clone, Debug)]
pub(crate) enum FlowPart {
    None,
    Existing {
        id: FlowId,
        direction: Direction,
        tcp: crate::stage::tcp::TcpState,
    },
    New(Draft),
    /// An ICMP error that runs in this direction of a flow.
    Error {
        id: FlowId,
        direction: Direction,
    },
    /// The flow left by another interface than before: it ends, and the packet is decided anew.
    Moved {
        id: FlowId,
    },
}

impl Decision {
    /// Whether the packet's flow has to end, and the packet to be decided anew.
    pub fn is_moved(&self) -> bool {
        matches!(self.flow, FlowPart::Moved { .. })
    }
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Self {
        Self { reason, answer: Answer::Nothing }
    }
}

impl Refusal {
    fn icmp(reason: DropReason, error: IcmpError) -> Self {
        Self { reason, answer: Answer::Icmp(error) }
    }
}

impl Router {
    /// Decides what becomes of a packet.
    pub(crate) fn decide<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        random: &mut dyn rand_core::Rng,
        trace: &mut T,
    ) -> Decision {
        let mut decision = Decision {
            way: Ok(Way::Deliver),
            flow: FlowPart::None,
            filtered: Trail::default(),
            translated: Trail::default(),
        };
        decision.way = self.walk(arrival, &mut decision, random, trace);
        decision
    }

    /// The stations, in the order of the packet's way.
    fn walk<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        decision: &mut Decision,
        random: &mut dyn rand_core::Rng,
        trace: &mut T,
    ) -> Result<Way, Refusal> {
        self.check_source(arrival, trace)?;
        // From here on `seen` is the packet as the rules see it: with its new destination, and its old source.
        let mut seen = arrival.headers.clone();
        let state = self.find_flow(arrival, decision, trace);
        self.translate_destination(arrival, decision, &mut seen, random, trace);
        let way = self.route(arrival, &seen, trace)?;
        if let (FlowPart::Existing { id, .. }, Way::Forward(hop, _)) = (&decision.flow, way)
            && self.has_moved(*id, arrival, hop)
        {
            decision.flow = FlowPart::Moved { id: *id };
            return Err(DropReason::NatUntracked.into());
        }
        self.check_forwarding(arrival, &seen, way, trace)?;
        self.filter(arrival, decision, &seen, state, way, trace)?;
        self.translate_source(arrival, decision, &seen, way, random, trace)?;
        Ok(way)
    }

    /// Martians and the reverse path.
    fn check_source<T: Trace>(&self, arrival: &Arrival<'_>, trace: &mut T) -> Result<(), Refusal> {
        let Some(ingress) = arrival.ingress else { return Ok(()) };
        let mode = self.config.sysctl.rp_filter_all.max(self.config.interface(ingress).rp_filter);
        let (source, destination) = (arrival.headers.source, arrival.headers.destination);
        let checked = ipv4::check(&self.fib, mode, ingress, source, destination);
        if T::ON {
            let verdict = checked.as_ref().map_or_else(|reason| reason.text(), |()| "ok");
            trace.station(format_args!("source      {source} on {}: {verdict}", self.config.name(ingress)));
        }
        Ok(checked?)
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
            _ if arrival.answer => (FlowState::Related, FlowPart::None),
            Tracked::Flow { id, direction, state, tcp } => (state, FlowPart::Existing { id, direction, tcp }),
            Tracked::New { tuple, tcp, replaces } => {
                (FlowState::New, FlowPart::New(Draft { replaces, ..Draft::plain(tuple, tcp) }))
            }
            Tracked::Related { id, direction } => (FlowState::Related, FlowPart::Error { id, direction }),
            Tracked::Invalid => (FlowState::Invalid, FlowPart::None),
        };
        if T::ON {
            self.trace_flow(&decision.flow, state, trace);
        }
        state
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

    /// nat PREROUTING, or OUTPUT for what the router itself sends.
    fn translate_destination<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        decision: &mut Decision,
        seen: &mut Headers,
        random: &mut dyn rand_core::Rng,
        trace: &mut T,
    ) {
        match &mut decision.flow {
            FlowPart::Existing { id, direction, .. } => {
                let leaving = self.connections.flows.get(*id).translated(*direction);
                seen.set_destination(leaving.destination, leaving.destination_port);
            }
            FlowPart::Error { id, direction } => {
                let flow = self.connections.flows.get(*id);
                seen.destination = translate::error_addresses(arrival.headers, flow, *direction).1;
            }
            FlowPart::New(draft) => {
                let hook = if arrival.ingress.is_some() { Hook::Prerouting } else { Hook::Output };
                let candidate = self.candidate(arrival, seen, None, Some(new_view(draft)));
                let nat = &self.config.tables.nat;
                let ruling = filter::evaluate(
                    nat,
                    TableName::Nat,
                    hook,
                    &candidate,
                    arrival.effects,
                    &mut decision.translated,
                    trace,
                );
                let to = match ruling {
                    Ruling::Translate(rule) => self.new_destination(arrival, draft, rule, random),
                    _ => self.hairpin(arrival, draft),
                };
                if let Some(to) = to {
                    draft.translate_destination(to);
                    seen.set_destination(to.address, to.port);
                    trace.station(format_args!(
                        "destination {} -> {}:{}",
                        draft.original.destination, to.address, to.port
                    ));
                }
            }
            FlowPart::None | FlowPart::Moved { .. } => {}
        }
    }

    fn new_destination(
        &self,
        arrival: &Arrival<'_>,
        draft: &Draft,
        rule: &Rule,
        random: &mut dyn rand_core::Rng,
    ) -> Option<Endpoint> {
        match rule.target.as_ref()? {
            Target::Dnat(to) => Some(nat::destination(draft, to, random)),
            Target::Redirect { ports, random: how } => {
                let to = NatTo { addresses: None, ports: *ports, random: *how, persistent: false };
                let address = match arrival.ingress {
                    Some(ingress) => self.primary_address(ingress)?,
                    None => Ipv4Address::LOCALHOST,
                };
                Some(Endpoint { address, ..nat::destination(draft, &to, random) })
            }
            _ => None,
        }
    }

    /// An inner host that speaks to the outer endpoint of another one reaches it (RFC 4787 REQ-9, RFC 5382 REQ-8).
    fn hairpin(&self, arrival: &Arrival<'_>, draft: &Draft) -> Option<Endpoint> {
        let ingress = arrival.ingress?;
        let Destination::Local { interface } = self.fib.lookup(draft.original.destination) else {
            return None;
        };
        if interface == ingress
            || self.reserved.contains(draft.original.protocol, draft.original.destination_port)
        {
            return None;
        }
        let outer = Endpoint { address: draft.original.destination, port: draft.original.destination_port };
        let mapping = self.connections.mappings.find_outer(draft.original.protocol, outer)?;
        Some(self.connections.mappings.get(mapping).inner)
    }

    /// The routing decision.
    fn route<T: Trace>(&self, arrival: &Arrival<'_>, seen: &Headers, trace: &mut T) -> Result<Way, Refusal> {
        let destination = seen.destination;
        let answer = self.fib.lookup(destination);
        if T::ON {
            self.trace_route(destination, answer, trace);
        }
        match (answer, arrival.ingress) {
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

    fn trace_route<T: Trace>(&self, destination: Ipv4Address, answer: Destination, trace: &mut T) {
        match answer {
            Destination::Unicast(hop) => trace.station(format_args!(
                "route       {destination} via {} dev {}",
                hop.neighbor(destination),
                self.config.name(hop.interface)
            )),
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

    /// A masqueraded flow is bound to the interface that it left by (requirement 30).
    fn has_moved(&self, id: FlowId, arrival: &Arrival<'_>, hop: NextHop) -> bool {
        let flow = self.connections.flows.get(id);
        let leaves = arrival.tuple.as_ref() == Some(flow.tuple(Direction::Original));
        leaves && flow.is(status::MASQUERADED) && flow.outside != hop.interface
    }

    /// What only a packet on its way through must stand: broadcast frames, TTL and MTU (RFC 1812 5.3.1, 4.2.2.9).
    fn check_forwarding<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        seen: &Headers,
        way: Way,
        trace: &mut T,
    ) -> Result<(), Refusal> {
        let Way::Forward(hop, _) = way else { return Ok(()) };
        let refusal = if arrival.ingress.is_some() && arrival.link_broadcast {
            DropReason::LinkBroadcast.into()
        } else if arrival.ingress.is_some() && seen.ttl <= 1 {
            Refusal::icmp(DropReason::TtlExceeded, IcmpError::TtlExceeded)
        } else if seen.total_length > hop.mtu && seen.dont_fragment {
            Refusal::icmp(DropReason::FragmentationNeeded, IcmpError::FragmentationNeeded { mtu: hop.mtu })
        } else {
            return Ok(());
        };
        trace.station(format_args!("forward     {}", refusal.reason.text()));
        Err(refusal)
    }

    /// filter INPUT, FORWARD or OUTPUT. What the router sends to itself passes OUTPUT and INPUT.
    fn filter<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        decision: &mut Decision,
        seen: &Headers,
        state: FlowState,
        way: Way,
        trace: &mut T,
    ) -> Result<(), Refusal> {
        let egress = match way {
            Way::Forward(hop, _) => Some(hop.interface),
            Way::Broadcast(interface) => Some(interface),
            Way::Deliver => None,
        };
        let view = self.view(&decision.flow, state);
        let hooks: &[Hook] = match (arrival.ingress, way) {
            (Some(_), Way::Deliver) => &[Hook::Input],
            (Some(_), _) => &[Hook::Forward],
            (None, Way::Deliver) => &[Hook::Output, Hook::Input],
            (None, _) => &[Hook::Output],
        };
        for &hook in hooks {
            let mut candidate = self.candidate(arrival, seen, egress, view);
            if arrival.ingress.is_none() && way == Way::Deliver {
                let loopback = Some(InterfaceId::LOOPBACK);
                (candidate.ingress, candidate.egress) =
                    if hook == Hook::Input { (loopback, None) } else { (None, loopback) };
            }
            let table = &self.config.tables.filter;
            let trail = &mut decision.filtered;
            match filter::evaluate(table, TableName::Filter, hook, &candidate, arrival.effects, trail, trace)
            {
                Ruling::Accept | Ruling::Translate(_) => {}
                Ruling::Drop(reason) => return Err(reason.into()),
                Ruling::Reject(with) => return Err(rejection(with)),
            }
        }
        Ok(())
    }

    /// nat POSTROUTING (INPUT for what stays here), and the guard that lets nothing leave untranslated.
    fn translate_source<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        decision: &mut Decision,
        seen: &Headers,
        way: Way,
        random: &mut dyn rand_core::Rng,
        trace: &mut T,
    ) -> Result<(), Refusal> {
        let (hook, egress) = match way {
            Way::Forward(hop, _) => (Hook::Postrouting, Some(hop.interface)),
            Way::Broadcast(interface) => (Hook::Postrouting, Some(interface)),
            Way::Deliver => (Hook::Input, None),
        };
        let nat = &self.config.tables.nat;
        let draft = match &mut decision.flow {
            FlowPart::New(draft) => draft,
            FlowPart::Existing { .. } | FlowPart::Error { .. } => return Ok(()),
            FlowPart::None | FlowPart::Moved { .. } if arrival.ingress.is_none() => return Ok(()),
            FlowPart::None | FlowPart::Moved { .. } => {
                // Without a flow nothing is translated, so where a rule would translate nothing may leave.
                let candidate = self.candidate(arrival, seen, egress, None);
                let mut unseen = Trail::default();
                let ruling = filter::evaluate(
                    nat,
                    TableName::Nat,
                    hook,
                    &candidate,
                    false,
                    &mut unseen,
                    &mut crate::trace::Silent,
                );
                return match (way, ruling) {
                    (Way::Forward(..), Ruling::Translate(_)) => Err(DropReason::NatUntracked.into()),
                    _ => Ok(()),
                };
            }
        };
        let mut candidate = self.candidate(arrival, seen, egress, Some(new_view(draft)));
        if hook == Hook::Postrouting {
            candidate.ingress = None;
        }
        let trail = &mut decision.translated;
        let ruling = filter::evaluate(nat, TableName::Nat, hook, &candidate, arrival.effects, trail, trace);
        let choice = self.choice(arrival.now);
        let chosen = match (ruling, way) {
            (Ruling::Translate(rule), _) => match &rule.target {
                Some(Target::Snat(to)) => {
                    let outer = nat::source_address(draft, to);
                    Some(choice.source(draft, outer, to.ports, to.random, random)?)
                }
                Some(Target::Masquerade { ports, random: how }) => {
                    let outer = match way {
                        Way::Forward(hop, _) => hop.source,
                        _ => egress.and_then(|interface| self.primary_address(interface)),
                    };
                    draft.status |= status::MASQUERADED;
                    let outer = outer.ok_or(DropReason::PortsExhausted)?;
                    Some(choice.source(draft, outer, *ports, *how, random)?)
                }
                _ => None,
            },
            // A packet that turned round here must not be answered past us: it leaves with the address it was
            // sent to (RFC 4787 REQ-9).
            (_, Way::Forward(hop, _))
                if draft.status & status::DESTINATION_NAT != 0
                    && arrival.ingress == Some(hop.interface)
                    && self.fib.is_local(draft.original.destination) =>
            {
                Some(choice.source(draft, draft.original.destination, None, None, random)?)
            }
            _ => None,
        };
        if let Some(to) = chosen {
            draft.translate_source(to);
        } else {
            let own = Endpoint { address: draft.leaving.source, port: draft.leaving.source_port };
            if !choice.is_free(draft, own) {
                let to = choice.distinct_source(draft, random)?;
                draft.translate_source(to);
                draft.reserve = false;
            }
        }
        if draft.status & status::SOURCE_NAT != 0 {
            draft.outside = egress.unwrap_or(InterfaceId::LOOPBACK);
            trace.station(format_args!(
                "source      {}:{} -> {}:{}",
                draft.original.source,
                draft.original.source_port,
                draft.leaving.source,
                draft.leaving.source_port
            ));
        }
        Ok(())
    }

    /// What a choice of ports depends on.
    fn choice(&self, now: Instant) -> nat::Choice<'_> {
        nat::Choice {
            connections: &self.connections,
            reserved: &self.reserved,
            dynamic_range: self.config.sysctl.local_port_range,
            now: Tick::at(now),
        }
    }

    fn primary_address(&self, interface: InterfaceId) -> Option<Ipv4Address> {
        self.config.interface(interface).addresses.first().map(|address| address.cidr.address())
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
            now: arrival.now,
        }
    }

    /// What the rules may know of a flow.
    fn view(&self, part: &FlowPart, state: FlowState) -> Option<FlowView> {
        match part {
            FlowPart::New(draft) => Some(new_view(draft)),
            FlowPart::Existing { id, direction, .. } | FlowPart::Error { id, direction } => {
                let flow = self.connections.flows.get(*id);
                let (original, reply) = (flow.tuple(Direction::Original), flow.tuple(Direction::Reply));
                Some(FlowView {
                    state,
                    original_direction: *direction == Direction::Original,
                    source_translated: flow.is(status::SOURCE_NAT),
                    destination_translated: flow.is(status::DESTINATION_NAT),
                    protocol: original.protocol,
                    original: endpoints(original),
                    reply: endpoints(reply),
                })
            }
            FlowPart::None | FlowPart::Moved { .. } => Some(FlowView {
                state,
                original_direction: true,
                source_translated: false,
                destination_translated: false,
                protocol: 0,
                original: (Ipv4Address::UNSPECIFIED, 0, Ipv4Address::UNSPECIFIED, 0),
                reply: (Ipv4Address::UNSPECIFIED, 0, Ipv4Address::UNSPECIFIED, 0),
            }),
        }
    }
}

fn new_view(draft: &Draft) -> FlowView {
    FlowView {
        state: FlowState::New,
        original_direction: true,
        source_translated: draft.status & status::SOURCE_NAT != 0,
        destination_translated: draft.status & status::DESTINATION_NAT != 0,
        protocol: draft.original.protocol,
        original: endpoints(&draft.original),
        reply: endpoints(&draft.leaving.inverted()),
    }
}

fn endpoints(tuple: &Tuple) -> (Ipv4Address, u16, Ipv4Address, u16) {
    (tuple.source, tuple.source_port, tuple.destination, tuple.destination_port)
}

/// What `REJECT --reject-with` says.
fn rejection(with: RejectWith) -> Refusal {
    let error = match with {
        RejectWith::NetUnreachable => IcmpError::NetUnreachable,
        RejectWith::HostUnreachable => IcmpError::HostUnreachable,
        RejectWith::ProtocolUnreachable => IcmpError::ProtocolUnreachable,
        RejectWith::PortUnreachable => IcmpError::PortUnreachable,
        RejectWith::NetProhibited => IcmpError::NetProhibited,
        RejectWith::HostProhibited => IcmpError::HostProhibited,
        RejectWith::AdminProhibited => IcmpError::AdminProhibited,
        RejectWith::TcpReset => {
            return Refusal { reason: DropReason::FirewallReject, answer: Answer::TcpReset };
        }
    };
    Refusal::icmp(DropReason::FirewallReject, error)
}

impl Headers {
    /// Gives the headers another destination, as DNAT does; the bytes of the packet are not touched.
    fn set_destination(&mut self, address: Ipv4Address, port: u16) {
        self.destination = address;
        match &mut self.transport {
            Transport::Tcp { destination, .. } | Transport::Udp { destination, .. } => *destination = port,
            _ => {}
        }
    }
}
