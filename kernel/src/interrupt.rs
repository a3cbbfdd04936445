//! Device interrupts. They are let in at one place only, where the processor halts; a handler does no more than note that
//! it ran, and the event loop then looks at everything. So nothing is shared with a handler but a word of bits.

use crate::apic;
use core::{
    arch::{asm, global_asm},
    sync::atomic::{AtomicU32, Ordering},
};

/// A place in the interrupt descriptor table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vector(pub u8);

impl Vector {
    /// The first one that is no exception.
    pub const FIRST: u8 = 0x20;
    /// The timer of the local APIC.
    pub const TIMER: Self = Self(0x20);
    /// The serial port.
    pub const SERIAL: Self = Self(0x21);
    /// Some card's configuration changed.
    pub const CONFIGURATION: Self = Self(0x22);
    /// How many there are.
    pub const COUNT: usize = 16;
    /// Comes without a cause, and needs no answer.
    pub const SPURIOUS: Self = Self(0xff);

    /// A frame came in at card `card`.
    pub fn card(card: usize) -> Self {
        assert!(card < crate::MOST_CARDS);
        Self(0x28 + card as u8)
    }

    fn bit(self) -> u32 {
        1 << (self.0 - Self::FIRST)
    }
}

/// Vectors that came in since they were last taken, by their distance from the first.
static PENDING: AtomicU32 = AtomicU32::new(0);

/// The vectors that came in since the last call.
#[derive(Clone, Copy)]
pub struct Taken(u32);

impl Taken {
    /// Whether `vector` is among them.
    pub fn contains(self, vector: Vector) -> bool {
        self.0 & vector.bit() != 0
    }
}

/// Takes the vectors that came in.
pub fn take() -> Taken {
    Taken(PENDING.swap(0, Ordering::Relaxed))
}

/// Halts until an interrupt comes in; one that came in before ends it at once.
#[inline]
pub fn wait() {
    // SAFETY: the descriptor table is loaded, and the handlers touch nothing but an atomic word and the APIC. No
    // interrupt can come between `sti` and `hlt` (Intel SDM volume 2, "STI").
    unsafe { asm!("sti", "hlt", "cli", options(nomem)) };
}

/// Lets in what has come, without waiting. While an interrupt is pending, QEMU's translator looks every few blocks of
/// instructions whether it may come in, and takes its lock to do so.
#[inline]
pub fn let_in() {
    // SAFETY: as in `wait`. Interrupts come in after the instruction that follows `sti`.
    unsafe { asm!("sti", "nop", "cli", options(nomem)) };
}

// Every stub is 16 bytes long, so that the address of each follows from its number.
global_asm!(
    r#"
    .set vector, {first}
    .align 16
    .global interrupt_stubs
interrupt_stubs:
    .rept {count}
    .align 16
    pushq $vector
    jmp interrupt_common
    .set vector, vector + 1
    .endr

interrupt_common:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    movl 72(%rsp), %edi
    subq $8, %rsp
    cld
    call interrupt_entry
    addq $8, %rsp
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rax
    addq $8, %rsp
    iretq

    .align 16
    .global interrupt_spurious
interrupt_spurious:
    iretq
    "#,
    first = const Vector::FIRST,
    count = const Vector::COUNT,
    options(att_syntax),
);

#[unsafe(no_mangle)]
extern "C" fn interrupt_entry(vector: u32) {
    PENDING.fetch_or(Vector(vector as u8).bit(), Ordering::Relaxed);
    apic::end_of_interrupt();
}

/// Address of the stub for the vector `FIRST + offset`.
pub fn stub(offset: usize) -> u64 {
    unsafe extern "C" {
        static interrupt_stubs: u8;
    }
    (&raw const interrupt_stubs as u64) + 16 * offset as u64
}

/// Address of the handler that does nothing.
pub fn spurious_stub() -> u64 {
    unsafe extern "C" {
        static interrupt_spurious: u8;
    }
    &raw const interrupt_spurious as u64
}
