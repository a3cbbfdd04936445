//! `ip address`: addresses of interfaces.

use super::{Family, Options, link, unknown_command};
use crate::{
    command::{
        Action,
        argument::{self, Arguments, Failure, abbreviates, device},
        print::Printer,
    },
    config::{
        Change, Config,
        address::NewAddress,
        interface::{Interface, InterfaceAddress, Scope},
    },
    interface::{InterfaceId, InterfaceName},
    router::Router,
};
use alloc::vec::Vec;
use smoltcp::wire::Ipv4Cidr;

pub fn parse(options: Options, mut words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let Some(command) = words.next() else { return show(options, words, config) };
    match command {
        "change" | "chg" => set(words, config, Mode::Replace),
        "lst" => show(options, words, config),
        _ if abbreviates(command, "add") => set(words, config, Mode::Add),
        _ if abbreviates(command, "replace") => set(words, config, Mode::Replace),
        _ if abbreviates(command, "delete") => set(words, config, Mode::Delete),
        _ if abbreviates(command, "show") || abbreviates(command, "list") => show(options, words, config),
        _ if abbreviates(command, "flush") => flush(words, config),
        _ if abbreviates(command, "help") => Ok(Action::print(
            "Usage: ip address { add | replace | del } ADDRESS[/LENGTH] dev DEVICE [ broadcast { ADDRESS | + | - } ]\n\
             \x20                                          [ scope SCOPE ] [ label NAME ]\n\
             \x20      ip address { show | flush } [ dev DEVICE ] [ up ] [ scope SCOPE ] [ to PREFIX ] [ label NAME ]\n\
             \x20                                  [ primary | secondary ]",
        )),
        _ => Err(unknown_command(command, "address")),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Add,
    Replace,
    Delete,
}

/// What `broadcast` says, which depends on the address.
enum Broadcast<'a> {
    Ones,
    Zeros,
    Address(&'a str),
}

fn set(mut words: Arguments<'_>, config: &Config, mode: Mode) -> Result<Action, Failure> {
    let mut local: Option<(Ipv4Cidr, bool)> = None;
    let mut name = None;
    let mut broadcast = None;
    let mut scope = None;
    let mut label = None;
    while let Some(word) = words.next() {
        match word {
            "dev" => name = Some(words.value()?),
            "scope" => {
                let value = words.value()?;
                let known =
                    argument::scope(value).ok_or_else(|| Failure::wrong(value, "invalid scope value."))?;
                scope = Some(known);
            }
            "label" => {
                let value = words.value()?;
                let fits = InterfaceName::try_from(value);
                label = Some(fits.map_err(|_| Failure::wrong(value, "\"label\" is too long"))?);
            }
            "peer" | "remote" | "anycast" | "metric" | "priority" | "preference" | "noprefixroute"
            | "home" | "nodad" | "mngtmpaddr" | "autojoin" | "optimistic" | "proto" => {
                return Err(Failure::unsupported(word));
            }
            _ if word == "brd" || (word.len() > 1 && abbreviates(word, "broadcast")) => {
                let value = words.value()?;
                if broadcast.is_some() {
                    return Err(Failure::duplicate("broadcast", value));
                }
                broadcast = Some(match value {
                    "+" => Broadcast::Ones,
                    "-" => Broadcast::Zeros,
                    address => Broadcast::Address(address),
                });
            }
            _ if word.len() > 1 && (abbreviates(word, "valid_lft") || abbreviates(word, "preferred_lft")) => {
                if words.value()? != "forever" {
                    return Err(Failure::unsupported(word));
                }
            }
            _ => {
                let value = if word == "local" { words.value()? } else { word };
                if local.is_some() {
                    return Err(Failure::garbage("local", value));
                }
                local = Some((argument::prefix(value)?, value.contains('/')));
            }
        }
    }
    let Some(name) = name else {
        return Err(Failure::new(1, "Not enough information: \"dev\" argument is required."));
    };
    let broadcast = match (broadcast, local) {
        (Some(Broadcast::Address(text)), _) => Some(argument::address(text)?),
        (Some(Broadcast::Ones), Some((cidr, _))) => cidr.broadcast(),
        (Some(Broadcast::Zeros), Some((cidr, _))) if cidr.prefix_len() <= 30 => {
            Some(cidr.network().address())
        }
        _ => None,
    };
    let id = device(name, config)?;
    let Some((cidr, has_length)) = local else {
        return Err(Failure::new(2, "RTNETLINK answers: Operation not supported"));
    };
    let new = NewAddress { cidr, broadcast, scope, label };
    Ok(Action::edit(move |config| match mode {
        Mode::Delete => config.delete_address(id, cidr.address(), has_length.then_some(cidr.prefix_len())),
        // As on Linux, replacing an address that is there changes nothing but its lifetime.
        Mode::Replace if config.interface(id).addresses.iter().any(|entry| entry.cidr == cidr) => {
            Ok(Change::NONE)
        }
        Mode::Add | Mode::Replace => config.add_address(id, &new),
    }))
}

/// Which addresses are meant.
#[derive(Clone, Default)]
struct Selector {
    device: Option<InterfaceId>,
    only_up: bool,
    scope: Option<Scope>,
    to: Option<Ipv4Cidr>,
    label: Option<InterfaceName>,
    secondary: Option<bool>,
}

impl Selector {
    fn parse(mut words: Arguments<'_>, config: &Config) -> Result<Self, Failure> {
        let mut selector = Self::default();
        let mut device = None;
        while let Some(word) = words.next() {
            match word {
                "up" => selector.only_up = true,
                "primary" => selector.secondary = Some(false),
                "secondary" => selector.secondary = Some(true),
                // All addresses are.
                "permanent" => {}
                "to" => selector.to = Some(argument::prefix(words.value()?)?),
                "scope" => {
                    let value = words.value()?;
                    if value != "all" {
                        let known = argument::scope(value);
                        selector.scope =
                            Some(known.ok_or_else(|| Failure::wrong(value, "invalid \"scope\""))?);
                    }
                }
                "label" => {
                    let value = words.value()?;
                    let fits = InterfaceName::try_from(value);
                    selector.label = Some(fits.map_err(|_| Failure::wrong(value, "\"label\" is too long"))?);
                }
                "dynamic" | "temporary" | "deprecated" | "tentative" | "master" | "vrf" | "type"
                | "group" => {
                    return Err(Failure::unsupported(word));
                }
                _ => {
                    let name = if word == "dev" { words.value()? } else { word };
                    if device.is_some() {
                        return Err(Failure::garbage("dev", name));
                    }
                    device = Some(name);
                }
            }
        }
        selector.device = device.map(|name| link::existing(name, config)).transpose()?;
        Ok(selector)
    }

    fn means_interface(&self, id: InterfaceId, interface: &Interface) -> bool {
        self.device.is_none_or(|device| device == id) && (!self.only_up || interface.up)
    }

    fn means(&self, interface: &Interface, entry: &InterfaceAddress) -> bool {
        self.scope.is_none_or(|scope| scope == entry.scope)
            && self.to.is_none_or(|to| to.contains_addr(&entry.cidr.address()))
            && self.label.as_ref().is_none_or(|wanted| wanted == label(interface, entry))
            && self.secondary.is_none_or(|secondary| secondary == entry.secondary)
    }

    /// Whether an interface without any such address is still listed.
    fn means_bare_interfaces(&self) -> bool {
        self.scope.is_none() && self.to.is_none() && self.label.is_none() && self.secondary.is_none()
    }
}

fn flush(words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    if words.peek().is_none() {
        return Err(Failure::new(1, "Flush requires arguments."));
    }
    let selector = Selector::parse(words, config)?;
    Ok(Action::edit(move |config| {
        Ok::<_, Failure>(config.flush_addresses(|id, interface, entry| {
            selector.means_interface(id, interface) && selector.means(interface, entry)
        }))
    }))
}

fn show(options: Options, words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let selector = Selector::parse(words, config)?;
    Ok(Action::show(move |router| {
        let mut printer = Printer::new(options);
        for (id, interface) in router.config().interfaces() {
            if selector.means_interface(id, interface) {
                entry(&mut printer, id, interface, &selector, router);
            }
        }
        printer.finish();
        printer.take()
    }))
}

fn entry(
    printer: &mut Printer,
    id: InterfaceId,
    interface: &Interface,
    selector: &Selector,
    router: &Router,
) {
    let options = printer.options();
    let addresses: Vec<&InterfaceAddress> = match options.family {
        Family::Any | Family::Inet => {
            interface.addresses.iter().filter(|entry| selector.means(interface, entry)).collect()
        }
        Family::Inet6 | Family::Link => Vec::new(),
    };
    let bare = selector.means_bare_interfaces() && matches!(options.family, Family::Any | Family::Link);
    if addresses.is_empty() && !bare {
        return;
    }
    printer.open_object("");
    if options.brief {
        link::brief(printer, id, interface, router);
    } else if options.oneline && !options.json {
        return addresses.into_iter().for_each(|entry| {
            printer.text(format_args!("{}: {}    ", id.index(), interface.name));
            address(printer, interface, entry);
            printer.text("\n");
        });
    } else if selector.label.is_none() {
        link::head(printer, id, interface, router, false);
        printer.text("\n");
        if matches!(options.family, Family::Any | Family::Link) && selector.to.is_none() {
            link::hardware(printer, interface);
            printer.text("\n");
        }
    }
    if options.family != Family::Link {
        printer.open_array("addr_info");
        for entry in addresses {
            printer.open_object("");
            if options.brief {
                local(printer, entry);
                printer.text(" ");
            } else {
                printer.text("    ");
                address(printer, interface, entry);
                printer.text("\n");
            }
            printer.close_object();
        }
        printer.close_array();
    }
    if options.brief {
        printer.text("\n");
    } else if options.statistics {
        link::statistics(printer, id, router);
        printer.text("\n");
    }
    printer.close_object();
}

fn local(printer: &mut Printer, entry: &InterfaceAddress) {
    printer.string("local", "", entry.cidr.address(), "");
    printer.number("prefixlen", "/", entry.cidr.prefix_len().into(), "");
}

fn label<'a>(interface: &'a Interface, entry: &'a InterfaceAddress) -> &'a InterfaceName {
    entry.label.as_ref().unwrap_or(&interface.name)
}

fn address(printer: &mut Printer, interface: &Interface, entry: &InterfaceAddress) {
    printer.string("family", "", "inet", " ");
    local(printer, entry);
    printer.text(" ");
    if let Some(broadcast) = entry.broadcast {
        printer.string("broadcast", "brd ", broadcast, " ");
    }
    printer.string("scope", "scope ", argument::scope_name(entry.scope), " ");
    if entry.secondary {
        printer.flag("secondary", "secondary ");
    }
    printer.string("label", "", label(interface, entry), "");
    printer.line();
    printer.text("       valid_lft forever preferred_lft forever");
    printer.json_number("valid_life_time", u32::MAX.into());
    printer.json_number("preferred_life_time", u32::MAX.into());
}
