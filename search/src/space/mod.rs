//! Which plans there are: the choices a plan makes, the widths each may take, and the ways to walk them.
//!
//! A plan chooses the width of each layer's weights and, where activations are searched, the width of the codes that the
//! layer hands on, layer by layer in that order. Whatever walks a space walks its choices, each a set of widths; a space
//! of weights alone has one choice a layer.

mod walk;

use std::collections::BTreeSet;

use crate::plan::{BITS, BitPlan, LayerBits};

/// What a choice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The layer's weights.
    Weights,
    /// The codes that it hands on.
    Activations,
}

/// One choice that a plan makes: a layer, counted from 0, and what of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Choice {
    /// The layer.
    pub layer: usize,
    /// Its weights, or the codes it hands on.
    pub side: Side,
}

/// The widths each choice may take. A choice with one width is pinned; activations without a choice have 8 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    layers: usize,
    choices: Vec<Choice>,
    /// Ascending, one set a choice.
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
    #[error("there is no layer {layer} among {layers}; layers count from 1")]
    NoSuchLayer {
        /// The layer asked for, counted from 1.
        layer: usize,
        /// How many there are.
        layers: usize,
    },
}

impl Space {
    /// A space of weights from the widths of each layer, in any order; activations have 8 bits.
    ///
    /// # Errors
    /// [`SpaceError`] for no layers, a layer without widths, or a width outside 1..=8.
    pub fn new(widths: Vec<Vec<u8>>) -> Result<Self, SpaceError> {
        if widths.is_empty() {
            return Err(SpaceError::NoLayers);
        }
        let choices = (0..widths.len()).map(|layer| Choice { layer, side: Side::Weights });
        let sets =
            widths.into_iter().zip(1..).map(|(set, layer)| checked(set, layer)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { layers: sets.len(), choices: choices.collect(), widths: sets })
    }

    /// The same widths for each of `layers` layers.
    ///
    /// # Errors
    /// As [`Space::new`].
    pub fn same(widths: &[u8], layers: usize) -> Result<Self, SpaceError> {
        Self::new(vec![widths.to_vec(); layers])
    }

    /// This space with the weights of `layer`, counted from 1, held at `bits`.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchLayer`], or [`SpaceError::OutOfRange`] for the width.
    pub fn pinned(mut self, layer: usize, bits: u8) -> Result<Self, SpaceError> {
        let place = self.place(layer, Side::Weights)?;
        self.widths[place] = checked(vec![bits], layer)?;
        Ok(self)
    }

    /// This space with the weights of its first and last layer held at 8 bits, as the paper does for its larger networks.
    ///
    /// # Errors
    /// None for a space that exists; the type is [`Space::pinned`]'s.
    pub fn ends_pinned(self) -> Result<Self, SpaceError> {
        let last = self.layers();
        self.pinned(1, 8)?.pinned(last, 8)
    }

    /// This space with a choice, too, of the codes that `layer`, counted from 1, hands on.
    ///
    /// # Errors
    /// [`SpaceError`] for a layer it does not have, no widths, or a width outside 1..=8.
    pub fn handing_on(mut self, layer: usize, widths: &[u8]) -> Result<Self, SpaceError> {
        let place = self.place(layer, Side::Weights)?;
        let (choice, set) = (Choice { layer: layer - 1, side: Side::Activations }, checked(widths.to_vec(), layer)?);
        if self.choices.get(place + 1) == Some(&choice) {
            self.widths[place + 1] = set;
        } else {
            self.choices.insert(place + 1, choice);
            self.widths.insert(place + 1, set);
        }
        Ok(self)
    }

    /// This space with the same choice of codes for every layer but the last, whose sums are handed out whole.
    ///
    /// # Errors
    /// As [`handing_on`](Self::handing_on).
    pub fn with_activations(self, widths: &[u8]) -> Result<Self, SpaceError> {
        (1..self.layers).try_fold(self, |space, layer| space.handing_on(layer, widths))
    }

    fn place(&self, layer: usize, side: Side) -> Result<usize, SpaceError> {
        let wanted = layer.checked_sub(1).map(|layer| Choice { layer, side });
        let found = self.choices.iter().position(|choice| Some(*choice) == wanted);
        found.ok_or(SpaceError::NoSuchLayer { layer, layers: self.layers })
    }

    /// How many layers a plan of this space has.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// The choices in the order in which they are made: each layer's weights, then what it hands on if that is searched.
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// Whether any activations have a choice, be it of one width.
    pub fn has_activations(&self) -> bool {
        self.choices.len() > self.layers
    }

    /// Widths that `choice`, counted from 0, may take, ascending.
    ///
    /// # Panics
    /// If there is no such choice.
    pub fn widths(&self, choice: usize) -> &[u8] {
        &self.widths[choice]
    }

    /// Choices, counted from 0, that have more than one width.
    pub fn free(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.choices.len()).filter(|&choice| self.widths[choice].len() > 1)
    }

    /// Every width of any choice about `side`, ascending.
    pub fn widths_of(&self, side: Side) -> Vec<u8> {
        let sets = self.choices.iter().zip(&self.widths).filter(|(choice, _)| choice.side == side);
        sets.flat_map(|(_, set)| set.iter().copied()).collect::<BTreeSet<u8>>().into_iter().collect()
    }

    /// The narrowest weights of any layer.
    pub fn narrowest(&self) -> u8 {
        self.widths_of(Side::Weights).first().copied().unwrap_or(*BITS.end())
    }

    /// How many plans there are; stays at the largest `u128` beyond it.
    pub fn count(&self) -> u128 {
        self.widths.iter().fold(1, |count: u128, set| count.saturating_mul(set.len() as u128))
    }

    /// Whether `plan` is one of this space's.
    pub fn contains(&self, plan: &BitPlan) -> bool {
        self.steps(plan).is_some()
    }

    /// The width that `plan` gives each choice, if it has as many layers and 8 bits for what is not chosen.
    pub fn bits(&self, plan: &BitPlan) -> Option<Vec<u8>> {
        if plan.layers().len() != self.layers {
            return None;
        }
        let bits: Vec<u8> = self.choices.iter().map(|choice| choice.of(plan)).collect();
        (self.plan(bits.iter().copied()) == *plan).then_some(bits)
    }

    /// Position of each choice's width in its set; none if a width is not in it.
    pub fn steps(&self, plan: &BitPlan) -> Option<Vec<usize>> {
        self.bits(plan)?.iter().zip(&self.widths).map(|(bits, set)| set.binary_search(bits).ok()).collect()
    }

    /// The plan with the width at each choice's position in its set.
    ///
    /// # Panics
    /// If there are fewer steps than choices, or one is past its choice's set.
    pub fn at(&self, steps: &[usize]) -> BitPlan {
        self.plan((0..self.choices.len()).map(|choice| self.widths[choice][steps[choice]]))
    }

    /// Every choice at its widest: where descents and episodes start.
    pub fn widest(&self) -> BitPlan {
        self.plan(self.widths.iter().map(|set| set[set.len() - 1]))
    }

    /// Every choice at its narrowest.
    pub fn slimmest(&self) -> BitPlan {
        self.plan(self.widths.iter().map(|set| set[0]))
    }

    /// All weights at `bits` and all activations at their widest; what lacks that width at its nearest wider, else at its widest.
    pub fn level(&self, bits: u8) -> BitPlan {
        self.uniform(bits, *BITS.end())
    }

    /// All weights at `weights` bits and all activations at `activations`; what lacks that width at its nearest wider, else
    /// at its widest.
    pub fn uniform(&self, weights: u8, activations: u8) -> BitPlan {
        self.plan(self.choices.iter().zip(&self.widths).map(|(choice, set)| {
            let bits = if choice.side == Side::Weights { weights } else { activations };
            set.iter().copied().find(|&width| width >= bits).unwrap_or(set[set.len() - 1])
        }))
    }

    /// Mean bits of the activations that have a choice; none where none has.
    pub fn mean_activation_bits(&self, plan: &BitPlan) -> Option<f64> {
        let chosen = self.choices.iter().filter(|choice| choice.side == Side::Activations);
        let bits: Vec<f64> = chosen.map(|choice| f64::from(choice.of(plan))).collect();
        (!bits.is_empty()).then(|| bits.iter().sum::<f64>() / bits.len() as f64)
    }

    /// The plan with these widths, one a choice.
    fn plan(&self, bits: impl IntoIterator<Item = u8>) -> BitPlan {
        let mut layers = vec![LayerBits { weights: *BITS.end(), activations: *BITS.end() }; self.layers];
        for (choice, bits) in self.choices.iter().zip(bits) {
            match choice.side {
                Side::Weights => layers[choice.layer].weights = bits,
                Side::Activations => layers[choice.layer].activations = bits,
            }
        }
        BitPlan::from_checked(layers)
    }
}

impl Choice {
    /// The width that `plan` gives it.
    ///
    /// # Panics
    /// If the plan has no such layer.
    pub fn of(&self, plan: &BitPlan) -> u8 {
        let layer = plan.layers()[self.layer];
        match self.side {
            Side::Weights => layer.weights,
            Side::Activations => layer.activations,
        }
    }
}

/// A layer's widths, ascending and each once.
fn checked(mut widths: Vec<u8>, layer: usize) -> Result<Vec<u8>, SpaceError> {
    widths.sort_unstable();
    widths.dedup();
    if widths.is_empty() {
        return Err(SpaceError::NoWidths(layer));
    }
    match widths.iter().find(|bits| !BITS.contains(bits)) {
        Some(&bits) => Err(SpaceError::OutOfRange { layer, bits }),
        None => Ok(widths),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lenet() -> Space {
        Space::same(&[8, 2, 3, 5, 4], 4).unwrap()
    }

    fn plan(text: &str) -> BitPlan {
        text.parse().unwrap()
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
    fn activations_are_chosen_behind_their_layers_weights() {
        let space = Space::same(&[2, 3], 3).unwrap().with_activations(&[8, 4]).unwrap();
        let made: Vec<(usize, Side)> = space.choices().iter().map(|choice| (choice.layer, choice.side)).collect();
        let (weights, activations) = (Side::Weights, Side::Activations);
        assert_eq!(made, [(0, weights), (0, activations), (1, weights), (1, activations), (2, weights)]);
        assert_eq!((space.widest(), space.slimmest()), (plan("3,3,3"), plan("2:4,2:4,2:8")));
        assert_eq!((space.level(2), space.uniform(3, 3)), (plan("2,2,2"), plan("3:4,3:4,3:8")));
        assert_eq!(space.bits(&plan("2:4,3:8,2:8")), Some(vec![2, 4, 3, 8, 2]));
        // The last layer's sums are no codes, and 5 is no width.
        assert!(!space.contains(&plan("2:4,3:4,2:4")) && !space.contains(&plan("2:5,3:4,2:8")));
        assert_eq!(space.mean_activation_bits(&plan("2:4,3:8,2:8")), Some(6.0));
        assert_eq!((lenet().mean_activation_bits(&lenet().widest()), lenet().has_activations()), (None, false));
        // One width is no choice, but no longer 8 bits.
        let held = lenet().handing_on(2, &[4]).unwrap();
        assert_eq!((held.widest(), held.count()), (plan("8:8,8:4,8:8,8:8"), 625));
        assert_eq!(held.handing_on(2, &[]), Err(SpaceError::NoWidths(2)));
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(Space::new(vec![]), Err(SpaceError::NoLayers));
        assert_eq!(Space::new(vec![vec![2], vec![]]), Err(SpaceError::NoWidths(2)));
        assert_eq!(Space::same(&[2, 9], 3), Err(SpaceError::OutOfRange { layer: 1, bits: 9 }));
    }
}
