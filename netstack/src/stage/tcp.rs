//! How a TCP connection looks from its middle: the tracking automaton (RFC 9293 3.3.2, seen from between the ends).

use crate::{config::sysctl::ConntrackSysctl, headers::tcp_flag, table::flow::Direction};
use core::fmt;

/// State of a tracked connection, named as `conntrack -L` prints it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TcpState {
    /// Not TCP, or nothing seen yet.
    #[default]
    None,
    /// SYN seen.
    SynSent,
    /// SYN from both ends (simultaneous open, RFC 9293 3.5 figure 7).
    SynSent2,
    /// SYN and SYN-ACK seen.
    SynRecv,
    /// The handshake is complete.
    Established,
    /// FIN from one end.
    FinWait,
    /// That FIN is acknowledged.
    CloseWait,
    /// FIN from the other end.
    LastAck,
    /// All acknowledged.
    TimeWait,
    /// RST seen.
    Close,
}

/// What a segment means for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The connection is now in this state (perhaps the same).
    To(TcpState),
    /// The segment passes and changes nothing.
    Ignore,
    /// The segment cannot belong to the connection.
    Invalid,
    /// A SYN on a closed connection: it starts a new one with the same ports.
    Restart,
}

/// The part of the flags that moves the automaton.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Syn,
    SynAck,
    Fin,
    Ack,
    Rst,
    /// No flag that a connection could live with.
    Nothing,
}

fn kind(flags: u8) -> Kind {
    use tcp_flag::*;
    match flags {
        f if f & RST != 0 => Kind::Rst,
        f if f & SYN != 0 && f & ACK != 0 => Kind::SynAck,
        f if f & SYN != 0 => Kind::Syn,
        f if f & FIN != 0 => Kind::Fin,
        f if f & ACK != 0 => Kind::Ack,
        _ => Kind::Nothing,
    }
}

/// Whether these flags can stand together (RFC 9293 3.10.7; the combinations that scanners send cannot).
fn possible(flags: u8) -> bool {
    use tcp_flag::*;
    const COMBINATIONS: [u8; 9] =
        [SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG];
    COMBINATIONS.contains(&(flags & (FIN | SYN | RST | ACK | URG)))
}

impl TcpState {
    /// State after the first packet of a flow; `None` where such a packet starts none. With `loose` a connection
    /// is picked up in its middle (`nf_conntrack_tcp_loose`).
    pub fn first(flags: u8, loose: bool) -> Option<Self> {
        if !possible(flags) {
            return None;
        }
        match kind(flags) {
            Kind::Syn => Some(Self::SynSent),
            Kind::Ack if loose => Some(Self::Established),
            _ => None,
        }
    }

    /// What a segment with these flags does in this direction.
    pub fn step(self, direction: Direction, flags: u8) -> Step {
        use Direction::{Original, Reply};
        use Step::{Ignore, Invalid, Restart, To};
        use TcpState::*;
        if !possible(flags) {
            return Invalid;
        }
        match (kind(flags), direction, self) {
            (Kind::Nothing, ..) | (_, _, None) => Invalid,
            (Kind::Rst, ..) => To(Close),

            (Kind::Syn, Original, SynSent) => To(SynSent),
            (Kind::Syn, Original, TimeWait | Close) => Restart,
            (Kind::Syn, _, SynSent2) => To(SynSent2),
            (Kind::Syn, Original, _) => Ignore,
            (Kind::Syn, Reply, SynSent) => To(SynSent2),
            (Kind::Syn, Reply, TimeWait) => Restart,
            (Kind::Syn, Reply, _) => Invalid,

            (Kind::SynAck, Original, SynRecv | SynSent2) => To(SynRecv),
            (Kind::SynAck, Original, _) => Invalid,
            (Kind::SynAck, Reply, SynSent | SynSent2) => To(SynRecv),
            (Kind::SynAck, Reply, _) => Ignore,

            (Kind::Fin, _, SynSent | SynSent2) => Invalid,
            (Kind::Fin, _, SynRecv | Established) => To(FinWait),
            (Kind::Fin, _, FinWait | CloseWait | LastAck) => To(LastAck),
            (Kind::Fin, _, TimeWait) => To(TimeWait),

            (Kind::Ack, Original, SynSent | SynSent2) => Invalid,
            (Kind::Ack, Reply, SynSent | SynSent2) => Ignore,
            (Kind::Ack, Original, SynRecv) => To(Established),
            (Kind::Ack, Reply, SynRecv) => To(SynRecv),
            (Kind::Ack, _, Established) => To(Established),
            (Kind::Ack, _, FinWait | CloseWait) => To(CloseWait),
            (Kind::Ack, _, LastAck | TimeWait) => To(TimeWait),
            (Kind::Fin | Kind::Ack, _, Close) => To(Close),
        }
    }

    /// Whether the connection is over or ending: such a flow may be evicted for a new one.
    pub fn is_closing(self) -> bool {
        matches!(self, Self::LastAck | Self::TimeWait | Self::Close)
    }

    /// How long the connection may be silent in this state, in seconds.
    pub fn timeout(self, settings: &ConntrackSysctl) -> u32 {
        match self {
            Self::None | Self::SynSent | Self::SynSent2 => settings.tcp_timeout_syn_sent,
            Self::SynRecv => settings.tcp_timeout_syn_recv,
            Self::Established => settings.tcp_timeout_established,
            Self::FinWait => settings.tcp_timeout_fin_wait,
            Self::CloseWait => settings.tcp_timeout_close_wait,
            Self::LastAck => settings.tcp_timeout_last_ack,
            Self::TimeWait => settings.tcp_timeout_time_wait,
            Self::Close => settings.tcp_timeout_close,
        }
    }
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "NONE",
            Self::SynSent => "SYN_SENT",
            Self::SynSent2 => "SYN_SENT2",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Original, Reply};
    use tcp_flag::*;

    /// Runs segments through the automaton; an ignored one leaves the state.
    fn after(segments: &[(Direction, u8)]) -> TcpState {
        let mut state = TcpState::first(segments[0].1, false).unwrap();
        for &(direction, flags) in &segments[1..] {
            if let Step::To(next) = state.step(direction, flags) {
                state = next;
            }
        }
        state
    }

    #[test]
    fn a_handshake_establishes_only_with_its_last_ack() {
        let syn_ack = &[(Original, SYN), (Reply, SYN | ACK)];
        assert_eq!(after(syn_ack), TcpState::SynRecv);
        assert_eq!(after(&[syn_ack as &[_], &[(Reply, ACK)]].concat()), TcpState::SynRecv);
        assert_eq!(after(&[syn_ack as &[_], &[(Original, ACK)]].concat()), TcpState::Established);
    }

    #[test]
    fn simultaneous_open_establishes() {
        let open =
            [(Original, SYN), (Reply, SYN), (Original, SYN | ACK), (Reply, SYN | ACK), (Original, ACK)];
        assert_eq!(after(&open[..2]), TcpState::SynSent2);
        assert_eq!(after(&open), TcpState::Established);
    }

    #[test]
    fn a_close_from_both_ends_waits() {
        let open = [(Original, SYN), (Reply, SYN | ACK), (Original, ACK)];
        let fin = FIN | ACK;
        assert_eq!(after(&[&open[..], &[(Original, fin)]].concat()), TcpState::FinWait);
        assert_eq!(after(&[&open[..], &[(Original, fin), (Reply, ACK)]].concat()), TcpState::CloseWait);
        let closing = [(Original, fin), (Reply, ACK), (Reply, fin)];
        assert_eq!(after(&[&open[..], &closing[..]].concat()), TcpState::LastAck);
        assert_eq!(after(&[&open[..], &closing[..], &[(Original, ACK)]].concat()), TcpState::TimeWait);
    }

    #[test]
    fn a_syn_reopens_what_is_over_and_nothing_else() {
        assert_eq!(TcpState::TimeWait.step(Original, SYN), Step::Restart);
        assert_eq!(TcpState::Close.step(Original, SYN), Step::Restart);
        assert_eq!(TcpState::Established.step(Original, SYN), Step::Ignore);
        assert_eq!(TcpState::Established.step(Reply, SYN), Step::Invalid);
    }

    #[test]
    fn impossible_flags_are_invalid_in_every_state() {
        for flags in [0, FIN, SYN | FIN, SYN | RST, FIN | RST | ACK, PSH, URG, FIN | PSH | URG] {
            assert_eq!(TcpState::Established.step(Original, flags), Step::Invalid, "{flags:#x}");
            assert_eq!(TcpState::first(flags, true), None, "{flags:#x}");
        }
    }
}
