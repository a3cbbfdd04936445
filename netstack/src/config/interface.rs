//! Interfaces: what they are, and how they are set (`ip link set`).

use super::{Change, Config, ConfigError, PortInfo, StaleRoutes};
use crate::{
    interface::{InterfaceId, InterfaceName, PortId},
    offload::Abilities,
};
use alloc::{string::String, vec::Vec};
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};

/// The smallest MTU (RFC 791 section 3.2: every link carries 68 bytes).
pub const MTU_MIN: u16 = 68;
/// The longest alias in bytes (Linux's `IFALIASZ`).
pub const ALIAS_MAX: usize = 255;

/// An interface as it is configured.
#[derive(Clone, PartialEq, Debug)]
pub struct Interface {
    /// `lo`, `eth0`, ..
    pub name: InterfaceName,
    /// What it is.
    pub kind: InterfaceKind,
    /// Set up by the administrator (`ip link set DEV up`); the carrier is another matter.
    pub up: bool,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// MAC address in use.
    pub mac: EthernetAddress,
    /// A free text (`ip link set DEV alias`); empty: none.
    pub alias: String,
    /// Addresses in Linux's order: narrow scopes first, then as they were given, secondary ones last.
    pub addresses: Vec<InterfaceAddress>,
    /// `net.ipv4.conf.DEV.forwarding`.
    pub forwarding: bool,
    /// `net.ipv4.conf.DEV.rp_filter`.
    pub rp_filter: ReversePath,
    /// `net.ipv4.conf.DEV.log_martians`.
    pub log_martians: bool,
    /// What its card shall do by itself, if it can (`ethtool -K`).
    pub wanted_abilities: Abilities,
}

/// What an interface is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InterfaceKind {
    /// `lo`.
    Loopback,
    /// A network card.
    Ethernet {
        /// The place of the card.
        port: PortId,
        /// What it can.
        card: PortInfo,
    },
}

/// How a packet's source is held against the routes (RFC 3704; `rp_filter`). The stricter of `conf.all` and
/// `conf.DEV` counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum ReversePath {
    /// 0: not at all.
    #[default]
    Off,
    /// 1: the route back must leave by the interface that the packet came in on.
    Strict,
    /// 2: there must be a route back.
    Loose,
}

/// Where an address is valid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum Scope {
    /// Everywhere.
    #[default]
    Global,
    /// On this link only.
    Link,
    /// On this machine only.
    Host,
}

/// An address of an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceAddress {
    /// Address and prefix length.
    pub cidr: Ipv4Cidr,
    /// Broadcast address, where one is set (`broadcast +` or an address).
    pub broadcast: Option<Ipv4Address>,
    /// Scope.
    pub scope: Scope,
    /// Whether an earlier address of the same network is on this interface.
    pub secondary: bool,
    /// What is printed for it (`label`); `None`: the name of the interface.
    pub label: Option<InterfaceName>,
}

/// What one `ip link set` asks for; a part that is `None` stays as it is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LinkChange {
    /// `up`, `down`
    pub up: Option<bool>,
    /// `mtu N`
    pub mtu: Option<u32>,
    /// `address MAC`
    pub mac: Option<EthernetAddress>,
    /// `alias TEXT`
    pub alias: Option<String>,
}

impl Interface {
    /// `lo` as it is after boot: up, 127.0.0.1/8.
    pub fn loopback() -> Self {
        Self {
            name: name("lo"),
            kind: InterfaceKind::Loopback,
            up: true,
            mtu: u16::MAX,
            mac: EthernetAddress([0; 6]),
            alias: String::new(),
            addresses: alloc::vec![InterfaceAddress {
                cidr: Ipv4Cidr::new(Ipv4Address::new(127, 0, 0, 1), 8),
                broadcast: None,
                scope: Scope::Host,
                secondary: false,
                label: None,
            }],
            forwarding: false,
            rp_filter: ReversePath::Off,
            log_martians: false,
            wanted_abilities: Abilities::ALL,
        }
    }

    /// The interface of a card as it is after boot: down, without addresses.
    pub fn ethernet(port: PortId, info: &PortInfo) -> Self {
        Self {
            name: name(&alloc::format!("eth{}", port.0)),
            kind: InterfaceKind::Ethernet { port, card: *info },
            up: false,
            mtu: info.max_mtu.min(1500),
            mac: info.mac,
            alias: String::new(),
            addresses: Vec::new(),
            forwarding: false,
            rp_filter: ReversePath::Off,
            log_martians: false,
            wanted_abilities: Abilities::ALL,
        }
    }

    /// What its card does by itself for the frames that it sends, as far as it is wanted.
    pub fn abilities(&self) -> Abilities {
        self.card_abilities().as_wanted(self.wanted_abilities)
    }

    /// What its card could do by itself for the frames that it sends.
    pub fn card_abilities(&self) -> Abilities {
        match self.kind {
            InterfaceKind::Ethernet { card, .. } => card.abilities,
            InterfaceKind::Loopback => Abilities::NONE,
        }
    }

    /// What its card may leave undone on the frames that it receives.
    pub fn accepts(&self) -> Abilities {
        match self.kind {
            InterfaceKind::Ethernet { card, .. } => card.accepts,
            InterfaceKind::Loopback => Abilities::NONE,
        }
    }

    /// The card below it.
    pub fn port(&self) -> Option<PortId> {
        match self.kind {
            InterfaceKind::Ethernet { port, .. } => Some(port),
            InterfaceKind::Loopback => None,
        }
    }
}

impl Config {
    /// Sets properties of an interface. Going down takes its routes and static neighbours along; coming up brings
    /// back the routes that follow from its addresses, and only those.
    ///
    /// # Errors
    /// An MTU that the card cannot carry, a MAC address that no single station can have, an alias that is too long.
    pub fn set_link(&mut self, id: InterfaceId, wanted: &LinkChange) -> Result<Change, ConfigError> {
        let interface = self.interface(id);
        let largest = match interface.kind {
            InterfaceKind::Ethernet { card, .. } => card.max_mtu,
            InterfaceKind::Loopback => u16::MAX,
        };
        let mtu = match wanted.mtu {
            None => interface.mtu,
            Some(mtu) if mtu < u32::from(MTU_MIN) => {
                return Err(ConfigError::new("Error: mtu less than device minimum."));
            }
            Some(mtu) => match u16::try_from(mtu) {
                Ok(mtu) if mtu <= largest => mtu,
                _ => return Err(ConfigError::new("Error: mtu greater than device maximum.")),
            },
        };
        let old_mac = interface.mac;
        let mac = wanted.mac.unwrap_or(old_mac);
        if mac != old_mac {
            if id == InterfaceId::LOOPBACK {
                return Err(ConfigError::new("RTNETLINK answers: Operation not supported"));
            }
            if !mac.is_unicast() || mac.0 == [0; 6] {
                return Err(ConfigError::new("RTNETLINK answers: Cannot assign requested address"));
            }
        }
        if wanted.alias.as_ref().is_some_and(|alias| alias.len() > ALIAS_MAX) {
            return Err(ConfigError::new("RTNETLINK answers: Numerical result out of range"));
        }
        if wanted.alias.as_ref().is_some_and(|alias| alias.contains(char::is_control)) {
            return Err(ConfigError::new("RTNETLINK answers: Invalid argument"));
        }

        let interface = self.interface_mut(id);
        let was_up = interface.up;
        let up = wanted.up.unwrap_or(was_up);
        (interface.mtu, interface.mac, interface.up) = (mtu, mac, up);
        if let Some(alias) = &wanted.alias {
            interface.alias.clone_from(alias);
        }
        let mut change = Change { interfaces: true, ..Change::NONE };
        if mac != old_mac || (was_up && !up) {
            self.neighbors.retain(|neighbor| neighbor.interface != id);
            change.neighbors = true;
        }
        if was_up != up {
            if up {
                self.add_kernel_routes(id)
            } else {
                self.remove_routes_of(id)
            }
            change.routes = StaleRoutes::All;
        }
        Ok(change)
    }

    /// Sets what the card of an interface shall do by itself, if it can (`ethtool -K`).
    ///
    /// # Errors
    /// None; like every change it may be given to `Router::edit`.
    pub fn set_wanted_abilities(
        &mut self,
        id: InterfaceId,
        wanted: Abilities,
    ) -> Result<Change, ConfigError> {
        self.interface_mut(id).wanted_abilities = wanted;
        Ok(Change { interfaces: true, ..Change::NONE })
    }

    pub(super) fn interface_mut(&mut self, id: InterfaceId) -> &mut Interface {
        &mut self.interfaces[usize::from(id.0)]
    }
}

fn name(text: &str) -> InterfaceName {
    InterfaceName::try_from(text).expect("a built-in name fits")
}
