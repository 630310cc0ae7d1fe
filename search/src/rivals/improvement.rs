//! Expected improvement on releq's surrogate: what is left of its agent when the policy is taken away.

use rand_chacha::ChaCha8Rng;

use super::climb::restart;
use super::imagined::best_new;
use crate::ledger::{Ledger, Stop};
use crate::plan::BitPlan;
use crate::searcher::{Problem, Searcher};
use crate::seed;
use crate::surrogate::{Settings, Surrogate};

/// From what is known on, or from a random plan, evaluates those expected to raise the best value most.
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
        let mut model = Surrogate::of(problem, ledger, self.settings);
        ledger.entries().iter().for_each(|entry| model.observe(&entry.plan, entry.seen.accuracy));
        let mut next = match ledger.distinct() {
            0 => restart(problem, ledger, &mut rng).into_iter().collect(),
            _ => most_promising(problem, ledger, &model, &mut rng),
        };
        while !next.is_empty() {
            for (plan, seen) in next.iter().zip(ledger.look_up_all(&next)?) {
                model.observe(plan, seen.accuracy);
            }
            next = most_promising(problem, ledger, &model, &mut rng);
        }
        Ok(())
    }
}

/// The new plans of which most improvement is expected, as many as are evaluated side by side.
///
/// Each but the first is chosen as if those before it had scored what the surrogate believes of them.
fn most_promising(problem: &Problem<'_>, ledger: &Ledger<'_>, model: &Surrogate, rng: &mut ChaCha8Rng) -> Vec<BitPlan> {
    let mut model = model.clone();
    let mut best = ledger.best().map_or(f64::NEG_INFINITY, |entry| entry.seen.value);
    let mut chosen: Vec<BitPlan> = Vec::new();
    while chosen.len() < ledger.side_by_side() {
        let gain = |plan: &BitPlan| model.promise(problem.objective, plan, best);
        let Some(plan) = best_new(problem, ledger, &chosen, rng, gain) else { break };
        let believed = model.accuracy(&plan);
        best = best.max(problem.objective.value(&plan, believed));
        model.observe(&plan, believed);
        chosen.push(plan);
    }
    chosen
}
