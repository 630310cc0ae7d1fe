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
