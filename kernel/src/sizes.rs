//! What the memory is spent on, decided once at boot.

use netstack::table::fib::Fib;

/// Bytes that a packet buffer may have in all. The fewer buffers a frame of 64 KiB takes, the more such frames wait in a
/// ring: of the largest ones it takes 5.
const BUFFER_SIZES: [usize; 3] = [16 << 10, 8 << 10, 4 << 10];
/// Buffers larger than the smallest ones are used where they take no more than this part of the memory.
const BUFFERS_PART: u64 = 8;

/// Everything else: rules, routes, sockets, the console, the log.
const OTHER: u64 = 8 << 20;
/// Buffers beyond those that the rings can hold: for frames that wait, and those that the router makes itself.
const SPARE_BUFFERS: usize = 256;
/// Flows that fit into the smallest machine; fewer are never offered.
const FEWEST_FLOWS: u64 = 65_536;
/// More than this would delay the start, and are there only where they are asked for.
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
    /// Bytes of each.
    pub buffer: usize,
}

/// Entries that a card's ring may have, given the bytes of free memory.
pub fn ring_limit(free: u64) -> u16 {
    match free {
        MANY_MEBIBYTES.. => 1024,
        SOME_MEBIBYTES.. => 256,
        _ => 128,
    }
}

/// Entries that each of a card's receive queues but the first may have: enough to bridge the time until the next turn of the
/// event loop, as most of what goes on is in the first one.
pub const FURTHER_RING_LIMIT: u16 = 64;

/// Receive queues that a card may have, given the bytes of free memory.
pub fn queues_limit(free: u64) -> u16 {
    if free >= SOME_MEBIBYTES { 8 } else { 1 }
}

/// Divides `free` bytes of memory; the rings of all cards hold `ring_entries` buffers together. Flows come first, as many
/// as are `wanted`, and routes take the rest.
pub fn divide(free: u64, ring_entries: usize, bytes_per_flow: usize, wanted: Option<usize>) -> Sizes {
    let buffers = ring_entries + SPARE_BUFFERS;
    let taken = |size: usize| (buffers * size) as u64;
    let needed = OTHER + (wanted.unwrap_or_default() * bytes_per_flow) as u64;
    let fits = |size: &usize| taken(*size) <= free / BUFFERS_PART && needed + taken(*size) <= free;
    let [.., smallest] = BUFFER_SIZES;
    let buffer = BUFFER_SIZES.into_iter().find(fits).unwrap_or(smallest);
    let left = free.saturating_sub(OTHER + taken(buffer));
    let flows = (left / bytes_per_flow as u64).min(wanted.map_or(MOST_FLOWS, |flows| flows as u64));
    let flows = flows.max(FEWEST_FLOWS);
    let left = left.saturating_sub(flows * bytes_per_flow as u64);
    Sizes {
        flows: flows as usize,
        neighbors: if free >= MANY_MEBIBYTES { 16_384 } else { 4096 },
        routes: (left / Fib::BYTES_PER_ROUTE as u64).max(FEWEST_ROUTES) as usize,
        buffers,
        buffer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netstack::table::connections::Connections;

    /// Buffers that the rings of so many cards hold, each with as many queues as it may have.
    fn ring_entries(free: u64, cards: usize) -> usize {
        let further = usize::from(queues_limit(free) - 1) * usize::from(FURTHER_RING_LIMIT);
        cards * (2 * usize::from(ring_limit(free)) + further)
    }

    /// All that the sizes take, with what is left for everything else.
    fn total(sizes: Sizes) -> u64 {
        OTHER + (sizes.buffers * sizes.buffer + sizes.flows * Connections::BYTES_PER_FLOW) as u64
    }

    #[test]
    fn the_smallest_machine_holds_65536_flows() {
        for cards in [0, 1, 2, 4] {
            let free = 30 << 20;
            let sizes = divide(free, ring_entries(free, cards), Connections::BYTES_PER_FLOW, None);
            assert!(sizes.flows >= 65_536);
            assert!(total(sizes) <= free, "{cards} cards: {} bytes", total(sizes));
        }
    }

    fn of(mebibytes: u64, wanted: Option<usize>) -> Sizes {
        let free = mebibytes << 20;
        let sizes = divide(free, ring_entries(free, 2), Connections::BYTES_PER_FLOW, wanted);
        assert!(total(sizes) <= free, "{mebibytes} MiB: {} bytes", total(sizes));
        sizes
    }

    #[test]
    fn sizes_fit_into_every_machine_and_grow_with_it() {
        let mut before = 0;
        for mebibytes in [31, 48, 64, 128, 192, 256, 512, 1024, 4096] {
            let sizes = of(mebibytes, None);
            assert!(sizes.flows >= before);
            before = sizes.flows;
        }
        assert_eq!(before as u64, MOST_FLOWS);
    }

    #[test]
    fn a_million_flows_and_four_million_where_they_are_asked_for() {
        // Of 128 and 512 MiB, the image and what QEMU keeps are gone.
        assert!(of(124, None).flows >= 1_000_000);
        assert!(of(506, Some(4_000_000)).flows >= 4_000_000);
        let few = of(506, Some(100_000));
        assert_eq!(few.flows, 100_000);
        assert!(few.routes > 5_000_000, "the rest is for routes: {}", few.routes);
    }
}
