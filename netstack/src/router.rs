//! Owns all state of the plane: receive / poll / poll_at / edit.

use crate::{
    config::{
        Change, Config, ConfigError, PortInfo, StaleRoutes,
        route::Routes,
        rules::{BusyHooks, PortRange, TableName},
    },
    counters::{Counter, Counters},
    dispatch::Parked,
    exchange::Exchange,
    fastpath::station,
    headers::ETHERNET_HEADER,
    host::Host,
    interface::{InterfaceId, PortId},
    offload::Abilities,
    outcome::{DropCounters, DropReason},
    stage::{
        arp,
        filter::{Indexes, Memory, Ruleset},
        icmp::IcmpErrors,
        overload::Load,
    },
    table::{
        address_claims::{AddressClaims, Broadcast},
        connections::Connections,
        fib::Fib,
        flow::{Direction, FlowId, status},
        fragments::Fragments,
        neighbor::Neighbors,
        path::Paths,
        ports::ReservedPorts,
        shortcut::Shortcuts,
        tick::Tick,
        token_bucket::TokenBucket,
    },
    tap::Taps,
};
use alloc::{string::String, vec, vec::Vec};
use core::cell::Cell;
use smoltcp::{
    time::{Duration, Instant},
    wire::EthernetAddress,
};

/// Everything from outside that the plane needs at one moment.
pub struct Context<'a> {
    /// Now; never earlier than in the call before.
    pub now: Instant,
    /// Random numbers that nobody outside can guess.
    pub random: &'a mut dyn rand_core::Rng,
    /// Buffers in, frames out.
    pub exchange: &'a mut Exchange,
}

/// Sizes that are fixed for the life of a router, from the memory that there is.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most flows at once. Each takes [`Connections::BYTES_PER_FLOW`].
    pub flows: usize,
    /// Most entries of the neighbour table.
    pub neighbors: usize,
    /// Most routes. Each takes [`Fib::BYTES_PER_ROUTE`], with its place in the configuration.
    pub routes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { flows: 65_536, neighbors: 1024, routes: Routes::MAX }
    }
}

/// What has gone through one interface (`ip -s link`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct InterfaceCounters {
    pub received_packets: u64,
    pub received_bytes: u64,
    pub received_dropped: u64,
    pub received_multicast: u64,
    pub transmitted_packets: u64,
    pub transmitted_bytes: u64,
    pub transmitted_dropped: u64,
}

impl InterfaceCounters {
    /// Counts packets of the fast path that left, of together `bytes` without their Ethernet headers.
    pub(crate) fn count_transmitted(&mut self, packets: u64, bytes: u64) {
        self.transmitted_packets += packets;
        self.transmitted_bytes += bytes + packets * ETHERNET_HEADER as u64;
    }
}

/// How packets went through the plane.
#[derive(Clone, Copy, Default, Debug)]
pub struct Statistics {
    /// Packets that took the short way of their flow.
    pub fast: u64,
    /// Packets that were decided one by one.
    pub slow: u64,
    /// Those of them, and of what the router held back, that were sent on.
    pub forwarded: u64,
}

/// What the fast path needs of a card's interface.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    pub interface: InterfaceId,
    pub mac: EthernetAddress,
    /// What its card may be left to do.
    pub abilities: Abilities,
    /// What the fast path compares with the beginning of a frame; no frame fits where the interface is down.
    pub station: u64,
}

/// Most packets that wait for MAC addresses, in all.
const PARKED: usize = 128;
/// Buffers that these may have beyond the first of each.
const PARKED_FURTHER: usize = 32;
/// How often some flows are looked at for whether their time is over.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);
/// In how many steps the whole table is looked at.
const SWEEP_STEPS: usize = 40;

/// The router.
pub struct Router {
    pub(crate) config: Config,
    pub(crate) fib: Fib,
    pub(crate) neighbors: Neighbors<Parked>,
    /// Whether what the neighbour table wants is being done: it may come to want more meanwhile.
    pub(crate) polling_neighbors: bool,
    pub(crate) connections: Connections,
    pub(crate) reserved: ReservedPorts,
    pub(crate) indexes: Indexes,
    memory: Memory,
    /// The rules that limit connections, in words.
    connection_limits: Vec<String>,
    pub(crate) paths: Paths,
    /// Decisions to be repeated. Every change that a decision may depend on ends all of them.
    pub(crate) shortcuts: Shortcuts,
    pub(crate) icmp_errors: IcmpErrors,
    pub(crate) log_bucket: TokenBucket,
    pub(crate) drops: DropCounters,
    pub(crate) counters: Vec<Cell<InterfaceCounters>>,
    pub(crate) statistics: Statistics,
    pub(crate) counted: Counters,
    /// Whether a rule looks at the state of flows, or translates.
    pub(crate) tracking_needed: bool,
    /// Where the tables have something to say.
    pub(crate) busy_hooks: BusyHooks,
    pub(crate) host: Host,
    pub(crate) claims: AddressClaims,
    pub(crate) fragments: Fragments,
    pub(crate) taps: Taps,
    carrier: Vec<bool>,
    /// Of the cards of the interfaces.
    pub(crate) loads: Vec<Load>,
    pub(crate) links: Vec<Link>,
    next_sweep: Instant,
    pub(crate) now: Instant,
}

impl Router {
    /// A router with these cards and the configuration of [`Config::new`]. `random` seeds the keys of its tables.
    pub fn new(ports: &[PortInfo], limits: &Limits, random: &mut dyn rand_core::Rng) -> Self {
        let mut config = Config::new(ports);
        config.routes = Routes::with_limit(limits.routes);
        let keys = core::array::from_fn(|_| random.next_u64());
        let mut router = Self {
            fib: Fib::new([random.next_u64(), random.next_u64()]),
            neighbors: Neighbors::new(limits.neighbors, PARKED, PARKED_FURTHER, keys),
            polling_neighbors: false,
            connections: Connections::new(limits.flows, random),
            reserved: ReservedPorts::default(),
            indexes: Indexes::default(),
            memory: Memory::new(random),
            connection_limits: Vec::new(),
            paths: Paths::default(),
            shortcuts: Shortcuts::new(limits.neighbors),
            icmp_errors: IcmpErrors::new(random.next_u64()),
            log_bucket: TokenBucket::FULL,
            drops: DropCounters::default(),
            counters: vec![Cell::default(); config.interfaces.len()],
            statistics: Statistics::default(),
            counted: Counters::default(),
            tracking_needed: false,
            busy_hooks: BusyHooks::default(),
            host: Host::new(random, Instant::ZERO),
            claims: AddressClaims::default(),
            fragments: Fragments::default(),
            taps: Taps::default(),
            carrier: vec![true; config.interfaces.len()],
            loads: vec![Load::default(); config.interfaces.len()],
            links: Vec::new(),
            next_sweep: Instant::ZERO,
            now: Instant::ZERO,
            config,
        };
        router.refresh(Change::ALL);
        router
    }

    /// The present configuration. The counters of its rules lag behind: see [`Router::settle_counters`].
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The rules of a table, as they are asked.
    pub(crate) fn rules(&self, table: TableName) -> Ruleset<'_> {
        let tables = &self.config.tables;
        Ruleset {
            table: tables.get(table),
            index: self.indexes.of(table),
            sets: &tables.sets,
            memory: &self.memory,
            groups: &self.connections.groups,
        }
    }

    /// Brings the counters of all rules up to date; a listing calls it first.
    pub fn settle_counters(&self) {
        self.settle_shortcuts();
        self.paths.fold(&self.config.tables);
    }

    /// Tells what shortcuts counted to the interfaces and to the ways through the rules.
    fn settle_shortcuts(&self) {
        for shortcut in self.shortcuts.iter() {
            let (packets, bytes) = shortcut.counters.get();
            shortcut.counters.reset();
            self.paths.count(shortcut.course.path, packets, bytes);
            let counters = &self.counters[usize::from(shortcut.course.egress.0)];
            let mut changed = counters.get();
            changed.count_transmitted(packets, bytes);
            counters.set(changed);
        }
    }

    /// Changes the configuration. `change` must check everything before it touches anything, and says what it
    /// made stale.
    ///
    /// # Errors
    /// Those of `change`; then nothing has changed.
    pub fn edit(
        &mut self,
        change: impl FnOnce(&mut Config) -> Result<Change, ConfigError>,
    ) -> Result<(), ConfigError> {
        self.settle_counters();
        let stale = change(&mut self.config)?;
        self.refresh(stale);
        Ok(())
    }

    /// Replaces the whole configuration at once.
    pub fn replace_config(&mut self, config: Config) {
        self.settle_counters();
        self.config = config;
        self.refresh(Change::ALL);
    }

    /// Makes everything anew that follows from the configuration. Flows stay; their next packets are decided anew.
    fn refresh(&mut self, stale: Change) {
        match stale.routes {
            StaleRoutes::To(table, network) if !stale.interfaces => {
                self.fib.update(&self.config, table, network);
            }
            StaleRoutes::None | StaleRoutes::Rules if !stale.interfaces => {
                if stale.sysctl || stale.routes == StaleRoutes::Rules {
                    self.fib.update_rules(&self.config);
                }
            }
            _ => self.fib.rebuild(&self.config),
        }
        if stale.interfaces {
            let cards = self.config.interfaces().filter(|(_, interface)| interface.port().is_some());
            let links: Vec<Link> = cards
                .map(|(id, interface)| Link {
                    interface: id,
                    mac: interface.mac,
                    abilities: interface.abilities(),
                    station: if interface.up { station(interface.mac) } else { u64::MAX },
                })
                .collect();
            for (_, new) in self.links.iter().zip(&links).filter(|(old, new)| old.mac != new.mac) {
                self.claims.announce(new.interface, self.now);
            }
            self.links = links;
            self.counters.resize(self.config.interfaces.len(), Cell::default());
            self.carrier.resize(self.config.interfaces.len(), true);
            self.loads.resize(self.config.interfaces.len(), Load::default());
            self.claims.set_addresses(&self.config, self.now);
            for (id, interface) in self.config.interfaces() {
                if !interface.up {
                    self.neighbors.flush(Some(id));
                }
            }
            // A masqueraded flow ends with its outer address (requirement 30).
            let fib = &self.fib;
            self.connections.end_where(|flow| {
                let outer = flow.translated(Direction::Original).source;
                flow.is(status::MASQUERADED) && !fib.is_local(outer)
            });
        }
        if stale.neighbors || stale.interfaces {
            let refused = self.neighbors.set_static(&self.config.neighbors, self.now);
            if refused > 0 {
                log::warn!("neighbour table full: {refused} static entries are not in force");
            }
        }
        if stale.interfaces || stale.sysctl {
            self.host.set_config(&self.config);
        }
        if stale.rules {
            self.paths.clear();
            self.indexes.forget(self.now);
            self.memory.fit_to(&self.config.tables);
            let limits = self.config.tables.number_connection_limits();
            if limits != self.connection_limits {
                self.connections.groups.reset(!limits.is_empty());
                self.connection_limits = limits;
            }
            self.reserve_ports();
            self.tracking_needed = self.config.tables.look_at_flows();
            self.busy_hooks = self.config.tables.busy_hooks();
        }
        if stale.sysctl {
            self.connections.flows.set_limit(self.config.sysctl.conntrack.max as usize);
            self.connections.limit_sources(self.config.sysctl.conntrack.max_per_source);
        }
        if stale != Change::NONE {
            self.shortcuts.clear();
            self.restart_recording();
        }
    }

    /// Keeps translations off the ports of port-forwards and of the router's own sockets.
    fn reserve_ports(&mut self) {
        self.reserved.clear();
        for (protocol, range) in self.config.tables.reserved_ports() {
            self.reserved.reserve(protocol, range);
        }
        for (protocol, port) in self.host.local_ports() {
            self.reserved.reserve(protocol, PortRange { first: port, last: port });
        }
    }

    /// Works with the router's own sockets, and keeps translations off the ports that they then have.
    pub fn with_host<R>(&mut self, work: impl FnOnce(&mut Host) -> R) -> R {
        let result = work(&mut self.host);
        self.reserve_ports();
        result
    }

    /// Does what time asks for: timers, sweeps, the router's own sockets.
    pub fn poll(&mut self, cx: &mut Context<'_>) {
        self.now = cx.now;
        self.indexes.poll(&self.config.tables, cx.now);
        self.poll_neighbors(cx);
        self.poll_claims(cx);
        while let Some(waiting) = self.fragments.expire(cx.now) {
            if !waiting.is_empty() {
                self.counted.count(Counter::IpReasmTimeout);
                self.counted.count(Counter::IpReasmFails);
                self.counted.add(Counter::IpReasmReqds, waiting.len() as u64);
            }
            for packet in waiting {
                self.discard(cx, packet, DropReason::FragmentIncomplete);
            }
        }
        while let Some(first) = self.host.expire(cx.exchange, cx.now) {
            self.report_incomplete(cx, first);
        }
        if self.host.poll_at().is_some_and(|due| due <= cx.now) {
            self.host.poll(cx.exchange, cx.now);
        }
        self.send_from_host(cx);
        if cx.now >= self.next_sweep && !self.connections.flows.is_empty() {
            let places = self.connections.flows.places();
            self.connections.sweep(Tick::at(cx.now), places.div_ceil(SWEEP_STEPS).max(64));
            self.next_sweep = cx.now + SWEEP_INTERVAL;
        }
        if self.taps.are_open() {
            self.show_sent(cx);
        }
    }

    fn poll_claims(&mut self, cx: &mut Context<'_>) {
        while let Some(broadcast) = self.claims.poll(cx.now) {
            let (interface, source, target) = match broadcast {
                Broadcast::Probe(interface, address) => {
                    (interface, smoltcp::wire::Ipv4Address::UNSPECIFIED, address)
                }
                Broadcast::Announcement(interface, address) => (interface, address, address),
            };
            let mac = self.config.interface(interface).mac;
            if let Some(packet) = arp::request(cx.exchange, mac, source, target, None) {
                self.transmit_arp(cx, interface, EthernetAddress::BROADCAST, packet);
            }
        }
    }

    /// When [`Router::poll`] has something to do next; `None`: only after a frame or a command.
    pub fn poll_at(&self) -> Option<Instant> {
        let sweep = (!self.connections.flows.is_empty()).then_some(self.next_sweep);
        [
            self.neighbors.poll_at(),
            self.claims.poll_at(),
            self.fragments.poll_at(),
            self.host.poll_at(),
            self.indexes.poll_at(),
            sweep,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The card's link came up or went down.
    pub fn set_carrier(&mut self, port: PortId, carrier: bool) {
        let Some(&Link { interface, .. }) = self.links.get(usize::from(port.0)) else { return };
        let known = &mut self.carrier[usize::from(interface.0)];
        match (carrier, *known) {
            (true, false) => self.claims.announce(interface, self.now),
            // What hangs on the link when it comes back may be other machines.
            (false, true) => self.neighbors.flush(Some(interface)),
            _ => {}
        }
        *known = carrier;
    }

    /// Makes the own addresses on the card's link known there (gratuitous ARP): the machine may have moved.
    pub fn announce(&mut self, port: PortId) {
        if let Some(link) = self.links.get(usize::from(port.0)) {
            self.claims.announce(link.interface, self.now);
        }
    }

    /// The MAC address that a card has now.
    pub fn mac(&self, port: PortId) -> Option<EthernetAddress> {
        self.links.get(usize::from(port.0)).map(|link| link.mac)
    }

    /// Whether the card below an interface has a link. `lo` always has.
    pub fn carrier(&self, interface: InterfaceId) -> bool {
        self.carrier[usize::from(interface.0)]
    }

    /// More frames wait on a card than the driver has taken at a time: see [`crate::stage::overload`].
    pub fn note_waiting(&mut self, port: PortId, now: Instant) {
        if let Some(link) = self.links.get(usize::from(port.0)) {
            self.loads[usize::from(link.interface.0)].note_waiting(now);
        }
    }

    /// Whether a card brings more than the router can take.
    #[inline]
    pub fn is_crowded(&self, port: PortId, now: Instant) -> bool {
        self.links
            .get(usize::from(port.0))
            .is_some_and(|link| self.loads[usize::from(link.interface.0)].is_crowded(now))
    }

    /// A frame that the driver could not put on the wire, because its card takes them too slowly.
    pub fn count_egress_drop(&mut self, port: PortId) {
        self.drops.count(DropReason::EgressQueueFull);
        if let Some(link) = self.links.get(usize::from(port.0)) {
            self.counters[usize::from(link.interface.0)].get_mut().transmitted_dropped += 1;
        }
    }

    /// Those who look on at frames.
    pub fn taps(&mut self) -> &mut Taps {
        &mut self.taps
    }

    /// Counters of what was dropped, by reason.
    pub fn drops(&self) -> &DropCounters {
        &self.drops
    }

    /// Counters of an interface.
    pub fn interface_counters(&self, interface: InterfaceId) -> InterfaceCounters {
        self.settle_shortcuts();
        self.counters[usize::from(interface.0)].get()
    }

    /// How packets went through the plane.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// What addresses lead to.
    pub fn fib(&self) -> &Fib {
        &self.fib
    }

    /// The neighbours, to look at and to forget.
    pub fn neighbors(&mut self) -> &mut Neighbors<Parked> {
        &mut self.neighbors
    }

    /// All flows and the outer ports they hold.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Ends a flow (`conntrack -D`).
    pub fn end_flow(&mut self, id: FlowId) {
        self.connections.end(id);
    }

    /// Marks a flow (`conntrack -U`).
    pub fn mark_flow(&mut self, id: FlowId, mark: u32) {
        self.connections.flows.set_mark(id, mark);
    }

    /// Ends all flows (`conntrack -F`).
    pub fn end_all_flows(&mut self) {
        self.connections.end_where(|_| true);
    }
}
