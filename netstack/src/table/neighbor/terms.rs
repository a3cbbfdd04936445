//! What the neighbour table is told, and what it says.

use crate::interface::InterfaceId;
use core::fmt;
use smoltcp::wire::{EthernetAddress, Ipv4Address};

/// The state of an entry, as Linux names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Asked for, no answer yet.
    Incomplete,
    /// Answered within the last 30 s.
    Reachable,
    /// Known, but the answer is old.
    Stale,
    /// Old and in use: it will be asked unless it speaks first.
    Delay,
    /// Being asked at its known MAC address.
    Probe,
    /// Did not answer.
    Failed,
    /// Set by a person; never changes.
    Permanent,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incomplete => "INCOMPLETE",
            Self::Reachable => "REACHABLE",
            Self::Stale => "STALE",
            Self::Delay => "DELAY",
            Self::Probe => "PROBE",
            Self::Failed => "FAILED",
            Self::Permanent => "PERMANENT",
        })
    }
}

/// A place in the table that can be kept: it stops to work when the entry is gone, whatever came in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighborId {
    pub(super) slot: u16,
    pub(super) generation: u32,
}

impl NeighborId {
    /// No entry's.
    pub(in crate::table) const NONE: Self = Self { slot: u16::MAX, generation: u32::MAX };

    /// A number that tells it from the others of its time.
    pub(in crate::table) fn place(self) -> usize {
        self.slot.into()
    }
}

/// What the table knows about an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Send to this MAC address. The id can be kept and asked with [`super::Neighbors::usable`].
    Found(NeighborId, EthernetAddress),
    /// Being asked for: [`super::Neighbors::park`] the packet, then [`super::Neighbors::poll`].
    Pending(NeighborId),
    /// The table is full of entries in use.
    Full,
}

/// What the table wants done.
#[derive(PartialEq, Eq, Debug)]
pub enum Event<P> {
    /// Send an ARP request for `address`.
    Ask {
        /// Out of this interface.
        interface: InterfaceId,
        /// The address that is asked for.
        address: Ipv4Address,
        /// To this MAC address only; `None`: broadcast.
        to: Option<EthernetAddress>,
    },
    /// Send this packet, which had waited.
    Resolved(P, NeighborId, EthernetAddress),
    /// The neighbour did not answer: tell the sender of this packet (ICMP 3/1).
    Unreachable(P),
}

/// What somebody said about an address of his.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Heard on this interface.
    pub interface: InterfaceId,
    /// His IP address.
    pub address: Ipv4Address,
    /// His MAC address.
    pub mac: EthernetAddress,
    /// What it was said in.
    pub kind: ClaimKind,
}

/// In what an address was claimed; decides what it is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClaimKind {
    /// A request for one of our addresses: he will want an answer, so an entry is made (RFC 826).
    Request,
    /// A reply sent to us: it confirms an entry that has asked.
    Reply,
    /// Anything else (gratuitous, or said to somebody else): only updates what is there.
    Other,
}

/// An entry as listings show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// On this interface.
    pub interface: InterfaceId,
    /// IP address.
    pub address: Ipv4Address,
    /// MAC address, where it is known.
    pub mac: Option<EthernetAddress>,
    /// State.
    pub state: State,
}
