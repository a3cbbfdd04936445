//! Own addresses as the links learn of them: probes, announcements, defence. Read RFC 5227 2.1 to 2.4 first.
//!
//! An address that a person set is used at once, as on Linux; what RFC 5227 adds is that a conflict is found and told.

use crate::{
    config::{Config, interface::InterfaceKind},
    interface::InterfaceId,
};
use alloc::vec::Vec;
use smoltcp::{
    time::{Duration, Instant},
    wire::Ipv4Address,
};

/// RFC 5227 1.1: PROBE_NUM, and PROBE_MIN as the time between two.
const PROBES: u8 = 3;
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// RFC 5227 1.1: ANNOUNCE_NUM and ANNOUNCE_INTERVAL (also ANNOUNCE_WAIT).
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// RFC 5227 1.1: DEFEND_INTERVAL.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// An ARP request to be broadcast for an own address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broadcast {
    /// With sender 0.0.0.0: does anybody else use it?
    Probe(InterfaceId, Ipv4Address),
    /// With the address as sender and target: it is ours.
    Announcement(InterfaceId, Ipv4Address),
}

/// What to do about somebody else who uses an own address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conflict {
    /// Log it, and announce the address once more.
    Defend,
    /// It was defended within the last 10 s: saying more would only make a storm.
    Ignore,
}

struct OwnAddress {
    interface: InterfaceId,
    address: Ipv4Address,
    /// Probes and announcements that went out.
    sent: u8,
    next: Instant,
    defended: Option<Instant>,
}

/// All own addresses on links.
#[derive(Default)]
pub struct AddressClaims {
    addresses: Vec<OwnAddress>,
}

impl AddressClaims {
    /// Takes over the addresses of interfaces that are up: those that are new are probed and announced.
    pub fn set_addresses(&mut self, config: &Config, now: Instant) {
        let known = core::mem::take(&mut self.addresses);
        for (id, interface) in config.interfaces() {
            if !interface.up || interface.kind == InterfaceKind::Loopback {
                continue;
            }
            for address in &interface.addresses {
                let address = address.cidr.address();
                let old = known.iter().find(|own| own.interface == id && own.address == address);
                self.addresses.push(OwnAddress {
                    interface: id,
                    address,
                    sent: old.map_or(0, |own| own.sent),
                    next: old.map_or(now, |own| own.next),
                    defended: old.and_then(|own| own.defended),
                });
            }
        }
    }

    /// The link of an interface is back: what hangs on it may be other machines now.
    pub fn announce(&mut self, interface: InterfaceId, now: Instant) {
        for own in self.addresses.iter_mut().filter(|own| own.interface == interface) {
            (own.sent, own.next) = (0, now);
        }
    }

    /// The next thing to send, until there is nothing.
    pub fn poll(&mut self, now: Instant) -> Option<Broadcast> {
        let own = self.addresses.iter_mut().find(|own| own.pending() && own.next <= now)?;
        own.sent += 1;
        own.next = now + if own.sent < PROBES { PROBE_INTERVAL } else { ANNOUNCE_INTERVAL };
        let (interface, address) = (own.interface, own.address);
        Some(if own.sent <= PROBES {
            Broadcast::Probe(interface, address)
        } else {
            Broadcast::Announcement(interface, address)
        })
    }

    /// When [`AddressClaims::poll`] has something to send.
    pub fn poll_at(&self) -> Option<Instant> {
        self.addresses.iter().filter(|own| own.pending()).map(|own| own.next).min()
    }

    /// Somebody else on the link of `interface` says that he has `address` (RFC 5227 2.4 (c)).
    pub fn conflict(&mut self, interface: InterfaceId, address: Ipv4Address, now: Instant) -> Conflict {
        let own = self.addresses.iter_mut().find(|own| own.interface == interface && own.address == address);
        match own {
            Some(own) if own.defended.is_none_or(|defended| now >= defended + DEFEND_INTERVAL) => {
                own.defended = Some(now);
                Conflict::Defend
            }
            _ => Conflict::Ignore,
        }
    }
}

impl OwnAddress {
    fn pending(&self) -> bool {
        self.sent < PROBES + ANNOUNCEMENTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::PortInfo, test_support::interface_address};
    use smoltcp::wire::EthernetAddress;

    const ETH0: InterfaceId = InterfaceId(1);
    const OWN: Ipv4Address = Ipv4Address::new(192, 0, 2, 1);

    fn config() -> Config {
        let mut config = Config::new(&[PortInfo::new(EthernetAddress([2, 0, 0, 0, 0, 1]), 1500)]);
        config.interfaces[1].up = true;
        config.interfaces[1].addresses.push(interface_address("192.0.2.1/24"));
        config
    }

    /// Everything that is sent, with the second it is sent at.
    fn run(claims: &mut AddressClaims) -> Vec<(i64, Broadcast)> {
        let mut sent = Vec::new();
        while let Some(at) = claims.poll_at() {
            while let Some(broadcast) = claims.poll(at) {
                sent.push((at.secs(), broadcast));
            }
        }
        sent
    }

    #[test]
    fn a_new_address_is_probed_three_times_and_announced_twice() {
        let mut claims = AddressClaims::default();
        claims.set_addresses(&config(), Instant::ZERO);
        let probe = Broadcast::Probe(ETH0, OWN);
        let announcement = Broadcast::Announcement(ETH0, OWN);
        assert_eq!(
            run(&mut claims),
            [(0, probe), (1, probe), (2, probe), (4, announcement), (6, announcement)]
        );
    }

    #[test]
    fn an_address_that_stays_is_not_announced_again() {
        let mut claims = AddressClaims::default();
        claims.set_addresses(&config(), Instant::ZERO);
        run(&mut claims);
        claims.set_addresses(&config(), Instant::from_secs(60));
        assert_eq!(claims.poll_at(), None);
        claims.announce(ETH0, Instant::from_secs(60));
        assert_eq!(claims.poll_at(), Some(Instant::from_secs(60)));
    }

    #[test]
    fn an_address_of_a_down_interface_is_silent() {
        let mut down = config();
        down.interfaces[1].up = false;
        let mut claims = AddressClaims::default();
        claims.set_addresses(&down, Instant::ZERO);
        assert_eq!(claims.poll_at(), None);
    }

    #[test]
    fn defends_at_most_once_in_ten_seconds() {
        let mut claims = AddressClaims::default();
        claims.set_addresses(&config(), Instant::ZERO);
        let mut conflict = |second| claims.conflict(ETH0, OWN, Instant::from_secs(second));
        assert_eq!(conflict(100), Conflict::Defend);
        assert_eq!(conflict(109), Conflict::Ignore);
        assert_eq!(conflict(110), Conflict::Defend);
    }
}
