//! The laptop asks for the router, and the router for the laptop (RFC 826).

use anyhow::Result;
use qemu::nic::mac_text;
use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetFrame, EthernetProtocol};

use super::{Demo, INSIDE, LAN, LAPTOP};

pub fn run(demo: &mut Demo) -> Result<String> {
    demo.lab.ping(demo.laptop, INSIDE)?;
    let router = demo.lab.until("the router's answer to who has its address", |lab| {
        lab.segments[LAN].seen.iter().filter(|sighting| sighting.from_router).find_map(|sighting| {
            let frame = EthernetFrame::new_checked(&sighting.frame).ok()?;
            (frame.ethertype() == EthernetProtocol::Arp).then_some(())?;
            let arp = ArpRepr::parse(&ArpPacket::new_checked(frame.payload()).ok()?).ok()?;
            let ArpRepr::EthernetIpv4 { operation, source_hardware_addr, source_protocol_addr, .. } = arp
            else {
                return None;
            };
            let answered = operation == ArpOperation::Reply && source_protocol_addr == INSIDE;
            answered.then_some(source_hardware_addr)
        })
    })?;
    let table = demo.lab.command("ip neigh show")?.text;
    let mac = mac_text(demo.lab.get(demo.laptop).mac.0);
    anyhow::ensure!(
        table.lines().any(|line| line.contains(&LAPTOP.to_string()) && line.contains(&mac)),
        "the router's table lacks the laptop: {table}"
    );
    let router = mac_text(router.0);
    Ok(format!("{INSIDE} is at {router}; the router has {LAPTOP} at {mac}"))
}
