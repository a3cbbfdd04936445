//! What both routers are put through: a network, rules, and packets, some of which answer what came out.

use smoltcp::wire::Ipv4Address;
use std::fmt;
use tests::{
    datagram::{Body, Datagram, icmp},
    frame::Frame,
    network::{NETWORK, neighbor_mac, router_mac},
};

/// One set of rules with its packets.
#[derive(Clone)]
pub struct Scenario {
    pub network: Network,
    /// Lines of `iptables`, `ipset`, `ip` and `sysctl`.
    pub rules: Vec<String>,
    pub steps: Vec<Step>,
}

/// Stands in a rule for a number that is another one in each run: Linux forgets what a rule remembered by a name only some time
/// after that rule.
pub const ROUND: &str = "ROUND";

/// What stands below the rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// [`NETWORK`], and a blackhole, an unreachable and a prohibited network.
    Plain,
    /// Without a default route.
    NoDefault,
    /// With an MTU of 1280 on the WAN.
    SmallMtu,
    /// With strict reverse-path checks.
    ReversePath,
    /// What a script makes that brings its own rules; only two cards.
    HomeGateway,
}

/// One packet, or a change between packets. The number is its name, which stays when other steps are taken out.
#[derive(Clone)]
pub struct Step {
    pub id: usize,
    pub what: What,
}

#[derive(Clone)]
pub enum What {
    /// Somebody on the wire of `port` sends a packet to the router.
    Send { port: usize, packet: Datagram },
    /// The same with some of its bytes overwritten, or cut to a length.
    Damaged { port: usize, packet: Datagram, damage: Damage },
    /// The same in fragments of `size` bytes at most, the last one first where `backwards`.
    Fragmented { port: usize, packet: Datagram, size: usize, backwards: bool },
    /// Whoever got the packet of step `to` answers it. The endpoints of `with` are filled in from what came out.
    Answer { to: usize, with: Datagram },
    /// A router beyond tells the sender of what came out of step `to` that something is wrong with it.
    Error { to: usize, from: Ipv4Address, kind: u8, code: u8, word: u32, quote: usize },
    /// Somebody types this at the router.
    Change(String),
}

#[derive(Clone, Copy, Debug)]
pub enum Damage {
    /// Byte `at` of the IP packet becomes `value`.
    Byte { at: usize, value: u8 },
    /// The frame ends after so many bytes of the IP packet.
    Cut(usize),
    /// So many zero bytes are appended to the frame.
    Padded(usize),
}

impl Scenario {
    /// Takes a step out, and those that answer it.
    pub fn remove(&mut self, id: usize) {
        let mut gone = vec![id];
        self.steps.retain(|step| {
            let answers_nothing = match step.what {
                What::Answer { to, .. } | What::Error { to, .. } => gone.contains(&to),
                _ => false,
            };
            if answers_nothing {
                gone.push(step.id);
            }
            !gone.contains(&step.id)
        });
    }

    /// The line that is typed in a step.
    pub fn change(&self, id: usize) -> Option<&str> {
        self.steps.iter().find(|step| step.id == id).and_then(|step| match &step.what {
            What::Change(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// Every line that is typed, first or between packets.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        let changes = self.steps.iter().filter_map(|step| match &step.what {
            What::Change(text) => Some(text.as_str()),
            _ => None,
        });
        self.rules.iter().map(String::as_str).chain(changes)
    }
}

/// Whom the home gateway will have found by ARP.
const HOME_NEIGHBORS: &str = "
ip neigh replace 192.168.1.10 lladdr 02:00:00:00:00:0a nud permanent dev eth0
ip neigh replace 192.168.1.11 lladdr 02:00:00:00:00:0b nud permanent dev eth0
ip neigh replace 203.0.113.1 lladdr 02:00:00:00:01:01 nud permanent dev eth1
";

impl Network {
    pub const ALL: [Self; 4] = [Self::Plain, Self::NoDefault, Self::SmallMtu, Self::ReversePath];

    pub fn commands(self) -> String {
        let more = match self {
            Self::Plain => {
                "ip route add blackhole 192.0.2.0/26
                 ip route add unreachable 192.0.2.64/26
                 ip route add prohibit 192.0.2.128/26\n"
            }
            Self::NoDefault => {
                "ip route del default
                 ip route add 198.51.100.0/24 via 203.0.113.1\n"
            }
            Self::SmallMtu => "ip link set eth1 mtu 1280\n",
            Self::ReversePath => "sysctl -w net.ipv4.conf.all.rp_filter=1\n",
            Self::HomeGateway => return [include_str!("../data/home-gateway.sh"), HOME_NEIGHBORS].concat(),
        };
        let always = "ip addr add 203.0.113.3/24 dev eth1
            ip route add 172.16.0.0/16 via 192.168.1.11
            ip neigh replace 203.0.113.9 lladdr 02:00:00:00:01:01 nud permanent dev eth1\n";
        [NETWORK, always, more].concat()
    }
}

/// Somebody behind BOB. Whoever sends under this address is given one of his own, new in every run.
pub const STRANGER: Ipv4Address = Ipv4Address::new(172, 16, 0, 0);

impl What {
    /// The frames to send and the card they arrive on; `None` where nothing came out that could be answered, and for a change.
    /// `came_out` gives what left in an earlier step. `stranger` is whom STRANGER stands for.
    pub fn frames(
        &self,
        stranger: u16,
        came_out: impl Fn(usize) -> Option<(usize, Datagram)>,
    ) -> Option<(usize, Datagram, Vec<Vec<u8>>)> {
        let (port, packet) = match self {
            Self::Send { port, packet }
            | Self::Damaged { port, packet, .. }
            | Self::Fragmented { port, packet, .. } => (*port, packet.clone()),
            Self::Answer { to, with } => {
                let (port, packet) = came_out(*to)?;
                (port, with.clone().from(packet.destination()).to(packet.source()))
            }
            Self::Error { to, from, kind, code, word, quote } => {
                let (port, packet) = came_out(*to)?;
                (port, icmp(*from, packet.source, *kind, *code, *word, &packet.quote(*quote)))
            }
            Self::Change(_) => return None,
        };
        let mac = neighbor_mac(port, packet.source);
        let packet = match packet.source {
            STRANGER => packet.but(|p| p.source = (u32::from(STRANGER) + u32::from(stranger)).into()),
            _ => packet,
        };
        let mut parts = match self {
            Self::Fragmented { size, .. } => fragments(&packet, *size),
            _ => vec![packet.clone()],
        };
        if let Self::Fragmented { backwards: true, .. } = self {
            parts.reverse();
        }
        let mut frames: Vec<_> =
            parts.into_iter().map(|part| Frame::ip(mac, router_mac(port), part).bytes()).collect();
        if let Self::Damaged { damage, .. } = self {
            frames.iter_mut().for_each(|frame| damage.apply(frame));
        }
        Some((port, packet, frames))
    }
}

/// The fragments of a packet, each of `size` bytes behind its header, a multiple of 8.
fn fragments(packet: &Datagram, size: usize) -> Vec<Datagram> {
    let bytes = &packet.bytes()[20 + packet.options.len()..];
    let part = |from: usize| {
        let end = (from + size).min(bytes.len());
        packet.clone().but(|p| {
            (p.offset, p.more_fragments) = (from as u16, end < bytes.len());
            p.body = Body::Other { protocol: packet.protocol(), payload: bytes[from..end].to_vec() };
        })
    };
    (0..bytes.len()).step_by(size).map(part).collect()
}

/// Puts together what left in fragments, where all of them did. Whoever tracks puts them together already.
pub fn put_together(left: Vec<(usize, Frame)>) -> Vec<(usize, Frame)> {
    let mut whole: Vec<(usize, Frame)> = Vec::new();
    let mut parts: Vec<(usize, Frame)> = Vec::new();
    for (port, frame) in left {
        let is_part = frame.datagram().is_some_and(|it| it.more_fragments || it.offset != 0);
        if is_part { parts.push((port, frame)) } else { whole.push((port, frame)) }
    }
    while let Some((port, frame)) = parts.first().cloned() {
        let Some(like) = frame.datagram().cloned() else { break };
        let key = |it: &Datagram| (it.source, it.destination, it.id, it.protocol());
        let same =
            |it: &(usize, Frame)| it.0 == port && it.1.datagram().is_some_and(|it| key(it) == key(&like));
        let (mut own, others): (Vec<_>, Vec<_>) = parts.into_iter().partition(same);
        parts = others;
        own.sort_by_key(|(_, frame)| frame.datagram().map(|it| it.offset));
        let mut payload = Vec::new();
        let mut complete = false;
        for part in own.iter().filter_map(|(_, frame)| frame.datagram()) {
            complete = !part.more_fragments && usize::from(part.offset) == payload.len();
            payload.extend(&part.bytes()[20 + part.options.len()..]);
        }
        let first = own[0].1.datagram().filter(|first| first.offset == 0 && complete);
        match first {
            Some(first) => {
                let bytes = first.clone().but(|p| {
                    p.more_fragments = false;
                    p.body = Body::Other { protocol: like.protocol(), payload };
                });
                let packet = Datagram::read(&bytes.bytes()).expect("a packet");
                whole.push((port, Frame::ip(frame.from, frame.to, packet)));
            }
            None => whole.append(&mut own),
        }
    }
    whole.sort_by_key(|(port, _)| *port);
    whole
}

impl Damage {
    fn apply(self, frame: &mut Vec<u8>) {
        match self {
            Self::Byte { at, value } => frame[14 + at] = value,
            Self::Cut(length) => frame.truncate(14 + length),
            Self::Padded(count) => frame.resize(frame.len() + count, 0),
        }
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "network {:?}", self.network)?;
        self.rules.iter().try_for_each(|rule| writeln!(f, "  {rule}"))?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step:?}"))
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} ", self.id)?;
        match &self.what {
            What::Send { port, packet } => write!(f, "eth{port} <- {packet:?}"),
            What::Damaged { port, packet, damage } => write!(f, "eth{port} <- {packet:?} with {damage:?}"),
            What::Fragmented { port, packet, size, backwards } => {
                let order = if *backwards { ", the last first" } else { "" };
                write!(f, "eth{port} <- {packet:?} in fragments of {size}{order}")
            }
            What::Answer { to, with } => write!(f, "answer to #{to} like {with:?}"),
            What::Error { to, from, kind, code, word, quote } => {
                write!(f, "{from} says {kind}/{code} word {word} about #{to}, quoting {quote} bytes")
            }
            What::Change(text) => write!(f, "typed: {text}"),
        }
    }
}
