//! How the machine reaches Rust: from the PVH entry point to [`BootInfo`]. It knows no driver.
//!
//! The loader enters in 32-bit mode without paging (`entry.rs`); provisional tables lead to 64-bit code, which reads what
//! the loader left (`pvh.rs`), decides which memory is free ([`memory`]), switches to the final page tables ([`paging`])
//! and calls the function that [`main!`] named.
#![no_std]

#[cfg(target_os = "none")]
mod entry;
pub mod memory;
pub mod paging;
#[cfg(target_os = "none")]
mod pvh;

use memory::Regions;
use paging::AddressSpace;

/// What the loader and the memory map say, handed to the kernel once.
pub struct BootInfo {
    /// Free memory, mapped and writable, that nothing else uses.
    pub memory: Regions,
    /// All memory that the machine has for us, in bytes, what the image occupies included.
    pub memory_total: u64,
    /// The command line, empty where there is none or where it is no UTF-8.
    pub command_line: &'static str,
    /// The first module (QEMU's `-initrd`), mapped read-only.
    pub module: Option<&'static [u8]>,
    /// Physical address of the ACPI root pointer, where the loader knows it.
    pub rsdp: Option<u64>,
    /// The page tables, for what is to be mapped later.
    pub address_space: AddressSpace,
}

/// Names the function that runs after the boot code: `fn(BootInfo) -> !`.
#[macro_export]
macro_rules! main {
    ($function:path) => {
        // SAFETY: the boot code declares this symbol with the same signature, and nothing else defines it.
        #[unsafe(no_mangle)]
        extern "Rust" fn rutter_main(info: $crate::BootInfo) -> ! {
            let function: fn($crate::BootInfo) -> ! = $function;
            function(info)
        }
    };
}
