//! Saved rule sets: what `iptables-save` prints makes the same rules again, whatever was read.

use super::{Input, LIMITS, saved_rules_of};
use crate::bench::Bench;

/// Words of which lines are made, most of them known to iptables.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "*filter", "*nat", "*mangle", "COMMIT", ":INPUT ACCEPT [0:0]", ":FORWARD DROP [1:2]", ":OUTPUT ACCEPT", ":user - [0:0]", "\n",
    "-A INPUT", "-A FORWARD", "-A OUTPUT", "-A PREROUTING", "-A POSTROUTING", "-A user", "-I FORWARD 1", "-N user", "-F", "!",
    "-s 10.0.0.0/8", "-d 192.168.1.0/24", "-s 1.2.3.4,5.6.7.8", "-i eth0", "-o eth1", "-i eth+", "-f", "-p tcp", "-p udp",
    "-p icmp", "-p 47", "-p all", "--dport 80", "--sport 1:1023", "--dport http", "--syn", "--tcp-flags SYN,RST SYN",
    "--icmp-type echo-request", "--icmp-type 3/4", "-m multiport --dports 80,443,1:2", "-m conntrack --ctstate NEW,INVALID",
    "-m conntrack --ctorigdst 1.2.3.4", "-m conntrack --ctdir REPLY", "-m state --state RELATED", "-m limit --limit 5/min",
    "-m limit --limit-burst 9", "-m mac --mac-source 02:00:00:00:00:01", "-m comment --comment \"two words\"",
    "-m comment --comment x", "-m mark --mark 0x1/0xff", "-m connmark --mark 7", "-m set --match-set s src",
    "-j ACCEPT", "-j DROP", "-j REJECT", "-j REJECT --reject-with tcp-reset", "-j LOG --log-prefix \"a b\" --log-level 4",
    "-j RETURN", "-j user", "-g user", "-j MASQUERADE", "-j MASQUERADE --to-ports 1-2 --random", "-j SNAT --to-source 1.2.3.4:5-6",
    "-j DNAT --to-destination 1.2.3.4-1.2.3.9:80", "-j REDIRECT --to-ports 80", "-j TCPMSS --set-mss 1200",
    "-j TCPMSS --clamp-mss-to-pmtu", "-j MARK --set-xmark 0x1/0xff", "-j MARK --or-mark 4", "-j CONNMARK --save-mark",
    "-j CONNMARK --restore-mark --mask 0xf", "[5:300]", "#", "\"", "'",
    "*raw", "-j NOTRACK", "-j CT --notrack", "-j TTL --ttl-set 9", "-j TTL --ttl-inc 1", "-j DSCP --set-dscp-class AF41",
    "-j DSCP --set-dscp 0x3f", "-j TOS --set-tos 0x10/0x3f", "-j TOS --xor-tos 4", "-m ttl --ttl-gt 3", "-m dscp --dscp 46",
    "-m tos --tos Minimize-Delay", "-m length --length 40:1500", "-m iprange --src-range 1.2.3.4-1.2.3.9",
    "-m iprange --dst-range 10.0.0.1", "-m addrtype --dst-type LOCAL,BROADCAST", "-m addrtype --src-type UNICAST --limit-iface-in",
    "-m pkttype --pkt-type multicast", "-m set --match-set t dst,src", "-m statistic --mode random --probability 0.3",
    "-m statistic --mode nth --every 5 --packet 2", "-m connlimit --connlimit-above 3 --connlimit-mask 24",
    "-m connlimit --connlimit-upto 9 --connlimit-daddr", "-m hashlimit --hashlimit-upto 5/min --hashlimit-name a --hashlimit-mode srcip",
    "-m hashlimit --hashlimit-above 9/s --hashlimit-name b --hashlimit-burst 20", "-m recent --set --name r --rdest",
    "-m recent --update --seconds 60 --hitcount 4", "-m recent --remove", "-m recent --rcheck --rttl --reap --seconds 5",
];

/// What the rules ask.
const SETS: &str = "ipset create s hash:net\nipset create t hash:ip,port\n";

/// Reads a rule set made of known words and of any bytes.
///
/// # Panics
/// Where what is printed afterwards does not make the same rules again.
pub fn saved_rules(data: &[u8]) {
    let mut input = Input::new(data);
    let mut text = String::new();
    while !input.is_empty() {
        match input.byte() {
            0xff => text.extend(
                input.bytes(4).iter().map(|byte| char::from(byte & 0x7f)).filter(|it| !it.is_control()),
            ),
            byte => text.push_str(WORDS[usize::from(byte) % WORDS.len()]),
        }
        text.push(' ');
    }
    let mut bench = Bench::with(3, &LIMITS, 0, SETS);
    // Refused or taken: both are right.
    bench.try_run(&format!("iptables-restore -c <<END\n{}\nEND\n", text.replace(" \n ", "\n")));
    let saved = saved_rules_of(&mut bench);
    let mut copy = Bench::with(3, &LIMITS, 0, SETS);
    copy.run(&format!("iptables-restore <<END\n{saved}\nEND\n"));
    assert_eq!(saved_rules_of(&mut copy), saved);
}
