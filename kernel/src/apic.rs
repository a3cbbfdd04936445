//! The local APIC, its timer, and the I/O APICs that bring wired interrupts to it.
//! Read first: Intel SDM volume 3, 11.4 "Local APIC", 11.5.4 "APIC Timer"; Intel 82093AA data sheet, 3.

use crate::{devices, interrupt::Vector};
use core::sync::atomic::{AtomicU64, Ordering};
use x86_64::registers::model_specific::ApicBase;

const ID: u64 = 0x20;
const END_OF_INTERRUPT: u64 = 0xb0;
const SPURIOUS: u64 = 0xf0;
const LVT_TIMER: u64 = 0x320;
const LVT_LINT0: u64 = 0x350;
const TIMER_INITIAL: u64 = 0x380;
const TIMER_CURRENT: u64 = 0x390;
const TIMER_DIVIDE: u64 = 0x3e0;
const MASKED: u32 = 1 << 16;
const ENABLED: u32 = 1 << 8;
const DIVIDE_BY_1: u32 = 0b1011;
const DIVIDE_BY_16: u32 = 0b0011;

const IO_APICS: [u64; 2] = [0xfec0_0000, 0xfec1_0000];
const IO_APIC_LINES: u32 = 24;
const REDIRECTION: u32 = 0x10;
const VERSION: u32 = 1;

static BASE: AtomicU64 = AtomicU64::new(0);
/// Ticks of the timer per second, divided by 16.
static TIMER_HZ: AtomicU64 = AtomicU64::new(0);

fn write(register: u64, value: u32) {
    // SAFETY: `init` mapped the registers; they are the local APIC's, whose writes touch no memory.
    unsafe { ((BASE.load(Ordering::Relaxed) + register) as *mut u32).write_volatile(value) };
}

fn read(register: u64) -> u32 {
    // SAFETY: as in `write`.
    unsafe { ((BASE.load(Ordering::Relaxed) + register) as *const u32).read_volatile() }
}

/// Switches the local APIC on, with all its own sources silent and the timer counting for the clock to measure.
///
/// # Errors
/// Its registers could not be mapped.
pub fn init() -> Result<(), boot::paging::MapError> {
    let base = ApicBase::read().0.start_address().as_u64();
    devices::map(base, 4096)?;
    for io_apic in IO_APICS {
        devices::map(io_apic, 4096)?;
    }
    BASE.store(base, Ordering::Relaxed);
    write(SPURIOUS, ENABLED | u32::from(Vector::SPURIOUS.0));
    write(LVT_LINT0, MASKED);
    write(LVT_TIMER, MASKED);
    write(TIMER_DIVIDE, DIVIDE_BY_1);
    write(TIMER_INITIAL, u32::MAX);
    Ok(())
}

/// What the timer stands at. It counts down.
pub fn timer_count() -> u32 {
    read(TIMER_CURRENT)
}

/// Makes the timer ready, given its undivided rate.
pub fn start_timer(hz: u64) {
    TIMER_HZ.store(hz / 16, Ordering::Relaxed);
    write(TIMER_INITIAL, 0);
    write(TIMER_DIVIDE, DIVIDE_BY_16);
    write(LVT_TIMER, u32::from(Vector::TIMER.0));
}

/// Interrupts once, after `micros` or after the longest time that the timer can count (a minute or so), whichever comes
/// first.
pub fn set_timer(micros: u64) {
    let ticks = u128::from(micros) * u128::from(TIMER_HZ.load(Ordering::Relaxed)) / 1_000_000;
    write(TIMER_INITIAL, ticks.clamp(1, u32::MAX.into()) as u32);
}

/// Tells that the interrupt was taken.
#[inline]
pub fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// Address and data of a message that interrupts this processor (Intel SDM volume 3, 11.11).
pub fn message(vector: Vector) -> (u64, u32) {
    (0xfee0_0000 | u64::from(read(ID) >> 24) << 12, vector.0.into())
}

fn io_apic(base: u64, register: u32, value: Option<u32>) -> u32 {
    // SAFETY: `init` mapped the registers: a selector and a window. Without an I/O APIC there, nothing answers.
    unsafe {
        (base as *mut u32).write_volatile(register);
        let window = (base + 0x10) as *mut u32;
        if let Some(value) = value {
            window.write_volatile(value);
        }
        window.read_volatile()
    }
}

/// Whether the machine has the second I/O APIC, whose lines are 24 to 47.
pub fn has_second_io_apic() -> bool {
    matches!(io_apic(IO_APICS[1], VERSION, None) & 0xff, 0x11 | 0x20)
}

/// Lets the rising edge of interrupt line `line` come in as `vector`. Lines beyond those of both I/O APICs are no lines.
pub fn route(line: u32, vector: Vector) {
    let Some(&base) = IO_APICS.get((line / IO_APIC_LINES) as usize) else { return };
    let register = REDIRECTION + 2 * (line % IO_APIC_LINES);
    io_apic(base, register + 1, Some(read(ID) & 0xff00_0000));
    io_apic(base, register, Some(vector.0.into())); // fixed, physical, active high, edge, not masked
}

/// Masks the old interrupt controllers, which nothing here uses.
pub fn silence_pic() {
    use x86_64::instructions::port::Port;
    // SAFETY: the mask registers of the two controllers.
    unsafe {
        Port::new(0x21).write(0xffu8);
        Port::new(0xa1).write(0xffu8);
    }
}
