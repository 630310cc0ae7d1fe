//! The plan: how many bits each layer's weights and activations get.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// Fewest and most bits a weight or an activation may have.
pub const BITS: core::ops::RangeInclusive<u8> = 1..=8;

/// Bits of one layer: its weights, and the activations it produces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LayerBits {
    /// Bits of each weight, 1..=8.
    pub weights: u8,
    /// Bits of each output activation, 1..=8.
    pub activations: u8,
}

/// Bits of every weighted layer of a network, in forward order.
///
/// Written as weight bits `2,2,3,2`, or with activation bits after a colon: `2:8,2:4,3:4,2:8`.
/// The output layer's activation bits say nothing, since logits stay 32-bit; they are kept at what was written.
///
/// Records hold it as that text, so that a log reads as one types and a width outside 1..=8 is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BitPlan(Vec<LayerBits>);

/// Why a text is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A number is missing or is no number.
    #[error(
        "`{0}` is not a bit-width; a plan is one number a layer, like 2,2,3,2 (weights) or 2:8,2:4 (weights:activations)"
    )]
    NotANumber(String),
    /// A width outside 1..=8.
    #[error("{0} bits are outside 1..=8; write widths from 1 to 8")]
    OutOfRange(u8),
}

impl BitPlan {
    /// A plan from its layers.
    ///
    /// # Errors
    /// [`PlanError::OutOfRange`] for the first width outside 1..=8.
    pub fn new(layers: Vec<LayerBits>) -> Result<Self, PlanError> {
        let widths = layers.iter().flat_map(|layer| [layer.weights, layer.activations]);
        match widths.into_iter().find(|bits| !BITS.contains(bits)) {
            Some(bits) => Err(PlanError::OutOfRange(bits)),
            None => Ok(Self(layers)),
        }
    }

    /// The same width for every layer's weights, with 8-bit activations.
    ///
    /// # Errors
    /// [`PlanError::OutOfRange`] if `weights` is outside 1..=8.
    pub fn uniform(weights: u8, layers: usize) -> Result<Self, PlanError> {
        Self::new(vec![LayerBits { weights, activations: 8 }; layers])
    }

    /// A plan whose widths a room of this crate has already checked, such as one put together from a space's.
    pub(crate) fn from_checked(layers: Vec<LayerBits>) -> Self {
        Self(layers)
    }

    /// The plan for a network of `layers` layers: a single width stands for all; any other plan stays what it is.
    #[must_use]
    pub fn for_layers(self, layers: usize) -> Self {
        match self.0[..] {
            [one] => Self(vec![one; layers.max(1)]),
            _ => self,
        }
    }

    /// The layers in forward order.
    pub fn layers(&self) -> &[LayerBits] {
        &self.0
    }

    /// Weight bits of every layer, in forward order.
    pub fn weights(&self) -> impl ExactSizeIterator<Item = u8> + '_ {
        self.0.iter().map(|layer| layer.weights)
    }

    /// Bits of the codes every layer hands on, in forward order.
    pub fn activations(&self) -> impl ExactSizeIterator<Item = u8> + '_ {
        self.0.iter().map(|layer| layer.activations)
    }

    /// Sum of the layers' weight bits: the mean without its division, so it compares exactly.
    pub fn total_weight_bits(&self) -> u32 {
        self.weights().map(u32::from).sum()
    }

    /// Unweighted mean of the weight bits.
    pub fn mean_weight_bits(&self) -> f64 {
        f64::from(self.total_weight_bits()) / self.0.len().max(1) as f64
    }
}

impl fmt::Display for BitPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.0.iter().all(|layer| layer.activations == 8);
        for (index, layer) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if plain {
                write!(f, "{comma}{}", layer.weights)?;
            } else {
                write!(f, "{comma}{}:{}", layer.weights, layer.activations)?;
            }
        }
        Ok(())
    }
}

impl From<BitPlan> for String {
    fn from(plan: BitPlan) -> Self {
        plan.to_string()
    }
}

impl TryFrom<String> for BitPlan {
    type Error = PlanError;

    fn try_from(text: String) -> Result<Self, PlanError> {
        text.parse()
    }
}

impl FromStr for BitPlan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let number = |part: &str| part.trim().parse::<u8>().map_err(|_| PlanError::NotANumber(part.trim().to_owned()));
        let layer = |part: &str| {
            let (weights, activations) = part.split_once(':').unwrap_or((part, "8"));
            Ok(LayerBits { weights: number(weights)?, activations: number(activations)? })
        };
        Self::new(text.split(',').map(layer).collect::<Result<_, PlanError>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_width_stands_for_all_layers() {
        let plan = |text: &str| text.parse::<BitPlan>().unwrap();
        assert_eq!(plan("4:3").for_layers(3), plan("4:3,4:3,4:3"));
        assert_eq!(plan("2,3").for_layers(3), plan("2,3"), "its length is for others to refuse");
    }

    #[test]
    fn text_round_trips() {
        for text in ["2,2,3,2", "8", "2:8,2:4,3:4,2:8"] {
            assert_eq!(text.parse::<BitPlan>().unwrap().to_string(), text);
        }
        assert_eq!("2,2,3,2".parse::<BitPlan>().unwrap().mean_weight_bits(), 2.25);
    }

    #[test]
    fn records_hold_the_text() {
        let plan: BitPlan = "2:8,2:4".parse().unwrap();
        assert_eq!(serde_json::to_string(&plan).unwrap(), "\"2:8,2:4\"");
        assert_eq!(serde_json::from_str::<BitPlan>("\"2:8,2:4\"").unwrap(), plan);
        assert!(serde_json::from_str::<BitPlan>("\"2,9\"").unwrap_err().to_string().contains("outside 1..=8"));
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!("2,,3".parse::<BitPlan>(), Err(PlanError::NotANumber(String::new())));
        assert_eq!("2,9".parse::<BitPlan>(), Err(PlanError::OutOfRange(9)));
        assert_eq!("0".parse::<BitPlan>(), Err(PlanError::OutOfRange(0)));
    }
}
