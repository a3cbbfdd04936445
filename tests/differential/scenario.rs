//! What both routers are put through: a network, rules, and packets, some of which answer what came out.

use smoltcp::wire::Ipv4Address;
use std::fmt;
use tests::{
    datagram::{Datagram, icmp},
    frame::Frame,
    network::{NETWORK, neighbor_mac, router_mac},
};

/// One set of rules with its packets.
#[derive(Clone)]
pub struct Scenario {
    pub network: Network,
    /// `iptables` lines.
    pub rules: Vec<String>,
    pub steps: Vec<Step>,
}

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

/// One packet. The number is its name, which stays when other steps are taken out.
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
    /// Whoever got the packet of step `to` answers it. The endpoints of `with` are filled in from what came out.
    Answer { to: usize, with: Datagram },
    /// A router beyond tells the sender of what came out of step `to` that something is wrong with it.
    Error { to: usize, from: Ipv4Address, kind: u8, code: u8, word: u32, quote: usize },
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
        let always = "ip addr add 203.0.113.3/24 dev eth1\nip route add 172.16.0.0/16 via 192.168.1.11\n";
        [NETWORK, always, more].concat()
    }
}

/// Somebody behind BOB. Whoever sends under this address is given one of his own, new in every run.
pub const STRANGER: Ipv4Address = Ipv4Address::new(172, 16, 0, 0);

impl What {
    /// The frame to send and the card it arrives on. `came_out` gives what left in an earlier step; `None` where
    /// nothing did, and there is nothing to answer. `stranger` is whom STRANGER stands for.
    pub fn frame(
        &self,
        stranger: u16,
        came_out: impl Fn(usize) -> Option<(usize, Datagram)>,
    ) -> Option<(usize, Datagram, Vec<u8>)> {
        let (port, packet) = match self {
            Self::Send { port, packet } | Self::Damaged { port, packet, .. } => (*port, packet.clone()),
            Self::Answer { to, with } => {
                let (port, packet) = came_out(*to)?;
                (port, with.clone().from(packet.destination()).to(packet.source()))
            }
            Self::Error { to, from, kind, code, word, quote } => {
                let (port, packet) = came_out(*to)?;
                (port, icmp(*from, packet.source, *kind, *code, *word, &packet.quote(*quote)))
            }
        };
        let mac = neighbor_mac(port, packet.source);
        let packet = match packet.source {
            STRANGER => packet.but(|p| p.source = (u32::from(STRANGER) + u32::from(stranger)).into()),
            _ => packet,
        };
        let frame = Frame::ip(mac, router_mac(port), packet.clone());
        let mut bytes = frame.bytes();
        if let Self::Damaged { damage, .. } = self {
            damage.apply(&mut bytes);
        }
        Some((port, packet, bytes))
    }
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
            What::Answer { to, with } => write!(f, "answer to #{to} like {with:?}"),
            What::Error { to, from, kind, code, word, quote } => {
                write!(f, "{from} says {kind}/{code} word {word} about #{to}, quoting {quote} bytes")
            }
        }
    }
}
