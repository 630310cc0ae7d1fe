//! `releq flash`: an image onto a board, and the runner where none of this version answers.

#[cfg(feature = "probe")]
mod wired;

use std::path::PathBuf;
use std::time::Instant;

use releq_device::board::{Board, Reach, Writing};
use releq_format::image::Image;
use releq_format::wire::PROTOCOL;
use serde::Serialize;

use super::probe::ProbeOption;
use super::run::{self, failure};
use super::{Failure, Outcome, open_image, print_json, read_image};
use crate::target::fit::check_fit;
use crate::terminal::{self, Progress, grouped};

/// Example: releq flash lenet.rlq --board nucleo-f446re
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It erases only sectors that hold other bytes, and reads them back. A board that is up to date is left \
    running.\n\nExamples:\n  releq flash lenet.rlq --board nucleo-f446re --dry-run\n  releq flash lenet.rlq --board nucleo-f446re"
)]
pub(super) struct Arguments {
    /// An image from `releq quantize` or `releq export`
    image: PathBuf,
    /// Onto which board
    #[arg(long, value_name = "BOARD")]
    board: String,
    /// Say what would be erased and written, and do neither
    #[arg(long)]
    dry_run: bool,
    /// Write the runner even if one of this version answers
    #[arg(long)]
    force: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    probe: ProbeOption,
}

/// What was done, or would be.
#[derive(Serialize)]
struct Report {
    schema: u32,
    file: String,
    board: &'static str,
    dry_run: bool,
    /// Version of the runner that answered; none where nothing was asked.
    runner_version: Option<String>,
    protocol: u16,
    /// None where nothing of it is to be written.
    runner: Option<Part>,
    model_address: String,
    model_bytes: usize,
    model_crc: String,
    /// As `runner`.
    model: Option<Part>,
    /// Whether the image's self-test passed on the board; none where it was not run.
    self_test: Option<bool>,
    seconds: f64,
}

/// What is erased and written of the runner or of the image.
#[derive(Clone, Copy, Serialize)]
struct Part {
    sectors_erased: usize,
    sectors_unchanged: usize,
    bytes_written: u64,
}

impl Report {
    fn new(arguments: &Arguments, board: &'static Board, image: &Image<'_>) -> Self {
        Self {
            schema: 1,
            file: arguments.image.display().to_string(),
            board: board.name,
            dry_run: arguments.dry_run,
            runner_version: None,
            protocol: PROTOCOL,
            runner: None,
            model_address: format!("{:#010x}", board.model.origin),
            model_bytes: image.len(),
            model_crc: format!("{:08x}", image.crc()),
            model: None,
            self_test: None,
            seconds: 0.0,
        }
    }

    /// `162 688 bytes at 0x08040000`.
    fn place(&self) -> String {
        format!("{} bytes at {}", grouped(self.model_bytes as u64), self.model_address)
    }
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let board = run::board(&arguments.board)?;
    let bytes = read_image(&arguments.image)?;
    let image = open_image(&arguments.image, &bytes)?;
    check_fit(board, &image).map_err(|error| Failure::with_code(1, error))?;
    if let Some(port) = arguments.probe.serial() {
        return Err(Failure::with_code(
            2,
            anyhow::anyhow!(
                "nothing is flashed over {port}: a UART writes no flash, and `releq run --serial {port}` runs what lies there; \
                 use a debug probe, without --serial, or your own programmer at {:#010x}",
                board.model.origin
            ),
        ));
    }
    let started = Instant::now();
    let mut report = Report::new(arguments, board, &image);
    let text = match board.reach {
        Reach::Qemu { .. } => emulated(arguments, board, &image, &mut report)?,
        #[cfg(feature = "probe")]
        Reach::Probe { .. } => wired::flash(arguments, board, &image, &mut report)?,
        #[cfg(not(feature = "probe"))]
        Reach::Probe { .. } => return Err(failure(crate::target::TargetError::Unprobed { board: board.name })),
    };
    report.seconds = started.elapsed().as_secs_f64();
    if arguments.json {
        print_json(&report)?;
    } else {
        terminal::answer(&text)?;
    }
    Ok(true)
}

/// Nothing stays on an emulated board, but everything is tried: the protocol, the runner, the image's self-test.
fn emulated(
    arguments: &Arguments,
    board: &'static Board,
    image: &Image<'_>,
    report: &mut Report,
) -> Result<String, Failure> {
    let how = match board.model_writing {
        Writing::Ram => "over the protocol",
        Writing::Loader | Writing::Flash { .. } => "by the emulator",
    };
    if arguments.dry_run {
        return Ok(format!("{}: would load {} {how}, and erase nothing\n", board.name, report.place()));
    }
    let started = Instant::now();
    let mut progress = Progress::new(board.name);
    let mut watch = |done| progress.update(done, image.len(), "bytes");
    let session = arguments.probe.lab().load(board, image, &mut watch).map_err(failure)?;
    let seconds = started.elapsed().as_secs_f64();
    progress.finish();
    let version = &session.greeting().version;
    let text = format!(
        "{}  runner {version} (protocol {PROTOCOL})\nmodel  {}, loaded {how} in {seconds:.1} s, checked, self-test passed\n",
        board.name,
        report.place()
    );
    report.runner_version = Some(version.clone());
    report.model = Some(Part { sectors_erased: 0, sectors_unchanged: 0, bytes_written: image.len() as u64 });
    report.self_test = Some(true);
    terminal::note(&format!(
        "{} is emulated and forgets it now; `releq run` and `releq bench` load what they run",
        board.name
    ));
    Ok(text)
}
