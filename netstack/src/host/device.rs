//! The card that smoltcp believes to have: one packet at a time in, a short queue of frames out.

use crate::{
    exchange::Exchange,
    headers::{ETHERNET_HEADER, protocol},
    packet::Packet,
    wire::{
        checksum,
        ipv4::{IPV4_HEADER, Identifications, write_ethernet},
    },
};
use alloc::{collections::VecDeque, vec::Vec};
use smoltcp::{
    phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken},
    time::Instant,
};

/// Frames that wait to be routed.
pub(super) const QUEUE: usize = 64;
/// No limit of the card: the pipeline fragments what is too long for the way it goes.
const MTU: usize = u16::MAX as usize;

/// What smoltcp sends, made fit for the pipeline.
pub(super) struct Egress {
    queue: VecDeque<Packet>,
    identifications: Identifications,
    /// For a packet that is longer than the buffers of the exchange.
    scratch: Vec<u8>,
}

impl Egress {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            queue: VecDeque::with_capacity(QUEUE),
            identifications: Identifications::new(seed),
            scratch: Vec::new(),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < QUEUE
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Packet> {
        self.queue.pop_front()
    }

    /// Completes the header of a packet of ours. smoltcp does no path MTU discovery, so DF must be clear (RFC 1191 3), and
    /// then the identification must differ (RFC 6864 4.1).
    fn complete(&mut self, ip: &mut [u8], dont_fragment: bool) {
        ip[4..6].copy_from_slice(&self.identifications.draw().to_be_bytes());
        ip[6..8].copy_from_slice(&[u8::from(dont_fragment) << 6, 0]);
        set_checksum(ip);
    }

    /// Queues an IPv4 packet of `length` bytes that `write` writes, but for identification, flags and checksum of the
    /// header; as fragments where it is longer than a buffer. Without a free buffer it is lost.
    pub(super) fn emit<R>(
        &mut self,
        exchange: &mut Exchange,
        length: usize,
        dont_fragment: bool,
        write: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        match exchange.allocate_frame(ETHERNET_HEADER + length) {
            Some(mut packet) => {
                write_ethernet(packet.bytes_mut());
                let ip = &mut packet.bytes_mut()[ETHERNET_HEADER..];
                let result = write(ip);
                self.complete(ip, dont_fragment);
                self.queue.push_back(packet);
                result
            }
            None => {
                let mut scratch = core::mem::take(&mut self.scratch);
                scratch.resize(length, 0);
                let result = write(&mut scratch);
                self.complete(&mut scratch, false);
                self.fragment(exchange, &scratch);
                self.scratch = scratch;
                result
            }
        }
    }

    /// Cuts a packet into fragments that fit the buffers of the exchange (RFC 791 3.2).
    fn fragment(&mut self, exchange: &mut Exchange, packet: &[u8]) {
        let (header, payload) = packet.split_at(IPV4_HEADER);
        let mut offset = 0;
        while offset < payload.len() && self.has_room() {
            let Some(mut packet) = exchange.allocate() else { break };
            let room = packet.tailroom().saturating_sub(ETHERNET_HEADER + IPV4_HEADER) & !7;
            let length = room.min(payload.len() - offset);
            let more = offset + length < payload.len();
            if length == 0 || packet.append(ETHERNET_HEADER + IPV4_HEADER + length).is_none() {
                exchange.recycle(packet);
                break;
            }
            write_ethernet(packet.bytes_mut());
            let ip = &mut packet.bytes_mut()[ETHERNET_HEADER..];
            ip[..IPV4_HEADER].copy_from_slice(header);
            ip[IPV4_HEADER..].copy_from_slice(&payload[offset..offset + length]);
            ip[2..4].copy_from_slice(&((IPV4_HEADER + length) as u16).to_be_bytes());
            ip[6..8].copy_from_slice(&((offset / 8) as u16 | u16::from(more) << 13).to_be_bytes());
            set_checksum(ip);
            self.queue.push_back(packet);
            offset += length;
        }
    }
}

/// Writes the checksum of an IPv4 header without options.
fn set_checksum(ip: &mut [u8]) {
    ip[10..12].fill(0);
    let sum = !checksum::sum(&ip[..IPV4_HEADER]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// The card, for as long as smoltcp is called.
pub(super) struct Card<'a> {
    pub(super) incoming: Option<&'a [u8]>,
    pub(super) exchange: &'a mut Exchange,
    pub(super) egress: &'a mut Egress,
}

impl Device for Card<'_> {
    type RxToken<'t>
        = Received<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Slot<'t>
    where
        Self: 't;

    fn receive(&mut self, now: Instant) -> Option<(Received<'_>, Slot<'_>)> {
        let packet = self.incoming.take()?;
        let mut answer = self.transmit(now)?;
        // An echo reply has the type of service of its request (RFC 1349 5.1).
        if packet[9] == protocol::ICMP {
            answer.tos = packet[1];
        }
        Some((Received(packet), answer))
    }

    fn transmit(&mut self, _: Instant) -> Option<Slot<'_>> {
        if !self.egress.has_room() || self.exchange.available() == 0 {
            return None;
        }
        Some(Slot { exchange: self.exchange, egress: self.egress, tos: 0 })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        // The pipeline and `Host::deliver` have verified what comes in; `complete` finishes what goes out.
        capabilities.checksum.ipv4 = Checksum::None;
        capabilities.checksum.icmpv4 = Checksum::Tx;
        capabilities.checksum.udp = Checksum::Tx;
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities
    }
}

pub(super) struct Received<'t>(&'t [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

pub(super) struct Slot<'t> {
    exchange: &'t mut Exchange,
    egress: &'t mut Egress,
    tos: u8,
}

impl TxToken for Slot<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        self.egress.emit(self.exchange, length, false, |ip| {
            let result = f(ip);
            ip[1] = self.tos;
            result
        })
    }
}
