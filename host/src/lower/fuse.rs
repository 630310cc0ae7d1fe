//! Fusing a float graph into the blocks an image has layers for: a weighted node, pool or add with its ReLU.

use crate::network::{Graph, Node, Op, Source};

use super::{LowerError, sharing};

/// One layer of the image to be: a node, and the ReLU that disappears into its rounding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Index of the node that computes.
    pub node: usize,
    /// Whether negative values become zero.
    pub relu: bool,
    /// What it reads, flattening looked through.
    pub inputs: Vec<Source>,
    /// The source that holds its result: the node, or its ReLU.
    pub output: Source,
}

/// The blocks of `graph` in execution order. The last one gives the logits.
///
/// # Errors
/// A batch normalisation that was not folded, a ReLU that belongs to no block, joined values that no quantizer suits,
/// or a graph without layers.
pub fn blocks(graph: &Graph) -> Result<Vec<Block>, LowerError> {
    let mut blocks: Vec<Block> = Vec::new();
    // Where each node's value is to be found: its block's output, or what flattening passed through.
    let mut holds: Vec<Source> = Vec::with_capacity(graph.nodes.len());
    for (index, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<Source> = node.inputs.iter().map(|&source| resolve(source, &holds)).collect();
        let own = Source::Node(index);
        let held = match &node.op {
            Op::BatchNorm { .. } => return Err(LowerError::Unfolded { layer: node.name.clone() }),
            Op::Flatten => inputs[0],
            Op::Relu | Op::ClippedRelu { .. } => {
                let lone = || LowerError::LoneRelu { layer: node.name.clone() };
                let block = blocks.iter_mut().find(|block| block.output == inputs[0]).ok_or_else(lone)?;
                let takes_relu = !graph.nodes[block.node].op.keeps_codes();
                if !takes_relu || readers(graph, inputs[0]) != 1 {
                    return Err(lone());
                }
                block.relu = true;
                block.output = own;
                own
            }
            _ => {
                blocks.push(Block { node: index, relu: false, inputs, output: own });
                own
            }
        };
        holds.push(held);
    }
    sharing::check(graph, &blocks)?;
    if blocks.is_empty() { Err(LowerError::Empty) } else { Ok(blocks) }
}

/// What holds the value of `source`, flattening looked through.
fn resolve(source: Source, holds: &[Source]) -> Source {
    match source {
        Source::Input => Source::Input,
        Source::Node(index) => holds[index],
    }
}

/// How many nodes read `source` directly.
fn readers(graph: &Graph, source: Source) -> usize {
    graph.nodes.iter().flat_map(|node| &node.inputs).filter(|&&input| input == source).count()
}

/// Moves each ReLU that follows a max pool or a concatenation before it: the same function, and then it fuses.
///
/// Parameters are untouched, since none of these nodes has any.
pub fn hoist_relu(graph: &mut Graph) {
    while let Some(relu) = (0..graph.nodes.len()).find(|&index| rectifies_joined(graph, index)) {
        spread_relu(graph, relu);
    }
    for index in 0..graph.nodes.len() {
        if !graph.nodes[index].op.rectifies() {
            continue;
        }
        let [Source::Node(pool)] = graph.nodes[index].inputs[..] else { continue };
        let pooled = matches!(graph.nodes[pool].op, Op::MaxPool { .. });
        if pooled && pool + 1 == index && readers(graph, Source::Node(pool)) == 1 {
            // The two nodes trade places: the ReLU takes the pool's input, the pool reads the ReLU.
            graph.nodes.swap(pool, index);
            let before = std::mem::replace(&mut graph.nodes[index].inputs, vec![Source::Node(pool)]);
            graph.nodes[pool].inputs = before;
        }
    }
}

/// Whether node `index` is a ReLU and the only reader of a concatenation right before it.
fn rectifies_joined(graph: &Graph, index: usize) -> bool {
    let node = &graph.nodes[index];
    let [Source::Node(from)] = node.inputs[..] else { return false };
    let joins = matches!(graph.nodes[from].op, Op::Concat);
    node.op.rectifies() && joins && from + 1 == index && readers(graph, Source::Node(from)) == 1
}

/// Gives each input of the concatenation before node `relu` a ReLU of its own, in the place of that one.
fn spread_relu(graph: &mut Graph, relu: usize) {
    let joined = relu - 1;
    let Node { name, op, .. } = graph.nodes.remove(relu);
    let inputs = graph.nodes[joined].inputs.clone();
    let added = inputs.len();
    let rectified = inputs.iter().enumerate().map(|(at, &input)| {
        let name = if at == 0 { name.clone() } else { format!("{name}.{at}") };
        Node { name, op: op.clone(), inputs: vec![input] }
    });
    // The concatenation moves behind its new inputs, and keeps its readers, who read the ReLU before.
    let moved = |source: Source| match source {
        Source::Node(index) if index > joined => Source::Node(index + added - 1),
        other => other,
    };
    for node in &mut graph.nodes[joined + 1..] {
        node.inputs.iter_mut().for_each(|source| *source = moved(*source));
    }
    graph.nodes[joined].inputs = (joined..joined + added).map(Source::Node).collect();
    let rectified: Vec<Node> = rectified.collect();
    graph.nodes.splice(joined..joined, rectified);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{InputSpec, Node, Window};

    fn chain(ops: &[Op]) -> Graph {
        let source = |index: usize| if index == 0 { Source::Input } else { Source::Node(index - 1) };
        let node =
            |(index, op): (usize, &Op)| Node { name: format!("n{index}"), op: op.clone(), inputs: vec![source(index)] };
        Graph {
            name: "chain".into(),
            input: InputSpec::unit([1, 8, 8]),
            nodes: ops.iter().enumerate().map(node).collect(),
            held_out: 0,
        }
    }

    fn conv() -> Op {
        Op::Conv { out: 2, window: Window::square(3, 1, 1), groups: 1, bias: true }
    }

    #[test]
    fn relu_and_flatten_disappear() {
        let graph = chain(&[conv(), Op::Relu, Op::Flatten, Op::Dense { out: 3, bias: true }]);
        let blocks = blocks(&graph).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0], Block { node: 0, relu: true, inputs: vec![Source::Input], output: Source::Node(1) });
        assert_eq!(blocks[1].inputs, [Source::Node(1)]);
    }

    #[test]
    fn relu_after_a_concatenation_moves_to_each_branch() {
        let mut graph = chain(&[conv(), conv(), Op::Concat, Op::Relu, Op::Dense { out: 3, bias: true }, Op::Relu]);
        graph.nodes[1].inputs = vec![Source::Input];
        graph.nodes[2].inputs = vec![Source::Node(0), Source::Node(1)];
        hoist_relu(&mut graph);
        let ops: Vec<&Op> = graph.nodes.iter().map(|node| &node.op).collect();
        assert_eq!(ops[2..5], [&Op::Relu, &Op::Relu, &Op::Concat]);
        let names: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["n0", "n1", "n3", "n3.1", "n2", "n4", "n5"]);
        let inputs: Vec<&[Source]> = graph.nodes.iter().map(|node| &node.inputs[..]).collect();
        let node = Source::Node;
        assert_eq!(inputs[2..], [&[node(0)][..], &[node(1)], &[node(2), node(3)], &[node(4)], &[node(5)]]);
        assert!(graph.shapes().is_ok());
        assert_eq!(blocks(&graph).unwrap().len(), 4);
    }

    #[test]
    fn relu_after_a_pool_moves_before_it() {
        let pool = Op::MaxPool { window: Window::square(2, 2, 0) };
        let mut graph = chain(&[conv(), pool.clone(), Op::Relu, Op::Dense { out: 3, bias: true }]);
        assert!(matches!(blocks(&graph), Err(LowerError::LoneRelu { .. })));
        hoist_relu(&mut graph);
        assert_eq!(graph.nodes.iter().map(|node| &node.op).collect::<Vec<_>>()[1..3], [&Op::Relu, &pool]);
        assert_eq!(graph.nodes[2].inputs, [Source::Node(1)]);
        assert_eq!(blocks(&graph).unwrap().len(), 3);
        assert!(graph.shapes().is_ok());
    }
}
