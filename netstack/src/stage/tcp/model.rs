//! The tracking automaton against a table of what it shall do, and in all that can happen to it (RFC 9293 3.3.2, RFC 5961).

use super::*;
use Direction::{Original, Reply};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec,
    vec::Vec,
};
use tcp_flag::*;

const STATES: [TcpState; 10] = [
    TcpState::None,
    TcpState::SynSent,
    TcpState::SynSent2,
    TcpState::SynRecv,
    TcpState::Established,
    TcpState::FinWait,
    TcpState::CloseWait,
    TcpState::LastAck,
    TcpState::TimeWait,
    TcpState::Close,
];

/// What each kind of segment shall do in each state, in the order of [`STATES`]: the state after it, `-` nothing, `x` invalid,
/// `*` a new connection. Written from RFC 9293 as seen from between the ends, not from the code.
#[rustfmt::skip]
const TABLE: [(Direction, &str, &str); 10] = [
    //                     none syn2 syn_recv  fin_wait    last_ack   close
    //                       syn_sent    established  close_wait  time_wait
    (Original, "SYN",     "x   SS  S2  -   -   -   -   -   *   *"),
    (Original, "SYN-ACK", "x   x   SR  SR  x   x   x   x   x   x"),
    (Original, "FIN",     "x   x   x   FW  FW  LA  LA  LA  TW  CL"),
    (Original, "ACK",     "x   x   x   ES  ES  CW  CW  TW  TW  CL"),
    (Original, "RST",     "x   CL  CL  CL  CL  CL  CL  CL  CL  CL"),
    (Reply,    "SYN",     "x   S2  S2  x   x   x   x   x   *   x"),
    (Reply,    "SYN-ACK", "x   SR  SR  -   -   -   -   -   -   -"),
    (Reply,    "FIN",     "x   x   x   FW  FW  LA  LA  LA  TW  CL"),
    (Reply,    "ACK",     "x   -   -   SR  ES  CW  CW  TW  TW  CL"),
    (Reply,    "RST",     "x   CL  CL  CL  CL  CL  CL  CL  CL  CL"),
];

/// The kind that a byte of flags belongs to; `None`: no end sends that. PSH, ECE and CWR say nothing of a connection.
fn kind_of(flags: u8) -> Option<&'static str> {
    let (fin, syn, rst, ack, urg) =
        (flags & FIN != 0, flags & SYN != 0, flags & RST != 0, flags & ACK != 0, flags & URG != 0);
    match (syn, fin, rst, ack, urg) {
        (true, false, false, false, _) => Some("SYN"),
        (true, false, false, true, false) => Some("SYN-ACK"),
        (false, true, false, true, _) => Some("FIN"),
        (false, false, true, _, false) => Some("RST"),
        (false, false, false, true, _) => Some("ACK"),
        _ => None,
    }
}

fn wanted(cell: &str) -> Step {
    match cell {
        "-" => Step::Ignore,
        "x" => Step::Invalid,
        "*" => Step::Restart,
        "SS" => Step::To(TcpState::SynSent),
        "S2" => Step::To(TcpState::SynSent2),
        "SR" => Step::To(TcpState::SynRecv),
        "ES" => Step::To(TcpState::Established),
        "FW" => Step::To(TcpState::FinWait),
        "CW" => Step::To(TcpState::CloseWait),
        "LA" => Step::To(TcpState::LastAck),
        "TW" => Step::To(TcpState::TimeWait),
        "CL" => Step::To(TcpState::Close),
        other => panic!("{other} is no cell"),
    }
}

#[test]
fn every_state_kind_and_direction_does_what_the_table_says() {
    let mut cells = BTreeMap::new();
    for (direction, kind, row) in TABLE {
        let row: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(row.len(), STATES.len(), "{kind}");
        for (state, cell) in STATES.into_iter().zip(row) {
            cells.insert((direction as u8, kind, format!("{state}")), wanted(cell));
        }
    }
    for flags in 0..=u8::MAX {
        for (direction, state) in [Original, Reply].into_iter().flat_map(|it| STATES.map(|state| (it, state)))
        {
            let wanted = match kind_of(flags) {
                Some(kind) => cells[&(direction as u8, kind, format!("{state}"))],
                None => Step::Invalid,
            };
            assert_eq!(state.step(direction, flags), wanted, "{state:?} {direction:?} {flags:#04x}");
        }
    }
}

#[test]
fn a_connection_begins_with_a_syn_or_is_picked_up_by_an_ack() {
    for flags in 0..=u8::MAX {
        let (strict, loose) = match kind_of(flags) {
            Some("SYN") => (Some(TcpState::SynSent), Some(TcpState::SynSent)),
            Some("ACK") => (None, Some(TcpState::Established)),
            _ => (None, None),
        };
        assert_eq!(TcpState::first(flags, false), strict, "{flags:#04x}");
        assert_eq!(TcpState::first(flags, true), loose, "{flags:#04x}");
    }
}

#[test]
fn every_state_has_a_timer() {
    let settings = ConntrackSysctl::default();
    for state in STATES {
        let seconds = state.timeout(&settings);
        assert!((10..=7440).contains(&seconds), "{state:?} {seconds}");
    }
}

/// Where a number of a segment stands: where it should, a little ahead, or where neither end is.
const PLACES: [u32; 3] = [0, 100, 1 << 30];
const OUTSIDE: u32 = PLACES[2];
const FLAGS: [u8; 7] = [SYN, SYN | ACK, ACK, PSH | ACK, FIN | ACK, RST, RST | ACK];
/// Segments one after the other.
const DEPTH: usize = 8;

/// A connection, and what has truly happened to it.
#[derive(Clone, Copy)]
struct World {
    connection: Connection,
    /// The number of the SYN that the original end will have answered.
    syn: u32,
    /// That of the SYN with which the other end agreed to it, and whether that is acknowledged.
    agreed: Option<u32>,
    confirmed: bool,
}

impl World {
    /// All that can arrive: each kind from each end, with each pair of numbers.
    fn segments(&self) -> impl Iterator<Item = (Direction, Segment, u32, u32)> + use<> {
        let windows = self.connection.windows;
        let froms = [Original, Reply].into_iter();
        froms.flat_map(move |from| {
            let (next, acknowledgment) = windows.next(from);
            FLAGS.into_iter().flat_map(move |flags| {
                PLACES.into_iter().flat_map(move |ahead| {
                    PLACES.into_iter().map(move |news| {
                        let sequence = next.wrapping_add(ahead).wrapping_sub(u32::from(flags & SYN != 0));
                        let acknowledgment = acknowledgment.wrapping_add(news);
                        (
                            from,
                            Segment { flags, sequence, acknowledgment, window: 1000, scale: None },
                            ahead,
                            news,
                        )
                    })
                })
            })
        })
    }

    /// Whether `acknowledgment` stands behind the SYN with this number, by no more than what may have followed it.
    fn covers(acknowledgment: u32, syn: u32) -> bool {
        (1..=1 << 17).contains(&acknowledgment.wrapping_sub(syn))
    }

    /// The world after a segment that moved the connection on.
    fn after(&self, from: Direction, segment: &Segment, connection: Connection) -> Self {
        let mut next = Self { connection, ..*self };
        let syn = segment.has(SYN);
        match from {
            Original if self.connection.state == TcpState::SynSent && syn => {
                (next.syn, next.agreed, next.confirmed) = (segment.sequence, None, false);
            }
            Original if segment.has(ACK) => {
                next.confirmed |=
                    self.agreed.is_some_and(|agreed| Self::covers(segment.acknowledgment, agreed));
            }
            Reply if syn => {
                let reopens = self.connection.asked;
                if reopens {
                    // The number of the SYN that was let pass is known from the answer alone.
                    (next.syn, next.confirmed) = (segment.acknowledgment.wrapping_sub(1), false);
                }
                next.agreed = Some(segment.sequence);
            }
            _ => {}
        }
        next
    }
}

/// The rules that must hold of each step, whatever came before.
fn judge(world: &World, from: Direction, segment: &Segment, places: (u32, u32), next: &Connection) {
    let (before, now) = (world.connection.state, next.state);
    let tell = || format!("{before:?} -> {now:?} by {segment:?} of {from:?}");
    let reopens = world.connection.asked && from == Reply && segment.has(SYN | ACK);
    let new_attempt = before == TcpState::SynSent;
    if places.0 == OUTSIDE || places.1 == OUTSIDE && segment.has(ACK) {
        let reset = segment.has(RST);
        // Of a reset the acknowledgment counts only where it has to say which SYN is refused.
        let by_its_number = reset && places.0 == 0;
        assert!(reopens || new_attempt || by_its_number, "out of window: {}", tell());
    }
    if now == TcpState::Close && before != TcpState::Close {
        assert!(segment.has(RST), "{}", tell());
        let last_word = segment.has(ACK) && places.1 == 0 && places.0 != OUTSIDE;
        let refused = new_attempt && World::covers(segment.acknowledgment, world.syn);
        assert!(places.0 == 0 || last_word || refused, "{}", tell());
    }
    if matches!(now, TcpState::SynRecv) && before != TcpState::SynRecv && !reopens {
        assert!(
            from == Original || World::covers(segment.acknowledgment, world.syn),
            "answers another SYN: {}",
            tell()
        );
    }
}

/// All sequences of segments from these worlds on, each state of affairs once; gives the states that were seen.
fn explore(first: World, judge_handshake: bool) -> (BTreeSet<String>, usize) {
    let settings = ConntrackSysctl::default();
    let mut known = BTreeSet::new();
    let mut states = BTreeSet::new();
    let mut frontier = vec![first];
    for _ in 0..DEPTH {
        let mut later = Vec::new();
        for world in &frontier {
            for (from, segment, ahead, news) in world.segments() {
                let next = match world.connection.step(from, &segment, &settings) {
                    Ok(Effect::Keeps(connection)) => {
                        judge(world, from, &segment, (ahead, news), &connection);
                        world.after(from, &segment, connection)
                    }
                    Ok(Effect::Asks) => {
                        World { connection: Connection { asked: true, ..world.connection }, ..*world }
                    }
                    Ok(Effect::Nothing | Effect::Doubts) | Err(_) => continue,
                };
                let reached = next.connection.state;
                if reached == TcpState::Established && judge_handshake {
                    assert!(
                        next.agreed.is_some() && next.confirmed,
                        "no whole handshake: {segment:?} of {from:?}"
                    );
                }
                let Windows { expected, offers } = next.connection.windows;
                let key = (
                    reached as u8,
                    expected,
                    format!("{offers:?}"),
                    next.connection.asked,
                    next.agreed,
                    next.confirmed,
                );
                states.insert(format!("{reached}"));
                if known.insert(key) {
                    later.push(next);
                }
            }
        }
        frontier = later;
    }
    (states, known.len())
}

#[test]
fn no_sequence_establishes_without_a_handshake_or_moves_by_what_is_out_of_window() {
    // Numbers that go round amid the connection, too.
    for sequence in [1000, u32::MAX - 50] {
        let syn = Segment { flags: SYN, sequence, acknowledgment: 0, window: 1000, scale: None };
        let connection = Connection::first(&syn, false).unwrap();
        let first = World { connection, syn: sequence, agreed: None, confirmed: false };
        let (states, count) = explore(first, true);
        assert_eq!(states.len(), STATES.len() - 1, "all but NONE are reached: {states:?}");
        assert!(count > 1000, "{count}");
    }
}

/// The fast path lets nothing pass that would have moved the automaton.
#[test]
fn what_goes_on_leaves_the_state_as_it_is() {
    let settings = ConntrackSysctl::default();
    let segment = |flags, sequence, acknowledgment| Segment {
        flags,
        sequence,
        acknowledgment,
        window: 1000,
        scale: None,
    };
    let mut connection = Connection::first(&segment(SYN, 1000, 0), false).unwrap();
    for (from, answer) in [(Reply, segment(SYN | ACK, 5000, 1001)), (Original, segment(ACK, 1001, 5001))] {
        let Ok(Effect::Keeps(next)) = connection.step(from, &answer, &settings) else { panic!("{answer:?}") };
        connection = next;
    }
    let mut taken = 0;
    for from in [Original, Reply] {
        let (next, acknowledged) = connection.windows.next(from);
        for (ahead, news) in
            (0..32).flat_map(|ahead| (0..32).map(move |news| (1_u32 << ahead, 1_u32 << news)))
        {
            for (ahead, news) in
                [(ahead, news), (ahead.wrapping_neg(), news), (ahead, news.wrapping_neg()), (0, 0)]
            {
                let segment = segment(ACK, next.wrapping_add(ahead), acknowledged.wrapping_add(news));
                if connection.windows.goes_on(from, segment.sequence, segment.acknowledgment, 3) {
                    taken += 1;
                    let step = connection.step(from, &segment, &settings);
                    assert!(
                        matches!(
                            step,
                            Ok(Effect::Keeps(Connection { state: TcpState::Established, asked: false, .. }))
                        ),
                        "{segment:?} {step:?}"
                    );
                }
            }
        }
    }
    assert!(taken > 100, "{taken}");
}
