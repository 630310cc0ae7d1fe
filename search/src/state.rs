//! What the agent sees before it makes a choice: the paper's eight numbers, and three more where activations are searched.

use crate::network::{BITS_MAX, Codes, LayerFeatures, Network};
use crate::plan::BitPlan;
use crate::space::{Choice, Side, Space};

/// Numbers in a state of weights alone, as published.
const PUBLISHED: usize = 8;

/// Numbers that a state has beside those where activations are searched.
const OF_ACTIVATIONS: usize = 3;

/// One observation. The published eight: layer index, bits of what is to be chosen, State of Quantization, State of
/// Accuracy, outputs, inputs, kernel, deviation of the weights. Where activations are searched, three more: whether it is
/// these that are to be chosen, the bits of the layer's weights, and the bits of the codes it reads.
pub type State = Vec<f64>;

/// The part of the state that a search does not change, for each choice of one space.
#[derive(Clone, Debug, PartialEq)]
pub struct States {
    choices: Vec<Choice>,
    still: Vec<[f64; 5]>,
    /// What each layer reads, where activations are searched.
    reads: Option<Vec<Codes>>,
}

impl States {
    /// The states of `network`, whose dimensions are scaled to 0..=1 over the layers that `space` leaves free (over
    /// all where none is). A dimension that they all share says nothing and is 0.
    pub fn new(network: &Network, space: &Space) -> Self {
        let layers = network.layers();
        let free: Vec<&LayerFeatures> =
            space.free().filter_map(|choice| layers.get(space.choices()[choice].layer)).collect();
        let among = if free.is_empty() { layers.iter().collect() } else { free };
        let scaled = |layer: &LayerFeatures, of: fn(&LayerFeatures) -> u32| {
            let low = among.iter().map(|other| of(other)).min().unwrap_or(0);
            let high = among.iter().map(|other| of(other)).max().unwrap_or(0);
            let span = f64::from(high - low);
            if span == 0.0 { 0.0 } else { ((f64::from(of(layer)) - f64::from(low)) / span).clamp(0.0, 1.0) }
        };
        let still = layers.iter().enumerate().map(|(index, layer)| {
            let position = (index + 1) as f64 / layers.len() as f64;
            let dimensions = [scaled(layer, |l| l.outputs), scaled(layer, |l| l.inputs), scaled(layer, |l| l.kernel)];
            [position, dimensions[0], dimensions[1], dimensions[2], layer.deviation]
        });
        let reads = space.has_activations().then(|| network.reads().to_vec());
        Self { choices: space.choices().to_vec(), still: still.collect(), reads }
    }

    /// Numbers in each state.
    pub fn features(&self) -> usize {
        PUBLISHED + if self.reads.is_some() { OF_ACTIVATIONS } else { 0 }
    }

    /// What the agent sees before it makes `choice`, counted from 0, of `plan` as it stands.
    ///
    /// # Panics
    /// If the space has no such choice or the plan no such layer.
    pub fn at(&self, choice: usize, plan: &BitPlan, quantization: f64, relative_accuracy: f64) -> State {
        let choice = self.choices[choice];
        let share = |bits: u8| f64::from(bits) / BITS_MAX;
        let [position, outputs, inputs, kernel, deviation] = self.still[choice.layer];
        let own = share(choice.of(plan));
        let mut state = vec![position, own, quantization, relative_accuracy, outputs, inputs, kernel, deviation];
        if let Some(reads) = &self.reads {
            let activations = f64::from(u8::from(choice.side == Side::Activations));
            let weights = share(plan.layers()[choice.layer].weights);
            state.extend([activations, weights, share(reads[choice.layer].bits(plan))]);
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::lenet;

    fn plan(text: &str) -> BitPlan {
        text.parse().unwrap()
    }

    fn close(found: &[f64], golden: &[f64]) {
        assert_eq!(found.len(), golden.len());
        for (found, golden) in found.iter().zip(golden) {
            assert!((found - golden).abs() < 1e-9, "{found} is not {golden}");
        }
    }

    #[test]
    fn golden_state_of_lenets_second_layer() {
        let states = States::new(&lenet(), &Space::same(&[2, 8], 4).unwrap());
        let golden = [0.5, 1.0, 1.0, 1.0, 40.0 / 490.0, 19.0 / 799.0, 1.0, 0.037_91];
        close(&states.at(1, &plan("8,8,8,8"), 1.0, 1.0), &golden);
        assert_eq!(states.features(), 8);
    }

    #[test]
    fn golden_states_where_activations_are_searched() {
        let states = States::new(&lenet(), &Space::same(&[2, 8], 4).unwrap().with_activations(&[4, 8]).unwrap());
        let plan = plan("8:4,2:8,8:8,8:8");
        // The second layer's weights, then what it hands on; it reads 4 bits.
        let golden = [0.5, 0.25, 0.6, 0.9, 40.0 / 490.0, 19.0 / 799.0, 1.0, 0.037_91, 0.0, 0.25, 0.5];
        close(&states.at(2, &plan, 0.6, 0.9), &golden);
        let golden = [0.5, 1.0, 0.6, 0.9, 40.0 / 490.0, 19.0 / 799.0, 1.0, 0.037_91, 1.0, 0.25, 0.5];
        close(&states.at(3, &plan, 0.6, 0.9), &golden);
        assert_eq!(states.features(), 11);
    }

    #[test]
    fn a_shared_dimension_is_zero_and_pinned_layers_stay_inside() {
        let widest = plan("8,8,8,8");
        let ends = Space::same(&[2, 8], 4).unwrap().ends_pinned().unwrap();
        let states = States::new(&lenet(), &ends);
        assert_eq!(states.at(0, &widest, 1.0, 1.0)[4..7], [0.0, 0.0, 1.0]);
        let one = Space::same(&[8], 4).unwrap().pinned(1, 8).unwrap();
        assert_eq!(States::new(&lenet(), &one).at(2, &widest, 1.0, 1.0)[4], 1.0);
        let single = Space::new(vec![vec![8], vec![2, 8], vec![8], vec![8]]).unwrap();
        assert_eq!(States::new(&lenet(), &single).at(1, &widest, 1.0, 1.0)[4..7], [0.0; 3]);
    }
}
