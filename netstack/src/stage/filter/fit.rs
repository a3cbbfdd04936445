//! Whether one rule fits one packet.
//!
//! What is the same for every packet of a flow in one state is looked at first. Only where all of that fits may the
//! rest decide, and then the answer holds for this packet alone.

use super::{Candidate, FlowState, FlowView, Marking, Memory, Ruleset, Trail};
use crate::{
    config::{
        ipset::Sets,
        rules::{
            AddressType, AddressTypeMatch, ConntrackMatch, IcmpType, LimitInterface, Match, MultiportSide,
            Negatable, PacketType, PortRange, Rule, SetMatch, Target, state_bit,
        },
    },
    headers::{Fragment, Headers, Transport, tcp_flag},
    interface::InterfaceId,
    table::{
        fib::{Destination, Fib},
        groups::Groups,
    },
};
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// The packet with what many rules ask for found out once.
pub(super) struct Subject<'a> {
    pub(super) candidate: &'a Candidate<'a>,
    sets: &'a Sets,
    pub(super) memory: &'a Memory,
    pub(super) groups: &'a Groups,
    ingress: &'a str,
    egress: &'a str,
    ports: Option<(u16, u16)>,
    marking: &'a mut Marking,
}

impl<'a> Subject<'a> {
    pub(super) fn new(candidate: &'a Candidate<'a>, rules: Ruleset<'a>, marking: &'a mut Marking) -> Self {
        let name = |id: Option<InterfaceId>| {
            id.and_then(|id| candidate.interfaces.get(usize::from(id.0))).map_or("", |it| it.name.as_str())
        };
        let ports = match candidate.headers.transport {
            Transport::Tcp { source, destination, .. } | Transport::Udp { source, destination, .. } => {
                Some((source, destination))
            }
            _ => None,
        };
        let (ingress, egress) = (name(candidate.ingress), name(candidate.egress));
        let Ruleset { sets, memory, groups, .. } = rules;
        Self { candidate, sets, memory, groups, ingress, egress, ports, marking }
    }

    /// Does what a target does that changes the packet and lets it go on.
    pub(super) fn change(&mut self, target: &Target) {
        let tracked = self.is_tracked();
        self.marking.apply(target, tracked);
    }

    /// Whether the packet belongs to a flow.
    fn is_tracked(&self) -> bool {
        let stray = |flow: FlowView| matches!(flow.state, FlowState::Invalid | FlowState::Untracked);
        self.candidate.flow.is_some_and(|flow| !stray(flow))
    }

    /// The headers as they stand at this station.
    pub(super) fn headers(&self) -> &Headers {
        self.candidate.headers
    }

    /// Source and destination port.
    pub(super) fn ports(&self) -> Option<(u16, u16)> {
        self.ports
    }

    /// The name of the interface it came in on; empty for none.
    pub(super) fn ingress(&self) -> &str {
        self.ingress
    }

    /// The name of the interface it will leave by; empty for none.
    pub(super) fn egress(&self) -> &str {
        self.egress
    }

    /// Whether every part of `rule` fits; if not, the option that does not.
    ///
    /// Makes the trail unstable where another packet of the same flow in the same state might be judged otherwise.
    pub(super) fn fit(&self, rule: &Rule, effects: bool, trail: &mut Trail) -> Result<(), &'static str> {
        let headers = self.candidate.headers;
        let mut varies = rule.fragment.is_some();
        check(&rule.source, "-s", |net| net.contains_addr(&headers.source))?;
        check(&rule.destination, "-d", |net| net.contains_addr(&headers.destination))?;
        check(&rule.in_interface, "-i", |pattern| pattern.matches(self.ingress))?;
        check(&rule.out_interface, "-o", |pattern| pattern.matches(self.egress))?;
        check(&rule.protocol, "-p", |&protocol| protocol == headers.protocol)?;
        for wanted in &rule.matches {
            // What follows one that counts is asked only after that, as on Linux.
            if wanted.counts() {
                varies = true;
                break;
            }
            self.constant(wanted)?;
            varies |= self.varies(wanted);
        }
        if !varies {
            return Ok(());
        }
        trail.unstable = true;
        check(&rule.fragment, "-f", |()| headers.fragment == Fragment::Later)?;
        rule.matches.iter().try_for_each(|wanted| {
            self.constant(wanted)?;
            self.varying(wanted, effects, trail)
        })
    }

    /// The part of a match that is the same for every packet of a flow in one state.
    fn constant(&self, wanted: &Match) -> Result<(), &'static str> {
        match wanted {
            Match::Tcp { source, destination, flags } => {
                let Transport::Tcp { .. } = self.candidate.headers.transport else { return Err("-m tcp") };
                self.port_pair(source, destination)?;
                if self.varies(wanted) { Ok(()) } else { self.tcp_flags(flags) }
            }
            Match::Udp { source, destination } => {
                let Transport::Udp { .. } = self.candidate.headers.transport else { return Err("-m udp") };
                self.port_pair(source, destination)
            }
            Match::Icmp(kind) if !self.varies(wanted) => self.icmp(kind),
            Match::Multiport { which, ports } => {
                let Some((source, destination)) = self.ports else { return Err("-m multiport") };
                let listed = |port| ports.value.iter().any(|range| range.contains(port));
                let found = match which {
                    MultiportSide::Source => listed(source),
                    MultiportSide::Destination => listed(destination),
                    MultiportSide::Either => listed(source) || listed(destination),
                };
                require(ports.holds(found), "-m multiport")
            }
            Match::Conntrack(wanted) => {
                conntrack(wanted, self.candidate.flow.as_ref().filter(|_| !self.marking.untracked))
            }
            Match::Set(wish) if !self.varies(wanted) => self.set(wish),
            Match::Mark(wish) => require(wish.holds(wish.value.fits(self.marking.packet)), "--mark"),
            Match::ConnMark(wish) => {
                let found = wish.holds(wish.value.fits(self.marking.flow));
                require(found && self.is_tracked(), "--mark")
            }
            Match::AddressRange { source, destination } => {
                check(source, "--src-range", |range| range.contains(self.headers().source))?;
                check(destination, "--dst-range", |range| range.contains(self.headers().destination))
            }
            Match::AddressType(wish) => self.address_types(wish),
            // What takes the fast path is for this station alone.
            Match::PacketType(wish) => require(wish.holds(wish.value == self.packet_type()), "--pkt-type"),
            Match::Ttl(_) | Match::Dscp(_) | Match::Tos(_) | Match::Length(_) | Match::Statistic(_) => Ok(()),
            Match::Icmp(_)
            | Match::Set(_)
            | Match::Comment(_)
            | Match::Mac(_)
            | Match::Limit(_)
            | Match::Limiting(_) => Ok(()),
        }
    }

    /// Whether a match has a part that [`Subject::constant`] leaves open.
    fn varies(&self, wanted: &Match) -> bool {
        match wanted {
            // Of those that go the fast path, all have the same flags but for a few; what goes the slow one is judged
            // anew each time.
            Match::Tcp { flags: Some(flags), .. } => {
                let seen = self.candidate.headers.tcp_flags().unwrap_or(0);
                seen & tcp_flag::MOVING != tcp_flag::ACK || flags.value.0 & !tcp_flag::MOVING != 0
            }
            // The type of a query belongs to its flow; its code may be anything.
            Match::Icmp(kind) => {
                let query = matches!(self.candidate.headers.transport, Transport::IcmpQuery { .. });
                kind.value != IcmpType::ANY && !(query && kind.value.any_code())
            }
            Match::Set(wish) => {
                self.sets.get(&wish.value.name).is_some_and(|set| set.varies(self.candidate.headers))
            }
            Match::Mac(_)
            | Match::Limit(_)
            | Match::Statistic(_)
            | Match::Limiting(_)
            | Match::Ttl(_)
            | Match::Dscp(_)
            | Match::Tos(_)
            | Match::Length(_) => true,
            _ => false,
        }
    }

    /// The part of a match that differs from packet to packet, or has an effect.
    fn varying(&self, wanted: &Match, effects: bool, trail: &mut Trail) -> Result<(), &'static str> {
        match wanted {
            Match::Tcp { flags, .. } => self.tcp_flags(flags),
            Match::Icmp(kind) => self.icmp(kind),
            Match::Mac(mac) => {
                let Some(source) = self.candidate.frame.get(6..12) else { return Err("--mac-source") };
                require(mac.holds(source == mac.value.as_bytes()), "--mac-source")
            }
            Match::Set(wish) => self.set(wish),
            Match::Ttl(wish) => require(wish.fits(self.marking.ttl), "--ttl-eq, --ttl-lt, --ttl-gt"),
            Match::Dscp(wish) => require(wish.holds(self.marking.tos >> 2 == wish.value), "--dscp"),
            Match::Tos(wish) => require(wish.holds(wish.value.fits(self.marking.tos)), "--tos"),
            Match::Length(wish) => {
                require(wish.holds(wish.value.contains(self.headers().total_length)), "--length")
            }
            Match::Statistic(statistic) => {
                require(statistic.admit(self.candidate.now, effects), "-m statistic")
            }
            Match::Limiting(limiting) => self.limiting(limiting, effects, trail),
            Match::Limit(limit) => require(limit.admit(self.candidate.now, effects), "--limit"),
            _ => Ok(()),
        }
    }

    fn tcp_flags(&self, wish: &Option<Negatable<(u8, u8)>>) -> Result<(), &'static str> {
        let seen = self.candidate.headers.tcp_flags().unwrap_or(0);
        check(wish, "--tcp-flags", |(mask, set)| seen & mask == *set)
    }

    fn set(&self, wish: &Negatable<SetMatch>) -> Result<(), &'static str> {
        let set = self.sets.get(&wish.value.name);
        let found = set.is_some_and(|set| set.contains(self.candidate.headers, &wish.value.sources));
        require(wish.holds(found), "--match-set")
    }

    fn port_pair(
        &self,
        source: &Option<Negatable<PortRange>>,
        destination: &Option<Negatable<PortRange>>,
    ) -> Result<(), &'static str> {
        let Some(ports) = self.ports else { return Err("--sport, --dport") };
        check(source, "--sport", |range| range.contains(ports.0))?;
        check(destination, "--dport", |range| range.contains(ports.1))
    }

    fn address_types(&self, wish: &AddressTypeMatch) -> Result<(), &'static str> {
        let limit = match wish.limit {
            None => None,
            Some(LimitInterface::In) => self.candidate.ingress,
            Some(LimitInterface::Out) => self.candidate.egress,
        };
        let kind = |address| address_type(self.candidate.fib, address, limit);
        check(&wish.source, "--src-type", |types| types.contains(kind(self.headers().source)))?;
        check(&wish.destination, "--dst-type", |types| types.contains(kind(self.headers().destination)))
    }

    /// Whom the frame was for; what the router itself sends counts as unicast.
    fn packet_type(&self) -> PacketType {
        match self.candidate.frame.first_chunk::<6>() {
            Some([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) => PacketType::Broadcast,
            Some([first, ..]) if first & 1 != 0 => PacketType::Multicast,
            _ => PacketType::Unicast,
        }
    }

    fn icmp(&self, wanted: &Negatable<IcmpType>) -> Result<(), &'static str> {
        let Some((kind, code)) = self.candidate.headers.icmp() else { return Err("--icmp-type") };
        require(wanted.holds(wanted.value.contains(kind, code)), "--icmp-type")
    }
}

/// What an address is to the router, or to one of its interfaces (Linux: inet_dev_addr_type).
fn address_type(fib: &Fib, address: Ipv4Address, limit: Option<InterfaceId>) -> AddressType {
    let meant = |interface| limit.is_none_or(|limit| limit == interface);
    match fib.lookup(address) {
        _ if address.octets()[0] == 0 || address.is_broadcast() => AddressType::Broadcast,
        _ if address.is_multicast() => AddressType::Multicast,
        Destination::Local { interface } if meant(interface) => AddressType::Local,
        Destination::Broadcast { interface } if interface.is_none_or(meant) => AddressType::Broadcast,
        _ => AddressType::Unicast,
    }
}

/// Whether a packet of this flow, or of none, fits `-m conntrack` (Linux: net/netfilter/xt_conntrack.c).
fn conntrack(wanted: &ConntrackMatch, flow: Option<&FlowView>) -> Result<(), &'static str> {
    let flow = flow.filter(|flow| flow.state != FlowState::Untracked);
    let mut state = match flow.map(|flow| flow.state) {
        None | Some(FlowState::Untracked) => state_bit::UNTRACKED,
        Some(FlowState::Invalid) => state_bit::INVALID,
        Some(FlowState::New) => state_bit::NEW,
        Some(FlowState::Established) => state_bit::ESTABLISHED,
        Some(FlowState::Related) => state_bit::RELATED,
    };
    let flow = flow.filter(|flow| flow.state != FlowState::Invalid);
    if let Some(flow) = flow {
        state |= if flow.source_translated { state_bit::SNAT } else { 0 };
        state |= if flow.destination_translated { state_bit::DNAT } else { 0 };
    }
    check(&wanted.states, "--ctstate", |states| states & state != 0)?;
    // A packet without a flow has no more to be asked for; it fits where its state was asked for.
    let Some(flow) = flow else { return require(wanted.states.is_some(), "-m conntrack") };

    let net = |wish: &Option<Negatable<Ipv4Cidr>>, option, address: Ipv4Address| {
        check(wish, option, |net| net.contains_addr(&address))
    };
    let port = |wish: &Option<Negatable<PortRange>>, option, port: u16| {
        check(wish, option, |range| range.contains(port))
    };
    let (original, reply) = (flow.original, flow.reply);
    require(wanted.direction_original.is_none_or(|it| it == flow.original_direction), "--ctdir")?;
    net(&wanted.original_source, "--ctorigsrc", original.0)?;
    net(&wanted.original_destination, "--ctorigdst", original.2)?;
    net(&wanted.reply_source, "--ctreplsrc", reply.0)?;
    net(&wanted.reply_destination, "--ctrepldst", reply.2)?;
    check(&wanted.protocol, "--ctproto", |&protocol| protocol == flow.protocol)?;
    port(&wanted.original_source_port, "--ctorigsrcport", original.1)?;
    port(&wanted.original_destination_port, "--ctorigdstport", original.3)?;
    port(&wanted.reply_source_port, "--ctreplsrcport", reply.1)?;
    port(&wanted.reply_destination_port, "--ctrepldstport", reply.3)
}

/// Whether a wish, if there is one, is granted.
#[inline]
fn check<T>(
    wish: &Option<Negatable<T>>,
    option: &'static str,
    found: impl FnOnce(&T) -> bool,
) -> Result<(), &'static str> {
    match wish {
        Some(wish) => require(wish.holds(found(&wish.value)), option),
        None => Ok(()),
    }
}

#[inline]
fn require(holds: bool, option: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(option) }
}
