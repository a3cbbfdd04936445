//! What happens to the machine itself: cables, a card that is confused, a fault in the middle of forwarding.

use crate::{
    arena::{Arena, Side, TOOLS},
    dice::{LAPTOP, SERVER},
};
use qemu::lab::{Lab, Plan, Qmp};
use serde_json::json;
use smoltcp::wire::Ipv4Address;
use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};
use tests::{datagram::udp, namespace::in_namespace};

/// How often harm is done to a card until it was.
const ATTEMPTS: usize = 5;
/// The class of such a card on the PCI bus, where QEMU has the card's common configuration, and the status in there
/// (virtio 1.2, 4.1.4.3).
const ETHERNET: u64 = 0x200;
const CONFIGURATION_BAR: u64 = 4;
const DEVICE_STATUS: u64 = 20;
/// How long a cable stays pulled.
const PULLED: Duration = Duration::from_millis(700);

#[test]
fn cables_are_pulled_and_put_back() {
    in_namespace(&TOOLS, || {
        let mut arena = Arena::new("cables", "");
        for cable in ["net0", "net1", "net1", "net0"] {
            for up in [false, true] {
                let lab = arena.site.lab();
                lab.qmp.execute("set_link", json!({ "name": cable, "up": up })).expect("QEMU obeys");
                arena.send(Side::Lan, 2000, |dice| {
                    let to = (Ipv4Address::from_bits(0xc612_0001), dice.port());
                    dice.ip(udp((LAPTOP, 5000), to))
                });
                arena.ask("ip -br link");
                arena.site.lab().run_for(PULLED).expect("the machine runs");
            }
            arena.go_on(cable);
        }
        arena.finish();
    });
}

/// A debugger at the machine's memory. Read "Remote Protocol" in gdb's manual: the machine stands while one is there.
struct Debugger(UnixStream);

impl Debugger {
    /// A debugger that speaks of physical addresses.
    fn attach(socket: &Path) -> Self {
        let mut debugger = Self(UnixStream::connect(socket).expect("QEMU listens"));
        debugger.say("Qqemu.PhyMemMode:1");
        debugger
    }

    /// Gives an order, and waits until it was carried out.
    fn say(&mut self, order: &str) {
        let sum = order.bytes().fold(0_u8, u8::wrapping_add);
        write!(self.0, "${order}#{sum:02x}").expect("QEMU is there");
        let mut answer = Vec::new();
        while !answer.ends_with(b"$OK#9a") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("QEMU answers");
            answer.push(byte[0]);
        }
        self.0.write_all(b"+").expect("QEMU is there");
    }
}

/// Something bad for a card.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Harm {
    /// Nonsense stands where the driver says how many buffers it has given to the receive queue: the device finds that
    /// out with the next frame, and asks to be reset (virtio 1.2, 2.1.2).
    Confusion,
    /// The same, and a frame comes in while the machine stands: QEMU finds the nonsense as it lets the machine go on, and
    /// forgets to ask. An interrupt without a reason is all that there is.
    ConfusionUnsaid,
    /// The device was reset behind its driver's back.
    Death,
}

fn harm(arena: &mut Arena, card: usize, harm: Harm, socket: &Path) {
    let qmp = &mut arena.site.lab().qmp;
    let order = if harm == Harm::Death {
        format!("M{:x},1:00", configuration(qmp, card) + DEVICE_STATUS)
    } else {
        // The index is behind the flags.
        format!("M{:x},2:3412", available_ring(qmp, card) + 2)
    };
    let mut debugger = Debugger::attach(socket);
    debugger.say(&order);
    if harm == Harm::ConfusionUnsaid {
        arena.send([Side::Lan, Side::Wan][card], 1, |dice| {
            let port = dice.port();
            dice.ip(udp((LAPTOP, 5000), (SERVER, port)))
        });
        // QEMU looks at its cables between two orders.
        debugger.say(&order);
        debugger.say(&order);
    }
    debugger.say("D");
}

/// Where a card's receive queue has its available ring.
fn available_ring(qmp: &mut Qmp, card: usize) -> u64 {
    let devices = qmp.execute("x-query-virtio", json!({})).expect("QEMU knows its devices");
    let mut paths: Vec<_> = devices
        .as_array()
        .into_iter()
        .flatten()
        .filter(|device| device["name"] == "virtio-net")
        .filter_map(|device| device["path"].as_str())
        .collect();
    paths.sort_unstable();
    let arguments = json!({ "path": paths[card], "queue": 0 });
    let queue = qmp.execute("x-query-virtio-queue-status", arguments).expect("a receive queue");
    queue["vring-avail"].as_u64().expect("an address")
}

/// Where a card has its common configuration.
fn configuration(qmp: &mut Qmp, card: usize) -> u64 {
    let buses = qmp.execute("query-pci", json!({})).expect("QEMU knows its buses");
    let devices = buses[0]["devices"].as_array().into_iter().flatten();
    let card = devices.filter(|device| device["class_info"]["class"] == ETHERNET).nth(card).expect("a card");
    let regions = card["regions"].as_array().into_iter().flatten();
    let region = regions.clone().find(|region| region["bar"] == CONFIGURATION_BAR);
    region.and_then(|region| region["address"].as_u64()).expect("an address")
}

#[test]
fn a_card_that_is_confused_or_dead_is_started_anew() {
    in_namespace(&TOOLS, || {
        let socket = socket();
        let listen = format!("unix:{},server=on,wait=off", socket.display());
        let more = ["-gdb".into(), listen.into()].to_vec();
        let mut arena = Arena::with_plan("reset", "", Plan { more, ..Plan::new("reset") });
        let harms = [Harm::Confusion, Harm::ConfusionUnsaid, Harm::Death];
        for (what, card) in harms.into_iter().flat_map(|what| [(what, 0), (what, 1)]) {
            let starts =
                |arena: &mut Arena| arena.ask("dmesg").matches(&format!("eth{card}: started anew")).count();
            let before = starts(&mut arena);
            // Where the machine stood just before its driver said the same, the device never sees the nonsense.
            let started = (0..ATTEMPTS).any(|_| {
                harm(&mut arena, card, what, &socket);
                arena.go_on(&format!("{what:?} of eth{card}"));
                starts(&mut arena) > before
            });
            assert!(started, "{what:?} of eth{card}: {}", arena.ask("dmesg"));
        }
        arena.finish();
        // It may be gone with the machine.
        let _ = std::fs::remove_file(socket);
    });
}

fn socket() -> PathBuf {
    std::env::temp_dir().join(format!("rutter-{}-gdb.sock", std::process::id()))
}

#[test]
fn a_fault_in_the_middle_of_forwarding_costs_a_moment() {
    in_namespace(&TOOLS, || {
        let mut arena = Arena::with_plan("fault", "", Plan::new("fault"));
        arena.send(Side::Lan, 2000, |dice| {
            let port = dice.port();
            dice.ip(udp((LAPTOP, 5000), (SERVER, port)))
        });
        let lab = arena.site.lab();
        lab.console.forget();
        lab.qmp.execute("inject-nmi", json!({})).expect("QEMU obeys");
        let again = |lab: &mut Lab| {
            let said = lab.console.text();
            (said.contains("non-maskable interrupt") && said.contains("started in") && lab.console.is_ready())
                .then_some(())
        };
        lab.until("the next start", again).expect("it starts again");
        // It knows nothing of before, and takes up what goes on from inside; what is new passes, too.
        arena.site.laptop.sh("ping -q -c 1 -w 20 198.51.100.7");
        arena.site.finish();
    });
}
