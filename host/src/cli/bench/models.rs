//! `releq bench MODEL…`: whole images on a board, timed over many runs and set side by side.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use releq_device::board::Board;
use serde::Serialize;

use super::super::board::heading;
use super::super::{Failure, Outcome, open_image, print_json, read_image, run};
use super::{Arguments, failure};
use crate::bench::energy::{self, Energy};
use crate::bench::model::{Basis, LayerTiming, Timing, time};
use crate::target::marks::Model;
use crate::terminal::{self, Progress, grouped, table};
use crate::whole;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Runs of each image, beside the first one
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000),
          conflicts_with = "suite", help_heading = "Images")]
    runs: u32,
    /// Count the first run too, whose caches are cold
    #[arg(long, conflicts_with = "suite", help_heading = "Images")]
    include_first: bool,
    /// Write all of it here, as JSON
    #[arg(long, value_name = "FILE", conflicts_with = "suite", help_heading = "Images")]
    export_json: Option<PathBuf>,
    /// Write a line a layer here, as CSV
    #[arg(long, value_name = "FILE", conflicts_with = "suite", help_heading = "Images")]
    export_csv: Option<PathBuf>,
    /// Write the tables here, as Markdown
    #[arg(long, value_name = "FILE", conflicts_with = "suite", help_heading = "Images")]
    export_markdown: Option<PathBuf>,
    /// Say what a run costs by this trace of the first image: CSV with time (s), current (A) and perhaps trigger
    #[arg(long, value_name = "TRACE.csv", conflicts_with = "suite", help_heading = "Images")]
    energy: Option<PathBuf>,
    /// Supply voltage of the trace
    #[arg(long, value_name = "V", default_value_t = 3.3, requires = "energy", help_heading = "Images")]
    volts: f64,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    #[serde(skip)]
    heading: String,
    board: &'static str,
    core: &'static str,
    /// What the estimates of cycles are by.
    cycles: Option<Model>,
    /// Why there are none.
    no_cycles: Option<String>,
    energy: Option<Energy>,
    images: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    file: String,
    #[serde(flatten)]
    timing: Timing,
}

impl Row {
    /// Predicted over measured, less one, in per cent.
    fn error(&self) -> Option<f64> {
        self.timing.predicted.map(|predicted| 100.0 * (predicted / self.timing.spread.median.max(1.0) - 1.0))
    }
}

/// Why a trace is of no use.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path}: {error}")]
struct TraceFailure {
    path: PathBuf,
    error: String,
}

pub(super) fn time_images(arguments: &Arguments) -> Outcome {
    let Options { export_json, export_csv, export_markdown, .. } = &arguments.timing;
    let board = run::board(&arguments.board)?;
    let exports = [export_json, export_csv, export_markdown].map(Option::as_deref);
    for path in exports.into_iter().flatten() {
        whole::check_writable(path).map_err(|error| not_written(path, &error))?;
    }
    // Before anything is timed.
    let energy = energy(arguments)?;
    let report = timed(board, arguments, energy)?;
    let json = || serde_json::to_string_pretty(&report).map(|json| json + "\n").unwrap_or_default();
    let texts: [&dyn Fn() -> String; 3] = [&json, &|| csv(&report), &|| markdown(&report)];
    for (path, text) in exports.into_iter().zip(texts) {
        if let Some(path) = path {
            whole::write(path, text().as_bytes()).map_err(|error| not_written(path, &error))?;
        }
    }
    if arguments.json {
        print_json(&report)?;
    } else {
        terminal::answer(&text(&report))?;
    }
    Ok(report.images.iter().all(|row| row.timing.identical))
}

fn not_written(path: &Path, error: &std::io::Error) -> Failure {
    Failure::with_code(
        2,
        anyhow::anyhow!("cannot write {}: {error}; name a file in a directory that can be written", path.display()),
    )
}

/// What the trace says of a run of the first image.
fn energy(arguments: &Arguments) -> Result<Option<Energy>, Failure> {
    let options = &arguments.timing;
    let (Some(path), Some(image)) = (&options.energy, arguments.images.first()) else { return Ok(None) };
    let layers = open_image(image, &read_image(image)?)?.layer_count();
    let failed = |error: String| TraceFailure { path: path.clone(), error };
    let text = std::fs::read_to_string(path).map_err(|error| failed(format!("{error}; give the file of the trace")))?;
    let runs = options.runs as usize + 1;
    Ok(Some(energy::read(&text, options.volts, runs, layers).map_err(|error| failed(error.to_string()))?))
}

fn timed(board: &'static Board, arguments: &Arguments, energy: Option<Energy>) -> Result<Report, Failure> {
    let lab = arguments.probe.lab();
    let Options { runs, include_first, .. } = arguments.timing;
    let mut progress = Progress::new(board.name);
    let (mut images, mut basis) = (Vec::new(), Basis::Err("there is no image".to_owned()));
    for (index, path) in arguments.images.iter().enumerate() {
        let file = path.display().to_string();
        progress.update(index, arguments.images.len(), &file);
        let bytes = read_image(path)?;
        let image = open_image(path, &bytes)?;
        let (timing, by) = time(board, &lab, &image, runs as usize, include_first).map_err(failure)?;
        basis = by;
        images.push(Row { file, timing });
    }
    progress.finish();
    let (cycles, no_cycles) = match basis {
        Ok(model) => (Some(model), None),
        Err(why) => (None, Some(why)),
    };
    Ok(Report {
        schema: 1,
        heading: heading(board),
        board: board.name,
        core: board.core,
        cycles,
        no_cycles,
        energy,
        images,
    })
}

fn text(report: &Report) -> String {
    let mut text = format!("{}\n", report.heading);
    let whole: Vec<Vec<String>> = report.images.iter().map(whole_row).collect();
    let _ = writeln!(text, "\n{}", table(&WHOLE, &whole));
    for row in &report.images {
        let layers: Vec<Vec<String>> = row.timing.layers.iter().map(layer_row).collect();
        let header = ["layer", "kernel", "mean", "min", "max", "predicted", "error", "cycles est."];
        let _ = writeln!(text, "{}\n{}", row.file, table(&header, &layers));
    }
    notes(report).into_iter().for_each(|note| {
        let _ = writeln!(text, "{note}");
    });
    text
}

/// Columns of the table of whole images.
const WHOLE: [&str; 12] = [
    "image",
    "median",
    "MAD",
    "min",
    "max",
    "unit",
    "predicted",
    "error",
    "cycles est.",
    "flash B",
    "RAM B",
    "stack B",
];

fn whole_row(row: &Row) -> Vec<String> {
    let Timing { spread, unit, predicted, cycles_estimate, bytes, arena_bytes, stack, .. } = &row.timing;
    vec![
        row.file.clone(),
        grouped(spread.median.round() as u64),
        format!("{:.1}", spread.mad),
        grouped(spread.min.into()),
        grouped(spread.max.into()),
        (*unit).to_owned(),
        predicted.map_or("-".to_owned(), |predicted| grouped(predicted.round() as u64)),
        percent(row.error()),
        cycles_estimate.map_or("-".to_owned(), grouped),
        grouped(*bytes),
        grouped(*arena_bytes),
        stack.map_or("-".to_owned(), |(used, _)| grouped(used.into())),
    ]
}

fn layer_row(layer: &LayerTiming) -> Vec<String> {
    let error = layer.predicted.map(|predicted| 100.0 * (predicted / layer.mean.max(1.0) - 1.0));
    vec![
        layer.name.clone(),
        layer.kernel.clone(),
        grouped(layer.mean.round() as u64),
        grouped(layer.min.into()),
        grouped(layer.max.into()),
        layer.predicted.map_or("-".to_owned(), |predicted| grouped(predicted.round() as u64)),
        percent(error),
        layer.cycles_estimate.map_or("-".to_owned(), grouped),
    ]
}

fn percent(error: Option<f64>) -> String {
    error.map_or("-".to_owned(), |error| format!("{error:+.1} %"))
}

/// What the tables do not say.
fn notes(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    if let [first, others @ ..] = &report.images[..] {
        for other in others {
            let ratio = other.timing.spread.median / first.timing.spread.median.max(1.0);
            let (ratio, how) = if ratio >= 1.0 { (ratio, "fewer") } else { (1.0 / ratio, "more") };
            notes
                .push(format!("{} takes {ratio:.2} times {how} {} than {}", first.file, first.timing.unit, other.file));
        }
    }
    for Row { file, timing } in &report.images {
        let cold = f64::from(timing.first) / timing.spread.median.max(1.0) - 1.0;
        if cold.abs() >= 0.01 {
            notes.push(format!("{file}: the first run took {:+.1} %; --include-first counts it", 100.0 * cold));
        }
        let verdict = if timing.identical { "identical to this machine's" } else { "NOT this machine's" };
        notes.push(format!("{file}: every layer's output is {verdict}"));
    }
    notes.push(match (&report.cycles, &report.no_cycles) {
        (Some(Model { name, band_percent }), _) => format!(
            "cycles are estimated by model {name}, within {band_percent} % at best: no wait states, no caches, compared with no board"
        ),
        (None, why) => format!("no cycles are estimated: {}", why.as_deref().unwrap_or("nobody asked")),
    });
    notes.extend(report.energy.as_ref().map(|energy| {
        let Energy { runs, millijoules, seconds, amperes } = energy;
        format!(
            "energy by the trace: {millijoules:.4} mJ a run ({runs} runs of {:.3} ms at {:.3} mA)",
            1e3 * seconds,
            1e3 * amperes
        )
    }));
    notes
}

/// A line a layer; the line `total` of each image is its median run.
fn csv(report: &Report) -> String {
    let mut text = "file,crc,layer,kernel,unit,count,min,max,predicted,cycles_estimate\n".to_owned();
    let number = |number: Option<String>| number.unwrap_or_default();
    for Row { file, timing } in &report.images {
        let Timing { crc, unit, spread, predicted, cycles_estimate, .. } = timing;
        let file = quoted(file);
        for layer in &timing.layers {
            let LayerTiming { name, kernel, mean, min, max, predicted, cycles_estimate } = layer;
            let _ = writeln!(
                text,
                "{file},{crc},{},{kernel},{unit},{mean},{min},{max},{},{}",
                quoted(name),
                number(predicted.map(|predicted| format!("{predicted:.0}"))),
                number(cycles_estimate.map(|cycles| cycles.to_string())),
            );
        }
        let _ = writeln!(
            text,
            "{file},{crc},total,,{unit},{},{},{},{},{}",
            spread.median,
            spread.min,
            spread.max,
            number(predicted.map(|predicted| format!("{predicted:.0}"))),
            number(cycles_estimate.map(|cycles| cycles.to_string())),
        );
    }
    text
}

/// A field as RFC 4180 has it.
fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\n']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

fn markdown(report: &Report) -> String {
    let mut text = format!("## {}\n\n", report.heading);
    let line = |cells: &[String]| {
        format!("| {} |\n", cells.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>().join(" | "))
    };
    text += &line(&WHOLE.map(str::to_owned));
    text += &format!("|{}\n", "---|".repeat(WHOLE.len()));
    report.images.iter().for_each(|row| text += &line(&whole_row(row)));
    text.push('\n');
    notes(report).into_iter().for_each(|note| {
        let _ = writeln!(text, "- {note}");
    });
    text
}
