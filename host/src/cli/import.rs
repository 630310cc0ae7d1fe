//! `releq import`: a trained network from another tool's file.

use std::path::PathBuf;

use super::{Outcome, inspect};
use crate::{checkpoint, import, terminal};

/// Example: releq import lenet.onnx -o lenet.safetensors
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq import lenet.onnx -o lenet.safetensors")]
pub(super) struct Arguments {
    /// An ONNX or TFLite file
    model: PathBuf,
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
    let mut imported = import::model(&arguments.model)?;
    if !arguments.mean.is_empty() {
        let channels = imported.network.graph.input.shape[0];
        imported = imported.normalised(&each(&arguments.mean, channels), &each(&arguments.std, channels))?;
    }
    if let (Some(scale), Some(zero_point)) = (arguments.scale, arguments.zero_point) {
        imported = imported.scaled(scale, zero_point)?;
    }
    imported.notes.iter().for_each(|note| terminal::say(&format!("note: {note}")));
    if let Some(output) = &arguments.output {
        checkpoint::save(&imported.network, output)?;
        terminal::say(&format!("wrote {}", output.display()));
    }
    inspect::print_model(&imported.network, arguments.json)?;
    Ok(true)
}

/// One value stands for all channels.
fn each(values: &[f32], channels: usize) -> Vec<f32> {
    match values {
        &[one] => vec![one; channels],
        values => values.to_vec(),
    }
}
