//! The flight recorder: the last frames that came in, what became of them, and the flows and load that they met, so that they can be
//! sent through the plane once more (`record`, and `cargo run -- replay` on the host).

use super::{
    Met, Refused, Sight, TapId, Wish,
    filter::Filter,
    pcapng::{self, Out},
    ring::offload_to_bytes,
};
use crate::{
    command,
    headers::Headers,
    interface::{InterfaceId, mac_text},
    offload::Offload,
    packet::Packet,
    router::Router,
    stage::{overload::Load, track},
    table::{
        flow::{Direction, FlowImage},
        neighbor::View,
        tick::Tick,
    },
};
use alloc::{format, string::String, vec::Vec};
use core::fmt::Write;
use smoltcp::time::Instant;

/// Neighbours that a recording names.
const MOST_NEIGHBORS: usize = 512;
/// The longest configuration that a recording carries: as much as fits into an option of pcapng.
const LONGEST_CONFIGURATION: usize = 60_000;

/// A recording that is being made.
pub struct Recorder {
    tap: TapId,
    /// The neighbours at its beginning, as commands.
    neighbors: String,
}

impl Router {
    /// Records the frames that come in from now on, in `memory` bytes, of each `snapshot` bytes, and
    /// forgets what was recorded before.
    ///
    /// # Errors
    /// Too many look on already, or memory does not suffice; then the earlier recording goes on.
    pub fn start_recording(&mut self, memory: usize, snapshot: usize) -> Result<(), Refused> {
        let filter = Filter::inbound();
        let tap = self.taps.open(Wish { interface: None, filter, snapshot, memory, overwrite: true })?;
        self.stop_recording();
        let neighbors = self.neighbor_commands();
        self.taps.recorder = Some(Recorder { tap, neighbors });
        Ok(())
    }

    /// Ends the recording and forgets it.
    pub fn stop_recording(&mut self) {
        if let Some(recorder) = self.taps.recorder.take() {
            self.taps.close(recorder.tap);
        }
    }

    /// Begins the recording anew: its frames would be judged differently now.
    pub(crate) fn restart_recording(&mut self) {
        if let Some(tap) = self.recording() {
            self.taps.clear(tap);
            let neighbors = self.neighbor_commands();
            self.taps.recorder = Some(Recorder { tap, neighbors });
        }
    }

    /// The tap that holds the recording, if there is one.
    pub fn recording(&self) -> Option<TapId> {
        self.taps.recorder.as_ref().map(|recorder| recorder.tap)
    }

    /// Begins the file of a recording: the configuration, as commands, and the interfaces.
    pub fn begin_dump(&self, out: &mut Out) {
        let mut text = command::commands(&self.config);
        if text.len() > LONGEST_CONFIGURATION {
            text = String::from("# The configuration is too long to be here.\n");
        }
        if let Some(recorder) = &self.taps.recorder {
            // The replies that tell the others' addresses are among the frames, unless they made room for later ones.
            let lost = self.taps.has_lost(recorder.tap);
            text += if lost { self.neighbor_commands() } else { recorder.neighbors.clone() }.as_str();
        }
        pcapng::section(&text, out);
        for (_, interface) in self.config.interfaces() {
            pcapng::interface(&interface.name, interface.mac, "", out);
        }
    }

    /// Adds the frame at `place` of the recording (0: the oldest), and gives the place of the next one.
    pub fn dump_frame(&self, place: u64, out: &mut Out) -> Option<u64> {
        let mut frame = Vec::new();
        let (sight, next) = self.taps.read(self.recording()?, place, &mut frame)?;
        let micros = sight.time.total_micros() as u64;
        pcapng::packet(sight.interface.0.into(), micros, &sight, &frame, &notes(&sight), out);
        Some(next)
    }

    /// What a frame that has come in is about to meet, where that is to be recorded.
    pub(crate) fn met(&self, ingress: InterfaceId, packet: &Packet, now: Instant) -> Met {
        if !self.taps.want_met() {
            return Met::default();
        }
        Met { flow: self.flow_image(packet, now), load: self.loads[usize::from(ingress.0)].image(now) }
    }

    /// The flow that a frame belongs to, or that it is about.
    fn flow_image(&self, packet: &Packet, now: Instant) -> Option<FlowImage> {
        let headers = Headers::of(packet).ok()?;
        let (flows, tick) = (&self.connections.flows, Tick::at(now));
        let found = self.find(now, &headers);
        let (id, _) =
            found.or_else(|| track::find_by_quote(&self.connections, packet.bytes(), &headers, tick))?;
        Some(FlowImage::of(flows.get(id), flows.ingress(id), flows.mark(id), tick))
    }

    /// Makes things be here as a frame of a recording met them.
    pub fn restore(&mut self, ingress: InterfaceId, met: &Met, now: Instant) {
        if let Some(load) = self.loads.get_mut(usize::from(ingress.0)) {
            *load = met.load.as_ref().map_or_else(Load::default, |image| image.load(now));
        }
        if let Some(flow) = &met.flow {
            self.restore_flow(flow, now);
        }
    }

    /// Lets a flow go on, unless the same goes on already.
    fn restore_flow(&mut self, image: &FlowImage, now: Instant) {
        let tick = Tick::at(now);
        let (original, leaving) = image.tuples();
        if let Some((id, direction)) = self.connections.flows.find(&original, tick) {
            let flow = self.connections.flows.get(id);
            if direction == Direction::Original && flow.translated(Direction::Original) == leaving {
                return;
            }
            self.connections.end(id);
        }
        let (draft, status, mark, seconds) = image.draft();
        // A clash is a flow that this one ends.
        if let Ok(id) = self.connections.begin(&draft, tick, seconds) {
            self.connections.flows.get_mut(id).status = status;
            self.connections.flows.set_mark(id, mark);
        }
    }

    fn neighbor_commands(&self) -> String {
        let mut text = String::new();
        let is_static = |view: &View| {
            let mut known = self.config.neighbors.iter();
            known.any(|known| (known.interface, known.address) == (view.interface, view.address))
        };
        for view in self.neighbors.iter(self.now).filter(|view| !is_static(view)).take(MOST_NEIGHBORS) {
            if let Some(mac) = view.mac {
                let (address, name) = (view.address, self.config.name(view.interface));
                let _ = writeln!(text, "ip neigh add {address} lladdr {} dev {name}", mac_text(mac));
            }
        }
        text
    }
}

/// What is noted beside a frame: for people its fate, and for a replay the rest.
fn notes(sight: &Sight) -> String {
    let mut text = match &sight.verdict {
        Some(verdict) => format!("{verdict}"),
        // It was on its way when the recording was taken.
        None => String::new(),
    };
    let mut hex = |name: &str, bytes: &[u8]| {
        let _ = write!(text, "\n{name} ");
        bytes.iter().for_each(|byte| _ = write!(text, "{byte:02x}"));
    };
    if let Some(flow) = &sight.met.flow {
        hex("flow", flow.bytes());
    }
    if let Some(load) = &sight.met.load {
        hex("load", load.bytes());
    }
    if sight.offload != Offload::None {
        hex("offload", &offload_to_bytes(&sight.offload));
    }
    text
}
