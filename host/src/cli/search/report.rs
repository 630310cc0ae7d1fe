//! What a finished search says, to people and as JSON.

use std::path::Path;

use releq_format::image::Image;
use releq_search::ledger::Entry;
use releq_search::network::StateOfQuantization;
use releq_search::plan::BitPlan;
use serde::Serialize;

use super::layers::{Cost, LayerReport, reports};
use super::{Search, failure, front};
use crate::cli::Failure;
use crate::hardware::Hardware;
use crate::hardware::budget::{Basis, Checked, Limit, Resource};
use crate::search::attempts::Attempt;
use crate::search::bench::Bench;
use crate::search::comparison::{Kind, Row};
use crate::search::features;
use crate::search::forecast::Forecast;
use crate::search::front::{Front, OnBoard, boards};
use crate::search::hunt::Found;
use crate::search::minimize::Minimize;
use crate::search::nearest::{Beyond, Nearest};
use crate::search::preset::Preset;
use crate::search::record::{Evaluated, RunRecord};
use crate::search::split::Origin;
use crate::search::stage::Spent;
use crate::search::verdict::Verdict;
use crate::terminal::grouped;

#[derive(Serialize)]
pub(super) struct Report<'a> {
    schema: u32,
    /// What it is the answer to.
    asked: &'a RunRecord,
    model: &'a str,
    data: &'a str,
    synthetic: bool,
    preset: Preset,
    minimize: Minimize,
    agent: &'a str,
    actors: usize,
    validation: Origin,
    validation_images: usize,
    plan: String,
    best_seen: String,
    greedy: Option<String>,
    last: Option<String>,
    met: bool,
    max_loss: Option<f64>,
    boards: Vec<OnBoard>,
    budgets: Vec<Checked>,
    nearest: Option<&'a Nearest>,
    mean_weight_bits: f64,
    mean_bits_per_weight: f64,
    /// Of the codes between layers, where these were searched.
    mean_activation_bits: Option<f64>,
    state_of_quantization: f64,
    energy_state_of_quantization: f64,
    /// What was minimised, where it is a cost of hardware.
    cost: Option<Cost>,
    layers: Vec<LayerReport>,
    reward: f64,
    float_validation_top1: f64,
    #[serde(flatten)]
    verdict: &'a Verdict,
    /// The test images by label, then by answer, where there are few classes.
    confusion: Option<&'a Vec<Vec<u32>>>,
    distinct_evaluations: usize,
    anchors: Vec<String>,
    forecast: Option<Forecast>,
    attempts: &'a [Attempt],
    comparison: Vec<Beside<'a>>,
    evaluated: Vec<Evaluated>,
    #[serde(skip)]
    front: &'a Front,
    #[serde(skip)]
    hardware: &'a Hardware,
    bytes: usize,
    arena_bytes: usize,
    image: String,
    /// What the command must be given again, beside what the run's record holds.
    epochs: f64,
    baselines: usize,
    measured_on: Option<&'a str>,
    seed: u64,
    seconds: f64,
    /// What of it went to what.
    spent: Vec<Spent>,
    version: &'static str,
}

/// A row of the comparison, without its list of images.
#[derive(Serialize)]
struct Beside<'a> {
    kind: Kind,
    plan: Option<&'a BitPlan>,
    mean_weight_bits: f64,
    images: usize,
    top1: f64,
    loss: f64,
    loss_interval: [f64; 2],
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    diverged: Option<&'a str>,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        search: &'a Search<'_>,
        bench: &Bench<'_>,
        record: &'a RunRecord,
        (found, spent): (&'a Found, Vec<Spent>),
        front: &'a Front,
        opened: &Image<'_>,
        image: &Path,
    ) -> Result<Self, Failure> {
        let arguments = search.arguments;
        let features = features(&search.network).map_err(failure)?;
        let float = 100.0 * found.float_accuracy;
        let layers = reports(opened, &search.measure)?;
        let cost = Cost::of(&layers, &search.measure, &search.network).map_err(failure)?;
        let evaluated = |entry: &Entry| Evaluated {
            plan: entry.plan.clone(),
            loss: float - 100.0 * entry.seen.accuracy,
            value: entry.seen.value,
            diverged: front.diverged.iter().find(|one| one.plan == entry.plan).map(|one| one.why.clone()),
        };
        Ok(Self {
            schema: 3,
            asked: record,
            model: &search.network.graph.name,
            data: search.source.name(),
            synthetic: search.source.synthetic(),
            preset: arguments.preset,
            minimize: arguments.minimize(),
            agent: &record.agent,
            actors: bench.actors(),
            validation: search.split.origin,
            validation_images: search.split.validation.len(),
            plan: found.plan.to_string(),
            best_seen: found.best.to_string(),
            greedy: found.greedy.as_ref().map(BitPlan::to_string),
            last: found.entries.last().map(|entry| entry.plan.to_string()),
            met: found.met,
            max_loss: arguments.max_loss(),
            boards: boards(&search.hardware, &search.hardware.taken_by(opened)),
            budgets: search.hardware.checked(opened),
            nearest: found.nearest.as_ref(),
            mean_weight_bits: found.plan.mean_weight_bits(),
            mean_bits_per_weight: features.mean_bits_per_weight(&found.plan),
            mean_activation_bits: search.space.mean_activation_bits(&found.plan),
            state_of_quantization: StateOfQuantization::Mean.of(&features, &found.plan),
            energy_state_of_quantization: StateOfQuantization::Energy.of(&features, &found.plan),
            cost,
            layers,
            reward: found.value,
            float_validation_top1: float,
            verdict: &found.verdict,
            confusion: found.confusion.as_ref(),
            distinct_evaluations: found.entries.len(),
            anchors: found.anchors.iter().map(BitPlan::to_string).collect(),
            forecast: found.laws.map(|laws| laws.short),
            attempts: &found.attempts,
            comparison: found.comparison.iter().map(Beside::of).collect(),
            evaluated: found.entries.iter().map(evaluated).collect(),
            front,
            hardware: &search.hardware,
            bytes: opened.len(),
            arena_bytes: opened.arena_bytes(),
            image: image.display().to_string(),
            epochs: arguments.epochs,
            baselines: arguments.baselines,
            measured_on: arguments.measure.as_deref(),
            seed: arguments.seed,
            seconds: search.started.elapsed().as_secs_f64(),
            spent,
            version: env!("CARGO_PKG_VERSION"),
        })
    }

    pub(super) fn text(&self) -> String {
        let synthetic = if self.synthetic { " (synthetic)" } else { "" };
        let Verdict { images, float_top1, final_top1, loss, loss_interval: [low, high], .. } = self.verdict;
        format!(
            "{} at {} bits (mean {:.2}), chosen by {} from {} plans evaluated\n\
             float    top-1 {float_top1:.2} %   {images} {}{synthetic} test images, looked at once\n\
             integer  top-1 {final_top1:.2} %   loss {loss:.2} points (95 % interval {low:.2} to {high:.2})\n\
             {}{}{}flash {} bytes   RAM {} bytes   {:.1} s   → {}\n{}\n{}",
            self.model,
            self.plan,
            self.mean_weight_bits,
            self.agent,
            self.distinct_evaluations,
            self.data,
            self.loss_text(),
            self.budgets.iter().map(|budget| budget_text(budget, self.hardware)).collect::<String>(),
            self.cost.as_ref().map_or(String::new(), Cost::text),
            grouped(self.bytes as u64),
            grouped(self.arena_bytes as u64),
            self.seconds,
            self.image,
            self.comparison.iter().map(Beside::text).collect::<String>(),
            front::text(self.front),
        )
    }

    /// Whether the loss is what was allowed, and what would do if it is not.
    fn loss_text(&self) -> String {
        let Some(most) = self.max_loss else { return String::new() };
        let images = self.validation_images;
        let Some(nearest) = self.nearest else {
            let kept = if self.met { "keeps to" } else { "MISSES" };
            return format!("{kept} --max-loss {most} on {images} validation images\n");
        };
        let more = |beyond: &Beyond| {
            let Beyond { plan, loss, options } = beyond;
            format!(", or {} for the plan {plan}, expected to lose {loss:.2}", options.join(" "))
        };
        format!(
            "MISSES --max-loss {most} on {images} validation images: the nearest found within the budgets is {}, \
             which loses {:.2}; give --max-loss {:.2}{}\n",
            nearest.plan,
            nearest.loss,
            // Rounded so that it is kept.
            (100.0 * nearest.loss).ceil() / 100.0,
            nearest.beyond.as_ref().map_or(String::new(), more),
        )
    }
}

/// `keeps to --max-flash 65536: 64 852 bytes of flash`.
pub(in crate::cli) fn budget_text(budget: &Checked, hardware: &Hardware) -> String {
    let asked =
        |limit: &&Limit| limit.asked && limit.resource == budget.resource && limit.board == budget.board.as_deref();
    let Some(limit) = hardware.limits().iter().find(asked) else { return String::new() };
    let kept = if budget.kept { "keeps to" } else { "MISSES" };
    let basis = match budget.basis {
        Basis::Image => "",
        Basis::Prices => ", predicted",
        Basis::Emulator => ", counted by the emulated board",
    };
    let band = match budget.resource {
        Resource::Latency => {
            hardware.band().map_or(String::new(), |band| format!("; cycles are estimates, within {band} % at best"))
        }
        _ => String::new(),
    };
    format!("{kept} {}: {}{basis}{band}\n", limit.option(budget.asked), limit.text(budget.got))
}

impl<'a> Beside<'a> {
    fn of(row: &'a Row) -> Self {
        Self {
            kind: row.kind,
            plan: row.plan.as_ref(),
            mean_weight_bits: row.mean_weight_bits,
            images: row.images,
            top1: row.top1,
            loss: row.loss,
            loss_interval: row.loss_interval,
            bytes: row.bytes,
            diverged: row.diverged.as_deref(),
        }
    }

    fn text(&self) -> String {
        let kind = match self.kind {
            Kind::Checkpoint => "float",
            Kind::Control => "float, fine-tuned",
            Kind::Searched => "searched",
            Kind::Uniform => "uniform",
            Kind::Random => "random",
        };
        let plan = self.plan.map_or(String::new(), |plan| format!(" {plan}"));
        let [low, high] = self.loss_interval;
        let what = format!("{kind}{plan}");
        if let Some(why) = self.diverged {
            return format!("{what:24} diverged: {why}\n");
        }
        format!(
            "{what:24} top-1 {:.2} %   loss {:.2} points ({low:.2} to {high:.2}) on {} images\n",
            self.top1, self.loss, self.images
        )
    }
}
