//! Matches and targets about marks: their options, and how a listing shows them; iptables-extensions(8): mark, connmark, MARK,
//! CONNMARK.

use super::{
    extension::{OptionSpec, option},
    values::{self, Parsed, number},
};
use crate::config::rules::{ConnMark, MarkMasks, Masked, Match, Negatable, Target};
use alloc::format;
use core::fmt::{self, Display, Formatter};

static MARK_MATCH: &[OptionSpec] = &[option("mark", 1).negatable().required()];

/// What a mark becomes; only one of these can be meant.
const fn operation(name: &'static str, values: usize) -> OptionSpec {
    option(name, values).apart_from_others_of(1)
}

static MARK: &[OptionSpec] = &[
    operation("set-xmark", 1),
    operation("set-mark", 1),
    operation("and-mark", 1),
    operation("or-mark", 1),
    operation("xor-mark", 1),
];

static CONNMARK: &[OptionSpec] = &[
    operation("set-xmark", 1),
    operation("set-mark", 1),
    operation("and-mark", 1),
    operation("or-mark", 1),
    operation("xor-mark", 1),
    operation("save-mark", 0),
    operation("restore-mark", 0),
    option("ctmask", 1).apart_from_others_of(2),
    option("nfmask", 1).apart_from_others_of(4),
    option("mask", 1).apart_from_others_of(2 | 4),
];

/// How many options of `CONNMARK` say what is to be done.
const CONNMARK_OPERATIONS: u32 = 7;

/// The match of that name, with its options.
pub(super) fn new_match(name: &str) -> Option<(&'static str, &'static [OptionSpec], Match)> {
    let none = Masked::whole(0).into();
    Some(match name {
        "mark" => ("mark", MARK_MATCH, Match::Mark(none)),
        "connmark" => ("connmark", MARK_MATCH, Match::ConnMark(none)),
        _ => return None,
    })
}

/// The target of that name, with its options.
pub(super) fn new_target(name: &str) -> Option<(&'static [OptionSpec], Target)> {
    Some(match name {
        "MARK" => (MARK, Target::Mark(Masked::whole(0))),
        "CONNMARK" => (CONNMARK, Target::ConnMark(ConnMark::Save(MarkMasks::ALL))),
        _ => return None,
    })
}

/// Takes an option of such a match.
pub(super) fn match_option(part: &mut Match, name: &str, not: bool, value: &str) -> Parsed<()> {
    match part {
        Match::Mark(wish) => *wish = Negatable { not, value: masked("mark", name, value)? },
        Match::ConnMark(wish) => *wish = Negatable { not, value: masked("connmark", name, value)? },
        _ => {}
    }
    Ok(())
}

/// Takes an option of such a target.
pub(super) fn target_option(part: &mut Target, name: &str, value: &str) -> Parsed<()> {
    match part {
        Target::Mark(change) => *change = mark_change("MARK", name, value)?,
        Target::ConnMark(change) => connmark_option(change, name, value)?,
        _ => {}
    }
    Ok(())
}

/// What is wrong with a target that was given these options, one bit for each.
pub(super) fn check_target(name: &str, given: u16) -> Parsed<()> {
    match name {
        "MARK" if given == 0 => {
            Err("MARK: One of the --set-xmark, --{and,or,xor,set}-mark options is required".into())
        }
        "CONNMARK" if given & ((1 << CONNMARK_OPERATIONS) - 1) == 0 => {
            Err("CONNMARK target: No operation specified".into())
        }
        _ => Ok(()),
    }
}

fn connmark_option(change: &mut ConnMark, name: &str, value: &str) -> Parsed<()> {
    let masks = match *change {
        ConnMark::Save(masks) | ConnMark::Restore(masks) => masks,
        ConnMark::Set(_) => MarkMasks::ALL,
    };
    match (name, &mut *change) {
        ("save-mark", _) => *change = ConnMark::Save(masks),
        ("restore-mark", _) => *change = ConnMark::Restore(masks),
        ("mask" | "ctmask" | "nfmask", change) => {
            let mask = bits("CONNMARK", name, value)?;
            match change {
                // What the packet's mark is masked with does not matter here.
                ConnMark::Set(change) if name != "nfmask" => change.mask = mask,
                ConnMark::Set(_) => {}
                ConnMark::Save(masks) | ConnMark::Restore(masks) => {
                    masks.flow = if name == "nfmask" { masks.flow } else { mask };
                    masks.packet = if name == "ctmask" { masks.packet } else { mask };
                }
            }
        }
        _ => *change = ConnMark::Set(mark_change("CONNMARK", name, value)?),
    }
    Ok(())
}

/// What `--set-mark` and its like do to a mark.
fn mark_change(extension: &str, name: &str, value: &str) -> Parsed<Masked> {
    Ok(match name {
        "set-xmark" => masked(extension, name, value)?,
        "set-mark" => {
            let Masked { value, mask } = masked(extension, name, value)?;
            Masked { value, mask: value | mask }
        }
        "and-mark" => Masked { value: 0, mask: !bits(extension, name, value)? },
        "or-mark" => {
            let bits = bits(extension, name, value)?;
            Masked { value: bits, mask: bits }
        }
        _ => Masked { value: bits(extension, name, value)?, mask: 0 },
    })
}

/// `VALUE` or `VALUE/MASK`
fn masked(extension: &str, name: &str, text: &str) -> Parsed<Masked> {
    values::masked(text)
        .ok_or_else(|| format!("{extension}: bad integer value for option \"--{name}\", or out of range."))
}

fn bits(extension: &str, name: &str, text: &str) -> Parsed<u32> {
    number(text).ok_or_else(|| {
        format!("{extension}: bad value for option \"--{name}\", or out of range (0-{}).", u32::MAX)
    })
}

/// What a listing says of a match.
pub(super) fn list_match(f: &mut Formatter<'_>, part: &Match) -> fmt::Result {
    match part {
        Match::Mark(wish) => write!(f, " mark match{} {}", if wish.not { " !" } else { "" }, wish.value),
        Match::ConnMark(wish) => {
            write!(f, " connmark match {} {}", if wish.not { "!" } else { "" }, wish.value)
        }
        _ => Ok(()),
    }
}

/// What a listing says of `MARK`.
pub(super) fn list_mark(f: &mut Formatter<'_>, change: Masked) -> fmt::Result {
    write!(f, " MARK {}", MarkChange(change))
}

/// What becomes of a mark, in the shortest words.
struct MarkChange(Masked);

impl Display for MarkChange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Masked { value: 0, mask } => write!(f, "and 0x{:x}", !mask),
            Masked { value, mask } if value == mask => write!(f, "or 0x{value:x}"),
            Masked { value, mask: 0 } => write!(f, "xor 0x{value:x}"),
            Masked { value, mask: u32::MAX } => write!(f, "set 0x{value:x}"),
            Masked { value, mask } => write!(f, "xset 0x{value:x}/0x{mask:x}"),
        }
    }
}

/// What a listing says of `CONNMARK`.
pub(super) fn list_connmark(f: &mut Formatter<'_>, change: ConnMark) -> fmt::Result {
    let (word, MarkMasks { packet, flow }) = match change {
        ConnMark::Set(change) => return write!(f, " CONNMARK {}", MarkChange(change)),
        ConnMark::Save(masks) => ("save", masks),
        ConnMark::Restore(masks) => ("restore", masks),
    };
    match change {
        _ if (packet, flow) == (u32::MAX, u32::MAX) => write!(f, " CONNMARK {word}"),
        _ if packet == flow => write!(f, " CONNMARK {word} mask 0x{packet:x}"),
        ConnMark::Restore(_) => write!(f, " CONNMARK {word} ctmask 0x{flow:x} nfmask ~0x{packet:x}"),
        _ => write!(f, " CONNMARK {word} nfmask 0x{packet:x} ctmask ~0x{flow:x}"),
    }
}
