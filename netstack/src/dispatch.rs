//! Carries out what the pipeline decided: counts, begins or moves the flow, rewrites, sends.

use crate::{
    config::{interface::Scope, sysctl::ConntrackSysctl},
    counters::Counter,
    headers::{Fragment, Headers, protocol},
    interface::InterfaceId,
    outcome::{DropReason, Outcome},
    packet::Packet,
    pipeline::{Answer, Arrival, Decision, FlowPart, Found, Way},
    router::{Context, Router},
    stage::{
        arp,
        filter::{FlowState, FlowView, Marking, Trail},
        fragment, log, mss,
        tcp::{Connection, Effect, TcpState},
        track::{refreshes, timeout, tuple_of},
        translate,
    },
    table::{
        fib::{NextHop, source_on},
        flow::{Direction, Flow, FlowId, status},
        neighbor::{self, NeighborId},
        shortcut::{Course, ShortcutId},
        tick::{Tick, Ticks},
    },
    trace::{Silent, Trace},
};
use smoltcp::{
    time::Instant,
    wire::{EthernetAddress, Ipv4Address},
};

/// A packet that waits for the MAC address of its next hop.
pub struct Parked {
    /// The interface it came in on; `None`: made here.
    pub(crate) ingress: Option<InterfaceId>,
    egress: InterfaceId,
    pub(crate) packet: Packet,
}

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
        match origin.ingress {
            Some(_) => self.count_arrival(origin.link_broadcast, headers, decision.way),
            None => self.count_own(headers, decision.way),
        }
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
                if let Some(ingress) = origin.ingress {
                    self.log_martian(ingress, (headers.source, headers.destination), refusal.reason, cx.now);
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

    /// Writes what `log_martians` asks for.
    pub(crate) fn log_martian(
        &mut self,
        ingress: InterfaceId,
        addresses: (Ipv4Address, Ipv4Address),
        reason: DropReason,
        now: Instant,
    ) {
        log::martian(&self.config, ingress, addresses, reason, now, &mut self.log_bucket);
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
            if origin.ingress.is_none() && headers.fragment != Fragment::Whole {
                // One that was too long for a buffer.
                self.counted.count(Counter::IpFragCreates);
                self.counted.add(Counter::IpFragOKs, (headers.fragment == Fragment::First).into());
            }
            let (outcome, known) = self.send(cx, origin.ingress, hop.interface, address, packet);
            if let (Some(neighbor), Some(ingress)) = (known, origin.ingress) {
                self.keep_shortcut(decision, headers, ingress, hop, neighbor);
            }
            return outcome;
        }
        // Linux, too, first makes the segments that the sender asked for, and then the fragments of each.
        let ingress = origin.ingress;
        self.finish(cx, packet, |router, cx, packet| router.fragment(cx, ingress, packet, hop, address))
    }

    /// Sends a packet that is too long for its way in fragments.
    fn fragment(
        &mut self,
        cx: &mut Context<'_>,
        ingress: Option<InterfaceId>,
        packet: Packet,
        hop: NextHop,
        address: Ipv4Address,
    ) -> Outcome {
        let headers = match Headers::of(&packet) {
            Ok(headers) if headers.total_length > hop.mtu => headers,
            Ok(_) => return self.send(cx, ingress, hop.interface, address, packet).0,
            Err(reason) => return self.discard(cx, packet, reason),
        };
        let mut outcome = Outcome::Dropped(DropReason::NoBuffer);
        let mut complete = true;
        for piece in fragment::pieces(packet.bytes(), &headers, hop.mtu) {
            let Some(mut fragment) = cx.exchange.allocate() else {
                self.drops.count(DropReason::NoBuffer);
                complete = false;
                break;
            };
            if piece.write(&packet, &headers, &mut fragment) {
                self.counted.count(Counter::IpFragCreates);
                (outcome, _) = self.send(cx, ingress, hop.interface, address, fragment);
            } else {
                self.drops.count(DropReason::NoBuffer);
                complete = false;
                cx.exchange.recycle(fragment);
            }
        }
        // Of an own packet that was too long for a buffer, the fragments make one.
        if ingress.is_some() || headers.fragment != Fragment::Later {
            self.counted.count(if complete { Counter::IpFragOKs } else { Counter::IpFragFails });
        }
        cx.exchange.recycle(packet);
        outcome
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
        ingress: Option<InterfaceId>,
        egress: InterfaceId,
        address: Ipv4Address,
        packet: Packet,
    ) -> (Outcome, Option<NeighborId>) {
        match self.neighbors.resolve(egress, address, cx.now) {
            neighbor::Answer::Found(id, mac) => (self.transmit(cx, egress, mac, packet), Some(id)),
            neighbor::Answer::Pending(id) => {
                let further = packet.further_buffers();
                if let Some(displaced) = self.neighbors.park(id, Parked { ingress, egress, packet }, further)
                {
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

    /// Does what the neighbour table wants done. An error about a packet that waited in vain may wait itself and ask
    /// for more: the outermost call does that, too, so that nobody's packets can pile up calls.
    pub(crate) fn poll_neighbors(&mut self, cx: &mut Context<'_>) {
        if core::mem::replace(&mut self.polling_neighbors, true) {
            return;
        }
        while let Some(event) = self.neighbors.poll(cx.now) {
            match event {
                neighbor::Event::Ask { interface, address, to } => self.ask(cx, interface, address, to),
                neighbor::Event::Resolved(Parked { egress, packet, .. }, _, mac) => {
                    self.transmit(cx, egress, mac, packet);
                }
                neighbor::Event::Unreachable(parked) => self.unreachable(cx, parked),
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
            self.transmit_arp(cx, interface, to.unwrap_or(EthernetAddress::BROADCAST), packet);
        }
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
