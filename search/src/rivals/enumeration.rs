//! Counting upward in mean bits: no model, no memory, and yet hard to beat where the optimum lies near the bottom.

use crate::ledger::{Ledger, Stop};
use crate::searcher::{Problem, Searcher};

/// Looks plans up from the fewest bits to the most, those of equally many in random order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Enumeration;

impl Searcher for Enumeration {
    fn name(&self) -> &str {
        "enumeration"
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, seed: u64) -> Result<(), Stop> {
        ledger.look_up_each(problem.space.upward(seed).filter(|plan| problem.objective.admits(plan)))
    }
}
