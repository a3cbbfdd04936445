//! The Internet checksum: the whole sum, and its incremental update (RFC 1071, RFC 1624).
//!
//! Own code instead of smoltcp's, which needs three times the instructions over a full segment.

use smoltcp::wire::Ipv4Address;

/// The ones' complement sum of `bytes`, folded to 16 bits and not complemented. A block that carries its own
/// right checksum sums to `0xffff`.
///
/// It adds eight bytes at a time in the machine's own order: the sum does not depend on it (RFC 1071 2 (B)).
#[inline]
pub fn sum(bytes: &[u8]) -> u16 {
    let (words, mut rest) = bytes.as_chunks::<8>();
    let mut total = 0u64;
    for word in words {
        total = add(total, u64::from_ne_bytes(*word));
    }
    if let Some((half, after)) = rest.split_first_chunk::<4>() {
        total = add(total, u32::from_ne_bytes(*half).into());
        rest = after;
    }
    if let Some((quarter, after)) = rest.split_first_chunk::<2>() {
        total = add(total, u16::from_ne_bytes(*quarter).into());
        rest = after;
    }
    if let [last] = rest {
        total = add(total, u16::from_ne_bytes([*last, 0]).into());
    }
    u16::from_be(fold(total))
}

/// The sum of a block that lies in several parts, each of any length.
pub fn sum_parts<'a>(parts: impl Iterator<Item = &'a [u8]>) -> u16 {
    let (mut total, mut odd) = (0, false);
    for part in parts {
        let sum = sum(part);
        // Behind an odd number of bytes, each byte falls into the other half of its word (RFC 1071 2 (A), (B)).
        total = fold_half(u32::from(total) + u32::from(if odd { sum.swap_bytes() } else { sum }));
        odd ^= part.len() % 2 != 0;
    }
    total
}

/// The sum of the pseudo-header that TCP and UDP put before `length` bytes (RFC 9293 3.1, RFC 768).
pub fn pseudo_header(source: Ipv4Address, destination: Ipv4Address, protocol: u8, length: u16) -> u16 {
    let words = [source.to_bits() >> 16, source.to_bits() & 0xffff]
        .into_iter()
        .chain([destination.to_bits() >> 16, destination.to_bits() & 0xffff])
        .chain([protocol.into(), length.into()]);
    fold_half(words.sum())
}

/// The ones' complement sum of two sums.
#[inline]
pub fn together(first: u16, second: u16) -> u16 {
    fold_half(u32::from(first) + u32::from(second))
}

/// Adds with the carry brought round.
#[inline]
fn add(total: u64, word: u64) -> u64 {
    let (total, carry) = total.overflowing_add(word);
    total + u64::from(carry)
}

/// Both halves together, with the carry brought round: in the upper half of the sum with the halves exchanged, the carry of
/// the lower one is there already.
#[inline]
fn fold(total: u64) -> u16 {
    fold_half((total.wrapping_add(total.rotate_left(32)) >> 32) as u32)
}

#[inline]
fn fold_half(total: u32) -> u16 {
    (total.wrapping_add(total.rotate_left(16)) >> 16) as u16
}

/// A checksum as UDP carries it: 0 would say that there is none (RFC 768).
#[inline]
pub fn udp(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// The same of the bytes of its field.
#[inline]
pub fn udp_field(field: [u8; 2]) -> [u8; 2] {
    if field == [0; 2] { [0xff; 2] } else { field }
}

/// A change of some bytes that a checksum covers, folded: the sum of ~m + m' over the words m that change.
///
/// It is kept in the byte order of the frame, for the sum does not depend on it (RFC 1071 2 (B)).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Delta(u16);

impl Delta {
    /// Nothing changes.
    pub const NONE: Self = Self(0);
    /// The TTL goes down by one: its word by 0x100.
    pub const TTL: Self = Self((!0x100_u16).to_be());

    /// A 16-bit word changes from `old` to `new`.
    #[inline]
    #[must_use]
    pub fn word(self, old: u16, new: u16) -> Self {
        Self(fold_half(u32::from(self.0) + u32::from(!old.to_be()) + u32::from(new.to_be())))
    }

    /// An address changes from `old` to `new`.
    #[inline]
    #[must_use]
    pub fn address(self, old: u32, new: u32) -> Self {
        let (old, new) = (!old.to_be(), new.to_be());
        Self(fold_half(u32::from(self.0) + (old >> 16) + (old & 0xffff) + (new >> 16) + (new & 0xffff)))
    }

    /// The change back.
    #[inline]
    #[must_use]
    pub fn inverse(self) -> Self {
        Self(!self.0)
    }

    /// The change, or the change back.
    #[inline]
    #[must_use]
    pub fn inverse_if(self, back: bool) -> Self {
        Self(self.0 ^ u16::from(back).wrapping_neg())
    }

    /// Both changes.
    #[inline]
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(fold_half(u32::from(self.0) + u32::from(other.0)))
    }

    /// A sum that is not complemented after the change: that of a pseudo-header, in a checksum that is yet to be
    /// completed.
    #[inline]
    #[must_use]
    pub fn apply_to_sum(self, sum: u16) -> u16 {
        u16::from_be_bytes(self.mend_sum(sum.to_be_bytes()))
    }

    /// The bytes of a field that holds such a sum after the change.
    #[inline]
    #[must_use]
    pub fn mend_sum(self, field: [u8; 2]) -> [u8; 2] {
        fold_half(u32::from(u16::from_ne_bytes(field)) + u32::from(self.0)).to_ne_bytes()
    }

    /// The checksum field after the change (RFC 1624 equation 3: HC' = ~(~HC + ~m + m')).
    #[inline]
    #[must_use]
    pub fn apply(self, checksum: u16) -> u16 {
        u16::from_be_bytes(self.mend(checksum.to_be_bytes()))
    }

    /// The bytes of the checksum field after the change.
    #[inline]
    #[must_use]
    pub fn mend(self, field: [u8; 2]) -> [u8; 2] {
        (!fold_half(u32::from(!u16::from_ne_bytes(field)) + u32::from(self.0))).to_ne_bytes()
    }

    /// The bytes of the checksum field of an IPv4 header after the change, and after its TTL went down by one.
    #[inline]
    #[must_use]
    pub fn mend_with_ttl(self, field: [u8; 2]) -> [u8; 2] {
        let before = u32::from(!u16::from_ne_bytes(field));
        (!fold_half(before + u32::from(self.0) + u32::from(Self::TTL.0))).to_ne_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::property;
    use proptest::prelude::*;

    /// The IPv4 header of RFC 1071's commonly worked example; its checksum is 0xb861.
    const HEADER: [u8; 20] = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0,
        0xa8, 0x00, 0xc7,
    ];

    #[test]
    fn a_block_with_its_own_checksum_sums_to_all_ones() {
        assert_eq!(sum(&HEADER), 0xffff);
    }

    #[test]
    fn an_odd_last_byte_is_padded_with_zero() {
        assert_eq!(sum(&[0x12, 0x34, 0x56]), 0x1234 + 0x5600);
    }

    /// RFC 1071 4.1, word by word.
    fn naive(bytes: &[u8]) -> u16 {
        let mut total = 0u32;
        for pair in bytes.chunks(2) {
            total += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
            total = (total & 0xffff) + (total >> 16);
        }
        total as u16
    }

    #[test]
    fn the_largest_packet_of_all_ones_sums_right() {
        let bytes = alloc::vec![0xff; 65_536];
        for length in 65_520..=65_536 {
            assert_eq!(sum(&bytes[..length]), naive(&bytes[..length]), "{length}");
        }
        assert_eq!(sum(&[]), 0);
    }

    proptest! {
        #![proptest_config(property())]

        #[test]
        fn equals_the_sum_word_by_word(bytes in prop::collection::vec(any::<u8>(), 0..200), start in 0..8usize) {
            let bytes = &bytes[start.min(bytes.len())..];
            prop_assert_eq!(sum(bytes), naive(bytes));
        }

        #[test]
        fn equals_the_sum_of_its_parts(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cuts in prop::collection::vec(1..50usize, 1..5),
        ) {
            let mut rest = &bytes[..];
            let mut lengths = cuts.iter().cycle();
            let parts = core::iter::from_fn(|| {
                let (part, after) = rest.split_at((*lengths.next()?).min(rest.len()));
                rest = after;
                (!part.is_empty()).then_some(part)
            });
            prop_assert_eq!(sum_parts(parts), naive(&bytes));
        }

        #[test]
        fn an_update_equals_a_recomputation(
            mut bytes in prop::collection::vec(any::<u8>(), 20..60),
            word in any::<u16>(),
            address in any::<u32>(),
        ) {
            bytes[0] |= 0x40; // as the version sees to it, a header is never all zero
            bytes[10..12].fill(0);
            let before = !sum(&bytes);
            let old = (u16::from_be_bytes([bytes[8], bytes[9]]), u32::from_be_bytes(bytes[12..16].try_into().unwrap()));
            let delta = Delta::NONE.word(old.0, word).and(Delta::NONE.address(old.1, address));
            bytes[8..10].copy_from_slice(&word.to_be_bytes());
            bytes[12..16].copy_from_slice(&address.to_be_bytes());
            prop_assert_eq!(delta.apply(before), !sum(&bytes));
            prop_assert_eq!(delta.inverse().apply(delta.apply(before)), before);
        }

        /// RFC 1624 4: a checksum that came wrong must leave wrong.
        #[test]
        fn an_update_never_makes_a_wrong_checksum_right(
            mut bytes in prop::collection::vec(any::<u8>(), 20..60),
            address in any::<u32>(),
            error in 1..=0xfffeu16,
        ) {
            bytes[0] |= 0x40;
            bytes[10..12].fill(0);
            let wrong = !sum(&bytes) ^ error;
            prop_assume!(wrong != 0xffff, "the other way to write zero");
            let old = u32::from_be_bytes(bytes[12..16].try_into().unwrap());
            bytes[12..16].copy_from_slice(&address.to_be_bytes());
            prop_assert_ne!(Delta::NONE.address(old, address).apply(wrong), !sum(&bytes));
        }
    }
}
