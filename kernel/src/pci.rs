//! PCI: reaching configuration space, finding functions, message-signalled interrupts.
//! Read first: PCI Local Bus 3.0, 3.2.2.3.2 "Configuration Mechanism", 6.8.2 "MSI-X".

use crate::{apic, devices, interrupt::Vector};
use alloc::vec::Vec;
use virtio_drivers::transport::pci::bus::{
    Command, ConfigurationAccess, DeviceFunction, DeviceFunctionInfo, HeaderType, PciRoot,
};
use x86_64::instructions::port::Port;

const MSI_X: u8 = 0x11;
const MSI_X_ENABLE: u32 = 1 << 31;
const BUS_NUMBERS: u8 = 0x18;

/// Configuration space through the two ports that every chipset has, so that no table has to be read first.
#[derive(Clone, Copy)]
pub struct Ports;

impl Ports {
    fn select(function: DeviceFunction, register: u8) -> Port<u32> {
        let DeviceFunction { bus, device, function } = function;
        let address = u32::from(bus) << 16 | u32::from(device) << 11 | u32::from(function) << 8;
        // SAFETY: the address port of configuration space; nothing else uses it.
        unsafe { Port::new(0xcf8).write(1 << 31 | address | u32::from(register & !3)) };
        Port::new(0xcfc)
    }
}

impl ConfigurationAccess for Ports {
    fn read_word(&self, function: DeviceFunction, register: u8) -> u32 {
        // SAFETY: the data port; reading configuration space has no effect.
        unsafe { Self::select(function, register).read() }
    }

    fn write_word(&mut self, function: DeviceFunction, register: u8, data: u32) {
        // SAFETY: the data port; callers write what the specification of the register allows.
        unsafe { Self::select(function, register).write(data) }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}

/// Whether there is a PCI bus at all.
pub fn is_present() -> bool {
    Ports.read_word(DeviceFunction { bus: 0, device: 0, function: 0 }, 0) != u32::MAX
}

/// Every function, in the order of buses, devices and functions; what is behind a bridge stands in the bridge's place.
pub fn functions(root: &PciRoot<Ports>) -> Vec<(DeviceFunction, DeviceFunctionInfo)> {
    let mut found = Vec::new();
    collect(root, 0, &mut found);
    found
}

fn collect(root: &PciRoot<Ports>, bus: u8, found: &mut Vec<(DeviceFunction, DeviceFunctionInfo)>) {
    for (function, info) in root.enumerate_bus(bus) {
        if info.header_type == HeaderType::PciPciBridge {
            let secondary = (Ports.read_word(function, BUS_NUMBERS) >> 8) as u8;
            // Numbers rise with the depth, so this comes to an end whatever the bridges say.
            if secondary > bus {
                collect(root, secondary, found);
            }
        } else {
            found.push((function, info));
        }
    }
}

/// Lets a function answer on the memory bus and reach memory itself, or neither. Where a base address register is measured,
/// it should not answer: else every write to the register moves a region of the machine's memory map.
pub fn set_enabled(root: &mut PciRoot<Ports>, function: DeviceFunction, enabled: bool) {
    let (_, command) = root.get_status_command(function);
    let (space, master) = (Command::IO_SPACE | Command::MEMORY_SPACE, Command::BUS_MASTER);
    root.set_command(function, if enabled { command | space | master } else { command - space - master });
}

/// Address of the register block that a capability points to: a base address register and an offset into it.
pub fn block_address(function: DeviceFunction, bar: u8, offset: u32) -> Option<u64> {
    const MEMORY_64: u32 = 0b100;
    let bar_register = 0x10 + 4 * bar;
    if bar > 5 {
        return None;
    }
    let low = Ports.read_word(function, bar_register);
    let high = match low & 0b111 {
        0 => 0,
        MEMORY_64 if bar < 5 => Ports.read_word(function, bar_register + 4),
        _ => return None,
    };
    let base = u64::from(low & !0xf) | u64::from(high) << 32;
    (base != 0).then(|| base + u64::from(offset))
}

/// The message-signalled interrupts of a function.
pub struct MessageTable {
    address: u64,
    entries: u16,
}

impl MessageTable {
    /// Switches the interrupts of a function on, all of them silent; `None` where it has none that can be reached.
    pub fn enable(root: &PciRoot<Ports>, function: DeviceFunction) -> Option<Self> {
        let capability = root.capabilities(function).find(|capability| capability.id == MSI_X)?;
        let entries = (capability.private_header & 0x7ff) + 1;
        let place = Ports.read_word(function, capability.offset + 4);
        let address = block_address(function, (place & 7) as u8, place & !7)?;
        devices::map(address, u64::from(entries) * 16).ok()?;
        let header = Ports.read_word(function, capability.offset);
        Ports.clone().write_word(function, capability.offset, header | MSI_X_ENABLE);
        Some(Self { address, entries })
    }

    /// Makes entry `entry` interrupt as `vector`; `false` where there is no such entry.
    pub fn set(&self, entry: u16, vector: Vector) -> bool {
        if entry >= self.entries {
            return false;
        }
        let (address, data) = apic::message(vector);
        let words = [address as u32, (address >> 32) as u32, data, 0];
        let place = (self.address + 16 * u64::from(entry)) as *mut u32;
        for (offset, word) in words.into_iter().enumerate() {
            // SAFETY: inside the table, which `enable` mapped.
            unsafe { place.add(offset).write_volatile(word) };
        }
        true
    }
}
