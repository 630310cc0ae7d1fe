//! Builds the runner firmware of every board and QEMU's plugin, the no-panic proof, and the no_std checks, each for its own target.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Failed, cargo, command, root, run, target};
use crate::setup::{Found, Thumb};

/// Every target that firmware or a check is built for; the first is the smallest core that must work.
pub(crate) const TARGETS: [&str; 4] =
    ["thumbv6m-none-eabi", "thumbv7m-none-eabi", "thumbv7em-none-eabihf", "thumbv8m.main-none-eabihf"];

/// Runners and the targets they are built for, as `releq_device::board` has them (the test below holds that).
const RUNNERS: [Runner; 11] = [
    emulated("virt-m0", "thumbv6m-none-eabi"),
    emulated("virt-m3", "thumbv7m-none-eabi"),
    emulated("virt-m4", "thumbv7em-none-eabihf"),
    emulated("virt-m7", "thumbv7em-none-eabihf"),
    emulated("virt-m33", "thumbv8m.main-none-eabihf"),
    wired("nucleo-f446re", "thumbv7em-none-eabihf"),
    wired("nucleo-h743zi", "thumbv7em-none-eabihf"),
    wired("nucleo-l4r5zi", "thumbv7em-none-eabihf"),
    wired("nrf52840-dk", "thumbv7em-none-eabihf"),
    wired("rp2350-pico2", "thumbv8m.main-none-eabihf"),
    wired("rp2040-pico", "thumbv6m-none-eabi"),
];

/// The board that has programs of its own in the tests, `<board>-<name>`, and what each is.
const TRIED: &str = "virt-m4";
const TRIALS: [Trial; 4] = [
    // The tests have no other UARTs than the emulator's.
    Trial { name: "uart", binary: "virt_m4_uart", features: "" },
    Trial { name: "signed", binary: "virt_m4", features: "signed" },
    Trial { name: "power-cuts", binary: "power_cuts", features: "slots" },
    Trial { name: "damage", binary: "damage", features: "fence" },
];

/// The public key that `<board>-signed` runs the images of: that of RFC 8032's first test, whose secret is the tests'.
const TEST_KEY: &str = "tests/keys/test.pub";

/// A program that tests run on the emulated board.
struct Trial {
    name: &'static str,
    binary: &'static str,
    features: &'static str,
}

/// A board's runner.
#[derive(Clone, Copy, Debug)]
struct Runner {
    board: &'static str,
    triple: &'static str,
    /// Whether it takes a feature of the board's name, with the crates of its chip.
    chip: bool,
}

const fn emulated(board: &'static str, triple: &'static str) -> Runner {
    Runner { board, triple, chip: false }
}

const fn wired(board: &'static str, triple: &'static str) -> Runner {
    Runner { board, triple, chip: true }
}

/// Targets that the device-side crates are checked for on their own: the smallest and the usual core.
const CHECKED: [&str; 2] = ["thumbv6m-none-eabi", "thumbv7em-none-eabihf"];

/// Builds the runners of `boards`, or of all, and puts them where `releq` finds them; the plugin and the programs of tests
/// too.
pub(crate) fn build(found: &Found, boards: &[&str]) -> Result<(), Failed> {
    let chosen = chosen(boards)?;
    let (thumb, runners) = (toolchain(found)?, runners()?);
    if let Some(tried) = chosen.iter().find(|runner| runner.board == TRIED) {
        // First, since one is built in the place of the runner itself.
        build_trials(thumb, tried.triple, &runners)?;
    }
    build_runners(thumb, &chosen, &runners)
}

/// Builds the runners of all emulated boards: what the demo runs.
pub(crate) fn build_emulated(found: &Found) -> Result<(), Failed> {
    let emulated: Vec<Runner> = RUNNERS.into_iter().filter(|runner| !runner.chip).collect();
    build_runners(toolchain(found)?, &emulated, &runners()?)
}

/// Where runners are put.
fn runners() -> Result<PathBuf, Failed> {
    let runners = target().join("runners");
    let made = fs::create_dir_all(&runners);
    made.map_err(|error| Failed::check(format!("cannot make {}: {error}", runners.display())))?;
    Ok(runners)
}

/// The runners of `boards`; all where none is named.
fn chosen(boards: &[&str]) -> Result<Vec<Runner>, Failed> {
    if boards.is_empty() {
        return Ok(RUNNERS.to_vec());
    }
    let of = |board: &&str| RUNNERS.into_iter().find(|runner| runner.board == *board).ok_or_else(|| unknown(board));
    boards.iter().map(of).collect()
}

fn unknown(board: &str) -> Failed {
    let known = RUNNERS.map(|runner| runner.board).join(" ");
    Failed::usage(format!("there is no board `{board}`; the boards are {known}"))
}

fn build_runners(thumb: &Thumb, chosen: &[Runner], runners: &Path) -> Result<(), Failed> {
    for Runner { board, triple, chip } in chosen {
        let (binary, features) = (board.replace('-', "_"), if *chip { board } else { "" });
        build_binary(thumb, triple, (&binary, features), &runners.join(format!("{board}.elf")))?;
    }
    build_plugin(runners)?;
    eprintln!("runners are in {}", runners.display());
    Ok(())
}

fn build_trials(thumb: &Thumb, triple: &str, runners: &Path) -> Result<(), Failed> {
    TRIALS.iter().try_for_each(|Trial { name, binary, features }| {
        build_binary(thumb, triple, (binary, features), &runners.join(format!("{TRIED}-{name}.elf")))
    })
}

/// Builds a binary with features and copies it to `to`.
fn build_binary(thumb: &Thumb, triple: &str, (binary, features): (&str, &str), to: &Path) -> Result<(), Failed> {
    let mut build = thumb_cargo(thumb, "build");
    build.env("RELEQ_KEYS", root().join(TEST_KEY));
    run(build.args(["--release", "--target", triple, "--bin", binary, "--features", features]))?;
    let from = target().join("firmware").join(triple).join("release").join(binary);
    let copied = fs::copy(&from, to);
    copied.map(drop).map_err(|error| Failed::check(format!("cannot copy {}: {error}", from.display())))
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

/// Links engine and server with a panic handler that cannot be linked, for every target.
pub(crate) fn prove_no_panic(found: &Found) -> Result<(), Failed> {
    let thumb = toolchain(found)?;
    TARGETS.iter().try_for_each(|triple| {
        let proof = ["--release", "--target", triple, "--bin", "no_panic", "--features", "proof"];
        run(thumb_cargo(thumb, "build").args(proof))
    })
}

/// Checks the device-side crates one by one: a workspace build would unify features and hide a missing no_std.
pub(crate) fn check_no_std(found: &Found) -> Result<(), Failed> {
    let thumb = toolchain(found)?;
    for triple in CHECKED {
        for package in ["releq-format", "releq-device"] {
            let mut check = thumb_cargo(thumb, "check");
            run(check.current_dir(root()).args(["--target", triple, "--package", package]))?;
        }
        let mut check = thumb_cargo(thumb, "check");
        check.current_dir(root()).args(["--target", triple, "--package", "releq-device"]);
        run(check.args(["--features", "signed,slots"]))?;
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

#[cfg(test)]
mod tests {
    use releq_device::board::{ALL, Reach};

    use super::*;

    #[test]
    fn runners_are_the_board_tables() {
        let listed = RUNNERS.map(|runner| (runner.board, runner.triple, runner.chip));
        let boards = ALL.iter().map(|board| (board.name, board.target, matches!(board.reach, Reach::Probe { .. })));
        assert!(boards.eq(listed), "the tables differ");
        assert!(ALL.iter().all(|board| TARGETS.contains(&board.target)));
    }

    #[test]
    fn boards_are_chosen_by_name() {
        assert_eq!(chosen(&[]).map(|all| all.len()).ok(), Some(RUNNERS.len()));
        let two = chosen(&["rp2040-pico", "virt-m0"]).unwrap();
        assert_eq!(two.iter().map(|runner| runner.board).collect::<Vec<_>>(), ["rp2040-pico", "virt-m0"]);
        assert!(chosen(&["virt-m9"]).unwrap_err().to_string().contains("virt-m9"));
    }
}
