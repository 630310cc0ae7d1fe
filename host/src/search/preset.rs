//! The two ways to search: as published, and as users ask.

use serde::{Deserialize, Serialize};

use crate::train::quantize::{Method, Recipe};

/// What is asked of a plan, and how plans are fine-tuned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Fewest mean bits whose predicted loss is allowed; learned scales, distillation, Adam
    #[default]
    Default,
    /// The paper's reward, quantizer and agent; trades accuracy for bits as its reward does
    Paper,
}

/// A quantizer without a learned scale, as the paper and its authors' scripts use them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Published {
    /// WRPN: clamp to ±1, one fixed scale; the paper's
    Wrpn,
    /// DoReFa: tanh, one fixed scale; the authors' for LeNet and ResNet-20
    #[default]
    Dorefa,
}

impl Preset {
    /// The agent that searches unless another is named.
    pub fn agent(self) -> &'static str {
        match self {
            Self::Default => "ppo-surrogate",
            Self::Paper => "ppo",
        }
    }

    /// How plans are fine-tuned; each stage of a search sets its own number of images.
    pub fn recipe(self, quantizer: Published, seed: u64) -> Recipe {
        match (self, quantizer) {
            (Self::Default, _) => Recipe::learned(0.0, seed),
            (Self::Paper, Published::Wrpn) => Recipe::authors(Method::Wrpn, 0.0, seed),
            (Self::Paper, Published::Dorefa) => Recipe::authors(Method::Dorefa, 0.0, seed),
        }
    }
}
