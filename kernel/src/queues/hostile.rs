//! Two cards that lie, and the router between them. After each lie the next honest frame has to come through.
//!
//! A card answers with numbers and lengths at random, moves its index to and fro, scribbles over its rings, and writes
//! headers in which every field is made up. A queue that was lied to too often is made anew, as in the machine.

use super::*;
use crate::{
    fake_device::{Bell, Device, Offer},
    header::LONGEST,
};
use alloc::{vec, vec::Vec};
use netstack::{
    command,
    config::PortInfo,
    interface::PortId,
    offload::Abilities,
    router::{Context, Limits, Router},
};
use smoltcp::{
    time::{Duration, Instant},
    wire::EthernetAddress,
};

const FORMAT: Format = Format { numbered: true, mergeable: true, accepted: Abilities::ALL };
const RING: u16 = 16;
const ROOM: usize = 512;
const RECEIVERS: usize = 2;
const BUFFERS: usize = 256;
const MOST_LIES: u64 = 64;
/// How long a card goes on after it has lost its way.
const PATIENCE: u32 = 40;

const LAN: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
const WAN: [u8; 6] = [2, 0, 0, 0, 1, 0x0a];
const OWN: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 1, 1]];

const CONFIG: &str = "
ip addr add 192.168.1.1/24 dev eth0
ip addr add 203.0.113.1/24 dev eth1
ip link set eth0 up
ip link set eth1 up
ip neigh add 192.168.1.10 lladdr 02:00:00:00:00:0a nud permanent dev eth0
ip neigh add 203.0.113.10 lladdr 02:00:00:00:01:0a nud permanent dev eth1
sysctl -w net.ipv4.ip_forward=1
iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
";

/// xorshift64*: quick, and the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    /// A number that is often close to where something goes wrong.
    fn word(&mut self) -> u16 {
        match self.below(4) {
            0 => [0, 1, 14, 34, 50, 255, 0x7fff, 0xffff][self.below(8)],
            1 => self.below(64) as u16,
            2 => self.below(1600) as u16,
            _ => self.next() as u16,
        }
    }
}

impl rand_core::TryRng for Random {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.next() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.fill_with(|| self.next() as u8);
        Ok(())
    }
}

/// The device's side of one ring, and the buffers that it has.
struct Liar {
    device: Device,
    held: Vec<Offer>,
    /// How many turns ago it lost its way: it can no longer say what it has.
    lost: Option<u32>,
}

impl Liar {
    fn new((addresses, size): (Addresses, u16)) -> Self {
        Self { device: Device::at(addresses, size), held: Vec::new(), lost: None }
    }

    fn take(&mut self) {
        match &mut self.lost {
            None => self.held.extend(self.device.take()),
            Some(turns) => *turns += 1,
        }
    }

    /// Answers with that number, whatever it means.
    fn answer(&mut self, id: u32, written: u32) {
        self.held.retain(|offer| offer.id != id);
        self.device.put(id, written);
    }

    fn lose_its_way(&mut self) {
        self.held.clear();
        self.lost.get_or_insert(0);
    }

    /// A lie that needs no buffer.
    fn lie(&mut self, random: &mut Random) {
        match random.below(8) {
            0 => self.answer(random.next() as u32, random.next() as u32),
            1 => self.answer(u32::from(RING) + u32::from(random.word()), random.word().into()),
            2..5 => self.answer(random.below(RING.into()) as u32, random.word().into()),
            5 => self.device.set_no_notify(random.next() as u16),
            6 => {
                self.device.set_index(random.next() as u16);
                self.lose_its_way();
            }
            _ => {
                let scribble = random.next();
                self.device.scribble(random.next() as usize, scribble);
                self.lose_its_way();
            }
        }
    }
}

struct Card {
    queues: Queues<Bell>,
    receivers: Vec<Liar>,
    sender: Liar,
}

impl Card {
    fn new() -> Self {
        let receivers = (0..RECEIVERS).map(|_| Receiver::new(RING, Bell::default(), FORMAT, ROOM)).collect();
        let queues = Queues::new(receivers, RING, Bell::default(), FORMAT);
        // The transmit queue that goes with the second receive queue is never used.
        let mut liars: Vec<_> = queues.rings().take(1 + RECEIVERS).map(Liar::new).collect();
        let sender = liars.remove(1);
        Self { queues, receivers: liars, sender }
    }

    /// Puts a header and bytes into `count` of the buffers that it has, and gives some or all of them back.
    fn hand_over(&mut self, header: &[u8; LONGEST], frame: &[u8], count: usize, random: &mut Random) {
        let receiver = &mut self.receivers[random.below(RECEIVERS)];
        let held = &receiver.held;
        let count = count.min(held.len());
        let offers: Vec<_> = held[..count].iter().map(|offer| (offer.id, offer.room())).collect();
        for (place, (id, room)) in offers.into_iter().enumerate() {
            let bytes = if place == 0 { [header, frame].concat() } else { vec![0xa5; random.below(ROOM)] };
            receiver.held[0].fill(&bytes);
            let written =
                if random.below(8) > 0 { bytes.len() as u32 } else { random.next() as u32 % (2 * room) };
            receiver.answer(id, written);
        }
    }

    /// One random thing that a device may do.
    fn act(&mut self, random: &mut Random) {
        match random.below(4) {
            0 => self.receivers[random.below(RECEIVERS)].lie(random),
            1 => self.sender.lie(random),
            _ => {
                let mut header = [0; LONGEST];
                for pair in header.chunks_exact_mut(2) {
                    pair.copy_from_slice(&random.word().to_le_bytes());
                }
                header[0] &= if random.below(2) == 0 { 0xff } else { 1 };
                header[1] = [0, 1, 4, 5, 0x81, header[1]][random.below(6)];
                let count = [1, 1, 2, 3, 16][random.below(5)];
                if random.below(4) > 0 {
                    header[10..12].copy_from_slice(&(count as u16).to_le_bytes());
                }
                let mut frame = datagram([17, 6][random.below(2)], random.word());
                frame.resize([frame.len(), 80, 400][random.below(3)], 0x5a);
                self.hand_over(&header, &frame, count, random);
            }
        }
    }
}

/// A packet from the LAN to the other side, which ends with its number.
fn datagram(protocol: u8, number: u16) -> Vec<u8> {
    let ip = [0x45, 0, 0, 50, 0, 1, 0, 0, 64, protocol, 0, 0, 192, 168, 1, 10, 203, 0, 113, 10];
    let sum: u32 = ip.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let mut frame = [&OWN[0][..], &LAN, &[8, 0], &ip].concat();
    frame[24..26].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    frame.extend([0x12, 0x34, 0, 53, 0, 30, 0, 0]); // for TCP: ports and a sequence number
    frame.extend([0; 20]);
    frame.extend(number.to_be_bytes());
    frame
}

struct Bench {
    cards: [Card; 2],
    router: Router,
    exchange: Exchange,
    random: Random,
    now: Instant,
    /// How often the cards were made anew.
    resets: u32,
    passed: u32,
}

impl Bench {
    fn new() -> Self {
        let mut random = Random(0x1234_5678_9abc_def1);
        let card = |mac| PortInfo::new(EthernetAddress(mac), 1500);
        let limits = Limits { flows: 1024, ..Limits::default() };
        let mut router = Router::new(&OWN.map(card), &limits, &mut random);
        command::load(&mut router, CONFIG).unwrap_or_else(|refused| panic!("{refused:?}"));
        Self {
            cards: [Card::new(), Card::new()],
            router,
            exchange: Exchange::new(BUFFERS, ROOM),
            random,
            now: Instant::ZERO,
            resets: 0,
            passed: 0,
        }
    }

    /// One turn of the event loop.
    fn turn(&mut self) {
        self.now += Duration::from_micros(10);
        for (number, card) in self.cards.iter_mut().enumerate() {
            card.queues.reclaim(&mut self.exchange);
            for receiver in card.queues.due(false, self.now) {
                while let Some(packet) = receiver.receive(&mut self.exchange) {
                    assert!(packet.len() <= usize::from(RING) * (LONGEST + ROOM));
                    assert_eq!(packet.parts().map(<[u8]>::len).sum::<usize>(), packet.len());
                    let cx = &mut Context {
                        now: self.now,
                        random: &mut self.random,
                        exchange: &mut self.exchange,
                    };
                    self.router.receive(cx, PortId(number as u8), packet);
                }
                receiver.refill(&mut self.exchange);
            }
        }
        let cx = &mut Context { now: self.now, random: &mut self.random, exchange: &mut self.exchange };
        self.router.poll(cx);
        while let Some((port, packet)) = self.exchange.take_outgoing() {
            self.cards[usize::from(port.0)].queues.transmit(packet, &mut self.exchange);
        }
        for card in &mut self.cards {
            card.queues.flush();
            card.receivers.iter_mut().for_each(Liar::take);
            card.sender.take();
        }
    }

    /// What becomes of a card that was caught, or hangs.
    fn reset_if_needed(&mut self) {
        let caught = |card: &Card| card.queues.lies() > MOST_LIES;
        let hangs = |liar: &Liar| liar.lost.is_some_and(|turns| turns > PATIENCE);
        let lost = |card: &Card| card.receivers.iter().any(hangs) || hangs(&card.sender);
        if self.cards.iter().any(|card| caught(card) || lost(card)) {
            self.reset();
            self.turn();
        }
    }

    fn reset(&mut self) {
        for card in &mut self.cards {
            let old = core::mem::replace(card, Card::new());
            // SAFETY: a device of these tests does only what it is told.
            unsafe { old.queues.dissolve(&mut self.exchange) };
        }
        assert_eq!(self.exchange.available(), BUFFERS, "no buffer is lost");
        self.resets += 1;
    }

    /// A frame from the LAN must come out on the other side.
    fn pass(&mut self, number: u16) {
        let [lan, wan] = &mut self.cards;
        if [&lan.receivers[0], &wan.sender].iter().any(|liar| liar.lost.is_some()) {
            return;
        }
        for liar in [&mut lan.sender, &mut wan.sender] {
            while let Some(offer) = liar.held.first() {
                liar.answer(offer.id, 0);
            }
        }
        self.turn();
        let before = self.cards[1].sender.held.len();
        let lan = &mut self.cards[0];
        let frame = datagram(17, number);
        let offer = lan.receivers[0].held.first().expect("the card has buffers");
        offer.fill(&[&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0], &frame[..]].concat());
        let id = offer.id;
        lan.receivers[0].answer(id, (LONGEST + frame.len()) as u32);
        self.turn();
        let sent = &self.cards[1].sender.held[before..];
        let came_out = |offer: &Offer| {
            let bytes = offer.bytes();
            bytes[LONGEST..].starts_with(&WAN) && bytes.ends_with(&number.to_be_bytes())
        };
        assert!(sent.iter().any(came_out), "frame {number} is lost after {} resets", self.resets);
        self.passed += 1;
    }
}

fn lie(interactions: u32) {
    let mut bench = Bench::new();
    bench.turn();
    for number in 0..interactions {
        let card = bench.random.below(2);
        bench.cards[card].act(&mut bench.random);
        bench.turn();
        bench.reset_if_needed();
        bench.pass(number as u16);
    }
    bench.reset();
    assert!(bench.passed > interactions / 4, "{} of {interactions}", bench.passed);
    assert!(bench.resets > interactions / 10_000, "lies are noticed");
}

#[test]
fn a_lying_card_reaches_nothing_and_the_next_honest_frame_passes() {
    lie(100_000);
}

#[test]
#[ignore = "takes minutes"]
fn ten_million_lies() {
    lie(10_000_000);
}
