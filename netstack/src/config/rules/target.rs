//! The targets of a rule (`-j`, `-g`); iptables-extensions(8).

use super::{ChainId, ConnMark, Masked, PortRange, TosBits, TtlChange};
use alloc::string::String;
use smoltcp::wire::Ipv4Address;

/// What a rule does with a packet that matches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// `ACCEPT`
    Accept,
    /// `DROP`
    Drop,
    /// `REJECT --reject-with`
    Reject(RejectWith),
    /// `RETURN`
    Return,
    /// `LOG`
    Log(Log),
    /// `-j CHAIN`
    Jump(ChainId),
    /// `-g CHAIN`
    Goto(ChainId),
    /// `MASQUERADE`
    Masquerade {
        /// `--to-ports`
        ports: Option<PortRange>,
        /// `--random` or `--random-fully`
        random: Option<RandomPorts>,
    },
    /// `SNAT --to-source`
    Snat(NatTo),
    /// `DNAT --to-destination`
    Dnat(NatTo),
    /// `TCPMSS`
    TcpMss(MssLimit),
    /// `MARK`
    Mark(Masked),
    /// `CONNMARK`
    ConnMark(ConnMark),
    /// `NOTRACK`, or `CT --notrack`, which is the same
    NoTrack(NoTrack),
    /// `TTL`
    Ttl(TtlChange),
    /// `DSCP`: a code point, 0 to 63
    Dscp(u8),
    /// `TOS`
    Tos(TosBits),
    /// `REDIRECT --to-ports`
    Redirect {
        /// `--to-ports`
        ports: Option<PortRange>,
        /// `--random`
        random: Option<RandomPorts>,
    },
}

/// How it was written that a packet is not to be tracked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoTrack {
    /// `-j NOTRACK`
    Short,
    /// `-j CT --notrack`
    Ct,
}

/// What `TCPMSS` lowers the maximum segment size of a SYN to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MssLimit {
    /// `--set-mss`, in bytes
    Bytes(u16),
    /// `--clamp-mss-to-pmtu`: what fits the MTUs of the way there and of the way back
    PathMtu,
}

/// How ports are randomised; the second is the stronger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)]
pub enum RandomPorts {
    Random,
    RandomFully,
}

/// `A[-B][:P-Q]` of SNAT and DNAT.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct NatTo {
    /// First and last address; `None` where only ports were given.
    pub addresses: Option<(Ipv4Address, Ipv4Address)>,
    /// Ports.
    pub ports: Option<PortRange>,
    /// `--random`, `--random-fully`
    pub random: Option<RandomPorts>,
    /// `--persistent`
    pub persistent: bool,
}

/// What the sender of a rejected packet is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum RejectWith {
    NetUnreachable,
    HostUnreachable,
    ProtocolUnreachable,
    PortUnreachable,
    NetProhibited,
    HostProhibited,
    AdminProhibited,
    TcpReset,
}

/// `LOG`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// `--log-prefix`, at most 29 bytes
    pub prefix: String,
    /// `--log-level`, 0 to 7; 4 (warning) unless given
    pub level: u8,
    /// `--log-tcp-sequence`
    pub tcp_sequence: bool,
    /// `--log-tcp-options`
    pub tcp_options: bool,
    /// `--log-ip-options`
    pub ip_options: bool,
    /// `--log-uid`, which a router has no use for
    pub uid: bool,
    /// `--log-macdecode`
    pub mac_decode: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            level: Self::DEFAULT_LEVEL,
            tcp_sequence: false,
            tcp_options: false,
            ip_options: false,
            uid: false,
            mac_decode: false,
        }
    }
}

impl Log {
    /// Warning.
    pub const DEFAULT_LEVEL: u8 = 4;
    /// The longest prefix, in bytes.
    pub const MAX_PREFIX: usize = 29;
}
