//! The tracking automaton, story by story.

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
    let open = [(Original, SYN), (Reply, SYN), (Original, SYN | ACK), (Reply, SYN | ACK), (Original, ACK)];
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

/// The next segment of an end, with these flags, its numbers that much beyond where they should be.
fn segment(connection: &Connection, from: Direction, flags: u8, beyond: u32) -> Segment {
    let (next, acknowledgment) = connection.windows.next(from);
    let sequence = next.wrapping_add(beyond).wrapping_sub((flags & SYN != 0).into());
    Segment { flags, sequence, acknowledgment, window: 1000, scale: None }
}

fn opened() -> Connection {
    let syn = Segment { flags: SYN, sequence: 1000, acknowledgment: 0, window: 1000, scale: None };
    Connection::first(&syn, false).unwrap()
}

fn step(connection: &Connection, from: Direction, segment: &Segment) -> Result<Effect, Misfit> {
    connection.step(from, segment, &ConntrackSysctl::default())
}

/// The connection after segments with the right numbers.
fn established() -> Connection {
    let mut connection = opened();
    for (from, flags) in [(Reply, SYN | ACK), (Original, ACK)] {
        match step(&connection, from, &segment(&connection, from, flags, 0)) {
            Ok(Effect::Keeps(next)) => connection = next,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(connection.state, TcpState::Established);
    connection
}

#[test]
fn only_an_exact_reset_closes() {
    let (connection, near) = (established(), 500);
    let reset = |beyond| step(&connection, Reply, &segment(&connection, Reply, RST, beyond));
    assert!(matches!(reset(0), Ok(Effect::Keeps(Connection { state: TcpState::Close, .. }))));
    assert_eq!(reset(near), Ok(Effect::Doubts));
    assert_eq!(reset(1 << 20), Err(Misfit::Invalid));
    assert_eq!(reset(0_u32.wrapping_sub(1)), Err(Misfit::Invalid));
    let last_word = |acknowledgment: u32| {
        let reset = Segment { acknowledgment, ..segment(&connection, Reply, RST | ACK, near) };
        step(&connection, Reply, &reset)
    };
    let (_, acknowledged) = connection.windows.next(Reply);
    assert!(matches!(last_word(acknowledged), Ok(Effect::Keeps(Connection { state: TcpState::Close, .. }))));
    for guessed in [0, acknowledged + 1, acknowledged - 1] {
        assert_eq!(last_word(guessed), Ok(Effect::Doubts));
    }
    let mut settings = ConntrackSysctl { tcp_be_liberal: true, ..ConntrackSysctl::default() };
    let far = segment(&connection, Reply, RST, 1 << 20);
    assert_eq!(connection.step(Reply, &far, &settings), Err(Misfit::Invalid));
    settings.tcp_ignore_invalid_rst = true;
    assert_eq!(connection.step(Reply, &far, &settings), Ok(Effect::Nothing));
}

#[test]
fn whoever_is_liberal_takes_what_seems_old_for_new() {
    let connection = established();
    let fin = segment(&connection, Original, FIN | ACK, 0_u32.wrapping_sub(1 << 30));
    assert_eq!(step(&connection, Original, &fin), Ok(Effect::Nothing));
    let settings = ConntrackSysctl { tcp_be_liberal: true, ..ConntrackSysctl::default() };
    let taken = connection.step(Original, &fin, &settings);
    assert!(matches!(taken, Ok(Effect::Keeps(Connection { state: TcpState::FinWait, .. }))), "{taken:?}");
}

#[test]
fn a_syn_is_refused_only_by_a_reset_that_acknowledges_it() {
    let connection = opened();
    let refusal = Segment { sequence: 0, ..segment(&connection, Reply, RST | ACK, 0) };
    assert!(matches!(step(&connection, Reply, &refusal), Ok(Effect::Keeps(_))));
    for wrong in [
        Segment { flags: RST, ..refusal },
        Segment { acknowledgment: 1000, ..refusal },
        Segment { acknowledgment: 1 << 20, ..refusal },
    ] {
        assert_eq!(step(&connection, Reply, &wrong), Err(Misfit::Invalid), "{wrong:?}");
    }
}

#[test]
fn a_syn_answered_by_both_ends_begins_a_new_connection_and_a_challenge_keeps_the_old_one() {
    let connection = established();
    let syn = Segment { sequence: 9_000_000, ..segment(&connection, Original, SYN, 0) };
    assert_eq!(step(&connection, Original, &syn), Ok(Effect::Asks));
    let asked = Connection { asked: true, ..connection };
    let challenge = segment(&asked, Reply, ACK, 0);
    assert_eq!(step(&asked, Reply, &challenge), Ok(Effect::Keeps(asked)));
    let syn_ack = Segment { flags: SYN | ACK, sequence: 77, acknowledgment: 9_000_001, ..challenge };
    let Ok(Effect::Keeps(renewed)) = step(&asked, Reply, &syn_ack) else { panic!("a new connection") };
    assert_eq!((renewed.state, renewed.windows.next(Original)), (TcpState::SynRecv, (9_000_001, 78)));
    assert_eq!(step(&connection, Reply, &syn_ack), Ok(Effect::Nothing), "nobody asked");
    let refused = Segment { flags: RST | ACK, sequence: 1 << 20, ..syn_ack };
    assert_eq!(step(&asked, Reply, &refused), Ok(Effect::Doubts));
}
