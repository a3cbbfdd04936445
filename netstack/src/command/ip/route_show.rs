//! `ip route show` and `flush`: which routes are meant, and how they are printed.

use super::{
    Family, Options,
    route::{kind, kind_text, metric, protocol, protocol_text, scope},
};
use crate::{
    command::{
        Action, Failure, Session,
        argument::{self, Arguments, device},
        job::{Job, Progress},
        print::Printer,
    },
    config::{
        Config,
        interface::Scope,
        policy::TableId,
        route::{Route, RouteKind, RouteKindName, RouteMetrics, RouteProtocol, RouteSelector},
    },
    interface::InterfaceId,
    router::Router,
};
use alloc::{string::String, vec::Vec};
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// Routes that are written in one go.
const CHUNK: usize = 64;

/// How a prefix selects routes.
#[derive(Clone, Copy)]
enum Range {
    /// Routes to exactly this network.
    Exact(Ipv4Cidr),
    /// Routes to this network or a part of it.
    Root(Ipv4Cidr),
    /// Routes to networks that contain this one.
    Match(Ipv4Cidr),
}

#[derive(Clone)]
struct Selection {
    /// `None`: all of them.
    table: Option<TableId>,
    range: Option<Range>,
    selector: RouteSelector,
}

impl Selection {
    fn parse(mut words: Arguments<'_>, config: &Config) -> Result<Self, Failure> {
        let mut it = Self { table: Some(TableId::MAIN), range: None, selector: RouteSelector::default() };
        while let Some(word) = words.next() {
            match word {
                "dev" | "oif" | "iif" => it.selector.interface = Some(device(words.value()?, config)?),
                "via" => it.selector.gateway = Some(argument::address(words.value()?)?),
                "src" => it.selector.source = Some(argument::address(words.value()?)?),
                "metric" | "priority" | "preference" => it.selector.metric = Some(metric(words.value()?)?),
                "proto" | "protocol" => {
                    let value = words.value()?;
                    it.selector.protocol = (value != "all").then(|| protocol(value)).transpose()?;
                }
                "scope" => {
                    let value = words.value()?;
                    it.selector.scope = (value != "all").then(|| scope(value)).transpose()?;
                }
                "type" => {
                    let value = words.value()?;
                    let known =
                        kind(value)?.ok_or_else(|| Failure::wrong(value, "node type value is invalid"))?;
                    it.selector.kind = Some(known);
                }
                "table" => it.table = shown_table(words.value()?)?,
                "cached" | "cloned" | "cache" | "tos" | "dsfield" | "mark" | "realms" | "from" | "vrf" => {
                    return Err(Failure::unsupported(word));
                }
                _ => {
                    let word = if word == "to" { words.value()? } else { word };
                    it.range = Some(match word {
                        "root" => Range::Root(argument::prefix(words.value()?)?),
                        "match" => Range::Match(argument::prefix(words.value()?)?),
                        "exact" => Range::Exact(argument::prefix(words.value()?)?),
                        _ => Range::Exact(argument::prefix(word)?),
                    });
                }
            }
        }
        Ok(it)
    }

    fn means(&self, table: TableId, route: &Route) -> bool {
        // A route with several ways has no interface and no gateway of its own.
        let several = !route.hops().is_empty();
        let way_is_said = self.selector.interface.is_some() || self.selector.gateway.is_some();
        self.table.is_none_or(|wanted| wanted == table)
            && self.in_range(route.destination)
            && !(several && way_is_said)
            && self.selector.matches(route)
    }

    fn in_range(&self, destination: Ipv4Cidr) -> bool {
        match self.range {
            None => true,
            Some(Range::Exact(wanted)) => destination == wanted,
            Some(Range::Root(root)) => root.contains_subnet(&destination),
            Some(Range::Match(inner)) => destination.contains_subnet(&inner),
        }
    }

    /// A table that nobody has named before does not exist.
    fn check_table(&self, config: &Config) -> Result<(), Failure> {
        match self.table {
            Some(table) if table != TableId::LOCAL && config.routes_of(table).is_none() => {
                Err(Failure::new(2, "Error: ipv4: FIB table does not exist."))
            }
            _ => Ok(()),
        }
    }
}

/// The table whose routes are meant; `None`: all of them.
fn shown_table(word: &str) -> Result<Option<TableId>, Failure> {
    match argument::table(word) {
        _ if word == "all" => Ok(None),
        Some(TableId(0)) => Ok(None),
        Some(table) => Ok(Some(table)),
        None => Err(Failure::wrong(word, "table id value is invalid")),
    }
}

pub fn flush(words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    match words.peek() {
        None => return Err(Failure::new(1, "\"ip route flush\" requires arguments.")),
        // The cache of routes went with Linux 3.6, but scripts still flush it.
        Some("cache") => return Ok(Action::print("")),
        Some(_) => {}
    }
    let selection = Selection::parse(words, config)?;
    Ok(Action::edit(move |config| {
        selection.check_table(config)?;
        Ok::<_, Failure>(config.flush_routes(|table, route| selection.means(table, route)))
    }))
}

pub fn show(options: Options, words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let selection = Selection::parse(words, config)?;
    selection.check_table(config)?;
    Ok(Action::job(Listing { printer: Printer::new(options), selection, next: 0 }))
}

/// A listing under way.
struct Listing {
    printer: Printer,
    selection: Selection,
    /// The next route to look at, of all tables one after the other.
    next: usize,
}

impl Job for Listing {
    fn step(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Progress {
        let config = session.router.config();
        let table = self.selection.table;
        let wanted = |id| table.is_none_or(|wanted| wanted == id);
        let tables = config.routing_tables().filter(|(id, _)| wanted(*id));
        let all = tables.flat_map(|(id, routes)| routes.iter().map(move |route| (id, route)));
        let chunk: Vec<_> = all.skip(self.next).take(CHUNK).collect();
        self.next += chunk.len();
        let ours = matches!(self.printer.options().family, Family::Any | Family::Inet);
        for (id, route) in chunk.iter().filter(|(id, route)| ours && self.selection.means(*id, route)) {
            entry(&mut self.printer, *id, route, &self.selection, session.router);
        }
        if chunk.is_empty() {
            if ours && wanted(TableId::LOCAL) {
                local_table(&mut self.printer, &self.selection, config);
            }
            self.printer.finish();
        }
        out.push_str(&self.printer.take());
        if chunk.is_empty() { Progress::Done(0) } else { Progress::More }
    }
}

/// The routes that follow from the addresses, as Linux's `fib_add_ifaddr` makes them.
fn local_table(printer: &mut Printer, selection: &Selection, config: &Config) {
    let RouteSelector { interface: device, source, kind, gateway, .. } = selection.selector;
    let mut routes: Vec<(Ipv4Cidr, bool, InterfaceId, Ipv4Address)> = Vec::new();
    for (id, interface) in config.interfaces().filter(|(id, _)| device.is_none_or(|wanted| wanted == *id)) {
        for address in interface.addresses.iter().filter(|it| source.is_none_or(|at| at == it.cidr.address()))
        {
            let own = address.cidr.address();
            let mut add = |network: Ipv4Cidr, local| {
                let key = |network: Ipv4Cidr| (network.address(), 32 - network.prefix_len());
                let place = routes.partition_point(|&(other, ..)| key(other) <= key(network));
                routes.insert(place, (network, local, id, own));
            };
            add(Ipv4Cidr::new(own, 32), true);
            if id == InterfaceId::LOOPBACK && interface.up && !address.secondary {
                add(address.cidr.network(), true);
            }
            let computed = address.cidr.broadcast().filter(|_| !address.secondary);
            for broadcast in [computed, address.broadcast].into_iter().flatten().filter(|_| interface.up) {
                add(Ipv4Cidr::new(broadcast, 32), false);
            }
        }
    }
    routes.dedup();
    for (network, local, id, own) in routes.into_iter().filter(|(network, ..)| selection.in_range(*network)) {
        if kind.is_some() || gateway.is_some() {
            continue;
        }
        printer.open_object("");
        printer.string("type", "", if local { "local" } else { "broadcast" }, " ");
        destination(printer, network);
        if device.is_none() {
            printer.string("dev", "dev ", config.name(id), " ");
        }
        if selection.table.is_none() {
            printer.string("table", "table ", "local", " ");
        }
        printer.string("protocol", "proto ", "kernel", " ");
        printer.string("scope", "scope ", if local { "host" } else { "link" }, " ");
        printer.string("prefsrc", "src ", own, " ");
        printer.open_array("flags");
        printer.close_array();
        printer.text("\n");
        printer.close_object();
    }
}

/// One route, without what the selection says already.
fn entry(printer: &mut Printer, table: TableId, route: &Route, selection: &Selection, router: &Router) {
    let (config, selector) = (router.config(), &selection.selector);
    let details = printer.options().details;
    printer.open_object("");
    if route.kind_name() != RouteKindName::Unicast || details {
        printer.string("type", "", kind_text(route.kind_name()), " ");
    }
    destination(printer, route.destination);
    let mut state = (false, false);
    if let &RouteKind::Unicast { interface, gateway, onlink } = &route.kind {
        state = (onlink, !router.carrier(interface));
        if let Some(gateway) = gateway.filter(|_| selector.gateway.is_none()) {
            printer.string("gateway", "via ", gateway, " ");
        }
        if selector.interface.is_none() {
            printer.string("dev", "dev ", config.name(interface), " ");
        }
    }
    if selection.table.is_none() && table != TableId::MAIN {
        printer.string("table", "table ", table, " ");
    }
    if selector.protocol.is_none() && (route.protocol != RouteProtocol::Boot || details) {
        printer.string("protocol", "proto ", protocol_text(route.protocol), " ");
    }
    if selector.scope.is_none() && (route.scope != Scope::Global || details) {
        printer.string("scope", "scope ", argument::scope_name(route.scope), " ");
    }
    if let Some(source) = route.source.filter(|_| selector.source.is_none()) {
        printer.string("prefsrc", "src ", source, " ");
    }
    if route.metric != 0 && selector.metric.is_none() {
        printer.number("metric", "metric ", route.metric.into(), " ");
    }
    flags(printer, [("onlink", state.0), ("dead", false), ("linkdown", state.1)]);
    metrics(printer, &route.metrics);
    hops(printer, route, router);
    printer.text("\n");
    printer.close_object();
}

fn flags(printer: &mut Printer, flags: [(&str, bool); 3]) {
    printer.open_array("flags");
    for (name, _) in flags.into_iter().filter(|flag| flag.1) {
        printer.element(name);
        printer.text(format_args!("{name} "));
    }
    printer.close_array();
}

/// The several ways of a route, each on a line of its own.
fn hops(printer: &mut Printer, route: &Route, router: &Router) {
    let config = router.config();
    if route.hops().is_empty() {
        return;
    }
    printer.open_array("nexthops");
    for hop in route.hops() {
        printer.open_object("");
        printer.line();
        printer.text("\tnexthop ");
        if let Some(gateway) = hop.gateway {
            printer.string("gateway", "via ", gateway, " ");
        }
        printer.string("dev", "dev ", config.name(hop.interface), " ");
        printer.number("weight", "weight ", hop.weight.into(), " ");
        let dead = !config.is_usable(hop.interface);
        let linkdown = dead || !router.carrier(hop.interface);
        flags(printer, [("onlink", hop.onlink), ("dead", dead), ("linkdown", linkdown)]);
        printer.close_object();
    }
    printer.close_array();
}

/// What a route says of the packets that take it.
pub fn metrics(printer: &mut Printer, metrics: &RouteMetrics) {
    let RouteMetrics { mtu, mtu_locked, advmss, advmss_locked } = *metrics;
    if mtu == 0 && advmss == 0 {
        return;
    }
    printer.open_array("metrics");
    printer.open_object("");
    for (name, value, locked) in [("mtu", mtu, mtu_locked), ("advmss", advmss, advmss_locked)] {
        if value != 0 {
            let lock = if locked { "lock " } else { "" };
            printer.text(format_args!("{name} {lock}{value} "));
            printer.json_number(name, value.into());
        }
    }
    printer.close_object();
    printer.close_array();
}

/// A destination as `ip route` shows it: `default`, a network, or a host without its length.
fn destination(printer: &mut Printer, cidr: Ipv4Cidr) {
    match cidr.prefix_len() {
        0 => printer.string("dst", "", "default", " "),
        32 => printer.string("dst", "", cidr.address(), " "),
        _ => printer.string("dst", "", cidr, " "),
    }
}
