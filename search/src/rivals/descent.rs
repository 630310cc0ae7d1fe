//! Greedy descent from the widest plan, and ascent from the narrowest: what most tools do.

use rand_chacha::ChaCha8Rng;

use super::climb::{restart, steepest};
use crate::ledger::{Ledger, Stop};
use crate::plan::BitPlan;
use crate::searcher::{Problem, Searcher};
use crate::seed;
use crate::space::Space;

/// From every choice at its widest, narrows the one that pays best until none does; then again from random plans.
#[derive(Clone, Copy, Debug, Default)]
pub struct Descent;

/// From every choice at its narrowest, widens the one that pays best until none does; then again from random plans.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ascent;

/// One step of one choice, if it can be taken.
type Move = fn(&Space, &BitPlan, usize) -> Option<BitPlan>;

impl Searcher for Descent {
    fn name(&self) -> &str {
        "descent"
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, seed: u64) -> Result<(), Stop> {
        let mut rng = seed::stream(seed, "rivals/descent");
        greedy(problem, ledger, &mut rng, problem.space.widest(), Space::narrowed)
    }
}

impl Searcher for Ascent {
    fn name(&self) -> &str {
        "ascent"
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, seed: u64) -> Result<(), Stop> {
        let mut rng = seed::stream(seed, "rivals/ascent");
        greedy(problem, ledger, &mut rng, problem.space.slimmest(), Space::widened)
    }
}

fn greedy(
    problem: &Problem<'_>,
    ledger: &mut Ledger<'_>,
    rng: &mut ChaCha8Rng,
    start: BitPlan,
    step: Move,
) -> Result<(), Stop> {
    let mut next = problem.objective.admitted(problem.space, start).or_else(|| restart(problem, ledger, rng));
    while let Some(mut here) = next {
        let mut value = ledger.look_up(&here)?.value;
        loop {
            let choices = 0..problem.space.choices().len();
            let around: Vec<BitPlan> = choices.filter_map(|choice| step(problem.space, &here, choice)).collect();
            let Some(better) = steepest(&around, value, ledger)? else { break };
            (here, value) = better;
        }
        next = restart(problem, ledger, rng);
    }
    Ok(())
}
