//! Frames by the second serial port: what Wireshark reads is what passed.

use super::wire::{first, network, send};
use qemu::{
    capture::{Capture, port},
    lab::{Lab, Plan},
};
use std::{fs::File, path::PathBuf, process::Command, thread};
use tests::{datagram::udp, network::*};

/// A machine with a second serial port, and where that is.
fn boot(name: &str, board: &str) -> (Lab, PathBuf) {
    let socket = std::env::temp_dir().join(format!("rutter-{}-{name}.sock", std::process::id()));
    let plan = network(name, MASQUERADE);
    let plan = Plan { board: board.parse().unwrap(), more: port(&socket), ..plan };
    (Lab::boot(plan).unwrap(), socket)
}

/// What tshark reads in a file: interface, direction (1: it came in, 2: it left), addresses, comment and payload of each frame.
fn tshark(file: &PathBuf) -> Vec<String> {
    let fields = [
        "frame.interface_name",
        "frame.packet_flags_direction",
        "ip.src",
        "ip.dst",
        "frame.comment",
        "udp.payload",
    ];
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "separator=/s", "-r"]).arg(file);
    command.args(fields.iter().flat_map(|field| ["-e", field]));
    let output = command.output().expect("tshark is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim_end().to_owned()).collect()
}

fn what_passed_is_read(name: &str, board: &str) {
    let (mut lab, socket) = boot(name, board);
    let words = "-i any -c 3 udp port 53".split(' ').map(String::from).collect::<Vec<_>>();
    let capture = Capture::begin(&socket, &words).unwrap();
    let file = socket.with_extension("pcapng");
    let out = File::create(&file).unwrap();
    let writer = thread::spawn(move || capture.copy(out));
    send(&mut lab, LAN, &udp((ALICE, 40000), (SERVER, 54)).payload("another port"));
    send(&mut lab, LAN, &udp((ALICE, 40000), (SERVER, 53)).payload("question"));
    first(&mut lab, WAN);
    send(&mut lab, WAN, &udp(([127, 0, 0, 1].into(), 53), (WAN_SIDE, 40000)).payload("martian"));
    lab.until("the end of the file", |_| writer.is_finished().then_some(())).unwrap();
    assert_eq!(writer.join().unwrap().unwrap(), 3);
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let why = "dropped martian-source: Its source can be no sender on this wire (RFC 1812 5.3.7).";
    assert_eq!(
        tshark(&file),
        [
            format!("eth0 0x00000001 192.168.1.10 198.51.100.7  {}", hex("question")),
            format!("eth1 0x00000002 203.0.113.2 198.51.100.7  {}", hex("question")),
            format!("eth1 0x00000001 127.0.0.1 203.0.113.2 {why} {}", hex("martian")),
        ]
    );
    let _ = std::fs::remove_file(file);
    let _ = std::fs::remove_file(socket);
    lab.finish();
}

#[test]
fn tshark_reads_what_passed_a_q35() {
    what_passed_is_read("capture_q35", "q35");
}

#[test]
fn tshark_reads_what_passed_a_pc() {
    what_passed_is_read("capture_pc", "pc");
}

#[test]
fn tshark_reads_what_passed_a_microvm() {
    what_passed_is_read("capture_microvm", "microvm");
}

#[test]
fn a_capture_goes_on_until_it_is_stopped_and_what_is_wrong_is_told() {
    let (mut lab, socket) = boot("capture_stop", "q35");
    let wrong = Capture::begin(&socket, &["-i".into(), "eth9".into()]).err().unwrap();
    assert_eq!(wrong.to_string(), "tcpdump: eth9: No such device exists");
    for _ in 0..2 {
        let capture = Capture::begin(&socket, &["-i".into(), "eth0".into(), "udp".into()]).unwrap();
        let stop = capture.stop().unwrap();
        send(&mut lab, LAN, &udp((ALICE, 40000), (SERVER, 53)));
        first(&mut lab, WAN);
        lab.segments[WAN].seen.clear();
        stop.stop().unwrap();
        assert_eq!(capture.copy(std::io::sink()).unwrap(), 1);
    }
    let _ = std::fs::remove_file(socket);
    lab.finish();
}

#[test]
fn the_console_has_frames_written_there_too() {
    let (mut lab, socket) = boot("capture_console", "q35");
    lab.console.forget();
    lab.console.type_bytes(b"tcpdump -w - -i eth0 -c 1 udp\r");
    lab.until("the capture", |lab| lab.console.text().contains("listening on eth0").then_some(())).unwrap();
    send(&mut lab, LAN, &udp((ALICE, 40000), (SERVER, 53)));
    lab.until("its end", |lab| lab.console.answer()?.contains("1 packet captured\n").then_some(())).unwrap();
    let _ = std::fs::remove_file(socket);
    lab.finish();
}

#[test]
fn without_a_second_port_the_console_says_so() {
    let mut lab = Lab::boot(network("capture_none", "")).unwrap();
    let answer = lab.command("tcpdump -w -").unwrap();
    assert_eq!((answer.text.as_str(), answer.status), ("tcpdump: -: there is no second serial port\n", 1));
    lab.finish();
}
