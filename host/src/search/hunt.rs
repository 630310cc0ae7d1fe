//! The hunt itself: anchors, the searcher's rounds, long fine-tunes, and the test set once.

use std::path::Path;
use std::sync::Arc;

use releq_format::image::{Image, ImageBuffer};
use releq_search::cost::{Costs, Seen};
use releq_search::ledger::Entry;
use releq_search::objective::{Goal, Objective};
use releq_search::plan::BitPlan;
use releq_search::record::Log;
use releq_search::reward::Reward;
use releq_search::searcher::Searcher;
use releq_search::space::Space;

use super::attempts::{ATTEMPTS, Attempt, Candidate, believed, rank};
use super::bench::Bench;
use super::comparison::{self, Row};
use super::forecast::{Laws, anchor_plans};
use super::judge::Judge;
use super::minimize::{Measure, Minimize};
use super::nearest::Nearest;
use super::pricing::{Pricing, Stand};
use super::probes;
use super::rounds::{self, Searched};
use super::shelf::{Shelf, Tuned};
use super::verdict::{Answers, Floats, Verdict};
use super::{SearchError, features};
use crate::data::Dataset;
use crate::hardware::Hardware;
use crate::lower::LowerError;
use crate::network::Network;

/// What a plan is wanted for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// The least of what is minimised whose predicted loss is allowed.
    Loss,
    /// The least predicted loss, for those who limit something else.
    Accuracy,
    /// The largest reward, whatever it loses: accuracy is top-1 after the short fine-tune, as published.
    Reward(Reward),
}

/// Hardware whose limits every answer keeps.
#[derive(Clone, Debug)]
pub struct Within {
    /// The network on its boards.
    pub hardware: Arc<Hardware>,
    /// A plan that keeps the limits; it is evaluated first, so that there is an answer.
    pub start: BitPlan,
}

/// What is asked for, and what may be spent.
#[derive(Clone, Debug)]
pub struct Request {
    /// Plans to choose from.
    pub space: Space,
    /// What for.
    pub aim: Aim,
    /// What is made small.
    pub measure: Measure,
    /// Where candidates are run to learn what they cost, if anywhere.
    pub stand: Option<Stand>,
    /// What plans keep to, if anything.
    pub within: Option<Within>,
    /// Whether nothing new is evaluated: the answer is chosen among what is known.
    pub settled: bool,
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
            // A floor that no plan keeps: each is worth more the less it misses.
            Aim::Accuracy => (Goal::Floor(0.0), float),
            // As published: accuracy over that of the network as it came.
            Aim::Reward(reward) => (Goal::Reward(reward), bench.float_accuracy),
        };
        let objective = Objective::new(goal, self.measure.state(), features(bench.network)?, float);
        let objective = match bench.pricing() {
            Some(Pricing { costs, seen, .. }) => objective.with_costs(costs.clone()).with_measured(seen.clone()),
            None => match self.costs(bench)? {
                Some(costs) => objective.with_costs(costs),
                None => objective,
            },
        };
        Ok(match &self.within {
            Some(within) => objective.within(within.hardware.clone()),
            None => objective,
        })
    }

    fn costs(&self, bench: &Bench<'_>) -> Result<Option<Costs>, SearchError> {
        self.measure.costs(bench.network, &self.space, bench.recipe.method)
    }

    /// What `bench` should say of costs beside every measurement: those of a board, where they are made small.
    ///
    /// # Errors
    /// As [`Measure::costs`].
    pub fn pricing(&self, bench: &Bench<'_>) -> Result<Option<Pricing>, SearchError> {
        let Some(board) = self.measure.board.filter(|_| self.measure.minimize == Minimize::Instructions) else {
            return Ok(None);
        };
        let stand = self.stand.clone();
        Ok(self.costs(bench)?.map(|costs| Pricing { board, costs, stand, seen: Seen::default() }))
    }

    /// Whether plans are compared by their predicted final loss.
    pub fn forecasts(&self) -> bool {
        !matches!(self.aim, Aim::Reward(_))
    }

    /// Plans to evaluate before any other.
    pub(super) fn first(&self) -> &[BitPlan] {
        self.within.as_ref().map_or(&[], |within| std::slice::from_ref(&within.start))
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
    /// Divergence to final loss.
    pub laws: Option<Laws>,
    /// What would do, where the chosen plan does not.
    pub nearest: Option<Nearest>,
    /// Accuracy in floats on the validation images that losses are measured against, 0 to 1.
    pub float_accuracy: f64,
    /// Long fine-tunes, in order.
    pub attempts: Vec<Attempt>,
    /// What the test images say.
    pub verdict: Verdict,
    /// The test images by label, then by answer of the image, where there are few classes.
    pub confusion: Option<Vec<Vec<u32>>>,
    /// Other plans at the same cost, on every test image.
    pub comparison: Vec<Row>,
    /// Value of the chosen plan under the objective.
    pub value: f64,
    /// The image of the chosen plan.
    pub image: ImageBuffer,
}

/// What all stages of a hunt share.
pub(super) struct Terms<'t> {
    pub(super) shelf: &'t Shelf,
    pub(super) request: &'t Request,
    pub(super) objective: Objective,
    pub(super) reference: Reference,
    pub(super) judge: Judge,
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
    bench.price(request.pricing(bench)?);
    let objective = request.objective(bench, reference.last.better().share())?;
    let mut judge = Judge::of(bench.network, &bench.split.validation)?;
    watch(Step { doing: "anchors", done: 0, of: request.budget });
    let anchors = if request.forecasts() { anchor_plans(&request.space) } else { Vec::new() };
    let laws = match request.forecasts() {
        true => Some(Laws::measure(bench, shelf, request, &reference, &mut judge, &anchors)?),
        false => None,
    };
    if request.forecasts() && !request.settled {
        watch(Step { doing: "probes", done: 0, of: request.budget });
        let falls = probes::falls(bench, &request.space)?;
        bench.tell_falls(falls);
    }
    let terms = Terms { shelf, request, objective, reference, judge };
    let mut log = Log::create(episodes)?;
    let mut searched = rounds::search(bench, searcher, &terms, laws, &mut log, watch)?;
    let attempts = fine_tune(bench, searcher, &terms, &mut searched, &mut log, watch)?;
    let Entry { plan: best, .. } = searched.best(bench, &terms.objective)?.clone();
    let entries = std::mem::take(&mut searched.entries);
    let (chosen, image) = chosen(&terms.objective, &attempts)?;
    watch(Step { doing: "test", done: entries.len(), of: request.budget });
    let control = shelf.control(bench, request.last)?;
    let floats = floats(bench, &control, &bench.split.test)?;
    let answers = Answers::of_image(&image, &bench.split.test)?;
    let (verdict, confusion) = (Verdict::new(&floats, &answers), answers.confusion(&bench.split.test.labels));
    watch(Step { doing: "plans at the same cost", done: entries.len(), of: request.budget });
    let comparison = comparison::compare(bench, shelf, request, &chosen.plan, &control)?;
    let nearest = (!chosen.met && request.forecasts()).then(|| Nearest::of(&terms, &entries, &chosen));
    let value = entries.iter().find(|entry| entry.plan == chosen.plan).map_or(0.0, |entry| entry.seen.value);
    Ok(Found {
        plan: chosen.plan,
        best,
        greedy: searcher.greedy(),
        met: chosen.met,
        entries,
        anchors,
        laws: searched.laws,
        nearest,
        float_accuracy: terms.objective.float(),
        attempts: attempts.into_iter().map(|(attempt, _)| attempt).collect(),
        verdict,
        confusion,
        comparison,
        value,
        image,
    })
}

/// The attempt to answer with, and its image.
fn chosen(objective: &Objective, attempts: &[Tried]) -> Result<(Attempt, ImageBuffer), SearchError> {
    let images = attempts.iter().filter_map(|(attempt, tuned)| Some((attempt, tuned.image()?)));
    let best = images.min_by(|one, other| rank(objective, one.0).total_cmp(&rank(objective, other.0)));
    let why = || attempts.iter().rev().find_map(|(attempt, _)| attempt.diverged.clone()).unwrap_or_default();
    best.map(|(attempt, image)| (attempt.clone(), image.clone())).ok_or_else(|| SearchError::Diverged { why: why() })
}

/// A long fine-tune and what it left.
type Tried = (Attempt, Tuned);

/// Long fine-tunes: of the best plan, then of others for as long as what was seen makes a cheaper one worth a try. After
/// each the searcher looks again by what it has taught, and goes on looking while it has found nothing worth a try.
/// Without a forecast nothing says what is worth one, and the best plan has the only one. One that diverges is followed by
/// the next best in any case.
fn fine_tune(
    bench: &mut Bench<'_>,
    searcher: &mut dyn Searcher,
    terms: &Terms<'_>,
    searched: &mut Searched,
    log: &mut Log,
    watch: &mut dyn FnMut(Step<'_>),
) -> Result<Vec<Tried>, SearchError> {
    let Terms { request, objective, .. } = terms;
    let mut next = Some(searched.first(bench, objective)?);
    let mut attempts: Vec<Tried> = Vec::new();
    loop {
        if let Some(candidate) = next.take() {
            watch(Step { doing: "long fine-tune", done: searched.entries.len(), of: request.budget });
            attempts.push(attempt(bench, terms, candidate)?);
        }
        let done: Vec<&Attempt> = attempts.iter().map(|(attempt, _)| attempt).collect();
        let answered = done.iter().any(|attempt| attempt.diverged.is_none());
        if done.len() == ATTEMPTS || (request.aim == Aim::Accuracy && answered) {
            return Ok(attempts);
        }
        let looked = searched.look_again(bench, searcher, terms, &done, log, watch)?;
        next = searched.next(bench, terms, &done)?;
        if next.is_none() && !looked {
            return Ok(attempts);
        }
    }
}

fn attempt(
    bench: &Bench<'_>,
    Terms { shelf, request, reference, judge, .. }: &Terms<'_>,
    (plan, predicted): Candidate,
) -> Result<Tried, SearchError> {
    let image = match shelf.tuned(bench, &plan, request.last)? {
        Tuned::Image(image) => image,
        Tuned::Diverged(why) => {
            return Ok((Attempt::diverged(plan, 100.0 * predicted, why.clone()), Tuned::Diverged(why)));
        }
    };
    let answers = Answers::of_image(&image, &bench.split.validation)?;
    let float = reference.last.better();
    let ((counted, _), judged) = (answers.loss_against(float), judge.loss(float, &answers));
    let expected = if request.forecasts() { believed(predicted, judged).0 } else { counted };
    let opened = Image::open(&image).map_err(LowerError::Refused)?;
    let budgets = request.within.as_ref().map_or(Vec::new(), |within| within.hardware.checked(&opened));
    // Counts of images, so anything below this is rounding.
    let allowed = request.aim == Aim::Accuracy || expected <= request.max_loss + 1e-9;
    let attempt = Attempt {
        plan,
        predicted_loss: 100.0 * predicted,
        validation_loss: 100.0 * counted,
        judged_loss: 100.0 * judged.0,
        deviation: 100.0 * judged.1,
        expected_loss: 100.0 * expected,
        met: allowed && budgets.iter().all(|budget| budget.kept),
        budgets,
        diverged: None,
    };
    Ok((attempt, Tuned::Image(image)))
}
