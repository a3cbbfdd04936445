//! The words of the command line.

/// A virtio device on the memory bus (Linux's `virtio_mmio.device=SIZE@ADDRESS:IRQ`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MmioDevice {
    /// Where its registers are.
    pub address: u64,
    /// How many bytes they take.
    pub size: u64,
    /// Its interrupt line.
    pub interrupt: u32,
}

/// Long enough for the answer to a frame that was just sent to a machine nearby, short enough to cost an idle host nothing.
const SPIN_MICROS: u32 = 20;

/// What the command line says.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    line: &'a str,
    /// `config=none`: start with nothing configured.
    pub no_configuration: bool,
    /// `panic=off`: switch off after a panic instead of starting again.
    pub panic_off: bool,
    /// `debug`: log debugging messages too.
    pub debug: bool,
    /// `spin=N`: how many microseconds the idle processor waits for a frame before it halts; at most a second.
    pub spin_micros: u32,
    /// `flows=N`: how many flows the table shall hold, as far as they fit into the memory.
    pub flows: Option<usize>,
}

impl<'a> Options<'a> {
    /// Reads a command line. Unknown words are passed over, as the loader may add some of its own.
    pub fn parse(line: &'a str) -> Self {
        let words = || line.split_ascii_whitespace();
        let has = |word| words().any(|given| given == word);
        let spin = words().find_map(|word| word.strip_prefix("spin=")?.parse().ok());
        Self {
            line,
            no_configuration: has("config=none"),
            panic_off: has("panic=off"),
            debug: has("debug"),
            spin_micros: spin.map_or(SPIN_MICROS, |micros: u32| micros.min(1_000_000)),
            flows: words().find_map(|word| word.strip_prefix("flows=")?.parse().ok()),
        }
    }

    /// The devices that the command line lists, in its order.
    pub fn mmio_devices(&self) -> impl Iterator<Item = MmioDevice> {
        self.line.split_ascii_whitespace().filter_map(mmio_device)
    }
}

fn mmio_device(word: &str) -> Option<MmioDevice> {
    let (size, rest) = word.strip_prefix("virtio_mmio.device=")?.split_once('@')?;
    let (address, rest) = rest.split_once(':')?;
    let interrupt = rest.split(':').next()?;
    let (digits, unit) = match size.split_at_checked(size.len().checked_sub(1)?)? {
        (digits, "K" | "k") => (digits, 1 << 10),
        (digits, "M" | "m") => (digits, 1 << 20),
        _ => (size, 1),
    };
    Some(MmioDevice {
        address: number(address)?,
        size: number(digits)?.checked_mul(unit)?,
        interrupt: u32::try_from(number(interrupt)?).ok()?,
    })
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn words_are_whole_words() {
        let options = Options::parse("quiet config=none panic=off");
        assert!(options.no_configuration && options.panic_off && !options.debug);
        let options = Options::parse("xconfig=none panic=offline debugger");
        assert!(!options.no_configuration && !options.panic_off && !options.debug);
    }

    #[test]
    fn spinning_has_a_limit() {
        let micros = |line| Options::parse(line).spin_micros;
        assert_eq!([micros("spin=0"), micros("x spin=150"), micros("spin=4000000000")], [0, 150, 1_000_000]);
        assert_eq!([micros(""), micros("spin=x"), micros("spin=-1")], [SPIN_MICROS; 3]);
    }

    #[test]
    fn devices_as_qemu_lists_them() {
        let line = "virtio_mmio.device=512@0xfeb00e00:12 x virtio_mmio.device=4K@4276094976:5:1";
        let devices: Vec<_> = Options::parse(line).mmio_devices().collect();
        assert_eq!(
            devices,
            [
                MmioDevice { address: 0xfeb0_0e00, size: 512, interrupt: 12 },
                MmioDevice { address: 4_276_094_976, size: 4096, interrupt: 5 },
            ]
        );
    }

    #[test]
    fn half_a_device_is_none() {
        for word in [
            "512@0xfeb00e00",
            "@0x1:1",
            "512@:1",
            "512@0x1:",
            "é@1:1",
            "99999999999999999999@1:1",
            "",
            "M@1:x",
        ] {
            let line = alloc::format!("virtio_mmio.device={word}");
            assert_eq!(Options::parse(&line).mmio_devices().next(), None, "{word}");
        }
    }
}
