//! Every weighted layer of a network at every weight width, priced by a model.

use releq_format::bits::BitWidth;
use releq_format::graph::KernelHint;
use releq_search::cost::{Case, CostModel, Costs, Unpriced};

use super::layer::Layer;

/// Costs of `layers` by `model`, at all weight widths, for a core whose fastest family is `family`.
///
/// Activations are what the layers have. Layers without weights cost what their work does where the model prices work,
/// and nothing where it counts multiply-accumulates alone.
///
/// # Errors
/// [`Unpriced`] for work that the model knows nothing of.
pub fn costs(layers: &[Layer], family: KernelHint, model: &dyn CostModel) -> Result<Costs, Unpriced> {
    let (mut weighted, mut rest) = (Vec::new(), 0.0);
    for layer in layers {
        if layer.op.weights().is_none() {
            rest += price(layer, family, model)?;
            continue;
        }
        let mut row = [0.0; 8];
        for (bits, cost) in (1..).zip(&mut row) {
            let bits = BitWidth::new(bits).unwrap_or(BitWidth::EIGHT);
            *cost = price(&layer.with_weights(bits), family, model)?;
        }
        weighted.push(row);
    }
    Ok(Costs::new(weighted, rest))
}

/// What `model` says of one layer as it is.
///
/// # Errors
/// [`Unpriced`].
pub fn price(layer: &Layer, family: KernelHint, model: &dyn CostModel) -> Result<f64, Unpriced> {
    let work = layer.work(family);
    let none =
        releq_search::network::LayerFeatures { weights: 0, macs: 0, inputs: 0, outputs: 0, kernel: 0, deviation: 0.0 };
    let features = layer.features().unwrap_or(none);
    let weights = layer.op.weights().map_or(8, |weights| weights.bits.get());
    model.cost(&Case { layer: &features, weights, activations: layer.inputs[0].bits.get(), work: &work })
}

/// For each layer the width at which its weights are stored for speed: its own, or a wider one that costs less.
///
/// # Errors
/// [`Unpriced`].
pub fn fastest(layers: &[Layer], family: KernelHint, model: &dyn CostModel) -> Result<Vec<BitWidth>, Unpriced> {
    let costs = costs(layers, family, model)?;
    let weighted = layers.iter().filter_map(|layer| layer.op.weights()).enumerate();
    let stored = |(index, weights): (usize, &releq_format::graph::Weights)| {
        let better = costs.better(index)[usize::from(weights.bits.get()) - 1];
        better.and_then(BitWidth::new).unwrap_or(weights.bits)
    };
    Ok(weighted.map(stored).collect())
}
