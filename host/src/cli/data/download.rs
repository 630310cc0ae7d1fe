//! `releq data fetch` with a network.

use std::ops::ControlFlow;
use std::path::PathBuf;

use serde::Serialize;

use super::super::{Failure, Outcome, print_json};
use super::fetch::Arguments;
use super::named;
use crate::data;
use crate::data::fetch::{Fetched, Patience, Step, fetch};
use crate::data::published::Published;
use crate::terminal::{self, Progress, grouped};
use crate::train::interrupt::Interrupt;

#[derive(Serialize)]
struct Report {
    schema: u32,
    name: &'static str,
    directory: PathBuf,
    files: Vec<File>,
}

/// A file that is here now.
#[derive(Serialize)]
struct File {
    name: &'static str,
    /// Whether it was here before.
    present: bool,
    /// Bytes as it was sent.
    bytes: Option<u64>,
    /// Bytes that had come before.
    resumed_at: u64,
    from: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let set = named(&arguments.name)?;
    let directory = home(arguments, set)?;
    let interrupt = Interrupt::watch();
    let mut progress = Progress::bytes("fetching");
    let mut watch = |step: Step| {
        progress.update(step.got as usize, step.of.unwrap_or(step.got) as usize, step.file);
        if interrupt.requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let fetched = fetch(set, &directory, arguments.from.as_deref(), Patience::default(), &mut watch);
    progress.finish();
    let fetched = fetched.map_err(|error| Failure::with_code(if error.is_interruption() { 130 } else { 2 }, error))?;
    let report = Report { schema: 1, name: set.name, directory, files: fetched.into_iter().map(File::of).collect() };
    if arguments.json {
        print_json(&report)?;
    } else {
        terminal::answer(&report.text())?;
    }
    if data::directory_of(set).ok().as_deref() != Some(&*report.directory) {
        terminal::note(&format!("verbs look elsewhere first: name {} with --data", report.directory.display()));
    }
    Ok(true)
}

/// The directory that was named, or where it lies or would be found.
fn home(arguments: &Arguments, set: &Published) -> Result<PathBuf, Failure> {
    let named = arguments.to.as_ref().map(|to| to.join(set.name));
    let home = named.or_else(|| data::directory_of(set).ok()).or_else(|| data::new_home(set));
    home.ok_or_else(|| {
        let why = "neither RELEQ_DATA nor HOME is set";
        Failure::with_code(2, anyhow::anyhow!("nowhere to put {}: {why}; name a directory with --to", set.name))
    })
}

impl File {
    fn of(fetched: Fetched) -> Self {
        let Fetched { name, from, resumed_at, bytes } = fetched;
        Self { name, present: bytes.is_none(), bytes, resumed_at, from }
    }

    fn text(&self) -> String {
        let how = match (&self.from, self.resumed_at) {
            _ if self.present => "is here already".to_owned(),
            (None, _) => "had come before".to_owned(),
            (Some(from), 0) => format!("from {from}"),
            (Some(from), start) => format!("from {from}, from byte {} on", grouped(start)),
        };
        let bytes = self.bytes.map_or_else(|| "-".to_owned(), grouped);
        format!("{:<26}  {bytes:>11}  {how}\n", self.name)
    }
}

impl Report {
    fn text(&self) -> String {
        let files: String = self.files.iter().map(File::text).collect();
        format!("{}  {}, checked\n{files}", self.name, self.directory.display())
    }
}
