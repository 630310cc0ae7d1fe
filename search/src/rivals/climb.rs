//! The step that hill climbers share: look around, go where the value grows, start afresh when nothing does.

use rand_chacha::ChaCha8Rng;

use crate::ledger::{Ledger, Stop};
use crate::plan::BitPlan;
use crate::searcher::Problem;

/// Looks all of `around` up and gives the best if it beats `value`; among equals the last, which spares early layers.
pub(super) fn steepest(
    around: &[BitPlan],
    value: f64,
    ledger: &mut Ledger<'_>,
) -> Result<Option<(BitPlan, f64)>, Stop> {
    let mut best = None;
    let mut bar = value;
    for plan in around {
        let found = ledger.look_up(plan)?.value;
        if found > value && found >= bar {
            bar = found;
            best = Some((plan.clone(), found));
        }
    }
    Ok(best)
}

/// A plan not yet looked up to start again from; none once every plan has been.
pub(crate) fn restart(problem: &Problem<'_>, ledger: &Ledger<'_>, rng: &mut ChaCha8Rng) -> Option<BitPlan> {
    // Drawing finds a new plan soon unless nearly all are known; then they are few enough to list.
    let drawn = (0..64).map(|_| problem.space.sample(rng)).find(|plan| ledger.known(plan).is_none());
    drawn.or_else(|| {
        let all_known = ledger.distinct() as u128 >= problem.space.count();
        if all_known { None } else { problem.space.plans().find(|plan| ledger.known(plan).is_none()) }
    })
}
