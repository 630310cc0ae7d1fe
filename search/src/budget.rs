//! What a plan may take of its hardware: limits that hold whatever it scores, known without evaluating it.

use core::fmt::Debug;

use crate::plan::BitPlan;
use crate::seed;
use crate::space::Space;

/// Limits on what a plan takes of its hardware.
pub trait Limits: Debug + Send + Sync {
    /// How far `plan` is beyond the limits: 0 within all of them, else the sum of the shares by which each is exceeded.
    fn excess(&self, plan: &BitPlan) -> f64;
}

/// The plan of a space that some measure is least of.
#[derive(Clone, Debug, PartialEq)]
pub struct Least {
    /// The plan.
    pub plan: BitPlan,
    /// Its measure.
    pub measure: f64,
    /// Whether every plan was looked at; if not, a smaller measure is not ruled out.
    pub every: bool,
}

/// Largest space whose every plan is looked at.
const LISTED: u128 = 1 << 14;
/// Random plans to descend from in larger ones.
const DESCENTS: usize = 12;

/// The plan of `space` with the least `measure`, which costs nothing but time; 0 is not gone below.
///
/// In large spaces one layer after the other takes its best width until none is better, from several plans: exact for a
/// sum over layers, and a good guess at other measures.
pub fn least(space: &Space, measure: impl Fn(&BitPlan) -> f64) -> Least {
    let every = space.count() <= LISTED;
    let mut best: Option<(BitPlan, f64)> = None;
    let mut plans: Box<dyn Iterator<Item = BitPlan> + '_> = if every {
        Box::new(space.plans())
    } else {
        let mut rng = seed::stream(0, "budget/least");
        let random: Vec<BitPlan> = (0..DESCENTS).map(|_| space.sample(&mut rng)).collect();
        let starts = [space.slimmest(), space.widest()].into_iter().chain(random);
        Box::new(starts.map(|start| descended(space, start, &measure)))
    };
    while best.as_ref().is_none_or(|(_, least)| *least > 0.0)
        && let Some(plan) = plans.next()
    {
        let found = measure(&plan);
        if best.as_ref().is_none_or(|(_, least)| found < *least) {
            best = Some((plan, found));
        }
    }
    let (plan, measure) = best.unwrap_or_else(|| (space.slimmest(), f64::INFINITY));
    Least { plan, measure, every }
}

/// Every other width of one layer: the narrower ones, widest first, then the wider ones.
fn widths<'s>(space: &'s Space, plan: &BitPlan, layer: usize) -> impl Iterator<Item = BitPlan> + use<'s> {
    let narrower = std::iter::successors(space.narrowed(plan, layer), move |plan| space.narrowed(plan, layer));
    narrower.chain(std::iter::successors(space.widened(plan, layer), move |plan| space.widened(plan, layer)))
}

fn descended(space: &Space, start: BitPlan, measure: &impl Fn(&BitPlan) -> f64) -> BitPlan {
    let (mut here, mut least) = (start.clone(), measure(&start));
    let free: Vec<usize> = space.free().collect();
    let mut still = 0;
    for &layer in free.iter().cycle() {
        if still == free.len() || least <= 0.0 {
            break;
        }
        still += 1;
        for plan in widths(space, &here.clone(), layer) {
            let found = measure(&plan);
            if found < least {
                (here, least, still) = (plan, found, 0);
            }
        }
    }
    here
}

/// `plan`, or the plan within the limits that it becomes when one layer after the other is narrowed by a step; a step
/// that does not help is taken together with the next narrower one. None where that leads nowhere.
///
/// HAQ (arXiv 1811.08886) keeps to budgets in this way.
pub fn admitted(space: &Space, plan: &BitPlan, limits: &dyn Limits) -> Option<BitPlan> {
    let (mut here, mut excess) = (plan.clone(), limits.excess(plan));
    let free: Vec<usize> = space.free().collect();
    let mut still = 0;
    for &layer in free.iter().cycle() {
        if excess <= 0.0 || still == free.len() {
            break;
        }
        let mut narrower = std::iter::successors(space.narrowed(&here, layer), |plan| space.narrowed(plan, layer));
        let better = narrower.find_map(|plan| Some((limits.excess(&plan), plan)).filter(|(found, _)| *found < excess));
        match better {
            Some((found, plan)) => (here, excess, still) = (plan, found, 0),
            None => still += 1,
        }
    }
    (excess <= 0.0).then_some(here)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// At most so many bits in all, and as many in the first two layers as in the others, but that 3 bits take as many
    /// as 8: kernels are like that.
    #[derive(Debug)]
    pub(crate) struct Bits(pub(crate) f64);

    impl Limits for Bits {
        fn excess(&self, plan: &BitPlan) -> f64 {
            (taken(plan) / self.0 - 1.0).max(0.0)
        }
    }

    fn taken(plan: &BitPlan) -> f64 {
        plan.weights().map(|bits| if bits == 3 { 8.0 } else { f64::from(bits) }).sum()
    }

    /// Seven layers of four widths have just as many plans as are all looked at.
    #[test]
    fn the_least_is_found_in_spaces_of_any_size() {
        for layers in [4, 7, 8, 20] {
            let space = Space::same(&[3, 4, 6, 8], layers).unwrap();
            let found = least(&space, taken);
            assert_eq!((found.measure, found.every), (4.0 * layers as f64, layers <= 7));
            assert!(found.plan.weights().all(|bits| bits == 4));
        }
    }

    /// Nothing is less than 0, and of two plans that are alike the first is taken.
    #[test]
    fn the_least_is_not_sought_below_nothing() {
        for layers in [4, 20] {
            let space = Space::same(&[3, 4, 6, 8], layers).unwrap();
            let asked = std::cell::Cell::new(0);
            let excess = |plan: &BitPlan| {
                asked.set(asked.get() + 1);
                Bits(4.0 * layers as f64 + 8.0).excess(plan)
            };
            let found = least(&space, excess);
            let looked = asked.get();
            assert_eq!(found.measure, 0.0);
            assert!((1..200).contains(&looked), "{layers} layers: {looked} plans were looked at");
            let level = least(&space, |_| 1.0);
            assert_eq!((level.plan, level.measure), (space.slimmest(), 1.0));
        }
    }

    /// 4 bits take as much as 8, so that only both steps together help; layers that need not be touched are not.
    #[derive(Debug)]
    struct Steps;

    impl Limits for Steps {
        fn excess(&self, plan: &BitPlan) -> f64 {
            plan.weights().filter(|bits| *bits > 2).count().saturating_sub(2) as f64
        }
    }

    #[test]
    fn a_step_that_does_not_help_is_taken_only_with_the_next() {
        let space = Space::same(&[2, 4, 8], 4).unwrap();
        let admitted = admitted(&space, &space.widest(), &Steps).unwrap();
        assert_eq!(admitted.to_string(), "2,2,8,8");
    }

    proptest! {
        /// A step down that costs more is no wall.
        #[test]
        fn admitted_plans_are_within_and_no_wider(seed in any::<u64>(), most in 12.0..90.0f64) {
            let space = Space::same(&[2, 3, 4, 8], 6).unwrap();
            let drawn = space.sample(&mut seed::stream(seed, "test"));
            let admitted = admitted(&space, &drawn, &Bits(most)).unwrap();
            prop_assert!(space.contains(&admitted) && taken(&admitted) <= most);
            prop_assert!(admitted.weights().zip(drawn.weights()).all(|(narrow, wide)| narrow <= wide));
            if taken(&drawn) <= most {
                prop_assert_eq!(admitted, drawn);
            }
        }

        #[test]
        fn nothing_is_admitted_where_nothing_is_within(seed in any::<u64>()) {
            let space = Space::same(&[2, 3, 4, 8], 6).unwrap();
            let drawn = space.sample(&mut seed::stream(seed, "test"));
            prop_assert_eq!(admitted(&space, &drawn, &Bits(11.0)), None);
        }
    }
}
