//! What is counted of the packets for the router itself, as Linux counts it (icmp_rcv, tcp_v4_rcv, __udp4_lib_rcv).

use super::{Delivery, Host};
use crate::{
    counters::Counter,
    headers::{Headers, Quote, Transport, protocol},
    outcome::DropReason,
    stage::icmp::IcmpError,
};

impl Host {
    /// How many a counter has counted here.
    pub fn counted(&self, counter: Counter) -> u64 {
        let displaced = match (&self.reassembly, counter) {
            (Some(reassembly), Counter::IpReasmFails) => reassembly.displaced(),
            _ => 0,
        };
        self.counted.get(counter) + displaced
    }

    /// Counts a whole packet.
    pub(super) fn count(&mut self, frame: &[u8], headers: &Headers, delivery: Delivery) {
        match delivery {
            Delivery::Dropped(DropReason::HostQueueFull) => return,
            Delivery::Dropped(DropReason::NoBuffer) => return self.counted.count(Counter::IpInDiscards),
            Delivery::Error(IcmpError::ProtocolUnreachable) => {
                return self.counted.count(Counter::IpInUnknownProtos);
            }
            _ => self.counted.count(Counter::IpInDelivers),
        }
        let damaged = delivery == Delivery::Dropped(DropReason::TransportChecksum);
        let to_group = !self.interface.has_ip_addr(headers.destination);
        let counted: &[Counter] = match (headers.transport, delivery) {
            // TCP takes no notice of what goes to many.
            (Transport::Tcp { .. }, _) if to_group => &[],
            (Transport::Tcp { .. }, _) if damaged => {
                &[Counter::TcpInSegs, Counter::TcpInErrs, Counter::TcpInCsumErrors]
            }
            (Transport::Tcp { .. }, _) => &[Counter::TcpInSegs],
            (Transport::Udp { .. }, _) if damaged => &[Counter::UdpInErrors, Counter::UdpInCsumErrors],
            (Transport::Udp { .. }, Delivery::Error(_)) if to_group => &[Counter::UdpIgnoredMulti],
            (Transport::Udp { .. }, Delivery::Error(_)) => &[Counter::UdpNoPorts],
            (Transport::Udp { .. }, _) => &[Counter::UdpInDatagrams],
            _ if headers.protocol != protocol::ICMP => &[],
            _ if damaged => &[Counter::IcmpInMsgs, Counter::IcmpInErrors, Counter::IcmpInCsumErrors],
            _ => &[Counter::IcmpInMsgs],
        };
        counted.iter().for_each(|counter| self.counted.count(*counter));
        if let (Some((kind, code)), false) = (headers.icmp(), damaged) {
            Counter::icmp_in(kind).into_iter().for_each(|of_type| self.counted.count(of_type));
            if self.means_nothing(frame, headers, (kind, code), to_group) {
                self.counted.count(Counter::IcmpInErrors);
            }
        }
    }

    /// Whether an ICMP message is one that Linux calls an error in itself: of an unknown type, for many, cut off, or about a
    /// packet that no socket sent.
    fn means_nothing(&self, frame: &[u8], headers: &Headers, message: (u8, u8), to_group: bool) -> bool {
        /// The largest code of destination unreachable (RFC 1812 5.2.7.1), and that of a reassembly that took too long.
        const UNREACHABLE_CODES: u8 = 15;
        const REASSEMBLY: u8 = 1;
        /// An IPv4 header and what is behind it at least.
        const SHORTEST_QUOTE: usize = 20 + 8;
        let end = headers.l3 + usize::from(headers.total_length);
        match message {
            (17 | 18, _) => false,
            _ if to_group => true,
            // Those of RFC 8335 are known.
            (kind @ 19.., _) => !matches!(kind, 42 | 43),
            (3 | 4 | 5 | 11 | 12, _) if end - headers.l4 < 8 + SHORTEST_QUOTE => true,
            (3, code) if code > UNREACHABLE_CODES => false,
            (11, REASSEMBLY) => false,
            (3 | 4 | 5 | 11 | 12, _) => Quote::parse(&frame[..end], headers.l4).is_some_and(|quote| {
                matches!(quote.protocol, protocol::TCP | protocol::UDP) && !self.probes.sent(&quote)
            }),
            _ => false,
        }
    }
}
