//! The networks of the table, where their float weights come from, and how each is searched.

use super::published::{self, Published};

/// One network of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// Its name in the zoo.
    pub network: &'static str,
    /// Its dataset.
    pub data: &'static str,
    /// How it differs from the paper's, if it does.
    pub differs: Option<&'static str>,
    /// Where its float weights come from.
    pub source: Source,
    /// How it is searched.
    pub search: Search,
    /// What the paper reports.
    pub published: Published,
}

/// Where float weights come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    /// A file below `models/` of the data, trained with pixels normalised by these means and deviations.
    Imported {
        /// Its name.
        file: &'static str,
        /// `--mean` and `--std`, where the file does not say them.
        normalised: Option<[&'static str; 2]>,
    },
    /// Trained here.
    Trained {
        /// Passes over the training images.
        epochs: &'static str,
    },
}

/// Options of `releq search`, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// `--weights`.
    pub weights: &'static str,
    /// `--max-loss`, points.
    pub max_loss: &'static str,
    /// `--episodes`.
    pub episodes: &'static str,
    /// `--short`, images.
    pub short: &'static str,
    /// `--long`, images.
    pub long: &'static str,
    /// `--epochs` of the chosen plan's fine-tune.
    pub epochs: &'static str,
}

impl Search {
    const fn of(weights: &'static str, episodes: &'static str, short: &'static str, epochs: &'static str) -> Self {
        Self { weights, max_loss: "0.3", episodes, short, long: "16000", epochs }
    }
}

const CIFAR: [&str; 2] = [".4914,.4822,.4465", ".2470,.2435,.2616"];
const IMAGENET: [&str; 2] = [".485,.456,.406", ".229,.224,.225"];

/// The table. The deep networks take hours each on two cores, hence in this order.
pub const ENTRIES: [Entry; 7] = [
    Entry {
        network: "lenet",
        data: "mnist",
        differs: None,
        source: Source::Imported { file: "lenet-mnist.onnx", normalised: None },
        search: Search::of("1..8", "32", "3000", "1"),
        published: published::LENET,
    },
    Entry {
        network: "simplenet",
        data: "cifar10",
        differs: None,
        source: Source::Imported { file: "simplenet-cifar10.onnx", normalised: Some(CIFAR) },
        search: Search::of("2..8", "32", "3000", "5"),
        published: published::SIMPLENET,
    },
    Entry {
        network: "resnet20",
        data: "cifar10",
        differs: Some("20 tensors, shortcuts without weights"),
        source: Source::Imported { file: "resnet20-cifar10.safetensors", normalised: Some(IMAGENET) },
        search: Search::of("2..8", "100", "3000", "2"),
        published: published::RESNET20,
    },
    Entry {
        network: "mobilenetv1-0.5",
        data: "cifar10",
        differs: Some("width 0.5 on CIFAR-10, the paper's on ImageNet"),
        source: Source::Imported { file: "mobilenetv1-w0.5-cifar10.safetensors", normalised: Some(CIFAR) },
        search: Search::of("2..8", "100", "3000", "2"),
        published: published::MOBILENET,
    },
    Entry {
        network: "svhn10",
        data: "cifar10",
        differs: Some("CIFAR-10, the paper's on SVHN"),
        source: Source::Trained { epochs: "20" },
        search: Search::of("2..8", "64", "3000", "2"),
        published: published::SVHN,
    },
    Entry {
        network: "vgg11",
        data: "cifar10",
        differs: None,
        source: Source::Trained { epochs: "20" },
        search: Search::of("2..8", "64", "3000", "2"),
        published: published::VGG11,
    },
    Entry {
        network: "alexnet",
        data: "cifar10",
        differs: Some("CIFAR-10, the paper's on ImageNet"),
        source: Source::Trained { epochs: "20" },
        search: Search::of("2..8", "64", "3000", "2"),
        published: published::ALEXNET,
    },
];

/// One row in minutes, to see that the whole way works: LeNet, hardly trained and hardly searched. Its accuracy means
/// little.
pub const QUICK: [Entry; 1] = [Entry {
    source: Source::Trained { epochs: "0.25" },
    search: Search { weights: "1..8", max_loss: "2", episodes: "8", short: "512", long: "2000", epochs: "0.1" },
    ..ENTRIES[0]
}];
