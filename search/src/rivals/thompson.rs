//! Thompson sampling: imagine accuracies that fit all evaluations so far, evaluate the plan that they make best.

use super::climb::restart;
use super::imagined::best_new;
use crate::ledger::{Ledger, Stop};
use crate::searcher::{Problem, Searcher};
use crate::seed;
use crate::surrogate::{Settings, Surrogate};

/// Evaluates, again and again, the best plan of a draw, or of as many draws as plans are evaluated side by side, from a Gaussian process that has no opinion on bits.
#[derive(Clone, Copy, Debug)]
pub struct Thompson {
    settings: Settings,
}

impl Default for Thompson {
    fn default() -> Self {
        Self::with(Settings::SMOOTH)
    }
}

impl Thompson {
    /// On a surrogate of other beliefs.
    pub fn with(settings: Settings) -> Self {
        Self { settings }
    }
}

impl Searcher for Thompson {
    fn name(&self) -> &str {
        "gp-thompson"
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, seed: u64) -> Result<(), Stop> {
        let mut rng = seed::stream(seed, "rivals/thompson");
        let mut model = Surrogate::of(problem, ledger, self.settings);
        let start = problem.objective.admitted(problem.space, problem.space.widest());
        let mut next: Vec<_> = start.or_else(|| restart(problem, ledger, &mut rng)).into_iter().collect();
        while !next.is_empty() {
            for (plan, seen) in next.iter().zip(ledger.look_up_all(&next)?) {
                model.observe(plan, seen.accuracy);
            }
            next.clear();
            for _ in 0..ledger.side_by_side() {
                let draw = model.draw(problem.space.choices().len(), &mut rng);
                let value = |plan: &_| problem.objective.value(plan, draw.accuracy(plan));
                next.extend(best_new(problem, ledger, &next, &mut rng, value));
            }
        }
        Ok(())
    }
}
