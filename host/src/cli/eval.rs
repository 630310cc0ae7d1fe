//! `releq eval`: how many test images a float model or an image gets right.

use std::path::PathBuf;

use releq_format::image::Image;
use serde::Serialize;

use super::quantize::check_images;
use super::{
    DataOption, DeviceOption, Failure, Outcome, is_model, load_model, open_image, print_json, read_image, run,
};
use crate::data::{Dataset, Source, Which};
use crate::encode::Encoder;
use crate::target::native;
use crate::terminal::{self, Progress};
use crate::train::fit;
use crate::train::model::Model;

/// Example: releq eval resnet8.safetensors --data cifar10 --limit 1000
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq eval resnet8.safetensors --data cifar10 --limit 1000")]
pub(super) struct Arguments {
    /// A float model (.onnx, .tflite, .safetensors) or an image (.rlq)
    model: PathBuf,
    #[command(flatten)]
    data: DataOption,
    #[command(flatten)]
    device: DeviceOption,
    /// Use only the first N test images
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    file: String,
    data: String,
    synthetic: bool,
    images: usize,
    correct: usize,
    top1: f64,
}

/// Images between two steps of the progress bar.
const STEP: usize = 500;

pub(super) fn run(arguments: &Arguments) -> Outcome {
    arguments.device.choose()?;
    let (source, images, correct) =
        if is_model(&arguments.model) { of_model(arguments)? } else { of_image(arguments)? };
    let top1 = 100.0 * correct as f64 / images.max(1) as f64;
    let file = arguments.model.display().to_string();
    let (data, synthetic) = (source.name().to_owned(), source.synthetic());
    let report = Report { schema: 1, file, data, synthetic, images, correct, top1 };
    if arguments.json {
        print_json(&report)?;
    } else {
        let synthetic = if synthetic { " (synthetic)" } else { "" };
        let Report { file, data, .. } = &report;
        terminal::answer(&format!("{file}  top-1 {top1:.2} %, {correct} of {images} {data}{synthetic} test images\n"))?;
    }
    Ok(true)
}

fn of_model(arguments: &Arguments) -> Result<(Source, usize, usize), Failure> {
    let network = load_model(&arguments.model)?;
    let (source, test) = test_part(arguments, network.graph.input.shape)?;
    check_images(&network, &test, source.name())?;
    let model = Model::new(&network)?;
    let correct = counted(&test, |part| Ok(fit::predict(&model, part)?))?;
    Ok((source, test.len(), correct))
}

fn of_image(arguments: &Arguments) -> Result<(Source, usize, usize), Failure> {
    let bytes = read_image(&arguments.model)?;
    let image: Image<'_> = open_image(&arguments.model, &bytes)?;
    let (source, test) = test_part(arguments, Encoder::new(image.header()).shape())?;
    run::check_images(&image, &test, source.name())?;
    let correct = counted(&test, |part| Ok(native::answers(&image, part)?))?;
    Ok((source, test.len(), correct))
}

/// The test images to use, for a network that takes `shape`.
fn test_part(arguments: &Arguments, shape: [usize; 3]) -> Result<(Source, Dataset), Failure> {
    let source = arguments.data.locate_for(shape)?;
    if !source.labelled() {
        let name = source.name();
        return Err(anyhow::anyhow!(
            "cannot evaluate on {name}: it has no labels, so no answer is right or wrong; pass labelled data with --data"
        )
        .into());
    }
    let test = source.load(Which::Test)?;
    let limit = arguments.limit.map_or(test.len(), |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    Ok((source, test.slice(0..test.len().min(limit))))
}

/// How many answers to `test` are right, a part at a time.
fn counted(test: &Dataset, answers: impl Fn(&Dataset) -> Result<Vec<usize>, Failure>) -> Result<usize, Failure> {
    let mut progress = Progress::bar("images");
    let mut correct = 0;
    for start in (0..test.len()).step_by(STEP) {
        let end = test.len().min(start + STEP);
        let part = test.slice(start..end);
        correct += fit::correct(&answers(&part)?, &part);
        progress.update(end, test.len(), "");
    }
    progress.finish();
    Ok(correct)
}
