//! `releq import`: a trained network from another tool's file.

use std::path::PathBuf;

use serde::Serialize;

use super::{Failure, Outcome, inspect, print_json};
use crate::checkpoint::CheckpointError;
use crate::import::{ImportError, Imported};
use crate::{checkpoint, import, lower, terminal};

/// Example: releq import lenet.onnx -o lenet.safetensors
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  releq import lenet.onnx -o lenet.safetensors\n  \
    releq import resnet20.safetensors --network resnet20 --mean .485,.456,.406 --std .229,.224,.225 -o net.safetensors")]
pub(super) struct Arguments {
    /// An ONNX or TFLite file, or weights alone (.safetensors) with --network
    model: PathBuf,
    /// The network that these weights are of: lenet, simplenet, alexnet, svhn10, vgg11, vgg16, resnet8, resnet20,
    /// mobilenetv1, dscnn or autoencoder
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,
    /// Mean of each channel that training subtracted, in units of pixel / 255; one for all may do
    #[arg(long, value_delimiter = ',', value_name = "M,...", requires = "std", allow_hyphen_values = true)]
    mean: Vec<f32>,
    /// Standard deviation of each channel that training divided by, in units of pixel / 255; one for all may do
    #[arg(long, value_delimiter = ',', value_name = "S,...", requires = "mean")]
    std: Vec<f32>,
    /// Instead of mean and std: what one step of an int8 input is, as a quantized model says; 1 for pixels as they are
    #[arg(long, value_name = "S", requires = "zero_point", conflicts_with = "mean", allow_hyphen_values = true)]
    scale: Option<f32>,
    /// The int8 input that stands for 0; -128 for pixels as they are
    #[arg(long, value_name = "Z", requires = "scale", allow_hyphen_values = true)]
    zero_point: Option<i8>,
    /// Write the network here, for `train` and `quantize`
    #[arg(short, long, value_name = "FILE.safetensors")]
    output: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let imported = read(arguments).inspect_err(|error| {
        if let (true, CheckpointError::Import(error)) = (arguments.json, error) {
            // The refusal itself decides the exit code, whether or not anybody reads this.
            let _ = print_json(&Refusals::of(error));
        }
    })?;
    imported.notes.iter().for_each(|note| terminal::note(note));
    inspect::print_model(&imported.network, arguments.json)?;
    lower::check(&imported.network).map_err(|error| Failure::with_code(2, anyhow::anyhow!(error)))?;
    if let Some(output) = &arguments.output {
        checkpoint::save(&imported.network, output)?;
        terminal::say(&format!("wrote {}", output.display()));
    }
    Ok(true)
}

fn read(arguments: &Arguments) -> Result<Imported, CheckpointError> {
    let saved = arguments.model.extension().is_some_and(|extension| extension == "safetensors");
    let imported = match &arguments.network {
        Some(network) => import::weights(&arguments.model, network)?,
        None if saved => Imported { network: checkpoint::load(&arguments.model)?, notes: Vec::new() },
        None => import::model(&arguments.model)?,
    };
    let channels = imported.network.graph.input.shape[0];
    Ok(match (arguments.scale, arguments.zero_point) {
        (Some(scale), Some(zero_point)) => imported.scaled(scale, zero_point)?,
        _ if arguments.mean.is_empty() => imported,
        _ => imported.normalised(&each(&arguments.mean, channels), &each(&arguments.std, channels))?,
    })
}

/// One value stands for all channels.
fn each(values: &[f32], channels: usize) -> Vec<f32> {
    match values {
        &[one] => vec![one; channels],
        values => values.to_vec(),
    }
}

/// Everything that stands in the way of an import.
#[derive(Serialize)]
struct Refusals {
    schema: u32,
    refused: Vec<Refusal>,
}

#[derive(Serialize)]
struct Refusal {
    /// The node in the file, where one is at fault.
    node: Option<String>,
    op: Option<String>,
    /// The whole sentence: what, why, and what makes it work.
    message: String,
}

impl Refusals {
    fn of(error: &ImportError) -> Self {
        let refusal = |error: &ImportError| {
            let (node, op) = match error {
                ImportError::Unsupported { node, op, .. } => (Some(node.clone()), Some(op.clone())),
                _ => (None, None),
            };
            Refusal { node, op, message: error.to_string() }
        };
        Self { schema: 1, refused: error.each().iter().map(refusal).collect() }
    }
}
