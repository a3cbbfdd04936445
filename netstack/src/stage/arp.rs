//! ARP: what is done about a frame, and the frames that are sent. Read RFC 826 "Packet Reception" and RFC 5227 1.1 first.

use crate::{
    config::interface::Interface, exchange::Exchange, headers::ETHERNET_HEADER, outcome::DropReason,
    packet::Packet, table::neighbor::ClaimKind,
};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    Ipv4Address,
};

/// Length of an ARP packet for IPv4 over Ethernet.
const ARP_LENGTH: usize = 28;

/// An ARP packet for IPv4 over Ethernet from a sender that can exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// Whether it asks; otherwise it replies.
    pub request: bool,
    /// Whether the frame was sent to one station, not to all.
    pub to_us_alone: bool,
    /// MAC address that the sender says he has.
    pub sender_mac: EthernetAddress,
    /// IP address that the sender says he has; 0.0.0.0 in a probe (RFC 5227 1.1).
    pub sender: Ipv4Address,
    /// IP address that is asked for, or the receiver's.
    pub target: Ipv4Address,
}

/// What is done about an ARP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Tell the sender that we have the address; learn his first, unless he has none yet.
    Answer {
        /// `None`: a probe, which teaches nothing.
        learn: Option<ClaimKind>,
    },
    /// Learn the sender's address.
    Learn(ClaimKind),
    /// The sender uses an address of ours.
    Conflict,
    /// Nothing.
    Ignore(DropReason),
}

/// Reads the ARP packet at offset `l3` of a frame.
///
/// # Errors
/// `ArpMalformed` for other hardware or protocols, other operations, and senders with a group MAC or an IP address that no
/// host can have (requirement 13).
pub fn parse(frame: &[u8], l3: usize) -> Result<Arp, DropReason> {
    let malformed = DropReason::ArpMalformed;
    let to_us_alone = frame.first().is_some_and(|byte| byte & 1 == 0);
    let packet = ArpPacket::new_checked(frame.get(l3..).ok_or(malformed)?).map_err(|_| malformed)?;
    let ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: sender_mac,
        source_protocol_addr: sender,
        target_protocol_addr: target,
        ..
    } = ArpRepr::parse(&packet).map_err(|_| malformed)?
    else {
        return Err(malformed);
    };
    let request = match operation {
        ArpOperation::Request => true,
        ArpOperation::Reply => false,
        ArpOperation::Unknown(_) => return Err(malformed),
    };
    let impossible = sender.is_loopback()
        || sender.octets()[0] >= 224
        || (sender.octets()[0] == 0 && !sender.is_unspecified());
    if !sender_mac.is_unicast() || sender_mac == EthernetAddress([0; 6]) || impossible {
        return Err(malformed);
    }
    Ok(Arp { request, to_us_alone, sender_mac, sender, target })
}

/// Decides about an ARP packet that came in on `interface`. Own addresses are answered on their own interface only.
pub fn decide(interface: &Interface, arp: &Arp) -> Decision {
    let own = |address| interface.addresses.iter().any(|own| own.cidr.address() == address);
    let on_link = interface.addresses.iter().any(|own| own.cidr.contains_addr(&arp.sender));
    if arp.sender_mac == interface.mac {
        return Decision::Ignore(DropReason::ArpIgnored);
    }
    // RFC 5227 2.1.1: while we probe, somebody else's probe for the same address is a conflict too; answering it says so.
    if own(arp.sender) {
        return Decision::Conflict;
    }
    let for_us = own(arp.target);
    let kind = match (arp.request, for_us) {
        // A stranger to our networks is answered and, where known, updated, but gets no entry.
        (true, true) if on_link => ClaimKind::Request,
        (false, true) if arp.to_us_alone => ClaimKind::Reply,
        _ => ClaimKind::Other,
    };
    match (arp.request && for_us, arp.sender.is_unspecified()) {
        (true, probe) => Decision::Answer { learn: (!probe).then_some(kind) },
        (false, false) => Decision::Learn(kind),
        (false, true) => Decision::Ignore(DropReason::ArpIgnored),
    }
}

/// The frame that asks for `target`, broadcast or sent to its known MAC address. `source` 0.0.0.0 makes it a probe,
/// `source` equal to `target` an announcement (RFC 5227 1.1). `None` without a free buffer.
pub fn request(
    exchange: &mut Exchange,
    mac: EthernetAddress,
    source: Ipv4Address,
    target: Ipv4Address,
    to: Option<EthernetAddress>,
) -> Option<Packet> {
    let repr = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: mac,
        source_protocol_addr: source,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: target,
    };
    build(exchange, mac, to.unwrap_or(EthernetAddress::BROADCAST), repr)
}

/// The frame that answers a request for an address of ours. `None` without a free buffer.
pub fn reply(exchange: &mut Exchange, mac: EthernetAddress, request: &Arp) -> Option<Packet> {
    let repr = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: mac,
        source_protocol_addr: request.target,
        target_hardware_addr: request.sender_mac,
        target_protocol_addr: request.sender,
    };
    build(exchange, mac, request.sender_mac, repr)
}

fn build(
    exchange: &mut Exchange,
    from: EthernetAddress,
    to: EthernetAddress,
    arp: ArpRepr,
) -> Option<Packet> {
    let mut packet = exchange.allocate_frame(ETHERNET_HEADER + ARP_LENGTH)?;
    let ethernet = EthernetRepr { src_addr: from, dst_addr: to, ethertype: EthernetProtocol::Arp };
    let mut frame = EthernetFrame::new_unchecked(packet.bytes_mut());
    ethernet.emit(&mut frame);
    arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    Some(packet)
}
