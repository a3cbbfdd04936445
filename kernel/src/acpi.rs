//! The few words of ACPI that a machine without an interpreter needs: how to switch off, how to reset, where the timer
//! is. Read first: ACPI 6.5, 5.2.9 "Fixed ACPI Description Table", 4.8.3.2 "PM1 Control", 4.8.3.7 "Sleep Control".

/// Reads physical memory.
pub trait Memory {
    /// The `length` bytes at `address`; `None` where they cannot be read.
    fn bytes(&mut self, address: u64, length: usize) -> Option<&[u8]>;
}

/// A place to write a byte or a word to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Register {
    /// An I/O port.
    Port(u16),
    /// A memory address.
    Memory(u64),
}

/// How to switch the machine off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PowerSwitch {
    /// Write this word to the PM1 control port.
    Pm1Control(u16, u16),
    /// Write this byte to the sleep control register (hardware-reduced machines).
    SleepControl(Register, u8),
}

/// What the tables say.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Machine {
    /// How to switch off.
    pub power: Option<PowerSwitch>,
    /// How to reset: write this value there.
    pub reset: Option<(Register, u8)>,
    /// I/O port of the 3.579545 MHz timer.
    pub timer: Option<u16>,
}

const HEADER: usize = 36;
/// Tables longer than this are not believed.
const LONGEST: usize = 1 << 20;
/// Entries of the root table that are looked at.
const MOST_TABLES: usize = 64;
const SLEEP_ENABLE_PM1: u16 = 1 << 13;
const SLEEP_ENABLE_REDUCED: u8 = 1 << 5;
const HARDWARE_REDUCED: u32 = 1 << 20;
const RESET_SUPPORTED: u32 = 1 << 10;

/// Reads the tables that start at the root pointer; what is missing or damaged is left out.
pub fn read(memory: &mut impl Memory, root: u64) -> Machine {
    fixed_description(memory, root).unwrap_or_default()
}

fn fixed_description(memory: &mut impl Memory, root: u64) -> Option<Machine> {
    let pointer = memory.bytes(root, 20)?;
    if &pointer[..8] != b"RSD PTR " || checksum(pointer) != 0 {
        return None;
    }
    let (revision, short_root) = (pointer[15], u64::from(u32_at(pointer, 16)?));
    let (list, entry_size) =
        if revision >= 2 { (u64_at(memory.bytes(root, 36)?, 24)?, 8) } else { (short_root, 4) };
    let entries = (table(memory, list)?.len() - HEADER) / entry_size;
    for index in 0..entries.min(MOST_TABLES) {
        let list = table(memory, list)?;
        let at = HEADER + index * entry_size;
        let address = if entry_size == 8 { u64_at(list, at)? } else { u32_at(list, at)?.into() };
        // A damaged table is passed over: QEMU may have loaded a module over some of them.
        if table(memory, address).is_some_and(|table| table.starts_with(b"FACP")) {
            return machine(memory, address);
        }
    }
    None
}

fn machine(memory: &mut impl Memory, address: u64) -> Option<Machine> {
    let fixed = table(memory, address)?;
    let flags = u32_at(fixed, 112)?;
    let long_differentiated = u64_at(fixed, 140).filter(|&address| address != 0);
    let differentiated = long_differentiated.unwrap_or(u32_at(fixed, 40)?.into());
    let control = u32_at(fixed, 64)?;
    let sleep = register(fixed, 244);
    let reset = register(fixed, 116).zip(fixed.get(128).copied());
    let timer = u16::try_from(u32_at(fixed, 76)?).ok().filter(|&port| port != 0);
    let reduced = flags & HARDWARE_REDUCED != 0;

    let soft_off = table(memory, differentiated).and_then(soft_off_type);
    let power = soft_off.and_then(|kind| match (reduced, sleep, u16::try_from(control)) {
        (true, Some(sleep), _) => Some(PowerSwitch::SleepControl(sleep, kind << 2 | SLEEP_ENABLE_REDUCED)),
        (false, _, Ok(port)) if port != 0 => {
            Some(PowerSwitch::Pm1Control(port, u16::from(kind) << 10 | SLEEP_ENABLE_PM1))
        }
        _ => None,
    });
    Some(Machine {
        power,
        reset: reset.filter(|_| flags & RESET_SUPPORTED != 0),
        timer: timer.filter(|_| !reduced),
    })
}

/// The whole table at `address`, if its length and checksum are right.
fn table(memory: &mut impl Memory, address: u64) -> Option<&[u8]> {
    let length = u32_at(memory.bytes(address, HEADER)?, 4)? as usize;
    if !(HEADER..=LONGEST).contains(&length) {
        return None;
    }
    memory.bytes(address, length).filter(|table| checksum(table) == 0)
}

/// The sleep type of the state S5, from the object `\_S5`. It is a package of constants, so it can be found without
/// running the byte code around it (ACPI 6.5, 20.2).
fn soft_off_type(code: &[u8]) -> Option<u8> {
    const NAME_AND_PACKAGE: &[u8] = b"\x08_S5_\x12";
    const BYTE_PREFIX: u8 = 0x0a;
    let found = code.windows(NAME_AND_PACKAGE.len()).position(|window| window == NAME_AND_PACKAGE)?;
    let package = &code[found + NAME_AND_PACKAGE.len()..];
    // The length of the package tells in its two highest bits how many bytes follow it; then the number of elements.
    let length_bytes = 1 + usize::from(package.first()? >> 6);
    let kind = match package.get(length_bytes + 1..)? {
        [BYTE_PREFIX, kind, ..] => *kind,
        [kind @ 0..=1, ..] => *kind,
        _ => return None,
    };
    (kind < 8).then_some(kind)
}

/// A generic address structure (ACPI 6.5, 5.2.3.2).
fn register(table: &[u8], at: usize) -> Option<Register> {
    let address = u64_at(table, at + 4)?;
    match (table[at], address) {
        (_, 0) => None,
        (0, address) => Some(Register::Memory(address)),
        (1, port) => u16::try_from(port).ok().map(Register::Port),
        _ => None,
    }
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().map(u32::from_le_bytes).ok()
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().map(u64::from_le_bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Memory from address 0.
    struct Image(Vec<u8>);

    impl Memory for Image {
        fn bytes(&mut self, address: u64, length: usize) -> Option<&[u8]> {
            self.0.get(address as usize..)?.get(..length)
        }
    }

    const ROOT: usize = 0x10;
    const LIST: usize = 0x100;
    const FIXED: usize = 0x200;
    const CODE: usize = 0x400;

    impl Image {
        fn put(&mut self, at: usize, bytes: &[u8]) {
            self.0[at..at + bytes.len()].copy_from_slice(bytes);
        }

        fn seal(&mut self, at: usize, length: usize, checksum_at: usize) {
            self.0[at + checksum_at] = 0;
            self.0[at + checksum_at] = 0u8.wrapping_sub(checksum(&self.0[at..at + length]));
        }

        fn put_table(&mut self, at: usize, name: &[u8; 4], body: &[(usize, &[u8])], length: usize) {
            self.put(at, name);
            self.put(at + 4, &(length as u32).to_le_bytes());
            for (offset, bytes) in body {
                self.put(at + offset, bytes);
            }
            self.seal(at, length, 9);
        }

        /// A machine as QEMU's q35 describes itself: revision 0 root pointer, PM1 control at 0x604.
        fn q35() -> Self {
            let mut image = Self(alloc::vec![0; 0x600]);
            image.put(ROOT, b"RSD PTR ");
            image.put(ROOT + 16, &(LIST as u32).to_le_bytes());
            image.seal(ROOT, 20, 8);
            let entries = [0x5f0u32.to_le_bytes(), (FIXED as u32).to_le_bytes()].concat();
            image.put_table(LIST, b"RSDT", &[(HEADER, &entries)], HEADER + 8);
            image.put_table(
                FIXED,
                b"FACP",
                &[
                    (40, &(CODE as u32).to_le_bytes()),
                    (64, &0x604u32.to_le_bytes()),
                    (76, &0x608u32.to_le_bytes()),
                    (112, &RESET_SUPPORTED.to_le_bytes()),
                    (116, &[1, 8, 0, 0, 0xf9, 0x0c, 0, 0, 0, 0, 0, 0]),
                    (128, &[0x0f]),
                ],
                244,
            );
            image.put_table(CODE, b"DSDT", &[(50, b"\x08_S5_\x12\x06\x04\x00\x00\x00\x00")], 80);
            image
        }
    }

    #[test]
    fn a_machine_with_ports() {
        assert_eq!(
            read(&mut Image::q35(), ROOT as u64),
            Machine {
                power: Some(PowerSwitch::Pm1Control(0x604, 0x2000)),
                reset: Some((Register::Port(0xcf9), 0x0f)),
                timer: Some(0x608),
            }
        );
    }

    #[test]
    fn a_hardware_reduced_machine() {
        let mut image = Image::q35();
        let flags = HARDWARE_REDUCED | RESET_SUPPORTED;
        image.put_table(
            FIXED,
            b"FACP",
            &[
                (112, &flags.to_le_bytes()),
                (116, &[0, 8, 0, 0, 2, 2, 0xa0, 0xfe, 0, 0, 0, 0]),
                (128, &[0x42]),
                (140, &(CODE as u64).to_le_bytes()),
                (244, &[0, 8, 0, 0, 0, 2, 0xa0, 0xfe, 0, 0, 0, 0]),
            ],
            268,
        );
        image.put_table(CODE, b"DSDT", &[(50, b"\x08_S5_\x12\x41\x00\x04\x0a\x05\x00\x00\x00")], 80);
        assert_eq!(
            read(&mut image, ROOT as u64),
            Machine {
                power: Some(PowerSwitch::SleepControl(Register::Memory(0xfea0_0200), 0x34)),
                reset: Some((Register::Memory(0xfea0_0202), 0x42)),
                timer: None,
            }
        );
    }

    #[test]
    fn damaged_tables_are_no_tables() {
        for at in [ROOT, LIST + 10, FIXED + 20] {
            let mut image = Image::q35();
            image.0[at] ^= 1;
            assert_eq!(read(&mut image, ROOT as u64), Machine::default(), "damage at {at:#x}");
        }
        let mut image = Image::q35();
        image.0[CODE + 60] ^= 1;
        let machine = read(&mut image, ROOT as u64);
        assert_eq!((machine.power, machine.timer), (None, Some(0x608)), "only the sleep type is lost");
    }

    #[test]
    fn no_cut_and_no_flipped_byte_leads_astray() {
        for length in 0..0x600 {
            let mut image = Image::q35();
            image.0.truncate(length);
            read(&mut image, ROOT as u64);
        }
        for at in 0..0x600 {
            for value in [0x00, 0x7f, 0xff] {
                let mut image = Image::q35();
                image.0[at] = value;
                image.seal(ROOT, 20, 8);
                for (table, length) in [(LIST, HEADER + 8), (FIXED, 244), (CODE, 80)] {
                    image.seal(table, length, 9);
                }
                read(&mut image, ROOT as u64);
            }
        }
    }
}
