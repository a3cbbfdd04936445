//! The values of `sysctl` that belong to no single interface, with Linux's names and defaults.

use super::interface::ReversePath;

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
    /// `net.ipv4.icmp_echo_ignore_all`.
    pub icmp_echo_ignore_all: bool,
    /// `net.ipv4.icmp_ratelimit`: the least time between two ICMP errors to one destination, in milliseconds;
    /// 0: no limit.
    pub icmp_ratelimit: u32,
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
    /// Whether a TCP connection may be picked up in its middle (`tcp_loose`).
    pub tcp_loose: bool,
    /// Whether an out-of-window packet is let through all the same (`tcp_be_liberal`).
    pub tcp_be_liberal: bool,
}

impl Default for Sysctl {
    fn default() -> Self {
        Self {
            ip_forward: false,
            rp_filter_all: ReversePath::Off,
            rp_filter_default: ReversePath::Off,
            forwarding_default: false,
            local_port_range: (32768, 60999),
            icmp_echo_ignore_all: false,
            icmp_ratelimit: 1000,
            conntrack: ConntrackSysctl::default(),
        }
    }
}

impl Default for ConntrackSysctl {
    fn default() -> Self {
        Self {
            max: 0,
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
        }
    }
}
