//! `iptables`, `iptables-save` and `iptables-restore`, as the tools of Linux understand and print them (1.8.9).

mod extension;
mod list;
mod options;
mod parse;
mod request;
mod restore;
mod row;
mod save;
#[cfg(test)]
mod tests;
mod values;

pub use list::Listing;
pub use request::{Action, Request, View};
pub use restore::Restore;
pub use save::Save;

use alloc::{format, string::String};

/// What `iptables -V` prints, and what errors begin with.
pub const VERSION: &str = "v1.8.9 (rutter)";

/// Why a command was refused: one line, and the status that it ends with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// In the wording of iptables, without a line break.
    pub text: String,
    /// 1: it cannot be done; 2: it was not understood; 3: there is no such table.
    pub status: u8,
}

impl Failure {
    /// A command that was understood but cannot be done.
    fn refused(reason: &str) -> Self {
        Self { text: format!("iptables: {reason}"), status: 1 }
    }

    /// A command that was not understood.
    fn usage(reason: &str) -> Self {
        let status = if reason.starts_with("table ") { 3 } else { 2 };
        match reason.starts_with("Bad argument") {
            true => Self { text: String::from(reason), status },
            false => Self { text: format!("iptables {VERSION}: {reason}"), status },
        }
    }
}
