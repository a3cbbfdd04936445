//! Flows together with the outer ports that they hold: what begins a flow takes both, what ends it gives both back.

use super::{
    flow::{Direction, Flow, FlowId, FlowTable, Tuple, status},
    mapping::{Endpoint, Mappings},
    tick::Tick,
};
use crate::{interface::InterfaceId, outcome::DropReason, stage::tcp::Connection};

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
}

/// All flows and mappings.
pub struct Connections {
    /// The flows.
    pub flows: FlowTable,
    /// The outer ports they hold.
    pub mappings: Mappings,
    sweep: usize,
}

impl Connections {
    /// Bytes of memory that each flow takes in all.
    pub const BYTES_PER_FLOW: usize = FlowTable::BYTES_PER_FLOW + Mappings::BYTES_PER_MAPPING;

    /// Room for `capacity` flows.
    pub fn new(capacity: usize, random: &mut dyn rand_core::Rng) -> Self {
        Self { flows: FlowTable::new(capacity, random), mappings: Mappings::new(capacity, random), sweep: 0 }
    }

    /// Begins a flow that expires in `timeout` seconds. Makes room first where the table is full.
    ///
    /// # Errors
    /// `FlowTableFull`, `FlowClash`; nothing has changed then but for flows that were over anyway.
    pub fn begin(&mut self, draft: &Draft, now: Tick, timeout: u32) -> Result<FlowId, DropReason> {
        if let Some(id) = draft.replaces {
            self.end(id);
        }
        let reply = draft.leaving.inverted();
        while let Some(id) = self.flows.find_expired(&draft.original, &reply, now) {
            self.end(id);
        }
        if self.flows.is_full() {
            let Some(id) = self.flows.eviction_candidate(now) else {
                self.flows.statistics.drop += 1;
                return Err(DropReason::FlowTableFull);
            };
            self.flows.statistics.early_drop += u64::from(self.flows.get(id).expires > now);
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
        self.flows.insert(flow, draft.ingress).ok_or_else(|| {
            if let Some(mapping) = mapping {
                self.mappings.release(mapping);
            }
            self.flows.statistics.insert_failed += 1;
            DropReason::FlowClash
        })
    }

    /// Ends a flow.
    pub fn end(&mut self, id: FlowId) {
        let flow = self.flows.remove(id);
        let (inner, outer) = endpoints(&flow);
        if flow.is(status::RESERVED)
            && let Some(mapping) = self.mappings.find(flow.protocol(), inner, outer)
        {
            self.mappings.release(mapping);
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
