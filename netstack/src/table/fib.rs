//! The forwarding table: one lookup says what an address is to this router. Read RFC 1812 5.2.4.3 first.
//!
//! It follows from the configuration alone, network by network: a route that changes changes the answers for its own
//! network and no more. It merges what Linux keeps in two (`ip route show table local`, then `main`): own and
//! broadcast addresses come first. Where rules choose among tables, or a route has several next hops, that lookup comes
//! first all the same; only what it leaves open asks the rules, which look into the configuration itself.

mod entry;
mod multipath;
#[cfg(test)]
mod tests;

pub use entry::source_on;

use super::{flow::Tuple, lpm::Lpm};
use crate::{
    config::{
        Config,
        interface::ReversePath,
        policy::{RoutingRule, RuleAction, TableId},
        route::{Route, RouteKind},
    },
    interface::InterfaceId,
};
use alloc::{collections::BTreeMap, vec::Vec};
use entry::{Entry, entry_for, local_networks};
use multipath::Multipath;
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// What an address is to this router.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Destination {
    /// One of its own addresses (127/8 included), whichever interface the packet came in on.
    Local {
        /// The interface that has the address, up or down.
        interface: InterfaceId,
    },
    /// A broadcast address.
    Broadcast {
        /// On the link of this interface; `None`: 255.255.255.255, on whichever link.
        interface: Option<InterfaceId>,
    },
    /// A group (224/4).
    Multicast,
    /// Reached through an interface that is up.
    Unicast(NextHop),
    /// Dropped silently.
    Blackhole,
    /// Dropped, and the sender is told 3/1 (host unreachable).
    Unreachable,
    /// Dropped, and the sender is told 3/13 (administratively prohibited).
    Prohibit,
    /// No route: the sender is told 3/0 (network unreachable).
    NoRoute,
}

/// Where a packet goes next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NextHop {
    /// Out of this interface.
    pub interface: InterfaceId,
    /// To this router; `None`: the destination itself is on the link.
    pub gateway: Option<Ipv4Address>,
    /// Source of what the router itself sends this way; `None`: it has no address that would do.
    pub source: Option<Ipv4Address>,
    /// Largest IP packet that may go this way, in bytes.
    pub mtu: u16,
    /// Largest segment that the router's own TCP connections ask for, in bytes.
    pub advmss: u16,
}

impl NextHop {
    /// The address whose MAC is asked for.
    #[inline]
    pub fn neighbor(&self, destination: Ipv4Address) -> Ipv4Address {
        self.gateway.unwrap_or(destination)
    }
}

/// What rules may look at, and what a next hop is chosen by.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// Destination of the packet.
    pub destination: Ipv4Address,
    /// Its source; 0.0.0.0: not yet chosen.
    pub source: Ipv4Address,
    /// Where it came in; `lo`: the router itself sends it.
    pub ingress: InterfaceId,
    /// Its mark.
    pub mark: u32,
    /// The flow that it belongs to, whose packets all take one next hop.
    pub flow: Tuple,
    /// The interface that its flow is bound to, where a route still has a next hop there.
    pub bound: Option<InterfaceId>,
}

impl Query {
    /// What the router itself would send to `destination`, from an address that is yet to be chosen.
    pub fn to(destination: Ipv4Address) -> Self {
        let source = Ipv4Address::UNSPECIFIED;
        let flow = Tuple { source, destination, source_port: 0, destination_port: 0, protocol: 0 };
        Self { destination, source, ingress: InterfaceId::LOOPBACK, mark: 0, flow, bound: None }
    }
}

/// What a query has found.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// What the destination is to this router.
    pub destination: Destination,
    /// The table that says so; `None`: no table does.
    pub table: Option<TableId>,
    /// The route that says so, where it is one that a person or an address made.
    pub route: Option<&'a Route>,
}

/// The forwarding table.
#[derive(Default)]
pub struct Fib {
    /// `local` and `main`.
    prefixes: Lpm,
    /// What prefixes lead to: a million routes share a handful.
    entries: Vec<Entry>,
    /// Where each entry is.
    known: BTreeMap<Entry, u32>,
    /// The rules that may find something.
    rules: Vec<RoutingRule>,
    /// Whether what an address leads to says all: no rule may say something else, and no route has several next hops.
    plain: bool,
    multipath: Multipath,
}

impl Fib {
    /// Bytes that a route takes among many, about, with its place in the configuration.
    pub const BYTES_PER_ROUTE: usize = 64;

    /// Entries that no prefix leads to any more are kept until there are more than this, and as many again as there are routes.
    const SPARE_ENTRIES: usize = 1024;

    /// A table without a route. Next hops are chosen by `key`, which nobody outside should know.
    pub fn new(key: [u64; 2]) -> Self {
        Self { multipath: Multipath::new(key), ..Self::default() }
    }

    /// Makes the table of a configuration.
    pub fn rebuild(&mut self, config: &Config) {
        *self = Self { multipath: self.multipath, ..Self::default() };
        // Equal networks follow one another.
        let mut last = None;
        for network in config.routes.iter().map(|route| route.destination) {
            if last.replace(network) != Some(network) {
                self.update_main(config, network);
            }
        }
        for network in local_networks(config) {
            self.update_main(config, network);
        }
        self.update_rules(config);
    }

    /// Takes over what the configuration says now about routes of a table to exactly this network.
    pub fn update(&mut self, config: &Config, table: TableId, network: Ipv4Cidr) {
        if table == TableId::MAIN {
            self.update_main(config, network);
        }
        self.update_rules(config);
    }

    /// Takes over the rules and settings of a configuration.
    pub fn update_rules(&mut self, config: &Config) {
        self.multipath.by_ports = config.sysctl.fib_multipath_hash_policy == 1;
        let finds = |rule: &&RoutingRule| match rule.action {
            RuleAction::Lookup(table) => config.routes_of(table).is_some(),
            _ => true,
        };
        self.rules.clear();
        self.rules.extend(config.policy.rules.iter().filter(finds));
        self.plain = config.routes.cost() == config.routes.len()
            && matches!(self.rules[..], [rule] if rule.is_plain(TableId::MAIN));
    }

    fn update_main(&mut self, config: &Config, network: Ipv4Cidr) {
        if let Some(entry) = entry_for(network, config) {
            if self.entries.len() > Self::SPARE_ENTRIES + 2 * config.routes.len() {
                return self.rebuild(config);
            }
            let value = self.value_of(entry);
            return self.prefixes.insert(network, value);
        }
        let shorter = (0..network.prefix_len()).rev();
        let heir = shorter.into_iter().find_map(|length| {
            let covering = Ipv4Cidr::new(network.address(), length).network();
            Some((length, entry_for(covering, config)?))
        });
        let heir = heir.map(|(length, entry)| (length, self.value_of(entry)));
        self.prefixes.remove(network, heir);
    }

    /// Bytes of memory that it owns, about.
    pub fn bytes(&self) -> usize {
        self.prefixes.bytes() + self.entries.capacity() * size_of::<Entry>()
    }

    fn value_of(&mut self, entry: Entry) -> u32 {
        let entries = &mut self.entries;
        *self.known.entry(entry).or_insert_with(|| {
            entries.push(entry);
            entries.len() as u32 - 1
        })
    }

    /// What `address` is by the tables `local` and `main` alone: own and broadcast addresses are that whatever rules say.
    #[inline]
    pub fn lookup(&self, address: Ipv4Address) -> Destination {
        if address.is_multicast() {
            return Destination::Multicast;
        }
        if address.is_broadcast() {
            return Destination::Broadcast { interface: None };
        }
        match self.prefixes.lookup(address) {
            Some(entry) => self.entries[entry as usize].destination,
            None => Destination::NoRoute,
        }
    }

    /// Where a packet to `destination` goes, by the configuration that this table was made of. The rest of the query is asked
    /// for only where something depends on it.
    #[inline]
    pub fn route(
        &self,
        config: &Config,
        destination: Ipv4Address,
        query: impl FnOnce() -> Query,
    ) -> Destination {
        if self.plain { self.lookup(destination) } else { self.find(config, &query()).destination }
    }

    /// Where a packet goes, and which route says so.
    #[inline(never)]
    pub fn find<'a>(&self, config: &'a Config, query: &Query) -> Found<'a> {
        let by_default = self.lookup(query.destination);
        let found = |destination, table, route| Found { destination, table, route };
        match by_default {
            Destination::Multicast | Destination::Broadcast { interface: None } => {
                return found(by_default, None, None);
            }
            Destination::Local { .. } | Destination::Broadcast { .. } => {
                return found(by_default, Some(TableId::LOCAL), None);
            }
            _ => {}
        }
        let asked = |rule: &&RoutingRule| {
            rule.selector.fits(query.source, query.destination, query.ingress, query.mark)
        };
        for rule in self.rules.iter().filter(asked) {
            let table = match rule.action {
                RuleAction::Lookup(table) => table,
                RuleAction::Blackhole => return found(Destination::Blackhole, None, None),
                RuleAction::Unreachable => return found(Destination::NoRoute, None, None),
                RuleAction::Prohibit => return found(Destination::Prohibit, None, None),
            };
            let mut networks =
                config.routes_of(table).into_iter().flat_map(|it| it.around(query.destination));
            let Some(route) = networks.find_map(|network| config.route_in_use(table, network)) else {
                continue;
            };
            let length = route.destination.prefix_len();
            // `throw` is found, and says that nothing is.
            if route.kind != RouteKind::Throw && rule.suppress.is_none_or(|suppressed| length > suppressed) {
                return found(self.multipath.destination(route, config, query), Some(table), Some(route));
            }
        }
        found(Destination::NoRoute, None, None)
    }

    /// Whether `address` is one of the router's own.
    pub fn is_local(&self, address: Ipv4Address) -> bool {
        matches!(self.lookup(address), Destination::Local { .. })
    }

    /// The source address of what the router itself sends to `destination`, as Linux picks it: that of the route
    /// (`src`), else the interface's primary address in the gateway's network, else its first one of the
    /// route's scope. `None` where there is no way to `destination`.
    pub fn source_for(&self, config: &Config, destination: Ipv4Address) -> Option<Ipv4Address> {
        match self.route(config, destination, || Query::to(destination)) {
            Destination::Unicast(next_hop) => next_hop.source,
            Destination::Local { .. } | Destination::Broadcast { interface: Some(_) } => {
                self.entries.get(self.prefixes.lookup(destination)? as usize)?.source
            }
            _ => None,
        }
    }

    /// Whether a packet from `source` may come in on `ingress` (`rp_filter`, RFC 3704 2.2 and 2.4). The router's own addresses,
    /// broadcast and refused ones are no sources, unless the check is off. As on Linux, rules are asked about an answer:
    /// it comes in where the packet leaves, or from the router itself, and has no mark. The rest of the packet is asked for
    /// only where something depends on it.
    pub fn reverse_path(
        &self,
        config: &Config,
        (source, ingress): (Ipv4Address, InterfaceId),
        packet: impl Fn() -> Query,
        mode: ReversePath,
    ) -> bool {
        let way_back = || {
            let packet = packet();
            let egress = match self.find(config, &packet).destination {
                Destination::Unicast(next_hop) => next_hop.interface,
                _ => InterfaceId::LOOPBACK,
            };
            Query { source: packet.destination, ingress: egress, ..Query::to(source) }
        };
        match (mode, self.route(config, source, way_back)) {
            (ReversePath::Off, _) => true,
            (ReversePath::Strict, Destination::Unicast(next_hop)) if next_hop.interface != ingress => {
                let route = if self.plain { None } else { self.find(config, &way_back()).route };
                let mut others = route.map_or(&[][..], Route::hops).iter();
                others.any(|hop| hop.interface == ingress && config.is_usable(ingress))
            }
            (_, Destination::Unicast(_)) => true,
            _ => false,
        }
    }
}
