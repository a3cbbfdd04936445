//! A home gateway's script, run as it is by Linux and by rutter: the machines around see no difference.

use crate::web::who_are_you;
use tests::{
    namespace::in_namespace,
    peer::Peer,
    site::{Capture, Site},
};

pub const SCRIPT: &str = include_str!("../data/home-gateway.sh");

/// What curl fetches within two seconds, or how it fails.
pub fn curl(peer: &Peer, url: &str) -> String {
    let answer = peer.sh(&format!("curl -s -m 2 {url} || echo $?"));
    match answer.trim() {
        "7" => "refused".into(),
        "28" => "no answer".into(),
        text => text.into(),
    }
}

/// Whether ping is answered, and what it is told otherwise.
fn ping(peer: &Peer, to: &str) -> String {
    let said = peer.sh(&format!("ping -n -c 1 -W 1 {to} || true"));
    let line = said.lines().nth(1).unwrap_or_default();
    let line = line.split("icmp_seq").next().unwrap_or_default().trim_end_matches([':', ' ']);
    let told = ["Unreachable", "Filtered", "exceeded"].into_iter().find(|word| said.contains(word));
    format!("{line} {}", told.unwrap_or_default()).trim().into()
}

/// Tries everything that the script is about; gives one line for each.
fn try_all(site: &mut Site) -> Vec<(&'static str, String)> {
    who_are_you(&site.server, "server", "192.168.1.10:80");
    who_are_you(&site.server, "console", "192.168.1.10:22");
    who_are_you(&site.server, "secret", "192.168.1.10:81");
    who_are_you(&site.internet, "internet", "198.51.100.7:80");
    who_are_you(&site.internet, "mail", "198.51.100.7:25");
    let Site { server, laptop, internet, .. } = &*site;
    vec![
        ("the LAN fetches from outside", curl(laptop, "http://198.51.100.7/")),
        ("the server too", curl(server, "http://198.51.100.7/")),
        ("no mail is sent", curl(laptop, "http://198.51.100.7:25/")),
        ("a closed port outside", curl(laptop, "http://198.51.100.7:81/")),
        ("ping outside", ping(laptop, "198.51.100.8")),
        ("ping the router", ping(laptop, "192.168.1.1")),
        ("ping its outer address", ping(laptop, "203.0.113.2")),
        ("ping into a blackhole", ping(laptop, "10.1.2.3")),
        ("ping the unreachable", ping(laptop, "172.20.0.1")),
        ("ping with too short a life", ping(laptop, "-t 1 198.51.100.7")),
        ("the forwarded port, from outside", curl(internet, "http://203.0.113.2:8080/")),
        ("the second one", curl(internet, "http://203.0.113.2:2222/")),
        ("the forwarded port, from the LAN", curl(laptop, "http://203.0.113.2:8080/")),
        ("another port, from outside", curl(internet, "http://203.0.113.2:8081/")),
        ("the rejected port", curl(internet, "http://203.0.113.2:113/")),
        ("past the translation", curl(internet, "http://192.168.1.10:80/")),
        ("past it to another port", curl(internet, "http://192.168.1.10:81/")),
        ("ping from outside", ping(internet, "203.0.113.2")),
        ("ping the LAN from outside", ping(internet, "192.168.1.11")),
    ]
}

#[test]
fn the_script_of_a_home_gateway_does_the_same_on_linux_and_on_rutter() {
    in_namespace(&["ip", "iptables", "curl", "ping", "tcpdump"], || {
        let expected = Peer::new().run(|| try_all(&mut Site::with_linux(SCRIPT)));
        let mut site = Site::with_rutter("linux-home-gateway", SCRIPT);
        let capture = Capture::start(&site.internet, "wan0");
        let seen = try_all(&mut site);
        assert_eq!(seen, expected);
        let table = [
            "internet sees 203.0.113.2",
            "internet sees 203.0.113.2",
            "refused",
            "refused",
            "64 bytes from 198.51.100.8",
            "64 bytes from 192.168.1.1",
            "64 bytes from 203.0.113.2",
            "",
            "From 192.168.1.1 Unreachable",
            "From 192.168.1.1 exceeded",
            "server sees 203.0.113.1",
            "console sees 203.0.113.1",
            "server sees 192.168.1.1",
            "no answer",
            "refused",
            "no answer",
            "no answer",
            "64 bytes from 203.0.113.2",
            "",
        ];
        for ((what, seen), wanted) in seen.iter().zip(table) {
            assert_eq!(seen, wanted, "{what}");
        }
        let outside = |octets: [u8; 4]| matches!(octets, [203, 0, 113, _] | [198, 51, 100, _]);
        for packet in capture.end() {
            assert!(outside(packet.source.octets()), "an inner source outside: {packet:?}");
        }
        site.finish();
    });
}
