//! The neighbours of each link: IPv4 address to MAC address. Read RFC 1122 2.3.2 and RFC 4861 7.3.2 first.
//!
//! The states are those that Linux shows (`ip neigh`); an entry turns STALE when it is looked at, not by a timer, so
//! that an idle router has nothing to do. What the table wants done (ask, send, give up) comes out of
//! [`Neighbors::poll`], one thing at a time.

mod parking;
mod terms;
#[cfg(test)]
mod tests;

pub use terms::{Answer, Claim, ClaimKind, Event, NeighborId, State, View};

use super::queues::Queues;
use crate::{config::route::StaticNeighbor, interface::InterfaceId};
use alloc::{collections::VecDeque, vec, vec::Vec};
use parking::Parking;
use smoltcp::{
    time::{Duration, Instant},
    wire::{EthernetAddress, Ipv4Address},
};

/// How long an answer is believed without asking again (Linux's `base_reachable_time`).
const REACHABLE: Duration = Duration::from_secs(30);
/// How long a stale entry may be used before it is asked (RFC 4861 10: DELAY_FIRST_PROBE_TIME).
const DELAY: Duration = Duration::from_secs(5);
/// Time between two requests for one address (RFC 1122 2.3.2.1: at most one per second).
const RETRY: Duration = Duration::from_secs(1);
/// A neighbour that is there answers sooner; younger entries are not given up for others.
const MOMENT: Duration = Duration::from_millis(100);
/// Requests without an answer after which a neighbour has failed.
const TRIES: u8 = 3;
/// Packets that wait for one neighbour; the newest are kept (RFC 1122 2.3.2.2 asks for at least one). A traceroute sends
/// 16 probes before it has heard anything.
const PARKED_PER_NEIGHBOR: usize = 16;
/// Entries looked at for one that can be given up: work for one packet stays bounded.
const EVICTION_SCAN: usize = 16;

/// The queue of each slot; those with timers are sorted by their deadlines.
mod queue {
    pub const FREE: usize = 0;
    /// INCOMPLETE and PROBE: the next request, or giving up.
    pub const ASKING: usize = 1;
    /// DELAY: until the first probe.
    pub const DELAYED: usize = 2;
    /// REACHABLE and STALE, longest unconfirmed first.
    pub const IDLE: usize = 3;
    pub const FAILED: usize = 4;
    pub const PERMANENT: usize = 5;
    pub const COUNT: usize = 6;
}

struct Entry {
    interface: InterfaceId,
    address: Ipv4Address,
    mac: EthernetAddress,
    /// As last written: a REACHABLE entry whose time is up counts as STALE.
    state: State,
    generation: u32,
    /// Until then `mac` may be used without a further look.
    fresh_until: Instant,
    /// Of the queues ASKING and DELAYED.
    deadline: Instant,
    /// Requests sent since the last answer.
    tries: u8,
    /// The next slot with the same hash.
    chain: u16,
    /// Places of its packets, oldest first.
    waiting: heapless::Vec<u16, PARKED_PER_NEIGHBOR>,
}

enum Fate {
    Resolved(NeighborId, EthernetAddress),
    Unreachable,
}

/// A time that never comes.
const NEVER: Instant = Instant::from_micros_const(i64::MAX);
/// A time that has always passed.
const PAST: Instant = Instant::ZERO;
const NONE: u16 = u16::MAX;

/// The neighbour table. `P` is what waits for an answer.
pub struct Neighbors<P> {
    entries: Vec<Entry>,
    queues: Queues<{ queue::COUNT }>,
    /// First slot of each hash chain; a power of two long.
    buckets: Vec<u16>,
    /// Keys of the hash, unknown to anybody outside.
    keys: [u64; 3],
    parking: Parking<P>,
    /// Packets that need to wait no longer.
    done: VecDeque<(P, Fate)>,
    changes: u32,
}

impl<P> Neighbors<P> {
    /// A table for `capacity` neighbours (at most 65,535) and `parked` waiting packets in all, which may have `further` buffers
    /// beyond the first of each, with three random `keys`.
    pub fn new(capacity: usize, parked: usize, further: usize, keys: [u64; 3]) -> Self {
        let capacity = capacity.clamp(1, usize::from(NONE)) as u16;
        let parked = parked.clamp(1, usize::from(NONE)) as u16;
        Self {
            entries: (0..capacity).map(|_| Entry::unused()).collect(),
            queues: Queues::new(capacity),
            buckets: vec![NONE; usize::from(capacity).next_power_of_two()],
            keys,
            parking: Parking::new(parked, further),
            done: VecDeque::with_capacity(parked.into()),
            changes: 0,
        }
    }

    /// The MAC address behind a kept id, marked as used, and until when it may be used without asking again, unless
    /// [`Neighbors::changes`] moves before. `None` where [`Neighbors::resolve`] has to be asked.
    pub fn usable(&mut self, id: NeighborId, now: Instant) -> Option<(EthernetAddress, Instant)> {
        let entry = self.entries.get(usize::from(id.slot))?;
        if entry.generation != id.generation {
            return None;
        }
        let mac = self.use_slot(id.slot, now)?;
        Some((mac, self.entry(id.slot).fresh_until))
    }

    /// Moves with every change of what is known of a neighbour.
    #[inline]
    pub fn changes(&self) -> u32 {
        self.changes
    }

    /// Looks up an address, and begins to ask for it where it is not known. `now` must not go backwards.
    pub fn resolve(&mut self, interface: InterfaceId, address: Ipv4Address, now: Instant) -> Answer {
        let slot = match self.find(interface, address) {
            Some(slot) => slot,
            None => match self.create(interface, address, now) {
                Some(slot) => {
                    self.ask(slot, now);
                    slot
                }
                None => return Answer::Full,
            },
        };
        if let Some(mac) = self.use_slot(slot, now) {
            return Answer::Found(self.id(slot), mac);
        }
        if self.entry(slot).state == State::Failed {
            self.ask(slot, now);
        }
        Answer::Pending(self.id(slot))
    }

    /// Keeps a packet until the neighbour is known. Returns the packet that has to make room for it, if any: the
    /// oldest of this neighbour, or of another one when too many wait in all; or itself, where its `further` buffers would be too many.
    #[must_use]
    pub fn park(&mut self, id: NeighborId, packet: P, further: usize) -> Option<P> {
        let entry = self.entries.get(usize::from(id.slot));
        if entry.is_none_or(|entry| entry.generation != id.generation) || !self.parking.takes(further) {
            return Some(packet);
        }
        let waiting = &mut self.entries[usize::from(id.slot)].waiting;
        let displaced = if waiting.is_full() {
            let oldest = waiting.remove(0);
            self.parking.take(oldest)
        } else if let Some((owner, place)) = self.parking.crowded() {
            self.entry_mut(owner).waiting.retain(|&held| held != place);
            self.parking.take(place)
        } else {
            None
        };
        match self.parking.put(id.slot, packet, further) {
            Ok(place) => {
                let _fits = self.entry_mut(id.slot).waiting.push(place);
                displaced
            }
            Err(packet) => Some(packet),
        }
    }

    /// Takes in what somebody said about himself (RFC 826; requirement 16). The caller has checked that the sender can
    /// exist on this link.
    pub fn heard(&mut self, claim: &Claim, now: Instant) {
        let slot = match self.find(claim.interface, claim.address) {
            Some(slot) => slot,
            None if claim.kind == ClaimKind::Request => {
                match self.create(claim.interface, claim.address, now) {
                    Some(slot) => slot,
                    None => return,
                }
            }
            None => return,
        };
        let state = self.entry(slot).state;
        let asked = matches!(state, State::Incomplete | State::Probe);
        match (state, claim.kind) {
            (State::Permanent, _) => {}
            (_, ClaimKind::Reply) if asked => self.confirm(slot, claim.mac, now),
            (State::Incomplete | State::Failed, _) => self.set_stale(slot, claim.mac),
            _ if self.entry(slot).mac != claim.mac => self.set_stale(slot, claim.mac),
            _ => {}
        }
    }

    /// The next thing to do. Call it until it gives nothing: after [`Neighbors::park`], after [`Neighbors::heard`], after
    /// changes of static entries, and at [`Neighbors::poll_at`].
    pub fn poll(&mut self, now: Instant) -> Option<Event<P>> {
        loop {
            match self.done.pop_front() {
                Some((packet, Fate::Resolved(id, mac))) => return Some(Event::Resolved(packet, id, mac)),
                Some((packet, Fate::Unreachable)) => return Some(Event::Unreachable(packet)),
                None => {}
            }
            if let Some(slot) = self.due(queue::DELAYED, now) {
                self.entry_mut(slot).state = State::Probe;
                self.ask_again(slot, now);
                return Some(self.request(slot));
            }
            let slot = self.due(queue::ASKING, now)?;
            if self.entry(slot).tries < TRIES {
                self.ask_again(slot, now);
                return Some(self.request(slot));
            }
            self.fail(slot);
        }
    }

    /// When [`Neighbors::poll`] has something to do; `None`: nothing, as long as nobody calls anything else.
    pub fn poll_at(&self) -> Option<Instant> {
        if !self.done.is_empty() {
            return Some(PAST);
        }
        [queue::ASKING, queue::DELAYED]
            .into_iter()
            .filter_map(|queue| self.queues.first(queue))
            .map(|slot| self.entry(slot).deadline)
            .min()
    }

    /// Makes the static entries these and no others. Returns how many there was no room for.
    pub fn set_static(&mut self, neighbors: &[StaticNeighbor], now: Instant) -> usize {
        let kept = |entry: &Entry| {
            neighbors.iter().any(|one| one.interface == entry.interface && one.address == entry.address)
        };
        let gone: Vec<u16> =
            self.queues.iter(queue::PERMANENT).filter(|&slot| !kept(self.entry(slot))).collect();
        for slot in gone {
            self.free(slot);
        }
        let mut refused = 0;
        for one in neighbors {
            let slot = self.find(one.interface, one.address);
            match slot.or_else(|| self.create(one.interface, one.address, now)) {
                Some(slot) => self.settle(slot, State::Permanent, one.mac, NEVER, queue::PERMANENT),
                None => refused += 1,
            }
        }
        refused
    }

    /// Forgets a learned entry. `false` where there is none.
    pub fn remove(&mut self, interface: InterfaceId, address: Ipv4Address) -> bool {
        match self.find(interface, address) {
            Some(slot) if self.entry(slot).state != State::Permanent => {
                self.free(slot);
                true
            }
            _ => false,
        }
    }

    /// Forgets the learned entries of an interface, or all; static ones stay.
    pub fn flush(&mut self, interface: Option<InterfaceId>) {
        for slot in 0..self.entries.len() as u16 {
            let learned = !matches!(self.queues.queue_of(slot), queue::FREE | queue::PERMANENT);
            if learned && interface.is_none_or(|interface| self.entry(slot).interface == interface) {
                self.free(slot);
            }
        }
    }

    /// The entry of an address.
    pub fn get(&self, interface: InterfaceId, address: Ipv4Address, now: Instant) -> Option<View> {
        self.find(interface, address).map(|slot| self.view(slot, now))
    }

    /// Every entry, in no particular order.
    pub fn iter(&self, now: Instant) -> impl Iterator<Item = View> {
        (0..self.entries.len() as u16)
            .filter(|&slot| self.queues.queue_of(slot) != queue::FREE)
            .map(move |slot| self.view(slot, now))
    }

    fn view(&self, slot: u16, now: Instant) -> View {
        let entry = self.entry(slot);
        let (state, mac) = match entry.state {
            State::Reachable if now >= entry.fresh_until => (State::Stale, Some(entry.mac)),
            State::Incomplete | State::Failed => (entry.state, None),
            state => (state, Some(entry.mac)),
        };
        View { interface: entry.interface, address: entry.address, mac, state }
    }

    /// The MAC address of an entry that has one; a stale entry that is used will be asked (RFC 4861 7.3.2).
    fn use_slot(&mut self, slot: u16, now: Instant) -> Option<EthernetAddress> {
        let entry = &mut self.entries[usize::from(slot)];
        match entry.state {
            State::Incomplete | State::Failed => return None,
            State::Reachable | State::Stale if now >= entry.fresh_until => {
                entry.state = State::Delay;
                entry.fresh_until = NEVER;
                entry.deadline = now + DELAY;
                self.queues.move_last(slot, queue::DELAYED);
            }
            _ => {}
        }
        Some(self.entry(slot).mac)
    }

    /// Begins to ask for an entry of which nothing is known.
    fn ask(&mut self, slot: u16, now: Instant) {
        let entry = self.entry_mut(slot);
        entry.state = State::Incomplete;
        entry.tries = 0;
        entry.deadline = now;
        self.queues.move_first(slot, queue::ASKING);
    }

    fn ask_again(&mut self, slot: u16, now: Instant) {
        let entry = self.entry_mut(slot);
        entry.tries += 1;
        entry.deadline = now + RETRY;
        self.queues.move_last(slot, queue::ASKING);
    }

    fn request(&self, slot: u16) -> Event<P> {
        let entry = self.entry(slot);
        let to = (entry.state == State::Probe).then_some(entry.mac);
        Event::Ask { interface: entry.interface, address: entry.address, to }
    }

    fn due(&self, queue: usize, now: Instant) -> Option<u16> {
        self.queues.first(queue).filter(|&slot| self.entry(slot).deadline <= now)
    }

    fn confirm(&mut self, slot: u16, mac: EthernetAddress, now: Instant) {
        self.settle(slot, State::Reachable, mac, now + REACHABLE, queue::IDLE);
    }

    fn set_stale(&mut self, slot: u16, mac: EthernetAddress) {
        self.settle(slot, State::Stale, mac, PAST, queue::IDLE);
    }

    /// The entry has a MAC address now: what waited can go.
    fn settle(&mut self, slot: u16, state: State, mac: EthernetAddress, fresh_until: Instant, queue: usize) {
        self.changes = self.changes.wrapping_add(1);
        let entry = self.entry_mut(slot);
        (entry.state, entry.mac, entry.fresh_until, entry.tries) = (state, mac, fresh_until, 0);
        self.queues.move_last(slot, queue);
        let id = self.id(slot);
        self.dismiss(slot, |packet| (packet, Fate::Resolved(id, mac)));
    }

    fn fail(&mut self, slot: u16) {
        self.changes = self.changes.wrapping_add(1);
        let entry = self.entry_mut(slot);
        (entry.state, entry.fresh_until) = (State::Failed, PAST);
        self.queues.move_last(slot, queue::FAILED);
        self.dismiss(slot, |packet| (packet, Fate::Unreachable));
    }

    /// Ends the waiting of an entry's packets.
    fn dismiss(&mut self, slot: u16, fate: impl Fn(P) -> (P, Fate)) {
        for place in core::mem::take(&mut self.entry_mut(slot).waiting) {
            if let Some(packet) = self.parking.take(place) {
                self.done.push_back(fate(packet));
            }
        }
    }

    /// A new entry, not asked for yet; where none is free, one that can be spared goes.
    fn create(&mut self, interface: InterfaceId, address: Ipv4Address, now: Instant) -> Option<u16> {
        if self.queues.first(queue::FREE).is_none() {
            let spare = self.spare(now)?;
            self.free(spare);
        }
        let slot = self.queues.first(queue::FREE)?;
        let bucket = self.bucket(interface, address);
        let entry = &mut self.entries[usize::from(slot)];
        *entry = Entry {
            interface,
            address,
            chain: self.buckets[bucket],
            generation: entry.generation,
            ..Entry::unused()
        };
        self.buckets[bucket] = slot;
        self.queues.move_last(slot, queue::FAILED);
        Some(slot)
    }

    /// The entry that is missed least: failed, asked in vain for a second, stale for longest, asked in vain for a moment.
    fn spare(&self, now: Instant) -> Option<u16> {
        let scan = |queue| self.queues.iter(queue).take(EVICTION_SCAN);
        // The deadline is one RETRY after the last request.
        let silent = |slot: &u16, tries| {
            let entry = self.entry(*slot);
            entry.state == State::Incomplete && entry.tries >= tries && entry.deadline + MOMENT <= now + RETRY
        };
        self.queues
            .first(queue::FAILED)
            .or_else(|| scan(queue::ASKING).find(|slot| silent(slot, 2)))
            .or_else(|| scan(queue::IDLE).find(|&slot| self.entry(slot).fresh_until <= now))
            .or_else(|| scan(queue::ASKING).find(|slot| silent(slot, 1)))
    }

    /// Takes an entry out of the table; what waited for it has failed.
    fn free(&mut self, slot: u16) {
        self.dismiss(slot, |packet| (packet, Fate::Unreachable));
        let bucket = self.bucket(self.entry(slot).interface, self.entry(slot).address);
        let after = self.entry(slot).chain;
        let before = self.chain(bucket).find(|&other| self.entry(other).chain == slot);
        match before {
            Some(before) => self.entry_mut(before).chain = after,
            None => self.buckets[bucket] = after,
        }
        self.changes = self.changes.wrapping_add(1);
        let entry = self.entry_mut(slot);
        entry.generation = entry.generation.wrapping_add(1);
        entry.fresh_until = PAST;
        self.queues.move_last(slot, queue::FREE);
    }

    fn find(&self, interface: InterfaceId, address: Ipv4Address) -> Option<u16> {
        self.chain(self.bucket(interface, address)).find(|&slot| {
            let entry = self.entry(slot);
            entry.address == address && entry.interface == interface
        })
    }

    fn chain(&self, bucket: usize) -> impl Iterator<Item = u16> {
        let link = |slot: u16| Some(slot).filter(|&slot| slot != NONE);
        core::iter::successors(link(self.buckets[bucket]), move |&slot| link(self.entry(slot).chain))
    }

    /// Multiply-shift hashing of two words (Dietzfelbinger 1996): without the keys, nobody can aim at a bucket.
    fn bucket(&self, interface: InterfaceId, address: Ipv4Address) -> usize {
        let [first, second, third] = self.keys;
        let hash = first
            .wrapping_mul(u64::from(address.to_bits()))
            .wrapping_add(second.wrapping_mul(u64::from(interface.0)))
            .wrapping_add(third);
        (hash >> 32) as usize & (self.buckets.len() - 1)
    }

    fn id(&self, slot: u16) -> NeighborId {
        NeighborId { slot, generation: self.entry(slot).generation }
    }

    fn entry(&self, slot: u16) -> &Entry {
        &self.entries[usize::from(slot)]
    }

    fn entry_mut(&mut self, slot: u16) -> &mut Entry {
        &mut self.entries[usize::from(slot)]
    }
}

impl Entry {
    fn unused() -> Self {
        Self {
            interface: InterfaceId::LOOPBACK,
            address: Ipv4Address::UNSPECIFIED,
            mac: EthernetAddress([0; 6]),
            state: State::Failed,
            generation: 0,
            fresh_until: PAST,
            deadline: PAST,
            tries: 0,
            chain: NONE,
            waiting: heapless::Vec::new(),
        }
    }
}
