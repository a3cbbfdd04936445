//! Hands finished frames to the driver, and first does in software what their card does not do by itself.

use crate::{
    counters::Counter,
    interface::{InterfaceId, PortId},
    offload::Offload,
    outcome::{DropReason, Outcome},
    packet::Packet,
    router::{Context, Router},
    stage::segment::{self, Plan},
};
use smoltcp::wire::EthernetAddress;

impl Router {
    /// Puts the Ethernet header on and sends the frame.
    #[inline]
    pub(crate) fn transmit(
        &mut self,
        cx: &mut Context<'_>,
        egress: InterfaceId,
        to: EthernetAddress,
        mut packet: Packet,
    ) -> Outcome {
        let interface = self.config.interface(egress);
        let (true, Some(port)) = (interface.up, interface.port()) else {
            return self.discard(cx, packet, DropReason::InterfaceDown);
        };
        let frame = packet.bytes_mut();
        frame[0..6].copy_from_slice(&to.0);
        frame[6..12].copy_from_slice(&interface.mac.0);
        self.hand_over(cx, egress, port, packet)
    }

    /// The same for ARP, which the counters of IP leave out.
    pub(crate) fn transmit_arp(
        &mut self,
        cx: &mut Context<'_>,
        egress: InterfaceId,
        to: EthernetAddress,
        packet: Packet,
    ) {
        let outcome = self.transmit(cx, egress, to, packet);
        self.counted.add(Counter::ArpSent, matches!(outcome, Outcome::Forwarded(_)).into());
    }

    /// Sends a frame, finished as far as its card wants it.
    #[inline(always)] // once for each packet
    pub(crate) fn hand_over(
        &mut self,
        cx: &mut Context<'_>,
        egress: InterfaceId,
        port: PortId,
        packet: Packet,
    ) -> Outcome {
        if matches!(packet.offload(), Offload::Partial(_)) {
            self.hand_over_unfinished(cx, egress, port, packet)
        } else {
            self.emit(cx, egress, port, packet)
        }
    }

    #[inline(never)]
    fn hand_over_unfinished(
        &mut self,
        cx: &mut Context<'_>,
        egress: InterfaceId,
        port: PortId,
        packet: Packet,
    ) -> Outcome {
        match packet.offload() {
            Offload::Partial(partial) if !self.links[usize::from(port.0)].abilities.include(partial) => {
                self.finish(cx, packet, |router, cx, packet| router.emit(cx, egress, port, packet))
            }
            _ => self.emit(cx, egress, port, packet),
        }
    }

    #[inline(always)]
    fn emit(&mut self, cx: &mut Context<'_>, egress: InterfaceId, port: PortId, packet: Packet) -> Outcome {
        let counters = self.counters[usize::from(egress.0)].get_mut();
        counters.transmitted_packets += 1;
        counters.transmitted_bytes += packet.len() as u64;
        cx.exchange.transmit(port, packet);
        Outcome::Forwarded(port)
    }

    /// Makes of a frame what a card would put onto the wire, and gives `each` of it to be sent. Gives the last outcome.
    pub(crate) fn finish(
        &mut self,
        cx: &mut Context<'_>,
        mut packet: Packet,
        mut each: impl FnMut(&mut Self, &mut Context<'_>, Packet) -> Outcome,
    ) -> Outcome {
        let Some(plan) = Plan::of(&packet) else {
            segment::complete_checksum(&mut packet);
            return each(self, cx, packet);
        };
        let mut outcome = Outcome::Dropped(DropReason::NoBuffer);
        for segment in plan.segments() {
            let Some(mut made) = cx.exchange.allocate() else {
                self.drops.count(DropReason::NoBuffer);
                break;
            };
            if segment.write(&packet, &mut made) {
                outcome = each(self, cx, made);
            } else {
                self.drops.count(DropReason::NoBuffer);
                cx.exchange.recycle(made);
            }
        }
        cx.exchange.recycle(packet);
        outcome
    }
}
