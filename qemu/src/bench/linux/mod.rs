//! A Linux router as a guest, to compare with: Debian's kernel for virtual machines, busybox and iptables, unpacked
//! into cargo's target directory and packed into an initial RAM disk. Read Linux's "initramfs buffer format".

mod archive;
mod root;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use qemu::setup::unpack::{self, Depth};
use qemu::{setup, workspace};

use archive::Archive;
use root::Root;

/// What the kernel is told: its console, and nothing about a protocol that the router does not speak.
pub const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 ipv6.disable=1";
/// What the shell on the console says when it is ready.
pub const PROMPT: &str = "linux# ";

/// What the cards and a home gateway's rules need, loaded in this order.
const MODULES: [&str; 14] = [
    "virtio_pci",
    "virtio_mmio",
    "virtio_net",
    "nft_compat",
    "nft_chain_nat",
    "xt_conntrack",
    "xt_MASQUERADE",
    "xt_nat",
    "xt_tcpudp",
    "xt_multiport",
    "xt_comment",
    "xt_limit",
    "ipt_REJECT",
    "nf_conntrack_netlink",
];

/// A Linux router without its configuration.
pub struct Linux {
    pub kernel: PathBuf,
    /// The compressed RAM disk.
    disk: PathBuf,
}

impl Linux {
    /// Fetches and packs what is not there yet.
    pub fn prepare() -> Result<Linux> {
        let folder = workspace::target().join("linux");
        let linux = Linux { kernel: folder.join("kernel"), disk: folder.join("disk.gz") };
        if linux.disk.is_file() {
            return Ok(linux);
        }
        let root = folder.join("root");
        if fetch(&root).is_err() {
            // Lists that are old name versions that are gone.
            setup::update_packages()?;
            fetch(&root)?;
        }
        let root = Root::open(root)?;
        std::fs::copy(root.kernel()?, &linux.kernel).context("the kernel")?;
        let mut disk = Archive::default();
        disk.program("init", include_str!("init").replace("@MODULES@", &MODULES.join(" ")).as_bytes())?;
        disk.program("bin/busybox", &root.read("bin/busybox")?)?;
        disk.program("bin/xtables-nft-multi", &root.read("usr/sbin/xtables-nft-multi")?)?;
        for file in root.libraries("usr/sbin/xtables-nft-multi")?.into_iter().chain(root.extensions()?) {
            disk.program(&file, &root.read(&file)?)?;
        }
        for file in root.modules(&MODULES)? {
            disk.program(&file, &root.read(&file)?)?;
        }
        disk.write_compressed(&linux.disk)?;
        Ok(linux)
    }

    /// What has to be loaded to start it, in bytes.
    pub fn size(&self) -> Result<u64> {
        Ok(std::fs::metadata(&self.kernel)?.len() + std::fs::metadata(&self.disk)?.len())
    }

    /// Writes the RAM disk with a configuration to `path`: the kernel unpacks one archive after the other.
    pub fn write_disk(&self, config: &str, path: &Path) -> Result<()> {
        let mut more = Archive::default();
        more.program("router.conf", config.as_bytes())?;
        let mut bytes = std::fs::read(&self.disk)?;
        // Archives begin at multiples of four bytes.
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(more.finish()?);
        std::fs::write(path, bytes).with_context(|| path.display().to_string())
    }
}

/// Unpacks the packages that the router is made of.
fn fetch(root: &Path) -> Result<()> {
    let mut packages = unpack::needed_by("linux-image-cloud-amd64", Depth::Direct)?;
    packages.extend(unpack::needed_by("iptables", Depth::All)?);
    packages.extend(["iptables", "busybox-static"].map(str::to_owned));
    unpack::packages(&packages.into_iter().collect::<Vec<_>>(), root)
}
