//! `ip route`: the main routing table.

use super::{Family, Options, route_get, unknown_command};
use crate::{
    command::{
        Action, Failure, Session,
        argument::{self, Arguments, abbreviates, device, number},
        job::{Job, Progress},
        print::Printer,
    },
    config::{
        Config,
        interface::Scope,
        route::{
            NewRoute, Route, RouteAction, RouteKind, RouteKindName, RouteMetrics, RouteMode, RouteProtocol,
            RouteSelector,
        },
    },
    router::Router,
};
use alloc::{string::String, vec::Vec};
use smoltcp::wire::Ipv4Cidr;

/// Routes that are written in one go.
const CHUNK: usize = 64;

pub fn parse(options: Options, mut words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let Some(command) = words.next() else { return show(options, words, config) };
    match command {
        "chg" => set(words, config, RouteMode::Change),
        "lst" => show(options, words, config),
        _ if abbreviates(command, "add") => set(words, config, RouteMode::Add),
        _ if abbreviates(command, "change") => set(words, config, RouteMode::Change),
        _ if abbreviates(command, "replace") => set(words, config, RouteMode::Replace),
        _ if abbreviates(command, "prepend") => set(words, config, RouteMode::Prepend),
        _ if abbreviates(command, "append") => set(words, config, RouteMode::Append),
        _ if abbreviates(command, "delete") => delete(words, config),
        _ if abbreviates(command, "show") || abbreviates(command, "list") => show(options, words, config),
        _ if abbreviates(command, "get") => route_get::parse(options, words, config),
        _ if abbreviates(command, "flush") => flush(words, config),
        _ if abbreviates(command, "help") => Ok(Action::print(USAGE)),
        _ => Err(unknown_command(command, "route")),
    }
}

const USAGE: &str = "Usage: ip route { add | append | change | del | prepend | replace } [ TYPE ] PREFIX [ via ADDRESS ] [ dev DEVICE ]
                  [ onlink ] [ metric NUMBER ] [ src ADDRESS ] [ scope SCOPE ] [ proto PROTOCOL ]
                  [ mtu [ lock ] NUMBER ] [ advmss [ lock ] NUMBER ]
       ip route { show | flush } [ [ root | match | exact ] PREFIX ] [ dev DEVICE ] [ via ADDRESS ] [ src ADDRESS ]
                  [ metric NUMBER ] [ type TYPE ] [ scope SCOPE ] [ proto PROTOCOL ]
       ip route get ADDRESS [ from ADDRESS ] [ iif DEVICE ] [ oif DEVICE ]
TYPE := { unicast | blackhole | unreachable | prohibit }
SCOPE := { global | link | host }
PROTOCOL := { kernel | boot | static | dhcp }";

/// What the words about one route say.
#[derive(Default)]
struct Description {
    destination: Option<Ipv4Cidr>,
    onlink: bool,
    selector: RouteSelector,
}

impl Description {
    fn parse(mut words: Arguments<'_>, config: &Config) -> Result<Self, Failure> {
        let mut it = Self::default();
        while let Some(word) = words.next() {
            match word {
                "src" => it.selector.source = Some(argument::address(words.value()?)?),
                "via" => {
                    let mut value = words.value()?;
                    if value == "inet" {
                        value = words.value()?;
                    }
                    it.selector.gateway = Some(argument::address(value)?);
                }
                "dev" | "oif" => it.selector.interface = Some(device(words.value()?, config)?),
                "onlink" => it.onlink = true,
                "scope" => it.selector.scope = Some(scope(words.value()?)?),
                "proto" | "protocol" => it.selector.protocol = Some(protocol(words.value()?)?),
                "metric" | "priority" | "preference" => it.selector.metric = Some(metric(words.value()?)?),
                "table" => main_table(words.value()?)?,
                "mtu" | "advmss" => {
                    let locked = words.peek() == Some("lock");
                    if locked {
                        words.next();
                    }
                    let value = words.value()?;
                    let name = if word == "mtu" { "mtu" } else { "mss" };
                    let number: u32 = number(value)
                        .ok_or_else(|| Failure::wrong(value, format_args!("\"{name}\" value is invalid")))?;
                    let metrics = &mut it.selector.metrics;
                    if word == "mtu" {
                        metrics.mtu = number.min(RouteMetrics::MTU_MAX.into()) as u16;
                        metrics.mtu_locked |= locked;
                    } else {
                        metrics.advmss = number.min(RouteMetrics::ADVMSS_MAX.into()) as u16;
                        metrics.advmss_locked |= locked;
                    }
                }
                "tos" | "dsfield" | "nexthop" | "nhid" | "encap" | "from" | "as" | "expires" | "window"
                | "rtt" | "hoplimit" | "initcwnd" | "initrwnd" | "realms" | "weight" | "pervasive"
                | "pref" | "features" | "quickack" | "congctl" | "cwnd" | "ssthresh" => {
                    return Err(Failure::unsupported(word));
                }
                _ => {
                    let mut value = if word == "to" { words.value()? } else { word };
                    if let Some(kind) = kind(value)? {
                        it.selector.kind = Some(kind);
                        value = words.value()?;
                    }
                    if it.destination.is_some() {
                        return Err(Failure::garbage("to", value));
                    }
                    it.destination = Some(argument::prefix(value)?);
                }
            }
        }
        Ok(it)
    }
}

fn set(words: Arguments<'_>, config: &Config, mode: RouteMode) -> Result<Action, Failure> {
    let Description { destination, onlink, selector } = Description::parse(words, config)?;
    let Some(destination) = destination else { return Err(Failure::new(255, first_line(USAGE))) };
    let RouteSelector { interface, gateway, .. } = selector;
    let action = match selector.kind.unwrap_or(RouteKindName::Unicast) {
        RouteKindName::Unicast => {
            // 0.0.0.0 is no gateway.
            let gateway = gateway.filter(|gateway| !gateway.is_unspecified());
            RouteAction::Unicast { interface, gateway, onlink }
        }
        _ if interface.is_some() || gateway.is_some() => {
            let text = "Error: Gateway, device and multipath can not be specified for this route type.";
            return Err(Failure::new(2, text));
        }
        RouteKindName::Blackhole => RouteAction::Blackhole,
        RouteKindName::Unreachable => RouteAction::Unreachable,
        RouteKindName::Prohibit => RouteAction::Prohibit,
    };
    let new = NewRoute {
        destination,
        action,
        metric: selector.metric.unwrap_or(0),
        source: selector.source,
        scope: selector.scope,
        protocol: selector.protocol.unwrap_or(RouteProtocol::Boot),
        metrics: selector.metrics,
    };
    Ok(Action::edit(move |config| config.add_route(&new, mode)))
}

fn delete(words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let Description { destination, mut selector, .. } = Description::parse(words, config)?;
    let Some(destination) = destination else { return Err(Failure::new(255, first_line(USAGE))) };
    // As on Linux, metric 0 means any.
    selector.metric = selector.metric.filter(|&metric| metric != 0);
    Ok(Action::edit(move |config| config.delete_route(destination, &selector)))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn kind(word: &str) -> Result<Option<RouteKindName>, Failure> {
    Ok(match word {
        "unicast" => Some(RouteKindName::Unicast),
        "blackhole" => Some(RouteKindName::Blackhole),
        "unreachable" => Some(RouteKindName::Unreachable),
        "prohibit" => Some(RouteKindName::Prohibit),
        "local" | "broadcast" | "multicast" | "throw" | "nat" | "anycast" => {
            return Err(Failure::unsupported(word));
        }
        _ => None,
    })
}

fn kind_text(kind: RouteKindName) -> &'static str {
    match kind {
        RouteKindName::Unicast => "unicast",
        RouteKindName::Blackhole => "blackhole",
        RouteKindName::Unreachable => "unreachable",
        RouteKindName::Prohibit => "prohibit",
    }
}

fn protocol(word: &str) -> Result<RouteProtocol, Failure> {
    match word {
        "kernel" | "2" => Ok(RouteProtocol::Kernel),
        "boot" | "3" => Ok(RouteProtocol::Boot),
        "static" | "4" => Ok(RouteProtocol::Static),
        "dhcp" | "16" => Ok(RouteProtocol::Dhcp),
        _ => Err(Failure::wrong(word, "\"protocol\" value is invalid")),
    }
}

/// The word for who made a route.
pub fn protocol_text(protocol: RouteProtocol) -> &'static str {
    match protocol {
        RouteProtocol::Kernel => "kernel",
        RouteProtocol::Boot => "boot",
        RouteProtocol::Static => "static",
        RouteProtocol::Dhcp => "dhcp",
    }
}

fn scope(word: &str) -> Result<Scope, Failure> {
    argument::scope(word).ok_or_else(|| Failure::wrong(word, "\"scope\" value is invalid"))
}

fn metric(word: &str) -> Result<u32, Failure> {
    number(word).ok_or_else(|| Failure::wrong(word, "\"metric\" value is invalid"))
}

/// There is one table.
fn main_table(word: &str) -> Result<(), Failure> {
    match word {
        "main" | "254" | "all" => Ok(()),
        _ if number(word).is_some() || matches!(word, "local" | "default") => {
            Err(Failure::new(2, "Error: ipv4: FIB table does not exist."))
        }
        _ => Err(Failure::wrong(word, "table id value is invalid")),
    }
}

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

#[derive(Clone, Default)]
struct Selection {
    range: Option<Range>,
    selector: RouteSelector,
}

impl Selection {
    fn parse(mut words: Arguments<'_>, config: &Config) -> Result<Self, Failure> {
        let mut it = Self::default();
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
                "table" => main_table(words.value()?)?,
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

    fn means(&self, route: &Route) -> bool {
        let destination = route.destination;
        let in_range = match self.range {
            None => true,
            Some(Range::Exact(wanted)) => destination == wanted,
            Some(Range::Root(root)) => root.contains_subnet(&destination),
            Some(Range::Match(inner)) => destination.contains_subnet(&inner),
        };
        in_range && self.selector.matches(route)
    }
}

fn flush(words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    match words.peek() {
        None => return Err(Failure::new(1, "\"ip route flush\" requires arguments.")),
        // The cache of routes went with Linux 3.6, but scripts still flush it.
        Some("cache") => return Ok(Action::print("")),
        Some(_) => {}
    }
    let selection = Selection::parse(words, config)?;
    Ok(Action::edit(move |config| Ok::<_, Failure>(config.flush_routes(|route| selection.means(route)))))
}

fn show(options: Options, words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let selection = Selection::parse(words, config)?;
    Ok(Action::job(Listing { printer: Printer::new(options), selection, next: 0 }))
}

/// A listing under way.
struct Listing {
    printer: Printer,
    selection: Selection,
    /// The next route to look at.
    next: usize,
}

impl Job for Listing {
    fn step(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Progress {
        let config = session.router.config();
        let chunk: Vec<&Route> = config.routes.iter().skip(self.next).take(CHUNK).collect();
        self.next += chunk.len();
        if matches!(self.printer.options().family, Family::Any | Family::Inet) {
            for &route in chunk.iter().filter(|route| self.selection.means(route)) {
                entry(&mut self.printer, route, &self.selection.selector, session.router);
            }
        }
        if chunk.is_empty() {
            self.printer.finish();
        }
        out.push_str(&self.printer.take());
        if chunk.is_empty() { Progress::Done(0) } else { Progress::More }
    }
}

/// One route, without what the selector says already.
fn entry(printer: &mut Printer, route: &Route, selector: &RouteSelector, router: &Router) {
    let config = router.config();
    let details = printer.options().details;
    printer.open_object("");
    if route.kind_name() != RouteKindName::Unicast || details {
        printer.string("type", "", kind_text(route.kind_name()), " ");
    }
    destination(printer, route.destination);
    let mut onlink = false;
    let mut linkdown = false;
    if let RouteKind::Unicast { interface, gateway, onlink: flag } = route.kind {
        onlink = flag;
        linkdown = !router.carrier(interface);
        if let Some(gateway) = gateway.filter(|_| selector.gateway.is_none()) {
            printer.string("gateway", "via ", gateway, " ");
        }
        if selector.interface.is_none() {
            printer.string("dev", "dev ", config.name(interface), " ");
        }
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
    printer.open_array("flags");
    for (name, _) in [("onlink", onlink), ("linkdown", linkdown)].into_iter().filter(|flag| flag.1) {
        printer.element(name);
        printer.text(format_args!("{name} "));
    }
    printer.close_array();
    metrics(printer, &route.metrics);
    printer.text("\n");
    printer.close_object();
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
