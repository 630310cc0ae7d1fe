//! Live search: a trained network and a dataset become the cheapest plan whose predicted final loss is allowed, and
//! then its fine-tuned network.
//!
//! [`minimize`] is what plans are made small in; [`split`] says which images tune, validate and test; a [`preset`] how
//! plans are fine-tuned; [`mod@bench`] fine-tunes plans and measures them on the validation images, each once, in a log that a killed search resumes from; [`forecast`]
//! predicts the loss after a long fine-tune from the divergence after a short one; [`probes`] say which layers are fragile
//! before anything is evaluated; a [`judge`] says what was lost then,
//! on few images; [`hunt`] spends the budget in rounds, re-ranks the best plans longer, fine-tunes the chosen one, as
//! often as the [`attempts`] so far make it worth while, and takes the test set once for its [`verdict`]. Long fine-tunes
//! are kept on a [`shelf`]; a [`comparison`] sets other plans of the same cost beside the chosen one, and [`nearest`] says
//! what would do where it does not. All that was measured has a [`front`]; a [`record`] of the run lets points of it be
//! exported, [`stage`] lets it be watched, and [`why`] asks what single bits are worth. A [`crew`] of other processes may do the measuring. [`census`] measures every plan instead, and a
//! [`contest`] races all searchers.

pub mod attempts;
pub mod bench;
pub mod census;
pub mod comparison;
pub mod contest;
pub mod crew;
pub mod forecast;
pub mod front;
pub mod hunt;
pub mod judge;
pub mod minimize;
pub mod nearest;
pub mod preset;
pub mod pricing;
pub mod probes;
pub mod record;
mod rounds;
pub mod shelf;
pub mod split;
pub mod stage;
pub mod verdict;
pub mod why;

use std::path::PathBuf;

use releq_search::network::{LayerFeatures, Network as Features, NetworkError};

use crate::codes::{self, CodesError};
use crate::cost::plans::PlansError;
use crate::import::layer_table;
use crate::lower::LowerError;
use crate::network::Network;

/// Why a search ended without an answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The network cannot be searched.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Its shapes do not fit.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// Its codes cannot be followed.
    #[error(transparent)]
    Codes(#[from] CodesError),
    /// Its weights cannot be quantized.
    #[error(transparent)]
    Quantize(#[from] crate::train::quantize::QuantizeError),
    /// Its plans have no costs.
    #[error(transparent)]
    Plans(#[from] PlansError),
    /// A plan could not be fine-tuned.
    #[error(transparent)]
    Bench(#[from] bench::BenchError),
    /// No plan can be fine-tuned.
    #[error(
        "no plan can be chosen: all that could be came to no numbers, the last with `{why}`; \
         give wider --weights and --activations, or a network that is trained further"
    )]
    Diverged {
        /// What came of the last.
        why: String,
    },
    /// The searcher itself failed.
    #[error("the search failed: {0}; run the same command to go on from its log")]
    Searcher(String),
    /// The image of the chosen plan does not run here.
    #[error("the image of the chosen plan does not run here: {0}; search a network with fewer layers")]
    Engine(#[from] releq_device::OpenError),
    /// The run's directory is of no use.
    #[error("cannot keep {}: {cause}; what was measured is in the log; free some space and run the same command", path.display())]
    Shelf {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A fine-tuned float network could not be kept.
    #[error(transparent)]
    Checkpoint(#[from] crate::checkpoint::CheckpointError),
    /// Candle failed.
    #[error("the search failed in training: {0}; run the same command to go on from its log")]
    Candle(#[from] candle_core::Error),
    /// Training failed.
    #[error(transparent)]
    Fit(#[from] crate::train::fit::FitError),
    /// The log could not be used.
    #[error(transparent)]
    Record(#[from] releq_search::record::RecordError),
}

impl SearchError {
    /// Why the fine-tune of a plan diverged, if that is what it says.
    pub fn divergence(&self) -> Option<String> {
        match self {
            Self::Bench(error) => error.divergence(),
            Self::Lower(error @ LowerError::Range { .. }) => Some(error.to_string()),
            _ => None,
        }
    }

    /// Whether the user asked to stop.
    pub fn is_interruption(&self) -> bool {
        use crate::train::fit::FitError::Interrupted;
        matches!(self, Self::Fit(Interrupted) | Self::Bench(bench::BenchError::Interrupted))
    }
}

/// What a search knows of each weighted layer, and whose codes it reads.
///
/// # Errors
/// Shapes that do not fit, no weighted layer, or a graph that cannot become an image.
pub fn features(network: &Network) -> Result<Features, SearchError> {
    let rows = layer_table(network).map_err(LowerError::Shape)?;
    let weighted = network.graph.weighted();
    let layer = |index: &usize| {
        let weight = network.parameters.get(&format!("{}.weight", network.graph.nodes[*index].name))?;
        let size = |axis: usize| weight.shape.get(axis).map_or(0, |&size| size as u32);
        let count = weight.data.len().max(1) as f64;
        let mean = weight.data.iter().copied().map(f64::from).sum::<f64>() / count;
        let square = weight.data.iter().map(|&w| (f64::from(w) - mean).powi(2)).sum::<f64>();
        Some(LayerFeatures {
            weights: weight.data.len() as u64,
            macs: rows[*index].macs,
            inputs: size(1),
            outputs: size(0),
            kernel: size(2),
            deviation: (square / count).sqrt(),
        })
    };
    let (reads, _) = codes::read(network)?;
    Ok(Features::reading(weighted.iter().filter_map(layer).collect(), reads)?)
}
