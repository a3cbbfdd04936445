//! Text or JSON from one description, as iproute2's json_print.c makes both from the same calls.

use super::ip::Options;
use alloc::string::String;
use core::fmt::{Display, Write};

/// What is written so far, and how.
pub struct Printer {
    options: Options,
    out: String,
    depth: usize,
    /// An element of the same list stands before.
    comma: bool,
}

impl Printer {
    /// Nothing written yet. In JSON, opens the list of everything.
    pub fn new(options: Options) -> Self {
        let mut printer = Self { options, out: String::new(), depth: 0, comma: false };
        printer.open("", '[');
        printer
    }

    /// Closes the list of everything.
    pub fn finish(&mut self) {
        self.close(']');
        if self.options.json {
            self.out.push('\n');
        }
    }

    /// Takes what is written so far.
    pub fn take(&mut self) -> String {
        core::mem::take(&mut self.out)
    }

    /// The options of the command.
    pub fn options(&self) -> Options {
        self.options
    }

    /// In text only.
    pub fn text(&mut self, text: impl Display) {
        if !self.options.json {
            let _ = write!(self.out, "{text}");
        }
    }

    /// Ends a line within an entry, in text only; `-o` writes a backslash instead.
    pub fn line(&mut self) {
        self.text(if self.options.oneline { "\\" } else { "\n" });
    }

    /// A text value.
    pub fn string(&mut self, key: &str, before: &str, value: impl Display, after: &str) {
        if self.options.json {
            self.name(key);
            self.out.push('"');
            let _ = write!(Escaped(&mut self.out), "{value}");
            self.out.push('"');
        } else {
            let _ = write!(self.out, "{before}{value}{after}");
        }
    }

    /// A text value, in text filled up to `width` with blanks on the right.
    pub fn padded(&mut self, key: &str, value: &str, width: usize, after: &str) {
        if self.options.json {
            self.string(key, "", value, "");
        } else {
            let _ = write!(self.out, "{value:<width$}{after}");
        }
    }

    /// A number.
    pub fn number(&mut self, key: &str, before: &str, value: u64, after: &str) {
        self.text(format_args!("{before}{value}{after}"));
        self.json_number(key, value);
    }

    /// A number, in JSON only.
    pub fn json_number(&mut self, key: &str, value: u64) {
        if self.options.json {
            self.name(key);
            let _ = write!(self.out, "{value}");
        }
    }

    /// A property that is there: a word in text, `true` in JSON.
    pub fn flag(&mut self, key: &str, text: &str) {
        self.text(text);
        if self.options.json {
            self.name(key);
            self.out.push_str("true");
        }
    }

    /// A property that is there: a word in text, `null` in JSON.
    pub fn null(&mut self, key: &str, text: &str) {
        self.text(text);
        if self.options.json {
            self.name(key);
            self.out.push_str("null");
        }
    }

    /// Opens an object, in JSON only.
    pub fn open_object(&mut self, key: &str) {
        self.open(key, '{');
    }

    /// Closes it.
    pub fn close_object(&mut self) {
        self.close('}');
    }

    /// Opens a list, in JSON only.
    pub fn open_array(&mut self, key: &str) {
        self.open(key, '[');
    }

    /// Closes it.
    pub fn close_array(&mut self) {
        self.close(']');
    }

    /// An element of a list, in JSON only.
    pub fn element(&mut self, value: &str) {
        if self.options.json {
            self.separate();
            self.out.push('"');
            let _ = Escaped(&mut self.out).write_str(value);
            self.out.push('"');
        }
    }

    fn open(&mut self, key: &str, bracket: char) {
        if !self.options.json {
            return;
        }
        if key.is_empty() {
            self.separate();
        } else {
            self.name(key);
        }
        self.out.push(bracket);
        if bracket == '[' && self.options.pretty {
            self.out.push(' ');
        }
        self.depth += 1;
        self.comma = false;
    }

    fn close(&mut self, bracket: char) {
        if !self.options.json {
            return;
        }
        self.depth = self.depth.saturating_sub(1);
        if self.comma {
            if bracket == '}' {
                self.indent();
            } else if self.options.pretty {
                self.out.push(' ');
            }
        }
        self.out.push(bracket);
        self.comma = true;
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(',');
        }
        self.comma = true;
    }

    fn indent(&mut self) {
        if self.options.pretty {
            self.out.push('\n');
            for _ in 0..self.depth {
                self.out.push_str("    ");
            }
        }
    }

    /// `"key":`, after a comma where one is due.
    fn name(&mut self, key: &str) {
        self.separate();
        self.indent();
        let _ = write!(self.out, "\"{key}\":{}", if self.options.pretty { " " } else { "" });
    }
}

/// Writes into a JSON string (RFC 8259 section 7).
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for character in text.chars() {
            match character {
                '"' | '\\' => {
                    self.0.push('\\');
                    self.0.push(character);
                }
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                '\t' => self.0.push_str("\\t"),
                control if control < ' ' => write!(self.0, "\\u{:04x}", control as u32)?,
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}
