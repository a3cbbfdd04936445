use super::*;
use crate::{
    config::PortInfo,
    headers::protocol::{ICMP, TCP, UDP},
    interface::InterfaceId,
    router::Limits,
    stage::tcp::TcpState,
    table::flow::{Direction, Flow, Tuple, status},
    test_support,
};
use alloc::{string::ToString, vec::Vec};
use smoltcp::wire::{EthernetAddress, Ipv4Address};

const NOW: Instant = Instant::from_micros_const(1_000_000_000);

fn address(text: &str) -> Ipv4Address {
    text.parse().unwrap()
}

fn flow(protocol: u8, source: (&str, u16), destination: (&str, u16), bits: u8, seconds: u32) -> Flow {
    let original = Tuple {
        source: address(source.0),
        source_port: source.1,
        destination: address(destination.0),
        destination_port: destination.1,
        protocol,
    };
    let mut flow = Flow::new(original, original.inverted());
    flow.status = bits;
    flow.expires = Tick::at(NOW).plus_seconds(seconds);
    flow
}

/// The flows that were made with `conntrack -I` for the recorded listing.
fn router() -> Router {
    let card = PortInfo::new(EthernetAddress([2, 0, 0, 0, 0, 1]), 1500);
    let mut router = Router::new(&[card], &Limits::default(), &mut test_support::random());
    let seen = status::SEEN_REPLY;
    let mut web = flow(TCP, ("192.168.1.7", 40000), ("203.0.113.1", 80), seen | status::ASSURED, 432_000);
    web.tcp = TcpState::Established;
    let mut half_open = flow(TCP, ("192.168.1.8", 40001), ("203.0.113.1", 80), 0, 120);
    half_open.tcp = TcpState::SynSent;
    let mut forwarded =
        flow(TCP, ("10.0.0.7", 40000), ("203.0.113.1", 8080), seen | status::DESTINATION_NAT, 60);
    forwarded = retuple(forwarded, |reply| (reply.source, reply.source_port) = (address("10.9.9.9"), 80));
    forwarded.tcp = TcpState::CloseWait;
    let mut masqueraded = flow(TCP, ("10.0.0.8", 40000), ("203.0.113.1", 8081), status::SOURCE_NAT, 60);
    masqueraded =
        retuple(masqueraded, |reply| (reply.destination, reply.destination_port) = (address("9.9.9.9"), 81));
    masqueraded.tcp = TcpState::LastAck;
    let marked = flow(UDP, ("192.168.1.7", 5000), ("9.9.9.11", 53), seen | status::ASSURED, 180);
    let flows = [
        web,
        half_open,
        forwarded,
        masqueraded,
        flow(UDP, ("192.168.1.7", 5000), ("9.9.9.9", 53), 0, 30),
        marked.clone(),
        flow(ICMP, ("192.168.1.7", 77), ("9.9.9.9", 8), 0, 30),
        flow(200, ("192.168.1.7", 0), ("9.9.9.9", 0), seen, 600),
        flow(UDP, ("192.168.1.99", 1), ("9.9.9.9", 53), 0, 0),
    ];
    for flow in flows {
        router.connections.flows.insert(flow, InterfaceId::LOOPBACK).unwrap();
    }
    let now = Tick::default();
    let (marked, _) = router.connections.flows.find(&marked.tuple(Direction::Original), now).unwrap();
    router.connections.flows.set_mark(marked, 7);
    router
}

fn retuple(flow: Flow, change: impl FnOnce(&mut Tuple)) -> Flow {
    let mut reply = flow.tuple(Direction::Reply);
    change(&mut reply);
    let mut new = Flow::new(flow.tuple(Direction::Original), reply);
    (new.status, new.expires) = (flow.status, flow.expires);
    new
}

/// Runs a listing or a deletion to its end: its status and its lines.
fn run(line: &str, router: &mut Router) -> (u8, Vec<String>) {
    let words: Vec<String> = line.split(' ').map(String::from).collect();
    let mut walk = Walk { request: Request::parse(&words).unwrap(), place: 0, count: 0 };
    let mut all = String::new();
    loop {
        let mut out = String::new();
        let progress = walk.advance(router, NOW, &mut out);
        all += &out;
        match progress {
            Progress::More => {}
            Progress::Done(status) => return (status, all.lines().map(String::from).collect()),
            other => panic!("{other:?}"),
        }
    }
}

/// The same lines as conntrack 1.4.7 prints for these flows, but for the order, which is that of the table.
const RECORDED: [&str; 9] = [
    "tcp      6 432000 ESTABLISHED src=192.168.1.7 dst=203.0.113.1 sport=40000 dport=80 src=203.0.113.1 dst=192.168.1.7 sport=80 dport=40000 [ASSURED] mark=0 use=1",
    "tcp      6 120 SYN_SENT src=192.168.1.8 dst=203.0.113.1 sport=40001 dport=80 [UNREPLIED] src=203.0.113.1 dst=192.168.1.8 sport=80 dport=40001 mark=0 use=1",
    "tcp      6 60 CLOSE_WAIT src=10.0.0.7 dst=203.0.113.1 sport=40000 dport=8080 src=10.9.9.9 dst=10.0.0.7 sport=80 dport=40000 mark=0 use=1",
    "tcp      6 60 LAST_ACK src=10.0.0.8 dst=203.0.113.1 sport=40000 dport=8081 [UNREPLIED] src=203.0.113.1 dst=9.9.9.9 sport=8081 dport=81 mark=0 use=1",
    "udp      17 30 src=192.168.1.7 dst=9.9.9.9 sport=5000 dport=53 [UNREPLIED] src=9.9.9.9 dst=192.168.1.7 sport=53 dport=5000 mark=0 use=1",
    "udp      17 180 src=192.168.1.7 dst=9.9.9.11 sport=5000 dport=53 src=9.9.9.11 dst=192.168.1.7 sport=53 dport=5000 [ASSURED] mark=7 use=1",
    "icmp     1 30 src=192.168.1.7 dst=9.9.9.9 type=8 code=0 id=77 [UNREPLIED] src=9.9.9.9 dst=192.168.1.7 type=0 code=0 id=77 mark=0 use=1",
    "unknown  200 600 src=192.168.1.7 dst=9.9.9.9 src=9.9.9.9 dst=192.168.1.7 mark=0 use=1",
    "conntrack v1.4.7 (conntrack-tools): 8 flow entries have been shown.",
];

#[test]
fn flows_print_as_on_linux_and_one_that_is_over_does_not() {
    assert_eq!(run("-L", &mut router()), (0, RECORDED.map(String::from).to_vec()));
    let (_, extended) = run("-L -o extended", &mut router());
    assert_eq!(extended[0], format!("ipv4     2 {}", RECORDED[0]));
}

#[test]
fn filters_choose_flows() {
    let mut router = router();
    for (line, chosen) in [
        ("-L -p tcp", [0, 1, 2, 3].as_slice()),
        ("-L -p 17 -d 9.9.9.9", &[4]),
        ("-L -s 192.168.1.0/24 -p tcp", &[0, 1]),
        ("-L --dport 80 -p tcp", &[0, 1]),
        ("-L -p tcp --sport 40000", &[0, 2, 3]),
        ("-L -p tcp --reply-port-dst 81", &[3]),
        ("-L -p tcp --state SYN_SENT", &[1]),
        ("-L -q 9.9.9.9", &[3]),
        ("-L --reply-src 10.9.9.9", &[2]),
        ("-L -n", &[3]),
        ("-L -g", &[2]),
        ("-L --any-nat", &[2, 3]),
        ("-L -n 9.9.9.8", &[]),
        ("-L --dst-nat 10.9.9.9", &[2]),
        ("-L -m 7", &[5]),
        ("-L -m 0x6/0xe", &[5]),
        ("-L -u ASSURED", &[0, 5]),
        ("-L -u UNREPLIED -p udp", &[4]),
        ("-L -p icmp --icmp-type 8 --icmp-id 77", &[6]),
        ("-L conntrack -f ipv6", &[]),
    ] {
        let (_, mut lines) = run(line, &mut router);
        let last = lines.pop().unwrap();
        assert_eq!(lines, chosen.iter().map(|&place| RECORDED[place]).collect::<Vec<_>>(), "{line}");
        assert!(last.ends_with(&format!(": {} flow entries have been shown.", chosen.len())), "{line}");
    }
}

#[test]
fn deleting_ends_what_it_prints() {
    let mut router = router();
    let (status, lines) = run("-D -p udp -d 9.9.9.9", &mut router);
    assert_eq!((status, lines[0].as_str()), (0, RECORDED[4]));
    assert_eq!(lines[1], "conntrack v1.4.7 (conntrack-tools): 1 flow entries have been deleted.");
    assert_eq!(run("-D -p udp -d 9.9.9.9", &mut router).0, 1, "there is none any more");
    assert_eq!(router.connections().flows.len(), 8);
}

#[test]
fn updating_changes_marks_and_prints_the_flows_that_it_changed() {
    let mut router = router();
    let (status, lines) = run("-U -p udp -m 0x1f/0x3", &mut router);
    assert_eq!(status, 0);
    assert!(lines[0].ends_with("mark=31 use=1") && lines[1].ends_with("mark=27 use=1"), "{lines:?}");
    assert_eq!(lines[2], "conntrack v1.4.7 (conntrack-tools): 2 flow entries have been updated.");
    assert_eq!(run("-U -p udp -m 0/0", &mut router).1.len(), 1, "none has changed");
    assert_eq!(run("-L -m 31", &mut router).1.len(), 2);
}

#[test]
fn a_long_listing_pauses() {
    let mut router = router();
    for port in 1..2000 {
        let flow = flow(UDP, ("10.1.1.1", port), ("9.9.9.9", 53), 0, 30);
        router.connections.flows.insert(flow, InterfaceId::LOOPBACK).unwrap();
    }
    let mut walk = Walk { request: Request::parse(&["-L".to_string()]).unwrap(), place: 0, count: 0 };
    let mut out = String::new();
    assert_eq!(walk.advance(&mut router, NOW, &mut out), Progress::More);
    assert!(out.len() < 4096);
    let (_, lines) = run("-L -p udp", &mut router);
    assert_eq!(lines.len(), 2002);
}

#[test]
fn errors_are_worded_as_on_linux() {
    for (line, reason) in [
        ("-L --dport 80", "unknown option `--dport'"),
        ("-L --state ESTABLISHED", "unknown option `--state'"),
        ("-L -p tcp --state FOO", "unknown TCP state `FOO'"),
        ("-L -p foo", "`foo' unsupported protocol"),
        ("-L -p", "option `-p' requires an argument"),
        ("-L -s foo", "Invalid IP address `foo'"),
        ("-L -m foo", "Invalid mark `foo'"),
        ("-L -s 1.2.3.4/33", "Invalid netmask"),
        ("-L extra", "unknown type `extra'"),
        ("-L -D", "Invalid commands combination"),
        ("-F -p tcp", "Illegal option `-p' with this command"),
        ("-X", "unknown option `-X'"),
        ("-p tcp", "no command specified"),
    ] {
        let words: Vec<String> = line.split(' ').map(String::from).collect();
        let failure = Request::parse(&words).unwrap_err();
        assert_eq!(
            failure,
            Failure::new(2, format!("conntrack v1.4.7 (conntrack-tools): {reason}")),
            "{line}"
        );
    }
}

#[test]
fn statistics_have_the_form_of_linux() {
    let counters = FlowStatistics { insert: 10, drop: 1, ..FlowStatistics::default() };
    assert_eq!(
        statistics(&counters),
        "cpu=0   \tfound=0 invalid=0 insert=10 insert_failed=0 drop=1 early_drop=0 error=0 search_restart=0 \
         clash_resolve=0 chaintoolong=0 bytes_per_flow=111 \n"
    );
}
