//! What a run was asked, kept in its directory, so that export and why go on from it without being told again.

use std::path::{Path, PathBuf};

use releq_search::plan::BitPlan;
use serde::{Deserialize, Serialize};

use super::attempts::Attempt;
use super::front::Front;
use super::minimize::Minimize;
use super::preset::{Preset, Published};
use crate::hardware::budget::{Asked, BudgetError};
use crate::hardware::{Hardware, Place};
use crate::network::Network;
use crate::target;

/// A board by its name, and the clock it was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoardRecord {
    /// The board.
    pub name: String,
    /// Hertz, where it was not the board's own.
    pub clock: Option<f64>,
}

/// Everything that a run's measurements and images follow from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Version of this document.
    pub schema: u32,
    /// Digest of network, data and recipe, which measurements and fine-tuned images bear.
    pub key: String,
    /// The model's file, absolute.
    pub model: PathBuf,
    /// The data, as it was named.
    pub data: Option<String>,
    /// The user's own validation images.
    pub val: Option<String>,
    /// How plans are fine-tuned.
    pub preset: Preset,
    /// The quantizer of the paper's preset.
    pub quantizer: Published,
    /// Who searched.
    pub agent: String,
    /// Weight bits to choose from.
    pub weights: Vec<u8>,
    /// Bits of the codes between layers to choose from.
    pub activations: Vec<u8>,
    /// What the chosen plan has least of.
    pub minimize: Minimize,
    /// Whether the first and the last layer are held at their widest.
    pub pin_ends: bool,
    /// Most distinct plans to evaluate.
    pub episodes: u64,
    /// The seed.
    pub seed: u64,
    /// Plans fine-tuned side by side.
    pub actors: u8,
    /// Images of a short fine-tune.
    pub short: usize,
    /// Images of a longer one.
    pub long: usize,
    /// Images of the chosen plan's.
    pub last: usize,
    /// Most loss, points; none where the least was wanted.
    pub max_loss: Option<f64>,
    /// The boards.
    pub boards: Vec<BoardRecord>,
    /// Budgets on hardware.
    pub budgets: Asked,
}

/// What a finished run says of its search, as far as other verbs read it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Outcome {
    /// The chosen plan.
    pub plan: BitPlan,
    /// Accuracy in floats on the validation images, percent.
    pub float_validation_top1: f64,
    /// Every plan that the searcher had evaluated.
    pub evaluated: Vec<Evaluated>,
    /// Long fine-tunes.
    pub attempts: Vec<Attempt>,
}

/// A plan and its loss in points, predicted where there is a forecast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// The plan.
    pub plan: BitPlan,
    /// Points.
    pub loss: f64,
    /// Under the search's objective.
    pub value: f64,
    /// Why it diverged, if it did: its loss is then the worst there is, and it is never chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<String>,
}

/// Why a directory cannot be gone on from.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There is no finished run.
    #[error(
        "{run} holds no finished search: {error} ({file}); \
         finish it with the same `releq search … -o {run}`, or name another directory",
        run = run.display()
    )]
    Unfinished {
        /// The directory.
        run: PathBuf,
        /// The file that is missing or cannot be read.
        file: &'static str,
        /// Why.
        error: String,
    },
    /// A board of the run is no longer known.
    #[error(transparent)]
    Board(#[from] target::TargetError),
    /// A budget of the run cannot be weighed.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// The network cannot be lowered.
    #[error(transparent)]
    Nominal(#[from] crate::cost::nominal::NominalError),
}

/// Files of a run.
pub const RUN: &str = "run.json";
/// The front.
pub const FRONT: &str = "front.json";
/// The result.
pub const RESULT: &str = "result.json";

impl RunRecord {
    /// Whether the run in `run` is finished and was asked the same of other boards or budgets: all that a search could
    /// learn is then known.
    pub fn is_settled(&self, run: &Path) -> bool {
        let Ok(before) = document::<Self>(run, RUN) else { return false };
        let (boards, budgets) = (self.boards.clone(), self.budgets);
        before != *self && Self { boards, budgets, ..before } == *self
    }

    /// The network on the run's boards, within its budgets.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn hardware(&self, network: &Network) -> Result<Hardware, RecordError> {
        let method = self.preset.recipe(self.quantizer, self.seed).method;
        let place = |board: &BoardRecord| Ok::<_, RecordError>(Place::new(target::board(&board.name)?, board.clock));
        let places = self.boards.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let limits = self.budgets.limits(&places)?;
        Ok(Hardware::new(network, method, places)?.within(limits))
    }
}

/// What a finished run left in `run`.
///
/// # Errors
/// [`RecordError::Unfinished`] with the file that is missing or not to be read.
pub fn read(run: &Path) -> Result<(RunRecord, Outcome, Front), RecordError> {
    Ok((document(run, RUN)?, document(run, RESULT)?, document(run, FRONT)?))
}

fn document<T: serde::de::DeserializeOwned>(run: &Path, file: &'static str) -> Result<T, RecordError> {
    let unfinished = |error: String| RecordError::Unfinished { run: run.to_owned(), file, error };
    let text = std::fs::read(run.join(file)).map_err(|error| unfinished(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| unfinished(error.to_string()))
}
