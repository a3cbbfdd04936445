//! `config show`: the commands that make the present configuration out of that of a machine just switched on.

use super::{
    Action, Failure, Job, Progress, Session,
    argument::scope_name,
    ethtool,
    ip::{protocol_text, rule_text},
    ipset::SetListing,
    iptables::{LineSource, Save},
};
use crate::{
    config::{
        Config, PortInfo,
        address::NewAddress,
        interface::{Interface, InterfaceAddress, InterfaceKind, LinkChange, Scope},
        policy::{Policy, RoutingRule, TableId},
        route::{NewRoute, Route, RouteAction, RouteKind, RouteMetrics, RouteMode, RouteProtocol},
        rules::Tables,
    },
    interface::{InterfaceId, mac_text},
};
use alloc::{format, string::String, vec::Vec};
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// What is written in one go, at least.
const CHUNK: usize = 4096;

pub fn parse(words: &[String], _: &Config) -> Result<Action, Failure> {
    match words {
        [command] if command == "show" => Ok(Action::job(Show { text: String::new(), written: 0 })),
        [] => Err(Failure::new(1, "config: what? `config show`")),
        [other, ..] => Err(Failure::new(1, format!("config: unexpected argument '{other}'"))),
    }
}

struct Show {
    text: String,
    written: usize,
}

impl Job for Show {
    fn step(&mut self, session: &mut Session<'_, '_>, out: &mut String) -> Progress {
        if self.text.is_empty() {
            self.text = commands(session.router.config());
        }
        let rest = &self.text[self.written..];
        let end =
            rest.get(CHUNK..).and_then(|behind| behind.find('\n')).map_or(rest.len(), |end| CHUNK + end + 1);
        out.push_str(&rest[..end]);
        self.written += end;
        if self.written == self.text.len() { Progress::Done(0) } else { Progress::More }
    }
}

/// The commands, one on a line. What lets packets through comes last.
pub fn commands(config: &Config) -> String {
    let mut writer = Writer { base: fresh(config), out: String::new() };
    if config.hostname != writer.base.hostname {
        writer.line(format_args!("hostname {}", config.hostname));
    }
    let (switches, values): (Vec<String>, Vec<String>) = config
        .sysctl_paths()
        .into_iter()
        .partition(|path| path.ends_with("forward") || path.ends_with("forwarding"));
    values.iter().for_each(|path| writer.sysctl(config, path));
    for (id, interface) in config.interfaces() {
        writer.interface(id, interface);
    }
    writer.routes(config);
    for neighbor in &config.neighbors {
        let (address, mac, name) =
            (neighbor.address, mac_text(neighbor.mac), config.name(neighbor.interface));
        writer.line(format_args!("ip neigh add {address} lladdr {mac} dev {name}"));
    }
    if !config.tables.sets.is_empty() {
        writer.line(format_args!("ipset restore <<'END'"));
        let mut save = SetListing::all(&config.tables);
        while save.next_line(&config.tables, &mut writer.out) {}
        writer.line(format_args!("END"));
    }
    let fresh = Tables::default();
    if config.tables.iter().ne(fresh.iter()) {
        writer.line(format_args!("iptables-restore <<'END'"));
        let mut save = Save::all(false);
        while save.next_line(&config.tables, &mut writer.out) {}
        writer.line(format_args!("END"));
    }
    writer.rules(config);
    // The switch for all moves the others, so it goes first.
    writer.sysctl(config, "net/ipv4/ip_forward");
    switches.iter().for_each(|path| writer.sysctl(config, path));
    writer.out
}

/// The configuration of the same machine, just switched on.
fn fresh(config: &Config) -> Config {
    let ports: Vec<PortInfo> = config
        .interfaces
        .iter()
        .filter_map(|interface| match interface.kind {
            InterfaceKind::Ethernet { card, .. } => Some(card),
            InterfaceKind::Loopback => None,
        })
        .collect();
    Config::new(&ports)
}

/// Writes commands, and keeps what they have led to so far.
struct Writer {
    base: Config,
    out: String,
}

impl Writer {
    fn line(&mut self, text: core::fmt::Arguments<'_>) {
        self.out += &format!("{text}\n");
    }

    fn sysctl(&mut self, config: &Config, path: &str) {
        let Some(value) = config.sysctl(path).filter(|value| self.base.sysctl(path).as_ref() != Some(value))
        else {
            return;
        };
        // Its own value is never refused.
        let _ = self.base.set_sysctl(path, &value);
        let name = path.replace('/', ".");
        match value.contains('\t') {
            true => self.line(format_args!("sysctl -w {name}=\"{}\"", value.replace('\t', " "))),
            false => self.line(format_args!("sysctl -w {name}={value}")),
        }
    }

    fn interface(&mut self, id: InterfaceId, interface: &Interface) {
        let name = &interface.name;
        let base = self.base.interface(id).clone();
        let mut words = String::new();
        if interface.mtu != base.mtu {
            words += &format!(" mtu {}", interface.mtu);
        }
        if interface.mac != base.mac {
            words += &format!(" address {}", mac_text(interface.mac));
        }
        if interface.alias != base.alias {
            words += &format!(" alias {}", quoted(&interface.alias));
        }
        if !words.is_empty() {
            self.line(format_args!("ip link set {name}{words}"));
        }
        let changed = ethtool::words_between(base.wanted_abilities, interface.wanted_abilities);
        if !changed.is_empty() {
            self.line(format_args!("ethtool -K {name}{changed}"));
        }
        for entry in base.addresses.iter().filter(|entry| !interface.addresses.contains(entry)) {
            self.line(format_args!("ip addr del {} dev {name}", entry.cidr));
            let _ = self.base.delete_address(id, entry.cidr.address(), Some(entry.cidr.prefix_len()));
        }
        for entry in interface.addresses.iter().filter(|entry| !base.addresses.contains(entry)) {
            self.address(id, interface, entry);
        }
        if interface.up != base.up {
            self.line(format_args!("ip link set {name} {}", if interface.up { "up" } else { "down" }));
            let _ = self.base.set_link(id, &LinkChange { up: Some(interface.up), ..LinkChange::default() });
        }
    }

    fn address(&mut self, id: InterfaceId, interface: &Interface, entry: &InterfaceAddress) {
        let mut line = format!("ip addr add {}", entry.cidr);
        match entry.broadcast {
            None => {}
            broadcast if broadcast == entry.cidr.broadcast() => line += " broadcast +",
            Some(broadcast) => line += &format!(" broadcast {broadcast}"),
        }
        let usual = if entry.cidr.address().is_loopback() { Scope::Host } else { Scope::Global };
        if entry.scope != usual {
            line += &format!(" scope {}", scope_name(entry.scope));
        }
        if let Some(label) = &entry.label {
            line += &format!(" label {}", quoted(label));
        }
        self.line(format_args!("{line} dev {}", interface.name));
        let InterfaceAddress { cidr, broadcast, scope, label, .. } = entry.clone();
        let _ = self.base.add_address(id, &NewAddress { cidr, broadcast, scope: Some(scope), label });
    }

    /// Routes to the links first, for the gateways are on them.
    fn routes(&mut self, config: &Config) {
        let same_place = |a: &&Route, b: &&Route| (a.destination, a.metric) == (b.destination, b.metric);
        let present = core::mem::take(&mut self.base.routes);
        let present: Vec<&Route> = present.iter().collect();
        let mut kept = Vec::new();
        for group in present.chunk_by(same_place) {
            let wanted = config.routes.to(group[0].destination).filter(|route| same_place(route, &group[0]));
            if wanted.eq(group.iter().copied()) {
                kept.extend_from_slice(group);
            } else {
                for route in group {
                    self.line(format_args!("ip route del {}", description(TableId::MAIN, route, config)));
                }
            }
        }
        self.base.routes.extend(kept.iter().map(|&route| route.clone()));
        let others = config.routing_tables().filter(|(table, _)| *table != TableId::MAIN);
        for (table, routes) in [(TableId::MAIN, &config.routes)].into_iter().chain(others) {
            let wanted: Vec<&Route> = routes.iter().collect();
            for with_gateway in [false, true] {
                for group in wanted.chunk_by(same_place) {
                    let done = table == TableId::MAIN && kept.contains(&group[0]);
                    if !done && group.iter().any(|route| self.needs_others(route)) == with_gateway {
                        for (place, route) in group.iter().enumerate() {
                            self.route(if place == 0 { "add" } else { "append" }, table, route, config);
                        }
                    }
                }
            }
        }
    }

    /// Whether a route can be made only when others are there.
    fn needs_others(&self, route: &Route) -> bool {
        route.gateway().is_some() || !route.hops().is_empty()
    }

    fn route(&mut self, mut verb: &str, table: TableId, route: &Route, config: &Config) {
        let text = description(table, route, config);
        let new = NewRoute::again(table, route);
        if !self.needs_others(route) {
            // Gateways may be reached by it.
            let _ = self.base.add_route(&new, RouteMode::Append);
            return self.line(format_args!("ip route {verb} {text}"));
        }
        let mut undo = Vec::new();
        if !self.base.accepts_route(&new) {
            // Kernel routes may be there meanwhile.
            verb = "append";
            self.raise_links(&new, config, &mut undo);
            self.reach_gateways(&new, config, &mut undo);
        }
        self.line(format_args!("ip route {verb} {text}"));
        for (line, link) in undo.into_iter().rev() {
            self.line(format_args!("{line}"));
            if let Some(id) = link {
                let _ = self.base.set_link(id, &LinkChange { up: Some(false), ..LinkChange::default() });
            }
        }
    }

    /// Of the several ways of a route some may be through interfaces that have gone down: for a moment they have to be up.
    fn raise_links(&mut self, new: &NewRoute, config: &Config, undo: &mut Vec<Undo>) {
        for id in new.hops().iter().filter_map(|hop| hop.interface) {
            if !self.base.interface(id).up {
                let name = config.name(id);
                self.line(format_args!("ip link set {name} up"));
                let _ = self.base.set_link(id, &LinkChange { up: Some(true), ..LinkChange::default() });
                undo.push((format!("ip link set {name} down"), Some(id)));
            }
        }
    }

    /// The network that a gateway was in may have gone: for a moment the gateway has to be on the link again.
    fn reach_gateways(&mut self, new: &NewRoute, config: &Config, undo: &mut Vec<Undo>) {
        for hop in new.hops() {
            let alone = NewRoute { action: RouteAction::Unicast(*hop), ..new.clone() };
            let (Some(interface), Some(gateway)) = (hop.interface, hop.gateway) else { continue };
            let bridge = Route {
                destination: Ipv4Cidr::new(gateway, 32),
                kind: RouteKind::Unicast { interface, gateway: None, onlink: false },
                metric: u32::MAX,
                source: None,
                scope: Scope::Link,
                protocol: RouteProtocol::Boot,
                metrics: RouteMetrics::default(),
            };
            let bridge = description(TableId::MAIN, &bridge, config);
            let line = format!("ip route del {bridge}");
            if !self.base.accepts_route(&alone) && !undo.iter().any(|(known, _)| *known == line) {
                self.line(format_args!("ip route append {bridge}"));
                undo.push((line, None));
            }
        }
    }

    /// The rules that are not those of a machine just switched on.
    fn rules(&mut self, config: &Config) {
        let wanted = &config.policy.rules;
        let kept =
            |rule: &RoutingRule| wanted.iter().find(|other| other.priority == rule.priority) == Some(rule);
        let (kept, gone): (Vec<_>, Vec<_>) = Policy::default().rules.into_iter().partition(kept);
        for rule in &gone {
            self.line(format_args!("ip rule del {}", rule_text(rule, config)));
        }
        for rule in wanted.iter().filter(|rule| !kept.contains(rule)) {
            self.line(format_args!("ip rule add {}", rule_text(rule, config)));
        }
    }
}

/// A command that takes back another one, and the interface that it sets down.
type Undo = (String, Option<InterfaceId>);

/// The words that describe a route.
fn description(table: TableId, route: &Route, config: &Config) -> String {
    let mut text = match route.kind {
        RouteKind::Unicast { .. } | RouteKind::Multipath(_) => String::new(),
        RouteKind::Throw => String::from("throw "),
        RouteKind::Blackhole => String::from("blackhole "),
        RouteKind::Unreachable => String::from("unreachable "),
        RouteKind::Prohibit => String::from("prohibit "),
    };
    match route.destination.prefix_len() {
        0 => text += "default",
        _ => text += &format!("{}", route.destination),
    }
    let mut usual = Scope::Global;
    if let RouteKind::Unicast { interface, gateway, onlink } = route.kind {
        text += &way(interface, gateway, onlink, config);
        if gateway.is_none() {
            usual = Scope::Link;
        }
    }
    if table != TableId::MAIN {
        text += &format!(" table {table}");
    }
    if route.scope != usual {
        text += &format!(" scope {}", scope_name(route.scope));
    }
    if route.protocol != RouteProtocol::Boot {
        text += &format!(" proto {}", protocol_text(route.protocol));
    }
    if let Some(source) = route.source {
        text += &format!(" src {source}");
    }
    if route.metric != 0 {
        text += &format!(" metric {}", route.metric);
    }
    let RouteMetrics { mtu, mtu_locked, advmss, advmss_locked } = route.metrics;
    for (name, value, locked) in [("mtu", mtu, mtu_locked), ("advmss", advmss, advmss_locked)] {
        if value != 0 || locked {
            text += &format!(" {name} {}{value}", if locked { "lock " } else { "" });
        }
    }
    for hop in route.hops() {
        let way = way(hop.interface, hop.gateway, hop.onlink, config);
        text += &format!(" nexthop{way} weight {}", hop.weight);
    }
    text
}

/// The words for one way of a route.
fn way(interface: InterfaceId, gateway: Option<Ipv4Address>, onlink: bool, config: &Config) -> String {
    let gateway = gateway.map_or(String::new(), |gateway| format!(" via {gateway}"));
    format!("{gateway} dev {}{}", config.name(interface), if onlink { " onlink" } else { "" })
}

/// A word as it has to be typed.
fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_.:/+@%,=".contains(character);
    match !word.is_empty() && word.chars().all(plain) {
        true => String::from(word),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
