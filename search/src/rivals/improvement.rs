//! Expected improvement on releq's surrogate: what is left of its agent when the policy is taken away.

use super::imagined::best_new;
use crate::ledger::{Ledger, Stop};
use crate::searcher::{Problem, Searcher};
use crate::seed;
use crate::surrogate::{Settings, Surrogate};

/// From a random plan on, evaluates the one expected to raise the best value most.
#[derive(Clone, Copy, Debug)]
pub struct Improvement {
    settings: Settings,
}

impl Default for Improvement {
    fn default() -> Self {
        Self::with(Settings::DEFAULT)
    }
}

impl Improvement {
    /// On a surrogate of other beliefs.
    pub fn with(settings: Settings) -> Self {
        Self { settings }
    }
}

impl Searcher for Improvement {
    fn name(&self) -> &str {
        "surrogate"
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, seed: u64) -> Result<(), Stop> {
        let mut rng = seed::stream(seed, "rivals/improvement");
        let mut model = Surrogate::new(self.settings, problem.objective.float());
        let mut next = Some(problem.space.sample(&mut rng));
        while let Some(plan) = next {
            model.observe(&plan, ledger.look_up(&plan)?.accuracy);
            let best = ledger.best().map_or(f64::NEG_INFINITY, |entry| entry.seen.value);
            let gain = |plan: &_| model.expected_improvement(problem.objective, plan, best);
            next = best_new(problem, ledger, &mut rng, gain);
        }
        Ok(())
    }
}
