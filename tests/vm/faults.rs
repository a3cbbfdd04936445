//! What a machine does when something goes wrong below the router.

use qemu::lab::{Lab, Plan};

/// A hardware fault, at whatever the machine is doing.
fn fault(lab: &mut Lab) {
    lab.console.forget();
    lab.qmp.execute("inject-nmi", serde_json::json!({})).unwrap();
}

#[test]
fn a_fault_is_printed_with_registers_and_the_machine_starts_again() {
    let mut lab = Lab::boot(Plan { append: "config=none".into(), ..Plan::new("fault") }).unwrap();
    fault(&mut lab);
    let again =
        |lab: &mut Lab| (lab.console.text().contains("started in") && lab.console.is_ready()).then_some(());
    lab.until("the prompt of the next start", again).unwrap();
    let said = lab.console.text();
    for word in ["non-maskable interrupt", "rsp 0000", "backtrace: 0x"] {
        assert!(said.contains(word), "no `{word}` in {said}");
    }
    lab.finish();
}

#[test]
fn with_panic_off_a_fault_ends_the_machine() {
    let mut lab =
        Lab::boot(Plan { append: "config=none panic=off".into(), ..Plan::new("fault_off") }).unwrap();
    fault(&mut lab);
    assert!(lab.end().unwrap().success());
    lab.finish();
}
