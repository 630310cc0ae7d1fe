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
mod walk;
mod weights;
mod whole;

pub use error::ImportError;
pub use onnx::onnx;
pub use table::{LayerRow, layer_table};
pub use weights::weights;

use crate::lower::fuse;
use crate::network::Network;
use crate::train::fold::fold;

/// Whether an image has a layer for everything in `network`, batch norms folded.
///
/// # Errors
/// The first layer that has none, in a sentence with its cause and remedy.
pub fn check_lowering(network: &Network) -> Result<(), String> {
    let mut folded = fold(network).map_err(|error| error.to_string())?;
    fuse::hoist_relu(&mut folded.graph);
    fuse::blocks(&folded.graph).map(drop).map_err(|error| error.to_string())
}

/// A network from another tool's file.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The network; its input takes pixel / 255 until [`Imported::normalised`] says otherwise.
    pub network: Network,
    /// What was left out or assumed, one sentence each, for the user to read.
    pub notes: Vec<String>,
}

impl Imported {
    /// Sets how pixels become floats, as in training: `x = (pixel / 255 − mean) / std`, one value a channel.
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
        input.mean = mean.to_vec();
        input.std = std.to_vec();
        self.notes.retain(|note| note != onnx::ASSUMED_UNIT);
        Ok(self)
    }
}
