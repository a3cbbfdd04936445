//! Which addresses may stand on a packet (RFC 1812 5.3.7).

use crate::{
    outcome::DropReason,
    table::fib::{Destination, Fib},
};
use smoltcp::wire::Ipv4Address;

/// Whether an address can be a single host's: neither 0/8, 127/8, a group nor anything above (RFC 1122 3.2.1.3).
pub fn is_host(address: Ipv4Address) -> bool {
    !matches!(address.octets()[0], 0 | 127 | 224..)
}

/// Checks a packet that came from a wire.
///
/// # Errors
/// `MartianSource`, `MartianDestination`.
pub fn check(fib: &Fib, source: Ipv4Address, destination: Ipv4Address) -> Result<(), DropReason> {
    // 0.0.0.0 to the limited broadcast is how a host asks for its address (RFC 2131 4.1).
    let asks_for_address = source.is_unspecified() && destination.is_broadcast();
    if !is_host(source) && !asks_for_address {
        return Err(DropReason::MartianSource);
    }
    if matches!(destination.octets()[0], 0 | 127 | 240..) && !destination.is_broadcast() {
        return Err(DropReason::MartianDestination);
    }
    if asks_for_address {
        return Ok(());
    }
    if matches!(fib.lookup(source), Destination::Local { .. } | Destination::Broadcast { .. }) {
        return Err(DropReason::MartianSource);
    }
    Ok(())
}
