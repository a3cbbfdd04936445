//! One end of a cable to a card of the machine: frames over a unix stream socket, each after its length in four bytes.
//! Read `-netdev stream` in qemu(1).

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// What may wait for a machine that does not read before hosts are held back.
const FULL: usize = 256 * 1024;
/// The largest frame that QEMU sends.
const LARGEST: usize = 68 * 1024;
const LENGTH: usize = 4;

/// This program's end of a cable.
pub struct Link {
    socket: UnixStream,
    received: Vec<u8>,
    unsent: Vec<u8>,
}

impl Link {
    /// A new cable: this program's end, and the machine's.
    pub fn pair() -> io::Result<(Link, OwnedFd)> {
        let (socket, other) = UnixStream::pair()?;
        Ok((Link::over(socket.into())?, other.into()))
    }

    /// A link over a connected stream socket.
    pub fn over(socket: OwnedFd) -> io::Result<Link> {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Link { socket, received: Vec::new(), unsent: Vec::new() })
    }

    /// Takes what has arrived and gives each whole frame to `each`.
    pub fn receive(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut chunk = [0; 65536];
        match self.socket.read(&mut chunk) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.received.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        let mut rest = &self.received[..];
        while let Some((length, behind)) = rest.split_first_chunk::<LENGTH>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > LARGEST {
                return Err(io::Error::new(ErrorKind::InvalidData, format!("a frame of {length} bytes")));
            }
            let Some((frame, behind)) = behind.split_at_checked(length) else { break };
            each(frame);
            rest = behind;
        }
        let done = self.received.len() - rest.len();
        self.received.drain(..done);
        Ok(())
    }

    /// Queues a frame; [`flush`](Link::flush) sends it.
    pub fn send(&mut self, frame: &[u8]) {
        self.unsent.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        self.unsent.extend_from_slice(frame);
    }

    /// Sends what the machine takes now.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Something waits for the machine to read.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Hosts should wait until the machine has read more.
    pub fn is_full(&self) -> bool {
        self.unsent.len() >= FULL
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link, and the plain socket at its other end.
    fn good() -> (Link, UnixStream) {
        let (link, other) = Link::pair().unwrap();
        (link, other.into())
    }

    fn frames(link: &mut Link) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        link.receive(|frame| frames.push(frame.to_vec())).unwrap();
        frames
    }

    #[test]
    fn frames_arrive_whole_however_the_stream_is_cut() {
        let (mut link, mut other) = good();
        other.write_all(&[0, 0, 0, 2, 7, 8, 0, 0]).unwrap();
        assert_eq!(frames(&mut link), [[7, 8]]);
        other.write_all(&[0, 1]).unwrap();
        assert!(frames(&mut link).is_empty());
        other.write_all(&[9, 0, 0, 0, 0]).unwrap();
        assert_eq!(frames(&mut link), [vec![9], vec![]]);
    }

    #[test]
    fn a_frame_is_sent_after_its_length() {
        let (mut link, mut other) = good();
        link.send(&[5; 300]);
        link.flush().unwrap();
        let mut bytes = [0; 304];
        other.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes[..5], [0, 0, 1, 44, 5]);
        assert!(!link.has_unsent());
    }

    #[test]
    fn a_length_beyond_any_frame_is_an_error() {
        let (mut link, mut other) = good();
        other.write_all(&[0xff; 4]).unwrap();
        assert_eq!(link.receive(|_| ()).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_machine_that_does_not_read_holds_the_hosts_back() {
        let (mut link, _other) = good();
        while !link.is_full() {
            link.send(&[0; 1500]);
            link.flush().unwrap();
        }
        assert!(link.has_unsent());
    }
}
