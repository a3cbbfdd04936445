//! The line being typed: keys in, echo out, history. Control sequences as in ECMA-48 section 5.4.

use alloc::{collections::VecDeque, string::String, vec::Vec};
use core::fmt::Write;

/// The longest line in bytes. A longer one is refused whole, never cut.
pub const LINE_MAX: usize = 4096;
/// History lines, and their bytes in all.
const HISTORY_LINES: usize = 200;
const HISTORY_BYTES: usize = 32 * 1024;
/// Columns that are used where a line is redrawn: every terminal has them.
const COLUMNS: usize = 79;

const BEL: u8 = 0x07;
const ESC: u8 = 0x1b;

/// What a byte from the terminal led to, beyond a change of the line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A whole line.
    Line(String),
    /// A whole line that was longer than [`LINE_MAX`].
    TooLong,
    /// Ctrl-C: the line is given up.
    Interrupt,
    /// Ctrl-D on an empty line.
    EndOfInput,
    /// Tab: what stands before the cursor is to be completed.
    Complete,
}

/// The line editor.
#[derive(Default)]
pub struct Editor {
    prompt: String,
    text: String,
    /// Byte place of the cursor in `text`.
    cursor: usize,
    /// Bytes were refused because the line is full.
    overflow: bool,
    /// The screen shows only a part of the line.
    windowed: bool,
    history: VecDeque<String>,
    /// The place in the history that is shown, and what was typed before.
    browsing: Option<usize>,
    draft: String,
    /// What Ctrl-U, Ctrl-K or Ctrl-W took away last.
    killed: String,
    sequence: Sequence,
    /// Bytes of a character that is not whole yet.
    partial: heapless::Vec<u8, 4>,
    after_return: bool,
    pasting: bool,
}

/// Where in a control sequence the input is.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Sequence {
    #[default]
    None,
    /// After ESC.
    Escape,
    /// After ESC O.
    Ss3,
    /// After ESC [: the first number so far, and the last byte of the others.
    Csi { number: u16, more: bool },
    /// In a string that ends with BEL or ESC \.
    Text,
}

enum Key {
    Up,
    Down,
    Left,
    Right,
    WordLeft,
    WordRight,
    Home,
    End,
    Delete,
}

impl Editor {
    /// The lines typed before, oldest first.
    pub fn history(&self) -> impl Iterator<Item = &str> {
        self.history.iter().map(String::as_str)
    }

    /// What stands before the cursor.
    pub fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    /// Begins a new line behind `prompt`.
    pub fn start(&mut self, prompt: &str, out: &mut VecDeque<u8>) {
        self.prompt = String::from(prompt);
        out.extend(prompt.bytes());
    }

    /// Wipes the line off the screen, so that something else can be printed there.
    pub fn hide(&self, out: &mut VecDeque<u8>) {
        out.extend(b"\r\x1b[K");
    }

    /// Shows prompt and line again.
    pub fn show(&mut self, out: &mut VecDeque<u8>) {
        self.redraw(out);
    }

    /// Remembers a line for the arrow keys.
    pub fn remember(&mut self, line: &str) {
        if line.trim_ascii().is_empty() || self.history.back().is_some_and(|last| last == line) {
            return;
        }
        self.history.push_back(String::from(line));
        let size = |history: &VecDeque<String>| history.iter().map(String::len).sum::<usize>();
        while self.history.len() > HISTORY_LINES || size(&self.history) > HISTORY_BYTES {
            self.history.pop_front();
        }
    }

    /// Takes one byte from the terminal.
    pub fn byte(&mut self, byte: u8, out: &mut VecDeque<u8>) -> Option<Event> {
        let after_return = core::mem::take(&mut self.after_return);
        match self.sequence {
            Sequence::None => {}
            // A control character ends whatever sequence was left open, and does what it does.
            open if byte < 0x20 && byte != ESC && (open, byte) != (Sequence::Text, BEL) => {
                self.sequence = Sequence::None;
            }
            _ => {
                if let Some(key) = self.in_sequence(byte) {
                    self.key(&key, out);
                }
                return None;
            }
        }
        match byte {
            b'\n' if after_return => {}
            b'\r' | b'\n' => {
                self.after_return = byte == b'\r';
                return Some(self.finish(out));
            }
            b'\t' if self.pasting => self.insert(' ', out),
            b'\t' => return Some(Event::Complete),
            ESC => self.sequence = Sequence::Escape,
            0x20..=0x7e => self.insert(char::from(byte), out),
            0x80.. => self.wide(byte, out),
            _ => return self.control(byte, out),
        }
        None
    }

    fn control(&mut self, byte: u8, out: &mut VecDeque<u8>) -> Option<Event> {
        let control = |letter: u8| letter & 0x1f;
        match byte {
            0x08 | 0x7f => {
                if let Some(start) = self.left_of(self.cursor) {
                    self.remove(start, self.cursor, out);
                }
            }
            byte if byte == control(b'A') => self.key(&Key::Home, out),
            byte if byte == control(b'B') => self.key(&Key::Left, out),
            byte if byte == control(b'C') => {
                out.extend(b"^C\r\n");
                self.clear();
                return Some(Event::Interrupt);
            }
            byte if byte == control(b'D') => {
                if self.text.is_empty() && !self.overflow {
                    return Some(Event::EndOfInput);
                }
                self.key(&Key::Delete, out);
            }
            byte if byte == control(b'E') => self.key(&Key::End, out),
            byte if byte == control(b'F') => self.key(&Key::Right, out),
            byte if byte == control(b'K') => self.kill(self.cursor, self.text.len(), out),
            byte if byte == control(b'L') => {
                out.extend(b"\x1b[H\x1b[2J");
                self.redraw(out);
            }
            byte if byte == control(b'N') => self.key(&Key::Down, out),
            byte if byte == control(b'P') => self.key(&Key::Up, out),
            byte if byte == control(b'U') => self.kill(0, self.cursor, out),
            byte if byte == control(b'W') => self.kill(self.word_left(), self.cursor, out),
            byte if byte == control(b'Y') => {
                let text = self.killed.clone();
                self.insert_text(&text, out);
            }
            _ => {}
        }
        None
    }

    /// A byte of a character beyond ASCII; what is no UTF-8 is left out.
    fn wide(&mut self, byte: u8, out: &mut VecDeque<u8>) {
        if byte >= 0xc0 {
            self.partial.clear();
        }
        let _ = self.partial.push(byte);
        match core::str::from_utf8(&self.partial) {
            Ok(text) => {
                let character = text.chars().next();
                self.partial.clear();
                character.into_iter().for_each(|character| self.insert(character, out));
            }
            Err(error) if error.error_len().is_some() || self.partial.is_full() => self.partial.clear(),
            Err(_) => {}
        }
    }

    fn in_sequence(&mut self, byte: u8) -> Option<Key> {
        let (next, key) = match (self.sequence, byte) {
            (Sequence::Text, BEL) => (Sequence::None, None),
            (_, ESC) => (Sequence::Escape, None),
            (Sequence::Escape, b'[') => (Sequence::Csi { number: 0, more: false }, None),
            (Sequence::Escape, b'O') => (Sequence::Ss3, None),
            (Sequence::Escape, b']' | b'P' | b'X' | b'^' | b'_') => (Sequence::Text, None),
            (Sequence::Escape, b'b') => (Sequence::None, Some(Key::WordLeft)),
            (Sequence::Escape, b'f') => (Sequence::None, Some(Key::WordRight)),
            (Sequence::Csi { number, more: false }, digit @ b'0'..=b'9') => {
                let number = number.saturating_mul(10).saturating_add(u16::from(digit - b'0'));
                (Sequence::Csi { number, more: false }, None)
            }
            (Sequence::Csi { number, .. }, 0x20..=0x3f) => (Sequence::Csi { number, more: true }, None),
            (Sequence::Csi { number, more }, end) => (Sequence::None, self.csi(number, more, end)),
            (Sequence::Ss3, end) => (Sequence::None, self.csi(0, false, end)),
            (Sequence::Text, _) => (Sequence::Text, None),
            _ => (Sequence::None, None),
        };
        self.sequence = next;
        key
    }

    fn csi(&mut self, number: u16, modified: bool, end: u8) -> Option<Key> {
        match (end, number) {
            (b'~', 200) => self.pasting = true,
            (b'~', 201) => self.pasting = false,
            _ => {}
        }
        Some(match (end, number) {
            (b'A', _) => Key::Up,
            (b'B', _) => Key::Down,
            (b'C', _) if modified => Key::WordRight,
            (b'C', _) => Key::Right,
            (b'D', _) if modified => Key::WordLeft,
            (b'D', _) => Key::Left,
            (b'H', _) | (b'~', 1 | 7) => Key::Home,
            (b'F', _) | (b'~', 4 | 8) => Key::End,
            (b'~', 3) => Key::Delete,
            _ => return None,
        })
    }

    fn key(&mut self, key: &Key, out: &mut VecDeque<u8>) {
        match key {
            Key::Up => self.browse(true, out),
            Key::Down => self.browse(false, out),
            Key::Left => self.move_to(self.left_of(self.cursor).unwrap_or(0), out),
            Key::Right => self.move_to(self.right_of(self.cursor), out),
            Key::WordLeft => self.move_to(self.word_left(), out),
            Key::WordRight => self.move_to(self.word_right(), out),
            Key::Home => self.move_to(0, out),
            Key::End => self.move_to(self.text.len(), out),
            Key::Delete => self.remove(self.cursor, self.right_of(self.cursor), out),
        }
    }

    fn finish(&mut self, out: &mut VecDeque<u8>) -> Event {
        out.extend(b"\r\n");
        let overflow = self.overflow;
        let line = core::mem::take(&mut self.text);
        self.clear();
        if overflow { Event::TooLong } else { Event::Line(line) }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.partial.clear();
        self.cursor = 0;
        self.overflow = false;
        self.windowed = false;
        self.browsing = None;
    }

    fn insert(&mut self, character: char, out: &mut VecDeque<u8>) {
        let mut buffer = [0; 4];
        self.insert_text(character.encode_utf8(&mut buffer), out);
    }

    /// Inserts what fits; the rest makes the line too long.
    pub fn insert_text(&mut self, text: &str, out: &mut VecDeque<u8>) {
        if self.overflow || self.text.len() + text.len() > LINE_MAX {
            self.overflow = true;
            return;
        }
        let at_end = self.cursor == self.text.len();
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
        if at_end && !self.windowed {
            out.extend(text.bytes());
        } else {
            self.redraw(out);
        }
    }

    fn remove(&mut self, start: usize, end: usize, out: &mut VecDeque<u8>) {
        if start == end {
            return;
        }
        let at_end = end == self.text.len() && self.cursor == end;
        let width = self.text[start..end].chars().count();
        self.text.drain(start..end);
        self.cursor = start;
        self.overflow = false;
        if at_end && width == 1 && self.columns() < COLUMNS && !self.windowed {
            out.extend(b"\x08 \x08");
        } else {
            self.redraw(out);
        }
    }

    fn kill(&mut self, start: usize, end: usize, out: &mut VecDeque<u8>) {
        if start != end {
            self.killed = String::from(&self.text[start..end]);
            self.remove(start, end, out);
        }
    }

    fn move_to(&mut self, place: usize, out: &mut VecDeque<u8>) {
        let (from, to) = (self.cursor, place);
        if from == to {
            return;
        }
        self.cursor = to;
        if self.windowed || self.columns() >= COLUMNS {
            return self.redraw(out);
        }
        let width = self.text[from.min(to)..from.max(to)].chars().count();
        write_move(out, width, if to < from { 'D' } else { 'C' });
    }

    /// Shows an older or newer line in place of this one.
    fn browse(&mut self, older: bool, out: &mut VecDeque<u8>) {
        let last = self.history.len();
        let place = match (self.browsing, older) {
            (None, true) => last.checked_sub(1),
            (Some(place), true) => Some(place.saturating_sub(1)),
            (Some(place), false) if place + 1 < last => Some(place + 1),
            (_, false) => None,
        };
        if place == self.browsing {
            return;
        }
        if self.browsing.is_none() {
            self.draft = core::mem::take(&mut self.text);
        }
        self.text = match place {
            Some(place) => self.history[place].clone(),
            None => core::mem::take(&mut self.draft),
        };
        self.browsing = place;
        self.cursor = self.text.len();
        self.overflow = false;
        self.redraw(out);
    }

    fn left_of(&self, place: usize) -> Option<usize> {
        self.text[..place].char_indices().next_back().map(|(start, _)| start)
    }

    fn right_of(&self, place: usize) -> usize {
        place + self.text[place..].chars().next().map_or(0, char::len_utf8)
    }

    fn word_left(&self) -> usize {
        let before = self.text[..self.cursor].trim_end_matches(' ');
        before.rfind(' ').map_or(0, |blank| blank + 1)
    }

    fn word_right(&self) -> usize {
        let after = &self.text[self.cursor..];
        let word = after.trim_start_matches(' ');
        let end = word.find(' ').unwrap_or(word.len());
        self.cursor + (after.len() - word.len()) + end
    }

    /// Columns of prompt and line.
    fn columns(&self) -> usize {
        self.prompt.chars().count() + self.text.chars().count()
    }

    /// Draws prompt and line anew. Of a line that is wider than the screen, the part around the cursor is shown.
    fn redraw(&mut self, out: &mut VecDeque<u8>) {
        let room = COLUMNS.saturating_sub(self.prompt.chars().count()).max(20);
        let characters: Vec<char> = self.text.chars().collect();
        let before = self.text[..self.cursor].chars().count();
        self.windowed = characters.len() > room;
        let start = if self.windowed { before.saturating_sub(room * 3 / 4) } else { 0 };
        let shown = &characters[start..characters.len().min(start + room)];
        out.extend(b"\r");
        out.extend(self.prompt.bytes());
        out.extend(shown.iter().collect::<String>().bytes());
        out.extend(b"\x1b[K");
        write_move(out, shown.len() - (before - start), 'D');
    }
}

fn write_move(out: &mut VecDeque<u8>, columns: usize, direction: char) {
    if columns > 0 {
        let mut text = heapless::String::<16>::new();
        let _ = write!(text, "\x1b[{columns}{direction}");
        out.extend(text.bytes());
    }
}

#[cfg(test)]
mod tests;
