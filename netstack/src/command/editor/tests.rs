//! Keys and what they leave in the line and on the screen.

use super::*;

/// The lines and other events that a text from the terminal leads to.
fn typed(text: &str) -> Vec<Event> {
    let mut editor = Editor::default();
    let mut out = VecDeque::new();
    for line in ["ip a", "ip route"] {
        editor.remember(line);
    }
    text.bytes().filter_map(|byte| editor.byte(byte, &mut out)).collect()
}

fn line(text: &str) -> String {
    match typed(text).as_slice() {
        [Event::Line(line)] => line.clone(),
        other => panic!("{text:?} gave {other:?}"),
    }
}

#[test]
fn cr_lf_and_crlf_end_a_line_each() {
    let lines = ["a", "b", "c", "", "d"].map(|text| Event::Line(String::from(text)));
    assert_eq!(typed("a\rb\r\nc\n\nd\r"), lines);
}

#[test]
fn keys_edit_the_line() {
    for (keys, expected) in [
        ("ac\x1b[Db\r", "abc"),
        ("bc\x01a\x05d\r", "abcd"),
        ("bc\x1b[Ha\x1b[Fd\r", "abcd"),
        ("bc\x1bOHa\x1bOFd\r", "abcd"),
        ("bc\x1b[1~a\x1b[4~d\r", "abcd"),
        ("abx\x7fc\r", "abc"),
        ("abx\x1b[D\x1b[3~c\r", "abc"),
        ("abx\x02\x04c\r", "abc"),
        ("one two\x17three\r", "one three"),
        ("one two\x15three\r", "three"),
        ("one two\x1b[1;5D\x0bthree\r", "one three"),
        ("one \x15two \x19\r", "two one "),
        ("\x1b[A\r", "ip route"),
        ("\x1b[A\x1b[A\x1b[A\r", "ip a"),
        ("x\x1b[A\x1b[A\x1b[B\x1b[By\r", "xy"),
        ("gr\u{fc}\u{df}e\x02\x7fx\r", "gr\u{fc}xe"),
    ] {
        assert_eq!(line(keys), expected, "{keys:?}");
    }
}

#[test]
fn unknown_sequences_are_ignored() {
    for keys in [
        "a\x1b[99;7xb\r",
        "a\x1b]0;title\x07b\r",
        "a\x1bPq#1\x1b\\b\r",
        "a\x1b[200~b\x1b[201~\r",
        "a\x1bZb\r",
        "a\x00\x1cb\r",
        "a\x1b[<0;1Mb\r",
    ] {
        assert_eq!(line(keys), "ab", "{keys:?}");
    }
    assert_eq!(line("a\x1b]never closed\rb").as_str(), "a");
}

#[test]
fn ctrl_c_brings_the_prompt_back_from_within_any_sequence() {
    for open in ["\x1b", "\x1b_", "\x1b]0;title", "\x1bP1", "\x1b[1;", "\x1bO"] {
        let events = [Event::Interrupt, Event::Line(String::from("b"))];
        assert_eq!(typed(&alloc::format!("a{open}\x03b\r")), events, "{open:?}");
    }
}

#[test]
fn a_line_that_is_too_long_is_refused_whole() {
    let long = "x".repeat(LINE_MAX);
    assert_eq!(line(&(long.clone() + "\r")), long);
    assert_eq!(typed(&(long.clone() + "y\rz\r")), [Event::TooLong, Event::Line(String::from("z"))]);
    assert_eq!(line(&(long + "y\x15z\r")), "z", "emptied, it is a line again");
}

#[test]
fn ctrl_c_and_ctrl_d() {
    assert_eq!(typed("abc\x03\x04"), [Event::Interrupt, Event::EndOfInput]);
}

#[test]
fn history_is_bounded() {
    let mut editor = Editor::default();
    for number in 0..10_000 {
        editor.remember(&alloc::format!("{number} {}", "x".repeat(number % 3000)));
    }
    assert!(editor.history().map(str::len).sum::<usize>() <= HISTORY_BYTES);
    assert!(editor.history().count() <= HISTORY_LINES);
}

#[test]
fn what_is_shown_is_what_stands_in_the_line() {
    let mut editor = Editor::default();
    let mut out = VecDeque::new();
    editor.start("rutter# ", &mut out);
    "ip rotue\x1b[D\x1b[D\x1b[D\x04\x1b[Ct".bytes().for_each(|byte| {
        editor.byte(byte, &mut out);
    });
    assert_eq!(screen(&out), "rutter# ip route");
    editor.clear();
    out.clear();
    editor.start("rutter# ", &mut out);
    // Wider than the screen, and then changed at its front.
    let long = alloc::format!("{}\x01y", "x".repeat(200));
    long.bytes().for_each(|byte| {
        editor.byte(byte, &mut out);
    });
    let shown = screen(&out);
    assert!(shown.starts_with("rutter# yxxx") && shown.len() <= COLUMNS, "{shown}");
}

/// What a terminal of endless width shows on its last line.
fn screen(out: &VecDeque<u8>) -> String {
    let text: String = out.iter().map(|&byte| char::from(byte)).collect();
    let mut cells: Vec<char> = Vec::new();
    let mut column = 0;
    let mut rest = text.as_str();
    while let Some(next) = rest.chars().next() {
        rest = &rest[1..];
        match next {
            '\r' => column = 0,
            '\x08' => column -= 1,
            '\x1b' => {
                let end = rest.find(|end: char| end.is_ascii_alphabetic()).unwrap();
                let count: usize = rest[1..end].parse().unwrap_or(1);
                match &rest[end..=end] {
                    "D" => column -= count,
                    "C" => column += count,
                    _ => cells.truncate(column),
                }
                rest = &rest[end + 1..];
            }
            other => {
                cells.resize(cells.len().max(column + 1), ' ');
                cells[column] = other;
                column += 1;
            }
        }
    }
    cells.into_iter().collect()
}
