//! What a run left behind, as far as a report shows it. Every part may be missing, and what is unknown is passed over,
//! so that runs of older and newer versions read.

use serde::{Deserialize, Serialize};

use crate::plan::Plan;

/// A run directory, read. Parts that it does not hold are `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// The directory, as it was named.
    pub name: String,
    /// What was asked: what `result.json` is the answer to, or else `run.json`, which a search writes when it begins.
    pub asked: Option<Asked>,
    /// `run.json` where a search was asked something else since there was a result, and has none yet.
    pub later: Option<Asked>,
    /// `stage.json`: what the search is doing, or was when it was stopped.
    pub stage: Option<Stage>,
    /// `result.json`: what was found.
    pub outcome: Option<Outcome>,
    /// `front.json`: the plans that no other beats.
    pub front: Option<Front>,
    /// `comparison.json`: other plans of the same bits.
    pub comparison: Vec<Rival>,
    /// `race.json`: what every agent reached.
    pub race: Vec<Standing>,
    /// `episodes.jsonl`, in the order of their lines.
    pub episodes: Vec<Episode>,
    /// `measurements.jsonl`.
    pub measurements: Vec<Measurement>,
    /// What the image of the chosen plan holds; the caller reads it.
    pub image: Option<Image>,
    /// What a board counted; the caller names its file.
    pub bench: Option<Bench>,
}

/// How far a run came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It has a result.
    Finished,
    /// Agents were raced, and nothing was chosen.
    Raced,
    /// It is still going on, or it was stopped.
    Unfinished,
}

impl Run {
    /// How far it came.
    pub fn state(&self) -> State {
        match (&self.outcome, self.race.is_empty()) {
            (Some(_), _) => State::Finished,
            (None, false) => State::Raced,
            (None, true) => State::Unfinished,
        }
    }

    /// The episode of the largest value, the first of equals.
    pub fn best(&self) -> Option<&Episode> {
        let value = |episode: &Episode| episode.value.filter(|value| !value.is_nan()).unwrap_or(f64::NEG_INFINITY);
        self.episodes.iter().reduce(|best, next| if value(next) > value(best) { next } else { best })
    }

    /// The chosen plan as it is written, or the best that was tried so far.
    pub fn chosen(&self) -> Option<&str> {
        match &self.outcome {
            Some(outcome) => Some(&outcome.plan),
            None => self.best().map(|episode| episode.plan.as_str()),
        }
    }

    /// The same, read.
    pub fn plan(&self) -> Option<Plan> {
        self.chosen().and_then(Plan::parse)
    }

    /// What the bench timed of this run's image: by its checksum where that is known, else the one with the same layers.
    pub fn timing(&self) -> Option<&Timing> {
        let images = &self.bench.as_ref()?.images;
        match &self.image {
            Some(image) => images.iter().find(|timing| timing.crc == image.crc),
            None => images.iter().find(|timing| self.has_layers_of(timing)),
        }
    }

    fn has_layers_of(&self, timing: &Timing) -> bool {
        let Some(outcome) = &self.outcome else { return false };
        let names = outcome.layers.iter().map(|layer| &layer.name);
        !outcome.layers.is_empty() && names.eq(timing.layers.iter().map(|layer| &layer.name))
    }

    /// Plans whose fine-tune diverged, once each, with the images it was given where that is known, and why.
    pub fn diverged(&self) -> Vec<(&str, Option<u64>, &str)> {
        let mut found: Vec<(&str, Option<u64>, &str)> = Vec::new();
        let measured = self.measurements.iter();
        let measured = measured.filter_map(|one| Some((one.plan.as_str(), one.images, one.diverged.as_deref()?)));
        let front = self.front.iter().flat_map(|front| &front.diverged);
        let front = front.map(|one| (one.plan.as_str(), None, one.why.as_str()));
        for one in measured.chain(front) {
            if found.iter().all(|(plan, ..)| *plan != one.0) {
                found.push(one);
            }
        }
        found
    }

    /// Names of the layers that have weights, in forward order; empty where the run does not say.
    pub fn weighted(&self) -> Vec<&str> {
        let layers = self.outcome.iter().flat_map(|outcome| &outcome.layers);
        layers.filter(|layer| layer.w.is_some()).map(|layer| layer.name.as_str()).collect()
    }
}

/// What a search is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stage {
    /// In a few words.
    pub doing: String,
    /// Plans evaluated by the searcher so far.
    pub done: Option<u64>,
    /// Its budget.
    pub of: Option<u64>,
    /// Measurements that were there when it began.
    pub known: Option<u64>,
    /// When it began, in seconds since 1970.
    pub started: Option<u64>,
}

/// What the search was asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// Digest of network, data and recipe.
    pub key: String,
    /// The model's file.
    pub model: String,
    /// The data, as it was named.
    pub data: Option<String>,
    /// The user's own validation images.
    pub val: Option<String>,
    /// How plans are fine-tuned.
    pub preset: String,
    /// The quantizer of the paper's preset.
    pub quantizer: String,
    /// Who searched.
    pub agent: String,
    /// Weight bits to choose from, 1..=8.
    pub weights: Vec<u8>,
    /// Activation bits to choose from, 1..=8.
    pub activations: Vec<u8>,
    /// What was made small.
    pub minimize: String,
    /// Whether the first and the last layer were held at their widest.
    pub pin_ends: bool,
    /// Most distinct plans to evaluate.
    pub episodes: Option<u64>,
    /// The seed.
    pub seed: Option<u64>,
    /// Plans fine-tuned side by side.
    pub actors: Option<u64>,
    /// Images of a short fine-tune.
    pub short: Option<u64>,
    /// Images of a longer one.
    pub long: Option<u64>,
    /// Images of the chosen plan's.
    pub last: Option<u64>,
    /// Most loss, points.
    pub max_loss: Option<f64>,
    /// The boards.
    pub boards: Vec<BoardAsked>,
    /// Budgets on hardware.
    pub budgets: Budgets,
}

/// A board and the clock it was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BoardAsked {
    /// The board.
    pub name: String,
    /// Hertz, where it was not the board's own.
    pub clock: Option<f64>,
}

/// Most that an image may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Budgets {
    /// Bytes.
    pub flash: Option<u64>,
    /// Bytes.
    pub ram: Option<u64>,
    /// Of an inference.
    pub instructions: Option<f64>,
    /// Of an inference.
    pub latency: Option<Latency>,
}

/// A time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// Whole seconds.
    pub secs: u64,
    /// The rest, nanoseconds.
    pub nanos: u32,
}

/// What a finished search found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// What it is the answer to; results of older versions do not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// The network's name.
    pub model: String,
    /// The data set's name.
    pub data: String,
    /// Whether its images were drawn by releq.
    pub synthetic: bool,
    /// Who searched.
    pub agent: String,
    /// The chosen plan.
    pub plan: String,
    /// The plan of the largest value.
    pub best_seen: Option<String>,
    /// What the policy would choose.
    pub greedy: Option<String>,
    /// The last plan evaluated.
    pub last: Option<String>,
    /// Whether the loss and every budget are kept.
    pub met: Option<bool>,
    /// Most loss asked, points.
    pub max_loss: Option<f64>,
    /// What an inference takes on each board, predicted.
    pub boards: Vec<OnBoard>,
    /// Mean weight bits, 1 to 8.
    pub mean_weight_bits: Option<f64>,
    /// Mean activation bits, where these were searched, 1 to 8.
    pub mean_activation_bits: Option<f64>,
    /// State of Quantization, 1 with 8 bits everywhere.
    pub state_of_quantization: Option<f64>,
    /// What was minimised, where it is a cost of hardware.
    pub cost: Option<Cost>,
    /// The layers of the image in the order they run.
    pub layers: Vec<Layer>,
    /// How many images validate.
    pub validation_images: Option<u64>,
    /// How many test images.
    pub images: Option<u64>,
    /// Top-1 of the checkpoint, percent.
    pub checkpoint_top1: Option<f64>,
    /// Top-1 of the checkpoint fine-tuned as long, percent.
    pub fine_tuned_top1: Option<f64>,
    /// Top-1 of the better of both, percent.
    pub float_top1: Option<f64>,
    /// Top-1 of the float network on the validation images, percent.
    pub float_validation_top1: Option<f64>,
    /// Top-1 of the image, percent.
    pub final_top1: Option<f64>,
    /// Points lost against float.
    pub loss: Option<f64>,
    /// 95 % interval of that.
    pub loss_interval: Option<[f64; 2]>,
    /// Distinct plans evaluated.
    pub distinct_evaluations: Option<u64>,
    /// Test images by label, then by the answer of the image; runs of older versions have none.
    pub confusion: Option<Vec<Vec<u64>>>,
    /// Other plans of the same bits.
    pub comparison: Option<Vec<Rival>>,
    /// Every plan evaluated.
    pub evaluated: Vec<Evaluated>,
    /// Bytes of flash.
    pub bytes: Option<u64>,
    /// Bytes of RAM.
    pub arena_bytes: Option<u64>,
    /// The seed.
    pub seed: Option<u64>,
    /// How long the last command of the search took, seconds.
    pub seconds: Option<f64>,
    /// Passes over the tuning images for the chosen plan; runs of older versions do not say.
    pub epochs: Option<f64>,
    /// Random plans that were to be set beside it; runs of older versions do not say.
    pub baselines: Option<u64>,
    /// The board on which candidates were run, where any was.
    pub measured_on: Option<String>,
    /// Version of releq.
    pub version: Option<String>,
}

/// What one inference takes on a board, predicted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OnBoard {
    /// The board.
    pub board: String,
    /// Instructions.
    pub instructions: Option<f64>,
    /// Estimated milliseconds.
    pub milliseconds: Option<f64>,
}

/// What was minimised.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// The model that prices layers.
    pub model: String,
    /// What it counts.
    pub unit: String,
    /// Of the chosen plan.
    pub predicted: Option<f64>,
    /// Of 8 bits everywhere.
    pub at_8_bits: Option<f64>,
}

/// One layer of the chosen plan's image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// What it computes.
    pub op: String,
    /// Bits of its weights, where it has any.
    pub w: Option<u8>,
    /// Bits of the codes it reads.
    pub a: Option<u8>,
    /// Bits of the codes it hands on; none of sums that are handed out whole.
    pub out: Option<u8>,
    /// The kernel that runs it.
    pub kernel: String,
    /// What is minimised, of this layer.
    pub cost: Option<f64>,
}

/// A plan that was evaluated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evaluated {
    /// The plan.
    pub plan: String,
    /// Points, predicted where there is a forecast.
    pub loss: Option<f64>,
    /// Under the search's objective.
    pub value: Option<f64>,
    /// Why its fine-tune diverged, if it did.
    pub diverged: Option<String>,
}

/// The plans that no other beats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Front {
    /// How many plans were measured.
    pub measured: Option<u64>,
    /// Those of them that diverged.
    pub diverged: Vec<Diverged>,
    /// By loss, the least first.
    pub points: Vec<Point>,
}

/// A plan whose fine-tune came to no numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Diverged {
    /// The plan.
    pub plan: String,
    /// Why, in the words of an error.
    pub why: String,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Point {
    /// The plan.
    pub plan: String,
    /// Points.
    pub loss: Option<f64>,
    /// How the loss is known: `fine-tuned`, `forecast` or `short`.
    pub basis: String,
    /// Mean weight bits, 1 to 8.
    pub mean_weight_bits: Option<f64>,
    /// Bytes.
    pub flash: Option<u64>,
    /// Bytes.
    pub ram: Option<u64>,
    /// Time on each board, predicted.
    pub boards: Vec<OnBoard>,
    /// Whether it keeps every budget on hardware.
    pub within: Option<bool>,
    /// Whether its loss is allowed.
    pub allowed: Option<bool>,
}

impl Point {
    /// Instructions on the first board, predicted.
    pub fn instructions(&self) -> Option<f64> {
        self.boards.first().and_then(|board| board.instructions)
    }
}

/// A network set beside the chosen plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rival {
    /// `checkpoint`, `control`, `searched`, `uniform` or `random`.
    pub kind: String,
    /// Its plan; none in floats.
    pub plan: Option<String>,
    /// Mean weight bits; 32 in floats.
    pub mean_weight_bits: Option<f64>,
    /// Top-1, percent.
    pub top1: Option<f64>,
    /// Points lost against the better of checkpoint and control.
    pub loss: Option<f64>,
    /// 95 % interval of that.
    pub loss_interval: Option<[f64; 2]>,
    /// Bytes of flash; 0 in floats.
    pub bytes: Option<u64>,
    /// How many images it was judged on.
    pub images: Option<u64>,
    /// Why its fine-tune diverged, if it did.
    pub diverged: Option<String>,
}

/// What one agent reached in a race.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// The agent.
    pub agent: String,
    /// Its best plan.
    pub plan: String,
    /// Mean weight bits of it, 1 to 8.
    pub mean_weight_bits: Option<f64>,
    /// Points.
    pub loss: Option<f64>,
    /// Under the search's objective.
    pub value: Option<f64>,
    /// Distinct plans it asked for.
    pub distinct_evaluations: Option<u64>,
    /// The best value after 25, 50 and 100 % of the budget.
    pub anytime: Vec<Option<f64>>,
}

/// One plan that the searcher came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Episode {
    /// The plan.
    pub plan: String,
    /// Accuracy on the validation images, predicted where there is a forecast, 0 to 1.
    pub accuracy: Option<f64>,
    /// State of Quantization, 1 with 8 bits everywhere.
    pub state_of_quantization: Option<f64>,
    /// Value under the objective.
    pub value: Option<f64>,
    /// The reward of each step.
    pub rewards: Vec<Option<f64>>,
    /// The chance of each action at each step, 0 to 1; empty for searchers without a policy.
    pub policy: Vec<Vec<Option<f64>>>,
}

impl Episode {
    /// The sum of its rewards.
    pub fn reward(&self) -> Option<f64> {
        (!self.rewards.is_empty()).then(|| self.rewards.iter().map(|reward| reward.unwrap_or(f64::NAN)).sum())
    }
}

/// One fine-tune and what it measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measurement {
    /// What it was for.
    pub stage: String,
    /// The plan.
    pub plan: String,
    /// Images of fine-tuning.
    pub images: Option<u64>,
    /// Top-1 on the validation images, 0 to 1; none where the fine-tune diverged.
    pub accuracy: Option<f64>,
    /// Why the fine-tune diverged, if it did.
    pub diverged: Option<String>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// What the plan costs on a board, where that is what is made small.
    pub cost: Option<Priced>,
}

/// What a candidate costs on a board.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Priced {
    /// The board.
    pub board: String,
    /// What both numbers count.
    pub unit: String,
    /// By the prices that come with releq.
    pub predicted: Option<f64>,
    /// Counted on the board.
    pub measured: Option<f64>,
}

/// What an image holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Its checksum, which names it.
    pub crc: String,
    /// Bytes of it all.
    pub bytes: u64,
    /// The layers in the order they run.
    pub layers: Vec<ImageLayer>,
}

/// One layer of an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageLayer {
    /// Its name.
    pub name: String,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
    /// Bytes of packed weights.
    pub weight_bytes: u64,
    /// Bytes of per-channel constants.
    pub channel_bytes: u64,
}

/// What `releq bench --export-json` wrote.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// The board.
    pub board: String,
    /// Its core.
    #[serde(default)]
    pub core: String,
    /// The images that it timed.
    pub images: Vec<Timing>,
}

/// What a board counted of one image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// The image's file.
    pub file: String,
    /// The image's checksum.
    pub crc: String,
    /// What every count is: `instructions` or `cycles`.
    pub unit: String,
    /// Bytes of the image.
    pub bytes: Option<u64>,
    /// Bytes of RAM it needs.
    pub arena_bytes: Option<u64>,
    /// The runs that count.
    pub spread: Spread,
    /// Predicted instructions.
    pub predicted: Option<f64>,
    /// Whether the board computed what the workstation does.
    pub identical: Option<bool>,
    /// The layers in the order they run.
    pub layers: Vec<LayerTiming>,
}

impl Timing {
    /// Instructions that were predicted over those that were counted, less one, in percent; none where cycles were
    /// counted.
    pub fn error(&self, predicted: Option<f64>, counted: Option<f64>) -> Option<f64> {
        let counted = counted.filter(|counted| *counted > 0.0 && self.unit == "instructions")?;
        Some(100.0 * (predicted? / counted - 1.0))
    }
}

/// Counts of several runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spread {
    /// How many.
    pub runs: u64,
    /// Their median.
    pub median: Option<f64>,
}

/// What a board counted of one layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerTiming {
    /// Its name.
    pub name: String,
    /// The kernel that ran.
    pub kernel: String,
    /// Mean over the runs.
    pub mean: Option<f64>,
    /// Predicted instructions.
    pub predicted: Option<f64>,
}
