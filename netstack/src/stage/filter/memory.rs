//! What the matches `hashlimit` and `recent` remember of packets, by the names of their tables and lists.

use crate::{
    config::rules::{HashLimit, Limiting, Recent, RecentAction, Tables, hash_mode},
    headers::{Headers, Transport},
    table::{
        rates::{Endpoints, Rates},
        token_bucket::Rate,
        visitors::Visitors,
    },
};
use alloc::{string::String, vec::Vec};
use core::cell::RefCell;
use smoltcp::time::{Duration, Instant};

/// All tables and lists. Cells, because rules are asked while they are only read.
pub struct Memory {
    key: [u64; 4],
    rates: RefCell<Vec<RateTable>>,
    lists: RefCell<Vec<List>>,
}

/// A table of `hashlimit`, as the first rule of that name wants it.
struct RateTable {
    wish: HashLimit,
    rates: Rates,
}

/// A list of `recent`, with the mask of the first rule of that name, as on Linux, and room for the largest `--hitcount` of all.
struct List {
    name: String,
    mask: u32,
    depth: u32,
    visitors: Visitors,
}

/// Addresses and ports that one table of `hashlimit` knows at most.
const MAX_ENTRIES: u32 = 4096;

impl Memory {
    /// Without any table. `random` makes the keys of their hashes.
    pub fn new(random: &mut dyn rand_core::Rng) -> Self {
        let key = core::array::from_fn(|_| random.next_u64());
        Self { key, rates: RefCell::default(), lists: RefCell::default() }
    }

    /// Makes what these rules need and is not there, and forgets what they do not.
    pub fn fit_to(&mut self, tables: &Tables) {
        let [k0, k1, ..] = self.key;
        let (rates, lists) = (self.rates.get_mut(), self.lists.get_mut());
        let mut wishes: Vec<&HashLimit> = Vec::new();
        let mut wanted: Vec<(&Recent, u32)> = Vec::new();
        for limiting in tables.limiting() {
            match limiting {
                Limiting::Packets(wish) if !wishes.iter().any(|it| it.name == wish.name) => wishes.push(wish),
                Limiting::Recent(recent) => match wanted.iter_mut().find(|(it, _)| it.name == recent.name) {
                    Some((_, depth)) => *depth = recent.hits.max(*depth),
                    None => wanted.push((recent, recent.hits.max(1))),
                },
                _ => {}
            }
        }
        rates.retain(|table| wishes.contains(&&table.wish));
        for wish in wishes {
            if !rates.iter().any(|table| table.wish == *wish) {
                let entries = if wish.max == 0 { MAX_ENTRIES } else { wish.max.min(MAX_ENTRIES) };
                let rates_of_all = Rates::new(entries as usize, self.key);
                rates.push(RateTable { wish: wish.clone(), rates: rates_of_all });
            }
        }
        let is = |list: &List, (recent, depth): &(&Recent, u32)| {
            (list.name.as_str(), list.mask, list.depth)
                == (recent.name.as_str(), recent.mask.to_bits(), *depth)
        };
        lists.retain(|list| wanted.iter().any(|wish| is(list, wish)));
        for wish in wanted {
            if !lists.iter().any(|list| is(list, &wish)) {
                let (Recent { name, mask, .. }, depth) = wish;
                let visitors = Visitors::new(depth as usize, [k0, k1]);
                lists.push(List { name: name.clone(), mask: mask.to_bits(), depth, visitors });
            }
        }
    }

    /// Whether a packet fits `-m hashlimit`. With `effects` it is also charged.
    pub(super) fn hash_limit(
        &self,
        wish: &HashLimit,
        headers: &Headers,
        now: Instant,
        effects: bool,
    ) -> bool {
        let mut rates = self.rates.borrow_mut();
        let Some(table) = rates.iter_mut().find(|table| table.wish.name == wish.name) else { return false };
        let first = &table.wish;
        let rate = Rate::every_micros(first.interval, first.burst);
        let lifetime = Duration::from_millis(first.expire.into());
        let admitted = table.rates.admit(endpoints(first, headers), rate, lifetime, now, effects);
        admitted != wish.above
    }

    /// Whether a packet fits `-m recent`; `ttl` is its time to live as it came. Without `effects` nothing is remembered.
    ///
    /// Linux: recent_mt of net/netfilter/xt_recent.c, whose words `!` and `--update` together mean exactly this.
    pub(super) fn recent(
        &self,
        wish: &Recent,
        headers: &Headers,
        ttl: u8,
        now: Instant,
        effects: bool,
    ) -> bool {
        let mut lists = self.lists.borrow_mut();
        let Some(List { mask, visitors, .. }) = lists.iter_mut().find(|list| list.name == wish.name) else {
            return false;
        };
        let address = if wish.destination { headers.destination } else { headers.source };
        let address = address.to_bits() & *mask;
        let since = match wish.seconds {
            0 => Instant::from_micros(i64::MIN + 1),
            seconds => now - Duration::from_secs(seconds.into()),
        };
        let known = visitors.find(address, wish.ttl.then_some(ttl));
        let found = match (known, wish.action) {
            (_, RecentAction::Set) => true,
            (None, _) => false,
            (Some(_), RecentAction::Remove) => true,
            (Some(id), RecentAction::Check | RecentAction::Update) => {
                visitors.hits(id, since) >= wish.hits.max(1) as usize
            }
        };
        let fits = found != wish.not;
        if effects {
            match (known, wish.action) {
                (known, RecentAction::Set) => {
                    let id = known.unwrap_or_else(|| visitors.add(address, now, ttl));
                    visitors.stamp(id, now, ttl);
                }
                (Some(id), RecentAction::Update) if fits => visitors.stamp(id, now, ttl),
                (Some(id), RecentAction::Remove) => visitors.remove(id),
                _ => {}
            }
            if wish.reap && known.is_some() {
                visitors.reap(address, since);
            }
        }
        fits
    }
}

/// What a table of `hashlimit` counts a packet by.
fn endpoints(wish: &HashLimit, headers: &Headers) -> Endpoints {
    let when = |bit, value| if wish.mode & bit != 0 { value } else { 0 };
    let network = |bits: u32, prefix: u8| bits & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    let (source, destination) = match headers.transport {
        Transport::Tcp { source, destination, .. } | Transport::Udp { source, destination, .. } => {
            (u32::from(source), u32::from(destination))
        }
        _ => (0, 0),
    };
    Endpoints {
        source: when(hash_mode::SOURCE, network(headers.source.to_bits(), wish.source_prefix)),
        destination: when(
            hash_mode::DESTINATION,
            network(headers.destination.to_bits(), wish.destination_prefix),
        ),
        source_port: when(hash_mode::SOURCE_PORT, source) as u16,
        destination_port: when(hash_mode::DESTINATION_PORT, destination) as u16,
    }
}
