//! With an index and without one, every packet is judged, counted and logged alike.

use super::*;
use crate::{
    config::{
        PortInfo,
        ipset::Sets,
        rules::{
            ConnMark, ConntrackMatch, Counters, Hook, IcmpType, InterfacePattern, Limit, Log, MarkMasks,
            Masked, Statistic, StatisticMode, Target,
        },
    },
    headers::{Headers, Transport, tcp_flag},
    interface::{InterfaceId, InterfaceName},
    stage::filter::{
        Candidate, CounterRef, FlowState, FlowView, Marking, Memory, Ruleset, Trail, evaluate, tests::syn,
    },
    table::{fib::Fib, groups::Groups},
    test_support::{property, random},
    trace::{Silent, Transcript},
};
use alloc::{format, string::String, vec};
use proptest::{collection, option, prelude::*, sample::select};
use smoltcp::wire::{EthernetAddress, Ipv4Address};

fn wish<T: core::fmt::Debug + Clone>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<Negatable<T>>> {
    option::of((prop::bool::weighted(0.2), value).prop_map(|(not, value)| Negatable { not, value }))
}

/// Few addresses, so that rules and packets meet.
fn address() -> impl Strategy<Value = Ipv4Address> {
    (0..3u8, 0..3u8, 0..6u8).prop_map(|(b, c, d)| Ipv4Address::new(10, b, c, d))
}

fn network() -> impl Strategy<Value = Ipv4Cidr> {
    (address(), select(vec![0, 8, 16, 23, 24, 31, 32]))
        .prop_map(|(address, length)| Ipv4Cidr::new(address, length).network())
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![78..84u16, 1020..1030u16, 32760..32780u16, Just(0), Just(u16::MAX)]
}

fn range() -> impl Strategy<Value = PortRange> {
    prop_oneof![
        3 => port().prop_map(PortRange::single),
        2 => (port(), port()).prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) }),
    ]
}

fn pattern() -> impl Strategy<Value = InterfacePattern> {
    select(vec![("eth0", false), ("eth1", false), ("eth", true), ("", true), ("ppp0", false)])
        .prop_map(|(text, prefix)| InterfacePattern { text: InterfaceName::try_from(text).unwrap(), prefix })
}

fn matches(protocol: u8) -> BoxedStrategy<Match> {
    let limit =
        (1..4u32, 1..4u32).prop_map(|(rate, burst)| Match::Limit(Limit::new(rate, 1, burst).unwrap()));
    let states = (1..32u8).prop_map(|states| {
        Match::Conntrack(ConntrackMatch { states: Some(states.into()), ..ConntrackMatch::default() })
    });
    let mac = (0..3u8).prop_map(|last| Match::Mac(EthernetAddress([2, 0, 0, 0, 0, last]).into()));
    let marks = (0..4u32, any::<bool>()).prop_map(|(mark, of_flow)| match of_flow {
        true => Match::ConnMark(Masked::whole(mark).into()),
        false => Match::Mark(Masked::whole(mark).into()),
    });
    let nth = (1..4u32)
        .prop_map(|every| Match::Statistic(Statistic::new(StatisticMode::Nth { every, packet: 0 }.into())));
    let general = prop_oneof![limit, states, mac, marks, nth, Just(Match::Comment(String::from("why")))];
    let multiport =
        (0..3u8, any::<bool>(), collection::vec(range(), 1..6)).prop_map(|(which, not, value)| {
            let sides = [MultiportSide::Source, MultiportSide::Destination, MultiportSide::Either];
            Match::Multiport { which: sides[usize::from(which)], ports: Negatable { not, value } }
        });
    let ports = (wish(range()), wish(range()));
    match protocol {
        6 => prop_oneof![
            general,
            multiport,
            (ports, option::of(Just(Negatable::from((0x17, tcp_flag::SYN)))))
                .prop_map(|((source, destination), flags)| Match::Tcp { source, destination, flags }),
        ]
        .boxed(),
        17 => prop_oneof![
            general,
            multiport,
            ports.prop_map(|(source, destination)| Match::Udp { source, destination }),
        ]
        .boxed(),
        1 => prop_oneof![general, (0..10u8).prop_map(|kind| Match::Icmp(IcmpType::of(kind).into()))].boxed(),
        _ => general.boxed(),
    }
}

fn target() -> impl Strategy<Value = Option<Target>> {
    prop_oneof![
        6 => Just(None),
        3 => Just(Some(Target::Accept)),
        3 => Just(Some(Target::Drop)),
        2 => Just(Some(Target::Return)),
        2 => Just(Some(Target::Log(Log::default()))),
        2 => (0..4u32, 0..4u32).prop_map(|(value, mask)| Some(Target::Mark(Masked { value, mask }))),
        1 => Just(Some(Target::ConnMark(ConnMark::Save(MarkMasks::ALL)))),
        4 => (3..6u16).prop_map(|chain| Some(Target::Jump(ChainId(chain)))),
        1 => (3..6u16).prop_map(|chain| Some(Target::Goto(ChainId(chain)))),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    (select(vec![0u8, 1, 6, 17]), prop::bool::weighted(0.1)).prop_flat_map(|(protocol, not)| {
        (
            (wish(network()), wish(network())),
            (wish(pattern()), wish(pattern())),
            collection::vec(matches(protocol), 0..3),
            (target(), prop::bool::weighted(0.05)),
        )
            .prop_map(move |(addresses, interfaces, matches, (target, fragment))| Rule {
                source: addresses.0,
                destination: addresses.1,
                in_interface: interfaces.0,
                out_interface: interfaces.1,
                protocol: (protocol != 0).then_some(Negatable { not, value: protocol }),
                fragment: fragment.then_some(().into()),
                matches,
                target,
                counters: Counters::default(),
            })
    })
}

/// A filter table with many rules in FORWARD and in the user chains 3 to 5, which may even lead in circles.
fn table() -> impl Strategy<Value = Table> {
    (collection::vec(rule(), 0..200), collection::vec(collection::vec(rule(), 0..40), 3)).prop_map(
        |(forward, chains)| {
            let mut table = Tables::default().filter;
            table.chains[1].rules = forward;
            for (number, rules) in chains.into_iter().enumerate() {
                table.chains.push(Chain { name: format!("C{number}"), builtin: None, rules });
            }
            table
        },
    )
}

/// A packet, and what is known of its flow.
#[derive(Clone, Debug)]
struct Packet {
    headers: Headers,
    ingress: Option<InterfaceId>,
    state: FlowState,
}

fn packet() -> impl Strategy<Value = Packet> {
    let states = vec![FlowState::Invalid, FlowState::New, FlowState::Established, FlowState::Untracked];
    ((address(), address()), (port(), port()), 0..5u8, option::of(1..=2u16), select(states)).prop_map(
        |((source, destination), ports, kind, ingress, state)| {
            let (protocol, transport) = match kind {
                0 => (1, Transport::IcmpQuery { kind: 8, code: 0, identifier: 7 }),
                1 => (17, Transport::Udp { source: ports.0, destination: ports.1, checksummed: true }),
                2 => (47, Transport::Other),
                _ => {
                    let (source, destination) = ports;
                    let flags = if kind == 3 { tcp_flag::SYN } else { tcp_flag::ACK };
                    (
                        6,
                        Transport::Tcp {
                            source,
                            destination,
                            flags,
                            sequence: 1,
                            acknowledgment: 1,
                            window: 1,
                            header_length: 20,
                        },
                    )
                }
            };
            let headers = Headers { source, destination, protocol, transport, ..syn() };
            Packet { headers, ingress: ingress.map(InterfaceId), state }
        },
    )
}

/// Everything that an evaluation says and leaves behind.
#[derive(PartialEq, Debug)]
struct Result {
    ruling: String,
    counted: Vec<CounterRef>,
    logged: Vec<CounterRef>,
    unstable: bool,
    marking: Marking,
}

fn ask(
    table: &Table,
    index: &TableIndex,
    packet: &Packet,
    second: i64,
    transcript: Option<&mut Transcript>,
) -> Result {
    let card = |last| PortInfo::new(EthernetAddress([2, 0, 0, 0, 0, last]), 1500);
    let interfaces = crate::config::Config::new(&[card(1), card(2)]).interfaces;
    let fib = Fib::default();
    let tuple = (packet.headers.source, 1, packet.headers.destination, 2);
    let candidate = Candidate {
        frame: &[2; 14],
        headers: &packet.headers,
        ingress: packet.ingress,
        egress: Some(InterfaceId(2)),
        flow: Some(FlowView {
            id: None,
            state: packet.state,
            original_direction: true,
            source_translated: false,
            destination_translated: false,
            protocol: packet.headers.protocol,
            original: tuple,
            reply: tuple,
            mark: 0,
        }),
        interfaces: &interfaces,
        fib: &fib,
        now: Instant::from_secs(second),
    };
    let (mut marking, mut trail) = (Marking::new(&packet.headers), Trail::default());
    let rules = Ruleset {
        table,
        index,
        sets: Sets::NONE,
        memory: &Memory::new(&mut random()),
        groups: &Groups::new(&mut random()),
    };
    let ruling = match transcript {
        Some(transcript) => {
            evaluate(rules, Hook::Forward, &candidate, false, &mut marking, &mut trail, transcript)
        }
        None => evaluate(rules, Hook::Forward, &candidate, true, &mut marking, &mut trail, &mut Silent),
    };
    Result {
        ruling: format!("{ruling:?}"),
        counted: trail.counted.to_vec(),
        logged: trail.logged.to_vec(),
        unstable: trail.unstable,
        marking,
    }
}

proptest! {
    #![proptest_config(property())]

    #[test]
    fn every_packet_is_judged_as_by_walking_the_rules(table in table(), packets in collection::vec(packet(), 1..20)) {
        let (walked, index) = (table.clone(), TableIndex::new(&table));
        for (second, packet) in packets.iter().enumerate() {
            let (mut one, mut other) = (Transcript::default(), Transcript::default());
            ask(&walked, TableIndex::NONE, packet, second as i64, Some(&mut one));
            ask(&table, &index, packet, second as i64, Some(&mut other));
            prop_assert_eq!(one.lines, other.lines);
            let expected = ask(&walked, TableIndex::NONE, packet, second as i64, None);
            prop_assert_eq!(ask(&table, &index, packet, second as i64, None), expected);
        }
        let counters = |table: &Table| -> Vec<_> {
            table.chains.iter().flat_map(|chain| &chain.rules).map(|rule| rule.counters.get()).collect()
        };
        prop_assert_eq!(counters(&table), counters(&walked), "what the trail could not hold");
    }
}

/// A rule for each of so many hosts, and the packet that the last one is about.
fn hosts(count: u16) -> (Table, Packet) {
    let mut table = Tables::default().filter;
    let host = |number: u16| Ipv4Address::from_bits(0x0a00_0000 + u32::from(number));
    table.chains[1].rules = (0..count)
        .map(|number| Rule {
            source: Some(Ipv4Cidr::new(host(number), 32).into()),
            protocol: Some(6.into()),
            matches: vec![Match::Tcp {
                source: None,
                destination: Some(PortRange::single(80).into()),
                flags: None,
            }],
            target: Some(Target::Drop),
            ..Rule::default()
        })
        .collect();
    let headers = Headers { source: host(count - 1), destination: host(0), ..syn() };
    (table, Packet { headers, ingress: Some(InterfaceId(1)), state: FlowState::New })
}

#[test]
fn one_rule_of_ten_thousand_is_found_without_asking_the_others() {
    let (table, packet) = hosts(10_000);
    let index = TableIndex::new(&table);
    let result = ask(&table, &index, &packet, 0, None);
    assert_eq!(
        result.counted,
        [CounterRef { table: TableName::Filter, chain: ChainId(1), rule: Some(9_999) }]
    );
    let chain = index.chain(ChainId(1)).unwrap();
    let interfaces = crate::config::Config::new(&[]).interfaces;
    let (headers, now, fib) = (&packet.headers, Instant::ZERO, Fib::default());
    let candidate = Candidate {
        frame: &[],
        headers,
        ingress: None,
        egress: None,
        flow: None,
        interfaces: &interfaces,
        fib: &fib,
        now,
    };
    let mut marking = Marking::new(headers);
    let (memory, groups) = (Memory::new(&mut random()), Groups::new(&mut random()));
    let rules = Ruleset { table: &table, index: &index, sets: Sets::NONE, memory: &memory, groups: &groups };
    let subject = Subject::new(&candidate, rules, &mut marking);
    assert_eq!(Search::new(chain, &subject, 0).next(0), Some(9_999));
    assert!(index.bytes() < 100 * 10_000, "{} bytes", index.bytes());
}

#[test]
fn a_range_of_ports_is_covered_closely() {
    let covered = |first, last| {
        let blocks = port_blocks(&[PortRange { first, last }])?;
        let holds = |port: u16| blocks.iter().any(|block| Block::new(port.into(), block.length) == *block);
        assert!((first..=last).all(holds), "{first}:{last}");
        Some((0..=u16::MAX).filter(|&port| holds(port)).count())
    };
    assert_eq!(covered(80, 80), Some(1));
    assert_eq!(covered(32_767, 32_768), Some(2));
    assert_eq!(covered(1024, u16::MAX), Some(65_536), "almost all");
    assert_eq!(covered(6000, 6063), Some(16 + 64));
    assert_eq!(covered(0, u16::MAX), None);
}

#[test]
fn rules_are_indexed_once_they_have_come_to_rest() {
    let (filter, _) = hosts(100);
    let tables = Tables { filter, ..Tables::default() };
    let mut indexes = Indexes::default();
    let after = |milliseconds| Instant::from_millis(milliseconds);
    let indexed = |indexes: &Indexes| indexes.of(TableName::Filter).chain(ChainId(1)).is_some();
    indexes.forget(after(0));
    indexes.forget(after(90));
    indexes.poll(&tables, after(100));
    assert!(!indexed(&indexes), "it has just changed");
    assert_eq!(indexes.poll_at(), Some(after(190)));
    indexes.poll(&tables, after(190));
    assert!(indexed(&indexes));
    assert_eq!(indexes.poll_at(), None);
    (0..30).for_each(|step| indexes.forget(after(200 + 50 * step)));
    assert!(!indexed(&indexes));
    assert_eq!(indexes.poll_at(), Some(after(1200)), "not for ever");
}
