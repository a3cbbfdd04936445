//! Every board that the image boots on, with little memory and with much: a packet passes.

use super::wire::{first, network, send};
use qemu::lab::{Lab, Plan};
use tests::datagram::udp;
use tests::network::{ALICE, LAN, SERVER, WAN};

fn works(plan: Plan) {
    let mut lab = Lab::boot(plan).unwrap();
    let packet = udp((ALICE, 5000), (SERVER, 53)).payload("hello");
    send(&mut lab, LAN, &packet);
    assert_eq!(first(&mut lab, WAN), packet.ttl(63));
    lab.finish();
}

fn board(name: &str, board: &str) -> Plan {
    Plan { board: board.parse().unwrap(), ..network(name, "") }
}

fn modern(plan: Plan) -> Plan {
    Plan { more: vec!["-global".into(), "virtio-mmio.force-legacy=false".into()], ..plan }
}

#[test]
fn q35() {
    works(board("q35", "q35"));
}

#[test]
fn pc() {
    works(board("pc", "pc"));
}

#[test]
fn microvm_with_legacy_devices() {
    works(board("microvm", "microvm"));
}

#[test]
fn microvm_with_modern_devices() {
    works(modern(board("microvm_modern", "microvm")));
}

#[test]
fn microvm_without_acpi() {
    works(board("microvm_no_acpi", "microvm,acpi=off"));
}

#[test]
fn microvm_without_acpi_with_modern_devices() {
    works(modern(board("microvm_no_acpi_modern", "microvm,acpi=off")));
}

#[test]
fn memory_of_32_mib() {
    works(Plan { memory: 32, ..network("memory_32", "") });
}

#[test]
fn memory_of_4_gib() {
    works(Plan { memory: 4096, ..network("memory_4096", "") });
}
