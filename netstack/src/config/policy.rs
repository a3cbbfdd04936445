//! Policy routing: the rules that choose a routing table (`ip rule`), and the tables besides `main`.
//!
//! As in Linux's fib_rules.c. The rule of the local table comes before all others and stays: own addresses are own
//! addresses, whatever a person says.

use super::{
    Change, Config, ConfigError, StaleRoutes,
    route::{Route, Routes},
};
use crate::interface::InterfaceId;
use alloc::vec::Vec;
use core::fmt;
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// The most rules.
pub const RULES_MAX: usize = 1024;

/// The number of a routing table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TableId(pub u32);

impl TableId {
    /// `default`, 253
    pub const DEFAULT: Self = Self(253);
    /// `main`, 254
    pub const MAIN: Self = Self(254);
    /// `local`, 255: it follows from the addresses.
    pub const LOCAL: Self = Self(255);

    /// Those that have a name, as in iproute2's rt_tables.
    const NAMES: [(Self, &str); 3] =
        [(Self::DEFAULT, "default"), (Self::MAIN, "main"), (Self::LOCAL, "local")];

    /// The table of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(_, known)| *known == name).map(|(id, _)| id)
    }

    /// Linux lists tables in the order of the 256 buckets that it keeps them in.
    fn place(self) -> (u32, u32) {
        (self.0 % 256, self.0)
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(id, _)| id == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// What a person has said about tables.
#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    /// By priority; among equals, the older one first.
    pub rules: Vec<RoutingRule>,
    /// Every table but `local` and `main` that has a route, in Linux's order.
    tables: Vec<(TableId, Routes)>,
}

impl Default for Policy {
    fn default() -> Self {
        let rule = |priority, table| RoutingRule {
            priority,
            selector: RuleSelector::default(),
            action: RuleAction::Lookup(table),
            suppress: None,
        };
        let rules = [rule(32_766, TableId::MAIN), rule(32_767, TableId::DEFAULT)];
        Self { rules: rules.into(), tables: Vec::new() }
    }
}

/// One rule: which packets it is about, and where they are to look for their route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoutingRule {
    /// `priority N`: rules are asked from the lowest one on.
    pub priority: u32,
    /// Which packets.
    pub selector: RuleSelector,
    /// What becomes of them.
    pub action: RuleAction,
    /// `suppress_prefixlength N`: a route whose prefix is no longer than this does not count as found.
    pub suppress: Option<u8>,
}

/// Which packets a rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleSelector {
    /// `not`: all but those that fit the rest.
    pub inverted: bool,
    /// `from PREFIX`; 0.0.0.0/0: all.
    pub from: Ipv4Cidr,
    /// `to PREFIX`
    pub to: Ipv4Cidr,
    /// `iif DEVICE`, where they came in; `lo`: what the router itself sends.
    pub ingress: Option<InterfaceId>,
    /// `fwmark VALUE/MASK`
    pub mark: Mark,
}

/// Some bits of a packet's mark.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Mark {
    /// What they are.
    pub value: u32,
    /// Which ones; 0: none, so that every mark fits.
    pub mask: u32,
}

/// All addresses.
const ALL: Ipv4Cidr = Ipv4Cidr::new(Ipv4Address::UNSPECIFIED, 0);

impl Default for RuleSelector {
    fn default() -> Self {
        Self { inverted: false, from: ALL, to: ALL, ingress: None, mark: Mark::default() }
    }
}

impl RuleSelector {
    /// Whether a packet from `source` to `destination` is meant, which came in on `ingress` (`lo`: was made here) and has
    /// this mark.
    pub fn fits(
        &self,
        source: Ipv4Address,
        destination: Ipv4Address,
        ingress: InterfaceId,
        mark: u32,
    ) -> bool {
        let fits = self.from.contains_addr(&source)
            && self.to.contains_addr(&destination)
            && self.ingress.is_none_or(|wanted| wanted == ingress)
            && (self.mark.value ^ mark) & self.mark.mask == 0;
        fits != self.inverted
    }
}

/// What becomes of the packets that a rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleAction {
    /// They take the route that this table has for them; where it has none, the next rule is asked.
    Lookup(TableId),
    /// They are dropped silently.
    Blackhole,
    /// They are dropped, and their sender is told 3/0 (network unreachable).
    Unreachable,
    /// They are dropped, and their sender is told 3/13 (administratively prohibited).
    Prohibit,
}

/// What `ip rule add` or `del` says of a rule. A part that is `None` was not said.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[allow(missing_docs)]
pub struct RuleDescription {
    pub priority: Option<u32>,
    pub inverted: bool,
    pub from: Option<Ipv4Cidr>,
    pub to: Option<Ipv4Cidr>,
    pub ingress: Option<InterfaceId>,
    pub mark: Mark,
    pub action: Option<RuleAction>,
    pub suppress: Option<u8>,
}

impl RuleDescription {
    /// Whether `rule` is the one to delete.
    fn means(&self, rule: &RoutingRule) -> bool {
        fn fits<T: PartialEq>(wanted: Option<T>, have: T) -> bool {
            wanted.is_none_or(|wanted| wanted == have)
        }
        let network = |said: Option<Ipv4Cidr>| said.filter(|prefix| prefix.prefix_len() > 0);
        let RoutingRule { priority, selector, action, suppress } = *rule;
        fits(self.priority, priority)
            && fits(network(self.from), selector.from)
            && fits(network(self.to), selector.to)
            && fits(self.ingress.map(Some), selector.ingress)
            && fits(Some(self.mark.value).filter(|&value| value != 0), selector.mark.value)
            && fits(Some(self.mark.mask).filter(|&mask| mask != 0), selector.mark.mask)
            && fits(self.action, action)
            && fits(self.suppress.map(Some), suppress)
    }
}

const STALE: Change = Change { routes: StaleRoutes::Rules, ..Change::NONE };

impl Config {
    /// Adds a rule, behind those of the same priority. Without a priority it gets one below the first rule but for that of the
    /// local table.
    ///
    /// # Errors
    /// There is the same one already, or there are as many as there may be.
    pub fn add_rule(&mut self, new: &RuleDescription) -> Result<Change, ConfigError> {
        let rules = &mut self.policy.rules;
        let before = || rules.first().map_or(0, |first| first.priority.saturating_sub(1));
        let rule = RoutingRule {
            priority: new.priority.unwrap_or_else(before),
            selector: RuleSelector {
                inverted: new.inverted,
                from: new.from.unwrap_or(ALL),
                to: new.to.unwrap_or(ALL),
                ingress: new.ingress,
                mark: new.mark,
            },
            action: new.action.unwrap_or(RuleAction::Lookup(TableId::MAIN)),
            suppress: new.suppress,
        };
        if rules.contains(&rule) {
            return Err(ConfigError::new("RTNETLINK answers: File exists"));
        }
        if rules.len() >= RULES_MAX {
            return Err(ConfigError::new("RTNETLINK answers: No buffer space available"));
        }
        let place = rules.partition_point(|other| other.priority <= rule.priority);
        rules.insert(place, rule);
        Ok(STALE)
    }

    /// Takes the first rule away that fits what was said of it.
    ///
    /// # Errors
    /// There is none, or it is that of the local table.
    pub fn delete_rule(&mut self, wanted: &RuleDescription) -> Result<Change, ConfigError> {
        if wanted.means(&RoutingRule::LOCAL) {
            return Err(ConfigError::new("RTNETLINK answers: Operation not permitted"));
        }
        match self.policy.rules.iter().position(|rule| wanted.means(rule)) {
            Some(place) => {
                self.policy.rules.remove(place);
                Ok(STALE)
            }
            None => Err(ConfigError::new("RTNETLINK answers: No such file or directory")),
        }
    }

    /// Takes all rules away that `wanted` names.
    pub fn flush_rules(&mut self, wanted: impl Fn(&RoutingRule) -> bool) -> Change {
        self.policy.rules.retain(|rule| !wanted(rule));
        STALE
    }

    /// The routes of a table, where it has any.
    pub fn routes_of(&self, table: TableId) -> Option<&Routes> {
        if table == TableId::MAIN {
            return Some(&self.routes);
        }
        self.policy.tables.iter().find(|(id, _)| *id == table).map(|(_, routes)| routes)
    }

    /// Every table with its routes, in Linux's order. That of `local`, which would be the last one, is not among them.
    pub fn routing_tables<'a>(&'a self) -> impl Iterator<Item = (TableId, &'a Routes)> {
        let tables = &self.policy.tables;
        let (before, behind) = tables.split_at(self.policy.place_of(TableId::MAIN));
        let pair = |(id, routes): &'a (TableId, Routes)| (*id, routes);
        let main = [(TableId::MAIN, &self.routes)];
        before.iter().map(pair).chain(main).chain(behind.iter().map(pair))
    }

    /// The routes of a table, to be changed; it is made where it had none. Call [`Config::forget_empty_tables`] behind it.
    pub(super) fn routes_of_mut(&mut self, table: TableId) -> &mut Routes {
        if table == TableId::MAIN {
            return &mut self.routes;
        }
        let place = self.policy.place_of(table);
        let tables = &mut self.policy.tables;
        if tables.get(place).is_none_or(|(id, _)| *id != table) {
            tables.insert(place, (table, Routes::default()));
        }
        &mut tables[place].1
    }

    pub(super) fn forget_empty_tables(&mut self) {
        self.policy.tables.retain(|(_, routes)| !routes.is_empty());
    }

    /// Whether there are as many routes as there may be, in all tables together.
    pub(super) fn routes_are_full(&self) -> bool {
        self.routing_tables().map(|(_, routes)| routes.cost()).sum::<usize>() >= self.routes.limit()
    }

    /// Keeps the routes of all tables that `wanted` names.
    pub(super) fn retain_routes(&mut self, wanted: &dyn Fn(&Self, TableId, &Route) -> bool) {
        let mut main = core::mem::take(&mut self.routes);
        let mut others = core::mem::take(&mut self.policy.tables);
        main.retain(&|route| wanted(self, TableId::MAIN, route));
        for (id, routes) in &mut others {
            routes.retain(&|route| wanted(self, *id, route));
        }
        (self.routes, self.policy.tables) = (main, others);
        self.forget_empty_tables();
    }
}

impl Policy {
    /// Where a table is among the others, or would be.
    fn place_of(&self, table: TableId) -> usize {
        self.tables.partition_point(|(id, _)| id.place() < table.place())
    }
}

impl RoutingRule {
    /// Whether it sends every packet to this table, whatever it finds there.
    pub fn is_plain(&self, table: TableId) -> bool {
        self.selector == RuleSelector::default()
            && self.action == RuleAction::Lookup(table)
            && self.suppress.is_none()
    }

    /// The rule that comes before all others.
    pub const LOCAL: Self = Self {
        priority: 0,
        selector: RuleSelector {
            inverted: false,
            from: ALL,
            to: ALL,
            ingress: None,
            mark: Mark { value: 0, mask: 0 },
        },
        action: RuleAction::Lookup(TableId::LOCAL),
        suppress: None,
    };
}
