//! The `releq` command: what was typed becomes one verb's call, and its outcome an exit code.
//!
//! Exit codes: 0 done; 1 the answer is no; 2 it could not be done; 3 no such board, probe or emulator; 4 the target
//! misbehaved; 130 interrupted.

mod bench;
mod board;
mod budget;
mod calibrate;
mod config;
mod cost;
mod data;
mod doctor;
mod eval;
mod export;
mod flash;
mod import;
mod inspect;
mod keygen;
mod manual;
mod monitor;
mod probe;
mod ptq;
mod quantize;
mod replay;
mod report;
mod reproduce;
mod run;
mod search;
mod sign;
mod train;
mod verify;
mod watch;
mod why;
mod worker;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use releq_format::image::{Image, ImageBuffer};

use crate::data::{DataError, Source};
use crate::terminal::Voice;
use crate::train::device::{self, Choice};
use crate::train::fit::FitError;
use crate::{checkpoint, terminal, whole};

/// Takes trained networks to microcontrollers at fewer than eight bits.
///
/// Answers go to standard output, everything else to standard error. Exit codes: 0 done; 1 the answer is no; 2 it could not
/// be done; 3 no such board, probe or emulator; 4 the board misbehaved; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "releq", version, max_term_width = 100)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    tone: Tone,
}

/// How much is said, and how.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Everywhere")]
struct Tone {
    /// Say nothing but answers and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Also say which files, programs and probes are used, and what a search is at
    #[arg(short, long, global = true)]
    verbose: bool,
    /// When to colour what is said
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: clap::ColorChoice,
    /// A set of options by its name: what [profile.NAME] of releq.toml says holds, too [also: RELEQ_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
}

impl Tone {
    fn set(&self) {
        terminal::set_voice(match (self.quiet, self.verbose) {
            (true, _) => Voice::Quiet,
            (_, true) => Voice::Verbose,
            _ => Voice::Usual,
        });
        match self.color {
            clap::ColorChoice::Auto => {}
            clap::ColorChoice::Always => anstream::ColorChoice::Always.write_global(),
            clap::ColorChoice::Never => anstream::ColorChoice::Never.write_global(),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Train a network of the zoo from nothing.
    Train(train::Arguments),
    /// Read a trained network or its weights from another tool's file and print its layers.
    Import(import::Arguments),
    /// Count the test images that a float model or an image gets right.
    Eval(eval::Arguments),
    /// Give each layer its bits without training, and write the image.
    Ptq(ptq::Arguments),
    /// Give each layer its bits, fine-tune, and write the image.
    Quantize(quantize::Arguments),
    /// Find the cheapest bits for every layer that keep the accuracy.
    Search(search::Arguments),
    /// Follow a search while it runs.
    Watch(watch::Arguments),
    /// Measure plans for a search in another process, here or on another machine.
    Worker(worker::Arguments),
    /// Write the image of a point on a finished search's front.
    Export(export::Arguments),
    /// Say what one bit more or less of each layer would cost or save.
    Why(why::Arguments),
    /// Show what a search did, as one page that opens offline and in the terminal.
    Report(report::Arguments),
    /// Say where the published sets are, download them, and check them.
    Data(data::Arguments),
    /// Say which boards there are, and what is known of each.
    Board(board::Arguments),
    /// Put an image on a board, and the runner where it is needed, and check it there.
    Flash(flash::Arguments),
    /// Run an image over test images, here or on a board.
    Run(run::Arguments),
    /// Print what a board's firmware says.
    Monitor(monitor::Arguments),
    /// Time images on a board, or measure what its kernels cost.
    Bench(bench::Arguments),
    /// Predict what each layer costs on a board at each width.
    Cost(cost::Arguments),
    /// Fit the prices that predictions are made of from a board's own counts.
    Calibrate(calibrate::Arguments),
    /// Race searchers on a recorded table of accuracies.
    Replay(replay::Arguments),
    /// Make the paper's table of results anew.
    Reproduce(reproduce::Arguments),
    /// Say what each verb needs, whether it is here, and how to get it.
    Doctor(doctor::Arguments),
    /// Print what releq.toml and the environment set, or a file to start from.
    Config(config::Arguments),
    /// Print what an image or a model holds.
    Inspect(inspect::Arguments),
    /// Make a pair of keys for signed images.
    Keygen(keygen::Arguments),
    /// Sign an image.
    Sign(sign::Arguments),
    /// Say whether one of these keys has signed an image.
    Verify(verify::Arguments),
    /// Print the completions of a shell.
    #[command(hide = true)]
    Completions(manual::Completions),
    /// Print the manual page, or write those of all verbs.
    #[command(hide = true)]
    Man(manual::Pages),
}

/// Which images to use.
#[derive(Debug, clap::Args)]
struct DataOption {
    /// mnist, cifar10, fsdd (spoken digits), glyphs or noise (drawn here, synthetic) or a directory; by default the first
    /// of images found
    #[arg(long, value_name = "SET")]
    data: Option<String>,
}

impl DataOption {
    fn locate(&self) -> Result<Source, DataError> {
        let source = crate::data::locate(self.data.as_deref(), None)?;
        if !source.labelled() {
            terminal::note("using noise, waves drawn by releq itself: good for ranges, never for accuracy");
        } else if source.synthetic() {
            terminal::note("using glyphs, digits drawn by releq itself: a synthetic set, no benchmark");
        }
        Ok(source)
    }

    /// [`DataOption::locate`], for a network that takes `shape`.
    fn locate_for(&self, shape: [usize; 3]) -> Result<Source, DataError> {
        Ok(self.locate()?.shaped(shape))
    }
}

/// Where training computes.
#[derive(Debug, clap::Args)]
struct DeviceOption {
    /// Train on cpu, cuda or metal (cuda:1 is the second); the last two need a releq built with that feature
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: Choice,
}

impl DeviceOption {
    /// Chooses it for the whole process.
    fn choose(&self) -> Result<(), Failure> {
        device::choose(self.device).map_err(|error| Failure::with_code(3, error))
    }
}

/// What ended a verb early, with the exit code it means.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
}

/// The outcome of a verb: whether the answer is yes.
type Outcome = Result<bool, Failure>;

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { code: 2, error: error.into() }
    }
}

impl Failure {
    fn with_code(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into() }
    }
}

/// Every verb and option, for whoever renders or checks them.
pub fn command() -> clap::Command {
    Command::command()
}

/// Parses the command line and runs it.
pub fn main() -> ExitCode {
    match typed() {
        Ok((command, verb)) => exit(done(&command, &verb)),
        Err(failure) => exit(Err(failure)),
    }
}

/// What was typed, with the settings behind it; and every verb there is.
fn typed() -> Result<(clap::Command, Verb), Failure> {
    let command = config::armed(Command::command())?;
    let typed = command.clone().try_get_matches().and_then(|matches| Command::from_arg_matches(&matches));
    match typed {
        Ok(Command { verb, tone }) => {
            tone.set();
            Ok((command, verb))
        }
        Err(error) => {
            let _ = error.print();
            let sources = config::sources();
            if !sources.is_empty() && matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
                terminal::note(&format!("settings are also read from {}", sources.join(", ")));
            }
            std::process::exit(error.exit_code())
        }
    }
}

fn done(command: &clap::Command, verb: &Verb) -> Outcome {
    match verb {
        Verb::Train(arguments) => train::run(arguments),
        Verb::Import(arguments) => import::run(arguments),
        Verb::Eval(arguments) => eval::run(arguments),
        Verb::Ptq(arguments) => ptq::run(arguments),
        Verb::Quantize(arguments) => quantize::run(arguments),
        Verb::Search(arguments) => search::run(arguments),
        Verb::Watch(arguments) => watch::run(arguments),
        Verb::Worker(arguments) => worker::run(arguments),
        Verb::Export(arguments) => export::run(arguments),
        Verb::Why(arguments) => why::run(arguments),
        Verb::Report(arguments) => report::run(arguments),
        Verb::Data(arguments) => data::run(arguments),
        Verb::Flash(arguments) => flash::run(arguments),
        Verb::Monitor(arguments) => monitor::run(arguments),
        Verb::Run(arguments) => run::run(arguments),
        Verb::Bench(arguments) => bench::run(arguments),
        Verb::Board(arguments) => board::run(arguments),
        Verb::Cost(arguments) => cost::run(arguments),
        Verb::Calibrate(arguments) => calibrate::run(arguments),
        Verb::Replay(arguments) => replay::run(arguments),
        Verb::Reproduce(arguments) => reproduce::run(arguments),
        Verb::Config(arguments) => config::run(arguments, command),
        Verb::Completions(arguments) => manual::complete(arguments),
        Verb::Man(arguments) => manual::pages(arguments),
        Verb::Doctor(arguments) => doctor::run(arguments),
        Verb::Inspect(arguments) => inspect::run(arguments),
        Verb::Keygen(arguments) => keygen::run(arguments),
        Verb::Sign(arguments) => sign::run(arguments),
        Verb::Verify(arguments) => verify::run(arguments),
    }
}

fn exit(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(Failure { code, error }) => {
            terminal::error(&error.to_string());
            ExitCode::from(code)
        }
    }
}

/// A file that could not be used.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("cannot read {path}: {error}; check the path")]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("cannot write {path}: {error}; nothing was changed; choose another -o or free some space")]
    Unwritable { path: PathBuf, error: std::io::Error },
    #[error("cannot use {path} as an image: {error}; make it again with `releq quantize`")]
    Image { path: PathBuf, error: releq_format::image::ImageError },
    #[error("{path} is a model, not an image: it has no bit-widths yet; give it some with `releq quantize {path}`")]
    Model { path: PathBuf },
}

/// Reads an image file.
fn read_image(path: &Path) -> Result<ImageBuffer, FileError> {
    let unreadable = |error| FileError::Unreadable { path: path.to_owned(), error };
    if is_model(path) && path.exists() {
        return Err(FileError::Model { path: path.to_owned() });
    }
    Ok(ImageBuffer::from(&std::fs::read(path).map_err(unreadable)?[..]))
}

/// Checks an image's bytes; `path` is for the message.
fn open_image<'a>(path: &Path, bytes: &'a [u8]) -> Result<Image<'a>, FileError> {
    Image::open(bytes).map_err(|error| FileError::Image { path: path.to_owned(), error })
}

/// Whether the file is a float model: by its name, or by its content where that says TFLite.
fn is_model(path: &Path) -> bool {
    let named = path.extension().is_some_and(|name| name == "onnx" || name == "safetensors" || name == "tflite");
    named || crate::import::is_tflite(path)
}

/// Loads a float model and says what import noted.
fn load_model(path: &Path) -> Result<crate::network::Network, checkpoint::CheckpointError> {
    let (network, notes) = checkpoint::load_noted(path)?;
    notes.iter().for_each(|note| terminal::note(note));
    Ok(network)
}

/// Output is written once at the end; a path that cannot be written should not cost the minutes before.
fn check_writable(path: &Path) -> Result<(), FileError> {
    whole::check_writable(path).map_err(|error| FileError::Unwritable { path: path.to_owned(), error })
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    whole::write(path, bytes).map_err(|error| FileError::Unwritable { path: path.to_owned(), error })
}

/// Files that belong together: all of them, or none.
fn write_together(files: &[(&Path, &[u8])]) -> Result<(), FileError> {
    let refused = |(path, error): (&Path, std::io::Error)| FileError::Unwritable { path: path.to_owned(), error };
    whole::write_together(files).map_err(refused)
}

/// An interruption has its own exit code.
fn fit_failure(error: FitError) -> Failure {
    let code = if matches!(error, FitError::Interrupted) { 130 } else { 2 };
    Failure::with_code(code, error)
}

/// One JSON document as text.
fn json(document: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(document)? + "\n")
}

/// Prints one JSON document.
fn print_json(document: &impl serde::Serialize) -> Result<(), Failure> {
    Ok(terminal::answer(&json(document)?)?)
}
