//! The clock: the processor's time stamp counter, measured once against a clock whose rate is known.
//! Read first: Intel SDM volume 3, 18.17 "Time-Stamp Counter".

use core::{
    arch::x86_64::{__cpuid, _rdtsc},
    sync::atomic::{AtomicU64, Ordering},
};
use kernel::acpi;
use log::{info, warn};
use smoltcp::time::Instant;
use x86_64::instructions::port::Port;

/// Rates of the two counters.
#[derive(Clone, Copy)]
pub struct Rates {
    /// Ticks of the time stamp counter per second.
    pub tsc: u64,
    /// Ticks of the local APIC's timer per second, undivided.
    pub apic: u64,
}

/// Hypervisors put both rates here, in kHz.
const HYPERVISOR_TIMING_LEAF: u32 = 0x4000_0010;
const PIT_HZ: u64 = 1_193_182;
const PM_TIMER_HZ: u64 = 3_579_545;
/// How long is measured: the reading itself is some hundred nanoseconds off.
const SPAN_SECONDS_PER_MILLE: u64 = 3;

static BOOT_TSC: AtomicU64 = AtomicU64::new(0);
/// Microseconds per tick, times 2^32.
static SCALE: AtomicU64 = AtomicU64::new(0);

/// The time stamp counter.
#[inline]
pub fn tsc() -> u64 {
    // SAFETY: reads a counter; every processor that runs this code has it.
    unsafe { _rdtsc() }
}

/// Time since boot.
#[inline]
pub fn now() -> Instant {
    let ticks = tsc().wrapping_sub(BOOT_TSC.load(Ordering::Relaxed));
    let micros = (u128::from(ticks) * u128::from(SCALE.load(Ordering::Relaxed))) >> 32;
    Instant::from_micros(micros as i64)
}

/// Starts the clock. `apic` reads the local APIC's timer, which counts down undivided.
pub fn init(machine: &acpi::Machine, start: u64, apic: impl Fn() -> u32) -> Rates {
    BOOT_TSC.store(start, Ordering::Relaxed);
    let (rates, source) = told().unwrap_or_else(|| measured(machine, apic));
    SCALE.store(((1_000_000 << 32) / u128::from(rates.tsc)) as u64, Ordering::Relaxed);
    info!("clock: {} kHz, {source}", rates.tsc / 1000);
    rates
}

/// What the hypervisor says.
fn told() -> Option<(Rates, &'static str)> {
    const HYPERVISOR_PRESENT: u32 = 1 << 31;
    if __cpuid(1).ecx & HYPERVISOR_PRESENT == 0 || __cpuid(0x4000_0000).eax < HYPERVISOR_TIMING_LEAF {
        return None;
    }
    let leaf = __cpuid(HYPERVISOR_TIMING_LEAF);
    let rates = Rates { tsc: u64::from(leaf.eax) * 1000, apic: u64::from(leaf.ebx) * 1000 };
    (rates.tsc > 0 && rates.apic > 0).then_some((rates, "as the hypervisor says"))
}

/// Counts both against a timer of known rate.
fn measured(machine: &acpi::Machine, apic: impl Fn() -> u32) -> (Rates, &'static str) {
    start_pit();
    if let Some(rates) = measure(read_pit, 0xffff, PIT_HZ, &apic) {
        return (rates, "measured against the interval timer");
    }
    let pm_timer = machine.timer.and_then(|port| {
        // SAFETY: the ACPI tables name this port as the timer; reading it has no effect.
        measure(|| unsafe { Port::<u32>::new(port).read() }, 0xff_ffff, PM_TIMER_HZ, &apic)
    });
    if let Some(rates) = pm_timer {
        return (rates, "measured against the ACPI timer");
    }
    warn!("clock: no timer to measure the processor's counter against, 1 GHz assumed");
    (Rates { tsc: 1_000_000_000, apic: 1_000_000_000 }, "assumed")
}

/// Channel 0 of the interval timer counts down from 65,536 again and again; its interrupt stays masked.
fn start_pit() {
    // SAFETY: the ports of the interval timer; nothing else uses it.
    unsafe {
        Port::new(0x43).write(0x34u8);
        Port::new(0x40).write(0u8);
        Port::new(0x40).write(0u8);
    }
}

/// The ticks of channel 0, counted upwards.
fn read_pit() -> u32 {
    // SAFETY: as in `start_pit`.
    unsafe {
        Port::new(0x43).write(0u8);
        let low: u8 = Port::new(0x40).read();
        let high: u8 = Port::new(0x40).read();
        u32::from(!u16::from_le_bytes([low, high]))
    }
}

struct Sample {
    reference: u32,
    tsc: u64,
    apic: u32,
}

/// Reads all counters at nearly the same moment: the quickest of some tries, as the host may take the processor away in
/// the midst of one.
fn sample(reference: &impl Fn() -> u32, apic: &impl Fn() -> u32) -> Sample {
    let one = || {
        let before = tsc();
        let sample = Sample { reference: reference(), tsc: tsc(), apic: apic() };
        (tsc().wrapping_sub(before), sample)
    };
    (0..8)
        .map(|_| one())
        .min_by_key(|(duration, _)| *duration)
        .map(|(_, sample)| sample)
        .expect("eight tries")
}

/// `None` where the reference does not count.
fn measure(
    reference: impl Fn() -> u32,
    mask: u32,
    reference_hz: u64,
    apic: &impl Fn() -> u32,
) -> Option<Rates> {
    let span = (reference_hz * SPAN_SECONDS_PER_MILLE / 1000) as u32;
    let first = sample(&reference, apic);
    // A reference that counts gets there within some ten thousand readings.
    let elapsed = || reference().wrapping_sub(first.reference) & mask;
    let mut readings = 0u32;
    while elapsed() < span {
        readings += 1;
        if readings > 100_000 && elapsed() == 0 || readings > 10_000_000 {
            return None;
        }
    }
    let last = sample(&reference, apic);
    let ticks = u128::from(last.reference.wrapping_sub(first.reference) & mask);
    let rate = |count: u64| (u128::from(count) * u128::from(reference_hz) / ticks) as u64;
    let rates = Rates {
        tsc: rate(last.tsc.wrapping_sub(first.tsc)),
        apic: rate(u64::from(first.apic.wrapping_sub(last.apic))),
    };
    (rates.tsc > 0 && rates.apic > 0).then_some(rates)
}
