//! Values that must share one quantizer, because a concatenation lays their codes side by side.

use std::collections::{BTreeMap, BTreeSet};

use super::LowerError;
use super::fuse::Block;
use crate::network::{Graph, InputSpec, Op, Source};

/// The rounded sources that share a quantizer with others, each with the first of its group.
///
/// Sources that hand codes on are looked through: `blocks` are those of `graph`.
pub fn shared(graph: &Graph, blocks: &[Block]) -> BTreeMap<Source, Source> {
    let mut groups: Vec<BTreeSet<Source>> = Vec::new();
    for block in blocks.iter().filter(|block| matches!(graph.nodes[block.node].op, Op::Concat)) {
        let mut group: BTreeSet<Source> = block.inputs.iter().map(|&source| rounded(graph, source)).collect();
        let (met, apart): (Vec<_>, Vec<_>) = groups.into_iter().partition(|other| !other.is_disjoint(&group));
        met.into_iter().for_each(|other| group.extend(other));
        groups = apart;
        groups.push(group);
    }
    let groups = groups.iter().filter(|group| group.len() > 1);
    groups.flat_map(|group| group.iter().map(|&source| (source, *group.first().unwrap_or(&source)))).collect()
}

/// Where the codes that `source` holds were rounded.
fn rounded(graph: &Graph, mut source: Source) -> Source {
    while let Source::Node(index) = source {
        let node = &graph.nodes[index];
        match node.inputs.first() {
            Some(&from) if node.op.keeps_codes() => source = from,
            _ => break,
        }
    }
    source
}

/// Whether one quantizer can serve every concatenation: a ReLU is the clamp of codes at both ends, so what is joined
/// with a rectified value must not reach further than that.
pub(super) fn check(graph: &Graph, blocks: &[Block]) -> Result<(), LowerError> {
    let shared = shared(graph, blocks);
    let firsts: BTreeSet<Source> = shared.values().copied().collect();
    for first in firsts {
        let members: Vec<Source> = shared.iter().filter(|&(_, &of)| of == first).map(|(&source, _)| source).collect();
        for &clamped in &members {
            let Source::Node(node) = clamped else { continue };
            let [low, high] = match graph.nodes[node].op {
                Op::Relu => [0.0, f32::INFINITY],
                Op::ClippedRelu { ceiling } => [0.0, ceiling],
                _ => continue,
            };
            let further = |&&other: &&Source| {
                let reach = reach(graph, other);
                reach[0] < low || reach[1] > high
            };
            if let Some(&other) = members.iter().find(further) {
                let name = |source| match source {
                    Source::Input => "the input".to_owned(),
                    Source::Node(index) => format!("`{}`", graph.nodes[index].name),
                };
                return Err(LowerError::Unshared { one: name(clamped), other: name(other) });
            }
        }
    }
    Ok(())
}

/// The reals that a source can hold, from and to.
fn reach(graph: &Graph, source: Source) -> [f32; 2] {
    let Source::Node(index) = source else { return input_reach(&graph.input) };
    let node = &graph.nodes[index];
    let from = || node.inputs.iter().map(|&input| reach(graph, input));
    let widest = |start: [f32; 2]| from().fold(start, |all, one| [all[0].min(one[0]), all[1].max(one[1])]);
    match node.op {
        Op::Relu => [0.0, f32::INFINITY],
        Op::ClippedRelu { ceiling } => [0.0, ceiling],
        // Padding and channels of zeros are zeros.
        Op::AvgPool { .. } | Op::Shortcut { .. } => widest([0.0; 2]),
        Op::MaxPool { .. } | Op::GlobalAvgPool | Op::Concat | Op::Flatten => widest([f32::INFINITY, f32::NEG_INFINITY]),
        Op::Add => from().fold([0.0; 2], |sum, one| [sum[0] + one[0], sum[1] + one[1]]),
        Op::Conv { .. } | Op::Dense { .. } | Op::BatchNorm { .. } => [f32::NEG_INFINITY, f32::INFINITY],
    }
}

/// The reals that pixels can be.
fn input_reach(input: &InputSpec) -> [f32; 2] {
    let ends = |pixel: f32| input.mean.iter().zip(&input.std).map(move |(mean, std)| (pixel - mean) / std);
    [ends(0.0).fold(f32::INFINITY, f32::min), ends(1.0).fold(f32::NEG_INFINITY, f32::max)]
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::data::glyphs;
    use crate::lower::{fuse, lower};
    use crate::network::{Network, Node, Tensor, Window};
    use crate::target::native;
    use crate::train::integer::IntegerModel;
    use crate::train::quantize::{Recipe, quantize};
    use releq_format::image::Image;

    const ONE: Source = Source::Node(1);
    const OTHER: Source = Source::Node(3);

    /// Two convolutions of a glyph, each with a node behind it, joined with `more` and dense.
    fn branches(behind: [Op; 2], more: &[Source]) -> Graph {
        let [first, second] = behind;
        let conv = |out| Op::Conv { out, window: Window::square(3, 4, 0), groups: 1, bias: false };
        let inputs = [vec![ONE, OTHER], more.to_vec()].concat();
        let nodes = [
            ("a", conv(3), vec![Source::Input]),
            ("ar", first, vec![Source::Node(0)]),
            ("b", conv(5), vec![Source::Input]),
            ("br", second, vec![Source::Node(2)]),
            ("ab", Op::Concat, inputs),
            ("fc", Op::Dense { out: 10, bias: false }, vec![Source::Node(4)]),
        ];
        let node = |(name, op, inputs): (&str, Op, Vec<Source>)| Node { name: name.to_owned(), op, inputs };
        let input = InputSpec::unit([1, 28, 28]);
        Graph { name: "branches".into(), input, nodes: nodes.into_iter().map(node).collect(), held_out: 0 }
    }

    fn pool(kernel: usize) -> Op {
        Op::MaxPool { window: Window::square(kernel, 1, 0) }
    }

    #[test]
    fn groups_are_found_through_what_hands_codes_on() {
        let mut graph = branches([Op::Relu, Op::Relu], &[]);
        let blocks = |graph: &Graph| fuse::blocks(graph).unwrap();
        assert_eq!(shared(&graph, &blocks(&graph)), BTreeMap::from([(ONE, ONE), (OTHER, ONE)]));
        // A second concatenation joins the group of the first.
        graph.nodes.insert(5, Node { name: "p".into(), op: pool(2), inputs: vec![Source::Node(4)] });
        graph.nodes.insert(6, Node { name: "pp".into(), op: Op::Concat, inputs: vec![Source::Node(5); 2] });
        graph.nodes[7].inputs = vec![Source::Node(6)];
        assert_eq!(shared(&graph, &blocks(&graph)), BTreeMap::from([(ONE, ONE), (OTHER, ONE)]));
    }

    #[test]
    fn what_no_quantizer_suits_is_refused_by_name() {
        let refusal = |behind| fuse::blocks(&branches(behind, &[])).unwrap_err().to_string();
        assert_eq!(
            refusal([Op::Relu, pool(1)]),
            "a concatenation joins `ar`, which a ReLU keeps within bounds, with `b`, which reaches further; \
             joined codes share one scale; put the same ReLU after both, or one after the concatenation"
        );
        assert!(refusal([Op::Relu, Op::ClippedRelu { ceiling: 6.0 }]).contains("joins `br`, which"));
        for behind in [[pool(1), pool(1)], [Op::ClippedRelu { ceiling: 6.0 }, Op::ClippedRelu { ceiling: 6.0 }]] {
            assert!(fuse::blocks(&branches(behind, &[])).is_ok());
        }
    }

    /// Few bits, so that scales learn; a pool hands one branch's codes on, and a shortcut the other's.
    #[test]
    fn a_shared_scale_learns_and_stays_shared() {
        let data = glyphs::generate(1, 96);
        let mut graph = branches([Op::Relu, Op::Relu], &[]);
        let shortcut = Op::Shortcut { stride: [1, 1], before: 0, after: 1 };
        for (name, op, from) in [("p", pool(1), ONE), ("s", shortcut, OTHER)] {
            graph.nodes.insert(graph.nodes.len() - 2, Node { name: name.into(), op, inputs: vec![from] });
        }
        graph.nodes[6].inputs = vec![Source::Node(4), ONE, Source::Node(5)];
        graph.nodes[7].inputs = vec![Source::Node(6)];
        let weight = |shape: Vec<usize>| {
            let count: usize = shape.iter().product();
            Tensor { shape, data: (0..count).map(|at| ((at * 37 % 101) as f32 - 50.0) / 150.0).collect() }
        };
        let shapes = graph.shapes().unwrap();
        let features = shapes[6].iter().product();
        let parameters = [("a", vec![3, 1, 3, 3]), ("b", vec![5, 1, 3, 3]), ("fc", vec![10, features])];
        let parameters = parameters.map(|(name, shape)| (format!("{name}.weight"), weight(shape)));
        let network = Network { graph, parameters: parameters.into() };
        let tuned = |epochs: f64| {
            let recipe = Recipe { calibration_images: 64, ..Recipe::learned(epochs, 1) };
            let plan = "4:3,4:2,4".parse().unwrap();
            quantize(&network, &plan, &data, &recipe, None, &mut |_| ControlFlow::Continue(())).unwrap()
        };
        let (still, learned) = (tuned(0.0), tuned(1.0));
        assert_eq!(learned.activations[&ONE], learned.activations[&OTHER]);
        assert_eq!(learned.activations[&ONE].bits.get(), 3, "the most of both");
        assert_ne!(still.activations[&ONE].scale, learned.activations[&ONE].scale);
        let lowered = lower(&learned).unwrap();
        let answers = native::answers(&Image::open(&lowered.image).unwrap(), &data).unwrap();
        assert_eq!(answers, IntegerModel::new(&lowered.integers).answers(&data).unwrap());
    }

    /// The input itself among what is joined: its codes then cover what the others hold, too.
    #[test]
    fn the_input_may_be_joined() {
        let data = glyphs::generate(1, 32);
        let mut graph = branches([pool(1), pool(1)], &[Source::Input]);
        let conv = |out| Op::Conv { out, window: Window::square(3, 1, 1), groups: 1, bias: false };
        (graph.nodes[0].op, graph.nodes[2].op) = (conv(3), conv(5));
        let weight = |shape: Vec<usize>| {
            let count: usize = shape.iter().product();
            Tensor { shape, data: (0..count).map(|at| ((at * 37 % 101) as f32 - 50.0) / 20.0).collect() }
        };
        let parameters = [("a", vec![3, 1, 3, 3]), ("b", vec![5, 1, 3, 3]), ("fc", vec![10, 9 * 784])];
        let parameters = parameters.map(|(name, shape)| (format!("{name}.weight"), weight(shape)));
        let network = Network { graph, parameters: parameters.into() };
        let recipe = Recipe { calibration_images: 32, ..Recipe::learned(0.0, 1) };
        let plan = "4:4,8,4".parse().unwrap();
        let quantized = quantize(&network, &plan, &data, &recipe, None, &mut |_| ControlFlow::Continue(())).unwrap();
        let input = quantized.activations[&Source::Input];
        assert_eq!(input, quantized.activations[&Source::Node(0)]);
        assert!(input.real(0) < -1.0 && input.real(255) > 1.0, "{input:?}");
        let lowered = lower(&quantized).unwrap();
        let answers = native::answers(&Image::open(&lowered.image).unwrap(), &data).unwrap();
        assert_eq!(answers, IntegerModel::new(&lowered.integers).answers(&data).unwrap());
    }
}
