//! What happens to the machine itself: cables, a card that is confused, a fault in the middle of forwarding.

use crate::{
    arena::{Arena, Side, TOOLS},
    dice::{LAPTOP, SERVER},
};
use qemu::lab::{Lab, Plan};
use serde_json::json;
use smoltcp::wire::Ipv4Address;
use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};
use tests::{datagram::udp, namespace::in_namespace};

/// How often a card is confused until it was.
const ATTEMPTS: usize = 5;
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

/// Writes nonsense where the driver says how many buffers it has given to the receive queue of a card: the device finds
/// that out with the next frame, and asks to be reset (virtio 1.2, 2.1.2).
fn confuse(lab: &mut Lab, card: usize, socket: &Path) {
    let devices = lab.qmp.execute("x-query-virtio", json!({})).expect("QEMU knows its devices");
    let mut paths: Vec<_> = devices
        .as_array()
        .into_iter()
        .flatten()
        .filter(|device| device["name"] == "virtio-net")
        .filter_map(|device| device["path"].as_str())
        .collect();
    paths.sort_unstable();
    let arguments = json!({ "path": paths[card], "queue": 0 });
    let queue = lab.qmp.execute("x-query-virtio-queue-status", arguments).expect("a receive queue");
    let available = queue["vring-avail"].as_u64().expect("an address");
    let mut debugger = Debugger::attach(socket);
    // The index is behind the flags.
    debugger.say(&format!("M{:x},2:3412", available + 2));
    debugger.say("D");
}

#[test]
fn a_confused_card_is_reset() {
    in_namespace(&TOOLS, || {
        let socket = socket();
        let listen = format!("unix:{},server=on,wait=off", socket.display());
        let more = ["-gdb".into(), listen.into()].to_vec();
        let mut arena = Arena::with_plan("reset", "", Plan { more, ..Plan::new("reset") });
        for card in [0, 1] {
            // Where the machine stood just before its driver said the same, the device never sees the nonsense.
            let reset = (0..ATTEMPTS).any(|_| {
                confuse(arena.site.lab(), card, &socket);
                arena.go_on("a confused card");
                arena.ask("dmesg").contains(&format!("eth{card}: started anew"))
            });
            assert!(reset, "{}", arena.ask("dmesg"));
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
