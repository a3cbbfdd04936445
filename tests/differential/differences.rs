//! Where rutter means to differ from Linux, each with its reason. Nothing else is forgiven.

use crate::{
    scenario::{Network, Scenario},
    sides::{Record, is_made_here},
    traffic,
};
use netstack::outcome::{DropReason, Outcome};
use smoltcp::wire::Ipv4Address;
use tests::{
    datagram::{
        Body, Datagram, Endpoint,
        flag::{ACK, FIN, RST, SYN},
    },
    network::{OWN, SECOND_WAN_SIDE},
};

/// A difference that is meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Difference {
    /// A packet that belongs to no flow cannot be translated. Linux sends it on with its inner source where a rule
    /// would have translated it; rutter lets nothing with an inner source leave (requirement 29).
    UntrackedStaysInside,
    /// A packet whose new destination is on the wire that it came from leaves with the outer source, so that the
    /// answer comes back here (RFC 4787 REQ-9, requirement 22). Linux needs a rule for it.
    TurnsRoundWithOuterSource,
    /// An inner host that speaks to the outer endpoint of another's mapping reaches it (RFC 4787 REQ-9,
    /// requirement 22). Linux takes it for a packet to itself.
    ReachesMappingFromInside,
    /// A stranger's packet to the outer endpoint of a mapping gets no answer: the inner host may just be opening
    /// towards that stranger (RFC 5382 REQ-4, requirement 24). In Linux the port is closed.
    MappingStaysSilent,
    /// A packet that is dropped leaves no trace in its flow. In Linux a reply that a rule or a route drops still makes its
    /// flow ESTABLISHED, because tracking comes before them.
    DroppedPacketTeachesNothing,
    /// REJECT answers packets of protocols that it does not know. Linux looks for an Internet checksum over their
    /// payload, finds none that is right, and stays silent.
    RejectsUnknownProtocols,
    /// Ports that a rule forwards are not handed out to translated sources (requirement 31), so none is left where all of their
    /// kind are forwarded, the privileged ones or the others. Linux hands them out.
    ForwardedPortsAreNotHandedOut,
    /// REJECT answers packets whose transport checksum is wrong, too: it is not verified in transit. Linux stays silent.
    RejectsWrongChecksums,
    /// A packet that nobody here listens to is refused, and leaves no flow behind. In Linux it does, so that the next
    /// one is not asked about in the table nat.
    KnockLeavesNoFlow,
    /// The reset of `--reject-with tcp-reset` does not pass the table nat. In Linux it is counted there.
    ResetPassesNoNat,
    /// A router need not answer timestamp requests (RFC 1812 4.3.3.8).
    TimestampUnanswered,
    /// REJECT quotes the packet as it came (RFC 1812 4.3.2.3). Linux has lowered its TTL by then.
    QuotesTheTtlThatCame,
    /// Nor does an error quote, or answer with, what rules have written into its header before.
    QuotesTheHeaderThatCame,
    /// So do errors about a SYN whose maximum segment size was lowered, or given to it.
    QuotesTheSizeThatCame,
    /// Fragments pass one by one, and are counted one by one. Linux's tracking puts them together first.
    CountsFragments,
    /// Their lengths are asked for one by one. Linux asks for that of what it has put together.
    JudgesTheLengthOfFragments,
    /// An error about a fragment quotes that fragment (RFC 1812 4.3.2.3), where Linux quotes what it has put together.
    QuotesTheFragment,
    /// A source route ends a packet before any rule sees it (RFC 7126 4.3). In Linux PREROUTING counts it first.
    DropsSourceRoutes,
    /// Options that cannot be parsed end a packet in silence, as anything else that is wrong with its header does. In Linux
    /// PREROUTING counts it first, and its sender is told.
    DropsBadOptions,
    /// Routes and times are not recorded: a packet with these options goes on as if it had none (RFC 7126 4.5.5, 4.6.5). In
    /// Linux each router writes down its address.
    RecordsNoRoute,
    /// What stands in options that the router does not act upon is not looked into. Linux checks some of them, and tells their
    /// sender what is wrong.
    PassesOptionsUnread,
    /// A rule behind TCPMSS counts a segment with the length that it came with. In Linux an added option counts already.
    CountsTheLengthThatCame,
    /// A reset that does not hit the awaited number ends a connection if it acknowledges exactly what its end did last, and else
    /// leaves its state as it was; one that answers a SYN has to acknowledge it (RFC 9293 3.10.7.3, RFC 5961 3.2). Linux
    /// remembers what was sent last, and believes more before a connection is established.
    JudgesResetsByTheirAcknowledgment,
    /// A reset that hits the awaited number ends a connection, whatever it acknowledges: its receiver asks for no more (RFC 9293
    /// 3.10.7.4). Linux calls it INVALID where it acknowledges what was never sent.
    BelievesExactResets,
    /// Windows are remembered as powers of two, so what acknowledges a little more than was sent passes and belongs to its
    /// connection (docs/decisions.md). Linux calls it INVALID.
    WindowsArePowersOfTwo,
    /// Where the source cannot be right nobody is told that there is no route (requirement 9). Linux looks for a route first.
    ChecksSourcesFirst,
    /// The MTU of a route lowers that of its interface, and never raises it. Linux believes the route.
    RoutesOnlyLowerTheMtu,
    /// Whoever sent a SYN may reset an older connection of the same ports that answers it: the numbers of that one are known to
    /// nobody here. Linux knows only those of the answer that came last.
    ResetsAnOlderConnection,
    /// The handshake ends with an ACK that acknowledges its second half; another one is INVALID, also with
    /// `nf_conntrack_tcp_be_liberal`. Linux lets it lag, and if it is liberal be anything.
    HandshakeEndsWithItsAnswer,
    /// `nf_conntrack_tcp_be_liberal` does not let resets out of window pass, as its description says. Linux lets those pass that
    /// are ahead.
    ResetsAreGivenNoFreedom,
    /// The reset that says that nobody listens has no type of service. In Linux it has that of the segment, as rules left it.
    ResetsHaveNoTypeOfService,
    /// What the router itself says has no options. Linux sends back those of the packet that it answers.
    AnswersWithoutOptions,
    /// Rules of raw and mangle see the port that a translation picked, and neither owes the other the same one.
    EarlyRulesSeePickedPorts,
    /// What answers a packet whose source was translated where it was delivered is asked about in OUTPUT with the interface that it leaves
    /// by. Linux asks with the one that leads to the translated source.
    AnswersAreAskedAboutWhereTheyLeave,
    /// A flow that is translated and whose packets now leave by another interface begins anew, and so does one that a rule now translates
    /// where it leaves (requirements 29 and 30). Linux goes on with the source that the flow had; where that is masqueraded, it drops a
    /// packet first.
    MovedFlowsBeginAnew,
    /// Whether a gateway can be reached is asked of the table that its route is for. In Linux the routing rules have a say, and may
    /// refuse it.
    GatewaysAreLookedUpInTheirTable,
    /// What the router itself says meets the rules of OUTPUT before its route is known, and is counted there, too, where none leads out.
    /// In Linux it is never made.
    OutputComesBeforeTheRoute,
    /// The answer to a SYN has to acknowledge it, also with `nf_conntrack_tcp_be_liberal` (RFC 9293 3.10.7.3). Linux then lets any pass
    /// for it.
    AnswersAcknowledgeTheSyn,
    /// An error about a packet whose destination was translated comes from an address of the router (RFC 1812
    /// 4.3.2.4), by the way that has this address, and is judged by it. Linux translates it as if the final destination had sent it.
    ErrorComesFromTheRouter,
}

impl Difference {
    /// The difference that explains why these two did not do the same; `None`: none does. `earlier` is what
    /// happened in rutter before.
    pub fn find(scenario: &Scenario, linux: &Record, rutter: &Record, earlier: &[Record]) -> Option<Self> {
        let asks = |what: &str| scenario.lines().any(|line| line.contains(what));
        let routes = |line: &str| line.starts_with("ip route") && line.contains(" via ");
        if (linux.changed, rutter.changed) == (Some(false), Some(true))
            && scenario.change(rutter.id).is_some_and(routes)
            && asks("ip rule add")
        {
            return Some(Self::GatewaysAreLookedUpInTheirTable);
        }
        let (port, sent) = rutter.sent.as_ref()?;
        let (in_linux, in_rutter) = (linux.passed_on(), rutter.passed_on());
        let to_itself = is_own(sent.destination);
        if begins_anew(sent, in_linux, in_rutter, earlier) {
            return Some(Self::MovedFlowsBeginAnew);
        }
        if let Some(Outcome::Dropped(DropReason::NatUntracked)) = rutter.outcome
            && in_linux.is_some()
        {
            return Some(Self::UntrackedStaysInside);
        }
        if follows_a_dropped_packet(sent, earlier) {
            return Some(Self::DroppedPacketTeachesNothing);
        }
        if rutter.outcome == Some(Outcome::Dropped(DropReason::NatFiltered)) && in_linux.is_none() {
            return Some(Self::MappingStaysSilent);
        }
        if sent.icmp_type() == Some((13, 0)) && to_itself && rutter.left.is_empty() {
            return Some(Self::TimestampUnanswered);
        }
        if let Some(difference) = Self::about_options(rutter) {
            return Some(difference);
        }
        // An INVALID one is for the router itself, where it is for a translated source.
        let to_a_mapping = rutter.outcome == Some(Outcome::Dropped(DropReason::NatFiltered));
        if let Some(difference) = Self::about_resets(sent, earlier)
            && (in_rutter.is_some()
                || in_linux.is_some() && to_itself
                || to_a_mapping
                || difference == Self::ResetsAnOlderConnection)
        {
            return Some(difference);
        }
        if rutter.outcome == Some(Outcome::Dropped(DropReason::PortsExhausted))
            && forwards_all_ports(scenario)
        {
            return Some(Self::ForwardedPortsAreNotHandedOut);
        }
        if is_little_ahead(sent, earlier) && in_rutter.is_some() {
            return Some(Self::WindowsArePowersOfTwo);
        }
        let told = linux.left.iter().any(|(_, frame)| frame.datagram().is_some_and(Datagram::is_icmp_error));
        if rutter.outcome == Some(Outcome::Dropped(DropReason::ReversePath)) && told && in_linux.is_none() {
            return Some(Self::ChecksSourcesFirst);
        }
        if scenario.network == Network::SmallMtu
            && asks("mtu 1300")
            && (is_syn(sent) || sent.bytes().len() > 1280)
        {
            return Some(Self::RoutesOnlyLowerTheMtu);
        }
        let liberal = asks("tcp_be_liberal=1");
        if liberal && in_linux.is_some() && is_inexact_reset(sent, earlier) {
            return Some(Self::ResetsAreGivenNoFreedom);
        }
        if misses_the_answer(sent, earlier, liberal) {
            return Some(Self::HandshakeEndsWithItsAnswer);
        }
        let counts = ["-m limit", "-m statistic", "-m hashlimit", "-m recent"].into_iter().any(asks);
        let counted_fragments = earlier.iter().any(|it| it.fragmented && it.passed_on().is_some());
        if counts && (rutter.fragmented || counted_fragments) {
            return Some(Self::CountsFragments);
        }
        if counts && let Some(difference) = earlier.iter().find_map(Self::about_options) {
            return Some(difference);
        }
        if rutter.fragmented && asks("-m length") {
            return Some(Self::JudgesTheLengthOfFragments);
        }
        // Linux does not see that the knock was answered.
        if asks("raw -A OUTPUT") && follows_a_knock(sent, earlier) {
            return Some(Self::KnockLeavesNoFlow);
        }
        // Router alert has four bytes (RFC 2113).
        if matches!(sent.options[..], [148, length, ..] if length != 4) {
            return Some(Self::PassesOptionsUnread);
        }
        // A reset in the name of an inner host, where a rule would translate that.
        if rutter.outcome == Some(Outcome::Dropped(DropReason::FirewallReject))
            && rutter.left.is_empty()
            && let [(_, reset)] = &linux.left[..]
            && let Some(reset) = reset.datagram()
            && is_reset(reset)
            && reset.source() == sent.destination()
            && !is_own(reset.source)
            && (asks("SNAT") || asks("MASQUERADE"))
        {
            return Some(Self::UntrackedStaysInside);
        }
        if linux.left.is_empty()
            && let Some(difference) = Self::about_rejects(rutter)
        {
            return Some(difference);
        }
        if let ([(their_card, theirs)], [(our_card, ours)]) = (&linux.left[..], &rutter.left[..])
            && let (Some(theirs), Some(ours)) = (theirs.datagram(), ours.datagram())
            && theirs.is_icmp_error()
            && theirs.icmp_type() == ours.icmp_type()
            && theirs.source == sent.destination
            && is_own(ours.source)
            && their_card != our_card
            && asks("ip rule add")
        {
            return Some(Self::ErrorComesFromTheRouter);
        }
        let only_one_answers = linux.left.is_empty() != rutter.left.is_empty();
        let judges_answers =
            scenario.lines().any(|line| line.contains(" OUTPUT") && !line.contains("iptables -t "));
        if only_one_answers && judges_answers && to_itself && in_linux.is_none() && in_rutter.is_none() {
            return Some(Self::ErrorComesFromTheRouter);
        }
        let differs_in_port =
            linux.sent.as_ref().is_some_and(|(_, it)| it.destination() != sent.destination());
        if differs_in_port && rules_before_translation_ask_for_ports(scenario) {
            return Some(Self::EarlyRulesSeePickedPorts);
        }
        if only_one_answers
            && in_linux.is_none()
            && in_rutter.is_none()
            && answers_change_interfaces(scenario)
        {
            return Some(Self::AnswersAreAskedAboutWhereTheyLeave);
        }
        match (in_linux, in_rutter) {
            (Some((_, theirs)), Some((out, ours)))
                if to_itself
                    && out == *port
                    && ours.source == sent.destination
                    && theirs.source == sent.source =>
            {
                Some(Self::TurnsRoundWithOuterSource)
            }
            (None, Some((_, ours))) if to_itself && !is_own(ours.destination) => {
                Some(Self::ReachesMappingFromInside)
            }
            _ => None,
        }
    }

    /// Whether rutter refuses a packet about which Linux stays silent.
    fn about_rejects(rutter: &Record) -> Option<Self> {
        let (_, sent) = rutter.sent.as_ref()?;
        match rutter.outcome? {
            Outcome::Dropped(DropReason::FirewallReject) if !sent.checksums_are_right() => {
                Some(Self::RejectsWrongChecksums)
            }
            Outcome::Dropped(DropReason::FirewallReject) if matches!(sent.body, Body::Other { .. }) => {
                Some(Self::RejectsUnknownProtocols)
            }
            // Linux's sum is wrong after it has written down its address.
            Outcome::Dropped(DropReason::FirewallReject) if records(&sent.options) => {
                Some(Self::RecordsNoRoute)
            }
            _ => None,
        }
    }

    fn about_resets(sent: &Datagram, earlier: &[Record]) -> Option<Self> {
        if resets_before_an_answer(sent, earlier) {
            Some(Self::ResetsAnOlderConnection)
        } else if is_inexact_reset(sent, earlier) {
            Some(Self::JudgesResetsByTheirAcknowledgment)
        } else if acknowledges_what_was_not_sent(sent, earlier) {
            Some(Self::BelievesExactResets)
        } else {
            None
        }
    }

    fn about_options(rutter: &Record) -> Option<Self> {
        match rutter.outcome? {
            Outcome::Dropped(DropReason::SourceRoute) => Some(Self::DropsSourceRoutes),
            Outcome::Dropped(DropReason::IpOptions) => Some(Self::DropsBadOptions),
            _ => None,
        }
    }

    /// The difference that explains why other numbers of packets were counted although `record` agrees. `earlier` is
    /// what happened in rutter before.
    pub fn in_counters(scenario: &Scenario, record: &Record, earlier: &[Record]) -> Option<Self> {
        if let Some((_, sent)) = &record.sent
            && follows_a_dropped_packet(sent, earlier)
        {
            return Some(Self::DroppedPacketTeachesNothing);
        }
        if let Some((_, sent)) = &record.sent
            && sent.icmp_type() == Some((13, 0))
            && is_own(sent.destination)
        {
            return Some(Self::TimestampUnanswered);
        }
        if let Some((_, sent)) = &record.sent
            && record.passed_on().is_none()
            && way_before_a_change(sent, earlier).is_some_and(|(_, source)| source != sent.source())
        {
            return Some(Self::MovedFlowsBeginAnew);
        }
        if record.fragmented {
            return Some(Self::CountsFragments);
        }
        if let Some(difference) = Self::about_options(record) {
            return Some(difference);
        }
        // An answer that a rule of OUTPUT dropped was counted there.
        if record.left.is_empty()
            && let Some(difference) = Self::about_rejects(record)
        {
            return Some(difference);
        }
        if let Some((_, sent)) = &record.sent {
            if !sent.options.is_empty() && record.passed_on().is_none() {
                return Some(Self::AnswersWithoutOptions);
            }
            if is_bare_syn(sent) {
                return Some(Self::CountsTheLengthThatCame);
            }
            if let Some(difference) = Self::about_resets(sent, earlier) {
                return Some(difference);
            }
        }
        let resets = record.left.iter().any(|(_, frame)| frame.datagram().is_some_and(is_reset));
        if let Some((_, sent)) = &record.sent {
            let (_, port) = sent.destination();
            let picked = matches!(sent.protocol(), 6 | 17) && !traffic::is_said(port);
            if picked && rules_before_translation_ask_for_ports(scenario) {
                return Some(Self::EarlyRulesSeePickedPorts);
            }
        }
        match record.outcome? {
            Outcome::Delivered if answers_change_interfaces(scenario) => {
                Some(Self::AnswersAreAskedAboutWhereTheyLeave)
            }
            Outcome::Dropped(DropReason::PortsExhausted) if forwards_all_ports(scenario) => {
                Some(Self::ForwardedPortsAreNotHandedOut)
            }
            _ if record.left.is_empty() && own_packets_may_find_no_route(scenario) => {
                Some(Self::OutputComesBeforeTheRoute)
            }
            Outcome::Dropped(DropReason::NoListener) => Some(Self::KnockLeavesNoFlow),
            Outcome::Dropped(DropReason::NatFiltered) => Some(Self::MappingStaysSilent),
            Outcome::Dropped(DropReason::ReversePath)
                if record.sent.as_ref().is_some_and(|(_, sent)| traffic::is_nowhere(sent.destination)) =>
            {
                Some(Self::ChecksSourcesFirst)
            }
            Outcome::Dropped(DropReason::FirewallReject) if resets => Some(Self::ResetPassesNoNat),
            _ => None,
        }
    }

    /// The difference that explains why other flows are tracked in the end although `record` agrees.
    pub fn in_flows(scenario: &Scenario, record: &Record, earlier: &[Record]) -> Option<Self> {
        if let Some((_, sent)) = &record.sent
            && matches!(record.outcome, Some(Outcome::Forwarded(_)))
        {
            if let Some(difference) = Self::about_resets(sent, earlier) {
                return Some(difference);
            }
            let liberal = scenario.lines().any(|line| line.contains("tcp_be_liberal=1"));
            if liberal && is_syn(sent) && unsent(sent, earlier).is_some_and(|bytes| bytes != 0) {
                return Some(Self::AnswersAcknowledgeTheSyn);
            }
            if !is_syn(sent) && is_little_ahead(sent, earlier) {
                return Some(Self::WindowsArePowersOfTwo);
            }
            if misses_the_answer(sent, earlier, liberal) {
                return Some(Self::HandshakeEndsWithItsAnswer);
            }
        }
        match record.outcome? {
            Outcome::Dropped(_) => Some(Self::DroppedPacketTeachesNothing),
            // The router's answer was dropped.
            Outcome::Delivered if record.left.is_empty() => Some(Self::DroppedPacketTeachesNothing),
            _ => None,
        }
    }

    /// Makes alike what is meant to differ within two packets that the routers made themselves because of `sent`.
    pub fn reconcile(
        sent: &Datagram,
        fragmented: bool,
        linux: &mut Datagram,
        rutter: &mut Datagram,
    ) -> Vec<Self> {
        let mut found = Vec::new();
        let made_here = is_made_here(sent, linux) || linux.destination == sent.source;
        if linux.options != rutter.options && made_here && rutter.options.is_empty() {
            linux.options.clear();
            found.push(Self::AnswersWithoutOptions);
        }
        if is_made_here(sent, linux) && rutter.protocol() == 6 && rutter.tos == 0 && linux.tos != 0 {
            linux.tos = 0;
            found.push(Self::ResetsHaveNoTypeOfService);
        }
        if linux.options != rutter.options && records(&sent.options) && rutter.options == sent.options {
            linux.options.clone_from(&rutter.options);
            found.push(Self::RecordsNoRoute);
        }
        if !is_made_here(sent, linux) || !linux.is_icmp_error() || linux.icmp_type() != rutter.icmp_type() {
            return found;
        }
        if linux.source != rutter.source && linux.source == sent.destination && is_own(rutter.source) {
            linux.source = rutter.source;
            found.push(Self::ErrorComesFromTheRouter);
        }
        // An error has the type of service of what it is about, but for its precedence (RFC 1812 4.3.2.5).
        if let (Some(theirs), Some(ours)) = (linux.quoted(), rutter.quoted())
            && ours.tos == sent.tos
            && theirs.tos != ours.tos
            && (linux.tos, rutter.tos) == (theirs.tos & 0x1e | 0xc0, ours.tos & 0x1e | 0xc0)
        {
            linux.tos = rutter.tos;
            found.push(Self::QuotesTheHeaderThatCame);
        }
        let (lowered, original) = (sent.clone().ttl(sent.ttl.wrapping_sub(1)), sent);
        if let (Body::Icmp { payload: theirs, .. }, Body::Icmp { payload: ours, .. }) =
            (&mut linux.body, &rutter.body)
        {
            if fragmented && theirs != ours {
                theirs.clone_from(ours);
                found.push(Self::QuotesTheFragment);
            }
            let length = theirs.len().min(ours.len());
            if theirs != ours && *theirs == lowered.quote(length) && *ours == original.quote(length) {
                theirs.clone_from(ours);
                found.push(Self::QuotesTheTtlThatCame);
            }
            let written = sent.clone().but(|it| (it.tos, it.ttl) = (theirs[1], theirs[8]));
            if theirs != ours && *theirs == written.quote(length) && *ours == original.quote(length) {
                theirs.clone_from(ours);
                found.push(Self::QuotesTheHeaderThatCame);
            }
            if theirs != ours && records(&sent.options) && *ours == original.quote(ours.len()) {
                theirs.clone_from(ours);
                found.push(Self::RecordsNoRoute);
            }
            if theirs != ours && is_syn(sent) && *ours == original.quote(ours.len()) {
                theirs.clone_from(ours);
                found.push(Self::QuotesTheSizeThatCame);
            }
        }
        found
    }
}

/// Whether a rule of raw or mangle looks at ports.
fn rules_before_translation_ask_for_ports(scenario: &Scenario) -> bool {
    let early = |line: &str| line.contains("-t raw ") || line.contains("-t mangle ");
    let ports = |line: &str| line.contains("port") || line.contains("--match-set services ");
    scenario.lines().any(|line| early(line) && ports(line))
}

/// Whether sources are translated where packets are delivered, and a rule asks for the interface that a packet leaves by.
fn answers_change_interfaces(scenario: &Scenario) -> bool {
    let has = |what: &[&str]| scenario.lines().any(|line| what.iter().all(|word| line.contains(word)));
    has(&["-t nat -A INPUT", "SNAT"]) && has(&[" -o "])
}

/// How the last one like `packet` left that was sent before a change: its card and its source.
fn way_before_a_change(packet: &Datagram, earlier: &[Record]) -> Option<(usize, Endpoint)> {
    let ends = |it: &Datagram| (it.protocol(), it.source(), it.destination());
    let change = earlier.iter().rposition(|record| record.changed == Some(true))?;
    earlier[..change].iter().rev().find_map(|record| {
        record.sent.as_ref().filter(|(_, sent)| ends(sent) == ends(packet))?;
        record.passed_on().map(|(port, left)| (port, left.source()))
    })
}

/// Whether the flow of `packet` left otherwise before a change, and was translated then or is now.
fn begins_anew(
    packet: &Datagram,
    in_linux: Option<(usize, &Datagram)>,
    in_rutter: Option<(usize, &Datagram)>,
    earlier: &[Record],
) -> bool {
    let Some((port, source)) = way_before_a_change(packet, earlier) else { return false };
    let translated = |source: Endpoint| source != packet.source();
    let moved =
        |(now, left): (usize, &Datagram)| now != port && (translated(source) || translated(left.source()));
    in_linux.is_some_and(moved)
        || in_rutter.is_some_and(moved)
        || !translated(source) && in_rutter.is_some_and(|(_, left)| translated(left.source()))
}

/// Whether `packet` is a reset by the end that sent a SYN, before the other one has agreed.
fn resets_before_an_answer(packet: &Datagram, earlier: &[Record]) -> bool {
    let ends = |it: &Datagram| (it.source(), it.destination());
    let passed =
        || earlier.iter().filter_map(|record| Some((&record.sent.as_ref()?.1, record.passed_on()?.1)));
    let began = passed().any(|(sent, _)| sent.protocol() == 6 && ends(sent) == ends(packet));
    let answered =
        passed().any(|(_, left)| is_syn(left) && ends(left) == (packet.destination(), packet.source()));
    is_reset(packet) && began && !answered
}

fn is_syn(packet: &Datagram) -> bool {
    matches!(packet.body, Body::Tcp { flags, .. } if flags & SYN != 0)
}

/// Whether a rule forwards all ports of a kind, the privileged ones or the others.
fn forwards_all_ports(scenario: &Scenario) -> bool {
    scenario.lines().any(|line| {
        let all = line.contains("--dport 1:1023") || line.contains("--dport 1024:65535");
        all && (line.contains("DNAT") || line.contains("REDIRECT"))
    })
}

/// Whether a routing rule refuses packets, and a rule of OUTPUT in raw or mangle may have counted them before.
fn own_packets_may_find_no_route(scenario: &Scenario) -> bool {
    let kinds = ["blackhole", "unreachable", "prohibit"];
    let refuses =
        |line: &str| line.starts_with("ip rule add") && kinds.iter().any(|kind| line.contains(kind));
    let counts =
        |line: &str| line.contains(" OUTPUT") && (line.contains("-t raw") || line.contains("-t mangle"));
    scenario.lines().any(refuses) && scenario.lines().any(counts)
}

fn is_reset(packet: &Datagram) -> bool {
    matches!(packet.body, Body::Tcp { flags, .. } if flags & RST != 0)
}

/// Whether it is a SYN that says nothing of the segments that its sender takes.
fn is_bare_syn(packet: &Datagram) -> bool {
    is_syn(packet) && matches!(&packet.body, Body::Tcp { options, .. } if options.is_empty())
}

/// Whether `packet` is a reset with another number than the other end has asked for last, or the refusal of a SYN that does
/// not acknowledge it.
fn is_inexact_reset(packet: &Datagram, earlier: &[Record]) -> bool {
    let Body::Tcp { flags, sequence, acknowledgment, .. } = packet.body else { return false };
    let ends = |it: &Datagram| (it.source(), it.destination());
    let (own, other) = (ends(packet), (packet.destination(), packet.source()));
    let passed = || earlier.iter().rev().filter_map(|record| record.passed_on()).map(|(_, left)| left);
    let numbers = |of: &Datagram| match of.body {
        Body::Tcp { flags, sequence, acknowledgment, .. } => Some((flags, sequence, acknowledgment)),
        _ => None,
    };
    let heard = || passed().filter(|left| ends(left) == other).filter_map(numbers);
    let has_agreed =
        earlier.iter().filter_map(|it| it.sent.as_ref()).any(|(_, sent)| is_syn(sent) && ends(sent) == own);
    let exact = match has_agreed {
        true => heard().find(|(flags, ..)| flags & ACK != 0).is_some_and(|(_, _, asked)| asked == sequence),
        false => {
            let syn = heard().find(|(flags, ..)| flags & SYN != 0);
            flags & ACK != 0 && syn.is_some_and(|(_, syn, _)| acknowledgment == syn.wrapping_add(1))
        }
    };
    flags & RST != 0 && !exact
}

/// Whether `packet` is a reset that acknowledges more than the other end has said.
fn acknowledges_what_was_not_sent(packet: &Datagram, earlier: &[Record]) -> bool {
    is_reset(packet) && unsent(packet, earlier).is_some_and(|bytes| bytes > 0)
}

/// Whether `packet` acknowledges more than the other end has said, but less than a window.
fn is_little_ahead(packet: &Datagram, earlier: &[Record]) -> bool {
    !is_reset(packet) && unsent(packet, earlier).is_some_and(|bytes| (1..1 << 16).contains(&bytes))
}

/// How many bytes `packet` acknowledges that the other end has not said; `None` where it acknowledges nothing, or nobody spoke.
fn unsent(packet: &Datagram, earlier: &[Record]) -> Option<i32> {
    let Body::Tcp { flags, acknowledgment, .. } = packet.body else { return None };
    let ends = (packet.destination(), packet.source());
    let passed = earlier.iter().filter_map(|record| record.passed_on()).map(|(_, left)| left);
    let next = |left: &Datagram| match &left.body {
        Body::Tcp { flags, sequence, payload, .. } if (left.source(), left.destination()) == ends => {
            Some(sequence.wrapping_add(payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0)))
        }
        _ => None,
    };
    let bytes = passed.filter_map(next).map(|next| acknowledgment.wrapping_sub(next) as i32).min();
    bytes.filter(|_| flags & ACK != 0)
}

/// Whether `packet` acknowledges less than the SYN-ACK of the other end, or where tracking is `liberal` much more, and its own end
/// has not acknowledged that one so far.
fn misses_the_answer(packet: &Datagram, earlier: &[Record], liberal: bool) -> bool {
    let ends = |it: &Datagram| (it.protocol(), it.source(), it.destination());
    let (own, other) = (ends(packet), (packet.protocol(), packet.destination(), packet.source()));
    let passed = || earlier.iter().rev().filter_map(|record| record.passed_on()).map(|(_, left)| left);
    let syn = passed().find(|left| ends(left) == other && is_syn(left)).map(|left| &left.body);
    let Some(Body::Tcp { sequence: syn, .. }) = syn else { return false };
    let misses = |it: &Datagram| match it.body {
        Body::Tcp { flags, acknowledgment, .. } if flags & (ACK | RST | SYN) == ACK => {
            let news = acknowledgment.wrapping_sub(*syn) as i32;
            news < 1 || liberal && news >= 1 << 16
        }
        _ => false,
    };
    let said = earlier.iter().filter_map(|record| Some(&record.sent.as_ref()?.1));
    misses(packet)
        && said.filter(|sent| ends(sent) == own && sent.protocol() == 6).all(|it| misses(it) || is_syn(it))
}

/// Whether the first option asks routers for their addresses or times.
fn records(options: &[u8]) -> bool {
    matches!(options, [7 | 68, ..])
}

fn is_own(address: Ipv4Address) -> bool {
    OWN.contains(&address) || address == SECOND_WAN_SIDE
}

/// Also where it is what the router answered to an echo request that was dropped.
fn was_dropped_behind_tracking(record: &Record) -> bool {
    use DropReason::*;
    match record.outcome {
        Some(Outcome::Dropped(FirewallPolicy | FirewallReject | FirewallRule | TransportChecksum)) => true,
        Some(Outcome::Dropped(NoRoute | RouteBlackhole | RouteUnreachable | RouteProhibit)) => true,
        Some(Outcome::Dropped(ReversePath | TtlExceeded | FragmentationNeeded)) => true,
        Some(Outcome::Delivered) => {
            let asks = record.sent.as_ref().is_some_and(|(_, sent)| sent.icmp_type() == Some((8, 0)));
            asks && record.left.is_empty()
        }
        _ => false,
    }
}

/// Whether an earlier packet like `packet` was for a port of the router that nobody listens to.
fn follows_a_knock(packet: &Datagram, earlier: &[Record]) -> bool {
    let ends = |it: &Datagram| (it.protocol(), it.source(), it.destination());
    let knocks = |record: &Record| {
        let alike = record.sent.as_ref().is_some_and(|(_, sent)| ends(sent) == ends(packet));
        alike && record.outcome == Some(Outcome::Dropped(DropReason::NoListener))
    };
    earlier.iter().any(knocks)
}

/// Whether a rule, a route, or the router as its receiver, dropped an earlier packet of the flow that `packet` belongs to.
fn follows_a_dropped_packet(packet: &Datagram, earlier: &[Record]) -> bool {
    let ends = |packet: &Datagram| {
        let mut ends = [packet.source(), packet.destination()];
        ends.sort();
        (packet.protocol(), ends)
    };
    // The flow before and behind the router, in either direction.
    let mut flow = vec![ends(packet)];
    for record in earlier {
        if let (Some((_, sent)), Some((_, left))) = (&record.sent, record.passed_on())
            && (flow.contains(&ends(sent)) || flow.contains(&ends(left)))
        {
            flow.extend([ends(sent), ends(left)]);
        }
    }
    let in_flow = |record: &Record| record.sent.as_ref().is_some_and(|(_, sent)| flow.contains(&ends(sent)));
    earlier.iter().any(|record| was_dropped_behind_tracking(record) && in_flow(record))
}
