//! A recording of a router, sent through the plane once more on this machine. Read first: docs/commands.md, "record".

use std::fmt;
use std::io::Cursor;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use netstack::command::{BEGIN, END, load};
use netstack::config::PortInfo;
use netstack::exchange::Exchange;
use netstack::interface::{InterfaceId, PortId};
use netstack::offload::Offload;
use netstack::outcome::Outcome;
use netstack::router::{self, Limits, Router};
use netstack::stage::overload::LoadImage;
use netstack::table::flow::FlowImage;
use netstack::tap::text::{Printer, Style};
use netstack::tap::{Met, Sight, offload_from_bytes};
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::SectionHeaderOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use rand::SeedableRng;
use rand::rngs::StdRng;
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

/// What a recording tells.
pub struct Recording {
    /// The commands that configure its router.
    pub configuration: String,
    interfaces: Vec<(String, EthernetAddress)>,
    pub frames: Vec<Frame>,
}

/// A frame that came in.
pub struct Frame {
    /// What was recorded of its fate; none: nothing was.
    pub verdict: Option<String>,
    sight: Sight,
    bytes: Vec<u8>,
}

/// A frame that was replayed.
pub struct Replayed {
    pub recorded: Option<String>,
    pub outcome: Outcome,
    line: String,
}

impl Replayed {
    /// Whether it came out as it was recorded; where nothing was, it did.
    pub fn is_equal(&self) -> bool {
        self.recorded.as_ref().is_none_or(|recorded| *recorded == self.outcome.to_string())
    }
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.line)?;
        let recorded = self.recorded.as_deref().unwrap_or("nothing");
        if self.is_equal() {
            write!(f, "\t{}", self.outcome)
        } else {
            write!(f, "\tDIFFERENT: recorded {recorded}\n\t           replayed {}", self.outcome)
        }
    }
}

impl Recording {
    /// Reads a pcapng file of `record dump` or of `capture`, or the text of a console with one in it.
    ///
    /// # Errors
    /// It is neither.
    pub fn read(file: &[u8]) -> Result<Recording> {
        let decoded;
        let file = match file {
            [0x0a, 0x0d, 0x0d, 0x0a, ..] => file,
            text => {
                decoded = armoured(&String::from_utf8_lossy(text))?;
                &decoded
            }
        };
        let mut reader = PcapNgReader::new(Cursor::new(file)).context("the recording")?;
        let configuration = reader.section().options.iter().find_map(|option| match option {
            SectionHeaderOption::Comment(text) => Some(text.to_string()),
            _ => None,
        });
        let mut recording = Recording {
            configuration: configuration.unwrap_or_default(),
            interfaces: Vec::new(),
            frames: Vec::new(),
        };
        while let Some(block) = reader.next_block() {
            match block.context("the recording")? {
                Block::InterfaceDescription(block) => recording.interfaces.push(interface(&block)?),
                Block::EnhancedPacket(block) => {
                    let known = usize::try_from(block.interface_id)?;
                    ensure!(
                        known < recording.interfaces.len(),
                        "a frame of an interface that is not described"
                    );
                    recording.frames.extend(frame(&block, &recording.interfaces[known].0)?);
                }
                _ => {}
            }
        }
        Ok(recording)
    }

    /// Sends the frames through a router with this configuration, each at its time.
    ///
    /// # Errors
    /// The configuration is refused.
    pub fn replay(&self, configuration: &str) -> Result<Vec<Replayed>> {
        let ports: Vec<PortInfo> = self.ports().map(|mac| PortInfo::new(mac, u16::MAX)).collect();
        let mut random = StdRng::seed_from_u64(0);
        let mut router = Router::new(&ports, &Limits::default(), &mut random);
        if let Err(error) = load(&mut router, configuration) {
            bail!("the configuration, line {}: {}", error.line, error.message);
        }
        let mut exchange = Exchange::new(BUFFERS, BUFFER_SIZE);
        let mut printer = Printer::new(Style { interfaces: true, ..Style::default() });
        let mut replayed = Vec::new();
        for frame in &self.frames {
            let Some(port) = port_of(frame, &router) else { bail!("a frame of a card that is not there") };
            let time = frame.sight.time;
            while let Some(due) = router.poll_at().filter(|due| *due < time) {
                let now = due.max(Instant::ZERO);
                router.poll(&mut router::Context { now, random: &mut random, exchange: &mut exchange });
                empty(&mut exchange);
            }
            router.restore(frame.sight.interface, &frame.sight.met, time);
            let packet = packet(frame, &mut exchange)?;
            let cx = &mut router::Context { now: time, random: &mut random, exchange: &mut exchange };
            let outcome = router.receive(cx, port, packet);
            router.poll(cx);
            empty(&mut exchange);
            let mut line = String::new();
            printer.print(&frame.sight, router.config().name(frame.sight.interface), &frame.bytes, &mut line);
            let line = line.trim_end().to_owned();
            replayed.push(Replayed { recorded: frame.verdict.clone(), outcome, line });
        }
        Ok(replayed)
    }

    /// The MAC addresses of the cards.
    fn ports(&self) -> impl Iterator<Item = EthernetAddress> {
        self.interfaces.iter().filter(|(name, _)| name.starts_with("eth")).map(|(_, mac)| *mac)
    }
}

/// Room for what waits inside a router, and for a frame of 64 KiB.
const BUFFERS: usize = 1024;
const BUFFER_SIZE: usize = 2048;

/// The bytes between the lines that `record dump` prints around them. A terminal may have put other lines between.
fn armoured(text: &str) -> Result<Vec<u8>> {
    let inside = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    let (inside, _) = inside.context("this is neither a pcapng file nor a text with a recording")?;
    let digits: String = inside.split_whitespace().collect();
    STANDARD.decode(digits).context("the recording is damaged")
}

fn interface(block: &InterfaceDescriptionBlock<'_>) -> Result<(String, EthernetAddress)> {
    let (mut name, mut mac) = (None, EthernetAddress([0; 6]));
    for option in &block.options {
        match option {
            InterfaceDescriptionOption::IfName(text) => name = Some(text.to_string()),
            InterfaceDescriptionOption::IfMacAddr(bytes) => mac = EthernetAddress::from_bytes(&bytes[..6]),
            _ => {}
        }
    }
    Ok((name.context("an interface without a name")?, mac))
}

/// A frame, if it came in.
fn frame(block: &EnhancedPacketBlock<'_>, name: &str) -> Result<Option<Frame>> {
    const DIRECTION: u32 = 3;
    const INBOUND: u32 = 1;
    let (mut verdict, mut met, mut offload, mut inbound) = (None, Met::default(), Offload::None, false);
    for option in &block.options {
        match option {
            EnhancedPacketOption::Flags(flags) => inbound = flags & DIRECTION == INBOUND,
            EnhancedPacketOption::Comment(text) => {
                for line in text.lines() {
                    match line.split_once(' ') {
                        None if line.is_empty() => {}
                        Some(("flow", digits)) => met.flow = FlowImage::from_bytes(&hex(digits)?),
                        Some(("load", digits)) => met.load = LoadImage::from_bytes(&hex(digits)?),
                        Some(("offload", digits)) => offload = offload_from_bytes(&hex(digits)?),
                        _ => verdict = Some(line.to_owned()),
                    }
                }
            }
            _ => {}
        }
    }
    // `eth0` is the first interface behind `lo`.
    let number: u16 = name.strip_prefix("eth").and_then(|digits| digits.parse().ok()).unwrap_or(u16::MAX - 1);
    let micros = u64::try_from(block.timestamp.as_nanos()).context("a time")?;
    let sight = Sight {
        // The crate takes the numbers for nanoseconds, which microseconds are not.
        time: Instant::from_micros(i64::try_from(micros)?),
        interface: InterfaceId(number + 1),
        received: true,
        length: block.original_len,
        verdict: None,
        offload,
        met,
    };
    Ok(inbound.then(|| Frame { verdict, sight, bytes: block.data.to_vec() }))
}

fn hex(digits: &str) -> Result<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?);
    pairs.map(byte).collect::<Option<_>>().context("the recording is damaged: no hexadecimal number")
}

fn port_of(frame: &Frame, router: &Router) -> Option<PortId> {
    let (_, interface) = router.config().interfaces().find(|(id, _)| *id == frame.sight.interface)?;
    interface.port()
}

/// The frame in buffers, as a card would have given it. Of bytes that were not kept nothing is known but their number: a
/// checksum over them counts as right.
fn packet(frame: &Frame, exchange: &mut Exchange) -> Result<netstack::packet::Packet> {
    let length = frame.sight.length as usize;
    ensure!(length <= BUFFER_SIZE * (BUFFERS / 2), "a frame of {length} bytes");
    let mut bytes = frame.bytes.clone();
    bytes.resize(length.max(bytes.len()), 0);
    let mut parts = Vec::new();
    for part in bytes.chunks(BUFFER_SIZE) {
        let mut buffer = exchange.allocate_frame(part.len()).context("no buffer is left")?;
        buffer.bytes_mut().copy_from_slice(part);
        parts.push(buffer);
    }
    let mut parts = parts.into_iter();
    let mut packet = parts.next().context("a frame without a byte")?;
    packet.extend(parts);
    let cut = frame.bytes.len() < length && frame.sight.offload == Offload::None;
    packet.set_offload(if cut { Offload::Verified } else { frame.sight.offload });
    Ok(packet)
}

/// Nobody is on the wires.
fn empty(exchange: &mut Exchange) {
    while let Some((_, packet)) = exchange.take_outgoing() {
        exchange.recycle(packet);
    }
}
