//! Draws the synthetic stand-in for MNIST: digits of strokes, each bent, slanted, shifted, inked and soiled at random.
//!
//! It lets every verb run on a machine without data. It is no benchmark: accuracies on it say nothing about MNIST.
//! LeNet learns it to about 98.5 % in six passes.
//! Only `+ − × ÷ √` are used, which IEEE 754 fixes, so that every machine draws the same bytes from a seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use rayon::prelude::*;
use releq_search::seed;

use super::{Dataset, Which};

/// Height and width of an image.
const SIDE: usize = 28;
const TRAIN: (u64, usize) = (0, 10_000);
const TEST: (u64, usize) = (1, 2_000);
/// Straight pieces that a curve between two points is drawn with.
const PIECES: usize = 6;
/// Corners a side of the grid that bends the paper.
const GRID: usize = 4;

type Point = [f32; 2];
type Stroke = &'static [Point];

/// The strokes of each digit in a unit square, x to the right and y down; curves pass through their points.
const DIGITS: [&[Stroke]; 10] = [
    &[&[
        [0.5, 0.0],
        [0.75, 0.15],
        [0.83, 0.5],
        [0.75, 0.85],
        [0.5, 1.0],
        [0.25, 0.85],
        [0.17, 0.5],
        [0.25, 0.15],
        [0.5, 0.0],
    ]],
    &[&[[0.3, 0.22], [0.52, 0.0]], &[[0.52, 0.0], [0.5, 1.0]]],
    &[
        &[[0.2, 0.25], [0.33, 0.05], [0.6, 0.0], [0.78, 0.2], [0.7, 0.45], [0.45, 0.72], [0.18, 1.0]],
        &[[0.18, 1.0], [0.84, 0.98]],
    ],
    &[
        &[[0.2, 0.12], [0.5, 0.0], [0.76, 0.2], [0.66, 0.42], [0.42, 0.48]],
        &[[0.42, 0.48], [0.7, 0.56], [0.8, 0.78], [0.55, 1.0], [0.18, 0.88]],
    ],
    &[&[[0.6, 0.0], [0.18, 0.65]], &[[0.18, 0.65], [0.86, 0.65]], &[[0.66, 0.3], [0.64, 1.0]]],
    &[
        &[[0.78, 0.0], [0.3, 0.02]],
        &[[0.3, 0.02], [0.25, 0.45]],
        &[[0.25, 0.45], [0.55, 0.38], [0.8, 0.6], [0.72, 0.9], [0.45, 1.0], [0.2, 0.9]],
    ],
    &[&[
        [0.7, 0.03],
        [0.4, 0.22],
        [0.22, 0.6],
        [0.33, 0.93],
        [0.6, 0.98],
        [0.78, 0.75],
        [0.6, 0.53],
        [0.36, 0.6],
        [0.24, 0.75],
    ]],
    &[&[[0.18, 0.02], [0.82, 0.0]], &[[0.82, 0.0], [0.6, 0.42], [0.42, 1.0]]],
    &[&[
        [0.5, 0.48],
        [0.25, 0.28],
        [0.36, 0.04],
        [0.64, 0.04],
        [0.75, 0.28],
        [0.5, 0.48],
        [0.22, 0.72],
        [0.32, 0.97],
        [0.68, 0.97],
        [0.78, 0.72],
        [0.5, 0.48],
    ]],
    &[
        &[[0.76, 0.3], [0.56, 0.5], [0.28, 0.42], [0.24, 0.15], [0.5, 0.0], [0.72, 0.1], [0.76, 0.3]],
        &[[0.76, 0.3], [0.73, 0.7], [0.6, 1.0]],
    ],
];

/// The part of the standard set: 10,000 images to learn from, 2,000 others to be judged by.
pub fn standard(which: Which) -> Dataset {
    let (seed, count) = if which == Which::Train { TRAIN } else { TEST };
    generate(seed, count)
}

/// Draws `count` images `[1, 28, 28]` from `seed`; image `i` shows digit `i % 10` and depends on nothing else.
pub fn generate(seed: u64, count: usize) -> Dataset {
    let labels: Vec<u8> = (0..count).map(|index| (index % 10) as u8).collect();
    let mut images = vec![0; count * SIDE * SIDE];
    images.par_chunks_exact_mut(SIDE * SIDE).enumerate().for_each(|(index, image)| {
        let mut dice = Dice(seed::stream(seed, &format!("glyph {index}")));
        draw(index % 10, &mut dice, image);
    });
    Dataset { shape: [1, SIDE, SIDE], images, labels, classes: 10 }
}

/// Draws of one image.
struct Dice(ChaCha8Rng);

impl Dice {
    /// Evenly in `-reach..reach`.
    fn around(&mut self, reach: f32) -> f32 {
        self.between(-reach, reach)
    }

    fn between(&mut self, low: f32, high: f32) -> f32 {
        let unit = (self.0.next_u32() >> 8) as f32 / 16_777_216.0;
        low + (high - low) * unit
    }

    /// Bell-shaped with standard deviation 1: four bytes summed.
    fn bell(&mut self) -> f32 {
        let sum: u32 = self.0.next_u32().to_le_bytes().iter().map(|&byte| u32::from(byte)).sum();
        (sum as f32 - 510.0) / 147.8
    }
}

fn draw(digit: usize, dice: &mut Dice, image: &mut [u8]) {
    let hand = Hand::new(dice);
    let mut ink = [0.0_f32; SIDE * SIDE];
    for stroke in DIGITS[digit] {
        let points: Vec<Point> =
            stroke.iter().map(|point| [point[0] + dice.around(0.045), point[1] + dice.around(0.045)]).collect();
        let line: Vec<Point> = curve(&points).into_iter().map(|point| hand.place(point)).collect();
        line.windows(2).for_each(|pair| hand.ink(pair[0], pair[1], &mut ink));
    }
    let blot = [dice.between(0.0, 28.0), dice.between(0.0, 28.0)];
    hand.ink(blot, [blot[0] + dice.around(4.0), blot[1] + dice.around(4.0)], &mut ink);
    let grain = dice.between(0.01, 0.09);
    for (pixel, ink) in image.iter_mut().zip(ink) {
        let value = ink * hand.strength + grain * dice.bell();
        *pixel = (value.clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
    }
}

/// Catmull-Rom: a curve through all points as straight pieces; two points are one line.
fn curve(points: &[Point]) -> Vec<Point> {
    if points.len() == 2 {
        // Pieces, so that a line bends with the paper.
        return (0..=PIECES).map(|step| mix(points[0], points[1], step as f32 / PIECES as f32)).collect();
    }
    let last = points.len() - 1;
    let mut line = vec![points[0]];
    for at in 0..last {
        let [before, from, to, after] =
            [points[at.saturating_sub(1)], points[at], points[at + 1], points[(at + 2).min(last)]];
        line.extend((1..=PIECES).map(|step| {
            let t = step as f32 / PIECES as f32;
            let axis = |a: usize| {
                let (p, q, r, s) = (before[a], from[a], to[a], after[a]);
                q + 0.5 * t * (r - p + t * (2.0 * p - 5.0 * q + 4.0 * r - s + t * (3.0 * (q - r) + s - p)))
            };
            [axis(0), axis(1)]
        }));
    }
    line
}

fn mix(from: Point, to: Point, t: f32) -> Point {
    [from[0] + (to[0] - from[0]) * t, from[1] + (to[1] - from[1]) * t]
}

/// How one image is written: slant, size, place, pen and how the paper bends.
struct Hand {
    /// Rows of the affine map from the unit square to pixels.
    turn: [Point; 2],
    middle: Point,
    bend: [[Point; GRID]; GRID],
    radius: f32,
    strength: f32,
}

impl Hand {
    fn new(dice: &mut Dice) -> Self {
        // Half-angle form of a rotation by up to about 17 degrees, without sine and cosine.
        let half = dice.around(0.15);
        let [cos, sin] = [(1.0 - half * half) / (1.0 + half * half), 2.0 * half / (1.0 + half * half)];
        let slant = dice.around(0.3);
        let [width, height] = [dice.between(13.0, 21.0), dice.between(15.0, 21.0)];
        let mut bend = [[[0.0; 2]; GRID]; GRID];
        bend.iter_mut().flatten().for_each(|corner| *corner = [dice.around(1.8), dice.around(1.8)]);
        Self {
            turn: [[cos * width, (cos * -slant - sin) * height], [sin * width, (cos - sin * slant) * height]],
            middle: [14.0 + dice.around(2.5), 14.0 + dice.around(2.5)],
            bend,
            radius: dice.between(0.6, 1.7),
            strength: dice.between(0.6, 1.0),
        }
    }

    /// A point of the unit square in pixels of the image, bent.
    fn place(&self, point: Point) -> Point {
        let [x, y] = [point[0] - 0.5, point[1] - 0.5];
        let flat = [0, 1].map(|axis| self.middle[axis] + self.turn[axis][0] * x + self.turn[axis][1] * y);
        let shift = self.bend_at(flat);
        [flat[0] + shift[0], flat[1] + shift[1]]
    }

    /// The bend between the grid's corners, bilinear.
    fn bend_at(&self, point: Point) -> Point {
        let cells = (GRID - 1) as f32;
        let [column, row] = point.map(|at| (at / SIDE as f32 * cells).clamp(0.0, cells));
        let [left, top] = [column, row].map(|at| (at as usize).min(GRID - 2));
        let [right, down] = [column - left as f32, row - top as f32];
        let upper = mix(self.bend[top][left], self.bend[top][left + 1], right);
        let lower = mix(self.bend[top + 1][left], self.bend[top + 1][left + 1], right);
        mix(upper, lower, down)
    }

    /// Inks the pixels near a line, as dark as the pen covers them.
    fn ink(&self, from: Point, to: Point, ink: &mut [f32; SIDE * SIDE]) {
        let reach = self.radius + 1.0;
        let bounds = |a: f32, b: f32| {
            let low = (a.min(b) - reach).clamp(0.0, SIDE as f32) as usize;
            let high = (a.max(b) + reach + 1.0).clamp(0.0, SIDE as f32) as usize;
            low..high
        };
        for row in bounds(from[1], to[1]) {
            for column in bounds(from[0], to[0]) {
                let away = distance([column as f32 + 0.5, row as f32 + 0.5], from, to);
                let cover = (self.radius + 0.5 - away).clamp(0.0, 1.0);
                let pixel = &mut ink[row * SIDE + column];
                *pixel = pixel.max(cover);
            }
        }
    }
}

/// Distance of a point from the line between two others.
fn distance(point: Point, from: Point, to: Point) -> f32 {
    let along = [to[0] - from[0], to[1] - from[1]];
    let off = [point[0] - from[0], point[1] - from[1]];
    let length = along[0] * along[0] + along[1] * along[1];
    let t = if length > 0.0 { ((off[0] * along[0] + off[1] * along[1]) / length).clamp(0.0, 1.0) } else { 0.0 };
    let [x, y] = [off[0] - along[0] * t, off[1] - along[1] * t];
    (x * x + y * y).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_depend_on_seed_and_index_alone() {
        let few = generate(7, 20);
        assert_eq!((few.shape, few.classes, few.len()), ([1, 28, 28], 10, 20));
        assert_eq!(few, generate(7, 40).slice(0..20));
        assert_ne!(few.images, generate(8, 20).images);
        assert_eq!(few.labels[..11], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
    }

    #[test]
    fn every_image_shows_ink_on_paper() {
        let set = generate(3, 200);
        for index in 0..set.len() {
            let dark = set.image(index).iter().filter(|&&pixel| pixel > 100).count();
            assert!((20..400).contains(&dark), "image {index} has {dark} inked pixels");
        }
    }

    #[test]
    fn drawings_are_the_same_on_every_machine() {
        let sum =
            generate(0, 100).images.iter().fold(0_u64, |sum, &pixel| sum.wrapping_mul(31).wrapping_add(pixel.into()));
        assert_eq!(sum, 6_038_596_425_268_683_838);
    }
}
