//! The values of `sysctl`, with the names and defaults of Linux's ip-sysctl.rst and nf_conntrack-sysctl.rst.

use super::{Change, Config, interface::ReversePath};
use crate::sort::sort;
use alloc::{format, string::String, vec::Vec};

/// All of them. Times are in seconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sysctl {
    /// `net.ipv4.ip_forward`. Setting it sets every `conf.*.forwarding`.
    pub ip_forward: bool,
    /// `net.ipv4.conf.all.rp_filter`.
    pub rp_filter_all: ReversePath,
    /// `net.ipv4.conf.default.rp_filter`.
    pub rp_filter_default: ReversePath,
    /// `net.ipv4.conf.default.forwarding`.
    pub forwarding_default: bool,
    /// `net.ipv4.ip_local_port_range`: first and last port of the router's own connections, and of translated
    /// ones whose own port is taken.
    pub local_port_range: (u16, u16),
    /// `net.ipv4.fib_multipath_hash_policy`: whether flows are told apart by their addresses alone (0), or by their ports too
    /// (1), where a route has several next hops.
    pub fib_multipath_hash_policy: u32,
    /// `net.ipv4.icmp_echo_ignore_all`.
    pub icmp_echo_ignore_all: bool,
    /// `net.ipv4.icmp_ratelimit`: the least time between two ICMP errors to one destination, in milliseconds;
    /// 0: no limit.
    pub icmp_ratelimit: u32,
    /// `net.core.netdev_overload_rate`: how many packets in a second that belong to no known flow are taken from a card that
    /// brings more than the router can take, at first; 0: any number. See [`crate::stage::overload`].
    pub overload_rate: u32,
    /// `net.netfilter.nf_nat_full_cone`: whether anybody outside reaches an inner host by an outer port that it holds
    /// (endpoint-independent filtering, RFC 4787 5), as far as the filter's rules let him.
    pub full_cone: bool,
    /// `net.netfilter.nf_conntrack_*`.
    pub conntrack: ConntrackSysctl,
}

/// The settings of connection tracking. The names are those behind `nf_conntrack_`; timers follow requirement 23
/// where Linux's defaults are shorter or longer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct ConntrackSysctl {
    /// Largest number of flows; 0: what the memory allows.
    pub max: u32,
    /// Largest number of flows of one source; 0: no limit.
    pub max_per_source: u32,
    pub generic_timeout: u32,
    pub icmp_timeout: u32,
    pub udp_timeout: u32,
    pub udp_timeout_stream: u32,
    pub tcp_timeout_syn_sent: u32,
    pub tcp_timeout_syn_recv: u32,
    pub tcp_timeout_established: u32,
    pub tcp_timeout_fin_wait: u32,
    pub tcp_timeout_close_wait: u32,
    pub tcp_timeout_last_ack: u32,
    pub tcp_timeout_time_wait: u32,
    pub tcp_timeout_close: u32,
    pub tcp_timeout_unacknowledged: u32,
    pub tcp_timeout_max_retrans: u32,
    /// Whether FTP and TFTP are listened to for the flows that they announce (`helper`).
    pub helper: bool,
    /// Whether a TCP connection may be picked up in its middle (`tcp_loose`).
    pub tcp_loose: bool,
    /// Whether only resets are called invalid for being out of window (`tcp_be_liberal`).
    pub tcp_be_liberal: bool,
    /// Whether not even those are (`tcp_ignore_invalid_rst`); they change nothing either way.
    pub tcp_ignore_invalid_rst: bool,
}

impl Default for Sysctl {
    fn default() -> Self {
        Self {
            ip_forward: false,
            rp_filter_all: ReversePath::Off,
            rp_filter_default: ReversePath::Off,
            forwarding_default: false,
            local_port_range: (32768, 60999),
            fib_multipath_hash_policy: 0,
            icmp_echo_ignore_all: false,
            icmp_ratelimit: 1000,
            overload_rate: 2000,
            full_cone: false,
            conntrack: ConntrackSysctl::default(),
        }
    }
}

impl Default for ConntrackSysctl {
    fn default() -> Self {
        Self {
            max: 0,
            max_per_source: 0,
            helper: false,
            generic_timeout: 600,
            icmp_timeout: 60,
            udp_timeout: 120,
            udp_timeout_stream: 300,
            tcp_timeout_syn_sent: 240,
            tcp_timeout_syn_recv: 240,
            tcp_timeout_established: 7440,
            tcp_timeout_fin_wait: 240,
            tcp_timeout_close_wait: 240,
            tcp_timeout_last_ack: 240,
            tcp_timeout_time_wait: 240,
            tcp_timeout_close: 10,
            tcp_timeout_unacknowledged: 300,
            tcp_timeout_max_retrans: 300,
            tcp_loose: true,
            tcp_be_liberal: false,
            tcp_ignore_invalid_rst: false,
        }
    }
}

/// Why a value was not set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SysctlError {
    /// There is no such key.
    Unknown,
    /// The key cannot have this value.
    Invalid,
}

/// A plain number that belongs to no single interface: its place below /proc/sys, and how to get at it.
struct Number {
    path: &'static str,
    get: fn(&Sysctl) -> u32,
    set: fn(&mut Sysctl, u32),
    max: u32,
}

/// Linux keeps these timers as milliseconds in an `int`.
const TIMEOUT_MAX: u32 = 2_147_483;
const INT_MAX: u32 = i32::MAX as u32;

macro_rules! number {
    ($path:literal, $($field:ident).+, flag) => {
        Number { path: $path, get: |it| it.$($field).+.into(), set: |it, value| it.$($field).+ = value != 0, max: 1 }
    };
    ($path:literal, $($field:ident).+, $max:expr) => {
        Number { path: $path, get: |it| it.$($field).+, set: |it, value| it.$($field).+ = value, max: $max }
    };
}

#[rustfmt::skip]
static NUMBERS: &[Number] = &[
    number!("net/core/netdev_overload_rate", overload_rate, INT_MAX),
    number!("net/ipv4/fib_multipath_hash_policy", fib_multipath_hash_policy, 1),
    number!("net/ipv4/icmp_echo_ignore_all", icmp_echo_ignore_all, flag),
    number!("net/ipv4/icmp_ratelimit", icmp_ratelimit, INT_MAX),
    number!("net/netfilter/nf_conntrack_generic_timeout", conntrack.generic_timeout, TIMEOUT_MAX),
    number!("net/netfilter/nf_conntrack_helper", conntrack.helper, flag),
    number!("net/netfilter/nf_conntrack_icmp_timeout", conntrack.icmp_timeout, TIMEOUT_MAX),
    number!("net/netfilter/nf_conntrack_max", conntrack.max, INT_MAX),
    number!("net/netfilter/nf_conntrack_max_per_source", conntrack.max_per_source, INT_MAX),
    number!("net/netfilter/nf_conntrack_tcp_be_liberal", conntrack.tcp_be_liberal, flag),
    number!("net/netfilter/nf_conntrack_tcp_ignore_invalid_rst", conntrack.tcp_ignore_invalid_rst, flag),
    number!("net/netfilter/nf_conntrack_tcp_loose", conntrack.tcp_loose, flag),
    number!("net/netfilter/nf_conntrack_tcp_timeout_close", conntrack.tcp_timeout_close, TIMEOUT_MAX),
    number!("net/netfilter/nf_conntrack_tcp_timeout_close_wait", conntrack.tcp_timeout_close_wait, TIMEOUT_MAX),
    number!("net/netfilter/nf_conntrack_tcp_timeout_established", conntrack.tcp_timeout_established, TIMEOUT_MAX),
    number!("net/netfilter/nf_conntrack_tcp_timeout_fin_wait", conntrack.tcp_timeout_fin_wait, TIMEOUT_MAX),
    number!("net/netfilter/nf_conntrack_tcp_timeout_last_ack", conntrack.tcp_timeout_last_ack, TIMEOUT_MAX),
    number!("net/netfilter/nf_conntrack_tcp_timeout_max_retrans", conntrack.tcp_timeout_max_retrans, TIMEOUT_MAX),
    number!("net/netfilter/nf_conntrack_tcp_timeout_syn_recv", conntrack.tcp_timeout_syn_recv, TIMEOUT_MAX),
    number!("net/netfilter/nf_conntrack_tcp_timeout_syn_sent", conntrack.tcp_timeout_syn_sent, TIMEOUT_MAX),
    number!("net/netfilter/nf_conntrack_tcp_timeout_time_wait", conntrack.tcp_timeout_time_wait, TIMEOUT_MAX),
    number!("net/netfilter/nf_conntrack_tcp_timeout_unacknowledged", conntrack.tcp_timeout_unacknowledged, TIMEOUT_MAX),
    number!("net/netfilter/nf_conntrack_udp_timeout", conntrack.udp_timeout, TIMEOUT_MAX),
    number!("net/netfilter/nf_conntrack_udp_timeout_stream", conntrack.udp_timeout_stream, TIMEOUT_MAX),
    number!("net/netfilter/nf_nat_full_cone", full_cone, flag),
];

const IP_FORWARD: &str = "net/ipv4/ip_forward";
const PORT_RANGE: &str = "net/ipv4/ip_local_port_range";
/// All interfaces together, those to come, and each of them: `conf/all`, `conf/default`, `conf/DEV`.
const CONF: &str = "net/ipv4/conf/";
const CONF_KEYS: [&str; 2] = ["forwarding", "rp_filter"];

impl Config {
    /// The value of a key, by its place below /proc/sys.
    pub fn sysctl(&self, path: &str) -> Option<String> {
        let values = &self.sysctl;
        if let Some(rest) = path.strip_prefix(CONF) {
            let (who, key) = rest.rsplit_once('/')?;
            let (forwarding, rp_filter) = match who {
                "all" => (values.ip_forward, values.rp_filter_all),
                "default" => (values.forwarding_default, values.rp_filter_default),
                name => {
                    let interface = self.interface(self.find_interface(name)?);
                    (interface.forwarding, interface.rp_filter)
                }
            };
            return match key {
                "forwarding" => Some(format!("{}", u8::from(forwarding))),
                "rp_filter" => Some(format!("{}", rp_filter as u8)),
                _ => None,
            };
        }
        match path {
            IP_FORWARD => Some(format!("{}", u8::from(values.ip_forward))),
            PORT_RANGE => Some(format!("{}\t{}", values.local_port_range.0, values.local_port_range.1)),
            _ => NUMBERS.iter().find(|it| it.path == path).map(|it| format!("{}", (it.get)(values))),
        }
    }

    /// Sets a key, by its place below /proc/sys.
    ///
    /// # Errors
    /// There is no such key, or it cannot have this value.
    pub fn set_sysctl(&mut self, path: &str, value: &str) -> Result<Change, SysctlError> {
        if self.sysctl(path).is_none() {
            return Err(SysctlError::Unknown);
        }
        // Nothing is derived from the switches of an interface, so that the interfaces are not stale.
        let change = Change { sysctl: true, ..Change::NONE };
        if let Some((who, key)) = path.strip_prefix(CONF).and_then(|rest| rest.rsplit_once('/')) {
            let interface = self.find_interface(who).map(|id| usize::from(id.0));
            if key == "forwarding" {
                let on = parse(value, 1)? != 0;
                match (who, interface) {
                    ("all", _) => self.set_ip_forward(on),
                    (_, Some(place)) => self.interfaces[place].forwarding = on,
                    _ => self.sysctl.forwarding_default = on,
                }
            } else {
                let mode = match parse(value, 2)? {
                    0 => ReversePath::Off,
                    1 => ReversePath::Strict,
                    _ => ReversePath::Loose,
                };
                match (who, interface) {
                    ("all", _) => self.sysctl.rp_filter_all = mode,
                    (_, Some(place)) => self.interfaces[place].rp_filter = mode,
                    _ => self.sysctl.rp_filter_default = mode,
                }
            }
        } else if path == IP_FORWARD {
            let on = parse(value, 1)? != 0;
            self.set_ip_forward(on);
        } else if path == PORT_RANGE {
            self.sysctl.local_port_range = parse_range(value, self.sysctl.local_port_range)?;
        } else if let Some(key) = NUMBERS.iter().find(|it| it.path == path) {
            (key.set)(&mut self.sysctl, parse(value, key.max)?);
        }
        Ok(change)
    }

    /// Every key, sorted, by its place below /proc/sys.
    pub fn sysctl_paths(&self) -> Vec<String> {
        let names = self.interfaces.iter().map(|interface| interface.name.as_str());
        let mut paths: Vec<String> = ["all", "default"]
            .into_iter()
            .chain(names)
            .flat_map(|who| CONF_KEYS.map(|key| format!("{CONF}{who}/{key}")))
            .chain([IP_FORWARD, PORT_RANGE].map(String::from))
            .chain(NUMBERS.iter().map(|it| String::from(it.path)))
            .collect();
        sort(&mut paths);
        paths
    }

    /// The switch for all; it moves the others only when it moves itself, as on Linux.
    fn set_ip_forward(&mut self, on: bool) {
        if self.sysctl.ip_forward != on {
            self.sysctl.ip_forward = on;
            self.sysctl.forwarding_default = on;
            self.interfaces.iter_mut().for_each(|interface| interface.forwarding = on);
        }
    }
}

fn parse(value: &str, max: u32) -> Result<u32, SysctlError> {
    let value = value.trim_ascii();
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|&number| digits && number <= max).ok_or(SysctlError::Invalid)
}

/// One or two numbers; a single one sets the first, as on Linux.
fn parse_range(value: &str, present: (u16, u16)) -> Result<(u16, u16), SysctlError> {
    let port = |word| parse(word, u16::MAX.into()).map(|port| port as u16);
    let mut words = value.split_ascii_whitespace();
    let first = port(words.next().unwrap_or(""))?;
    let last = words.next().map_or(Ok(present.1), port)?;
    if first == 0 || first > last || words.next().is_some() {
        return Err(SysctlError::Invalid);
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    #[test]
    fn the_switch_for_all_moves_the_others_with_it() {
        let mut config = config();
        config.set_sysctl("net/ipv4/ip_forward", "1").unwrap();
        for who in ["all", "default", "eth0", "lo"] {
            assert_eq!(
                config.sysctl(&format!("net/ipv4/conf/{who}/forwarding")).as_deref(),
                Some("1"),
                "{who}"
            );
        }
        config.set_sysctl("net/ipv4/conf/eth0/forwarding", "0").unwrap();
        config.set_sysctl("net/ipv4/conf/all/forwarding", "1").unwrap();
        assert!(!config.interfaces[1].forwarding, "it was on already, so nothing else moves");
        config.set_sysctl("net/ipv4/conf/all/forwarding", "0").unwrap();
        assert!(!config.sysctl.ip_forward);
    }

    #[test]
    fn every_key_takes_back_what_it_shows() {
        let mut config = config();
        let before = config.clone();
        for path in config.sysctl_paths() {
            let value = config.sysctl(&path).unwrap();
            config.set_sysctl(&path, &value).unwrap();
        }
        assert_eq!(config, before);
    }

    #[test]
    fn every_number_reaches_a_field_of_its_own() {
        let mut config = config();
        for (place, key) in NUMBERS.iter().enumerate().filter(|(_, key)| key.max > 1) {
            config.set_sysctl(key.path, &format!("{}", 1000 + place)).unwrap();
        }
        for (place, key) in NUMBERS.iter().enumerate().filter(|(_, key)| key.max > 1) {
            assert_eq!(config.sysctl(key.path).unwrap(), format!("{}", 1000 + place), "{}", key.path);
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        let mut config = config();
        let before = config.clone();
        for (path, value) in [
            ("net/ipv4/ip_forward", "2"),
            ("net/ipv4/ip_forward", ""),
            ("net/ipv4/ip_forward", "+1"),
            ("net/ipv4/conf/eth0/rp_filter", "3"),
            ("net/ipv4/ip_local_port_range", "5000 4000"),
            ("net/ipv4/ip_local_port_range", "0 4000"),
            ("net/ipv4/ip_local_port_range", "1 70000"),
            ("net/ipv4/icmp_ratelimit", "-1"),
            ("net/netfilter/nf_conntrack_udp_timeout", "10x"),
            ("net/netfilter/nf_conntrack_udp_timeout", "2147484"),
        ] {
            assert_eq!(config.set_sysctl(path, value), Err(SysctlError::Invalid), "{path} = {value}");
        }
        for path in ["net/ipv4/foo", "net/ipv4/conf/eth9/rp_filter", "net/ipv4/conf/eth0/foo", ""] {
            assert_eq!(config.set_sysctl(path, "1"), Err(SysctlError::Unknown), "{path}");
        }
        assert_eq!(config, before);
    }
}
