//! Listens to flows that announce others (FTP, TFTP), makes the others expected, and translates what is said about them
//! (RFC 3022 4.4, RFC 2663 2.9). On with `nf_conntrack_helper`.

use crate::{
    headers::{Fragment, Headers, Transport, protocol},
    outcome::DropReason,
    packet::Packet,
    router::{Context, Router},
    stage::{ftp, splice, tftp},
    table::{
        expectations::Expectation,
        flow::{Direction, Flow, FlowId},
        mapping::Endpoint,
        tick::Tick,
    },
};
use core::fmt::Write;

/// Characters that an address and a port take in FTP: `|1|255.255.255.255|65535|`.
const LONGEST_TEXT: usize = 25;

/// What a flow announces others by.
#[derive(Clone, Copy, PartialEq)]
enum Help {
    Ftp,
    Tftp,
}

/// By the port of the server, as it knows it itself.
fn help_for(flow: &Flow) -> Option<Help> {
    match (flow.protocol(), flow.tuple(Direction::Reply).source_port) {
        (protocol::TCP, ftp::PORT) => Some(Help::Ftp),
        (protocol::UDP, tftp::PORT) => Some(Help::Tftp),
        _ => None,
    }
}

impl Router {
    /// Whether there may be anything to help with at all.
    #[inline]
    pub(crate) fn helps(&self) -> bool {
        self.config.sysctl.conntrack.helper || !self.connections.shifts.is_empty()
    }

    /// Whether all packets of a flow are listened to or renumbered, so that none may take the short way.
    pub(crate) fn is_helped(&self, id: FlowId) -> bool {
        let listened_to =
            self.config.sysctl.conntrack.helper && help_for(self.connections.flows.get(id)).is_some();
        listened_to || self.connections.shifts.has(id)
    }

    /// Listens to a packet of a flow, whose addresses and ports are translated already, and makes it say what its receiver can
    /// use. `headers` are those that it came with.
    ///
    /// # Errors
    /// It must not leave as it is, and cannot be changed.
    pub(crate) fn help(
        &mut self,
        cx: &mut Context<'_>,
        packet: &mut Packet,
        headers: &Headers,
        (id, direction): (FlowId, Direction),
        mtu: u16,
    ) -> Result<(), DropReason> {
        let on = self.config.sysctl.conntrack.helper && headers.fragment == Fragment::Whole;
        match (help_for(self.connections.flows.get(id)), headers.transport) {
            (Some(Help::Tftp), Transport::Udp { .. }) if on && direction == Direction::Original => {
                if packet.bytes().get(headers.l4 + 8..).is_some_and(tftp::is_request) {
                    self.expect_answer(cx, id);
                }
                Ok(())
            }
            (Some(Help::Ftp), Transport::Tcp { sequence, acknowledgment, .. }) => {
                let shifts = &self.connections.shifts;
                let numbers = (
                    shifts.sequence(id, direction, sequence),
                    shifts.acknowledgment(id, direction, acknowledgment),
                );
                // A card would repeat the text in front of each segment.
                if on && headers.wire_length == headers.total_length && packet.is_contiguous() {
                    self.listen(cx, packet, headers, (id, direction), mtu)?;
                }
                if numbers != (sequence, acknowledgment) {
                    let shifts = &self.connections.shifts;
                    splice::renumber(packet.bytes_mut(), headers, numbers.0, |number| {
                        shifts.acknowledgment(id, direction, number)
                    });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The server will answer from another port to that of the client (RFC 1350 4).
    fn expect_answer(&mut self, cx: &Context<'_>, id: FlowId) {
        let flow = self.connections.flows.get(id);
        let (outer, inner) = (flow.tuple(Direction::Reply), flow.translated(Direction::Reply));
        let [outer, inner] =
            [outer, inner].map(|tuple| Endpoint { address: tuple.destination, port: tuple.destination_port });
        self.expect(cx, id, Direction::Original, [outer, inner]);
    }

    /// Expects what an FTP segment announces, and has it say the endpoint that the other side knows.
    fn listen(
        &mut self,
        cx: &mut Context<'_>,
        packet: &mut Packet,
        headers: &Headers,
        (id, direction): (FlowId, Direction),
        mtu: u16,
    ) -> Result<(), DropReason> {
        let Transport::Tcp { header_length, sequence, .. } = headers.transport else { return Ok(()) };
        let start = headers.l4 + usize::from(header_length);
        let Some(text) = packet.bytes().get(start..) else { return Ok(()) };
        let Some(announcement) = ftp::Announcement::parse(text, direction) else { return Ok(()) };
        let own = self.connections.flows.get(id).tuple(direction).source;
        if announcement.address.is_some_and(|address| address != own) {
            return Ok(()); // for somebody else, whom it has no right to speak for (RFC 2577 2)
        }
        let inner = Endpoint { address: own, port: announcement.port };
        let outer = self.expect_connection(cx, id, direction, inner)?;
        if outer == inner {
            return Ok(());
        }
        let mut said = heapless::String::<LONGEST_TEXT>::new();
        write!(said, "{}", announcement.at(outer)).map_err(|_| DropReason::NatHelper)?;
        let place = start + announcement.place.start..start + announcement.place.end;
        let longer = said.len() as i32 - place.len() as i32;
        let fits = splice::replace(packet, headers, place, said.as_bytes(), mtu);
        let known = longer == 0 || self.connections.shifts.grow(id, direction, sequence, longer);
        if fits && known { Ok(()) } else { Err(DropReason::NatHelper) }
    }

    /// The receiver of a packet of this direction will open a connection to `inner`. Gives what he has to know it by.
    fn expect_connection(
        &mut self,
        cx: &mut Context<'_>,
        id: FlowId,
        direction: Direction,
        inner: Endpoint,
    ) -> Result<Endpoint, DropReason> {
        let address = self.connections.flows.get(id).tuple(direction.opposite()).destination;
        let outer = if address == inner.address {
            inner
        } else if let Some(known) = self.connections.expectations.announced(id, inner) {
            known
        } else {
            let port = self.choice(cx.now).announced(protocol::TCP, inner, address, cx.random)?;
            Endpoint { address, port }
        };
        self.expect(cx, id, direction, [outer, inner]);
        Ok(outer)
    }

    /// The receiver of a packet of this direction will begin a flow to the outer endpoint, which leads to the inner one.
    fn expect(&mut self, cx: &Context<'_>, id: FlowId, direction: Direction, [outer, inner]: [Endpoint; 2]) {
        let (flow, back) = (self.connections.flows.get(id), direction.opposite());
        let expectation = Expectation {
            master: id,
            protocol: flow.protocol(),
            source: flow.tuple(back).source,
            source_leaving: flow.translated(back).source,
            destination: outer,
            destination_leaving: inner,
        };
        self.connections.expectations.expect(expectation, Tick::at(cx.now));
    }
}
