//! What holds for every rule set: what is printed can be read again and means the same, and no text does harm.

use super::{LineSource, Request, Restore, Save, restore::split};
use crate::{
    config::rules::{
        AddressRange, AddressTypeMatch, AddressTypes, ChainId, ConnMark, ConnectionLimit, ConntrackMatch,
        Counters, HashLimit, IcmpType, InterfacePattern, Lengths, Limit, Limiting, Log, MarkMasks, Masked,
        Match, MssLimit, MultiportSide, NatTo, Negatable, NoTrack, PacketType, Policy, PortRange,
        RandomPorts, Recent, RecentAction, RejectWith, Rule, Statistic, StatisticMode, Table, TableName,
        Tables, Target, TosBits, TtlChange, TtlMatch,
    },
    headers::{
        protocol::{ICMP, TCP, UDP},
        tcp_flag::{RST, SYN},
    },
    interface::InterfaceName,
};
use alloc::{format, string::String, vec, vec::Vec};
use core::cell::Cell;
use proptest::{collection, option, prelude::*, sample::select};
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};

fn wish<T: core::fmt::Debug + Clone>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<Negatable<T>>> {
    option::of((any::<bool>(), value).prop_map(|(not, value)| Negatable { not, value }))
}

fn address() -> impl Strategy<Value = Ipv4Address> {
    (1..=u32::MAX).prop_map(Ipv4Address::from)
}

fn network(shortest: u8) -> impl Strategy<Value = Ipv4Cidr> {
    (any::<u32>(), shortest..=32).prop_map(|(bits, length)| {
        let net = Ipv4Cidr::new(Ipv4Address::from(bits), length).network();
        Ipv4Cidr::new(net.address(), length)
    })
}

fn interface() -> impl Strategy<Value = InterfacePattern> {
    ("[a-z@.:_-][a-zA-Z0-9@.:_-]{0,12}", any::<bool>()).prop_map(|(name, prefix)| InterfacePattern {
        text: InterfaceName::try_from(name.as_str()).unwrap(),
        prefix,
    })
}

fn ports() -> impl Strategy<Value = PortRange> {
    (1..=u16::MAX, 1..=u16::MAX).prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) })
}

fn text(longest: usize) -> impl Strategy<Value = String> {
    collection::vec(select("aZ09 _-\"'\\$#;!ä:,".chars().collect::<Vec<_>>()), 0..=longest)
        .prop_map(|letters| letters.into_iter().collect())
}

fn masked() -> impl Strategy<Value = Masked> {
    (any::<u32>(), prop_oneof![Just(u32::MAX), any::<u32>()]).prop_map(|(value, mask)| Masked { value, mask })
}

/// Matches about the IPv4 header.
fn header_match() -> impl Strategy<Value = Match> {
    fn wished<T>(wish: impl Fn(Negatable<T>) -> Match) -> impl Fn((bool, T)) -> Match {
        move |(not, value)| wish(Negatable { not, value })
    }
    let range = || (address(), address()).prop_map(|(a, b)| AddressRange { first: a.min(b), last: a.max(b) });
    let types = || (1..1_u16 << AddressTypes::NAMES.len()).prop_map(AddressTypes);
    let kinds = select(vec![PacketType::Unicast, PacketType::Broadcast, PacketType::Multicast]);
    let nth = (1..100_u32, any::<u32>())
        .prop_map(|(every, packet)| StatisticMode::Nth { every, packet: packet % every });
    let random = (0..=StatisticMode::CERTAIN).prop_map(|probability| StatisticMode::Random { probability });
    prop_oneof![
        (any::<bool>(), prop_oneof![nth, random])
            .prop_map(wished(|wish| Match::Statistic(Statistic::new(wish)))),
        (any::<bool>(), any::<u8>()).prop_map(wished(|wish| Match::Ttl(TtlMatch::Equal(wish)))),
        any::<u8>().prop_map(|bound| Match::Ttl(TtlMatch::Less(bound))),
        any::<u8>().prop_map(|bound| Match::Ttl(TtlMatch::Greater(bound))),
        (any::<bool>(), 0..64_u8).prop_map(wished(Match::Dscp)),
        (any::<bool>(), tos()).prop_map(wished(Match::Tos)),
        (any::<bool>(), any::<(u16, u16)>().prop_map(|(least, most)| Lengths { least, most }))
            .prop_map(wished(Match::Length)),
        (wish(range()), wish(range()))
            .prop_filter("one of them", |(source, destination)| source.or(*destination).is_some())
            .prop_map(|(source, destination)| Match::AddressRange { source, destination }),
        (wish(types()), wish(types()))
            .prop_filter("one of them", |(source, destination)| source.or(*destination).is_some())
            .prop_map(|(source, destination)| {
                Match::AddressType(AddressTypeMatch { source, destination, limit: None })
            }),
        (any::<bool>(), kinds).prop_map(wished(Match::PacketType)),
    ]
}

fn tos() -> impl Strategy<Value = TosBits> {
    any::<(u8, u8)>().prop_map(|(value, mask)| TosBits { value, mask })
}

/// Matches that go with any protocol.
fn general_match() -> impl Strategy<Value = Match> {
    let tuple = (wish(network(0)), wish(network(0)), wish(network(0)), wish(network(0)));
    let end = (wish(ports()), wish(ports()), wish(ports()), wish(ports()));
    let conntrack = (1..128_u8, any::<bool>(), wish(any::<u8>()), tuple, end, option::of(any::<bool>()))
        .prop_map(|(states, not, protocol, nets, ports, direction_original)| ConntrackMatch {
            legacy: false,
            states: Some(Negatable { not, value: states }),
            protocol,
            original_source: nets.0,
            original_destination: nets.1,
            reply_source: nets.2,
            reply_destination: nets.3,
            original_source_port: ports.0,
            original_destination_port: ports.1,
            reply_source_port: ports.2,
            reply_destination_port: ports.3,
            direction_original,
        });
    let state = (1..32_u8, any::<bool>()).prop_map(|(value, not)| ConntrackMatch {
        legacy: true,
        states: Some(Negatable { not, value }),
        ..ConntrackMatch::default()
    });
    let limit = (1..=Limit::MAX, select(vec![1, 60, 3_600, 86_400]), 1..=Limit::MAX)
        .prop_map(|(rate, per, burst)| Match::Limit(Limit::new(rate, per, burst).unwrap()));
    prop_oneof![
        limiting().prop_map(Match::Limiting),
        conntrack.prop_map(Match::Conntrack),
        state.prop_map(Match::Conntrack),
        text(40).prop_map(Match::Comment),
        (any::<bool>(), any::<[u8; 6]>())
            .prop_map(|(not, mac)| Match::Mac(Negatable { not, value: EthernetAddress(mac) })),
        limit,
        header_match(),
        (any::<bool>(), masked()).prop_map(|(not, value)| Match::Mark(Negatable { not, value })),
        (any::<bool>(), masked()).prop_map(|(not, value)| Match::ConnMark(Negatable { not, value })),
    ]
}

/// Matches that remember, under four names.
fn limiting() -> impl Strategy<Value = Limiting> {
    let name = || select(vec!["DEFAULT", "ssh", "a.b", "x-1"]).prop_map(String::from);
    let connections = (any::<u32>(), any::<bool>(), 0..=32_u8, any::<bool>()).prop_map(
        |(limit, above, prefix, destination)| {
            let number = Cell::new(0);
            Limiting::Connections(ConnectionLimit { limit, above, prefix, destination, number })
        },
    );
    let settings = (0..=32_u8, 0..=32_u8, any::<[u32; 3]>(), 1..=u32::MAX);
    let packets = (name(), any::<bool>(), 1..=HashLimit::MAX, select(vec![1, 60, 3600, 86_400]), settings)
        .prop_map(|(name, above, packets, seconds, settings)| {
            let (source_prefix, destination_prefix, [size, max, sweep], expire) = settings;
            let mut limit = HashLimit {
                name,
                above,
                interval: (seconds * 1_000_000 / u64::from(packets)).max(1),
                burst: 1 + max % HashLimit::MAX,
                mode: sweep as u8 % 16,
                source_prefix,
                destination_prefix,
                size,
                max,
                sweep,
                expire,
            };
            // In the form in which it is printed, rounding has happened.
            let (packets, seconds) = limit.rate();
            limit.interval = u64::from(seconds) * 1_000_000 / packets;
            Limiting::Packets(limit)
        });
    let actions = vec![RecentAction::Set, RecentAction::Check, RecentAction::Update, RecentAction::Remove];
    let recent = (select(actions), name(), any::<[bool; 4]>(), any::<[u32; 2]>(), 0..256_u32).prop_map(
        |(action, name, [not, destination, reap, ttl], [mask, seconds], hits)| {
            let looks = matches!(action, RecentAction::Check | RecentAction::Update);
            let seconds = if looks { seconds } else { 0 };
            Limiting::Recent(Recent {
                not,
                action,
                name,
                destination,
                mask: Ipv4Address::from(mask),
                seconds,
                hits: if looks { hits } else { 0 },
                reap: reap && seconds > 0,
                ttl: ttl && action != RecentAction::Set,
            })
        },
    );
    prop_oneof![connections, packets, recent]
}

/// Matches for one protocol.
fn protocol_match(protocol: u8) -> BoxedStrategy<Match> {
    let multiport =
        (0..3_u8, any::<bool>(), collection::vec(ports(), 1..=7)).prop_map(|(which, not, value)| {
            let which = [MultiportSide::Source, MultiportSide::Destination, MultiportSide::Either]
                [usize::from(which)];
            Match::Multiport { which, ports: Negatable { not, value } }
        });
    match protocol {
        TCP => prop_oneof![
            (wish(ports()), wish(ports()), wish((1..64_u8, 0..64_u8)))
                .prop_map(|(source, destination, flags)| Match::Tcp { source, destination, flags }),
            multiport,
        ]
        .boxed(),
        UDP => prop_oneof![
            (wish(ports()), wish(ports()))
                .prop_map(|(source, destination)| Match::Udp { source, destination }),
            multiport,
        ]
        .boxed(),
        ICMP => (any::<bool>(), option::of(0..255_u8), any::<u8>(), any::<u8>())
            .prop_map(|(not, kind, a, b)| {
                let value = match kind {
                    None => IcmpType::ANY,
                    kind => IcmpType { kind, first_code: a.min(b), last_code: a.max(b) },
                };
                Match::Icmp(Negatable { not, value })
            })
            .boxed(),
        _ => general_match().boxed(),
    }
}

fn random() -> impl Strategy<Value = Option<RandomPorts>> {
    option::of(select(vec![RandomPorts::Random, RandomPorts::RandomFully]))
}

/// Targets of the filter table for a rule in the chain at `place`: jumps only lead on, so that there is no circle.
fn filter_target(place: u16) -> impl Strategy<Value = Option<Target>> {
    let ways: Vec<RejectWith> =
        RejectWith::NAMES.iter().map(|(_, way)| *way).filter(|way| *way != RejectWith::TcpReset).collect();
    let log = (text(20), 0..8_u8, any::<[bool; 5]>()).prop_map(|(prefix, level, flags)| {
        let [tcp_sequence, tcp_options, ip_options, uid, mac_decode] = flags;
        Target::Log(Log { prefix, level, tcp_sequence, tcp_options, ip_options, uid, mac_decode })
    });
    let next = (place.max(2) + 1)..6;
    let jump = (next, any::<bool>()).prop_map(|(next, goto)| match goto {
        true => Target::Goto(ChainId(next)),
        false => Target::Jump(ChainId(next)),
    });
    option::of(prop_oneof![
        Just(Target::Accept),
        Just(Target::Drop),
        Just(Target::Return),
        select(ways).prop_map(Target::Reject),
        log,
        jump,
    ])
}

fn nat_target() -> impl Strategy<Value = Option<Target>> {
    let to = (address(), address(), option::of(ports()), random(), any::<bool>()).prop_map(
        |(a, b, ports, random, persistent)| NatTo {
            addresses: Some((a.min(b), a.max(b))),
            ports,
            random,
            persistent,
        },
    );
    option::of(prop_oneof![
        Just(Target::Accept),
        to.prop_map(Target::Snat),
        (option::of(ports()), random()).prop_map(|(ports, random)| Target::Masquerade { ports, random }),
    ])
}

fn raw_target() -> impl Strategy<Value = Option<Target>> {
    let targets = [Target::Drop, Target::NoTrack(NoTrack::Short), Target::NoTrack(NoTrack::Ct)];
    option::of(select(targets.to_vec()))
}

fn mangle_target() -> impl Strategy<Value = Option<Target>> {
    let masks = || any::<(u32, u32)>().prop_map(|(packet, flow)| MarkMasks { packet, flow });
    let connmark = prop_oneof![
        masked().prop_map(ConnMark::Set),
        masks().prop_map(ConnMark::Save),
        masks().prop_map(ConnMark::Restore),
    ];
    option::of(prop_oneof![
        Just(Target::Accept),
        Just(Target::Drop),
        Just(Target::TcpMss(MssLimit::PathMtu)),
        (0..=65_515_u16).prop_map(|bytes| Target::TcpMss(MssLimit::Bytes(bytes))),
        masked().prop_map(Target::Mark),
        any::<u8>().prop_map(|ttl| Target::Ttl(TtlChange::Set(ttl))),
        (1..=u8::MAX).prop_map(|by| Target::Ttl(TtlChange::Lower(by))),
        (1..=u8::MAX).prop_map(|by| Target::Ttl(TtlChange::Raise(by))),
        (0..64_u8).prop_map(Target::Dscp),
        tos().prop_map(Target::Tos),
        connmark.prop_map(Target::ConnMark),
    ])
}

/// A rule for the chain at `place` of `table`.
fn rule(table: TableName, place: u16) -> impl Strategy<Value = Rule> {
    let target = match table {
        TableName::Filter => filter_target(place).boxed(),
        TableName::Nat => nat_target().boxed(),
        TableName::Mangle => mangle_target().boxed(),
        TableName::Raw => raw_target().boxed(),
    };
    (select(vec![0, ICMP, TCP, UDP, 47, 200]), any::<[bool; 2]>()).prop_flat_map(
        move |(protocol, [not, fragment])| {
            // Only a rule without ports may want any other protocol than one.
            let not = not && !matches!(protocol, 0 | ICMP | TCP | UDP);
            let ported = matches!(protocol, ICMP | TCP | UDP);
            let output = table == TableName::Filter && place == 2;
            (
                (wish(network(1)), wish(network(1))),
                (wish(interface()), wish(interface())),
                collection::vec(prop_oneof![general_match(), protocol_match(protocol)], 0..4),
                target.clone(),
                any::<(u64, u64)>(),
            )
                .prop_map(
                    move |(addresses, interfaces, mut matches, mut target, (packets, bytes))| {
                        // The mac of a packet is known only where it comes in.
                        matches.retain(|it| {
                            !matches!(it, Match::Mac(_)) || (place < 2 && table == TableName::Filter)
                        });
                        match &mut target {
                            Some(Target::Masquerade { ports, .. }) if !ported => *ports = None,
                            Some(Target::Snat(to)) if !ported => to.ports = None,
                            Some(Target::TcpMss(_)) if protocol == TCP => {
                                let flags = Some((SYN | RST, SYN).into());
                                matches.push(Match::Tcp { source: None, destination: None, flags });
                            }
                            Some(Target::TcpMss(_)) => target = None,
                            _ => {}
                        }
                        Rule {
                            source: addresses.0,
                            destination: addresses.1,
                            in_interface: interfaces
                                .0
                                .filter(|_| !output && !matches!(table, TableName::Nat | TableName::Raw)),
                            out_interface: interfaces.1.filter(|_| place != 0 || table != TableName::Filter),
                            protocol: (protocol != 0).then_some(Negatable { not, value: protocol }),
                            fragment: fragment.then_some(().into()),
                            matches,
                            target,
                            counters: Counters::new(packets, bytes),
                        }
                    },
                )
        },
    )
}

/// Tables with rules in every chain of filter, three user chains among them, in nat POSTROUTING, mangle FORWARD and
/// raw OUTPUT.
fn tables() -> impl Strategy<Value = Tables> {
    let rules = |table, place| collection::vec(rule(table, place), 0..5);
    let filter = (0..5_u16).map(|place| rules(TableName::Filter, place)).collect::<Vec<_>>();
    let others = (rules(TableName::Nat, 3), rules(TableName::Mangle, 2), rules(TableName::Raw, 1));
    (filter, others, any::<[bool; 3]>()).prop_map(|(filter, (nat, mangle, raw), policies)| {
        let mut tables = Tables::default();
        for name in ["LAN", "a-b.c", "Z"] {
            tables.filter.create_chain(name).unwrap();
        }
        for (chain, rules) in tables.filter.chains.iter_mut().zip(filter) {
            chain.rules = rules;
        }
        for (chain, drop) in tables.filter.chains.iter_mut().zip(policies) {
            let builtin = chain.builtin.as_mut().unwrap();
            builtin.policy = if drop { Policy::Drop } else { Policy::Accept };
        }
        tables.nat.chains[3].rules = nat;
        tables.mangle.chains[2].rules = mangle;
        tables.raw.chains[1].rules = raw;
        tables
    })
}

fn saved(tables: &Tables) -> String {
    let (mut save, mut out) = (Save::all(true), String::new());
    while save.next_line(tables, &mut out) {}
    out
}

/// Whether both tables have the same chains with the same rules; user chains are created in the order of their
/// names.
fn assert_same(one: &Table, other: &Table) {
    for chain in &one.chains {
        let twin = other.chain(other.find_chain(&chain.name).unwrap());
        assert_eq!(chain.builtin, twin.builtin);
        let texts = |table: &Table, rules: &[Rule]| -> Vec<String> {
            rules.iter().map(|rule| format!("{}", table.text(rule).with_counters())).collect()
        };
        assert_eq!(texts(one, &chain.rules), texts(other, &twin.rules));
        for (rule, twin) in chain.rules.iter().zip(&twin.rules) {
            let target = |rule: &Rule| rule.target.clone().filter(|_| rule.next_chain().is_none());
            assert_eq!(target(rule), target(twin));
            assert_eq!(rule.matches, twin.matches);
            assert_eq!((&rule.source, &rule.destination), (&twin.source, &twin.destination));
            assert_eq!((&rule.in_interface, &rule.out_interface), (&twin.in_interface, &twin.out_interface));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_is_read_as_the_same_rules(tables in tables()) {
        let text = saved(&tables);
        let mut again = Tables::default();
        Restore { counters: true, ..Restore::default() }.apply(&text, &mut again).unwrap();
        prop_assert_eq!(saved(&again), text);
        assert_same(&tables.filter, &again.filter);
        assert_same(&tables.nat, &again.nat);
        assert_same(&tables.mangle, &again.mangle);
        assert_same(&tables.raw, &again.raw);
    }

    #[test]
    fn no_words_do_harm(words in collection::vec(word(), 0..12)) {
        let mut tables = Tables::default();
        tables.filter.create_chain("LAN").unwrap();
        let before = saved(&tables);
        if Request::parse(&words, &tables).and_then(|request| request.apply(&mut tables)).is_err() {
            prop_assert_eq!(saved(&tables), before);
        }
        let mut again = Tables::default();
        let text = saved(&tables);
        Restore { counters: true, ..Restore::default() }.apply(&text, &mut again).unwrap();
        prop_assert_eq!(saved(&again), text);
    }

    #[test]
    fn no_text_does_harm(text in "(\\*filter\n|:[A-Z]{0,6} [-A-Z]{0,6}|\\[1:|\\]|-A INPUT|COMMIT|[ -~]{0,6}|\n){0,30}") {
        let mut tables = Tables::default();
        let _ = Restore::default().apply(&text, &mut tables);
        let _ = split(&text);
    }
}

/// Words that commands are made of, and some that they are not.
fn word() -> impl Strategy<Value = String> {
    let known = "-A -I -D -R -C -F -L -S -P -N -X -E -Z -t -p -s -d -i -o -j -g -m -f -c -n -v -x ! -- - INPUT OUTPUT \
                 FORWARD LAN nat filter mangle tcp udp icmp all 6 0 1 2 ACCEPT DROP REJECT LOG SNAT DNAT MASQUERADE RETURN \
                 --dport --sport --syn --tcp-flags --icmp-type --to-source --to --reject-with --log-prefix --limit \
                 --limit-burst connlimit --connlimit-above --connlimit-mask hashlimit --hashlimit-upto --hashlimit-name \
                 --hashlimit-mode srcip,dstport recent --set --rcheck --seconds --hitcount --name multiport --dports --ports conntrack --ctstate --ctorigsrc state --state comment \
                 --comment mac --mac-source limit 80 1:2 10.0.0.0/8 1.2.3.4,5.6.7.8 1.2.3.4-1.2.3.9:80-90 NEW \
                 ESTABLISHED SYN MARK CONNMARK mark connmark --mark --set-mark --save-mark --nfmask 0x1/0xff raw mangle NOTRACK CT --notrack --helper TTL --ttl-set --ttl-dec ttl --ttl-lt DSCP --set-dscp-class \
                 EF dscp --dscp TOS --set-tos 0x10/0x3f tos --tos length --length iprange --src-range 1.2.3.4-1.2.3.9 addrtype --dst-type \
                 LOCAL,UNICAST --limit-iface-in pkttype --pkt-type broadcast TCPMSS --set-mss --clamp-mss-to-pmtu ALL NONE 5/min eth0 eth+ + echo-request 3/4 tcp-reset 00:11:22:33:44:55";
    let known: Vec<String> = known.split(' ').map(String::from).collect();
    prop_oneof![9 => select(known), 1 => "[ -~äß\t]{0,8}"]
}
