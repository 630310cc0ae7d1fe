//! Mutation testing: changes the arithmetic that everything else stands on, one token at a time, and looks whether a test
//! notices. By cargo-mutants, where that is installed.
//!
//! Changes that change nothing are listed in `.cargo/mutants.toml`, each with its reason; any other survivor is a failure.

use std::fs;
use std::path::Path;

use crate::process::{Failed, cargo, succeeds, target};

/// Files whose every mutant is to be noticed by the tests of their own package.
struct Room {
    name: &'static str,
    package: &'static str,
    files: &'static [&'static str],
    /// What they are built with.
    features: &'static [&'static str],
    /// What `cargo test` is told.
    tests: &'static [&'static str],
}

const ROOMS: [Room; 3] = [
    Room {
        name: "format",
        package: "releq-format",
        files: &["format/src/quant.rs", "format/src/pack.rs"],
        features: &["--features", "alloc"],
        tests: &[],
    },
    Room {
        name: "search",
        package: "releq-search",
        files: &["search/src/reward.rs", "search/src/budget.rs"],
        // Without Candle, which would be linked anew each time.
        features: &["--no-default-features"],
        tests: &["--lib", "--", "reward::", "budget::"],
    },
    Room {
        name: "agent",
        package: "releq-search",
        files: &["search/src/agent/gae.rs"],
        features: &[],
        tests: &["--lib", "--", "gae::"],
    },
];

/// What becomes of a mutant, and the file of cargo-mutants that lists them.
const NOTICED: [(&str, &str); 3] =
    [("caught", "caught.txt"), ("that never end", "timeout.txt"), ("that do not compile", "unviable.txt")];
const MISSED: &str = "missed.txt";

/// `cargo xtask mutants [ROOM...]`: prints what became of the mutants as figures, and fails where one survives.
pub(crate) fn run(names: &[&str]) -> Result<(), Failed> {
    if let Some(unknown) = names.iter().find(|name| ROOMS.iter().all(|room| room.name != **name)) {
        let known = ROOMS.map(|room| room.name).join(" ");
        return Err(Failed::usage(format!("there is no room `{unknown}`; the rooms are {known}")));
    }
    if !succeeds(cargo().args(["mutants", "--version"])) {
        return Err(Failed::check("cargo-mutants is not installed; `cargo install --locked cargo-mutants` brings it"));
    }
    for room in ROOMS.iter().filter(|room| names.is_empty() || names.contains(&room.name)) {
        let survivors = room.survivors()?;
        if !survivors.is_empty() {
            return Err(Failed::check(format!(
                "no test notices these; write one, or say in .cargo/mutants.toml why they are the same:\n{}",
                survivors.join("\n")
            )));
        }
    }
    Ok(())
}

impl Room {
    /// The mutants that no test notices.
    fn survivors(&self) -> Result<Vec<String>, Failed> {
        let home = target().join("mutants").join(self.name);
        fs::create_dir_all(&home).map_err(|error| Failed::check(format!("cannot make {}: {error}", home.display())))?;
        let mut mutants = cargo();
        // One build directory for all of them, so that dependencies are compiled once.
        mutants.env("CARGO_TARGET_DIR", target().join("mutants").join("build"));
        mutants.args(["mutants", "--package", self.package, "--jobs", "1", "--no-times", "--output"]).arg(&home);
        mutants
            .args(self.files.iter().flat_map(|file| ["--file", file]))
            .args(self.features)
            .arg("--")
            .args(self.tests);
        // 0: all noticed; 2: survivors; 3: some never end. Anything else is a run that did not come to its end.
        let code = mutants.status().ok().and_then(|status| status.code());
        if !matches!(code, Some(0 | 2 | 3)) {
            return Err(Failed::check(format!(
                "cargo-mutants did not finish `{}`; what it printed says why, and its logs are in {}",
                self.name,
                home.display()
            )));
        }
        let out = home.join("mutants.out");
        let counts = NOTICED.map(|(what, file)| (what, listed(&out, file).len()));
        let missed = listed(&out, MISSED);
        for (what, count) in counts {
            println!("figure: mutants of {} {what} {count}", self.name);
        }
        Ok(missed)
    }
}

/// The mutants that cargo-mutants lists in one of its files.
fn listed(out: &Path, file: &str) -> Vec<String> {
    let text = fs::read_to_string(out.join(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_of_files_that_are_there() {
        for room in &ROOMS {
            assert!(room.files.iter().all(|file| crate::process::root().join(file).is_file()), "{}", room.name);
        }
        assert!(run(&["formats"]).is_err_and(|failed| failed.code() == 2));
    }
}
