//! Sorting in the fewest instructions of code: a heap sort, for what commands list.
//!
//! The sorts of the standard library are made for speed, and put 4 to 8 KB into the image for each type that is sorted.
//! This one has about 500 bytes. Read Williams, "Algorithm 232: Heapsort", Communications of the ACM 7(6), 1964.

/// Sorts in rising order. Equal items may change places.
pub fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::lt);
}

/// Sorts so that no item is `less` than one before it. Equal items may change places. At most about 2 n log n comparisons.
pub fn sort_by<T>(items: &mut [T], less: impl Fn(&T, &T) -> bool) {
    let mut sorted = items.len();
    let mut unordered = sorted / 2;
    // First each inner node sinks to where its children are not larger; then the root, which is the largest, changes
    // places with the last node, time and again.
    while sorted > 1 {
        if unordered > 0 {
            unordered -= 1;
        } else {
            sorted -= 1;
            items.swap(0, sorted);
        }
        let mut node = unordered;
        loop {
            let mut child = 2 * node + 1;
            if child + 1 < sorted && less(&items[child], &items[child + 1]) {
                child += 1;
            }
            if child >= sorted || !less(&items[node], &items[child]) {
                break;
            }
            items.swap(node, child);
            node = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn items_are_in_the_order_that_the_standard_library_gives_them(mut items in vec(any::<u8>(), 0..100)) {
            let mut expected = items.clone();
            expected.sort();
            sort(&mut items);
            prop_assert_eq!(&items, &expected);
            expected.reverse();
            sort_by(&mut items, |a, b| b < a);
            prop_assert_eq!(items, expected);
        }
    }
}
