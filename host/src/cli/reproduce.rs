//! `releq reproduce`: the paper's table of results, from float weights to hardware, one resumable command a step.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Failure, FileError, Outcome, check_writable, print_json, write_whole};
use crate::data::{self, Source};
use crate::reproduce::entry::{ENTRIES, Entry, QUICK, Source as Weights};
use crate::reproduce::row::{self, HEADS, Row, cells, row};
use crate::reproduce::steps::{Step, steps};
use crate::target::lab::Lab;
use crate::terminal::{self, table};
use crate::train::interrupt::Interrupt;

/// Example: releq reproduce --only lenet,simplenet -o reproduced
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq reproduce --only lenet,simplenet -o reproduced\n\n\
    All seven networks take many hours on two cores. The same command goes on where it was stopped.")]
pub(super) struct Arguments {
    /// LeNet alone, hardly trained and hardly searched: to see in minutes that the whole way works
    #[arg(long, conflicts_with = "only")]
    quick: bool,
    /// These networks only: lenet, simplenet, resnet20, mobilenetv1-0.5, svhn10, vgg11, alexnet
    #[arg(long, value_name = "NETWORK,...", value_delimiter = ',', value_parser = known)]
    only: Vec<&'static Entry>,
    /// Stop after this many minutes; what is not done by then is marked unfinished
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// Directory of all that is made; the same command resumes from it
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn known(name: &str) -> Result<&'static Entry, String> {
    let names = || ENTRIES.map(|entry| entry.network).join(", ");
    ENTRIES.iter().find(|entry| entry.network == name).ok_or_else(|| format!("the networks are {}", names()))
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    version: &'static str,
    quick: bool,
    rows: &'a [Row],
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let entries: Vec<&Entry> = match (arguments.quick, arguments.only.as_slice()) {
        (true, _) => QUICK.iter().collect(),
        (false, []) => ENTRIES.iter().collect(),
        (false, only) => only.to_vec(),
    };
    let report = arguments.output.join("reproduced.json");
    std::fs::create_dir_all(&arguments.output)
        .map_err(|error| FileError::Unwritable { path: arguments.output.clone(), error })?;
    check_writable(&report)?;
    let patience = Patience::new(arguments.minutes);
    let lab = Lab::from_env();
    let mut rows = Vec::new();
    for entry in entries {
        let source = source(entry, arguments.quick)?;
        make(entry, &source, &arguments.output, &patience)?;
        rows.push(row(entry, &arguments.output, source.name(), &lab)?);
        // Whole after each network, so that a table is there whenever it ends.
        let told = Report { schema: 1, version: env!("CARGO_PKG_VERSION"), quick: arguments.quick, rows: &rows };
        write_whole(&report, (serde_json::to_string_pretty(&told)? + "\n").as_bytes())?;
    }
    if arguments.json {
        print_json(&Report { schema: 1, version: env!("CARGO_PKG_VERSION"), quick: arguments.quick, rows: &rows })?;
    } else {
        terminal::answer(&text(&rows, &report))?;
    }
    if patience.interrupted() {
        return Err(Failure::with_code(
            130,
            anyhow::anyhow!("interrupted; nothing that was done is lost; run the same command to go on"),
        ));
    }
    Ok(rows.iter().all(|row| row.unfinished.is_none()))
}

/// The set of an entry; for the quick form whatever set of its shape there is, drawn digits if need be.
fn source(entry: &Entry, quick: bool) -> Result<Source, Failure> {
    match data::locate(Some(entry.data), None) {
        Err(_) if quick => {
            terminal::note("using glyphs, digits drawn by releq itself: a synthetic set, no benchmark");
            Ok(data::locate(Some("glyphs"), None)?)
        }
        found => Ok(found?),
    }
}

/// Does what is not yet done for `entry`, as long as there is time.
fn make(entry: &Entry, source: &Source, output: &Path, patience: &Patience) -> Result<(), Failure> {
    let models = source.directory().and_then(Path::parent).unwrap_or(Path::new(".")).join("models");
    let directory = output.join(entry.network);
    std::fs::create_dir_all(&directory).map_err(|error| FileError::Unwritable { path: directory.clone(), error })?;
    for step in steps(entry, output, source.name(), &models) {
        if step.is_done() {
            continue;
        }
        if patience.is_over() {
            return Ok(());
        }
        if let (Weights::Imported { file, .. }, "import") = (entry.source, step.what)
            && !models.join(file).is_file()
        {
            return Err(Failure::with_code(
                2,
                anyhow::anyhow!(
                    "the weights of {} are not there: looked for {}; put them there, or leave the network out with --only",
                    entry.network,
                    models.join(file).display()
                ),
            ));
        }
        terminal::say(&format!("$ {}", step.typed()));
        finish(&step, patience)?;
    }
    Ok(())
}

/// How often a step that runs is looked after.
const GLANCE: Duration = Duration::from_millis(100);

/// Runs one step to its end, or to the end of patience; then it is killed, which no step of ours minds.
fn finish(step: &Step, patience: &Patience) -> Result<(), Failure> {
    let program = std::env::current_exe()?;
    let mut child = Command::new(program).args(&step.arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if patience.is_over() {
            return Ok(stop(&mut child)?);
        }
        thread::sleep(GLANCE);
    };
    // A search that finds no plan within the loss has still ended, and its row says so.
    match status.code() {
        Some(0 | 1) if step.is_done() => Ok(()),
        Some(130) => Ok(()),
        code => Err(Failure::with_code(
            2,
            anyhow::anyhow!(
                "`{}` ended with {}; what it said is above; put that right and run the same command to go on",
                step.typed(),
                code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"))
            ),
        )),
    }
}

fn stop(child: &mut Child) -> std::io::Result<()> {
    child.kill()?;
    child.wait().map(drop)
}

/// How long there is.
struct Patience {
    started: Instant,
    minutes: Option<f64>,
    interrupt: Interrupt,
}

impl Patience {
    fn new(minutes: Option<f64>) -> Self {
        Self { started: Instant::now(), minutes, interrupt: Interrupt::watch() }
    }

    fn interrupted(&self) -> bool {
        self.interrupt.requested()
    }

    fn is_over(&self) -> bool {
        let spent = self.started.elapsed().as_secs_f64() / 60.0;
        self.interrupted() || self.minutes.is_some_and(|minutes| spent >= minutes)
    }
}

fn text(rows: &[Row], report: &Path) -> String {
    let lines: Vec<Vec<String>> = rows.iter().flat_map(cells).map(|cells| cells.to_vec()).collect();
    let mut text = table(&HEADS, &lines);
    if let Some(means) = row::means(rows) {
        text += &format!("\n{means}\n");
    }
    for row in rows {
        if let Some(differs) = row.differs {
            text += &format!("{}: {differs}\n", row.network);
        }
    }
    if rows.iter().any(|row| row.ours.as_ref().is_some_and(|ours| ours.synthetic)) {
        text += "accuracy is of digits that releq drew itself: no benchmark\n";
    }
    text += &format!(
        "CPU, accelerator, energy, Cortex-M4: gain over 8-bit weights; activations have 8 bits   → {}\n",
        report.display()
    );
    text
}
