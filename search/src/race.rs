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

/// The outcome of the lowest median, on a tie of the lowest 90th percentile; the first of equals.
pub fn winner<'a>(outcomes: &[&'a Outcome]) -> Option<&'a Outcome> {
    let key = |outcome: &Outcome| (outcome.median_evaluations, outcome.p90_evaluations);
    outcomes.iter().copied().reduce(|best, next| if key(next) < key(best) { next } else { best })
}

/// The `share` quantile of ascending numbers, between neighbours by distance; 0 of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let position = share * last as f64;
    let (below, above) = (position.floor() as usize, position.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * position.fract()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::lenet;
    use crate::rivals;
    use crate::space::Space;
    use crate::table::tests::recorded;

    /// A table of a formula: each bit halves what a layer loses.
    fn halving() -> Table {
        let space = Space::same(&[2, 3, 4, 8], 4).unwrap();
        let row = |plan: BitPlan| {
            let lost: f64 = plan.weights().map(|bits| 0.5_f64.powi(bits.into())).sum();
            format!("{plan},{}\n", 100.0 - 2.0 * lost)
        };
        Table::parse(&format!("b1,b2,b3,b4,top1\n{}", space.plans().map(row).collect::<String>())).unwrap()
    }

    #[test]
    fn every_rival_finds_the_optimum_or_says_it_did_not() {
        let table = halving();
        for contest in Contest::ALL {
            let course = Course::new(contest, &table, lenet(), 1.0);
            for make in rivals::ALL {
                let outcome = course.run(make, &[1, 2]).unwrap();
                let found = outcome.runs.iter().filter(|run| run.evaluations_to_optimum.is_some()).count();
                let may_miss = outcome.agent == "uniform";
                assert!(found == 2 || may_miss, "{contest} {}: {found} of 2", outcome.agent);
                for run in outcome.runs {
                    let mut distinct = run.lookups.clone();
                    distinct.sort();
                    distinct.dedup();
                    assert_eq!(distinct.len(), run.distinct_evaluations);
                    let first = run.lookups.iter().position(|plan| *plan == outcome.optimum);
                    let until =
                        first.map(|first| run.lookups[..=first].iter().collect::<std::collections::BTreeSet<_>>());
                    assert_eq!(until.map(|until| until.len()), run.evaluations_to_optimum);
                }
            }
        }
    }

    #[test]
    fn the_budget_binds_and_a_miss_counts_one_more() {
        let table = halving();
        let mut course = Course::new(Contest::Floor, &table, lenet(), 1.0);
        course.budget = 3;
        let outcome = course.run(|| Box::new(rivals::Descent), &[0]).unwrap();
        assert_eq!((outcome.runs[0].distinct_evaluations, outcome.median_evaluations), (3, 4.0));
        assert_eq!(outcome.mean_regret, [None; 3]);
    }

    #[test]
    fn the_winner_is_who_needs_the_fewest_whoever_it_is() {
        let table = halving();
        let course = Course::new(Contest::Paper, &table, lenet(), 1.0);
        let [up, down] =
            ["enumeration", "descent"].map(|name| course.run(|| rivals::named(name).unwrap(), &[0, 1]).unwrap());
        assert_eq!(winner(&[&down, &up]).unwrap().agent, "enumeration");
        assert_eq!(winner(&[]), None);
    }

    #[test]
    fn seeds_and_only_seeds_decide() {
        let table = halving();
        let course = Course::new(Contest::Paper, &table, lenet(), 1.0);
        for make in rivals::ALL {
            let twice = [course.run(make, &[5, 6]).unwrap(), course.run(make, &[5, 6]).unwrap()];
            assert_eq!(twice[0], twice[1]);
        }
        let random = course.run(|| Box::new(rivals::Random), &[5, 6]).unwrap();
        assert_ne!(random.runs[0].lookups, random.runs[1].lookups);
    }

    #[test]
    fn an_outcome_survives_json() {
        let table = halving();
        let course = Course::new(Contest::Authors, &table, lenet(), 1.0);
        let outcome = course.run(|| Box::new(rivals::Enumeration), &[0]).unwrap();
        let text = serde_json::to_string(&outcome).unwrap();
        assert!(text.starts_with(r#"{"agent":"enumeration","contest":"authors","optimum":"#), "{text}");
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), outcome);
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0], 0.9), 1.9);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    /// The published table of medians; what it guards is the order of things, so the bounds are wide.
    #[test]
    fn rivals_on_the_authors_table() {
        let Some((table, sidecar)) = recorded("lenet") else { return };
        let seeds: Vec<u64> = (0..16).collect();
        let bounds: [(&str, [(f64, f64); 3]); 8] = [
            ("random", [(180.0, 450.0); 3]),
            ("enumeration", [(2.0, 5.0), (40.0, 65.0), (5.0, 16.0)]),
            ("descent", [(51.0, 51.0), (80.0, 260.0), (70.0, 150.0)]),
            ("local", [(15.0, 50.0), (80.0, 220.0), (40.0, 110.0)]),
            ("evolution", [(25.0, 65.0), (60.0, 130.0), (25.0, 75.0)]),
            ("gp-thompson", [(3.0, 15.0), (10.0, 40.0), (5.0, 25.0)]),
            ("sensitivity", [(19.0, 19.0), (40.0, 40.0), (30.0, 30.0)]),
            ("surrogate", [(3.0, 15.0), (8.0, 40.0), (5.0, 20.0)]),
        ];
        for (name, medians) in bounds {
            for (contest, (low, high)) in Contest::ALL.into_iter().zip(medians) {
                let course = Course::new(contest, &table, sidecar.layers.clone(), sidecar.float_accuracy);
                let outcome = course.run(|| rivals::named(name).unwrap(), &seeds).unwrap();
                let median = outcome.median_evaluations;
                assert!((low..=high).contains(&median), "{contest} {name}: median {median}, not {low} to {high}");
            }
        }
    }
}
