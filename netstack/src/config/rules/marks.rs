//! Marks: 32 bits that rules write on packets and flows, for other rules and for routes to go by; iptables-extensions(8).

use core::fmt::{self, Display, Formatter};

/// Some bits of a mark: `VALUE[/MASK]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Masked {
    /// What the bits are, or become.
    pub value: u32,
    /// Which bits.
    pub mask: u32,
}

impl Masked {
    /// The whole mark.
    pub const fn whole(value: u32) -> Self {
        Self { value, mask: u32::MAX }
    }

    /// Whether these bits of `mark` have the value.
    pub fn fits(self, mark: u32) -> bool {
        mark & self.mask == self.value
    }

    /// `mark` with these bits cleared, and then those of the value turned over (`--set-xmark`).
    pub fn applied_to(self, mark: u32) -> u32 {
        mark & !self.mask ^ self.value
    }
}

/// As a match is given: the mask only where it leaves out bits.
impl Display for Masked {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self { value, mask: u32::MAX } => write!(f, "0x{value:x}"),
            Self { value, mask } => write!(f, "0x{value:x}/0x{mask:x}"),
        }
    }
}

/// `CONNMARK`: what passes between the mark of a packet and that of its flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnMark {
    /// `--set-xmark` and the options that are short for it: the flow's mark changes.
    Set(Masked),
    /// `--save-mark`: the flow takes over the packet's mark.
    Save(MarkMasks),
    /// `--restore-mark`: the packet takes over the flow's mark.
    Restore(MarkMasks),
}

/// Which bits are taken from one mark, and which are cleared in the other before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MarkMasks {
    /// `--nfmask`
    pub packet: u32,
    /// `--ctmask`
    pub flow: u32,
}

impl MarkMasks {
    /// All bits of both.
    pub const ALL: Self = Self { packet: u32::MAX, flow: u32::MAX };
}

impl Display for ConnMark {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (option, MarkMasks { packet, flow }) = match self {
            Self::Set(Masked { value, mask }) => return write!(f, " --set-xmark 0x{value:x}/0x{mask:x}"),
            Self::Save(masks) => ("--save-mark", masks),
            Self::Restore(masks) => ("--restore-mark", masks),
        };
        write!(f, " {option} --nfmask 0x{packet:x} --ctmask 0x{flow:x}")
    }
}
