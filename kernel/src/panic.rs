//! The end of a run that went wrong: what is known goes straight to the serial port, then the machine starts again, or
//! switches off where the command line says `panic=off`.

use crate::{heap, logger, power, serial, tables};
use boot::memory::Range;
use core::{
    arch::asm,
    fmt::Write,
    panic::PanicInfo,
    ptr::null_mut,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};
use netstack::{command, router::Router};

const MOST_FRAMES: usize = 32;

/// Frames of the recording that are printed.
const RECORDED_FRAMES: usize = 64;
/// Looks at a full transmitter before the rest of them is left out.
const PATIENCE: usize = 1_000_000;

static ENTERED: AtomicBool = AtomicBool::new(false);
static SWITCH_OFF: AtomicBool = AtomicBool::new(false);
static ROUTER: AtomicPtr<Router> = AtomicPtr::new(null_mut());

/// Chooses what follows a panic: switching off instead of starting again.
pub fn set_switch_off(off: bool) {
    SWITCH_OFF.store(off, Ordering::Relaxed);
}

/// Has the recording of this router printed in a panic. It must stay where it is.
pub fn set_router(router: &mut Router) {
    ROUTER.store(router, Ordering::Relaxed);
}

/// To be called first. Where the printing itself goes wrong, the machine starts again at once.
pub fn enter() {
    if ENTERED.swap(true, Ordering::Relaxed) {
        power::reset();
    }
    logger::show_directly();
}

/// Prints the backtrace and ends the machine. `frame` is the frame pointer of the innermost function.
pub fn finish(frame: u64, stack: u64, at: Option<u64>) -> ! {
    let _ = backtrace(frame, stack, at, &mut serial::Direct);
    print_recording();
    if SWITCH_OFF.load(Ordering::Relaxed) {
        power::off()
    }
    power::reset()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    enter();
    let _ = writeln!(serial::Direct, "\n{info}");
    let (frame, stack): (u64, u64);
    // SAFETY: reads two registers.
    unsafe { asm!("mov {}, rbp", "mov {}, rsp", out(reg) frame, out(reg) stack, options(nomem, nostack)) };
    finish(frame, stack, None)
}

/// Prints the last frames that were recorded. Where that goes wrong, as memory may be in disorder, the machine starts again.
fn print_recording() {
    let router = ROUTER.load(Ordering::Relaxed);
    if router.is_null() || heap::is_locked() {
        return;
    }
    // SAFETY: the router lives in the event loop, which never returns, and nothing but this runs any more. Whatever was being
    // changed in it is looked at by code that checks every index.
    let router = unsafe { &*router };
    let mut heard = true;
    command::dump(router, RECORDED_FRAMES, &mut |line| {
        // A recording with holes is of no use; a reader that is there gets all of it.
        heard = heard
            && [line.as_bytes(), b"\r\n"].iter().all(|part| serial::CONSOLE.send_within(part, PATIENCE));
    });
}

/// The part of a stack that is in use, from `pointer` up; empty where `pointer` is in no stack.
fn stack_above(pointer: u64) -> Range {
    let inside = |stack: &Range| (stack.start..stack.end).contains(&pointer);
    let stack = [boot::paging::stack(), tables::exception_stacks()].into_iter().find(inside);
    stack.map_or(Range::default(), |stack| Range::new(pointer.next_multiple_of(8), stack.end))
}

/// The word at `address`, where that is a place on a stack.
fn word(address: u64) -> Option<u64> {
    if !address.is_multiple_of(8) || stack_above(address).length() < 8 {
        return None;
    }
    // SAFETY: inside a stack, which is mapped and aligned.
    Some(unsafe { (address as *const u64).read_volatile() })
}

/// Whether the instruction before `address` is a call (Intel SDM volume 2, "CALL").
fn follows_call(address: u64) -> bool {
    const LONGEST_CALL: u64 = 7;
    let text = boot::paging::text();
    if !(text.start + LONGEST_CALL..text.end).contains(&address) {
        return false;
    }
    // SAFETY: inside the code, which is mapped.
    let before = |distance: u64| unsafe { ((address - distance) as *const u8).read() };
    let indirect = |distance| before(distance) == 0xff && before(distance - 1) & 0x38 == 0x10;
    before(5) == 0xe8 || [2, 3, 6, 7].into_iter().any(indirect)
}

/// Prints the addresses that the functions return to, from the chain of frame pointers. Where that breaks off (precompiled
/// code keeps none), what looks like a return address on the stack is printed with a question mark.
fn backtrace(frame: u64, stack: u64, at: Option<u64>, out: &mut impl Write) -> core::fmt::Result {
    write!(out, "backtrace:")?;
    if let Some(at) = at {
        write!(out, " {at:#x}")?;
    }
    let mut printed = 0;
    let mut frame = frame;
    while let (Some(caller), Some(address)) = (word(frame), word(frame.wrapping_add(8))) {
        if !follows_call(address) || printed == MOST_FRAMES {
            break;
        }
        write!(out, " {address:#x}")?;
        printed += 1;
        let inner = core::mem::replace(&mut frame, caller);
        if caller <= inner {
            break;
        }
    }
    if frame != 0 && printed < MOST_FRAMES {
        let from = if printed == 0 { stack } else { frame };
        let rest = stack_above(from);
        let words = (rest.start..rest.end).step_by(8).filter_map(word);
        for address in words.filter(|&word| follows_call(word)).take(MOST_FRAMES - printed) {
            write!(out, " {address:#x}?")?;
        }
    }
    writeln!(out)
}
