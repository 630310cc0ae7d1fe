//! Which plans there are: the widths each layer may take, and the ways to walk them.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::plan::{BITS, BitPlan, LayerBits};
use crate::seed;

/// The widths each layer's weights may take. A layer with one width is pinned; activations stay at 8 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    widths: Vec<Vec<u8>>,
}

/// Why there is no such space.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpaceError {
    /// There is nothing to choose for.
    #[error("the space has no layers; give it one set of widths for each weighted layer")]
    NoLayers,
    /// A layer without any width.
    #[error("layer {0} has no width to choose from; give it at least one, such as 8")]
    NoWidths(usize),
    /// A width outside 1..=8.
    #[error("layer {layer} may not take {bits} bits, which are outside 1..=8; write widths from 1 to 8")]
    OutOfRange {
        /// The layer, counted from 1.
        layer: usize,
        /// The width.
        bits: u8,
    },
    /// A layer that the space does not have.
    #[error("there is no layer {layer} to pin among {layers}; layers count from 1")]
    NoSuchLayer {
        /// The layer asked for, counted from 1.
        layer: usize,
        /// How many there are.
        layers: usize,
    },
}

impl Space {
    /// A space from the widths of each layer, in any order.
    ///
    /// # Errors
    /// [`SpaceError`] for no layers, a layer without widths, or a width outside 1..=8.
    pub fn new(mut widths: Vec<Vec<u8>>) -> Result<Self, SpaceError> {
        if widths.is_empty() {
            return Err(SpaceError::NoLayers);
        }
        for (index, layer) in widths.iter_mut().enumerate() {
            layer.sort_unstable();
            layer.dedup();
            if layer.is_empty() {
                return Err(SpaceError::NoWidths(index + 1));
            }
            if let Some(&bits) = layer.iter().find(|bits| !BITS.contains(bits)) {
                return Err(SpaceError::OutOfRange { layer: index + 1, bits });
            }
        }
        Ok(Self { widths })
    }

    /// The same widths for each of `layers` layers.
    ///
    /// # Errors
    /// As [`Space::new`].
    pub fn same(widths: &[u8], layers: usize) -> Result<Self, SpaceError> {
        Self::new(vec![widths.to_vec(); layers])
    }

    /// This space with `layer`, counted from 1, held at `bits`.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchLayer`], or [`SpaceError::OutOfRange`] for the width.
    pub fn pinned(mut self, layer: usize, bits: u8) -> Result<Self, SpaceError> {
        let layers = self.widths.len();
        let found = layer.checked_sub(1).and_then(|index| self.widths.get_mut(index));
        *found.ok_or(SpaceError::NoSuchLayer { layer, layers })? = vec![bits];
        Self::new(self.widths)
    }

    /// This space with its first and last layer held at 8 bits, as the paper does for its larger networks.
    ///
    /// # Errors
    /// None for a space that exists; the type is [`Space::pinned`]'s.
    pub fn ends_pinned(self) -> Result<Self, SpaceError> {
        let last = self.layers();
        self.pinned(1, 8)?.pinned(last, 8)
    }

    /// How many layers a plan of this space has.
    pub fn layers(&self) -> usize {
        self.widths.len()
    }

    /// Widths that `layer`, counted from 0, may take, ascending.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn widths(&self, layer: usize) -> &[u8] {
        &self.widths[layer]
    }

    /// Layers, counted from 0, that have a choice.
    pub fn free(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.layers()).filter(|&layer| self.widths[layer].len() > 1)
    }

    /// The narrowest width of any layer.
    pub fn narrowest(&self) -> u8 {
        self.widths.iter().flatten().copied().min().unwrap_or(*BITS.end())
    }

    /// How many plans there are; stays at the largest `u128` beyond it.
    pub fn count(&self) -> u128 {
        self.widths.iter().fold(1, |count: u128, layer| count.saturating_mul(layer.len() as u128))
    }

    /// Whether `plan` is one of this space's.
    pub fn contains(&self, plan: &BitPlan) -> bool {
        self.steps(plan).is_some() && plan.layers().iter().all(|layer| layer.activations == 8)
    }

    /// Position of each layer's width in its set; none if a width is not in it.
    pub fn steps(&self, plan: &BitPlan) -> Option<Vec<usize>> {
        if plan.layers().len() != self.layers() {
            return None;
        }
        plan.weights().zip(&self.widths).map(|(bits, set)| set.binary_search(&bits).ok()).collect()
    }

    /// The plan with the width at each layer's position in its set.
    ///
    /// # Panics
    /// If there are fewer steps than layers, or one is past its layer's set.
    pub fn at(&self, steps: &[usize]) -> BitPlan {
        self.plan((0..self.layers()).map(|layer| self.widths[layer][steps[layer]]))
    }

    /// Every layer at its widest: where descents and episodes start.
    pub fn widest(&self) -> BitPlan {
        self.plan(self.widths.iter().map(|set| set[set.len() - 1]))
    }

    /// Every layer at its narrowest.
    pub fn slimmest(&self) -> BitPlan {
        self.plan(self.widths.iter().map(|set| set[0]))
    }

    /// Every layer at `bits`; one without that width at its nearest wider, else at its widest.
    pub fn level(&self, bits: u8) -> BitPlan {
        self.plan(
            self.widths
                .iter()
                .map(|set| set.iter().copied().find(|&width| width >= bits).unwrap_or(set[set.len() - 1])),
        )
    }

    /// A plan drawn evenly from all.
    pub fn sample(&self, rng: &mut ChaCha8Rng) -> BitPlan {
        self.plan(self.widths.iter().map(|set| set[rng.random_range(0..set.len())]).collect::<Vec<_>>())
    }

    /// The plans one step in one layer's set away: for each layer the narrower, then the wider.
    ///
    /// A plan outside the space has none.
    pub fn neighbours(&self, plan: &BitPlan) -> Vec<BitPlan> {
        let layers = 0..self.layers();
        layers.flat_map(|layer| [self.narrowed(plan, layer), self.widened(plan, layer)]).flatten().collect()
    }

    /// `plan` with `layer`, counted from 0, one step narrower, if its set has one.
    pub fn narrowed(&self, plan: &BitPlan, layer: usize) -> Option<BitPlan> {
        self.moved(plan, layer, |step| step.checked_sub(1))
    }

    /// `plan` with `layer`, counted from 0, one step wider, if its set has one.
    pub fn widened(&self, plan: &BitPlan, layer: usize) -> Option<BitPlan> {
        self.moved(plan, layer, |step| Some(step + 1))
    }

    fn moved(&self, plan: &BitPlan, layer: usize, to: impl Fn(usize) -> Option<usize>) -> Option<BitPlan> {
        let mut steps = self.steps(plan)?;
        steps[layer] = to(steps[layer])?;
        (steps[layer] < self.widths[layer].len()).then(|| self.at(&steps))
    }

    /// Every plan, the last layer changing fastest.
    pub fn plans(&self) -> impl Iterator<Item = BitPlan> + '_ {
        let mut next = Some(vec![0; self.layers()]);
        std::iter::from_fn(move || {
            let steps = next.take()?;
            let plan = self.at(&steps);
            next = self.successor(steps);
            Some(plan)
        })
    }

    fn successor(&self, mut steps: Vec<usize>) -> Option<Vec<usize>> {
        let turning = (0..steps.len()).rev().find(|&layer| steps[layer] + 1 < self.widths[layer].len())?;
        steps[turning] += 1;
        steps[turning + 1..].fill(0);
        Some(steps)
    }

    /// Every plan, fewest mean bits first; plans of equal mean come in an order drawn from `seed`.
    ///
    /// Lazy in the mean: plans of one mean are listed together, and only when they are reached.
    pub fn upward(&self, seed: u64) -> impl Iterator<Item = BitPlan> + '_ {
        let mut rng = seed::stream(seed, "space/upward");
        let totals = self.slimmest().total_weight_bits()..=self.widest().total_weight_bits();
        totals.flat_map(move |total| {
            let mut level = self.with_total(total);
            level.shuffle(&mut rng);
            level
        })
    }

    /// Every plan whose weight bits add up to `total`.
    fn with_total(&self, total: u32) -> Vec<BitPlan> {
        let reachable = self.reachable();
        let mut prefixes = vec![(Vec::new(), total)];
        for (layer, set) in self.widths.iter().enumerate() {
            let extended = prefixes.iter().flat_map(|(prefix, left)| {
                set.iter().filter_map(|&bits| {
                    let left = left.checked_sub(u32::from(bits))?;
                    let fits = reachable[layer + 1].get(left as usize).copied().unwrap_or(false);
                    fits.then(|| ([prefix.as_slice(), &[bits]].concat(), left))
                })
            });
            prefixes = extended.collect();
        }
        prefixes.into_iter().map(|(bits, _)| self.plan(bits)).collect()
    }

    /// For each layer, which totals the layers from it to the last can add up to.
    fn reachable(&self) -> Vec<Vec<bool>> {
        let most = self.widest().total_weight_bits() as usize;
        let mut sums = vec![vec![false; most + 1]; self.layers() + 1];
        sums[self.layers()][0] = true;
        for layer in (0..self.layers()).rev() {
            for &bits in &self.widths[layer] {
                for total in usize::from(bits)..=most {
                    sums[layer][total] |= sums[layer + 1][total - usize::from(bits)];
                }
            }
        }
        sums
    }

    fn plan(&self, bits: impl IntoIterator<Item = u8>) -> BitPlan {
        BitPlan::from_checked(bits.into_iter().map(|weights| LayerBits { weights, activations: 8 }).collect())
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
    fn steps_follow_the_set_not_the_number() {
        let found: Vec<String> = lenet().neighbours(&plan("2,5,8,3")).iter().map(BitPlan::to_string).collect();
        assert_eq!(found, ["3,5,8,3", "2,4,8,3", "2,8,8,3", "2,5,5,3", "2,5,8,2", "2,5,8,4"]);
        assert!(lenet().neighbours(&plan("6,5,8,3")).is_empty());
    }

    #[test]
    fn pinned_layers_have_no_choice() {
        let space = Space::same(&[2, 3], 4).unwrap().ends_pinned().unwrap();
        assert_eq!((space.count(), space.free().collect::<Vec<_>>()), (4, vec![1, 2]));
        assert_eq!((space.widest(), space.slimmest()), (plan("8,3,3,8"), plan("8,2,2,8")));
        assert!(space.contains(&plan("8,2,3,8")) && !space.contains(&plan("2,2,3,8")));
        assert!(!space.contains(&plan("8:4,2,3,8")) && !space.contains(&plan("8,2,3")));
        assert_eq!(space.pinned(5, 8), Err(SpaceError::NoSuchLayer { layer: 5, layers: 4 }));
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(Space::new(vec![]), Err(SpaceError::NoLayers));
        assert_eq!(Space::new(vec![vec![2], vec![]]), Err(SpaceError::NoWidths(2)));
        assert_eq!(Space::same(&[2, 9], 3), Err(SpaceError::OutOfRange { layer: 1, bits: 9 }));
    }

    #[test]
    fn deep_spaces_are_counted_and_walked_lazily() {
        let deep = Space::same(&[2, 3, 4, 5, 6, 7, 8], 60).unwrap();
        assert_eq!(deep.count(), u128::MAX);
        assert_eq!(deep.upward(0).take(62).last().unwrap().total_weight_bits(), 122);
    }

    proptest! {
        #[test]
        fn samples_are_inside_and_neighbours_mutual(seed in any::<u64>()) {
            let space = lenet();
            let drawn = space.sample(&mut seed::stream(seed, "test"));
            prop_assert!(space.contains(&drawn));
            for near in space.neighbours(&drawn) {
                prop_assert!(space.neighbours(&near).contains(&drawn));
            }
        }
    }
}
