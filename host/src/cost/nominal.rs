//! An image of a network that nobody has quantized yet: nominal weights, scales and ranges, the true shapes and widths.
//!
//! What a layer costs on a board does not depend on values: kernels have no branch on data. So the nominal image costs
//! what the quantized network will, but for whether outputs without a ReLU are centred.

use std::collections::BTreeMap;

use releq_format::bits::BitWidth;
use releq_search::plan::BitPlan;

use super::layer::{middle, nominal_levels};
use crate::lower::fuse::{self, Block};
use crate::lower::sharing::shared;
use crate::lower::{LowerError, Lowered, lower};
use crate::network::{Graph, Network, Op, Source, Tensor};
use crate::quantized::{ActivationQuant, QuantizedNetwork, WeightQuant};
use crate::train::calibrate::input_quantizer;
use crate::train::fold::{FoldError, fold};
use crate::train::quantize::activation_bits;

/// Why there is no nominal image.
#[derive(Debug, thiserror::Error)]
pub enum NominalError {
    /// Batch normalisation cannot be folded.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The graph cannot become an image.
    #[error(transparent)]
    Lower(#[from] LowerError),
}

/// Lowers `network` at the widths of `plan`, one for each weighted layer; with fewer, the last is the others' too.
///
/// # Errors
/// [`NominalError`].
pub fn image(network: &Network, plan: &BitPlan) -> Result<Lowered, NominalError> {
    let mut graph = fold(network)?.graph;
    fuse::hoist_relu(&mut graph);
    Ok(lower(&quantized(&graph, plan)?)?)
}

/// `graph`, which has no batch normalisation, with nominal parameters and quantizers.
///
/// # Errors
/// [`LowerError`] for a graph that does not fit together.
pub fn quantized(graph: &Graph, plan: &BitPlan) -> Result<QuantizedNetwork, LowerError> {
    let shapes = graph.shapes().map_err(LowerError::Shape)?;
    let blocks = fuse::blocks(graph)?;
    let mut planned = plan.layers().iter();
    let mut last = BitWidth::EIGHT;
    let (mut parameters, mut weights) = (BTreeMap::new(), BTreeMap::new());
    for index in graph.weighted() {
        let node = &graph.nodes[index];
        let [channels, height, width] = graph.shape_of(node.inputs[0], &shapes);
        let shape = match &node.op {
            Op::Conv { out, window, groups, .. } => vec![*out, channels / groups, window.kernel[0], window.kernel[1]],
            Op::Dense { out, .. } => vec![*out, channels * height * width],
            _ => continue,
        };
        last = planned.next().and_then(|layer| BitWidth::new(layer.weights)).unwrap_or(last);
        let levels = nominal_levels(last);
        // Sums of all products fill the codes behind them, whose unit is 1 as everywhere.
        let terms = shape[1..].iter().product::<usize>();
        let scale = 1.0 / (terms as f32 * levels.magnitude(last) as f32);
        weights.insert(index, WeightQuant { bits: last, levels, scales: vec![scale; shape[0]] });
        let data = vec![0.0; shape.iter().product()];
        parameters.insert(format!("{}.weight", node.name), Tensor { shape, data });
    }
    let activations = activations(graph, &blocks, plan);
    Ok(QuantizedNetwork { network: Network { graph: graph.clone(), parameters }, weights, activations })
}

/// A quantizer of unit 1 for all that is rounded: from 0 on behind a ReLU, centred elsewhere.
fn activations(graph: &Graph, blocks: &[Block], plan: &BitPlan) -> BTreeMap<Source, ActivationQuant> {
    let bits = activation_bits(graph, blocks, plan);
    let input = ActivationQuant { scale: 1.0, ..input_quantizer(&graph.input) };
    let mut activations = BTreeMap::from([(Source::Input, input)]);
    for block in blocks.iter().take(blocks.len() - 1) {
        let op = &graph.nodes[block.node].op;
        if matches!(op, Op::MaxPool { .. } | Op::Concat) {
            continue;
        }
        let bits = bits.get(&block.output).copied().unwrap_or(BitWidth::EIGHT);
        // An average of codes that start at 0 has none below.
        let averaged = matches!(op, Op::AvgPool { .. } | Op::GlobalAvgPool);
        let from_zero =
            block.relu || averaged && activations.get(&block.inputs[0]).is_none_or(|quant| quant.zero_point == 0);
        let zero_point = if from_zero { 0 } else { middle(bits) };
        activations.insert(block.output, ActivationQuant { bits, scale: 1.0, zero_point });
    }
    let shared = shared(graph, blocks);
    for (source, first) in &shared {
        // Behind a ReLU codes start at 0, and then all that are joined to them do.
        let group = shared.iter().filter(|&(_, other)| other == first).map(|(member, _)| activations[member]);
        let quant = group.min_by_key(|quant| quant.zero_point).unwrap_or(activations[first]);
        activations.insert(*source, quant);
    }
    activations
}
