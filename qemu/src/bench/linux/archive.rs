//! A cpio archive as the kernel's initial RAM disk. Read Linux's "initramfs buffer format".

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use cpio::newc::{Builder, ModeFileType, trailer};

/// Files, and the folders that they lie in.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
}

impl Archive {
    /// Adds a file that may be executed.
    pub fn program(&mut self, path: &str, content: &[u8]) -> Result<()> {
        let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
        for folder in folders {
            if self.folders.insert(folder.to_owned()) {
                self.add(folder, ModeFileType::Directory, &[])?;
            }
        }
        self.add(path, ModeFileType::Regular, content)
    }

    /// The whole archive.
    pub fn finish(self) -> Result<Vec<u8>> {
        Ok(trailer(self.bytes)?)
    }

    /// Writes the whole archive to `path`, made small by gzip.
    pub fn write_compressed(self, path: &Path) -> Result<()> {
        let plain = path.with_extension("cpio");
        std::fs::write(&plain, self.finish()?).with_context(|| plain.display().to_string())?;
        let fresh = path.with_extension("new");
        let mut gzip = Command::new("gzip");
        gzip.args(["-9", "--stdout"]).stdin(File::open(&plain)?).stdout(File::create(&fresh)?);
        let status = gzip.stderr(Stdio::inherit()).status().context("gzip")?;
        ensure!(status.success(), "gzip failed ({status})");
        std::fs::remove_file(&plain)?;
        std::fs::rename(&fresh, path).with_context(|| path.display().to_string())
    }

    fn add(&mut self, path: &str, kind: ModeFileType, content: &[u8]) -> Result<()> {
        let entry = Builder::new(path).mode(0o755).set_mode_file_type(kind);
        let mut writer = entry.write(std::mem::take(&mut self.bytes), u32::try_from(content.len())?);
        std::io::Write::write_all(&mut writer, content)?;
        self.bytes = writer.finish()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_before_its_files_and_once() {
        let mut archive = Archive::default();
        archive.program("lib/a/one", b"1").unwrap();
        archive.program("lib/two", b"22").unwrap();
        let bytes = archive.finish().unwrap();
        let mut names = Vec::new();
        let mut rest = &bytes[..];
        loop {
            let reader = cpio::newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push(reader.entry().name().to_owned());
            rest = reader.finish().unwrap();
        }
        assert_eq!(names, ["lib", "lib/a", "lib/a/one", "lib/two"]);
    }
}
