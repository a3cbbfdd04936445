//! By how much the numbers of a TCP connection differ on its two sides, where a text in it was replaced by one of another
//! length (RFC 3022 4.4).

use super::flow::{Direction, FlowId};

/// As many connections can have such numbers at once.
const MOST: usize = 64;

/// Of one direction of a connection: what is added to its sequence numbers.
#[derive(Clone, Copy, Default, Debug)]
struct Shift {
    /// The last number that `before` holds for: where the last replaced text began.
    at: u32,
    before: i32,
    after: i32,
}

impl Shift {
    fn of_sequence(&self, number: u32) -> i32 {
        if is_after(number, self.at) { self.after } else { self.before }
    }

    /// The same, of a number as the other end knows it.
    fn of_acknowledgment(&self, number: u32) -> i32 {
        if is_after(number.wrapping_sub_signed(self.before), self.at) { self.after } else { self.before }
    }

    /// The text at this number was made longer. What is sent again was so before.
    fn grow(&mut self, number: u32, bytes: i32) {
        if self.before == self.after || is_after(number, self.at) {
            (self.at, self.before) = (number, self.after);
            self.after = self.after.wrapping_add(bytes);
        }
    }
}

fn is_after(number: u32, other: u32) -> bool {
    number.wrapping_sub(other).cast_signed() > 0
}

/// All connections with such texts.
#[derive(Default)]
pub struct Shifts(heapless::Vec<(FlowId, [Shift; 2]), MOST>);

impl Shifts {
    /// Whether there is none, as nearly always.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn get(&self, flow: FlowId) -> Option<&[Shift; 2]> {
        self.0.iter().find(|(id, _)| *id == flow).map(|(_, shifts)| shifts)
    }

    /// Whether the numbers of this flow are other ones on its other side.
    pub fn has(&self, flow: FlowId) -> bool {
        self.get(flow).is_some()
    }

    /// A sequence number that arrives in this direction, as it has to leave.
    pub fn sequence(&self, flow: FlowId, direction: Direction, number: u32) -> u32 {
        let shift = self.get(flow).map_or(0, |shifts| shifts[direction as usize].of_sequence(number));
        number.wrapping_add_signed(shift)
    }

    /// A number that is acknowledged in this direction, as the sender of what it acknowledges knows it.
    pub fn acknowledgment(&self, flow: FlowId, direction: Direction, number: u32) -> u32 {
        let other = direction.opposite() as usize;
        let shift = self.get(flow).map_or(0, |shifts| shifts[other].of_acknowledgment(number));
        number.wrapping_sub_signed(shift)
    }

    /// The text that begins at this number leaves with so many bytes more. `false`: there is no room to remember it.
    #[must_use]
    pub fn grow(&mut self, flow: FlowId, direction: Direction, number: u32, bytes: i32) -> bool {
        if !self.has(flow) && self.0.push((flow, [Shift::default(); 2])).is_err() {
            return false;
        }
        if let Some((_, shifts)) = self.0.iter_mut().find(|(id, _)| *id == flow) {
            shifts[direction as usize].grow(number, bytes);
        }
        true
    }

    /// The flow ended.
    pub fn forget(&mut self, flow: FlowId) {
        self.0.retain(|(id, _)| *id != flow);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        interface::InterfaceId,
        table::flow::{Flow, FlowTable, Tuple},
        test_support::random,
    };
    use Direction::{Original, Reply};
    use smoltcp::wire::Ipv4Address;

    fn flow() -> FlowId {
        let address = Ipv4Address::new(192, 168, 1, 2);
        let tuple =
            Tuple { source: address, destination: address, source_port: 1, destination_port: 2, protocol: 6 };
        let mut flows = FlowTable::new(4, &mut random());
        flows.insert(Flow::new(tuple, tuple.inverted()), InterfaceId(1)).unwrap()
    }

    #[test]
    fn what_follows_a_longer_text_is_shifted_and_acknowledged_as_it_was_sent() {
        let (mut shifts, flow) = (Shifts::default(), flow());
        // 20 bytes at 1000 leave as 24.
        assert!(shifts.grow(flow, Original, 1000, 4));
        assert_eq!(shifts.sequence(flow, Original, 1000), 1000, "the text itself, and when it is sent again");
        assert_eq!(shifts.sequence(flow, Original, 1020), 1024);
        assert_eq!(shifts.acknowledgment(flow, Reply, 1024), 1020);
        assert_eq!(shifts.acknowledgment(flow, Reply, 1000), 1000);
        assert_eq!(shifts.sequence(flow, Reply, 5000), 5000, "the other direction has numbers of its own");
        assert_eq!(shifts.acknowledgment(flow, Original, 5000), 5000);
    }

    #[test]
    fn texts_add_up_and_a_repetition_counts_once() {
        let (mut shifts, flow) = (Shifts::default(), flow());
        for _ in 0..2 {
            assert!(shifts.grow(flow, Original, u32::MAX - 9, 4));
        }
        for _ in 0..2 {
            assert!(shifts.grow(flow, Original, 30, -6));
        }
        assert_eq!(shifts.sequence(flow, Original, 10), 14);
        assert_eq!(shifts.sequence(flow, Original, 30), 34);
        assert_eq!(shifts.sequence(flow, Original, 50), 48);
        assert_eq!(shifts.acknowledgment(flow, Reply, 48), 50);
        assert_eq!(shifts.acknowledgment(flow, Reply, 34), 30);
    }

    #[test]
    fn no_more_connections_than_there_is_room_for() {
        let mut shifts = Shifts::default();
        let address = Ipv4Address::new(192, 168, 1, 2);
        let mut flows = FlowTable::new(2 * MOST, &mut random());
        let mut ids = (0..=MOST as u16).map(|port| {
            let tuple = Tuple {
                source: address,
                destination: address,
                source_port: port,
                destination_port: 21,
                protocol: 6,
            };
            flows.insert(Flow::new(tuple, tuple.inverted()), InterfaceId(1)).unwrap()
        });
        let first = ids.next().unwrap();
        assert!(shifts.grow(first, Original, 1, 1));
        let last = ids.next_back().unwrap();
        assert!(ids.all(|id| shifts.grow(id, Original, 1, 1)));
        assert!(!shifts.grow(last, Original, 1, 1));
        shifts.forget(first);
        assert!(shifts.grow(last, Original, 1, 1));
        assert!(shifts.has(last) && !shifts.has(first));
    }
}
