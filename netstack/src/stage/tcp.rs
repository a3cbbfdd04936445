//! How a TCP connection looks from its middle: the tracking automaton (RFC 9293 3.3.2, seen from between the ends).

use super::window::{Place, Segment, Windows};
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

impl TcpState {
    /// Every state, by its number.
    pub(crate) const ALL: [Self; 10] = [
        Self::None,
        Self::SynSent,
        Self::SynSent2,
        Self::SynRecv,
        Self::Established,
        Self::FinWait,
        Self::CloseWait,
        Self::LastAck,
        Self::TimeWait,
        Self::Close,
    ];
}

/// What the flags of a segment mean for a connection.
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

/// A connection as it is tracked.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Connection {
    /// Its state.
    pub state: TcpState,
    /// What its ends may send.
    pub windows: Windows,
    /// Whether a SYN came that asks for a new connection in the place of this one.
    pub asked: bool,
}

/// What a packet does to the flow that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It keeps it alive. Where it is TCP, the connection is now this.
    Keeps(Connection),
    /// It passes, and that is all.
    Nothing,
    /// A SYN in the midst of a connection. Its sender may have forgotten it: if the other end has, too, it will agree to a new
    /// one, and else send a challenge (RFC 5961 4).
    Asks,
    /// A reset that its receiver believes only if it has more of the connection than was seen here. The flow ends soon, unless
    /// somebody goes on with it (RFC 7857 2.2, RFC 5961 3.2).
    Doubts,
}

/// Why a segment has no place in the flow that has its ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misfit {
    /// No end of the connection can have sent it.
    Invalid,
    /// The connection is over: it begins a new one.
    Restart,
}

impl Connection {
    /// The connection after its first segment that was seen; `None` where such a segment starts none.
    pub fn first(segment: &Segment, loose: bool) -> Option<Self> {
        let state = TcpState::first(segment.flags, loose)?;
        let windows = match state {
            TcpState::SynSent => Windows::opened(segment),
            _ => Windows::picked_up(segment),
        };
        Some(Self { state, windows, asked: false })
    }

    /// What a segment does that runs in this direction.
    ///
    /// # Errors
    /// It has no place in the connection.
    pub fn step(
        &self,
        from: Direction,
        segment: &Segment,
        settings: &ConntrackSysctl,
    ) -> Result<Effect, Misfit> {
        use Direction::{Original, Reply};
        use tcp_flag::{ACK, RST, SYN};
        let answer_to_ask = self.asked && from == Reply && segment.has(ACK);
        let state = match self.state.step(from, segment.flags) {
            Step::To(_) if segment.has(RST) => return self.reset(from, segment, settings, answer_to_ask),
            // That both ends agree upon a new connection counts for more than what is known of the old one.
            Step::Ignore if segment.has(SYN) && answer_to_ask => {
                let windows = Windows::reopened(segment);
                return Ok(Effect::Keeps(Self { state: TcpState::SynRecv, windows, asked: false }));
            }
            Step::Ignore if segment.has(SYN) && from == Original && self.may_be_asked(segment) => {
                return Ok(Effect::Asks);
            }
            Step::Ignore => return Ok(Effect::Nothing),
            Step::Invalid => return Err(Misfit::Invalid),
            Step::Restart => return Err(Misfit::Restart),
            // A challenge acknowledges no FIN.
            Step::To(TcpState::TimeWait) if answer_to_ask => return Ok(Effect::Nothing),
            // The handshake ends with an answer to the SYN of its second half (RFC 9293 3.10.7.4), and nothing older.
            Step::To(_)
                if self.state == TcpState::SynRecv
                    && from == Original
                    && !self.windows.answers(from, segment) =>
            {
                return Err(Misfit::Invalid);
            }
            Step::To(state) => state,
        };
        let windows = match self.windows.place(from, segment) {
            _ if segment.has(SYN) => self.synchronize(from, segment).ok_or(Misfit::Invalid)?,
            Place::Inside => self.windows.advanced(from, segment),
            // Where not all of a connection passes here, what seems old may be new: its numbers have gone round.
            _ if settings.tcp_be_liberal => self.windows.widened().advanced(from, segment),
            Place::Past => return Ok(Effect::Nothing),
            Place::Beyond => return Err(Misfit::Invalid),
        };
        Ok(Effect::Keeps(Self { state, windows, asked: self.asked && from == Reply }))
    }

    /// Whether this SYN is another one than that which began the connection.
    fn may_be_asked(&self, syn: &Segment) -> bool {
        let agreed = !matches!(self.state, TcpState::None | TcpState::SynSent | TcpState::SynSent2);
        agreed && !self.windows.began(Direction::Original, syn)
    }

    /// The windows after a SYN or SYN-ACK of the handshake; `None` where it is not this handshake's.
    fn synchronize(&self, from: Direction, segment: &Segment) -> Option<Windows> {
        let answers = !segment.has(tcp_flag::ACK) || self.windows.answers(from, segment);
        match (self.state, from) {
            (TcpState::SynSent, Direction::Original) => Some(self.windows.opened_again(segment)),
            (TcpState::SynSent, Direction::Reply) if answers => {
                Some(self.windows.synchronized(from, segment))
            }
            (TcpState::SynSent, Direction::Reply) => None,
            _ if !self.windows.began(from, segment) || !answers => None,
            _ if !segment.has(tcp_flag::ACK) => Some(self.windows),
            _ => Some(self.windows.synchronized(from, segment)),
        }
    }

    /// RFC 5961 3.2, and before an answer was seen RFC 9293 3.10.7.3: only a reset that hits exactly what is waited for ends
    /// the connection.
    fn reset(
        &self,
        from: Direction,
        segment: &Segment,
        settings: &ConntrackSysctl,
        answer_to_ask: bool,
    ) -> Result<Effect, Misfit> {
        let exact = match (self.state, from) {
            (TcpState::SynSent, Direction::Reply) => self.windows.answers(from, segment),
            _ => self.windows.is_next(from, segment) || self.windows.is_last_word(from, segment),
        };
        match (self.state, from) {
            _ if exact => Ok(Effect::Keeps(Self { state: TcpState::Close, asked: false, ..*self })),
            // It got an answer from an older connection, which this ends.
            (TcpState::SynSent, Direction::Original) => Ok(Effect::Nothing),
            (TcpState::SynSent, Direction::Reply) => Err(Misfit::Invalid),
            _ if answer_to_ask || self.windows.is_near(from, segment) => Ok(Effect::Doubts),
            // An end that has forgotten the connection answers what was on its way by the numbers in there.
            _ if self.state.is_closing() && self.windows.place(from, segment) == Place::Inside => {
                Ok(Effect::Nothing)
            }
            _ if settings.tcp_ignore_invalid_rst => Ok(Effect::Nothing),
            _ => Err(Misfit::Invalid),
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
mod model;
#[cfg(test)]
mod tests;
