//! What rules change of a packet and its flow while they are asked, so that later ones see it; iptables-extensions(8).

use crate::config::rules::{ConnMark, MarkMasks, Target};
use core::fmt;

/// What the rules that a packet has met so far have left of it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Marking {
    /// The packet's mark. It begins as 0, and ends with the packet.
    pub packet: u32,
    /// The mark of its flow.
    pub flow: u32,
}

impl Marking {
    /// Does what a target does that lets the packet go on; `tracked` says whether the packet has a flow.
    pub(super) fn apply(&mut self, target: &Target, tracked: bool) {
        match target {
            Target::Mark(change) => self.packet = change.applied_to(self.packet),
            Target::ConnMark(change) if tracked => self.pass(*change),
            _ => {}
        }
    }

    /// Linux: net/netfilter/xt_connmark.c
    fn pass(&mut self, change: ConnMark) {
        match change {
            ConnMark::Set(change) => self.flow = change.applied_to(self.flow),
            ConnMark::Save(MarkMasks { packet, flow }) => {
                self.flow = self.flow & !flow ^ self.packet & packet
            }
            ConnMark::Restore(MarkMasks { packet, flow }) => {
                self.packet = self.packet & !packet ^ self.flow & flow;
            }
        }
    }
}

impl fmt::Display for Marking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packet 0x{:x}, flow 0x{:x}", self.packet, self.flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::rules::Masked;

    #[test]
    fn bits_are_cleared_and_then_turned_over() {
        let changed = |value, mask| Masked { value, mask }.applied_to(0x35);
        assert_eq!(changed(0x1, u32::MAX), 0x1, "--set-mark 1");
        assert_eq!(changed(0xc0, 0xf0), 0xc5, "--set-xmark 0xc0/0xf0");
        assert_eq!(changed(0, !0x11), 0x11, "--and-mark 0x11");
        assert_eq!(changed(0xa, 0xa), 0x3f, "--or-mark 0xa");
        assert_eq!(changed(0xff, 0), 0xca, "--xor-mark 0xff");
    }

    #[test]
    fn masks_say_what_is_taken_and_what_is_cleared() {
        let passed = |change| {
            let mut marking = Marking { packet: 0x12, flow: 0x34 };
            marking.apply(&Target::ConnMark(change), true);
            (marking.packet, marking.flow)
        };
        assert_eq!(passed(ConnMark::Save(MarkMasks::ALL)), (0x12, 0x12));
        assert_eq!(passed(ConnMark::Save(MarkMasks { packet: 0xf, flow: 0xff })), (0x12, 0x02));
        assert_eq!(passed(ConnMark::Save(MarkMasks { packet: 0xf, flow: 0xf })), (0x12, 0x32));
        assert_eq!(passed(ConnMark::Restore(MarkMasks { packet: 0xff, flow: 0xf })), (0x04, 0x34));
        assert_eq!(
            passed(ConnMark::Restore(MarkMasks { packet: 0xf, flow: 0xf0 })),
            (0x20, 0x34),
            "turned over"
        );
        assert_eq!(passed(ConnMark::Set(Masked { value: 1, mask: 0xf })), (0x12, 0x31));
    }
}
