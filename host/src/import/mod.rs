//! Import of trained models: another tool's file becomes releq's float network, or an error that says what to change.
//!
//! What a file holds beyond the network (a final softmax, dropout) is left out and noted; anything that would change
//! what the network computes is refused by name.

mod call;
mod error;
mod layers;
mod names;
mod onnx;
mod pooling;
mod proto;
mod shaping;
mod slicing;
mod table;
mod tensor;
#[cfg(test)]
mod tests;
mod tflite;
mod walk;
mod weights;
mod whole;

pub use error::ImportError;
pub use onnx::onnx;
pub use table::{LayerRow, layer_table};
pub use tflite::tflite;
pub use weights::weights;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::network::{Network, Node, Op, Source};

/// A network from another tool's file.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The network; its input takes pixel / 255 until [`Imported::normalised`] says otherwise.
    pub network: Network,
    /// What was left out or assumed, one sentence each, for the user to read.
    pub notes: Vec<String>,
}

impl Imported {
    /// Sets how pixels become what the model takes, as in training: `x = (pixel / 255 − mean) / std`, one value a
    /// channel. What the model itself does to its input first is kept: call this once.
    ///
    /// # Errors
    /// [`ImportError::Normalisation`] if there is not one value a channel, or a `std` is not above zero.
    pub fn normalised(mut self, mean: &[f32], std: &[f32]) -> Result<Self, ImportError> {
        let input = &mut self.network.graph.input;
        let channels = input.shape[0];
        if mean.len() != channels || std.len() != channels {
            let cause = format!("the input has {channels} channel(s), not {} means and {} stds", mean.len(), std.len());
            return Err(ImportError::Normalisation(cause));
        }
        let usable = mean.iter().all(|mean| mean.is_finite()) && std.iter().all(|std| std.is_finite() && *std > 0.0);
        if !usable {
            return Err(ImportError::Normalisation(format!("mean {mean:?} or std {std:?} is out of range")));
        }
        // Where x enters, the file's own (x − mean) / std follows.
        for (channel, (mean, std)) in mean.iter().zip(std).enumerate() {
            input.mean[channel] = mean + std * input.mean[channel];
            input.std[channel] *= std;
        }
        self.notes.retain(|note| note != onnx::ASSUMED_UNIT && note != tflite::ASSUMED_UNIT);
        Ok(self)
    }

    /// Sets how int8 features become floats: `x = scale · (q − zero point)`, as a quantized TFLite model states for its
    /// input. A byte of data is `q + 128`; pixels that enter as they are have scale 1 and zero point −128.
    ///
    /// # Errors
    /// [`ImportError::Normalisation`] if the scale is not above zero.
    pub fn scaled(self, scale: f32, zero_point: i8) -> Result<Self, ImportError> {
        let channels = self.network.graph.input.shape[0];
        let mean = (f32::from(zero_point) + 128.0) / 255.0;
        self.normalised(&vec![mean; channels], &vec![1.0 / (255.0 * scale); channels]).map(Self::tamed)
    }

    /// The same function of an input that reaches to about 1: what the input loses, the weights that read it gain.
    ///
    /// Weights that meet inputs of 255 are so small that the steps of fine-tuning would drown them. The factor is a
    /// power of two, so every product stays what it was.
    fn tamed(mut self) -> Self {
        let Network { graph, parameters } = &mut self.network;
        let ends = |(mean, std): (&f32, &f32)| mean.abs().max((1.0 - mean).abs()) / std;
        let reach = graph.input.mean.iter().zip(&graph.input.std).map(ends).fold(0.0, f32::max);
        let factor = reach.log2().round().exp2();
        let readers = graph.nodes.iter().filter(|node| node.inputs.contains(&Source::Input));
        let weighted = |node: &Node| matches!(node.op, Op::Conv { .. } | Op::Dense { .. });
        if !factor.is_normal() || !readers.clone().all(weighted) {
            return self;
        }
        for node in readers {
            let weight = parameters.get_mut(&format!("{}.weight", node.name));
            weight.into_iter().flat_map(|weight| &mut weight.data).for_each(|weight| *weight *= factor);
        }
        graph.input.std.iter_mut().for_each(|std| *std *= factor);
        self
    }
}

/// Whether `path` is a TFLite model, by its content.
pub fn is_tflite(path: &Path) -> bool {
    let mut head = [0; 8];
    // A pipe might never give a byte.
    let opened = if path.is_file() { File::open(path).ok() } else { None };
    opened.is_some_and(|mut file| file.read_exact(&mut head).is_ok()) && tflite::is_tflite(&head)
}

/// Imports an ONNX or a TFLite model; the content says which.
///
/// # Errors
/// Those of [`onnx`] and [`tflite`].
pub fn model(path: &Path) -> Result<Imported, ImportError> {
    let by_name = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tflite"));
    if by_name || is_tflite(path) { tflite(path) } else { onnx(path) }
}
