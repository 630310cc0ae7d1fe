//! Local search with restarts: the plain searcher that does best without a model.

use rand::seq::SliceRandom;

use super::climb::restart;
use crate::ledger::{Ledger, Stop};
use crate::searcher::{Problem, Searcher};
use crate::seed;

/// From a random plan, moves to the first neighbour that is better, tried in random order; where none is, starts afresh.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local;

impl Searcher for Local {
    fn name(&self) -> &str {
        "local"
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, seed: u64) -> Result<(), Stop> {
        let mut rng = seed::stream(seed, "rivals/local");
        while let Some(mut here) = restart(problem, ledger, &mut rng) {
            let mut value = ledger.look_up(&here)?.value;
            let mut moved = true;
            while moved {
                moved = false;
                let mut around = problem.space.neighbours(&here);
                around.shuffle(&mut rng);
                for near in around {
                    let found = ledger.look_up(&near)?.value;
                    if found > value {
                        (here, value, moved) = (near, found, true);
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}
