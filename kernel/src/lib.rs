//! The parts of the kernel that know no hardware, so that they are tested on the host.
#![no_std]

extern crate alloc;

pub mod acpi;
pub mod control;
#[cfg(test)]
mod fake_device;
pub mod features;
pub mod header;
pub mod log_ring;
pub mod options;
pub mod queues;
pub mod ring;
pub mod sizes;
pub mod watchdog;
