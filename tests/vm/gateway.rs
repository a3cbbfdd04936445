//! The home gateway as its hosts see it: whole TCP stacks through the masquerade, while the rules change.

use super::wire::{first, left, network, send};
use qemu::lab::services::{Download, FileServer, Progress};
use qemu::lab::{Lab, Plan};
use tests::datagram::udp;
use tests::network::{ALICE, LAN, LAN_SIDE, MASQUERADE, SERVER, WAN, WAN_SIDE};

/// A machine with hosts instead of static neighbours.
fn hosts(name: &str, more: &str) -> Plan {
    let plan = network(name, more);
    let commands =
        plan.config.as_deref().unwrap_or_default().lines().filter(|line| !line.starts_with("ip neigh"));
    Plan { config: Some(commands.map(|line| format!("{line}\n")).collect()), ..plan }
}

#[test]
fn a_long_transfer_goes_on_while_the_configuration_changes() {
    const SIZE: usize = 4 << 20;
    let mut lab = Lab::boot(hosts("transfer", MASQUERADE)).unwrap();
    let alice = lab.host(LAN, "alice", &["192.168.1.10/24"], Some(LAN_SIDE));
    let server = lab.host(WAN, "server", &["203.0.113.1/24", "198.51.100.7/32"], None);
    FileServer::start(lab.get(server), 80, SIZE, 1);
    let mut download = Download::start(lab.get(alice), (SERVER, 80), 1);
    let mut reached = |lab: &mut Lab, size: usize| {
        lab.until("the next part of the file", |lab| match download.poll(lab.get(alice)) {
            Progress::Receiving(count) if count < size => None,
            progress => Some(progress),
        })
        .unwrap()
    };
    for (part, change) in [
        "iptables -A FORWARD -p udp -j DROP",
        "ip route add 192.0.2.0/24 via 203.0.113.1",
        "sysctl -w net.ipv4.ip_local_port_range=\"40000 50000\"",
        "iptables -F FORWARD",
    ]
    .iter()
    .enumerate()
    {
        assert!(matches!(reached(&mut lab, SIZE / 5 * (part + 1)), Progress::Receiving(_)));
        assert_eq!(lab.command(change).unwrap().status, 0, "{change}");
    }
    assert_eq!(reached(&mut lab, usize::MAX), Progress::Complete(SIZE));
    assert!(left(&lab, WAN).all(|packet| packet.source == WAN_SIDE));
    lab.finish();
}

#[test]
fn sixty_five_thousand_flows_fit_into_32_mib() {
    const FLOWS: usize = 65_536;
    const BURST: usize = 128;
    let mut lab = Lab::boot(Plan { memory: 32, ..network("flows", MASQUERADE) }).unwrap();
    // All of them are meant.
    lab.command("sysctl -w net.core.netdev_overload_rate=0").unwrap();
    let max: usize = number(&mut lab, "net.netfilter.nf_conntrack_max");
    assert!(max >= FLOWS, "nf_conntrack_max is {max}");
    // Two ports at the server for each of the laptop's, in bursts that no queue on the way is too short for.
    for burst in 0..FLOWS / BURST {
        for flow in burst * BURST..(burst + 1) * BURST {
            let packet = udp((ALICE, 1024 + (flow / 2) as u16), (SERVER, 53 + (flow % 2) as u16));
            send(&mut lab, LAN, &packet);
        }
        lab.until("the burst on the WAN", |lab| (left(lab, WAN).count() == BURST).then_some(())).unwrap();
        lab.segments[WAN].seen.clear();
    }
    assert_eq!(number(&mut lab, "net.netfilter.nf_conntrack_count"), FLOWS);
    lab.finish();
}

fn number(lab: &mut Lab, sysctl: &str) -> usize {
    lab.command(&format!("sysctl -n {sysctl}")).unwrap().text.trim().parse().unwrap()
}

#[test]
fn a_masqueraded_packet_has_the_outer_address_and_right_checksums() {
    let mut lab = Lab::boot(network("masquerade", MASQUERADE)).unwrap();
    send(&mut lab, LAN, &udp((ALICE, 5000), (SERVER, 53)).payload("question"));
    let outside = first(&mut lab, WAN);
    assert_eq!(outside, udp((WAN_SIDE, 5000), (SERVER, 53)).payload("question").ttl(63));
    send(&mut lab, WAN, &udp((SERVER, 53), (WAN_SIDE, 5000)).payload("answer"));
    assert_eq!(first(&mut lab, LAN), udp((SERVER, 53), (ALICE, 5000)).payload("answer").ttl(63));
    lab.finish();
}
