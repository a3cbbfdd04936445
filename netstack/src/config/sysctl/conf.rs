//! `net.ipv4.conf.*`: the settings of all interfaces together, of those to come, and of each of them.

use super::{Config, SysctlError, parse};
use crate::config::interface::ReversePath;
use alloc::{format, string::String};

/// Where they are, below /proc/sys.
pub(super) const CONF: &str = "net/ipv4/conf/";

/// Those that can be set.
const SETTINGS: [&str; 3] = ["forwarding", "log_martians", "rp_filter"];

/// Those that are always 0: no packet by a source route, none from an own address or for one of 127/8, no redirect sent or
/// believed, no directed broadcast sent on, no ARP for others and no relaying of BOOTP.
const ALWAYS_OFF: [&str; 9] = [
    "accept_local",
    "accept_redirects",
    "accept_source_route",
    "bc_forwarding",
    "bootp_relay",
    "proxy_arp",
    "route_localnet",
    "secure_redirects",
    "send_redirects",
];

/// Whose settings.
#[derive(Clone, Copy)]
enum Who {
    All,
    Default,
    /// The place of an interface.
    One(usize),
}

impl Config {
    fn who(&self, name: &str) -> Option<Who> {
        match name {
            "all" => Some(Who::All),
            "default" => Some(Who::Default),
            _ => self.find_interface(name).map(|id| Who::One(id.0.into())),
        }
    }

    /// The value of `WHO/KEY`.
    pub(super) fn conf(&self, path: &str) -> Option<u32> {
        let (name, key) = path.rsplit_once('/')?;
        let (who, values) = (self.who(name)?, &self.sysctl);
        Some(match (key, who) {
            ("forwarding", Who::All) => values.ip_forward.into(),
            ("forwarding", Who::Default) => values.forwarding_default.into(),
            ("forwarding", Who::One(place)) => self.interfaces[place].forwarding.into(),
            ("log_martians", Who::All) => values.log_martians_all.into(),
            ("log_martians", Who::Default) => values.log_martians_default.into(),
            ("log_martians", Who::One(place)) => self.interfaces[place].log_martians.into(),
            ("rp_filter", Who::All) => values.rp_filter_all as u32,
            ("rp_filter", Who::Default) => values.rp_filter_default as u32,
            ("rp_filter", Who::One(place)) => self.interfaces[place].rp_filter as u32,
            _ if ALWAYS_OFF.contains(&key) => 0,
            _ => return None,
        })
    }

    /// Sets `WHO/KEY`.
    pub(super) fn set_conf(&mut self, path: &str, value: &str) -> Result<(), SysctlError> {
        let (name, key) = path.rsplit_once('/').ok_or(SysctlError::Unknown)?;
        let who = self.who(name).ok_or(SysctlError::Unknown)?;
        match key {
            "forwarding" => {
                let on = parse(value, 1)? != 0;
                match who {
                    Who::All => self.set_ip_forward(on),
                    Who::Default => self.sysctl.forwarding_default = on,
                    Who::One(place) => self.interfaces[place].forwarding = on,
                }
            }
            "log_martians" => {
                *match who {
                    Who::All => &mut self.sysctl.log_martians_all,
                    Who::Default => &mut self.sysctl.log_martians_default,
                    Who::One(place) => &mut self.interfaces[place].log_martians,
                } = parse(value, 1)? != 0;
            }
            "rp_filter" => {
                *match who {
                    Who::All => &mut self.sysctl.rp_filter_all,
                    Who::Default => &mut self.sysctl.rp_filter_default,
                    Who::One(place) => &mut self.interfaces[place].rp_filter,
                } = match parse(value, 2)? {
                    0 => ReversePath::Off,
                    1 => ReversePath::Strict,
                    _ => ReversePath::Loose,
                };
            }
            _ if ALWAYS_OFF.contains(&key) => parse_fixed(value, 0)?,
            _ => return Err(SysctlError::Unknown),
        }
        Ok(())
    }

    /// All of them.
    pub(super) fn conf_paths(&self) -> impl Iterator<Item = String> {
        let names = self.interfaces.iter().map(|interface| interface.name.as_str());
        ["all", "default"].into_iter().chain(names).flat_map(|who| {
            let keys = SETTINGS.into_iter().chain(ALWAYS_OFF);
            keys.map(move |key| format!("{CONF}{who}/{key}"))
        })
    }
}

/// Takes the one value that a key can have.
pub(super) fn parse_fixed(value: &str, only: u32) -> Result<(), SysctlError> {
    if parse(value, only) == Ok(only) { Ok(()) } else { Err(SysctlError::Fixed(only)) }
}
