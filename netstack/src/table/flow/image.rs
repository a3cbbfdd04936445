//! A flow in a few bytes, for a recording: enough to let it begin anew elsewhere.

use super::{Direction, Flow, Tuple, status};
use crate::{
    interface::InterfaceId,
    stage::{
        tcp::{Connection, TcpState},
        window::Windows,
    },
    table::{connections::Draft, tick::Tick},
};
use smoltcp::wire::Ipv4Address;

/// Bytes of a [`FlowImage`].
const LENGTH: usize = 56;

/// What is known of a flow at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowImage([u8; LENGTH]);

impl FlowImage {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The image that these bytes are; `None` where there are too many or too few.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The image of a flow at `now`.
    pub(crate) fn of(flow: &Flow, ingress: InterfaceId, mark: u32, now: Tick) -> Self {
        let mut bytes = [0; LENGTH];
        write_tuple(&mut bytes[0..13], &flow.tuple(Direction::Original));
        write_tuple(&mut bytes[13..26], &flow.translated(Direction::Original));
        bytes[26] = flow.status;
        bytes[27] = flow.tcp as u8;
        bytes[28..39].copy_from_slice(&flow.windows().to_bytes());
        bytes[40..44].copy_from_slice(&flow.expires.seconds_since(now).to_le_bytes());
        bytes[44..46].copy_from_slice(&ingress.0.to_le_bytes());
        bytes[46..48].copy_from_slice(&flow.outside.0.to_le_bytes());
        bytes[48..52].copy_from_slice(&mark.to_le_bytes());
        Self(bytes)
    }

    /// The tuple of the first packet as it arrived, and as it left.
    pub(crate) fn tuples(&self) -> (Tuple, Tuple) {
        (read_tuple(&self.0[0..13]), read_tuple(&self.0[13..26]))
    }

    /// What begins the flow, and with what status and mark it goes on for how many seconds.
    pub(crate) fn draft(&self) -> (Draft, u8, u32, u32) {
        let word = |at: usize| u32::from_le_bytes(core::array::from_fn(|offset| self.0[at + offset]));
        let half = |at: usize| u16::from_le_bytes([self.0[at], self.0[at + 1]]);
        let (original, leaving) = self.tuples();
        let bits = self.0[26];
        let windows = Windows::from_bytes(core::array::from_fn(|offset| self.0[28 + offset]));
        let state = TcpState::ALL.get(usize::from(self.0[27])).copied().unwrap_or_default();
        let draft = Draft {
            status: bits & !status::RESERVED,
            reserve: bits & status::RESERVED != 0,
            tcp: Connection { state, windows, asked: bits & status::ASKED != 0 },
            ingress: InterfaceId(half(44)),
            outside: InterfaceId(half(46)),
            ..Draft::plain(original, Connection::default())
        };
        (Draft { leaving, ..draft }, bits, word(48), word(40))
    }
}

fn write_tuple(bytes: &mut [u8], tuple: &Tuple) {
    bytes[0..4].copy_from_slice(&tuple.source.octets());
    bytes[4..8].copy_from_slice(&tuple.destination.octets());
    bytes[8..10].copy_from_slice(&tuple.source_port.to_be_bytes());
    bytes[10..12].copy_from_slice(&tuple.destination_port.to_be_bytes());
    bytes[12] = tuple.protocol;
}

fn read_tuple(bytes: &[u8]) -> Tuple {
    let four = |at: usize| Ipv4Address::from_octets(core::array::from_fn(|offset| bytes[at + offset]));
    let two = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    Tuple {
        source: four(0),
        destination: four(4),
        source_port: two(8),
        destination_port: two(10),
        protocol: bytes[12],
    }
}
