//! The stations where the tables raw, mangle and filter are asked, which may drop a packet and say what it is to be changed to.

use super::{Arrival, Decision, FlowPart, Found, Refusal, Way, decision};
use crate::{
    config::rules::{Hook, TableName},
    headers::{Headers, Transport, tcp_flag},
    interface::InterfaceId,
    router::Router,
    stage::{
        filter::{self, Candidate, FlowState, Ruling},
        mss,
        track::find_by_quote,
    },
    table::{
        fib::{Destination, Query},
        tick::Tick,
    },
    trace::Trace,
};

impl Router {
    /// raw PREROUTING, or OUTPUT for what the router itself sends: before it is known to which flow the packet belongs.
    pub(super) fn before_tracking<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        decision: &mut Decision,
        seen: &Headers,
        trace: &mut T,
    ) -> Result<(), Refusal> {
        // No flow is known yet, but for that of a packet which is answered here.
        let mut state = FlowState::Invalid;
        if let Some(view) = arrival.answers {
            decision.flow = FlowPart::Answer(view);
        } else if arrival.ingress.is_none()
            && self.busy_hooks.contains(TableName::Raw, Hook::Output)
            && let Some((id, direction)) = self.flow_reported_about(arrival)
        {
            (decision.flow, state) = (FlowPart::Error { id, direction }, FlowState::Related);
        }
        self.before_routing(TableName::Raw, arrival, decision, seen, state, trace)
    }

    /// The flow that an ICMP error is about, and the direction in which the error runs.
    fn flow_reported_about(&self, arrival: &Arrival<'_>) -> Found {
        find_by_quote(&self.connections, arrival.frame, arrival.headers, Tick::at(arrival.now))
    }

    /// mangle PREROUTING, or OUTPUT for what the router itself sends.
    pub(super) fn mangle_first<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        decision: &mut Decision,
        seen: &Headers,
        state: FlowState,
        trace: &mut T,
    ) -> Result<(), Refusal> {
        self.before_routing(TableName::Mangle, arrival, decision, seen, state, trace)
    }

    fn before_routing<T: Trace>(
        &self,
        table: TableName,
        arrival: &Arrival<'_>,
        decision: &mut Decision,
        seen: &Headers,
        state: FlowState,
        trace: &mut T,
    ) -> Result<(), Refusal> {
        let hook = if arrival.ingress.is_some() { Hook::Prerouting } else { Hook::Output };
        if !self.busy_hooks.contains(table, hook) {
            return Ok(());
        }
        let egress = match hook {
            Hook::Output => {
                match self.fib.route(&self.config, seen.destination, || self.query(arrival, decision, seen)) {
                    Destination::Unicast(hop) => Some(hop.interface),
                    Destination::Broadcast { interface } => interface,
                    Destination::Local { .. } => Some(InterfaceId::LOOPBACK),
                    _ => None,
                }
            }
            _ => None,
        };
        let candidate = self.candidate(arrival, seen, egress, self.view(&decision.flow, state));
        self.judge(table, hook, &candidate, arrival, decision, trace)
    }

    /// mangle POSTROUTING.
    pub(super) fn mangle_last<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        decision: &mut Decision,
        seen: &Headers,
        state: FlowState,
        way: Way,
        trace: &mut T,
    ) -> Result<(), Refusal> {
        let hook = Hook::Postrouting;
        if way == Way::Deliver || !self.busy_hooks.contains(TableName::Mangle, hook) {
            return Ok(());
        }
        let view = self.view(&decision.flow, state);
        let candidate = self.candidate(arrival, seen, way.egress(), view);
        self.judge(TableName::Mangle, hook, &candidate, arrival, decision, trace)
    }

    /// mangle INPUT or FORWARD, then filter INPUT, FORWARD or OUTPUT. What the router sends to itself passes OUTPUT and INPUT.
    pub(super) fn filter<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        decision: &mut Decision,
        seen: &Headers,
        state: FlowState,
        way: Way,
        trace: &mut T,
    ) -> Result<(), Refusal> {
        let view = self.view(&decision.flow, state);
        let hooks: &[Hook] = match (arrival.ingress, way) {
            (Some(_), Way::Deliver) => &[Hook::Input],
            (Some(_), _) => &[Hook::Forward],
            (None, Way::Deliver) => &[Hook::Output, Hook::Input],
            (None, _) => &[Hook::Output],
        };
        for &hook in hooks {
            let mut candidate = self.candidate(arrival, seen, way.egress(), view);
            if arrival.ingress.is_none() && way == Way::Deliver {
                let loopback = Some(InterfaceId::LOOPBACK);
                (candidate.ingress, candidate.egress) =
                    if hook == Hook::Input { (loopback, None) } else { (None, loopback) };
            }
            if hook != Hook::Output && self.busy_hooks.contains(TableName::Mangle, hook) {
                self.judge(TableName::Mangle, hook, &candidate, arrival, decision, trace)?;
            }
            self.judge(TableName::Filter, hook, &candidate, arrival, decision, trace)?;
        }
        Ok(())
    }

    /// Asks the rules of a table that translates nothing.
    fn judge<T: Trace>(
        &self,
        table: TableName,
        hook: Hook,
        candidate: &Candidate<'_>,
        arrival: &Arrival<'_>,
        decision: &mut Decision,
        trace: &mut T,
    ) -> Result<(), Refusal> {
        let (rules, before) = (self.rules(table), decision.marking);
        let (marking, trail) = (&mut decision.marking, &mut decision.trail);
        let ruling = filter::evaluate(rules, hook, candidate, arrival.effects, marking, trail, trace);
        if T::ON && *marking != before {
            trace.station(format_args!("marks       {marking}"));
        }
        match ruling {
            Ruling::Accept | Ruling::Translate(_) => Ok(()),
            Ruling::Drop(reason) => Err(reason.into()),
            Ruling::Reject(with) => Err(decision::rejection(with)),
        }
    }

    /// What TCPMSS rules leave of the maximum segment size, and the route of that of a connection of the router's own. What
    /// fits the way is what fits both ways: the sender will get segments of that size, and send such ones, too (Linux:
    /// net/netfilter/xt_TCPMSS.c).
    pub(super) fn mss_limit<T: Trace>(
        &self,
        arrival: &Arrival<'_>,
        decision: &Decision,
        seen: &Headers,
        way: Way,
        trace: &mut T,
    ) -> Option<u16> {
        let limits = decision.trail.mss;
        let path = limits.path.then(|| {
            let back = match self.fib.route(&self.config, seen.source, || Query::to(seen.source)) {
                Destination::Unicast(hop) => hop.mtu,
                _ => u16::MAX,
            };
            mss::of_mtu(way.mtu().min(back))
        });
        let own = match (arrival.ingress, way, seen.transport) {
            (None, Way::Forward(hop, _), Transport::Tcp { flags, .. }) if flags & tcp_flag::SYN != 0 => {
                Some(hop.advmss)
            }
            _ => None,
        };
        let limit = limits.bytes.into_iter().chain(path).chain(own).min()?;
        trace.station(format_args!("mss         at most {limit}"));
        Some(limit)
    }
}
