//! The folder with a lab's logs: kept when something failed, gone when all went well.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::workspace;

/// The folder.
pub struct Logs(PathBuf);

impl Logs {
    /// An empty folder.
    pub fn create(name: &str) -> Result<Logs> {
        let folder = workspace::target().join("lab").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Logs(folder))
    }

    pub fn folder(&self) -> &Path {
        &self.0
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn file(&self, name: &str) -> Result<File> {
        let path = self.path(name);
        File::create(&path).with_context(|| path.display().to_string())
    }

    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Removes the folder.
    pub fn discard(&mut self) {
        // What cannot be removed only takes space.
        let _ = fs::remove_dir_all(&self.0);
    }
}
