//! A whole image on a board, timed over many runs: what each layer counts, beside what was predicted of it.

use releq_device::board::Board;
use releq_format::image::{Image, SelfTest};
use serde::Serialize;

use super::measure::MeasureError;
use super::spread::Spread;
use crate::cost::layer::{Layer, layers};
use crate::cost::{prices, widths};
use crate::summary::ImageSummary;
use crate::target::fit::check_fit;
use crate::target::lab::{Lab, Opened};
use crate::target::marks::Model;
use crate::target::native;
use crate::target::qemu::NoPlugin;
use crate::target::session::{Counts, Timed};

/// What a board says of one image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// The network.
    pub network: String,
    /// The image's checksum, which names it.
    pub crc: String,
    /// Bytes of the image.
    pub bytes: u64,
    /// Bytes of arena it needs.
    pub arena_bytes: u64,
    /// What every count is, `instructions` or `cycles`.
    pub unit: &'static str,
    /// What the first run counted: caches and prefetch buffers were cold.
    pub first: u32,
    /// The runs that count.
    pub spread: Spread,
    /// Predicted by the prices that come with releq, in instructions; `None` for a board without, or work without.
    pub predicted: Option<f64>,
    /// Cycles of one run, estimated by the emulator; `None` where it does not.
    pub cycles_estimate: Option<u64>,
    /// Most bytes of stack that the board has used since its start, and bytes it has.
    pub stack: Option<(u32, u32)>,
    /// Whether the board computed what this machine does, layer by layer.
    pub identical: bool,
    /// In the order they run.
    pub layers: Vec<LayerTiming>,
}

/// One layer of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerTiming {
    /// Its name.
    pub name: String,
    /// The kernel that the board ran it with.
    pub kernel: String,
    /// Mean over the runs after the first.
    pub mean: f64,
    /// The smallest count of a run.
    pub min: u32,
    /// The largest.
    pub max: u32,
    /// As [`Timing::predicted`].
    pub predicted: Option<f64>,
    /// As [`Timing::cycles_estimate`].
    pub cycles_estimate: Option<u64>,
}

/// What the emulator's estimates are by, or why there are none.
pub type Basis = Result<Model, String>;

/// Runs `image` on `board` `runs` times on the inputs of its self-test, whose values make no difference; the first run
/// is set apart unless `include_first`.
///
/// # Errors
/// [`MeasureError`].
pub fn time(
    board: &'static Board,
    lab: &Lab,
    image: &Image<'_>,
    runs: usize,
    include_first: bool,
) -> Result<(Timing, Basis), MeasureError> {
    check_fit(board, image)?;
    let Opened { mut session, marks } = lab.open(board, image)?;
    let mut input = vec![0; image.input_bytes()];
    SelfTest::fill(image.header().self_test.seed, &image.header().input, &mut input);
    // The first of all by itself: it is set apart, and the plugin's last marks must be those of one run.
    let once = session.infer(&input)?;
    let estimate = match &marks {
        Ok(marks) => marks.cycles(&once.counts).map(|(model, cycles)| (Ok(model), Some(cycles)))?,
        Err(why) => (Err(NoPlugin::to_string(why)), None),
    };
    let (basis, cycles) = estimate;
    let timed = session.infer_many(&input, runs)?;
    let identical = timed.inference == once.inference && once.inference == native::infer(image, &input)?;
    let first = once.total().min(u32::MAX.into()) as u32;
    let mut counts = timed.runs.clone();
    if include_first {
        counts.insert(0, first);
    }
    let summary = ImageSummary::of(image);
    let predicted = predictions(board, image);
    let mut kernels = Vec::new();
    for index in 0..summary.layers.len() {
        kernels.push(session.kernel(index)?);
    }
    let layers = rows(&summary, kernels, &timed, predicted.as_deref(), cycles.as_deref());
    let timing = Timing {
        network: summary.name,
        crc: summary.crc,
        bytes: summary.bytes,
        arena_bytes: summary.arena_bytes,
        unit: timed.unit.name(),
        first,
        // At least one run was asked for.
        spread: Spread::of(&counts).unwrap_or(Spread { runs: 0, median: 0.0, mad: 0.0, min: 0, max: 0 }),
        predicted: predicted.map(|layers| layers.iter().sum()),
        cycles_estimate: cycles.map(|layers| layers.iter().sum()),
        stack: session.stack()?,
        identical,
        layers,
    };
    Ok((timing, basis))
}

/// What the shipped prices say of each layer; `None` where they say nothing of one.
fn predictions(board: &Board, image: &Image<'_>) -> Option<Vec<f64>> {
    let model = prices(board.name).ok()?;
    let price = |layer: &Layer| widths::price(layer, board.family, &model).ok();
    layers(image).iter().map(price).collect()
}

fn rows(
    summary: &ImageSummary,
    kernels: Vec<String>,
    timed: &Timed,
    predicted: Option<&[f64]>,
    cycles: Option<&[u64]>,
) -> Vec<LayerTiming> {
    let runs = timed.runs.len().max(1) as f64;
    let row = |(index, (kernel, counts)): (usize, (String, &Counts))| LayerTiming {
        name: summary.layers[index].name.clone(),
        kernel,
        mean: counts.sum as f64 / runs,
        min: counts.least,
        max: counts.most,
        predicted: predicted.map(|layers| layers[index]),
        cycles_estimate: cycles.map(|layers| layers[index]),
    };
    kernels.into_iter().zip(&timed.layers).enumerate().map(row).collect()
}
