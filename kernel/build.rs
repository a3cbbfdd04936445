//! Links the image by the boot crate's script.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        let script = env::var("DEP_RUTTER_BOOT_SCRIPT").expect("the boot crate names its linker script");
        println!("cargo::rerun-if-changed={script}");
        for argument in
            ["--no-pie", "--gc-sections", "-z", "max-page-size=4096", "-z", "norelro", "-T", &script]
        {
            println!("cargo::rustc-link-arg-bin=rutter={argument}");
        }
    }
}
