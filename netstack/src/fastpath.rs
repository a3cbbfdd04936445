//! The short way of an established flow: one lookup, one rewrite, and out.
//!
//! It repeats what the slow path left in the flow, as long as nothing that it was decided by has changed.

use crate::{
    headers::{Fragment, Headers, Transport, protocol, tcp_flag},
    interface::InterfaceId,
    outcome::Outcome,
    packet::Packet,
    router::{Context, Router},
    stage::{
        tcp::TcpState,
        track::{refreshes, timeout},
        translate,
    },
    table::flow::{Direction, FlowId, Tick, status},
};

impl Router {
    /// Forwards a packet as its flow says; gives it back where the slow path has to look at it.
    #[inline]
    pub(crate) fn repeat(
        &mut self,
        cx: &mut Context<'_>,
        ingress: InterfaceId,
        mut packet: Packet,
        headers: &Headers,
        (id, direction): (FlowId, Direction),
    ) -> Result<Outcome, Packet> {
        let flow = self.connections.flows.get_mut(id);
        let Some(shortcut) = flow.shortcuts[direction as usize] else { return Err(packet) };
        let plain = match headers.transport {
            Transport::Tcp { flags, .. } => is_plain(flags) && flow.tcp == TcpState::Established,
            _ => true,
        };
        if shortcut.epoch != self.epoch
            || shortcut.ingress != ingress
            || !plain
            || headers.fragment != Fragment::Whole
            || headers.ttl <= 1
            || headers.total_length > shortcut.mtu
        {
            return Err(packet);
        }
        let Some(mac) = self.neighbors.usable(shortcut.neighbor, cx.now) else { return Err(packet) };
        if headers.protocol == protocol::UDP && flow.is(status::SEEN_REPLY) {
            flow.status |= status::ASSURED;
        }
        if refreshes(flow.status, direction) {
            let seconds = timeout(&self.config.sysctl.conntrack, headers.protocol, flow.tcp, flow.status);
            flow.expires = Tick::at(cx.now).plus_seconds(seconds);
        }
        let frame = packet.bytes_mut();
        if flow.is_translated() {
            let (ip, transport) = match direction {
                Direction::Original => (flow.ip_delta, flow.transport_delta),
                Direction::Reply => (flow.ip_delta.inverse(), flow.transport_delta.inverse()),
            };
            translate::rewrite(frame, headers, &flow.translated(direction), ip, transport);
        }
        translate::lower_ttl(frame, headers);
        self.paths.count(shortcut.path, u64::from(headers.total_length));
        self.statistics.fast += 1;
        Ok(self.transmit(cx, shortcut.egress, mac, packet))
    }
}

/// A segment that cannot change the state of an established connection.
#[inline]
fn is_plain(flags: u8) -> bool {
    use tcp_flag::{ACK, FIN, RST, SYN};
    flags & (SYN | FIN | RST | ACK) == ACK
}
