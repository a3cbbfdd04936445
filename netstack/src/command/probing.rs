//! What `ping` and `traceroute` share.

use super::Failure;
use crate::{
    config::Config,
    router::Router,
    table::fib::{Destination, Query},
};
use alloc::{format, string::String};
use smoltcp::{time::Duration, wire::Ipv4Address};

/// `-c3` as its letter and what is attached to it.
pub fn option(word: &str) -> Option<(char, &str)> {
    let mut rest = word.strip_prefix('-')?.chars();
    let letter = rest.next()?;
    Some((letter, rest.as_str()))
}

/// A destination, which has to be a number: there is no resolver.
pub fn destination(command: &str, word: &str) -> Result<Ipv4Address, Failure> {
    word.parse()
        .map_err(|_| Failure::new(2, format!("{command}: {word}: Temporary failure in name resolution")))
}

/// Seconds, with up to three decimals; at most a day.
pub fn seconds(word: &str) -> Option<Duration> {
    let (whole, fraction) = word.split_once('.').unwrap_or((word, ""));
    if fraction.len() > 3 || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { super::argument::decimal(whole)? };
    let millis: u64 = super::argument::decimal(&format!("{fraction:0<3}"))?;
    (whole <= 86_400).then(|| Duration::from_millis(whole * 1000 + millis))
}

/// The source that `-I` names: an address, or the first one of an interface.
pub fn source(word: &str, config: &Config) -> Option<Ipv4Address> {
    if let Ok(address) = word.parse() {
        return config.is_local(address).then_some(address);
    }
    let interface = config.interface(config.find_interface(word)?);
    interface.addresses.first().map(|entry| entry.cidr.address())
}

/// The source to use for `destination`, where one was not given.
pub fn check(
    router: &Router,
    destination: Ipv4Address,
    source: Ipv4Address,
) -> Result<Ipv4Address, &'static str> {
    let query = Query { source, ..Query::to(destination) };
    match router.fib().route(router.config(), destination, || query) {
        Destination::Broadcast { .. } | Destination::Multicast => {
            Err("connect: Permission denied: it is no single station")
        }
        Destination::NoRoute => Err("connect: Network is unreachable"),
        Destination::Blackhole => Err("connect: Invalid argument"),
        Destination::Unreachable => Err("connect: No route to host"),
        Destination::Prohibit => Err("connect: Permission denied"),
        Destination::Local { .. } | Destination::Unicast(_) if !source.is_unspecified() => Ok(source),
        Destination::Local { .. } => Ok(destination),
        Destination::Unicast(_) => router
            .fib()
            .source_for(router.config(), destination)
            .ok_or("connect: Cannot assign requested address"),
    }
}

/// Microseconds as milliseconds with three decimals.
pub fn milliseconds(micros: u64) -> String {
    format!("{}.{:03}", micros / 1000, micros % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_with_a_fraction() {
        for (word, millis) in [("1", 1000), ("0.2", 200), (".05", 50), ("2.", 2000), ("86400", 86_400_000)] {
            assert_eq!(seconds(word), Some(Duration::from_millis(millis)), "{word}");
        }
        for word in ["", ".", "-1", "1.2345", "1e3", "86401", "99999999999999999999"] {
            assert_eq!(seconds(word), None, "{word}");
        }
    }
}
