//! `releq quantize`: bits for each layer, fine-tuning, and the image.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use releq_format::image::Image;
use releq_search::plan::BitPlan;
use serde::Serialize;

use super::{
    DataOption, DeviceOption, Failure, Outcome, check_writable, load_model, open_image, print_json, write_whole,
};
use crate::cost;
use crate::cost::layer::layers;
use crate::cost::widths::fastest;
use crate::data::augment::Augment;
use crate::data::{Dataset, Which};
use crate::lower;
use crate::network::Network;
use crate::quantized::QuantizedNetwork;
use crate::target::native;
use crate::terminal::{self, Progress, grouped};
use crate::train::calibrate::Calibration;
use crate::train::fit::{self, Schedule};
use crate::train::integer::IntegerModel;
use crate::train::interrupt::Interrupt;
use crate::train::model::Model;
use crate::train::norms::Norms;
use crate::train::quantize::{Method, QuantizeError, Recipe, quantize};
use crate::train::resume::{Resume, beside};
use crate::train::teacher::Distillation;

/// Example: releq quantize lenet.onnx --bits 2,2,3,2 --data mnist -o lenet.rlq
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq quantize lenet.onnx --bits 2,2,3,2 --data mnist -o lenet.rlq")]
pub(super) struct Arguments {
    /// A model: .onnx, .tflite, or .safetensors from `releq train` or `releq import`
    model: PathBuf,
    /// Weight bits of each layer, 1 to 8, or one number for all; with activation bits after a colon: 2:8,2:4
    #[arg(long, value_name = "B,B,...")]
    bits: BitPlan,
    #[command(flatten)]
    data: DataOption,
    #[command(flatten)]
    device: DeviceOption,
    /// Passes over the training images; may be a fraction, 0 for none
    #[arg(long, default_value_t = 1.0)]
    epochs: f64,
    /// Learning rate at the start, falling to zero along a half cosine
    #[arg(long, default_value_t = 1e-3)]
    rate: f64,
    /// How weights become integers
    #[arg(long, value_enum, default_value_t = Quantizer::Learned)]
    quantizer: Quantizer,
    /// How activation ranges are chosen
    #[arg(long, value_enum, default_value_t = Range::Percentile)]
    calibrate: Range,
    /// Fine-tune on labels alone, not guided by the float network's logits
    #[arg(long)]
    no_distill: bool,
    /// What logits are divided by where they are compared with the float network's, above 0: how soft its guidance is;
    /// by default half the standard deviation of its logits, at least 2
    #[arg(long, value_name = "T", value_parser = temperature, conflicts_with = "no_distill")]
    temperature: Option<f64>,
    /// Take layers below 3 bits there step by step, an equal share of the passes at each width on the way
    #[arg(long)]
    progressive: bool,
    /// What becomes of batch normalisation; networks without any are the same in each case
    #[arg(long, value_enum, default_value_t = Normalisation::Reestimated)]
    norms: Normalisation,
    /// Learn from mirrored images, moved by up to four pixels, instead of from the images as they are
    #[arg(long)]
    augment: bool,
    /// Store weights in more bits wherever this board is faster then: takes flash, and leaves every weight what it is
    #[arg(long, value_name = "BOARD")]
    fast: Option<String>,
    /// The one seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the image here
    #[arg(short, long, value_name = "FILE.rlq")]
    output: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Quantizer {
    /// A scale per channel, started at the least square error and learned
    Learned,
    /// A scale per channel, at the least square error and not learned
    Fixed,
    /// One learned scale for a whole layer
    Tensor,
    /// WRPN: clamp to ±1, one fixed scale
    Wrpn,
    /// DoReFa: tanh, one fixed scale
    Dorefa,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Normalisation {
    /// Folded before fine-tuning
    Folded,
    /// Left in while the network learns, folded afterwards
    Live,
    /// As live, and its statistics measured anew before folding
    Reestimated,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Range {
    /// From the smallest to the largest value seen
    MinMax,
    /// Without the outermost ten-thousandth at each end
    Percentile,
    /// The clipping with the least square error
    Mse,
}

impl From<Range> for Calibration {
    fn from(range: Range) -> Self {
        match range {
            Range::MinMax => Self::MinMax,
            Range::Percentile => Self::Percentile,
            Range::Mse => Self::MeanSquare,
        }
    }
}

fn temperature(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| format!("`{text}` is not a temperature; write a number above 0, like 8"))
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    model: String,
    plan: String,
    mean_weight_bits: f64,
    data: String,
    synthetic: bool,
    images: usize,
    float_top1: f64,
    quantized_top1: f64,
    integer_top1: f64,
    agreement: f64,
    bytes: usize,
    arena_bytes: usize,
    seconds: f64,
    seed: u64,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    arguments.device.choose()?;
    let network = load_model(&arguments.model)?;
    let plan = arguments.bits.clone().for_layers(network.graph.weighted().len());
    check_writable(&arguments.output)?;
    let source = arguments.data.locate_for(network.graph.input.shape)?;
    let (train, test) = (source.load(Which::Train)?, source.load(Which::Test)?);
    check_images(&network, &test, source.name())?;
    let started = Instant::now();
    let recipe = recipe(arguments);
    let resume = Resume::of_quantizing(&beside(&arguments.output), &network, &plan, &train, &recipe);
    let quantized = fine_tuned(&network, &plan, &train, &recipe, &resume)?;
    let lowered = lowered(&quantized, arguments.fast.as_deref())?;
    write_whole(&arguments.output, &lowered.image)?;
    resume.done();

    let image = open_image(&arguments.output, &lowered.image)?;
    let float = fit::accuracy(&Model::new(&network)?, &test)?;
    let quantized = IntegerModel::new(&lowered.integers).answers(&test)?;
    let integer = native::answers(&image, &test)?;
    let share = |count: usize| 100.0 * count as f64 / test.len().max(1) as f64;
    let report = Report {
        schema: 1,
        model: network.graph.name.clone(),
        plan: plan.to_string(),
        mean_weight_bits: plan.mean_weight_bits(),
        data: source.name().to_owned(),
        synthetic: source.synthetic(),
        images: test.len(),
        float_top1: 100.0 * float,
        quantized_top1: share(fit::correct(&quantized, &test)),
        integer_top1: share(fit::correct(&integer, &test)),
        agreement: share(quantized.iter().zip(&integer).filter(|(one, other)| one == other).count()),
        bytes: image.len(),
        arena_bytes: image.arena_bytes(),
        seconds: started.elapsed().as_secs_f64(),
        seed: arguments.seed,
    };
    if arguments.json {
        print_json(&report)?
    } else {
        terminal::answer(&text(&report, arguments))?
    }
    Ok(true)
}

/// Lowers for size, or for the speed of a board.
fn lowered(quantized: &QuantizedNetwork, fast: Option<&str>) -> Result<lower::Lowered, Failure> {
    let smallest = lower::lower(quantized)?;
    let Some(board) = fast.map(super::run::board).transpose()? else { return Ok(smallest) };
    let layers = layers(&Image::open(&smallest.image)?);
    let widths = fastest(&layers, board.family, &cost::prices(board.name)?)?;
    let stored = quantized.network.graph.weighted().into_iter().zip(widths).collect();
    Ok(lower::lower_stored(quantized, &stored)?)
}

pub(super) fn check_images(network: &Network, data: &Dataset, name: &str) -> Result<(), Failure> {
    if network.graph.input.shape == data.shape {
        return Ok(());
    }
    let shape = |shape: [usize; 3]| shape.map(|size| size.to_string()).join("×");
    Err(Failure::with_code(
        2,
        anyhow::anyhow!(
            "{} takes {} images, {name} has {}; give the set it was trained on with --data",
            network.graph.name,
            shape(network.graph.input.shape),
            shape(data.shape)
        ),
    ))
}

fn recipe(arguments: &Arguments) -> Recipe {
    Recipe {
        method: match arguments.quantizer {
            Quantizer::Learned => Method::Learned,
            Quantizer::Fixed => Method::Fixed,
            Quantizer::Tensor => Method::Tensor,
            Quantizer::Wrpn => Method::Wrpn,
            Quantizer::Dorefa => Method::Dorefa,
        },
        calibration: arguments.calibrate.into(),
        schedule: Schedule {
            rate: arguments.rate,
            augment: if arguments.augment { Augment::CROP_AND_FLIP } else { Augment::NONE },
            ..Schedule::adam(arguments.epochs, arguments.seed)
        },
        norms: match arguments.norms {
            Normalisation::Folded => Norms::Folded,
            Normalisation::Live => Norms::Live,
            Normalisation::Reestimated => Norms::Reestimated,
        },
        distill: (!arguments.no_distill)
            .then(|| Distillation { temperature: arguments.temperature, ..Distillation::default() }),
        progressive: arguments.progressive,
        ..Recipe::learned(arguments.epochs, arguments.seed)
    }
}

fn fine_tuned(
    network: &Network,
    plan: &BitPlan,
    train: &Dataset,
    recipe: &Recipe,
    resume: &Resume,
) -> Result<QuantizedNetwork, Failure> {
    let interrupt = Interrupt::watch();
    let mut progress = Progress::new("fine-tuning");
    let mut watch = |step: fit::Progress| {
        progress.update(step.step, step.steps, &format!("loss {:.4}", step.loss));
        if interrupt.requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let quantized = quantize(network, plan, train, recipe, Some(resume), &mut watch);
    progress.finish();
    quantized.map_err(|error| match error {
        QuantizeError::Fit(error) => super::fit_failure(error),
        other => other.into(),
    })
}

fn text(report: &Report, arguments: &Arguments) -> String {
    let synthetic = if report.synthetic { " (synthetic)" } else { "" };
    let loss = report.float_top1 - report.integer_top1;
    format!(
        "{} at {} bits (mean {:.2})\n\
         float       top-1 {:.2} %   {} {}{synthetic} test images\n\
         quantized   top-1 {:.2} %   network in integers, before it is packed\n\
         integer     top-1 {:.2} %   engine on this machine, agrees on {:.2} % of answers, loss {loss:.2} points\n\
         flash {} bytes   RAM {} bytes   {:.1} s   → {}\n",
        report.model,
        report.plan,
        report.mean_weight_bits,
        report.float_top1,
        report.images,
        report.data,
        report.quantized_top1,
        report.integer_top1,
        report.agreement,
        grouped(report.bytes as u64),
        grouped(report.arena_bytes as u64),
        report.seconds,
        arguments.output.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::temperature;

    #[test]
    fn temperatures_are_numbers_above_zero() {
        assert_eq!(temperature("3.5"), Ok(3.5));
        for text in ["0", "-1", "nan", "inf", "warm", ""] {
            let refused = format!("`{text}` is not a temperature; write a number above 0, like 8");
            assert_eq!(temperature(text), Err(refused));
        }
    }
}
