//! How many flows each source address has at this moment, so that one host cannot take the whole table (RFC 6888 REQ-4).
//!
//! The memory is fixed, and the work is one cache line, whoever sends: an address has a bucket of eight places, by a
//! hash with a secret key. Where nine sources share a bucket, the one with the fewest flows is forgotten until it begins
//! another one (Metwally et al., "Efficient computation of frequent and top-k elements in data streams", 2005). So a flood
//! from random sources displaces those that have little, and never the one that has much; and since a count is
//! never too high, nobody is refused for what others do.

use super::multilinear;
use alloc::vec::Vec;
use smoltcp::wire::Ipv4Address;

/// Places in a bucket: as many as a cache line holds.
const WAYS: usize = 8;

/// A source and its flows; 0: the place is free.
#[derive(Clone, Copy, Default)]
struct Place {
    address: u32,
    flows: u32,
}

#[derive(Clone, Default)]
#[repr(align(64))]
struct Bucket([Place; WAYS]);

/// The table.
pub struct Sources {
    buckets: Vec<Bucket>,
    key: [u64; 2],
    limit: u32,
}

impl Sources {
    /// Flows for each place: hosts at work have more.
    const FLOWS_PER_PLACE: usize = 8;
    /// Bytes that each flow takes.
    pub const BYTES_PER_FLOW: usize = size_of::<Place>() / Self::FLOWS_PER_PLACE;

    /// A table for the sources of `flows` flows, all of whose memory is taken here. `random` makes the key of the hash.
    pub fn new(flows: usize, random: &mut dyn rand_core::Rng) -> Self {
        let buckets = flows.div_ceil(Self::FLOWS_PER_PLACE * WAYS);
        Self {
            buckets: alloc::vec![Bucket::default(); buckets.max(1)],
            key: core::array::from_fn(|_| random.next_u64()),
            limit: 0,
        }
    }

    /// Most flows of one source; 0: no limit, and then nothing is counted.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Sets the most flows of one source. Where there was no limit before, nobody has been counted: all counts are 0.
    pub fn set_limit(&mut self, limit: u32) {
        if self.limit == 0 {
            self.buckets.fill(Bucket::default());
        }
        self.limit = limit;
    }

    /// Whether a source has as many flows as it may have.
    pub fn is_at_limit(&self, source: Ipv4Address) -> bool {
        self.limit > 0 && self.flows_of(source) >= self.limit
    }

    /// The flows of a source that were counted.
    pub fn flows_of(&self, source: Ipv4Address) -> u32 {
        let address = source.to_bits();
        let places = &self.buckets[self.bucket(address)].0;
        places.iter().find(|place| place.address == address).map_or(0, |place| place.flows)
    }

    /// Counts a flow that begins.
    pub fn add(&mut self, source: Ipv4Address) {
        let address = source.to_bits();
        let bucket = self.bucket(address);
        let places = &mut self.buckets[bucket].0;
        if let Some(place) = places.iter_mut().find(|place| place.address == address) {
            place.flows += 1;
        } else if let Some(least) = places.iter_mut().min_by_key(|place| place.flows) {
            *least = Place { address, flows: 1 };
        }
    }

    /// Counts a flow that ends. One that was forgotten, or begun before, takes nothing from nobody.
    pub fn remove(&mut self, source: Ipv4Address) {
        let address = source.to_bits();
        let bucket = self.bucket(address);
        if let Some(place) = self.buckets[bucket].0.iter_mut().find(|place| place.address == address) {
            place.flows = place.flows.saturating_sub(1);
        }
    }

    fn bucket(&self, address: u32) -> usize {
        let [k0, k1] = self.key;
        multilinear::bucket(k0.wrapping_add(k1.wrapping_mul(address.into())), self.buckets.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::random;

    fn limited(flows: usize, limit: u32) -> Sources {
        let mut sources = Sources::new(flows, &mut random());
        sources.set_limit(limit);
        sources
    }

    fn host(number: u32) -> Ipv4Address {
        Ipv4Address::from_bits(0x0a00_0000 + number)
    }

    #[test]
    fn a_source_is_at_its_limit_until_one_of_its_flows_ends() {
        let mut sources = limited(1024, 3);
        for _ in 0..3 {
            assert!(!sources.is_at_limit(host(1)));
            sources.add(host(1));
        }
        assert!(sources.is_at_limit(host(1)));
        assert!(!sources.is_at_limit(host(2)));
        sources.remove(host(1));
        assert!(!sources.is_at_limit(host(1)));
    }

    #[test]
    fn a_flood_from_random_sources_displaces_nobody_who_has_much() {
        let mut sources = limited(1024, 100);
        for _ in 0..100 {
            sources.add(host(0));
        }
        for number in 1..100_000 {
            sources.add(host(number));
        }
        assert!(sources.is_at_limit(host(0)));
    }

    #[test]
    fn no_count_is_ever_too_high() {
        let mut sources = limited(64, 1000);
        let mut live = [0u32; 40];
        for step in 0..10_000u32 {
            let number = (step.wrapping_mul(2_654_435_761) >> 16) as usize % live.len();
            if step % 3 < 2 {
                sources.add(host(number as u32));
                live[number] += 1;
            } else if live[number] > 0 {
                sources.remove(host(number as u32));
                live[number] -= 1;
            }
            assert!(sources.flows_of(host(number as u32)) <= live[number]);
        }
    }

    #[test]
    fn what_was_counted_under_an_older_limit_is_forgotten() {
        let mut sources = limited(1024, 2);
        sources.add(host(1));
        sources.set_limit(1);
        assert!(sources.is_at_limit(host(1)), "another limit counts on");
        sources.set_limit(0);
        assert!(!sources.is_at_limit(host(1)));
        sources.set_limit(1);
        assert!(!sources.is_at_limit(host(1)));
    }
}
