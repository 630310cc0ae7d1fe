//! The searcher's budget, in rounds: what re-ranking and long fine-tunes teach in between corrects the forecast.

use releq_search::evaluate::{Evaluator, Score};
use releq_search::ledger::{Entry, Failure, Ledger};
use releq_search::objective::{Goal, Objective};
use releq_search::plan::BitPlan;
use releq_search::race;
use releq_search::record::Log;
use releq_search::searcher::{Problem, Searcher};

use super::SearchError;
use super::attempts::{Attempt, Candidate, candidates, correction, next_attempts};
use super::bench::{Bench, BenchError, Stage};
use super::forecast::{Forecast, Laws, anchor_plans};
use super::hunt::{Aim, Request, Step, Terms};

/// Shares of the budget that have been spent by the end of the first round, and of the second; the rest is for looking
/// again once long fine-tunes have said more.
const ROUNDS: [f64; 2] = [0.5, 0.7];
/// Share of the budget for each further look.
const LOOK: f64 = 0.1;
/// How far re-ranking may correct the forecast after the first round, as a factor.
const RERANKING: [f64; 2] = [0.5, 2.0];
/// Deviation of a prediction from a smooth function of the plan, on the scale of the logarithm of the loss (docs/adr/0006).
pub(super) const NOISE: f64 = 0.05;
/// Plans that are fine-tuned longer after a round.
const RERANKED: usize = 3;

/// What the searcher has found so far.
pub(super) struct Searched {
    /// Every plan it asked for, in order.
    pub(super) entries: Vec<Entry>,
    /// Plans that were fine-tuned longer, best first.
    pub(super) ranked: Vec<Candidate>,
    /// Divergence to final loss, as corrected by re-ranking.
    pub(super) laws: Option<Laws>,
}

impl Searched {
    /// The plan of the largest value within the limits; none that diverged.
    ///
    /// # Errors
    /// Where no such plan was evaluated.
    pub(super) fn best(&self, bench: &Bench<'_>, objective: &Objective) -> Result<&Entry, SearchError> {
        let value = |entry: &&Entry| objective.value(&entry.plan, entry.seen.accuracy);
        let best =
            self.sound(bench, objective).reduce(|best, next| if value(&next) > value(&best) { next } else { best });
        let why = || self.entries.iter().rev().find_map(|entry| bench.why_diverged(&entry.plan));
        best.ok_or_else(|| match why() {
            Some(why) => SearchError::Diverged { why: why.to_owned() },
            None => SearchError::Searcher("no plan was evaluated".to_owned()),
        })
    }

    /// What may be chosen: plans within the limits that never diverged.
    fn sound(&self, bench: &Bench<'_>, objective: &Objective) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| objective.admits(&entry.plan) && !bench.has_diverged(&entry.plan))
    }

    /// What to fine-tune at length first.
    ///
    /// # Errors
    /// As [`best`](Self::best).
    pub(super) fn first(&self, bench: &Bench<'_>, objective: &Objective) -> Result<Candidate, SearchError> {
        let best = self.best(bench, objective)?;
        let short = (best.plan.clone(), objective.float() - best.seen.accuracy);
        let value = |(plan, loss): &Candidate| objective.value(plan, objective.float() - loss);
        // What was re-ranked is known better, unless the best of the others was not fine-tuned longer for want of asking.
        let reranked = |first: &&Candidate| self.ranks(&short.0) || value(first) >= value(&short);
        let ranked = self.ranked.iter().find(|(plan, _)| !bench.has_diverged(plan));
        Ok(ranked.filter(reranked).cloned().unwrap_or(short))
    }

    /// Whether `plan` was fine-tuned longer.
    fn ranks(&self, plan: &BitPlan) -> bool {
        self.ranked.iter().any(|(ranked, _)| ranked == plan)
    }

    /// Another round for plans that are allowed even if they lose as much more than predicted as those `done` did; says
    /// whether there was any budget left for it.
    pub(super) fn look_again(
        &mut self,
        bench: &mut Bench<'_>,
        searcher: &mut dyn Searcher,
        terms: &Terms<'_>,
        done: &[&Attempt],
        log: &mut Log,
        watch: &mut dyn FnMut(Step<'_>),
    ) -> Result<bool, SearchError> {
        let Terms { request, objective, .. } = terms;
        let known: Vec<BitPlan> = self.entries.iter().map(|entry| entry.plan.clone()).collect();
        let budget = (known.len() + share(request.budget, LOOK)).min(request.budget);
        let Some(laws) = self.laws.filter(|_| budget > known.len()) else { return Ok(false) };
        let corrected = match request.aim {
            Aim::Loss => objective.with_goal(Goal::Floor(request.max_loss / correction(done))),
            Aim::Accuracy | Aim::Reward(_) => objective.clone(),
        };
        let round = Round { law: Some(laws.short), known: &known, budget, objective: &corrected };
        self.entries = round.run(bench, searcher, request, log, watch)?;
        self.entries.iter_mut().for_each(|Entry { plan, seen }| seen.value = objective.value(plan, seen.accuracy));
        Ok(self.entries.len() > known.len())
    }

    /// What to fine-tune at length after `done`, if anything is worth it. Of many plans that were fine-tuned briefly, the
    /// cheapest that looks allowed is likely one that had luck, so what would be chosen is re-ranked first. Without a
    /// forecast another is worth it only if all that were tried diverged.
    pub(super) fn next(
        &mut self,
        bench: &mut Bench<'_>,
        terms: &Terms<'_>,
        done: &[&Attempt],
    ) -> Result<Option<Candidate>, SearchError> {
        let Terms { request, objective, .. } = terms;
        let Some(laws) = self.laws else { return Ok(self.second_best(bench, objective, done)) };
        if request.settled {
            let all = self.candidates(bench, objective);
            let next = next_attempts(objective, &all, done, request.max_loss).into_iter().next();
            return Ok(next.filter(|(plan, _)| terms.shelf.kept(plan, request.last).is_some()));
        }
        loop {
            let all = self.candidates(bench, objective);
            let next = next_attempts(objective, &all, done, request.max_loss);
            let known = |plan: &BitPlan| self.ranked.iter().any(|(ranked, _)| ranked == plan);
            if next.first().is_none_or(|(plan, _)| known(plan)) {
                return Ok(next.into_iter().next());
            }
            let new = next.into_iter().map(|(plan, _)| plan).filter(|plan| !known(plan)).take(RERANKED).collect();
            self.ranked.extend(fine_tuned_longer(bench, terms, new, laws.long)?);
        }
    }

    fn candidates(&self, bench: &Bench<'_>, objective: &Objective) -> Vec<Candidate> {
        candidates(objective, self.sound(bench, objective), &self.ranked)
    }

    /// The plan of the largest value that was not fine-tuned at length, if all that were diverged.
    fn second_best(&self, bench: &Bench<'_>, objective: &Objective, done: &[&Attempt]) -> Option<Candidate> {
        let untried = |entry: &&Entry| done.iter().all(|attempt| attempt.plan != entry.plan);
        let value = |entry: &Entry| objective.value(&entry.plan, entry.seen.accuracy);
        let candidate = |entry: &Entry| (entry.plan.clone(), objective.float() - entry.seen.accuracy);
        let others = self.sound(bench, objective).filter(untried);
        let best = others.reduce(|best, next| if value(next) > value(best) { next } else { best });
        best.filter(|_| done.iter().all(|attempt| attempt.diverged.is_some())).map(candidate)
    }
}

/// That share of a budget, one plan at least.
fn share(budget: usize, share: f64) -> usize {
    ((share * budget as f64).round() as usize).clamp(1, budget.max(1))
}

/// The first rounds: two of them with a forecast, where re-ranking the best of the first shows how far short fine-tunes
/// mislead and the second searches by the law so corrected, on top of all that is known; else one.
pub(super) fn search(
    bench: &mut Bench<'_>,
    searcher: &mut dyn Searcher,
    terms: &Terms<'_>,
    laws: Option<Laws>,
    log: &mut Log,
    watch: &mut dyn FnMut(Step<'_>),
) -> Result<Searched, SearchError> {
    let Terms { request, objective, .. } = terms;
    if request.settled {
        return settled(bench, searcher, terms, laws, log, watch);
    }
    let Some(laws) = laws else {
        let round = Round { law: None, known: request.first(), budget: request.budget, objective };
        let entries = round.run(bench, searcher, request, log, watch)?;
        return Ok(Searched { entries, ranked: Vec::new(), laws: None });
    };
    // One long fine-tune ends a search for accuracy, so nothing is kept for looks after it.
    let rounds = if request.aim == Aim::Accuracy { [ROUNDS[0], 1.0] } else { ROUNDS };
    let [first, second] = rounds.map(|part| share(request.budget, part));
    // What anchors the forecast was measured, and uniform plans are where some kernels are fastest.
    let anchors = anchor_plans(&request.space).into_iter().filter(|plan| objective.admits(plan));
    let known: Vec<BitPlan> = request.first().iter().cloned().chain(anchors).collect();
    let round = Round { law: Some(laws.short), known: &known, budget: first, objective };
    let first = round.run(bench, searcher, request, log, watch)?;
    watch(Step { doing: "re-ranking", done: first.len(), of: request.budget });
    let ranked = rerank(bench, terms, &first, laws.long)?;
    let law = Forecast { scale: laws.short.scale * misled(bench, objective, &first, &ranked), ..laws.short };
    let known: Vec<BitPlan> = first.iter().map(|entry| entry.plan.clone()).collect();
    let round = Round { law: Some(law), known: &known, budget: second, objective };
    let entries = round.run(bench, searcher, request, log, watch)?;
    watch(Step { doing: "re-ranking", done: entries.len(), of: request.budget });
    let mut again = rerank(bench, terms, &entries, laws.long)?;
    again.extend(
        ranked.into_iter().filter(|(plan, _)| again.iter().all(|(other, _)| other != plan)).collect::<Vec<_>>(),
    );
    by_value(objective, &mut again);
    Ok(Searched { entries, ranked: again, laws: Some(Laws { short: law, ..laws }) })
}

/// All that was measured before, and nothing new unless none of it is within the limits.
fn settled(
    bench: &mut Bench<'_>,
    searcher: &mut dyn Searcher,
    terms: &Terms<'_>,
    laws: Option<Laws>,
    log: &mut Log,
    watch: &mut dyn FnMut(Step<'_>),
) -> Result<Searched, SearchError> {
    let Terms { request, objective, .. } = terms;
    let measured = bench.measurements().into_iter().filter(|one| one.images == request.short);
    let mut known: Vec<BitPlan> = measured.map(|one| one.plan).filter(|plan| request.space.contains(plan)).collect();
    if !known.iter().any(|plan| objective.admits(plan)) {
        // Nothing known is an answer, so this once something has to be evaluated.
        known.extend_from_slice(request.first());
    }
    let round = Round { law: laws.map(|laws| laws.short), known: &known, budget: known.len(), objective };
    let first = round.run(bench, searcher, request, log, watch)?;
    let Some(laws) = laws else { return Ok(Searched { entries: first, ranked: Vec::new(), laws: None }) };
    let longer =
        first.iter().map(|entry| &entry.plan).filter(|plan| bench.knows(plan, request.long)).cloned().collect();
    let mut ranked = fine_tuned_longer(bench, terms, longer, laws.long)?;
    let law = Forecast { scale: laws.short.scale * misled(bench, objective, &first, &ranked), ..laws.short };
    let round = Round { law: Some(law), known: &known, budget: known.len(), objective };
    let entries = round.run(bench, searcher, request, log, watch)?;
    ranked.retain(|(plan, _)| objective.admits(plan));
    Ok(Searched { entries, ranked, laws: Some(Laws { short: law, ..laws }) })
}

/// What longer fine-tunes say of the loss over what short ones said, the geometric mean over those `ranked` plans that did
/// not diverge.
fn misled(bench: &Bench<'_>, objective: &Objective, entries: &[Entry], ranked: &[Candidate]) -> f64 {
    let ranked: Vec<&Candidate> = ranked.iter().filter(|(plan, _)| !bench.has_diverged(plan)).collect();
    let short = |plan: &BitPlan| entries.iter().find(|entry| entry.plan == *plan).map(|entry| entry.seen.accuracy);
    let ratios = ranked.iter().filter_map(|(plan, long)| {
        let short = objective.float() - short(plan)?;
        Some((long.max(1e-6) / short.max(1e-6)).ln())
    });
    (ratios.sum::<f64>() / ranked.len().max(1) as f64).exp().clamp(RERANKING[0], RERANKING[1])
}

/// One run of the searcher.
struct Round<'r> {
    law: Option<Forecast>,
    /// Plans that an earlier round paid for.
    known: &'r [BitPlan],
    /// Distinct plans, the known ones included.
    budget: usize,
    objective: &'r Objective,
}

impl Round<'_> {
    fn run(
        &self,
        bench: &mut Bench<'_>,
        searcher: &mut dyn Searcher,
        request: &Request,
        log: &mut Log,
        watch: &mut dyn FnMut(Step<'_>),
    ) -> Result<Vec<Entry>, SearchError> {
        let mut evaluator = Measuring::new(bench, self.law, self.objective, request, watch);
        let mut ledger = Ledger::new(&mut evaluator, self.objective, self.budget);
        ledger.pay_ahead(self.known).map_err(|stop| SearchError::Searcher(stop.to_string()))?;
        let mut ledger =
            ledger.keeping(|episode| log.append(episode).map_err(|error| BenchError::Record(error).into()));
        let problem = Problem { space: &request.space, objective: self.objective };
        let outcome = race::run(searcher, &problem, &mut ledger, request.seed);
        let entries = ledger.entries().to_vec();
        drop(ledger);
        outcome.map(|()| entries).map_err(failed)
    }
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
    terms: &Terms<'_>,
    entries: &[Entry],
    law: Forecast,
) -> Result<Vec<Candidate>, SearchError> {
    let sound = |entry: &&Entry| terms.objective.admits(&entry.plan) && !bench.has_diverged(&entry.plan);
    let mut best: Vec<&Entry> = entries.iter().filter(sound).collect();
    best.sort_by(|one, other| other.seen.value.total_cmp(&one.seen.value));
    let plans = best.into_iter().take(RERANKED).map(|entry| entry.plan.clone()).collect();
    fine_tuned_longer(bench, terms, plans, law)
}

/// `plans` fine-tuned longer, the cheapest allowed one first; each with its predicted loss, 0 to 1.
fn fine_tuned_longer(
    bench: &mut Bench<'_>,
    Terms { request, objective, .. }: &Terms<'_>,
    plans: Vec<BitPlan>,
    law: Forecast,
) -> Result<Vec<Candidate>, SearchError> {
    let measurements = bench.measure_all(Stage::Rerank, &plans, request.long)?;
    let mut ranked: Vec<Candidate> =
        measurements.into_iter().map(|measurement| (measurement.plan.clone(), measurement.loss(law))).collect();
    by_value(objective, &mut ranked);
    Ok(ranked)
}

fn by_value(objective: &Objective, candidates: &mut [Candidate]) {
    let value = |(plan, loss): &Candidate| objective.value(plan, objective.float() - loss);
    candidates.sort_by(|one, other| value(other).total_cmp(&value(one)));
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
        let scores = measurements.iter().map(|measurement| Score {
            accuracy: self.law.map_or(measurement.accuracy(), |law| self.float - measurement.loss(law)),
        });
        Ok(scores.collect())
    }

    fn side_by_side(&self) -> usize {
        self.bench.actors()
    }

    fn noise(&self) -> Option<f64> {
        self.law.map(|_| NOISE)
    }

    fn falls(&self) -> Option<Vec<f64>> {
        self.bench.falls().map(<[f64]>::to_vec)
    }
}
