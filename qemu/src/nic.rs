//! A network card of the router, and what its cable is plugged into. Read "-netdev" in qemu(1).

use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// How many pairs of queues a card has whose tap may have several: what strangers flood is spread over all of them, and what
/// is answered is in the first one.
pub const QUEUES: u16 = 8;

/// What the cable of a card is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cable {
    /// QEMU's user network, with further options of `-netdev user`, comma first.
    User(String),
    /// A tap device that exists, and that this user may open.
    Tap(String),
    /// A descriptor that was inherited: a tap's, or a connected stream socket's.
    Fd(RawFd),
    /// A connected stream socket of this process, each frame after its length in four bytes.
    Stream(RawFd),
    /// A unix socket on which QEMU listens for the machine at the other end.
    Unix(PathBuf),
    /// Nothing.
    None,
}

impl FromStr for Cable {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Cable> {
        let (kind, rest) = text.split_once([':', ',']).unwrap_or((text, ""));
        let comma = text.get(kind.len()..).is_some_and(|rest| rest.starts_with(','));
        match kind {
            "user" if text == "user" => Ok(Cable::User(String::new())),
            "user" if comma => Ok(Cable::User(format!(",{rest}"))),
            "none" if text == "none" => Ok(Cable::None),
            "tap" if !comma && !rest.is_empty() => Ok(Cable::Tap(rest.to_owned())),
            "fd" if !comma => {
                Ok(Cable::Fd(rest.parse().with_context(|| format!("`{rest}` is no descriptor"))?))
            }
            "unix" if !comma && !rest.is_empty() => Ok(Cable::Unix(rest.into())),
            _ => bail!("`{text}` is none of user[,hostfwd=..], tap:NAME, fd:N, unix:PATH, none"),
        }
    }
}

impl Cable {
    /// The words of `-netdev` for the backend `id` with so many pairs of queues.
    pub fn netdev(&self, id: &str, queues: u16) -> String {
        match self {
            Cable::User(options) => format!("user,id={id}{options}"),
            Cable::Tap(name) => {
                let queues = if queues > 1 { format!(",queues={queues}") } else { String::new() };
                format!("tap,id={id},ifname={}{queues},script=no,downscript=no", escape(name))
            }
            Cable::Fd(fd) if is_socket(*fd) => Cable::Stream(*fd).netdev(id, queues),
            Cable::Fd(fd) => format!("tap,id={id},fd={fd}"),
            Cable::Stream(fd) => format!("stream,id={id},server=off,addr.type=fd,addr.str={fd}"),
            Cable::Unix(path) => {
                format!("stream,id={id},server=on,addr.type=unix,addr.path={}", path_word(path))
            }
            // A hub with one port: the card is there, and nobody hears it.
            Cable::None => {
                format!("hubport,id={id},hubid={}", id.trim_start_matches(|c: char| !c.is_ascii_digit()))
            }
        }
    }

    /// Pairs of queues: several where a tap was made for that.
    pub fn queues(&self) -> u16 {
        let Cable::Tap(name) = self else { return 1 };
        // sysfs knows them, too, but those of the network namespace that it was mounted in. A tap that is not there is told of
        // by QEMU.
        let output = Command::new("ip").args(["-details", "-json", "link", "show", "dev", name]).output();
        if output.is_ok_and(|output| is_multi_queue(&output.stdout)) { QUEUES } else { 1 }
    }

    /// The words with which another machine plugs itself into the other end of this cable.
    pub fn other_end(&self) -> Option<String> {
        let Cable::Unix(path) = self else { return None };
        Some(format!("-netdev stream,id=net0,server=off,addr.type=unix,addr.path={}", path_word(path)))
    }
}

/// Whether a tap may have several queues, by what ip(8) says of it in JSON.
fn is_multi_queue(link: &[u8]) -> bool {
    let link: Value = serde_json::from_slice(link).unwrap_or_default();
    link[0]["linkinfo"]["info_data"]["multi_queue"] == true
}

/// A comma within a value is doubled.
fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

fn path_word(path: &std::path::Path) -> String {
    escape(&path.to_string_lossy())
}

/// An inherited descriptor is a tap's or a socket's.
fn is_socket(fd: RawFd) -> bool {
    let file = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    file.to_string_lossy().starts_with("socket:")
}

/// A card of the router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    pub cable: Cable,
    pub mac: [u8; 6],
}

impl Nic {
    /// The card with number `index`. Its address is locally administered and follows from the number and the cable,
    /// so that it is the same at each start, and another one where two routers share a network.
    pub fn new(index: usize, cable: Cable) -> Nic {
        let seed = format!("{index} {cable:?}");
        // FNV-1a: spreads well, and needs to resist nobody.
        let hash = seed
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let [a, b, c, d] = hash.to_be_bytes();
        Nic { cable, mac: [0x02, a, b, c, d, index.to_le_bytes()[0]] }
    }
}

/// An address as Linux writes it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn netdev(spec: &str) -> String {
        spec.parse::<Cable>().unwrap().netdev("net2", 1)
    }

    #[test]
    fn each_cable_has_its_words() {
        assert_eq!(netdev("user"), "user,id=net2");
        assert_eq!(netdev("user,hostfwd=tcp::80-:80"), "user,id=net2,hostfwd=tcp::80-:80");
        assert_eq!(netdev("tap:tap0"), "tap,id=net2,ifname=tap0,script=no,downscript=no");
        let words = "tap,id=net2,ifname=tap0,queues=8,script=no,downscript=no";
        assert_eq!(Cable::Tap("tap0".into()).netdev("net2", 8), words);
        assert_eq!(netdev("fd:0"), "tap,id=net2,fd=0");
        assert_eq!(netdev("unix:/a,b"), "stream,id=net2,server=on,addr.type=unix,addr.path=/a,,b");
        assert_eq!(netdev("none"), "hubport,id=net2,hubid=2");
    }

    #[test]
    fn a_tap_has_queues_where_it_was_made_for_them() {
        let link = |queues: &str| format!(r#"[{{"linkinfo":{{"info_kind":"tun","info_data":{queues}}}}}]"#);
        let having = |text: &str| is_multi_queue(text.as_bytes());
        assert!(having(&link(r#"{"type":"tap","multi_queue":true}"#)));
        assert!(!having(&link(r#"{"type":"tap","multi_queue":false}"#)));
        assert_eq!(["", "[]", "{}", "Device does not exist."].map(having), [false; 4]);
        assert_eq!(Cable::Tap("there-is-none".into()).queues(), 1);
    }

    #[test]
    fn a_wrong_cable_is_named() {
        for spec in ["", "usr", "tap:", "tap", "tap,tap0", "fd:x", "unix:", "none:", "user:x"] {
            let error = spec.parse::<Cable>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{spec}`")) || spec == "fd:x", "{spec}: {error}");
        }
    }

    #[test]
    fn addresses_are_stable_local_and_of_one_station() {
        let nic = Nic::new(1, Cable::Tap("tap0".into()));
        assert_eq!(nic, Nic::new(1, Cable::Tap("tap0".into())));
        assert_ne!(nic.mac, Nic::new(1, Cable::Tap("tap1".into())).mac);
        assert_ne!(nic.mac, Nic::new(2, Cable::Tap("tap0".into())).mac);
        assert_eq!(nic.mac[0] & 0b11, 0b10);
    }
}
