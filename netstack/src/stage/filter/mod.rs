//! Asks the rules of a table about one packet (iptables(8)).

mod fit;
mod index;
mod limiting;
mod marking;
mod memory;
#[cfg(test)]
pub(crate) mod tests;

use crate::{
    config::{
        interface::Interface,
        ipset::Sets,
        rules::{ChainId, Counters, Hook, MssLimit, Policy, RejectWith, Rule, Table, TableName, Target},
    },
    headers::{Fragment, Headers},
    interface::InterfaceId,
    outcome::DropReason,
    table::{
        fib::Fib,
        flow::FlowId,
        groups::{Group, Groups},
    },
    trace::Trace,
};
use core::fmt;
use index::Search;
pub use index::{Indexes, TableIndex};
pub use marking::Marking;
pub use memory::Memory;
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
    /// The flow; `None` where it is yet to begin.
    pub id: Option<FlowId>,
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
    /// The flow's mark, as the packet found it.
    pub mark: u32,
}

impl FlowView {
    /// What the rules see of the router's own answer to a packet of which they saw this.
    pub fn of_answer(self) -> Self {
        let state = if self.state == FlowState::Invalid { self.state } else { FlowState::Related };
        Self { state, original_direction: !self.original_direction, ..self }
    }
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
    /// What addresses are to the router.
    pub fib: &'a Fib,
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

impl CounterRef {
    /// The counters themselves; `table` is the one that was evaluated. `None` where it has changed since.
    pub fn counters(self, table: &Table) -> Option<&Counters> {
        let chain = table.chains.get(usize::from(self.chain.0))?;
        match self.rule {
            Some(rule) => Some(&chain.rules.get(usize::from(rule))?.counters),
            None => Some(&chain.builtin.as_ref()?.counters),
        }
    }
}

/// What the rules leave behind for whoever carries out the decision: evaluation itself changes nothing, but for
/// the token buckets of `limit` and what else rules remember when `effects` is set.
#[derive(Default)]
pub struct Trail {
    /// All that counts this packet, in order.
    pub counted: heapless::Vec<CounterRef, { Trail::CAPACITY }>,
    /// LOG rules that matched; what is beyond the capacity is not logged.
    pub logged: heapless::Vec<CounterRef, 4>,
    /// Where `connlimit` is to count the packet's flow, if the packet survives.
    pub groups: heapless::Vec<Group, 4>,
    /// What TCPMSS rules lower the maximum segment size to.
    pub mss: MssLimits,
    /// Whether the same packet of the same flow in the same state might be judged otherwise: a rule on its way
    /// looked at something that changes from packet to packet, or has a side effect of its own.
    pub unstable: bool,
}

/// What all TCPMSS rules that a SYN met want its maximum segment size lowered to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct MssLimits {
    /// The least that one of them names, in bytes.
    pub bytes: Option<u16>,
    /// Whether one of them wants what fits the way.
    pub path: bool,
}

impl MssLimits {
    fn add(&mut self, limit: MssLimit) {
        match limit {
            MssLimit::Bytes(bytes) => self.bytes = Some(self.bytes.map_or(bytes, |least| least.min(bytes))),
            MssLimit::PathMtu => self.path = true,
        }
    }
}

impl Trail {
    /// The most counters that one packet can move. What goes beyond is counted at once and makes the trail
    /// unstable.
    pub const CAPACITY: usize = 48;

    fn count(&mut self, at: CounterRef, table: &Table, bytes: u64, effects: bool) {
        if self.counted.push(at).is_err() {
            self.unstable = true;
            if let Some(counters) = at.counters(table).filter(|_| effects) {
                counters.add(1, bytes);
            }
        }
    }
}

/// The most rules that one packet is held against: chains that are called again and again could make it any number.
/// A packet that needs more is dropped.
pub const MAX_LOOKS: usize = 4 * Table::MAX_RULES;

/// The rules of a table, with what finds those that matter.
#[derive(Clone, Copy)]
pub struct Ruleset<'r> {
    /// The rules.
    pub table: &'r Table,
    /// Made of these rules, or empty.
    pub index: &'r TableIndex,
    /// The sets that the rules ask.
    pub sets: &'r Sets,
    /// What the matches `hashlimit` and `recent` remember.
    pub memory: &'r Memory,
    /// What the match `connlimit` counts.
    pub groups: &'r Groups,
}

/// Rules that are asked one after the other before the index is: it pays only where there are many.
const WALK: usize = 4;

/// Where the walk stands.
#[derive(Clone, Copy)]
struct Place {
    chain: ChainId,
    next: usize,
    /// Jumps and gotos that led here.
    depth: usize,
    /// Where it came to this chain or back to it.
    since: usize,
}

/// Asks the chain of the table at `hook`. With `effects` unset nothing at all changes, not even a token bucket.
///
/// `marking` is what the rules asked before have left of the packet, and becomes what these leave.
///
/// A listener is told of every rule; when nobody listens, rules that cannot fit are passed over.
pub fn evaluate<'r, T: Trace>(
    rules: Ruleset<'r>,
    hook: Hook,
    candidate: &Candidate<'_>,
    effects: bool,
    marking: &mut Marking,
    trail: &mut Trail,
    trace: &mut T,
) -> Ruling<'r> {
    let (table, name) = (rules.table, rules.table.name);
    let Some(base) = table.builtin(hook) else { return Ruling::Accept };
    let mut subject = fit::Subject::new(candidate, rules, marking);
    let bytes = u64::from(candidate.headers.total_length);
    // What is said of a fragment says nothing about the other packets of its flow.
    trail.unstable |= candidate.headers.fragment != Fragment::Whole;

    let mut left = MAX_LOOKS;
    let mut callers: heapless::Vec<Place, { Table::MAX_DEPTH }> = heapless::Vec::new();
    let mut search: Option<Search<'_>> = None;
    let mut at = Place { chain: base, next: 0, depth: 0, since: 0 };
    let first = table.chain(base);
    let mut chain = first;
    loop {
        let end = chain.rules.len();
        // Nobody asks for the index before it may be used.
        let index = if !T::ON && at.next >= at.since + WALK { rules.index.chain(at.chain) } else { None };
        let found = match index {
            Some(index) => {
                let search = search.get_or_insert_with(|| Search::new(index, &subject, at.next));
                search.next(at.next).unwrap_or(end).min(end)
            }
            _ => at.next,
        };
        // What was passed over counts as looked at, so that the bound is the same for every way to find a rule.
        let looked_at = found - at.next + usize::from(found < end);
        if looked_at >= left {
            return Ruling::Drop(DropReason::FirewallRule);
        }
        left -= looked_at;
        let Some(rule) = chain.rules.get(found) else {
            let Some(caller) = callers.pop() else { break };
            (at, search) = (Place { since: caller.next, ..caller }, None);
            chain = table.chain(at.chain);
            continue;
        };
        let here = CounterRef { table: name, chain: at.chain, rule: Some(found as u16) };
        at.next = found + 1;
        let fit = subject.fit(rule, effects, trail);
        if T::ON {
            let (number, text) = (at.next, table.text(rule));
            match fit {
                Ok(()) => trace.station(format_args!(
                    "{name} {} rule {number}:{text} => {}",
                    chain.name,
                    Consequence(table, rule)
                )),
                Err(part) => {
                    trace.station(format_args!("{name} {} rule {number}:{text} => no, {part}", chain.name));
                }
            }
        }
        if fit.is_err() {
            continue;
        }
        trail.count(here, table, bytes, effects);
        match &rule.target {
            None => {}
            Some(Target::Accept) => return Ruling::Accept,
            Some(Target::Drop) => return Ruling::Drop(DropReason::FirewallRule),
            Some(Target::Reject(with)) => return Ruling::Reject(*with),
            Some(Target::Masquerade { .. } | Target::Snat(_) | Target::Dnat(_) | Target::Redirect { .. }) => {
                return Ruling::Translate(rule);
            }
            Some(Target::Log(_)) => {
                trail.unstable = true;
                let _ = trail.logged.push(here);
            }
            Some(Target::TcpMss(limit)) => trail.mss.add(*limit),
            Some(
                target @ (Target::Mark(_)
                | Target::ConnMark(_)
                | Target::NoTrack(_)
                | Target::Ttl(_)
                | Target::Dscp(_)
                | Target::Tos(_)),
            ) => subject.change(target),
            // A return is a walk to the chain's end.
            Some(Target::Return) => at.next = end,
            Some(target @ (Target::Jump(next) | Target::Goto(next))) => {
                // Deeper jumps are refused when a rule is added; this keeps the walk bounded all the same.
                let returns = matches!(target, Target::Jump(_));
                if at.depth == Table::MAX_DEPTH || (returns && callers.push(at).is_err()) {
                    return Ruling::Drop(DropReason::FirewallRule);
                }
                (at, search) = (Place { chain: *next, next: 0, depth: at.depth + 1, since: 0 }, None);
                chain = table.chain(*next);
            }
        }
    }

    let policy = first.builtin.as_ref().map_or(Policy::Accept, |builtin| builtin.policy);
    trail.count(CounterRef { table: name, chain: base, rule: None }, table, bytes, effects);
    if T::ON {
        trace.station(format_args!("{name} {} policy {}", first.name, policy.name()));
    }
    match policy {
        Policy::Accept => Ruling::Accept,
        Policy::Drop => Ruling::Drop(DropReason::FirewallPolicy),
    }
}

/// What follows from a rule that fits, for a person.
struct Consequence<'a>(&'a Table, &'a Rule);

impl fmt::Display for Consequence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.1.target {
            None => f.write_str("yes, counted only"),
            Some(Target::Jump(chain) | Target::Goto(chain)) => {
                write!(f, "yes, on to chain {}", self.0.chain(*chain).name)
            }
            Some(target) => write!(f, "yes, {}", target.name()),
        }
    }
}
