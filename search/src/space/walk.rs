//! Ways to walk a space: at random, step by step, and from the fewest bits up.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Space;
use crate::plan::BitPlan;
use crate::seed;

impl Space {
    /// A plan drawn evenly from all.
    pub fn sample(&self, rng: &mut ChaCha8Rng) -> BitPlan {
        self.plan(self.widths.iter().map(|set| set[rng.random_range(0..set.len())]).collect::<Vec<_>>())
    }

    /// The plans one step in one choice's set away: for each choice the narrower, then the wider.
    ///
    /// A plan outside the space has none.
    pub fn neighbours(&self, plan: &BitPlan) -> Vec<BitPlan> {
        let choices = 0..self.choices.len();
        choices.flat_map(|choice| [self.narrowed(plan, choice), self.widened(plan, choice)]).flatten().collect()
    }

    /// `plan` with `choice`, counted from 0, one step narrower, if its set has one.
    pub fn narrowed(&self, plan: &BitPlan, choice: usize) -> Option<BitPlan> {
        self.moved(plan, choice, |step| step.checked_sub(1))
    }

    /// `plan` with `choice`, counted from 0, one step wider, if its set has one.
    pub fn widened(&self, plan: &BitPlan, choice: usize) -> Option<BitPlan> {
        self.moved(plan, choice, |step| Some(step + 1))
    }

    /// `plan` with `choice`, counted from 0, at each wider width of its set, ascending.
    pub fn wider(&self, plan: &BitPlan, choice: usize) -> impl Iterator<Item = BitPlan> {
        std::iter::successors(self.widened(plan, choice), move |plan| self.widened(plan, choice))
    }

    fn moved(&self, plan: &BitPlan, choice: usize, to: impl Fn(usize) -> Option<usize>) -> Option<BitPlan> {
        let mut steps = self.steps(plan)?;
        steps[choice] = to(steps[choice])?;
        (steps[choice] < self.widths[choice].len()).then(|| self.at(&steps))
    }

    /// Every plan, the last choice changing fastest.
    pub fn plans(&self) -> impl Iterator<Item = BitPlan> + '_ {
        let mut next = Some(vec![0; self.choices.len()]);
        std::iter::from_fn(move || {
            let steps = next.take()?;
            let plan = self.at(&steps);
            next = self.successor(steps);
            Some(plan)
        })
    }

    fn successor(&self, mut steps: Vec<usize>) -> Option<Vec<usize>> {
        let turning = (0..steps.len()).rev().find(|&choice| steps[choice] + 1 < self.widths[choice].len())?;
        steps[turning] += 1;
        steps[turning + 1..].fill(0);
        Some(steps)
    }

    /// Every plan, fewest bits of all its choices first; plans of equally many come in an order drawn from `seed`.
    ///
    /// Lazy in the bits: plans of one total are listed together, and only when they are reached.
    pub fn upward(&self, seed: u64) -> impl Iterator<Item = BitPlan> + '_ {
        let mut rng = seed::stream(seed, "space/upward");
        (self.total(|set| set[0])..=self.total(|set| set[set.len() - 1])).flat_map(move |total| {
            let mut level = self.with_total(total);
            level.shuffle(&mut rng);
            level
        })
    }

    /// Bits of all choices, each at what `of` takes from its set.
    fn total(&self, of: impl Fn(&[u8]) -> u8) -> u32 {
        self.widths.iter().map(|set| u32::from(of(set))).sum()
    }

    /// Every plan whose choices' bits add up to `total`.
    fn with_total(&self, total: u32) -> Vec<BitPlan> {
        let reachable = self.reachable();
        let mut prefixes = vec![(Vec::new(), total)];
        for (choice, set) in self.widths.iter().enumerate() {
            let extended = prefixes.iter().flat_map(|(prefix, left)| {
                set.iter().filter_map(|&bits| {
                    let left = left.checked_sub(u32::from(bits))?;
                    let fits = reachable[choice + 1].get(left as usize).copied().unwrap_or(false);
                    fits.then(|| ([prefix.as_slice(), &[bits]].concat(), left))
                })
            });
            prefixes = extended.collect();
        }
        prefixes.into_iter().map(|(bits, _)| self.plan(bits)).collect()
    }

    /// For each choice, which totals the choices from it to the last can add up to.
    fn reachable(&self) -> Vec<Vec<bool>> {
        let most = self.total(|set| set[set.len() - 1]) as usize;
        let mut sums = vec![vec![false; most + 1]; self.choices.len() + 1];
        sums[self.choices.len()][0] = true;
        for choice in (0..self.choices.len()).rev() {
            for &bits in &self.widths[choice] {
                for total in usize::from(bits)..=most {
                    sums[choice][total] |= sums[choice + 1][total - usize::from(bits)];
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn lenet() -> Space {
        Space::same(&[8, 2, 3, 5, 4], 4).unwrap()
    }

    fn plan(text: &str) -> BitPlan {
        text.parse().unwrap()
    }

    #[test]
    fn the_authors_space_has_625_plans_each_walked_once() {
        let all: Vec<BitPlan> = lenet().plans().collect();
        assert_eq!((lenet().count(), all.len(), all.iter().collect::<BTreeSet<_>>().len()), (625, 625, 625));
        assert_eq!((&all[1], &all[624]), (&plan("2,2,2,3"), &plan("8,8,8,8")));
        let up: Vec<BitPlan> = lenet().upward(1).collect();
        assert!(up.is_sorted_by_key(BitPlan::total_weight_bits));
        assert_eq!(up.iter().collect::<BTreeSet<_>>(), all.iter().collect());
        assert_eq!(up, lenet().upward(1).collect::<Vec<_>>());
        assert_ne!(up, lenet().upward(2).collect::<Vec<_>>());
    }

    #[test]
    fn activations_are_walked_with_the_weights() {
        let space = Space::same(&[2, 4], 3).unwrap().with_activations(&[2, 8]).unwrap();
        let all: Vec<BitPlan> = space.plans().collect();
        assert_eq!((space.count(), all.iter().collect::<BTreeSet<_>>().len()), (32, 32));
        assert_eq!((&all[1], &all[2]), (&plan("2:2,2:2,4:8"), &plan("2:2,2:8,2:8")));
        let total = |plan: &BitPlan| space.bits(plan).unwrap().iter().map(|&bits| u32::from(bits)).sum::<u32>();
        let up: Vec<BitPlan> = space.upward(1).collect();
        assert!(up.is_sorted_by_key(total));
        assert_eq!(up.iter().collect::<BTreeSet<_>>(), all.iter().collect());
        let found: Vec<String> = space.neighbours(&plan("2:8,4:2,2:8")).iter().map(BitPlan::to_string).collect();
        assert_eq!(found, ["4:8,4:2,2:8", "2:2,4:2,2:8", "2:8,2:2,2:8", "2,4,2", "2:8,4:2,4:8"]);
    }

    #[test]
    fn steps_follow_the_set_not_the_number() {
        let found: Vec<String> = lenet().neighbours(&plan("2,5,8,3")).iter().map(BitPlan::to_string).collect();
        assert_eq!(found, ["3,5,8,3", "2,4,8,3", "2,8,8,3", "2,5,5,3", "2,5,8,2", "2,5,8,4"]);
        assert!(lenet().neighbours(&plan("6,5,8,3")).is_empty());
    }

    #[test]
    fn deep_spaces_are_counted_and_walked_lazily() {
        let deep = Space::same(&[2, 3, 4, 5, 6, 7, 8], 60).unwrap();
        assert_eq!(deep.count(), u128::MAX);
        assert_eq!(deep.upward(0).take(62).last().unwrap().total_weight_bits(), 122);
    }

    proptest! {
        #[test]
        fn samples_are_inside_and_neighbours_mutual(seed in any::<u64>(), activations: bool) {
            let space = if activations { lenet().with_activations(&[1, 4, 6]).unwrap() } else { lenet() };
            let drawn = space.sample(&mut seed::stream(seed, "test"));
            prop_assert!(space.contains(&drawn));
            prop_assert_eq!(space.at(&space.steps(&drawn).unwrap()), drawn.clone());
            for near in space.neighbours(&drawn) {
                prop_assert!(space.neighbours(&near).contains(&drawn));
            }
        }
    }
}
