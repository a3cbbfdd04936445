//! Set-up on machines that lack things, seen from outside: every program it starts is a script of the test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const QEMU: &str = "qemu-system-x86_64";
const HAS_QEMU: &str = "echo 'QEMU emulator version 7.2.22 (Debian)'";
/// Who may not install anything.
const NOBODY: u32 = 65534;

/// A machine with Debian's apt, the Rust target, sudo that asks nothing, and no QEMU.
struct Fresh {
    folder: PathBuf,
}

impl Fresh {
    fn good(test: &str) -> Fresh {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = fs::remove_dir_all(&folder);
        let machine = Fresh { folder };
        for dir in ["bin", "sysroot/lib/rustlib/x86_64-unknown-none/lib", "target"] {
            fs::create_dir_all(machine.folder.join(dir)).unwrap();
        }
        let sysroot = format!("echo {}/sysroot", machine.folder.display());
        let install = format!("case \"$*\" in *--simulate*) ;; *install*) {} ;; esac", machine.arrives());
        machine
            .program("rustc", &sysroot)
            .program("sudo", "shift; exec \"$@\"")
            .program("env", "exec /usr/bin/env \"$@\"")
            .program("apt-get", &install)
    }

    /// The shell words that make QEMU appear.
    fn arrives(&self) -> String {
        let qemu = self.folder.join("bin").join(QEMU);
        let qemu = qemu.display();
        format!("printf '#!/bin/sh\\n{}\\n' > {qemu}; /bin/chmod +x {qemu}", HAS_QEMU.replace('\'', "\""))
    }

    fn program(self, name: &str, script: &str) -> Fresh {
        let path = self.folder.join("bin").join(name);
        let log = self.folder.join("log");
        fs::write(&path, format!("#!/bin/sh\necho {name} \"$@\" >> {}\n{script}\n", log.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn without(self, name: &str) -> Fresh {
        fs::remove_file(self.folder.join("bin").join(name)).unwrap();
        self
    }

    fn set_up(&self) -> Output {
        self.command().output().unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qemu"));
        command
            .arg("setup")
            .env("PATH", self.folder.join("bin"))
            .env("CARGO_TARGET_DIR", self.folder.join("target"));
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn qemu_is_installed_after_one_line_and_nothing_is_removed() {
    let machine = Fresh::good("install");
    let output = machine.set_up();
    assert!(output.status.success(), "{}", stderr(&output));
    let first = stderr(&output).lines().next().unwrap().to_owned();
    assert!(first.contains("QEMU boots the router and is not installed: apt-get install"), "{first}");
    let log = machine.log();
    let install = log.lines().rfind(|line| line.starts_with("apt-get")).unwrap();
    assert!(install.contains("--no-remove qemu-system-x86"), "{log}");
}

#[test]
fn a_machine_that_has_all_is_left_alone() {
    let machine = Fresh::good("nothing").program(QEMU, HAS_QEMU);
    let output = machine.set_up();
    assert!(output.status.success());
    assert_eq!(stderr(&output), "");
    assert!(!machine.log().contains("apt-get"));
}

#[test]
fn old_package_lists_are_renewed() {
    let machine = Fresh::good("lists");
    let fresh = machine.folder.join("fresh");
    let script = format!(
        "case \"$*\" in update*|*' update '*) echo > {fresh} ;; *) [ -e {fresh} ] || exit 100 ;; esac
         case \"$*\" in *--simulate*|*update*) ;; *install*) {} ;; esac",
        machine.arrives(),
        fresh = fresh.display(),
    );
    let machine = machine.program("apt-get", &script);
    let output = machine.set_up();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("apt-get update"));
}

#[test]
fn a_clash_gives_qemu_a_folder_of_its_own() {
    let machine = Fresh::good("clash");
    let script = "case \"$*\" in
        *--simulate*--no-remove*) echo 'E: Packages need to be removed but remove is disabled.' >&2; exit 100 ;;
        *--simulate*) echo 'Remv qemu-utils [1:10.0.2]'; echo 'Inst qemu-system-x86 (1:7.2 Debian:12 [amd64])' ;;
        download*) echo > qemu.deb ;;
        *install*) exit 1 ;;
    esac";
    let unpack = format!(
        "/bin/mkdir -p $3/usr/bin; printf '#!/bin/sh\\n{}\\n' > $3/usr/bin/{QEMU}; /bin/chmod +x $3/usr/bin/{QEMU}",
        HAS_QEMU.replace('\'', "\"")
    );
    let machine = machine.program("apt-get", script).program("dpkg-deb", &unpack);
    let output = machine.set_up();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("would remove qemu-utils"), "{}", stderr(&output));
    assert!(machine.log().contains("apt-get download -q -o APT::Sandbox::User=root qemu-system-x86=1:7.2"));
    assert!(machine.folder.join("target/qemu/usr/bin").join(QEMU).is_file());
    // The next start finds it.
    assert_eq!(stderr(&machine.set_up()), "");
}

#[test]
fn without_root_and_sudo_the_command_is_named() {
    let machine = Fresh::good("nobody").program("sudo", "exit 1");
    let mut command = machine.command();
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("Type: sudo apt-get install qemu-system-x86"), "{}", stderr(&output));
    assert!(!machine.log().contains("apt-get"));
}

#[test]
fn other_package_managers_are_named_with_their_command() {
    let machine = Fresh::good("dnf").without("apt-get").program("dnf", "exit 1");
    let output = machine.set_up();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("Type: sudo dnf install qemu-system-x86-core"), "{}", stderr(&output));
}

#[test]
fn a_qemu_that_is_too_old_is_named() {
    let machine = Fresh::good("old").program(QEMU, "echo 'QEMU emulator version 6.2.0'");
    let output = machine.set_up();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is version 6.2, and rutter needs 7.2"), "{}", stderr(&output));
}

#[test]
fn the_rust_target_is_added_where_rustup_is() {
    let machine = Fresh::good("target").program(QEMU, HAS_QEMU);
    let target = machine.folder.join("sysroot/lib/rustlib/x86_64-unknown-none");
    fs::remove_dir_all(&target).unwrap();
    assert!(stderr(&machine.set_up()).contains("Type: rustup target add x86_64-unknown-none"));

    let machine = machine.program("rustup", "");
    let output = machine.set_up();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(machine.log().contains("rustup target add x86_64-unknown-none"));
}
