//! Fine-tunes plans and measures them, each once: every measurement is a line of the log before it is an answer.
//!
//! Each starts from the float checkpoint and draws from one seed, so equal plans measure equally, and a search that was
//! killed finds what it knew. A training that diverged is a finding, too: it is recorded as the worst there is, and its
//! plan never chosen. What fails otherwise raises; nothing stale is ever used in its place. Actors measure several
//! plans side by side, with one math thread each; the training ops give the same bits on any number of threads.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use rayon::ThreadPoolBuilder;
use releq_search::plan::BitPlan;
use releq_search::record::{Log, RecordError};
use serde::{Deserialize, Serialize};

use super::SearchError;
use super::crew::Job;
use super::crew::foreman::{CrewError, Foreman};
use super::forecast::Forecast;
use super::pricing::{Cost, Pricing};
use super::split::Split;
use crate::cost::measure::MeasureError;
use crate::data::augment::Augment;
use crate::lower;
use crate::network::{Network, Op};
use crate::quantized::QuantizedNetwork;
use crate::train::device;
use crate::train::fit::{self, FitError};
use crate::train::integer::IntegerModel;
use crate::train::model::Model;
use crate::train::norms;
use crate::train::quantize::{QuantizeError, Recipe, quantize_with};
use crate::train::resume::Resume;
use crate::train::teacher::Teacher;

/// What a measurement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// A plan that the forecast is fitted to, fine-tuned longer.
    Anchor,
    /// One choice alone, not fine-tuned.
    Probe,
    /// A plan that the searcher asked for.
    Search,
    /// One of the best, fine-tuned longer before one is chosen.
    Rerank,
    /// One of all.
    Census,
}

/// One plan, fine-tuned and measured on the validation images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Digest of network, data and recipe; under another key it is no answer.
    pub key: String,
    /// What it was for.
    pub stage: Stage,
    /// The plan.
    pub plan: BitPlan,
    /// Images of fine-tuning.
    pub images: usize,
    /// What came of it.
    #[serde(flatten)]
    pub finding: Finding,
    /// How long it took.
    pub seconds: f64,
    /// What the plan costs on a board, where that is what is made small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// What came of a fine-tune.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Finding {
    /// A network that answers.
    Answers {
        /// Mean Kullback-Leibler divergence of its answers from the float network's, nats an image; finite.
        divergence: f64,
        /// Share of the validation images classified rightly.
        accuracy: f64,
    },
    /// No numbers: it is worth the least there is.
    Diverged {
        /// Why, in the words of an error.
        diverged: String,
    },
}

impl Measurement {
    /// Divergence from the float network's answers, nats an image; none where the fine-tune itself diverged.
    pub const fn divergence(&self) -> Option<f64> {
        match self.finding {
            Finding::Answers { divergence, .. } => Some(divergence),
            Finding::Diverged { .. } => None,
        }
    }

    /// Share of the validation images classified rightly: none of them where the fine-tune diverged.
    pub const fn accuracy(&self) -> f64 {
        match self.finding {
            Finding::Answers { accuracy, .. } => accuracy,
            Finding::Diverged { .. } => 0.0,
        }
    }

    /// Top-1 loss that `law` foretells, 0 to 1: everything where the fine-tune diverged.
    pub fn loss(&self, law: Forecast) -> f64 {
        self.divergence().map_or(1.0, |divergence| law.loss(divergence))
    }

    /// Why the fine-tune diverged, if it did.
    pub fn diverged(&self) -> Option<&str> {
        match &self.finding {
            Finding::Answers { .. } => None,
            Finding::Diverged { diverged } => Some(diverged),
        }
    }
}

/// Why a plan has no measurement.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// It could not be quantized.
    #[error(
        "plan {plan} could not be measured: {error}; what was measured before is in the log, so the same command goes on from there"
    )]
    Plan {
        /// The plan.
        plan: BitPlan,
        /// Why.
        error: Box<QuantizeError>,
    },
    /// The state of its fine-tune could not be kept.
    #[error(transparent)]
    Keep(FitError),
    /// It could not be run on the board.
    #[error("plan {plan} could not be run: {error}; what was measured before is in the log")]
    Cost {
        /// The plan.
        plan: BitPlan,
        /// Why.
        error: Box<MeasureError>,
    },
    /// No worker measured it.
    #[error("{error}; what was measured before is in the log, so the same command goes on from there")]
    Crew {
        /// Why.
        error: CrewError,
    },
    /// The float network itself answers with what is no number.
    #[error(
        "the float network gives {answers} of {images} validation images answers that are no numbers; its parameters \
         are too large or its input's normalisation is another; import it again, or train it again at a lower rate"
    )]
    Float {
        /// How many.
        answers: usize,
        /// Of how many.
        images: usize,
    },
    /// No thread could be had.
    #[error("an actor could not start: {0}; ask for fewer with --actors")]
    Actor(#[from] rayon::ThreadPoolBuildError),
    /// The user asked to stop.
    #[error("the search was interrupted; nothing is lost: run the same command to go on")]
    Interrupted,
    /// The log could not be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Candle failed.
    #[error("a plan could not be measured: {0}; run the same command to go on from the log")]
    Candle(#[from] candle_core::Error),
}

impl BenchError {
    /// Why the fine-tune of a plan diverged, if that is what it says.
    pub fn divergence(&self) -> Option<String> {
        match self {
            Self::Plan { error, .. } if error.is_divergence() => Some(error.to_string()),
            _ => None,
        }
    }
}

/// What plans are measured with.
pub struct Bench<'a> {
    /// The float network, folded or not.
    pub network: &'a Network,
    /// Its images.
    pub split: &'a Split,
    /// How plans are fine-tuned; each stage sets its own number of images.
    pub recipe: Recipe,
    /// Where the recipe wants one.
    teacher: Option<Teacher>,
    /// What [`Bench::remembered`] found.
    views: OnceLock<Augment>,
    /// Log-probabilities of the float network on the validation images.
    float: Vec<Vec<f64>>,
    /// Share of the validation images that the float network classifies rightly.
    pub float_accuracy: f64,
    key: String,
    known: BTreeMap<(BitPlan, usize), Measurement>,
    /// Plans that diverged when they were asked for, and why.
    diverged: BTreeMap<BitPlan, String>,
    log: Log,
    actors: usize,
    stop: &'a (dyn Fn() -> bool + Sync),
    pricing: Option<Pricing>,
    falls: Option<Vec<f64>>,
    crew: Option<Foreman>,
}

impl<'a> Bench<'a> {
    /// A bench of `actors` that logs to `log`, and knows what is already there under the same key.
    ///
    /// # Errors
    /// A log that cannot be read, or a network that does not run.
    pub fn open(
        network: &'a Network,
        split: &'a Split,
        recipe: Recipe,
        log: &Path,
        actors: usize,
        stop: &'a (dyn Fn() -> bool + Sync),
    ) -> Result<Self, BenchError> {
        let model = Model::new(network)?;
        let teacher = recipe
            .distill
            .map(|how| Teacher::of(&model, &split.tune, recipe.schedule.augment.is_any(), how))
            .transpose()?;
        let logits = fit::logits(&model, &split.validation)?;
        let answers = logits.iter().filter(|row| row.iter().any(|logit| !logit.is_finite())).count();
        if answers > 0 {
            return Err(BenchError::Float { answers, images: logits.len() });
        }
        let key = key(network, split, &recipe);
        let (log, records) = Log::open::<Measurement>(log)?;
        let ours = records.into_iter().filter(|record| record.key == key);
        let known = ours.map(|record| ((record.plan.clone(), record.images), record)).collect();
        Ok(Self {
            network,
            split,
            recipe,
            teacher,
            views: OnceLock::new(),
            float_accuracy: accuracy(&logits, &split.validation.labels),
            float: logits.iter().map(|row| log_softmax(row)).collect(),
            key,
            known,
            diverged: BTreeMap::new(),
            log,
            actors: actors.max(1),
            stop,
            pricing: None,
            falls: None,
            crew: None,
        })
    }

    /// From now on others measure, as many at once as there are actors.
    pub fn employ(&mut self, crew: Foreman) {
        self.crew = Some(crew);
    }

    /// How many measurements there are, those of an earlier run included.
    pub fn measured(&self) -> usize {
        self.known.len()
    }

    /// From now on a measurement says what the plan costs, too; earlier ones count if they say it as well.
    pub fn price(&mut self, pricing: Option<Pricing>) {
        self.pricing = pricing;
    }

    /// From now on searchers are told what each choice of their space does alone.
    pub fn tell_falls(&mut self, falls: Vec<f64>) {
        self.falls = Some(falls);
    }

    /// What each choice does alone, where that was probed.
    pub fn falls(&self) -> Option<&[f64]> {
        self.falls.as_deref()
    }

    /// What plans cost on a board, where that is what is made small.
    pub fn pricing(&self) -> Option<&Pricing> {
        self.pricing.as_ref()
    }

    fn known(&self, plan: &BitPlan, images: usize) -> Option<&Measurement> {
        // A probe is not run on a board: what it costs is of no interest.
        let stand = images > 0 && self.pricing.as_ref().is_some_and(|pricing| pricing.stand.is_some());
        // What diverged has no image to be run.
        let run = |one: &&Measurement| {
            one.diverged().is_some() || one.cost.as_ref().is_some_and(|cost| cost.measured.is_some())
        };
        self.known.get(&(plan.clone(), images)).filter(|one| !stand || run(one))
    }

    /// Whether `plan` was measured after a fine-tune on `images` images.
    pub fn knows(&self, plan: &BitPlan, images: usize) -> bool {
        self.known(plan, images).is_some()
    }

    /// Whether `plan` diverged in a fine-tune that was asked for, whatever others came to.
    pub fn has_diverged(&self, plan: &BitPlan) -> bool {
        self.why_diverged(plan).is_some()
    }

    /// Why it did, in the words of an error.
    pub fn why_diverged(&self, plan: &BitPlan) -> Option<&str> {
        self.diverged.get(plan).map(String::as_str)
    }

    /// All measurements.
    pub fn measurements(&self) -> Vec<Measurement> {
        self.known.values().cloned().collect()
    }

    /// Measures `plan` after a fine-tune on `images` images, or says what was measured before.
    ///
    /// # Errors
    /// [`BenchError`]; nothing is then recorded.
    pub fn measure(&mut self, stage: Stage, plan: &BitPlan, images: usize) -> Result<Measurement, BenchError> {
        Ok(self.measure_all(stage, std::slice::from_ref(plan), images)?.swap_remove(0))
    }

    /// As [`measure`](Self::measure) of each of `plans`, by as many actors as there are.
    ///
    /// # Errors
    /// [`BenchError`] of the first plan in order that fails; those before it are recorded.
    pub fn measure_all(
        &mut self,
        stage: Stage,
        plans: &[BitPlan],
        images: usize,
    ) -> Result<Vec<Measurement>, BenchError> {
        let mut new: Vec<&BitPlan> = Vec::new();
        for plan in plans {
            if !self.knows(plan, images) && !new.contains(&plan) {
                new.push(plan);
            }
        }
        for plans in new.chunks(self.actors) {
            let measured = match &self.crew {
                Some(crew) => self.by_crew(crew, stage, plans, images),
                None => self.side_by_side(plans, |plan| self.measured_now(stage, plan, images))?,
            };
            for measurement in measured {
                let measurement = measurement?;
                self.log.append_synced(&measurement)?;
                self.known.insert((measurement.plan.clone(), images), measurement);
            }
        }
        let measurements: Vec<_> = plans.iter().map(|plan| self.known[&(plan.clone(), images)].clone()).collect();
        // Told when asked and not when read from a log, so that a run that goes on decides as one that never stopped.
        let tuned = measurements.iter().filter(|one| one.images > 0);
        let diverged = tuned.filter_map(|one| Some((one.plan.clone(), one.diverged()?.to_owned())));
        self.diverged.extend(diverged);
        if let Some(pricing) = &self.pricing {
            measurements.iter().for_each(|one| pricing.tell(&one.plan, one.cost.as_ref()));
        }
        Ok(measurements)
    }

    /// Does `work` for each of `jobs`, as many at once as there are actors, and gives the answers in their order. One that
    /// is left alone has all threads.
    ///
    /// # Errors
    /// [`BenchError::Actor`].
    pub fn side_by_side<J: Sync, T: Send>(
        &self,
        jobs: &[&J],
        work: impl Fn(&J) -> T + Sync,
    ) -> Result<Vec<T>, BenchError> {
        let mut answers = Vec::with_capacity(jobs.len());
        for jobs in jobs.chunks(self.actors) {
            match jobs {
                [job] => answers.push(work(job)),
                jobs => answers.extend(at_once(jobs, &work)?),
            }
        }
        Ok(answers)
    }

    /// How many plans are measured at once.
    pub fn actors(&self) -> usize {
        self.actors
    }

    /// Workers know no prices.
    fn by_crew(
        &self,
        crew: &Foreman,
        stage: Stage,
        plans: &[&BitPlan],
        images: usize,
    ) -> Vec<Result<Measurement, BenchError>> {
        let jobs = plans.iter().map(|&plan| Job { stage, plan: plan.clone(), images }).collect();
        let priced = |answer: Result<Measurement, CrewError>| match answer {
            Ok(one) => Ok(Measurement { cost: self.predicted(&one.plan), ..one }),
            Err(CrewError::Interrupted) => Err(BenchError::Interrupted),
            Err(error) => Err(BenchError::Crew { error }),
        };
        crew.all(jobs, self.stop).into_iter().map(priced).collect()
    }

    /// Measures `plan` here and now, whatever is known of it; the log does not learn of it.
    ///
    /// # Errors
    /// [`BenchError`].
    pub(super) fn measured_now(&self, stage: Stage, plan: &BitPlan, images: usize) -> Result<Measurement, BenchError> {
        let started = Instant::now();
        let found = self.tuned(plan, images, None).and_then(|quantized| self.found(plan, &quantized, images));
        let (finding, cost) = match found {
            Ok(found) => found,
            Err(error) => match error.divergence() {
                Some(diverged) => (Finding::Diverged { diverged }, self.predicted(plan)),
                None => return Err(error),
            },
        };
        let (key, plan, seconds) = (self.key.clone(), plan.clone(), started.elapsed().as_secs_f64());
        Ok(Measurement { key, stage, plan, images, finding, seconds, cost })
    }

    /// What a fine-tuned plan answers, and what it costs.
    fn found(
        &self,
        plan: &BitPlan,
        quantized: &QuantizedNetwork,
        images: usize,
    ) -> Result<(Finding, Option<Cost>), BenchError> {
        let refused = |error| BenchError::Plan { plan: plan.clone(), error: Box::new(QuantizeError::Lower(error)) };
        let integers = lower::integers(quantized).map_err(refused)?;
        let logits = IntegerModel::new(&integers).real_logits(&self.split.validation)?;
        let divergence = divergence(&self.float, &logits);
        if !divergence.is_finite() {
            let diverged = "training diverged: answers of its integers are no numbers; lower the learning rate or raise \
                            the bit-widths";
            return Ok((Finding::Diverged { diverged: diverged.to_owned() }, self.predicted(plan)));
        }
        let priced = |pricing: &Pricing| match images {
            0 => Ok(pricing.predicted(plan)),
            _ => pricing.cost(plan, quantized),
        };
        let cost = self.pricing.as_ref().map(priced).transpose();
        let cost = cost.map_err(|error| BenchError::Cost { plan: plan.clone(), error: Box::new(error) })?;
        Ok((Finding::Answers { divergence, accuracy: accuracy(&logits, &self.split.validation.labels) }, cost))
    }

    /// What a plan costs by prices alone.
    fn predicted(&self, plan: &BitPlan) -> Option<Cost> {
        self.pricing.as_ref().map(|pricing| pricing.predicted(plan))
    }

    /// `plan`, fine-tuned from the float checkpoint on `images` images, its state kept by `resume` if there is one.
    ///
    /// # Errors
    /// [`BenchError`].
    pub fn tuned(
        &self,
        plan: &BitPlan,
        images: usize,
        resume: Option<&Resume>,
    ) -> Result<QuantizedNetwork, BenchError> {
        let mut recipe = self.recipe.clone();
        recipe.schedule.epochs = images as f64 / self.split.tune.len().max(1) as f64;
        let of_plan = |error| BenchError::Plan { plan: plan.clone(), error: Box::new(error) };
        let recipe = recipe.settled(|| self.remembered()).map_err(|error| of_plan(error.into()))?;
        let tuned =
            quantize_with(self.network, plan, &self.split.tune, self.teacher(), &recipe, resume, &mut |_| self.go_on());
        tuned.map_err(|error| match error {
            QuantizeError::Fit(FitError::Interrupted) => BenchError::Interrupted,
            QuantizeError::Fit(error @ FitError::Keep(_)) => BenchError::Keep(error),
            error => of_plan(error),
        })
    }

    /// The views that the network's statistics remember, told once.
    fn remembered(&self) -> candle_core::Result<Augment> {
        match self.views.get() {
            Some(views) => Ok(*views),
            None => norms::remembered(self.network, &self.split.tune).map(|views| *self.views.get_or_init(|| views)),
        }
    }

    /// Mean divergence of a network's answers on the validation images from those of the float network as it came.
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn divergence_of(&self, network: &Network) -> Result<f64, SearchError> {
        Ok(divergence(&self.float, &fit::logits(&Model::new(network)?, &self.split.validation)?))
    }

    /// What a training loop should do next: stop, once the user asked for it.
    pub fn go_on(&self) -> ControlFlow<()> {
        if (self.stop)() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Names what measurements depend on beside the plan and the number of images.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The teacher and its answers to the tuning images, if fine-tunes are guided by one.
    pub fn teacher(&self) -> Option<&Teacher> {
        self.teacher.as_ref()
    }
}

/// Does `work` for each of `jobs` at the same time, with one math thread each.
fn at_once<J: Sync, T: Send>(jobs: &[&J], work: &(impl Fn(&J) -> T + Sync)) -> Result<Vec<T>, BenchError> {
    let pools = jobs.iter().map(|_| ThreadPoolBuilder::new().num_threads(1).build());
    let pools = pools.collect::<Result<Vec<_>, _>>()?;
    Ok(std::thread::scope(|scope| {
        let actors = pools.iter().zip(jobs).map(|(pool, job)| scope.spawn(|| pool.install(|| work(job))));
        let actors: Vec<_> = actors.collect();
        actors.into_iter().map(|actor| actor.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    }))
}

/// Names what a measurement depends on beside the plan and the number of images.
fn key(network: &Network, split: &Split, recipe: &Recipe) -> String {
    let mut crc = network.crc();
    for data in [&split.tune, &split.validation] {
        crc = crc.update(&data.images).update(&data.labels);
    }
    let mut recipe = recipe.clone();
    // Set anew by each stage.
    recipe.schedule.epochs = 0.0;
    let version = env!("CARGO_PKG_VERSION");
    // Another kind of processor rounds otherwise, and so do networks that learned there.
    let mark = device::mark();
    // Where nothing is added, measurements are what they were before sums were rounded once.
    let adds = network.graph.nodes.iter().any(|node| matches!(node.op, Op::Add));
    let sums = if adds { ", sums rounded once" } else { "" };
    format!(
        "{:08x}",
        crc.update(
            format!(
                "{recipe:?} {version} in integers, by runs of columns there and back, untrained as remembered, \
                 by few statistics{sums}{mark}"
            )
            .as_bytes()
        )
        .finish()
    )
}

pub(super) fn log_softmax(row: &[f32]) -> Vec<f64> {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = row.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    row.iter().map(|&logit| f64::from(logit - largest) - total.ln()).collect()
}

/// Mean over images of Σ p · (log p − log q), p the float network's answer.
fn divergence(float: &[Vec<f64>], logits: &[Vec<f32>]) -> f64 {
    let one = |(p, q): (&Vec<f64>, &Vec<f32>)| {
        let terms = p.iter().zip(log_softmax(q)).map(|(p, q)| p.exp() * (p - q));
        terms.sum::<f64>()
    };
    float.iter().zip(logits).map(one).sum::<f64>() / float.len().max(1) as f64
}

fn accuracy(logits: &[Vec<f32>], labels: &[u8]) -> f64 {
    let right = logits.iter().zip(labels).filter(|(row, label)| fit::largest(row) == usize::from(**label)).count();
    right as f64 / labels.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_is_zero_of_equals_and_positive_of_others() {
        let logits = vec![vec![1.0, 2.0, -3.0], vec![0.0, 0.5, 0.25]];
        let float: Vec<Vec<f64>> = logits.iter().map(|row| log_softmax(row)).collect();
        assert!(divergence(&float, &logits).abs() < 1e-12);
        // A shift of all logits is no difference.
        let shifted: Vec<Vec<f32>> = logits.iter().map(|row| row.iter().map(|x| x + 7.0).collect()).collect();
        assert!(divergence(&float, &shifted).abs() < 1e-6);
        let uniform = vec![vec![0.0; 3]; 2];
        let entropy = |row: &Vec<f64>| -row.iter().map(|p| p.exp() * p).sum::<f64>();
        let expected = 3f64.ln() - float.iter().map(entropy).sum::<f64>() / 2.0;
        assert!((divergence(&float, &uniform) - expected).abs() < 1e-12);
    }
}
