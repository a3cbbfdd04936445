//! Carries out what the pipeline decided: counts, begins or moves the flow, rewrites, sends, answers.

use crate::{
    config::{interface::Scope, sysctl::ConntrackSysctl},
    headers::{Headers, protocol},
    host::{Delivery, Host},
    interface::InterfaceId,
    outcome::{DropReason, Outcome},
    packet::Packet,
    pipeline::{Answer, Arrival, Decision, FlowPart, Found, Way},
    router::{Context, Router},
    stage::{
        arp,
        filter::{FlowState, FlowView, Marking, Trail},
        fragment,
        icmp::{self, IcmpError},
        log, mss, segment,
        tcp::{Connection, Effect, TcpState},
        track::{refreshes, timeout, tuple_of},
        translate,
    },
    table::{
        fib::{Destination, NextHop, source_on},
        flow::{Direction, Flow, FlowId, Tuple, status},
        mapping::Endpoint,
        neighbor::{self, NeighborId},
        shortcut::{Course, ShortcutId},
        tick::{Tick, Ticks},
    },
    trace::{Silent, Trace},
};
use smoltcp::wire::{EthernetAddress, Ipv4Address};

/// A packet that waits for the MAC address of its next hop.
pub struct Parked {
    egress: InterfaceId,
    packet: Packet,
}

/// Type of the ICMP message that answers a ping (RFC 792).
const ECHO_REPLY: u8 = 0;

/// Where a packet comes from.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    /// The interface it came in on; `None`: made here.
    pub ingress: Option<InterfaceId>,
    /// Whether its frame was for everybody or a group.
    pub link_broadcast: bool,
    /// Where it answers a packet that was refused: what the rules see of it.
    pub answers: Option<FlowView>,
}

impl Origin {
    /// From one of the router's own sockets.
    pub const HOST: Self = Self { ingress: None, link_broadcast: false, answers: None };
}

impl Router {
    /// Takes an IPv4 packet, whose headers are checked, all its way.
    pub(crate) fn process(
        &mut self,
        cx: &mut Context<'_>,
        origin: Origin,
        packet: Packet,
        headers: &Headers,
        found: Found,
    ) -> Outcome {
        if self.taps.tracer().is_on()
            && self.taps.tracer().fits(origin.ingress, packet.bytes(), packet.len())
            && let Some(mut story) = self.taps.tracer_mut().begin(cx.now)
        {
            self.explain_arrival(origin.ingress, headers, &mut story.transcript);
            let outcome = self.process_by(cx, origin, packet, headers, found, &mut story.transcript);
            story.end(outcome);
            self.taps.tracer_mut().keep(story);
            return outcome;
        }
        self.process_by(cx, origin, packet, headers, found, &mut Silent)
    }

    fn process_by<T: Trace>(
        &mut self,
        cx: &mut Context<'_>,
        origin: Origin,
        mut packet: Packet,
        headers: &Headers,
        found: Found,
        trace: &mut T,
    ) -> Outcome {
        let mut arrival = Arrival {
            ingress: origin.ingress,
            link_broadcast: origin.link_broadcast,
            frame: packet.bytes(),
            headers,
            now: cx.now,
            tuple: tuple_of(headers),
            found,
            answers: origin.answers,
            effects: true,
        };
        let mut decision = Decision::new(arrival.headers);
        self.decide(&arrival, cx.random, trace, &mut decision);
        if let FlowPart::Moved { id } = decision.flow {
            self.connections.end(id);
            arrival.found = None;
            decision = Decision::new(arrival.headers);
            self.decide(&arrival, cx.random, trace, &mut decision);
        }
        if T::ON {
            self.explain_way(&decision, headers, &mut packet.bytes().to_vec(), cx.now, trace);
        }
        let egress = decision.way.ok().and_then(Way::egress);
        self.count(&decision.trail, &arrival, egress);
        match decision.way {
            Ok(_) => self.carry_out(cx, origin, packet, headers, &decision),
            Err(refusal) => {
                if refusal.answer != Answer::Nothing {
                    let seen = self.view(&decision.flow, FlowState::Established);
                    self.answer(
                        cx,
                        origin,
                        &mut packet,
                        headers,
                        refusal.answer,
                        seen.map(FlowView::of_answer),
                    );
                }
                if refusal.reason == DropReason::FlowTableFull {
                    self.connections.refuse();
                }
                self.discard(cx, packet, refusal.reason)
            }
        }
    }

    /// Counts a packet at the rules that it met, and writes what LOG asks for.
    fn count(&mut self, trail: &Trail, arrival: &Arrival<'_>, egress: Option<InterfaceId>) {
        for reference in &trail.counted {
            if let Some(counters) = reference.counters(self.config.tables.get(reference.table)) {
                counters.add(1, u64::from(arrival.headers.total_length));
            }
        }
        for reference in &trail.logged {
            log::write(&self.config, reference, arrival, egress, &mut self.log_bucket);
        }
    }

    fn carry_out(
        &mut self,
        cx: &mut Context<'_>,
        origin: Origin,
        mut packet: Packet,
        headers: &Headers,
        decision: &Decision,
    ) -> Outcome {
        let begun = match self.settle_flow(&decision.flow, Tick::at(cx.now)) {
            Ok(begun) => begun,
            Err(reason) => return self.discard(cx, packet, reason),
        };
        let flow = begun.map(|id| (id, Direction::Original)).or(decision.flow.flow());
        if let Some((id, _)) = flow {
            self.connections.flows.set_mark(id, decision.marking.flow);
            self.count_in_groups(decision, id);
        }
        let frame = packet.bytes_mut();
        match begun {
            Some(id) => {
                translate::rewrite_as(frame, headers, self.connections.flows.get(id), Direction::Original);
            }
            None => self.translate(frame, headers, &decision.flow),
        }
        if let (Some(limit), Ok(way)) = (decision.mss, decision.way) {
            mss::lower(&mut packet, headers, limit, way.mtu());
        }
        let Marking { ttl, tos, .. } = decision.marking;
        translate::set_ttl_and_tos(packet.bytes_mut(), headers, ttl, tos);
        if let (true, Ok(way)) = (self.helps(), decision.way)
            && let Some(flow) = flow
            && let Err(reason) = self.help(cx, &mut packet, headers, flow, way.mtu())
        {
            return self.discard(cx, packet, reason);
        }
        match decision.way {
            Ok(Way::Deliver) => {
                let outcome = self.deliver(cx, packet);
                if let (Outcome::Dropped(_), Some(id)) = (outcome, begun) {
                    self.connections.end(id);
                }
                if origin.ingress.is_some() {
                    self.send_from_host(cx);
                }
                outcome
            }
            Ok(Way::Broadcast(interface)) => self.transmit(cx, interface, EthernetAddress::BROADCAST, packet),
            Ok(Way::Forward(hop, neighbor)) => {
                self.forward(cx, origin, packet, headers, decision, hop, neighbor)
            }
            Err(refusal) => self.discard(cx, packet, refusal.reason),
        }
    }

    /// Has rules count the flow, until it is over or its TCP connection is closed.
    fn count_in_groups(&mut self, decision: &Decision, id: FlowId) {
        let groups = &mut self.connections.groups;
        if matches!(self.connections.flows.get(id).tcp, TcpState::TimeWait | TcpState::Close) {
            if !groups.is_empty() {
                groups.leave(id);
            }
            return;
        }
        for &group in &decision.trail.groups {
            groups.enter(group, id);
        }
    }

    /// Gives a packet the addresses and ports that its flow says.
    pub(crate) fn translate(&self, frame: &mut [u8], headers: &Headers, part: &FlowPart) {
        match part {
            FlowPart::New(draft) => translate::rewrite_from(frame, headers, &draft.original, &draft.leaving),
            FlowPart::Existing { id, direction, .. } => {
                translate::rewrite_as(frame, headers, self.connections.flows.get(*id), *direction);
            }
            FlowPart::Error { id, direction } => {
                translate::rewrite_error(frame, headers, self.connections.flows.get(*id), *direction);
            }
            FlowPart::None | FlowPart::Untracked | FlowPart::Answer(_) | FlowPart::Moved { .. } => {}
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn forward(
        &mut self,
        cx: &mut Context<'_>,
        origin: Origin,
        packet: Packet,
        headers: &Headers,
        decision: &Decision,
        hop: NextHop,
        address: Ipv4Address,
    ) -> Outcome {
        self.statistics.forwarded += u64::from(origin.ingress.is_some());
        if headers.wire_length <= hop.mtu {
            let (outcome, known) = self.send(cx, hop.interface, address, packet);
            if let (Some(neighbor), Some(ingress)) = (known, origin.ingress) {
                self.keep_shortcut(decision, headers, ingress, hop, neighbor);
            }
            return outcome;
        }
        // Linux, too, first makes the segments that the sender asked for, and then the fragments of each.
        self.finish(cx, packet, |router, cx, packet| router.fragment(cx, packet, hop, address))
    }

    /// Sends a packet that is too long for its way in fragments.
    fn fragment(
        &mut self,
        cx: &mut Context<'_>,
        packet: Packet,
        hop: NextHop,
        address: Ipv4Address,
    ) -> Outcome {
        let headers = match Headers::of(&packet) {
            Ok(headers) if headers.total_length > hop.mtu => headers,
            Ok(_) => return self.send(cx, hop.interface, address, packet).0,
            Err(reason) => return self.discard(cx, packet, reason),
        };
        let mut outcome = Outcome::Dropped(DropReason::NoBuffer);
        for piece in fragment::pieces(packet.bytes(), &headers, hop.mtu) {
            let Some(mut fragment) = cx.exchange.allocate() else {
                self.drops.count(DropReason::NoBuffer);
                break;
            };
            if piece.write(&packet, &headers, &mut fragment) {
                (outcome, _) = self.send(cx, hop.interface, address, fragment);
            } else {
                self.drops.count(DropReason::NoBuffer);
                cx.exchange.recycle(fragment);
            }
        }
        cx.exchange.recycle(packet);
        outcome
    }

    /// Hands a packet to the router's own sockets, and answers for them where nobody listens.
    fn deliver(&mut self, cx: &mut Context<'_>, packet: Packet) -> Outcome {
        let headers = match Headers::of(&packet) {
            Ok(headers) => headers,
            Err(reason) => return self.discard(cx, packet, reason),
        };
        if headers.protocol == protocol::UDP && headers.wire_length < headers.total_length {
            // Each segment is a datagram of its own.
            return self.finish(cx, packet, |router, cx, packet| router.deliver(cx, packet));
        }
        let delivery = self.host.deliver(cx.exchange, &packet, &headers, cx.now);
        // What came in fragments is refused as the whole that the last of them made.
        let (mut packet, headers) = match self.host.take_refused() {
            Some(whole) => {
                cx.exchange.recycle(packet);
                whole
            }
            None => (packet, headers),
        };
        let (reason, answer) = match delivery {
            Delivery::Accepted => {
                self.statistics.delivered += 1;
                cx.exchange.recycle(packet);
                return Outcome::Delivered;
            }
            Delivery::Dropped(reason) => (reason, None),
            // Perhaps the inner host behind this port opens towards the sender at this very moment: an answer would
            // spoil that (RFC 5382 REQ-4).
            Delivery::Error(_) | Delivery::Reset if self.is_mapped(&headers) => {
                (DropReason::NatFiltered, None)
            }
            Delivery::Error(error) => {
                let group = self.is_broadcast(headers.destination);
                let made = self.icmp_error(cx, &mut packet, &headers, error, group, headers.source);
                (DropReason::NoListener, made)
            }
            Delivery::Reset => (DropReason::NoListener, icmp::reset(cx.exchange, &headers, false)),
        };
        // The packet is translated already, so its answer has to be translated back: it goes the way of the flow.
        if let Some(answer) = answer {
            self.originate(cx, Origin::HOST, answer);
        }
        self.discard(cx, packet, reason)
    }

    /// A packet for the router itself did not become whole in time: the sender of its first fragment is told.
    pub(crate) fn report_incomplete(&mut self, cx: &mut Context<'_>, first: Option<Packet>) {
        let reason = DropReason::FragmentIncomplete;
        let Some(mut first) = first else { return self.drops.count(reason) };
        if let Ok(headers) = Headers::of(&first) {
            let (error, group) = (IcmpError::ReassemblyTimeExceeded, self.is_broadcast(headers.destination));
            if let Some(error) = self.icmp_error(cx, &mut first, &headers, error, group, headers.source) {
                self.originate(cx, Origin::HOST, error);
            }
        }
        self.discard(cx, first, reason);
    }

    /// Whether a packet for the router itself is for the outer endpoint of an inner host.
    fn is_mapped(&self, headers: &Headers) -> bool {
        let Some(port) = headers.destination_port() else { return false };
        let outer = Endpoint { address: headers.destination, port };
        self.connections.mappings.find_outer(headers.protocol, outer).is_some()
    }

    /// Sends what the router's own sockets have to send.
    pub(crate) fn send_from_host(&mut self, cx: &mut Context<'_>) {
        // As many as the host can hold: what it says to itself meanwhile waits for the next turn.
        for _ in 0..Host::QUEUE {
            let Some(packet) = self.host.take_outgoing() else { return };
            self.originate(cx, Origin::HOST, packet);
        }
    }

    /// Begins the flow, or moves it on. Gives the flow that it began.
    fn settle_flow(&mut self, part: &FlowPart, now: Tick) -> Result<Option<FlowId>, DropReason> {
        let settings = &self.config.sysctl.conntrack;
        match part {
            FlowPart::New(draft) => {
                let seconds = timeout(settings, draft.original.protocol, draft.tcp.state, draft.status);
                match self.connections.begin(draft, now, seconds) {
                    Err(DropReason::FlowTableFull) if !self.tracking_needed && draft.status == 0 => Ok(None),
                    begun => begun.map(Some),
                }
            }
            FlowPart::Existing { id, direction, effect } => {
                let flow = self.connections.flows.get_mut(*id);
                let answered = flow.is(status::SEEN_REPLY);
                if *direction == Direction::Reply && !answered {
                    flow.status |= status::SEEN_REPLY;
                    // What was decided for NEW packets does not hold for ESTABLISHED ones.
                    flow.shortcuts = [None; 2];
                }
                match effect {
                    Effect::Keeps(connection) => {
                        keep(flow, *direction, answered, connection, settings, now);
                    }
                    Effect::Nothing => {}
                    Effect::Asks => {
                        flow.status |= status::ASKED;
                        // Whether its sender goes on with the old connection all the same is to be seen.
                        flow.shortcuts = [None; 2];
                    }
                    Effect::Doubts => {
                        let seconds = settings.tcp_timeout_unacknowledged;
                        flow.expires = flow.expires.min(now.plus_seconds(seconds));
                    }
                }
                Ok(None)
            }
            FlowPart::None
            | FlowPart::Untracked
            | FlowPart::Error { .. }
            | FlowPart::Answer(_)
            | FlowPart::Moved { .. } => Ok(None),
        }
    }

    /// Leaves the decision in the flow, where the same would be decided for its next packet.
    fn keep_shortcut(
        &mut self,
        decision: &Decision,
        headers: &Headers,
        ingress: InterfaceId,
        hop: NextHop,
        neighbor: NeighborId,
    ) {
        let FlowPart::Existing { id, direction, .. } = decision.flow else { return };
        let flow = self.connections.flows.get(id);
        // Each segment may move a connection that is not established, and the next packet assures a flow.
        let moving = flow.protocol() == protocol::TCP && flow.tcp != TcpState::Established;
        let to_be_assured = flow.is(status::SEEN_REPLY) && !flow.is(status::ASSURED);
        let passing = decision.trail.unstable || moving || to_be_assured || flow.is(status::ASKED);
        if passing || self.helps() && self.is_helped(id) {
            return;
        }
        let Some(rewrite) = decision.marking.rewrite(headers) else { return };
        let Some(path) = self.paths.intern(&decision.trail.counted) else { return };
        let Some(port) = self.config.interface(hop.interface).port() else { return };
        let flow = self.connections.flows.get(id);
        let lifetime = if refreshes(flow.status, direction) {
            let settings = &self.config.sysctl.conntrack;
            Ticks::from_seconds(timeout(settings, flow.protocol(), flow.tcp, flow.status))
        } else {
            Ticks::default()
        };
        let (egress, mtu) = (hop.interface, hop.mtu);
        let course = Course { ingress, egress, port, mtu, neighbor, path, lifetime, rewrite };
        let shortcut = self.shortcut(course);
        self.connections.flows.get_mut(id).shortcuts[direction as usize] = shortcut;
    }

    fn shortcut(&mut self, course: Course) -> Option<ShortcutId> {
        let (paths, counters) = (&self.paths, &mut self.counters);
        let kept = self.shortcuts.intern(course, |shortcut| {
            let (packets, bytes) = shortcut.counters.get();
            paths.count(shortcut.course.path, packets, bytes);
            counters[usize::from(shortcut.course.egress.0)].get_mut().count_transmitted(packets, bytes);
        });
        if kept.is_none() {
            self.settle_counters();
            self.connections.forget_shortcuts();
            self.shortcuts.forget_names();
        }
        kept
    }

    /// Sends a packet to its next hop, or parks it until the MAC address is known.
    fn send(
        &mut self,
        cx: &mut Context<'_>,
        egress: InterfaceId,
        address: Ipv4Address,
        packet: Packet,
    ) -> (Outcome, Option<NeighborId>) {
        match self.neighbors.resolve(egress, address, cx.now) {
            neighbor::Answer::Found(id, mac) => (self.transmit(cx, egress, mac, packet), Some(id)),
            neighbor::Answer::Pending(id) => {
                if let Some(displaced) = self.neighbors.park(id, Parked { egress, packet }) {
                    self.discard(cx, displaced.packet, DropReason::NeighborPending);
                }
                self.poll_neighbors(cx);
                (Outcome::Parked, None)
            }
            neighbor::Answer::Full => (self.discard(cx, packet, DropReason::NeighborsFull), None),
        }
    }

    /// Ends a packet and counts why.
    pub(crate) fn discard(&mut self, cx: &mut Context<'_>, packet: Packet, reason: DropReason) -> Outcome {
        self.drops.count(reason);
        cx.exchange.recycle(packet);
        Outcome::Dropped(reason)
    }

    /// Tells the sender of a refused packet.
    fn answer(
        &mut self,
        cx: &mut Context<'_>,
        origin: Origin,
        packet: &mut Packet,
        headers: &Headers,
        answer: Answer,
        answers: Option<FlowView>,
    ) {
        let made = match answer {
            Answer::Nothing => return,
            // That an echo reply of ours may not leave is nobody's news but ours.
            Answer::Icmp(_) if origin.ingress.is_none() && headers.icmp() == Some((ECHO_REPLY, 0)) => return,
            Answer::TcpReset => icmp::reset(cx.exchange, headers, origin.link_broadcast),
            Answer::Icmp(error) => {
                let group = origin.link_broadcast || self.is_broadcast(headers.destination);
                self.icmp_error(cx, packet, headers, error, group, headers.source)
            }
        };
        if let Some(reply) = made {
            self.originate(cx, Origin { answers, ..Origin::HOST }, reply);
        }
    }

    fn is_broadcast(&self, address: Ipv4Address) -> bool {
        matches!(self.fib.lookup(address), Destination::Broadcast { .. } | Destination::Multicast)
    }

    /// An ICMP error about a packet, unless there must be none (requirement 8) or `receiver`, who will get it, has had
    /// too many. The packet gets its checksum if that was missing: nobody else would complete it in the quote.
    #[allow(clippy::too_many_arguments)]
    fn icmp_error(
        &mut self,
        cx: &mut Context<'_>,
        packet: &mut Packet,
        headers: &Headers,
        error: IcmpError,
        group: bool,
        receiver: Ipv4Address,
    ) -> Option<Packet> {
        let source = if self.fib.is_local(headers.destination) {
            headers.destination
        } else {
            self.fib.source_for(&self.config, headers.source).or_else(|| self.any_address())?
        };
        let limit = self.config.sysctl.icmp_ratelimit;
        if !icmp::may_report(headers, group) || !self.icmp_errors.admit(error, receiver, limit, cx.now) {
            return None;
        }
        segment::complete_checksum(packet);
        self.icmp_errors.build(cx.exchange, packet.bytes(), headers, error, source)
    }

    fn any_address(&self) -> Option<Ipv4Address> {
        let mut addresses = self.config.interfaces.iter().skip(1).flat_map(|interface| &interface.addresses);
        addresses.next().map(|address| address.cidr.address())
    }

    /// Sends a packet that was made here.
    pub(crate) fn originate(&mut self, cx: &mut Context<'_>, origin: Origin, packet: Packet) -> Outcome {
        match Headers::of(&packet) {
            Ok(headers) => {
                let found = self.find(cx.now, &headers);
                self.process(cx, origin, packet, &headers, found)
            }
            Err(reason) => self.discard(cx, packet, reason),
        }
    }

    /// Does what the neighbour table wants done. An error about a packet that waited in vain may wait itself and ask
    /// for more: the outermost call does that, too, so that nobody's packets can pile up calls.
    pub(crate) fn poll_neighbors(&mut self, cx: &mut Context<'_>) {
        if core::mem::replace(&mut self.polling_neighbors, true) {
            return;
        }
        while let Some(event) = self.neighbors.poll(cx.now) {
            match event {
                neighbor::Event::Ask { interface, address, to } => self.ask(cx, interface, address, to),
                neighbor::Event::Resolved(Parked { egress, packet }, _, mac) => {
                    self.transmit(cx, egress, mac, packet);
                }
                neighbor::Event::Unreachable(parked) => self.unreachable(cx, parked.packet),
            }
        }
        self.polling_neighbors = false;
    }

    fn ask(
        &mut self,
        cx: &mut Context<'_>,
        interface: InterfaceId,
        address: Ipv4Address,
        to: Option<EthernetAddress>,
    ) {
        let config = self.config.interface(interface);
        let source = source_on(config, Some(address), Scope::Link).unwrap_or(Ipv4Address::UNSPECIFIED);
        if let Some(packet) = arp::request(cx.exchange, config.mac, source, address, to) {
            self.transmit(cx, interface, to.unwrap_or(EthernetAddress::BROADCAST), packet);
        }
    }

    /// A next hop did not answer: the sender of a packet that waited for it is told (requirement 5). The packet is
    /// already translated, so the error about it is translated back like one that came from outside.
    fn unreachable(&mut self, cx: &mut Context<'_>, mut packet: Packet) {
        if let Ok(headers) = Headers::of(&packet) {
            let answers = tuple_of(&headers).map(Tuple::inverted);
            let flow = answers.and_then(|answers| self.connections.flows.find(&answers, Tick::at(cx.now)));
            let receiver = flow.map_or(headers.source, |(id, direction)| {
                self.connections.flows.get(id).translated(direction).destination
            });
            let error = IcmpError::HostUnreachable;
            if let Some(error) = self.icmp_error(cx, &mut packet, &headers, error, false, receiver) {
                self.originate(cx, Origin::HOST, error);
            }
        }
        self.discard(cx, packet, DropReason::NeighborFailed);
    }
}

/// A packet keeps its flow alive, and moves a connection on.
fn keep(
    flow: &mut Flow,
    direction: Direction,
    answered: bool,
    connection: &Connection,
    settings: &ConntrackSysctl,
    now: Tick,
) {
    if flow.tcp != connection.state {
        flow.shortcuts = [None; 2];
    }
    // A SYN that comes again and again would keep for ever what was decided for the first one.
    let knocks = flow.tcp == TcpState::SynSent && connection.state == TcpState::SynSent;
    flow.set_connection(connection);
    let number = flow.protocol();
    let proven = match number {
        protocol::TCP => flow.tcp == TcpState::Established,
        protocol::UDP => true,
        _ => false,
    };
    if answered && proven {
        flow.status |= status::ASSURED;
    }
    let expires = now.plus_seconds(timeout(settings, number, flow.tcp, flow.status));
    let renews = refreshes(flow.status, direction) && !knocks;
    flow.expires = if renews { expires } else { flow.expires.min(expires) };
}
