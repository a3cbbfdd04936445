//! The first serial port, a 16550. Read first: National Semiconductor's PC16550D data sheet, 8 "Registers".
//!
//! Nothing here waits without end: with no reader behind the port the transmitter may stay full for ever.

use core::sync::atomic::{AtomicBool, Ordering};
use x86_64::instructions::port::Port;

const BASE: u16 = 0x3f8;
/// The interrupt line of the first port.
pub const IRQ: u32 = 4;
/// Bytes that an empty transmitter takes at once.
const FIFO: usize = 16;
/// Looks at a full transmitter before it is given up, where there is nobody to come back later.
const PATIENCE: usize = 10_000;

const DATA_READY: u8 = 1;
const TRANSMITTER_READY: u8 = 1 << 5;
const TRANSMITTER_EMPTY: u8 = 1 << 6;
const INTERRUPT_ON_RECEIVE: u8 = 1;
const INTERRUPT_ON_ROOM: u8 = 2;

/// Without a port, what is sent is lost and nothing comes in.
static PRESENT: AtomicBool = AtomicBool::new(false);

/// Writes a register.
fn write(register: u16, value: u8) {
    // SAFETY: the registers of the first serial port; no write to them touches memory.
    unsafe { Port::new(BASE + register).write(value) };
}

/// Reads a register.
fn read(register: u16) -> u8 {
    // SAFETY: as in `write`.
    unsafe { Port::new(BASE + register).read() }
}

/// 115,200 baud, 8 bits, no parity, FIFO on, interrupts off.
pub fn init() {
    write(1, 0);
    write(3, 0x80); // the divisor's latch
    write(0, 1);
    write(1, 0);
    write(3, 0x03);
    write(2, 0x07); // FIFO on and emptied; an interrupt with the first byte
    write(4, 0x0b); // DTR, RTS, and OUT2, which lets interrupts through
    write(7, 0xa5);
    PRESENT.store(read(7) == 0xa5, Ordering::Relaxed); // the scratch register keeps what it is given
}

fn is_present() -> bool {
    PRESENT.load(Ordering::Relaxed)
}

/// The next byte that came in.
#[inline]
pub fn receive() -> Option<u8> {
    (is_present() && read(5) & DATA_READY != 0).then(|| read(0))
}

/// Sends as many bytes as the transmitter takes at once, and says how many that were.
pub fn send(bytes: impl Iterator<Item = u8>) -> usize {
    if !is_present() {
        return bytes.count();
    }
    if read(5) & TRANSMITTER_READY == 0 {
        return 0;
    }
    bytes.take(FIFO).map(|byte| write(0, byte)).count()
}

/// Whether all that was sent is out.
pub fn is_drained() -> bool {
    !is_present() || read(5) & TRANSMITTER_EMPTY != 0
}

/// Asks for an interrupt when a byte comes in, and also when the transmitter has room, if `room` says so. Leaves the
/// interrupt line low, so that the next event is an edge.
pub fn enable_interrupts(room: bool) {
    write(1, if room { INTERRUPT_ON_RECEIVE | INTERRUPT_ON_ROOM } else { INTERRUPT_ON_RECEIVE });
    if !room {
        read(2);
    }
}

/// For a moment when nothing else runs: before the event loop, or in a panic. Sends everything, unless nobody reads.
pub fn send_all(bytes: &[u8]) {
    let mut rest = bytes.iter().copied().peekable();
    let mut patience = PATIENCE;
    while rest.peek().is_some() && patience > 0 {
        // `send` drops what it does not take only after it has taken a full FIFO.
        patience = if send(rest.by_ref()) > 0 { PATIENCE } else { patience - 1 };
    }
}

/// The port as something to format into, for the same moments.
pub struct Direct;

impl core::fmt::Write for Direct {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for line in text.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some(line) => {
                    send_all(line.as_bytes());
                    send_all(b"\r\n");
                }
                None => send_all(line.as_bytes()),
            }
        }
        Ok(())
    }
}
