//! The words that Tab offers behind `iptables`; iptables(8), iptables-extensions(8).

/// All of them, whatever stands before.
#[rustfmt::skip]
pub(in crate::command) fn words(_: &[&str]) -> &'static [&'static str] {
    &[
        "--and-mark", "--clamp-mss-to-pmtu", "--comment", "--connlimit-above", "--connlimit-daddr",
        "--connlimit-mask", "--connlimit-saddr", "--connlimit-upto", "--ctstate", "--dport", "--dports",
        "--dscp", "--dscp-class", "--dst-range", "--dst-type", "--every", "--hashlimit-above",
        "--hashlimit-burst", "--hashlimit-mode", "--hashlimit-name", "--hashlimit-srcmask",
        "--hashlimit-upto", "--hitcount", "--icmp-type", "--length", "--limit", "--limit-burst",
        "--line-numbers", "--log-prefix", "--mac-source", "--mark", "--mask", "--match-set", "--mode",
        "--name", "--notrack", "--or-mark", "--packet", "--pkt-type", "--probability", "--rcheck",
        "--rdest", "--reject-with", "--restore-mark", "--rsource", "--save-mark", "--seconds", "--set",
        "--set-dscp", "--set-dscp-class", "--set-mark", "--set-mss", "--set-tos", "--sport", "--sports",
        "--src-range", "--src-type", "--syn", "--tcp-flags", "--to-destination", "--to-ports",
        "--to-source", "--tos", "--ttl-dec", "--ttl-eq", "--ttl-gt", "--ttl-inc", "--ttl-lt", "--ttl-set",
        "--update", "-A", "-C", "-D", "-E", "-F", "-I", "-L", "-N", "-P", "-R", "-S", "-X", "-Z", "-d",
        "-i", "-j", "-m", "-n", "-o", "-p", "-s", "-t", "-v", "ACCEPT", "CONNMARK", "CT", "DNAT", "DROP",
        "DSCP", "ESTABLISHED", "FORWARD", "INPUT", "INVALID", "LOG", "MARK", "MASQUERADE", "NEW", "NOTRACK",
        "OUTPUT", "POSTROUTING", "PREROUTING", "REDIRECT", "REJECT", "RELATED", "RETURN", "SNAT", "TCPMSS",
        "TOS", "TTL", "UNTRACKED", "addrtype", "comment", "connlimit", "connmark", "conntrack", "dscp",
        "filter", "hashlimit", "icmp", "iprange", "length", "limit", "mac", "mangle", "mark", "multiport",
        "nat", "nth", "pkttype", "random", "raw", "recent", "set", "state", "statistic", "tcp", "tos",
        "ttl", "udp",
    ]
}
