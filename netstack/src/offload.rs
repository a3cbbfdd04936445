//! Work on a frame that its sender left to a network card: the transport checksum and segmentation. Read virtio 1.2,
//! 5.1.6.2 "Packet Transmission" and 5.1.6.4 "Processing of Incoming Packets" first.
//!
//! A machine on the same host hands over TCP segments of up to 64 KiB without a checksum, for the card to finish. The
//! router sends them on as they are, where the card on the other side takes that over; else it does the work itself.

use core::num::NonZeroU16;

/// What is still to be done to a frame, or known about it.
///
/// A frame that is yet to be segmented always has a checksum that is yet to be completed (virtio 1.2, 5.1.6.2).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Offload {
    /// The frame is as on a wire, and nobody has looked at its transport checksum.
    #[default]
    None,
    /// The frame is as on a wire, and the card found its transport checksum right.
    Verified,
    /// The frame never was on a wire: its checksum has to be completed before it is.
    Partial(Partial),
}

/// A checksum that is yet to be completed: the 16-bit field at `start + offset` of the frame holds the sum of the
/// pseudo-header, not complemented; the complement of the sum from `start` to the end of the frame belongs there.
///
/// It is as the card said it, and nothing is checked yet: it may point outside the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Partial {
    /// Where the sum begins: offset from the start of the frame in bytes.
    pub start: u16,
    /// Offset of the checksum field from `start` in bytes: 16 for TCP, 6 for UDP.
    pub offset: u16,
    /// Set where the frame is longer than what may go onto a wire.
    pub segmentation: Option<Segmentation>,
}

/// How a frame has to be cut: each segment gets the headers, and the next `size` bytes of payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segmentation {
    /// The protocol that is cut.
    pub kind: SegmentationKind,
    /// The frame carries CWR, which only the first segment may have (RFC 3168 6.1.2).
    pub ecn: bool,
    /// Bytes of transport payload in each segment but the last, which may have fewer.
    pub size: NonZeroU16,
}

impl Segmentation {
    /// Least bytes of payload in a segment of TCP: what Linux's smallest MSS (48) leaves beside 40 bytes of options.
    const LEAST_TCP: u16 = 8;
    /// Most datagrams in a frame of UDP (Linux's `UDP_MAX_SEGMENTS`).
    const MOST_UDP: usize = 128;

    /// Whether a sender can mean that, for so many bytes of payload, or only wants to make others work.
    pub fn is_plausible(&self, payload: usize) -> bool {
        match self.kind {
            SegmentationKind::Tcp4 | SegmentationKind::Tcp6 => self.size.get() >= Self::LEAST_TCP,
            SegmentationKind::Udp => payload <= usize::from(self.size.get()) * Self::MOST_UDP,
        }
    }

    /// Length of the longest IP packet that one of `total_length` bytes, of which `headers` repeat, is cut into.
    #[inline]
    pub fn wire_length(&self, total_length: u16, headers: usize) -> u16 {
        (headers + usize::from(self.size.get())).min(total_length.into()) as u16
    }
}

/// What is cut into segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentationKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP: each segment is a datagram of its own (virtio's USO, Linux's `UDP_SEGMENT`).
    Udp,
}

/// What a card does by itself for the frames that it sends. Without `checksum` there is no segmentation.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Abilities {
    /// It completes checksums.
    pub checksum: bool,
    /// It segments TCP over IPv4.
    pub tso4: bool,
    /// It segments TCP over IPv6.
    pub tso6: bool,
    /// It segments TCP with CWR.
    pub ecn: bool,
    /// It segments UDP.
    pub uso: bool,
}

impl Abilities {
    /// A card that sends frames as they are.
    pub const NONE: Self = Self { checksum: false, tso4: false, tso6: false, ecn: false, uso: false };
    /// A card that takes all work over.
    pub const ALL: Self = Self { checksum: true, tso4: true, tso6: true, ecn: true, uso: true };

    /// What of it is wanted. Without checksums nothing is cut: what is cut needs new ones.
    #[must_use]
    pub fn as_wanted(self, wanted: Self) -> Self {
        let checksum = self.checksum && wanted.checksum;
        Self {
            checksum,
            tso4: checksum && self.tso4 && wanted.tso4,
            tso6: checksum && self.tso6 && wanted.tso6,
            ecn: checksum && self.ecn && wanted.ecn,
            uso: checksum && self.uso && wanted.uso,
        }
    }

    /// Whether it does all that is still to be done to a frame.
    pub fn include(self, partial: &Partial) -> bool {
        self.checksum
            && partial.segmentation.is_none_or(|segmentation| {
                let cuts = match segmentation.kind {
                    SegmentationKind::Tcp4 => self.tso4,
                    SegmentationKind::Tcp6 => self.tso6,
                    SegmentationKind::Udp => self.uso,
                };
                cuts && (self.ecn || !segmentation.ecn)
            })
    }
}
