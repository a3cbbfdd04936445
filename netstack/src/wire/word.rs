//! Sixteen bits of a header in network byte order, at a place that was checked before.

use super::checksum::Delta;

/// The word at `at`.
///
/// # Panics
/// Where that is outside `bytes`.
#[inline]
pub fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Writes the word at `at`.
///
/// # Panics
/// Where that is outside `bytes`.
#[inline]
pub fn put_word(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Mends the checksum at `at` by what changed in what it covers (RFC 1624).
///
/// # Panics
/// Where that is outside `bytes`.
#[inline]
pub fn mend(bytes: &mut [u8], at: usize, delta: Delta) {
    let checksum = delta.apply(word(bytes, at));
    put_word(bytes, at, checksum);
}
