//! Routes: `ip route add`, `replace`, `del` and `flush`, with the checks of Linux's fib_semantics.

mod entry;
mod list;

use super::{Change, Config, ConfigError, StaleRoutes, interface::Scope, policy::TableId};
use crate::interface::InterfaceId;
use entry::key;
pub use entry::{
    NewHop, NewRoute, Route, RouteAction, RouteHop, RouteKind, RouteKindName, RouteMetrics, RouteMode,
    RouteProtocol, RouteSelector, StaticNeighbor,
};
pub use list::Routes;
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// What a change of the routes to one network makes stale.
fn changed(table: TableId, destination: Ipv4Cidr) -> Change {
    Change { routes: StaleRoutes::To(table, destination), ..Change::NONE }
}

impl Config {
    /// Makes a route.
    ///
    /// # Errors
    /// In Linux's words: bits behind the prefix, an interface that is down, a gateway that is in no network of an
    /// interface, a source that is no address of the router, a route that is there already (or is not).
    pub fn add_route(&mut self, new: &NewRoute, mode: RouteMode) -> Result<Change, ConfigError> {
        if new.destination.network().address() != new.destination.address() {
            return Err(ConfigError::new("Error: Invalid prefix for given prefix length."));
        }
        let route = self.check_route(new)?;
        let present = self.routes_of(new.table).into_iter().flat_map(|routes| routes.to(new.destination));
        let mut present = present.filter(|other| other.metric == new.metric);
        let first_is_equal = present.next().map(|first| *first == route);
        let later_is_equal = present.any(|other| *other == route);
        drop(present);
        let exists = || Err(ConfigError::new("RTNETLINK answers: File exists"));
        match (first_is_equal, mode) {
            (None, RouteMode::Change) => {
                return Err(ConfigError::new("RTNETLINK answers: No such file or directory"));
            }
            (Some(true), RouteMode::Replace | RouteMode::Change) => return Ok(Change::NONE),
            (Some(_), RouteMode::Add) | (Some(true), _) => return exists(),
            _ if later_is_equal => return exists(),
            (Some(false), RouteMode::Replace | RouteMode::Change) => {
                self.routes_of_mut(new.table).replace_first(route);
                return Ok(changed(new.table, new.destination));
            }
            _ => {}
        }
        if self.routes_are_full() {
            return Err(ConfigError::new("RTNETLINK answers: No buffer space available"));
        }
        self.routes_of_mut(new.table).insert(route, mode == RouteMode::Prepend);
        Ok(changed(new.table, new.destination))
    }

    /// Takes the first route away that leads to `destination` and fits `selector`.
    ///
    /// # Errors
    /// There is none, or no such table.
    pub fn delete_route(
        &mut self,
        table: TableId,
        destination: Ipv4Cidr,
        selector: &RouteSelector,
    ) -> Result<Change, ConfigError> {
        if self.routes_of(table).is_none() {
            return Err(ConfigError::new("Error: FIB table does not exist."));
        }
        let removed = self.routes_of_mut(table).remove_first(destination, &|route| selector.matches(route));
        self.forget_empty_tables();
        match removed {
            Some(_) => Ok(changed(table, destination)),
            None => Err(ConfigError::new("RTNETLINK answers: No such process")),
        }
    }

    /// Takes all routes away that `wanted` names.
    pub fn flush_routes(&mut self, wanted: impl Fn(TableId, &Route) -> bool) -> Change {
        self.retain_routes(&|_, table, route| !wanted(table, route));
        Change { routes: StaleRoutes::All, ..Change::NONE }
    }

    /// Which route to exactly this network is used: the first one in order whose interface is up.
    pub fn route_in_use(&self, table: TableId, network: Ipv4Cidr) -> Option<&Route> {
        self.routes_of(table)?.to(network).find(|route| match &route.kind {
            RouteKind::Unicast { interface, .. } => self.interface(*interface).up,
            RouteKind::Multipath(hops) => hops.iter().any(|hop| self.is_usable(hop.interface)),
            _ => true,
        })
    }

    /// Whether one of several ways is taken that goes out of this interface.
    pub fn is_usable(&self, interface: InterfaceId) -> bool {
        let interface = self.interface(interface);
        interface.up && !interface.addresses.is_empty()
    }

    /// Whether a route leads anywhere now, apart from those that are there already.
    pub fn accepts_route(&self, new: &NewRoute) -> bool {
        self.check_route(new).is_ok()
    }

    /// Finds out where a new route leads.
    fn check_route(&self, new: &NewRoute) -> Result<Route, ConfigError> {
        let mut scope = new.scope.unwrap_or_default();
        let kind = match &new.action {
            RouteAction::Blackhole => RouteKind::Blackhole,
            RouteAction::Unreachable => RouteKind::Unreachable,
            RouteAction::Prohibit => RouteKind::Prohibit,
            RouteAction::Throw => RouteKind::Throw,
            RouteAction::Unicast(hop) => {
                let RouteHop { interface, gateway, onlink, .. } = self.check_hop(hop, scope, new.table)?;
                if gateway.is_none() {
                    scope = new.scope.unwrap_or(Scope::Link);
                }
                RouteKind::Unicast { interface, gateway, onlink }
            }
            RouteAction::Multipath(hops) => {
                let hops = hops.iter().map(|hop| self.check_hop(hop, scope, new.table));
                RouteKind::Multipath(hops.collect::<Result<_, _>>()?)
            }
        };
        if new.source.is_some_and(|source| !self.is_local(source)) {
            return Err(ConfigError::new("Error: Invalid prefsrc address."));
        }
        let NewRoute { destination, metric, source, protocol, metrics, .. } = *new;
        Ok(Route { destination, kind, metric, source, scope, protocol, metrics })
    }

    /// Finds out where one way of a new route leads.
    fn check_hop(&self, new: &NewHop, scope: Scope, table: TableId) -> Result<RouteHop, ConfigError> {
        let refuse = |text: &str| Err(ConfigError::new(text));
        let NewHop { gateway, onlink, weight, .. } = *new;
        let hop = |interface| Ok(RouteHop { interface, gateway, onlink, weight });
        match (new.interface, gateway) {
            (None, None) => refuse("RTNETLINK answers: No such device"),
            (None, Some(_)) if onlink => refuse("Error: Nexthop device required for onlink."),
            (Some(_), None) if onlink => {
                refuse("Error: Invalid flags for nexthop - PERVASIVE and ONLINK can not be set.")
            }
            (Some(interface), None) if self.interface(interface).up => hop(interface),
            (Some(_), None) => refuse("Error: Device for nexthop is not up."),
            (Some(_), Some(_)) if onlink && scope != Scope::Global => {
                refuse("Error: Nexthop has invalid scope.")
            }
            (Some(interface), Some(_)) if onlink && !self.interface(interface).up => {
                refuse("Error: Nexthop device is not up.")
            }
            (interface, Some(gateway)) => {
                let reached = match interface {
                    Some(interface) if onlink => Some(interface),
                    _ if scope == Scope::Global => self.link_of(gateway, interface, table),
                    _ => None,
                };
                match reached {
                    Some(interface) if self.may_be_gateway(gateway) => hop(interface),
                    _ => refuse("Error: Nexthop has invalid gateway."),
                }
            }
        }
    }

    /// Whether a router could have this address: some single station. As on Linux, it may be this one.
    pub(super) fn may_be_gateway(&self, address: Ipv4Address) -> bool {
        let broadcast = |interface: &super::interface::Interface| {
            interface
                .addresses
                .iter()
                .any(|entry| entry.broadcast == Some(address) || entry.cidr.broadcast() == Some(address))
        };
        !address.is_unspecified()
            && !address.is_multicast()
            && !address.is_broadcast()
            && !address.is_loopback()
            && !self.interfaces.iter().any(broadcast)
    }

    /// The interface on whose link `address` is, by the longest route of a narrow scope in the route's own table or in `main`.
    fn link_of(
        &self,
        address: Ipv4Address,
        through: Option<InterfaceId>,
        table: TableId,
    ) -> Option<InterfaceId> {
        let tables = [table, TableId::MAIN].into_iter().filter_map(|table| self.routes_of(table));
        let mut places =
            tables.flat_map(|routes| routes.around(address).map(move |network| (routes, network)));
        places.find_map(|(routes, network)| {
            routes
                .to(network)
                .filter(|route| route.scope != Scope::Global && route.hops().is_empty())
                .filter_map(Route::interface)
                .find(|&interface| through.is_none_or(|wanted| wanted == interface))
        })
    }

    /// The routes that follow from the addresses of an interface that has come up.
    pub(super) fn add_kernel_routes(&mut self, id: InterfaceId) {
        for place in 0..self.interface(id).addresses.len() {
            let entry = &self.interface(id).addresses[place];
            if !entry.secondary {
                self.add_kernel_route(id, entry.cidr);
            }
        }
    }

    /// The route to the network of an address (`proto kernel`), where it makes sense to have one.
    pub(super) fn add_kernel_route(&mut self, id: InterfaceId, address: Ipv4Cidr) {
        let Some(route) = kernel_route(id, address) else { return };
        if !self.routes.to(route.destination).any(|other| *other == route) {
            self.routes.insert(route, false);
        }
    }

    pub(super) fn remove_kernel_route(&mut self, id: InterfaceId, address: Ipv4Cidr) {
        if let Some(route) = kernel_route(id, address) {
            self.routes.remove_first(route.destination, &|other| *other == route);
        }
    }

    /// Takes the routes through an interface away that has gone down or lost its last address. One with several ways stays as
    /// long as one of them is left.
    pub(super) fn remove_routes_of(&mut self, id: InterfaceId) {
        self.retain_routes(&|config, _, route| match &route.kind {
            RouteKind::Unicast { interface, .. } => *interface != id,
            RouteKind::Multipath(hops) => hops.iter().any(|hop| config.is_usable(hop.interface)),
            _ => true,
        });
    }

    /// Takes away what names a gateway that a new address has made a broadcast address.
    pub(super) fn remove_routes_by_broadcast(&mut self) {
        self.retain_routes(&|config, _, route| {
            route.gateways().all(|gateway| config.may_be_gateway(gateway))
        });
    }

    /// Takes away what names a source that is no address of the router any more.
    pub(super) fn remove_routes_without_source(&mut self) {
        self.retain_routes(&|config, _, route| route.source.is_none_or(|source| config.is_local(source)));
    }
}

fn kernel_route(interface: InterfaceId, address: Ipv4Cidr) -> Option<Route> {
    let destination = address.network();
    let zero_network = destination.address().octets()[0] == 0;
    if interface == InterfaceId::LOOPBACK || address.prefix_len() == 32 || zero_network {
        return None;
    }
    Some(Route {
        destination,
        kind: RouteKind::Unicast { interface, gateway: None, onlink: false },
        metric: 0,
        source: Some(address.address()),
        scope: Scope::Link,
        protocol: RouteProtocol::Kernel,
        metrics: RouteMetrics::default(),
    })
}

#[cfg(test)]
mod tests;
