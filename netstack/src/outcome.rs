//! What can become of a packet, and why one was dropped: each reason is a counter with a name and a text.

use crate::interface::PortId;
use core::fmt;

/// The end of a packet's way through the plane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Sent out of this port.
    Forwarded(PortId),
    /// Given to the router's own sockets.
    Delivered,
    /// It was for the plane itself (ARP).
    Consumed,
    /// It waits until its next hop's MAC address is known.
    Parked,
    /// Held until the fragments that say what it belongs to are here.
    Held,
    /// Dropped, and counted under this reason.
    Dropped(DropReason),
}

impl fmt::Display for Outcome {
    /// What a recording says of a packet; behind a colon, what it means.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarded(port) => write!(f, "forwarded out of eth{}", port.0),
            Self::Delivered => f.write_str("delivered to the router"),
            Self::Consumed => f.write_str("consumed"),
            Self::Parked => f.write_str("parked until its next hop answers"),
            Self::Held => f.write_str("held until its first fragment comes"),
            Self::Dropped(reason) => write!(f, "dropped {reason}: {}", reason.text()),
        }
    }
}

macro_rules! drop_reasons {
    ($($name:ident $label:literal $text:literal,)*) => {
        /// Why a packet was dropped. `drops` on the console shows the counter of each.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum DropReason { $(#[doc = $text] $name,)* }

        impl DropReason {
            /// Every reason, in the order of a packet's way.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word that stands for it in listings: lower case with dashes.
            pub fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// One sentence for a person.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

drop_reasons! {
    InterfaceDown "interface-down" "The interface it came in on, or would leave by, is down.",
    EthernetTruncated "ethernet-truncated" "Shorter than an Ethernet header.",
    EthernetOtherHost "ethernet-other-host" "Its destination MAC address is not ours.",
    EthernetSource "ethernet-source" "Its source MAC address is a group address.",
    EtherTypeUnknown "ethertype-unknown" "Neither IPv4 nor ARP.",
    ArpMalformed "arp-malformed" "Not an ARP packet for IPv4 over Ethernet, or with an impossible sender.",
    ArpIgnored "arp-ignored" "An ARP packet that concerns neither us nor an entry that we have.",
    IpMalformed "ip-malformed" "Wrong version, header length or total length (RFC 1812 5.2.2).",
    IpChecksum "ip-checksum" "The checksum of the IPv4 header is wrong.",
    IpOptions "ip-options" "Options that cannot be parsed.",
    SourceRoute "source-route" "It carries a source route (RFC 7126 4.3).",
    TransportMalformed "transport-malformed" "Its TCP, UDP or ICMP header is cut off or impossible.",
    OffloadMalformed "offload-malformed" "What is left to a card of its checksum and segmentation does not fit it.",
    Overload "overload" "Of no known flow, while its card brings more than can be taken (net.core.netdev_overload_rate).",
    TransportChecksum "transport-checksum" "The checksum of a packet for the router itself is wrong.",
    MartianSource "martian-source" "Its source can be no sender on this wire (RFC 1812 5.3.7).",
    MartianDestination "martian-destination" "Its destination can never be seen on a wire (RFC 1812 5.3.7).",
    ReversePath "reverse-path" "Its source is not reached by the interface it came in on (rp_filter).",
    LinkBroadcast "link-broadcast" "A unicast IP packet in a broadcast frame (RFC 1122 3.3.6).",
    DirectedBroadcast "directed-broadcast" "For the broadcast address of a network (RFC 2644).",
    Multicast "multicast" "For a group that nobody here has joined; groups are not routed.",
    ForwardingOff "forwarding-off" "Not for us, and forwarding is off (net.ipv4.ip_forward, conf.DEV.forwarding).",
    TtlExceeded "ttl-exceeded" "Its time to live ran out.",
    NoRoute "no-route" "No route to its destination.",
    RouteBlackhole "route-blackhole" "Its route is a blackhole.",
    RouteUnreachable "route-unreachable" "Its route is of the type unreachable.",
    RouteProhibit "route-prohibit" "Its route is of the type prohibit.",
    FragmentationNeeded "fragmentation-needed" "Larger than the MTU of its way, and not to be fragmented.",
    FragmentIncomplete "fragment-incomplete" "The fragments that it belongs to did not come in time, or overlap.",
    FragmentsFull "fragments-full" "Too many incomplete packets at once.",
    FirewallRule "firewall-rule" "A rule said DROP.",
    FirewallReject "firewall-reject" "A rule said REJECT; the sender was told.",
    FirewallPolicy "firewall-policy" "No rule matched, and the policy of the chain is DROP.",
    SourceLimit "source-limit" "A new flow, and its source has as many as it may have (nf_conntrack_max_per_source).",
    FlowTableFull "flow-table-full" "A new flow, and the table holds nothing that may be evicted (nf_conntrack_max).",
    FlowClash "flow-clash" "A new flow whose translated form another flow has already.",
    PortsExhausted "ports-exhausted" "No port is left for the translation.",
    NatUntracked "nat-untracked" "It would leave untranslated through an interface that translates.",
    NatFiltered "nat-filtered" "For the outer port of an inner host, from one that it has not spoken to.",
    NatHelper "nat-helper" "It tells its receiver an address that is not known there, and cannot be made to tell another one (FTP).",
    NatRedirect "nat-redirect" "An ICMP redirect about a translated flow: it speaks of addresses that its receiver does not know.",
    NeighborPending "neighbor-pending" "Too many packets wait for one next hop's MAC address.",
    NeighborFailed "neighbor-failed" "Its next hop does not answer ARP.",
    NeighborsFull "neighbors-full" "The neighbour table is full of entries in use.",
    NoBuffer "no-buffer" "No free buffer.",
    NoListener "no-listener" "For the router itself, where nothing listens on its port; the sender was told.",
    HostQueueFull "host-queue-full" "Too much at once for the router's own sockets.",
    EgressQueueFull "egress-queue-full" "The network card takes frames too slowly.",
    EchoIgnored "echo-ignored" "An echo request that is not answered (icmp_echo_ignore_all, icmp_echo_ignore_broadcasts, icmp_ratemask).",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A counter for each [`DropReason`].
#[derive(Clone)]
pub struct DropCounters([u64; DropReason::ALL.len()]);

impl Default for DropCounters {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl DropCounters {
    /// Counts one packet.
    #[inline]
    pub fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// Packets dropped for `reason` so far.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Packets dropped for any reason so far.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}
