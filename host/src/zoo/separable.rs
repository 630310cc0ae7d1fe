//! Networks of depthwise-separable convolutions: MobileNet-V1 and the keyword spotter DS-CNN.

use super::layers::Layers;
use crate::network::{Op, Window};

/// Output channels and stride of MobileNet-V1's pairs, at width 1.
const PAIRS: [(usize, usize); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];

/// MobileNet-V1 (arXiv 1704.04861) for 32×32 images: its stem keeps their size. Every layer has `width` times the
/// channels, at least 8.
pub(super) fn mobilenet_v1(width: f64, classes: usize) -> Layers {
    let scaled = |channels: usize| ((channels as f64 * width).round() as usize).max(8);
    let mut layers = Layers::new();
    layers.conv("conv1", scaled(32), Window::square(3, 1, 1), false);
    layers.batch_norm("bn1");
    layers.relu("relu1");
    let mut channels = scaled(32);
    for (index, (out, stride)) in PAIRS.into_iter().enumerate() {
        pair(&mut layers, index + 1, channels, stride, scaled(out));
        channels = scaled(out);
    }
    layers.push("pool", Op::GlobalAvgPool);
    layers.push("flatten", Op::Flatten);
    layers.dense("fc", classes);
    layers
}

/// The keyword spotter of MLPerf Tiny (Zhang et al., arXiv 1711.07128) for 49 frames of 10 coefficients: a 10×4 stem
/// with stride 2 and four pairs of 64 channels. Its dropouts do nothing at inference and are left out.
pub(super) fn ds_cnn(classes: usize) -> Layers {
    let mut layers = Layers::new();
    let stem = Window { kernel: [10, 4], stride: [2, 2], padding: [4, 1, 5, 1] };
    layers.conv("conv1", 64, stem, false);
    layers.batch_norm("bn1");
    layers.relu("relu1");
    (1..=4).for_each(|number| pair(&mut layers, number, 64, 1, 64));
    layers.push("pool", Op::GlobalAvgPool);
    layers.push("flatten", Op::Flatten);
    layers.dense("fc", classes);
    layers
}

/// One kernel per channel, then a 1×1 convolution; batch norm and ReLU after each.
fn pair(layers: &mut Layers, number: usize, channels: usize, stride: usize, out: usize) {
    layers.depthwise(format!("dw{number}"), channels, Window::square(3, stride, 1));
    layers.batch_norm(format!("dw{number}.bn"));
    layers.relu(format!("dw{number}.relu"));
    layers.conv(format!("pw{number}"), out, Window::square(1, 1, 0), false);
    layers.batch_norm(format!("pw{number}.bn"));
    layers.relu(format!("pw{number}.relu"));
}
