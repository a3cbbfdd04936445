//! Owns all state of the plane: receive / poll / poll_at / edit.

use crate::{
    config::{Change, Config, ConfigError, PortInfo},
    exchange::Exchange,
    interface::PortId,
    outcome::{DropCounters, DropReason, Outcome},
    packet::Packet,
};
use smoltcp::time::Instant;

/// Everything from outside that the plane needs at one moment.
pub struct Context<'a> {
    /// Now; never earlier than in the call before.
    pub now: Instant,
    /// Random numbers that nobody outside can guess.
    pub random: &'a mut dyn rand_core::Rng,
    /// Buffers in, frames out.
    pub exchange: &'a mut Exchange,
}

/// Sizes that are fixed for the life of a router, from the memory that there is.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most flows at once.
    pub flows: usize,
    /// Most entries of the neighbour table.
    pub neighbors: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { flows: 65_536, neighbors: 1024 }
    }
}

/// The router.
pub struct Router {
    config: Config,
    drops: DropCounters,
}

impl Router {
    /// A router with these cards and the configuration of [`Config::new`]. `random` seeds the keys of its tables.
    pub fn new(ports: &[PortInfo], limits: &Limits, random: &mut dyn rand_core::Rng) -> Self {
        let _ = (limits, random);
        Self { config: Config::new(ports), drops: DropCounters::default() }
    }

    /// The present configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Changes the configuration. `change` must check everything before it touches anything, and says what it
    /// made stale.
    ///
    /// # Errors
    /// Those of `change`; then nothing has changed.
    pub fn edit(
        &mut self,
        change: impl FnOnce(&mut Config) -> Result<Change, ConfigError>,
    ) -> Result<(), ConfigError> {
        let stale = change(&mut self.config)?;
        self.refresh(stale);
        Ok(())
    }

    /// Replaces the whole configuration at once.
    pub fn replace_config(&mut self, config: Config) {
        self.config = config;
        self.refresh(Change::ALL);
    }

    fn refresh(&mut self, stale: Change) {
        let _ = stale;
    }

    /// Takes one frame from the wire to its end.
    pub fn receive(&mut self, cx: &mut Context<'_>, port: PortId, packet: Packet) -> Outcome {
        let _ = port;
        cx.exchange.recycle(packet);
        self.drops.count(DropReason::InterfaceDown);
        Outcome::Dropped(DropReason::InterfaceDown)
    }

    /// Does what time asks for: timers, sweeps, the router's own sockets.
    pub fn poll(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// When [`Router::poll`] has something to do next; `None`: only after a frame or a command.
    pub fn poll_at(&self) -> Option<Instant> {
        None
    }

    /// The card's link came up or went down.
    pub fn set_carrier(&mut self, port: PortId, carrier: bool) {
        let _ = (port, carrier);
    }

    /// Counters of what was dropped, by reason.
    pub fn drops(&self) -> &DropCounters {
        &self.drops
    }
}
