//! Plans drawn blindly, none twice: the least that a searcher must beat.

use rand::seq::SliceRandom;

use super::climb::restart;
use crate::ledger::{Ledger, Stop};
use crate::searcher::{Problem, Searcher};
use crate::seed;

/// Draws evenly without replacement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

/// Largest space that is listed and shuffled; beyond it a repeat is so rare that it is simply drawn again.
const LISTED: u128 = 1 << 16;

impl Searcher for Random {
    fn name(&self) -> &str {
        "random"
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, seed: u64) -> Result<(), Stop> {
        let mut rng = seed::stream(seed, "rivals/random");
        if problem.space.count() <= LISTED {
            let mut plans: Vec<_> = problem.space.plans().filter(|plan| problem.objective.admits(plan)).collect();
            plans.shuffle(&mut rng);
            return ledger.look_up_each(plans);
        }
        while let Some(plan) = restart(problem, ledger, &mut rng) {
            ledger.look_up(&plan)?;
        }
        Ok(())
    }
}
