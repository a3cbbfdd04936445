//! Reads what a PVH loader left in memory. Read first: Xen's `xen/include/public/arch-x86/hvm/start_info.h`.

use crate::memory::{Range, Regions};
use core::{cell::UnsafeCell, ffi::CStr, ptr};

const MAGIC: u32 = 0x336e_c578;
const MEMORY_RAM: u32 = 1;
/// The provisional page tables reach this far.
const READABLE_END: u64 = 4 << 30;

#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    /// Since version 1.
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

#[repr(C)]
struct Module {
    address: u64,
    size: u64,
    command_line: u64,
    reserved: u64,
}

#[repr(C)]
struct MemoryMapEntry {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// What the kernel needs of it.
pub struct HandedOver {
    /// All memory of the machine, in use or not.
    pub map: Regions,
    pub command_line: &'static str,
    pub module: Option<Range>,
    pub rsdp: Option<u64>,
}

/// The command line is copied here, because the loader's copy lies in memory that is not ours.
struct CommandLine(UnsafeCell<[u8; 4096]>);
// SAFETY: written once, by the only CPU that runs, before anything reads it.
unsafe impl Sync for CommandLine {}
static COMMAND_LINE: CommandLine = CommandLine(UnsafeCell::new([0; 4096]));

/// Reads the start info at `address`. Without one, there is no memory map and nothing can go on: the machine halts.
///
/// # Safety
/// To be called once, with the address that a PVH loader gave, while memory below 4 GiB is mapped to itself.
pub unsafe fn read(address: u64) -> HandedOver {
    // SAFETY: the loader promises a start info there; the magic number is checked before anything else is believed.
    let info = unsafe { ptr::read_unaligned(address as *const StartInfo) };
    if info.magic != MAGIC || info.version < 1 {
        loop {
            x86_64::instructions::hlt();
        }
    }

    let mut map = Regions::new();
    for index in 0..u64::from(info.memory_map_entries) {
        let at = info.memory_map + index * size_of::<MemoryMapEntry>() as u64;
        // SAFETY: the loader promises that many entries.
        let entry = unsafe { ptr::read_unaligned(at as *const MemoryMapEntry) };
        if entry.kind == MEMORY_RAM {
            map.push(Range::new(entry.address, entry.address.saturating_add(entry.size)));
        }
    }

    let module = (info.modules > 0).then(|| {
        // SAFETY: the loader promises that many modules.
        let module = unsafe { ptr::read_unaligned(info.module_list as *const Module) };
        Range::new(module.address, module.address.saturating_add(module.size))
    });

    HandedOver {
        map,
        // SAFETY: the loader promises a text that ends in a zero byte; this is the only call.
        command_line: unsafe { copy_command_line(info.command_line) },
        module: module.filter(|module| !module.is_empty() && module.end <= READABLE_END),
        rsdp: (info.rsdp != 0).then_some(info.rsdp),
    }
}

/// # Safety
/// `address` is 0 or that of a readable text; to be called once.
unsafe fn copy_command_line(address: u64) -> &'static str {
    if address == 0 {
        return "";
    }
    // SAFETY: this is the only reference to the buffer; it is never written again.
    let buffer = unsafe { &mut *COMMAND_LINE.0.get() };
    let room = buffer.len() - 1; // the last byte stays zero
    for (offset, byte) in buffer[..room].iter_mut().enumerate() {
        // SAFETY: nothing behind the final zero byte is read.
        *byte = unsafe { ptr::read((address as *const u8).add(offset)) };
        if *byte == 0 {
            break;
        }
    }
    CStr::from_bytes_until_nul(buffer).ok().and_then(|text| text.to_str().ok()).unwrap_or("")
}
