//! Hands the path of the linker script to the crate that links the image.

use std::{env, path::PathBuf};

fn main() {
    let script = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("link.ld");
    println!("cargo::metadata=script={}", script.display());
    println!("cargo::rerun-if-changed=link.ld");
}
