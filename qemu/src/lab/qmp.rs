//! QEMU's own console. Read "QEMU Machine Protocol Specification", 2.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// QEMU answers at once; a machine that does not is no longer there.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to QEMU itself.
pub struct Qmp {
    reader: BufReader<UnixStream>,
    negotiated: bool,
}

impl Qmp {
    /// A connection, and the machine's end of it.
    pub fn pair() -> Result<(Qmp, OwnedFd)> {
        let (socket, other) = UnixStream::pair()?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok((Qmp { reader: BufReader::new(socket), negotiated: false }, other.into()))
    }

    /// Executes a command and gives what it returns.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        if !self.negotiated {
            self.negotiated = true;
            self.execute("qmp_capabilities", json!({}))?;
        }
        let message = json!({ "execute": command, "arguments": arguments });
        writeln!(self.reader.get_mut(), "{message}").with_context(|| command.to_owned())?;
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).with_context(|| command.to_owned())?;
            let mut answer: Value =
                serde_json::from_str(&line).with_context(|| format!("{command}: `{line}`"))?;
            if let Some(error) = answer.get("error") {
                bail!("{command}: {}", error["desc"]);
            }
            // Everything else is the greeting, or an event.
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection to a QEMU that says `lines`.
    fn good(lines: &str) -> (Qmp, UnixStream) {
        let (qmp, other) = Qmp::pair().unwrap();
        let mut other = UnixStream::from(other);
        other.write_all(lines.as_bytes()).unwrap();
        (qmp, other)
    }

    #[test]
    fn greeting_and_events_are_passed_over() {
        let lines = "{\"QMP\":{}}\n{\"return\":{}}\n{\"event\":\"RESUME\"}\n{\"return\":{\"icount\":7}}\n";
        let (mut qmp, _other) = good(lines);
        assert_eq!(qmp.execute("query-replay", json!({})).unwrap()["icount"], 7);
    }

    #[test]
    fn an_error_names_the_command() {
        let (mut qmp, _other) = good("{\"return\":{}}\n{\"error\":{\"desc\":\"no such thing\"}}\n");
        let error = qmp.execute("rubbish", json!({})).unwrap_err().to_string();
        assert!(error.contains("rubbish") && error.contains("no such thing"));
    }

    #[test]
    fn a_machine_that_is_gone_is_an_error() {
        let (mut qmp, other) = good("");
        drop(other);
        qmp.execute("stop", json!({})).unwrap_err();
    }
}
