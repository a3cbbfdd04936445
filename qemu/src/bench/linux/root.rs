//! The unpacked packages: which of their files the router needs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Where Debian keeps libraries of this architecture.
const LIBRARIES: [&str; 4] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64"];
const LOADER: &str = "ld-linux-x86-64.so.2";

/// The folder that stands for the root of the file system.
pub struct Root {
    folder: PathBuf,
    /// Of the kernel.
    version: String,
}

impl Root {
    /// The folder that packages were unpacked into.
    pub fn open(folder: PathBuf) -> Result<Root> {
        let modules = ["lib/modules", "usr/lib/modules"].map(|name| folder.join(name));
        let modules = modules.iter().find(|path| path.is_dir()).context("no kernel modules")?;
        let version = std::fs::read_dir(modules)?.next().context("no kernel modules")??.file_name();
        Ok(Root { folder, version: version.to_string_lossy().into_owned() })
    }

    /// A file's content; a link is followed.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let path = self.folder.join(path);
        std::fs::read(&path).with_context(|| path.display().to_string())
    }

    /// The kernel itself.
    pub fn kernel(&self) -> Result<PathBuf> {
        let path = self.folder.join(format!("boot/vmlinuz-{}", self.version));
        ensure!(path.is_file(), "{} is not there", path.display());
        Ok(path)
    }

    /// The shared libraries of a program, and the loader itself, as the loader finds them.
    pub fn libraries(&self, program: &str) -> Result<BTreeSet<String>> {
        let folders: Vec<_> = LIBRARIES.iter().map(|path| self.folder.join(path)).collect();
        let loader = folders.iter().map(|path| path.join(LOADER)).find(|path| path.is_file());
        let paths = std::env::join_paths(&folders)?;
        let output = Command::new(loader.context("libc6 has no loader")?)
            .arg("--library-path")
            .arg(paths)
            .arg("--list")
            .arg(self.folder.join(program))
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let found = text.lines().filter_map(|line| line.split_once("=> ")?.1.split(' ').next());
        let mut files: BTreeSet<String> =
            found.map(|path| self.inside(Path::new(path))).collect::<Result<_>>()?;
        ensure!(!files.is_empty(), "no libraries of {program}: {}", String::from_utf8_lossy(&output.stderr));
        // The program names its loader by this path, wherever the package keeps it.
        files.insert(format!("lib64/{LOADER}"));
        Ok(files)
    }

    /// The extensions of iptables: a library for each match and target.
    pub fn extensions(&self) -> Result<Vec<String>> {
        let folder = self.folder.join("usr/lib/x86_64-linux-gnu/xtables");
        let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        entries.map(|entry| self.inside(&entry?.path())).collect()
    }

    /// The files of the kernel modules `names`, of those that they need, and the list that says so.
    pub fn modules(&self, names: &[&str]) -> Result<BTreeSet<String>> {
        let mut depmod = Command::new(self.folder.join("bin/busybox"));
        let status = depmod.arg("depmod").arg("-b").arg(&self.folder).arg(&self.version).status()?;
        ensure!(status.success(), "busybox depmod failed ({status})");
        let base = format!("lib/modules/{}", self.version);
        let list = String::from_utf8(self.read(&format!("{base}/modules.dep"))?)?;
        let needed = names.iter().map(|name| closure(&list, name)).collect::<Result<Vec<_>>>()?;
        let mut files: BTreeSet<String> =
            needed.into_iter().flatten().map(|file| format!("{base}/{file}")).collect();
        files.insert(format!("{base}/modules.dep"));
        Ok(files)
    }

    fn inside(&self, path: &Path) -> Result<String> {
        Ok(path.strip_prefix(&self.folder)?.to_string_lossy().into_owned())
    }
}

/// The file of a module and those that it needs, from a `modules.dep`, where each line has them all.
fn closure<'a>(list: &'a str, name: &str) -> Result<Vec<&'a str>> {
    let is_it = |line: &&str| {
        let file = line.split(':').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        file.split('.').next() == Some(name)
    };
    let line = list.lines().find(is_it).with_context(|| format!("no kernel module {name}"))?;
    Ok(line.split([':', ' ']).filter(|word| !word.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_with_what_it_needs() {
        let list = "kernel/net/xt_nat.ko: kernel/net/nf_nat.ko kernel/lib/crc.ko\nkernel/net/nf_nat.ko:\n";
        let files = closure(list, "xt_nat").unwrap();
        assert_eq!(files, ["kernel/net/xt_nat.ko", "kernel/net/nf_nat.ko", "kernel/lib/crc.ko"]);
        assert_eq!(closure(list, "nf_nat").unwrap(), ["kernel/net/nf_nat.ko"]);
        assert_eq!(closure(list, "nat").unwrap_err().to_string(), "no kernel module nat");
    }
}
