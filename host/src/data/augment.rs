//! Random views of training images: mirrored, and moved by a few pixels.

use rand::{Rng, RngExt};

use super::Dataset;

/// What may happen to an image before it is learned from; the label stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Augment {
    /// Mirrored left to right, in one view of two.
    pub mirror: bool,
    /// Moved by up to this many pixels each way; black (0) comes in from beyond the edge.
    pub shift: usize,
}

impl Augment {
    /// Images as they are.
    pub const NONE: Self = Self { mirror: false, shift: 0 };
    /// The usual for CIFAR-10: mirrored, and cropped from a frame of four black pixels (arXiv 1512.03385, §4.2).
    pub const CROP_AND_FLIP: Self = Self { mirror: true, shift: 4 };

    /// Whether a view may differ from its image.
    pub fn is_any(self) -> bool {
        self != Self::NONE
    }

    /// One view of each of the images `indices` of `data`, in their order.
    ///
    /// # Panics
    /// If an index is not below [`Dataset::len`].
    pub fn views(self, data: &Dataset, indices: &[usize], rng: &mut impl Rng) -> Dataset {
        let mut images = Vec::with_capacity(indices.len() * data.image_len());
        for &index in indices {
            let mirrored = self.mirror && rng.random();
            let shift = i32::try_from(self.shift).unwrap_or(i32::MAX);
            let moves = [0, 1].map(|_| rng.random_range(-shift..=shift));
            self.view(data.shape, data.image(index), mirrored, moves, &mut images);
        }
        let labels = indices.iter().map(|&index| data.labels[index]).collect();
        Dataset { shape: data.shape, images, labels, classes: data.classes }
    }

    /// Appends the view of one image: pixel (y, x) comes from (y + down, x + right), x counted from the other side if
    /// mirrored.
    fn view(
        self,
        [_, height, width]: [usize; 3],
        image: &[u8],
        mirrored: bool,
        [down, right]: [i32; 2],
        view: &mut Vec<u8>,
    ) {
        let within =
            |place: usize, by: i32, side: usize| place.checked_add_signed(by as isize).filter(|&place| place < side);
        for plane in image.chunks_exact(height * width) {
            for y in 0..height {
                let row = within(y, down, height).map(|y| &plane[y * width..][..width]);
                view.extend((0..width).map(|x| {
                    let x = if mirrored { width - 1 - x } else { x };
                    row.zip(within(x, right, width)).map_or(0, |(row, x)| row[x])
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use releq_search::seed;

    fn data() -> Dataset {
        Dataset { shape: [2, 2, 3], images: (1..=24).collect(), labels: vec![3, 1], classes: 4 }
    }

    fn view(mirrored: bool, moves: [i32; 2]) -> Vec<u8> {
        let mut view = Vec::new();
        Augment::CROP_AND_FLIP.view([2, 2, 3], data().image(0), mirrored, moves, &mut view);
        view
    }

    #[test]
    fn views_by_hand() {
        assert_eq!(view(false, [0, 0]), data().image(0));
        assert_eq!(view(true, [0, 0]), [3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10]);
        assert_eq!(view(false, [1, 0]), [4, 5, 6, 0, 0, 0, 10, 11, 12, 0, 0, 0]);
        assert_eq!(view(false, [0, -1]), [0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11]);
        assert_eq!(view(true, [0, -1]), [2, 1, 0, 5, 4, 0, 8, 7, 0, 11, 10, 0]);
        assert_eq!(view(false, [-4, 4]), [0; 12]);
    }

    #[test]
    fn no_augmentation_changes_nothing_and_views_vary_with_the_seed_alone() {
        let mut rng = seed::stream(1, "augment");
        let same = Augment::NONE.views(&data(), &[1, 0], &mut rng);
        assert_eq!((same.image(0), same.image(1)), (data().image(1), data().image(0)));
        assert_eq!(same.labels, [1, 3]);
        let many = [0; 64];
        let views = |seed| Augment::CROP_AND_FLIP.views(&data(), &many, &mut seed::stream(seed, "augment"));
        assert_eq!(views(1), views(1));
        assert_ne!(views(1), views(2));
    }
}
