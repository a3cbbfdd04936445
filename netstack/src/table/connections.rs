//! Flows together with the outer ports that they hold: what begins a flow takes both, what ends it gives both back.

use super::{
    expectations::{ExpectationId, Expectations},
    flow::{Direction, Flow, FlowId, FlowTable, Tuple, status},
    groups::Groups,
    mapping::{Endpoint, Mappings},
    shifts::Shifts,
    sources::Sources,
    tick::Tick,
};
use crate::{interface::InterfaceId, outcome::DropReason, stage::tcp::Connection};
use smoltcp::wire::Ipv4Address;

/// A flow that would begin if its first packet survives.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The tuple of the first packet as it arrived.
    pub original: Tuple,
    /// The tuple of the first packet as it will leave.
    pub leaving: Tuple,
    /// Bits of [`status`].
    pub status: u8,
    /// Whether the outer port of a translated source is to be reserved.
    pub reserve: bool,
    /// A TCP connection after this packet.
    pub tcp: Connection,
    /// Where its first packet came in; `lo`: it was made here.
    pub ingress: InterfaceId,
    /// Where it leaves.
    pub outside: InterfaceId,
    /// A finished flow of the same tuple that it takes the place of.
    pub replaces: Option<FlowId>,
    /// Where the table is full: the flow that has to go for it.
    pub evicts: Option<FlowId>,
    /// Where another flow has announced it: that expectation, which says how it is translated.
    pub expected: Option<ExpectationId>,
}

/// All flows and mappings.
pub struct Connections {
    /// The flows.
    pub flows: FlowTable,
    /// The outer ports they hold.
    pub mappings: Mappings,
    /// How many flows each source has, where that is limited.
    pub sources: Sources,
    /// The flows that other ones have announced.
    pub expectations: Expectations,
    /// The flows whose TCP sequence numbers are not the same on both sides.
    pub shifts: Shifts,
    /// Which flows rules count together.
    pub groups: Groups,
    sweep: usize,
}

impl Connections {
    /// Bytes of memory that each flow takes in all.
    pub const BYTES_PER_FLOW: usize =
        FlowTable::BYTES_PER_FLOW + Mappings::BYTES_PER_MAPPING + Sources::BYTES_PER_FLOW;

    /// Room for `capacity` flows.
    pub fn new(capacity: usize, random: &mut dyn rand_core::Rng) -> Self {
        Self {
            flows: FlowTable::new(capacity, random),
            mappings: Mappings::new(capacity, random),
            sources: Sources::new(capacity, random),
            expectations: Expectations::default(),
            shifts: Shifts::default(),
            groups: Groups::new(random),
            sweep: 0,
        }
    }

    /// Limits the flows of each source; 0: no limit. Those that there are already count.
    pub fn limit_sources(&mut self, limit: u32) {
        let counted = self.sources.limit() > 0;
        self.sources.set_limit(limit);
        if limit > 0 && !counted {
            for (id, flow) in self.flows.iter_from(0) {
                if let Some(source) = limited(flow.tuple(Direction::Original), self.flows.ingress(id)) {
                    self.sources.add(source);
                }
            }
        }
    }

    /// Whether the source of a new flow has too many already.
    pub fn exceeds_source_limit(&self, draft: &Draft) -> bool {
        limited(draft.original, draft.ingress).is_some_and(|source| self.sources.is_at_limit(source))
    }

    /// Looks for room for a flow that would begin; changes nothing.
    ///
    /// # Errors
    /// `FlowTableFull`: none of the flows that were looked at may go for it.
    pub fn find_room(&self, draft: &mut Draft, now: Tick) -> Result<(), DropReason> {
        if !self.flows.is_full() {
            return Ok(());
        }
        draft.evicts = self.flows.eviction_candidate(now);
        draft.evicts.or(draft.replaces).map(|_| ()).ok_or(DropReason::FlowTableFull)
    }

    /// Counts a flow that there was no room for.
    pub fn refuse(&mut self) {
        self.flows.statistics.drop += 1;
        self.flows.look_further();
    }

    /// Begins a flow that expires in `timeout` seconds. Where the table is full, the one goes that was found right before.
    ///
    /// # Errors
    /// `SourceLimit`, `FlowTableFull`, `FlowClash`; nothing has changed then but for flows that were over anyway.
    pub fn begin(&mut self, draft: &Draft, now: Tick, timeout: u32) -> Result<FlowId, DropReason> {
        if draft.expected.is_some() {
            self.expectations.fulfil(&draft.original, now);
        }
        if let Some(id) = draft.replaces {
            self.end(id);
        }
        let reply = draft.leaving.inverted();
        while let Some(id) = self.flows.find_expired(&draft.original, &reply, now) {
            self.end(id);
        }
        if self.exceeds_source_limit(draft) {
            return Err(DropReason::SourceLimit);
        }
        if self.flows.is_full() {
            // What was over anyway may be gone already, where the limit was lowered.
            let evicted = draft.evicts.filter(|id| self.flows.at_place(id.place()).is_some());
            let Some(id) = evicted else {
                self.refuse();
                return Err(DropReason::FlowTableFull);
            };
            self.flows.statistics.early_drop += u64::from(self.flows.get(id).expires > now);
            self.flows.look_further();
            self.end(id);
        }
        let mut flow = Flow::new(draft.original, reply);
        flow.status = draft.status;
        flow.set_connection(&draft.tcp);
        flow.outside = draft.outside;
        flow.expires = now.plus_seconds(timeout);
        let mapping = if draft.reserve {
            flow.status |= status::RESERVED;
            let (inner, outer) = endpoints(&flow);
            let mapping = self.mappings.acquire(flow.protocol(), inner, outer);
            Some(mapping.ok_or(DropReason::FlowTableFull)?)
        } else {
            None
        };
        let id = self.flows.insert(flow, draft.ingress).ok_or_else(|| {
            if let Some(mapping) = mapping {
                self.mappings.release(mapping);
            }
            self.flows.statistics.insert_failed += 1;
            DropReason::FlowClash
        })?;
        if self.sources.limit() > 0
            && let Some(source) = limited(draft.original, draft.ingress)
        {
            self.sources.add(source);
        }
        Ok(id)
    }

    /// Ends a flow.
    pub fn end(&mut self, id: FlowId) {
        if !self.groups.is_empty() {
            self.groups.leave(id);
        }
        let ingress = self.flows.ingress(id);
        let flow = self.flows.remove(id);
        if self.sources.limit() > 0
            && let Some(source) = limited(flow.tuple(Direction::Original), ingress)
        {
            self.sources.remove(source);
        }
        let (inner, outer) = endpoints(&flow);
        if flow.is(status::RESERVED)
            && let Some(mapping) = self.mappings.find(flow.protocol(), inner, outer)
        {
            self.mappings.release(mapping);
        }
        if !self.expectations.is_empty() {
            self.expectations.forget(id);
        }
        if !self.shifts.is_empty() {
            self.shifts.forget(id);
        }
    }

    /// Ends every flow that `over` says is over.
    pub fn end_where(&mut self, mut over: impl FnMut(&Flow) -> bool) {
        for place in 0..self.flows.places() {
            if let Some((id, flow)) = self.flows.at_place(place)
                && over(flow)
            {
                self.end(id);
            }
        }
    }

    /// Every flow is decided anew at its next packet.
    pub fn forget_shortcuts(&mut self) {
        for place in 0..self.flows.places() {
            if let Some((id, _)) = self.flows.at_place(place) {
                self.flows.get_mut(id).shortcuts = [None; 2];
            }
        }
    }

    /// Looks at the next `count` places and ends the flows whose time is over, so that a whole table is swept
    /// without a pause.
    pub fn sweep(&mut self, now: Tick, count: usize) {
        for _ in 0..count.min(self.flows.places()) {
            self.sweep = if self.sweep + 1 < self.flows.places() { self.sweep + 1 } else { 0 };
            if let Some((id, flow)) = self.flows.at_place(self.sweep)
                && flow.expires <= now
            {
                self.end(id);
            }
        }
    }
}

/// Whose flow it is, where the flows of one source are limited: the router's own are not.
fn limited(original: Tuple, ingress: InterfaceId) -> Option<Ipv4Address> {
    (ingress != InterfaceId::LOOPBACK).then_some(original.source)
}

/// The source of a flow's original direction, as it arrives and as it leaves: what its mapping is found by.
fn endpoints(flow: &Flow) -> (Endpoint, Endpoint) {
    let source = |tuple: Tuple| Endpoint { address: tuple.source, port: tuple.source_port };
    (source(flow.tuple(Direction::Original)), source(flow.translated(Direction::Original)))
}

impl Draft {
    /// A flow without translation.
    pub fn plain(original: Tuple, tcp: Connection) -> Self {
        Self {
            original,
            leaving: original,
            status: 0,
            reserve: false,
            tcp,
            ingress: InterfaceId::LOOPBACK,
            outside: InterfaceId::LOOPBACK,
            replaces: None,
            evicts: None,
            expected: None,
        }
    }

    /// Gives what leaves another destination.
    pub fn translate_destination(&mut self, to: Endpoint) {
        // To where it goes anyway is no translation.
        if (self.leaving.destination, self.leaving.destination_port) != (to.address, to.port) {
            self.status |= status::DESTINATION_NAT;
        }
        (self.leaving.destination, self.leaving.destination_port) = (to.address, to.port);
    }

    /// Gives what leaves another source, and reserves its port.
    pub fn translate_source(&mut self, to: Endpoint) {
        if (self.leaving.source, self.leaving.source_port) != (to.address, to.port) {
            self.status |= status::SOURCE_NAT;
        }
        (self.leaving.source, self.leaving.source_port) = (to.address, to.port);
        self.reserve = true;
    }
}
