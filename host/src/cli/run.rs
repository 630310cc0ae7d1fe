//! `releq run`: an image over test images, here or on a board, compared answer by answer and layer by layer.

use std::path::PathBuf;
use std::time::Instant;

use releq_device::board::Board;
use releq_format::image::Image;
use serde::Serialize;

use super::board::heading;
use super::probe::ProbeOption;
use super::{DataOption, Failure, Outcome, open_image, print_json, read_image};
use crate::data::{Dataset, Which};
use crate::encode::Encoder;
use crate::summary::{ImageSummary, LayerSummary};
use crate::target::lab::{Lab, Opened};
use crate::target::marks::Model;
use crate::target::session::Measured;
use crate::target::{self, TargetError, fit, native};
use crate::terminal::{self, Progress, grouped, table};
use crate::train::fit::correct;

/// Example: releq run lenet.rlq --board virt-m4 --data mnist --limit 64
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq run lenet.rlq --board virt-m4 --data mnist --limit 64")]
pub(super) struct Arguments {
    /// An image from `releq quantize`
    image: PathBuf,
    /// Run on this board too and compare; without it, run here only
    #[arg(long, value_name = "BOARD")]
    board: Option<String>,
    #[command(flatten)]
    probe: ProbeOption,
    #[command(flatten)]
    data: DataOption,
    /// Use only the first N test images; by default all here, 16 on a board
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Images that a board runs unless --limit says otherwise.
const BOARD_IMAGES: usize = 16;

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let board = arguments.board.as_deref().map(board).transpose()?;
    let bytes = read_image(&arguments.image)?;
    let image = open_image(&arguments.image, &bytes)?;
    if let Some(board) = board {
        fit::check_fit(board, &image).map_err(|error| Failure::with_code(1, error))?;
    }
    let source = arguments.data.locate_for(Encoder::new(image.header()).shape())?;
    let test = source.load(Which::Test)?;
    check_images(&image, &test, source.name())?;
    let most = if board.is_some() { BOARD_IMAGES } else { test.len() };
    let limit = arguments.limit.map_or(most, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let test = test.slice(0..test.len().min(limit));
    let context = Context {
        file: arguments.image.display().to_string(),
        data: source.name().to_owned(),
        synthetic: source.synthetic(),
        labelled: source.labelled(),
        json: arguments.json,
    };
    match board {
        Some(board) => on_board(board, &arguments.probe.lab(), &image, &test, &context),
        None => here(&image, &test, &context),
    }
}

/// The board of that name; exit code 3 without one.
pub(super) fn board(name: &str) -> Result<&'static Board, Failure> {
    target::board(name).map_err(failure)
}

pub(super) fn failure(error: TargetError) -> Failure {
    Failure::with_code(error.exit_code(), error)
}

pub(super) fn check_images(image: &Image<'_>, data: &Dataset, name: &str) -> Result<(), Failure> {
    let shape = Encoder::new(image.header()).shape();
    if shape == data.shape {
        return Ok(());
    }
    let times = |shape: [usize; 3]| shape.map(|size| size.to_string()).join("×");
    let (network, takes, has) = (image.header().name, times(shape), times(data.shape));
    Err(Failure::with_code(
        2,
        anyhow::anyhow!("{network} takes {takes} images, {name} has {has}; give the set it was made for with --data"),
    ))
}

/// What both kinds of run report about themselves.
struct Context {
    file: String,
    data: String,
    synthetic: bool,
    labelled: bool,
    json: bool,
}

impl Context {
    /// The share of right answers, where there is a right one.
    fn top1(&self, correct: usize, images: usize) -> String {
        if self.labelled { format!("top-1 {:.2} %", percent(correct, images)) } else { "no labels".to_owned() }
    }
}

#[derive(Serialize)]
struct NativeReport {
    schema: u32,
    file: String,
    board: &'static str,
    data: String,
    synthetic: bool,
    images: usize,
    correct: usize,
    top1: f64,
    seconds: f64,
}

fn here(image: &Image<'_>, test: &Dataset, context: &Context) -> Outcome {
    let started = Instant::now();
    let correct = correct(&native::answers(image, test)?, test);
    let report = NativeReport {
        schema: 1,
        file: context.file.clone(),
        board: "native",
        data: context.data.clone(),
        synthetic: context.synthetic,
        images: test.len(),
        correct,
        top1: percent(correct, test.len()),
        seconds: started.elapsed().as_secs_f64(),
    };
    if context.json {
        print_json(&report)?;
    } else {
        let synthetic = if report.synthetic { " (synthetic)" } else { "" };
        terminal::answer(&format!(
            "{}  {} on {} {}{synthetic} test images  {:.1} s on this machine\n",
            image.header().name,
            context.top1(report.correct, report.images),
            report.images,
            report.data,
            report.seconds
        ))?;
    }
    Ok(true)
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

#[derive(Serialize)]
struct BoardReport {
    /// 2 since counts may be cycles.
    schema: u32,
    #[serde(skip)]
    heading: String,
    file: String,
    board: &'static str,
    core: &'static str,
    unit: &'static str,
    data: String,
    synthetic: bool,
    images: usize,
    correct: usize,
    top1: f64,
    identical_to_native: bool,
    first_divergence: Option<Divergence>,
    /// Mean over the images, rounded; in `unit`, as all counts.
    count_per_inference: u64,
    /// Estimated, on no board.
    cycles: Option<Cycles>,
    /// Why there is no estimate.
    no_cycles: Option<String>,
    layers: Vec<LayerReport>,
    seconds: f64,
}

/// An estimate of cycles, and what it is by.
#[derive(Serialize)]
struct Cycles {
    #[serde(flatten)]
    model: Model,
    /// Mean over the images, rounded.
    per_inference_estimate: u64,
}

/// Where a board first answered otherwise than the workstation.
#[derive(Serialize)]
struct Divergence {
    image: usize,
    layer: usize,
    name: String,
}

#[derive(Serialize)]
struct LayerReport {
    name: String,
    op: &'static str,
    w: Option<u8>,
    a: Option<u8>,
    kernel: String,
    macs: u64,
    /// Mean over the images, rounded.
    count: u64,
    count_min: u64,
    count_max: u64,
    count_per_mac: Option<f64>,
    /// Mean over the images, rounded.
    cycles_estimate: Option<u64>,
    /// Whether the digest of every image's output was the workstation's.
    identical: bool,
}

fn on_board(board: &'static Board, lab: &Lab, image: &Image<'_>, test: &Dataset, context: &Context) -> Outcome {
    let started = Instant::now();
    let Opened { mut session, marks } = lab.open(board, image).map_err(failure)?;
    let mut summary = ImageSummary::of(image);
    for (index, layer) in summary.layers.iter_mut().enumerate() {
        // The board's own choice: it may link other kernels than this machine.
        layer.kernel = session.kernel(index).map_err(failure)?;
    }
    let encoder = Encoder::new(image.header());
    let mut progress = Progress::new(board.name);
    let mut runs = Vec::with_capacity(test.len());
    let mut estimate = Estimate { no_cycles: marks.as_ref().err().map(ToString::to_string), ..Estimate::default() };
    for index in 0..test.len() {
        let input = encoder.encode(test.image(index));
        let measured = session.infer(&input).map_err(failure)?;
        if let Ok(marks) = &marks {
            estimate.add(marks.cycles(&measured.counts).map_err(failure)?);
        }
        runs.push((measured, native::infer(image, &input)?));
        progress.update(index + 1, test.len(), "");
    }
    progress.finish();
    let report = report(board, &summary, test, context, &runs, estimate, started.elapsed().as_secs_f64());
    if context.json {
        print_json(&report)?
    } else {
        terminal::answer(&text(&report, context))?
    }
    Ok(report.identical_to_native)
}

type Runs = [(Measured, native::Inference)];

/// What the plugin said of all images.
#[derive(Default)]
struct Estimate {
    model: Option<Model>,
    /// Sums over images, one a layer.
    cycles: Vec<u64>,
    images: usize,
    no_cycles: Option<String>,
}

impl Estimate {
    fn add(&mut self, (model, cycles): (Model, Vec<u64>)) {
        self.model = Some(model);
        self.images += 1;
        self.cycles.resize(cycles.len(), 0);
        self.cycles.iter_mut().zip(cycles).for_each(|(sum, cycles)| *sum += cycles);
    }

    fn layer(&self, index: usize) -> Option<u64> {
        self.cycles.get(index).map(|&sum| mean(sum, self.images))
    }

    fn whole(&self) -> Option<Cycles> {
        let per_inference_estimate = mean(self.cycles.iter().sum(), self.images);
        self.model.clone().map(|model| Cycles { model, per_inference_estimate })
    }
}

fn report(
    board: &'static Board,
    summary: &ImageSummary,
    test: &Dataset,
    context: &Context,
    runs: &Runs,
    estimate: Estimate,
    seconds: f64,
) -> BoardReport {
    let first_divergence = divergence(runs, summary);
    let classes: Vec<usize> = runs.iter().map(|(measured, _)| measured.inference.top1).collect();
    let correct = correct(&classes, test);
    let totals: u64 = runs.iter().map(|(measured, _)| measured.total()).sum();
    BoardReport {
        schema: 2,
        heading: heading(board),
        file: context.file.clone(),
        board: board.name,
        core: board.core,
        unit: board.counter.unit().name(),
        data: context.data.clone(),
        synthetic: context.synthetic,
        images: test.len(),
        correct,
        top1: percent(correct, test.len()),
        identical_to_native: first_divergence.is_none(),
        first_divergence,
        count_per_inference: mean(totals, runs.len()),
        cycles: estimate.whole(),
        layers: summary
            .layers
            .iter()
            .enumerate()
            .map(|(index, layer)| LayerReport {
                cycles_estimate: estimate.layer(index),
                ..layer_report(index, layer, runs)
            })
            .collect(),
        no_cycles: estimate.no_cycles,
        seconds,
    }
}

fn mean(sum: u64, count: usize) -> u64 {
    let count = (count as u64).max(1);
    (sum + count / 2) / count
}

/// The first image and layer whose output differs; logits and class are the last layer's.
fn divergence(runs: &Runs, summary: &ImageSummary) -> Option<Divergence> {
    runs.iter().enumerate().find_map(|(image, (measured, native))| {
        if measured.inference == *native {
            return None;
        }
        let digests = measured.inference.digests.iter().zip(&native.digests);
        let layer = digests.enumerate().find(|(_, (one, other))| one != other);
        let layer = layer.map_or(summary.layers.len().saturating_sub(1), |(layer, _)| layer);
        let name = summary.layers.get(layer).map_or_else(String::new, |layer| layer.name.clone());
        Some(Divergence { image, layer, name })
    })
}

fn layer_report(index: usize, layer: &LayerSummary, runs: &Runs) -> LayerReport {
    let counts = || runs.iter().map(|(measured, _)| u64::from(measured.counts.get(index).copied().unwrap_or(0)));
    let count = mean(counts().sum(), runs.len());
    let same = |(measured, native): &(Measured, native::Inference)| {
        measured.inference.digests.get(index) == native.digests.get(index)
    };
    LayerReport {
        name: layer.name.clone(),
        op: layer.op,
        w: layer.w,
        a: layer.a,
        kernel: layer.kernel.clone(),
        macs: layer.macs,
        count,
        count_min: counts().min().unwrap_or(0),
        count_max: counts().max().unwrap_or(0),
        count_per_mac: (layer.macs > 0).then(|| count as f64 / layer.macs as f64),
        cycles_estimate: None,
        identical: runs.iter().all(same),
    }
}

fn text(report: &BoardReport, context: &Context) -> String {
    let bits = |bits: Option<u8>| bits.map_or("-".to_owned(), |bits| bits.to_string());
    let number = |number: Option<u64>| number.map_or("-".to_owned(), grouped);
    let row = |layer: &LayerReport| {
        vec![
            layer.name.clone(),
            layer.op.to_owned(),
            bits(layer.w),
            bits(layer.a),
            grouped(layer.macs),
            grouped(layer.count),
            layer.count_per_mac.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            number(layer.cycles_estimate),
            if layer.identical { "yes" } else { "NO" }.to_owned(),
        ]
    };
    let mut rows: Vec<Vec<String>> = report.layers.iter().map(row).collect();
    let total = grouped(report.count_per_inference);
    let cycles = number(report.cycles.as_ref().map(|cycles| cycles.per_inference_estimate));
    rows.push(["total", "", "", "", "", &total, "", &cycles, ""].map(str::to_owned).to_vec());
    let header = ["layer", "op", "w", "a", "MACs", report.unit, "per MAC", "cycles est.", "identical"];
    let synthetic = if report.synthetic { " (synthetic)" } else { "" };
    let verdict = match &report.first_divergence {
        None => "every output of every image is identical to this machine's".to_owned(),
        Some(at) => format!("DIFFERS first at image {}, layer {} ({})", at.image, at.layer, at.name),
    };
    format!(
        "{}\n\n{}\n\
         {}
{} on {} {}{synthetic} test images; {verdict}
",
        report.heading,
        table(&header, &rows),
        basis(report),
        context.top1(report.correct, report.images),
        report.images,
        report.data,
    )
}

/// What the column of cycles is worth.
fn basis(report: &BoardReport) -> String {
    match (&report.cycles, &report.no_cycles) {
        (Some(Cycles { model: Model { name, band_percent }, .. }), _) => format!(
            "cycles are estimated by model {name}, within {band_percent} % at best: \
             no wait states, no caches, compared with no board"
        ),
        (None, Some(why)) => format!("no cycles are estimated: {why}"),
        (None, None) => "no cycles are estimated".to_owned(),
    }
}
