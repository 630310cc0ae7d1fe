//! `releq watch`: a search followed from outside, until it is done or nobody is at it any more.

mod tell;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use releq_report::read::{self, ReadError};
use releq_report::run::{Run, State};

use super::search::lock;
use super::{Failure, Outcome};
use crate::terminal;
use crate::train::interrupt::Interrupt;
use tell::{End, Teller};

/// Example: releq watch runs/lenet
#[derive(Debug, clap::Args)]
#[command(
    after_help = "On a terminal it redraws one screen; elsewhere it prints a line for each new measurement. It only reads: \
    Ctrl-C ends the watching and not the search. Exits with 0 when the search is done, and with 1 if no process is at it \
    and it is not.\n\n\
    Examples:\n  releq watch runs/lenet\n  releq watch runs/lenet --json | jq .best"
)]
pub(super) struct Arguments {
    /// The directory of a `releq search`, running or not
    run: PathBuf,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// How often files are looked at, and Ctrl-C.
const LOOK: Duration = Duration::from_millis(500);
const ASK: Duration = Duration::from_millis(50);

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let interrupt = Interrupt::watch();
    let mut files = Files::new(&arguments.run);
    let mut teller: Option<Teller> = None;
    loop {
        // Asked before the files are read: what a search wrote before it let go is then in them.
        let held = lock::is_held(&arguments.run);
        let run = files.read(held)?;
        let teller = match &mut teller {
            Some(teller) => teller,
            None => teller.insert(Teller::new(arguments.json, run, held)?),
        };
        if !held {
            let end = End::of(run);
            teller.end(run, end)?;
            return Ok(end != End::Stopped);
        }
        teller.tell(run)?;
        if terminal::has_hung_up() {
            return Ok(true);
        }
        let looked = Instant::now();
        while looked.elapsed() < LOOK {
            if interrupt.requested() {
                teller.leave();
                let run = arguments.run.display();
                let why =
                    format!("no longer watching {run}; its search goes on, and the same command watches it again");
                return Err(Failure::with_code(130, anyhow::anyhow!(why)));
            }
            std::thread::sleep(ASK);
        }
    }
}

impl End {
    /// How the search of `run` ended, now that nobody is at it.
    fn of(run: &Run) -> Self {
        match (run.state(), &run.later) {
            (State::Finished, None) => Self::Finished,
            (State::Raced, _) => Self::Raced,
            _ => Self::Stopped,
        }
    }
}

/// A run's files, read again when any of them has changed.
struct Files {
    directory: PathBuf,
    seen: Vec<Option<(u64, SystemTime)>>,
    run: Run,
}

impl Files {
    fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), seen: Vec::new(), run: Run::default() }
    }

    /// What they hold; nothing yet while a search that has just begun is at it.
    fn read(&mut self, held: bool) -> Result<&Run, ReadError> {
        let seen: Vec<_> = read::FILES.iter().map(|file| look(&self.directory.join(file))).collect();
        if self.seen != seen {
            self.run = match read::run(&self.directory) {
                Err(ReadError::NoRun { .. }) if held => {
                    Run { name: self.directory.display().to_string(), ..Run::default() }
                }
                run => run?,
            };
            self.seen = seen;
        }
        Ok(&self.run)
    }
}

/// Length and time of a file, which change when it is written.
fn look(path: &Path) -> Option<(u64, SystemTime)> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.len(), file.modified().ok()?))
}
