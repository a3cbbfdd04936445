//! What a network device and the router agree on. Read first: virtio 1.2, 5.1.3 "Feature bits".

use crate::header::Format;
use netstack::offload::Abilities;

/// A set of features, as the device offers or the driver takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features(pub u64);

impl Features {
    /// It completes the checksums of what it sends.
    const CSUM: u64 = 1 << 0;
    /// We take frames with checksums that are yet to be completed.
    const GUEST_CSUM: u64 = 1 << 1;
    /// It says what MTU its network has.
    const MTU: u64 = 1 << 3;
    /// It says what MAC address it has.
    const MAC: u64 = 1 << 5;
    /// We take frames that are yet to be segmented.
    const GUEST_TSO4: u64 = 1 << 7;
    const GUEST_TSO6: u64 = 1 << 8;
    const GUEST_ECN: u64 = 1 << 9;
    /// It segments what it sends.
    const HOST_TSO4: u64 = 1 << 11;
    const HOST_TSO6: u64 = 1 << 12;
    const HOST_ECN: u64 = 1 << 13;
    /// A received frame may take several buffers.
    const MRG_RXBUF: u64 = 1 << 15;
    /// It says whether there is a link.
    const STATUS: u64 = 1 << 16;
    /// It takes commands.
    const CTRL_VQ: u64 = 1 << 17;
    /// One of them chooses between all frames and some.
    const CTRL_RX: u64 = 1 << 18;
    /// It can ask that the router make itself known, after a migration.
    const GUEST_ANNOUNCE: u64 = 1 << 21;
    /// It may have more than one pair of queues.
    const MQ: u64 = 1 << 22;
    /// A legacy device takes header and frame in one buffer, too.
    pub const ANY_LAYOUT: u64 = 1 << 27;
    /// A device of virtio 1.0 or later.
    pub const VERSION_1: u64 = 1 << 32;
    /// The same as TSO, for UDP.
    const GUEST_USO4: u64 = 1 << 54;
    const GUEST_USO6: u64 = 1 << 55;
    const HOST_USO: u64 = 1 << 56;

    const WANTED: u64 = Self::CSUM
        | Self::GUEST_CSUM
        | Self::MTU
        | Self::MAC
        | Self::GUEST_TSO4
        | Self::GUEST_TSO6
        | Self::GUEST_ECN
        | Self::HOST_TSO4
        | Self::HOST_TSO6
        | Self::HOST_ECN
        | Self::MRG_RXBUF
        | Self::STATUS
        | Self::CTRL_VQ
        | Self::CTRL_RX
        | Self::GUEST_ANNOUNCE
        | Self::MQ
        | Self::ANY_LAYOUT
        | Self::VERSION_1
        | Self::GUEST_USO4
        | Self::GUEST_USO6
        | Self::HOST_USO;

    /// Features, and all that each of them needs (virtio 1.2, 5.1.3.1).
    ///
    /// What is yet to be segmented may have 64 KiB. Without mergeable buffers each of the receive ring's would have to be
    /// as large, so then it is not taken.
    const REQUIREMENTS: [(u64, u64); 9] = [
        (Self::GUEST_TSO4 | Self::GUEST_TSO6, Self::GUEST_CSUM | Self::MRG_RXBUF),
        (Self::GUEST_USO4 | Self::GUEST_USO6, Self::GUEST_CSUM | Self::MRG_RXBUF),
        (Self::GUEST_ECN, Self::GUEST_TSO4 | Self::GUEST_TSO6),
        (Self::HOST_TSO4 | Self::HOST_TSO6 | Self::HOST_USO, Self::CSUM),
        (Self::HOST_ECN, Self::HOST_TSO4 | Self::HOST_TSO6),
        (Self::CTRL_RX, Self::CTRL_VQ),
        (Self::MQ, Self::CTRL_VQ),
        (Self::GUEST_ANNOUNCE, Self::CTRL_VQ),
        (Self::GUEST_ANNOUNCE, Self::STATUS),
    ];

    /// Those of the features on offer that the router takes. One that lacks another is left out.
    pub fn choose(offered: u64) -> Self {
        let mut taken = offered & Self::WANTED;
        for (features, needed) in Self::REQUIREMENTS {
            if taken & needed != needed {
                taken &= !features;
            }
        }
        Self(taken)
    }

    fn has(self, feature: u64) -> bool {
        self.0 & feature == feature
    }

    /// Whether the device takes header and frame in one buffer.
    pub fn any_layout(self) -> bool {
        self.has(Self::VERSION_1) || self.has(Self::ANY_LAYOUT)
    }

    /// Whether the device tells its MAC address.
    pub fn mac(self) -> bool {
        self.has(Self::MAC)
    }

    /// Whether the device tells an MTU.
    pub fn mtu(self) -> bool {
        self.has(Self::MTU)
    }

    /// Whether the device tells if there is a link.
    pub fn status(self) -> bool {
        self.has(Self::STATUS)
    }

    /// Whether the device may ask for an announcement.
    pub fn announce(self) -> bool {
        self.has(Self::GUEST_ANNOUNCE)
    }

    /// Whether there is a control queue.
    pub fn control(self) -> bool {
        self.has(Self::CTRL_VQ)
    }

    /// Whether there may be more than one pair of queues.
    pub fn multiqueue(self) -> bool {
        self.has(Self::MQ)
    }

    /// Whether the device can be told which frames it shall let in.
    pub fn filter(self) -> bool {
        self.has(Self::CTRL_RX)
    }

    /// Whether a received frame may take several buffers.
    pub fn mergeable(self) -> bool {
        self.has(Self::MRG_RXBUF)
    }

    /// The header that is before each frame.
    pub fn format(self) -> Format {
        Format {
            numbered: self.has(Self::VERSION_1) || self.mergeable(),
            mergeable: self.mergeable(),
            accepted: Abilities {
                checksum: self.has(Self::GUEST_CSUM),
                tso4: self.has(Self::GUEST_TSO4),
                tso6: self.has(Self::GUEST_TSO6),
                ecn: self.has(Self::GUEST_ECN),
                uso: self.has(Self::GUEST_USO4),
            },
        }
    }

    /// What the device does by itself for the frames that it sends.
    pub fn abilities(self) -> Abilities {
        Abilities {
            checksum: self.has(Self::CSUM),
            tso4: self.has(Self::HOST_TSO4),
            tso6: self.has(Self::HOST_TSO6),
            ecn: self.has(Self::HOST_ECN),
            uso: self.has(Self::HOST_USO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What QEMU offers over a tap with all offloads.
    const ALL: u64 = Features::WANTED | 1 << 20 | 1 << 23;

    #[test]
    fn all_that_is_wanted_is_taken_and_no_more() {
        let features = Features::choose(ALL);
        assert_eq!(features.0, Features::WANTED);
        assert_eq!(features.abilities(), Abilities::ALL);
        let format = Format { numbered: true, mergeable: true, accepted: Abilities::ALL };
        assert_eq!(features.format(), format);
    }

    #[test]
    fn nothing_is_taken_that_was_not_offered() {
        let features = Features::choose(0);
        assert_eq!(features, Features(0));
        assert_eq!(features.abilities(), Abilities::NONE);
        let format = Format { numbered: false, mergeable: false, accepted: Abilities::NONE };
        assert_eq!(features.format(), format);
    }

    #[test]
    fn a_feature_without_what_it_needs_is_left() {
        let without = |missing: u64| Features::choose(ALL & !missing);
        let checksums = Abilities { checksum: true, ..Abilities::NONE };
        assert_eq!(without(Features::MRG_RXBUF).format().accepted, checksums, "no buffers of 64 KiB");
        assert_eq!(without(Features::GUEST_CSUM).format().accepted, Abilities::NONE);
        assert_eq!(without(Features::CSUM).abilities(), Abilities::NONE);
        let no_control = without(Features::CTRL_VQ);
        assert!(!no_control.filter() && !no_control.announce() && !no_control.multiqueue());
        assert!(!without(Features::STATUS).announce());
        assert!(!without(Features::HOST_TSO6).abilities().ecn);
    }

    #[test]
    fn a_legacy_device_with_mergeable_buffers_numbers_them() {
        let legacy = Features::choose(ALL & !Features::VERSION_1);
        assert_eq!(legacy.format().length(), 12);
        let plain = Features::choose(Features::MAC | Features::ANY_LAYOUT);
        assert!(plain.any_layout());
        assert_eq!(plain.format().length(), 10);
    }
}
