//! The booted router of a scenario: packets in and out, its console, and what it tracks and counts.

use qemu::lab::{Lab, Plan};
use smoltcp::wire::{EthernetAddress, Ipv4Address};
use tests::{
    datagram::Datagram,
    frame::{Content, Frame},
    network::*,
};

/// A machine in the network of `tests::network`.
pub struct Router {
    lab: Lab,
}

/// Who asks whether all that came before is done. Nothing else uses this address.
const SENTINEL: EthernetAddress = EthernetAddress([0x02, 0xff, 0xff, 0xff, 0xff, 0xfe]);

/// Takes back what a scenario may have typed. The flows go last.
const FORGET: &str = "
iptables -F; iptables -X; iptables -t nat -F; iptables -t mangle -F
iptables -P INPUT ACCEPT; iptables -P FORWARD ACCEPT; iptables -P OUTPUT ACCEPT
ip link set eth0 mtu 1500; ip link set eth1 mtu 1500; ip link set eth2 mtu 1500
sysctl -w net.ipv4.conf.all.rp_filter=0
sysctl -w net.netfilter.nf_conntrack_tcp_timeout_syn_sent=240
sysctl -w net.netfilter.nf_conntrack_max=0
conntrack -F
";

impl Router {
    pub fn boot(name: &str) -> Self {
        let plan =
            Plan { nics: OWN.len(), config: Some(NETWORK.into()), ..Plan::new(&format!("scenarios_{name}")) };
        Self { lab: Lab::boot(plan).expect("the router boots") }
    }

    /// All went well.
    pub fn finish(self) {
        self.lab.finish();
    }

    /// Forgets the rules, the flows and the settings of the scenario before.
    pub fn forget(&mut self) {
        self.run(FORGET);
    }

    /// Runs commands that must succeed, one a line.
    #[track_caller]
    pub fn run(&mut self, commands: &str) {
        self.lab.commands(commands).expect("the commands are taken");
    }

    /// What a command prints.
    pub fn print(&mut self, command: &str) -> String {
        self.lab.command(command).expect("a prompt").text
    }

    /// Packets that the rule in whose line `text` stands has counted.
    #[track_caller]
    pub fn counted(&mut self, text: &str) -> u64 {
        let listing = self.print("iptables-save -c");
        let line = listing.lines().find(|line| line.starts_with('[') && line.contains(text)).expect("a rule");
        line[1..].split(':').next().and_then(|packets| packets.parse().ok()).expect("a counter")
    }

    /// The lines of `conntrack -L` with these further words.
    pub fn tracked(&mut self, words: &str) -> Vec<String> {
        let listing = self.print(&format!("conntrack -L {words}"));
        let flows = listing.lines().map(str::trim).filter(|line| line.contains("src="));
        flows.map(str::to_owned).collect()
    }

    /// A host on the wire of `port` sends a packet to the router; gives every packet that left because of it.
    pub fn send(&mut self, port: usize, packet: &Datagram) -> Vec<(usize, Datagram)> {
        self.send_all(port, std::slice::from_ref(packet))
    }

    /// Hosts on the wire of `port` send packets to the router, one right behind the other; gives every packet that left.
    pub fn send_all(&mut self, port: usize, packets: &[Datagram]) -> Vec<(usize, Datagram)> {
        let to = self.mac(port);
        let frame = |packet: &Datagram| Frame::ip(neighbor_mac(port, packet.source), to, packet.clone());
        let frames: Vec<Frame> = packets.iter().map(frame).collect();
        let left = self.exchange(port, &frames).into_iter();
        left.filter_map(|(port, frame)| Some((port, frame.datagram()?.clone()))).collect()
    }

    /// Like [`Router::send`], where exactly one packet leaves.
    #[track_caller]
    pub fn one(&mut self, port: usize, packet: &Datagram) -> (usize, Datagram) {
        let mut left = self.send(port, packet);
        assert_eq!(left.len(), 1, "one packet leaves because of {packet:?}: {left:?}");
        left.remove(0)
    }

    /// Frames arrive on the wire of `port`; gives every frame that left because of them, with its card.
    pub fn exchange(&mut self, port: usize, frames: &[Frame]) -> Vec<(usize, Frame)> {
        for segment in &mut self.lab.segments {
            segment.seen.clear();
        }
        for frame in frames {
            self.lab.inject(port, &frame.bytes()).expect("a cable");
        }
        // The card they came in on answers behind them. What left by another card left before that one answers.
        for card in (port..OWN.len()).chain(0..port) {
            self.settle(card);
        }
        let ports = self.lab.segments.iter().enumerate();
        let left =
            ports.flat_map(|(port, segment)| segment.seen.iter().map(move |sighting| (port, sighting)));
        let left = left.filter(|(_, sighting)| sighting.from_router);
        let left = left.map(|(port, sighting)| (port, Frame::read(&sighting.frame)));
        left.filter(|(_, frame)| frame.to != SENTINEL).collect()
    }

    /// Waits until the card has answered for its own address.
    fn settle(&mut self, card: usize) {
        let probe = Frame::arp_request(SENTINEL, Ipv4Address::UNSPECIFIED, OWN[card]);
        self.lab.inject(card, &probe.bytes()).expect("a cable");
        let answered = |lab: &mut Lab| {
            let answer = |frame: &[u8]| Frame::read(frame).to == SENTINEL;
            lab.segments[card].seen.iter().any(|it| it.from_router && answer(&it.frame)).then_some(())
        };
        self.lab.until("the answer to a sentinel", answered).expect("the router goes on");
    }

    /// The MAC address of the router's card.
    pub fn mac(&self, port: usize) -> EthernetAddress {
        self.lab.segments[port].router
    }

    /// The MAC address that the neighbour table has for this one.
    pub fn neighbor(&mut self, address: Ipv4Address) -> Option<EthernetAddress> {
        let listing = self.print("ip neigh show");
        let line = listing.lines().find(|line| line.starts_with(&format!("{address} ")))?;
        let mac = line.split_whitespace().skip_while(|word| *word != "lladdr").nth(1)?;
        let byte = |text| u8::from_str_radix(text, 16).expect("a byte");
        Some(EthernetAddress::from_bytes(&mac.split(':').map(byte).collect::<Vec<_>>()))
    }
}

/// The ARP messages among frames.
pub fn arp_only(left: Vec<(usize, Frame)>) -> Vec<(usize, Frame)> {
    left.into_iter().filter(|(_, frame)| matches!(frame.content, Content::Arp(_))).collect()
}
