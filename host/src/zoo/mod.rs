//! Networks releq can train from nothing, with their starting weights.

use rand::RngExt;
use releq_search::seed;

use crate::network::{Graph, InputSpec, Network, Node, Op, Source, Tensor, Window};

/// Names that [`build`] takes.
pub const NAMES: [&str; 2] = ["lenet", "simplenet"];

/// An untrained network for images of `shape` (channels, height, width), or `None` for an unknown name.
///
/// * `lenet`: 20 and 50 filters 5×5, dense 500 and `classes` (Caffe's LeNet, the paper's MNIST network);
/// * `simplenet`: 6 and 16 filters 5×5, dense 120, 84 and `classes` (PyTorch's tutorial network, the paper's CIFAR-10
///   network).
///
/// Weights are uniform in ±√(6 / fan-in) (He et al., arXiv 1502.01852), biases zero.
pub fn build(name: &str, shape: [usize; 3], classes: usize, seed: u64) -> Option<Network> {
    let (convolutions, dense): (&[usize], Vec<usize>) = match name {
        "lenet" => (&[20, 50], vec![500, classes]),
        "simplenet" => (&[6, 16], vec![120, 84, classes]),
        _ => return None,
    };
    let mut nodes = Vec::new();
    let mut push = |name: String, op: Op| {
        let inputs = vec![nodes.len().checked_sub(1).map_or(Source::Input, Source::Node)];
        nodes.push(Node { name, op, inputs });
    };
    for (index, &out) in convolutions.iter().enumerate() {
        let number = index + 1;
        push(format!("conv{number}"), Op::Conv { out, window: Window::square(5, 1, 0), groups: 1, bias: true });
        push(format!("relu{number}"), Op::Relu);
        push(format!("pool{number}"), Op::MaxPool { window: Window::square(2, 2, 0) });
    }
    push("flatten".into(), Op::Flatten);
    for (index, &out) in dense.iter().enumerate() {
        push(format!("fc{}", index + 1), Op::Dense { out, bias: true });
        if index + 1 < dense.len() {
            push(format!("relu{}", convolutions.len() + index + 1), Op::Relu);
        }
    }
    let graph = Graph { name: name.to_owned(), input: InputSpec::unit(shape), nodes, held_out: 0 };
    let parameters = initial(&graph, seed)?;
    Some(Network { graph, parameters })
}

/// Starting parameters; `None` if the images are too small for the graph.
fn initial(graph: &Graph, seed: u64) -> Option<std::collections::BTreeMap<String, Tensor>> {
    let shapes = graph.shapes().ok()?;
    let mut rng = seed::stream(seed, "initial weights");
    let mut parameters = std::collections::BTreeMap::new();
    for node in &graph.nodes {
        let [channels, height, width] = graph.shape_of(node.inputs[0], &shapes);
        let shape = match &node.op {
            Op::Conv { out, window, groups, .. } => vec![*out, channels / groups, window.kernel[0], window.kernel[1]],
            Op::Dense { out, .. } => vec![*out, channels * height * width],
            _ => continue,
        };
        let reach = (6.0 / shape[1..].iter().product::<usize>() as f32).sqrt();
        let data = (0..shape.iter().product()).map(|_| rng.random_range(-reach..reach)).collect();
        let bias = Tensor { shape: vec![shape[0]], data: vec![0.0; shape[0]] };
        parameters.insert(format!("{}.bias", node.name), bias);
        parameters.insert(format!("{}.weight", node.name), Tensor { shape, data });
    }
    Some(parameters)
}
