//! Batch normalisation in fine-tuning: left in the network that learns, folded into its scales and biases afterwards.
//!
//! Weights have a scale for each output channel, so that folding γ/σ into it changes no code: the network that learned
//! and the one that becomes an image compute the same function, but for the rounding of floats.

use std::collections::BTreeMap;

use candle_core::Result;
use rand::seq::SliceRandom;
use releq_search::seed;

use super::fit::Schedule;
use super::fold::{self, FoldError, fold};
use super::model::Model;
use super::quantize::QuantizeError;
use crate::data::Dataset;
use crate::data::augment::Augment;
use crate::lower::fuse::{self, Block};
use crate::network::{Network, Op, Source};
use crate::quantized::QuantizedNetwork;

/// What fine-tuning does with batch normalisation; without any in the network all are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norms {
    /// Folded before training, so that scales and biases learn in its place.
    Folded,
    /// Left in, normalising each batch by its own statistics, and folded afterwards.
    Live,
    /// Left in, and its statistics measured anew on training images once the weights are final.
    Reestimated,
}

/// Images a batch that statistics are measured on, and the most batches and the fewest.
const BATCH: usize = 128;
const MOST: usize = 32;
const FEWEST: usize = 8;
/// Images learned from for each that statistics are measured on afterwards.
const SHARE: f64 = 4.0;

/// A network ready to learn under quantizers, with the blocks that its image will have.
#[derive(Clone, Debug)]
pub(super) struct Trainee {
    /// Folded or not; ReLUs stand before max pools.
    pub network: Network,
    /// In the node indices of `network`. The output of a block with live normalisation is what comes out of that.
    pub blocks: Vec<Block>,
}

impl Trainee {
    /// Prepares `network`.
    ///
    /// # Errors
    /// Normalisation that cannot be folded, now or afterwards; a graph that cannot become an image.
    pub(super) fn new(network: &Network, norms: Norms) -> std::result::Result<Self, QuantizeError> {
        let mut network = network.clone();
        let mut folded = fold(&network)?;
        fuse::hoist_relu(&mut folded.graph);
        if norms == Norms::Folded || folded.graph.nodes.len() == network.graph.nodes.len() {
            let blocks = fuse::blocks(&folded.graph)?;
            return Ok(Self { network: folded, blocks });
        }
        fuse::hoist_relu(&mut network.graph);
        let places = Places::of(&network);
        let blocks = fuse::blocks(&fold(&network)?.graph)?.into_iter().map(|block| places.lift(&block)).collect();
        Ok(Self { network, blocks })
    }
}

/// Where the nodes of a folded network are in the network before folding, which leaves their order as it was.
struct Places {
    /// For each node of the folded network, the node that computes it.
    nodes: Vec<usize>,
    /// For each node of the folded network, the node that holds its value: its normalisation, or itself.
    values: Vec<usize>,
}

impl Places {
    fn of(network: &Network) -> Self {
        let normalises = |index: &usize| matches!(network.graph.nodes[*index].op, Op::BatchNorm { .. });
        let (norms, nodes): (Vec<usize>, Vec<usize>) = (0..network.graph.nodes.len()).partition(normalises);
        let norm_of =
            |node: usize| norms.iter().find(|&&norm| network.graph.nodes[norm].inputs[0] == Source::Node(node));
        let values = nodes.iter().map(|&node| norm_of(node).copied().unwrap_or(node)).collect();
        Self { nodes, values }
    }

    /// A block of the folded network in the indices of the network before folding.
    fn lift(&self, block: &Block) -> Block {
        let value = |&source: &Source| match source {
            Source::Input => Source::Input,
            Source::Node(index) => Source::Node(self.values[index]),
        };
        let inputs = block.inputs.iter().map(value).collect();
        Block { node: self.nodes[block.node], relu: block.relu, inputs, output: value(&block.output) }
    }

    /// The node of the folded network that `node` computes.
    fn node(&self, node: usize) -> Option<usize> {
        self.nodes.iter().position(|&place| place == node)
    }

    /// What holds in the folded network the value that `source` holds.
    fn value(&self, source: Source) -> Option<Source> {
        match source {
            Source::Input => Some(Source::Input),
            Source::Node(index) => self.values.iter().position(|&place| place == index).map(Source::Node),
        }
    }
}

/// `quantized` without batch normalisation: every code of its weights stays what it is.
///
/// # Errors
/// [`FoldError`], naming the layer.
pub(super) fn folded(quantized: &QuantizedNetwork) -> std::result::Result<QuantizedNetwork, FoldError> {
    let places = Places::of(&quantized.network);
    let network = fold(&quantized.network)?;
    let mut weights = BTreeMap::new();
    for (&node, quant) in &quantized.weights {
        let Some(place) = places.node(node) else { continue };
        let mut quant = quant.clone();
        if places.values[place] != node {
            let factors = fold::factors(&quantized.network, places.values[place])?;
            // A negative factor turns the float weights over, and with them the codes, whose level sets are symmetric.
            let scaled = quant.scales.iter().zip(factors);
            quant.scales = scaled.map(|(scale, factor)| (scale * factor.abs()).max(f32::MIN_POSITIVE.sqrt())).collect();
        }
        weights.insert(place, quant);
    }
    let activations = quantized.activations.iter();
    let activations = activations.filter_map(|(&source, &quant)| Some((places.value(source)?, quant))).collect();
    Ok(QuantizedNetwork { network, weights, activations })
}

/// Measures the statistics of every normalisation anew, on one to four thousand random images of `data`, in the views that
/// training by `schedule` shows of them: what black margins do to a mean, the network has learned to expect.
///
/// # Errors
/// Only Candle's own.
pub(super) fn reestimate(model: &Model, data: &Dataset, schedule: &Schedule) -> Result<()> {
    measure(model, data, schedule, batches(data.len(), schedule))
}

/// Batches to measure on after a training by `schedule`. The short ones, of which a search does a hundred, are not to spend
/// a third of their time on this.
fn batches(images: usize, schedule: &Schedule) -> usize {
    let learned = schedule.epochs * images as f64;
    if learned > 0.0 { ((learned / SHARE / BATCH as f64) as usize).clamp(FEWEST, MOST) } else { MOST }
}

fn measure(model: &Model, data: &Dataset, schedule: &Schedule, batches: usize) -> Result<()> {
    if !model.graph().nodes.iter().any(|node| matches!(node.op, Op::BatchNorm { .. })) {
        return Ok(());
    }
    let mut order: Vec<usize> = (0..data.len()).collect();
    order.shuffle(&mut seed::stream(schedule.seed, "statistics"));
    let mut rng = seed::stream(schedule.seed, "views for statistics");
    for (number, indices) in order.chunks(BATCH).take(batches).enumerate() {
        // The mean of all batches so far: each new one counts 1/n.
        let model = model.with_momentum(1.0 / (number + 1) as f32);
        let input = match schedule.augment.is_any() {
            true => {
                let views = schedule.augment.views(data, indices, &mut rng);
                model.input(&views, &(0..views.len()).collect::<Vec<_>>())?
            }
            false => model.input(data, indices)?,
        };
        model.forward(&input, true)?;
    }
    Ok(())
}

/// Views are told by the statistics only where plain images are this many times further from them.
const CLEARLY: f64 = 2.0;

/// The views of `data` that `network` was trained on, as far as the statistics of its normalisations remember: black
/// margins and mirrored halves move them. Plain images where they say nothing.
///
/// # Errors
/// Only Candle's own.
pub(crate) fn remembered(network: &Network, data: &Dataset) -> Result<Augment> {
    let has_margins =
        data.shape[1] > 2 * Augment::CROP_AND_FLIP.shift && data.shape[2] > 2 * Augment::CROP_AND_FLIP.shift;
    let given = Model::new(network)?;
    if !has_margins || given.statistics().next().is_none() {
        return Ok(Augment::NONE);
    }
    let distance = |augment: Augment| -> Result<f64> {
        let model = Model::new(network)?;
        measure(&model, data, &Schedule { augment, ..Schedule::adam(0.0, 0) }, FEWEST)?;
        Ok(apart(&given, &model))
    };
    let [plain, moved] = [distance(Augment::NONE)?, distance(Augment::CROP_AND_FLIP)?];
    Ok(if moved * CLEARLY < plain { Augment::CROP_AND_FLIP } else { Augment::NONE })
}

/// How far the statistics of two models of one network are apart: the mean over channels of the squares of what their
/// means differ by, in deviations, and of what the logarithms of their variances do.
fn apart(one: &Model, other: &Model) -> f64 {
    let (mut sum, mut count) = (0.0, 0usize);
    for (one, other) in one.statistics().zip(other.statistics()) {
        let [one, other] = [one, other].map(|one| one.lock().expect("no panic while holding the lock").clone());
        let means = one.mean.iter().zip(&other.mean);
        for ((mean, other_mean), (variance, other_variance)) in means.zip(one.variance.iter().zip(&other.variance)) {
            let [variance, other_variance] = [variance, other_variance].map(|&variance| f64::from(variance) + 1e-5);
            sum += f64::from(mean - other_mean).powi(2) / variance + (other_variance / variance).ln().powi(2);
            count += 1;
        }
    }
    sum / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use releq_search::plan::BitPlan;

    use super::*;
    use crate::data::glyphs;
    use crate::quantized::WeightQuant;
    use crate::train::fit;
    use crate::train::quantize::{self, Recipe};
    use crate::zoo;

    #[test]
    fn a_trainee_knows_its_blocks() {
        let data = glyphs::generate(1, 64);
        let network = zoo::build("resnet8", data.shape, data.classes, 1).unwrap();
        let (live, folded) =
            (Trainee::new(&network, Norms::Live).unwrap(), Trainee::new(&network, Norms::Folded).unwrap());
        assert_eq!(live.blocks.len(), folded.blocks.len());
        for (live_block, block) in live.blocks.iter().zip(&folded.blocks) {
            let name = |trainee: &Trainee, index: usize| trainee.network.graph.nodes[index].name.clone();
            assert_eq!(name(&live, live_block.node), name(&folded, block.node));
            assert_eq!((live_block.relu, live_block.inputs.len()), (block.relu, block.inputs.len()));
        }
        let norms = live.network.graph.nodes.iter().filter(|node| matches!(node.op, Op::BatchNorm { .. })).count();
        assert_eq!(live.network.graph.nodes.len(), folded.network.graph.nodes.len() + norms);
        assert!(norms > 0);
    }

    /// Fine-tuned with live normalisation, some of it with negative γ, and folded: the same codes, and the same answers
    /// but for the rounding of floats.
    #[test]
    fn folding_what_learned_changes_no_code() {
        let data = glyphs::generate(1, 192);
        let mut network = zoo::build("resnet8", data.shape, data.classes, 1).unwrap();
        for (name, tensor) in &mut network.parameters {
            if name.contains("bn") && name.ends_with(".weight") {
                tensor.data.iter_mut().step_by(3).for_each(|gamma| *gamma *= -0.5);
            }
        }
        let plan: BitPlan = vec!["3:4"; network.graph.weighted().len()].join(",").parse().unwrap();
        let recipe = Recipe { norms: Norms::Live, ..Recipe::learned(0.5, 1) };
        let model = quantize::model(&network, &plan, &data, &recipe);
        let (live, folded) = (model.quantized().unwrap(), folded(&model.quantized().unwrap()).unwrap());
        let places = Places::of(&live.network);
        for (&node, quant) in &live.weights {
            let integers = |quantized: &QuantizedNetwork, node: usize, quant: &WeightQuant| {
                let name = &quantized.network.graph.nodes[node].name;
                quant.integers(&quantized.network.parameters[&format!("{name}.weight")].data)
            };
            let place = places.node(node).unwrap();
            let (before, after) = (integers(&live, node, quant), integers(&folded, place, &folded.weights[&place]));
            let negative = places.values[place] != node;
            assert!(before.iter().zip(&after).all(|(a, b)| a == b || (negative && *a == -b)), "{node}");
        }
        let rows = |model: &Model| fit::logits(model, &data).unwrap();
        let (live, folded) = (rows(&model), rows(&Model::from_quantized(&folded).unwrap()));
        let same = live.iter().zip(&folded).filter(|(a, b)| fit::largest(a) == fit::largest(b)).count();
        assert!(same * 100 >= 98 * data.len(), "{same} of {} answers are the same", data.len());
    }

    /// The statistics are the images' own, whatever they were before.
    #[test]
    fn statistics_are_measured_anew() {
        let data = glyphs::generate(1, BATCH);
        let network = zoo::build("resnet8", data.shape, data.classes, 1).unwrap();
        let model = Model::new(&network).unwrap();
        let first = |model: &Model| model.statistics().next().unwrap().lock().unwrap().mean.clone();
        let apart = |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let before = first(&model);
        let schedule = Schedule::adam(0.0, 1);
        reestimate(&model, &data, &schedule).unwrap();
        let measured = first(&model);
        assert!(apart(&before, &measured) > 0.01);
        model.statistics().for_each(|running| running.lock().unwrap().mean.fill(7.0));
        reestimate(&model, &data, &schedule).unwrap();
        assert!(apart(&first(&model), &measured) < 1e-5);
        // Of moved images: margins are black.
        let moved = Augment { mirror: false, shift: 12 };
        reestimate(&model, &data, &Schedule { augment: moved, ..schedule }).unwrap();
        let darker = first(&model);
        assert!(apart(&darker, &measured) > 0.01);
    }

    #[test]
    fn short_trainings_are_measured_on_fewer_images() {
        let of = |epochs: f64| batches(50_000, &Schedule::adam(epochs, 1));
        assert_eq!([0.0, 1e-6, 0.06, 0.2, 1.0, 60.0].map(of), [MOST, FEWEST, FEWEST, 19, MOST, MOST]);
    }

    /// The views that statistics were measured on are told by them; fresh ones, zeros and ones, tell nothing.
    #[test]
    fn statistics_remember_views() {
        let data = glyphs::generate(1, 1024);
        let network = zoo::build("resnet8", data.shape, data.classes, 1).unwrap();
        assert_eq!(remembered(&network, &data).unwrap(), Augment::NONE);
        for augment in [Augment::NONE, Augment::CROP_AND_FLIP] {
            let model = Model::new(&network).unwrap();
            reestimate(&model, &data, &Schedule { augment, ..Schedule::adam(0.0, 7) }).unwrap();
            assert_eq!(remembered(&model.network().unwrap(), &data).unwrap(), augment);
        }
        let lenet = zoo::build("lenet", data.shape, data.classes, 1).unwrap();
        assert_eq!(remembered(&lenet, &data).unwrap(), Augment::NONE);
    }
}
