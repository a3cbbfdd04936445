//! A megabyte of garbage at the console, and a megabyte of lines that are right.

use crate::arena::{Arena, TOOLS, is_long};
use qemu::lab::Lab;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::time::Duration;
use tests::namespace::in_namespace;

const MEGABYTE: usize = 1 << 20;
/// In the short form, a part of it.
const PART: usize = 32;
/// How long the machine may take for it: what it prints costs more than what it reads.
const PATIENCE: Duration = Duration::from_secs(600);

/// Lines that change something and take it back, or show something.
const LINES: &str = "
ip addr add 192.0.2.1/24 dev eth0
ip route add 198.18.0.0/15 via 192.168.1.99
iptables -A FORWARD -s 192.0.2.0/24 -p tcp --dport 80 -j DROP
iptables -D FORWARD -s 192.0.2.0/24 -p tcp --dport 80 -j DROP
ip route del 198.18.0.0/15
ip addr del 192.0.2.1/24 dev eth0
sysctl net.ipv4.ip_forward
ip -br addr
hostname
";

fn size() -> usize {
    if is_long() { MEGABYTE } else { MEGABYTE / PART }
}

/// Types, and waits for the answer to a last line that nobody types by chance.
fn endure(lab: &mut Lab, bytes: &[u8]) {
    const LAST: &str = "hostname; uptime; hostname";
    lab.patience = PATIENCE;
    lab.console.forget();
    // What was printed is looked at now and then: there is much of it.
    for part in bytes.chunks(4096) {
        lab.console.type_bytes(part);
        lab.until("the console's reading", |lab| (!lab.console.has_unsent()).then_some(()))
            .expect("it reads");
        lab.console.forget();
    }
    lab.console.type_bytes(format!("\x04\x03\r{LAST}\r").as_bytes());
    let answered = |lab: &mut Lab| {
        let text = lab.console.text();
        let (_, answer) = text.rsplit_once(&format!("{LAST}\n"))?;
        (answer.starts_with("rutter\n") && answer.ends_with("rutter\nrutter# ")).then_some(())
    };
    lab.until("the answer behind it", answered).expect("the console answers");
}

#[test]
fn console() {
    in_namespace(&TOOLS, || {
        let mut arena = Arena::new("console", "");
        let mut garbage = vec![0; size()];
        StdRng::seed_from_u64(1).fill_bytes(&mut garbage);
        let lines = LINES.trim_start().replace('\n', "\r").repeat(size() / LINES.len() + 1);
        for (what, bytes) in [("garbage", garbage), ("lines", lines.into_bytes())] {
            endure(arena.site.lab(), &bytes);
            arena.go_on(what);
            arena.ask("true");
        }
        // What was typed at random has set nothing.
        assert!(arena.ask("config show").contains("192.168.1.1/24"));
        arena.finish();
    });
}
