//! What any plan of a network costs: each layer of its image, priced at every width of its weights and codes.
//!
//! A layer's codes are as wide as those who hand them on say, so the graph decides which widths a layer's cost depends on.
//! The sum of the tables is the price of the image that is lowered at that plan, to the last bit; but for codes without a
//! ReLU, which calibration may find to start at 0 where they are centred here.

use releq_format::bits::{BitWidth, Levels};
use releq_format::graph::{self as format, KernelHint};
use releq_format::image::{Image, ImageError};
use releq_search::cost::{Axis, CostModel, Costs, LayerCosts, Unpriced};
use releq_search::plan::{BitPlan, LayerBits};
use releq_search::space::{Side, Space, SpaceError};

use super::layer::{Layer, layers};
use super::nominal;
use super::widths::price;
use crate::codes;
use crate::lower::fuse::{self, Block};
use crate::lower::{LowerError, lower};
use crate::network::{Graph, Network, Op, Source};
use crate::train::fold::{FoldError, fold};

/// Why a network's plans have no costs.
#[derive(Debug, thiserror::Error)]
pub enum PlansError {
    /// Batch normalisation cannot be folded.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The graph cannot become an image.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// There is nothing to plan.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// The model knows nothing of some of its work.
    #[error(transparent)]
    Unpriced(#[from] Unpriced),
}

impl From<ImageError> for PlansError {
    fn from(error: ImageError) -> Self {
        Self::Lower(error.into())
    }
}

/// Costs of the plans of `space`, and of 8 bits everywhere, by `model`, on a core whose fastest family is `family`. Weights
/// have the levels that `levels` says for a layer of the plan, counted from 0, and a width: kernels run some faster.
///
/// # Errors
/// [`PlansError`].
pub fn costs(
    network: &Network,
    space: &Space,
    levels: &dyn Fn(usize, BitWidth) -> Levels,
    family: KernelHint,
    model: &dyn CostModel,
) -> Result<Costs, PlansError> {
    let mut graph = fold(network)?.graph;
    fuse::hoist_relu(&mut graph);
    let blocks = fuse::blocks(&graph)?;
    let widest = BitPlan::new(vec![LayerBits { weights: 8, activations: 8 }; graph.weighted().len()]);
    let widest = widest.map_err(|error| LowerError::Shape(error.to_string()))?;
    let lowered = lower(&nominal::quantized(&graph, &widest)?)?;
    let layers = layers(&Image::open(&lowered.image)?);
    let [weights, codes] = [Side::Weights, Side::Activations].map(|side| space.widths_of(side));
    let asked = |axis: &Axis, bits: &u8| match axis {
        Axis::Weights(_) => *bits == 8 || weights.contains(bits),
        Axis::Codes(_) => *bits == 8 || codes.contains(bits),
    };
    let tables = layers.iter().zip(axes(&graph, &blocks)).map(|(layer, along)| {
        LayerCosts::tabulate(&along, |bits| match along.iter().zip(bits).all(|(axis, bits)| asked(axis, bits)) {
            true => price(&at(layer, &along, bits, levels), family, model),
            false => Ok(f64::NAN),
        })
    });
    Ok(Costs::through(tables.collect::<Result<_, _>>()?))
}

/// The widths that each block's cost depends on: of what it reads, of a sum what it writes, and of a planned layer that and
/// its weights.
fn axes(graph: &Graph, blocks: &[Block]) -> Vec<Vec<Axis>> {
    let codes = codes::of(graph, blocks);
    let at = |source: &Source| Axis::Codes(codes.get(source).cloned().unwrap_or_default());
    let mut planned = 0..;
    let axes = |block: &Block| -> Vec<Axis> {
        let reads = block.inputs.iter().map(at);
        let writes = [at(&block.output)];
        match graph.nodes[block.node].op {
            _ if codes::is_weighted(graph, block) => {
                reads.chain(writes).chain(planned.next().map(Axis::Weights)).collect()
            }
            Op::Add => reads.chain(writes).collect(),
            _ => reads.collect(),
        }
    };
    blocks.iter().map(axes).collect()
}

/// `layer` with the bits along its axes. Pools and concatenations write codes as wide as the widest they read.
fn at(layer: &Layer, along: &[Axis], bits: &[u8], levels: &dyn Fn(usize, BitWidth) -> Levels) -> Layer {
    let width = |bits: u8| BitWidth::new(bits).unwrap_or(BitWidth::EIGHT);
    match (along.last(), bits) {
        (Some(&Axis::Weights(planned)), &[reads, writes, weights]) => {
            let weights = width(weights);
            layer.with_codes([width(reads); 2], width(writes)).with_levels(weights, levels(planned, weights))
        }
        (_, &[first, second, writes]) if matches!(layer.op, format::Op::Add { .. }) => {
            layer.with_codes([width(first), width(second)], width(writes))
        }
        (_, &[first, .., last]) => layer.with_codes([width(first), width(last)], width(first.max(last))),
        (_, &[one]) => layer.with_codes([width(one); 2], width(one)),
        (_, &[]) => layer.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use releq_device::board::VIRT_M4;
    use releq_search::cost::{BitSerialAccelerator, BitSerialCpu};
    use releq_search::seed;

    use super::*;
    use crate::cost::layer::nominal_levels;
    use crate::cost::{prices, workstation};
    use crate::data::glyphs;
    use crate::train::fold::fold;
    use crate::train::quantize::{self, Method, Recipe, quantize};
    use crate::zoo;

    /// All widths, but for codes of one bit, which no sample that prices were fitted on ever added.
    fn space(network: &Network) -> Space {
        let weights = Space::same(&[1, 2, 3, 4, 5, 6, 7, 8], network.graph.weighted().len()).unwrap();
        weights.with_activations(&[2, 3, 4, 5, 6, 7, 8]).unwrap()
    }

    /// What `releq cost` says of an image, all its layers together.
    fn predicted(image: &[u8], model: &dyn CostModel) -> f64 {
        let image = Image::open(image).unwrap();
        layers(&image).iter().map(|layer| price(layer, VIRT_M4.family, model).unwrap()).sum()
    }

    /// To the last bit, through pools, sums and shortcuts.
    #[test]
    fn tables_add_up_to_what_is_predicted_of_the_lowered_image() {
        let cpu: BitSerialCpu = workstation();
        let models: [&dyn CostModel; 3] = [&prices("virt-m4").unwrap(), &BitSerialAccelerator, &cpu];
        let mut rng = seed::stream(1, "plans");
        for (name, shape, plans) in [
            ("lenet", [1, 28, 28], 12),
            ("resnet8", [3, 32, 32], 6),
            ("resnet20", [3, 32, 32], 3),
            ("simplenet", [3, 32, 32], 6),
        ] {
            let network = zoo::build(name, shape, 10, 1).unwrap();
            let nominal = |_: usize, bits| nominal_levels(bits);
            let space = space(&network);
            let costs = models.map(|model| costs(&network, &space, &nominal, VIRT_M4.family, model).unwrap());
            for _ in 0..plans {
                let plan = space.sample(&mut rng);
                let image = nominal::image(&network, &plan).unwrap().image;
                for (costs, model) in costs.iter().zip(models) {
                    assert_eq!(costs.of(&plan), predicted(&image, model), "{name} {} {plan}", model.name());
                    assert!(costs.relative(&plan) <= costs.dearest());
                }
            }
        }
    }
    /// The levels that fit the weights best differ from layer to layer, and so does what they cost.
    #[test]
    fn tables_add_up_to_what_is_predicted_of_a_calibrated_network() {
        let (model, data) = (prices("virt-m4").unwrap(), glyphs::generate(1, 64));
        let network = zoo::build("lenet", data.shape, data.classes, 1).unwrap();
        let found = quantize::levels(&fold(&network).unwrap(), Method::Learned).unwrap();
        let levels = |layer: usize, bits: BitWidth| found[layer][usize::from(bits.get()) - 1];
        let space = space(&network);
        let costs = costs(&network, &space, &levels, VIRT_M4.family, &model).unwrap();
        let mut rng = seed::stream(2, "plans");
        for _ in 0..6 {
            let plan = space.sample(&mut rng);
            let recipe = Recipe::learned(0.0, 1);
            let quantized =
                quantize(&network, &plan, &data, &recipe, None, &mut |_| ControlFlow::Continue(())).unwrap();
            assert_eq!(costs.of(&plan), predicted(&lower(&quantized).unwrap().image, &model), "{plan}");
        }
    }
}
