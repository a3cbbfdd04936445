//! `ifconfig`, `route`, `arp` and `netstat`, for habit's sake: they show, in the format of net-tools 2.10, and change nothing.

use super::{Action, Failure};
use crate::{
    config::{
        Config,
        interface::{Interface, InterfaceAddress, InterfaceKind},
        route::{Route, RouteKind},
    },
    interface::{InterfaceId, mac_text},
    router::Router,
    sort::sort_by,
    table::neighbor::{State, View},
};
use alloc::{format, string::String, vec::Vec};
use smoltcp::wire::Ipv4Address;

fn unsupported(command: &str, word: &str) -> Failure {
    Failure::new(1, format!("{command}: \"{word}\" is not supported; it only shows, `ip` changes"))
}

/// `ifconfig [-a] [DEVICE]`
pub fn ifconfig(words: &[String], config: &Config) -> Result<Action, Failure> {
    let mut all = false;
    let mut only = None;
    for word in words {
        match word.as_str() {
            "-a" => all = true,
            name if only.is_none() && !name.starts_with('-') => {
                only = Some(config.find_interface(name).ok_or_else(|| {
                    Failure::new(1, format!("{name}: error fetching interface information: Device not found"))
                })?);
            }
            other => return Err(unsupported("ifconfig", other)),
        }
    }
    Ok(Action::show(move |router| {
        let mut out = String::new();
        for (id, interface) in by_name(router.config()) {
            if id == InterfaceId::LOOPBACK && only.is_none() {
                labels_text(&mut out, router, all);
            }
            if only.map_or(all || interface.up, |only| only == id) {
                interface_text(&mut out, id, interface, router);
            }
        }
        out
    }))
}

/// Cards first and `lo` last, as net-tools sorts names.
fn by_name(config: &Config) -> impl Iterator<Item = (InterfaceId, &Interface)> {
    config.interfaces().skip(1).chain(config.interfaces().take(1))
}

const UP: u32 = 1;
const BROADCAST: u32 = 2;
const LOOPBACK: u32 = 8;
const RUNNING: u32 = 64;
const MULTICAST: u32 = 4096;

fn flags(id: InterfaceId, interface: &Interface, router: &Router) -> u32 {
    let kind = match interface.kind {
        InterfaceKind::Loopback => LOOPBACK,
        InterfaceKind::Ethernet { .. } => BROADCAST | MULTICAST,
    };
    let state = match interface.up {
        true if router.carrier(id) => UP | RUNNING,
        true => UP,
        false => 0,
    };
    kind | state
}

fn interface_text(out: &mut String, id: InterfaceId, interface: &Interface, router: &Router) {
    *out += &first_line(&interface.name, id, interface, router);
    if let Some(entry) = interface.addresses.iter().find(|entry| entry.label.is_none() && !entry.secondary) {
        *out += &inet(interface, entry);
    }
    let hardware = hardware(interface);
    let counters = router.interface_counters(id);
    *out += &format!(
        "{hardware}        RX packets {}  bytes {} ({})\n        RX errors 0  dropped {}  overruns 0  frame 0\n\
         \x20       TX packets {}  bytes {} ({})\n        TX errors 0  dropped {} overruns 0  carrier 0  collisions 0\n\n",
        counters.received_packets,
        counters.received_bytes,
        scaled(counters.received_bytes),
        counters.received_dropped,
        counters.transmitted_packets,
        counters.transmitted_bytes,
        scaled(counters.transmitted_bytes),
        counters.transmitted_dropped,
    );
}

/// Addresses with a label of their own are listed as if they were interfaces.
fn labels_text(out: &mut String, router: &Router, all: bool) {
    for (id, interface) in router.config().interfaces().filter(|(_, interface)| all || interface.up) {
        for entry in &interface.addresses {
            if let Some(label) = &entry.label {
                *out += &first_line(label, id, interface, router);
                *out += &inet(interface, entry);
                *out += &hardware(interface);
                out.push('\n');
            }
        }
    }
}

fn first_line(name: &str, id: InterfaceId, interface: &Interface, router: &Router) -> String {
    let flags = flags(id, interface, router);
    let names = [
        (UP, "UP"),
        (BROADCAST, "BROADCAST"),
        (LOOPBACK, "LOOPBACK"),
        (RUNNING, "RUNNING"),
        (MULTICAST, "MULTICAST"),
    ];
    let set: Vec<&str> = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    format!("{name}: flags={flags}<{}>  mtu {}\n", set.join(","), super::ip::shown_mtu(interface))
}

fn inet(interface: &Interface, entry: &InterfaceAddress) -> String {
    let broadcast = match interface.kind {
        InterfaceKind::Loopback => String::new(),
        InterfaceKind::Ethernet { .. } => {
            format!("  broadcast {}", entry.broadcast.unwrap_or(Ipv4Address::UNSPECIFIED))
        }
    };
    format!("        inet {}  netmask {}{broadcast}\n", entry.cidr.address(), entry.cidr.netmask())
}

fn hardware(interface: &Interface) -> String {
    match interface.kind {
        InterfaceKind::Loopback => String::from("        loop  txqueuelen 1000  (Local Loopback)\n"),
        InterfaceKind::Ethernet { .. } => {
            format!("        ether {}  txqueuelen 1000  (Ethernet)\n", mac_text(interface.mac))
        }
    }
}

/// A size with one decimal, cut off: 1.4 KiB.
fn scaled(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let power = (0..5).rev().find(|power| bytes > 1 << (10 * (power + 1))).map_or(0, |power| power + 1);
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    format!("{}.{} {}", tenths / 10, tenths % 10, units[power])
}

/// `route [-n]`
pub fn route(words: &[String], _: &Config) -> Result<Action, Failure> {
    let mut numeric = false;
    for word in words {
        match word.as_str() {
            "-n" => numeric = true,
            other => return Err(unsupported("route", other)),
        }
    }
    Ok(Action::show(move |router| {
        let mut out = String::from(
            "Kernel IP routing table\nDestination     Gateway         Genmask         Flags Metric Ref    Use Iface\n",
        );
        for route in router.config().routes.iter() {
            let row = Row::of(route, router.config());
            let destination =
                if !numeric && row.destination == "0.0.0.0" { "default" } else { &row.destination };
            let reference = if row.flags.starts_with('!') { "-" } else { "0" };
            out += &format!(
                "{destination:<15} {:<15} {:<15} {:<6}{:<6} {reference:<2} {:>7} {}\n",
                row.gateway, row.mask, row.flags, route.metric, 0, row.interface
            );
        }
        out
    }))
}

/// A line of the routing table.
struct Row {
    destination: String,
    gateway: String,
    mask: String,
    flags: &'static str,
    interface: String,
}

impl Row {
    fn of(route: &Route, config: &Config) -> Self {
        let unspecified = String::from("0.0.0.0");
        let host = route.destination.prefix_len() == 32;
        let interface = route.interface().map(|interface| String::from(config.name(interface).as_str()));
        let (gateway, flags, interface) = match (&route.kind, interface) {
            (_, Some(interface)) => match route.gateway() {
                Some(gateway) => (format!("{gateway}"), if host { "UGH" } else { "UG" }, interface),
                None => (unspecified, if host { "UH" } else { "U" }, interface),
            },
            (RouteKind::Unreachable | RouteKind::Prohibit, None) => {
                (String::from("-"), if host { "!H" } else { "!" }, String::from("-"))
            }
            _ => (unspecified, if host { "UH" } else { "U" }, String::from("*")),
        };
        Self {
            destination: format!("{}", route.destination.address()),
            gateway,
            mask: format!("{}", route.destination.netmask()),
            flags,
            interface,
        }
    }
}

/// `netstat -rn`, `netstat -i`
pub fn netstat(words: &[String], _: &Config) -> Result<Action, Failure> {
    let letters: String = words.iter().filter_map(|word| word.strip_prefix('-')).collect();
    let known = letters.chars().all(|letter| matches!(letter, 'r' | 'n' | 'i'));
    if !known
        || words.iter().any(|word| !word.starts_with('-'))
        || letters.contains('r') == letters.contains('i')
    {
        return Err(Failure::new(1, "netstat: only -rn and -i are supported; `conntrack -L` lists flows"));
    }
    if letters.contains('i') {
        return Ok(Action::show(interface_table));
    }
    Ok(Action::show(|router| {
        let mut out = String::from(
            "Kernel IP routing table\nDestination     Gateway         Genmask         Flags   MSS Window  irtt Iface\n",
        );
        for route in router.config().routes.iter() {
            let row = Row::of(route, router.config());
            let number = if row.flags.starts_with('!') { "-" } else { "0" };
            let mss = match route.metrics.advmss {
                0 => String::from(number),
                advmss => format!("{}", advmss + 40),
            };
            out += &format!(
                "{:<15} {:<15} {:<15} {:<6}{mss:>5} {number:<5} {number:>6} {}\n",
                row.destination, row.gateway, row.mask, row.flags, row.interface
            );
        }
        out
    }))
}

fn interface_table(router: &Router) -> String {
    let mut out = String::from(
        "Kernel Interface table\nIface             MTU    RX-OK RX-ERR RX-DRP RX-OVR    TX-OK TX-ERR TX-DRP TX-OVR Flg\n",
    );
    for (id, interface) in by_name(router.config()).filter(|(_, interface)| interface.up) {
        let bits = flags(id, interface, router);
        let letters = [(BROADCAST, 'B'), (LOOPBACK, 'L'), (MULTICAST, 'M'), (RUNNING, 'R'), (UP, 'U')];
        let letters: String =
            letters.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, letter)| letter).collect();
        let counters = router.interface_counters(id);
        out += &format!(
            "{:<15} {:>5} {:>8} {:>6} {:>6} {:<6} {:>8} {:>6} {:>6} {:>6} {letters}\n",
            interface.name,
            super::ip::shown_mtu(interface),
            counters.received_packets,
            0,
            counters.received_dropped,
            0,
            counters.transmitted_packets,
            0,
            counters.transmitted_dropped,
            0
        );
    }
    out
}

/// `arp [-n] [-a] [ADDRESS]`
pub fn arp(words: &[String], _: &Config) -> Result<Action, Failure> {
    let mut bsd = false;
    let mut only: Option<Ipv4Address> = None;
    for word in words {
        match word.as_str() {
            "-n" | "-e" => {}
            "-a" | "-an" | "-na" => bsd = true,
            other if only.is_none() && !other.starts_with('-') => {
                let address =
                    other.parse().map_err(|_| Failure::new(255, format!("{other}: Unknown host")))?;
                only = Some(address);
            }
            other => return Err(unsupported("arp", other)),
        }
    }
    Ok(Action::once(move |session| {
        let now = session.cx.now;
        let meant = |entry: &View| only.is_none_or(|address| address == entry.address);
        let mut entries: Vec<View> = session.router.neighbors().iter(now).filter(meant).collect();
        sort_by(&mut entries, |a, b| (a.interface, a.address) < (b.interface, b.address));
        if let Some(address) = only.filter(|_| entries.is_empty()) {
            return Ok(format!("{address} ({address}) -- no entry\n"));
        }
        let config = session.router.config();
        let mut out = String::new();
        if !bsd && !entries.is_empty() {
            out += "Address                  HWtype  HWaddress           Flags Mask            Iface\n";
        }
        for entry in &entries {
            out += &if bsd { bsd_line(entry, config) } else { table_line(entry, config) };
        }
        Ok(out)
    }))
}

fn table_line(entry: &View, config: &Config) -> String {
    let (kind, mac, flags) = match entry.mac.filter(|_| entry.state != State::Failed) {
        Some(mac) if entry.state == State::Permanent => ("ether", format!("{}", mac_text(mac)), "CM"),
        Some(mac) => ("ether", format!("{}", mac_text(mac)), "C"),
        None => ("", String::from("(incomplete)"), ""),
    };
    let name = config.name(entry.interface);
    format!("{:<25}{kind:<8}{mac:<20}{flags:<6}{:<15} {name}\n", format!("{}", entry.address), "")
}

fn bsd_line(entry: &View, config: &Config) -> String {
    let at = match entry.mac.filter(|_| entry.state != State::Failed) {
        Some(mac) if entry.state == State::Permanent => format!("{} [ether] PERM", mac_text(mac)),
        Some(mac) => format!("{} [ether]", mac_text(mac)),
        None => String::from("<incomplete>"),
    };
    format!("? ({}) at {at} on {}\n", entry.address, config.name(entry.interface))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_ifconfig_shows_them() {
        for (bytes, text) in
            [(0, "0.0 B"), (54, "54.0 B"), (1024, "1024.0 B"), (1500, "1.4 KiB"), (u64::MAX, "16384.0 PiB")]
        {
            assert_eq!(scaled(bytes), if bytes == u64::MAX { "16383.9 PiB" } else { text });
        }
    }
}
