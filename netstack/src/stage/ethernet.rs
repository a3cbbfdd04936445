//! The first look at a frame: is it for us, and what does it carry (IEEE 802.3, RFC 894).

use crate::{config::interface::Interface, headers::ETHERNET_HEADER, outcome::DropReason};

/// What a frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// ARP.
    Arp,
    /// IPv4.
    Ipv4 {
        /// Whether the frame is for everybody or a group.
        group: bool,
    },
}

/// Classifies a frame that came in on `interface`.
///
/// # Errors
/// `InterfaceDown`, `EthernetTruncated`, `EthernetSource`, `EthernetOtherHost`, `EtherTypeUnknown`.
#[inline]
pub fn classify(frame: &[u8], interface: &Interface) -> Result<Class, DropReason> {
    let header: &[u8; ETHERNET_HEADER] = frame.first_chunk().ok_or(DropReason::EthernetTruncated)?;
    if !interface.up {
        return Err(DropReason::InterfaceDown);
    }
    if header[6] & 1 != 0 {
        return Err(DropReason::EthernetSource);
    }
    let group = header[0] & 1 != 0;
    if !group && header[0..6] != interface.mac.0 {
        return Err(DropReason::EthernetOtherHost);
    }
    match [header[12], header[13]] {
        [0x08, 0x00] => Ok(Class::Ipv4 { group }),
        [0x08, 0x06] => Ok(Class::Arp),
        _ => Err(DropReason::EtherTypeUnknown),
    }
}
