//! The values of `sysctl`, with the names and defaults of Linux's ip-sysctl.rst and nf_conntrack-sysctl.rst.

mod conf;

use super::{Change, Config, interface::ReversePath};
use crate::sort::sort;
use alloc::{format, string::String, vec::Vec};
use conf::{CONF, parse_fixed};

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
    /// `net.ipv4.conf.all.log_martians`.
    pub log_martians_all: bool,
    /// `net.ipv4.conf.default.log_martians`.
    pub log_martians_default: bool,
    /// `net.ipv4.ip_local_port_range`: first and last port of the router's own connections, and of translated
    /// ones whose own port is taken.
    pub local_port_range: (u16, u16),
    /// `net.ipv4.fib_multipath_hash_policy`: whether flows are told apart by their addresses alone (0), or by their ports too
    /// (1), where a route has several next hops.
    pub fib_multipath_hash_policy: u32,
    /// `net.ipv4.icmp_echo_ignore_all`.
    pub icmp_echo_ignore_all: bool,
    /// `net.ipv4.icmp_errors_use_inbound_ifaddr`: whether an ICMP error about a packet on its way through has its source from
    /// the interface that the packet came in on, and not from that to its receiver.
    pub icmp_errors_use_inbound_ifaddr: bool,
    /// `net.ipv4.icmp_ratelimit`: the least time between two ICMP errors to one destination, in milliseconds;
    /// 0: no limit.
    pub icmp_ratelimit: u32,
    /// `net.ipv4.icmp_ratemask`: a bit for each type of ICMP messages that the limits hold back.
    pub icmp_ratemask: u32,
    /// `net.ipv4.icmp_msgs_per_sec`: how many of these messages go out in a second, to all destinations; 0: none.
    pub icmp_msgs_per_sec: u32,
    /// `net.ipv4.icmp_msgs_burst`: and how many at once; 0: none.
    pub icmp_msgs_burst: u32,
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
            log_martians_all: false,
            log_martians_default: false,
            local_port_range: (32768, 60999),
            fib_multipath_hash_policy: 0,
            icmp_echo_ignore_all: false,
            icmp_errors_use_inbound_ifaddr: false,
            icmp_ratelimit: 1000,
            // Destination unreachable, source quench, time exceeded, parameter problem.
            icmp_ratemask: 1 << 3 | 1 << 4 | 1 << 11 | 1 << 12,
            icmp_msgs_per_sec: 1000,
            icmp_msgs_burst: 50,
            overload_rate: 2000,
            full_cone: false,
            conntrack: ConntrackSysctl::default(),
        }
    }
}

impl Sysctl {
    /// Whether the limits hold back ICMP messages of a type.
    pub fn limits_icmp(&self, kind: u8) -> bool {
        self.icmp_ratemask.checked_shr(kind.into()).unwrap_or(0) & 1 != 0
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
    /// It can have only this one.
    Fixed(u32),
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
    number!("net/ipv4/icmp_errors_use_inbound_ifaddr", icmp_errors_use_inbound_ifaddr, flag),
    number!("net/ipv4/icmp_msgs_burst", icmp_msgs_burst, INT_MAX),
    number!("net/ipv4/icmp_msgs_per_sec", icmp_msgs_per_sec, INT_MAX),
    number!("net/ipv4/icmp_ratelimit", icmp_ratelimit, INT_MAX),
    number!("net/ipv4/icmp_ratemask", icmp_ratemask, INT_MAX),
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
/// What is not to be chosen: echo requests to a broadcast address and those of RFC 8335 are not answered, and nothing is logged of
/// errors about broadcasts.
const FIXED: [(&str, u32); 3] = [
    ("net/ipv4/icmp_echo_enable_probe", 0),
    ("net/ipv4/icmp_echo_ignore_broadcasts", 1),
    ("net/ipv4/icmp_ignore_bogus_error_responses", 1),
];

impl Config {
    /// The value of a key, by its place below /proc/sys.
    pub fn sysctl(&self, path: &str) -> Option<String> {
        let values = &self.sysctl;
        if let Some(rest) = path.strip_prefix(CONF) {
            return self.conf(rest).map(|value| format!("{value}"));
        }
        match path {
            IP_FORWARD => Some(format!("{}", u8::from(values.ip_forward))),
            PORT_RANGE => Some(format!("{}\t{}", values.local_port_range.0, values.local_port_range.1)),
            _ => {
                let number = NUMBERS.iter().find(|it| it.path == path).map(|it| (it.get)(values));
                number.or_else(|| fixed(path)).map(|value| format!("{value}"))
            }
        }
    }

    /// Sets a key, by its place below /proc/sys.
    ///
    /// # Errors
    /// There is no such key, or it cannot have this value. Then nothing has changed.
    pub fn set_sysctl(&mut self, path: &str, value: &str) -> Result<Change, SysctlError> {
        if self.sysctl(path).is_none() {
            return Err(SysctlError::Unknown);
        }
        // Nothing is derived from the switches of an interface, so that the interfaces are not stale.
        let change = Change { sysctl: true, ..Change::NONE };
        if let Some(rest) = path.strip_prefix(CONF) {
            self.set_conf(rest, value)?;
        } else if path == IP_FORWARD {
            let on = parse(value, 1)? != 0;
            self.set_ip_forward(on);
        } else if path == PORT_RANGE {
            self.sysctl.local_port_range = parse_range(value, self.sysctl.local_port_range)?;
        } else if let Some(key) = NUMBERS.iter().find(|it| it.path == path) {
            (key.set)(&mut self.sysctl, parse(value, key.max)?);
        } else if let Some(only) = fixed(path) {
            parse_fixed(value, only)?;
        }
        Ok(change)
    }

    /// Every key, sorted, by its place below /proc/sys.
    pub fn sysctl_paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = self
            .conf_paths()
            .chain([IP_FORWARD, PORT_RANGE].map(String::from))
            .chain(NUMBERS.iter().map(|it| String::from(it.path)))
            .chain(FIXED.iter().map(|(path, _)| String::from(*path)))
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

/// The value of a key that has no other.
fn fixed(path: &str) -> Option<u32> {
    FIXED.iter().find(|(fixed, _)| *fixed == path).map(|(_, value)| *value)
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
            ("net/ipv4/icmp_ratemask", "0x1818"),
            ("net/ipv4/conf/all/log_martians", "2"),
            ("net/ipv4/icmp_errors_use_inbound_ifaddr", "2"),
            ("net/netfilter/nf_conntrack_udp_timeout", "10x"),
            ("net/netfilter/nf_conntrack_udp_timeout", "2147484"),
        ] {
            assert_eq!(config.set_sysctl(path, value), Err(SysctlError::Invalid), "{path} = {value}");
        }
        for path in [
            "net/ipv4/foo",
            "net/ipv4/conf/eth9/rp_filter",
            "net/ipv4/conf/eth9/send_redirects",
            "net/ipv4/conf/eth0/foo",
            "net/ipv4/conf/eth0",
            "net/ipv4/send_redirects",
            "",
        ] {
            assert_eq!(config.set_sysctl(path, "1"), Err(SysctlError::Unknown), "{path}");
        }
        assert_eq!(config, before);
    }

    #[test]
    fn what_cannot_be_chosen_takes_the_value_that_it_has_and_no_other() {
        let mut config = config();
        let before = config.clone();
        for (path, only, other) in [
            ("net/ipv4/conf/all/accept_redirects", 0, "1"),
            ("net/ipv4/conf/default/send_redirects", 0, "1"),
            ("net/ipv4/conf/eth0/accept_source_route", 0, "-1"),
            ("net/ipv4/conf/lo/proxy_arp", 0, "x"),
            ("net/ipv4/icmp_echo_ignore_broadcasts", 1, "0"),
            ("net/ipv4/icmp_ignore_bogus_error_responses", 1, "0"),
            ("net/ipv4/icmp_echo_enable_probe", 0, "1"),
        ] {
            assert_eq!(config.sysctl(path), Some(format!("{only}")), "{path}");
            assert!(config.set_sysctl(path, &format!("{only}")).is_ok(), "{path}");
            assert_eq!(config.set_sysctl(path, other), Err(SysctlError::Fixed(only)), "{path} = {other}");
        }
        assert_eq!(config, before);
    }

    #[test]
    fn each_interface_and_all_of_them_have_settings_of_their_own() {
        let mut config = config();
        for (who, key, value) in
            [("all", "rp_filter", "2"), ("default", "rp_filter", "1"), ("eth1", "log_martians", "1")]
        {
            config.set_sysctl(&format!("net/ipv4/conf/{who}/{key}"), value).unwrap();
        }
        let shown = |key: &str| {
            let of = |who| config.sysctl(&format!("net/ipv4/conf/{who}/{key}")).unwrap();
            ["all", "default", "eth0", "eth1"].map(of)
        };
        assert_eq!(shown("rp_filter"), ["2", "1", "0", "0"]);
        assert_eq!(shown("log_martians"), ["0", "0", "0", "1"]);
    }
}
