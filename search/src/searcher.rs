//! What every searcher is: something that looks plans up until its answer is found or its budget spent.

use crate::ledger::{Ledger, Stop};
use crate::objective::Objective;
use crate::plan::BitPlan;
use crate::space::Space;

/// What is searched, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// The plans there are.
    pub space: &'a Space,
    /// What is asked of them.
    pub objective: &'a Objective,
}

/// A way to choose which plans to evaluate.
pub trait Searcher {
    /// Its name in tables and on the command line.
    fn name(&self) -> &str;

    /// Looks plans of `problem.space` up in `ledger`, drawing everything random from streams of `seed`.
    ///
    /// Returning `Ok` means it has nothing left to try. A searcher may use `?` on look-ups: [`Stop::Exhausted`] is an
    /// ordinary end, and what was seen stays in the ledger. Earlier searches of the same value must not matter; plans that
    /// the ledger already knows may.
    ///
    /// # Errors
    /// [`Stop`], as the ledger said it.
    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, seed: u64) -> Result<(), Stop>;

    /// The plan that the policy behind the last search would choose now, for searchers that have a policy.
    fn greedy(&self) -> Option<BitPlan> {
        None
    }
}
