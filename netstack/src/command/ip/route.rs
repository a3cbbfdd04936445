//! `ip route`: what is said of routes, and changes of the routing tables.

use super::{Options, route_get, route_show, unknown_command};
use crate::{
    command::{
        Action, Failure,
        argument::{self, Arguments, abbreviates, device, number},
    },
    config::{
        Config,
        interface::Scope,
        policy::TableId,
        route::{
            NewHop, NewRoute, RouteAction, RouteKindName, RouteMetrics, RouteMode, RouteProtocol,
            RouteSelector,
        },
    },
};
use alloc::vec::Vec;
use smoltcp::wire::Ipv4Cidr;

pub fn parse(options: Options, mut words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let Some(command) = words.next() else { return route_show::show(options, words, config) };
    match command {
        "chg" => set(words, config, RouteMode::Change),
        "lst" => route_show::show(options, words, config),
        _ if abbreviates(command, "add") => set(words, config, RouteMode::Add),
        _ if abbreviates(command, "change") => set(words, config, RouteMode::Change),
        _ if abbreviates(command, "replace") => set(words, config, RouteMode::Replace),
        _ if abbreviates(command, "prepend") => set(words, config, RouteMode::Prepend),
        _ if abbreviates(command, "append") => set(words, config, RouteMode::Append),
        _ if abbreviates(command, "delete") => delete(words, config),
        _ if abbreviates(command, "show") || abbreviates(command, "list") => {
            route_show::show(options, words, config)
        }
        _ if abbreviates(command, "get") => route_get::parse(options, words, config),
        _ if abbreviates(command, "flush") => route_show::flush(words, config),
        _ if abbreviates(command, "help") => Ok(Action::print(USAGE)),
        _ => Err(unknown_command(command, "route")),
    }
}

const USAGE: &str = "Usage: ip route { add | append | change | del | prepend | replace } [ TYPE ] PREFIX [ WAY | nexthop WAY [ weight NUMBER ] .. ]
                  [ metric NUMBER ] [ src ADDRESS ] [ scope SCOPE ] [ proto PROTOCOL ] [ table TABLE ]
                  [ mtu [ lock ] NUMBER ] [ advmss [ lock ] NUMBER ]
       ip route { show | flush } [ [ root | match | exact ] PREFIX ] [ dev DEVICE ] [ via ADDRESS ] [ src ADDRESS ]
                  [ metric NUMBER ] [ type TYPE ] [ scope SCOPE ] [ proto PROTOCOL ] [ table { TABLE | all } ]
       ip route get ADDRESS [ from ADDRESS ] [ iif DEVICE ] [ oif DEVICE ] [ mark NUMBER ]
WAY := [ via ADDRESS ] [ dev DEVICE ] [ onlink ]
TYPE := { unicast | blackhole | unreachable | prohibit | throw }
SCOPE := { global | link | host }
TABLE := { main | local | default | NUMBER }
PROTOCOL := { kernel | boot | static | dhcp }";

/// What the words about one route say.
#[derive(Default)]
struct Description {
    destination: Option<Ipv4Cidr>,
    onlink: bool,
    table: Option<TableId>,
    selector: RouteSelector,
}

impl Description {
    fn parse(mut words: Arguments<'_>, config: &Config) -> Result<Self, Failure> {
        let mut it = Self::default();
        while let Some(word) = words.next() {
            match word {
                "src" => it.selector.source = Some(argument::address(words.value()?)?),
                "via" => it.selector.gateway = Some(gateway(&mut words)?),
                "dev" | "oif" => it.selector.interface = Some(device(words.value()?, config)?),
                "onlink" => it.onlink = true,
                "scope" => it.selector.scope = Some(scope(words.value()?)?),
                "proto" | "protocol" => it.selector.protocol = Some(protocol(words.value()?)?),
                "metric" | "priority" | "preference" => it.selector.metric = Some(metric(words.value()?)?),
                "table" => it.table = Some(changeable_table(words.value()?)?),
                "mtu" | "advmss" => metrics(word, &mut words, &mut it.selector.metrics)?,
                "nexthop" => it.selector.hops = hops(&mut words, config)?,
                "tos" | "dsfield" | "nhid" | "encap" | "from" | "as" | "expires" | "window" | "rtt"
                | "hoplimit" | "initcwnd" | "initrwnd" | "realms" | "weight" | "pervasive" | "pref"
                | "features" | "quickack" | "congctl" | "cwnd" | "ssthresh" => {
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

fn gateway(words: &mut Arguments<'_>) -> Result<smoltcp::wire::Ipv4Address, Failure> {
    let value = words.value()?;
    argument::address(if value == "inet" { words.value()? } else { value })
}

/// `mtu` or `advmss`, with `lock` or without.
fn metrics(word: &str, words: &mut Arguments<'_>, metrics: &mut RouteMetrics) -> Result<(), Failure> {
    let mut value = words.value()?;
    let locked = value == "lock";
    if locked {
        value = words.value()?;
    }
    let name = if word == "mtu" { "mtu" } else { "mss" };
    let wrong = || Failure::wrong(value, format_args!("\"{name}\" value is invalid"));
    let number = number(value).ok_or_else(wrong)?;
    if word == "mtu" {
        metrics.mtu = number.min(RouteMetrics::MTU_MAX.into()) as u16;
        metrics.mtu_locked |= locked;
    } else {
        metrics.advmss = number.min(RouteMetrics::ADVMSS_MAX.into()) as u16;
        metrics.advmss_locked |= locked;
    }
    Ok(())
}

/// What stands behind the first `nexthop`, to the end of the line.
fn hops(words: &mut Arguments<'_>, config: &Config) -> Result<Vec<NewHop>, Failure> {
    let mut hops = Vec::new();
    loop {
        if words.peek().is_none() {
            return Err(Failure::new(255, "Error: unexpected end of line after \"nexthop\""));
        }
        let mut hop = NewHop { interface: None, gateway: None, onlink: false, weight: 1 };
        loop {
            match words.next() {
                Some("via") => hop.gateway = Some(gateway(words)?),
                Some("dev") => hop.interface = Some(device(words.value()?, config)?),
                Some("onlink") => hop.onlink = true,
                Some("weight") => {
                    let value = words.value()?;
                    let weight = number(value).filter(|weight| (1..=256).contains(weight));
                    hop.weight = weight.ok_or_else(|| Failure::wrong(value, "\"weight\" is invalid"))? as u16;
                }
                Some("nexthop") => break hops.push(hop),
                None => {
                    hops.push(hop);
                    return Ok(hops);
                }
                Some(word @ ("realms" | "encap" | "as")) => return Err(Failure::unsupported(word)),
                Some(word) => {
                    let text = "\"nexthop\" or end of line is expected instead of";
                    return Err(Failure::new(255, alloc::format!("Error: {text} \"{word}\"")));
                }
            }
        }
    }
}

fn set(words: Arguments<'_>, config: &Config, mode: RouteMode) -> Result<Action, Failure> {
    let Description { destination, onlink, table, selector } = Description::parse(words, config)?;
    let Some(destination) = destination else { return Err(Failure::new(255, first_line(USAGE))) };
    let RouteSelector { interface, mut scope, hops, .. } = selector;
    // 0.0.0.0 is no gateway.
    let gateway = selector.gateway.filter(|gateway| !gateway.is_unspecified());
    let given = interface.is_some() || selector.gateway.is_some() || !hops.is_empty();
    let action = match selector.kind.unwrap_or(RouteKindName::Unicast) {
        RouteKindName::Unicast => match &hops[..] {
            [] => RouteAction::Unicast(NewHop { interface, gateway, onlink, weight: 1 }),
            [first, ..] if gateway.is_some() && gateway != first.gateway => {
                return Err(Failure::new(2, "Error: Nexthop gateway does not match RTA_GATEWAY or RTA_VIA."));
            }
            [first, ..] if interface.is_some() && interface != first.interface => {
                return Err(Failure::new(2, "Error: Nexthop device index does not match RTA_OIF."));
            }
            [only] => {
                scope = scope.or(Some(Scope::Global));
                RouteAction::Unicast(*only)
            }
            _ => RouteAction::Multipath(hops),
        },
        _ if given => {
            let text = "Error: Gateway, device and multipath can not be specified for this route type.";
            return Err(Failure::new(2, text));
        }
        RouteKindName::Blackhole => RouteAction::Blackhole,
        RouteKindName::Unreachable => RouteAction::Unreachable,
        RouteKindName::Prohibit => RouteAction::Prohibit,
        RouteKindName::Throw => RouteAction::Throw,
    };
    let new = NewRoute {
        table: table.unwrap_or(TableId::MAIN),
        destination,
        action,
        metric: selector.metric.unwrap_or(0),
        source: selector.source,
        scope,
        protocol: selector.protocol.unwrap_or(RouteProtocol::Boot),
        metrics: selector.metrics,
    };
    Ok(Action::edit(move |config| config.add_route(&new, mode)))
}

fn delete(words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let Description { destination, table, mut selector, .. } = Description::parse(words, config)?;
    let Some(destination) = destination else { return Err(Failure::new(255, first_line(USAGE))) };
    // As on Linux, metric 0 means any.
    selector.metric = selector.metric.filter(|&metric| metric != 0);
    let table = table.unwrap_or(TableId::MAIN);
    Ok(Action::edit(move |config| config.delete_route(table, destination, &selector)))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The word before a route, if it is one.
pub fn kind(word: &str) -> Result<Option<RouteKindName>, Failure> {
    Ok(match word {
        "unicast" => Some(RouteKindName::Unicast),
        "blackhole" => Some(RouteKindName::Blackhole),
        "unreachable" => Some(RouteKindName::Unreachable),
        "prohibit" => Some(RouteKindName::Prohibit),
        "throw" => Some(RouteKindName::Throw),
        "local" | "broadcast" | "multicast" | "nat" | "anycast" => {
            return Err(Failure::unsupported(word));
        }
        _ => None,
    })
}

pub fn kind_text(kind: RouteKindName) -> &'static str {
    match kind {
        RouteKindName::Unicast => "unicast",
        RouteKindName::Blackhole => "blackhole",
        RouteKindName::Unreachable => "unreachable",
        RouteKindName::Prohibit => "prohibit",
        RouteKindName::Throw => "throw",
    }
}

pub fn protocol(word: &str) -> Result<RouteProtocol, Failure> {
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

pub fn scope(word: &str) -> Result<Scope, Failure> {
    argument::scope(word).ok_or_else(|| Failure::wrong(word, "\"scope\" value is invalid"))
}

pub fn metric(word: &str) -> Result<u32, Failure> {
    number(word).ok_or_else(|| Failure::wrong(word, "\"metric\" value is invalid"))
}

/// A table that routes can be put into: that of the addresses is made of them.
fn changeable_table(word: &str) -> Result<TableId, Failure> {
    match argument::table(word) {
        Some(TableId::LOCAL) => Err(Failure::new(2, "Error: the table local follows from the addresses.")),
        Some(TableId(0)) => Ok(TableId::MAIN),
        Some(table) => Ok(table),
        None => Err(Failure::wrong(word, "\"table\" value is invalid")),
    }
}
