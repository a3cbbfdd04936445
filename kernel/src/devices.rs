//! Access to what is not memory: device registers and firmware tables, mapped when first needed.

use boot::{
    memory::Range,
    paging::{Access, AddressSpace, MapError},
};
use kernel::acpi::Memory;
use spin::Mutex;

static ADDRESS_SPACE: Mutex<Option<AddressSpace>> = Mutex::new(None);

/// Takes over the page tables.
pub fn init(address_space: AddressSpace) {
    *ADDRESS_SPACE.lock() = Some(address_space);
}

fn map_as(address: u64, length: u64, access: Access) -> Result<(), MapError> {
    let range = Range::new(address, address.saturating_add(length));
    match ADDRESS_SPACE.lock().as_mut() {
        Some(address_space) => address_space.map(range, access),
        None => Err(MapError::OutOfReach),
    }
}

/// Maps the registers of a device to themselves.
///
/// # Errors
/// [`MapError`]
pub fn map(address: u64, length: u64) -> Result<(), MapError> {
    map_as(address, length, Access::Device)
}

/// The firmware's tables, read where they lie. They may lie in memory that counts as free, so they are to be read before
/// the heap is in use.
pub struct FirmwareTables;

impl Memory for FirmwareTables {
    fn bytes(&mut self, address: u64, length: usize) -> Option<&[u8]> {
        if address == 0 {
            return None;
        }
        map_as(address, length as u64, Access::ReadOnly).ok()?;
        // SAFETY: mapped just now or before, and readable either way; nothing writes it while this value is borrowed, as
        // the heap is not in use yet and no device runs.
        Some(unsafe { core::slice::from_raw_parts(address as *const u8, length) })
    }
}
