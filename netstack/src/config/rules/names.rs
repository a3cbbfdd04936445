//! Names that iptables takes and prints for protocols, services and ICMP types (IANA; RFC 792).

use super::IcmpType;
use crate::headers::protocol;

/// Protocols by name. The first name of a number is the one that is printed.
#[rustfmt::skip]
const PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", 1), ("igmp", 2), ("ggp", 3), ("ipencap", 4), ("st", 5), ("tcp", 6), ("egp", 8), ("igp", 9),
    ("pup", 12), ("udp", 17), ("hmp", 20), ("xns-idp", 22), ("rdp", 27), ("iso-tp4", 29), ("dccp", 33),
    ("xtp", 36), ("ddp", 37), ("idpr-cmtp", 38), ("ipv6", 41), ("ipv6-route", 43), ("ipv6-frag", 44),
    ("idrp", 45), ("rsvp", 46), ("gre", 47), ("esp", 50), ("ah", 51), ("skip", 57), ("ipv6-icmp", 58),
    ("ipv6-nonxt", 59), ("ipv6-opts", 60), ("rspf", 73), ("vmtp", 81), ("eigrp", 88), ("ospf", 89),
    ("ax.25", 93), ("ipip", 94), ("etherip", 97), ("encap", 98), ("pim", 103), ("ipcomp", 108),
    ("vrrp", 112), ("l2tp", 115), ("isis", 124), ("sctp", 132), ("fc", 133), ("mobility-header", 135),
    ("udplite", 136), ("mpls-in-ip", 137), ("manet", 138), ("hip", 139), ("shim6", 140), ("wesp", 141),
    ("rohc", 142), ("ethernet", 143), ("icmpv6", 58), ("mh", 135),
];

const TCP: (bool, bool) = (true, false);
const UDP: (bool, bool) = (false, true);
const BOTH: (bool, bool) = (true, true);

/// Services by name, and whether over TCP and over UDP. The first name of a port is the one that is printed.
#[rustfmt::skip]
const SERVICES: &[(&str, u16, (bool, bool))] = &[
    ("tcpmux", 1, TCP), ("echo", 7, BOTH), ("discard", 9, BOTH), ("daytime", 13, BOTH),
    ("ftp-data", 20, TCP), ("ftp", 21, TCP), ("ssh", 22, TCP), ("telnet", 23, TCP), ("smtp", 25, TCP),
    ("time", 37, BOTH), ("domain", 53, BOTH), ("bootps", 67, UDP), ("bootpc", 68, UDP), ("tftp", 69, UDP),
    ("finger", 79, TCP), ("http", 80, TCP), ("kerberos", 88, BOTH), ("pop3", 110, TCP),
    ("sunrpc", 111, BOTH), ("auth", 113, TCP), ("nntp", 119, TCP), ("ntp", 123, UDP), ("epmap", 135, TCP),
    ("netbios-ns", 137, UDP), ("netbios-dgm", 138, UDP), ("netbios-ssn", 139, TCP), ("imap2", 143, TCP),
    ("snmp", 161, BOTH), ("snmp-trap", 162, BOTH), ("bgp", 179, TCP), ("ldap", 389, BOTH),
    ("https", 443, BOTH), ("microsoft-ds", 445, TCP), ("submissions", 465, TCP), ("isakmp", 500, UDP),
    ("syslog", 514, BOTH), ("printer", 515, TCP), ("rtsp", 554, BOTH), ("submission", 587, TCP),
    ("ipp", 631, TCP), ("ldaps", 636, BOTH), ("domain-s", 853, BOTH), ("rsync", 873, TCP),
    ("ftps-data", 989, TCP), ("ftps", 990, TCP), ("imaps", 993, TCP), ("pop3s", 995, TCP),
    ("openvpn", 1194, BOTH), ("l2f", 1701, UDP), ("radius", 1812, BOTH), ("radius-acct", 1813, BOTH),
    ("nfs", 2049, BOTH), ("iscsi-target", 3260, TCP), ("mysql", 3306, TCP), ("ms-wbt-server", 3389, TCP),
    ("nut", 3493, BOTH), ("svn", 3690, TCP), ("ipsec-nat-t", 4500, UDP), ("sip", 5060, BOTH),
    ("sip-tls", 5061, BOTH), ("xmpp-client", 5222, TCP), ("mdns", 5353, UDP), ("postgresql", 5432, TCP),
    ("amqp", 5672, TCP), ("x11", 6000, TCP), ("redis", 6379, TCP), ("http-alt", 8080, TCP),
    ("git", 9418, TCP), ("www", 80, TCP), ("imap", 143, TCP), ("l2tp", 1701, UDP), ("snmptrap", 162, BOTH),
    ("mail", 25, TCP), ("pop-3", 110, TCP), ("webcache", 8080, TCP), ("postgres", 5432, TCP),
    ("ident", 113, TCP), ("krb5", 88, BOTH), ("subversion", 3690, TCP),
];

/// ICMP messages by name. The first name of a message is the one that is printed.
#[rustfmt::skip]
const ICMP_TYPES: &[(&str, IcmpType)] = &[
    ("any", IcmpType::ANY),
    ("echo-reply", IcmpType::of(0)),
    ("pong", IcmpType::of(0)),
    ("destination-unreachable", IcmpType::of(3)),
    ("network-unreachable", IcmpType::with_code(3, 0)),
    ("host-unreachable", IcmpType::with_code(3, 1)),
    ("protocol-unreachable", IcmpType::with_code(3, 2)),
    ("port-unreachable", IcmpType::with_code(3, 3)),
    ("fragmentation-needed", IcmpType::with_code(3, 4)),
    ("source-route-failed", IcmpType::with_code(3, 5)),
    ("network-unknown", IcmpType::with_code(3, 6)),
    ("host-unknown", IcmpType::with_code(3, 7)),
    ("network-prohibited", IcmpType::with_code(3, 9)),
    ("host-prohibited", IcmpType::with_code(3, 10)),
    ("TOS-network-unreachable", IcmpType::with_code(3, 11)),
    ("TOS-host-unreachable", IcmpType::with_code(3, 12)),
    ("communication-prohibited", IcmpType::with_code(3, 13)),
    ("host-precedence-violation", IcmpType::with_code(3, 14)),
    ("precedence-cutoff", IcmpType::with_code(3, 15)),
    ("source-quench", IcmpType::of(4)),
    ("redirect", IcmpType::of(5)),
    ("network-redirect", IcmpType::with_code(5, 0)),
    ("host-redirect", IcmpType::with_code(5, 1)),
    ("TOS-network-redirect", IcmpType::with_code(5, 2)),
    ("TOS-host-redirect", IcmpType::with_code(5, 3)),
    ("echo-request", IcmpType::of(8)),
    ("ping", IcmpType::of(8)),
    ("router-advertisement", IcmpType::of(9)),
    ("router-solicitation", IcmpType::of(10)),
    ("time-exceeded", IcmpType::of(11)),
    ("ttl-exceeded", IcmpType::of(11)),
    ("ttl-zero-during-transit", IcmpType::with_code(11, 0)),
    ("ttl-zero-during-reassembly", IcmpType::with_code(11, 1)),
    ("parameter-problem", IcmpType::of(12)),
    ("ip-header-bad", IcmpType::with_code(12, 0)),
    ("required-option-missing", IcmpType::with_code(12, 1)),
    ("timestamp-request", IcmpType::of(13)),
    ("timestamp-reply", IcmpType::of(14)),
    ("address-mask-request", IcmpType::of(17)),
    ("address-mask-reply", IcmpType::of(18)),
];

/// The name of an IP protocol, if it is a known one.
pub fn protocol_name(number: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(_, candidate)| *candidate == number).map(|(name, _)| *name)
}

/// The number of the IP protocol of that name, in lower case. `all` is none: it means every protocol.
pub fn protocol_number(name: &str) -> Option<u8> {
    PROTOCOLS.iter().find(|(candidate, _)| *candidate == name).map(|(_, number)| *number)
}

/// The name of a well-known service; `protocol` `None` takes any protocol.
pub fn service_name(port: u16, protocol: Option<u8>) -> Option<&'static str> {
    SERVICES
        .iter()
        .find(|(_, candidate, over)| *candidate == port && runs(*over, protocol))
        .map(|(name, ..)| *name)
}

/// The port of the service of that name.
pub fn service_port(name: &str) -> Option<u16> {
    SERVICES.iter().find(|(candidate, ..)| *candidate == name).map(|(_, port, _)| *port)
}

/// ICMP messages whose name begins with `name`, however it is written.
pub fn icmp_types(name: &str) -> impl Iterator<Item = (&'static str, IcmpType)> {
    let fits = move |it: &str| it.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    ICMP_TYPES.iter().copied().filter(move |(candidate, _)| fits(candidate))
}

/// The name of an ICMP message.
pub fn icmp_name(message: IcmpType) -> Option<&'static str> {
    ICMP_TYPES.iter().find(|(_, candidate)| *candidate == message).map(|(name, _)| *name)
}

fn runs((tcp, udp): (bool, bool), protocol: Option<u8>) -> bool {
    match protocol {
        Some(protocol::TCP) => tcp,
        Some(protocol::UDP) => udp,
        Some(_) => false,
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn names_and_numbers_lead_to_each_other() {
        assert_eq!(protocol_name(47), Some("gre"));
        assert_eq!(protocol_number("icmpv6").and_then(protocol_name), Some("ipv6-icmp"));
        assert_eq!(protocol_number("all"), None);
        assert_eq!(service_port("http"), Some(80));
        assert_eq!(service_name(80, Some(protocol::TCP)), Some("http"), "and not www");
        assert_eq!(service_name(80, Some(protocol::UDP)), None, "not over UDP");
        assert_eq!(
            icmp_types("ECHO-").map(|(name, _)| name).collect::<Vec<_>>(),
            ["echo-reply", "echo-request"]
        );
        assert_eq!(icmp_name(IcmpType::of(8)), Some("echo-request"), "and not ping");
    }
}
