//! A virtio device: starting it, its interrupts, its doorbells. Read first: virtio 1.2, 3.1 "Device Initialization",
//! 4.1.5 and 4.2.3 "Bus-specific Initialization And Device Operation".

use crate::{apic, devices, interrupt::Vector, pci::MessageTable};
use alloc::{
    alloc::{alloc_zeroed, dealloc},
    format,
    string::String,
};
use core::{alloc::Layout, ptr::NonNull};
use kernel::ring::{Addresses, Doorbell};
use virtio_drivers::{
    BufferDirection, Hal, PAGE_SIZE, PhysAddr,
    transport::{
        DeviceStatus, DeviceType, InterruptStatus, SomeTransport, Transport, pci::bus::DeviceFunction,
    },
};

/// How many times a register is read that must change soon.
const PATIENCE: usize = 100_000;

// Registers of the common configuration structure (virtio 1.2, 4.1.4.3).
const CONFIGURATION_VECTOR: u64 = 0x10;
const QUEUE_SELECT: u64 = 0x16;
const QUEUE_VECTOR: u64 = 0x1a;
const QUEUE_NOTIFY_OFFSET: u64 = 0x1e;
/// The register of a device on the memory bus (virtio 1.2, 4.2.2).
const MMIO_QUEUE_NOTIFY: u64 = 0x50;

/// What the crate's transport does not reach.
pub enum Bus {
    /// Its place, addresses of the common configuration and of the doorbells, and the interrupts.
    Pci {
        function: DeviceFunction,
        common: u64,
        notify: u64,
        notify_multiplier: u32,
        messages: Option<MessageTable>,
    },
    /// Address of the registers, and the interrupt line.
    Mmio { base: u64, line: u32 },
}

/// A device.
pub struct Device {
    transport: SomeTransport<'static>,
    bus: Bus,
}

impl Device {
    /// A device that was found.
    pub fn new(transport: SomeTransport<'static>, bus: Bus) -> Self {
        Self { transport, bus }
    }

    /// Where it is, as Linux writes it.
    pub fn address(&self) -> String {
        match self.bus {
            Bus::Pci { function, .. } => format!("0000:{function}"),
            Bus::Mmio { base, .. } => format!("{base:x}.virtio_mmio"),
        }
    }

    /// What it is.
    pub fn kind(&self) -> DeviceType {
        self.transport.device_type()
    }

    /// Resets the device, and takes those of the features on offer that `choose` says.
    ///
    /// # Errors
    /// It insists on others, or does not come out of its reset.
    pub fn negotiate(&mut self, choose: impl Fn(u64) -> u64) -> Result<u64, &'static str> {
        self.reset()?;
        let acknowledged = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        self.transport.set_status(acknowledged);
        let features = choose(self.transport.read_device_features());
        self.transport.write_driver_features(features);
        let legacy = self.transport.requires_legacy_layout();
        if legacy {
            self.transport.set_guest_page_size(4096);
            return Ok(features);
        }
        self.transport.set_status(acknowledged | DeviceStatus::FEATURES_OK);
        let accepted = self.transport.get_status().contains(DeviceStatus::FEATURES_OK);
        if accepted { Ok(features) } else { Err("it refuses our choice of features") }
    }

    /// Stops the device: from then on it touches no memory.
    ///
    /// # Errors
    /// It does not say that it has stopped.
    pub fn reset(&mut self) -> Result<(), &'static str> {
        self.transport.set_status(DeviceStatus::empty());
        let stopped = (0..PATIENCE).any(|_| self.transport.get_status() == DeviceStatus::empty());
        if stopped { Ok(()) } else { Err("it does not come out of its reset") }
    }

    /// Lets the device run.
    pub fn start(&mut self) {
        self.transport.finish_init();
    }

    /// Whether the device says that it needs a reset.
    pub fn needs_reset(&self) -> bool {
        self.transport.get_status().contains(DeviceStatus::DEVICE_NEEDS_RESET)
    }

    /// The most entries that a queue may have: a power of two up to `limit`; `None`: there is no such queue.
    pub fn queue_size(&mut self, queue: u16, limit: u16) -> Option<u16> {
        let most = self.transport.max_queue_size(queue).min(limit.into());
        most.checked_ilog2().map(|bits| 1 << bits)
    }

    /// Tells the device where a queue lies.
    pub fn attach(&mut self, queue: u16, at: Addresses, size: u16) {
        self.transport.queue_set(queue, size.into(), at.descriptors, at.available, at.used);
    }

    /// What rings when a queue has something new.
    pub fn bell(&mut self, queue: u16) -> Bell {
        match self.bus {
            Bus::Pci { common, notify, notify_multiplier, .. } => {
                write_common(common, QUEUE_SELECT, queue);
                let offset = u64::from(read_common(common, QUEUE_NOTIFY_OFFSET));
                Bell { address: notify + offset * u64::from(notify_multiplier), queue, wide: false }
            }
            Bus::Mmio { base, .. } => Bell { address: base + MMIO_QUEUE_NOTIFY, queue, wide: true },
        }
    }

    /// Makes the device interrupt as `vector` for each of the queues; `false` where it cannot.
    pub fn connect_interrupts(&mut self, mut queues: impl Iterator<Item = u16>, vector: Vector) -> bool {
        match &self.bus {
            Bus::Pci { common, messages: Some(messages), .. } => {
                if !messages.set(0, Vector::CONFIGURATION) || !messages.set(1, vector) {
                    return false;
                }
                write_common(*common, CONFIGURATION_VECTOR, 0);
                queues.all(|queue| {
                    write_common(*common, QUEUE_SELECT, queue);
                    write_common(*common, QUEUE_VECTOR, 1);
                    // A device that has no room for it answers with "no vector".
                    read_common(*common, QUEUE_VECTOR) == 1
                })
            }
            Bus::Pci { messages: None, .. } => false,
            Bus::Mmio { line, .. } => {
                apic::route(*line, vector);
                true
            }
        }
    }

    /// Lets the interrupt line of a device on the memory bus fall, so that it can rise again. Says whether the device's
    /// configuration changed; other devices have a vector of its own for that.
    pub fn acknowledge(&mut self) -> bool {
        match self.bus {
            Bus::Pci { .. } => false,
            Bus::Mmio { .. } => {
                self.transport.ack_interrupt().contains(InterruptStatus::DEVICE_CONFIGURATION_INTERRUPT)
            }
        }
    }

    /// The 16-bit word at `offset` of the device's own configuration.
    pub fn configuration_word(&self, offset: usize) -> Option<u16> {
        self.transport.read_config_space(offset).ok()
    }
}

fn write_common(common: u64, register: u64, value: u16) {
    // SAFETY: the transport mapped the common configuration structure; its registers touch no memory.
    unsafe { ((common + register) as *mut u16).write_volatile(value) };
}

fn read_common(common: u64, register: u64) -> u16 {
    // SAFETY: as in `write_common`.
    unsafe { ((common + register) as *const u16).read_volatile() }
}

/// Kicks a device about one queue.
pub struct Bell {
    address: u64,
    queue: u16,
    /// The register is 32 bits wide, not 16.
    wide: bool,
}

impl Doorbell for Bell {
    #[inline]
    fn ring(&mut self) {
        // SAFETY: the device's doorbell, mapped for good. What it makes the device do is the ring's contract.
        unsafe {
            if self.wide {
                (self.address as *mut u32).write_volatile(self.queue.into());
            } else {
                (self.address as *mut u16).write_volatile(self.queue);
            }
        }
    }
}

/// Memory as the crate's transports see it: every address is its own.
pub struct Identity;

// SAFETY: the heap gives pages that are nobody else's, and a device sees them at the same addresses as we do.
unsafe impl Hal for Identity {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let Ok(layout) = Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE) else {
            return (0, NonNull::dangling());
        };
        // SAFETY: the crate asks for one page at least.
        let memory = unsafe { alloc_zeroed(layout) };
        NonNull::new(memory).map_or((0, NonNull::dangling()), |start| (memory as PhysAddr, start))
    }

    unsafe fn dma_dealloc(_: PhysAddr, memory: NonNull<u8>, pages: usize) -> i32 {
        if let Ok(layout) = Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE) {
            // SAFETY: it came from `dma_alloc` with the same number of pages.
            unsafe { dealloc(memory.as_ptr(), layout) };
        }
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, size: usize) -> NonNull<u8> {
        devices::map(address, size as u64).expect("a page table for the registers of a device");
        NonNull::new(address as *mut u8).expect("no device has its registers at address 0")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.as_ptr().cast::<u8>() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
