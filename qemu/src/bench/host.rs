//! The machine that the figures are seen on, and what else it does meanwhile.

use std::fmt;
use std::fs::read_to_string;

use anyhow::{Context, Result};
use qemu::machine::{Accel, Board};
use qemu::setup;
use serde_json::{Value, json};

/// What a reader of the figures has to know.
pub struct Host {
    processor: String,
    cores: usize,
    system: String,
    qemu: String,
    accel: Accel,
    board: Board,
}

impl Host {
    /// This machine.
    pub fn look(board: &Board) -> Result<Host> {
        let output = setup::qemu()?.command().arg("--version").output().context("QEMU")?;
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Host {
            processor: model(&read_to_string("/proc/cpuinfo").unwrap_or_default()),
            cores: std::thread::available_parallelism()?.get(),
            system: format!(
                "Linux {}",
                read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim()
            ),
            qemu: version.lines().next().unwrap_or_default().replace("emulator version ", ""),
            accel: Accel::best(),
            board: board.clone(),
        })
    }

    pub fn json(&self) -> Value {
        let Host { processor, cores, system, qemu, accel, board } = self;
        json!({
            "processor": processor, "cores": cores, "system": system, "qemu": qemu,
            "accelerator": format!("{accel:?}").to_lowercase(), "board": board.to_string(),
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Host { processor, cores, system, qemu, accel, board } = self;
        let accel = format!("{accel:?}").to_uppercase();
        write!(f, "{processor}, {cores} cores, {system}, {qemu}, {accel}, {board}")
    }
}

/// How many threads wanted a processor during the last minute.
pub fn load() -> Option<f64> {
    read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// The name of the first processor in `/proc/cpuinfo`.
fn model(table: &str) -> String {
    let name = table.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or("an unknown processor", |(_, name)| name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_has_a_name() {
        assert_eq!(model("processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu\n"), "AMD EPYC");
        assert_eq!(model(""), "an unknown processor");
    }
}
