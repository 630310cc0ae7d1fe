//! `releq train`: a network of the zoo, from nothing.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::{DataOption, DeviceOption, Failure, Outcome, check_writable, print_json};
use crate::data::Which;
use crate::data::augment::Augment;
use crate::search::split;
use crate::terminal::{self, Progress};
use crate::train::fit::{self, Schedule};
use crate::train::interrupt::Interrupt;
use crate::train::model::Model;
use crate::train::resume::{Resume, beside};
use crate::{checkpoint, zoo};

/// Example: releq train --model lenet --data mnist -o lenet.safetensors
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq train --model lenet --data mnist -o lenet.safetensors")]
pub(super) struct Arguments {
    /// Which network: lenet, simplenet, alexnet, svhn10, vgg11, vgg16, resnet8, resnet20, mobilenetv1 (with a width as
    /// in mobilenetv1-0.25) or dscnn
    #[arg(long, visible_alias = "network", value_name = "NETWORK", value_parser = classifier)]
    model: String,
    #[command(flatten)]
    data: DataOption,
    #[command(flatten)]
    device: DeviceOption,
    /// Passes over the training images; may be a fraction
    #[arg(long, default_value_t = 4.0)]
    epochs: f64,
    /// Images a step
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Learning rate at the start, falling to zero along a half cosine
    #[arg(long, default_value_t = 1.5e-3)]
    rate: f64,
    /// Learn from mirrored images, moved by up to four pixels, instead of from the images as they are
    #[arg(long)]
    augment: bool,
    /// The one seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the trained network here
    #[arg(short, long, value_name = "FILE.safetensors")]
    output: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A network of the zoo that tells classes apart.
fn classifier(name: &str) -> Result<String, String> {
    match name {
        "autoencoder" => Err("it has no classes to train on; train it elsewhere and import its weights".to_owned()),
        known if zoo::is_known(known) => Ok(known.to_owned()),
        _ => Err(format!("the networks are {}", zoo::NAMES.join(", "))),
    }
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    model: String,
    data: String,
    synthetic: bool,
    train_images: usize,
    test_images: usize,
    top1: f64,
    images_per_second: f64,
    seconds: f64,
    seed: u64,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    arguments.device.choose()?;
    let source = arguments.data.locate()?;
    let (mut train, test) = (source.load(Which::Train)?, source.load(Which::Test)?);
    // Kept back for a search to compare plans on.
    let held_out = split::held_out(train.len());
    train = train.slice(0..train.len() - held_out);
    let mut network = zoo::build(&arguments.model, train.shape, train.classes, arguments.seed).ok_or_else(|| {
        let [_, height, width] = train.shape;
        Failure::with_code(
            2,
            anyhow::anyhow!(
                "{} cannot take {height}×{width} images: they are smaller than its kernels; use a set of larger images",
                arguments.model
            ),
        )
    })?;
    network.graph.held_out = held_out;
    check_writable(&arguments.output)?;
    let model = Model::new(&network)?;
    let schedule = Schedule {
        batch: arguments.batch,
        rate: arguments.rate,
        augment: if arguments.augment { Augment::CROP_AND_FLIP } else { Augment::NONE },
        ..Schedule::adam(arguments.epochs, arguments.seed)
    };
    let started = Instant::now();
    let interrupt = Interrupt::watch();
    let mut progress = Progress::new("training");
    let mut watch = |step: fit::Progress| {
        progress.update(step.step, step.steps, &format!("loss {:.4}", step.loss));
        if interrupt.requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let resume = Resume::of_training(&beside(&arguments.output), &network, &train, &schedule);
    let fitted = fit::fit_kept(&model, None, &train, &schedule, Some(&resume), &mut watch);
    progress.finish();
    fitted.map_err(super::fit_failure)?;
    let seconds = started.elapsed().as_secs_f64();
    let top1 = 100.0 * fit::accuracy(&model, &test)?;
    checkpoint::save(&model.network()?, &arguments.output)?;
    resume.done();
    let report = Report {
        schema: 1,
        model: arguments.model.clone(),
        data: source.name().to_owned(),
        synthetic: source.synthetic(),
        train_images: train.len(),
        test_images: test.len(),
        top1,
        images_per_second: arguments.epochs * train.len() as f64 / seconds,
        seconds,
        seed: arguments.seed,
    };
    if arguments.json {
        print_json(&report)?;
    } else {
        let synthetic = if report.synthetic { " (synthetic)" } else { "" };
        terminal::answer(&format!(
            "{}  top-1 {top1:.2} % on {} {}{synthetic} test images  {seconds:.1} s  → {}\n",
            report.model,
            report.test_images,
            report.data,
            arguments.output.display()
        ))?;
    }
    Ok(true)
}
