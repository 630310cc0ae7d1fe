//! Runs tests of the image and the engine under Miri, which judges what no test sees: aliasing, provenance, bytes that
//! were never written. By `cargo miri`, where a toolchain has it.
//!
//! Tests that would take hours there try fewer cases by `cfg!(miri)`; figures are those of these cases.

use std::ffi::OsString;
use std::process::Command;

use crate::process::{self, Failed, cargo, command, succeeds, target};
use crate::setup::Found;

/// What is run, and by which rules.
struct Run {
    tests: &'static [&'static str],
    /// Words for Miri, beside those that all get.
    flags: &'static str,
    /// Vectors that the program is compiled for; Miri has those, and none otherwise.
    vectors: &'static str,
}

const RUNS: [Run; 6] = [
    Run { tests: &["--package", "releq-format", "--features", "alloc", "--lib"], flags: "", vectors: "" },
    Run { tests: &["--package", "releq-device", "--lib"], flags: "", vectors: "" },
    // What lends memory and takes it back, by the other rules of aliasing that Rust may come to have.
    Run {
        tests: &["--package", "releq-device", "--lib", "--", "resident::", "server::"],
        flags: "-Zmiri-tree-borrows",
        vectors: "",
    },
    Run { tests: VECTORS, flags: "", vectors: "+avx2" },
    Run { tests: VECTORS, flags: "", vectors: "+avx512f,+avx512vpopcntdq" },
    Run { tests: &["--package", "releq-device", "--test", "damage", "--", "--nocapture"], flags: "", vectors: "" },
];
const VECTORS: &[&str] = &["--package", "releq-device", "--lib", "--", "bitserial::"];

/// Integers are no pointers here. The clock and files of golden images are read.
const FLAGS: &str = "-Zmiri-strict-provenance -Zmiri-disable-isolation";
/// Cases of each property, which take seconds each.
const CASES: &str = "2";
/// A cargo that knows `miri`, for where neither the one that runs this nor rustup's nightly does.
const OWN: &str = "RELEQ_MIRI";

/// The stage.
pub(crate) fn check(_: &Found) -> Result<(), Failed> {
    let Some(miri) = found()? else {
        eprintln!(
            "skipped: no Miri; `rustup +nightly component add miri rust-src` brings it, or {OWN} names its cargo"
        );
        return Ok(());
    };
    // Vectors are x86's.
    RUNS.iter().filter(|run| run.vectors.is_empty() || cfg!(target_arch = "x86_64")).try_for_each(|run| {
        let mut test = miri();
        test.env("MIRIFLAGS", format!("{FLAGS} {}", run.flags)).env("PROPTEST_CASES", CASES);
        test.env("CARGO_TARGET_DIR", target().join("miri"));
        if !run.vectors.is_empty() {
            test.env("CARGO_ENCODED_RUSTFLAGS", format!("-Ctarget-feature={}", run.vectors));
        }
        process::run(test.args(["miri", "test", "--locked"]).args(run.tests))
    })
}

/// What starts a cargo that has Miri: the one named, or else the one that runs this, or rustup's nightly.
fn found() -> Result<Option<fn() -> Command>, Failed> {
    let has_miri = |way: &fn() -> Command| succeeds(way().args(["miri", "--version"]));
    match own() {
        Some(_) if has_miri(&(named as fn() -> Command)) => Ok(Some(named)),
        Some(named) => Err(Failed::check(format!(
            "{} has no Miri: `miri --version` fails; name another in {OWN}, or unset it",
            named.display()
        ))),
        None => Ok([cargo, nightly].into_iter().find(has_miri)),
    }
}

fn own() -> Option<OsString> {
    std::env::var_os(OWN).filter(|name| !name.is_empty())
}

fn named() -> Command {
    command(own().unwrap_or_default())
}

fn nightly() -> Command {
    let mut rustup = command("rustup");
    rustup.args(["run", "nightly", "cargo"]);
    rustup
}
