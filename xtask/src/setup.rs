//! Set-up: what firmware and emulator need is found, or installed where that can be done, or named.
//!
//! Firmware takes the first toolchain that holds: rustup's with the thumb targets; Debian's matched pair of compiler
//! and library source; rustup again if it may download. See docs/adr/0003.

use std::path::{Path, PathBuf};

use crate::firmware::TARGETS;
use crate::process::{Failed, command, output, succeeds};

/// What there is for firmware and emulation.
#[derive(Debug)]
pub(crate) struct Found {
    /// What compiles for thumb targets, if anything does.
    pub(crate) thumb: Option<Thumb>,
    /// Whether `qemu-system-arm` runs.
    pub(crate) qemu: bool,
}

/// A toolchain for thumb targets.
#[derive(Debug)]
pub(crate) enum Thumb {
    /// The one that runs this, with the targets installed.
    Rustup,
    /// `/usr/bin/cargo` and `/usr/bin/rustc`, building `core` from source.
    Debian {
        /// What links.
        linker: Linker,
    },
}

/// A linker by path, and how rustc is to speak to it.
#[derive(Debug)]
pub(crate) struct Linker {
    pub(crate) path: PathBuf,
    pub(crate) flavor: &'static str,
}

/// Debian's matched pair (1.96 in Debian 12), and a linker for where rustup brings none.
const DEBIAN_RUST: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_LINKER: &str = "binutils-arm-none-eabi";
const DEBIAN_C: &str = "gcc-arm-none-eabi";
const DEBIAN_CPP: &str = "g++";
const DEBIAN_QEMU: &str = "qemu-system-arm";

/// Finds or installs everything, and says what it did. Never fails for want of something: the rest works without.
pub(crate) fn run() -> Result<Found, Failed> {
    let thumb = thumb();
    match &thumb {
        Some(Thumb::Rustup) => say("firmware toolchain", "rustup's, with the thumb targets"),
        Some(Thumb::Debian { linker }) => {
            say("firmware toolchain", &format!("Debian's pair in /usr/bin, linking with {}", linker.path.display()));
        }
        None => say("firmware toolchain", &format!("missing; {}; everything native works without it", remedy())),
    }
    let qemu = qemu();
    let missing = format!("missing; `apt-get install {DEBIAN_QEMU}`; boards cannot be emulated without it");
    say("qemu-system-arm", if qemu { "found" } else { &missing });
    Ok(Found { thumb, qemu })
}

fn say(what: &str, how: &str) {
    eprintln!("setup: {what}: {how}");
}

fn remedy() -> String {
    format!("`rustup target add {}`, or on Debian `apt-get install {}`", TARGETS.join(" "), DEBIAN_RUST.join(" "))
}

fn thumb() -> Option<Thumb> {
    if rustup_has_targets() {
        return Some(Thumb::Rustup);
    }
    if let Some(debian) = debian() {
        return Some(debian);
    }
    if apt_install(&DEBIAN_RUST)
        && let Some(debian) = debian()
    {
        return Some(debian);
    }
    // 0 says that rustup must not touch the network; then this is not asked of it either.
    let may_download = std::env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|value| value != "0");
    let added = may_download && succeeds(command("rustup").args(["target", "add"]).args(TARGETS));
    (added && rustup_has_targets()).then_some(Thumb::Rustup)
}

fn sysroot() -> Option<PathBuf> {
    output(command("rustc").args(["--print", "sysroot"])).map(PathBuf::from)
}

fn rustup_has_targets() -> bool {
    let Some(sysroot) = sysroot() else { return false };
    TARGETS.iter().all(|target| sysroot.join("lib/rustlib").join(target).join("lib").is_dir())
}

/// Debian's pair, if both halves and a linker are there.
fn debian() -> Option<Thumb> {
    let sysroot = output(command("/usr/bin/rustc").args(["--print", "sysroot"]))?;
    if !is_recent(&output(command("/usr/bin/rustc").arg("--version"))?) {
        return None;
    }
    let source = Path::new(&sysroot).join("lib/rustlib/src/rust/library/core");
    if !source.is_dir() || !Path::new("/usr/bin/cargo").is_file() {
        return None;
    }
    let linker = linker().or_else(|| apt_install(&[DEBIAN_LINKER]).then(linker).flatten())?;
    Some(Thumb::Debian { linker })
}

/// Whether `rustc 1.96.0 (…)` is at least the workspace's `rust-version`.
fn is_recent(version: &str) -> bool {
    let numbers = |text: &str| text.split('.').filter_map(|part| part.parse().ok()).collect::<Vec<u32>>();
    let found = version.split_whitespace().nth(1).map(numbers);
    found.is_some_and(|found| found >= numbers(env!("CARGO_PKG_RUST_VERSION")))
}

/// What this machine is called among targets.
pub(crate) fn host_triple() -> Option<String> {
    output(command("rustc").arg("-vV"))?.lines().find_map(|line| Some(line.strip_prefix("host: ")?.to_owned()))
}

/// rustup's own LLD, which the Debian compiler does not look for, or the Arm binutils.
fn linker() -> Option<Linker> {
    let lld = sysroot()?.join("lib/rustlib").join(host_triple()?).join("bin/rust-lld");
    if lld.is_file() {
        return Some(Linker { path: lld, flavor: "ld.lld" });
    }
    let ld = PathBuf::from("/usr/bin/arm-none-eabi-ld");
    ld.is_file().then_some(Linker { path: ld, flavor: "ld" })
}

fn qemu() -> bool {
    let there = || succeeds(command("qemu-system-arm").arg("--version"));
    there() || (apt_install(&[DEBIAN_QEMU]) && there())
}

/// Arm's C compiler, which only the example in C needs: found or installed when that is built.
pub(crate) fn c_compiler() -> bool {
    let there = || succeeds(command("arm-none-eabi-gcc").arg("--version"));
    let found = there() || (apt_install(&[DEBIAN_C]) && there());
    let missing = format!("missing; `apt-get install {DEBIAN_C}`; only the example in C needs it");
    say("arm-none-eabi-gcc", if found { "found" } else { &missing });
    found
}

/// A C++ compiler, which only libFuzzer needs: found or installed when that is built.
pub(crate) fn cpp_compiler() -> bool {
    let there = || succeeds(command("c++").arg("--version"));
    let found = there() || (apt_install(&[DEBIAN_CPP]) && there());
    let missing = format!("missing; `apt-get install {DEBIAN_CPP}`; only the fuzz targets need it");
    say("c++", if found { "found" } else { &missing });
    found
}

/// Installs Debian packages where that can be done: as root, with apt.
fn apt_install(packages: &[&str]) -> bool {
    let root = output(command("id").arg("-u")).is_some_and(|uid| uid == "0");
    if !root || !succeeds(command("apt-get").arg("--version")) {
        return false;
    }
    eprintln!("setup: installing {} with apt-get", packages.join(" "));
    // A fresh machine has no package lists, and an image's own may name versions that are too old.
    let updated = succeeds(command("apt-get").arg("update"));
    let mut apt = command("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "-y", "--no-install-recommends"]).args(packages);
    updated && succeeds(&mut apt)
}
