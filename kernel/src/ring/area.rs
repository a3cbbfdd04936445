//! The memory that driver and device share: descriptor table, available ring, used ring (virtio 1.2, 2.7.5 to 2.7.8).
//!
//! The layout is the one that legacy devices demand (2.7.2); it suits modern ones as well. Every place is masked with the
//! size of the ring, so no index leads out of it.

use super::{Addresses, Direction, Part};
use alloc::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU16, Ordering},
};

const LEGACY_ALIGNMENT: usize = 4096;
/// VIRTQ_DESC_F_NEXT: the buffer goes on.
const NEXT: u64 = 1;
/// VIRTQ_DESC_F_WRITE: the device writes.
const WRITE: u64 = 2;
/// VIRTQ_AVAIL_F_NO_INTERRUPT.
const NO_INTERRUPT: u16 = 1;
/// VIRTQ_USED_F_NO_NOTIFY.
const NO_NOTIFY: u16 = 1;

/// Address; length, flags and the number of the next descriptor.
type Descriptor = [u64; 2];
/// Number of the descriptor; bytes written.
type UsedElement = [u32; 2];

/// The head of both rings: flags, then the index, then the elements.
const FLAGS: usize = 0;
const INDEX: usize = 2;
const ELEMENTS: usize = 4;

/// The memory of a ring.
pub struct Area {
    /// Where it begins; the descriptor table is first.
    base: NonNull<u8>,
    available: NonNull<u8>,
    used: NonNull<u8>,
    layout: Layout,
    /// The size, a power of two, less one.
    mask: u16,
}

// SAFETY: the memory belongs to this value alone, apart from the device.
unsafe impl Send for Area {}

impl Area {
    /// An empty ring with `size` descriptors, a power of two.
    pub fn new(size: u16) -> Self {
        let entries = usize::from(size);
        let available = size_of::<Descriptor>() * entries;
        let end_of_available = available + ELEMENTS + size_of::<u16>() * (entries + 1);
        let used = end_of_available.next_multiple_of(LEGACY_ALIGNMENT);
        let length = used + ELEMENTS + size_of::<UsedElement>() * entries + size_of::<u16>();
        let layout = Layout::from_size_align(length, LEGACY_ALIGNMENT).expect("at most 32,768 entries");
        // SAFETY: the layout is not empty.
        let base =
            NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        // SAFETY: both rings lie in the area.
        let (available, used) = unsafe { (base.add(available), base.add(used)) };
        Self { base, available, used, layout, mask: size - 1 }
    }

    pub fn size(&self) -> u16 {
        self.mask + 1
    }

    /// Memory is mapped to itself, so a pointer is an address for the device too.
    pub fn addresses(&self) -> Addresses {
        let address = |place: NonNull<u8>| place.as_ptr() as u64;
        Addresses {
            descriptors: address(self.base),
            available: address(self.available),
            used: address(self.used),
        }
    }

    #[inline]
    fn place(&self, index: u16) -> usize {
        usize::from(index & self.mask)
    }

    /// The 16-bit word at the even offset `offset` of one of the rings.
    ///
    /// # Safety
    /// It is inside that ring.
    #[inline]
    unsafe fn word(&self, ring: NonNull<u8>, offset: usize) -> &AtomicU16 {
        // SAFETY: the caller promises it; whoever else touches the word (the device) does so atomically.
        unsafe { AtomicU16::from_ptr(ring.add(offset).cast().as_ptr()) }
    }

    #[inline]
    pub fn write_descriptor(&mut self, id: u16, part: Part, next: Option<u16>) {
        let write = if part.direction == Direction::Receive { WRITE } else { 0 };
        let next = next.map_or(0, |next| NEXT | u64::from(next) << 16);
        let words = self.base.as_ptr().cast::<u64>();
        // SAFETY: the place is inside the table, which starts the area.
        unsafe {
            let descriptor = words.add(2 * self.place(id));
            descriptor.write_volatile(part.address);
            descriptor.add(1).write_volatile(u64::from(part.length) | (write | next) << 32);
        }
    }

    #[inline]
    pub fn write_available(&mut self, index: u16, id: u16) {
        let offset = ELEMENTS + size_of::<u16>() * self.place(index);
        // SAFETY: the place is inside the ring.
        unsafe { self.word(self.available, offset) }.store(id, Ordering::Relaxed);
    }

    /// What was written before is visible to the device before the index is.
    #[inline]
    pub fn set_available_index(&mut self, index: u16) {
        // SAFETY: a ring has this word.
        unsafe { self.word(self.available, INDEX) }.store(index, Ordering::Release);
    }

    #[inline]
    pub fn set_interrupts(&mut self, on: bool) {
        let flags = if on { 0 } else { NO_INTERRUPT };
        // SAFETY: a ring has this word.
        unsafe { self.word(self.available, FLAGS) }.store(flags, Ordering::Relaxed);
    }

    #[inline]
    pub fn kick_wanted(&self) -> bool {
        // SAFETY: a ring has this word.
        unsafe { self.word(self.used, FLAGS) }.load(Ordering::Relaxed) & NO_NOTIFY == 0
    }

    /// What the device wrote before the index is visible once the index is.
    #[inline]
    pub fn used_index(&self) -> u16 {
        // SAFETY: a ring has this word.
        unsafe { self.word(self.used, INDEX) }.load(Ordering::Acquire)
    }

    #[inline]
    pub fn used_element(&self, index: u16) -> (u32, u32) {
        let offset = ELEMENTS + size_of::<UsedElement>() * self.place(index);
        // SAFETY: the place is inside the used ring, which is aligned to more than an element asks for. The device
        // may write at the same time; a volatile read of integers then gives some value, and none is believed.
        unsafe {
            let element = self.used.add(offset).cast::<u32>();
            (element.read_volatile(), element.add(1).read_volatile())
        }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}
