//! Which images tune a plan, which choose it, and which judge it once.
//!
//! A float network has memorised what it was trained on (ResNet-20: 99.8 % of its training images right, 91.7 % of the
//! others), so a loss read off those means nothing. Networks that `releq train` made never saw the last training
//! images, and these validate. For any other network 2,000 of the test images do, the same for everybody, and the
//! headline is taken on the rest.

use rand::seq::SliceRandom;
use releq_search::seed;
use serde::Serialize;

use crate::data::Dataset;

/// Test images that validate where the training set cannot.
pub const BORROWED: usize = 2000;
/// Most training images that `releq train` keeps back for validation.
pub const HELD_OUT: usize = 5000;

/// How many of `images` training images to keep back: [`HELD_OUT`], or a tenth of a small set.
pub fn held_out(images: usize) -> usize {
    HELD_OUT.min(images / 10)
}

/// Where the validation images came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The last of the training set, which the network never saw.
    HeldOut,
    /// A frozen part of the test set; the headline is taken on the rest.
    TestPart,
    /// The user's own set.
    Own,
}

/// Disjoint images for tuning, choosing and judging.
#[derive(Clone, Debug)]
pub struct Split {
    /// Fine-tuning learns from these.
    pub tune: Dataset,
    /// Plans are compared on these.
    pub validation: Dataset,
    /// The chosen plan is judged on these, once.
    pub test: Dataset,
    /// Where the validation images came from.
    pub origin: Origin,
}

impl Split {
    /// Splits a dataset for a network whose training left the last `held_out` training images alone.
    pub fn new(train: Dataset, test: Dataset, held_out: usize, own: Option<Dataset>) -> Self {
        if let Some(validation) = own {
            return Self { tune: train, validation, test, origin: Origin::Own };
        }
        if held_out > 0 && held_out < train.len() {
            let seen = train.len() - held_out;
            let (tune, validation) = (train.slice(0..seen), train.slice(seen..train.len()));
            return Self { tune, validation, test, origin: Origin::HeldOut };
        }
        let mut order: Vec<usize> = (0..test.len()).collect();
        // Never the user's seed: the part is published, and every search of a network sees the same.
        order.shuffle(&mut seed::stream(0, "validation images"));
        let (mut chosen, mut rest) = (order.clone(), order);
        chosen.truncate(BORROWED.min(rest.len() / 5));
        rest.drain(..chosen.len());
        chosen.sort_unstable();
        rest.sort_unstable();
        Self { tune: train, validation: pick(&test, &chosen), test: pick(&test, &rest), origin: Origin::TestPart }
    }
}

fn pick(data: &Dataset, indices: &[usize]) -> Dataset {
    Dataset {
        shape: data.shape,
        images: indices.iter().flat_map(|&index| data.image(index)).copied().collect(),
        labels: indices.iter().map(|&index| data.labels[index]).collect(),
        classes: data.classes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(count: usize) -> Dataset {
        let images = (0..count).flat_map(|index| (index as u16).to_le_bytes()).collect();
        Dataset { shape: [1, 1, 2], images, labels: vec![0; count], classes: 1 }
    }

    fn numbers(data: &Dataset) -> Vec<u16> {
        (0..data.len()).map(|index| u16::from_le_bytes([data.image(index)[0], data.image(index)[1]])).collect()
    }

    #[test]
    fn parts_are_disjoint_whole_and_frozen() {
        let split = Split::new(numbered(100), numbered(10_000), 0, None);
        let (validation, test) = (numbers(&split.validation), numbers(&split.test));
        assert_eq!((validation.len(), test.len(), split.tune.len()), (BORROWED, 8000, 100));
        let mut all = [validation.clone(), test].concat();
        all.sort_unstable();
        assert_eq!(all, (0..10_000).collect::<Vec<u16>>());
        // Published: whoever changes these changes what every committed loss was measured on.
        assert_eq!(validation[..5], [1, 3, 10, 19, 24]);
    }

    #[test]
    fn images_that_training_never_saw_validate() {
        let split = Split::new(numbered(100), numbered(50), 10, None);
        assert_eq!(numbers(&split.validation), (90..100).collect::<Vec<u16>>());
        assert_eq!((split.tune.len(), split.test.len(), split.origin), (90, 50, Origin::HeldOut));
        assert_eq!([held_out(60_000), held_out(2_000)], [5000, 200]);
    }
}
