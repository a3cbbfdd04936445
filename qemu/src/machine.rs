//! A virtual machine with the router in it, as the words of QEMU's command line. Read qemu(1).

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;

use crate::nic::{Nic, mac_text};
use crate::setup::Qemu;

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Accel {
    /// The processor itself.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl Accel {
    /// KVM where it works. A `/dev/kvm` that opens proves nothing: some machines have it, and a guest hangs at once.
    /// The processor must have the extension, too.
    pub fn best() -> Accel {
        let extension = std::fs::read_to_string("/proc/cpuinfo")
            .is_ok_and(|text| text.split_whitespace().any(|word| word == "vmx" || word == "svm"));
        let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        if extension && device { Accel::Kvm } else { Accel::Tcg }
    }
}

/// The board, with its own options after a comma, as in `-machine`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board(String);

impl Board {
    pub fn q35() -> Board {
        Board("q35".into())
    }

    /// A board without ACPI has no power switch: the router resets it, and QEMU is told to end then.
    fn has_power_switch(&self) -> bool {
        !self.0.split(',').any(|word| word == "acpi=off")
    }

    /// A microvm has no PCI: its cards are memory-mapped.
    pub fn is_microvm(&self) -> bool {
        self.0.starts_with("microvm")
    }
}

impl FromStr for Board {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Board> {
        let board = text.split(',').next().unwrap_or_default();
        anyhow::ensure!(["q35", "pc", "microvm"].contains(&board), "`{board}` is none of q35, pc, microvm");
        Ok(Board(text.into()))
    }
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A machine that can be started.
#[derive(Clone, Debug)]
pub struct Machine {
    pub image: PathBuf,
    pub board: Board,
    pub accel: Accel,
    /// In MiB.
    pub memory: u32,
    /// In the order of the router's eth0, eth1, ...
    pub nics: Vec<Nic>,
    /// The operator's configuration; without one the router has a default of its own.
    pub config: Option<PathBuf>,
    /// The kernel's command line.
    pub append: String,
    /// The words that connect the first serial port.
    pub serial: Vec<OsString>,
    /// Further words.
    pub more: Vec<OsString>,
}

impl Machine {
    /// A machine without cards, its console on this terminal, where Ctrl-A X quits.
    pub fn new(image: PathBuf) -> Machine {
        Machine {
            image,
            board: Board::q35(),
            accel: Accel::best(),
            memory: 128,
            nics: Vec::new(),
            config: None,
            append: String::new(),
            serial: vec!["-serial".into(), "mon:stdio".into()],
            more: Vec::new(),
        }
    }

    /// The command that starts the machine.
    pub fn command(&self, qemu: &Qemu) -> Command {
        let mut command = qemu.command();
        command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
        command.arg("-machine").arg(self.board.to_string());
        let accel = match self.accel {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg",
        };
        command.args(["-accel", accel, "-cpu", "max", "-m", &self.memory.to_string()]);
        if !self.board.has_power_switch() {
            command.arg("-no-reboot");
        }
        command.arg("-kernel").arg(&self.image);
        if let Some(config) = &self.config {
            command.arg("-initrd").arg(config);
        }
        if !self.append.is_empty() {
            command.args(["-append", &self.append]);
        }
        for (index, nic) in self.nics.iter().enumerate() {
            let id = format!("net{index}");
            let queues = nic.cable.queues();
            command.args(["-netdev", &nic.cable.netdev(&id, queues)]);
            command.arg("-device").arg(self.card(&id, nic.mac, queues));
        }
        command.args(&self.serial).args(&self.more);
        command
    }

    /// The card itself. PCI cards leave their boot ROM out: nothing boots from them, and reading it takes time.
    fn card(&self, netdev: &str, mac: [u8; 6], queues: u16) -> String {
        let mac = mac_text(mac);
        let queues = if queues > 1 { ",mq=on" } else { "" };
        if self.board.is_microvm() {
            format!("virtio-net-device,netdev={netdev},mac={mac}{queues}")
        } else {
            format!("virtio-net-pci,netdev={netdev},mac={mac}{queues},romfile=")
        }
    }
}

/// A command as one line that a shell reads back.
pub fn shell_line(command: &Command) -> String {
    let env = command.get_envs().filter_map(|(key, value)| {
        Some(format!("{}={}", key.to_string_lossy(), quote(&value?.to_string_lossy())))
    });
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    env.chain(words.map(|word| quote(&word.to_string_lossy()))).collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:,./@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nic::Cable;

    fn good() -> Machine {
        let nics = vec![Nic::new(0, Cable::None), Nic::new(1, Cable::User(String::new()))];
        Machine { accel: Accel::Tcg, nics, ..Machine::new("/rutter".into()) }
    }

    fn line(machine: &Machine) -> String {
        let qemu = Qemu { program: "qemu-system-x86_64".into(), libraries: None };
        shell_line(&machine.command(&qemu))
    }

    #[test]
    fn cards_stand_in_order() {
        let line = line(&good());
        let (first, second) = (line.find("netdev=net0").unwrap(), line.find("netdev=net1").unwrap());
        assert!(first < second);
        assert!(line.contains("virtio-net-pci"));
    }

    #[test]
    fn a_microvm_has_no_pci() {
        let line = line(&Machine { board: "microvm,acpi=off".parse().unwrap(), ..good() });
        assert!(line.contains("-machine microvm,acpi=off"));
        assert!(line.contains("virtio-net-device") && !line.contains("pci"));
        assert!(line.contains("-no-reboot"));
    }

    #[test]
    fn a_shell_reads_the_line_back() {
        let line = line(&Machine { append: "config=none loglevel=7".into(), ..good() });
        assert!(line.contains("-append 'config=none loglevel=7'"), "{line}");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn an_unknown_board_is_named() {
        assert_eq!("isapc".parse::<Board>().unwrap_err().to_string(), "`isapc` is none of q35, pc, microvm");
    }
}
