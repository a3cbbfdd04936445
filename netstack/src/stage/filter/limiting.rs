//! Whether a packet fits a match that remembers; iptables-extensions(8): connlimit, hashlimit, recent.

use super::{FlowState, Trail, fit::Subject};
use crate::{
    config::rules::{ConnectionLimit, Limiting},
    table::groups::Group,
};

impl Subject<'_> {
    /// Whether it fits; if not, the option that does not.
    pub(super) fn limiting(
        &self,
        wanted: &Limiting,
        effects: bool,
        trail: &mut Trail,
    ) -> Result<(), &'static str> {
        let (headers, now) = (self.headers(), self.candidate.now);
        let (fits, option) = match wanted {
            Limiting::Connections(wish) => (self.connections(wish, trail), "-m connlimit"),
            Limiting::Packets(wish) => (self.memory.hash_limit(wish, headers, now, effects), "-m hashlimit"),
            Limiting::Recent(wish) => {
                (self.memory.recent(wish, headers, headers.ttl, now, effects), "-m recent")
            }
        };
        if fits { Ok(()) } else { Err(option) }
    }

    /// The packet's own flow counts, too; it is to be counted from now on if the packet survives.
    fn connections(&self, wish: &ConnectionLimit, trail: &mut Trail) -> bool {
        let headers = self.headers();
        let address = if wish.destination { headers.destination } else { headers.source };
        let mask = u32::MAX.checked_shl(32 - u32::from(wish.prefix)).unwrap_or(0);
        let group = Group { rule: wish.number.get(), network: address.to_bits() & mask };
        let flow = self.candidate.flow.filter(|flow| flow.state != FlowState::Untracked);
        let counted = flow.and_then(|flow| flow.id).is_some_and(|id| self.groups.contains(group, id));
        let connections = match counted {
            true => self.groups.count(group),
            false if self.groups.is_full() => u32::MAX,
            false => {
                // What is beyond the capacity is not counted.
                let _ = trail.groups.push(group);
                self.groups.count(group) + 1
            }
        };
        (connections > wish.limit) == wish.above
    }
}
