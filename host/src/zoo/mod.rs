//! Networks that releq knows by name: to train from nothing, or to fill with another tool's weights.

mod layers;
mod plain;
mod resnet;
mod separable;

use std::collections::BTreeMap;

use rand::RngExt;
use releq_search::seed;

use crate::network::{Graph, Network, Op, Tensor};
use layers::Layers;
use resnet::Bridge;

/// Names that [`graph`] and [`build`] take; `mobilenetv1` may have a width after a dash, as in `mobilenetv1-0.25`.
pub const NAMES: [&str; 11] = [
    "lenet",
    "simplenet",
    "alexnet",
    "svhn10",
    "vgg11",
    "vgg16",
    "resnet8",
    "resnet20",
    "mobilenetv1",
    "dscnn",
    "autoencoder",
];

/// Whether `name` is one that [`graph`] takes.
pub fn is_known(name: &str) -> bool {
    layers(name, [1, 1, 1], 1).is_some()
}

/// Channels, height and width of the images a network is usually given; `None` for an unknown name.
pub fn usual_input(name: &str) -> Option<[usize; 3]> {
    is_known(name).then_some(match name {
        "lenet" => [1, 28, 28],
        "dscnn" => [1, 49, 10],
        "autoencoder" => [1, 1, 640],
        _ => [3, 32, 32],
    })
}

/// The layers of a network for images of `shape` (channels, height, width), without parameters, or `None` for an
/// unknown name.
///
/// * `lenet`: 20 and 50 filters 5×5, dense 500 and `classes` (Caffe's LeNet, the paper's MNIST network);
/// * `simplenet`: 6 and 16 filters 5×5, dense 120, 84 and `classes` (PyTorch's tutorial network, the paper's CIFAR-10
///   network);
/// * `alexnet`, `svhn10`, `vgg11`, `vgg16`: in their forms for 32×32 images, not ImageNet's;
/// * `resnet8` (MLPerf Tiny's, with projections), `resnet20` (option A shortcuts): for CIFAR-10;
/// * `mobilenetv1[-WIDTH]`: with a stem of stride 1, for 32×32 images;
/// * `dscnn`, `autoencoder`: MLPerf Tiny's keyword spotter and anomaly detector, the latter without classes.
///
/// Layers are named as PyTorch models usually name their modules.
pub fn graph(name: &str, shape: [usize; 3], classes: usize) -> Option<Graph> {
    layers(name, shape, classes).map(|layers| layers.graph(name, shape))
}

fn layers(name: &str, shape: [usize; 3], classes: usize) -> Option<Layers> {
    Some(match name {
        "lenet" => plain::five_by_five(&[20, 50], &[500, classes]),
        "simplenet" => plain::five_by_five(&[6, 16], &[120, 84, classes]),
        "alexnet" => plain::alexnet(classes),
        "svhn10" => plain::svhn10(classes),
        "vgg11" => plain::vgg(&plain::VGG11, classes),
        "vgg16" => plain::vgg(&plain::VGG16, classes),
        "resnet8" => resnet::resnet(1, Bridge::Projection, classes),
        "resnet20" => resnet::resnet(3, Bridge::Padding, classes),
        "dscnn" => separable::ds_cnn(classes),
        "autoencoder" => plain::autoencoder(shape.iter().product()),
        _ => separable::mobilenet_v1(mobilenet_width(name)?, classes),
    })
}

/// The width in `mobilenetv1` or `mobilenetv1-WIDTH`, in (0, 4].
fn mobilenet_width(name: &str) -> Option<f64> {
    let width = match name.strip_prefix("mobilenetv1")? {
        "" => 1.0,
        rest => rest.strip_prefix('-')?.parse().ok()?,
    };
    (width > 0.0 && width <= 4.0).then_some(width)
}

/// An untrained network, or `None` for an unknown name or images too small for it.
///
/// Weights are uniform in ±√(6 / fan-in) (He et al., arXiv 1502.01852), biases zero, batch norms the identity.
pub fn build(name: &str, shape: [usize; 3], classes: usize, seed: u64) -> Option<Network> {
    let graph = graph(name, shape, classes)?;
    let parameters = initial(&graph, seed)?;
    Some(Network { graph, parameters })
}

/// Starting parameters; `None` if the images are too small for the graph.
fn initial(graph: &Graph, seed: u64) -> Option<BTreeMap<String, Tensor>> {
    let shapes = graph.shapes().ok()?;
    let mut rng = seed::stream(seed, "initial weights");
    let mut parameters = BTreeMap::new();
    for node in &graph.nodes {
        let weighted = matches!(node.op, Op::Conv { .. } | Op::Dense { .. });
        for (part, shape) in node.op.parts(graph.shape_of(node.inputs[0], &shapes)) {
            let reach = (6.0 / shape[1..].iter().product::<usize>() as f32).sqrt();
            let mut value = || match part {
                "weight" if weighted => rng.random_range(-reach..reach),
                "weight" | "running_var" => 1.0,
                _ => 0.0,
            };
            let data = (0..shape.iter().product()).map(|_| value()).collect();
            parameters.insert(format!("{}.{part}", node.name), Tensor { shape, data });
        }
    }
    Some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::fuse;
    use crate::train::fold::fold;

    /// Weighted layers and parameters of each, counted by hand from its description.
    #[test]
    fn every_network_has_its_size_and_can_be_lowered() {
        for (name, classes, weighted, parameters) in [
            ("lenet", 10, 4, 431_080),
            ("simplenet", 10, 5, 62_006),
            ("alexnet", 10, 8, 23_272_266),
            ("svhn10", 10, 10, 1_437_226),
            ("vgg11", 10, 9, 9_231_114 + 2 * 2752),
            ("vgg16", 10, 14, 14_728_266 + 2 * 4224),
            ("resnet8", 10, 10, 77_946 + 2 * 240),
            ("resnet20", 10, 20, 269_722 + 2 * 688),
            ("mobilenetv1-0.5", 10, 28, 823_722 + 2 * 5_472),
            ("dscnn", 12, 10, 22_028 + 4 * 576),
            ("autoencoder", 0, 10, 267_928 + 2 * 1_032),
        ] {
            let network = build(name, usual_input(name).unwrap(), classes, 1).unwrap();
            let count: usize = network.parameters.values().map(|tensor| tensor.data.len()).sum();
            assert_eq!((network.graph.weighted().len(), count), (weighted, parameters), "{name}");
            assert!(fuse::blocks(&fold(&network).unwrap().graph).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_are_known_with_their_widths() {
        assert!(NAMES.iter().all(|name| is_known(name)));
        for unknown in ["resnet50", "mobilenetv1-", "mobilenetv1-0", "mobilenetv1-9", "mobilenetv10.5", ""] {
            assert!(!is_known(unknown), "{unknown}");
        }
    }
}
