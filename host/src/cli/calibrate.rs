//! `releq calibrate`: what the pieces of each kernel cost on a board, fitted from its counts, and how well that predicts.

use std::path::{Path, PathBuf};

use releq_device::board::Board;
use releq_format::image::Image;
use releq_search::cost::{PackedSimd, Work};
use serde::Serialize;

use super::{Failure, Outcome, check_writable, open_image, print_json, read_image, write_whole};
use crate::cost::errors::{Errors, Verdict, compare};
use crate::cost::measure::{MeasureError, estimate, measure};
use crate::cost::{sample, table};
use crate::hardware::speed::Cycles;
use crate::target::lab::Lab;
use crate::terminal::{self, Progress, grouped, table as columns};

/// Example: releq calibrate --board virt-m4 -o calibration --check lenet.rlq
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq calibrate --board virt-m4 -o calibration --check lenet.rlq")]
pub(super) struct Arguments {
    /// Whose counts
    #[arg(long, value_name = "BOARD")]
    board: String,
    /// Random networks to measure, a few layers each
    #[arg(long, value_name = "N", default_value_t = 600)]
    samples: u64,
    /// Fit from this table instead of measuring
    #[arg(long, value_name = "FILE.csv")]
    from: Option<PathBuf>,
    /// Measure this image too, and say how far predictions are from it; it is not fitted on; may be given several times
    #[arg(long, value_name = "IMAGE.rlq")]
    check: Vec<PathBuf>,
    /// Compare with this table of counts instead, or as well
    #[arg(long, value_name = "FILE.csv")]
    check_table: Option<PathBuf>,
    /// Write BOARD.csv, BOARD.json and BOARD-checked.csv into this directory; what is there already is left alone, and
    /// the new files are called BOARD.new.*
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Fit the emulator's estimates of cycles instead of its counts of instructions, into BOARD-cycles.json alone
    #[arg(long, conflicts_with_all = ["from", "check_table"])]
    cycles: bool,
    /// Write over what is there
    #[arg(long)]
    replace: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Why there is nothing to fit.
#[derive(Debug, thiserror::Error)]
enum CalibrateError {
    #[error("cannot read {path}: {error}; check the path")]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("cannot use {path}: {error}")]
    Table { path: PathBuf, error: table::TableError },
    #[error("a sample network is refused: {0}; this is a defect of releq, please report it")]
    Refused(#[from] releq_format::image::ImageError),
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    board: &'static str,
    unit: &'static str,
    /// Where the table and the prices went.
    table: String,
    prices: String,
    /// On the layers that prices were fitted from.
    fitted: Verdict,
    /// On layers that they were not fitted from.
    checked: Option<Verdict>,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let board = super::run::board(&arguments.board)?;
    let files = Files::of(arguments, board);
    check_writable(&files.table)?;
    let lab = Lab::from_env();
    if arguments.cycles {
        return cycles(arguments, board, &lab);
    }
    let rows = match &arguments.from {
        Some(path) => read_table(path)?,
        None => sampled(board, &lab, arguments.samples)?,
    };
    let works: Vec<(Work, f64)> =
        rows.iter().map(|row| (row.layer.work(board.family), f64::from(row.instructions))).collect();
    let model = PackedSimd::fitted(board.name, works.iter().map(|(work, count)| (work, *count)));
    write_whole(&files.table, table::write(&rows).as_bytes())?;
    write_whole(&files.prices, (serde_json::to_string_pretty(&model)? + "\n").as_bytes())?;
    let checked = checked(arguments, board, &lab)?;
    if !arguments.check.is_empty() {
        write_whole(&files.checked, table::write(&checked).as_bytes())?;
    }
    let report = Report {
        schema: 1,
        board: board.name,
        unit: board.counter.unit().name(),
        table: files.table.display().to_string(),
        prices: files.prices.display().to_string(),
        fitted: compare(&rows, board.family, &model)?,
        checked: if checked.is_empty() { None } else { Some(compare(&checked, board.family, &model)?) },
    };
    if arguments.json {
        print_json(&report)?;
    } else {
        terminal::answer(&text(&report))?;
    }
    Ok(true)
}

/// Prices of cycles. Samples are the same as for instructions, and so is the fit; the table of estimates is not kept.
fn cycles(arguments: &Arguments, board: &'static Board, lab: &Lab) -> Outcome {
    let path = Files::of(arguments, board).cycles;
    let mut progress = Progress::new(board.name);
    let (mut model, mut rows, mut checked) = (None, Vec::new(), Vec::new());
    for (index, lowered) in sample::all(arguments.samples).enumerate() {
        let lowered = lowered?;
        let image = Image::open(&lowered.image).map_err(CalibrateError::Refused)?;
        let (named, found) = estimate(board, lab, &image).map_err(failure)?;
        (model, _) = (Some(named), rows.extend(found));
        progress.update(index + 1, sample::count(arguments.samples) as usize, "");
    }
    progress.finish();
    let works: Vec<(Work, f64)> =
        rows.iter().map(|row| (row.layer.work(board.family), f64::from(row.instructions))).collect();
    let prices = PackedSimd::fitted(board.name, works.iter().map(|(work, count)| (work, *count)));
    for path in &arguments.check {
        let bytes = read_image(path)?;
        let mut found = estimate(board, lab, &open_image(path, &bytes)?).map_err(failure)?.1;
        let name = network(path);
        found.iter_mut().for_each(|row| row.network.clone_from(&name));
        checked.extend(found);
    }
    let fitted = compare(&rows, board.family, &prices)?;
    let checked = if checked.is_empty() { None } else { Some(compare(&checked, board.family, &prices)?) };
    let cycles = Cycles {
        model: model.as_ref().map_or(String::new(), |model| model.name.clone()),
        band_percent: model.map_or(0, |model| model.band_percent),
        fitted: fitted.networks.clone(),
        checked: checked.as_ref().map(|checked| checked.networks.clone()),
        prices,
    };
    write_whole(&path, (serde_json::to_string_pretty(&cycles)? + "\n").as_bytes())?;
    let (table, prices) = ("not kept".to_owned(), path.display().to_string());
    let report = Report { schema: 1, board: board.name, unit: "cycles", table, prices, fitted, checked };
    if arguments.json {
        print_json(&report)?;
    } else {
        terminal::answer(&text(&report))?;
    }
    Ok(true)
}

/// Where results go: beside what is there, unless that may be replaced.
struct Files {
    table: PathBuf,
    prices: PathBuf,
    checked: PathBuf,
    cycles: PathBuf,
}

impl Files {
    fn of(arguments: &Arguments, board: &Board) -> Self {
        let at = |suffix: &str, extension: &str| {
            let path = |middle: &str| arguments.output.join(format!("{}{suffix}{middle}.{extension}", board.name));
            if !arguments.replace && path("").exists() { path(".new") } else { path("") }
        };
        Self {
            table: at("", "csv"),
            prices: at("", "json"),
            checked: at("-checked", "csv"),
            cycles: at("-cycles", "json"),
        }
    }
}

fn read_table(path: &Path) -> Result<Vec<table::Row>, CalibrateError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| CalibrateError::Unreadable { path: path.to_owned(), error })?;
    table::read(&text).map_err(|error| CalibrateError::Table { path: path.to_owned(), error })
}

fn sampled(board: &'static Board, lab: &Lab, samples: u64) -> Result<Vec<table::Row>, Failure> {
    let mut progress = Progress::new(board.name);
    let mut rows = Vec::new();
    for (index, lowered) in sample::all(samples).enumerate() {
        let lowered = lowered?;
        let image = Image::open(&lowered.image).map_err(CalibrateError::Refused)?;
        rows.extend(measure(board, lab, &image).map_err(failure)?);
        progress.update(index + 1, sample::count(samples) as usize, "");
    }
    progress.finish();
    Ok(rows)
}

/// Counts to compare with; a network goes by its file's name, since images of several plans share theirs.
fn checked(arguments: &Arguments, board: &'static Board, lab: &Lab) -> Result<Vec<table::Row>, Failure> {
    let mut rows = arguments.check_table.as_deref().map_or(Ok(Vec::new()), read_table)?;
    for path in &arguments.check {
        let bytes = read_image(path)?;
        let mut found = measure(board, lab, &open_image(path, &bytes)?).map_err(failure)?;
        let name = network(path);
        found.iter_mut().for_each(|row| row.network.clone_from(&name));
        rows.extend(found);
    }
    Ok(rows)
}

/// The name of a checked image's network: its file's.
fn network(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().replace(',', "_")).unwrap_or_default()
}

fn failure(error: MeasureError) -> Failure {
    let code = match &error {
        MeasureError::Fit(_) => 1,
        MeasureError::Target(error) => error.exit_code(),
        MeasureError::Inexact { .. } => 4,
        MeasureError::Lower(_) | MeasureError::Unrunnable(_) | MeasureError::NoCycles(_) => 2,
    };
    Failure::with_code(code, error)
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "{} layers of random networks, fitted on {}\n\n{}",
        report.fitted.layers.count,
        report.board,
        verdict(&report.fitted)
    );
    if let Some(checked) = &report.checked {
        let total = |(name, [counted, predicted]): (&String, &[f64; 2])| {
            let error = 100.0 * (predicted / counted - 1.0);
            vec![name.clone(), grouped(*counted as u64), grouped(predicted.round() as u64), format!("{error:+.2} %")]
        };
        let totals: Vec<Vec<String>> = checked.totals.iter().map(total).collect();
        text += &format!(
            "\n{} layers of networks that nothing was fitted on\n\n{}\n{}",
            checked.layers.count,
            verdict(checked),
            columns(&["network", "counted", "predicted", "error"], &totals)
        );
    }
    text + &format!("\ncounts → {}\nprices → {}\n", report.table, report.prices)
}

fn verdict(verdict: &Verdict) -> String {
    let row = |(name, errors): (&str, &Errors)| {
        let percent = |share: f64| format!("{:.2} %", 100.0 * share);
        vec![
            name.to_owned(),
            errors.count.to_string(),
            percent(errors.mean),
            percent(errors.worst),
            errors.worst_of.clone(),
        ]
    };
    let whole = [("all layers", &verdict.layers), ("whole networks", &verdict.networks)];
    let kernels = verdict.kernels.iter().map(|(kernel, errors)| (kernel.as_str(), errors));
    let rows: Vec<Vec<String>> = kernels.chain(whole).map(row).collect();
    columns(&["kernel", "count", "mean error", "worst", "of"], &rows)
}
