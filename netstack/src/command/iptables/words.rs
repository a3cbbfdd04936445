//! The words that Tab offers behind `iptables`; iptables(8), iptables-extensions(8).

/// All of them, whatever stands before.
#[rustfmt::skip]
pub(in crate::command) fn words(_: &[&str]) -> &'static [&'static str] {
    &[
        "--and-mark", "--clamp-mss-to-pmtu", "--comment", "--ctstate", "--dport", "--dports", "--icmp-type",
        "--limit", "--limit-burst", "--line-numbers", "--log-prefix", "--mac-source", "--mark", "--mask",
        "--match-set", "--or-mark", "--reject-with", "--restore-mark", "--save-mark", "--set-mark",
        "--set-mss", "--sport", "--sports", "--syn", "--tcp-flags", "--to-destination", "--to-ports",
        "--to-source", "-A", "-C", "-D", "-E", "-F", "-I", "-L", "-N", "-P", "-R", "-S", "-X", "-Z", "-d",
        "-i", "-j", "-m", "-n", "-o", "-p", "-s", "-t", "-v", "ACCEPT", "CONNMARK", "DNAT", "DROP",
        "ESTABLISHED", "FORWARD", "INPUT", "INVALID", "LOG", "MARK", "MASQUERADE", "NEW", "OUTPUT",
        "POSTROUTING", "PREROUTING", "REDIRECT", "REJECT", "RELATED", "RETURN", "SNAT", "TCPMSS", "comment",
        "connmark", "conntrack", "filter", "icmp", "limit", "mac", "mangle", "mark", "multiport", "nat",
        "set", "state", "tcp", "udp",
    ]
}
