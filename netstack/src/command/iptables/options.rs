//! The options of `iptables` itself, which are no match's and no target's; iptables(8).

/// One of them.
pub(super) struct GlobalOption {
    /// Its long name.
    pub(super) name: &'static str,
    /// The letter of its short form. Names with the same letter mean the same.
    pub(super) letter: char,
    /// What follows it.
    pub(super) takes: Takes,
    /// Whether `!` may stand before it.
    pub(super) negatable: bool,
}

/// What follows an option.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    /// A word.
    Value,
    /// A word, unless the next one is an option.
    Perhaps,
}

const fn option(name: &'static str, letter: char, takes: Takes) -> GlobalOption {
    GlobalOption { name, letter, takes, negatable: false }
}

impl GlobalOption {
    const fn negatable(self) -> Self {
        Self { negatable: true, ..self }
    }
}

pub(super) static OPTIONS: &[GlobalOption] = &[
    option("append", 'A', Takes::Value),
    option("check", 'C', Takes::Value),
    option("delete", 'D', Takes::Value),
    option("rename-chain", 'E', Takes::Value),
    option("flush", 'F', Takes::Perhaps),
    option("insert", 'I', Takes::Value),
    option("list", 'L', Takes::Perhaps),
    option("new-chain", 'N', Takes::Value),
    option("policy", 'P', Takes::Value),
    option("replace", 'R', Takes::Value),
    option("list-rules", 'S', Takes::Perhaps),
    option("delete-chain", 'X', Takes::Perhaps),
    option("zero", 'Z', Takes::Perhaps),
    option("table", 't', Takes::Value),
    option("protocol", 'p', Takes::Value).negatable(),
    option("source", 's', Takes::Value).negatable(),
    option("src", 's', Takes::Value).negatable(),
    option("destination", 'd', Takes::Value).negatable(),
    option("dst", 'd', Takes::Value).negatable(),
    option("in-interface", 'i', Takes::Value).negatable(),
    option("out-interface", 'o', Takes::Value).negatable(),
    option("fragments", 'f', Takes::Nothing).negatable(),
    option("jump", 'j', Takes::Value),
    option("goto", 'g', Takes::Value),
    option("match", 'm', Takes::Value),
    option("set-counters", 'c', Takes::Value),
    option("numeric", 'n', Takes::Nothing),
    option("verbose", 'v', Takes::Nothing),
    option("exact", 'x', Takes::Nothing),
    option("line-numbers", '0', Takes::Nothing),
    option("wait", 'w', Takes::Perhaps),
    option("ipv4", '4', Takes::Nothing),
    option("version", 'V', Takes::Nothing),
];
