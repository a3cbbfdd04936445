//! The final page tables: every address is its own, nothing is both writable and executable, and what has no use is not
//! mapped: the null page, the page below the stack, the firmware's memory. Read first: Intel SDM volume 3, 4.5.

use crate::memory::{PAGE, Range, Regions};
use core::fmt;
use x86_64::{
    PhysAddr, VirtAddr,
    registers::control::{Cr3, Cr3Flags},
    structures::paging::{PageTable, PageTableFlags, PhysFrame},
};

const LARGE_PAGE: u64 = 2 << 20;
/// Where the lower half of the address space ends.
const HIGHEST: u64 = 1 << 47;
/// Tables kept for what is mapped later: devices and firmware tables.
const SPARE_TABLES: u64 = 24;

/// What may be done with a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Run.
    Code,
    /// Read.
    ReadOnly,
    /// Read and write.
    Data,
    /// Read and write, past the caches.
    Device,
}

impl Access {
    fn flags(self) -> PageTableFlags {
        let present = PageTableFlags::PRESENT;
        let data = present | PageTableFlags::NO_EXECUTE;
        match self {
            Self::Code => present,
            Self::ReadOnly => data,
            Self::Data => data | PageTableFlags::WRITABLE,
            Self::Device => {
                data | PageTableFlags::WRITABLE | PageTableFlags::NO_CACHE | PageTableFlags::WRITE_THROUGH
            }
        }
    }
}

/// Why something could not be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// No table is left.
    TablesUsedUp,
    /// The addresses are above what the tables reach.
    OutOfReach,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TablesUsedUp => "no page table is left",
            Self::OutOfReach => "address out of reach",
        })
    }
}

/// The page tables and the frames that are left for more of them.
pub struct AddressSpace {
    root: &'static mut PageTable,
    frames: Range,
}

impl AddressSpace {
    /// An empty address space whose tables come from `frames`.
    ///
    /// # Safety
    /// `frames` are whole pages that can be written at their own address and belong to no one else, for good.
    unsafe fn new(mut frames: Range) -> Result<Self, MapError> {
        // SAFETY: the caller promises it of every frame.
        let root = unsafe { take_table(&mut frames) }?;
        Ok(Self { root: root.1, frames })
    }

    /// Maps all pages that `range` touches to themselves. A page that is mapped already stays as it is.
    ///
    /// # Errors
    /// [`MapError`]; then a part of the range may be mapped.
    pub fn map(&mut self, range: Range, access: Access) -> Result<(), MapError> {
        let Range { start: mut at, end } = range.pages_around();
        if end > HIGHEST {
            return Err(MapError::OutOfReach);
        }
        while at < end {
            let large = at.is_multiple_of(LARGE_PAGE) && end - at >= LARGE_PAGE;
            at += self.map_one(at, large, access)?;
        }
        Ok(())
    }

    /// Maps one page, a large one where `large` allows and the place is free; returns how far that reaches.
    fn map_one(&mut self, at: u64, large: bool, access: Access) -> Result<u64, MapError> {
        let address = VirtAddr::new(at);
        let frames = &mut self.frames;
        let directories = next_table(self.root, usize::from(address.p4_index()), frames)?;
        let directory = next_table(directories, usize::from(address.p3_index()), frames)?;
        let entry = &mut directory[address.p2_index()];
        if entry.flags().contains(PageTableFlags::HUGE_PAGE) {
            return Ok(LARGE_PAGE - at % LARGE_PAGE);
        }
        if large && entry.is_unused() {
            entry.set_addr(PhysAddr::new(at), access.flags() | PageTableFlags::HUGE_PAGE);
            return Ok(LARGE_PAGE);
        }
        let table = next_table(directory, usize::from(address.p2_index()), frames)?;
        let entry = &mut table[address.p1_index()];
        if entry.is_unused() {
            // The processor keeps no note of an absent page, so there is nothing to flush.
            entry.set_addr(PhysAddr::new(at), access.flags());
        }
        Ok(PAGE)
    }

    /// Makes these the tables in use.
    ///
    /// # Safety
    /// They map the running code, its data and its stack.
    pub unsafe fn activate(&self) {
        let root = PhysFrame::containing_address(PhysAddr::new(self.root as *const PageTable as u64));
        // SAFETY: the caller promises that everything in use is mapped; the tables live for good.
        unsafe { Cr3::write(root, Cr3Flags::empty()) };
    }
}

/// The table that entry `index` of `table` points to, made where there is none.
fn next_table<'a>(
    table: &'a mut PageTable,
    index: usize,
    frames: &mut Range,
) -> Result<&'a mut PageTable, MapError> {
    let entry = &mut table[index];
    if entry.is_unused() {
        // SAFETY: `AddressSpace::new` was promised it of every frame.
        let (address, _) = unsafe { take_table(frames) }?;
        entry.set_addr(PhysAddr::new(address), PageTableFlags::PRESENT | PageTableFlags::WRITABLE);
    }
    // SAFETY: an entry that is no page points to a table that was made here, mapped at its own address and reached by
    // this one path, which is borrowed mutably.
    Ok(unsafe { &mut *(entry.addr().as_u64() as *mut PageTable) })
}

/// # Safety
/// As [`AddressSpace::new`] says of `frames`.
unsafe fn take_table(frames: &mut Range) -> Result<(u64, &'static mut PageTable), MapError> {
    if frames.length() < PAGE {
        return Err(MapError::TablesUsedUp);
    }
    let address = frames.start;
    frames.start += PAGE;
    let table = address as *mut PageTable;
    // SAFETY: the frame is writable at its own address and nobody else's.
    unsafe {
        table.write(PageTable::new());
        Ok((address, &mut *table))
    }
}

/// Tables that it takes to map `regions`.
fn tables_for(regions: &Regions) -> u64 {
    let gigabytes: u64 = regions.iter().map(|range| range.length().div_ceil(1 << 30) + 1).sum();
    // Each end of a region may need a table of small pages; the image, the module and the root need some too.
    gigabytes + 2 * regions.len() as u64 + 10 + SPARE_TABLES
}

/// The parts of the image in memory.
pub struct Image {
    text: Range,
    rodata: Range,
    data: Range,
    stack: Range,
}

impl Image {
    /// All of it.
    pub fn whole(&self) -> Range {
        Range::new(self.text.start, self.stack.end)
    }
}

/// The code of the image, where return addresses point to.
#[cfg(target_os = "none")]
pub fn text() -> Range {
    image().text
}

/// The stack.
#[cfg(target_os = "none")]
pub fn stack() -> Range {
    image().stack
}

/// Where the linker put the parts of the image.
#[cfg(target_os = "none")]
pub fn image() -> Image {
    unsafe extern "C" {
        static __text_start: u8;
        static __text_end: u8;
        static __rodata_start: u8;
        static __rodata_end: u8;
        static __data_start: u8;
        static __data_end: u8;
        static __stack_bottom: u8;
        static __stack_top: u8;
    }
    let range = |start: *const u8, end: *const u8| Range::new(start as u64, end as u64);
    Image {
        text: range(&raw const __text_start, &raw const __text_end),
        rodata: range(&raw const __rodata_start, &raw const __rodata_end),
        data: range(&raw const __data_start, &raw const __data_end),
        stack: range(&raw const __stack_bottom, &raw const __stack_top),
    }
}

/// Builds the final tables for the image, the `usable` memory and the module, and returns them with the memory that is
/// left. Halts where there is not even memory for the tables.
pub fn build(image: &Image, usable: Regions, module: Option<Range>) -> (AddressSpace, Regions) {
    let length = tables_for(&usable) * PAGE;
    let frames = usable
        .iter()
        .find(|range| range.length() > length && range.start + length <= 4 << 30)
        .map(|range| Range::new(range.start, range.start + length))
        .unwrap_or_default();
    let build = || {
        // SAFETY: the frames are free memory below 4 GiB, mapped to itself, and taken out of what is handed on.
        let mut space = unsafe { AddressSpace::new(frames) }?;
        space.map(image.text, Access::Code)?;
        space.map(image.rodata, Access::ReadOnly)?;
        space.map(image.data, Access::Data)?;
        space.map(image.stack, Access::Data)?;
        for range in usable.iter() {
            space.map(*range, Access::Data)?;
        }
        if let Some(module) = module {
            space.map(module, Access::ReadOnly)?;
        }
        Ok::<_, MapError>(space)
    };
    let Ok(space) = build() else {
        loop {
            x86_64::instructions::hlt();
        }
    };
    let mut left = usable;
    left.remove(frames);
    (space, left)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{boxed::Box, vec};

    /// An address space whose tables lie in leaked memory, which is mapped to itself as far as the host's process goes.
    fn space(tables: usize) -> AddressSpace {
        let memory = Box::leak(vec![0u8; (tables + 1) * PAGE as usize].into_boxed_slice());
        let start = memory.as_ptr() as u64;
        let frames = Range::new(start, start + memory.len() as u64).pages_inside();
        let frames = Range::new(frames.start, frames.start + tables as u64 * PAGE);
        // SAFETY: the memory is writable, page-aligned and leaked to this address space alone.
        unsafe { AddressSpace::new(frames) }.unwrap()
    }

    /// The flags of the page at `address`, walked as the processor does; `None`: not mapped.
    fn lookup(space: &AddressSpace, address: u64) -> Option<PageTableFlags> {
        let virtual_address = VirtAddr::new(address);
        let mut table: &PageTable = space.root;
        for index in [virtual_address.p4_index(), virtual_address.p3_index()] {
            let entry = &table[index];
            if entry.is_unused() {
                return None;
            }
            // SAFETY: as in `next_table`.
            table = unsafe { &*(entry.addr().as_u64() as *const PageTable) };
        }
        let entry = &table[virtual_address.p2_index()];
        if entry.is_unused() {
            return None;
        }
        if entry.flags().contains(PageTableFlags::HUGE_PAGE) {
            assert_eq!(entry.addr().as_u64(), address & !(LARGE_PAGE - 1));
            return Some(entry.flags());
        }
        // SAFETY: as above.
        let table = unsafe { &*(entry.addr().as_u64() as *const PageTable) };
        let entry = &table[virtual_address.p1_index()];
        (!entry.is_unused()).then(|| {
            assert_eq!(entry.addr().as_u64(), address & !(PAGE - 1));
            entry.flags()
        })
    }

    #[test]
    fn nothing_is_both_writable_and_executable() {
        for access in [Access::Code, Access::ReadOnly, Access::Data, Access::Device] {
            let flags = access.flags();
            assert!(flags.contains(PageTableFlags::NO_EXECUTE) || !flags.contains(PageTableFlags::WRITABLE));
            assert_eq!(flags.contains(PageTableFlags::NO_EXECUTE), access != Access::Code);
        }
    }

    #[test]
    fn large_pages_inside_and_small_ones_at_the_edges() {
        let mut space = space(8);
        space.map(Range::new(LARGE_PAGE - PAGE, 2 * LARGE_PAGE + PAGE), Access::Data).unwrap();
        let huge = |address| lookup(&space, address).map(|flags| flags.contains(PageTableFlags::HUGE_PAGE));
        assert_eq!(huge(LARGE_PAGE - PAGE - 1), None);
        assert_eq!(huge(LARGE_PAGE - PAGE), Some(false));
        assert_eq!(huge(LARGE_PAGE), Some(true));
        assert_eq!(huge(2 * LARGE_PAGE), Some(false));
        assert_eq!(huge(2 * LARGE_PAGE + PAGE), None);
    }

    #[test]
    fn what_is_mapped_keeps_its_rights() {
        let mut space = space(8);
        space.map(Range::new(LARGE_PAGE, LARGE_PAGE + PAGE), Access::Code).unwrap();
        space.map(Range::new(0x1000, 4 * LARGE_PAGE), Access::Data).unwrap();
        space.map(Range::new(3 * LARGE_PAGE + 8, 3 * LARGE_PAGE + 9), Access::Device).unwrap();
        assert_eq!(lookup(&space, 0), None, "the null page");
        assert_eq!(lookup(&space, LARGE_PAGE), Some(Access::Code.flags()));
        assert_eq!(lookup(&space, LARGE_PAGE + PAGE), Some(Access::Data.flags()));
        assert!(!lookup(&space, 3 * LARGE_PAGE).unwrap().contains(PageTableFlags::NO_CACHE));
    }

    #[test]
    fn an_end_of_tables_or_addresses_is_an_error() {
        let mut space = space(3);
        assert_eq!(space.map(Range::new(0x1000, 0x2000), Access::Data), Err(MapError::TablesUsedUp));
        assert_eq!(space.map(Range::new(0, HIGHEST + 1), Access::Data), Err(MapError::OutOfReach));
        assert_eq!(space.map(Range::new(u64::MAX - 1, u64::MAX), Access::Data), Err(MapError::OutOfReach));
    }

    #[test]
    fn the_tables_for_four_gigabytes_are_few() {
        let mut usable = Regions::new();
        usable.push(Range::new(2 << 20, 3 << 30));
        usable.push(Range::new(4 << 30, 5 << 30));
        assert!(tables_for(&usable) < 64);
        let mut space = space(tables_for(&usable) as usize);
        for range in usable.iter() {
            space.map(*range, Access::Data).unwrap();
        }
        assert!(space.frames.length() / PAGE >= SPARE_TABLES);
    }
}
