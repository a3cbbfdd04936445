//! What the pipeline is asked, and what it answers.

use crate::{
    config::rules::RejectWith,
    headers::Headers,
    interface::InterfaceId,
    outcome::DropReason,
    stage::{
        filter::{FlowView, Marking, Trail},
        icmp::IcmpError,
        tcp::Effect,
    },
    table::{
        connections::Draft,
        fib::NextHop,
        flow::{Direction, FlowId, Tuple},
    },
};
use smoltcp::{time::Instant, wire::Ipv4Address};

/// A packet at the start of its way.
pub(crate) struct Arrival<'a> {
    /// Where it came in; `None`: the router itself sends it.
    pub ingress: Option<InterfaceId>,
    /// Whether its frame was for everybody or a group.
    pub link_broadcast: bool,
    /// The frame.
    pub frame: &'a [u8],
    /// Its headers.
    pub headers: &'a Headers,
    /// Now.
    pub now: Instant,
    /// Its tuple, where it has one, and the live flow that has that tuple: looked up once for the whole way.
    pub tuple: Option<Tuple>,
    pub found: Found,
    /// Where the router made it to answer a packet that it refused: what the rules see of that packet's flow, in whose
    /// other direction the answer runs.
    pub answers: Option<FlowView>,
    /// Whether deciding may use up what a `limit` match counts; not for an imagined packet.
    pub effects: bool,
}

/// The live flow that has a packet's tuple.
pub(crate) type Found = Option<(FlowId, Direction)>;

/// What is to become of a packet. Nothing has happened yet.
pub(crate) struct Decision {
    pub way: Result<Way, Refusal>,
    pub flow: FlowPart,
    /// The rules that count it. Those of the table nat are among them for the first packet of a flow alone.
    pub trail: Trail,
    /// What the rules have made of its marks, its time to live and its type of service.
    pub marking: Marking,
    /// What a SYN may offer as its maximum segment size at most, where a rule wants to know.
    pub mss: Option<u16>,
}

/// Where a packet goes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Way {
    /// Out of an interface.
    Forward(NextHop, Ipv4Address),
    /// To everybody on the link of an interface.
    Broadcast(InterfaceId),
    /// To the router's own sockets.
    Deliver,
}

impl Way {
    /// The interface that it leaves by.
    pub fn egress(self) -> Option<InterfaceId> {
        match self {
            Self::Forward(hop, _) => Some(hop.interface),
            Self::Broadcast(interface) => Some(interface),
            Self::Deliver => None,
        }
    }

    /// The largest packet that can go there.
    pub fn mtu(self) -> u16 {
        match self {
            Self::Forward(hop, _) => hop.mtu,
            Self::Broadcast(_) | Self::Deliver => u16::MAX,
        }
    }
}

/// Why a packet ends here, and what its sender is told.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Refusal {
    pub reason: DropReason,
    pub answer: Answer,
}

/// What the sender of a refused packet is told.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Answer {
    Nothing,
    Icmp(IcmpError),
    TcpReset,
}

/// What a packet means for the flow table.
#[derive(Clone, Debug)]
pub(crate) enum FlowPart {
    None,
    Existing {
        id: FlowId,
        direction: Direction,
        effect: Effect,
    },
    New(Draft),
    /// An ICMP error that runs in this direction of a flow.
    Error {
        id: FlowId,
        direction: Direction,
    },
    /// A rule of raw said that it is not to be tracked.
    Untracked,
    /// The router's own answer to a packet that it refused: RELATED by definition, but nothing of it is tracked.
    Answer(FlowView),
    /// The flow left by another interface than before: it ends, and the packet is decided anew.
    Moved {
        id: FlowId,
    },
}

impl FlowPart {
    /// The flow that is there already, and the packet's direction in it.
    pub fn flow(&self) -> Option<(FlowId, Direction)> {
        match self {
            Self::Existing { id, direction, .. } | Self::Error { id, direction } => Some((*id, *direction)),
            _ => None,
        }
    }
}

impl Decision {
    /// Nothing is decided yet.
    #[inline]
    pub fn new(headers: &Headers) -> Self {
        Self {
            way: Ok(Way::Deliver),
            flow: FlowPart::None,
            trail: Trail::default(),
            marking: Marking::new(headers),
            mss: None,
        }
    }

    /// Whether the packet's flow has to end, and the packet to be decided anew.
    pub fn is_moved(&self) -> bool {
        matches!(self.flow, FlowPart::Moved { .. })
    }
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Self {
        Self { reason, answer: Answer::Nothing }
    }
}

impl Refusal {
    pub fn icmp(reason: DropReason, error: IcmpError) -> Self {
        Self { reason, answer: Answer::Icmp(error) }
    }
}

/// What `REJECT --reject-with` says.
pub(crate) fn rejection(with: RejectWith) -> Refusal {
    let error = match with {
        RejectWith::NetUnreachable => IcmpError::NetUnreachable,
        RejectWith::HostUnreachable => IcmpError::HostUnreachable,
        RejectWith::ProtocolUnreachable => IcmpError::ProtocolUnreachable,
        RejectWith::PortUnreachable => IcmpError::PortUnreachable,
        RejectWith::NetProhibited => IcmpError::NetProhibited,
        RejectWith::HostProhibited => IcmpError::HostProhibited,
        RejectWith::AdminProhibited => IcmpError::AdminProhibited,
        RejectWith::TcpReset => {
            return Refusal { reason: DropReason::FirewallReject, answer: Answer::TcpReset };
        }
    };
    Refusal::icmp(DropReason::FirewallReject, error)
}
