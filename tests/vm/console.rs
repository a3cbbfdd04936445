//! The console: editing, history, completion, statuses; and garbage.

use qemu::lab::{Lab, Plan};

fn boot(name: &str) -> Lab {
    Lab::boot(Plan { append: "config=none".into(), ..Plan::new(name) }).unwrap()
}

/// Types keys, and waits until the command that they make has printed `expected`.
fn keys(lab: &mut Lab, keys: &str, expected: &str) {
    lab.console.forget();
    lab.console.type_bytes(keys.as_bytes());
    let printed = |lab: &mut Lab| lab.console.answer().filter(|answer| answer.ends_with(expected)).map(drop);
    lab.until(&format!("{expected:?} after {keys:?}"), printed).unwrap();
}

#[test]
fn lines_are_edited() {
    let mut lab = boot("editing");
    keys(&mut lab, "hostname\r", "rutter\n");
    let left = "\x1b[D";
    for typed in [
        "hostnme\x1b[D\x1b[Da\r".to_owned(),
        "ostname\x01h\r".to_owned(),
        "ostname\x1b[Hh\r".to_owned(),
        format!("hstname{}o\x05\r", left.repeat(6)),
        "hostnamee\x7f\r".to_owned(),
        "rubbish\x15hostname\r".to_owned(),
        "hostname rubbish\x17\r".to_owned(),
        "rubbish\x03hostname\n".to_owned(),
        "hostn\t\r".to_owned(),
        "\x1b[A\r".to_owned(),
        "\x1b[A\x1b[A\x1b[B\r".to_owned(),
    ] {
        keys(&mut lab, &typed, "rutter\n");
    }
    lab.finish();
}

#[test]
fn statuses_and_separators() {
    let mut lab = boot("status");
    assert_eq!(lab.command("ip link show dev eth0").unwrap().status, 0);
    let wrong = lab.command("ip link show dev eth9").unwrap();
    assert_eq!((wrong.text.as_str(), wrong.status), ("Device \"eth9\" does not exist.\n", 1));
    assert_eq!(lab.command("rubbish").unwrap().status, 127);
    assert_eq!(lab.command("hostname; hostname # twice").unwrap().text, "rutter\nrutter\n");
    lab.finish();
}

#[test]
fn rules_are_restored_from_a_paste() {
    let mut lab = boot("restore");
    let rules = "*filter\r:INPUT DROP [0:0]\r-A INPUT -p icmp -j ACCEPT\rCOMMIT\r";
    keys(&mut lab, &format!("iptables-restore\r{rules}\x04"), "");
    let saved = lab.command("iptables-save").unwrap().text;
    assert!(
        saved.contains(":INPUT DROP [0:0]\n") && saved.contains("-A INPUT -p icmp -j ACCEPT\n"),
        "{saved}"
    );
    lab.finish();
}

#[test]
fn garbage_leaves_a_console_that_answers() {
    let mut lab = boot("garbage");
    let mut state = 1_u32;
    let garbage = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    lab.console.type_bytes(&garbage.take(16 * 1024).collect::<Vec<_>>());
    // Whatever was open ends; then comes a line that nobody types by chance.
    lab.console.type_bytes(b"\x04\x03\rhostname; uptime; hostname\r");
    lab.until("the answer behind the garbage", |lab| {
        let text = lab.console.text();
        let answer = text.rsplit_once("hostname; uptime; hostname\n")?.1;
        (answer.starts_with("rutter\n") && answer.ends_with("rutter\nrutter# ")).then_some(())
    })
    .unwrap();
    lab.finish();
}
