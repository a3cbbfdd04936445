//! Flows that another flow has announced, and that are RELATED to it: the data connections of FTP, the answers of TFTP.
//!
//! There are few at a time and they are looked through one by one; where there is none, nobody looks.

use super::{
    flow::{FlowId, Tuple},
    mapping::Endpoint,
    tick::Tick,
};
use smoltcp::wire::Ipv4Address;

/// As many are remembered at once; a further one takes the place of that which ends first.
pub const MOST: usize = 64;
/// How long an announced flow may keep us waiting, in seconds; as in Linux's helpers.
const PATIENCE: u32 = 300;

/// A flow that is to come.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// The flow that announced it.
    pub master: FlowId,
    /// IP protocol number.
    pub protocol: u8,
    /// Who will begin it; from which port is not known.
    pub source: Ipv4Address,
    /// The source that its packets are to leave with.
    pub source_leaving: Ipv4Address,
    /// Where its packets will go to as they arrive.
    pub destination: Endpoint,
    /// Where they are to go as they leave.
    pub destination_leaving: Endpoint,
}

/// An expectation's place in the table, for as long as the table does not change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExpectationId(u8);

#[derive(Clone, Debug)]
struct Entry {
    expectation: Expectation,
    /// The port of the flow that came: there is one only.
    source_port: Option<u16>,
    expires: Tick,
}

/// All of them.
#[derive(Default)]
pub struct Expectations(heapless::Vec<Entry, MOST>);

impl Expectations {
    /// Whether nothing is expected, as nearly always.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is expected, in no order, and the seconds that are left.
    pub fn iter(&self, now: Tick) -> impl Iterator<Item = (&Expectation, u32)> {
        self.0.iter().map(move |entry| (&entry.expectation, entry.expires.seconds_since(now)))
    }

    /// One of them.
    pub fn get(&self, id: ExpectationId) -> &Expectation {
        &self.0[usize::from(id.0)].expectation
    }

    /// The expectation that a packet with this tuple fulfils.
    pub fn find(&self, tuple: &Tuple, now: Tick) -> Option<ExpectationId> {
        let place = self.0.iter().position(|entry| {
            let Expectation { protocol, source, destination, .. } = entry.expectation;
            (protocol, source) == (tuple.protocol, tuple.source)
                && destination == Endpoint { address: tuple.destination, port: tuple.destination_port }
                && entry.source_port.is_none_or(|port| port == tuple.source_port)
                && entry.expires > now
        });
        place.map(|place| ExpectationId(place as u8))
    }

    /// The outer endpoint at which a flow awaits packets for `inner` already.
    pub fn announced(&self, master: FlowId, inner: Endpoint) -> Option<Endpoint> {
        let mut all = self.0.iter().map(|entry| &entry.expectation);
        all.find(|it| it.master == master && it.destination_leaving == inner).map(|it| it.destination)
    }

    /// Whether something is awaited at this endpoint.
    pub fn awaits(&self, protocol: u8, destination: Endpoint) -> bool {
        let mut all = self.0.iter().map(|entry| &entry.expectation);
        all.any(|it| it.protocol == protocol && it.destination == destination)
    }

    /// Expects a flow. One that was announced before in the same words is expected anew.
    pub fn expect(&mut self, expectation: Expectation, now: Tick) {
        self.0.retain(|entry| {
            let Expectation { master, destination, .. } = entry.expectation;
            entry.expires > now && (master, destination) != (expectation.master, expectation.destination)
        });
        if self.0.is_full()
            && let Some(first) = (0..self.0.len()).min_by_key(|&place| self.0[place].expires)
        {
            self.0.swap_remove(first);
        }
        let entry = Entry { expectation, source_port: None, expires: now.plus_seconds(PATIENCE) };
        // There is room for one now.
        let _ = self.0.push(entry);
    }

    /// The flow came, with this tuple. Until it is answered, its packets are found as before.
    pub fn fulfil(&mut self, tuple: &Tuple, now: Tick) {
        if let Some(id) = self.find(tuple, now) {
            self.0[usize::from(id.0)].source_port = Some(tuple.source_port);
        }
    }

    /// A flow ended, and what it announced is not expected any more.
    pub fn forget(&mut self, master: FlowId) {
        self.0.retain(|entry| entry.expectation.master != master);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        headers::protocol::{TCP, UDP},
        table::flow::{Flow, FlowTable},
        test_support::random,
    };

    const SERVER: Ipv4Address = Ipv4Address::new(198, 51, 100, 7);
    const OUTER: Ipv4Address = Ipv4Address::new(203, 0, 113, 2);
    const INNER: Ipv4Address = Ipv4Address::new(192, 168, 1, 10);

    fn tuple(source_port: u16, destination_port: u16) -> Tuple {
        Tuple { source: SERVER, destination: OUTER, source_port, destination_port, protocol: TCP }
    }

    /// Flows that can announce others.
    fn masters<const N: usize>() -> [FlowId; N] {
        let mut flows = FlowTable::new(16, &mut random());
        core::array::from_fn(|number| {
            let own = tuple(number as u16, 21);
            flows.insert(Flow::new(own, own.inverted()), crate::interface::InterfaceId(1)).unwrap()
        })
    }

    fn expectation(master: FlowId, port: u16) -> Expectation {
        Expectation {
            master,
            protocol: TCP,
            source: SERVER,
            source_leaving: SERVER,
            destination: Endpoint { address: OUTER, port },
            destination_leaving: Endpoint { address: INNER, port: 2000 },
        }
    }

    #[test]
    fn a_flow_is_expected_from_any_port_and_then_from_its_own() {
        let (mut table, [master], now) = (Expectations::default(), masters(), Tick::default());
        table.expect(expectation(master, 5000), now);
        let id = table.find(&tuple(20, 5000), now).unwrap();
        assert_eq!(table.get(id).destination_leaving.address, INNER);
        for other in [
            tuple(20, 5001),
            Tuple { source: INNER, ..tuple(20, 5000) },
            Tuple { destination: INNER, ..tuple(20, 5000) },
            Tuple { protocol: UDP, ..tuple(20, 5000) },
        ] {
            assert_eq!(table.find(&other, now), None, "{other}");
        }
        table.fulfil(&tuple(20, 5000), now);
        assert!(table.find(&tuple(20, 5000), now).is_some(), "its second packet, before the answer");
        assert_eq!(table.find(&tuple(21, 5000), now), None, "one was announced, not two");
    }

    #[test]
    fn nobody_waits_for_ever_nor_for_a_master_that_is_gone() {
        let (mut table, [one, other], now) = (Expectations::default(), masters(), Tick::default());
        table.expect(expectation(one, 5000), now);
        table.expect(expectation(other, 5001), now);
        assert_eq!(table.find(&tuple(20, 5000), now.plus_seconds(PATIENCE)), None);
        table.forget(one);
        assert_eq!(table.find(&tuple(20, 5000), now), None);
        assert!(table.find(&tuple(20, 5001), now).is_some());
        assert!(table.awaits(TCP, Endpoint { address: OUTER, port: 5001 }));
    }

    #[test]
    fn a_full_table_gives_up_the_oldest() {
        let (mut table, [master]) = (Expectations::default(), masters());
        for number in 0..=MOST as u16 {
            let now = Tick::default().plus_seconds(number.into());
            table.expect(expectation(master, 5000 + number), now);
        }
        let now = Tick::default().plus_seconds(MOST as u32);
        assert_eq!(table.find(&tuple(20, 5000), now), None);
        assert!((1..=MOST as u16).all(|number| table.find(&tuple(20, 5000 + number), now).is_some()));
    }

    #[test]
    fn the_same_words_again_make_no_second_expectation() {
        let (mut table, [master], now) = (Expectations::default(), masters(), Tick::default());
        for _ in 0..3 {
            table.expect(expectation(master, 5000), now);
        }
        assert_eq!(table.iter(now).count(), 1);
        let inner = Endpoint { address: INNER, port: 2000 };
        assert_eq!(table.announced(master, inner), Some(Endpoint { address: OUTER, port: 5000 }));
    }
}
