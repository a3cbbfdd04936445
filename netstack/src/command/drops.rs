//! `drops`: how many packets were dropped, by reason.

use super::{Action, Failure, ip::Options, print::Printer};
use crate::{config::Config, outcome::DropReason};
use alloc::{format, string::String};

pub fn parse(words: &[String], _: &Config) -> Result<Action, Failure> {
    let (mut all, mut options) = (false, Options::default());
    for word in words {
        match word.as_str() {
            "-a" => all = true,
            "-j" => options.json = true,
            "-p" => options.pretty = true,
            other => return Err(Failure::new(1, format!("drops: unexpected argument '{other}'"))),
        }
    }
    Ok(Action::show(move |router| {
        let mut printer = Printer::new(options);
        let counted = DropReason::ALL.iter().map(|&reason| (reason, router.drops().get(reason)));
        for (reason, packets) in counted.filter(|&(_, packets)| all || packets > 0) {
            printer.open_object("");
            printer.text(format_args!("{packets:>12}  {:<22}  {}\n", reason.label(), reason.text()));
            if options.json {
                printer.string("reason", "", reason.label(), "");
                printer.json_number("packets", packets);
                printer.string("text", "", reason.text(), "");
            }
            printer.close_object();
        }
        printer.finish();
        printer.take()
    }))
}
