//! The flow table: two tuples, one flow; a fixed capacity, a keyed hash, and constant work however full it is.
//!
//! Own code instead of a map crate: one slab of flow records, each linked into a bucket by both of its tuples, so
//! that a packet of either direction finds everything about its flow with one lookup and two cache lines.
//! The hash is multilinear (Lemire and Kaser, "Strongly universal string hashing is fast", 2014): for keys that
//! nobody outside knows, two tuples collide with probability 2^-32, whoever chose them.

use super::{mapping::MappingId, neighbor::NeighborId, path::PathId, tick::Tick};
use crate::{
    interface::{InterfaceId, PortId},
    stage::tcp::TcpState,
    wire::checksum::Delta,
};
use alloc::vec::Vec;
use core::{fmt, num::NonZeroU32};
use smoltcp::wire::Ipv4Address;

/// What identifies one direction of a flow. For an ICMP query the requester's port is the identifier and the other
/// one stands for the kind of query, so that inverting it gives the answer's tuple as for any protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tuple {
    /// Source address.
    pub source: Ipv4Address,
    /// Destination address.
    pub destination: Ipv4Address,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

impl Tuple {
    /// The tuple of the answers.
    #[inline]
    #[must_use]
    pub fn inverted(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
        }
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, destination, source_port, destination_port, protocol } = self;
        write!(f, "{source}:{source_port} > {destination}:{destination_port} proto {protocol}")
    }
}

/// A direction of a flow; `Original` is that of its first packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// As the first packet.
    Original = 0,
    /// The other way.
    Reply = 1,
}

impl Direction {
    /// The other one.
    #[inline]
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// A flow's place in the table. It may be another flow's once this one is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FlowId(u32);

impl FlowId {
    /// The place as a number, for listings that go on later.
    pub fn place(self) -> usize {
        self.0 as usize
    }
}

/// What the slow path decided for one direction, for the fast path to repeat. It holds as long as the epoch of the
/// plane is the one it was made in.
#[derive(Clone, Copy, Debug)]
pub struct Shortcut {
    /// Epoch of the decision.
    pub epoch: NonZeroU32,
    /// The interface the packets come in on.
    pub ingress: InterfaceId,
    /// The interface they leave by.
    pub egress: InterfaceId,
    /// The card below that.
    pub port: PortId,
    /// The next hop.
    pub neighbor: NeighborId,
    /// The rules that count each packet.
    pub path: PathId,
    /// The largest packet that can leave, in bytes.
    pub mtu: u16,
    /// Change of the IP header checksum, that of the TTL included.
    pub ip: Delta,
    /// Change of the transport checksum.
    pub transport: Delta,
}

/// Bits of [`Flow::status`].
pub mod status {
    /// A packet of the reply direction was seen.
    pub const SEEN_REPLY: u8 = 1;
    /// Never evicted for a new flow.
    pub const ASSURED: u8 = 2;
    /// The source of the original direction is translated.
    pub const SOURCE_NAT: u8 = 4;
    /// The destination of the original direction is translated.
    pub const DESTINATION_NAT: u8 = 8;
    /// Translated by MASQUERADE: it ends with its outer address.
    pub const MASQUERADED: u8 = 16;
}

/// One flow.
#[derive(Clone, Debug)]
pub struct Flow {
    tuples: [Tuple; 2],
    next: [u32; 2],
    /// Decisions by direction.
    pub shortcuts: [Option<Shortcut>; 2],
    /// When it ends unless a packet comes.
    pub expires: Tick,
    /// The reservation of its outer port, where its source is translated.
    pub mapping: Option<MappingId>,
    /// Bits of [`status`].
    pub status: u8,
    /// State, where it is TCP.
    pub tcp: TcpState,
    /// Where a translated source leaves: the flow ends when its packets would leave elsewhere.
    pub outside: InterfaceId,
    /// Where its first packet came in; `lo`: it was made here.
    pub ingress: InterfaceId,
    /// The mark of `CONNMARK`.
    pub mark: u32,
}

impl Flow {
    /// A flow of these two tuples, each as its packets arrive.
    pub fn new(original: Tuple, reply: Tuple) -> Self {
        Self {
            tuples: [original, reply],
            next: [NIL; 2],
            shortcuts: [None; 2],
            expires: Tick::default(),
            mapping: None,
            status: 0,
            tcp: TcpState::None,
            outside: InterfaceId::LOOPBACK,
            ingress: InterfaceId::LOOPBACK,
            mark: 0,
        }
    }

    /// The tuple of a direction, as its packets arrive.
    #[inline]
    pub fn tuple(&self, direction: Direction) -> &Tuple {
        &self.tuples[direction as usize]
    }

    /// The tuple of a direction as its packets leave.
    #[inline]
    pub fn translated(&self, direction: Direction) -> Tuple {
        self.tuples[direction.opposite() as usize].inverted()
    }

    /// Whether all of these bits of [`status`] are set.
    #[inline]
    pub fn is(&self, bits: u8) -> bool {
        self.status & bits == bits
    }

    fn in_use(&self) -> bool {
        self.next[1] != FREE
    }
}

const NIL: u32 = u32::MAX;
/// Stands in the second link of a record that holds no flow. No field of a packet could: any protocol may come.
const FREE: u32 = NIL - 1;
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
    pub const BYTES_PER_FLOW: usize = size_of::<Flow>() + 2 * size_of::<u32>();

    /// A table for `capacity` flows, all of whose memory is taken here. `random` makes the key of the hash.
    pub fn new(capacity: usize, random: &mut dyn rand_core::Rng) -> Self {
        let capacity = capacity.clamp(1, (NIL / 2 - 1) as usize);
        Self {
            flows: Vec::with_capacity(capacity),
            heads: alloc::vec![NIL; (capacity * 2).next_power_of_two()],
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

    /// The live flow that has this tuple, and in which direction.
    #[inline]
    pub fn find(&self, tuple: &Tuple, now: Tick) -> Option<(FlowId, Direction)> {
        let (id, direction) = self.find_any(tuple)?;
        (self.get(id).expires > now).then_some((id, direction))
    }

    #[inline]
    fn find_any(&self, tuple: &Tuple) -> Option<(FlowId, Direction)> {
        let mut link = self.heads[self.bucket(tuple)];
        while link != NIL {
            let flow = &self.flows[(link >> 1) as usize];
            let direction = if link & 1 == 0 { Direction::Original } else { Direction::Reply };
            if flow.tuples[direction as usize] == *tuple {
                return Some((FlowId(link >> 1), direction));
            }
            link = flow.next[direction as usize];
        }
        None
    }

    /// A flow that has one of these tuples but whose time is over: it has to go before a new one can take them.
    pub fn find_expired(&self, original: &Tuple, reply: &Tuple, now: Tick) -> Option<FlowId> {
        [original, reply]
            .into_iter()
            .filter_map(|tuple| self.find_any(tuple))
            .map(|(id, _)| id)
            .find(|&id| self.get(id).expires <= now)
    }

    /// Whether there is no room for one more.
    pub fn is_full(&self) -> bool {
        self.used >= self.limit
    }

    /// The flow that should go for a new one: expired, then half-open, then closing or not assured. Looks at a
    /// bounded number of records, others each time; `None` where none of these may go.
    pub fn eviction_candidate(&mut self, now: Tick) -> Option<FlowId> {
        let mut best: Option<(u8, FlowId)> = None;
        for _ in 0..EVICTION_WINDOW.min(self.flows.len()) {
            self.cursor = (self.cursor + 1) % self.flows.len();
            let flow = &self.flows[self.cursor];
            let worth = match flow {
                flow if !flow.in_use() => continue,
                flow if flow.expires <= now => 0,
                flow if !flow.is(status::SEEN_REPLY) => 1,
                flow if flow.tcp.is_closing() => 2,
                flow if !flow.is(status::ASSURED) => 3,
                _ => continue,
            };
            if best.is_none_or(|(least, _)| worth < least) {
                best = Some((worth, FlowId(self.cursor as u32)));
            }
            if worth == 0 {
                break;
            }
        }
        best.map(|(_, id)| id)
    }

    /// Adds a flow. `None` where the table is full or a tuple is taken; the caller has looked at both before.
    pub fn insert(&mut self, flow: Flow) -> Option<FlowId> {
        if self.is_full() || flow.tuples.iter().any(|tuple| self.find_any(tuple).is_some()) {
            return None;
        }
        let place = if self.free == NIL {
            self.flows.push(flow);
            (self.flows.len() - 1) as u32
        } else {
            let place = self.free;
            self.free = self.flows[place as usize].next[0];
            self.flows[place as usize] = flow;
            place
        };
        for direction in 0..2 {
            let bucket = self.bucket(&self.flows[place as usize].tuples[direction]);
            self.flows[place as usize].next[direction] = self.heads[bucket];
            self.heads[bucket] = place << 1 | direction as u32;
        }
        self.used += 1;
        self.statistics.insert += 1;
        Some(FlowId(place))
    }

    /// Ends a flow and gives it back; the caller releases what it held.
    pub fn remove(&mut self, id: FlowId) -> Flow {
        for direction in 0..2 {
            self.unlink(id.0, direction);
        }
        let record = &mut self.flows[id.0 as usize];
        let flow = record.clone();
        record.next = [self.free, FREE];
        self.free = id.0;
        self.used -= 1;
        flow
    }

    fn unlink(&mut self, place: u32, direction: usize) {
        let target = place << 1 | direction as u32;
        let after = self.flows[place as usize].next[direction];
        let bucket = self.bucket(&self.flows[place as usize].tuples[direction]);
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
    fn bucket(&self, tuple: &Tuple) -> usize {
        let [k0, k1, k2, k3, k4] = self.key;
        let ports = u64::from(tuple.source_port) << 16 | u64::from(tuple.destination_port);
        let hash = k0
            .wrapping_add(k1.wrapping_mul(u64::from(tuple.source.to_bits())))
            .wrapping_add(k2.wrapping_mul(u64::from(tuple.destination.to_bits())))
            .wrapping_add(k3.wrapping_mul(ports))
            .wrapping_add(k4.wrapping_mul(u64::from(tuple.protocol)));
        (hash >> 32) as usize & (self.heads.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::random;

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

    #[test]
    fn both_directions_find_one_flow() {
        let mut table = FlowTable::new(16, &mut random());
        let id = table.insert(flow(1, 10)).unwrap();
        assert_eq!(table.find(&tuple(1), Tick::default()), Some((id, Direction::Original)));
        assert_eq!(table.find(&tuple(1).inverted(), Tick::default()), Some((id, Direction::Reply)));
        assert_eq!(table.find(&tuple(2), Tick::default()), None);
    }

    #[test]
    fn an_expired_flow_is_not_found_but_holds_its_place_until_removed() {
        let mut table = FlowTable::new(16, &mut random());
        let id = table.insert(flow(1, 10)).unwrap();
        let later = Tick::default().plus_seconds(11);
        assert_eq!(table.find(&tuple(1), later), None);
        assert!(table.insert(flow(1, 30)).is_none(), "its tuples are still linked");
        assert_eq!(table.find_expired(&tuple(1), &tuple(1).inverted(), later), Some(id));
        table.remove(id);
        assert!(table.insert(flow(1, 30)).is_some());
    }

    #[test]
    fn flows_of_every_protocol_number_are_swept() {
        let mut table = FlowTable::new(256, &mut random());
        for protocol in 0..=u8::MAX {
            let original = Tuple { protocol, ..tuple(1) };
            table.insert(Flow::new(original, original.inverted())).unwrap();
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
        let ids: Vec<_> = (0..1000).map(|port| table.insert(flow(port, 10)).unwrap()).collect();
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
            table.insert(flow).unwrap()
        };
        assert_eq!(table.eviction_candidate(Tick::default()), None);
        let half_open = table.insert(flow(2, 100)).unwrap();
        let expired = table.insert(flow(3, 1)).unwrap();
        assert!(table.is_full());
        let now = Tick::default().plus_seconds(2);
        assert_eq!(table.eviction_candidate(now), Some(expired));
        table.remove(expired);
        assert_eq!(table.eviction_candidate(now), Some(half_open));
        table.remove(half_open);
        assert_eq!(table.eviction_candidate(now), None);
        assert!(table.at_place(assured.place()).is_some());
    }

    #[test]
    fn a_record_stays_within_two_cache_lines() {
        assert!(size_of::<Flow>() <= 128, "{}", size_of::<Flow>());
    }
}
