//! The processor's tables: segments, the stacks that exceptions switch to, and the gates of exceptions and interrupts.
//! Read first: Intel SDM volume 3, 6.14 "Exception and Interrupt Handling in 64-bit Mode".

use crate::{exception, interrupt};
use boot::memory::Range;
use core::cell::UnsafeCell;
use interrupt::Vector;
use x86_64::{
    VirtAddr,
    instructions::tables::{lidt, load_tss},
    registers::segmentation::{CS, DS, ES, SS, Segment},
    structures::{
        DescriptorTablePointer,
        gdt::{Descriptor, GlobalDescriptorTable},
        tss::TaskStateSegment,
    },
};

/// A stack of its own for each exception that may come at any moment, or because the stack itself is bad: double fault,
/// NMI, machine check, page fault, stack fault.
const OWN_STACK: [u8; 5] = [8, 2, 18, 14, 12];
const STACK_SIZE: usize = 16 << 10;

#[derive(Clone, Copy)]
#[repr(align(16))]
struct Stack {
    _bytes: [u8; STACK_SIZE],
}

/// An interrupt gate (Intel SDM volume 3, figure 6-8).
type Gate = [u64; 2];

/// A gate to `handler`, on the stack of that number in the task state segment, from 1; 0: the present one.
fn gate(handler: u64, stack: usize) -> Gate {
    const PRESENT_INTERRUPT_GATE: u64 = 0x8e << 40;
    let selector = u64::from(CS::get_reg().0) << 16;
    let stack = (stack as u64) << 32;
    let offset = handler & 0xffff | (handler >> 16 & 0xffff) << 48;
    [offset | selector | stack | PRESENT_INTERRUPT_GATE, handler >> 32]
}

/// The stacks apart, as all else is not zero and would take them along into the image.
struct Stacks(UnsafeCell<[Stack; OWN_STACK.len()]>);
// SAFETY: only the processor uses them.
unsafe impl Sync for Stacks {}

static STACKS: Stacks = Stacks(UnsafeCell::new([Stack { _bytes: [0; STACK_SIZE] }; OWN_STACK.len()]));

struct Tables {
    task: TaskStateSegment,
    segments: GlobalDescriptorTable,
    gates: [Gate; 256],
}

struct Static(UnsafeCell<Tables>);
// SAFETY: written once, in `init`; from then on only the processor reads it.
unsafe impl Sync for Static {}

static TABLES: Static = Static(UnsafeCell::new(Tables {
    task: TaskStateSegment::new(),
    segments: GlobalDescriptorTable::new(),
    gates: [[0; 2]; 256],
}));

/// Loads the tables.
///
/// # Safety
/// To be called once.
pub unsafe fn init() {
    // SAFETY: the only reference that is ever made, by the only call.
    let tables: &'static mut Tables = unsafe { &mut *TABLES.0.get() };
    for place in 0..OWN_STACK.len() {
        let end = exception_stacks().start + (STACK_SIZE * (place + 1)) as u64;
        tables.task.interrupt_stack_table[place] = VirtAddr::new(end);
    }
    let code = tables.segments.append(Descriptor::kernel_code_segment());
    let data = tables.segments.append(Descriptor::kernel_data_segment());
    let task = tables.segments.append(Descriptor::tss_segment(&tables.task));
    tables.segments.load();
    // SAFETY: the selectors are those of the table just loaded, which lives for good.
    unsafe {
        CS::set_reg(code);
        DS::set_reg(data);
        ES::set_reg(data);
        SS::set_reg(data);
        load_tss(task);
    }

    for vector in 0..Vector::FIRST {
        let own = OWN_STACK.iter().position(|&with| with == vector).map_or(0, |place| place + 1);
        tables.gates[usize::from(vector)] = gate(exception::stub(vector), own);
    }
    for offset in 0..Vector::COUNT {
        tables.gates[usize::from(Vector::FIRST) + offset] = gate(interrupt::stub(offset), 0);
    }
    tables.gates[usize::from(Vector::SPURIOUS.0)] = gate(interrupt::spurious_stub(), 0);
    let limit = (size_of_val(&tables.gates) - 1) as u16;
    let base = VirtAddr::from_ptr(tables.gates.as_ptr());
    // SAFETY: every gate leads to a handler that keeps to its contract, and the table lives for good.
    unsafe { lidt(&DescriptorTablePointer { limit, base }) };
}

/// The memory of the stacks that exceptions switch to.
pub fn exception_stacks() -> Range {
    let start = STACKS.0.get() as u64;
    Range::new(start, start + (STACK_SIZE * OWN_STACK.len()) as u64)
}
