//! Sets of addresses, networks and ports that rules ask (`ipset`); ipset(8).

use super::ConfigError;
use crate::headers::{Headers, Transport, protocol::ICMP};
use alloc::{
    collections::{BTreeMap, btree_map::Entry},
    string::String,
    vec::Vec,
};
use core::ops::Bound;
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// What a set holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetKind {
    /// `hash:ip`: addresses.
    Ip,
    /// `hash:net`: networks.
    Net,
    /// `hash:ip,port`: addresses, each with a protocol and a port.
    IpPort,
}

impl SetKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Ip, Self::Net, Self::IpPort];

    /// The name of the type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ip => "hash:ip",
            Self::Net => "hash:net",
            Self::IpPort => "hash:ip,port",
        }
    }
}

/// One element of a set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Member {
    /// An address.
    Ip(Ipv4Address),
    /// A network, without host bits.
    Net(Ipv4Cidr),
    /// An address with a protocol and a port; for ICMP the port is type and code, for protocols without ports 0.
    IpPort(Ipv4Address, u8, u16),
}

impl Member {
    /// The element as one number; in the order of the numbers they are listed.
    fn key(self) -> u64 {
        match self {
            Self::Ip(address) => address.to_bits().into(),
            Self::Net(net) => u64::from(net.address().to_bits()) << 8 | u64::from(net.prefix_len()),
            Self::IpPort(address, protocol, port) => {
                u64::from(address.to_bits()) << 24 | u64::from(protocol) << 16 | u64::from(port)
            }
        }
    }

    fn of_key(kind: SetKind, key: u64) -> Self {
        match kind {
            SetKind::Ip => Self::Ip(Ipv4Address::from_bits(key as u32)),
            SetKind::Net => Self::Net(Ipv4Cidr::new(Ipv4Address::from_bits((key >> 8) as u32), key as u8)),
            SetKind::IpPort => {
                Self::IpPort(Ipv4Address::from_bits((key >> 24) as u32), (key >> 16) as u8, key as u16)
            }
        }
    }
}

/// Elements that one word names, for example by a range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Elements {
    /// Addresses from the first to the last.
    Hosts(Ipv4Address, Ipv4Address),
    /// Networks.
    Networks(Vec<Ipv4Cidr>),
    /// All ports from the first to the last, of all these addresses, in this protocol.
    Ports((Ipv4Address, Ipv4Address), u8, (u16, u16)),
}

impl Elements {
    fn count(&self) -> u64 {
        let hosts = |first: Ipv4Address, last: Ipv4Address| u64::from(last.to_bits() - first.to_bits()) + 1;
        match self {
            Self::Hosts(first, last) => hosts(*first, *last),
            Self::Networks(networks) => networks.len() as u64,
            Self::Ports((first, last), _, ports) => hosts(*first, *last) * (u64::from(ports.1 - ports.0) + 1),
        }
    }

    /// The element at a place below [`Elements::count`].
    fn at(&self, place: u64) -> Member {
        let host = |first: Ipv4Address, place: u64| Ipv4Address::from_bits(first.to_bits() + place as u32);
        match self {
            Self::Hosts(first, _) => Member::Ip(host(*first, place)),
            Self::Networks(networks) => Member::Net(networks[place as usize]),
            Self::Ports((first, _), protocol, ports) => {
                let count = u64::from(ports.1 - ports.0) + 1;
                Member::IpPort(host(*first, place / count), *protocol, ports.0 + (place % count) as u16)
            }
        }
    }

    /// The element that a test is about.
    fn first(&self) -> Member {
        self.at(0)
    }

    fn iter(&self) -> impl Iterator<Item = Member> {
        (0..self.count()).map(|place| self.at(place))
    }

    fn names(&self, member: Member) -> bool {
        match (self, member) {
            (Self::Hosts(first, last), Member::Ip(address)) => (*first..=*last).contains(&address),
            (Self::Networks(networks), Member::Net(net)) => networks.contains(&net),
            (Self::Ports((first, last), protocol, ports), Member::IpPort(address, number, port)) => {
                (*first..=*last).contains(&address)
                    && *protocol == number
                    && (ports.0..=ports.1).contains(&port)
            }
            _ => false,
        }
    }
}

/// A set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Set {
    /// What it holds.
    pub kind: SetKind,
    /// `hashsize`: kept for the listing only, for there is no hash.
    pub hash_size: u32,
    /// `maxelem`: how many elements it may hold.
    pub most: u32,
    /// All elements; `true` for an exception (`nomatch`).
    members: BTreeMap<u64, bool>,
    /// How many networks of each length there are; empty for other sets.
    lengths: Vec<u32>,
}

impl Set {
    /// The `hashsize` of a set of which nobody said it.
    pub const DEFAULT_HASH_SIZE: u32 = 1024;
    /// The `maxelem` of a set of which nobody said it.
    pub const DEFAULT_MOST: u32 = 65_536;

    /// An empty set.
    pub fn new(kind: SetKind, hash_size: u32, most: u32) -> Self {
        let lengths = if kind == SetKind::Net { alloc::vec![0; 33] } else { Vec::new() };
        Self { kind, hash_size, most, members: BTreeMap::new(), lengths }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Bytes of memory that its elements take, about.
    pub fn bytes(&self) -> usize {
        self.len() * 16
    }

    /// The elements in order, those behind `last` only, and whether each is an exception.
    pub fn members(&self, last: Option<Member>) -> impl Iterator<Item = (Member, bool)> {
        let start = last.map_or(Bound::Unbounded, |last| Bound::Excluded(last.key()));
        let rest = self.members.range((start, Bound::Unbounded));
        rest.map(|(&key, &except)| (Member::of_key(self.kind, key), except))
    }

    fn insert(&mut self, member: Member, except: bool) {
        if let (Entry::Vacant(_), Member::Net(net)) = (self.members.entry(member.key()), member) {
            self.lengths[usize::from(net.prefix_len())] += 1;
        }
        self.members.insert(member.key(), except);
    }

    fn remove(&mut self, member: Member) {
        if let (Some(_), Member::Net(net)) = (self.members.remove(&member.key()), member) {
            self.lengths[usize::from(net.prefix_len())] -= 1;
        }
    }

    /// Whether an address is in one of the networks; the longest that contains it decides.
    fn covers(&self, address: Ipv4Address) -> bool {
        let used = (0..=32u8).rev().filter(|&length| self.lengths[usize::from(length)] > 0);
        let networks = used.map(|length| Member::Net(Ipv4Cidr::new(address, length).network()).key());
        networks.into_iter().find_map(|key| self.members.get(&key)).is_some_and(|except| !except)
    }

    /// Whether `ipset test` finds these elements: for a single address, in whichever network it is.
    pub fn test(&self, elements: &Elements) -> bool {
        match elements.first() {
            Member::Net(net) if net.prefix_len() == 32 => self.covers(net.address()),
            member => self.members.get(&member.key()).is_some_and(|except| !except),
        }
    }

    /// Whether a packet is in the set, looked at by these sides (`true`: source). A set of addresses and ports
    /// needs two sides; a packet without the port that it asks for is in no set.
    pub fn contains(&self, headers: &Headers, sources: &[bool]) -> bool {
        let address = |source: bool| if source { headers.source } else { headers.destination };
        let key = match (self.kind, sources) {
            (SetKind::Net, [first, ..]) => return self.covers(address(*first)),
            (SetKind::Ip, [first, ..]) => Member::Ip(address(*first)),
            (SetKind::IpPort, [first, second, ..]) => {
                let port = match headers.transport {
                    Transport::Tcp { source, destination, .. }
                    | Transport::Udp { source, destination, .. } => {
                        if *second {
                            source
                        } else {
                            destination
                        }
                    }
                    _ => match headers.icmp() {
                        Some((kind, code)) => u16::from_be_bytes([kind, code]),
                        None if Self::has_ports(headers.protocol) || headers.protocol == ICMP => {
                            return false;
                        }
                        None => 0,
                    },
                };
                Member::IpPort(address(*first), headers.protocol, port)
            }
            _ => return false,
        };
        self.members.contains_key(&key.key())
    }

    /// Whether packets of such a protocol have ports.
    pub fn has_ports(protocol: u8) -> bool {
        matches!(protocol, 6 | 17 | 132 | 136)
    }

    /// Whether a packet of the same flow in the same state may be found where this one is not: another code of ICMP.
    pub fn varies(&self, headers: &Headers) -> bool {
        self.kind == SetKind::IpPort && headers.protocol == ICMP
    }
}

/// All sets, by name.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Sets(BTreeMap<String, Set>);

const NO_SET: &str = "The set with the given name does not exist";
const FULL: &str = "Hash is full, cannot add more elements";

fn refuse<T>(text: &str) -> Result<T, ConfigError> {
    Err(ConfigError::new(text))
}

impl Sets {
    /// No set.
    pub const NONE: &'static Self = &Self(BTreeMap::new());
    /// The most sets.
    pub const MAX: usize = 256;
    /// The longest name, in bytes.
    pub const MAX_NAME: usize = 31;
    /// The most elements of all sets together.
    pub const MAX_ELEMENTS: usize = 262_144;

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them with their names, in the order of these.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Set)> {
        self.0.iter().map(|(name, set)| (name.as_str(), set))
    }

    /// The set of that name.
    pub fn get(&self, name: &str) -> Option<&Set> {
        self.0.get(name)
    }

    /// The set of that name, which must be there.
    ///
    /// # Errors
    /// It is not.
    pub fn existing(&self, name: &str) -> Result<&Set, ConfigError> {
        self.get(name).map_or_else(|| refuse(NO_SET), Ok)
    }

    fn existing_mut(&mut self, name: &str) -> Result<&mut Set, ConfigError> {
        self.0.get_mut(name).map_or_else(|| refuse(NO_SET), Ok)
    }

    /// `create`. With `exist` an equal one may be there already.
    ///
    /// # Errors
    /// A name that is taken, or too many sets.
    pub fn create(&mut self, name: &str, set: Set, exist: bool) -> Result<(), ConfigError> {
        match self.0.get(name) {
            Some(old)
                if exist && (old.kind, old.hash_size, old.most) == (set.kind, set.hash_size, set.most) =>
            {
                return Ok(());
            }
            Some(_) => return refuse("Set cannot be created: set with the same name already exists"),
            None => {}
        }
        if self.0.len() >= Self::MAX {
            return refuse("Kernel error received: maximal number of sets reached, cannot create more.");
        }
        self.0.insert(String::from(name), set);
        Ok(())
    }

    /// `add`: all of the elements or, after an error, none. With `exist` some may be there already.
    ///
    /// # Errors
    /// No such set, no room, or an element that is there.
    pub fn add(&mut self, name: &str, new: &Elements, except: bool, exist: bool) -> Result<(), ConfigError> {
        let total: usize = self.0.values().map(Set::len).sum();
        let set = self.existing_mut(name)?;
        let room = (set.most as usize).saturating_sub(set.len()).min(Self::MAX_ELEMENTS - total);
        if new.count() > u64::from(set.most).min(Self::MAX_ELEMENTS as u64) {
            return refuse(FULL);
        }
        let known = new.iter().filter(|member| set.members.contains_key(&member.key())).count();
        if known > 0 && !exist {
            return refuse("Element cannot be added to the set: it's already added");
        }
        if new.count() - known as u64 > room as u64 {
            return refuse(FULL);
        }
        new.iter().for_each(|member| set.insert(member, except));
        Ok(())
    }

    /// `del`: all of the elements or, after an error, none. With `exist` some may be missing.
    ///
    /// # Errors
    /// No such set, or an element that is not there.
    pub fn delete(&mut self, name: &str, old: &Elements, exist: bool) -> Result<(), ConfigError> {
        let set = self.existing_mut(name)?;
        let doomed: Vec<Member> = match old.count() > set.len() as u64 {
            true => set.members(None).map(|(member, _)| member).filter(|&member| old.names(member)).collect(),
            false => old.iter().filter(|member| set.members.contains_key(&member.key())).collect(),
        };
        if !exist && (doomed.len() as u64) < old.count() {
            return refuse("Element cannot be deleted from the set: it's not added");
        }
        doomed.into_iter().for_each(|member| set.remove(member));
        Ok(())
    }

    /// `flush`: takes all elements of one set away, or of all.
    ///
    /// # Errors
    /// No such set.
    pub fn flush(&mut self, name: Option<&str>) -> Result<(), ConfigError> {
        let empty = |set: &mut Set| *set = Set::new(set.kind, set.hash_size, set.most);
        match name {
            Some(name) => empty(self.existing_mut(name)?),
            None => self.0.values_mut().for_each(empty),
        }
        Ok(())
    }

    /// `destroy`: takes one set away, or all of them. `used` says which ones rules ask.
    ///
    /// # Errors
    /// No such set, or one that is in use; then none is gone.
    pub fn destroy(&mut self, name: Option<&str>, used: impl Fn(&str) -> bool) -> Result<(), ConfigError> {
        const IN_USE: &str = "Set cannot be destroyed: it is in use by a kernel component";
        match name {
            Some(name) => {
                self.existing(name)?;
                if used(name) {
                    return refuse(IN_USE);
                }
                self.0.remove(name);
            }
            None if self.0.keys().any(|name| used(name)) => return refuse(IN_USE),
            None => self.0.clear(),
        }
        Ok(())
    }

    /// `rename`.
    ///
    /// # Errors
    /// No such set, one that is in use, or a name that is taken.
    pub fn rename(&mut self, from: &str, to: &str, used: impl Fn(&str) -> bool) -> Result<(), ConfigError> {
        self.existing(from)?;
        if used(from) {
            return refuse("Set cannot be renamed: it is in use by another system");
        }
        if self.0.contains_key(to) {
            return refuse("Set cannot be renamed: a set with the new name already exists");
        }
        if let Some(set) = self.0.remove(from) {
            self.0.insert(String::from(to), set);
        }
        Ok(())
    }

    /// `swap`: exchanges what two names stand for, also for the rules that name them.
    ///
    /// # Errors
    /// One of the sets does not exist, or they are of different types.
    pub fn swap(&mut self, one: &str, other: &str) -> Result<(), ConfigError> {
        let first = self.existing(one)?;
        let Some(second) = self.get(other) else {
            return refuse("Sets cannot be swapped: the second set does not exist");
        };
        if first.kind != second.kind {
            return refuse("The sets cannot be swapped: their type does not match");
        }
        let (first, second) = (first.clone(), second.clone());
        self.0.insert(String::from(one), second);
        self.0.insert(String::from(other), first);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::tests::{cidr, ip},
        stage::filter::tests::syn,
    };

    const SOURCE: bool = true;
    const DESTINATION: bool = false;

    fn with(kind: SetKind, elements: &Elements) -> Set {
        let mut sets = Sets::default();
        sets.create("a", Set::new(kind, Set::DEFAULT_HASH_SIZE, Set::DEFAULT_MOST), false).unwrap();
        sets.add("a", elements, false, false).unwrap();
        sets.get("a").unwrap().clone()
    }

    /// From 10.0.0.1:40000 to 10.9.9.9:80.
    fn packet() -> Headers {
        let mut headers = syn();
        (headers.source, headers.destination) = (ip("10.0.0.1"), ip("10.9.9.9"));
        headers
    }

    #[test]
    fn an_address_is_looked_for_on_the_side_that_was_named() {
        let set = with(SetKind::Ip, &Elements::Hosts(ip("10.0.0.0"), ip("10.0.0.3")));
        assert!(set.contains(&packet(), &[SOURCE]));
        assert!(set.contains(&packet(), &[SOURCE, DESTINATION]), "what it has no use for does no harm");
        assert!(!set.contains(&packet(), &[DESTINATION]));
        assert!(!set.contains(&packet(), &[]));
    }

    #[test]
    fn the_longest_network_decides_and_may_be_an_exception() {
        let mut sets = Sets::default();
        sets.create("n", Set::new(SetKind::Net, 64, 10), false).unwrap();
        let net = |text| Elements::Networks(Vec::from([cidr(text)]));
        let found = |sets: &Sets| sets.get("n").unwrap().contains(&packet(), &[SOURCE]);
        sets.add("n", &net("10.0.0.0/8"), false, false).unwrap();
        assert!(found(&sets));
        sets.add("n", &net("10.0.0.0/24"), true, false).unwrap();
        assert!(!found(&sets));
        sets.add("n", &net("10.0.0.1/32"), false, false).unwrap();
        assert!(found(&sets));
        sets.delete("n", &net("10.0.0.1/32"), false).unwrap();
        sets.delete("n", &net("10.0.0.0/24"), false).unwrap();
        assert!(found(&sets));
        sets.flush(Some("n")).unwrap();
        assert!(!found(&sets));
    }

    #[test]
    fn a_port_goes_with_its_protocol_and_a_fragment_has_none() {
        let ports = Elements::Ports((ip("10.0.0.1"), ip("10.0.0.1")), 6, (80, 80));
        let set = with(SetKind::IpPort, &ports);
        assert!(set.contains(&packet(), &[SOURCE, DESTINATION]));
        assert!(!set.contains(&packet(), &[SOURCE, SOURCE]));
        assert!(!set.contains(&packet(), &[SOURCE]), "it needs two sides");
        let fragment = Headers { transport: Transport::Other, ..packet() };
        assert!(!set.contains(&fragment, &[SOURCE, DESTINATION]));
        let mut echo = packet();
        (echo.protocol, echo.transport) = (ICMP, Transport::IcmpQuery { kind: 8, code: 0, identifier: 7 });
        let pings =
            with(SetKind::IpPort, &Elements::Ports((ip("10.0.0.1"), ip("10.0.0.1")), ICMP, (0x800, 0x800)));
        assert!(pings.contains(&echo, &[SOURCE, DESTINATION]) && pings.varies(&echo));
        let tunnel = Headers { protocol: 47, transport: Transport::Other, ..packet() };
        let tunnels = with(SetKind::IpPort, &Elements::Ports((ip("10.0.0.1"), ip("10.0.0.1")), 47, (0, 0)));
        assert!(tunnels.contains(&tunnel, &[SOURCE, DESTINATION]) && !tunnels.varies(&tunnel));
    }
}
