//! What the fuzzer's programs do with the bytes they are given, and what must hold whatever these are.
//!
//! The same bytes make the same run. The inputs in `fuzz/corpus` are run by `cargo test` too.

mod conversation;
mod input;
mod judge;
mod saved;
mod sights;
mod super_frames;
mod traffic;

use crate::bench::Bench;
use input::Input;
use judge::Judge;
use netstack::{command::Console, router::Limits};
use smoltcp::time::Duration;
use traffic::Traffic;

pub use saved::saved_rules;
pub use sights::sights;
pub use super_frames::super_frames;

/// Small tables, so that a few hundred bytes fill them.
const LIMITS: Limits = Limits { flows: 64, neighbors: 32, routes: 4096 };
/// Frames, or other things that happen, in one run.
const EVENTS: usize = 96;
/// Bytes that a console may print for each byte typed: a listing of all there can be by then.
const OUTPUT_PER_BYTE: usize = 16 << 10;

/// A home gateway: translation, port-forwards, a filter that lets nobody pretend to be somebody else's host, a route
/// of each kind, another way out for some, and a narrow one, so that packets have to be fragmented. What is forwarded inwards is addressed to
/// an outer address: whoever asks an inner one from outside is answered from there, on Linux, too.
const GATEWAY: &str = "
ip link set eth1 mtu 1280
ip route add 172.16.0.0/12 via 10.10.0.5
ip route add blackhole 100.64.0.0/10
ip route add unreachable 100.65.0.0/16
ip route add prohibit 100.66.0.0/16
ip route add default via 10.10.0.5 table 100
ip route add 198.51.100.0/29 nexthop via 203.0.113.1 weight 2 nexthop via 203.0.113.9
ip rule add fwmark 0x2 lookup 100
ip rule add from 192.168.1.11 lookup main suppress_prefixlength 0
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=600
ipset create hosts hash:ip
ipset add hosts 192.168.1.11
ipset create networks hash:net
ipset add networks 198.51.100.0/24
ipset add networks 198.51.100.8 nomatch
ipset create services hash:ip,port
ipset add services 198.51.100.7,udp:53
iptables -t raw -A PREROUTING -i eth2 -p udp --dport 5000 -j NOTRACK
iptables -t raw -A PREROUTING -m set --match-set services dst,dst -m length --length 500: -j DROP
iptables -t nat -A PREROUTING -d 203.0.113.2 -p tcp --dport 8080 -j DNAT --to-destination 192.168.1.10:80
iptables -t nat -A PREROUTING -d 203.0.113.2 -p udp --dport 53 -j DNAT --to-destination 10.10.0.5
iptables -t nat -A PREROUTING -i eth0 -p tcp --dport 3128 -j REDIRECT --to-ports 80
iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
iptables -t nat -A POSTROUTING -o eth2 -p udp -s 192.168.1.0/24 -j SNAT --to-source 10.10.0.1:1024-1031
iptables -t mangle -A PREROUTING -i eth0 -p tcp --dport 80 -j MARK --set-mark 0x1
iptables -t mangle -A PREROUTING -m mark --mark 0x1 -j CONNMARK --save-mark
iptables -t mangle -A FORWARD -o eth1 -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
iptables -t mangle -A POSTROUTING -p tcp --syn -j TCPMSS --set-mss 1000
iptables -t mangle -A FORWARD -m connmark --mark 0x1 -j CONNMARK --xor-mark 0x10
iptables -t mangle -A PREROUTING -i eth0 -m set --match-set networks dst -m iprange --src-range 192.168.1.11-192.168.1.14 -j MARK --set-mark 0x2
iptables -t mangle -A PREROUTING -m ttl --ttl-lt 3 -m addrtype ! --dst-type LOCAL -j TTL --ttl-set 1
iptables -t mangle -A POSTROUTING -m mark --mark 0x2 -j TTL --ttl-inc 1
iptables -t mangle -A FORWARD -p udp -m tos ! --tos 0x10/0x3f -j DSCP --set-dscp-class EF
iptables -t mangle -A INPUT -m dscp --dscp 1 -j TOS --xor-tos 0x08
iptables -P FORWARD DROP
iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP
iptables -A FORWARD -i eth0 ! -s 192.168.1.0/24 -j DROP
iptables -A FORWARD -i eth2 -s 192.168.1.0/24 -j LOG
iptables -A FORWARD -i eth2 ! -s 10.10.0.0/24 -j DROP
iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A FORWARD -i eth1 -m conntrack --ctstate DNAT -j ACCEPT
iptables -A FORWARD -p tcp --dport 25 -j REJECT --reject-with tcp-reset
iptables -A FORWARD -p udp -m multiport --dports 137:139,445 -j REJECT
iptables -A FORWARD ! -i eth1 -j ACCEPT
iptables -A INPUT -i eth1 -d 192.168.1.0/24 -j DROP
iptables -A INPUT -i eth1 -m limit --limit 10/second -j ACCEPT
";

/// What may happen to the configuration while frames pass. Some of it is refused.
const COMMANDS: &[&str] = &[
    "conntrack -D -p tcp",
    "conntrack -F",
    "conntrack -L",
    "ip addr add 192.168.1.2/24 dev eth0",
    "ip addr add 203.0.113.3/24 dev eth1",
    "ip addr del 203.0.113.2/24 dev eth1",
    "ip addr replace 203.0.113.2/24 dev eth1",
    "ip addr flush dev eth2",
    "ip addr add 10.10.0.1/24 dev eth2",
    "ip link set eth1 down",
    "ip link set eth1 up",
    "ip link set eth2 mtu 576",
    "ip neigh del 192.168.1.10 dev eth0",
    "ip neigh replace 203.0.113.1 lladdr 02:00:00:00:01:01 nud permanent dev eth1",
    "ip neigh flush all",
    "ip route del default",
    "ip route replace default via 10.10.0.5",
    "ip route replace default via 203.0.113.1",
    "ip route add 198.51.100.8/32 via 203.0.113.9",
    "ip -s link",
    "iptables -A OUTPUT -p icmp -j DROP",
    "iptables -F OUTPUT",
    "iptables -t nat -D PREROUTING 1",
    "iptables -t nat -I PREROUTING -d 203.0.113.2 -p udp --dport 4000 -j DNAT --to-destination 192.168.1.11-192.168.1.14:5000-5003",
    "iptables -t nat -I POSTROUTING -o eth1 -p udp -j SNAT --to-source 203.0.113.2:4000-4003",
    "iptables -t nat -D POSTROUTING -o eth1 -p udp -j SNAT --to-source 203.0.113.2:4000-4003",
    "iptables-save -c",
    "conntrack -U -p tcp --mark 0x2",
    "iptables -t mangle -F FORWARD",
    "sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1",
    "sysctl -w net.netfilter.nf_conntrack_tcp_loose=0",
    "sysctl -w net.netfilter.nf_nat_full_cone=1",
    "sysctl -w net.ipv4.conf.all.rp_filter=1",
    "sysctl -w net.ipv4.icmp_echo_ignore_all=1",
    "sysctl -w net.ipv4.icmp_ratelimit=1000",
    "sysctl -w net.ipv4.ip_forward=0",
    "sysctl -w net.ipv4.ip_forward=1",
    "sysctl -w net.netfilter.nf_conntrack_max=4",
    "sysctl -w net.netfilter.nf_conntrack_max=64",
    "sysctl -w net.netfilter.nf_conntrack_max_per_source=3",
    "sysctl -w net.netfilter.nf_conntrack_max_per_source=0",
    "iptables -I FORWARD -m connlimit --connlimit-above 2 -j DROP",
    "iptables -I FORWARD -m connlimit --connlimit-upto 3 --connlimit-mask 16 --connlimit-daddr",
    "iptables -I FORWARD -m hashlimit --hashlimit-above 5/s --hashlimit-mode srcip,dstport --hashlimit-name f -j DROP",
    "iptables -I FORWARD -m recent --update --seconds 30 --hitcount 3 --rttl -j DROP",
    "iptables -I FORWARD -m recent --set",
    "iptables -D FORWARD 1",
    "iptables -I FORWARD -m set --match-set hosts src -m statistic --mode nth --every 2 --packet 1 -j DROP",
    "iptables -t mangle -I PREROUTING -j CONNMARK --restore-mark",
    "iptables -t raw -F",
    "iptables -t raw -A OUTPUT -p icmp -j CT --notrack",
    "ipset add hosts 192.168.1.10 -exist",
    "ipset flush networks",
    "ipset swap hosts spare",
    "ipset create spare hash:ip",
    "ip rule add iif eth0 lookup 100 priority 5",
    "ip rule add to 198.51.100.8 prohibit priority 6",
    "ip rule del priority 5",
    "ip rule flush",
    "ip rule add lookup main",
    "ip route replace default via 203.0.113.1 mtu 576",
    "ip route replace default nexthop via 203.0.113.1 nexthop via 10.10.0.5 weight 3",
    "ip route replace throw 198.51.100.0/24 table 100",
    "ip route flush table 100",
    "sysctl -w net.ipv4.fib_multipath_hash_policy=1",
    "sysctl -w net.netfilter.nf_conntrack_helper=1",
    "explain in eth0 udp 192.168.1.11:40000 198.51.100.7:53",
    "nstat -az",
    "sysctl -w net.ipv4.icmp_errors_use_inbound_ifaddr=1 net.ipv4.icmp_ratemask=6169",
    "sysctl -w net.ipv4.conf.all.log_martians=1",
];

/// Times that pass at once: from nothing to longer than every timer.
const TIMES: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_millis(1),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(31),
    Duration::from_secs(121),
    Duration::from_secs(700),
];

/// Frames, one after the other, at one moment.
///
/// # Panics
/// Where the router does anything that it must not do.
pub fn frames(data: &[u8]) {
    let mut input = Input::new(data);
    let mut bench = Bench::with(3, &LIMITS, 0, &[crate::network::NETWORK, GATEWAY].concat());
    let (mut judge, mut traffic) = (Judge::new(&bench), Traffic::default());
    for _ in 0..EVENTS {
        if input.is_empty() {
            break;
        }
        let (port, frame) = traffic.next(&mut input);
        let left = bench.inject(port, &frame);
        judge.check(&bench, &left);
        traffic.heard(left);
    }
    judge.check_end(&mut bench);
}

/// Frames among which time passes, links fail and somebody types commands.
///
/// # Panics
/// Where the router does anything that it must not do.
pub fn frames_over_time(data: &[u8]) {
    let mut input = Input::new(data);
    let mut bench = Bench::with(3, &LIMITS, 0, &[crate::network::NETWORK, GATEWAY].concat());
    let (mut judge, mut traffic) = (Judge::new(&bench), Traffic::default());
    for _ in 0..EVENTS {
        if input.is_empty() {
            break;
        }
        let left = match input.byte() % 8 {
            0 => {
                bench.command(input.choose(COMMANDS));
                bench.pass(Duration::ZERO)
            }
            1 => {
                let byte = input.byte();
                bench.set_carrier(usize::from(byte >> 1) % 3, byte & 1 != 0);
                bench.pass(Duration::ZERO)
            }
            2 => bench.pass(input.choose(&TIMES[..5])),
            3 => bench.sleep(input.choose(&TIMES)),
            _ => {
                let (port, frame) = traffic.next(&mut input);
                bench.inject(port, &frame)
            }
        };
        judge.check(&bench, &left);
        traffic.heard(left);
    }
    judge.check_end(&mut bench);
}

/// Bytes typed at the console.
///
/// # Panics
/// Where the console is dead afterwards, prints without end, or what `iptables-save` or `config show` prints does not
/// make the same rules or configuration again.
pub fn command(data: &[u8]) {
    let mut bench = Bench::with(3, &LIMITS, 0, "");
    let mut console = Console::new(&bench.router);
    let printed: usize = data.chunks(256).map(|keys| bench.press(&mut console, keys).len()).sum();
    assert!(printed <= (data.len() + 1) * OUTPUT_PER_BYTE, "{printed} bytes for {} typed", data.len());

    // Ctrl-C ends what runs or is read, and then a line.
    bench.press(&mut console, b"\x03\x03");
    let answer = bench.press(&mut console, b"echo still $?\r");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("\r\nstill 130\r\n"), "{answer:?}");

    let mut copy = Bench::with(3, &LIMITS, 0, "");
    let rules = saved_rules_of(&mut bench);
    copy.run(&format!("iptables-restore <<END\n{rules}\nEND\n"));
    assert_eq!(saved_rules_of(&mut copy), rules);

    let mut again = Bench::with(3, &LIMITS, 0, "");
    let shown = bench.command("config show");
    again.run(&shown);
    assert_eq!(again.command("config show"), shown);
}

fn saved_rules_of(bench: &mut Bench) -> String {
    bench.command("iptables-save")
}
