//! The two stations where the nat table is asked: destinations before the route is looked up, sources after it.

use super::{Arrival, Decision, FlowPart, Refusal, Way, new_view};
use crate::{
    config::rules::{Hook, NatTo, Rule, TableName, Target},
    headers::{Headers, Transport, protocol},
    interface::InterfaceId,
    outcome::DropReason,
    router::Router,
    stage::{
        filter::{self, FlowState, Ruling, Trail},
        nat, translate,
    },
    table::{
        connections::Draft,
        fib::Destination,
        flow::{Direction, FlowId, status},
        mapping::Endpoint,
        tick::Tick,
    },
    trace::{Silent, Trace},
};
use smoltcp::{time::Instant, wire::Ipv4Address};

impl Router {
    /// nat PREROUTING, or OUTPUT for what the router itself sends.
    pub(super) fn translate_destination<T: Trace>(
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
                let to = match draft.expected {
                    Some(expected) => Some(self.connections.expectations.get(expected).destination_leaving),
                    None => {
                        let (rules, effects) = (self.rules(TableName::Nat), arrival.effects);
                        let (marking, trail) = (&mut decision.marking, &mut decision.trail);
                        match filter::evaluate(rules, hook, &candidate, effects, marking, trail, trace) {
                            Ruling::Translate(rule) => self.new_destination(arrival, draft, rule, random),
                            _ => self.mapped(arrival, draft),
                        }
                    }
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
            FlowPart::None | FlowPart::Untracked | FlowPart::Answer(_) | FlowPart::Moved { .. } => {}
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

    /// An inner host that speaks to the outer endpoint of another one reaches it (RFC 4787 REQ-9, RFC 5382 REQ-8); so
    /// does everybody outside where filtering is endpoint-independent (RFC 4787 REQ-8, RFC 5382 REQ-3).
    fn mapped(&self, arrival: &Arrival<'_>, draft: &Draft) -> Option<Endpoint> {
        let ingress = arrival.ingress?;
        // A query has no port that it goes to.
        if !matches!(draft.original.protocol, protocol::TCP | protocol::UDP) {
            return None;
        }
        let outer = Endpoint { address: draft.original.destination, port: draft.original.destination_port };
        let mapping = self.connections.mappings.find_outer(draft.original.protocol, outer)?;
        let Destination::Local { interface } = self.fib.lookup(draft.original.destination) else {
            return None;
        };
        if (interface == ingress && !self.config.sysctl.full_cone)
            || self.reserved.contains(draft.original.protocol, draft.original.destination_port)
        {
            return None;
        }
        Some(self.connections.mappings.get(mapping).inner)
    }

    /// nat POSTROUTING (INPUT for what stays here), and the guard that lets nothing leave untranslated.
    pub(super) fn translate_source<T: Trace>(
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
        let draft = match &mut decision.flow {
            FlowPart::New(draft) => draft,
            FlowPart::Existing { id, direction, .. } => {
                let (id, direction) = (*id, *direction);
                return self.check_reply(arrival, decision, id, direction, egress);
            }
            FlowPart::Error { id, direction } => {
                let (id, direction) = (*id, *direction);
                return self.check_reporter(arrival, decision, id, direction, egress);
            }
            // Whoever says that it is not to be tracked wants it to leave as it is.
            FlowPart::Untracked => return Ok(()),
            // What the router says in its own name may leave; what it says in an inner host's name (a reset) may not.
            FlowPart::None | FlowPart::Answer(_) | FlowPart::Moved { .. }
                if arrival.ingress.is_none() && self.fib.is_local(arrival.headers.source) =>
            {
                return Ok(());
            }
            FlowPart::None | FlowPart::Answer(_) | FlowPart::Moved { .. } => {
                // Without a flow nothing is translated, so where a rule would translate nothing may leave.
                return match way {
                    Way::Forward(..)
                        if self.would_translate(arrival, decision, seen, egress, FlowState::Invalid) =>
                    {
                        Err(DropReason::NatUntracked.into())
                    }
                    _ => Ok(()),
                };
            }
        };
        let choice = self.choice(arrival.now);
        let candidate = self.candidate(arrival, seen, egress, Some(new_view(draft)));
        let (marking, trail) = (&mut decision.marking, &mut decision.trail);
        let rules = self.rules(TableName::Nat);
        let ruling = match draft.expected {
            Some(_) => Ruling::Accept,
            None => filter::evaluate(rules, hook, &candidate, arrival.effects, marking, trail, trace),
        };
        let chosen = match (ruling, way) {
            _ if let Some(expected) = draft.expected => {
                let expectation = self.connections.expectations.get(expected);
                let outer = expectation.source_leaving;
                if outer == draft.original.source {
                    None
                } else {
                    let master = self.connections.flows.get(expectation.master);
                    draft.status |= master.status & status::MASQUERADED;
                    Some(choice.source(draft, outer, None, None, random)?)
                }
            }
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

    /// Whoever on the inside borrows an outer address makes answers leave by an interface that the flow did not come
    /// in by. Where a rule translates what leaves there, no inner source must (requirement 29).
    fn check_reply(
        &self,
        arrival: &Arrival<'_>,
        decision: &Decision,
        id: FlowId,
        direction: Direction,
        egress: Option<InterfaceId>,
    ) -> Result<(), Refusal> {
        let flow = self.connections.flows.get(id);
        let source = flow.translated(direction).source;
        let strays = direction == Direction::Reply
            && egress.is_some_and(|egress| egress != self.connections.flows.ingress(id))
            && !self.fib.is_local(source);
        if !strays {
            return Ok(());
        }
        self.check_leaving(arrival, decision, source, egress, FlowState::Established)
    }

    /// Whoever reports an error need not be an end of the flow that it is about: where the flow does not hide him and a
    /// rule translates what leaves there, he must not be seen (requirement 29).
    fn check_reporter(
        &self,
        arrival: &Arrival<'_>,
        decision: &Decision,
        id: FlowId,
        direction: Direction,
        egress: Option<InterfaceId>,
    ) -> Result<(), Refusal> {
        let flow = self.connections.flows.get(id);
        let (source, _) = translate::error_addresses(arrival.headers, flow, direction);
        if source == flow.translated(direction).source || self.fib.is_local(source) {
            return Ok(());
        }
        self.check_leaving(arrival, decision, source, egress, FlowState::Related)
    }

    /// Lets nothing leave from `source` that a rule would give another one.
    fn check_leaving(
        &self,
        arrival: &Arrival<'_>,
        decision: &Decision,
        source: Ipv4Address,
        egress: Option<InterfaceId>,
        state: FlowState,
    ) -> Result<(), Refusal> {
        let leaving = Headers { source, ..arrival.headers.clone() };
        if egress.is_some() && self.would_translate(arrival, decision, &leaving, egress, state) {
            return Err(DropReason::NatUntracked.into());
        }
        Ok(())
    }

    /// Whether a rule of POSTROUTING would give such a packet another source.
    pub(super) fn would_translate(
        &self,
        arrival: &Arrival<'_>,
        decision: &Decision,
        seen: &Headers,
        egress: Option<InterfaceId>,
        state: FlowState,
    ) -> bool {
        let flow = self.view(&decision.flow, state);
        let candidate = self.candidate(arrival, seen, egress, flow);
        let (rules, mut marking, mut unseen) =
            (self.rules(TableName::Nat), decision.marking, Trail::default());
        let hook = Hook::Postrouting;
        let ruling = filter::evaluate(rules, hook, &candidate, false, &mut marking, &mut unseen, &mut Silent);
        matches!(ruling, Ruling::Translate(_))
    }

    /// What a choice of ports depends on.
    pub(crate) fn choice(&self, now: Instant) -> nat::Choice<'_> {
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
