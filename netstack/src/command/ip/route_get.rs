//! `ip route get`: asks the forwarding table itself where a packet would go.

use super::{Options, route_show};
use crate::{
    command::{
        Action, Failure,
        argument::{self, Arguments, device, number},
        print::Printer,
    },
    config::{
        Config,
        policy::{Policy, TableId},
    },
    interface::InterfaceId,
    router::Router,
    table::fib::{Destination, Found, Query},
};
use alloc::string::String;
use smoltcp::wire::Ipv4Address;

/// What is asked.
struct Question {
    address: Ipv4Address,
    from: Option<Ipv4Address>,
    ingress: Option<InterfaceId>,
    egress: Option<InterfaceId>,
    mark: u32,
}

pub fn parse(options: Options, mut words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let mut address = None;
    let (mut from, mut ingress, mut egress, mut mark) = (None, None, None, 0);
    while let Some(word) = words.next() {
        match word {
            "from" => from = Some(argument::address(words.value()?)?),
            "iif" => ingress = Some(device(words.value()?, config)?),
            "oif" | "dev" => egress = Some(device(words.value()?, config)?),
            "mark" => {
                let value = words.value()?;
                mark = number(value).ok_or_else(|| Failure::wrong(value, "invalid mark"))?;
            }
            "tos" | "dsfield" | "uid" | "ipproto" | "sport" | "dport" | "fibmatch" | "connected"
            | "notify" | "vrf" | "via" => return Err(Failure::unsupported(word)),
            _ => {
                let value = if word == "to" { words.value()? } else { word };
                if address.is_some() {
                    return Err(Failure::garbage("to", value));
                }
                address = Some(argument::prefix(value)?.address());
            }
        }
    }
    let address = address.ok_or_else(|| Failure::new(1, "need at least a destination address"))?;
    let question = Question { address, from, ingress, egress, mark };
    Ok(Action::look(move |router| answer(options, &question, router)))
}

fn refuse(text: &str) -> Failure {
    Failure::new(2, alloc::format!("RTNETLINK answers: {text}"))
}

fn answer(options: Options, question: &Question, router: &Router) -> Result<String, Failure> {
    let config = router.config();
    let query = Query {
        source: question.from.unwrap_or(Ipv4Address::UNSPECIFIED),
        ingress: question.ingress.unwrap_or(InterfaceId::LOOPBACK),
        mark: question.mark,
        ..Query::to(question.address)
    };
    let Found { destination, table, route } = router.fib().find(config, &query);
    let local = matches!(destination, Destination::Local { .. });
    match (question.ingress, question.from) {
        (Some(_), None) => return Err(refuse("Invalid argument")),
        (Some(ingress), Some(from)) => {
            let interface = config.interface(ingress);
            let mode = interface.rp_filter.max(config.sysctl.rp_filter_all);
            if !router.fib().reverse_path(config, (from, ingress), || query, mode) {
                return Err(refuse("Invalid cross-device link"));
            }
            if !interface.forwarding && !local {
                return Err(refuse("No route to host"));
            }
        }
        (None, Some(from)) if !config.is_local(from) => return Err(refuse("Network is unreachable")),
        (None, _) => {}
    }
    let (kind, interface, gateway, source, cache) = match destination {
        Destination::Unicast(hop) => ("unicast", hop.interface, hop.gateway, hop.source, None),
        Destination::Local { .. } => {
            ("local", InterfaceId::LOOPBACK, None, Some(question.address), Some("local"))
        }
        Destination::Broadcast { interface: Some(interface) } => {
            let source = router.fib().source_for(config, question.address);
            ("broadcast", interface, None, source, Some("local,brd"))
        }
        Destination::Blackhole => return Err(refuse("Invalid argument")),
        Destination::Unreachable => return Err(refuse("No route to host")),
        Destination::Prohibit => return Err(refuse("Permission denied")),
        Destination::NoRoute | Destination::Multicast | Destination::Broadcast { interface: None } => {
            return Err(refuse("Network is unreachable"));
        }
    };
    if question.egress.is_some_and(|wanted| wanted != interface) {
        return Err(refuse("Network is unreachable"));
    }

    let mut printer = Printer::new(options);
    printer.open_object("");
    if kind != "unicast" || options.details {
        printer.string("type", "", kind, " ");
    }
    printer.string("dst", "", question.address, " ");
    if let Some(from) = question.from {
        printer.string("from", "from ", from, " ");
    }
    if let Some(gateway) = gateway {
        printer.string("gateway", "via ", gateway, " ");
    }
    printer.string("dev", "dev ", config.name(interface), " ");
    // Linux keeps `local` and `main` together until there is a rule.
    let together = config.policy.rules == Policy::default().rules;
    let shown = match table.unwrap_or(TableId::MAIN) {
        TableId::LOCAL if together => TableId::MAIN,
        table => table,
    };
    if shown != TableId::MAIN || (options.details && together) {
        printer.string("table", "table ", shown, " ");
    }
    if let Some(source) = source.filter(|_| question.from.is_none()) {
        printer.string("prefsrc", "src ", source, " ");
    }
    printer.open_array("flags");
    printer.close_array();
    if question.mark != 0 {
        printer.number("mark", "mark ", question.mark.into(), " ");
    }
    if question.ingress.is_none() {
        printer.number("uid", "uid ", 0, " ");
    }
    printer.line();
    printer.text("    cache ");
    printer.open_array("cache");
    if let Some(cache) = cache {
        printer.text(format_args!("<{cache}> "));
        cache.split(',').for_each(|flag| printer.element(flag));
    }
    printer.close_array();
    if let Some(route) = route {
        route_show::metrics(&mut printer, &route.metrics);
    }
    if let Some(ingress) = question.ingress {
        printer.string("iif", "iif ", config.name(ingress), " ");
    }
    printer.text("\n");
    printer.close_object();
    printer.finish();
    Ok(printer.take())
}
