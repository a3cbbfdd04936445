//! Which frames are meant: a filter expression, compiled. Read pcap-filter(7) first.
//!
//! A filter is a short program for a stack of truths, so that neither a packet nor an expression can make anything
//! recurse or loop for long.

mod frame;
mod parse;
#[cfg(test)]
mod tests;
mod words;

use crate::headers::protocol;
use alloc::{string::String, vec::Vec};
use frame::View;

/// An expression, ready to be asked. The empty one fits every frame.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Filter(Vec<Step>);

/// A step of the program.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    /// Puts a truth on the stack.
    Ask(Question),
    /// Turns the top over.
    Not,
    /// Puts one in the place of two.
    And,
    Or,
}

/// What can be asked of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Question {
    EtherType(u16),
    Protocol(u8),
    Station(Side, [u8; 6]),
    /// A frame for a group of stations, or for all.
    StationGroup,
    StationBroadcast,
    Network(Side, Family, Network),
    Ports(Side, Option<u8>, u16, u16),
    /// An IPv4 packet for a group of hosts.
    HostGroup,
    /// A frame of that many bytes or more.
    AtLeast(u32),
    /// A frame of that many bytes or fewer.
    AtMost(u32),
    Received(bool),
    /// Bytes of a header, compared with a number.
    Bytes(Bytes),
}

/// Which end is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Either,
    Both,
    Source,
    Destination,
}

/// Where addresses are looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    Any,
    Ip,
    Arp,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Network {
    address: u32,
    mask: u32,
}

/// `tcp[13] & 2 != 0`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Bytes {
    layer: Layer,
    offset: u16,
    size: u8,
    mask: u32,
    comparison: Comparison,
    value: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layer {
    Ethernet,
    Arp,
    Ip,
    /// The header behind that of IPv4.
    Transport(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Steps of the longest program.
const MOST_STEPS: usize = 512;
/// Truths that wait on the stack: as many as fit into a word.
const DEEPEST: usize = 64;

impl Filter {
    /// Compiles `expression`.
    ///
    /// # Errors
    /// What is wrong, in the words of libpcap.
    pub fn parse(expression: &str) -> Result<Self, String> {
        parse::parse(expression)
    }

    /// What comes in.
    pub fn inbound() -> Self {
        Self([Step::Ask(Question::Received(true))].into())
    }

    /// Whether a frame fits. `head` is its beginning with all headers, `length` the bytes that it has in all.
    pub fn fits(&self, head: &[u8], length: usize, received: bool) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let view = View::of(head, length as u32, received);
        // The lowest bit is the top; the parser sees to it that 64 are enough.
        let mut stack = 0_u64;
        for step in &self.0 {
            stack = match step {
                Step::Ask(question) => (stack << 1) | u64::from(view.answer(question)),
                Step::Not => stack ^ 1,
                Step::And => (stack >> 1) & (stack | !1),
                Step::Or => (stack >> 1) | (stack & 1),
            };
        }
        stack & 1 == 1
    }
}

impl Side {
    /// Whether the ends that are meant are so.
    fn of(self, source: bool, destination: bool) -> bool {
        match self {
            Self::Either => source || destination,
            Self::Both => source && destination,
            Self::Source => source,
            Self::Destination => destination,
        }
    }
}

impl Comparison {
    fn of(self, left: u32, right: u32) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Unequal => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// Protocols whose headers begin with two ports.
fn has_ports(number: u8) -> bool {
    const SCTP: u8 = 132;
    matches!(number, protocol::TCP | protocol::UDP | SCTP)
}
