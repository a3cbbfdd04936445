//! The configuration at boot: the operator's, the default, none; and one with a mistake, which is refused whole.

use super::wire::{first, left, network, send};
use qemu::lab::{Lab, Plan};
use tests::datagram::{echo, udp};
use tests::network::{ALICE, LAN, LAN_SIDE, SERVER, WAN};

#[test]
fn a_bad_line_refuses_the_whole_text_and_leaves_the_router_closed() {
    let plan = network("bad_configuration", "ip addr add 192.0.2.1/33 dev eth0\n");
    let line = plan.config.as_ref().unwrap().lines().count();
    let mut lab = Lab::boot(plan).unwrap();
    let said = lab.console.text();
    assert!(said.contains(&format!("line {line}")) && said.contains("192.0.2.1/33"), "{said}");

    assert_eq!(lab.command("sysctl -n net.ipv4.ip_forward").unwrap().text, "0\n");
    assert!(!lab.command("ip addr show").unwrap().text.contains("192.168.1.1"));
    send(&mut lab, LAN, &udp((ALICE, 5000), (SERVER, 53)));
    // Repaired by hand, it forwards; and the packet from before is not among what leaves.
    lab.commands(tests::network::NETWORK).unwrap();
    let packet = udp((ALICE, 5001), (SERVER, 53));
    send(&mut lab, LAN, &packet);
    assert_eq!(first(&mut lab, WAN), packet.ttl(63));
    lab.finish();
}

#[test]
fn config_none_starts_with_nothing() {
    let plan = Plan { append: "config=none".into(), ..Plan::new("config_none") };
    let mut lab = Lab::boot(plan).unwrap();
    assert!(!lab.command("ip -4 addr show").unwrap().text.contains("192.168"));
    assert_eq!(lab.command("sysctl -n net.ipv4.ip_forward").unwrap().text, "0\n");
    lab.finish();
}

#[test]
fn the_default_is_a_home_gateway() {
    let mut lab = Lab::boot(Plan::new("default")).unwrap();
    let laptop = lab.host(0, "laptop", &["192.168.1.10/24"], Some(LAN_SIDE));
    let provider = lab.host(1, "provider", &["10.0.2.2/24", "198.51.100.7/32"], None);
    lab.ping(laptop, SERVER).unwrap();
    let sources: Vec<_> = left(&lab, WAN).map(|packet| packet.source).collect();
    assert_eq!(sources, ["10.0.2.15".parse::<std::net::Ipv4Addr>().unwrap()]);

    // The other way only echo is let in, and nothing is let through.
    lab.ping(provider, [10, 0, 2, 15].into()).unwrap();
    lab.segments[LAN].seen.clear();
    let router = lab.segments[WAN].router;
    let inward = udp((SERVER, 53), (ALICE, 5000));
    lab.inject(WAN, &tests::frame::Frame::ip(router, router, inward).bytes()).unwrap();
    lab.ping(provider, [10, 0, 2, 15].into()).unwrap();
    assert_eq!(left(&lab, LAN).count(), 0);
    lab.finish();
}

#[test]
fn the_configuration_stands_before_the_first_frame() {
    // A packet that waits at the card when the machine starts meets the policy, not an open router.
    let plan = network("first_frame", "iptables -P FORWARD DROP\niptables -A FORWARD -p icmp -j ACCEPT\n");
    let mut lab = Lab::start(plan).unwrap();
    for port in 0..20 {
        send(&mut lab, LAN, &udp((ALICE, 6000 + port), (SERVER, 53)));
    }
    lab.until("the first prompt", |lab| lab.console.is_ready().then_some(())).unwrap();
    let request = echo((ALICE, 7), SERVER);
    send(&mut lab, LAN, &request);
    assert_eq!(first(&mut lab, WAN), request.ttl(63));
    lab.finish();
}
