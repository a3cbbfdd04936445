//! Cards with several receive queues, on taps of the kernel: whom the router has answered comes through the first queue,
//! strangers come through all of them, and a flood of strangers has to wait in the others.

use crate::{
    home_gateway::{SCRIPT, curl},
    web::who_are_you,
};
use qemu::{lab::Plan, nic::QUEUES, tap::Sender};
use smoltcp::wire::{EthernetAddress, Ipv4Address};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use tests::{
    datagram::{flag, tcp},
    driver::{counter, counters},
    frame::Frame,
    namespace::in_namespace,
    site::{Site, router_mac},
};

const TOOLS: [&str; 4] = ["ip", "iperf3", "curl", "ping"];
const STRANGERS: u32 = 800;
/// How long a flood may take until it is one, and its end until it is over.
const PATIENCE: Duration = Duration::from_secs(30);

/// SYN number `number` from outside, each from somebody else.
fn stranger(number: u32, port: u16) -> Vec<u8> {
    let source = (Ipv4Address::from_bits(0x0b00_0000 + number.wrapping_mul(7919) % 0x5000_0000), 1024);
    let syn = tcp(source, (Ipv4Address::new(203, 0, 113, 2), port), flag::SYN);
    Frame::ip(EthernetAddress([2, 0, 0, 0, 0, 9]), router_mac(1), syn).bytes()
}

/// What came in through each queue of a card.
fn received(site: &mut Site, card: &str) -> Vec<u64> {
    let counters = counters(site.lab(), card);
    (0..QUEUES).map(|queue| counters[&format!("rx_queue_{queue}_packets")]).collect()
}

fn strangers_and_friends(board: &str) {
    let plan = Plan {
        board: board.parse().expect("a board"),
        config: Some(SCRIPT.into()),
        ..Plan::new(&format!("queues-{board}"))
    };
    let mut site = Site::with_plan(plan);
    who_are_you(&site.internet, "internet", "198.51.100.7:80");
    let server = site.internet.start("iperf3 -s -1 --forceflush", "listening");
    site.laptop.sh("iperf3 -c 198.51.100.7 -n 20M");
    server.end();
    for card in ["eth0", "eth1"] {
        let queues = received(&mut site, card);
        // The first packets of each flow may come through any queue.
        let (first, all) = (queues[0], queues.iter().sum::<u64>());
        assert!(first > 100 && first * 10 > all * 9, "{card}: {queues:?}");
    }

    let before = received(&mut site, "eth1");
    site.internet.run(|| {
        let sender = Sender::on("wan0").expect("the tap is there");
        for number in 0..STRANGERS {
            assert!(sender.put(&stranger(number, 9999)));
            thread::sleep(Duration::from_micros(200));
        }
    });
    let start = Instant::now();
    let strangers = loop {
        let after = received(&mut site, "eth1");
        let strangers: Vec<u64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
        // The last ones may be on their way.
        if strangers.iter().sum::<u64>() >= STRANGERS.into() {
            break strangers;
        }
        assert!(start.elapsed() < PATIENCE, "none of so few is lost: {strangers:?}");
    };
    let even = u64::from(STRANGERS) / u64::from(QUEUES);
    assert!(strangers.iter().all(|&queue| queue > even / 2), "{strangers:?}");

    let over = Arc::new(AtomicBool::new(false));
    let until = over.clone();
    let flood = thread::spawn({
        let sender = site.internet.run(|| Sender::on("wan0").expect("the tap is there"));
        move || {
            for number in 0.. {
                // A full queue is what this is about.
                let _ = sender.put(&stranger(number, 8080));
                if until.load(Relaxed) {
                    break;
                }
            }
        }
    });
    let start = Instant::now();
    while counter(site.lab(), "eth1", "rx_holds") == 0 {
        assert!(start.elapsed() < PATIENCE, "the router takes it all");
    }
    let pings = site.laptop.sh("ping -q -c 50 -i 0.02 -W 2 198.51.100.7 || true");
    over.store(true, Relaxed);
    flood.join().expect("a flood does not panic");
    let lost = pings.split(", ").find_map(|part| part.strip_suffix("% packet loss")).expect("a summary");
    // The first one may be refused or wait behind strangers: nobody has answered it yet.
    assert!(lost.parse::<f64>().expect("a number") <= 50.0, "{pings}");
    while curl(&site.laptop, "http://198.51.100.7/") != "internet sees 203.0.113.2" {
        assert!(start.elapsed() < 2 * PATIENCE, "it does not come to its senses");
    }
    site.finish();
}

#[test]
fn a_flood_of_strangers_waits_in_queues_of_its_own() {
    in_namespace(&TOOLS, || strangers_and_friends("q35"));
}

#[test]
fn it_does_so_on_a_machine_without_pci_too() {
    in_namespace(&TOOLS, || strangers_and_friends("microvm"));
}
