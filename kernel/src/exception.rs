//! Exceptions: nothing here expects one, so each prints what the processor was doing and ends the run.
//! Read first: Intel SDM volume 3, 6.15 "Exception and Interrupt Reference".

use crate::{panic, serial};
use core::{arch::global_asm, fmt::Write};
use x86_64::registers::control::Cr2;

/// The registers, in the order in which the stub and the processor push them.
#[repr(C)]
struct Frame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rbp: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    rcx: u64,
    rbx: u64,
    rax: u64,
    vector: u64,
    error_code: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

// Every stub is 16 bytes long, so that the address of each follows from its number. Where the processor pushes no error
// code, the stub pushes a zero in its place.
global_asm!(
    r#"
    .set vector, 0
    .align 16
    .global exception_stubs
exception_stubs:
    .rept 32
    .align 16
    .if (0x60227d00 >> vector) & 1
    .else
    pushq $0
    .endif
    pushq $vector
    jmp exception_common
    .set vector, vector + 1
    .endr

exception_common:
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %rdi
    andq $-16, %rsp
    cld
    call exception_entry
    ud2
    "#,
    options(att_syntax),
);

/// Address of the stub of an exception.
pub fn stub(vector: u8) -> u64 {
    unsafe extern "C" {
        static exception_stubs: u8;
    }
    (&raw const exception_stubs as u64) + 16 * u64::from(vector)
}

#[unsafe(no_mangle)]
extern "C" fn exception_entry(frame: &Frame) -> ! {
    panic::enter();
    let _ = print(frame, &mut serial::Direct);
    panic::finish(frame.rbp, frame.rsp, Some(frame.rip))
}

fn print(frame: &Frame, out: &mut impl Write) -> core::fmt::Result {
    let Frame { vector, error_code, rip, rsp, rflags, cs, ss, .. } = *frame;
    writeln!(out, "\nexception {vector} ({}), error code {error_code:#x}, at {rip:#x}", name(vector))?;
    let mut line = |registers: &[(&str, u64)]| {
        for (name, value) in registers {
            write!(out, "  {name:>3} {value:016x}")?;
        }
        writeln!(out)
    };
    line(&[("rax", frame.rax), ("rbx", frame.rbx), ("rcx", frame.rcx), ("rdx", frame.rdx)])?;
    line(&[("rsi", frame.rsi), ("rdi", frame.rdi), ("rbp", frame.rbp), ("rsp", rsp)])?;
    line(&[("r8", frame.r8), ("r9", frame.r9), ("r10", frame.r10), ("r11", frame.r11)])?;
    line(&[("r12", frame.r12), ("r13", frame.r13), ("r14", frame.r14), ("r15", frame.r15)])?;
    line(&[("cs", cs), ("ss", ss), ("rfl", rflags), ("cr2", Cr2::read_raw())])
}

fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid opcode",
        7 => "device not available",
        8 => "double fault",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack fault",
        13 => "general protection fault",
        14 => "page fault",
        16 => "x87 floating-point error",
        17 => "alignment check",
        18 => "machine check",
        19 => "SIMD floating-point exception",
        20 => "virtualization exception",
        21 => "control protection exception",
        _ => "reserved",
    }
}
