//! Frames of a running router, by its second serial port, as a pcapng file. Read first: docs/commands.md, "Captures".

use std::ffi::OsString;
use std::io::{BufWriter, Chain, Cursor, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use pcap_file::pcapng::blocks::section_header::SectionHeaderOption;
use pcap_file::pcapng::blocks::{ENHANCED_PACKET_BLOCK, INTERFACE_STATISTIC_BLOCK, SECTION_HEADER_BLOCK};
use pcap_file::pcapng::{PcapNgReader, PcapNgWriter};

/// Ends what the port is writing.
const CTRL_C: &[u8] = b"\x03";
/// How long a router may take to begin.
const PATIENCE: Duration = Duration::from_secs(10);

/// The words for QEMU that give a machine its second serial port, on a unix socket. It is a card of its own, because a
/// microvm has room for one built-in port only.
pub fn port(socket: &Path) -> Vec<OsString> {
    let mut chardev = OsString::from("socket,id=capture,server=on,wait=off,path=");
    chardev.push(socket);
    vec!["-chardev".into(), chardev, "-device".into(), "isa-serial,chardev=capture,index=1".into()]
}

/// Where the socket of this user's router is.
pub fn default_socket() -> PathBuf {
    let dir = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    dir.join(format!("rutter-{}-capture.sock", rustix::process::getuid().as_raw()))
}

/// The line that a router is given; it ends with a line break.
pub fn request(words: &[String]) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("tcpdump -w - --now {} {}\n", now.as_micros(), words.join(" "))
}

/// A file that a router is writing.
pub struct Capture {
    stream: UnixStream,
    reader: PcapNgReader<Chain<Cursor<[u8; 4]>, UnixStream>>,
}

impl Capture {
    /// Asks the router behind `socket` for frames, in the words of `tcpdump`.
    ///
    /// # Errors
    /// There is none, or it does not understand the words.
    pub fn begin(socket: &Path, words: &[String]) -> Result<Capture> {
        let mut stream = UnixStream::connect(socket)
            .with_context(|| format!("no router has its second serial port at {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&[CTRL_C, request(words).as_bytes()].concat())?;
        let mut read = stream.try_clone()?;
        skip_to_section(&mut read).context("the router does not begin to write")?;
        let start = Cursor::new(SECTION_HEADER_BLOCK.to_le_bytes());
        let reader = PcapNgReader::new(start.chain(read))?;
        for option in &reader.section().options {
            if let SectionHeaderOption::Comment(text) = option {
                bail!("{text}");
            }
        }
        stream.set_read_timeout(None)?;
        Ok(Capture { stream, reader })
    }

    /// What ends it: anybody may hold it.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn stop(&self) -> Result<Stop> {
        Ok(Stop(self.stream.try_clone()?))
    }

    /// Writes the file to its end, and gives the number of frames in it.
    ///
    /// # Errors
    /// The router is gone, or `out` cannot be written.
    pub fn copy(mut self, out: impl Write) -> Result<u64> {
        let mut writer =
            PcapNgWriter::with_section_header(BufWriter::new(out), self.reader.section().clone())?;
        let mut frames = 0;
        loop {
            writer.get_mut().flush()?;
            let block = self.reader.next_raw_block().context("the router has gone")??;
            writer.write_raw_block(&block)?;
            match block.type_ {
                ENHANCED_PACKET_BLOCK => frames += 1,
                // The last one.
                INTERFACE_STATISTIC_BLOCK => break,
                _ => {}
            }
        }
        writer.get_mut().flush()?;
        Ok(frames)
    }
}

/// Ends a capture.
pub struct Stop(UnixStream);

impl Stop {
    /// Asks the router to end the file, which then comes to its end by itself.
    ///
    /// # Errors
    /// The router is gone.
    pub fn stop(&self) -> Result<()> {
        Ok((&self.0).write_all(CTRL_C)?)
    }
}

/// Passes over what is left of an earlier file.
fn skip_to_section(read: &mut impl Read) -> Result<()> {
    let start = SECTION_HEADER_BLOCK.to_le_bytes();
    let mut last = [0; 4];
    while last != start {
        last.rotate_left(1);
        read.read_exact(&mut last[3..])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A router that has `leftovers` in its port and then answers with `answer`.
    fn router(name: &str, leftovers: &'static [u8], answer: Vec<u8>) -> PathBuf {
        let path = std::env::temp_dir().join(format!("rutter-{}-{name}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut port, _) = listener.accept().unwrap();
            port.write_all(leftovers).unwrap();
            let mut asked = Vec::new();
            let mut byte = [0];
            while byte != *b"\n" {
                port.read_exact(&mut byte).unwrap();
                asked.push(byte[0]);
            }
            assert!(asked.starts_with(b"\x03tcpdump -w - --now "));
            port.write_all(&answer).unwrap();
        });
        path
    }

    /// A section with these options.
    fn section(options: &[u8]) -> Vec<u8> {
        let length = (28 + options.len() as u32).to_le_bytes();
        let head = [0x0a, 0x0d, 0x0d, 0x0a];
        let body = [0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];
        [&head[..], &length, &body, options, &length].concat()
    }

    #[test]
    fn a_file_begins_behind_what_was_left_and_ends_with_the_statistics() {
        let statistics = [5, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0];
        let answer = [section(&[]), statistics.to_vec(), b"more".to_vec()].concat();
        let socket = router("file", b"the rest of \x0a\x0d another file", answer.clone());
        let mut written = Vec::new();
        let capture = Capture::begin(&socket, &["udp".into()]).unwrap();
        assert_eq!(capture.copy(&mut written).unwrap(), 0);
        assert_eq!(written, answer[..answer.len() - 4]);
    }

    #[test]
    fn what_the_router_does_not_understand_is_told() {
        let comment = [1, 0, 4, 0, b'w', b'h', b'y', b'?', 0, 0, 0, 0];
        let socket = router("wrong", b"", section(&comment));
        let error = Capture::begin(&socket, &[]).err().unwrap();
        assert_eq!(error.to_string(), "why?");
    }

    #[test]
    fn a_router_that_is_not_there_is_named() {
        let error = Capture::begin(Path::new("/nowhere"), &[]).err().unwrap();
        assert_eq!(error.to_string(), "no router has its second serial port at /nowhere");
    }
}
