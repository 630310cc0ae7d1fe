//! The hunt itself: anchors, the searcher's budget, re-ranking, the long fine-tune, and the test set once.

use std::path::Path;

use releq_format::image::ImageBuffer;
use releq_search::evaluate::{Evaluator, Score};
use releq_search::ledger::{Entry, Failure, Ledger};
use releq_search::network::StateOfQuantization;
use releq_search::objective::{Goal, Objective};
use releq_search::plan::BitPlan;
use releq_search::race;
use releq_search::record::Log;
use releq_search::reward::Reward;
use releq_search::searcher::{Problem, Searcher};
use releq_search::space::Space;

use super::attempts::{ATTEMPTS, Attempt, Candidate, believed, candidates, next_attempt, rank};
use super::bench::{Bench, BenchError, Stage};
use super::comparison::{self, Row};
use super::forecast::{Forecast, Laws, anchor_plans};
use super::judge::Judge;
use super::shelf::Shelf;
use super::verdict::{Answers, Floats, Verdict};
use super::{SearchError, features};
use crate::data::Dataset;
use crate::network::Network;

/// What a plan is wanted for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// Fewest mean bits whose predicted loss is allowed.
    Loss,
    /// The largest reward, whatever it loses: accuracy is top-1 after the short fine-tune, as published.
    Reward(Reward),
}

/// What is asked for, and what may be spent.
#[derive(Clone, Debug)]
pub struct Request {
    /// Plans to choose from.
    pub space: Space,
    /// What for.
    pub aim: Aim,
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
    /// Random plans of the chosen one's mean bits to set beside it; with none, nothing is set beside it.
    pub baselines: usize,
    /// The one seed of everything random.
    pub seed: u64,
}

impl Request {
    /// What searchers maximise, on a network whose fine-tuned accuracy in floats is `float`, 0 to 1.
    ///
    /// # Errors
    /// As [`features`].
    pub fn objective(&self, bench: &Bench<'_>, float: f64) -> Result<Objective, SearchError> {
        let (goal, float) = match self.aim {
            Aim::Loss => (Goal::Floor(self.max_loss), float),
            // As published: accuracy over that of the network as it came.
            Aim::Reward(reward) => (Goal::Reward(reward), bench.float_accuracy),
        };
        Ok(Objective::new(goal, StateOfQuantization::Mean, features(bench.network)?, float))
    }

    /// Whether plans are compared by their predicted final loss.
    pub fn forecasts(&self) -> bool {
        self.aim == Aim::Loss
    }
}

/// What losses on the validation images are measured against: the better of the checkpoint and the checkpoint given the
/// same fine-tune unquantized. An undertrained network gains by the fine-tune alone, and plans get no credit for that.
pub(super) struct Reference {
    /// After as many images as the chosen plan.
    pub(super) last: Floats,
}

impl Reference {
    pub(super) fn of(bench: &Bench<'_>, shelf: &Shelf, request: &Request) -> Result<Self, SearchError> {
        Ok(Self { last: floats(bench, &shelf.control(bench, request.last)?, &bench.split.validation)? })
    }
}

fn floats(bench: &Bench<'_>, control: &Network, data: &Dataset) -> Result<Floats, SearchError> {
    let (checkpoint, control) = (Answers::of_floats(bench.network, data)?, Answers::of_floats(control, data)?);
    Ok(Floats { checkpoint, control })
}

/// Plans that are fine-tuned longer before one is chosen.
const RERANKED: usize = 3;

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

/// A finished hunt.
#[derive(Clone, Debug)]
pub struct Found {
    /// The chosen plan.
    pub plan: BitPlan,
    /// The plan of the largest value that was evaluated.
    pub best: BitPlan,
    /// What the searcher's policy would choose, where it has one.
    pub greedy: Option<BitPlan>,
    /// Whether the chosen plan keeps to the loss on the validation images.
    pub met: bool,
    /// Every plan the searcher asked for, in order, with its accuracy, predicted if there is a forecast.
    pub entries: Vec<Entry>,
    /// Uniform plans measured for the forecast.
    pub anchors: Vec<BitPlan>,
    /// Short divergence to final loss.
    pub forecast: Option<Forecast>,
    /// Accuracy in floats on the validation images that losses are measured against, 0 to 1.
    pub float_accuracy: f64,
    /// Long fine-tunes, in order.
    pub attempts: Vec<Attempt>,
    /// What the test images say.
    pub verdict: Verdict,
    /// Other plans at the same cost, on every test image.
    pub comparison: Vec<Row>,
    /// Value of the chosen plan under the objective.
    pub value: f64,
    /// The image of the chosen plan.
    pub image: ImageBuffer,
}

/// What all stages of a hunt share.
struct Terms<'t> {
    shelf: &'t Shelf,
    request: &'t Request,
    objective: Objective,
    reference: Reference,
    judge: Judge,
}

/// Finds the plan that the request asks for.
///
/// # Errors
/// [`SearchError`]; everything measured stays in the bench's log, and what was fine-tuned at length on the shelf.
pub fn hunt(
    bench: &mut Bench<'_>,
    shelf: &Shelf,
    searcher: &mut dyn Searcher,
    request: &Request,
    episodes: &Path,
    watch: &mut dyn FnMut(Step<'_>),
) -> Result<Found, SearchError> {
    watch(Step { doing: "float control", done: 0, of: request.budget });
    let reference = Reference::of(bench, shelf, request)?;
    let objective = request.objective(bench, reference.last.better().share())?;
    let mut judge = Judge::of(bench.network, &bench.split.validation)?;
    watch(Step { doing: "anchors", done: 0, of: request.budget });
    let anchors = if request.forecasts() { anchor_plans(&request.space) } else { Vec::new() };
    let laws = match request.forecasts() {
        true => Some(Laws::measure(bench, shelf, request, &reference, &mut judge, &anchors)?),
        false => None,
    };
    let terms = Terms { shelf, request, objective, reference, judge };
    let mut log = Log::create(episodes)?;
    let (entries, ranked) = match laws {
        Some(laws) => two_rounds(bench, searcher, &terms, laws, &mut log, watch)?,
        None => {
            let round = Round { law: None, known: &[], budget: request.budget };
            (search(bench, searcher, &terms, round, &mut log, watch)?, Vec::new())
        }
    };
    let best = entries.iter().reduce(|best, next| if next.seen.value > best.seen.value { next } else { best });
    let Entry { plan: best, seen } =
        best.ok_or_else(|| SearchError::Searcher("no plan was evaluated".to_owned()))?.clone();
    let first = ranked.first().cloned().unwrap_or((best.clone(), terms.objective.float() - seen.accuracy));
    let attempts = fine_tune(bench, &terms, first, &candidates(&terms.objective, &entries, &ranked), watch)?;
    let by_rank = |one: &&(Attempt, ImageBuffer), other: &&(Attempt, ImageBuffer)| {
        rank(&terms.objective, &one.0).total_cmp(&rank(&terms.objective, &other.0))
    };
    let (chosen, image) = attempts.iter().min_by(by_rank).cloned().expect("there is an attempt at least");
    watch(Step { doing: "test", done: entries.len(), of: request.budget });
    let control = shelf.control(bench, request.last)?;
    let floats = floats(bench, &control, &bench.split.test)?;
    let verdict = Verdict::new(&floats, &Answers::of_image(&image, &bench.split.test)?);
    watch(Step { doing: "plans at the same cost", done: entries.len(), of: request.budget });
    let comparison = comparison::compare(bench, shelf, request, &chosen.plan, &control)?;
    let value = entries.iter().find(|entry| entry.plan == chosen.plan).map_or(0.0, |entry| entry.seen.value);
    Ok(Found {
        plan: chosen.plan,
        best,
        greedy: searcher.greedy(),
        met: chosen.met,
        entries,
        anchors,
        forecast: laws.map(|laws| laws.short),
        float_accuracy: terms.objective.float(),
        attempts: attempts.into_iter().map(|(attempt, _)| attempt).collect(),
        verdict,
        comparison,
        value,
        image,
    })
}

/// Scores plans by the bench: by predicted final accuracy where there is a forecast, else by accuracy as it is now.
pub(super) struct Measuring<'m, 'b> {
    bench: &'m mut Bench<'b>,
    law: Option<Forecast>,
    float: f64,
    request: &'m Request,
    done: usize,
    watch: &'m mut dyn FnMut(Step<'_>),
}

impl<'m, 'b> Measuring<'m, 'b> {
    pub(super) fn new(
        bench: &'m mut Bench<'b>,
        law: Option<Forecast>,
        objective: &Objective,
        request: &'m Request,
        watch: &'m mut dyn FnMut(Step<'_>),
    ) -> Self {
        Self { bench, law, float: objective.float(), request, done: 0, watch }
    }
}

impl Evaluator for Measuring<'_, '_> {
    type Error = BenchError;

    fn evaluate(&mut self, plan: &BitPlan) -> Result<Score, BenchError> {
        Ok(self.evaluate_all(std::slice::from_ref(plan))?.swap_remove(0))
    }

    fn evaluate_all(&mut self, plans: &[BitPlan]) -> Result<Vec<Score>, BenchError> {
        let measurements = self.bench.measure_all(Stage::Search, plans, self.request.short)?;
        self.done += plans.len();
        (self.watch)(Step { doing: "search", done: self.done, of: self.request.budget });
        let score = |law: Forecast, divergence: f64| self.float - law.loss(divergence);
        let scores = measurements.iter().map(|measurement| Score {
            accuracy: self.law.map_or(measurement.accuracy, |law| score(law, measurement.divergence)),
        });
        Ok(scores.collect())
    }

    fn side_by_side(&self) -> usize {
        self.bench.actors()
    }
}

/// Share of the budget that the first of two rounds spends.
const FIRST: f64 = 0.625;
/// How far re-ranking may correct the forecast after the first round, as a factor.
const RERANKING: [f64; 2] = [0.5, 2.0];

/// The budget in two rounds: where re-ranking the best of the first shows that short fine-tunes mislead, the second
/// searches with the law so corrected, on top of all that is known. Gives every plan, and the re-ranked ones, best first.
fn two_rounds(
    bench: &mut Bench<'_>,
    searcher: &mut dyn Searcher,
    terms: &Terms<'_>,
    laws: Laws,
    log: &mut Log,
    watch: &mut dyn FnMut(Step<'_>),
) -> Result<(Vec<Entry>, Vec<Candidate>), SearchError> {
    let all = terms.request.budget;
    let budget = ((FIRST * all as f64).round() as usize).clamp(1, all);
    let first = search(bench, searcher, terms, Round { law: Some(laws.short), known: &[], budget }, log, watch)?;
    watch(Step { doing: "re-ranking", done: first.len(), of: all });
    let ranked = rerank(bench, terms, &first, laws.long)?;
    let short = |plan: &BitPlan| first.iter().find(|entry| entry.plan == *plan).map(|entry| entry.seen.accuracy);
    let ratios = ranked.iter().filter_map(|(plan, long)| {
        let short = terms.objective.float() - short(plan)?;
        Some((long.max(1e-6) / short.max(1e-6)).ln())
    });
    let ratio = (ratios.sum::<f64>() / ranked.len().max(1) as f64).exp().clamp(RERANKING[0], RERANKING[1]);
    let law = Forecast { scale: laws.short.scale * ratio, ..laws.short };
    let known: Vec<BitPlan> = first.iter().map(|entry| entry.plan.clone()).collect();
    let entries = search(bench, searcher, terms, Round { law: Some(law), known: &known, budget: all }, log, watch)?;
    watch(Step { doing: "re-ranking", done: entries.len(), of: all });
    let mut again = rerank(bench, terms, &entries, laws.long)?;
    again.extend(
        ranked.into_iter().filter(|(plan, _)| again.iter().all(|(other, _)| other != plan)).collect::<Vec<_>>(),
    );
    let value = |(plan, loss): &Candidate| terms.objective.value(plan, terms.objective.float() - loss);
    again.sort_by(|one, other| value(other).total_cmp(&value(one)));
    Ok((entries, again))
}

/// One run of the searcher.
struct Round<'r> {
    law: Option<Forecast>,
    /// Plans that an earlier round paid for.
    known: &'r [BitPlan],
    /// Distinct plans, the known ones included.
    budget: usize,
}

fn search(
    bench: &mut Bench<'_>,
    searcher: &mut dyn Searcher,
    Terms { request, objective, .. }: &Terms<'_>,
    Round { law, known, budget }: Round<'_>,
    log: &mut Log,
    watch: &mut dyn FnMut(Step<'_>),
) -> Result<Vec<Entry>, SearchError> {
    let mut evaluator = Measuring::new(bench, law, objective, request, watch);
    let mut ledger = Ledger::new(&mut evaluator, objective, budget);
    ledger.pay_ahead(known).map_err(|stop| SearchError::Searcher(stop.to_string()))?;
    let mut ledger = ledger.keeping(|episode| log.append(episode).map_err(|error| BenchError::Record(error).into()));
    let problem = Problem { space: &request.space, objective };
    let outcome = race::run(searcher, &problem, &mut ledger, request.seed);
    let entries = ledger.entries().to_vec();
    drop(ledger);
    outcome.map(|()| entries).map_err(failed)
}

/// What a searcher's failure was: the bench's, or its own.
pub(super) fn failed(failure: Failure) -> SearchError {
    match failure.downcast::<BenchError>() {
        Ok(error) => (*error).into(),
        Err(other) => SearchError::Searcher(other.to_string()),
    }
}

/// The best few by value, fine-tuned longer, the cheapest allowed one first; each with its predicted loss, 0 to 1.
fn rerank(
    bench: &mut Bench<'_>,
    Terms { request, objective, .. }: &Terms<'_>,
    entries: &[Entry],
    law: Forecast,
) -> Result<Vec<Candidate>, SearchError> {
    let mut best: Vec<&Entry> = entries.iter().collect();
    best.sort_by(|one, other| other.seen.value.total_cmp(&one.seen.value));
    let plans: Vec<BitPlan> = best.into_iter().take(RERANKED).map(|entry| entry.plan.clone()).collect();
    let measurements = bench.measure_all(Stage::Rerank, &plans, request.long)?;
    let mut ranked: Vec<Candidate> =
        measurements.into_iter().map(|measurement| (measurement.plan, law.loss(measurement.divergence))).collect();
    let value = |(plan, loss): &Candidate| objective.value(plan, objective.float() - loss);
    ranked.sort_by(|one, other| value(other).total_cmp(&value(one)));
    Ok(ranked)
}

/// Long fine-tunes: of `first`, then of others for as long as what was seen makes a cheaper one worth a try. Without a
/// forecast nothing says what is, and `first` has the only one.
fn fine_tune(
    bench: &Bench<'_>,
    terms: &Terms<'_>,
    first: Candidate,
    candidates: &[Candidate],
    watch: &mut dyn FnMut(Step<'_>),
) -> Result<Vec<(Attempt, ImageBuffer)>, SearchError> {
    let Terms { request, objective, .. } = terms;
    let mut next = Some(first);
    let mut attempts: Vec<(Attempt, ImageBuffer)> = Vec::new();
    while let Some(candidate) = next.take().filter(|_| attempts.len() < ATTEMPTS) {
        watch(Step { doing: "long fine-tune", done: request.budget, of: request.budget });
        attempts.push(attempt(bench, terms, candidate)?);
        let done: Vec<&Attempt> = attempts.iter().map(|(attempt, _)| attempt).collect();
        let forecast = request.forecasts().then(|| next_attempt(objective, candidates, &done, request.max_loss));
        next = forecast.flatten();
    }
    Ok(attempts)
}

fn attempt(
    bench: &Bench<'_>,
    Terms { shelf, request, reference, judge, .. }: &Terms<'_>,
    (plan, predicted): Candidate,
) -> Result<(Attempt, ImageBuffer), SearchError> {
    let image = shelf.image(bench, &plan, request.last)?;
    let answers = Answers::of_image(&image, &bench.split.validation)?;
    let float = reference.last.better();
    let ((counted, _), judged) = (answers.loss_against(float), judge.loss(float, &answers));
    let expected = if request.forecasts() { believed(predicted, judged).0 } else { counted };
    let attempt = Attempt {
        plan,
        predicted_loss: 100.0 * predicted,
        validation_loss: 100.0 * counted,
        judged_loss: 100.0 * judged.0,
        expected_loss: 100.0 * expected,
        // Counts of images, so anything below this is rounding.
        met: expected <= request.max_loss + 1e-9,
    };
    Ok((attempt, image))
}
