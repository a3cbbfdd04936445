//! What the memory is spent on, decided once at boot.

use netstack::table::fib::Fib;

/// Bytes of a packet buffer in all. A frame of 64 KiB takes 17 of them.
pub const BUFFER: usize = 4096;

/// Everything else: rules, routes, sockets, the console, the log.
const OTHER: u64 = 8 << 20;
/// Buffers beyond those that the rings can hold: for frames that wait, and those that the router makes itself.
const SPARE_BUFFERS: usize = 256;
/// Flows that fit into the smallest machine; fewer are never offered.
const FEWEST_FLOWS: u64 = 65_536;
/// More than this would delay the start.
const MOST_FLOWS: u64 = 1 << 20;
/// Routes that fit into the smallest machine.
const FEWEST_ROUTES: u64 = 65_536;
const SOME_MEBIBYTES: u64 = 48 << 20;
const MANY_MEBIBYTES: u64 = 256 << 20;

/// The sizes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Flows that the table holds.
    pub flows: usize,
    /// Neighbours that the table holds.
    pub neighbors: usize,
    /// Routes that may be typed.
    pub routes: usize,
    /// Packet buffers.
    pub buffers: usize,
}

/// Entries that a card's ring may have, given the bytes of free memory.
pub fn ring_limit(free: u64) -> u16 {
    match free {
        MANY_MEBIBYTES.. => 1024,
        SOME_MEBIBYTES.. => 256,
        _ => 128,
    }
}

/// Divides `free` bytes of memory; the rings of all cards hold `ring_entries` buffers together.
pub fn divide(free: u64, ring_entries: usize, bytes_per_flow: usize) -> Sizes {
    let buffers = ring_entries + SPARE_BUFFERS;
    let left = free.saturating_sub(OTHER + (buffers * BUFFER) as u64);
    let flows = left / 2 / bytes_per_flow as u64;
    Sizes {
        flows: flows.clamp(FEWEST_FLOWS, MOST_FLOWS) as usize,
        neighbors: if free >= MANY_MEBIBYTES { 16_384 } else { 4096 },
        routes: (left / 4 / Fib::BYTES_PER_ROUTE as u64).max(FEWEST_ROUTES) as usize,
        buffers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netstack::table::connections::Connections;

    /// All that the sizes take, with what is left for everything else.
    fn total(sizes: Sizes) -> u64 {
        OTHER + (sizes.buffers * BUFFER + sizes.flows * Connections::BYTES_PER_FLOW) as u64
    }

    #[test]
    fn the_smallest_machine_holds_65536_flows() {
        for cards in [0, 1, 2, 4] {
            let free = 30 << 20;
            let entries = cards * 2 * usize::from(ring_limit(free));
            let sizes = divide(free, entries, Connections::BYTES_PER_FLOW);
            assert!(sizes.flows >= 65_536);
            assert!(total(sizes) <= free, "{cards} cards: {} bytes", total(sizes));
        }
    }

    #[test]
    fn sizes_fit_into_every_machine_and_grow_with_it() {
        let mut before = 0;
        for mebibytes in [31, 48, 64, 128, 192, 256, 512, 1024, 4096] {
            let free = mebibytes << 20;
            let sizes = divide(free, 2 * 2 * usize::from(ring_limit(free)), Connections::BYTES_PER_FLOW);
            assert!(total(sizes) <= free, "{mebibytes} MiB: {} bytes", total(sizes));
            assert!(sizes.flows >= before);
            before = sizes.flows;
        }
        assert_eq!(before as u64, MOST_FLOWS);
    }
}
