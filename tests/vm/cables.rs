//! Cables: pulled and put back; and two routers on one, by the words that `cargo run` prints.

use qemu::lab::{Lab, Plan};
use qemu::nic::Cable;
use serde_json::json;

use super::wire::{first, network, send};
use tests::datagram::udp;
use tests::network::{ALICE, LAN, SERVER, WAN};

#[test]
fn a_cable_that_was_pulled_and_put_back_carries_packets_again() {
    let mut lab = Lab::boot(network("cable", "")).unwrap();
    for (up, state) in [(false, "DOWN"), (true, "UP")] {
        lab.qmp.execute("set_link", json!({ "name": "net1", "up": up })).unwrap();
        let shown = |lab: &mut Lab| {
            let list = lab.command("ip -br link show dev eth1").unwrap().text;
            list.split_whitespace().nth(1) == Some(state)
        };
        assert!((0..100).any(|_| shown(&mut lab)), "eth1 is not {state}");
    }
    let packet = udp((ALICE, 5000), (SERVER, 53));
    send(&mut lab, LAN, &packet);
    assert_eq!(first(&mut lab, WAN), packet.ttl(63));
    lab.finish();
}

#[test]
fn another_machine_joins_by_the_printed_words() {
    let socket = std::env::temp_dir().join(format!("rutter-{}-join.sock", std::process::id()));
    let cable = Cable::Unix(socket.clone());
    let router = |name: &str, words: String, address: &str| {
        let mac = format!("02:00:00:00:00:{:02x}", address.len());
        let more = format!("{words} -device virtio-net-pci,netdev=net0,mac={mac}");
        let config = format!("ip addr add {address}/24 dev eth0\nip link set eth0 up\n");
        let more = more.split(' ').map(Into::into).collect();
        Lab::boot(Plan { nics: 0, config: Some(config), more, ..Plan::new(name) }).unwrap()
    };
    let first = router("join_first", format!("-netdev {}", cable.netdev("net0", 1)), "192.0.2.1");
    let mut second = router("join_second", cable.other_end().unwrap(), "192.0.2.22");
    let answer = second.command("ping -c 1 192.0.2.1").unwrap();
    assert_eq!(answer.status, 0, "{}", answer.text);
    first.finish();
    second.finish();
    std::fs::remove_file(socket).unwrap();
}
