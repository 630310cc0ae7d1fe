//! `releq import`: a trained network from another tool's file.

use std::path::PathBuf;

use super::{Outcome, inspect};
use crate::{checkpoint, import, terminal};

/// Example: releq import lenet.onnx -o lenet.safetensors
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq import lenet.onnx -o lenet.safetensors")]
pub(super) struct Arguments {
    /// An ONNX file
    model: PathBuf,
    /// Mean of each channel that training subtracted, in units of pixel / 255
    #[arg(long, value_delimiter = ',', value_name = "M,...", requires = "std", allow_hyphen_values = true)]
    mean: Vec<f32>,
    /// Standard deviation of each channel that training divided by, in units of pixel / 255
    #[arg(long, value_delimiter = ',', value_name = "S,...", requires = "mean")]
    std: Vec<f32>,
    /// Write the network here, for `train` and `quantize`
    #[arg(short, long, value_name = "FILE.safetensors")]
    output: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let mut imported = import::onnx(&arguments.model)?;
    if !arguments.mean.is_empty() {
        imported = imported.normalised(&arguments.mean, &arguments.std)?;
    }
    imported.notes.iter().for_each(|note| terminal::say(&format!("note: {note}")));
    if let Some(output) = &arguments.output {
        checkpoint::save(&imported.network, output)?;
        terminal::say(&format!("wrote {}", output.display()));
    }
    inspect::print_model(&imported.network, arguments.json)?;
    Ok(true)
}
