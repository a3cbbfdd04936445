//! The ways in which the machine ends. Read first: ACPI 6.5, 4.8.3 "Fixed Hardware Registers".

use crate::{clock, devices, serial};
use core::{arch::asm, fmt::Write, hint};
use kernel::acpi::{Machine, PowerSwitch, Register};
use spin::Once;
use x86_64::{
    VirtAddr,
    instructions::{port::Port, tables::lidt},
    structures::DescriptorTablePointer,
};

/// QEMU's microvm has its registers here, also where its tables were lost because a module was loaded over them. Where no
/// table says anything, a write to them is worth the try: nothing else is there.
const MICROVM: Machine = Machine {
    power: Some(PowerSwitch::SleepControl(Register::Memory(0xfea0_0200), 5 << 2 | 1 << 5)),
    reset: Some((Register::Memory(0xfea0_0202), 0x42)),
    timer: None,
};
/// How long a switch may take to work.
const PATIENCE_MICROS: i64 = 100_000;

static MACHINE: Once<Machine> = Once::new();

/// Takes over what the firmware's tables say.
pub fn init(machine: &Machine) {
    let machine = Machine {
        power: machine.power.or(MICROVM.power),
        reset: machine.reset.or(MICROVM.reset),
        timer: machine.timer,
    };
    let sleep = match machine.power {
        Some(PowerSwitch::SleepControl(register, _)) => Some(register),
        _ => None,
    };
    for register in [sleep, machine.reset.map(|(register, _)| register)] {
        if let Some(Register::Memory(address)) = register
            && let Err(error) = devices::map(address, 1)
        {
            log::warn!("power: the register at {address:#x} cannot be reached: {error}");
            return; // and no register will be written
        }
    }
    MACHINE.call_once(|| machine);
}

/// Switches the machine off. One without a switch is reset, which ends QEMU under `-no-reboot`.
pub fn off() -> ! {
    match MACHINE.get().and_then(|machine| machine.power) {
        // SAFETY: the port that the tables name; the write switches off.
        Some(PowerSwitch::Pm1Control(port, value)) => unsafe { Port::new(port).write(value) },
        Some(PowerSwitch::SleepControl(register, value)) => write(register, value),
        None => {}
    }
    wait();
    let _ = writeln!(serial::Direct, "This machine has no power switch; it is reset instead.");
    reset()
}

/// Starts the machine again.
pub fn reset() -> ! {
    if let Some((register, value)) = MACHINE.get().and_then(|machine| machine.reset) {
        write(register, value);
        wait();
    }
    // SAFETY: the reset registers of the chipset and of the keyboard controller. Where both are missing, an exception
    // without a table to handle it resets every x86.
    unsafe {
        Port::new(0xcf9).write(0x06u8);
        Port::new(0x64).write(0xfeu8);
        lidt(&DescriptorTablePointer { limit: 0, base: VirtAddr::zero() });
        asm!("ud2", options(noreturn))
    }
}

fn write(register: Register, value: u8) {
    match register {
        // SAFETY: the tables name the register for this very purpose.
        Register::Port(port) => unsafe { Port::new(port).write(value) },
        // SAFETY: as above, and `init` mapped it.
        Register::Memory(address) => unsafe { (address as *mut u8).write_volatile(value) },
    }
}

fn wait() {
    let end = clock::now().total_micros() + PATIENCE_MICROS;
    let mut looks = 0; // the clock may not run yet
    while clock::now().total_micros() < end && looks < 10_000_000 {
        looks += 1;
        hint::spin_loop();
    }
}
