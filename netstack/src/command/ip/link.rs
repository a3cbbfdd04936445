//! `ip link`: properties and counters of interfaces.

use super::{Options, unknown_command};
use crate::{
    command::{
        Action,
        argument::{Arguments, Failure, abbreviates, device, mac, number},
        print::Printer,
    },
    config::{
        Config,
        interface::{Interface, InterfaceKind, LinkChange, MTU_MIN},
    },
    interface::{InterfaceId, mac_text},
    router::Router,
};
use alloc::{format, string::String, vec::Vec};
use smoltcp::wire::EthernetAddress;

pub fn parse(options: Options, mut words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let Some(command) = words.next() else { return show(options, words, config) };
    if abbreviates(command, "set") || abbreviates(command, "change") {
        return set(words, config);
    }
    match command {
        "list" | "lst" | "ls" => show(options, words, config),
        _ if abbreviates(command, "show") || abbreviates(command, "list") => show(options, words, config),
        _ if abbreviates(command, "add") || abbreviates(command, "delete") => {
            Err(Failure::unsupported(command))
        }
        _ if abbreviates(command, "help") => Ok(Action::print(
            "Usage: ip link set DEVICE [ { up | down } ] [ mtu MTU ] [ address LLADDR ] [ alias NAME ]\n\
             \x20      ip link show [ DEVICE ] [ up ]",
        )),
        _ => Err(unknown_command(command, "link")),
    }
}

fn set(mut words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let mut wanted = LinkChange::default();
    let mut name = None;
    while let Some(word) = words.next() {
        match word {
            "up" => wanted.up = Some(true),
            "down" => wanted.up = Some(false),
            "mtu" => {
                let value = words.value()?;
                if wanted.mtu.is_some() {
                    return Err(Failure::duplicate("mtu", value));
                }
                wanted.mtu =
                    Some(number(value).ok_or_else(|| Failure::wrong(value, "Invalid \"mtu\" value"))?);
            }
            "alias" | "ifalias" => wanted.alias = Some(String::from(words.value()?)),
            _ if word.len() > 1 && abbreviates(word, "address") => wanted.mac = Some(mac(words.value()?)?),
            "name" | "txqueuelen" | "qlen" | "promisc" | "arp" | "multicast" | "allmulticast" | "master"
            | "nomaster" | "group" | "netns" | "type" | "vf" | "broadcast" | "brd" => {
                return Err(Failure::unsupported(word));
            }
            _ => {
                let device = if word == "dev" { words.value()? } else { word };
                if name.is_some() {
                    return Err(Failure::garbage("dev", device));
                }
                name = Some(device);
            }
        }
    }
    let name =
        name.ok_or_else(|| Failure::new(255, "Not enough information: \"dev\" argument is required."))?;
    let id = device(name, config)?;
    Ok(Action::edit(move |config| config.set_link(id, &wanted)))
}

fn show(options: Options, mut words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let mut only_up = false;
    let mut only = None;
    while let Some(word) = words.next() {
        match word {
            "up" => only_up = true,
            "master" | "type" | "group" | "vrf" => return Err(Failure::unsupported(word)),
            _ => {
                let name = if word == "dev" { words.value()? } else { word };
                if only.is_some() {
                    return Err(Failure::garbage("dev", name));
                }
                only = Some(name);
            }
        }
    }
    let only = only.map(|name| existing(name, config)).transpose()?;
    Ok(Action::show(move |router| {
        let mut printer = Printer::new(options);
        for (id, interface) in router.config().interfaces() {
            if only.is_none_or(|only| only == id) && (!only_up || interface.up) {
                entry(&mut printer, id, interface, router);
            }
        }
        printer.finish();
        printer.take()
    }))
}

/// An interface that is to be shown.
pub fn existing(name: &str, config: &Config) -> Result<InterfaceId, Failure> {
    config.find_interface(name).ok_or_else(|| Failure::new(1, format!("Device \"{name}\" does not exist.")))
}

fn entry(printer: &mut Printer, id: InterfaceId, interface: &Interface, router: &Router) {
    printer.open_object("");
    if printer.options().brief {
        brief(printer, id, interface, router);
        printer.string("address", "", mac_text(interface.mac), " ");
        flags(printer, id, interface, router);
        printer.text("\n");
    } else {
        head(printer, id, interface, router, true);
        printer.line();
        hardware(printer, interface);
        if printer.options().details {
            details(printer, interface);
        }
        if !interface.alias.is_empty() {
            printer.line();
            printer.string("ifalias", "    alias ", &interface.alias, "");
        }
        if printer.options().statistics {
            printer.line();
            statistics(printer, id, router);
        }
        printer.text("\n");
    }
    printer.close_object();
}

/// Name and state, as the short table begins.
pub fn brief(printer: &mut Printer, id: InterfaceId, interface: &Interface, router: &Router) {
    printer.padded("ifname", &interface.name, 16, " ");
    printer.padded("operstate", state(id, interface, router), 14, " ");
}

/// The first line of an interface, without its end.
pub fn head(printer: &mut Printer, id: InterfaceId, interface: &Interface, router: &Router, mode: bool) {
    printer.number("ifindex", "", id.index().into(), ": ");
    printer.string("ifname", "", &interface.name, ": ");
    flags(printer, id, interface, router);
    printer.number("mtu", "mtu ", shown_mtu(interface).into(), " ");
    printer.string("qdisc", "qdisc ", if interface.up { "noqueue" } else { "noop" }, " ");
    printer.string("operstate", "state ", state(id, interface, router), " ");
    if mode {
        printer.string("linkmode", "mode ", "DEFAULT", " ");
    }
    printer.string("group", "group ", "default", " ");
    printer.number("txqlen", "qlen ", 1000, "");
}

/// The MTU as it is listed: Linux lets lo carry one byte more than an IP packet can have.
pub fn shown_mtu(interface: &Interface) -> u32 {
    let excess = interface.kind == InterfaceKind::Loopback && interface.mtu == u16::MAX;
    u32::from(interface.mtu) + u32::from(excess)
}

/// The second line: what kind of link it is.
pub fn hardware(printer: &mut Printer, interface: &Interface) {
    let (kind, broadcast) = match interface.kind {
        InterfaceKind::Loopback => ("loopback", EthernetAddress([0; 6])),
        InterfaceKind::Ethernet { .. } => ("ether", EthernetAddress::BROADCAST),
    };
    printer.string("link_type", "    link/", kind, " ");
    printer.string("address", "", mac_text(interface.mac), " ");
    printer.string("broadcast", "brd ", mac_text(broadcast), "");
    if let InterfaceKind::Ethernet { card, .. } = interface.kind
        && card.mac != interface.mac
    {
        printer.string("permaddr", " permaddr ", mac_text(card.mac), "");
    }
}

fn details(printer: &mut Printer, interface: &Interface) {
    let (least, most) = match interface.kind {
        InterfaceKind::Loopback => (0, 0),
        InterfaceKind::Ethernet { card, .. } => (MTU_MIN, card.max_mtu),
    };
    printer.number("min_mtu", " minmtu ", least.into(), "");
    printer.number("max_mtu", " maxmtu ", most.into(), " ");
}

fn state(id: InterfaceId, interface: &Interface, router: &Router) -> &'static str {
    match interface.kind {
        _ if !interface.up => "DOWN",
        InterfaceKind::Loopback => "UNKNOWN",
        InterfaceKind::Ethernet { .. } if router.carrier(id) => "UP",
        InterfaceKind::Ethernet { .. } => "DOWN",
    }
}

fn flags(printer: &mut Printer, id: InterfaceId, interface: &Interface, router: &Router) {
    let carrier = router.carrier(id);
    let ethernet = interface.kind != InterfaceKind::Loopback;
    let flags = [
        ("NO-CARRIER", interface.up && !carrier),
        ("LOOPBACK", !ethernet),
        ("BROADCAST", ethernet),
        ("MULTICAST", ethernet),
        ("UP", interface.up),
        ("LOWER_UP", interface.up && carrier),
    ];
    let set: Vec<&str> = flags.into_iter().filter(|flag| flag.1).map(|flag| flag.0).collect();
    printer.text(format_args!("<{}> ", set.join(",")));
    printer.open_array("flags");
    for flag in set {
        printer.element(flag);
    }
    printer.close_array();
}

/// The counters (`-s`).
pub fn statistics(printer: &mut Printer, id: InterfaceId, router: &Router) {
    let counters = router.interface_counters(id);
    let rx = [
        ("bytes", counters.received_bytes),
        ("packets", counters.received_packets),
        ("errors", 0),
        ("dropped", counters.received_dropped),
        ("over_errors", 0),
        ("multicast", counters.received_multicast),
    ];
    let tx = [
        ("bytes", counters.transmitted_bytes),
        ("packets", counters.transmitted_packets),
        ("errors", 0),
        ("dropped", counters.transmitted_dropped),
        ("carrier_errors", 0),
        ("collisions", 0),
    ];
    let mut widths = [10, 7, 6, 7, 7, 7];
    for (width, (received, transmitted)) in widths.iter_mut().zip(rx.iter().zip(&tx)) {
        let digits = |value: u64| value.checked_ilog10().unwrap_or(0) as usize + 1;
        *width = (*width).max(digits(received.1)).max(digits(transmitted.1));
    }
    printer.open_object("stats64");
    table(printer, "rx", ["bytes", "packets", "errors", "dropped", "missed", "mcast"], &rx, &widths);
    printer.line();
    table(printer, "tx", ["bytes", "packets", "errors", "dropped", "carrier", "collsns"], &tx, &widths);
    printer.close_object();
}

/// One direction: titles, and numbers below them.
fn table(
    printer: &mut Printer,
    key: &str,
    titles: [&str; 6],
    values: &[(&str, u64); 6],
    widths: &[usize; 6],
) {
    printer.text(format_args!("    {}:", key.to_ascii_uppercase()));
    for (place, (title, width)) in titles.iter().zip(widths).enumerate() {
        // The first title shares its column with the direction.
        let width = if place == 0 { width - 4 } else { *width };
        printer.text(format_args!(" {title:>width$}"));
    }
    printer.text("           ");
    printer.line();
    printer.text("    ");
    printer.open_object(key);
    for ((name, value), width) in values.iter().zip(widths) {
        printer.text(format_args!("{value:>width$} "));
        printer.json_number(name, *value);
    }
    printer.close_object();
}
