//! The programs that people point at a gateway: hping3, nmap, and scapy, which fuzzes. Each finds what is there, and harms
//! nobody.

use crate::arena::{Arena, Side, TOOLS, is_long};
use qemu::nic::mac_text;
use std::time::{Duration, Instant};
use tests::namespace::in_namespace;

/// Why fragments are dropped that waited for others.
const INCOMPLETE: [&str; 1] = ["fragment-incomplete"];

/// A program at work, as long as it takes; the console and the transfer go on.
fn endure(arena: &mut Arena, what: &str, script: &str) -> String {
    let (before, start) = (arena.read_books(what), Instant::now());
    let mut running = arena.site.internet.begin(script);
    while !running.is_over() {
        arena.ask("true");
        arena.site.lab().run_for(Duration::from_millis(100)).expect("the machine runs");
    }
    let said = running.end().unwrap_or_else(|error| panic!("{what}: {error}"));
    arena.go_on(what);
    let after = arena.read_books(what);
    let ((entered, left), (entered_before, left_before)) = (after.sides(), before.sides());
    println!("abuse-scans: {what}: {:?}; dropped {:?}", start.elapsed(), after.rose_since(&before));
    // Fragments may wait, and be given up half a minute later, beside another program.
    if !what.contains("fragments") {
        let given_up = after.dropped(&INCOMPLETE) - before.dropped(&INCOMPLETE);
        assert_eq!(entered - entered_before, left - left_before - given_up, "{what}: entered, left");
    }
    said
}

/// Random packets of all layers, as scapy makes them.
const FUZZ: &str = "
from scapy.all import *
conf.verb = 0
random.seed(4732)
mac = sys.argv[1]
for layer in (IP(dst='203.0.113.2')/fuzz(TCP()), IP(dst='203.0.113.2')/fuzz(UDP()/DNS()), IP(dst='203.0.113.2')/fuzz(ICMP()),
              fuzz(IP(dst='203.0.113.2'))/UDP(), fuzz(IP(dst='203.0.113.2')/TCP())):
    sendp([Ether(dst=mac)/layer for _ in range(int(sys.argv[2]))], iface='wan0')
";

#[test]
fn scans() {
    in_namespace(&[&TOOLS[..], &["nmap", "hping3", "scapy", "python3"]].concat(), || {
        let mut arena = Arena::new("scans", "");
        let long = is_long();
        // hping3 measures time.
        let seconds = if long { 30 } else { 2 };
        for (what, words) in [
            ("hping3: SYNs", "-S --rand-source -p 8080"),
            ("hping3: all flags", "-F -S -R -P -A -U --rand-source -p ++1"),
            ("hping3: UDP", "--udp --rand-source -p ++1 -d 100"),
            ("hping3: small fragments", "-S -f -p 8080 -d 200"),
        ] {
            let words = format!("timeout -s INT {seconds} hping3 -q -i u100 {words} 203.0.113.2 || true");
            endure(&mut arena, what, &words);
        }
        let (ports, rate) = if long { ("-", 5000) } else { ("1-3000,8080", 3000) };
        let nmap = format!("nmap -n -Pn -T5 --max-retries 0 --min-rate {rate} -p {ports} 203.0.113.2");
        for (what, words) in [
            ("nmap: SYNs", "-sS"),
            ("nmap: Christmas trees", "-sX"),
            ("nmap: UDP", "-sU"),
            ("nmap: IP protocols", "-sO"),
        ] {
            let nmap = if words == "-sO" { nmap.replace(&format!("-p {ports}"), "") } else { nmap.clone() };
            let said = endure(&mut arena, what, &format!("{nmap} {words}"));
            assert!(said.contains("1 host up"), "{said}");
        }
        let said = endure(
            &mut arena,
            "nmap: versions, scripts' defaults, the operating system",
            "nmap -n -Pn -O --max-os-tries 1 -p 79-82,113 --host-timeout 60 203.0.113.2",
        );
        assert!(said.contains("113/tcp closed"), "{said}");
        let count = if long { 2000 } else { 100 };
        let mac = mac_text(arena.dice(Side::Wan).router.0);
        endure(&mut arena, "scapy", &format!("/usr/bin/python3 - {mac} {count} <<'END'\n{FUZZ}\nEND"));
        arena.finish();
    });
}
