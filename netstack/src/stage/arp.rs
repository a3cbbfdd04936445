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
pub const ARP_LENGTH: usize = 28;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::PortInfo, interface::PortId, test_support::interface_address};
    use alloc::vec::Vec;

    const OUR_MAC: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 0, 0, 1]);
    const OUR: Ipv4Address = Ipv4Address::new(192, 168, 1, 1);
    const PEER_MAC: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 0, 0, 2]);
    const PEER: Ipv4Address = Ipv4Address::new(192, 168, 1, 2);

    /// `arping -c 1 192.168.1.1` from 192.168.1.2, as tcpdump shows it.
    const REQUEST: [u8; 42] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 2, 0x08, 0x06, // Ethernet
        0, 1, 0x08, 0x00, 6, 4, 0, 1, // Ethernet, IPv4, request
        0x52, 0x54, 0, 0, 0, 2, 192, 168, 1, 2, // sender
        0, 0, 0, 0, 0, 0, 192, 168, 1, 1, // target
    ];
    const OPERATION: usize = 21;
    const SENDER_MAC: usize = 22;
    const SENDER: usize = 28;
    const TARGET: usize = 38;

    fn interface() -> Interface {
        let mut interface = Interface::ethernet(PortId(0), &PortInfo::new(OUR_MAC, 1500));
        interface.up = true;
        interface.addresses.push(interface_address("192.168.1.1/24"));
        interface
    }

    fn changed(at: usize, bytes: &[u8]) -> [u8; 42] {
        let mut frame = REQUEST;
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    }

    fn decision(frame: &[u8]) -> Result<Decision, DropReason> {
        parse(frame, ETHERNET_HEADER).map(|arp| decide(&interface(), &arp))
    }

    #[test]
    fn a_request_for_our_address_is_answered_and_teaches_the_sender() {
        assert_eq!(decision(&REQUEST), Ok(Decision::Answer { learn: Some(ClaimKind::Request) }));
    }

    #[test]
    fn the_answer_goes_to_the_sender_alone_and_every_byte_of_it_is_written() {
        let mut dirty = Packet::with_capacity(64);
        dirty.storage_mut().fill(0xa5);
        let mut exchange = Exchange::new(1, 64);
        let clean = exchange.allocate().unwrap();
        drop(clean);
        exchange.recycle(dirty);
        let packet = reply(&mut exchange, OUR_MAC, &parse(&REQUEST, ETHERNET_HEADER).unwrap()).unwrap();
        let expected: Vec<u8> = [
            &PEER_MAC.0[..],
            &OUR_MAC.0,
            &[0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 2],
            &OUR_MAC.0,
            &OUR.octets(),
            &PEER_MAC.0,
            &PEER.octets(),
        ]
        .concat();
        assert_eq!(packet.bytes(), expected);
    }

    #[test]
    fn our_own_request_is_what_another_stack_would_send() {
        let mut exchange = Exchange::new(1, 64);
        let packet = request(&mut exchange, PEER_MAC, PEER, OUR, None).unwrap();
        assert_eq!(packet.bytes(), REQUEST);
        exchange.recycle(packet);
        let unicast = request(&mut exchange, PEER_MAC, PEER, OUR, Some(OUR_MAC)).unwrap();
        assert_eq!(unicast.bytes()[..6], OUR_MAC.0);
    }

    #[test]
    fn a_probe_is_answered_and_teaches_nothing() {
        let probe = changed(SENDER, &[0; 4]);
        assert_eq!(decision(&probe), Ok(Decision::Answer { learn: None }));
    }

    #[test]
    fn a_stranger_to_our_networks_is_answered_but_gets_no_entry() {
        let stranger = changed(SENDER, &[203, 0, 113, 9]);
        assert_eq!(decision(&stranger), Ok(Decision::Answer { learn: Some(ClaimKind::Other) }));
    }

    #[test]
    fn what_is_for_somebody_else_only_updates() {
        let elsewhere = changed(TARGET, &[192, 168, 1, 77]);
        assert_eq!(decision(&elsewhere), Ok(Decision::Learn(ClaimKind::Other)));
        let gratuitous = changed(TARGET, &PEER.octets());
        assert_eq!(decision(&gratuitous), Ok(Decision::Learn(ClaimKind::Other)));
    }

    #[test]
    fn only_a_reply_sent_to_us_alone_can_confirm() {
        let mut reply = changed(OPERATION, &[2]);
        assert_eq!(decision(&reply), Ok(Decision::Learn(ClaimKind::Other)));
        reply[..6].copy_from_slice(&OUR_MAC.0);
        assert_eq!(decision(&reply), Ok(Decision::Learn(ClaimKind::Reply)));
    }

    #[test]
    fn somebody_who_has_our_address_is_a_conflict() {
        assert_eq!(decision(&changed(SENDER, &OUR.octets())), Ok(Decision::Conflict));
    }

    #[test]
    fn our_own_frames_that_come_back_are_ignored() {
        let mut own = changed(SENDER, &OUR.octets());
        own[SENDER_MAC..SENDER_MAC + 6].copy_from_slice(&OUR_MAC.0);
        assert_eq!(decision(&own), Ok(Decision::Ignore(DropReason::ArpIgnored)));
    }

    #[test]
    fn impossible_senders_and_other_protocols_are_refused() {
        for (at, bytes) in [
            (SENDER_MAC, &[0xff; 6][..]),
            (SENDER_MAC, &[0x01, 0x00, 0x5e, 0, 0, 1]),
            (SENDER_MAC, &[0; 6]),
            (SENDER, &[127, 0, 0, 1]),
            (SENDER, &[224, 0, 0, 1]),
            (SENDER, &[255; 4]),
            (SENDER, &[0, 0, 0, 7]),
            (OPERATION, &[3]),
            (14, &[0, 6]),       // another hardware
            (16, &[0x86, 0xdd]), // another protocol
            (18, &[8]),          // another length of MAC address
            (19, &[16]),         // another length of IP address
        ] {
            assert_eq!(decision(&changed(at, bytes)), Err(DropReason::ArpMalformed), "{at} {bytes:?}");
        }
    }

    #[test]
    fn a_frame_that_is_cut_off_is_refused() {
        for length in 0..REQUEST.len() {
            assert_eq!(decision(&REQUEST[..length]), Err(DropReason::ArpMalformed), "{length}");
        }
    }
}
