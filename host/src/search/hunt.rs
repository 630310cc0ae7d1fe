//! The hunt itself: anchors, the searcher's budget, re-ranking, the long fine-tune, and the test set once.

use std::ops::ControlFlow;

use releq_format::image::{Image, ImageBuffer};
use releq_search::evaluate::Score;
use releq_search::ledger::{Entry, Ledger};
use releq_search::network::StateOfQuantization;
use releq_search::objective::{Goal, Objective};
use releq_search::plan::BitPlan;
use releq_search::race;
use releq_search::searcher::{Problem, Searcher};
use releq_search::space::Space;
use serde::Serialize;

use super::bench::{Bench, BenchError, Stage};
use super::forecast::{Anchor, Forecast};
use super::{SearchError, features};
use crate::data::Dataset;
use crate::lower;
use crate::target::native;
use crate::train::fit::{self, Schedule};
use crate::train::model::Model;

/// What is asked for, and what may be spent.
#[derive(Clone, Debug)]
pub struct Request {
    /// Plans to choose from.
    pub space: Space,
    /// Most top-1 loss against the float network, 0 to 1.
    pub max_loss: f64,
    /// Most distinct plans the searcher may have evaluated.
    pub budget: usize,
    /// Images of fine-tuning for each evaluation.
    pub short: usize,
    /// Images of fine-tuning for anchors and re-ranking.
    pub long: usize,
    /// Images of fine-tuning for the chosen plan.
    pub last: usize,
    /// The one seed of everything random.
    pub seed: u64,
}

/// Widest uniform plan that anchors the forecast; wider ones lose nothing that could be measured.
const ANCHOR_BITS: u8 = 4;
/// Plans that are fine-tuned longer before one is chosen.
const RERANKED: usize = 3;
/// Most long fine-tunes.
const ATTEMPTS: usize = 3;
/// How far attempts may correct the forecast, as a factor: a loss on 2,000 images is a coarse number.
const CORRECTION: [f64; 2] = [0.5, 4.0];

/// What the hunt is doing, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// In a few words.
    pub doing: &'a str,
    /// Plans evaluated by the searcher so far.
    pub done: usize,
    /// Its budget.
    pub of: usize,
}

/// One long fine-tune of a candidate, accepted or not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attempt {
    /// The plan.
    pub plan: BitPlan,
    /// Loss predicted after re-ranking, points.
    pub predicted_loss: f64,
    /// Loss of the integer engine on the validation images, points.
    pub validation_loss: f64,
    /// Whether that is allowed.
    pub met: bool,
}

/// What the test images say of the chosen plan against the float network, taken once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// How many test images.
    pub images: usize,
    /// Top-1 of the checkpoint, percent.
    pub checkpoint_top1: f64,
    /// Top-1 of the checkpoint after the same fine-tune without quantization, percent.
    pub fine_tuned_top1: f64,
    /// The better of the two: what loss is measured against.
    pub float_top1: f64,
    /// Top-1 of the integer engine, percent.
    pub final_top1: f64,
    /// Points lost against `float_top1`.
    pub loss: f64,
    /// 95 % interval of that loss, from the images on which exactly one of the two is right.
    pub loss_interval: [f64; 2],
}

/// A finished hunt.
#[derive(Clone, Debug)]
pub struct Found {
    /// The chosen plan.
    pub plan: BitPlan,
    /// What the searcher's policy would choose, where it has one.
    pub greedy: Option<BitPlan>,
    /// Whether the chosen plan keeps to the loss on the validation images.
    pub met: bool,
    /// Distinct plans the searcher asked for.
    pub distinct_evaluations: usize,
    /// Every plan it asked for, in order, with the predicted accuracy.
    pub entries: Vec<Entry>,
    /// Uniform plans measured for the forecast.
    pub anchors: Vec<BitPlan>,
    /// Short divergence to final loss.
    pub forecast: Forecast,
    /// Long fine-tunes, in order.
    pub attempts: Vec<Attempt>,
    /// Top-1 of the float network on the validation images, percent.
    pub float_validation_top1: f64,
    /// What the test images say.
    pub verdict: Verdict,
    /// Value of the chosen plan under the objective, at its predicted accuracy.
    pub value: f64,
    /// The image of the chosen plan.
    pub image: ImageBuffer,
}

/// Finds the cheapest plan whose loss is allowed.
///
/// # Errors
/// [`SearchError`]; everything measured stays in the bench's log.
pub fn hunt(
    bench: &mut Bench<'_>,
    searcher: &mut dyn Searcher,
    request: &Request,
    watch: &mut dyn FnMut(Step<'_>),
) -> Result<Found, SearchError> {
    let objective = Objective::new(
        Goal::Floor(request.max_loss),
        StateOfQuantization::Mean,
        features(bench.network)?,
        bench.float_accuracy,
    );
    let anchors = anchor_plans(&request.space);
    let laws = Laws::measure(bench, request, &anchors, watch)?;
    let entries = search(bench, searcher, request, &objective, laws.short, watch)?;
    let ranked = rerank(bench, request, &objective, &entries, laws.long, watch)?;
    let candidates = candidates(&objective, &entries, &ranked);
    let mut next = ranked.first().cloned();
    let mut attempts: Vec<(Attempt, ImageBuffer)> = Vec::new();
    while let Some(candidate) = next.take().filter(|_| attempts.len() < ATTEMPTS) {
        watch(Step { doing: "long fine-tune", done: entries.len(), of: request.budget });
        attempts.push(attempt(bench, request, candidate)?);
        let done: Vec<&Attempt> = attempts.iter().map(|(attempt, _)| attempt).collect();
        next = next_attempt(&objective, &candidates, &done, request.max_loss);
    }
    let best = attempts.iter().min_by(|one, other| rank(&objective, &one.0).total_cmp(&rank(&objective, &other.0)));
    let (chosen, image) = best.cloned().ok_or_else(|| SearchError::Searcher("no plan was evaluated".to_owned()))?;
    watch(Step { doing: "float control and test", done: entries.len(), of: request.budget });
    let verdict = verdict(bench, request, &image)?;
    let seen = entries.iter().find(|entry| entry.plan == chosen.plan).map_or(0.0, |entry| entry.seen.value);
    Ok(Found {
        plan: chosen.plan,
        greedy: searcher.greedy(),
        met: chosen.met,
        distinct_evaluations: entries.len(),
        entries,
        anchors,
        forecast: laws.short,
        attempts: attempts.into_iter().map(|(attempt, _)| attempt).collect(),
        float_validation_top1: 100.0 * bench.float_accuracy,
        verdict,
        value: seen,
        image,
    })
}

/// Accepted attempts first, by cost; then the others, by loss.
fn rank(objective: &Objective, attempt: &Attempt) -> f64 {
    if attempt.met { objective.quantization(&attempt.plan) } else { 2.0 + attempt.validation_loss }
}

/// A plan and its predicted loss, 0 to 1.
type Candidate = (BitPlan, f64);

/// Every plan evaluated, with the better forecast of those that were re-ranked.
fn candidates(objective: &Objective, entries: &[Entry], ranked: &[Candidate]) -> Vec<Candidate> {
    let forecast = |entry: &Entry| {
        let longer = ranked.iter().find(|(plan, _)| *plan == entry.plan);
        let short = (entry.plan.clone(), objective.float() - entry.seen.accuracy);
        longer.cloned().unwrap_or(short)
    };
    entries.iter().map(forecast).collect()
}

/// What to fine-tune at length after `done`: the cheapest plan that the forecast allows once the attempts have
/// corrected it, cheaper than what was accepted; while nothing was, at least the one with the least predicted loss.
fn next_attempt(objective: &Objective, all: &[Candidate], done: &[&Attempt], max_loss: f64) -> Option<Candidate> {
    let sum = |loss: fn(&Attempt) -> f64| done.iter().map(|attempt| loss(attempt)).sum::<f64>();
    let predicted = sum(|attempt| attempt.predicted_loss).max(1e-9);
    let correction = (sum(|attempt| attempt.validation_loss) / predicted).clamp(CORRECTION[0], CORRECTION[1]);
    let cost = |plan: &BitPlan| objective.quantization(plan);
    let accepted = done.iter().filter(|attempt| attempt.met).map(|attempt| cost(&attempt.plan)).reduce(f64::min);
    let untried = all.iter().filter(|(plan, _)| done.iter().all(|attempt| attempt.plan != *plan));
    let open: Vec<&Candidate> =
        untried.filter(|(plan, _)| accepted.is_none_or(|least| cost(plan) < least - 1e-9)).collect();
    let allowed = open.iter().filter(|(_, predicted)| predicted * correction <= max_loss);
    let order = |one: &&&Candidate, other: &&&Candidate| {
        cost(&one.0).total_cmp(&cost(&other.0)).then(one.1.total_cmp(&other.1))
    };
    let cheapest = allowed.min_by(order).copied();
    let safest = || open.iter().min_by(|one, other| one.1.total_cmp(&other.1)).copied();
    cheapest.or_else(|| accepted.is_none().then(safest).flatten()).cloned()
}

/// Uniform plans of the few widths at which something is lost, as far as the space has them.
fn anchor_plans(space: &Space) -> Vec<BitPlan> {
    let uniform = (1..=ANCHOR_BITS).filter_map(|bits| BitPlan::uniform(bits, space.layers()).ok());
    let plans: Vec<BitPlan> = uniform.filter(|plan| space.contains(plan)).collect();
    if plans.is_empty() { vec![space.slimmest(), space.widest()] } else { plans }
}

/// The laws from divergence to final loss, after a short and after a long fine-tune.
#[derive(Clone, Copy, Debug)]
struct Laws {
    short: Forecast,
    long: Forecast,
}

impl Laws {
    fn measure(
        bench: &mut Bench<'_>,
        request: &Request,
        plans: &[BitPlan],
        watch: &mut dyn FnMut(Step<'_>),
    ) -> Result<Self, SearchError> {
        let (mut short, mut long) = (Vec::new(), Vec::new());
        for plan in plans {
            watch(Step { doing: "anchors", done: 0, of: request.budget });
            let quick = bench.measure(Stage::Anchor, plan, request.short)?;
            let patient = bench.measure(Stage::Anchor, plan, request.long)?;
            let loss = bench.float_accuracy - patient.accuracy;
            short.push(Anchor { divergence: quick.divergence, loss });
            long.push(Anchor { divergence: patient.divergence, loss });
        }
        let resolution = 0.5 / bench.split.validation.len().max(1) as f64;
        Ok(Self { short: Forecast::fit(&short, resolution), long: Forecast::fit(&long, resolution) })
    }
}

fn search(
    bench: &mut Bench<'_>,
    searcher: &mut dyn Searcher,
    request: &Request,
    objective: &Objective,
    law: Forecast,
    watch: &mut dyn FnMut(Step<'_>),
) -> Result<Vec<Entry>, SearchError> {
    let mut done = 0;
    let mut evaluate = |plan: &BitPlan| -> Result<Score, BenchError> {
        let measurement = bench.measure(Stage::Search, plan, request.short)?;
        done += 1;
        watch(Step { doing: "search", done, of: request.budget });
        Ok(Score { accuracy: objective.float() - law.loss(measurement.divergence) })
    };
    let mut ledger = Ledger::new(&mut evaluate, objective, request.budget);
    let problem = Problem { space: &request.space, objective };
    let outcome = race::run(searcher, &problem, &mut ledger, request.seed);
    let entries = ledger.entries().to_vec();
    drop(ledger);
    match outcome {
        Ok(()) => Ok(entries),
        Err(failure) => Err(match failure.downcast::<BenchError>() {
            Ok(error) => (*error).into(),
            Err(other) => SearchError::Searcher(other.to_string()),
        }),
    }
}

/// The best few by value, fine-tuned longer, the cheapest allowed one first; each with its predicted loss, 0 to 1.
fn rerank(
    bench: &mut Bench<'_>,
    request: &Request,
    objective: &Objective,
    entries: &[Entry],
    law: Forecast,
    watch: &mut dyn FnMut(Step<'_>),
) -> Result<Vec<Candidate>, SearchError> {
    let mut best: Vec<&Entry> = entries.iter().collect();
    best.sort_by(|one, other| other.seen.value.total_cmp(&one.seen.value));
    let mut ranked = Vec::new();
    for entry in best.into_iter().take(RERANKED) {
        watch(Step { doing: "re-ranking", done: entries.len(), of: request.budget });
        let measurement = bench.measure(Stage::Rerank, &entry.plan, request.long)?;
        ranked.push((entry.plan.clone(), law.loss(measurement.divergence)));
    }
    let value = |(plan, loss): &Candidate| objective.value(plan, objective.float() - loss);
    ranked.sort_by(|one, other| value(other).total_cmp(&value(one)));
    Ok(ranked)
}

fn attempt(
    bench: &Bench<'_>,
    request: &Request,
    (plan, predicted): Candidate,
) -> Result<(Attempt, ImageBuffer), SearchError> {
    let lowered = lower::lower(&bench.tuned(&plan, request.last)?)?;
    let validation = &bench.split.validation;
    let accuracy = share(&right(&lowered.image, validation)?);
    let loss = bench.float_accuracy - accuracy;
    // Counts of images, so anything below this is rounding.
    let met = loss <= request.max_loss + 1e-9;
    let attempt = Attempt { plan, predicted_loss: 100.0 * predicted, validation_loss: 100.0 * loss, met };
    Ok((attempt, lowered.image))
}

/// Whether the integer engine classifies each image rightly.
fn right(image: &[u8], data: &Dataset) -> Result<Vec<bool>, SearchError> {
    let image = Image::open(image).map_err(lower::LowerError::Refused)?;
    Ok(matches(&native::answers(&image, data)?, data))
}

fn matches(classes: &[usize], data: &Dataset) -> Vec<bool> {
    classes.iter().zip(&data.labels).map(|(class, label)| *class == usize::from(*label)).collect()
}

fn share(right: &[bool]) -> f64 {
    right.iter().filter(|right| **right).count() as f64 / right.len().max(1) as f64
}

/// The test set, once: checkpoint, the checkpoint given the same fine-tune unquantized, and the integer engine.
fn verdict(bench: &Bench<'_>, request: &Request, image: &[u8]) -> Result<Verdict, SearchError> {
    let test = &bench.split.test;
    let checkpoint = matches(&fit::predict(&Model::new(bench.network)?, test)?, test);
    let control = Model::new(bench.network)?;
    let schedule = Schedule {
        epochs: request.last as f64 / bench.split.tune.len().max(1) as f64,
        ..bench.recipe.schedule.clone()
    };
    let teacher = bench.recipe.distill.then(|| bench.teacher());
    fit::fit(&control, teacher, &bench.split.tune, &schedule, &mut |_| ControlFlow::Continue(()))?;
    let control = matches(&fit::predict(&control, test)?, test);
    let float = if share(&control) > share(&checkpoint) { &control } else { &checkpoint };
    let integer = right(image, test)?;
    let (loss, interval) = paired_loss(float, &integer);
    Ok(Verdict {
        images: test.len(),
        checkpoint_top1: 100.0 * share(&checkpoint),
        fine_tuned_top1: 100.0 * share(&control),
        float_top1: 100.0 * share(float),
        final_top1: 100.0 * share(&integer),
        loss: 100.0 * loss,
        loss_interval: interval.map(|bound| 100.0 * bound),
    })
}

/// Loss on paired images and its 95 % interval (normal, from the discordant pairs).
fn paired_loss(float: &[bool], integer: &[bool]) -> (f64, [f64; 2]) {
    let count = float.len().max(1) as f64;
    let pairs = || float.iter().zip(integer);
    let lost = pairs().filter(|(float, integer)| **float && !**integer).count() as f64;
    let won = pairs().filter(|(float, integer)| !**float && **integer).count() as f64;
    let loss = (lost - won) / count;
    let deviation = ((lost + won) - (lost - won).powi(2) / count).max(0.0).sqrt() / count;
    (loss, [loss - 1.96 * deviation, loss + 1.96 * deviation])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paired_images_give_a_narrower_interval() {
        let float = [true; 100].to_vec();
        let mut integer = float.clone();
        integer[..4].fill(false);
        let (loss, [low, high]) = paired_loss(&float, &integer);
        assert!((loss - 0.04).abs() < 1e-12);
        // sqrt(4 - 16/100) / 100 = 0.019596
        assert!((high - loss - 1.96 * 0.019_596).abs() < 1e-6 && (loss - low - (high - loss)).abs() < 1e-12);
        assert_eq!(paired_loss(&float, &float), (0.0, [0.0, 0.0]));
    }

    fn tried(plan: &str, predicted_loss: f64, validation_loss: f64) -> Attempt {
        Attempt { plan: plan.parse().unwrap(), predicted_loss, validation_loss, met: validation_loss <= 0.3 }
    }

    /// A better attempt than predicted makes cheaper plans worth one; a worse one makes them not.
    #[test]
    fn an_attempt_corrects_the_forecast() {
        let layer = releq_search::network::LayerFeatures {
            weights: 9,
            macs: 9,
            inputs: 1,
            outputs: 1,
            kernel: 3,
            deviation: 0.1,
        };
        let network = releq_search::network::Network::new(vec![layer; 2]).unwrap();
        let objective = Objective::new(Goal::Floor(0.003), StateOfQuantization::Mean, network, 0.99);
        let all: Vec<Candidate> = [("3,3", 0.002), ("2,3", 0.005), ("2,2", 0.009), ("1,1", 0.03)]
            .map(|(plan, loss)| (plan.parse().unwrap(), loss))
            .to_vec();
        let next = |done: &[&Attempt]| next_attempt(&objective, &all, done, 0.003).map(|(plan, _)| plan.to_string());
        let half = tried("3,3", 0.2, 0.1);
        assert_eq!(next(&[&half]).as_deref(), Some("2,3"));
        let much = tried("3,3", 0.2, 0.0);
        assert_eq!(next(&[&much]).as_deref(), Some("2,3"));
        assert_eq!(next(&[&much, &tried("2,3", 0.5, 0.25)]), None);
        assert_eq!(next(&[&much, &tried("2,3", 0.5, 0.9)]), None);
        // Nothing accepted: the safest plan left.
        assert_eq!(next(&[&tried("2,3", 0.25, 0.9)]).as_deref(), Some("3,3"));
    }

    #[test]
    fn anchors_are_plans_of_the_space() {
        let space = Space::same(&[2, 3, 4, 5, 8], 4).unwrap();
        let plans: Vec<String> = anchor_plans(&space).iter().map(BitPlan::to_string).collect();
        assert_eq!(plans, ["2,2,2,2", "3,3,3,3", "4,4,4,4"]);
        let pinned = space.ends_pinned().unwrap();
        assert_eq!(anchor_plans(&pinned), [pinned.slimmest(), pinned.widest()]);
    }
}
