//! The kernel's log: lines in a ring of fixed size, the oldest overwritten first. What `dmesg` shows.

/// Bytes before the text of each line: time, level, length.
const HEAD: usize = 8 + 1 + 2;
/// Longest text of a line in bytes; the rest is cut off.
pub const LONGEST: usize = 240;

/// Lines in `SIZE` bytes.
pub struct LogRing<const SIZE: usize> {
    bytes: [u8; SIZE],
    /// Counts of bytes since the start; a place is a count modulo `SIZE`.
    start: u64,
    end: u64,
    /// Up to where the console has shown it.
    shown: u64,
}

/// One line.
pub struct Line<'a> {
    /// Microseconds since boot.
    pub micros: i64,
    /// 0 (emergency) to 7 (debug), as on Linux.
    pub level: u8,
    /// The text.
    pub text: &'a str,
}

impl<const SIZE: usize> LogRing<SIZE> {
    /// An empty ring.
    pub const fn new() -> Self {
        const { assert!(SIZE > HEAD + LONGEST, "a line fits") };
        Self { bytes: [0; SIZE], start: 0, end: 0, shown: 0 }
    }

    /// Adds a line, in the place of the oldest where it is full.
    pub fn push(&mut self, micros: i64, level: u8, text: &str) {
        let text = &text.as_bytes()[..text.floor_char_boundary(LONGEST)];
        while self.end + (HEAD + text.len()) as u64 - self.start > SIZE as u64 {
            self.start += self.length_at(self.start);
        }
        self.write(&micros.to_le_bytes());
        self.write(&[level]);
        self.write(&(text.len() as u16).to_le_bytes());
        self.write(text);
    }

    /// Every line, oldest first.
    pub fn for_each(&self, mut each: impl FnMut(Line<'_>)) {
        let mut at = self.start;
        while at < self.end {
            self.read_line(at, &mut each);
            at += self.length_at(at);
        }
    }

    /// Hands `show` the oldest line that it was not handed before; `false` where there is none.
    pub fn show_next(&mut self, show: impl FnOnce(Line<'_>)) -> bool {
        self.shown = self.shown.max(self.start);
        if self.shown == self.end {
            return false;
        }
        self.read_line(self.shown, show);
        self.shown += self.length_at(self.shown);
        true
    }

    /// Forgets all lines.
    pub fn clear(&mut self) {
        self.start = self.end;
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.bytes[(self.end % SIZE as u64) as usize] = byte;
            self.end += 1;
        }
    }

    fn read<const COUNT: usize>(&self, at: u64) -> [u8; COUNT] {
        core::array::from_fn(|offset| self.bytes[((at + offset as u64) % SIZE as u64) as usize])
    }

    fn text_length(&self, line: u64) -> usize {
        usize::from(u16::from_le_bytes(self.read(line + 9)))
    }

    fn length_at(&self, line: u64) -> u64 {
        (HEAD + self.text_length(line)) as u64
    }

    fn read_line(&self, line: u64, each: impl FnOnce(Line<'_>)) {
        let text: [u8; LONGEST] = self.read(line + HEAD as u64);
        let text = &text[..self.text_length(line)];
        each(Line {
            micros: i64::from_le_bytes(self.read(line)),
            level: self.read::<1>(line + 8)[0],
            text: core::str::from_utf8(text).unwrap_or("(damaged)"),
        });
    }
}

impl<const SIZE: usize> Default for LogRing<SIZE> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::String, vec::Vec};

    fn lines<const SIZE: usize>(ring: &LogRing<SIZE>) -> Vec<String> {
        let mut lines = Vec::new();
        ring.for_each(|line| lines.push(format!("{} {} {}", line.micros, line.level, line.text)));
        lines
    }

    #[test]
    fn lines_come_out_as_they_went_in() {
        let mut ring = LogRing::<300>::new();
        ring.push(-1, 3, "first");
        ring.push(5, 7, "");
        assert_eq!(lines(&ring), ["-1 3 first", "5 7 "]);
        ring.clear();
        assert!(lines(&ring).is_empty());
    }

    #[test]
    fn the_oldest_make_room() {
        let mut ring = LogRing::<300>::new();
        for number in 0..1000 {
            ring.push(number, 6, "a line of some length");
            let lines = lines(&ring);
            assert!(lines.last().unwrap().starts_with(&format!("{number} ")));
            assert_eq!(lines.len(), (number as usize + 1).min(300 / (HEAD + 21)));
        }
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let mut ring = LogRing::<300>::new();
        ring.push(0, 6, &"ü".repeat(300));
        assert_eq!(lines(&ring), [format!("0 6 {}", "ü".repeat(LONGEST / 2))]);
    }

    #[test]
    fn each_line_is_shown_once_and_lost_ones_are_passed_over() {
        let mut ring = LogRing::<300>::new();
        let mut shown = Vec::new();
        ring.push(1, 6, "one");
        assert!(ring.show_next(|line| shown.push(line.micros)));
        assert!(!ring.show_next(|_| unreachable!()));
        for number in 2..100 {
            ring.push(number, 6, "a line of some length");
        }
        ring.push(100, 6, "last");
        while ring.show_next(|line| shown.push(line.micros)) {}
        assert_eq!((shown[0], shown[1] > 90, shown.last()), (1, true, Some(&100)));
    }
}
