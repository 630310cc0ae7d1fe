//! Every check there is, in the order in which they are cheap; what CI runs.

use std::time::Instant;

use crate::process::{self, Failed, cargo};
use crate::setup::{self, Found};
use crate::{examples, firmware, fuzz, miri, reliability, sizes, supply};

type Stage = (&'static str, fn(&Found) -> Result<(), Failed>);

const STAGES: [Stage; 14] = [
    ("fmt", fmt),
    ("lint", lint),
    ("docs", docs),
    ("supply", supply::check),
    ("host", host),
    ("thumb", firmware::check_no_std),
    ("firmware", firmware_builds),
    ("qemu", qemu),
    ("examples", examples::check),
    ("sizes", sizes::check),
    ("reliability", reliability::check),
    ("fuzz", fuzz::check),
    ("miri", miri::check),
    ("slow", slow),
];

/// Sets up, then runs the stages named, or all.
pub(crate) fn run(names: &[&str]) -> Result<(), Failed> {
    let known = STAGES.map(|(name, _)| name);
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(Failed::usage(format!("there is no stage `{unknown}`; the stages are {}", known.join(" "))));
    }
    let found = setup::run()?;
    for (name, stage) in STAGES.iter().filter(|(name, _)| names.is_empty() || names.contains(name)) {
        let started = Instant::now();
        eprintln!("\n== {name}");
        stage(&found).map_err(|failed| Failed::check(format!("stage {name}: {failed}")))?;
        eprintln!("== {name}: passed in {:.0} s", started.elapsed().as_secs_f64());
    }
    Ok(())
}

fn fmt(_: &Found) -> Result<(), Failed> {
    process::run(cargo().args(["fmt", "--all", "--check"]))?;
    process::run(cargo().args(["fmt", "--check", "--manifest-path", "device/firmware/Cargo.toml"]))?;
    process::run(cargo().args(["fmt", "--check", "--manifest-path", "device/capi/Cargo.toml"]))?;
    process::run(cargo().args(["fmt", "--check", "--manifest-path", "device/fuzz/Cargo.toml"]))?;
    process::run(cargo().args(["fmt", "--check", "--manifest-path", "host/fuzz/Cargo.toml"]))?;
    process::run(cargo().args(["fmt", "--all", "--check", "--manifest-path", "examples/firmware/Cargo.toml"]))
}

fn lint(_: &Found) -> Result<(), Failed> {
    process::run(cargo().args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // What a machine that only trains builds, and a search without Candle, its tests included.
    let lean = ["clippy", "--locked", "--no-default-features"];
    process::run(cargo().args(lean).args(["--package", "releq", "--", "-D", "warnings"]))?;
    process::run(cargo().args(lean).args(["--package", "releq-search", "--all-targets", "--", "-D", "warnings"]))?;
    // A workspace of its own, and with a test profile since only that has somewhere to unwind to.
    let mut library = cargo();
    library.current_dir(process::root().join("device/capi")).env("CARGO_TARGET_DIR", process::target());
    process::run(library.args([
        "clippy",
        "--locked",
        "--profile",
        "test",
        "--lib",
        "--tests",
        "--",
        "-D",
        "warnings",
    ]))?;
    fuzz::lint()
}

fn docs(_: &Found) -> Result<(), Failed> {
    let mut doc = cargo();
    doc.env("RUSTDOCFLAGS", "-D warnings");
    process::run(doc.args(["doc", "--locked", "--no-deps", "--workspace", "--exclude", "xtask"]))
}

/// Without boards: the runners that lie there may be of an older tree, and stage `firmware` comes later.
fn host(_: &Found) -> Result<(), Failed> {
    process::run(cargo().env("RELEQ_RUNNERS", "not-built-yet").args(["test", "--locked", "--workspace"]))?;
    // The engine as it is where size counts: other loops of the same kernels.
    let small = "profile.dev.package.releq-device.opt-level=\"z\"";
    process::run(cargo().args(["test", "--locked", "--package", "releq-device", "--lib", "--config", small]))
}

/// The tests that take minutes: accuracy on real data, keywords from sound, a search that is killed, searches of a whole
/// table, the quick form of the results, the stories of both READMEs.
fn slow(_: &Found) -> Result<(), Failed> {
    // A story types them.
    process::run(cargo().args(["build", "--locked", "--examples"]))?;
    process::run(cargo().args([
        "test",
        "--locked",
        "--workspace",
        "--test",
        "accuracy",
        "--test",
        "keywords",
        "--test",
        "import",
        "--test",
        "search",
        "--test",
        "killed",
        "--test",
        "full",
        "--test",
        "diverged",
        "--test",
        "mlperf",
        "--test",
        "tables",
        "--test",
        "reproduce",
        "--test",
        "story",
        "--test",
        "crew",
        "--test",
        "watch",
        "--test",
        "data",
        "--",
        "--ignored",
    ]))?;
    process::run(cargo().args(["test", "--locked", "--package", "releq", "--lib", "--", "--ignored"]))
}

fn firmware_builds(found: &Found) -> Result<(), Failed> {
    firmware::build(found, &[])?;
    firmware::prove_no_panic(found)
}

/// Runs after the runners are built; `host` ran the same tests, which then said that they were skipped.
fn qemu(found: &Found) -> Result<(), Failed> {
    if !found.qemu {
        eprintln!("skipped: no qemu-system-arm");
        return Ok(());
    }
    process::run(
        cargo()
            .env("RELEQ_REQUIRE_QEMU", "1")
            .args(["test", "--locked", "--test", "qemu", "--test", "trials", "--test", "mlperf"]),
    )
}
