//! What expressions fit, and what is said about those that cannot be.

use super::*;
use crate::test_support::udp_frame;
use alloc::{format, vec};

/// UDP from 192.168.1.2:5000 to 198.51.100.7:53, in a frame of 46 bytes from 52:54:00:00:00:02 to 52:54:00:00:00:01.
fn fits(expression: &str) -> bool {
    let frame = udp_frame(4);
    Filter::parse(expression).unwrap().fits(&frame, frame.len(), true)
}

#[test]
fn primitives() {
    assert!(fits(""));
    for expression in [
        "udp",
        "ip",
        "ip proto 17",
        "proto \\udp",
        "host 192.168.1.2",
        "src 192.168.1.2",
        "dst host 198.51.100.7",
        "net 192.168.1.0/24",
        "net 192.168",
        "src net 192.168.0.0 mask 255.255.0.0",
        "port 53",
        "port domain",
        "udp dst port 53",
        "portrange 40-60",
        "src or dst port 5000",
        "ether src 52:54:00:00:00:02",
        "ether host 52:54:0:0:0:1",
        "less 46",
        "greater 46",
        "len == 46",
        "len != 47",
        "inbound",
        "ip[8] = 64",
        "ip[2:2] < 33",
        "udp[0:2] & 0xff00 != 0",
        "ether[12:2] == 0x0800",
    ] {
        assert!(fits(expression), "{expression}");
        assert!(!fits(&format!("not ({expression})")), "not {expression}");
    }
    for expression in [
        "tcp",
        "arp",
        "icmp",
        "ip6",
        "src port 53",
        "tcp port 53",
        "src and dst port 53",
        "dst 192.168.1.2",
        "arp host 192.168.1.2",
        "broadcast",
        "ip multicast",
        "outbound",
        "less 45",
        "greater 47",
        "tcp[tcpflags] & (tcp-syn|tcp-ack) != 0",
        "ip[40] = 0",
    ] {
        assert!(!fits(expression), "{expression}");
    }
}

#[test]
fn combinations() {
    for (expression, expected) in [
        ("udp and port 53", true),
        ("udp && port 54", false),
        ("tcp || port 53", true),
        ("!tcp", true),
        ("not not udp", true),
        ("not tcp and not icmp", true),
        ("port 80 or 53", true),
        ("port 80 or 443", false),
        ("host 10.0.0.1 or 192.168.1.2 and port 53", true),
        ("dst port (80 or 53)", true),
        ("host (10.0.0.1 or 10.0.0.2)", false),
        // To the left, and with equal force.
        ("udp or tcp and icmp", false),
        ("udp or (tcp and icmp)", true),
    ] {
        assert_eq!(fits(expression), expected, "{expression}");
    }
}

#[test]
fn errors_in_the_words_of_libpcap() {
    const SYNTAX: &str = "can't parse filter expression: syntax error";
    for (expression, error) in [
        ("host", SYNTAX),
        ("host 1.2.3.4 or", SYNTAX),
        ("and", SYNTAX),
        ("(tcp", SYNTAX),
        ("tcp)", SYNTAX),
        ("tcp udp", SYNTAX),
        ("1.2.3.4", SYNTAX),
        ("tcp 80", SYNTAX),
        ("nonsense", SYNTAX),
        ("tcp && || udp", SYNTAX),
        ("tcp[", SYNTAX),
        ("src proto", SYNTAX),
        ("host nowhere", "unknown host 'nowhere'"),
        ("host 300.1.1.1", "invalid IPv4 address '300.1.1.1'"),
        ("port 99999", "illegal port number 99999 > 65535"),
        ("port nonsense", "unknown port 'nonsense'"),
        ("net 10.0.0.0/33", "mask length must be <= 32"),
        ("net 10.0.0.1/8", "non-network bits set in \"10.0.0.1/8\""),
        ("net 10.0.0.5 mask 255.0.0.0", "non-network bits set in \"10.0.0.5 mask 255.0.0.0\""),
        ("net nonsense", "unknown network 'nonsense'"),
        ("icmp host 1.1.1.1", "'icmp' modifier applied to host"),
        ("udp net 10", "'udp' modifier applied to net"),
        ("icmp port 5", "illegal qualifier of 'port'"),
        ("ip proto nonsense", "unknown ip proto 'nonsense'"),
        ("ether host 1.1.1.1", "illegal link layer address"),
        ("tcp[0:3] = 1", "data size must be 1, 2, or 4"),
        ("gateway here", "'gateway' not supported in this configuration"),
    ] {
        assert_eq!(Filter::parse(expression).unwrap_err(), error, "{expression}");
    }
}

#[test]
fn an_expression_has_bounds() {
    let nested = |depth| ["(".repeat(depth), "udp".into(), ")".repeat(depth)].concat();
    assert!(fits(&nested(31)));
    assert_eq!(Filter::parse(&nested(32)).unwrap_err(), "the filter expression is nested too deeply");
    let chain = |length| vec!["udp"; length].join(" and ");
    assert!(fits(&chain(MOST_STEPS / 2)));
    assert_eq!(Filter::parse(&chain(MOST_STEPS)).unwrap_err(), "the filter expression is too long");
    // Each bracket leaves one truth waiting.
    let right = |depth| ["(udp and ".repeat(depth), "udp".into(), ")".repeat(depth)].concat();
    assert!(fits(&right(31)));
}

#[test]
fn a_fragment_has_no_ports_and_a_cut_frame_no_surprises() {
    let mut later = udp_frame(4);
    later[20..22].copy_from_slice(&[0, 2]);
    let filter = Filter::parse("port 53").unwrap();
    assert!(!filter.fits(&later, later.len(), true));
    let frame = udp_frame(4);
    for expression in
        ["port 53", "host 1.2.3.4", "ether src 52:54:0:0:0:2", "udp[0:4] = 0", "arp host 1.1.1.1"]
    {
        let filter = Filter::parse(expression).unwrap();
        (0..=frame.len()).for_each(|kept| _ = filter.fits(&frame[..kept], frame.len(), true));
    }
}
