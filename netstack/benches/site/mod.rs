//! What the benchmarks share: a router between a LAN and a WAN, and packets of as many flows as wanted.
//!
//! Each benchmark program uses its own part of it, so no part is dead code in all of them.
#![allow(dead_code)]

use netstack::{
    command::load,
    config::PortInfo,
    exchange::Exchange,
    interface::PortId,
    packet::Packet,
    router::{Context, Limits, Router},
};
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};
use smoltcp::{
    phy::ChecksumCapabilities,
    time::Instant,
    wire::{EthernetAddress, IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr},
};

/// Packets that a card hands over at a time.
pub const BURST: usize = 64;
/// Buffers of a site.
const BUFFERS: usize = 2048;
/// Frame bytes that a buffer holds.
const BUFFER_SIZE: usize = 2048;

const MACS: [EthernetAddress; 2] = [EthernetAddress([2, 0, 0, 0, 1, 0]), EthernetAddress([2, 0, 0, 0, 1, 1])];
const LAN: usize = 0;
const WAN: usize = 1;

/// All neighbours are known for good: no ARP is measured.
const NETWORK: &str = "
ip addr add 10.0.0.1/8 dev eth0
ip addr add 203.0.113.1/24 dev eth1
ip link set eth0 up
ip link set eth1 up
ip route add 192.0.0.0/2 via 203.0.113.254
ip route add 100.64.0.0/10 via 203.0.113.254
ip neigh add 10.0.0.10 lladdr 02:00:00:00:00:0a nud permanent dev eth0
ip neigh add 203.0.113.254 lladdr 02:00:00:00:00:fe nud permanent dev eth1
sysctl -w net.ipv4.ip_forward=1
";
const FIREWALL: &str = "
iptables -P FORWARD DROP
iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A FORWARD -i eth0 -j ACCEPT
iptables -A FORWARD -d 10.0.0.10 -p udp --dport 80 -j ACCEPT
";

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// From the LAN to the WAN, without a rule.
    Forward,
    /// From the LAN to the WAN, with a firewall and another source. It has 64 addresses, for a million flows need more
    /// ports than one address has.
    Masquerade,
    /// From the WAN to a server in the LAN, with a firewall and another destination.
    Dnat,
    /// From the WAN to the LAN, and no rule lets it in.
    NoRule,
    /// To where no route leads. Most of these packets are answered with nothing: errors are rate-limited.
    NoRoute,
}

impl Case {
    fn config(self) -> String {
        let rules = match self {
            Self::Forward => String::new(),
            Self::Masquerade => {
                let nat = "-t nat -A POSTROUTING -o eth1 -j SNAT --to-source 203.0.113.64-203.0.113.127";
                format!("{FIREWALL}iptables {nat}")
            }
            Self::Dnat => {
                let nat =
                    "-t nat -A PREROUTING -i eth1 -p udp --dport 8080 -j DNAT --to-destination 10.0.0.10:80";
                format!("{FIREWALL}iptables {nat}")
            }
            Self::NoRule | Self::NoRoute => FIREWALL.into(),
        };
        [NETWORK, &rules].concat()
    }

    /// The card that the packets come in on.
    fn ingress(self) -> usize {
        match self {
            Self::Forward | Self::Masquerade | Self::NoRoute => LAN,
            Self::Dnat | Self::NoRule => WAN,
        }
    }

    /// Source and destination of a flow.
    fn endpoints(self, flow: u32) -> [(Ipv4Address, u16); 2] {
        let port = 1024 + (flow % 16) as u16 * 4001 + (flow >> 4) as u16 % 4001;
        let host = |network: u32| (Ipv4Address::from_bits(network + 256 + (flow >> 4)), port);
        let lan = host(0x0a00_0000);
        match self {
            Self::Forward | Self::Masquerade => [lan, (Ipv4Address::new(198, 51, 100, 7), 53)],
            Self::Dnat => [host(0x6440_0000), (Ipv4Address::new(203, 0, 113, 1), 8080)],
            Self::NoRule => [host(0x6440_0000), (Ipv4Address::new(10, 0, 0, 10), 22)],
            Self::NoRoute => [lan, (Ipv4Address::new(172, 16, 0, 1), 53)],
        }
    }
}

/// A router with its surroundings.
pub struct Site {
    pub router: Router,
    case: Case,
    exchange: Exchange,
    random: SmallRng,
    now: Instant,
}

impl Site {
    /// A router that has not seen a packet yet, with room for `flows` flows and some more.
    pub fn new(case: Case, flows: u32) -> Self {
        Self::with(case, flows, "")
    }

    /// The same, and it has run `config`.
    ///
    /// # Panics
    /// Where that is refused.
    pub fn with(case: Case, flows: u32, config: &str) -> Self {
        let mut random = SmallRng::seed_from_u64(1);
        let cards = MACS.map(|mac| PortInfo::new(mac, 1500));
        let limits = Limits { flows: flows as usize + 65_536, ..Limits::default() };
        let mut router = Router::new(&cards, &limits, &mut random);
        let settings = format!("{}\nsysctl -w net.netfilter.nf_conntrack_max=0\n{config}", case.config());
        if let Err(error) = load(&mut router, &settings) {
            panic!("line {}: {}", error.line, error.message);
        }
        let exchange = Exchange::new(BUFFERS, BUFFER_SIZE);
        Self { router, case, exchange, random, now: Instant::from_secs(100) }
    }

    /// A router that knows the flows from 0 to `flows` well enough to take the short way with them.
    pub fn warm(case: Case, flows: u32) -> Self {
        let mut site = Self::new(case, flows);
        for _ in 0..2 {
            site.warm_up(flows);
        }
        site
    }

    fn warm_up(&mut self, flows: u32) {
        let numbers: Vec<u32> = (0..flows).collect();
        for burst in numbers.chunks(BURST) {
            let mut packets = self.packets(burst, 22);
            self.receive(&mut packets);
            assert_eq!(self.drain(), burst.len(), "every packet leaves");
        }
    }

    /// The flows from 0 to `flows` in random order, as often as it takes to have `count` of them.
    pub fn shuffled(&mut self, flows: u32, count: usize) -> Vec<u32> {
        let mut numbers: Vec<u32> = (0..flows).collect();
        numbers.shuffle(&mut self.random);
        numbers.into_iter().cycle().take(count).collect()
    }

    /// One packet of each of these flows, with so many bytes of payload, in the buffers of a card.
    ///
    /// # Panics
    /// Where they need more buffers than there are.
    pub fn packets(&mut self, flows: &[u32], payload: usize) -> Vec<Packet> {
        let mut packets = Vec::with_capacity(flows.len());
        for &flow in flows {
            let mut packet = self.exchange.allocate_frame(42 + payload).expect("a buffer");
            let macs = [MACS[self.case.ingress()], EthernetAddress([2, 0, 0, 0, 0, 2])];
            write(packet.bytes_mut(), macs, self.case.endpoints(flow));
            packets.push(packet);
        }
        packets
    }

    /// The router takes the packets, in bursts.
    pub fn receive(&mut self, packets: &mut Vec<Packet>) {
        let port = PortId(self.case.ingress() as u8);
        let mut cx = Context { now: self.now, random: &mut self.random, exchange: &mut self.exchange };
        self.router.receive_burst(&mut cx, port, packets);
    }

    /// The router takes the packets, one by one.
    pub fn receive_singly(&mut self, packets: &mut Vec<Packet>) {
        let port = PortId(self.case.ingress() as u8);
        let mut cx = Context { now: self.now, random: &mut self.random, exchange: &mut self.exchange };
        for packet in packets.drain(..) {
            self.router.receive(&mut cx, port, packet);
        }
    }

    /// The wires take what the router has sent. Gives how many that were.
    pub fn drain(&mut self) -> usize {
        let mut count = 0;
        while let Some((_, packet)) = self.exchange.take_outgoing() {
            self.exchange.recycle(packet);
            count += 1;
        }
        count
    }
}

fn write(frame: &mut [u8], [to, from]: [EthernetAddress; 2], [source, destination]: [(Ipv4Address, u16); 2]) {
    let checksums = ChecksumCapabilities::default();
    frame[..6].copy_from_slice(&to.0);
    frame[6..12].copy_from_slice(&from.0);
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    let payload_len = frame.len() - 34;
    let (src_addr, dst_addr) = (source.0, destination.0);
    let ip = Ipv4Repr { src_addr, dst_addr, next_header: IpProtocol::Udp, payload_len, hop_limit: 64 };
    let mut packet = Ipv4Packet::new_unchecked(&mut frame[14..]);
    ip.emit(&mut packet, &checksums);
    let mut datagram = UdpPacket::new_unchecked(packet.payload_mut());
    let udp = UdpRepr { src_port: source.1, dst_port: destination.1 };
    let fill = |bytes: &mut [u8]| bytes.fill(0x5a);
    udp.emit(&mut datagram, &src_addr.into(), &dst_addr.into(), payload_len - 8, fill, &checksums);
}
