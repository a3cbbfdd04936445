//! The flow table: a fixed capacity, a keyed hash, and constant work however full it is.
//!
//! Own code instead of a map crate: one slab of flow records, each linked into a bucket by both of its tuples, so
//! that a packet of either direction finds everything about its flow with one lookup and two cache lines.
//! The hash is multilinear, two words to a multiplication (Lemire and Kaser, "Strongly universal string hashing is
//! fast", 2014): for keys that nobody outside knows, two tuples collide with probability 2^-32, whoever chose them.

use super::{Direction, Flow, FlowId, Key, Tuple, status};
use crate::{
    interface::InterfaceId,
    table::{multilinear, tick::Tick},
};
use alloc::vec::Vec;

impl Flow {
    fn in_use(&self) -> bool {
        self.next[1] != FREE
    }
}

pub(super) const NIL: u32 = u32::MAX;
/// Stands in the second link of a record that holds no flow. No field of a packet could: any protocol may come.
const FREE: u32 = NIL - 1;
/// One for each tuple.
const BUCKETS_PER_FLOW: usize = 2;
/// Records that one new flow may look at when it needs the place of an old one.
const EVICTION_WINDOW: usize = 32;

/// What `conntrack -S` counts.
#[derive(Clone, Copy, Default, Debug)]
pub struct FlowStatistics {
    /// Lookups for packets that belong to no flow and may start none.
    pub invalid: u64,
    /// Flows that were made.
    pub insert: u64,
    /// Flows that could not be made, because another has a tuple of theirs.
    pub insert_failed: u64,
    /// Flows that could not be made, because the table was full.
    pub drop: u64,
    /// Flows that were ended early to make room.
    pub early_drop: u64,
}

/// The table.
pub struct FlowTable {
    flows: Vec<Flow>,
    /// What no packet of the fast path asks for, by the places of the flows.
    marks: Vec<u32>,
    ingresses: Vec<InterfaceId>,
    heads: Vec<u32>,
    key: [u64; 5],
    capacity: usize,
    limit: usize,
    free: u32,
    used: usize,
    cursor: usize,
    /// Counters for `conntrack -S`.
    pub statistics: FlowStatistics,
}

impl FlowTable {
    /// Bytes that each flow takes, buckets included.
    pub const BYTES_PER_FLOW: usize =
        size_of::<Flow>() + size_of::<u32>() + size_of::<InterfaceId>() + BUCKETS_PER_FLOW * size_of::<u32>();

    /// A table for `capacity` flows, all of whose memory is taken here. `random` makes the key of the hash.
    pub fn new(capacity: usize, random: &mut dyn rand_core::Rng) -> Self {
        let capacity = capacity.clamp(1, (NIL / 2 - 1) as usize);
        Self {
            flows: Vec::with_capacity(capacity),
            marks: Vec::with_capacity(capacity),
            ingresses: Vec::with_capacity(capacity),
            heads: alloc::vec![NIL; capacity * BUCKETS_PER_FLOW],
            key: core::array::from_fn(|_| random.next_u64()),
            capacity,
            limit: capacity,
            free: NIL,
            used: 0,
            cursor: 0,
            statistics: FlowStatistics::default(),
        }
    }

    /// Flows at this moment.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether there is no flow.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The most flows that it may hold now.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Sets the most flows (`nf_conntrack_max`); 0, or more than the memory allows: the capacity.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = if limit == 0 { self.capacity } else { limit.min(self.capacity) };
    }

    /// The flow at a place.
    #[inline]
    pub fn get(&self, id: FlowId) -> &Flow {
        &self.flows[id.0 as usize]
    }

    /// The flow at a place, to be changed.
    #[inline]
    pub fn get_mut(&mut self, id: FlowId) -> &mut Flow {
        &mut self.flows[id.0 as usize]
    }

    /// The mark of the flow at a place, as `CONNMARK` has set it.
    pub fn mark(&self, id: FlowId) -> u32 {
        self.marks[id.place()]
    }

    /// Marks the flow at a place. What was decided by its old mark does not hold any more.
    pub fn set_mark(&mut self, id: FlowId, mark: u32) {
        if core::mem::replace(&mut self.marks[id.place()], mark) != mark {
            self.get_mut(id).shortcuts = [None; 2];
        }
    }

    /// Where the first packet of the flow at a place came in; `lo`: it was made here.
    pub fn ingress(&self, id: FlowId) -> InterfaceId {
        self.ingresses[id.place()]
    }

    /// The live flow that has this tuple, and in which direction.
    #[inline]
    pub fn find(&self, tuple: &Tuple, now: Tick) -> Option<(FlowId, Direction)> {
        self.find_key(&Key::from(tuple), now)
    }

    /// The same by its key.
    #[inline]
    pub fn find_key(&self, key: &Key, now: Tick) -> Option<(FlowId, Direction)> {
        let (id, direction) = self.find_any(key)?;
        (self.get(id).expires > now).then_some((id, direction))
    }

    #[inline]
    fn find_any(&self, key: &Key) -> Option<(FlowId, Direction)> {
        let mut link = self.heads[self.bucket(key)];
        while link != NIL {
            let flow = &self.flows[(link >> 1) as usize];
            let at = (link & 1) as usize;
            if flow.addresses[at] == key.addresses
                && flow.ports[at] == key.ports
                && flow.protocol == key.protocol
            {
                let direction = if at == 0 { Direction::Original } else { Direction::Reply };
                return Some((FlowId(link >> 1), direction));
            }
            link = flow.next[at];
        }
        None
    }

    /// A flow that has one of these tuples but whose time is over: it has to go before a new one can take them.
    pub fn find_expired(&self, original: &Tuple, reply: &Tuple, now: Tick) -> Option<FlowId> {
        [original, reply]
            .into_iter()
            .filter_map(|tuple| self.find_any(&Key::from(tuple)))
            .map(|(id, _)| id)
            .find(|&id| self.get(id).expires <= now)
    }

    /// Whether there is no room for one more.
    pub fn is_full(&self) -> bool {
        self.used >= self.limit
    }

    /// The flow that should go for a new one: expired, then half-open, then closing or not assured. Looks at a
    /// bounded number of records; `None` where none of these may go.
    pub fn eviction_candidate(&self, now: Tick) -> Option<FlowId> {
        let mut best: Option<(u8, FlowId)> = None;
        let mut place = self.cursor;
        for _ in 0..EVICTION_WINDOW.min(self.flows.len()) {
            place = if place + 1 < self.flows.len() { place + 1 } else { 0 };
            let flow = &self.flows[place];
            let worth = match flow {
                flow if !flow.in_use() => continue,
                flow if flow.expires <= now => 0,
                flow if !flow.is(status::SEEN_REPLY) => 1,
                flow if flow.tcp.is_closing() => 2,
                flow if !flow.is(status::ASSURED) => 3,
                _ => continue,
            };
            if best.is_none_or(|(least, _)| worth < least) {
                best = Some((worth, FlowId(place as u32)));
            }
            if worth == 0 {
                break;
            }
        }
        best.map(|(_, id)| id)
    }

    /// Has the next new flow look at other records.
    pub fn look_further(&mut self) {
        self.cursor = (self.cursor + EVICTION_WINDOW) % self.flows.len().max(1);
    }

    /// Adds a flow whose first packet came in there. `None` where the table is full or a tuple is taken; the caller has looked at both before.
    pub fn insert(&mut self, flow: Flow, ingress: InterfaceId) -> Option<FlowId> {
        let keys = [flow.key(Direction::Original), flow.key(Direction::Reply)];
        if self.is_full() || keys.iter().any(|key| self.find_any(key).is_some()) {
            return None;
        }
        let place = if self.free == NIL {
            self.flows.push(flow);
            self.marks.push(0);
            self.ingresses.push(ingress);
            (self.flows.len() - 1) as u32
        } else {
            let place = self.free;
            self.free = self.flows[place as usize].next[0];
            self.flows[place as usize] = flow;
            (self.marks[place as usize], self.ingresses[place as usize]) = (0, ingress);
            place
        };
        for (direction, key) in keys.iter().enumerate() {
            let bucket = self.bucket(key);
            self.flows[place as usize].next[direction] = self.heads[bucket];
            self.heads[bucket] = place << 1 | direction as u32;
        }
        self.used += 1;
        self.statistics.insert += 1;
        Some(FlowId(place))
    }

    /// Ends a flow and gives it back; the caller releases what it held.
    pub fn remove(&mut self, id: FlowId) -> Flow {
        for direction in [Direction::Original, Direction::Reply] {
            self.unlink(id.0, direction);
        }
        let record = &mut self.flows[id.0 as usize];
        let flow = record.clone();
        record.next = [self.free, FREE];
        self.free = id.0;
        self.used -= 1;
        flow
    }

    fn unlink(&mut self, place: u32, direction: Direction) {
        let target = place << 1 | direction as u32;
        let flow = &self.flows[place as usize];
        let after = flow.next[direction as usize];
        let bucket = self.bucket(&flow.key(direction));
        let mut link = self.heads[bucket];
        if link == target {
            self.heads[bucket] = after;
            return;
        }
        while link != NIL {
            let slot = &mut self.flows[(link >> 1) as usize].next[(link & 1) as usize];
            if *slot == target {
                *slot = after;
                return;
            }
            link = *slot;
        }
    }

    /// Every flow from `place` on, with its place, for listings and sweeps that go on later.
    pub fn iter_from(&self, place: usize) -> impl Iterator<Item = (FlowId, &Flow)> {
        let rest = self.flows.get(place..).unwrap_or_default();
        rest.iter()
            .enumerate()
            .filter(|(_, flow)| flow.in_use())
            .map(move |(offset, flow)| (FlowId((place + offset) as u32), flow))
    }

    /// Places that hold or held a flow: the end of [`FlowTable::iter_from`].
    pub fn places(&self) -> usize {
        self.flows.len()
    }

    /// The flow at a place, where one is.
    pub fn at_place(&self, place: usize) -> Option<(FlowId, &Flow)> {
        let flow = self.flows.get(place)?;
        flow.in_use().then_some((FlowId(place as u32), flow))
    }

    #[inline]
    fn bucket(&self, key: &Key) -> usize {
        let [k0, k1, k2, k3, k4] = self.key;
        let (source, destination) = (key.addresses as u32, (key.addresses >> 32) as u32);
        let addresses = multilinear::pair([k1, k2], [source, destination]);
        let rest = multilinear::pair([k3, k4], [key.ports, key.protocol.into()]);
        multilinear::bucket(k0.wrapping_add(addresses).wrapping_add(rest), self.heads.len())
    }

    /// Reads what a key's bucket begins with, to have it near; that means nothing but to [`FlowTable::touch_flow`].
    #[inline]
    pub fn touch_bucket(&self, key: &Key) -> u32 {
        self.heads[self.bucket(key)]
    }

    /// Reads from the flow that a bucket begins with, to have it near; what it gives means nothing.
    #[inline]
    pub fn touch_flow(&self, link: u32) -> u8 {
        self.flows.get((link >> 1) as usize).map_or(0, |flow| flow.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::random;
    use smoltcp::wire::Ipv4Address;

    fn tuple(port: u16) -> Tuple {
        Tuple {
            source: Ipv4Address::new(192, 168, 1, 2),
            destination: Ipv4Address::new(198, 51, 100, 7),
            source_port: port,
            destination_port: 80,
            protocol: 6,
        }
    }

    fn flow(port: u16, seconds: u32) -> Flow {
        let mut flow = Flow::new(tuple(port), tuple(port).inverted());
        flow.expires = Tick::default().plus_seconds(seconds);
        flow
    }

    fn insert(table: &mut FlowTable, flow: Flow) -> Option<FlowId> {
        table.insert(flow, InterfaceId::LOOPBACK)
    }

    #[test]
    fn both_directions_find_one_flow() {
        let mut table = FlowTable::new(16, &mut random());
        let id = insert(&mut table, flow(1, 10)).unwrap();
        assert_eq!(table.find(&tuple(1), Tick::default()), Some((id, Direction::Original)));
        assert_eq!(table.find(&tuple(1).inverted(), Tick::default()), Some((id, Direction::Reply)));
        assert_eq!(table.find(&tuple(2), Tick::default()), None);
    }

    #[test]
    fn an_expired_flow_is_not_found_but_holds_its_place_until_removed() {
        let mut table = FlowTable::new(16, &mut random());
        let id = insert(&mut table, flow(1, 10)).unwrap();
        let later = Tick::default().plus_seconds(11);
        assert_eq!(table.find(&tuple(1), later), None);
        assert!(insert(&mut table, flow(1, 30)).is_none(), "its tuples are still linked");
        assert_eq!(table.find_expired(&tuple(1), &tuple(1).inverted(), later), Some(id));
        table.remove(id);
        assert!(insert(&mut table, flow(1, 30)).is_some());
    }

    #[test]
    fn flows_of_every_protocol_number_are_swept() {
        let mut table = FlowTable::new(256, &mut random());
        for protocol in 0..=u8::MAX {
            let original = Tuple { protocol, ..tuple(1) };
            insert(&mut table, Flow::new(original, original.inverted())).unwrap();
        }
        assert_eq!(table.iter_from(0).count(), 256);
        let ids: Vec<_> = (0..table.places()).map(|place| table.at_place(place).unwrap().0).collect();
        for id in ids {
            table.remove(id);
        }
        assert_eq!((table.len(), table.iter_from(0).count()), (0, 0));
    }

    #[test]
    fn removal_from_crowded_buckets_loses_no_other_flow() {
        let mut table = FlowTable::new(2000, &mut random());
        table.heads.truncate(8); // Long chains on purpose.
        let ids: Vec<_> = (0..1000).map(|port| insert(&mut table, flow(port, 10)).unwrap()).collect();
        for id in ids.iter().step_by(2) {
            table.remove(*id);
        }
        for port in 0..1000 {
            let found = table.find(&tuple(port), Tick::default()).is_some();
            assert_eq!(found, port % 2 == 1, "port {port}");
        }
        assert_eq!(table.len(), 500);
    }

    #[test]
    fn expired_goes_before_half_open_and_an_assured_flow_never() {
        let mut table = FlowTable::new(3, &mut random());
        let assured = {
            let mut flow = flow(1, 100);
            flow.status = status::SEEN_REPLY | status::ASSURED;
            insert(&mut table, flow).unwrap()
        };
        assert_eq!(table.eviction_candidate(Tick::default()), None);
        let half_open = insert(&mut table, flow(2, 100)).unwrap();
        let expired = insert(&mut table, flow(3, 1)).unwrap();
        assert!(table.is_full());
        let now = Tick::default().plus_seconds(2);
        assert_eq!(table.eviction_candidate(now), Some(expired));
        table.remove(expired);
        assert_eq!(table.eviction_candidate(now), Some(half_open));
        table.remove(half_open);
        assert_eq!(table.eviction_candidate(now), None);
        assert!(table.at_place(assured.place()).is_some());
    }
}
