//! From the PVH entry point (32-bit, paging off) to 64-bit Rust. Read first: Xen's `docs/misc/pvh.pandoc`; Intel SDM
//! volume 3, 10.8.5 "Initializing IA-32e Mode".

use crate::{BootInfo, memory, paging, pvh};
use core::arch::global_asm;

unsafe extern "Rust" {
    fn rutter_main(info: BootInfo) -> !;
}

// The provisional tables map the first 4 GiB to themselves with pages of 2 MiB, everything allowed; they live only until
// the final tables are built. Entry state: EBX points to the start info, all segments are flat.
global_asm!(
    r#"
    .section .note.pvh, "a", @note
    .align 4
    .long 4                         /* length of the name */
    .long 4                         /* length of the value */
    .long 18                        /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long pvh_entry

    .section .text.entry, "ax", @progbits
    .code32
    .global pvh_entry
pvh_entry:
    cli
    cld
    mov esp, offset __stack_top
    mov ebp, ebx                    /* start info; EBX is needed below */

    mov edi, offset __bss_start     /* a warm reset leaves old values here */
    mov ecx, offset __bss_end
    sub ecx, edi
    shr ecx, 2
    xor eax, eax
    rep stosd

    mov eax, offset early_pdpt
    or eax, 3                       /* present, writable */
    mov dword ptr [early_pml4], eax
    mov eax, offset early_pd
    or eax, 3
    mov edi, offset early_pdpt
    mov ecx, 4
2:  mov dword ptr [edi], eax
    add eax, 4096
    add edi, 8
    loop 2b
    mov eax, 0x83                   /* present, writable, 2 MiB */
    mov edi, offset early_pd
    mov ecx, 2048
3:  mov dword ptr [edi], eax
    add eax, 0x200000
    add edi, 8
    loop 3b

    mov eax, cr4
    or eax, 1 << 5                  /* PAE */
    mov cr4, eax
    mov eax, offset early_pml4
    mov cr3, eax
    mov ecx, 0xc0000080             /* EFER */
    rdmsr
    or eax, (1 << 8) | (1 << 11)    /* long mode, no-execute */
    wrmsr
    mov eax, cr0
    or eax, (1 << 31) | (1 << 16) | 1   /* paging, write protection for us too, protected mode */
    mov cr0, eax
    lgdt [early_gdt_pointer]
    push 8                          /* the code segment */
    mov eax, offset long_mode
    push eax
    retf

    .code64
long_mode:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov edi, ebp
    mov rsp, offset __stack_top
    xor ebp, ebp                    /* the end of every backtrace */
    call rutter_start
    ud2

    .section .rodata.entry, "a", @progbits
    .align 8
early_gdt:
    .quad 0
    .quad 0x00209a0000000000        /* 64-bit code */
    .quad 0x0000920000000000        /* data */
early_gdt_pointer:
    .word . - early_gdt - 1
    .long early_gdt

    .section .bss.entry, "aw", @nobits
    .align 4096
early_pml4: .skip 4096
early_pdpt: .skip 4096
early_pd:   .skip 4096 * 4
"#
);

#[unsafe(no_mangle)]
extern "C" fn rutter_start(start_info: u64) -> ! {
    // SAFETY: the entry code passes on the pointer that the loader gave, once, while the provisional tables map all
    // memory below 4 GiB.
    let handed_over = unsafe { pvh::read(start_info) };
    let image = paging::image();
    let usable = memory::usable(&handed_over.map, image.whole(), handed_over.module);
    let (address_space, memory) = paging::build(&image, usable, handed_over.module);
    // SAFETY: the tables map the running code, its stack and its data at the addresses that they have now.
    unsafe { address_space.activate() };
    let module = handed_over.module.map(|range| {
        // SAFETY: the module is mapped read-only for good, and no one else was given its pages.
        unsafe { core::slice::from_raw_parts(range.start as *const u8, range.length() as usize) }
    });
    let info = BootInfo {
        memory,
        memory_total: handed_over.map.total(),
        command_line: handed_over.command_line,
        module,
        rsdp: handed_over.rsdp,
        address_space,
    };
    // SAFETY: `main!` defines the function with this very signature.
    unsafe { rutter_main(info) }
}
