//! What would do where nothing does: the least loss within the budgets, and the least room for the loss allowed.

use releq_search::budget::{Limits, least};
use releq_search::ledger::Entry;
use releq_search::plan::BitPlan;
use releq_search::space::Space;
use releq_search::surrogate::{Settings, Surrogate};
use serde::Serialize;

use super::attempts::Attempt;
use super::hunt::Terms;
use super::rounds::NOISE;

/// The points nearest to what was asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Nearest {
    /// The plan within the budgets that loses least of those fine-tuned at length.
    pub plan: BitPlan,
    /// What it loses, points.
    pub loss: f64,
    /// A plan that is expected to keep the loss and exceeds the budgets least, where there are budgets.
    pub beyond: Option<Beyond>,
}

/// A plan outside the budgets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Beyond {
    /// The plan.
    pub plan: BitPlan,
    /// What it is expected to lose, points.
    pub loss: f64,
    /// Options that would let it in.
    pub options: Vec<String>,
}

impl Nearest {
    /// After a search that ended with `chosen`, which does not do.
    pub(super) fn of(terms: &Terms<'_>, entries: &[Entry], chosen: &Attempt) -> Self {
        let beyond =
            terms.request.within.as_ref().filter(|within| !within.hardware.limits().is_empty()).and_then(|within| {
                let model = taught(
                    &terms.request.space,
                    terms.objective.float(),
                    entries.iter().map(|entry| (&entry.plan, entry.seen.accuracy)),
                );
                let loss = |plan: &BitPlan| terms.objective.float() - model.accuracy(plan);
                let missed = |plan: &BitPlan| (loss(plan) / terms.request.max_loss.max(1e-6) - 1.0).max(0.0);
                // Any plan that keeps the loss is nearer than any that does not.
                let distance = |plan: &BitPlan| match missed(plan) {
                    0.0 => within.hardware.excess(plan),
                    missed => 1e6 + missed,
                };
                let found = least(&terms.request.space, distance);
                let taken = within.hardware.taken(&found.plan);
                let over = within.hardware.limits().iter().filter(|limit| limit.asked);
                let over = over.map(|limit| (limit, within.hardware.amount(&taken, limit)));
                let options =
                    over.filter(|(limit, amount)| *amount > limit.most).map(|(limit, amount)| limit.option(amount));
                let options: Vec<String> = options.collect();
                let beyond = Beyond { loss: 100.0 * loss(&found.plan), plan: found.plan, options };
                (missed(&beyond.plan) <= 0.0 && !beyond.options.is_empty()).then_some(beyond)
            });
        Self { plan: chosen.plan.clone(), loss: chosen.expected_loss, beyond }
    }
}

/// A surrogate of a network whose float accuracy is `float`, looking at what is chosen in `space`, that has seen these plans
/// and accuracies, all 0 to 1.
pub(super) fn taught<'p>(space: &Space, float: f64, seen: impl IntoIterator<Item = (&'p BitPlan, f64)>) -> Surrogate {
    let mut model = Surrogate::over(space, Settings::DEFAULT.knowing(Some(NOISE)), float);
    seen.into_iter().for_each(|(plan, accuracy)| model.observe(plan, accuracy));
    model
}
