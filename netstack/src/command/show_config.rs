//! `config show`: the commands that make the present configuration out of that of a machine just switched on.

use super::{
    Action, Failure, Job, Progress, Session,
    argument::scope_name,
    ethtool,
    ip::protocol_text,
    ipset::SetListing,
    iptables::{LineSource, Save},
};
use crate::{
    config::{
        Config, PortInfo,
        address::NewAddress,
        interface::{Interface, InterfaceAddress, InterfaceKind, LinkChange, Scope},
        route::{NewRoute, Route, RouteKind, RouteMetrics, RouteMode, RouteProtocol},
        rules::Tables,
    },
    interface::{InterfaceId, mac_text},
};
use alloc::{format, string::String, vec::Vec};
use smoltcp::wire::Ipv4Cidr;

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
                    self.line(format_args!("ip route del {}", description(route, config)));
                }
            }
        }
        self.base.routes.extend(kept.iter().map(|&route| route.clone()));
        let wanted: Vec<&Route> = config.routes.iter().collect();
        for with_gateway in [false, true] {
            for group in wanted.chunk_by(same_place).filter(|group| !kept.contains(&group[0])) {
                if group.iter().any(|route| route.gateway().is_some()) == with_gateway {
                    for (place, route) in group.iter().enumerate() {
                        self.route(if place == 0 { "add" } else { "append" }, route, config);
                    }
                }
            }
        }
    }

    fn route(&mut self, verb: &str, route: &Route, config: &Config) {
        let text = description(route, config);
        let new = NewRoute::again(route);
        if route.gateway().is_none() {
            // Gateways may be reached by it.
            let _ = self.base.add_route(&new, RouteMode::Append);
        } else if let RouteKind::Unicast { interface, gateway: Some(gateway), .. } = route.kind
            && !self.base.accepts_route(&new)
        {
            // The network that its gateway was in has gone: for a moment the gateway has to be on the link again.
            let bridge = Route {
                destination: Ipv4Cidr::new(gateway, 32),
                kind: RouteKind::Unicast { interface, gateway: None, onlink: false },
                metric: u32::MAX,
                source: None,
                scope: Scope::Link,
                protocol: RouteProtocol::Boot,
                metrics: RouteMetrics::default(),
            };
            let bridge = description(&bridge, config);
            self.line(format_args!("ip route append {bridge}"));
            self.line(format_args!("ip route {verb} {text}"));
            return self.line(format_args!("ip route del {bridge}"));
        }
        self.line(format_args!("ip route {verb} {text}"));
    }
}

/// The words that describe a route.
fn description(route: &Route, config: &Config) -> String {
    let mut text = match route.kind {
        RouteKind::Unicast { .. } => String::new(),
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
        match gateway {
            Some(gateway) => text += &format!(" via {gateway}"),
            None => usual = Scope::Link,
        }
        text += &format!(" dev {}", config.name(interface));
        if onlink {
            text += " onlink";
        }
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
    text
}

/// A word as it has to be typed.
fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_.:/+@%,=".contains(character);
    match !word.is_empty() && word.chars().all(plain) {
        true => String::from(word),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
