//! Runs the fuzz targets of `device/fuzz` and `host/fuzz`: libFuzzer under AddressSanitizer, from seeds made of the golden
//! images and of the models that the workbench's tests import.
//!
//! No `cargo-fuzz` and no nightly: the flags that it would give go to the toolchain that runs this. `cargo fuzz run`
//! in `device/` and `host/` works too, where it is installed.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::process::{self, Failed, cargo, root, target};
use crate::setup::{self, Found};

/// A workspace of targets.
struct Home {
    folder: &'static str,
    /// As its manifest has them.
    targets: &'static [&'static str],
    /// The program that writes their seeds.
    seeds: &'static str,
}

const HOMES: [Home; 2] = [
    Home { folder: "device/fuzz", targets: &["image", "server", "wire"], seeds: "seeds" },
    Home {
        folder: "host/fuzz",
        targets: &["cifar", "idx", "npy", "onnx", "safetensors", "settings", "tflite"],
        seeds: "host-seeds",
    },
];

/// Targets whose seeds are the models of the workbench's tests.
const MODELS: [&str; 2] = ["onnx", "tflite"];

/// Seconds of each target in CI.
const SMOKE: u64 = 60;
/// How many run side by side.
const ABREAST: usize = 2;
/// Most bytes of an input: twice the largest golden image, and more than most small models.
const LONGEST: usize = 8192;
/// Most seconds of one input; more is a finding.
const PATIENCE: u64 = 20;
/// Most megabytes that a target takes; more is a finding.
const MEMORY: u64 = 1024;

/// What libFuzzer needs of the compiler, and what finds a stray read.
const FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    SANITIZED,
];
const SANITIZED: &str = "-Zsanitizer=address";

/// `cargo xtask fuzz [TARGET...] [SECONDS]`.
pub(crate) fn run(words: &[&str]) -> Result<(), Failed> {
    let names = words.iter().take_while(|word| word.parse::<u64>().is_err()).count();
    let (names, words) = words.split_at(names);
    let targets = match names {
        [] => targets(),
        names => names.iter().map(|name| named(name)).collect::<Result<_, _>>()?,
    };
    let seconds = match words {
        [] => SMOKE,
        [seconds] => seconds.parse().map_err(|_| Failed::usage(format!("`{seconds}` is no number of seconds")))?,
        more => return Err(Failed::usage(format!("too many words: `{}`", more.join(" ")))),
    };
    campaign(&targets, seconds)
}

/// The targets' lints. They compile files of the workbench once more, and are the first to see that one has changed.
pub(crate) fn lint() -> Result<(), Failed> {
    let Some(triple) = possible() else { return Ok(()) };
    for Home { folder, .. } in &HOMES {
        let mut clippy = sanitized(&triple, &[]);
        // Not their tests: those of the workbench's own sources need the workbench.
        clippy.args(["clippy", "--locked", "--lib", "--bins", "--manifest-path", &format!("{folder}/Cargo.toml")]);
        process::run(clippy.args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

/// The stage: the damaged records of `device/tests` once more where every stray byte is seen (constants decide only
/// whether a sum may overflow, and take minutes there), then each target for a minute.
pub(crate) fn check(_: &Found) -> Result<(), Failed> {
    let Some(triple) = possible() else { return Ok(()) };
    let mut test = sanitized(&triple, &[SANITIZED]);
    test.args(["test", "--locked", "--package", "releq-device", "--test", "damage", "--"]);
    process::run(test.args(["record", "truncation", "golden"]))?;
    campaign(&targets(), SMOKE)
}

/// All of them.
fn targets() -> Vec<&'static str> {
    HOMES.iter().flat_map(|home| home.targets).copied().collect()
}

fn named(name: &str) -> Result<&'static str, Failed> {
    let all = targets();
    let unknown = || Failed::usage(format!("there is no target `{name}`; the targets are {}", all.join(" ")));
    all.iter().find(|target| **target == name).copied().ok_or_else(unknown)
}

/// The triple of this machine, if it can fuzz; else says why not.
fn possible() -> Option<String> {
    let triple = setup::host_triple().filter(|triple| triple.ends_with("-linux-gnu"));
    if triple.is_none() || !setup::cpp_compiler() {
        eprintln!("skipped: libFuzzer is built with a C++ compiler, and run on Linux");
        return None;
    }
    triple
}

/// Cargo with flags for the machine's own programs, but not for build scripts; `-Z` needs a word for a stable compiler.
fn sanitized(triple: &str, flags: &[&str]) -> Command {
    let mut cargo = cargo();
    cargo.env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    cargo.env("CARGO_TARGET_DIR", target().join("fuzz")).env("CARGO_BUILD_TARGET", triple);
    cargo
}

/// Runs each target for so many seconds, and prints what it did as figures.
fn campaign(targets: &[&'static str], seconds: u64) -> Result<(), Failed> {
    let Some(triple) = possible() else { return Ok(()) };
    let programs = target().join("fuzz").join(&triple).join("release");
    let rooms = Rooms { programs, base: target().join("fuzzing") };
    rooms.sweep()?;
    for home in HOMES.iter().filter(|home| home.targets.iter().any(|target| targets.contains(target))) {
        let mut build = sanitized(&triple, &FLAGS);
        let manifest = format!("{}/Cargo.toml", home.folder);
        process::run(build.args(["build", "--locked", "--release", "--manifest-path", &manifest]))?;
        process::run(Command::new(rooms.programs.join(home.seeds)).arg(rooms.seeds()).env("TMPDIR", rooms.scratch()))?;
    }
    if targets.iter().any(|target| MODELS.contains(target)) {
        let mut tests = cargo();
        tests.args(["test", "--locked", "--package", "releq", "--lib", "import", "--", "--quiet"]);
        process::run(tests.env("RELEQ_SEEDS", rooms.seeds()))?;
    }
    for targets in targets.chunks(ABREAST) {
        let children = targets.iter().map(|target| Ok((*target, rooms.start(target, seconds)?)));
        for (target, child) in children.collect::<Result<Vec<_>, Failed>>()? {
            rooms.end(target, child)?;
        }
    }
    Ok(())
}

/// Where programs, seeds, corpora, logs and findings lie.
struct Rooms {
    programs: PathBuf,
    base: PathBuf,
}

impl Rooms {
    fn seeds(&self) -> PathBuf {
        self.base.join("seeds")
    }

    /// Where targets put the files that their inputs become.
    fn scratch(&self) -> PathBuf {
        self.base.join("scratch")
    }

    /// Takes away what earlier targets left there.
    fn sweep(&self) -> Result<(), Failed> {
        let scratch = self.scratch();
        let cannot = |error| Failed::check(format!("cannot use {}: {error}", scratch.display()));
        match fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot(error)),
            _ => {}
        }
        fs::create_dir_all(&scratch).map_err(cannot)
    }

    fn log(&self, target: &str) -> PathBuf {
        self.base.join(format!("{target}.log"))
    }

    fn start(&self, target: &str, seconds: u64) -> Result<Child, Failed> {
        let corpus = self.base.join("corpus").join(target);
        let findings = self.base.join("findings");
        let cannot = |error| Failed::check(format!("cannot fuzz {target}: {error}"));
        fs::create_dir_all(&corpus).and_then(|()| fs::create_dir_all(&findings)).map_err(cannot)?;
        let mut fuzz = process::command(self.programs.join(target));
        fuzz.args([
            format!("-max_total_time={seconds}"),
            format!("-max_len={LONGEST}"),
            format!("-timeout={PATIENCE}"),
            format!("-rss_limit_mb={MEMORY}"),
        ]);
        fuzz.env("TMPDIR", self.scratch());
        fuzz.args(["-print_final_stats=1", &format!("-artifact_prefix={}/{target}-", findings.display())]);
        fuzz.arg(corpus).arg(self.seeds().join(target)).stdin(Stdio::null());
        eprintln!("$ {target} for {seconds} s");
        let log = File::create(self.log(target)).map_err(cannot)?;
        fuzz.stdout(Stdio::null()).stderr(log).spawn().map_err(cannot)
    }

    fn end(&self, target: &str, mut child: Child) -> Result<(), Failed> {
        let status = child.wait().map_err(|error| Failed::check(format!("lost {target}: {error}")))?;
        let log = fs::read_to_string(self.log(target)).unwrap_or_default();
        let log_path = self.log(target);
        if !status.success() {
            return Err(finding(target, &log, &log_path));
        }
        let [runs, edges] = counts(&log).ok_or_else(|| finding(target, &log, &log_path))?;
        eprintln!("{target}: nothing found");
        println!("figure: inputs of target {target} tried {runs}");
        println!("figure: edges of target {target} reached {edges}");
        Ok(())
    }
}

/// What libFuzzer says of a finding, and how it is seen again.
fn finding(target: &str, log: &str, path: &Path) -> Failed {
    let said = |line: &&str| ["panicked", "SUMMARY", "Test unit written"].iter().any(|word| line.contains(word));
    let said: Vec<&str> = log.lines().filter(said).collect();
    let path = path.strip_prefix(root()).unwrap_or(path).display();
    Failed::check(format!("{target} found something; {path} has all of it:\n{}", said.join("\n")))
}

/// Inputs tried and edges taken, of a log.
fn counts(log: &str) -> Option<[u64; 2]> {
    let after = |mark: &str| log.rsplit_once(mark)?.1.split_whitespace().next()?.parse().ok();
    Some([after("stat::number_of_executed_units:")?, after(" cov: ")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read() {
        let log = "#5\tINITED cov: 1969 ft: 3062 corp: 4\n#9\tDONE   cov: 3098 ft: 13669 corp: 846\n\
                   stat::number_of_executed_units: 5918\nstat::average_exec_per_sec:     227\n";
        assert_eq!(counts(log), Some([5918, 3098]));
        assert_eq!(counts("==1== ERROR"), None);
    }

    #[test]
    fn targets_are_those_of_the_manifests() {
        for Home { folder, targets, .. } in &HOMES {
            let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
            let listed =
                manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""));
            let mut listed: Vec<&str> = listed.collect();
            listed.sort_unstable();
            assert_eq!(listed, *targets);
        }
        assert!(named("images").is_err() && named("wire").is_ok_and(|found| found == "wire"));
        assert!(MODELS.iter().all(|target| named(target).is_ok()));
    }
}
