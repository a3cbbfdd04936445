//! Which rules a packet of a flow is counted by: each way through the rules is kept once and counted once, so the
//! fast path adds to one counter, whatever the number of rules that it stands for.

use crate::{
    config::rules::{Counters, Tables},
    stage::filter::CounterRef,
};
use alloc::vec::Vec;

/// A way through the rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathId(u16);

impl PathId {
    /// No rule at all.
    pub const EMPTY: Self = Self(0);

    /// A number that tells it from the others.
    pub(super) fn number(self) -> usize {
        self.0.into()
    }
}

struct Path {
    first: u32,
    length: u16,
    hash: u32,
    counters: Counters,
}

/// Ways at most; a flow that would need one more stays on the slow path.
const PATHS: usize = 1024;
/// Rules on all of these ways together.
const REFERENCES: usize = 16 * 1024;
const EMPTY_BUCKET: u16 = u16::MAX;

/// All ways that flows take at present.
pub struct Paths {
    paths: Vec<Path>,
    references: Vec<CounterRef>,
    buckets: Vec<u16>,
}

impl Default for Paths {
    fn default() -> Self {
        let mut paths = Self {
            paths: Vec::with_capacity(PATHS),
            references: Vec::with_capacity(REFERENCES),
            buckets: alloc::vec![EMPTY_BUCKET; 2 * PATHS],
        };
        paths.clear();
        paths
    }
}

impl Paths {
    /// Forgets all of them. Fold first, and let every shortcut that names one become void.
    pub fn clear(&mut self) {
        self.paths.clear();
        self.references.clear();
        self.buckets.fill(EMPTY_BUCKET);
        let empty = self.intern(&[]);
        debug_assert_eq!(empty, Some(PathId::EMPTY));
    }

    /// The way that consists of these rules; `None` where there are too many ways.
    pub fn intern(&mut self, rules: &[CounterRef]) -> Option<PathId> {
        let hash = rules.iter().fold(0x811c_9dc5_u32, |hash, rule| {
            let place = u32::from(rule.rule.map_or(u16::MAX, |rule| rule));
            let word = (rule.table as u32) << 30 ^ u32::from(rule.chain.0) << 16 ^ place;
            (hash ^ word).wrapping_mul(0x0100_0193).rotate_left(7)
        });
        let mask = self.buckets.len() - 1;
        let mut bucket = hash as usize & mask;
        while self.buckets[bucket] != EMPTY_BUCKET {
            let id = self.buckets[bucket];
            let path = &self.paths[usize::from(id)];
            if path.hash == hash && self.references(path) == rules {
                return Some(PathId(id));
            }
            bucket = (bucket + 1) & mask;
        }
        if self.paths.len() == PATHS || self.references.len() + rules.len() > REFERENCES {
            return None;
        }
        let id = self.paths.len() as u16;
        let (first, length) = (self.references.len() as u32, rules.len() as u16);
        self.references.extend_from_slice(rules);
        self.paths.push(Path { first, length, hash, counters: Counters::default() });
        self.buckets[bucket] = id;
        Some(PathId(id))
    }

    fn references(&self, path: &Path) -> &[CounterRef] {
        &self.references[path.first as usize..][..usize::from(path.length)]
    }

    /// Counts packets of together `bytes` on a way.
    pub fn count(&self, id: PathId, packets: u64, bytes: u64) {
        self.paths[usize::from(id.0)].counters.add(packets, bytes);
    }

    /// Moves what was counted to the rules themselves.
    pub fn fold(&self, tables: &Tables) {
        for path in &self.paths {
            let (packets, bytes) = path.counters.get();
            if packets == 0 {
                continue;
            }
            path.counters.reset();
            for rule in self.references(path) {
                if let Some(counters) = rule.counters(tables.get(rule.table)) {
                    counters.add(packets, bytes);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::rules::{ChainId, Rule, TableName};

    fn rule(place: u16) -> CounterRef {
        CounterRef { table: TableName::Filter, chain: ChainId(1), rule: Some(place) }
    }

    #[test]
    fn one_way_has_one_id_and_its_counts_reach_all_of_its_rules() {
        let mut tables = Tables::default();
        tables.filter.chains[1].rules = alloc::vec![Rule::default(), Rule::default()];
        let mut paths = Paths::default();
        let both = paths.intern(&[rule(0), rule(1)]).unwrap();
        let second = paths.intern(&[rule(1)]).unwrap();
        assert_eq!(paths.intern(&[rule(0), rule(1)]), Some(both));
        paths.count(both, 2, 200);
        paths.count(second, 1, 7);
        paths.fold(&tables);
        paths.fold(&tables);
        let counted = |place: usize| tables.filter.chains[1].rules[place].counters.get();
        assert_eq!((counted(0), counted(1)), ((2, 200), (3, 207)));
    }

    #[test]
    fn too_many_ways_are_refused_and_forgotten_together() {
        let mut paths = Paths::default();
        let known = (0..2000).filter(|&place| paths.intern(&[rule(place)]).is_some()).count();
        assert_eq!(known, PATHS - 1, "the empty one is there already");
        paths.clear();
        assert!(paths.intern(&[rule(1999)]).is_some());
    }
}
