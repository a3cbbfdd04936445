//! The options of a TCP header, one after the other, each with its place (RFC 9293 3.1).
//!
//! Own code instead of smoltcp's, which gives the values alone: what is to be changed has to be found.

use core::ops::Range;

const END: u8 = 0;
const NOTHING: u8 = 1;

/// Kind and place of each option but the padding. `None`, and then no more: one ends before it begins, or beyond the header.
pub fn tcp_options(options: &[u8]) -> impl Iterator<Item = Option<(u8, Range<usize>)>> {
    let mut at = 0;
    core::iter::from_fn(move || {
        loop {
            let kind = *options.get(at)?;
            if kind == END {
                return None;
            }
            if kind == NOTHING {
                at += 1;
                continue;
            }
            let length = options.get(at + 1).map_or(0, |&length| usize::from(length));
            let place = at..at + length;
            let possible = length >= 2 && place.end <= options.len();
            at = if possible { place.end } else { options.len() };
            return Some(possible.then_some((kind, place)));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn read(bytes: &[u8]) -> Vec<Option<(u8, Range<usize>)>> {
        tcp_options(bytes).collect()
    }

    #[test]
    fn each_option_has_its_place_and_padding_has_none() {
        assert_eq!(read(&[1, 2, 4, 5, 0xb4, 1, 4, 2, 0, 9]), [Some((2, 1..5)), Some((4, 6..8))]);
        assert_eq!(read(&[1, 1, 1]), []);
        assert_eq!(read(&[]), []);
    }

    #[test]
    fn a_length_that_cannot_be_ends_the_list() {
        for lie in [&[4, 2, 3, 0, 2, 2][..], &[4, 2, 3, 1], &[4, 2, 3, 9], &[4, 2, 3]] {
            assert_eq!(read(lie), [Some((4, 0..2)), None], "{lie:?}");
        }
    }
}
