//! What is measured: the router, and beside it a Linux router with the same configuration in the same machine.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use qemu::lab::{Lab, Plan};
use qemu::nic::mac_text;
use qemu::workspace;
use smoltcp::wire::EthernetAddress;

use super::linux::{self, Linux};

/// LAN 192.168.1.0/24 on eth0, WAN 203.0.113.2/24 on eth1 with the default route via 203.0.113.1.
pub const HOME_GATEWAY: &str = include_str!("../../../tests/data/home-gateway.sh");

/// Linux takes seconds to start, more under `-icount`, and minutes on a busy host.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// A kernel that routes.
pub enum Guest {
    Rutter(PathBuf),
    Linux(Linux),
}

impl Guest {
    /// The Linux router, fetched and packed first.
    pub fn linux() -> Result<Guest> {
        Ok(Guest::Linux(Linux::prepare()?))
    }

    pub fn name(&self) -> &'static str {
        match self {
            Guest::Rutter(_) => "rutter",
            Guest::Linux(_) => "Linux",
        }
    }

    /// What QEMU loads, without the configuration, in bytes.
    pub fn size(&self) -> Result<u64> {
        match self {
            Guest::Rutter(image) => Ok(std::fs::metadata(image)?.len()),
            Guest::Linux(linux) => linux.size(),
        }
    }

    pub fn image(&self) -> &Path {
        match self {
            Guest::Rutter(image) => image,
            Guest::Linux(linux) => &linux.kernel,
        }
    }

    /// The kernel's command line.
    pub fn command_line(&self) -> &'static str {
        match self {
            Guest::Rutter(_) => "",
            Guest::Linux(_) => linux::COMMAND_LINE,
        }
    }

    /// Memory that neither lacks, in MiB.
    pub fn memory(&self) -> u32 {
        match self {
            Guest::Rutter(_) => 64,
            Guest::Linux(_) => 256,
        }
    }

    /// Writes what QEMU loads as the RAM disk, so that the guest configures itself by `config`.
    pub fn write_disk(&self, config: &str, path: &Path) -> Result<()> {
        match self {
            Guest::Rutter(_) => Ok(std::fs::write(path, config)?),
            Guest::Linux(linux) => linux.write_disk(config, path),
        }
    }

    /// The command by which a neighbour is known for good.
    pub fn neighbour(&self, address: Ipv4Addr, mac: EthernetAddress, device: &str) -> String {
        let mac = mac_text(mac.0);
        match self {
            Guest::Rutter(_) => format!("ip neigh add {address} lladdr {mac} nud permanent dev {device}\n"),
            // The `ip` of busybox shows neighbours only.
            Guest::Linux(_) => format!("arp -i {device} -s {address} {mac}\n"),
        }
    }

    /// A lab with this guest and `config`.
    pub fn plan(&self, name: &str, config: &str) -> Result<Plan> {
        let name = format!("bench_{name}_{}", self.name());
        let folder = workspace::target().join("bench");
        std::fs::create_dir_all(&folder)?;
        let disk = folder.join(&name).with_extension("disk");
        self.write_disk(config, &disk)?;
        Ok(Plan {
            image: Some(self.image().to_owned()),
            append: self.command_line().to_owned(),
            memory: self.memory(),
            // A machine that panics ends instead of trying again.
            more: vec!["-no-reboot".into(), "-initrd".into(), disk.into()],
            ..Plan::new(&name)
        })
    }

    /// Starts a lab and waits for the prompt.
    pub fn boot(&self, plan: Plan) -> Result<Lab> {
        self.boot_within(plan, PATIENCE)
    }

    /// The same, for a machine that may not come up.
    pub fn boot_within(&self, plan: Plan, patience: Duration) -> Result<Lab> {
        let mut lab = Lab::start(plan)?;
        lab.patience = patience;
        if matches!(self, Guest::Linux(_)) {
            lab.console.prompt = linux::PROMPT.into();
        }
        lab.until("the first prompt", |lab| lab.console.is_ready().then_some(()))?;
        Ok(lab)
    }
}
