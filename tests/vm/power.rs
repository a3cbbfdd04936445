//! How a machine ends: switched off, started again, after a panic.

use qemu::lab::{Lab, Plan};

fn switches_off(name: &str, board: &str) {
    let plan = Plan { board: board.parse().unwrap(), ..Plan::new(name) };
    let mut lab = Lab::boot(plan).unwrap();
    lab.console.type_bytes(b"poweroff\r");
    let status = lab.end().unwrap();
    assert!(status.success(), "{status}");
    lab.finish();
}

#[test]
fn q35_switches_off() {
    switches_off("poweroff_q35", "q35");
}

#[test]
fn pc_switches_off() {
    switches_off("poweroff_pc", "pc");
}

#[test]
fn microvm_switches_off() {
    switches_off("poweroff_microvm", "microvm");
}

#[test]
fn microvm_without_acpi_switches_off() {
    switches_off("poweroff_microvm_no_acpi", "microvm,acpi=off");
}

#[test]
fn reboot_starts_again_with_the_configuration_of_the_boot() {
    let mut lab = Lab::boot(Plan::new("reboot")).unwrap();
    lab.commands("ip addr add 192.0.2.1/24 dev eth0").unwrap();
    lab.console.forget();
    lab.console.type_bytes(b"reboot\r");
    let again =
        |lab: &mut Lab| (lab.console.text().contains("started in") && lab.console.is_ready()).then_some(());
    lab.until("the prompt of the next start", again).unwrap();
    let addresses = lab.command("ip -4 addr show").unwrap().text;
    assert!(addresses.contains("192.168.1.1/24") && !addresses.contains("192.0.2.1"), "{addresses}");
    lab.finish();
}
