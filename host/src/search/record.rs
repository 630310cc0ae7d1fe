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
use crate::{target, whole};

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
    /// What it is the answer to; runs of older versions have it in their record alone.
    #[serde(default)]
    pub(super) asked: Option<RunRecord>,
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

/// Files of a run: what it was asked last, written when a search begins.
pub const RUN: &str = "run.json";
/// The front.
pub const FRONT: &str = "front.json";
/// The result, with what it answers.
pub const RESULT: &str = "result.json";

impl RunRecord {
    /// Writes it into the run's directory, for a search that begins. The record of a finished run of an older version
    /// stays until that has another result: it is the only place that says what the result answers.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, run: &Path) -> std::io::Result<()> {
        if matches!(Answered::of(run), Ok(Answered { asked: None })) {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::other)? + "\n";
        whole::write(&run.join(RUN), text.as_bytes())
    }

    /// Whether the run in `run` was finished when it was asked the same of other boards or budgets: all that a search
    /// could learn is then known. What has been asked since and was not finished does not count.
    pub fn is_settled(&self, run: &Path) -> bool {
        let Ok(before) = Answered::of(run).and_then(|answered| answered.record(run)) else { return false };
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

/// What the result of a run answers.
#[derive(Deserialize)]
struct Answered {
    #[serde(default)]
    asked: Option<RunRecord>,
}

impl Answered {
    fn of(run: &Path) -> Result<Self, RecordError> {
        document(run, RESULT)
    }

    /// What was asked, wherever it is kept.
    fn record(self, run: &Path) -> Result<RunRecord, RecordError> {
        self.asked.map_or_else(|| document(run, RUN), Ok)
    }
}

/// What a finished run left in `run`.
///
/// # Errors
/// [`RecordError::Unfinished`] with the file that is missing or not to be read.
pub fn read(run: &Path) -> Result<(RunRecord, Outcome, Front), RecordError> {
    let mut outcome: Outcome = document(run, RESULT)?;
    let record = Answered { asked: outcome.asked.take() }.record(run)?;
    Ok((record, outcome, document(run, FRONT)?))
}

fn document<T: serde::de::DeserializeOwned>(run: &Path, file: &'static str) -> Result<T, RecordError> {
    let unfinished = |error: String| RecordError::Unfinished { run: run.to_owned(), file, error };
    let text = std::fs::read(run.join(file)).map_err(|error| unfinished(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| unfinished(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(episodes: u64, flash: Option<u64>) -> RunRecord {
        RunRecord {
            schema: 1,
            key: "0".to_owned(),
            model: "/net.onnx".into(),
            data: None,
            val: None,
            preset: Preset::Default,
            quantizer: Published::Dorefa,
            agent: "ppo".to_owned(),
            weights: vec![2, 8],
            activations: vec![8],
            minimize: Minimize::Bits,
            pin_ends: false,
            episodes,
            seed: 1,
            actors: 2,
            short: 10,
            long: 20,
            last: 30,
            max_loss: None,
            boards: Vec::new(),
            budgets: Asked { flash, ..Asked::default() },
        }
    }

    /// A result as a search writes it, as far as records go; `None` as older versions did.
    fn finish(run: &Path, asked: Option<&RunRecord>) {
        let mut result = serde_json::json!({
            "plan": "2,2", "float_validation_top1": 99.0, "evaluated": [], "attempts": [],
        });
        if let Some(asked) = asked {
            result["asked"] = serde_json::to_value(asked).unwrap();
        }
        std::fs::write(run.join(RESULT), result.to_string()).unwrap();
        std::fs::write(run.join(FRONT), r#"{"schema":1,"measured":0,"points":[]}"#).unwrap();
    }

    #[test]
    fn a_run_that_only_began_is_not_settled() {
        let room = tempfile::tempdir().unwrap();
        let run = room.path();
        assert!(!record(9, None).is_settled(run));
        record(9, None).write(run).unwrap();
        assert!(!record(9, Some(1)).is_settled(run));
        assert!(matches!(read(run), Err(RecordError::Unfinished { file: RESULT, .. })));
    }

    #[test]
    fn what_counts_is_what_the_result_answers() {
        let room = tempfile::tempdir().unwrap();
        let run = room.path();
        let finished = record(9, None);
        finished.write(run).unwrap();
        finish(run, Some(&finished));
        assert!(!finished.is_settled(run), "asked the same it goes through it all again");
        assert!(record(9, Some(1)).is_settled(run));
        // Begun for another budget and killed, it is still settled for that one and any other.
        record(9, Some(1)).write(run).unwrap();
        assert!([1, 2].iter().all(|&flash| record(9, Some(flash)).is_settled(run)));
        // Begun for more episodes and killed, it is not settled for these.
        record(20, None).write(run).unwrap();
        assert!(!record(20, Some(1)).is_settled(run) && record(9, Some(1)).is_settled(run));
        assert_eq!(read(run).unwrap().0, finished, "what was exported before is exported still");
    }

    #[test]
    fn a_finished_run_of_an_older_version_keeps_its_record_until_there_is_another_result() {
        let room = tempfile::tempdir().unwrap();
        let run = room.path();
        let [old, new] = [record(9, None), record(20, None)];
        old.write(run).unwrap();
        finish(run, None);
        new.write(run).unwrap();
        assert_eq!(read(run).unwrap().0, old);
        assert!(record(9, Some(1)).is_settled(run) && !record(20, Some(1)).is_settled(run));
        finish(run, Some(&new));
        new.write(run).unwrap();
        assert_eq!(document::<RunRecord>(run, RUN).unwrap(), new);
    }
}
