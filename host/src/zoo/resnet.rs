//! Residual networks for 32×32 images.

use super::layers::Layers;
use crate::network::{Op, Window};

/// What bridges a block that shrinks the image.
#[derive(Clone, Copy)]
pub(super) enum Bridge {
    /// Every second pixel and channels of zeros (option A of He et al., arXiv 1512.03385).
    Padding,
    /// A 1×1 convolution with stride, as in MLPerf Tiny's ResNet-8.
    Projection,
}

/// A stem of 16 channels and three stages of 16, 32 and 64, `blocks` blocks each.
pub(super) fn resnet(blocks: usize, bridge: Bridge, classes: usize) -> Layers {
    let mut layers = Layers::new();
    layers.conv("conv1", 16, Window::square(3, 1, 1), false);
    layers.batch_norm("bn1");
    layers.relu("relu1");
    for (stage, out) in [16, 32, 64].into_iter().enumerate() {
        for index in 0..blocks {
            let shrinks = stage > 0 && index == 0;
            block(&mut layers, &format!("layer{}.{index}", stage + 1), out, shrinks.then_some(bridge));
        }
    }
    layers.push("pool", Op::GlobalAvgPool);
    layers.push("flatten", Op::Flatten);
    layers.dense("linear", classes);
    layers
}

fn block(layers: &mut Layers, name: &str, out: usize, bridge: Option<Bridge>) {
    let start = layers.end();
    let stride = if bridge.is_some() { 2 } else { 1 };
    layers.conv(format!("{name}.conv1"), out, Window::square(3, stride, 1), false);
    layers.batch_norm(format!("{name}.bn1"));
    layers.relu(format!("{name}.relu1"));
    layers.conv(format!("{name}.conv2"), out, Window::square(3, 1, 1), false);
    layers.batch_norm(format!("{name}.bn2"));
    let end = layers.end();
    layers.back_to(start);
    let shortcut = format!("{name}.shortcut");
    match bridge {
        None => {}
        Some(Bridge::Padding) => {
            layers.push(shortcut, Op::Shortcut { stride: [2, 2], before: out / 4, after: out / 4 });
        }
        Some(Bridge::Projection) => layers.conv(shortcut, out, Window::square(1, 2, 0), true),
    }
    let shortcut = layers.end();
    layers.back_to(end);
    layers.add(format!("{name}.add"), shortcut);
    layers.relu(format!("{name}.relu2"));
}
