//! Asks the rules of a table about one packet (iptables(8)).

use crate::{
    config::{
        interface::Interface,
        rules::{ChainId, Hook, RejectWith, Rule, Table, TableName},
    },
    headers::Headers,
    interface::InterfaceId,
    outcome::DropReason,
    trace::Trace,
};
use smoltcp::{time::Instant, wire::Ipv4Address};

/// The state of connection tracking that a rule may look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum FlowState {
    Invalid,
    New,
    Established,
    Related,
    Untracked,
}

/// What rules may know of the packet's flow.
#[derive(Clone, Copy, Debug)]
pub struct FlowView {
    /// State of this packet in its flow.
    pub state: FlowState,
    /// Whether the packet runs in the direction of the flow's first one.
    pub original_direction: bool,
    /// Whether the source of the original direction is translated.
    pub source_translated: bool,
    /// Whether the destination of the original direction is translated.
    pub destination_translated: bool,
    /// Protocol number.
    pub protocol: u8,
    /// Source, destination and ports of the original direction.
    pub original: (Ipv4Address, u16, Ipv4Address, u16),
    /// Source, destination and ports as the answers carry them.
    pub reply: (Ipv4Address, u16, Ipv4Address, u16),
}

/// What the rules look at.
pub struct Candidate<'a> {
    /// The frame as it came, for the MAC source. Empty for what the router itself sends.
    pub frame: &'a [u8],
    /// Headers as they stand at this station (after DNAT, before SNAT).
    pub headers: &'a Headers,
    /// The interface it came in on; `None` for what the router itself sends.
    pub ingress: Option<InterfaceId>,
    /// The interface it will leave by, where that is known at this station.
    pub egress: Option<InterfaceId>,
    /// Its flow; `None`: untracked.
    pub flow: Option<FlowView>,
    /// All interfaces, for their names.
    pub interfaces: &'a [Interface],
    /// Now.
    pub now: Instant,
}

/// What the rules say.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Ruling<'r> {
    /// Goes on. In the nat table: no translation.
    Accept,
    /// Ends here.
    Drop(DropReason),
    /// Ends here, and the sender is told.
    Reject(RejectWith),
    /// The nat table found this rule, whose target translates.
    Translate(&'r Rule),
}

/// Where a packet is counted: a rule, or the policy of a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CounterRef {
    /// The table.
    pub table: TableName,
    /// The chain.
    pub chain: ChainId,
    /// The rule's place in the chain; `None`: the chain's policy.
    pub rule: Option<u16>,
}

/// What the rules leave behind for whoever carries out the decision: evaluation itself changes nothing, but for
/// the token buckets of `limit` when `effects` is set.
#[derive(Default)]
pub struct Trail {
    /// All that counts this packet, in order.
    pub counted: heapless::Vec<CounterRef, { Trail::CAPACITY }>,
    /// LOG rules that matched.
    pub logged: heapless::Vec<CounterRef, 4>,
    /// Whether the same packet of the same flow in the same state might be judged otherwise: a rule on its way
    /// looked at something that changes from packet to packet, or has a side effect of its own.
    pub unstable: bool,
}

impl Trail {
    /// The most counters that one packet can move. What goes beyond is counted at once and makes the trail
    /// unstable.
    pub const CAPACITY: usize = 48;
}

/// Asks the chain of `table` at `hook`. With `effects` unset nothing at all changes, not even a token bucket.
pub fn evaluate<'r, T: Trace>(
    table: &'r Table,
    name: TableName,
    hook: Hook,
    candidate: &Candidate<'_>,
    effects: bool,
    trail: &mut Trail,
    trace: &mut T,
) -> Ruling<'r> {
    let _ = (table, name, hook, candidate, effects, trail, trace);
    Ruling::Accept
}
