//! The race: every searcher on equal terms, and a table that names the winner whoever it is.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::evaluate::Evaluator;
use crate::ledger::{Entry, Failure, Ledger, Stop};
use crate::network::Network;
use crate::objective::{Contest, Objective};
use crate::plan::BitPlan;
use crate::searcher::{Problem, Searcher};
use crate::table::Table;

/// Distinct evaluations after which the anytime table reads the regret.
pub const ANYTIME: [usize; 3] = [20, 45, 100];

/// One search, from its ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Seed of everything random in it.
    pub seed: u64,
    /// The plan of the largest value that it looked up.
    pub best: Option<Entry>,
    /// What its policy would choose at the end, where it has one.
    pub greedy: Option<BitPlan>,
    /// Distinct plans looked up until the optimum was, itself included; none if it was missed.
    pub evaluations_to_optimum: Option<usize>,
    /// Distinct plans looked up in all.
    pub distinct_evaluations: usize,
    /// `(r* - r) / (r* - r(widest))` of the best value `r` after each of [`ANYTIME`] evaluations.
    pub regret: [Option<f64>; ANYTIME.len()],
    /// Every plan looked up, in order.
    pub lookups: Vec<BitPlan>,
}

/// One searcher's runs on one contest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The searcher.
    pub agent: String,
    /// The contest.
    pub contest: Contest,
    /// The plan of the largest value in the table.
    pub optimum: BitPlan,
    /// Distinct evaluations that each run could spend.
    pub budget: usize,
    /// The runs, by seed.
    pub runs: Vec<Run>,
    /// Median of the evaluations to the optimum, a miss counting as budget + 1.
    pub median_evaluations: f64,
    /// Their 90th percentile, counted alike.
    pub p90_evaluations: f64,
    /// Mean regret after each of [`ANYTIME`] evaluations, over the runs.
    pub mean_regret: [Option<f64>; ANYTIME.len()],
}

/// A recorded question whose answer is known.
#[derive(Clone, Debug)]
pub struct Course<'a> {
    /// Its name in the outcome.
    pub contest: Contest,
    /// The recorded answers.
    pub table: &'a Table,
    /// What is asked.
    pub objective: Objective,
    /// Distinct evaluations each run may spend.
    pub budget: usize,
    /// Whether a run ends once it has looked the optimum up: the counts stay the same, a policy's last choice does not.
    pub to_optimum: bool,
}

impl<'a> Course<'a> {
    /// `contest` on `table` with a budget of every plan in it, each run ending at the optimum.
    pub fn new(contest: Contest, table: &'a Table, network: Network, float: f64) -> Self {
        let objective = contest.objective(table.space(), network, float);
        Self { contest, table, objective, budget: table.accuracies().len(), to_optimum: true }
    }

    /// Runs a fresh searcher of `make` for each seed, on all cores.
    ///
    /// # Errors
    /// The first plan that the table does not have.
    pub fn run(&self, make: impl Fn() -> Box<dyn Searcher> + Sync, seeds: &[u64]) -> Result<Outcome, Failure> {
        let optimum = self.table.optimum(&self.objective);
        let one = |&seed: &u64| self.one(make().as_mut(), seed, &optimum);
        let runs = seeds.par_iter().map(one).collect::<Result<Vec<Run>, Failure>>()?;
        let agent = make().name().to_owned();
        Ok(self.outcome(agent, optimum.0, runs))
    }

    fn one(&self, searcher: &mut dyn Searcher, seed: u64, optimum: &(BitPlan, f64)) -> Result<Run, Failure> {
        let mut table = self.table;
        let mut ledger = Ledger::new(&mut table, &self.objective, self.budget);
        if self.to_optimum {
            ledger = ledger.awaiting(optimum.0.clone());
        }
        let problem = Problem { space: self.table.space(), objective: &self.objective };
        run(searcher, &problem, &mut ledger, seed)?;
        let worst = self.widest_value()?;
        let found = ledger.evaluations_until(&optimum.0);
        // A run that ended at the optimum has no regret after it, though it has no entries there either.
        let regret = |after| match ledger.best_after(after) {
            Some(best) if ledger.distinct() >= after || found.is_some() => {
                Some((optimum.1 - best) / (optimum.1 - worst))
            }
            _ => None,
        };
        Ok(Run {
            seed,
            best: ledger.best().cloned(),
            greedy: searcher.greedy(),
            evaluations_to_optimum: found,
            distinct_evaluations: ledger.distinct(),
            regret: ANYTIME.map(regret),
            lookups: ledger.lookups().cloned().collect(),
        })
    }

    fn widest_value(&self) -> Result<f64, Failure> {
        let widest = self.table.space().widest();
        let score = { self.table }.evaluate(&widest)?;
        Ok(self.objective.value(&widest, score.accuracy))
    }

    fn outcome(&self, agent: String, optimum: BitPlan, runs: Vec<Run>) -> Outcome {
        let count = |run: &Run| run.evaluations_to_optimum.unwrap_or(self.budget + 1) as f64;
        let mut counts: Vec<f64> = runs.iter().map(count).collect();
        counts.sort_by(f64::total_cmp);
        let mean_regret = std::array::from_fn(|point| {
            let regrets: Option<Vec<f64>> = runs.iter().map(|run| run.regret[point]).collect();
            regrets.filter(|all| !all.is_empty()).map(|all| all.iter().sum::<f64>() / all.len() as f64)
        });
        Outcome {
            agent,
            contest: self.contest,
            optimum,
            budget: self.budget,
            median_evaluations: quantile(&counts, 0.5),
            p90_evaluations: quantile(&counts, 0.9),
            mean_regret,
            runs,
        }
    }
}

/// Lets `searcher` run until it is done or its budget spent; both are ordinary ends.
///
/// # Errors
/// The failure of an evaluation.
pub fn run(
    searcher: &mut dyn Searcher,
    problem: &Problem<'_>,
    ledger: &mut Ledger<'_>,
    seed: u64,
) -> Result<(), Failure> {
    match searcher.search(problem, ledger, seed) {
        Ok(()) | Err(Stop::Exhausted) => Ok(()),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

/// The `share` quantile of ascending numbers, between neighbours by distance; 0 of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let position = share * last as f64;
    let (below, above) = (position.floor() as usize, position.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * position.fract()
}
