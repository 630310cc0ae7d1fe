//! Every plan there is: the truth that other searchers are measured against.

use crate::ledger::{Ledger, Stop};
use crate::searcher::{Problem, Searcher};

/// Looks up every plan of the space that is within the limits, the last choice changing fastest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exhaustive;

impl Searcher for Exhaustive {
    fn name(&self) -> &str {
        "exhaustive"
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, _seed: u64) -> Result<(), Stop> {
        ledger.look_up_each(problem.space.plans().filter(|plan| problem.objective.admits(plan)))
    }
}
