//! Routes: `ip route add`, `replace`, `del` and `flush`, with the checks of Linux's fib_semantics.

mod list;

use super::{Change, Config, ConfigError, StaleRoutes, interface::Scope};
use crate::interface::InterfaceId;
pub use list::Routes;
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};

/// What a change of the routes to one network makes stale.
fn changed(destination: Ipv4Cidr) -> Change {
    Change { routes: StaleRoutes::To(destination), ..Change::NONE }
}

/// A route of the main table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Destination network; `0.0.0.0/0` is `default`.
    pub destination: Ipv4Cidr,
    /// What happens to a packet that takes it.
    pub kind: RouteKind,
    /// Lowest wins among routes for the same network.
    pub metric: u32,
    /// Preferred source address of what the router itself sends along it.
    pub source: Option<Ipv4Address>,
    /// Scope.
    pub scope: Scope,
    /// Who made it.
    pub protocol: RouteProtocol,
    /// What it says of the packets that take it.
    pub metrics: RouteMetrics,
}

/// What a route says of the packets that take it (`RTAX_*`); 0: nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RouteMetrics {
    /// `mtu N`: the largest packet, in bytes, where it is smaller than what the interface carries.
    pub mtu: u16,
    /// `mtu lock N`: shown, and nothing else, for the router itself does no path MTU discovery.
    pub mtu_locked: bool,
    /// `advmss N`: the largest segment that the router's own TCP connections ask for, in bytes.
    pub advmss: u16,
    /// `advmss lock N`: shown, and nothing else.
    pub advmss_locked: bool,
}

impl RouteMetrics {
    /// The largest MTU (Linux's `65535 - 15`).
    pub const MTU_MAX: u16 = u16::MAX - 15;
    /// The largest segment (Linux's `65535 - 40`).
    pub const ADVMSS_MAX: u16 = u16::MAX - 40;

    /// Whether a route with these is meant where `wanted` was said; what is 0 there was not.
    fn fit(self, wanted: Self) -> bool {
        let locks = |it: Self| (it.mtu_locked, it.advmss_locked);
        (wanted.mtu == 0 || wanted.mtu == self.mtu)
            && (wanted.advmss == 0 || wanted.advmss == self.advmss)
            && (locks(wanted) == (false, false) || locks(wanted) == locks(self))
    }
}

/// What a route does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteKind {
    /// Sends along.
    Unicast {
        /// Out of this interface.
        interface: InterfaceId,
        /// To this router; `None`: the destination is on the link.
        gateway: Option<Ipv4Address>,
        /// The gateway need not be in a network of the interface.
        onlink: bool,
    },
    /// Drops silently.
    Blackhole,
    /// Drops, and says ICMP 3/1 (host unreachable).
    Unreachable,
    /// Drops, and says ICMP 3/13 (administratively prohibited).
    Prohibit,
}

/// Who made a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteProtocol {
    /// It follows from an address (`proto kernel`).
    Kernel,
    /// A person, without saying more (`proto boot`, not printed).
    Boot,
    /// A person, with `proto static`.
    Static,
    /// A DHCP client (`proto dhcp`).
    Dhcp,
}

/// What one `ip route add` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewRoute {
    /// Destination network.
    pub destination: Ipv4Cidr,
    /// What happens to a packet that takes it.
    pub action: RouteAction,
    /// `metric N`
    pub metric: u32,
    /// `src ADDRESS`
    pub source: Option<Ipv4Address>,
    /// `scope SCOPE`; `None`: link where there is no gateway, else global.
    pub scope: Option<Scope>,
    /// `proto PROTOCOL`
    pub protocol: RouteProtocol,
    /// `mtu N`, `advmss N`
    pub metrics: RouteMetrics,
}

impl NewRoute {
    /// What makes `route` once more.
    pub fn again(route: &Route) -> Self {
        let action = match route.kind {
            RouteKind::Unicast { interface, gateway, onlink } => {
                RouteAction::Unicast { interface: Some(interface), gateway, onlink }
            }
            RouteKind::Blackhole => RouteAction::Blackhole,
            RouteKind::Unreachable => RouteAction::Unreachable,
            RouteKind::Prohibit => RouteAction::Prohibit,
        };
        let Route { destination, metric, source, scope, protocol, metrics, .. } = *route;
        Self { destination, action, metric, source, scope: Some(scope), protocol, metrics }
    }
}

/// What a new route is to do, before it is known where its gateway is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteAction {
    /// Sends along.
    Unicast {
        /// `dev DEV`
        interface: Option<InterfaceId>,
        /// `via ADDRESS`
        gateway: Option<Ipv4Address>,
        /// `onlink`
        onlink: bool,
    },
    /// `blackhole`
    Blackhole,
    /// `unreachable`
    Unreachable,
    /// `prohibit`
    Prohibit,
}

/// What is done where there is a route for the same network and metric, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteMode {
    /// `add`: there must be none.
    Add,
    /// `replace`: the first of them, or a new one.
    Replace,
    /// `change`: the first of them.
    Change,
    /// `append`: behind them.
    Append,
    /// `prepend`: in front of them.
    Prepend,
}

/// A part of the routes; a field that is `None`, or a number that is 0, matches every route.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[allow(missing_docs)]
pub struct RouteSelector {
    pub kind: Option<RouteKindName>,
    pub interface: Option<InterfaceId>,
    pub gateway: Option<Ipv4Address>,
    pub metric: Option<u32>,
    pub source: Option<Ipv4Address>,
    pub scope: Option<Scope>,
    pub protocol: Option<RouteProtocol>,
    pub metrics: RouteMetrics,
}

/// The word that stands before a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum RouteKindName {
    Unicast,
    Blackhole,
    Unreachable,
    Prohibit,
}

/// A neighbour that never changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StaticNeighbor {
    /// On the link of this interface.
    pub interface: InterfaceId,
    /// Its IP address.
    pub address: Ipv4Address,
    /// Its MAC address.
    pub mac: EthernetAddress,
}

impl Route {
    /// The word that stands before it.
    pub fn kind_name(&self) -> RouteKindName {
        match self.kind {
            RouteKind::Unicast { .. } => RouteKindName::Unicast,
            RouteKind::Blackhole => RouteKindName::Blackhole,
            RouteKind::Unreachable => RouteKindName::Unreachable,
            RouteKind::Prohibit => RouteKindName::Prohibit,
        }
    }

    /// The interface it sends out of.
    pub fn interface(&self) -> Option<InterfaceId> {
        match self.kind {
            RouteKind::Unicast { interface, .. } => Some(interface),
            _ => None,
        }
    }

    /// The router it sends to.
    pub fn gateway(&self) -> Option<Ipv4Address> {
        match self.kind {
            RouteKind::Unicast { gateway, .. } => gateway,
            _ => None,
        }
    }

    /// The order of `ip route`: by network, longer prefixes first, then by metric.
    fn key(&self) -> (u32, u8, u32) {
        key(self.destination, self.metric)
    }
}

fn key(destination: Ipv4Cidr, metric: u32) -> (u32, u8, u32) {
    (destination.address().to_bits(), 32 - destination.prefix_len(), metric)
}

impl RouteSelector {
    /// Whether `route` is meant.
    pub fn matches(&self, route: &Route) -> bool {
        fn fits<T: PartialEq>(wanted: Option<T>, have: Option<T>) -> bool {
            wanted.is_none() || wanted == have
        }
        fits(self.kind, Some(route.kind_name()))
            && fits(self.interface, route.interface())
            && fits(self.gateway, route.gateway())
            && fits(self.metric, Some(route.metric))
            && fits(self.source, route.source)
            && fits(self.scope, Some(route.scope))
            && fits(self.protocol, Some(route.protocol))
            && route.metrics.fit(self.metrics)
    }
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
        let mut present = self.routes.to(new.destination).filter(|other| other.metric == new.metric);
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
                self.routes.replace_first(route);
                return Ok(changed(new.destination));
            }
            _ => {}
        }
        if self.routes.is_full() {
            return Err(ConfigError::new("RTNETLINK answers: No buffer space available"));
        }
        self.routes.insert(route, mode == RouteMode::Prepend);
        Ok(changed(new.destination))
    }

    /// Takes the first route away that leads to `destination` and fits `selector`.
    ///
    /// # Errors
    /// There is none.
    pub fn delete_route(
        &mut self,
        destination: Ipv4Cidr,
        selector: &RouteSelector,
    ) -> Result<Change, ConfigError> {
        match self.routes.remove_first(destination, |route| selector.matches(route)) {
            Some(_) => Ok(changed(destination)),
            None => Err(ConfigError::new("RTNETLINK answers: No such process")),
        }
    }

    /// Takes all routes away that `wanted` names.
    pub fn flush_routes(&mut self, wanted: impl Fn(&Route) -> bool) -> Change {
        self.routes.retain(|route| !wanted(route));
        Change { routes: StaleRoutes::All, ..Change::NONE }
    }

    /// Which route to exactly this network is used: the first one in order whose interface is up.
    pub fn route_in_use(&self, network: Ipv4Cidr) -> Option<&Route> {
        self.routes.to(network).find(|route| route.interface().is_none_or(|id| self.interface(id).up))
    }

    /// The route that leads to `address`.
    pub fn route_towards(&self, address: Ipv4Address) -> Option<&Route> {
        let mut networks = (0..=32).rev().map(|length| Ipv4Cidr::new(address, length).network());
        networks.find_map(|network| self.route_in_use(network))
    }

    /// Whether a route leads anywhere now, apart from those that are there already.
    pub fn accepts_route(&self, new: &NewRoute) -> bool {
        self.check_route(new).is_ok()
    }

    /// Finds out where a new route leads.
    fn check_route(&self, new: &NewRoute) -> Result<Route, ConfigError> {
        let refuse = |text: &str| Err(ConfigError::new(text));
        let mut scope = new.scope.unwrap_or_default();
        let kind = match new.action {
            RouteAction::Blackhole => RouteKind::Blackhole,
            RouteAction::Unreachable => RouteKind::Unreachable,
            RouteAction::Prohibit => RouteKind::Prohibit,
            RouteAction::Unicast { interface: None, gateway: None, .. } => {
                return refuse("RTNETLINK answers: No such device");
            }
            RouteAction::Unicast { interface: None, onlink: true, .. } => {
                return refuse("Error: Nexthop device required for onlink.");
            }
            RouteAction::Unicast { gateway: None, onlink: true, .. } => {
                return refuse("Error: Invalid flags for nexthop - PERVASIVE and ONLINK can not be set.");
            }
            RouteAction::Unicast { interface: Some(interface), gateway: None, .. } => {
                if !self.interface(interface).up {
                    return refuse("Error: Device for nexthop is not up.");
                }
                scope = new.scope.unwrap_or(Scope::Link);
                RouteKind::Unicast { interface, gateway: None, onlink: false }
            }
            RouteAction::Unicast { interface: Some(interface), gateway: Some(gateway), onlink: true } => {
                if scope != Scope::Global {
                    return refuse("Error: Nexthop has invalid scope.");
                }
                if !self.interface(interface).up {
                    return refuse("Error: Nexthop device is not up.");
                }
                if !self.may_be_gateway(gateway) {
                    return refuse("Error: Nexthop has invalid gateway.");
                }
                RouteKind::Unicast { interface, gateway: Some(gateway), onlink: true }
            }
            RouteAction::Unicast { interface, gateway: Some(gateway), onlink: false } => {
                let reached = if scope == Scope::Global { self.link_of(gateway, interface) } else { None };
                match reached {
                    Some(interface) if self.may_be_gateway(gateway) => {
                        RouteKind::Unicast { interface, gateway: Some(gateway), onlink: false }
                    }
                    _ => return refuse("Error: Nexthop has invalid gateway."),
                }
            }
        };
        if new.source.is_some_and(|source| !self.is_local(source)) {
            return refuse("Error: Invalid prefsrc address.");
        }
        let NewRoute { destination, metric, source, protocol, metrics, .. } = *new;
        Ok(Route { destination, kind, metric, source, scope, protocol, metrics })
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

    /// The interface on whose link `address` is, by the longest route of a narrow scope.
    fn link_of(&self, address: Ipv4Address, through: Option<InterfaceId>) -> Option<InterfaceId> {
        (0..=32).rev().find_map(|prefix_len| {
            let network = Ipv4Cidr::new(address, prefix_len).network();
            self.routes
                .to(network)
                .filter(|route| route.scope != Scope::Global)
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
            self.routes.remove_first(route.destination, |other| *other == route);
        }
    }

    pub(super) fn remove_routes_of(&mut self, id: InterfaceId) {
        self.routes.retain(|route| route.interface() != Some(id));
    }

    /// Takes away what names a gateway that a new address has made a broadcast address.
    pub(super) fn remove_routes_by_broadcast(&mut self) {
        let mut routes = core::mem::take(&mut self.routes);
        routes.retain(|route| route.gateway().is_none_or(|gateway| self.may_be_gateway(gateway)));
        self.routes = routes;
    }

    /// Takes away what names a source that is no address of the router any more.
    pub(super) fn remove_routes_without_source(&mut self) {
        let mut routes = core::mem::take(&mut self.routes);
        routes.retain(|route| route.source.is_none_or(|source| self.is_local(source)));
        self.routes = routes;
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
