//! What the agent sees before it chooses a layer's bits: the paper's eight numbers.

use crate::network::{BITS_MAX, LayerFeatures, Network};
use crate::space::Space;

/// Numbers in a state.
pub const FEATURES: usize = 8;

/// One observation: layer index, its bits, State of Quantization, State of Accuracy, outputs, inputs, kernel, deviation.
pub type State = [f64; FEATURES];

/// The half of the state that a search does not change, for each layer of one network.
#[derive(Clone, Debug, PartialEq)]
pub struct States {
    still: Vec<[f64; 5]>,
}

impl States {
    /// The states of `network`, whose dimensions are scaled to 0..=1 over the layers that `space` leaves free (over
    /// all where none is). A dimension that they all share says nothing and is 0.
    pub fn new(network: &Network, space: &Space) -> Self {
        let layers = network.layers();
        let free: Vec<&LayerFeatures> = space.free().filter_map(|index| layers.get(index)).collect();
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
        Self { still: still.collect() }
    }

    /// What the agent sees at `layer`, counted from 0, whose weights have `bits` before it chooses.
    ///
    /// # Panics
    /// If the network has no such layer.
    pub fn at(&self, layer: usize, bits: u8, quantization: f64, relative_accuracy: f64) -> State {
        let [position, outputs, inputs, kernel, deviation] = self.still[layer];
        [position, f64::from(bits) / BITS_MAX, quantization, relative_accuracy, outputs, inputs, kernel, deviation]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::lenet;

    #[test]
    fn golden_state_of_lenets_second_layer() {
        let states = States::new(&lenet(), &Space::same(&[2, 8], 4).unwrap());
        let golden = [0.5, 1.0, 1.0, 1.0, 40.0 / 490.0, 19.0 / 799.0, 1.0, 0.037_91];
        for (found, golden) in states.at(1, 8, 1.0, 1.0).into_iter().zip(golden) {
            assert!((found - golden).abs() < 1e-9, "{found} is not {golden}");
        }
    }

    #[test]
    fn a_shared_dimension_is_zero_and_pinned_layers_stay_inside() {
        let ends = Space::same(&[2, 8], 4).unwrap().ends_pinned().unwrap();
        let states = States::new(&lenet(), &ends);
        assert_eq!(states.at(0, 8, 1.0, 1.0)[4..7], [0.0, 0.0, 1.0]);
        let one = Space::same(&[8], 4).unwrap().pinned(1, 8).unwrap();
        assert_eq!(States::new(&lenet(), &one).at(2, 8, 1.0, 1.0)[4], 1.0);
        let single = Space::new(vec![vec![8], vec![2, 8], vec![8], vec![8]]).unwrap();
        assert_eq!(States::new(&lenet(), &single).at(1, 8, 1.0, 1.0)[4..7], [0.0; 3]);
    }
}
