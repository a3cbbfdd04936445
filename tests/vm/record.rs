//! The flight recorder of the booted image: real traffic, dumped on the console, comes out the same on the host.

use super::wire::{first, network, send};
use qemu::{
    lab::{
        Lab, Plan,
        services::{Download, FileServer, Progress},
    },
    replay::Recording,
};
use tests::{datagram::*, network::*};

/// A machine with hosts instead of static neighbours.
fn boot(name: &str) -> Lab {
    let plan = network(name, MASQUERADE);
    let config = plan.config.as_deref().unwrap_or_default();
    let commands = config.lines().filter(|line| !line.starts_with("ip neigh"));
    let config = Some(commands.map(|line| format!("{line}\n")).collect());
    Lab::boot(Plan { config, ..plan }).unwrap()
}

/// Reads what the console printed, and sends it through the plane; gives the number of frames.
fn assert_equal(text: &str) -> usize {
    let recording = Recording::read(text.as_bytes()).unwrap();
    let replayed = recording.replay(&recording.configuration).unwrap();
    for frame in &replayed {
        assert!(frame.is_equal() && frame.recorded.is_some(), "{frame}");
    }
    replayed.len()
}

#[test]
fn real_traffic_gives_the_same_verdicts_on_the_host() {
    const SIZE: usize = 100_000;
    let mut lab = boot("record");
    lab.commands("record on").unwrap();
    let alice = lab.host(LAN, "alice", &["192.168.1.10/24"], Some(LAN_SIDE));
    let server = lab.host(WAN, "server", &["203.0.113.1/24", "198.51.100.7/32"], None);
    FileServer::start(lab.get(server), 80, SIZE, 1);
    let mut download = Download::start(lab.get(alice), (SERVER, 80), 1);
    lab.until("the file", |lab| match download.poll(lab.get(alice)) {
        Progress::Complete(SIZE) => Some(()),
        _ => None,
    })
    .unwrap();
    send(&mut lab, LAN, &udp((ALICE, 40000), (SERVER, 53)).ttl(1));
    let dump = lab.command("record dump").unwrap();
    assert_eq!(dump.status, 0);
    assert!(assert_equal(&dump.text) > 50);

    // Rules that were not there make a difference, and it is told.
    let recording = Recording::read(dump.text.as_bytes()).unwrap();
    let other = format!("{}iptables -A FORWARD -p tcp -j DROP\n", recording.configuration);
    let replayed = recording.replay(&other).unwrap();
    assert!(replayed.iter().filter(|frame| !frame.is_equal()).count() > 30);
    lab.finish();
}

#[test]
fn a_fault_prints_the_last_frames() {
    let mut lab = Lab::boot(network("record_fault", MASQUERADE)).unwrap();
    lab.commands("record on").unwrap();
    for port in 0..3 {
        send(&mut lab, LAN, &udp((ALICE, 40000 + port), (SERVER, 53)));
        first(&mut lab, WAN);
        lab.segments[WAN].seen.clear();
    }
    lab.console.forget();
    lab.qmp.execute("inject-nmi", serde_json::json!({})).unwrap();
    lab.until("the next start", |lab| lab.console.text().contains("started in").then_some(())).unwrap();
    assert_eq!(assert_equal(&lab.console.text()), 3);
    lab.finish();
}

#[test]
fn memory_that_is_not_there_is_not_taken() {
    let mut lab = Lab::boot(Plan { memory: 20, ..network("record_memory", "") }).unwrap();
    lab.commands("record on -b 64").unwrap();
    send(&mut lab, LAN, &udp((ALICE, 40000), (SERVER, 53)).ttl(1));
    let refused = lab.command("record on -b 16384").unwrap();
    assert_eq!((refused.text.as_str(), refused.status), ("record: Cannot allocate memory\n", 1));
    let shown = lab.command("record show").unwrap();
    assert!(shown.text.contains("dropped ttl-exceeded"), "the earlier one goes on: {}", shown.text);
    lab.finish();
}
