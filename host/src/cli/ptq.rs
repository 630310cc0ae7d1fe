//! `releq ptq`: bits for each layer without training, and the image.

use std::path::PathBuf;
use std::time::Instant;

use releq_search::plan::BitPlan;
use serde::Serialize;

use super::quantize::{Range, check_images};
use super::{DataOption, Outcome, check_writable, load_model, open_image, print_json, write_whole};
use crate::data::{Source, Which};
use crate::lower::{self, Lowered};
use crate::network::Network;
use crate::target::native;
use crate::terminal::{self, Progress, grouped, table};
use crate::train::fit;
use crate::train::model::Model;
use crate::train::ptq::{self, LayerOutcome, Options};

/// Example: releq ptq resnet8.safetensors --data cifar10 --bits 8 -o resnet8.rlq
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq ptq resnet8.safetensors --data cifar10 --bits 8 -o resnet8.rlq")]
pub(super) struct Arguments {
    /// A model: .onnx, .tflite, or .safetensors from `releq train` or `releq import`
    model: PathBuf,
    /// Weight bits of each layer, 1 to 8, or one number for all; with activation bits after a colon: 8:8,4:8
    #[arg(long, value_name = "B,B,...", default_value = "8")]
    bits: BitPlan,
    #[command(flatten)]
    data: DataOption,
    /// How activation ranges above 4 bits are chosen; narrower ones take the least square error
    #[arg(long, value_enum, default_value_t = Range::Percentile)]
    calibrate: Range,
    /// Training inputs to look at; their labels are not used
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    inputs: u32,
    /// Leave biases as they are, though rounded weights move what they lead to
    #[arg(long)]
    no_bias_correction: bool,
    /// Write the image here
    #[arg(short, long, value_name = "FILE.rlq")]
    output: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    model: String,
    plan: String,
    data: String,
    synthetic: bool,
    /// Inputs that calibration looked at.
    inputs: usize,
    layers: Vec<Layer>,
    accuracy: Option<Accuracy>,
    bytes: usize,
    arena_bytes: usize,
    seconds: f64,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    w: Option<u8>,
    a: Option<u8>,
    range: Option<[f32; 2]>,
    weight_db: Option<f64>,
    output_db: f64,
    bias_moved: f32,
}

/// On the test part, where the data has labels.
#[derive(Serialize)]
struct Accuracy {
    images: usize,
    float_correct: usize,
    float_top1: f64,
    integer_correct: usize,
    integer_top1: f64,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let network = load_model(&arguments.model)?;
    let plan = arguments.bits.clone().for_layers(network.graph.weighted().len());
    check_writable(&arguments.output)?;
    let source = arguments.data.locate_for(network.graph.input.shape)?;
    let train = source.load(Which::Train)?;
    check_images(&network, &train, source.name())?;
    let started = Instant::now();
    let options = Options {
        calibration: arguments.calibrate.into(),
        inputs: arguments.inputs as usize,
        correct_biases: !arguments.no_bias_correction,
    };
    let mut progress = Progress::new("layers");
    let watch = &mut |done, all| progress.update(done, all, "");
    let ptq::Outcome { quantized, layers } = ptq::ptq(&network, &plan, &train, &options, watch)?;
    progress.finish();
    let lowered = lower::lower(&quantized)?;
    write_whole(&arguments.output, &lowered.image)?;
    let accuracy = if source.labelled() { Some(accuracy(&network, &lowered, &source, arguments)?) } else { None };
    let image = open_image(&arguments.output, &lowered.image)?;
    let report = Report {
        schema: 1,
        model: network.graph.name.clone(),
        plan: plan.to_string(),
        data: source.name().to_owned(),
        synthetic: source.synthetic(),
        inputs: train.len().min(options.inputs),
        layers: layers.into_iter().map(layer).collect(),
        accuracy,
        bytes: image.len(),
        arena_bytes: image.arena_bytes(),
        seconds: started.elapsed().as_secs_f64(),
    };
    if arguments.json {
        print_json(&report)?
    } else {
        terminal::answer(&text(&report, arguments))?
    }
    Ok(true)
}

fn accuracy(
    network: &Network,
    lowered: &Lowered,
    source: &Source,
    arguments: &Arguments,
) -> Result<Accuracy, super::Failure> {
    let test = source.load(Which::Test)?;
    let image = open_image(&arguments.output, &lowered.image)?;
    let float = fit::correct(&fit::predict(&Model::new(network)?, &test)?, &test);
    let integer = fit::correct(&native::answers(&image, &test)?, &test);
    let share = |count: usize| 100.0 * count as f64 / test.len().max(1) as f64;
    Ok(Accuracy {
        images: test.len(),
        float_correct: float,
        float_top1: share(float),
        integer_correct: integer,
        integer_top1: share(integer),
    })
}

fn layer(layer: LayerOutcome) -> Layer {
    Layer {
        name: layer.name,
        w: layer.weight_bits,
        a: layer.activation_bits,
        range: layer.range,
        weight_db: layer.weight_ratio,
        output_db: layer.output_ratio,
        bias_moved: layer.largest_correction,
    }
}

/// One width for all layers is said once.
fn spelled(plan: &str) -> &str {
    let first = plan.split(',').next().unwrap_or_default();
    if plan.split(',').all(|width| width == first) { first } else { plan }
}

fn text(report: &Report, arguments: &Arguments) -> String {
    let bits = |bits: Option<u8>| bits.map_or("-".to_owned(), |bits| bits.to_string());
    let row = |layer: &Layer| {
        vec![
            layer.name.clone(),
            bits(layer.w),
            bits(layer.a),
            layer.range.map_or("logits".to_owned(), |[low, high]| format!("{low:.3}..{high:.3}")),
            layer.weight_db.map_or("-".to_owned(), |ratio| format!("{ratio:.1}")),
            format!("{:.1}", layer.output_db),
            if layer.w.is_some() { format!("{:.4}", layer.bias_moved) } else { "-".to_owned() },
        ]
    };
    let rows: Vec<Vec<String>> = report.layers.iter().map(row).collect();
    let header = ["layer", "w", "a", "range", "weights dB", "output dB", "bias moved"];
    let synthetic = if report.synthetic { " (synthetic)" } else { "" };
    let accuracy = match &report.accuracy {
        Some(accuracy) => format!(
            "float    top-1 {:.2} %   {} of {} {}{synthetic} test images\ninteger  top-1 {:.2} %   {}, engine on this machine\n",
            accuracy.float_top1,
            accuracy.float_correct,
            accuracy.images,
            report.data,
            accuracy.integer_top1,
            accuracy.integer_correct,
        ),
        None => format!("accuracy unknown: {} has no labels\n", report.data),
    };
    format!(
        "{} at {} bits without training, ranges from {} {}{synthetic} training inputs\n\n{}\n{accuracy}\
         flash {} bytes   RAM {} bytes   {:.1} s   → {}\n",
        report.model,
        spelled(&report.plan),
        report.inputs,
        report.data,
        table(&header, &rows),
        grouped(report.bytes as u64),
        grouped(report.arena_bytes as u64),
        report.seconds,
        arguments.output.display(),
    )
}
