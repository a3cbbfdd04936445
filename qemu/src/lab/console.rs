//! The router's console at the other end of its serial port: commands go in, what they print comes out.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The console.
pub struct Console {
    socket: UnixStream,
    unsent: Vec<u8>,
    /// What was printed since the last command.
    printed: Vec<u8>,
    log: File,
    closed: bool,
    pub prompt: String,
}

impl Console {
    /// A console that logs all it prints, and the machine's end of it.
    pub fn pair(log: File) -> io::Result<(Console, OwnedFd)> {
        let (socket, other) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let console = Console {
            socket,
            unsent: Vec::new(),
            printed: Vec::new(),
            log,
            closed: false,
            prompt: "rutter# ".into(),
        };
        Ok((console, other.into()))
    }

    /// Types, byte for byte.
    pub fn type_bytes(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
    }

    /// Forgets what was printed so far.
    pub fn forget(&mut self) {
        self.printed.clear();
    }

    /// What was printed since, as a terminal would leave it: no escape sequences, lines end with LF.
    pub fn text(&self) -> String {
        plain(&self.printed)
    }

    /// What was printed, as it came.
    pub fn bytes(&self) -> &[u8] {
        &self.printed
    }

    /// What the last command printed, once the prompt is back.
    pub fn answer(&self) -> Option<String> {
        let text = self.text();
        // The first line is the echo of what was typed.
        let (_, printed) = text.split_once('\n')?;
        let printed = printed.strip_suffix(&self.prompt)?;
        (printed.is_empty() || printed.ends_with('\n')).then(|| printed.to_owned())
    }

    /// The prompt is there, for the first time.
    pub fn is_ready(&self) -> bool {
        self.text().lines().last().is_some_and(|line| line == self.prompt)
    }

    /// The machine has ended.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The machine has not taken all that was typed.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub(super) fn receive(&mut self) -> io::Result<()> {
        let mut chunk = [0; 4096];
        match self.socket.read(&mut chunk) {
            Ok(0) => self.closed = true,
            Ok(count) => {
                self.printed.extend_from_slice(&chunk[..count]);
                self.log.write_all(&chunk[..count])?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => self.closed = true,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::BrokenPipe => self.unsent.clear(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl AsFd for Console {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Drops escape sequences (ECMA-48, 5.4) and carriage returns.
fn plain(bytes: &[u8]) -> String {
    let mut text = String::new();
    let printed = String::from_utf8_lossy(bytes);
    let mut chars = printed.chars();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' if chars.as_str().starts_with('[') => {
                chars.next();
                chars.find(|c| ('\x40'..='\x7e').contains(c));
            }
            '\x1b' => drop(chars.next()),
            '\r' | '\x07' => {}
            '\x08' => drop(text.pop()),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A console on which `printed` was printed.
    fn good(printed: &str) -> Console {
        let null = File::options().write(true).open("/dev/null").unwrap();
        let (mut console, other) = Console::pair(null).unwrap();
        UnixStream::from(other).write_all(printed.as_bytes()).unwrap();
        console.receive().unwrap();
        console
    }

    #[test]
    fn an_answer_stands_between_the_echo_and_the_prompt() {
        assert_eq!(good("ip a\r\n1: eth0\r\nrutter# ").answer().unwrap(), "1: eth0\n");
        assert_eq!(good("ip link set eth0 up\r\nrutter# ").answer().unwrap(), "");
    }

    #[test]
    fn an_answer_that_is_not_complete_is_none_yet() {
        for printed in ["ip a", "ip a\r\n1: eth0\r\n", "ip a\r\n1: eth0\r\nrutt", "ip a\r\nnot rutter# "] {
            assert_eq!(good(printed).answer(), None, "{printed}");
        }
    }

    #[test]
    fn escape_sequences_are_no_text() {
        assert_eq!(plain(b"\x1b[2K\rrutter# \x1b[1;32mip\x1b[0m\x08\x08ls"), "rutter# ls");
    }

    #[test]
    fn the_end_of_the_machine_is_seen() {
        let mut console = good("");
        console.receive().unwrap();
        assert!(console.is_closed());
    }
}
