//! `ip rule`: which routing table a packet is to look in.

use super::{Options, unknown_command};
use crate::{
    command::{
        Action, Failure,
        argument::{self, Arguments, abbreviates, device, number},
        print::Printer,
    },
    config::{
        Config,
        policy::{Mark, Policy, RoutingRule, RuleAction, RuleDescription, RuleSelector, TableId},
    },
};
use alloc::{format, string::String};
use smoltcp::wire::Ipv4Cidr;

pub fn parse(options: Options, mut words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let Some(command) = words.next() else { return show(options, words, config) };
    match command {
        "lst" => show(options, words, config),
        _ if abbreviates(command, "list") || abbreviates(command, "show") => show(options, words, config),
        _ if abbreviates(command, "add") => {
            let description = describe("add", words, config)?;
            Ok(Action::edit(move |config| config.add_rule(&description)))
        }
        _ if abbreviates(command, "delete") => {
            let description = describe("del", words, config)?;
            Ok(Action::edit(move |config| config.delete_rule(&description)))
        }
        _ if abbreviates(command, "flush") => {
            let selection = Selection::parse(words, config)?;
            // As on Linux, what has the priority of the local table's rule stays.
            let meant = move |rule: &RoutingRule| rule.priority != 0 && selection.means(rule);
            Ok(Action::edit(move |config| Ok::<_, Failure>(config.flush_rules(&meant))))
        }
        _ if abbreviates(command, "help") => Ok(Action::print(USAGE)),
        _ => Err(unknown_command(command, "rule")),
    }
}

const USAGE: &str = "Usage: ip rule { add | del } [ not ] [ from PREFIX ] [ to PREFIX ] [ iif DEVICE ] [ fwmark VALUE[/MASK] ]
                 [ priority NUMBER ] [ ACTION ]
       ip rule { show | flush } [ from PREFIX ] [ to PREFIX ] [ iif DEVICE ] [ fwmark VALUE[/MASK] ] [ priority NUMBER ]
                 [ table TABLE ]
ACTION := { table TABLE [ suppress_prefixlength LENGTH ] | blackhole | unreachable | prohibit }
TABLE := { main | local | default | NUMBER }";

/// What may be said of a rule, whether it is to be made, deleted or listed.
fn common<'a>(
    word: &str,
    words: &mut Arguments<'a>,
    config: &Config,
    it: &mut RuleDescription,
) -> Result<bool, Failure> {
    match word {
        "from" => it.from = Some(argument::prefix(words.value()?)?),
        "to" => it.to = Some(argument::prefix(words.value()?)?),
        "iif" | "dev" => it.ingress = Some(device(words.value()?, config)?),
        "fwmark" => it.mark = mark(words.value()?)?,
        "lookup" => it.action = Some(RuleAction::Lookup(lookup(words.value()?)?)),
        _ if abbreviates(word, "preference")
            || abbreviates(word, "order")
            || abbreviates(word, "priority") =>
        {
            let value = words.value()?;
            let priority =
                number(value).ok_or_else(|| Failure::wrong(value, "preference value is invalid"))?;
            it.priority = Some(priority);
        }
        _ if abbreviates(word, "table") => it.action = Some(RuleAction::Lookup(lookup(words.value()?)?)),
        "tos" | "dsfield" | "oif" | "realms" | "tun_id" | "suppress_ifgroup" | "sup_group" | "l3mdev"
        | "uidrange" | "ipproto" | "sport" | "dport" | "protocol" => return Err(Failure::unsupported(word)),
        _ => return Ok(false),
    }
    Ok(true)
}

/// The words behind `add` and `del`.
fn describe(command: &str, mut words: Arguments<'_>, config: &Config) -> Result<RuleDescription, Failure> {
    if words.peek().is_none() {
        return Err(Failure::new(1, format!("\"ip rule {command}\" requires arguments.")));
    }
    let mut it = RuleDescription::default();
    while let Some(word) = words.next() {
        if common(word, &mut words, config, &mut it)? {
            continue;
        }
        match word {
            "not" => it.inverted = true,
            "suppress_prefixlength" | "sup_pl" => {
                let value = words.value()?;
                let wrong = || Failure::wrong(value, "suppress_prefixlength value is invalid");
                let length: u32 = number(value).ok_or_else(wrong)?;
                it.suppress = Some(u8::try_from(length).map_err(|_| wrong())?);
            }
            _ => {
                let word = if word == "type" { words.value()? } else { word };
                match word {
                    "unicast" => {}
                    "blackhole" => it.action = Some(RuleAction::Blackhole),
                    "unreachable" => it.action = Some(RuleAction::Unreachable),
                    "prohibit" => it.action = Some(RuleAction::Prohibit),
                    "goto" | "nop" | "nat" | "throw" | "local" | "broadcast" | "multicast" | "anycast" => {
                        return Err(Failure::unsupported(word));
                    }
                    _ => return Err(Failure::wrong(word, "Failed to parse rule type")),
                }
            }
        }
    }
    Ok(it)
}

fn lookup(word: &str) -> Result<TableId, Failure> {
    let wrong = || Failure::wrong(word, "invalid table ID");
    argument::table(word).filter(|table| table.0 != 0).ok_or_else(wrong)
}

fn mark(word: &str) -> Result<Mark, Failure> {
    let (value, mask) = match word.split_once('/') {
        Some((value, mask)) => (value, Some(mask)),
        None => (word, None),
    };
    let value = number(value).ok_or_else(|| Failure::wrong(word, "fwmark value is invalid"))?;
    let mask = match mask {
        Some(mask) => number(mask).ok_or_else(|| Failure::wrong(mask, "fwmask value is invalid"))?,
        // A mark of 0 alone says nothing, as on Linux.
        None if value == 0 => 0,
        None => u32::MAX,
    };
    Ok(Mark { value, mask })
}

/// Which rules are listed or flushed.
struct Selection(RuleDescription);

impl Selection {
    fn parse(mut words: Arguments<'_>, config: &Config) -> Result<Self, Failure> {
        let mut it = RuleDescription::default();
        while let Some(word) = words.next() {
            if !common(word, &mut words, config, &mut it)? {
                it.to = Some(argument::prefix(if word == "dst" { words.value()? } else { word })?);
            }
        }
        Ok(Self(it))
    }

    fn means(&self, rule: &RoutingRule) -> bool {
        let RuleDescription { priority, from, to, ingress, mark, action, .. } = self.0;
        let within = |wanted: Option<Ipv4Cidr>, have: Ipv4Cidr| {
            wanted.is_none_or(|wanted| have.prefix_len() > 0 && wanted.contains_subnet(&have))
        };
        priority.is_none_or(|wanted| wanted == rule.priority)
            && within(from, rule.selector.from)
            && within(to, rule.selector.to)
            && (ingress.is_none() || ingress == rule.selector.ingress)
            && (mark.value == 0 || mark.value == rule.selector.mark.value)
            && (mark.mask == 0 || mark.mask == rule.selector.mark.mask)
            && action.is_none_or(|wanted| wanted == rule.action)
    }
}

fn show(options: Options, words: Arguments<'_>, config: &Config) -> Result<Action, Failure> {
    let selection = Selection::parse(words, config)?;
    Ok(Action::show(move |router| {
        let mut printer = Printer::new(options);
        let config = router.config();
        for rule in [RoutingRule::LOCAL].iter().chain(&config.policy.rules) {
            if selection.means(rule) {
                entry(&mut printer, rule, config);
            }
        }
        printer.finish();
        printer.take()
    }))
}

fn entry(printer: &mut Printer, rule: &RoutingRule, config: &Config) {
    let RuleSelector { inverted, from, to, ingress, mark } = rule.selector;
    printer.open_object("");
    printer.number("priority", "", rule.priority.into(), ":\t");
    if inverted {
        printer.null("not", "not ");
    }
    match from.prefix_len() {
        0 => printer.string("src", "from ", "all", ""),
        _ => network(printer, ["src", "srclen"], "from ", from),
    }
    if to.prefix_len() > 0 {
        network(printer, ["dst", "dstlen"], " to ", to);
    }
    if mark != Mark::default() {
        printer.string("fwmark", " fwmark ", hexadecimal(mark.value), "");
        if mark.mask != u32::MAX {
            printer.string("fwmask", "/", hexadecimal(mark.mask), "");
        }
    }
    if let Some(ingress) = ingress {
        printer.string("iif", " iif ", config.name(ingress), "");
    }
    match rule.action {
        RuleAction::Lookup(id) => {
            printer.string("table", " lookup ", id, "");
            if let Some(length) = rule.suppress {
                printer.number("suppress_prefixlen", " suppress_prefixlength ", length.into(), "");
            }
        }
        other => printer.string("action", " ", action_text(other), ""),
    }
    if printer.options().details {
        let default = Policy::default();
        let made_by_kernel = *rule == RoutingRule::LOCAL || default.rules.contains(rule);
        printer.string("protocol", " proto ", if made_by_kernel { "kernel" } else { "unspec" }, "");
    }
    printer.text("\n");
    printer.close_object();
}

fn network(printer: &mut Printer, keys: [&str; 2], before: &str, network: Ipv4Cidr) {
    printer.string(keys[0], before, network.address(), "");
    if network.prefix_len() < 32 {
        printer.number(keys[1], "/", network.prefix_len().into(), "");
    }
}

fn action_text(action: RuleAction) -> &'static str {
    match action {
        RuleAction::Lookup(_) => "lookup",
        RuleAction::Blackhole => "blackhole",
        RuleAction::Unreachable => "unreachable",
        RuleAction::Prohibit => "prohibit",
    }
}

/// As C's `%#x`, which has no prefix before 0.
fn hexadecimal(value: u32) -> String {
    if value == 0 { String::from("0") } else { format!("{value:#x}") }
}

/// The words that describe a rule, for `config show`.
pub fn rule_text(rule: &RoutingRule, config: &Config) -> String {
    let RuleSelector { inverted, from, to, ingress, mark } = rule.selector;
    let mut text = format!("priority {}", rule.priority);
    if inverted {
        text += " not";
    }
    for (word, network) in [("from", from), ("to", to)] {
        if network.prefix_len() > 0 {
            text += &format!(" {word} {network}");
        }
    }
    if mark != Mark::default() {
        text += &format!(" fwmark {:#x}/{:#x}", mark.value, mark.mask);
    }
    if let Some(ingress) = ingress {
        text += &format!(" iif {}", config.name(ingress));
    }
    match rule.action {
        RuleAction::Lookup(id) => text += &format!(" lookup {}", id),
        other => text += &format!(" {}", action_text(other)),
    }
    if let Some(length) = rule.suppress {
        text += &format!(" suppress_prefixlength {length}");
    }
    text
}
