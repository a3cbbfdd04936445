//! Names and numbers of ports and interfaces.

use core::fmt;
use smoltcp::wire::EthernetAddress;

/// A name as the console shows it; at most 15 bytes, as on Linux (`IFNAMSIZ`).
pub type InterfaceName = heapless::String<15>;

/// A network card, counted from 0 in the order in which the machine lists them: eth0 sits on port 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortId(pub u8);

/// An interface: its place in [`crate::config::Config::interfaces`]. `lo` is 0, eth0 is 1, and so on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InterfaceId(pub u16);

impl InterfaceId {
    /// The loopback interface; always there, always first.
    pub const LOOPBACK: Self = Self(0);

    /// The number that Linux prints before the name (`1: lo`).
    pub fn index(self) -> u32 {
        u32::from(self.0) + 1
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}", self.0)
    }
}

/// A MAC address as Linux writes it, with colons.
pub fn mac_text(mac: EthernetAddress) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let [a, b, c, d, e, g] = mac.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    })
}
