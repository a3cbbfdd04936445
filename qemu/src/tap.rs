//! A tap of this machine as the end of a cable: frames put onto it, and what it has counted. Read packet(7).

use std::fs::read_to_string;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, bind, send, socket};

/// Puts frames on the cable, towards the card at its other end.
pub struct Sender(OwnedFd);

impl Sender {
    /// On this tap of the namespace that it is called in.
    pub fn on(tap: &str) -> Result<Self> {
        let address = getifaddrs()?
            .filter(|interface| interface.interface_name == tap)
            .find_map(|interface| interface.address?.as_link_addr().copied())
            .with_context(|| format!("there is no {tap}"))?;
        // Of no protocol, so that nothing is received.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        bind(socket.as_raw_fd(), &address).context(tap.to_owned())?;
        Ok(Self(socket))
    }

    /// Sends one frame. A tap takes none that has no Ethernet header, or while its link is down.
    pub fn put(&self, frame: &[u8]) -> bool {
        send(self.0.as_raw_fd(), frame, MsgFlags::empty()).is_ok()
    }
}

/// The frames that a device of this machine has counted so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Those that came out of the cable.
    pub received: u64,
    /// Those that were put onto it.
    pub sent: u64,
    /// Those that were not, because the other end had not taken so many before.
    pub lost: u64,
}

impl Counters {
    /// Those of a device in the namespace that it is called in.
    pub fn of(device: &str) -> Result<Self> {
        let table = read_to_string("/proc/thread-self/net/dev")?;
        Self::read(device, &table).with_context(|| format!("{device} is not in {table}"))
    }

    /// Reads `/proc/net/dev`.
    fn read(device: &str, table: &str) -> Option<Self> {
        let line =
            table.lines().find_map(|line| line.trim_start().strip_prefix(device)?.strip_prefix(':'))?;
        let numbers: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        // Bytes, packets, errors, drops, and four more; then the same of what is sent.
        Some(Self { received: *numbers.get(1)?, sent: *numbers.get(9)?, lost: *numbers.get(11)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packets_of_a_device_are_its_own() {
        let table = "Inter-| Receive | Transmit\n face |bytes packets errs drop\n  \
                     tap01: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n tap0: 300 40 0 0 0 0 0 0 500 60 0 7 0 0 0 0\n";
        assert_eq!(Counters::read("tap0", table), Some(Counters { received: 40, sent: 60, lost: 7 }));
        assert_eq!(Counters::read("tap", table), None);
    }
}
