//! The heap: one free list for each stretch of memory. Memory is mapped to itself, so a device can be given the address of
//! whatever lies here.

use boot::memory::Range;
use core::{
    alloc::{GlobalAlloc, Layout},
    ptr::{NonNull, null_mut},
};
use linked_list_allocator::Heap;
use spin::Mutex;

/// Stretches below and above the hole for devices, each cut once more by a module.
const STRETCHES: usize = 4;

struct Stretches(Mutex<[Heap; STRETCHES]>);

#[global_allocator]
static HEAP: Stretches = Stretches(Mutex::new([const { Heap::empty() }; STRETCHES]));

/// Hands memory to the heap: the largest of these ranges.
///
/// # Safety
/// To be called once; the ranges are mapped, writable and nobody else's.
pub unsafe fn init(memory: &[Range]) {
    let mut heaps = HEAP.0.lock();
    let mut taken = [Range::default(); STRETCHES];
    for place in 0..STRETCHES {
        let rest = memory.iter().filter(|range| !taken.contains(range));
        let Some(&largest) = rest.max_by_key(|range| range.length()) else { break };
        taken[place] = largest;
        // SAFETY: the caller promises it.
        unsafe { heaps[place].init(largest.start as *mut u8, largest.length() as usize) };
    }
}

/// Whether somebody is taking memory, or giving it back, and was interrupted by a panic.
pub fn is_locked() -> bool {
    HEAP.0.is_locked()
}

/// Bytes that are free.
pub fn free() -> u64 {
    HEAP.0.lock().iter().filter(|heap| heap.size() > 0).map(|heap| heap.free() as u64).sum()
}

// SAFETY: the free lists hand out memory that was given to them alone, and take back only what they gave.
unsafe impl GlobalAlloc for Stretches {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut heaps = self.0.lock();
        let found = heaps.iter_mut().find_map(|heap| heap.allocate_first_fit(layout).ok());
        found.map_or(null_mut(), NonNull::as_ptr)
    }

    #[inline(never)] // rare, and long: it would only be in the way where it is not needed
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(pointer) = NonNull::new(pointer) else { return };
        let mut heaps = self.0.lock();
        let owner = heaps.iter_mut().find(|heap| (heap.bottom()..heap.top()).contains(&pointer.as_ptr()));
        if let Some(heap) = owner {
            // SAFETY: the caller promises that this allocator gave it out with this layout; it lies in this heap.
            unsafe { heap.deallocate(pointer, layout) };
        }
    }
}
