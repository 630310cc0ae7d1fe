//! Builds the runner firmware of every board and QEMU's plugin, the no-panic proof, and the no_std checks, each for its own target.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Failed, cargo, command, root, run, target};
use crate::setup::{Found, Thumb};

/// Every target that firmware or a check is built for; the first is the smallest core that must work.
pub(crate) const TARGETS: [&str; 4] =
    ["thumbv6m-none-eabi", "thumbv7m-none-eabi", "thumbv7em-none-eabihf", "thumbv8m.main-none-eabihf"];

/// Runner binaries and the targets they are built for, as `releq_device::board` has it; `tests/qemu.rs` fails for a
/// board without a runner.
const RUNNERS: [(&str, &[&str]); 3] = [
    ("thumbv7m-none-eabi", &["virt_m3"]),
    ("thumbv7em-none-eabihf", &["virt_m4", "virt_m7"]),
    ("thumbv8m.main-none-eabihf", &["virt_m33"]),
];

/// Cores that the no-panic proof is linked for.
const PROVED: [&str; 2] = ["thumbv6m-none-eabi", "thumbv7em-none-eabihf"];

/// Builds every runner and puts it where `releq` finds it.
pub(crate) fn build(found: &Found) -> Result<(), Failed> {
    let thumb = toolchain(found)?;
    let runners = target().join("runners");
    fs::create_dir_all(&runners)
        .map_err(|error| Failed::check(format!("cannot make {}: {error}", runners.display())))?;
    for (triple, binaries) in RUNNERS {
        let mut build = thumb_cargo(thumb, "build");
        build.args(["--release", "--target", triple]);
        binaries.iter().for_each(|binary| {
            build.args(["--bin", binary]);
        });
        run(&mut build)?;
        for binary in binaries {
            let from = target().join("firmware").join(triple).join("release").join(binary);
            let to = runners.join(format!("{}.elf", binary.replace('_', "-")));
            fs::copy(&from, &to).map_err(|error| Failed::check(format!("cannot copy {}: {error}", from.display())))?;
        }
    }
    build_plugin(&runners)?;
    eprintln!("runners are in {}", runners.display());
    Ok(())
}

/// Builds the plugin that estimates cycles in QEMU and puts it beside the runners; QEMU loads such plugins on Linux.
fn build_plugin(runners: &Path) -> Result<(), Failed> {
    if !cfg!(target_os = "linux") {
        eprintln!("no plugin for QEMU here: it loads them on Linux; without it there is no estimate of cycles");
        return Ok(());
    }
    run(cargo().args(["build", "--locked", "--package", "releq-plugin"]))?;
    let from = target().join("debug/libreleq_plugin.so");
    let copied = fs::copy(&from, runners.join("releq_plugin.so"));
    copied.map(drop).map_err(|error| Failed::check(format!("cannot copy {}: {error}", from.display())))
}

/// Links the engine with a panic handler that cannot be linked, for the smallest and the usual core.
pub(crate) fn prove_no_panic(found: &Found) -> Result<(), Failed> {
    let thumb = toolchain(found)?;
    PROVED.iter().try_for_each(|triple| {
        run(thumb_cargo(thumb, "build").args(["--release", "--target", triple, "--bin", "no_panic"]))
    })
}

/// Checks the device-side crates one by one: a workspace build would unify features and hide a missing no_std.
pub(crate) fn check_no_std(found: &Found) -> Result<(), Failed> {
    let thumb = toolchain(found)?;
    for triple in PROVED {
        for package in ["releq-format", "releq-device"] {
            let mut check = thumb_cargo(thumb, "check");
            run(check.current_dir(root()).args(["--target", triple, "--package", package]))?;
        }
    }
    Ok(())
}

pub(crate) fn toolchain(found: &Found) -> Result<&Thumb, Failed> {
    found.thumb.as_ref().ok_or_else(|| Failed::check("no toolchain for thumb targets; see the lines of set-up above"))
}

/// Cargo in the firmware workspace, set up for thumb targets. One target directory, since each builds `core` once.
pub(crate) fn thumb_cargo(thumb: &Thumb, verb: &str) -> Command {
    let mut build = match thumb {
        Thumb::Rustup => {
            let mut build = cargo();
            build.env("CARGO_ENCODED_RUSTFLAGS", remapped().join("\x1f"));
            build
        }
        Thumb::Debian { linker } => {
            let mut build = command("/usr/bin/cargo");
            build.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
            // What `cargo xtask` itself was started with belongs to the other toolchain.
            for variable in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTDOC", "RUSTFLAGS", "RUSTC_WRAPPER"] {
                build.env_remove(variable);
            }
            let link = [format!("-Clinker={}", linker.path.display()), format!("-Clinker-flavor={}", linker.flavor)];
            build.env("CARGO_ENCODED_RUSTFLAGS", link.into_iter().chain(remapped()).collect::<Vec<_>>().join("\x1f"));
            build
        }
    };
    build.current_dir(root().join("device/firmware")).arg(verb).arg("--locked");
    build.env("CARGO_TARGET_DIR", target().join("firmware"));
    if matches!(thumb, Thumb::Debian { .. }) {
        build.arg("-Zbuild-std=core");
    }
    build
}

/// Paths of this machine are none of the firmware's, and would make its size depend on where it was built.
fn remapped() -> [String; 2] {
    let home = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let cargo = home("CARGO_HOME").or_else(|| home("HOME").map(|home| home.join(".cargo"))).unwrap_or_default();
    [(root(), "releq"), (cargo, "cargo")].map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
}
