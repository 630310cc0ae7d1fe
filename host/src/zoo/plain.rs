//! Chains of convolutions and dense layers: LeNet, SimpleNet, AlexNet, the SVHN network, VGG, the autoencoder.

use super::layers::Layers;
use crate::network::{Op, Window};

/// Convolutions 5×5 with ReLU and pooling each, then dense layers: Caffe's LeNet, PyTorch's tutorial network.
pub(super) fn five_by_five(convolutions: &[usize], dense: &[usize]) -> Layers {
    let mut layers = Layers::new();
    for (index, &out) in convolutions.iter().enumerate() {
        let number = index + 1;
        layers.conv(format!("conv{number}"), out, Window::square(5, 1, 0), true);
        layers.relu(format!("relu{number}"));
        layers.halve(format!("pool{number}"));
    }
    layers.push("flatten", Op::Flatten);
    for (index, &out) in dense.iter().enumerate() {
        layers.dense(format!("fc{}", index + 1), out);
        if index + 1 < dense.len() {
            layers.relu(format!("relu{}", convolutions.len() + index + 1));
        }
    }
    layers
}

/// torchvision's AlexNet with the first kernel 3×3 at stride 2 and pools of 2×2, as it is used on 32×32 images; its
/// modules' names.
pub(super) fn alexnet(classes: usize) -> Layers {
    let mut layers = Layers::new();
    let plan = [(64, 2, true), (192, 1, true), (384, 1, false), (256, 1, false), (256, 1, true)];
    let mut module = 0;
    for (out, stride, pooled) in plan {
        layers.conv(format!("features.{module}"), out, Window::square(3, stride, 1), true);
        layers.relu(format!("features.{}", module + 1));
        module += 2;
        if pooled {
            layers.halve(format!("features.{module}"));
            module += 1;
        }
    }
    layers.push("flatten", Op::Flatten);
    // Modules 0 and 3 of the classifier are dropouts.
    for module in [1, 4] {
        layers.dense(format!("classifier.{module}"), 4096);
        layers.relu(format!("classifier.{}", module + 1));
    }
    layers.dense("classifier.6", classes);
    layers
}

/// Eight convolutions 3×3 in four pairs with a pool after each, and two dense layers.
pub(super) fn svhn10(classes: usize) -> Layers {
    let mut layers = Layers::new();
    for (pair, out) in [32, 64, 128, 256].into_iter().enumerate() {
        for number in [2 * pair + 1, 2 * pair + 2] {
            layers.conv(format!("conv{number}"), out, Window::square(3, 1, 1), true);
            layers.relu(format!("relu{number}"));
        }
        layers.halve(format!("pool{}", pair + 1));
    }
    layers.push("flatten", Op::Flatten);
    layers.dense("fc1", 256);
    layers.relu("relu9");
    layers.dense("fc2", classes);
    layers
}

/// VGG with batch norm and one dense layer, as it is used on 32×32 images; `stages` are the outputs between pools.
pub(super) fn vgg(stages: &[&[usize]], classes: usize) -> Layers {
    let mut layers = Layers::new();
    let mut module = 0;
    for stage in stages {
        for &out in *stage {
            layers.conv(format!("features.{module}"), out, Window::square(3, 1, 1), true);
            layers.batch_norm(format!("features.{}", module + 1));
            layers.relu(format!("features.{}", module + 2));
            module += 3;
        }
        layers.halve(format!("features.{module}"));
        module += 1;
    }
    layers.push("flatten", Op::Flatten);
    layers.dense("classifier", classes);
    layers
}

/// Configuration A of Simonyan and Zisserman (arXiv 1409.1556).
pub(super) const VGG11: [&[usize]; 5] = [&[64], &[128], &[256, 256], &[512, 512], &[512, 512]];
/// Configuration D.
pub(super) const VGG16: [&[usize]; 5] = [&[64, 64], &[128, 128], &[256; 3], &[512; 3], &[512; 3]];

/// The anomaly detector of MLPerf Tiny: `features` → 128 ×4 → 8 → 128 ×4 → `features`, batch norm and ReLU between.
pub(super) fn autoencoder(features: usize) -> Layers {
    let mut layers = Layers::new();
    for (index, out) in [128, 128, 128, 128, 8, 128, 128, 128, 128].into_iter().enumerate() {
        let number = index + 1;
        layers.dense(format!("fc{number}"), out);
        layers.batch_norm(format!("bn{number}"));
        layers.relu(format!("relu{number}"));
    }
    layers.dense("fc10", features);
    layers
}
