//! Finds the virtio devices of the machine, on PCI or on the memory bus. Read first: virtio 1.2, 4.1.4 "Virtio Structure
//! PCI Capabilities", 4.2.1 "MMIO Device Discovery".

use crate::{
    apic, devices,
    pci::{self, MessageTable, Ports},
    virtio::{Bus, Device, Identity},
};
use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::ptr::NonNull;
use kernel::options::{MmioDevice, Options};
use log::warn;
use netstack::sort::sort_by;
use virtio_drivers::transport::{
    mmio::MmioTransport,
    pci::{
        PciTransport, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG,
        bus::{ConfigurationAccess, DeviceFunction, PCI_CAP_ID_VNDR, PciRoot},
        virtio_device_type,
    },
};

/// Where QEMU's microvm has its slots for devices.
const MICROVM_BASE: u64 = 0xfeb0_0000;
const MICROVM_STEP: u64 = 512;

/// Every virtio device, in the order of QEMU's command line.
pub fn find(options: &Options<'_>) -> Vec<Device> {
    if pci::is_present() { find_on_pci() } else { find_on_mmio(options) }
}

fn find_on_pci() -> Vec<Device> {
    let mut root = PciRoot::new(Ports);
    let mut found = Vec::new();
    for (function, info) in pci::functions(&root) {
        if virtio_device_type(&info).is_none() {
            continue;
        }
        match pci_device(&mut root, function) {
            Ok(device) => found.push(device),
            Err(error) => warn!("virtio device {function}: {error}"),
        }
    }
    found
}

fn pci_device(root: &mut PciRoot<Ports>, function: DeviceFunction) -> Result<Device, String> {
    pci::set_enabled(root, function, false);
    let transport = PciTransport::new::<Identity, _>(root, function).map_err(|error| error.to_string())?;
    pci::set_enabled(root, function, true);
    let bus = pci_registers(root, function).ok_or("its registers cannot be reached")?;
    Ok(Device::new(transport.into(), bus))
}

/// The registers that the crate's transport keeps for itself.
fn pci_registers(root: &PciRoot<Ports>, function: DeviceFunction) -> Option<Bus> {
    let capability = |kind| {
        root.capabilities(function).find(|capability| {
            capability.id == PCI_CAP_ID_VNDR && (capability.private_header >> 8) as u8 == kind
        })
    };
    let address = |offset: u8| {
        let bar = Ports.read_word(function, offset + 4) as u8;
        pci::block_address(function, bar, Ports.read_word(function, offset + 8))
    };
    let notify = capability(VIRTIO_PCI_CAP_NOTIFY_CFG)?.offset;
    Some(Bus::Pci {
        function,
        common: address(capability(VIRTIO_PCI_CAP_COMMON_CFG)?.offset)?,
        notify: address(notify)?,
        notify_multiplier: Ports.read_word(function, notify + 16),
        messages: MessageTable::enable(root, function),
    })
}

fn find_on_mmio(options: &Options<'_>) -> Vec<Device> {
    let mut places: Vec<MmioDevice> = options.mmio_devices().collect();
    if places.is_empty() {
        // With ACPI, QEMU lists no devices. There are 24 slots on the second I/O APIC, or 8 on the last lines of the first.
        let (slots, line) = if apic::has_second_io_apic() { (24, 24) } else { (8, 16) };
        places.extend((0..slots).map(|slot| MmioDevice {
            address: MICROVM_BASE + MICROVM_STEP * u64::from(slot),
            size: MICROVM_STEP,
            interrupt: line + slot,
        }));
    }
    // QEMU fills the slots from the last one down.
    sort_by(&mut places, |a, b| a.address > b.address);
    places.iter().filter_map(mmio_device).collect()
}

fn mmio_device(place: &MmioDevice) -> Option<Device> {
    let header = NonNull::new(place.address as *mut _)?;
    if let Err(error) = devices::map(place.address, place.size) {
        warn!("virtio device at {:#x}: {error}", place.address);
        return None;
    }
    // SAFETY: a slot for a virtio device, mapped just now for good and used nowhere else. In an empty slot, or where there
    // is nothing at all, the transport finds no magic number or no device number.
    let transport = unsafe { MmioTransport::new(header, place.size as usize) }.ok()?;
    let bus = Bus::Mmio { base: place.address, line: place.interrupt };
    Some(Device::new(transport.into(), bus))
}
