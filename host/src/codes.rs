//! Whose activation width each value of a graph has: what a plan says of layers, followed along their edges.

use std::collections::BTreeMap;

use releq_search::network::Codes;

use crate::lower::LowerError;
use crate::lower::fuse::{self, Block};
use crate::lower::sharing::shared;
use crate::network::{Graph, Op, Source};
use crate::train::fold::{FoldError, fold};

/// Why a graph's values have no widths.
#[derive(Debug, thiserror::Error)]
pub enum CodesError {
    /// Batch normalisation cannot be folded.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The graph cannot become an image.
    #[error(transparent)]
    Lower(#[from] LowerError),
}

/// The codes of the input and of each block's output: a weighted layer hands on its own, anything else has the widest of
/// those it reads, and what a concatenation joins the widest of all that it joins.
///
/// A layer that hands on to one addition alone hands it 8 bits, and the sum has the layer's own: what the layers behind
/// read is then rounded once, and no narrower stream keeps it narrow, nor a wider one wide.
pub fn of(graph: &Graph, blocks: &[Block]) -> BTreeMap<Source, Codes> {
    let shared = shared(graph, blocks);
    let mut joined: BTreeMap<Source, Codes> = BTreeMap::new();
    loop {
        let codes = along(graph, blocks, &joined);
        // Wider codes of one may make those of a later group wider.
        let before = joined.clone();
        for (source, first) in &shared {
            let group = shared.iter().filter(|&(_, other)| other == first).filter_map(|(member, _)| codes.get(member));
            joined.insert(*source, group.cloned().reduce(|one, other| one.or(&other)).unwrap_or(Codes::EIGHT));
        }
        if joined == before {
            return codes;
        }
    }
}

/// The codes along the edges, those of some sources no narrower than `least`.
fn along(graph: &Graph, blocks: &[Block], least: &BTreeMap<Source, Codes>) -> BTreeMap<Source, Codes> {
    let mut codes = BTreeMap::from([(Source::Input, Codes::EIGHT)]);
    // What sums have of the layers that they alone read.
    let mut rounded_later: BTreeMap<Source, Codes> = BTreeMap::new();
    let mut planned = (0..).map(Codes::of);
    for block in blocks {
        let widest = |of: &BTreeMap<Source, Codes>| {
            let reads = block.inputs.iter().filter_map(|source| of.get(source).cloned());
            reads.reduce(|one, other| one.or(&other))
        };
        let mut own = widest(&rounded_later).or_else(|| widest(&codes)).unwrap_or(Codes::EIGHT);
        if is_weighted(graph, block) {
            own = planned.next().unwrap_or_default();
            if is_summand(graph, blocks, block) {
                rounded_later.insert(block.output, std::mem::replace(&mut own, Codes::EIGHT));
            }
        }
        codes.insert(block.output, least.get(&block.output).map_or(own.clone(), |least| own.or(least)));
    }
    codes
}

/// Whether nothing but one addition reads `block`.
fn is_summand(graph: &Graph, blocks: &[Block], block: &Block) -> bool {
    let readers: Vec<&Block> = blocks.iter().filter(|reader| reader.inputs.contains(&block.output)).collect();
    matches!(readers[..], [reader] if matches!(graph.nodes[reader.node].op, Op::Add))
}

/// Whether a plan has a layer for it.
pub fn is_weighted(graph: &Graph, block: &Block) -> bool {
    matches!(graph.nodes[block.node].op, Op::Conv { .. } | Op::Dense { .. })
}

/// What each weighted layer of a network reads, and those of them, counted from 0, whose codes are read by anything.
///
/// # Errors
/// [`CodesError`].
pub fn read(network: &crate::network::Network) -> Result<(Vec<Codes>, Vec<usize>), CodesError> {
    let mut graph = fold(network)?.graph;
    fuse::hoist_relu(&mut graph);
    let blocks = fuse::blocks(&graph)?;
    let codes = of(&graph, &blocks);
    let at = |source: &Source| codes.get(source).cloned().unwrap_or_default();
    let weighted = blocks.iter().filter(|block| is_weighted(&graph, block));
    let reads = weighted.map(|block| at(&block.inputs[0])).collect();
    let mut read: Vec<usize> =
        blocks.iter().flat_map(|block| &block.inputs).flat_map(|source| at(source).layers().to_vec()).collect();
    read.sort_unstable();
    read.dedup();
    Ok((reads, read))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo;

    #[test]
    fn a_chain_reads_the_layer_before() {
        let lenet = zoo::build("lenet", [1, 28, 28], 10, 1).unwrap();
        let (reads, read) = read(&lenet).unwrap();
        assert_eq!(reads, [Codes::EIGHT, Codes::of(0), Codes::of(1), Codes::of(2)]);
        // The last layer's sums are read by nobody.
        assert_eq!(read, [0, 1, 2]);
    }

    #[test]
    fn a_sum_has_the_codes_of_the_layer_that_hands_on_to_it_alone() {
        let resnet = zoo::build("resnet20", [3, 32, 32], 10, 1).unwrap();
        let (reads, read) = read(&resnet).unwrap();
        assert_eq!((reads.len(), read.len()), (20, 19));
        // A block's first layer reads the sum before, its second the first.
        assert_eq!(reads[1..5], [0, 1, 2, 3].map(Codes::of));
        let mut graph = fold(&resnet).unwrap().graph;
        fuse::hoist_relu(&mut graph);
        let blocks = fuse::blocks(&graph).unwrap();
        let codes = of(&graph, &blocks);
        let at = |name: &str| {
            let block = blocks.iter().find(|block| graph.nodes[block.node].name == name).unwrap();
            codes[&block.output].clone()
        };
        assert_eq!(
            [at("layer1.0.conv1"), at("layer1.0.conv2"), at("layer1.0.add")],
            [Codes::of(1), Codes::EIGHT, Codes::of(2)]
        );
        // Shortcuts without parameters hand codes on, and the stem is read by more than a sum.
        assert_eq!([at("layer2.0.shortcut"), at("layer2.0.add"), at("conv1")], [6, 8, 0].map(Codes::of));
    }
}
