//! One width for all layers: what people try by hand.

use crate::ledger::{Ledger, Stop};
use crate::plan::BITS;
use crate::searcher::{Problem, Searcher};

/// Tries each width from 8 down for every layer at once; a layer without that width takes its nearest wider, else its widest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uniform;

impl Searcher for Uniform {
    fn name(&self) -> &str {
        "uniform"
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, _seed: u64) -> Result<(), Stop> {
        let levels = BITS.rev().map(|bits| problem.space.level(bits));
        ledger.look_up_each(levels.filter(|plan| problem.objective.admits(plan)))
    }
}
