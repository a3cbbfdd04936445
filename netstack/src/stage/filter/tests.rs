use super::*;
use crate::{
    config::{
        PortInfo,
        rules::{
            Builtin, Chain, ConnMark, ConntrackMatch, IcmpType, InterfacePattern, Limit, Log, MarkMasks,
            Masked, Match, Negatable, PortRange, RejectWith, Tables, state_bit,
        },
    },
    headers::{Checksum, Transport, tcp_flag},
    interface::InterfaceName,
    test_support::random,
    trace::{Silent, Transcript},
};
use alloc::{string::String, vec, vec::Vec};
use smoltcp::wire::{EthernetAddress, Ipv4Cidr};

/// A TCP SYN from 192.168.1.7:40000 to 203.0.113.1:80, 60 bytes, in by eth0 and out by eth1, first of its flow.
struct World {
    headers: Headers,
    interfaces: Vec<Interface>,
    fib: Fib,
    ingress: Option<InterfaceId>,
    egress: Option<InterfaceId>,
    flow: Option<FlowView>,
    frame: Vec<u8>,
    now: Instant,
    memory: Memory,
    groups: Groups,
}

const SOURCE: Ipv4Address = Ipv4Address::new(192, 168, 1, 7);
const DESTINATION: Ipv4Address = Ipv4Address::new(203, 0, 113, 1);

/// The headers of that packet.
pub(crate) fn syn() -> Headers {
    Headers {
        l3: 14,
        l4: 34,
        total_length: 60,
        wire_length: 60,
        source: SOURCE,
        destination: DESTINATION,
        protocol: 6,
        ttl: 64,
        tos: 0,
        identification: 1,
        dont_fragment: true,
        fragment: Fragment::Whole,
        fragment_offset: 0,
        transport: Transport::Tcp {
            source: 40000,
            destination: 80,
            flags: tcp_flag::SYN,
            sequence: 1,
            acknowledgment: 0,
            window: 65535,
            header_length: 20,
        },
        checksum: Checksum::Unknown,
    }
}

impl World {
    fn new() -> Self {
        let card = |last| PortInfo::new(EthernetAddress([2, 0, 0, 0, 0, last]), 1500);
        Self {
            headers: syn(),
            interfaces: crate::config::Config::new(&[card(1), card(2)]).interfaces,
            fib: Fib::default(),
            ingress: Some(InterfaceId(1)),
            egress: Some(InterfaceId(2)),
            flow: Some(FlowView {
                id: None,
                state: FlowState::New,
                original_direction: true,
                source_translated: false,
                destination_translated: false,
                protocol: 6,
                original: (SOURCE, 40000, DESTINATION, 80),
                reply: (DESTINATION, 80, SOURCE, 40000),
                mark: 0,
            }),
            frame: [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 9]].concat(),
            now: Instant::from_secs(100),
            memory: Memory::new(&mut random()),
            groups: Groups::new(&mut random()),
        }
    }

    fn ask(&self, table: &Table) -> (Ruling<'static>, Trail) {
        let mut trail = Trail::default();
        let ruling = without_rule(self.evaluate(table, true, &mut trail, &mut Silent));
        (ruling, trail)
    }

    fn ruling(&self, table: &Table, effects: bool) -> Ruling<'static> {
        without_rule(self.evaluate(table, effects, &mut Trail::default(), &mut Silent))
    }

    fn evaluate<'r>(
        &'r self,
        table: &'r Table,
        effects: bool,
        trail: &mut Trail,
        trace: &mut impl Trace,
    ) -> Ruling<'r> {
        let candidate = Candidate {
            frame: &self.frame,
            headers: &self.headers,
            ingress: self.ingress,
            egress: self.egress,
            flow: self.flow,
            interfaces: &self.interfaces,
            fib: &self.fib,
            now: self.now,
        };
        let rules = Ruleset {
            table,
            index: TableIndex::NONE,
            sets: Sets::NONE,
            memory: &self.memory,
            groups: &self.groups,
        };
        evaluate(rules, Hook::Forward, &candidate, effects, &mut Marking::new(&self.headers), trail, trace)
    }
}

/// No rule of the filter table translates, so that a ruling names none.
fn without_rule(ruling: Ruling<'_>) -> Ruling<'static> {
    match ruling {
        Ruling::Accept => Ruling::Accept,
        Ruling::Drop(reason) => Ruling::Drop(reason),
        Ruling::Reject(with) => Ruling::Reject(with),
        Ruling::Translate(_) => panic!("no rule of the filter table translates"),
    }
}

const FORWARD: ChainId = ChainId(1);

/// A filter table with these rules in FORWARD, policy DROP, and empty user chains A, B and C (3, 4 and 5).
fn table(rules: Vec<Rule>) -> Table {
    let mut table = Tables::default().filter;
    for name in ["A", "B", "C"] {
        table.chains.push(Chain { name: String::from(name), builtin: None, rules: Vec::new() });
    }
    let forward = &mut table.chains[1];
    forward.rules = rules;
    forward.builtin = Some(Builtin { policy: Policy::Drop, ..forward.builtin.clone().unwrap() });
    table
}

fn rule(target: Target) -> Rule {
    Rule { target: Some(target), ..Rule::default() }
}

/// A rule with one match that accepts.
fn accept_if(wanted: Match) -> Rule {
    Rule { matches: vec![wanted], ..rule(Target::Accept) }
}

fn tcp(destination: Option<Negatable<PortRange>>, flags: Option<Negatable<(u8, u8)>>) -> Match {
    Match::Tcp { source: None, destination, flags }
}

fn counted(trail: &Trail) -> Vec<(u16, Option<u16>)> {
    trail.counted.iter().map(|at| (at.chain.0, at.rule)).collect()
}

fn is_not<T>(value: T) -> Negatable<T> {
    Negatable { not: true, value }
}

#[test]
fn without_a_rule_the_policy_decides_and_counts() {
    let (ruling, trail) = World::new().ask(&table(vec![]));
    assert_eq!(ruling, Ruling::Drop(DropReason::FirewallPolicy));
    assert_eq!(counted(&trail), [(1, None)]);
    assert!(!trail.unstable);
}

#[test]
fn the_first_rule_that_fits_decides_and_rules_without_target_only_count() {
    let miss = Rule { source: Some(is_not(Ipv4Cidr::new(SOURCE, 24))), ..rule(Target::Drop) };
    let rules = vec![miss, Rule::default(), rule(Target::Reject(RejectWith::TcpReset)), rule(Target::Accept)];
    let (ruling, trail) = World::new().ask(&table(rules));
    assert_eq!(ruling, Ruling::Reject(RejectWith::TcpReset));
    assert_eq!(counted(&trail), [(1, Some(1)), (1, Some(2))]);
}

#[test]
fn header_fields_fit_or_not() {
    let eth = |text: &str, prefix| InterfacePattern { text: InterfaceName::try_from(text).unwrap(), prefix };
    let yes = |rule: Rule| {
        assert_eq!(World::new().ask(&table(vec![rule.clone()])).0, Ruling::Accept, "{rule:?}");
    };
    let no = |rule: Rule| {
        assert_ne!(World::new().ask(&table(vec![rule.clone()])).0, Ruling::Accept, "{rule:?}");
    };
    let good = || rule(Target::Accept);
    yes(Rule { destination: Some(Ipv4Cidr::new(DESTINATION, 32).into()), ..good() });
    no(Rule { destination: Some(Ipv4Cidr::new(SOURCE, 32).into()), ..good() });
    yes(Rule { in_interface: Some(eth("eth0", false).into()), ..good() });
    yes(Rule { in_interface: Some(eth("eth", true).into()), ..good() });
    no(Rule { in_interface: Some(eth("eth", false).into()), ..good() });
    no(Rule { in_interface: Some(is_not(eth("", true))), ..good() });
    no(Rule { out_interface: Some(is_not(eth("eth1", false))), ..good() });
    yes(Rule { out_interface: Some(is_not(eth("eth0", false))), ..good() });
    yes(Rule { protocol: Some(6.into()), ..good() });
    no(Rule { protocol: Some(17.into()), ..good() });
}

#[test]
fn what_comes_from_nowhere_has_an_interface_without_a_name() {
    let eth0 = InterfacePattern { text: InterfaceName::try_from("eth0").unwrap(), prefix: false };
    let world = World { ingress: None, ..World::new() };
    let named = Rule { in_interface: Some(eth0.clone().into()), ..rule(Target::Accept) };
    let other = Rule { in_interface: Some(is_not(eth0)), ..rule(Target::Accept) };
    assert_ne!(world.ask(&table(vec![named])).0, Ruling::Accept);
    assert_eq!(world.ask(&table(vec![other])).0, Ruling::Accept);
}

#[test]
fn ports_fit_or_not_and_never_in_a_later_fragment() {
    let rules = |wanted| table(vec![accept_if(tcp(Some(wanted), None))]);
    let world = World::new();
    assert_eq!(world.ask(&rules(PortRange { first: 79, last: 80 }.into())).0, Ruling::Accept);
    assert_ne!(world.ask(&rules(PortRange::single(81).into())).0, Ruling::Accept);
    assert_eq!(world.ask(&rules(is_not(PortRange::single(81)))).0, Ruling::Accept);

    let mut later = World::new();
    (later.headers.fragment, later.headers.transport) = (Fragment::Later, Transport::Other);
    let (ruling, trail) = later.ask(&rules(is_not(PortRange::single(81))));
    assert_ne!(ruling, Ruling::Accept, "it has no port, so no other one either");
    assert!(trail.unstable);
    let fragments = Rule { fragment: Some(().into()), ..rule(Target::Accept) };
    assert_eq!(later.ask(&table(vec![fragments.clone()])).0, Ruling::Accept);
    assert_ne!(world.ask(&table(vec![fragments])).0, Ruling::Accept);
}

#[test]
fn flags_are_asked_only_where_all_that_is_constant_fits() {
    let syn = (0x17, tcp_flag::SYN);
    let other_port = accept_if(tcp(Some(PortRange::single(81).into()), Some(syn.into())));
    let (_, trail) = World::new().ask(&table(vec![other_port]));
    assert!(!trail.unstable, "the port decided it");
    let same_port = accept_if(tcp(Some(PortRange::single(80).into()), Some(syn.into())));
    let (ruling, trail) = World::new().ask(&table(vec![same_port]));
    assert_eq!(ruling, Ruling::Accept);
    assert!(trail.unstable);
}

#[test]
fn a_query_type_is_constant_and_an_error_type_is_not() {
    let wanted = |kind| table(vec![accept_if(Match::Icmp(kind))]);
    let mut world = World::new();
    world.headers.protocol = 1;
    world.headers.transport = Transport::IcmpQuery { kind: 8, code: 0, identifier: 7 };
    let (ruling, trail) = world.ask(&wanted(IcmpType::of(8).into()));
    assert_eq!((ruling, trail.unstable), (Ruling::Accept, false));
    let (ruling, trail) = world.ask(&wanted(IcmpType::with_code(8, 0).into()));
    assert_eq!((ruling, trail.unstable), (Ruling::Accept, true), "the code may differ next time");
    world.headers.transport = Transport::IcmpError { kind: 3, code: 4 };
    let (ruling, trail) = world.ask(&wanted(IcmpType::with_code(3, 4).into()));
    assert_eq!((ruling, trail.unstable), (Ruling::Accept, true));
    assert_eq!(world.ask(&wanted(IcmpType::ANY.into())).0, Ruling::Accept);
    assert_ne!(world.ask(&wanted(is_not(IcmpType::ANY))).0, Ruling::Accept, "none is not any");
}

#[test]
fn conntrack_states_and_tuples() {
    let states = |states: u8| {
        table(vec![accept_if(Match::Conntrack(ConntrackMatch {
            states: Some(states.into()),
            ..ConntrackMatch::default()
        }))])
    };
    let mut world = World::new();
    assert_eq!(world.ask(&states(state_bit::NEW | state_bit::INVALID)).0, Ruling::Accept);
    assert_ne!(world.ask(&states(state_bit::DNAT)).0, Ruling::Accept);
    world.flow = world.flow.map(|flow| FlowView { destination_translated: true, ..flow });
    assert_eq!(world.ask(&states(state_bit::DNAT)).0, Ruling::Accept);
    world.flow = world.flow.map(|flow| FlowView { state: FlowState::Invalid, ..flow });
    assert_ne!(world.ask(&states(state_bit::DNAT)).0, Ruling::Accept, "an invalid packet has no flow");
    assert_eq!(world.ask(&states(state_bit::INVALID)).0, Ruling::Accept);
    world.flow = None;
    assert_eq!(world.ask(&states(state_bit::UNTRACKED)).0, Ruling::Accept);

    let tuple = |port: u16| {
        table(vec![accept_if(Match::Conntrack(ConntrackMatch {
            original_destination: Some(Ipv4Cidr::new(DESTINATION, 32).into()),
            original_destination_port: Some(PortRange::single(port).into()),
            reply_source: Some(Ipv4Cidr::new(DESTINATION, 32).into()),
            direction_original: Some(true),
            ..ConntrackMatch::default()
        }))])
    };
    assert_ne!(world.ask(&tuple(80)).0, Ruling::Accept, "no flow, no tuple");
    assert_eq!(World::new().ask(&tuple(80)).0, Ruling::Accept);
    assert_ne!(World::new().ask(&tuple(81)).0, Ruling::Accept);
}

#[test]
fn the_mac_source_is_that_of_the_frame_and_what_we_send_has_none() {
    let wanted = |mac| table(vec![accept_if(Match::Mac(mac))]);
    let there = EthernetAddress([2, 0, 0, 0, 0, 9]);
    let (ruling, trail) = World::new().ask(&wanted(there.into()));
    assert_eq!((ruling, trail.unstable), (Ruling::Accept, true));
    assert_ne!(World::new().ask(&wanted(is_not(there))).0, Ruling::Accept);
    let own = World { frame: vec![], ..World::new() };
    assert_ne!(own.ask(&wanted(is_not(there))).0, Ruling::Accept);
}

#[test]
fn a_limit_lets_its_burst_through_then_its_rate_and_changes_only_with_effects() {
    let table = table(vec![accept_if(Match::Limit(Limit::new(2, 1, 3).unwrap()))]);
    let mut world = World::new();
    let ask = |world: &World, effects| world.ruling(&table, effects);
    for _ in 0..10 {
        assert_eq!(ask(&world, false), Ruling::Accept, "asking without effects takes nothing");
    }
    let passed = (0..10).filter(|_| ask(&world, true) == Ruling::Accept).count();
    assert_eq!(passed, 3);
    world.now += smoltcp::time::Duration::from_millis(499);
    assert_ne!(ask(&world, true), Ruling::Accept);
    world.now += smoltcp::time::Duration::from_millis(1);
    assert_eq!(ask(&world, true), Ruling::Accept, "two a second");
    assert_ne!(ask(&world, true), Ruling::Accept);
}

#[test]
fn a_limit_is_charged_before_what_follows_it() {
    let mut limited = accept_if(Match::Limit(Limit::new(1, 1, 1).unwrap()));
    limited.matches.push(tcp(Some(PortRange::single(81).into()), None));
    let table = table(vec![limited]);
    let mut world = World::new();
    let ask = |world: &World| world.ruling(&table, true);
    assert_ne!(ask(&world), Ruling::Accept);
    if let Transport::Tcp { destination, .. } = &mut world.headers.transport {
        *destination = 81;
    }
    assert_ne!(ask(&world), Ruling::Accept, "the packet to port 80 has emptied the bucket");
}

#[test]
fn chains_are_called_and_return() {
    let mut table = table(vec![rule(Target::Jump(ChainId(3))), rule(Target::Accept)]);
    table.chains[3].rules = vec![rule(Target::Jump(ChainId(4))), rule(Target::Return), rule(Target::Drop)];
    table.chains[4].rules = vec![Rule::default()];
    let (ruling, trail) = World::new().ask(&table);
    assert_eq!(ruling, Ruling::Accept);
    assert_eq!(counted(&trail), [(1, Some(0)), (3, Some(0)), (4, Some(0)), (3, Some(1)), (1, Some(1))]);
}

#[test]
fn goto_comes_back_to_the_caller_before() {
    let mut table = table(vec![rule(Target::Jump(ChainId(3))), rule(Target::Accept)]);
    table.chains[3].rules = vec![rule(Target::Goto(ChainId(4))), rule(Target::Drop)];
    let (ruling, trail) = World::new().ask(&table);
    assert_eq!(ruling, Ruling::Accept);
    assert_eq!(counted(&trail), [(1, Some(0)), (3, Some(0)), (1, Some(1))]);
    table.chains[1].rules = vec![rule(Target::Goto(ChainId(4))), rule(Target::Accept)];
    assert_eq!(World::new().ask(&table).0, Ruling::Drop(DropReason::FirewallPolicy));
}

#[test]
fn return_from_a_built_in_chain_is_its_policy() {
    let (ruling, trail) = World::new().ask(&table(vec![rule(Target::Return), rule(Target::Accept)]));
    assert_eq!(ruling, Ruling::Drop(DropReason::FirewallPolicy));
    assert_eq!(counted(&trail), [(1, Some(0)), (1, None)]);
}

#[test]
fn loops_end() {
    for target in [Target::Jump(ChainId(3)), Target::Goto(ChainId(3))] {
        let mut table = table(vec![rule(target.clone())]);
        table.chains[3].rules = vec![rule(target)];
        assert_eq!(World::new().ask(&table).0, Ruling::Drop(DropReason::FirewallRule));
    }
}

#[test]
fn chains_that_call_each_other_many_times_cannot_hold_a_packet_for_ever() {
    let mut table = table(vec![rule(Target::Jump(ChainId(3))); 200]);
    table.chains[3].rules = vec![rule(Target::Jump(ChainId(4))); 200];
    table.chains[4].rules = vec![rule(Target::Jump(ChainId(5))); 200];
    table.chains[5].rules = vec![Rule::default(); 200];
    assert_eq!(World::new().ask(&table).0, Ruling::Drop(DropReason::FirewallRule));
}

#[test]
fn a_log_rule_is_noted_and_the_walk_goes_on() {
    let (ruling, trail) =
        World::new().ask(&table(vec![rule(Target::Log(Log::default())), rule(Target::Accept)]));
    assert_eq!(ruling, Ruling::Accept);
    assert_eq!(
        trail.logged.as_slice(),
        [CounterRef { table: TableName::Filter, chain: FORWARD, rule: Some(0) }]
    );
    assert!(trail.unstable, "the next packet is to be logged too");
}

#[test]
fn what_the_trail_cannot_hold_is_counted_at_once() {
    let mut rules = vec![Rule::default(); Trail::CAPACITY + 2];
    rules.push(rule(Target::Accept));
    let table = table(rules);
    let mut trail = Trail::default();
    World::new().evaluate(&table, false, &mut trail, &mut Silent);
    assert_eq!(table.chain(FORWARD).rules[Trail::CAPACITY].counters.get(), (0, 0), "no effects wanted");
    let mut trail = Trail::default();
    World::new().evaluate(&table, true, &mut trail, &mut Silent);
    assert_eq!(table.chain(FORWARD).rules[Trail::CAPACITY].counters.get(), (1, 60));
    assert_eq!(table.chain(FORWARD).rules[0].counters.get(), (0, 0), "left to the trail");
    assert!(trail.unstable);
    let first = trail.counted[0].counters(&table).unwrap();
    first.add(1, 60);
    assert_eq!(table.chain(FORWARD).rules[0].counters.get(), (1, 60));
}

#[test]
fn every_rule_looked_at_is_told() {
    let eth1 = InterfacePattern { text: InterfaceName::try_from("eth1").unwrap(), prefix: false };
    let miss = Rule { in_interface: Some(eth1.into()), ..rule(Target::Drop) };
    let table = table(vec![miss, rule(Target::Jump(ChainId(3))), rule(Target::Return)]);
    let mut transcript = Transcript::default();
    World::new().evaluate(&table, false, &mut Trail::default(), &mut transcript);
    let expected = [
        "filter FORWARD rule 1: -i eth1 -j DROP => no, -i",
        "filter FORWARD rule 2: -j A => yes, on to chain A",
        "filter FORWARD rule 3: -j RETURN => yes, RETURN",
        "filter FORWARD policy DROP",
    ];
    assert_eq!(transcript.lines, expected);
}

#[test]
fn a_mark_is_seen_by_the_rules_that_follow() {
    let marked = |mark| accept_if(Match::Mark(Masked::whole(mark).into()));
    let flow_marked = |mark| accept_if(Match::ConnMark(Masked::whole(mark).into()));
    let mark = |value| rule(Target::Mark(Masked::whole(value)));
    let save = rule(Target::ConnMark(ConnMark::Save(MarkMasks::ALL)));
    let restore = rule(Target::ConnMark(ConnMark::Restore(MarkMasks::ALL)));
    let dropped = Ruling::Drop(DropReason::FirewallPolicy);
    for (rules, expected) in [
        (vec![marked(0)], Ruling::Accept),
        (vec![mark(1), marked(1)], Ruling::Accept),
        (vec![marked(1), mark(1)], dropped),
        (vec![mark(2), flow_marked(2)], dropped),
        (vec![mark(2), save.clone(), flow_marked(2)], Ruling::Accept),
        (vec![mark(3), save.clone(), mark(0), restore, marked(3)], Ruling::Accept),
    ] {
        let (ruling, trail) = World::new().ask(&table(rules.clone()));
        assert_eq!((ruling, trail.unstable), (expected, false), "{rules:?}");
    }
    let stray = FlowView { state: FlowState::Invalid, ..World::new().flow.unwrap() };
    let world = World { flow: Some(stray), ..World::new() };
    assert_eq!(world.ask(&table(vec![flow_marked(0)])).0, dropped, "what has no flow has no mark of one");
    assert_eq!(world.ask(&table(vec![mark(2), save, flow_marked(2)])).0, dropped);
}
