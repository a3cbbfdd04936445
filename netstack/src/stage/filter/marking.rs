//! What rules change of a packet and its flow while they are asked, so that later ones see it; iptables-extensions(8).
//!
//! The packet itself is changed when all is decided.

use crate::{
    config::rules::{ConnMark, MarkMasks, Target, TosBits, TtlChange},
    headers::Headers,
    table::shortcut::Rewrite,
};
use core::fmt;

/// What the rules that a packet has met so far have left of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marking {
    /// The packet's mark. It begins as 0, and ends with the packet.
    pub packet: u32,
    /// The mark of its flow.
    pub flow: u32,
    /// Its time to live.
    pub ttl: u8,
    /// Its type of service.
    pub tos: u8,
    /// Whether it is to belong to no flow.
    pub untracked: bool,
    ttl_source: TtlSource,
    /// The bits of the type of service that follow from those with which the packet came.
    tos_kept: u8,
}

/// What a time to live follows from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum TtlSource {
    /// The packet, and the hops that it has made.
    Packet,
    /// A rule, whatever the packet came with.
    Rule,
    /// Both.
    Both,
}

impl Marking {
    /// A packet that has met no rule yet.
    pub fn new(headers: &Headers) -> Self {
        let Headers { ttl, tos, .. } = *headers;
        Self {
            packet: 0,
            flow: 0,
            ttl,
            tos,
            untracked: false,
            ttl_source: TtlSource::Packet,
            tos_kept: u8::MAX,
        }
    }

    /// Does what a target does that lets the packet go on; `tracked` says whether the packet has a flow.
    pub(super) fn apply(&mut self, target: &Target, tracked: bool) {
        match target {
            Target::Mark(change) => self.packet = change.applied_to(self.packet),
            Target::ConnMark(change) if tracked => self.pass(*change),
            // The router's own answers belong to the flow of what they answer from the beginning.
            Target::NoTrack(_) => self.untracked |= !tracked,
            Target::Ttl(change) => self.change_ttl(*change),
            Target::Dscp(code_point) => self.change_tos(TosBits::dscp(*code_point)),
            Target::Tos(change) => self.change_tos(*change),
            _ => {}
        }
    }

    fn change_ttl(&mut self, change: TtlChange) {
        self.ttl = change.applied_to(self.ttl);
        self.ttl_source = match (change, self.ttl_source) {
            (TtlChange::Set(_), _) | (_, TtlSource::Rule) => TtlSource::Rule,
            _ => TtlSource::Both,
        };
    }

    fn change_tos(&mut self, change: TosBits) {
        self.tos = change.applied_to(self.tos);
        self.tos_kept &= !change.mask;
    }

    /// One hop less to live.
    pub fn count_hop(&mut self) {
        self.ttl = self.ttl.saturating_sub(1);
    }

    /// What has become of the packet that came with these headers, for the next ones of its flow. `None` where that depends
    /// on what they come with.
    pub fn rewrite(&self, headers: &Headers) -> Option<Rewrite> {
        let ttl = match self.ttl_source {
            TtlSource::Packet => None,
            // The fast path counts the hop that is counted here already.
            TtlSource::Rule => Some(self.ttl.checked_add(1)?),
            TtlSource::Both => return None,
        };
        let tos_turned = self.tos ^ headers.tos & self.tos_kept;
        Some(Rewrite { ttl, tos_kept: self.tos_kept, tos_turned })
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
        let Self { packet, flow, ttl, tos, .. } = self;
        write!(f, "packet 0x{packet:x}, flow 0x{flow:x}, ttl {ttl}, tos 0x{tos:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::rules::Masked, stage::filter::tests::syn};

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
            let mut marking = Marking { packet: 0x12, flow: 0x34, ..Marking::new(&syn()) };
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

    /// What the rules make of a packet with this TTL and type of service, and what is remembered of it.
    fn changed(targets: &[Target], ttl: u8, tos: u8) -> ((u8, u8), Option<Rewrite>) {
        let headers = Headers { ttl, tos, ..syn() };
        let mut marking = Marking::new(&headers);
        targets.iter().for_each(|target| marking.apply(target, true));
        marking.count_hop();
        ((marking.ttl, marking.tos), marking.rewrite(&headers))
    }

    #[test]
    fn a_ttl_is_remembered_where_it_follows_from_the_rules_alone() {
        let (set, raise, lower) = (
            Target::Ttl(TtlChange::Set(9)),
            Target::Ttl(TtlChange::Raise(4)),
            Target::Ttl(TtlChange::Lower(4)),
        );
        assert_eq!(changed(&[], 64, 0), ((63, 0), Some(Rewrite::NONE)));
        let remembered = |ttl| Some(Rewrite { ttl: Some(ttl), ..Rewrite::NONE });
        assert_eq!(changed(core::slice::from_ref(&set), 64, 0), ((8, 0), remembered(9)));
        assert_eq!(changed(&[set.clone(), raise.clone()], 64, 0), ((12, 0), remembered(13)));
        assert_eq!(
            changed(&[raise.clone(), lower.clone()], 253, 0),
            ((250, 0), None),
            "others would keep theirs"
        );
        assert_eq!(changed(&[lower, set], 2, 0), ((8, 0), remembered(9)));
        assert_eq!(changed(&[raise], 255, 0).0, (254, 0));
    }

    #[test]
    fn bits_of_the_type_of_service_are_remembered_with_what_becomes_of_them() {
        let (dscp, tos) = (Target::Dscp(46), Target::Tos(TosBits { value: 0x03, mask: 0x10 }));
        let both = [dscp.clone(), tos, dscp];
        for targets in [&both[..1], &both[1..2], &both[..2], &both[1..]] {
            let rewrite = changed(targets, 64, 0x5a).1.unwrap();
            for other in 0..=u8::MAX {
                assert_eq!(rewrite.tos(other), changed(targets, 64, other).0.1, "{targets:?} {other:#x}");
            }
        }
    }
}
