//! The step that hill climbers share: look around, go where the value grows, start afresh when nothing does.

use rand_chacha::ChaCha8Rng;

use crate::ledger::{Ledger, Stop};
use crate::plan::BitPlan;
use crate::searcher::Problem;

/// Looks all of `around` that is within the limits up and gives the best if it beats `value`; among equals the last, which spares early layers.
pub(super) fn steepest(
    around: &[BitPlan],
    value: f64,
    ledger: &mut Ledger<'_>,
) -> Result<Option<(BitPlan, f64)>, Stop> {
    let mut best = None;
    let mut bar = value;
    for plan in around.iter().filter(|plan| ledger.objective().admits(plan)).collect::<Vec<_>>() {
        let found = ledger.look_up(plan)?.value;
        if found > value && found >= bar {
            bar = found;
            best = Some((plan.clone(), found));
        }
    }
    Ok(best)
}

/// Largest space that is gone through for the last plans not yet looked up, where limits may leave none.
const LISTED: u128 = 1 << 16;

/// A plan within the limits, not yet looked up, to start again from; none once every plan has been.
pub(crate) fn restart(problem: &Problem<'_>, ledger: &Ledger<'_>, rng: &mut ChaCha8Rng) -> Option<BitPlan> {
    // Drawing finds a new plan soon unless nearly all are known; then they are few enough to list.
    let (space, objective) = (problem.space, problem.objective);
    let new = |plan: &BitPlan| ledger.known(plan).is_none() && objective.admits(plan);
    let drawn = (0..64).filter_map(|_| objective.admitted(space, space.sample(rng))).find(new);
    drawn.or_else(|| {
        let all_known = ledger.distinct() as u128 >= space.count();
        let hopeless = all_known || objective.is_limited() && space.count() > LISTED;
        if hopeless { None } else { space.plans().find(new) }
    })
}
