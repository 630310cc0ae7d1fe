//! `releq data verify`: whether what lies here is what was published.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::{Failure, Outcome, print_json};
use super::names;
use crate::data::held::{self, Checked, State};
use crate::data::published::{self, Published};
use crate::data::{self, DataError};
use crate::terminal::{self, grouped, table};

/// Example: releq data verify mnist
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Checksums are those of contents, so that packed and unpacked files count alike. Exits with 1 if \
    something differs or is missing, and with 2 if nothing is found.\n\n\
    Examples:\n  releq data verify\n  releq data verify cifar10\n  releq data verify datasets/mnist --json"
)]
pub(super) struct Arguments {
    /// mnist, cifar10 or fsdd, or a directory that holds one of them; by default all that are found
    #[arg(value_name = "NAME|DIR")]
    what: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    right: bool,
    datasets: Vec<Verdict>,
}

/// A set that was found.
#[derive(Serialize)]
struct Verdict {
    name: &'static str,
    directory: PathBuf,
    right: bool,
    parts: Vec<Part>,
}

/// A part of it.
#[derive(Serialize)]
struct Part {
    name: &'static str,
    path: Option<PathBuf>,
    #[serde(flatten)]
    state: State,
    expected_bytes: u64,
    expected_sha256: &'static str,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let found = found(arguments.what.as_deref())?;
    let datasets: Vec<Verdict> = found.into_iter().map(|(set, directory)| Verdict::of(set, directory)).collect();
    let right = datasets.iter().all(|set| set.right);
    if arguments.json {
        print_json(&Report { schema: 1, right, datasets })?;
    } else {
        terminal::answer(&datasets.iter().map(Verdict::text).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(right)
}

/// Sets, each with the directory that is meant; one at least.
fn found(what: Option<&str>) -> Result<Vec<(&'static Published, PathBuf)>, Failure> {
    let Some(what) = what else {
        let all = published::ALL.iter().filter_map(|set| Some((*set, data::directory_of(set).ok()?)));
        let all: Vec<_> = all.collect();
        if all.is_empty() {
            let none = "none of them is on this machine; bring one with `releq data fetch NAME`, or name its directory";
            return Err(Failure::with_code(
                2,
                anyhow::anyhow!("nothing to verify: releq knows {}, and {none}", names()),
            ));
        }
        return Ok(all);
    };
    if let Some(set) = published::named(what) {
        return Ok(vec![(set, data::directory_of(set)?)]);
    }
    let directory = Path::new(what);
    if !directory.is_dir() {
        return Err(Failure::with_code(
            2,
            anyhow::anyhow!(
                "nothing to verify: `{what}` is neither a directory nor a set that releq knows; name a directory, or {}",
                names()
            ),
        ));
    }
    match published::ALL.into_iter().find(|set| set.is_in(directory)) {
        Some(set) => Ok(vec![(set, directory.to_owned())]),
        None => Err(DataError::Unpublished { directory: directory.to_owned(), known: names() }.into()),
    }
}

impl Verdict {
    fn of(set: &'static Published, directory: PathBuf) -> Self {
        let part = |checked: Checked| Part {
            name: checked.part.name(),
            path: checked.path,
            state: checked.state,
            expected_bytes: checked.part.bytes,
            expected_sha256: checked.part.sha256,
        };
        let parts: Vec<Part> = held::check(set, &directory).into_iter().map(part).collect();
        let right = parts.iter().all(|part| part.state == State::Right);
        Self { name: set.name, directory, right, parts }
    }

    fn text(&self) -> String {
        let row = |part: &Part| {
            let (bytes, verdict) = match &part.state {
                State::Right => (grouped(part.expected_bytes), "right"),
                State::Differs(found) => (grouped(found.bytes), "DIFFERS"),
                State::Damaged { .. } => ("-".to_owned(), "DAMAGED"),
                State::Missing => ("-".to_owned(), "MISSING"),
            };
            vec![part.name.to_owned(), bytes, verdict.to_owned()]
        };
        let rows: Vec<Vec<String>> = self.parts.iter().map(row).collect();
        let wrong: String = self.parts.iter().filter_map(Part::wrong).collect();
        let advice = match self.right {
            true => String::new(),
            false => format!("`releq data fetch {}` brings what was published\n", self.name),
        };
        format!("{}  {}\n{}{wrong}{advice}", self.name, self.directory.display(), table(&["part", "bytes", ""], &rows))
    }
}

impl Part {
    /// What is wrong with it, if that takes more than a word.
    fn wrong(&self) -> Option<String> {
        match &self.state {
            State::Differs(found) => Some(format!(
                "{} has SHA-256 {} in {} bytes, not {} in {}\n",
                self.name,
                found.sha256,
                grouped(found.bytes),
                self.expected_sha256,
                grouped(self.expected_bytes)
            )),
            State::Damaged { why } => Some(format!("{} cannot be read: {why}\n", self.name)),
            State::Right | State::Missing => None,
        }
    }
}
