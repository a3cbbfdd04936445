//! Chooses the addresses and ports of a translation (RFC 4787 4, RFC 5382 4.3, RFC 5508 3, RFC 6056).
//!
//! Pure: it reads what is reserved and proposes; the reservation itself is made when the flow begins.

use crate::{
    config::rules::{NatTo, PortRange, RandomPorts},
    headers::protocol,
    interface::InterfaceId,
    outcome::DropReason,
    table::{
        connections::{Connections, Draft},
        mapping::Endpoint,
        ports::ReservedPorts,
        tick::Tick,
    },
};
use smoltcp::wire::Ipv4Address;

/// Ports looked at before the search is given up: constant work, however many are taken.
const TRIES: u32 = 128;

/// What the choice depends on.
pub struct Choice<'a> {
    /// What is taken.
    pub connections: &'a Connections,
    /// Ports of port-forwards and of the router itself (requirement 31).
    pub reserved: &'a ReservedPorts,
    /// Where a new port comes from when the rule names no range (`ip_local_port_range`).
    pub dynamic_range: (u16, u16),
    /// Now.
    pub now: Tick,
}

impl Choice<'_> {
    /// The outer endpoint for the source of `draft`, at address `outer`: that of an existing mapping, else the
    /// flow's own port where it is free, else a random one.
    ///
    /// # Errors
    /// `PortsExhausted`.
    pub fn source(
        &self,
        draft: &Draft,
        outer: Ipv4Address,
        ports: Option<PortRange>,
        random: Option<RandomPorts>,
        rng: &mut dyn rand_core::Rng,
    ) -> Result<Endpoint, DropReason> {
        let (number, own) = (draft.original.protocol, draft.original.source_port);
        let at = |port| Endpoint { address: outer, port };
        if !matches!(number, protocol::TCP | protocol::UDP | protocol::ICMP) {
            return if self.is_free(draft, at(own)) { Ok(at(own)) } else { Err(DropReason::FlowClash) };
        }
        let allowed = |port: u16| ports.is_none_or(|range| range.contains(port));
        let inner = Endpoint { address: draft.original.source, port: own };
        if let Some(mapping) = self.connections.mappings.find_inner(number, inner, outer) {
            let endpoint = self.connections.mappings.get(mapping).outer;
            if allowed(endpoint.port) && self.is_free(draft, endpoint) {
                return Ok(endpoint);
            }
        }
        // What the router's own sockets send has the port that is reserved for them.
        let made_here = draft.ingress == InterfaceId::LOOPBACK;
        let reserved = |port| self.reserved.contains(number, port) && !(made_here && port == own);
        let shared = |port: u16| !reserved(port) && self.is_free(draft, at(port));
        let alone =
            |port: u16| self.connections.mappings.find_outer(number, at(port)).is_none() && shared(port);
        if random.is_none() && allowed(own) && alone(own) {
            return Ok(at(own));
        }
        let range = ports.unwrap_or_else(|| self.default_range(number, own));
        search(range, rng, alone)
            // Out of unused ports: TCP may share one between different destinations (RFC 5382 REQ-1, RFC 7857 3).
            .or_else(|| (number == protocol::TCP).then(|| search(range, rng, shared)).flatten())
            .map(at)
            .ok_or(DropReason::PortsExhausted)
    }

    /// The outer port at which an inner endpoint is reached by a flow that it has announced: its own, where that is free, else
    /// a random one.
    ///
    /// # Errors
    /// `PortsExhausted`.
    pub fn announced(
        &self,
        number: u8,
        inner: Endpoint,
        outer: Ipv4Address,
        rng: &mut dyn rand_core::Rng,
    ) -> Result<u16, DropReason> {
        let Connections { mappings, expectations, .. } = self.connections;
        if let Some(mapping) = mappings.find_inner(number, inner, outer) {
            return Ok(mappings.get(mapping).outer.port);
        }
        let free = |port| {
            let endpoint = Endpoint { address: outer, port };
            !self.reserved.contains(number, port)
                && mappings.find_outer(number, endpoint).is_none()
                && !expectations.awaits(number, endpoint)
        };
        if free(inner.port) {
            return Ok(inner.port);
        }
        search(self.default_range(number, inner.port), rng, free).ok_or(DropReason::PortsExhausted)
    }

    /// A new source port that tells this flow from another one with the same translated tuple, at its own address.
    ///
    /// # Errors
    /// `FlowClash`.
    pub fn distinct_source(
        &self,
        draft: &Draft,
        rng: &mut dyn rand_core::Rng,
    ) -> Result<Endpoint, DropReason> {
        let address = draft.leaving.source;
        let range = self.default_range(draft.original.protocol, draft.original.source_port);
        search(range, rng, |port| self.is_free(draft, Endpoint { address, port }))
            .map(|port| Endpoint { address, port })
            .ok_or(DropReason::FlowClash)
    }

    /// Whether no other flow would get the answers to `draft` if it left from `source`.
    pub fn is_free(&self, draft: &Draft, source: Endpoint) -> bool {
        let mut leaving = draft.leaving;
        (leaving.source, leaving.source_port) = (source.address, source.port);
        match self.connections.flows.find(&leaving.inverted(), self.now) {
            None => true,
            Some((id, _)) => draft.replaces == Some(id),
        }
    }

    /// A well-known port stays well-known and another one stays above (RFC 4787 REQ-3); identifiers are free.
    fn default_range(&self, number: u8, own: u16) -> PortRange {
        let (first, last) = match (number, own) {
            (protocol::ICMP, _) => (0, u16::MAX),
            (_, 0..=511) => (1, 511),
            (_, 512..=1023) => (600, 1023),
            _ => self.dynamic_range,
        };
        PortRange { first, last }
    }
}

/// A port of `range` that `fits`: at random, but every one of a small range is looked at.
fn search(range: PortRange, rng: &mut dyn rand_core::Rng, fits: impl Fn(u16) -> bool) -> Option<u16> {
    let size = u32::from(range.last.saturating_sub(range.first)) + 1;
    let start = rng.next_u32() % size;
    (0..TRIES.min(size))
        .map(|attempt| if size <= TRIES { (start + attempt) % size } else { rng.next_u32() % size })
        .map(|offset| range.first + offset as u16)
        .find(|&port| fits(port))
}

/// The address and port that a DNAT gives: the address follows from the client, so that one client always meets
/// the same server.
pub fn destination(draft: &Draft, to: &NatTo, rng: &mut dyn rand_core::Rng) -> Endpoint {
    let original = &draft.original;
    let address = to.addresses.map_or(original.destination, |(first, last)| {
        let count = last.to_bits().wrapping_sub(first.to_bits()).wrapping_add(1).max(1);
        let spread = original.source.to_bits().wrapping_mul(0x9e37_79b1) >> 8;
        Ipv4Address::from_bits(first.to_bits().wrapping_add(spread % count))
    });
    Endpoint { address, port: destination_port(original.destination_port, to.ports, to.random, rng) }
}

/// The port that a DNAT or REDIRECT gives.
pub fn destination_port(
    own: u16,
    ports: Option<PortRange>,
    random: Option<RandomPorts>,
    rng: &mut dyn rand_core::Rng,
) -> u16 {
    match ports {
        None => own,
        Some(range) if random.is_none() && range.contains(own) => own,
        Some(range) => range.first + (rng.next_u32() % (u32::from(range.last - range.first) + 1)) as u16,
    }
}

/// The address that an SNAT gives: as for DNAT, one inner host always has the same one (RFC 4787 REQ-2, "paired").
pub fn source_address(draft: &Draft, to: &NatTo) -> Ipv4Address {
    to.addresses.map_or(draft.leaving.source, |(first, last)| {
        let count = last.to_bits().wrapping_sub(first.to_bits()).wrapping_add(1).max(1);
        let spread = draft.original.source.to_bits().wrapping_mul(0x9e37_79b1) >> 8;
        Ipv4Address::from_bits(first.to_bits().wrapping_add(spread % count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        stage::tcp::Connection,
        table::flow::{FlowId, Tuple},
        test_support::random,
    };

    const OUTER: Ipv4Address = Ipv4Address::new(203, 0, 113, 1);

    struct Nat {
        connections: Connections,
        reserved: ReservedPorts,
        rng: crate::test_support::TestRandom,
    }

    fn nat() -> Nat {
        Nat {
            connections: Connections::new(1024, &mut random()),
            reserved: ReservedPorts::default(),
            rng: random(),
        }
    }

    /// The draft of a flow from 192.168.1.`host`:`port` to 198.51.100.`server`:53.
    fn draft(protocol: u8, host: u8, port: u16, server: u8) -> Draft {
        let tuple = Tuple {
            source: Ipv4Address::new(192, 168, 1, host),
            destination: Ipv4Address::new(198, 51, 100, server),
            source_port: port,
            destination_port: 53,
            protocol,
        };
        Draft { ingress: InterfaceId(1), ..Draft::plain(tuple, Connection::default()) }
    }

    impl Nat {
        fn choose(&mut self, draft: &Draft, ports: Option<PortRange>) -> Result<u16, DropReason> {
            let choice = Choice {
                connections: &self.connections,
                reserved: &self.reserved,
                dynamic_range: (32768, 60999),
                now: Tick::default(),
            };
            choice.source(draft, OUTER, ports, None, &mut self.rng).map(|endpoint| endpoint.port)
        }

        /// Chooses and begins the flow.
        fn begin(&mut self, mut draft: Draft, ports: Option<PortRange>) -> Result<(u16, FlowId), DropReason> {
            let port = self.choose(&draft, ports)?;
            draft.translate_source(Endpoint { address: OUTER, port });
            self.connections.begin(&draft, Tick::default(), 100).map(|id| (port, id))
        }
    }

    const UDP: u8 = protocol::UDP;
    const TCP: u8 = protocol::TCP;

    #[test]
    fn one_inner_endpoint_has_one_outer_port_for_all_destinations() {
        let mut nat = nat();
        nat.begin(draft(UDP, 9, 5000, 1), None).unwrap();
        let (first, _) = nat.begin(draft(UDP, 2, 5000, 1), None).unwrap();
        assert_ne!(first, 5000, "taken by the other host");
        for server in 2..20 {
            assert_eq!(nat.begin(draft(UDP, 2, 5000, server), None).unwrap().0, first);
        }
    }

    #[test]
    fn the_mapping_ends_with_its_last_flow() {
        let mut nat = nat();
        let (_, id) = nat.begin(draft(UDP, 9, 5000, 1), None).unwrap();
        assert_ne!(nat.choose(&draft(UDP, 2, 5000, 2), None), Ok(5000));
        nat.connections.end(id);
        assert_eq!(nat.choose(&draft(UDP, 2, 5000, 2), None), Ok(5000));
    }

    #[test]
    fn a_taken_port_is_replaced_by_a_random_one_of_its_own_class() {
        let mut nat = nat();
        nat.begin(draft(UDP, 9, 5000, 1), None).unwrap();
        nat.begin(draft(UDP, 9, 123, 1), None).unwrap();
        let ports: alloc::vec::Vec<u16> =
            (10..30).map(|host| nat.begin(draft(UDP, host, 5000, 1), None).unwrap().0).collect();
        assert!(ports.iter().all(|port| (32768..=60999).contains(port)), "{ports:?}");
        assert!(ports.windows(2).any(|pair| pair[1] != pair[0].wrapping_add(1)), "sequential: {ports:?}");
        let low = nat.begin(draft(UDP, 2, 123, 1), None).unwrap().0;
        assert!((1..=511).contains(&low), "{low}");
    }

    #[test]
    fn ports_of_port_forwards_are_not_handed_out() {
        let mut nat = nat();
        nat.reserved.reserve(UDP, PortRange { first: 40000, last: 40009 });
        assert_ne!(nat.choose(&draft(UDP, 2, 40000, 1), None), Ok(40000));
        let range = PortRange { first: 40000, last: 40010 };
        assert_eq!(nat.choose(&draft(UDP, 2, 5000, 1), Some(range)), Ok(40010));
    }

    #[test]
    fn the_routers_own_sockets_keep_their_ports() {
        let mut nat = nat();
        nat.reserved.reserve(UDP, PortRange { first: 40000, last: 40001 });
        let own = Draft { ingress: InterfaceId::LOOPBACK, ..draft(UDP, 1, 40000, 1) };
        assert_eq!(nat.choose(&own, None), Ok(40000));
        let range = PortRange { first: 40001, last: 40002 };
        assert_eq!(nat.choose(&own, Some(range)), Ok(40002), "the other one is another socket's");
    }

    #[test]
    fn every_port_of_a_small_range_is_found_and_then_it_is_exhausted() {
        let mut nat = nat();
        let range = Some(PortRange { first: 7000, last: 7099 });
        let mut ports: alloc::vec::Vec<u16> =
            (0..100).map(|host| nat.begin(draft(UDP, host, 5000, 1), range).unwrap().0).collect();
        ports.sort_unstable();
        assert!(ports.into_iter().eq(7000..=7099));
        assert_eq!(nat.choose(&draft(UDP, 200, 5000, 1), range), Err(DropReason::PortsExhausted));
    }

    #[test]
    fn tcp_shares_a_port_between_destinations_and_udp_does_not() {
        let mut nat = nat();
        let range = Some(PortRange { first: 7000, last: 7000 });
        for number in [TCP, UDP] {
            nat.begin(draft(number, 2, 5000, 1), range).unwrap();
        }
        assert_eq!(nat.begin(draft(TCP, 3, 5000, 2), range).unwrap().0, 7000);
        assert_eq!(nat.choose(&draft(TCP, 4, 5000, 2), range), Err(DropReason::PortsExhausted));
        assert_eq!(nat.choose(&draft(UDP, 3, 5000, 2), range), Err(DropReason::PortsExhausted));
    }

    #[test]
    fn query_identifiers_of_two_hosts_never_collide() {
        let mut nat = nat();
        let mut echo = draft(protocol::ICMP, 2, 77, 1);
        echo.original.destination_port = 8;
        echo.leaving = echo.original;
        assert_eq!(nat.begin(echo.clone(), None).unwrap().0, 77);
        echo.original.source = Ipv4Address::new(192, 168, 1, 3);
        echo.leaving = echo.original;
        assert_ne!(nat.begin(echo, None).unwrap().0, 77);
    }
}
