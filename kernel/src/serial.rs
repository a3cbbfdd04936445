//! The serial ports, 16550s: the console and, where there is a second one, that for captures. Read first: National
//! Semiconductor's PC16550D data sheet, 8 "Registers".
//!
//! Nothing here waits without end: with no reader behind a port the transmitter may stay full for ever.

use core::sync::atomic::{AtomicBool, Ordering};
use x86_64::instructions::port::Port;

/// Bytes that an empty transmitter takes at once.
const FIFO: usize = 16;
/// Looks at a full transmitter before it is given up, where there is nobody to come back later.
const PATIENCE: usize = 10_000;

const DATA_READY: u8 = 1;
const TRANSMITTER_READY: u8 = 1 << 5;
const TRANSMITTER_EMPTY: u8 = 1 << 6;
const INTERRUPT_ON_RECEIVE: u8 = 1;
const INTERRUPT_ON_ROOM: u8 = 2;

/// The first port.
pub static CONSOLE: Serial = Serial::new(0x3f8, 4);
/// The second port.
pub static CAPTURE: Serial = Serial::new(0x2f8, 3);

/// A serial port. Without one at its place, what is sent is lost and nothing comes in.
pub struct Serial {
    base: u16,
    /// Its interrupt line.
    pub irq: u32,
    present: AtomicBool,
}

impl Serial {
    const fn new(base: u16, irq: u32) -> Self {
        Self { base, irq, present: AtomicBool::new(false) }
    }

    /// Writes a register.
    fn write(&self, register: u16, value: u8) {
        // SAFETY: the registers of a serial port; no write to them touches memory.
        unsafe { Port::new(self.base + register).write(value) };
    }

    /// Reads a register.
    fn read(&self, register: u16) -> u8 {
        // SAFETY: as in `write`.
        unsafe { Port::new(self.base + register).read() }
    }

    /// 115,200 baud, 8 bits, no parity, FIFO on, interrupts off.
    pub fn init(&self) {
        self.write(1, 0);
        self.write(3, 0x80); // the divisor's latch
        self.write(0, 1);
        self.write(1, 0);
        self.write(3, 0x03);
        self.write(2, 0x07); // FIFO on and emptied; an interrupt with the first byte
        self.write(4, 0x0b); // DTR, RTS, and OUT2, which lets interrupts through
        self.write(7, 0xa5);
        // The scratch register keeps what it is given.
        self.present.store(self.read(7) == 0xa5, Ordering::Relaxed);
    }

    /// Whether there is a port at its place.
    #[inline]
    pub fn is_present(&self) -> bool {
        self.present.load(Ordering::Relaxed)
    }

    /// The next byte that came in.
    #[inline]
    pub fn receive(&self) -> Option<u8> {
        (self.is_present() && self.read(5) & DATA_READY != 0).then(|| self.read(0))
    }

    /// Sends as many bytes as the transmitter takes at once, and says how many that were.
    pub fn send(&self, bytes: impl Iterator<Item = u8>) -> usize {
        if !self.is_present() {
            return bytes.count();
        }
        if self.read(5) & TRANSMITTER_READY == 0 {
            return 0;
        }
        bytes.take(FIFO).map(|byte| self.write(0, byte)).count()
    }

    /// Whether all that was sent is out.
    pub fn is_drained(&self) -> bool {
        !self.is_present() || self.read(5) & TRANSMITTER_EMPTY != 0
    }

    /// Asks for an interrupt when a byte comes in, and also when the transmitter has room, if `room` says so. Leaves the
    /// interrupt line low, so that the next event is an edge.
    pub fn enable_interrupts(&self, room: bool) {
        self.write(1, if room { INTERRUPT_ON_RECEIVE | INTERRUPT_ON_ROOM } else { INTERRUPT_ON_RECEIVE });
        if !room {
            self.read(2);
        }
    }

    /// For a moment when nothing else runs: before the event loop, or in a panic. Sends everything, unless nobody reads.
    pub fn send_all(&self, bytes: &[u8]) {
        self.send_within(bytes, PATIENCE);
    }

    /// The same for somebody who reads slowly: gives up after so many looks at a full transmitter. Whether all was sent.
    pub fn send_within(&self, bytes: &[u8], looks: usize) -> bool {
        let mut rest = bytes.iter().copied().peekable();
        let mut patience = looks;
        while rest.peek().is_some() && patience > 0 {
            // `send` drops what it does not take only after it has taken a full FIFO.
            patience = if self.send(rest.by_ref()) > 0 { looks } else { patience - 1 };
        }
        patience > 0
    }
}

/// The console as something to format into, for the same moments.
pub struct Direct;

impl core::fmt::Write for Direct {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for line in text.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some(line) => {
                    CONSOLE.send_all(line.as_bytes());
                    CONSOLE.send_all(b"\r\n");
                }
                None => CONSOLE.send_all(line.as_bytes()),
            }
        }
        Ok(())
    }
}
