//! The hash of the tables that strangers fill: with a key that nobody outside knows, two entries share a bucket by chance only
//! (Lemire and Kaser, "Strongly universal string hashing is fast", 2014).
//!
//! A hash is the sum of a key and of terms: a key times a word, or [`pair`] for two words. Its upper half counts.

/// The term of two words of 32 bits: one multiplication for both.
#[inline(always)] // on each packet's way
pub fn pair(keys: [u64; 2], words: [u32; 2]) -> u64 {
    let [first, second] = [0, 1].map(|at: usize| keys[at].wrapping_add(words[at].into()));
    first.wrapping_mul(second)
}

/// The bucket, of so many, that a sum leads to.
#[inline(always)] // on each packet's way
pub fn bucket(sum: u64, buckets: usize) -> usize {
    (((sum >> 32) * buckets as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_words_have_a_say_and_their_order_too() {
        let keys = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f];
        let hashes = [[1, 2], [2, 1], [1, 3], [3, 2]].map(|words| pair(keys, words));
        assert!((1..4).all(|at| !hashes[..at].contains(&hashes[at])), "{hashes:x?}");
    }

    #[test]
    fn a_bucket_is_one_of_them() {
        assert_eq!([0, u64::MAX / 2, u64::MAX].map(|sum| bucket(sum, 1000)), [0, 499, 999]);
        assert_eq!(bucket(u64::MAX, 1), 0);
    }
}
