//! `ethtool`: what the network cards do for the router, and what their drivers count.

use super::{Action, Failure, argument::device};
use crate::{
    config::{Config, interface::Interface},
    interface::{InterfaceId, PortId},
    offload::Abilities,
};
use alloc::{format, string::String};

pub const USAGE: &str = "\
usage: ethtool { -k | -i | -S } DEVICE
       ethtool -K DEVICE FEATURE { on | off } ..
FEATURE := { tx | tso | tx-tcp-segmentation | tx-tcp-ecn-segmentation | tx-tcp6-segmentation | tx-udp-segmentation }";

pub fn words(before: &[&str]) -> &'static [&'static str] {
    match before {
        [] => &["-K", "-S", "-i", "-k"],
        ["-K", _, ..] if before.len().is_multiple_of(2) => &[
            "tso",
            "tx",
            "tx-tcp-ecn-segmentation",
            "tx-tcp-segmentation",
            "tx-tcp6-segmentation",
            "tx-udp-segmentation",
        ],
        ["-K", ..] if before.len() > 2 => &["off", "on"],
        _ => &[],
    }
}

/// One of a card's abilities, in a set of them.
type Part = fn(&mut Abilities) -> &mut bool;

const CHECKSUM: Part = |abilities| &mut abilities.checksum;
const TSO4: Part = |abilities| &mut abilities.tso4;
const ECN: Part = |abilities| &mut abilities.ecn;
const TSO6: Part = |abilities| &mut abilities.tso6;
const USO: Part = |abilities| &mut abilities.uso;

/// Where the state of a feature comes from.
enum State {
    /// From any of these, which can be switched where the card has them.
    Card(&'static [Part]),
    /// From what the card may leave undone on the frames that it receives; that is agreed once.
    Receives(Part),
    /// It never changes.
    Always(bool),
}

/// A feature as Linux names it, and in short. A part of the one before it begins with a tab.
struct Feature {
    name: &'static str,
    short: &'static str,
    state: State,
}

const fn feature(name: &'static str, short: &'static str, state: State) -> Feature {
    Feature { name, short, state }
}

/// In Linux's order.
static FEATURES: [Feature; 14] = [
    feature("rx-checksumming", "rx", State::Receives(CHECKSUM)),
    feature("tx-checksumming", "tx", State::Card(&[CHECKSUM])),
    feature("\ttx-checksum-ip-generic", "", State::Card(&[CHECKSUM])),
    feature("scatter-gather", "sg", State::Always(true)),
    feature("\ttx-scatter-gather", "", State::Always(true)),
    feature("tcp-segmentation-offload", "tso", State::Card(&[TSO4, ECN, TSO6])),
    feature("\ttx-tcp-segmentation", "", State::Card(&[TSO4])),
    feature("\ttx-tcp-ecn-segmentation", "", State::Card(&[ECN])),
    feature("\ttx-tcp6-segmentation", "", State::Card(&[TSO6])),
    // What a card does not cut, the router does.
    feature("generic-segmentation-offload", "gso", State::Always(true)),
    feature("generic-receive-offload", "gro", State::Always(false)),
    feature("large-receive-offload", "lro", State::Always(false)),
    feature("tx-udp-segmentation", "", State::Card(&[USO])),
    // So Linux calls what a virtio card does that hands on segments put together.
    feature("rx-gro-hw", "", State::Receives(TSO4)),
];

pub fn parse(words: &[String], config: &Config) -> Result<Action, Failure> {
    let wrong = || Failure::new(1, "ethtool: bad command line argument(s)");
    let [option, name, changes @ ..] = words else {
        return match words {
            [word] if word == "-h" || word == "--help" => Ok(Action::print(USAGE)),
            _ => Err(wrong()),
        };
    };
    let id = device(name, config)?;
    match (option.as_str(), changes) {
        ("-k" | "--show-features" | "--show-offload", []) => {
            Ok(Action::show(move |router| list(router.config().interface(id))))
        }
        ("-K" | "--features" | "--offload", [_, ..]) => change(id, changes, config),
        ("-i" | "--driver", []) => {
            let port = card(id, config)?;
            Ok(Action::once(move |session| Ok(driver(&session.platform.card_address(port)))))
        }
        ("-S" | "--statistics", []) => {
            let port = card(id, config)?;
            Ok(Action::once(move |session| {
                let mut out = String::from("NIC statistics:\n");
                session.platform.card_counters(port, &mut |name, value| {
                    out += &format!("     {name}: {value}\n");
                });
                Ok(out)
            }))
        }
        (_, [other, ..]) => Err(Failure::new(1, format!("ethtool: unexpected argument '{other}'"))),
        _ => Err(wrong()),
    }
}

fn card(id: InterfaceId, config: &Config) -> Result<PortId, Failure> {
    let name = config.name(id);
    let none =
        || Failure::new(71, format!("Cannot get driver information of \"{name}\": Operation not supported"));
    config.interface(id).port().ok_or_else(none)
}

/// `-i`
fn driver(address: &str) -> String {
    format!(
        "driver: virtio_net\nversion: {}\nfirmware-version: \nexpansion-rom-version: \nbus-info: {address}\n\
         supports-statistics: yes\nsupports-test: no\nsupports-eeprom-access: no\nsupports-register-dump: no\n\
         supports-priv-flags: no\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// `-k`
fn list(interface: &Interface) -> String {
    let mut out = format!("Features for {}:\n", interface.name);
    for Feature { name, state, .. } in &FEATURES {
        let on = |on| if on { "on" } else { "off" };
        let (now, note) = match *state {
            State::Always(now) => (now, " [fixed]"),
            State::Receives(part) => (*part(&mut interface.accepts()), " [fixed]"),
            State::Card(parts) => {
                let has = |abilities: Abilities| parts.iter().any(|part| *part(&mut { abilities }));
                let now = has(interface.abilities());
                match (has(interface.card_abilities()), has(interface.wanted_abilities)) {
                    (false, _) => (now, " [fixed]"),
                    (true, true) if !now => (now, " [requested on]"),
                    _ => (now, ""),
                }
            }
        };
        out += &format!("{name}: {}{note}\n", on(now));
    }
    out
}

/// `-K`
fn change(id: InterfaceId, changes: &[String], config: &Config) -> Result<Action, Failure> {
    let interface = config.interface(id);
    let (card, mut wanted) = (interface.card_abilities(), interface.wanted_abilities);
    for pair in changes.chunks(2) {
        let name = &pair[0];
        let on = match pair.get(1).map(String::as_str) {
            Some("on") => true,
            Some("off") => false,
            Some(other) => {
                return Err(Failure::new(1, format!("ethtool: {name} is on or off, not '{other}'")));
            }
            None => return Err(Failure::new(1, format!("ethtool: {name}: on or off?"))),
        };
        let known =
            FEATURES.iter().find(|it| it.name.trim_start() == name || it.short == name && !name.is_empty());
        let Some(Feature { name, state, .. }) = known else {
            return Err(Failure::new(1, format!("ethtool: unknown feature '{name}'")));
        };
        let fixed = match *state {
            State::Always(now) => now != on,
            State::Receives(part) => *part(&mut interface.accepts()) != on,
            State::Card(parts) => {
                parts.iter().for_each(|part| *part(&mut wanted) = on);
                on && !parts.iter().any(|part| *part(&mut { card }))
            }
        };
        if fixed {
            return Err(Failure::new(1, format!("Cannot change {}", name.trim_start())));
        }
    }
    Ok(Action::edit(move |config| config.set_wanted_abilities(id, wanted)))
}

/// The words that lead from one wish to another (`config show`).
pub fn words_between(from: Abilities, to: Abilities) -> String {
    let single = FEATURES.iter().filter_map(|feature| match feature.state {
        State::Card(&[part]) if !feature.name.contains("ip-generic") => Some((feature, part)),
        _ => None,
    });
    let mut out = String::new();
    for (Feature { name, short, .. }, part) in single {
        let now = *part(&mut { to });
        if now != *part(&mut { from }) {
            let name = if short.is_empty() { name.trim_start() } else { short };
            out += &format!(" {name} {}", if now { "on" } else { "off" });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        command::tests::Terminal,
        config::PortInfo,
        router::{Limits, Router},
        test_support,
    };

    /// A router whose first card can all, and whose second nothing.
    fn terminal() -> Terminal {
        let mut terminal = Terminal::new();
        let plain = |last| PortInfo::new(test_support::mac(last), 1500);
        let able = PortInfo { abilities: Abilities::ALL, accepts: Abilities::ALL, ..plain(1) };
        terminal.router = Router::new(&[able, plain(2)], &Limits::default(), &mut test_support::random());
        terminal
    }

    #[test]
    fn features_are_listed_as_linux_lists_them() {
        let mut terminal = terminal();
        assert_eq!(
            terminal.run("ethtool -k eth0"),
            "Features for eth0:\nrx-checksumming: on [fixed]\ntx-checksumming: on\n\ttx-checksum-ip-generic: on\n\
             scatter-gather: on [fixed]\n\ttx-scatter-gather: on [fixed]\ntcp-segmentation-offload: on\n\
             \ttx-tcp-segmentation: on\n\ttx-tcp-ecn-segmentation: on\n\ttx-tcp6-segmentation: on\n\
             generic-segmentation-offload: on [fixed]\ngeneric-receive-offload: off [fixed]\n\
             large-receive-offload: off [fixed]\ntx-udp-segmentation: on\nrx-gro-hw: on [fixed]\n"
        );
        let without = terminal.run("ethtool -k eth1");
        assert!(
            without.contains("\nrx-checksumming: off [fixed]\ntx-checksumming: off [fixed]\n"),
            "{without}"
        );
    }

    #[test]
    fn what_a_card_has_can_be_switched_and_what_needs_it_goes_with_it() {
        let mut terminal = terminal();
        terminal.set("ethtool -K eth0 tx off tx-udp-segmentation off");
        let now = terminal.run("ethtool -k eth0");
        assert!(now.contains("\ntx-checksumming: off\n"), "{now}");
        assert!(now.contains("\ntcp-segmentation-offload: off [requested on]\n"), "{now}");
        assert!(now.contains("\ntx-udp-segmentation: off\n"), "{now}");
        let shown = terminal.run("config show");
        assert!(shown.contains("ethtool -K eth0 tx off tx-udp-segmentation off\n"), "{shown}");
        terminal.set("ethtool -K eth0 tx on tso off tx-udp-segmentation on");
        let abilities = terminal.router.config().interfaces[1].abilities();
        assert_eq!(abilities, Abilities { tso4: false, tso6: false, ecn: false, ..Abilities::ALL });
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let mut terminal = terminal();
        for (words, refusal) in [
            ("-K eth0 rx off", "Cannot change rx-checksumming\n"),
            ("-K eth0 gso off", "Cannot change generic-segmentation-offload\n"),
            ("-K eth1 tx on", "Cannot change tx-checksumming\n"),
            ("-K eth0 tso off rx off", "Cannot change rx-checksumming\n"),
            ("-K eth0 warp on", "ethtool: unknown feature 'warp'\n"),
            ("-K eth0 tso maybe", "ethtool: tso is on or off, not 'maybe'\n"),
            ("-K eth0 tso", "ethtool: tso: on or off?\n"),
            ("-k eth9", "Cannot find device \"eth9\"\n"),
            ("-k eth0 more", "ethtool: unexpected argument 'more'\n"),
            ("-k", "ethtool: bad command line argument(s)\n"),
            ("-i lo", "Cannot get driver information of \"lo\": Operation not supported\n"),
        ] {
            assert_eq!(terminal.run(&format!("ethtool {words}")), refusal);
        }
        assert_eq!(terminal.router.config().interfaces[1].abilities(), Abilities::ALL, "nothing has changed");
        terminal.set("ethtool -K eth0 rx on gso on gro off");
    }

    #[test]
    fn driver_and_statistics_come_from_the_machine() {
        let mut terminal = terminal();
        let driver = terminal.run("ethtool -i eth1");
        assert!(
            driver.starts_with("driver: virtio_net\n") && driver.contains("\nbus-info: 0000:00:01.0\n"),
            "{driver}"
        );
        assert_eq!(terminal.run("ethtool -S eth1"), "NIC statistics:\n     rx_kicks: 1\n     tx_kicks: 2\n");
    }
}
