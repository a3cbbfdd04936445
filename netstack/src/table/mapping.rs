//! Outer ports in use: which inner endpoint has which outer one, and since how many flows (RFC 4787 4.1).
//!
//! A mapping belongs to an inner endpoint and not to a flow, so all flows of one inner address and port leave
//! with one outer address and port, whatever their destination.

use super::multilinear;
use alloc::vec::Vec;
use smoltcp::wire::Ipv4Address;

/// An address with a port (or an ICMP query identifier).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint {
    /// Address.
    pub address: Ipv4Address,
    /// Port.
    pub port: u16,
}

/// A mapping's place in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MappingId(core::num::NonZeroU32);

impl MappingId {
    fn new(place: u32) -> Self {
        Self(core::num::NonZeroU32::MIN.saturating_add(place))
    }

    fn place(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// One inner endpoint and its outer one.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The endpoint inside.
    pub inner: Endpoint,
    /// How it looks from outside.
    pub outer: Endpoint,
    /// Flows that use it; below them, in one byte, the IP protocol number.
    uses: u32,
    /// The next one in the bucket of the inner endpoint; of a free place, the next free one.
    inner_next: u32,
    outer_previous: u32,
    outer_next: u32,
}

impl Mapping {
    /// What one flow counts in `uses`.
    const FLOW: u32 = 1 << 8;

    fn protocol(&self) -> u8 {
        self.uses as u8
    }
}

const NIL: u32 = u32::MAX;
/// How far along a bucket a search goes. Buckets hold a few mappings; only outer ports that many inner endpoints share
/// make them longer, and there the first one found is as good as any.
const SEARCH_LIMIT: usize = 64;
/// Mappings to a bucket, on the average in a full table.
const LOAD: usize = 2;

/// All mappings, found by either endpoint.
pub struct Mappings {
    slots: Vec<Mapping>,
    inner_heads: Vec<u32>,
    outer_heads: Vec<u32>,
    key: [u64; 3],
    capacity: usize,
    free: u32,
    used: usize,
}

impl Mappings {
    /// Bytes that each mapping takes, buckets included.
    pub const BYTES_PER_MAPPING: usize = size_of::<Mapping>() + 2 * size_of::<u32>() / LOAD;
    /// Most mappings of a table: more flows could not be counted.
    const MOST: usize = 1 << 24;

    /// A table for `capacity` mappings (at most 2^24), all of whose memory is taken here.
    pub fn new(capacity: usize, random: &mut dyn rand_core::Rng) -> Self {
        let capacity = capacity.min(Self::MOST - 1);
        let buckets = capacity.div_ceil(LOAD).max(1);
        Self {
            slots: Vec::with_capacity(capacity),
            inner_heads: alloc::vec![NIL; buckets],
            outer_heads: alloc::vec![NIL; buckets],
            key: core::array::from_fn(|_| random.next_u64()),
            capacity,
            free: NIL,
            used: 0,
        }
    }

    /// Mappings at this moment.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// A mapping by its place.
    pub fn get(&self, id: MappingId) -> &Mapping {
        &self.slots[id.place()]
    }

    /// The mapping of an inner endpoint to the outer address `outer`.
    pub fn find_inner(&self, protocol: u8, inner: Endpoint, outer: Ipv4Address) -> Option<MappingId> {
        self.walk(self.inner_heads[self.bucket(protocol, inner)], |slot| slot.inner_next)
            .find(|(_, slot)| {
                slot.protocol() == protocol && slot.inner == inner && slot.outer.address == outer
            })
            .map(|(id, _)| id)
    }

    /// The mapping of this pair of endpoints.
    pub fn find(&self, protocol: u8, inner: Endpoint, outer: Endpoint) -> Option<MappingId> {
        self.walk(self.inner_heads[self.bucket(protocol, inner)], |slot| slot.inner_next)
            .find(|(_, slot)| slot.protocol() == protocol && slot.inner == inner && slot.outer == outer)
            .map(|(id, _)| id)
    }

    /// A mapping that has this outer endpoint.
    pub fn find_outer(&self, protocol: u8, outer: Endpoint) -> Option<MappingId> {
        self.walk(self.outer_heads[self.bucket(protocol, outer)], |slot| slot.outer_next)
            .find(|(_, slot)| slot.protocol() == protocol && slot.outer == outer)
            .map(|(id, _)| id)
    }

    fn walk(&self, head: u32, next: fn(&Mapping) -> u32) -> impl Iterator<Item = (MappingId, &Mapping)> {
        let mut link = head;
        core::iter::from_fn(move || {
            let slot = self.slots.get(link as usize)?;
            let id = MappingId::new(link);
            link = next(slot);
            Some((id, slot))
        })
        .take(SEARCH_LIMIT)
    }

    /// One more flow uses this pair of endpoints; the mapping is made where there is none. `None`: the table is full, or
    /// the inner endpoint has too many outer ones already.
    pub fn acquire(&mut self, protocol: u8, inner: Endpoint, outer: Endpoint) -> Option<MappingId> {
        let (inner_bucket, outer_bucket) = (self.bucket(protocol, inner), self.bucket(protocol, outer));
        let mut looks = 0;
        let known = self
            .walk(self.inner_heads[inner_bucket], |slot| slot.inner_next)
            .inspect(|_| looks += 1)
            .find(|(_, slot)| slot.protocol() == protocol && slot.inner == inner && slot.outer == outer);
        if let Some((id, _)) = known {
            self.slots[id.place()].uses += Mapping::FLOW;
            return Some(id);
        }
        if self.used == self.capacity || looks == SEARCH_LIMIT {
            return None;
        }
        let outer_next = self.outer_heads[outer_bucket];
        let mapping = Mapping {
            inner,
            outer,
            uses: Mapping::FLOW | u32::from(protocol),
            inner_next: self.inner_heads[inner_bucket],
            outer_previous: NIL,
            outer_next,
        };
        let place = if self.free == NIL {
            self.slots.push(mapping);
            (self.slots.len() - 1) as u32
        } else {
            let place = self.free;
            self.free = self.slots[place as usize].inner_next;
            self.slots[place as usize] = mapping;
            place
        };
        self.inner_heads[inner_bucket] = place;
        self.outer_heads[outer_bucket] = place;
        if let Some(next) = self.slots.get_mut(outer_next as usize) {
            next.outer_previous = place;
        }
        self.used += 1;
        Some(MappingId::new(place))
    }

    /// One flow less uses the mapping; with the last one it ends.
    pub fn release(&mut self, id: MappingId) {
        let slot = &mut self.slots[id.place()];
        slot.uses -= Mapping::FLOW;
        if slot.uses >= Mapping::FLOW {
            return;
        }
        let (protocol, mapping, place) = (slot.protocol(), slot.clone(), id.place() as u32);
        match self.slots.get_mut(mapping.outer_previous as usize) {
            Some(previous) => previous.outer_next = mapping.outer_next,
            None => {
                let bucket = self.bucket(protocol, mapping.outer);
                self.outer_heads[bucket] = mapping.outer_next;
            }
        }
        if let Some(next) = self.slots.get_mut(mapping.outer_next as usize) {
            next.outer_previous = mapping.outer_previous;
        }
        let bucket = self.bucket(protocol, mapping.inner);
        if self.inner_heads[bucket] == place {
            self.inner_heads[bucket] = mapping.inner_next;
        } else {
            // No such bucket is longer than a search goes.
            let mut before = self.inner_heads[bucket];
            while let Some(slot) = self.slots.get_mut(before as usize) {
                if slot.inner_next == place {
                    slot.inner_next = mapping.inner_next;
                    break;
                }
                before = slot.inner_next;
            }
        }
        self.slots[id.place()].inner_next = self.free;
        self.free = place;
        self.used -= 1;
    }

    fn bucket(&self, protocol: u8, endpoint: Endpoint) -> usize {
        let [k0, k1, k2] = self.key;
        let word = u32::from(endpoint.port) << 8 | u32::from(protocol);
        let endpoint = multilinear::pair([k1, k2], [endpoint.address.to_bits(), word]);
        multilinear::bucket(k0.wrapping_add(endpoint), self.inner_heads.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::random;

    const OUTER: Ipv4Address = Ipv4Address::new(203, 0, 113, 1);

    fn inner(port: u16) -> Endpoint {
        Endpoint { address: Ipv4Address::new(192, 168, 1, 2), port }
    }

    fn outer(port: u16) -> Endpoint {
        Endpoint { address: OUTER, port }
    }

    #[test]
    fn a_mapping_lives_as_long_as_its_last_flow() {
        let mut table = Mappings::new(4, &mut random());
        let id = table.acquire(17, inner(1), outer(1000)).unwrap();
        assert_eq!(table.acquire(17, inner(1), outer(1000)), Some(id));
        table.release(id);
        assert_eq!(table.find_inner(17, inner(1), OUTER), Some(id));
        assert_eq!(table.find_outer(17, outer(1000)), Some(id));
        assert_eq!(table.find_outer(6, outer(1000)), None, "another protocol has its own ports");
        table.release(id);
        assert_eq!(table.find_inner(17, inner(1), OUTER), None);
        assert_eq!(table.find_outer(17, outer(1000)), None);
    }

    #[test]
    fn a_full_table_refuses_and_a_release_makes_room() {
        let mut table = Mappings::new(2, &mut random());
        let first = table.acquire(17, inner(1), outer(1)).unwrap();
        table.acquire(17, inner(2), outer(2)).unwrap();
        assert_eq!(table.acquire(17, inner(3), outer(3)), None);
        table.release(first);
        assert!(table.acquire(17, inner(3), outer(3)).is_some());
    }

    #[test]
    fn one_inner_endpoint_has_a_bounded_number_of_outer_ones() {
        let mut table = Mappings::new(4096, &mut random());
        let ids: Vec<_> = (0..4096).map_while(|port| table.acquire(6, inner(1), outer(port))).collect();
        assert_eq!(ids.len(), SEARCH_LIMIT);
        for id in ids.into_iter().rev() {
            table.release(id);
        }
        assert!(table.is_empty() && table.find_inner(6, inner(1), OUTER).is_none());
    }

    #[test]
    fn one_outer_port_shared_by_thousands_is_released_in_any_order() {
        let mut table = Mappings::new(4096, &mut random());
        let ids: Vec<_> = (0..4096).map(|port| table.acquire(6, inner(port), outer(7)).unwrap()).collect();
        for id in ids.iter().step_by(3).chain(ids.iter().skip(1).step_by(3)) {
            table.release(*id);
        }
        assert!(table.find_outer(6, outer(7)).is_some());
        for id in ids.iter().skip(2).step_by(3) {
            table.release(*id);
        }
        assert!(table.is_empty());
        assert_eq!(table.find_outer(6, outer(7)), None);
    }
}
