//! The plan that an imagined score makes best: what a searcher with a surrogate evaluates next.

use rand_chacha::ChaCha8Rng;

use super::climb::restart;
use crate::ledger::{Entry, Ledger};
use crate::plan::{BITS, BitPlan};
use crate::searcher::Problem;
use crate::space::Space;

/// Largest space whose every plan is scored; beyond it the best is climbed for.
const LISTED: u128 = 4096;

/// Climbs from plans not yet looked up, and from the best ones that were; besides those from plans of one width.
pub(crate) const CLIMBS: usize = 8;

/// Whether every plan of `space` can be scored.
pub(crate) fn is_listed(space: &Space) -> bool {
    space.count() <= LISTED
}

/// The plan within the limits, neither looked up nor in `chosen`, with the largest `score`; none once every plan is.
pub(super) fn best_new(
    problem: &Problem<'_>,
    ledger: &Ledger<'_>,
    chosen: &[BitPlan],
    rng: &mut ChaCha8Rng,
    score: impl Fn(&BitPlan) -> f64,
) -> Option<BitPlan> {
    if is_listed(problem.space) {
        return best_of(problem.space.plans(), &is_new(problem, ledger, chosen), &score).map(|(plan, _)| plan);
    }
    let strangers = (0..CLIMBS).filter_map(|_| restart(problem, ledger, rng)).collect();
    climbed(problem, ledger, chosen, strangers, score)
}

/// As [`best_new`], climbed for from `strangers`, the plans evaluated best, and plans of one width.
pub(crate) fn climbed(
    problem: &Problem<'_>,
    ledger: &Ledger<'_>,
    chosen: &[BitPlan],
    strangers: Vec<BitPlan>,
    score: impl Fn(&BitPlan) -> f64,
) -> Option<BitPlan> {
    let mut leaders: Vec<&Entry> = ledger.entries().iter().collect();
    leaders.sort_by(|one, other| other.seen.value.total_cmp(&one.seen.value));
    let leaders = leaders.into_iter().take(CLIMBS).map(|entry| entry.plan.clone());
    // Where kernels are fast for codes of one width throughout, no step from a mixed plan leads there.
    let mut uniform: Vec<BitPlan> = BITS.map(|bits| problem.space.uniform(bits, bits)).collect();
    uniform.dedup();
    let new = is_new(problem, ledger, chosen);
    let tops = leaders.chain(uniform).chain(strangers).filter_map(|start| climb(problem, start, &new, &score));
    let (top, _) = tops.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    let wider = at_no_cost(problem, &top);
    Some(if new(&wider) { wider } else { top })
}

/// `plan`, its choices widened for as long as that costs no more than `plan` does; what saves most, or costs least, comes
/// first. Where kernels like some widths better than narrower ones, bits that cost nothing are accuracy for nothing.
fn at_no_cost(problem: &Problem<'_>, plan: &BitPlan) -> BitPlan {
    let (space, objective) = (problem.space, problem.objective);
    let cost = |plan: &BitPlan| objective.quantization(plan);
    let most = cost(plan);
    let wider = |plan: &BitPlan| {
        let all = space.free().flat_map(|choice| space.wider(plan, choice)).filter(|plan| objective.admits(plan));
        let affordable = all.map(|plan| (cost(&plan), plan)).filter(|(cost, _)| *cost <= most);
        affordable.min_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, plan)| plan)
    };
    let steps = std::iter::successors(Some(plan.clone()), wider);
    steps.last().unwrap_or_else(|| plan.clone())
}

fn is_new(problem: &Problem<'_>, ledger: &Ledger<'_>, chosen: &[BitPlan]) -> impl Fn(&BitPlan) -> bool {
    move |plan| ledger.known(plan).is_none() && !chosen.contains(plan) && problem.objective.admits(plan)
}

/// The new plan at the top of the hill around `start`: each choice in turn moves while that helps, until none does.
fn climb(
    problem: &Problem<'_>,
    start: BitPlan,
    new: &impl Fn(&BitPlan) -> bool,
    score: &impl Fn(&BitPlan) -> f64,
) -> Option<(BitPlan, f64)> {
    let around = |plan: &BitPlan| best_of(problem.space.neighbours(plan).into_iter(), new, score);
    let mut here = best_of(std::iter::once(start.clone()), new, score).or_else(|| around(&start))?;
    let (mut choice, mut still) = (0, 0);
    let choices = problem.space.choices().len();
    while still < choices {
        let moves = [problem.space.narrowed(&here.0, choice), problem.space.widened(&here.0, choice)];
        let better = best_of(moves.into_iter().flatten(), new, score).filter(|better| better.1 > here.1);
        match better {
            Some(better) => (here, still) = (better, 0),
            None => (choice, still) = ((choice + 1) % choices, still + 1),
        }
    }
    Some(here)
}

fn best_of(
    plans: impl Iterator<Item = BitPlan>,
    new: &impl Fn(&BitPlan) -> bool,
    score: &impl Fn(&BitPlan) -> f64,
) -> Option<(BitPlan, f64)> {
    let scored = plans.filter(new).map(|plan| {
        let score = score(&plan);
        (plan, score)
    });
    scored.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Costs;
    use crate::rivals::tests::{deep, lossy};
    use crate::seed;

    /// As where a board likes 4 bits better than 2 and 3, and any width of the last layer costs the same.
    #[test]
    fn bits_that_cost_nothing_are_taken() {
        let (space, objective) = deep(4);
        let row = [9.0, 5.0, 6.0, 4.0, 7.0, 7.0, 7.0, 8.0];
        let costs = Costs::new(vec![row, row, row, [3.0; 8]], 1.0);
        let objective = objective.with_costs(costs);
        let problem = Problem { space: &space, objective: &objective };
        let widened = |plan: &str| at_no_cost(&problem, &plan.parse().unwrap()).to_string();
        assert_eq!(widened("4,4,4,8"), "4,4,4,8");
        assert_eq!(widened("4,4,4,2"), "4,4,4,8");
        // What one layer saves another may spend, if all of it.
        assert_eq!(widened("2,4,4,8"), "4,4,4,8");
        assert_eq!(widened("2,2,2,2"), "7,4,4,8");
        // Of bits that are counted themselves none is free.
        let (space, objective) = deep(4);
        let problem = Problem { space: &space, objective: &objective };
        assert_eq!(at_no_cost(&problem, &space.slimmest()), space.slimmest());
    }

    /// As where a kernel is fast only if every layer before and after has its codes, and each step towards that costs.
    #[test]
    fn plans_of_one_width_are_climbed_from_wherever_the_leaders_are() {
        let (space, objective) = deep(20);
        let space = space.with_activations(&[2, 4, 8]).unwrap();
        let problem = Problem { space: &space, objective: &objective };
        let mut evaluator = lossy;
        let mut ledger = Ledger::new(&mut evaluator, &objective, 10);
        ledger.look_up(&space.widest()).unwrap();
        let fast = space.uniform(4, 4);
        let bits = |plan: &BitPlan| space.bits(plan).unwrap().iter().map(|&bits| f64::from(bits)).sum::<f64>();
        let score = |plan: &BitPlan| if *plan == fast { 1000.0 } else { bits(plan) };
        let mut rng = seed::stream(1, "test");
        assert_eq!(best_new(&problem, &ledger, &[], &mut rng, score), Some(fast.clone()));
    }
}
