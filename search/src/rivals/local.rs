//! Local search with restarts: the plain searcher that does best without a model.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::climb::restart;
use crate::ledger::{Ledger, Stop};
use crate::plan::BitPlan;
use crate::searcher::{Problem, Searcher};
use crate::seed;

/// From a random plan, moves to the first neighbour that is better, tried in random order; where none is, starts afresh from
/// the best plan so far with some choices redrawn, which measured better than from a random plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local;

/// Choices redrawn in a new start.
const REDRAWN: usize = 2;

/// New starts that may turn out known before a random one is taken instead.
const TRIES: usize = 32;

impl Searcher for Local {
    fn name(&self) -> &str {
        "local"
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, seed: u64) -> Result<(), Stop> {
        let mut rng = seed::stream(seed, "rivals/local");
        let mut start = restart(problem, ledger, &mut rng);
        while let Some(mut here) = start {
            let mut value = ledger.look_up(&here)?.value;
            while let Some(better) = first_better(problem, ledger, &mut rng, &here, value)? {
                (here, value) = better;
            }
            start = near_best(problem, ledger, &mut rng);
        }
        Ok(())
    }
}

fn first_better(
    problem: &Problem<'_>,
    ledger: &mut Ledger<'_>,
    rng: &mut ChaCha8Rng,
    here: &BitPlan,
    value: f64,
) -> Result<Option<(BitPlan, f64)>, Stop> {
    let mut around = problem.space.neighbours(here);
    around.retain(|plan| problem.objective.admits(plan));
    around.shuffle(rng);
    for near in around {
        let found = ledger.look_up(&near)?.value;
        if found > value {
            return Ok(Some((near, found)));
        }
    }
    Ok(None)
}

/// A new start near the best plan so far; none once every plan is known.
fn near_best(problem: &Problem<'_>, ledger: &Ledger<'_>, rng: &mut ChaCha8Rng) -> Option<BitPlan> {
    let best = ledger.best().and_then(|entry| problem.space.steps(&entry.plan));
    let drawn = best.and_then(|best| {
        let mut starts = (0..TRIES).map(|_| redrawn(problem, best.clone(), rng));
        starts.find(|plan| ledger.known(plan).is_none() && problem.objective.admits(plan))
    });
    drawn.or_else(|| restart(problem, ledger, rng))
}

fn redrawn(problem: &Problem<'_>, mut steps: Vec<usize>, rng: &mut ChaCha8Rng) -> BitPlan {
    for _ in 0..REDRAWN {
        let choice = rng.random_range(0..steps.len());
        steps[choice] = rng.random_range(0..problem.space.widths(choice).len());
    }
    problem.space.at(&steps)
}
