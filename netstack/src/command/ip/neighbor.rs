//! `ip neighbour`: who is on the links, static or found out by ARP.

use super::{Family, Options, unknown_command};
use crate::{
    command::{
        Action, Failure,
        argument::{self, Arguments, abbreviates, device, mac},
        print::Printer,
    },
    config::{Config, neighbor::NeighborMode, route::StaticNeighbor},
    interface::{InterfaceId, mac_text},
    sort::sort_by,
    table::neighbor::{State, View},
};
use alloc::{string::ToString, vec::Vec};
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};

pub fn parse(options: Options, mut words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let Some(command) = words.next() else { return show(options, words, config) };
    match command {
        "chg" => set(words, config, NeighborMode::Change),
        "lst" => show(options, words, config),
        _ if abbreviates(command, "add") => set(words, config, NeighborMode::Add),
        _ if abbreviates(command, "change") => set(words, config, NeighborMode::Change),
        _ if abbreviates(command, "replace") => set(words, config, NeighborMode::Replace),
        _ if abbreviates(command, "delete") => delete(words, config),
        _ if abbreviates(command, "show") || abbreviates(command, "list") => show(options, words, config),
        _ if abbreviates(command, "flush") => flush(words, config),
        _ if abbreviates(command, "help") => Ok(Action::print(
            "Usage: ip neigh { add | replace | change } ADDRESS lladdr LLADDR dev DEVICE [ nud permanent ]\n\
             \x20      ip neigh del ADDRESS dev DEVICE\n\
             \x20      ip neigh { show | flush } [ to PREFIX ] [ dev DEVICE ] [ nud STATE ]",
        )),
        _ => Err(unknown_command(command, "neigh")),
    }
}

/// Destination and device, and the MAC address where one is given.
struct Description {
    address: Ipv4Address,
    interface: InterfaceId,
    mac: Option<EthernetAddress>,
}

fn describe(mut words: Arguments<'_>, config: &Config) -> Result<Description, Failure> {
    let (mut address, mut name, mut hardware) = (None, None, None);
    while let Some(word) = words.next() {
        match word {
            "lladdr" => hardware = Some(mac(words.value()?)?),
            "dev" => name = Some(words.value()?),
            "nud" => {
                let value = words.value()?;
                match state(value) {
                    Some(State::Permanent) => {}
                    // The others are what the table finds out by itself.
                    Some(_) => return Err(Failure::wrong(value, "only nud permanent can be set")),
                    None => return Err(Failure::wrong(value, "nud state is bad")),
                }
            }
            "proxy" | "router" | "extern_learn" | "managed" | "use" | "protocol" => {
                return Err(Failure::unsupported(word));
            }
            _ => {
                let value = if word == "to" { words.value()? } else { word };
                if address.is_some() {
                    return Err(Failure::garbage("to", value));
                }
                address = Some(value.parse::<Ipv4Address>().map_err(|_| {
                    Failure::new(
                        1,
                        alloc::format!("Error: any valid address is expected rather than \"{value}\"."),
                    )
                })?);
            }
        }
    }
    let (Some(address), Some(name)) = (address, name) else {
        return Err(Failure::new(255, "Device and destination are required arguments."));
    };
    Ok(Description { address, interface: device(name, config)?, mac: hardware })
}

fn set(words: Arguments<'_>, config: &Config, mode: NeighborMode) -> Result<Action, Failure> {
    let Description { address, interface, mac } = describe(words, config)?;
    let mac = mac.ok_or_else(|| Failure::new(2, "Error: No link layer address given."))?;
    Ok(Action::edit(move |config| config.set_neighbor(StaticNeighbor { interface, address, mac }, mode)))
}

fn delete(words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let Description { address, interface, .. } = describe(words, config)?;
    let is_static =
        config.neighbors.iter().any(|entry| entry.interface == interface && entry.address == address);
    if is_static {
        return Ok(Action::edit(move |config| config.delete_neighbor(interface, address)));
    }
    Ok(Action::once(move |session| {
        if session.router.neighbors().remove(interface, address) {
            return Ok(Default::default());
        }
        Err(Failure::new(2, "RTNETLINK answers: No such file or directory"))
    }))
}

/// Which entries are meant.
#[derive(Clone, Default)]
struct Selector {
    device: Option<InterfaceId>,
    to: Option<Ipv4Cidr>,
    state: Option<State>,
    any_state: bool,
}

impl Selector {
    fn parse(mut words: Arguments<'_>, config: &Config) -> Result<Self, Failure> {
        let mut it = Self::default();
        while let Some(word) = words.next() {
            match word {
                "dev" => it.device = Some(device(words.value()?, config)?),
                "nud" => {
                    let value = words.value()?;
                    if value == "all" {
                        it.any_state = true;
                    } else {
                        let known = state(value).ok_or_else(|| Failure::wrong(value, "nud state is bad"))?;
                        it.state = Some(known);
                    }
                }
                "all" => it.any_state = true,
                "proxy" | "router" | "unused" | "master" | "vrf" | "nomaster" | "protocol" => {
                    return Err(Failure::unsupported(word));
                }
                _ => {
                    let value = if word == "to" { words.value()? } else { word };
                    it.to = Some(argument::prefix(value)?);
                }
            }
        }
        Ok(it)
    }

    fn means(&self, interface: InterfaceId, address: Ipv4Address, state: State) -> bool {
        self.device.is_none_or(|device| device == interface)
            && self.to.is_none_or(|to| to.contains_addr(&address))
            && self.state.is_none_or(|wanted| wanted == state)
    }
}

fn flush(words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    if words.peek().is_none() {
        return Err(Failure::new(1, "Flush requires arguments."));
    }
    let selector = Selector::parse(words, config)?;
    if selector.state == Some(State::Permanent) {
        return Ok(Action::edit(move |config| {
            Ok::<_, Failure>(
                config.flush_neighbors(|entry| {
                    selector.means(entry.interface, entry.address, State::Permanent)
                }),
            )
        }));
    }
    // As on Linux, static entries stay unless they are meant.
    Ok(Action::once(move |session| {
        let now = session.cx.now;
        let neighbors = session.router.neighbors();
        let meant: Vec<View> = neighbors
            .iter(now)
            .filter(|entry| entry.state != State::Permanent)
            .filter(|entry| selector.means(entry.interface, entry.address, entry.state))
            .collect();
        for entry in meant {
            neighbors.remove(entry.interface, entry.address);
        }
        Ok(Default::default())
    }))
}

fn show(options: Options, words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let selector = Selector::parse(words, config)?;
    Ok(Action::once(move |session| {
        let now = session.cx.now;
        let mut entries: Vec<View> = session
            .router
            .neighbors()
            .iter(now)
            .filter(|entry| selector.means(entry.interface, entry.address, entry.state))
            .collect();
        sort_by(&mut entries, |a, b| (a.interface, a.address) < (b.interface, b.address));
        let mut printer = Printer::new(options);
        for entry in entries.iter().filter(|_| matches!(options.family, Family::Any | Family::Inet)) {
            one(&mut printer, entry, session.router.config(), selector.device.is_some());
        }
        printer.finish();
        Ok(printer.take())
    }))
}

fn one(printer: &mut Printer, entry: &View, config: &Config, one_device: bool) {
    let name = config.name(entry.interface);
    printer.open_object("");
    if printer.options().brief {
        printer.padded("dst", &entry.address.to_string(), 39, " ");
        printer.padded("dev", name, 16, " ");
        if let Some(mac) = entry.mac {
            printer.string("lladdr", "", mac_text(mac), "");
        }
    } else {
        printer.string("dst", "", entry.address, " ");
        if !one_device {
            printer.string("dev", "dev ", name, " ");
        }
        if let Some(mac) = entry.mac {
            printer.string("lladdr", "lladdr ", mac_text(mac), " ");
        }
        printer.open_array("state");
        printer.element(state_text(entry.state));
        printer.text(format_args!("{} ", state_text(entry.state)));
        printer.close_array();
    }
    printer.text("\n");
    printer.close_object();
}

fn state(word: &str) -> Option<State> {
    Some(match word {
        "permanent" => State::Permanent,
        "reachable" => State::Reachable,
        "stale" => State::Stale,
        "delay" => State::Delay,
        "probe" => State::Probe,
        "incomplete" => State::Incomplete,
        "failed" => State::Failed,
        _ => return None,
    })
}

fn state_text(state: State) -> &'static str {
    match state {
        State::Permanent => "PERMANENT",
        State::Reachable => "REACHABLE",
        State::Stale => "STALE",
        State::Delay => "DELAY",
        State::Probe => "PROBE",
        State::Incomplete => "INCOMPLETE",
        State::Failed => "FAILED",
    }
}
