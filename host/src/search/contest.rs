//! A live race: every searcher spends as many distinct plans on the same bench, and the winner is named whoever it is.
//!
//! What one has had measured, another need not measure again, but it is charged for it all the same.

use releq_search::ledger::{Entry, Ledger};
use releq_search::objective::Objective;
use releq_search::plan::BitPlan;
use releq_search::race;
use releq_search::rivals::Make;
use releq_search::searcher::Problem;
use serde::Serialize;

use super::SearchError;
use super::bench::Bench;
use super::forecast::{Laws, anchor_plans};
use super::hunt::{Reference, Request, Step};
use super::judge::Judge;
use super::probes;
use super::rounds::{Measuring, failed};
use super::shelf::Shelf;

/// Shares of the budget after which the table reads the best value.
pub const ANYTIME: [f64; 3] = [0.25, 0.5, 1.0];

/// What one searcher reached.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// The searcher.
    pub agent: String,
    /// Its best plan.
    pub plan: BitPlan,
    /// What its policy would choose at the end, where it has one.
    pub greedy: Option<BitPlan>,
    /// Mean weight bits of the best plan.
    pub mean_weight_bits: f64,
    /// Its loss against float, points: predicted if there is a forecast.
    pub loss: f64,
    /// Its value.
    pub value: f64,
    /// Distinct plans it asked for.
    pub distinct_evaluations: usize,
    /// The best value after each of [`ANYTIME`] of the budget.
    pub anytime: [Option<f64>; ANYTIME.len()],
}

/// Lets a searcher of each of `makes` spend the budget, and gives their standings, the best value first.
///
/// # Errors
/// [`SearchError`]; everything measured stays in the bench's log.
pub fn contest(
    bench: &mut Bench<'_>,
    shelf: &Shelf,
    makes: &[Make],
    request: &Request,
    watch: &mut dyn FnMut(Step<'_>),
) -> Result<Vec<Standing>, SearchError> {
    let reference = Reference::of(bench, shelf, request)?;
    bench.price(request.pricing(bench)?);
    let objective = request.objective(bench, reference.last.better().share())?;
    let law = match request.forecasts() {
        true => {
            let anchors = anchor_plans(&request.space);
            let mut judge = Judge::of(bench.network, &bench.split.validation)?;
            let falls = probes::falls(bench, &request.space)?;
            bench.tell_falls(falls);
            Some(Laws::measure(bench, shelf, request, &reference, &mut judge, &anchors)?.short)
        }
        false => None,
    };
    let mut standings = Vec::new();
    for make in makes {
        let mut searcher = make();
        let name = searcher.name().to_owned();
        let mut relabelled = |step: Step<'_>| watch(Step { doing: &name, ..step });
        let mut evaluator = Measuring::new(bench, law, &objective, request, &mut relabelled);
        let mut ledger = Ledger::new(&mut evaluator, &objective, request.budget);
        let problem = Problem { space: &request.space, objective: &objective };
        race::run(searcher.as_mut(), &problem, &mut ledger, request.seed).map_err(failed)?;
        standings.extend(standing(&name, searcher.greedy(), &ledger, &objective, request.budget));
    }
    standings.sort_by(|one, other| other.value.total_cmp(&one.value));
    Ok(standings)
}

fn standing(
    agent: &str,
    greedy: Option<BitPlan>,
    ledger: &Ledger<'_>,
    objective: &Objective,
    budget: usize,
) -> Option<Standing> {
    let Entry { plan, seen } = ledger.best()?.clone();
    Some(Standing {
        agent: agent.to_owned(),
        mean_weight_bits: plan.mean_weight_bits(),
        plan,
        greedy,
        loss: 100.0 * (objective.float() - seen.accuracy),
        value: seen.value,
        distinct_evaluations: ledger.distinct(),
        anytime: ANYTIME.map(|share| ledger.best_after((share * budget as f64).round() as usize)),
    })
}
