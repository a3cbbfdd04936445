use super::*;
use alloc::{format, string::String};

const ETH0: InterfaceId = InterfaceId(1);
const ETH1: InterfaceId = InterfaceId(2);
const PEER: Ipv4Address = Ipv4Address::new(192, 0, 2, 7);
/// Buffers of waiting packets beyond the first of each.
const FURTHER: usize = 10;
const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 7]);
const OTHER_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 8]);

/// A table whose packets are numbers, with a clock and a diary.
struct Bench {
    table: Neighbors<u32>,
    now: Instant,
}

impl Bench {
    fn new(capacity: usize, parked: usize) -> Self {
        Self {
            table: Neighbors::new(capacity, parked, FURTHER, [0x9e37_79b9, 0x85eb_ca6b, 0xc2b2_ae35]),
            now: Instant::ZERO,
        }
    }

    fn after(&mut self, milliseconds: u64) -> &mut Self {
        self.now += Duration::from_millis(milliseconds);
        self
    }

    fn resolve(&mut self, address: Ipv4Address) -> Answer {
        self.table.resolve(ETH0, address, self.now)
    }

    fn usable(&mut self, id: NeighborId) -> Option<EthernetAddress> {
        self.table.usable(id, self.now).map(|(mac, _)| mac)
    }

    /// Resolves and parks, as the pipeline does.
    fn send(&mut self, address: Ipv4Address, packet: u32) -> Option<u32> {
        match self.resolve(address) {
            Answer::Pending(id) => self.table.park(id, packet, 0),
            answer => panic!("{answer:?}"),
        }
    }

    fn heard(&mut self, kind: ClaimKind, mac: EthernetAddress) {
        self.table.heard(&Claim { interface: ETH0, address: PEER, mac, kind }, self.now);
    }

    fn known() -> Self {
        let mut bench = Self::new(8, 8);
        bench.resolve(PEER);
        bench.events();
        bench.heard(ClaimKind::Reply, MAC);
        bench
    }

    fn state(&self) -> Option<State> {
        self.table.get(ETH0, PEER, self.now).map(|view| view.state)
    }

    /// All that the table wants done now, in short.
    fn events(&mut self) -> Vec<String> {
        core::iter::from_fn(|| self.table.poll(self.now))
            .map(|event| match event {
                Event::Ask { address, to: None, .. } => format!("ask {}", address.octets()[3]),
                Event::Ask { address, to: Some(mac), .. } => format!("ask {} at {mac}", address.octets()[3]),
                Event::Resolved(packet, _, mac) => format!("send {packet} to {mac}"),
                Event::Unreachable(packet) => format!("fail {packet}"),
            })
            .collect()
    }

    /// Runs as long as there are timers; gives each event with its second.
    fn run(&mut self) -> Vec<(i64, String)> {
        let mut diary = Vec::new();
        while let Some(at) = self.table.poll_at() {
            self.now = self.now.max(at);
            let second = self.now.secs();
            diary.extend(self.events().into_iter().map(|event| (second, event)));
        }
        diary
    }
}

#[test]
fn a_silent_neighbour_is_asked_three_times_a_second_apart_and_then_every_packet_fails() {
    let mut bench = Bench::new(8, 8);
    assert_eq!(bench.send(PEER, 1), None);
    assert_eq!(bench.send(PEER, 2), None);
    let ask = |second| (second, "ask 7".into());
    assert_eq!(bench.run(), [ask(0), ask(1), ask(2), (3, "fail 1".into()), (3, "fail 2".into())]);
    assert_eq!(bench.state(), Some(State::Failed));
}

#[test]
fn a_failed_neighbour_is_asked_again_with_the_next_packet() {
    let mut bench = Bench::new(8, 8);
    assert_eq!(bench.send(PEER, 1), None);
    bench.run();
    assert_eq!(bench.send(PEER, 2), None);
    assert_eq!(bench.events(), ["ask 7"]);
}

#[test]
fn however_many_packets_come_one_request_goes_out_in_a_second() {
    let mut bench = Bench::new(8, 8);
    let mut asked = 0;
    for packet in 0..290 {
        let _ = bench.send(PEER, packet);
        asked += bench.events().iter().filter(|event| event.starts_with("ask")).count();
        bench.after(10);
    }
    assert_eq!(asked, 3);
}

#[test]
fn an_answer_sends_what_waited_in_order() {
    let mut bench = Bench::new(8, 8);
    assert_eq!((bench.send(PEER, 1), bench.send(PEER, 2)), (None, None));
    bench.events();
    bench.after(1).heard(ClaimKind::Reply, MAC);
    assert_eq!(bench.events(), ["send 1 to 02-00-00-00-00-07", "send 2 to 02-00-00-00-00-07"]);
    assert_eq!(bench.state(), Some(State::Reachable));
    assert_eq!(bench.table.poll_at(), None);
}

#[test]
fn sixteen_packets_wait_for_a_neighbour_and_the_oldest_makes_room() {
    let mut bench = Bench::new(8, 64);
    let displaced: Vec<_> = (0..18).filter_map(|packet| bench.send(PEER, packet)).collect();
    assert_eq!(displaced, [0, 1]);
}

#[test]
fn when_too_many_wait_in_all_those_that_wait_longest_make_room() {
    let mut bench = Bench::new(64, 16);
    let displaced: Vec<_> =
        (0..32).filter_map(|host| bench.send(Ipv4Address::new(192, 0, 2, host), host.into())).collect();
    assert_eq!(displaced, (0..16).collect::<Vec<u32>>());
    let failed = bench.run().iter().filter(|(_, event)| event.starts_with("fail")).count();
    assert_eq!(failed, 16);
}

#[test]
fn an_idle_entry_turns_stale_without_a_timer_and_is_probed_when_it_is_used() {
    let mut bench = Bench::known();
    bench.after(29_999);
    assert_eq!(bench.state(), Some(State::Reachable));
    bench.after(1);
    assert_eq!((bench.state(), bench.table.poll_at()), (Some(State::Stale), None));
    let Answer::Found(id, MAC) = bench.resolve(PEER) else { panic!() };
    assert_eq!(bench.state(), Some(State::Delay));
    assert_eq!(bench.after(4_999).events(), [""; 0]);
    assert_eq!(bench.after(1).events(), ["ask 7 at 02-00-00-00-00-07"]);
    assert_eq!(bench.state(), Some(State::Probe));
    assert_eq!(bench.usable(id), Some(MAC), "it is used while it is probed");
    bench.heard(ClaimKind::Reply, MAC);
    assert_eq!((bench.state(), bench.table.poll_at()), (Some(State::Reachable), None));
}

#[test]
fn a_neighbour_that_went_away_is_probed_three_times_and_fails() {
    let mut bench = Bench::known();
    bench.after(30_000).resolve(PEER);
    let probe = |second| (second, "ask 7 at 02-00-00-00-00-07".into());
    assert_eq!(bench.run(), [probe(35), probe(36), probe(37)]);
    assert_eq!((bench.state(), bench.now.secs()), (Some(State::Failed), 38));
}

#[test]
fn a_kept_id_gives_the_address_as_long_as_it_is_good() {
    let mut bench = Bench::known();
    let Answer::Found(id, MAC) = bench.resolve(PEER) else { panic!() };
    assert_eq!(bench.usable(id), Some(MAC));
    bench.after(30_000);
    assert_eq!(bench.usable(id), Some(MAC));
    assert_eq!(bench.state(), Some(State::Delay), "use was noticed");
    bench.run();
    assert_eq!(bench.usable(id), None, "it has failed");
    bench.heard(ClaimKind::Request, OTHER_MAC);
    assert_eq!(bench.usable(id), Some(OTHER_MAC), "and come back with another card");
}

#[test]
fn a_kept_id_dies_with_its_entry() {
    let mut bench = Bench::known();
    let Answer::Found(id, MAC) = bench.resolve(PEER) else { panic!() };
    assert!(bench.table.remove(ETH0, PEER));
    bench.heard(ClaimKind::Request, OTHER_MAC);
    assert_eq!(bench.usable(id), None);
}

#[test]
fn only_a_request_for_us_makes_an_entry() {
    for (kind, state) in
        [(ClaimKind::Reply, None), (ClaimKind::Other, None), (ClaimKind::Request, Some(State::Stale))]
    {
        let mut bench = Bench::new(8, 8);
        bench.heard(kind, MAC);
        assert_eq!(bench.state(), state, "{kind:?}");
    }
}

#[test]
fn a_gratuitous_packet_updates_what_is_there_but_confirms_nothing() {
    let mut bench = Bench::known();
    bench.heard(ClaimKind::Other, MAC);
    assert_eq!(bench.state(), Some(State::Reachable), "it says nothing new");
    bench.heard(ClaimKind::Other, OTHER_MAC);
    assert_eq!(bench.state(), Some(State::Stale));
    assert_eq!(bench.table.get(ETH0, PEER, bench.now).unwrap().mac, Some(OTHER_MAC));
}

#[test]
fn a_reply_that_nobody_asked_for_does_not_confirm() {
    let mut bench = Bench::known();
    bench.after(30_000).heard(ClaimKind::Reply, OTHER_MAC);
    assert_eq!(bench.state(), Some(State::Stale));
}

#[test]
fn a_static_entry_never_changes_and_is_never_forgotten() {
    let fixed = StaticNeighbor { interface: ETH0, address: PEER, mac: MAC };
    let mut bench = Bench::new(2, 8);
    assert_eq!(bench.send(PEER, 1), None);
    bench.events();
    assert_eq!(bench.table.set_static(&[fixed], bench.now), 0);
    assert_eq!(bench.events(), ["send 1 to 02-00-00-00-00-07"], "what waited for it goes");
    bench.heard(ClaimKind::Reply, OTHER_MAC);
    bench.table.flush(None);
    assert!(!bench.table.remove(ETH0, PEER));
    for host in 20..40 {
        let _ = bench.resolve(Ipv4Address::new(192, 0, 2, host));
        bench.run();
    }
    assert!(matches!(bench.after(1_000_000).resolve(PEER), Answer::Found(_, MAC)));
    assert_eq!(bench.state(), Some(State::Permanent));
    bench.table.set_static(&[], bench.now);
    assert_eq!(bench.state(), None);
}

#[test]
fn a_full_table_gives_up_failed_entries_before_stale_ones_and_keeps_those_in_use() {
    let mut bench = Bench::new(3, 8);
    bench.heard(ClaimKind::Request, MAC); // stale
    let dead = Ipv4Address::new(192, 0, 2, 9);
    bench.resolve(dead);
    bench.run(); // failed
    let used = Ipv4Address::new(192, 0, 2, 8);
    bench.resolve(used);
    bench.events();
    let reply = Claim { interface: ETH0, address: used, mac: MAC, kind: ClaimKind::Reply };
    bench.table.heard(&reply, bench.now);

    let has = |bench: &Bench, address| bench.table.get(ETH0, address, bench.now).is_some();
    assert!(matches!(bench.resolve(Ipv4Address::new(192, 0, 2, 10)), Answer::Pending(_)));
    assert!(!has(&bench, dead) && has(&bench, PEER));
    assert!(matches!(bench.resolve(Ipv4Address::new(192, 0, 2, 11)), Answer::Pending(_)));
    assert!(!has(&bench, PEER) && has(&bench, used));
    assert_eq!(bench.resolve(Ipv4Address::new(192, 0, 2, 12)), Answer::Full);
    // A neighbour that is there would have answered by now.
    bench.events();
    bench.after(100);
    assert!(matches!(bench.resolve(Ipv4Address::new(192, 0, 2, 12)), Answer::Pending(_)));
    assert!(has(&bench, used));
}

#[test]
fn a_sweep_over_a_large_network_does_not_stop_a_neighbour_that_answers() {
    let mut bench = Bench::new(128, 64);
    for sweep in 0..20_000u32 {
        if let Answer::Pending(id) = bench.resolve(Ipv4Address::from_bits(0x0a00_0000 + sweep)) {
            let _ = bench.table.park(id, sweep, 0);
        }
        bench.after(1).events();
    }
    assert!(bench.send(PEER, 77).is_some(), "somebody made room");
    bench.events();
    bench.after(1).heard(ClaimKind::Reply, MAC);
    assert!(bench.events().contains(&"send 77 to 02-00-00-00-00-07".into()));
}

#[test]
fn long_packets_wait_as_far_as_their_buffers_are_few() {
    let mut bench = Bench::new(8, 8);
    let Answer::Pending(id) = bench.table.resolve(ETH0, PEER, bench.now) else { panic!() };
    assert_eq!(bench.table.park(id, 1, FURTHER - 1), None);
    assert_eq!(bench.table.park(id, 2, 2), Some(2), "too long now");
    assert_eq!(bench.table.park(id, 3, 1), None);
    assert_eq!(bench.table.park(id, 4, 0), None, "one buffer is what its place is for");
    bench.table.flush(None);
    assert_eq!(bench.events(), ["fail 1", "fail 3", "fail 4"]);
    let Answer::Pending(id) = bench.table.resolve(ETH0, PEER, bench.now) else { panic!() };
    assert_eq!(bench.table.park(id, 5, FURTHER), None, "their buffers are free again");
}

#[test]
fn flushing_an_interface_fails_what_waited_there_and_nothing_else() {
    let mut bench = Bench::new(8, 8);
    assert_eq!(bench.send(PEER, 1), None);
    let Answer::Pending(id) = bench.table.resolve(ETH1, PEER, bench.now) else { panic!() };
    assert_eq!(bench.table.park(id, 2, 0), None);
    bench.events();
    bench.table.flush(Some(ETH0));
    assert_eq!(bench.events(), ["fail 1"]);
    assert_eq!(bench.table.iter(bench.now).map(|view| view.interface).collect::<Vec<_>>(), [ETH1]);
}

#[test]
fn one_address_on_two_links_is_two_neighbours() {
    let mut bench = Bench::known();
    assert!(matches!(bench.table.resolve(ETH1, PEER, bench.now), Answer::Pending(_)));
    assert!(matches!(bench.resolve(PEER), Answer::Found(_, MAC)));
}

/// Any order of calls keeps the table whole: nothing is lost, nothing is asked too often, nothing panics.
#[test]
fn whatever_happens_every_packet_comes_out_once() {
    let mut random = crate::test_support::random();
    let mut bench = Bench::new(6, 10);
    let mut outside = alloc::collections::BTreeSet::new();
    let mut asked = alloc::collections::BTreeMap::<(u16, Ipv4Address), Instant>::new();
    let mut inside = 0;
    for packet in 0..50_000u32 {
        use rand_core::Rng;
        let word = random.next_u32();
        let address = Ipv4Address::new(192, 0, 2, (word >> 8 & 15) as u8);
        let interface = InterfaceId((word >> 12 & 1) as u16);
        let mac = EthernetAddress([2, 0, 0, 0, 0, (word >> 13 & 3) as u8]);
        let kind = [ClaimKind::Request, ClaimKind::Reply, ClaimKind::Other][(word >> 16) as usize % 3];
        match word % 8 {
            0..=3 => {
                if let Answer::Pending(id) = bench.table.resolve(interface, address, bench.now) {
                    inside += 1;
                    if let Some(displaced) = bench.table.park(id, packet, 0) {
                        assert!(outside.insert(displaced));
                    }
                }
            }
            4 | 5 => bench.table.heard(&Claim { interface, address, mac, kind }, bench.now),
            6 if word >> 24 == 0 => bench.table.flush(Some(interface)),
            6 if word >> 24 == 1 => {
                bench.table.set_static(&[StaticNeighbor { interface, address, mac }], bench.now);
            }
            6 => {
                bench.table.remove(interface, address);
                asked.remove(&(interface.0, address));
            }
            _ => {
                bench.after(u64::from(word >> 20) % 700);
            }
        }
        while let Some(event) = bench.table.poll(bench.now) {
            match event {
                Event::Resolved(packet, ..) | Event::Unreachable(packet) => assert!(outside.insert(packet)),
                Event::Ask { .. } => {}
            }
        }
        let waiting: usize = bench.table.entries.iter().map(|entry| entry.waiting.len()).sum();
        assert_eq!(outside.len() + waiting, inside);
        assert!(bench.table.iter(bench.now).count() <= 6);
    }
    assert!(inside > 5_000, "the run did something: {inside}");
}
